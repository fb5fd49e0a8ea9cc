/* Reductions over contiguous float32 data, in a fixed number of lanes. */
#ifndef MQ_KERNEL_SIMD_REDUCE_H
#define MQ_KERNEL_SIMD_REDUCE_H

#include "kernel/simd.h"

struct mq_simd_reduce {
  void (*min_max)(float *min, float *max, const float *x, int64_t n);
  void (*moments)(double *sum, double *sum_abs, double *sum_square, const float *x, int64_t n);
  /* One image: pixels x channels, channels innermost, to channels. */
  void (*mean_pixels)(float *y, const float *x, int64_t pixels, int64_t channels);
  void (*max_pixels)(float *y, const float *x, int64_t pixels, int64_t channels);
};
MQ_SIMD_DECLARE(mq_simd_reduce)

#endif
