/* Conversions between number types. */
#ifndef MQ_KERNEL_SIMD_CONVERT_H
#define MQ_KERNEL_SIMD_CONVERT_H

#include "kernel/simd.h"

struct mq_simd_convert {
  /* Half to even; a NaN stays one. */
  void (*round_bf16)(uint16_t *y, const float *x, int64_t n);
};
MQ_SIMD_DECLARE(mq_simd_convert)

#endif
