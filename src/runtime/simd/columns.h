/* Depthwise convolutions with windows of 3 x 3 or 5 x 5 and strides 1 or 2, finished in registers: a row of
 * outputs for 64 channels. Only with VNNI.
 *
 * Codes of the window's rows at one column of the input are interleaved once (4 rows of a channel side by
 * side), and multiplied for every output whose window the column is in: with stride 1 each column serves 3
 * or 5 outputs, whose sums move on by one when an output is complete. */
#ifndef MQ_RUNTIME_SIMD_COLUMNS_H
#define MQ_RUNTIME_SIMD_COLUMNS_H

#include "runtime/simd/finish.h"

#define RUNTIME_COLUMNS_BLOCK 64
#define RUNTIME_COLUMNS_MAX_KERNEL 5

/* Up to 64 channels of a row, or up to 32 channels of two rows beside each other: `x` and `y` of the
 * second row follow those of the first. All of the first tap and of the first output. */
struct runtime_columns_job {
  const unsigned char *x[2];
  unsigned char *y[2];
  int64_t tap_row, x_pixel, y_pixel; /* bytes to the window's next row, to the next column, output */
  const signed char *weights;        /* runtime_columns_place */
  int64_t channel;                   /* the first, in the arrays of the layer: runtime_columns_channel */
  int64_t n_pixels;
  int n_channels; /* of a row */
};

/* Bytes of a block's weights: 4 taps of 64 channels for every 4 rows of every column. */
static inline int64_t runtime_columns_bytes(int64_t kernel) {
  return kernel * ((kernel + 3) / 4) * 4 * RUNTIME_COLUMNS_BLOCK;
}
/* The place of parameters (as runtime_finish has them) for channel c of 64: interleaved bytes leave 4
 * channels of each 16 in each of 4 vectors. */
static inline int64_t runtime_columns_channel(int64_t c) {
  return c % 16 / 4 * 16 + c / 16 * 4 + c % 4;
}
/* The place of a weight. */
static inline int64_t runtime_columns_place(int64_t kernel, int64_t row, int64_t column, int64_t c) {
  const int64_t quads = (kernel + 3) / 4;
  return ((column * quads + row / 4) * RUNTIME_COLUMNS_BLOCK + runtime_columns_channel(c)) * 4 + row % 4;
}

typedef void (*runtime_columns_fn)(const struct runtime_columns_job *job,
                                   const struct runtime_finish *finish);

struct runtime_columns {
  /* For a quick layer without zero points of weights or a shortcut; NULL: there is none. two_rows: 32
   * channels of two rows. */
  runtime_columns_fn (*find)(runtime_form form, int64_t kernel, int64_t stride, bool has_two_rows);
};
MQ_SIMD_DECLARE(runtime_columns)

#endif
