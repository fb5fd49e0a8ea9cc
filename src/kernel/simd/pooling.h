/* One output pixel of a pool: a window of input pixels, channels innermost. */
#ifndef MQ_KERNEL_SIMD_POOLING_H
#define MQ_KERNEL_SIMD_POOLING_H

#include "kernel/simd.h"

/* n_rows x n_columns pixels (at least one) that begin at x; steps in elements. */
struct mq_simd_window {
  const float *x;
  int64_t n_rows, n_columns, row_step, column_step;
};

struct mq_simd_pooling {
  void (*max)(float *y, const struct mq_simd_window *window, int64_t channels);
  /* The sum, row by row in float32, divided by `divisor`. */
  void (*average)(float *y, const struct mq_simd_window *window, int64_t channels, float divisor);
};
MQ_SIMD_DECLARE(mq_simd_pooling)

#endif
