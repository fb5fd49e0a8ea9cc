#include "kernel/simd/elementwise.h"

#include "kernel/math_core.h"
#include "kernel/simd/values.h"

/* y = s (clip(rne(x / s) + z, n, p) - z). Clipping to the integers n - z and p - z before rounding is the
 * same (rne is monotone and keeps integers) and bounds what is rounded, so huge and infinite x are covered.
 */
static void fake_quantize(float *y, const float *x, int64_t n, const struct mq_fake_quant *fq) {
  const float scale = fq->scale, lo = fq->quant_min - fq->zero_point, hi = fq->quant_max - fq->zero_point;
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = scale * mq_round_even(mq_clip_value(x[i] / scale, lo, hi));
}

static void affine(float *y, const float *x, int64_t n_rows, int64_t n_channels, const float *gain,
                   const float *shift, float lo, float hi) {
  for (int64_t r = 0; r < n_rows; r++, y += n_channels, x += n_channels) {
    MQ_SIMD_INDEPENDENT
    for (int64_t c = 0; c < n_channels; c++)
      y[c] = mq_clip_value(x[c] * gain[c] + shift[c], lo, hi);
  }
}

static void add(float *y, const float *a, const float *b, int64_t n, float lo, float hi) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = mq_clip_value(a[i] + b[i], lo, hi);
}

static void clip(float *y, const float *x, int64_t n, float lo, float hi) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = mq_clip_value(x[i], lo, hi);
}

/* 2^k from k + 1.5 * 2^23, -126 <= k <= 127. */
static inline float power_of_two(float shifted) {
  uint32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127) << 23;
  float power;
  memcpy(&power, &bits, sizeof power);
  return power;
}

/* e^x for x <= 0, in float: 2^k e^r with Taylor to r^7 (the rest is below 2^-27), within 1 ulp. */
static inline float exp_of_negative(float x) {
  const float shifter = 12582912.0f;
  x = x < -104.0f ? -104.0f : x;
  const float k = (x * 0x1.715476p+0f + shifter) - shifter;
  const float hi = x - k * 0x1.62e4p-1f, lo = k * 0x1.7f7d1cp-20f, r = hi - lo, tail = (hi - r) - lo;
  float q = 1.0f / 5040;
  q = q * r + 1.0f / 720;
  q = q * r + 1.0f / 120;
  q = q * r + 1.0f / 24;
  q = q * r + 1.0f / 6;
  q = q * r + 0.5f;
  const float p = 1.0f + (r + (tail + r * r * q));
  const float half = k * 0.5f + shifter, other = (k - (half - shifter)) + shifter;
  return p * power_of_two(half) * power_of_two(other);
}

/* 1/(1 + e^-x) = e^x/(1 + e^x): the form whose exponential does not overflow. Within 3 ulp. */
static inline float sigmoid_value(float x) {
  const float e = exp_of_negative(x > 0.0f ? -x : x);
  return (x > 0.0f ? 1.0f : e) / (1.0f + e);
}

static void sigmoid(float *y, const float *x, int64_t n) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = sigmoid_value(x[i]);
}

static void hard_sigmoid(float *y, const float *x, int64_t n, float alpha, float beta) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = mq_clip_value(alpha * x[i] + beta, 0.0f, 1.0f);
}

static void hard_swish(float *y, const float *x, int64_t n) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = x[i] * mq_clip_value(x[i] / 6.0f + 0.5f, 0.0f, 1.0f);
}

static void leaky_relu(float *y, const float *x, int64_t n, float alpha) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = x[i] >= 0.0f ? x[i] : alpha * x[i];
}

static void unary(float *y, const float *x, int64_t n, mq_unary kind, float alpha, float beta) {
  switch (kind) {
    case MQ_UNARY_SIGMOID:
      sigmoid(y, x, n);
      break;
    case MQ_UNARY_HARD_SIGMOID:
      hard_sigmoid(y, x, n, alpha, beta);
      break;
    case MQ_UNARY_HARD_SWISH:
      hard_swish(y, x, n);
      break;
    case MQ_UNARY_LEAKY_RELU:
      leaky_relu(y, x, n, alpha);
      break;
  }
}

const struct mq_simd_elementwise MQ_SIMD_NAME(mq_simd_elementwise) = {
    .fake_quantize = fake_quantize,
    .affine = affine,
    .add = add,
    .clip = clip,
    .unary = unary,
};
