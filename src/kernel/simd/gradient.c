#include "kernel/simd/gradient.h"

#include "kernel/simd/values.h"

MQ_ALWAYS_INLINE void clip_loop(float *dx, bool adds, const float *g, const float *y, int64_t n, float lo,
                                float hi) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++) {
    const bool is_inside = (y[i] > lo) & (y[i] < hi);
    const float gi = g[i], value = is_inside ? gi : 0.0f;
    dx[i] = adds ? dx[i] + value : value;
  }
}

static void clip(float *dx, bool adds, const float *g, const float *y, int64_t n, float lo, float hi) {
  if (adds)
    clip_loop(dx, true, g, y, n, lo, hi);
  else
    clip_loop(dx, false, g, y, n, lo, hi);
}

/* s (1 - s) = e^-|x| / (1 + e^-|x|)^2, which does not cancel where s is near 1. */
static inline float sigmoid_slope(float x) {
  const float e = mq_exp_of_negative(x > 0.0f ? -x : x), total = 1.0f + e;
  return e / (total * total);
}

static inline float hard_sigmoid_slope(float x, float alpha, float beta) {
  const float line = alpha * x + beta;
  const bool is_inside = (line > 0.0f) & (line < 1.0f);
  return is_inside ? alpha : 0.0f;
}

/* d/dx x (x/6 + 1/2) = x/3 + 1/2 between the ends -3 and 3; there and beyond 0 and 1. */
static inline float hard_swish_slope(float x) {
  const float inner = x / 3.0f + 0.5f, above = x <= -3.0f ? 0.0f : inner;
  return x >= 3.0f ? 1.0f : above;
}

MQ_ALWAYS_INLINE float slope(float x, mq_unary unary, float alpha, float beta) {
  switch (unary) {
    case MQ_UNARY_SIGMOID:
      return sigmoid_slope(x);
    case MQ_UNARY_HARD_SIGMOID:
      return hard_sigmoid_slope(x, alpha, beta);
    case MQ_UNARY_HARD_SWISH:
      return hard_swish_slope(x);
    case MQ_UNARY_LEAKY_RELU:
      break;
  }
  return x > 0.0f ? 1.0f : alpha;
}

MQ_ALWAYS_INLINE void unary_loop(float *dx, bool adds, const float *g, const float *x, int64_t n,
                                 mq_unary kind, float alpha, float beta) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++) {
    const float value = g[i] * slope(x[i], kind, alpha, beta);
    dx[i] = adds ? dx[i] + value : value;
  }
}

/* `adds` is a constant in each call of unary_loop, so that each gets a loop of its own. */
MQ_ALWAYS_INLINE void unary_kind(float *dx, bool adds, const float *g, const float *x, int64_t n,
                                 mq_unary kind, float alpha, float beta) {
  if (adds)
    unary_loop(dx, true, g, x, n, kind, alpha, beta);
  else
    unary_loop(dx, false, g, x, n, kind, alpha, beta);
}

static void unary(float *dx, bool adds, const float *g, const float *x, int64_t n, mq_unary kind, float alpha,
                  float beta) {
  switch (kind) {
    case MQ_UNARY_SIGMOID:
      unary_kind(dx, adds, g, x, n, MQ_UNARY_SIGMOID, alpha, beta);
      break;
    case MQ_UNARY_HARD_SIGMOID:
      unary_kind(dx, adds, g, x, n, MQ_UNARY_HARD_SIGMOID, alpha, beta);
      break;
    case MQ_UNARY_HARD_SWISH:
      unary_kind(dx, adds, g, x, n, MQ_UNARY_HARD_SWISH, alpha, beta);
      break;
    case MQ_UNARY_LEAKY_RELU:
      unary_kind(dx, adds, g, x, n, MQ_UNARY_LEAKY_RELU, alpha, beta);
      break;
  }
}

static void axpy(float *y, float a, const float *x, int64_t n) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] += a * x[i];
}

static void axpby(float *y, float a, const float *x, float b, int64_t n) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = a * x[i] + b * y[i];
}

MQ_ALWAYS_INLINE void scale_loop(float *y, bool adds, const float *x, int64_t n, double factor) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++) {
    const float value = (float)((double)x[i] * factor);
    y[i] = adds ? y[i] + value : value;
  }
}

static void scale(float *y, bool adds, const float *x, int64_t n, double factor) {
  if (adds)
    scale_loop(y, true, x, n, factor);
  else
    scale_loop(y, false, x, n, factor);
}

/* Element i belongs to lane i mod LANES. */
#define LANES 16

static double dot(const float *a, const float *b, int64_t n) {
  double sum[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    MQ_SIMD_INDEPENDENT
    for (int j = 0; j < LANES; j++)
      sum[j] += (double)a[i + j] * (double)b[i + j];
  }
  for (int j = 0; i < n; i++, j++)
    sum[j] += (double)a[i] * (double)b[i];
  return mq_add_lanes(sum, LANES);
}

const struct mq_simd_gradient MQ_SIMD_NAME(mq_simd_gradient) = {
    .clip = clip,
    .unary = unary,
    .axpy = axpy,
    .axpby = axpby,
    .scale = scale,
    .dot = dot,
};
