/* One or two output rows of a depthwise convolution, channels last. */
#ifndef MQ_KERNEL_SIMD_DEPTHWISE_H
#define MQ_KERNEL_SIMD_DEPTHWISE_H

#include "kernel/simd.h"

/* Neighbouring pixels made together. */
#define MQ_SIMD_DEPTHWISE_TILE 4

struct mq_simd_depthwise_rows {
  int64_t channels, width_in, width_out;
  int64_t kernel, stride, dilation, pad; /* along the row */
  const float *bias;                     /* channels */
  /* Rows of weights, each kernel x channels, and the input rows they meet, each width_in x channels:
   * output row r of y is the sum over h of x[r + h] and weights[h]; there are n_rows + n_outputs - 1 x. */
  int n_rows, n_outputs; /* n_outputs 2 only for a 3x3 kernel of stride 1 and pad 1 */
  const float *const *x, *const *weights;
  float *y;       /* n_outputs x width_out x channels */
  int64_t y_step; /* from pixel to pixel; channels where there are two output rows */
  /* Memory that the next call will read and write: fetched meanwhile, for each tile as many channels as it
   * makes, from where its first pixel lies in y. NULL: none. */
  const float *next_x, *next_y;
};

struct mq_simd_depthwise {
  /* y[ow, c] = bias[c] + sum over rows and taps, in this order. Fused multiply-add where the level has it:
   * AVX2 and AVX-512 give the same bits, the baseline others (as oneDNN's convolutions do). */
  void (*rows)(const struct mq_simd_depthwise_rows *rows);
};
MQ_SIMD_DECLARE(mq_simd_depthwise)

#endif
