/* Fake quantization by way of its integers, and the backward pass of a learned scale. */
#ifndef MQ_KERNEL_SIMD_CODES_H
#define MQ_KERNEL_SIMD_CODES_H

#include "kernel/simd.h"

struct mq_simd_codes {
  bool (*quantize)(void *codes, bool is_signed, const float *x, int64_t n, const struct mq_fake_quant *fq);
  void (*dequantize)(float *y, const void *codes, bool is_signed, int64_t n, float scale, float zero_point);
  void (*center_bf16)(uint16_t *y, const void *codes, bool is_signed, int64_t n, float zero_point);
  void (*lsq_backward)(float *dx, bool adds, double sums[2], const float *g, const float *x, int64_t n,
                       const struct mq_fake_quant *fq, bool mask_after_rounding);
};
MQ_SIMD_DECLARE(mq_simd_codes)

#endif
