/* From the sums of a tile's 36 places to its 4x4 codes of 16 channels, in registers: at AVX-512 and for quick
 * layers. All others go through runtime_winograd.transform_sums and finish.h. */
#ifndef MQ_RUNTIME_SIMD_WINOGRAD_FINISH_H
#define MQ_RUNTIME_SIMD_WINOGRAD_FINISH_H

#include "runtime/simd/finish.h"

struct runtime_winograd_outputs {
  const int32_t *m; /* place x place_step */
  int64_t place_step;
  int64_t channel;                 /* the first, in the arrays of the layer */
  int n_channels;                  /* of the 16 that count */
  int64_t skip_rows, skip_columns; /* of the 4: left as they are */
  const unsigned char *shortcut;   /* NULL: none */
  unsigned char *y;                /* of the first output, like the shortcut */
  int64_t y_row, y_pixel;          /* from row to row, pixel to pixel */
  int64_t shortcut_row, shortcut_pixel;
};
typedef void (*runtime_winograd_finish_fn)(const struct runtime_winograd_outputs *job,
                                           const struct runtime_finish *finish);

struct runtime_winograd_finisher {
  /* NULL: there is none. */
  runtime_winograd_finish_fn (*find)(const struct runtime_finish *finish, bool has_shortcut);
};
MQ_SIMD_DECLARE(runtime_winograd_finisher)

#endif
