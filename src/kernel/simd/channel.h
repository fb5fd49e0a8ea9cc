/* Loops over rows of n_channels: sums per channel, and the backward pass of what is affine per channel. */
#ifndef MQ_KERNEL_SIMD_CHANNEL_H
#define MQ_KERNEL_SIMD_CHANNEL_H

#include "kernel/simd.h"

struct mq_simd_channel {
  void (*moments)(double *sum, double *square, const float *x, int64_t n_rows, int64_t n_channels);
  void (*products)(double *sum, double *product, const float *g, const float *x, int64_t n_rows,
                   int64_t n_channels);
  void (*normalize_backward)(float *dx, bool adds, const float *g, const float *x, int64_t n_rows,
                             int64_t n_channels, const float *a, const float *b, const float *d);
};
MQ_SIMD_DECLARE(mq_simd_channel)

#endif
