#include "kernel/simd/elementwise.h"

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

/* Coefficients of few channels are repeated up to this length, so that the loop over them is long. */
#define PERIOD 512

static void repeat(float *to, const float *from, int64_t period, int64_t n) {
  for (int64_t i = 0; i < period; i += n)
    memcpy(to + i, from, (size_t)n * sizeof *to);
}

static void affine(float *y, const float *x, int64_t n_rows, int64_t n_channels, const float *gain,
                   const float *shift, float lo, float hi) {
  float own[2][PERIOD];
  const int64_t n = n_rows * n_channels, n_repeats = n_channels > 0 ? PERIOD / n_channels : 0;
  const int64_t period = n_channels * (n_repeats > 1 && n_rows > n_repeats ? n_repeats : 1);
  if (period > n_channels) {
    repeat(own[0], gain, period, n_channels);
    repeat(own[1], shift, period, n_channels);
    gain = own[0], shift = own[1];
  }
  for (int64_t i = 0; i < n; i += period) {
    const int64_t count = n - i < period ? n - i : period;
    MQ_SIMD_INDEPENDENT
    for (int64_t c = 0; c < count; c++)
      y[i + c] = mq_clip_value(x[i + c] * gain[c] + shift[c], lo, hi);
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

/* 1/(1 + e^-x) = e^x/(1 + e^x): the form whose exponential does not overflow. Within 3 ulp. */
static inline float sigmoid_value(float x) {
  const float e = mq_exp_of_negative(x > 0.0f ? -x : x);
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
