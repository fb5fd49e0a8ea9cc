/* The public loops of quantization-aware training: each picks the table of the resolved instruction set. */
#include "kernel/simd/codes.h"

#include <assert.h>

bool mq_loop_quantize_codes(void *codes, bool is_signed, const float *x, int64_t n,
                            const struct mq_fake_quant *fq) {
  assert(fq->quant_min >= (is_signed ? -128.0f : 0.0f) && fq->quant_max <= (is_signed ? 127.0f : 255.0f));
  return mq_simd_codes_at(mq_simd_level_used())->quantize(codes, is_signed, x, n, fq);
}

void mq_loop_dequantize_codes(float *y, const void *codes, bool is_signed, int64_t n, float scale,
                              float zero_point) {
  mq_simd_codes_at(mq_simd_level_used())->dequantize(y, codes, is_signed, n, scale, zero_point);
}

void mq_loop_center_codes_bf16(uint16_t *y, const void *codes, bool is_signed, int64_t n, float zero_point) {
  mq_simd_codes_at(mq_simd_level_used())->center_bf16(y, codes, is_signed, n, zero_point);
}

void mq_loop_lsq_backward(float *dx, bool adds, double sums[2], const float *g, const float *x, int64_t n,
                          const struct mq_fake_quant *fq, bool mask_after_rounding) {
  mq_simd_codes_at(mq_simd_level_used())->lsq_backward(dx, adds, sums, g, x, n, fq, mask_after_rounding);
}
