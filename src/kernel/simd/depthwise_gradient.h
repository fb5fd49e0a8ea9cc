/* What one row of output gradients adds to the weight gradients of a depthwise convolution, channels last. */
#ifndef MQ_KERNEL_SIMD_DEPTHWISE_GRADIENT_H
#define MQ_KERNEL_SIMD_DEPTHWISE_GRADIENT_H

#include "kernel/simd.h"

struct mq_simd_depthwise_gradient_rows {
  int64_t channels, width_in, width_out;
  int64_t kernel, stride, dilation, pad; /* along the row */
  int n_rows;
  const float *const *x;  /* the input rows under the window's rows, each width_in x channels */
  float *const *gradient; /* the window's rows, each kernel x channels; added to */
  const float *dy;        /* width_out x channels */
  /* Memory that the next call will read: fetched meanwhile. NULL: none. As many lines of 64 bytes of x as of
   * dy times x_lines. */
  const float *next_x, *next_dy;
  int64_t x_lines;
};

struct mq_simd_depthwise_gradient {
  /* gradient[h][k, c] += sum over ow of dy[ow, c] x[h][ow stride - pad + k dilation, c], in this order but
   * for channels behind the last whole vector: summed up apart. Fused multiply-add where the level has it. */
  void (*rows)(const struct mq_simd_depthwise_gradient_rows *rows);
};
MQ_SIMD_DECLARE(mq_simd_depthwise_gradient)

#endif
