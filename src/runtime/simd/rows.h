/* As fused.h, for panels of one or two blocks and tiles of neighbouring pixels of one row: a step from pixel
 * to pixel takes the place of lists of addresses, for which there are not enough registers. */
#ifndef MQ_RUNTIME_SIMD_ROWS_H
#define MQ_RUNTIME_SIMD_ROWS_H

#include "runtime/simd/finish.h"

/* A tile: where its first pixel's window, outputs and shortcut (or NULL) begin. */
struct runtime_row {
  const unsigned char *x, *shortcut;
  unsigned char *y;
  int64_t x_step, shortcut_step, y_step;
  int n_last;      /* channels of the last block that count */
  int64_t channel; /* the first, in the arrays of the layer */
};

/* job->x and job->acc are not used. */
typedef void (*runtime_row_fn)(const struct runtime_dot_job *job, const struct runtime_finish *finish,
                               const struct runtime_row *row);

/* Rows are cut into tiles of n_pixels; 0: no tile fits. */
struct runtime_row_loop {
  int n_pixels;
  runtime_row_fn run;
};

struct runtime_rows {
  /* For rows of `width` pixels by panels of n_blocks blocks. */
  struct runtime_row_loop (*find)(const struct runtime_finish *finish, bool has_shortcut, int n_blocks,
                                  int64_t width);
};
MQ_SIMD_DECLARE(runtime_rows)

#endif
