#include "kernel/simd/codes.h"

#include "kernel/simd/values.h"

/* As mq_loop_fake_quantize, up to the integer; NaN becomes lo. */
MQ_ALWAYS_INLINE int32_t code_of(float x, float scale, float lo, float hi, float zero_point) {
  float v = x / scale;
  v = v > lo ? v : lo;
  v = v > hi ? hi : v;
  return (int32_t)(mq_round_even(v) + zero_point);
}

static bool quantize(void *codes, bool is_signed, const float *x, int64_t n, const struct mq_fake_quant *fq) {
  const float scale = fq->scale, zero_point = fq->zero_point;
  const float lo = fq->quant_min - zero_point, hi = fq->quant_max - zero_point;
  uint32_t n_nan = 0;
  if (is_signed) {
    int8_t *q = codes;
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
      q[i] = (int8_t)code_of(x[i], scale, lo, hi, zero_point);
      n_nan |= x[i] != x[i];
    }
  } else {
    uint8_t *q = codes;
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
      q[i] = (uint8_t)code_of(x[i], scale, lo, hi, zero_point);
      n_nan |= x[i] != x[i];
    }
  }
  return n_nan == 0;
}

static void dequantize(float *y, const void *codes, bool is_signed, int64_t n, float scale,
                       float zero_point) {
  if (is_signed) {
    const int8_t *q = codes;
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
      y[i] = scale * ((float)q[i] - zero_point);
  } else {
    const uint8_t *q = codes;
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
      y[i] = scale * ((float)q[i] - zero_point);
  }
}

/* The upper half of a float that needs no more. */
static inline uint16_t bf16_of(float v) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  return (uint16_t)(bits >> 16);
}

static void center_bf16(uint16_t *y, const void *codes, bool is_signed, int64_t n, float zero_point) {
  if (is_signed) {
    const int8_t *q = codes;
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
      y[i] = bf16_of((float)q[i] - zero_point);
  } else {
    const uint8_t *q = codes;
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
      y[i] = bf16_of((float)q[i] - zero_point);
  }
}

#define LANES 16

struct bounds {
  float scale, lo, hi;
};

/* What g is multiplied by in the scale's sum, and whether it is held back. Inside, r - v is exact: v is
 * within a half of r. Huge v are kept out of the rounding by clipping to a little more than the range. What
 * clipping changes is outside, and so is NaN, whose slope is NaN. */
MQ_ALWAYS_INLINE bool lsq_value(float *slope, float x, struct bounds b, bool after) {
  const float v = x / b.scale, margin = after ? 0.75f : 0.0f;
  const float near = mq_clip_value(v, b.lo - margin, b.hi + margin), r = mq_round_even(near);
  const float grid = after ? mq_clip_value(r, b.lo, b.hi) : r;
  const bool is_outside = after ? grid != r : near != v;
  *slope = grid - (is_outside ? 0.0f : v);
  return is_outside;
}

MQ_ALWAYS_INLINE void lsq_element(float *dx, bool adds, double *scale_sum, double *outside_sum, float g,
                                  float x, struct bounds b, bool after) {
  float slope;
  const bool is_outside = lsq_value(&slope, x, b, after);
  const float outside = is_outside ? g : 0.0f, inside = is_outside ? 0.0f : g;
  *scale_sum += (double)g * (double)slope;
  *outside_sum += (double)outside;
  *dx = adds ? *dx + inside : inside;
}

MQ_ALWAYS_INLINE void lsq_loop(float *dx, bool adds, double sums[2], const float *g, const float *x,
                               int64_t n, struct bounds b, bool after) {
  double scale_sum[LANES] = {0}, outside_sum[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    MQ_SIMD_INDEPENDENT
    for (int j = 0; j < LANES; j++)
      lsq_element(dx + i + j, adds, scale_sum + j, outside_sum + j, g[i + j], x[i + j], b, after);
  }
  for (int j = 0; i < n; i++, j++)
    lsq_element(dx + i, adds, scale_sum + j, outside_sum + j, g[i], x[i], b, after);
  sums[0] += mq_add_lanes(scale_sum, LANES);
  sums[1] -= (double)b.scale * mq_add_lanes(outside_sum, LANES);
}

static void lsq_backward(float *dx, bool adds, double sums[2], const float *g, const float *x, int64_t n,
                         const struct mq_fake_quant *fq, bool mask_after_rounding) {
  const struct bounds b = {fq->scale, fq->quant_min - fq->zero_point, fq->quant_max - fq->zero_point};
  if (adds && mask_after_rounding)
    lsq_loop(dx, true, sums, g, x, n, b, true);
  else if (adds)
    lsq_loop(dx, true, sums, g, x, n, b, false);
  else if (mask_after_rounding)
    lsq_loop(dx, false, sums, g, x, n, b, true);
  else
    lsq_loop(dx, false, sums, g, x, n, b, false);
}

const struct mq_simd_codes MQ_SIMD_NAME(mq_simd_codes) = {
    .quantize = quantize,
    .dequantize = dequantize,
    .center_bf16 = center_bf16,
    .lsq_backward = lsq_backward,
};
