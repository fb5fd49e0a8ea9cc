#include "kernel/simd/convert.h"

#include <string.h>

static inline uint16_t to_bf16(float v) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16, quiet_nan = bits >> 16 | 0x40u;
  return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
}

static void round_bf16(uint16_t *y, const float *x, int64_t n) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = to_bf16(x[i]);
}

const struct mq_simd_convert MQ_SIMD_NAME(mq_simd_convert) = {.round_bf16 = round_bf16};
