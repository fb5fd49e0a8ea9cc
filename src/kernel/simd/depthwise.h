/* One output row of a depthwise convolution, channels last. */
#ifndef MQ_KERNEL_SIMD_DEPTHWISE_H
#define MQ_KERNEL_SIMD_DEPTHWISE_H

#include "kernel/simd.h"

struct mq_simd_depthwise_row {
  int64_t channels, width_in, width_out;
  int64_t kernel, stride, dilation, pad; /* along the row */
  int n_rows;                            /* input rows that the window touches here, at least 0 */
  const float *const *x;                 /* each width_in x channels */
  const float *const *weights;           /* each kernel x channels */
  const float *bias;                     /* channels */
};

struct mq_simd_depthwise {
  /* y[ow, c] = bias[c] + sum over rows and taps, in this order. Fused multiply-add where the level has it:
   * AVX2 and AVX-512 give the same bits, the baseline others (as oneDNN's convolutions do). */
  void (*row)(float *y, const struct mq_simd_depthwise_row *row);
};
MQ_SIMD_DECLARE(mq_simd_depthwise)

#endif
