#include "quant/simd/dsq.h"

#include "kernel/simd/values.h"

/* |v - floor(v) - 0.5| is 0.5 - d with d the distance to the nearest integer (exact), and with
 * e = exp(-2 k (0.5 - d)), 1 - tanh^2 = 4 e/(1 + e)^2. */
MQ_ALWAYS_INLINE float gradient_value(float g, float x, const struct mq_dsq_run *run) {
  const float v = x / run->scale, inside = mq_clip_value(v, run->lo, run->hi);
  const float d = inside - mq_round_even(inside), distance = d < 0.0f ? -d : d;
  const float e = mq_exp_of_negative(-2.0f * run->k * (0.5f - distance)), one = 1.0f + e;
  const float slope = run->gain * (4.0f * e / (one * one));
  return inside == v ? g * slope : 0.0f;
}

static void gradient(float *dx, const float *g, const float *x, int64_t n, const struct mq_dsq_run *run) {
  const struct mq_dsq_run own = *run;
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    dx[i] = gradient_value(g[i], x[i], &own);
}

static void add_gradient(float *dx, const float *g, const float *x, int64_t n, const struct mq_dsq_run *run) {
  const struct mq_dsq_run own = *run;
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    dx[i] += gradient_value(g[i], x[i], &own);
}

const struct mq_simd_dsq MQ_SIMD_NAME(mq_simd_dsq) = {.gradient = gradient, .add_gradient = add_gradient};
