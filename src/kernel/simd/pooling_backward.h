/* Gradients of pools, channels innermost: always added to dx. */
#ifndef MQ_KERNEL_SIMD_POOLING_BACKWARD_H
#define MQ_KERNEL_SIMD_POOLING_BACKWARD_H

#include "kernel/simd/pooling.h"

struct mq_simd_pooling_backward {
  /* One window; dx: its first pixel, with the window's steps. At most INT32_MAX pixels. */
  void (*max)(float *dx, const float *dy, const struct mq_simd_window *window, int64_t channels);
  void (*average)(float *dx, const float *dy, const struct mq_simd_window *window, int64_t channels,
                  double divisor);
};
MQ_SIMD_DECLARE(mq_simd_pooling_backward)

#endif
