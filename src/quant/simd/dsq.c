#include "quant/simd/dsq.h"

#include "kernel/math_core.h"
#include "kernel/simd/values.h"

/* |v - floor(v) - 0.5| is 0.5 - d with d the distance to the nearest integer (exact in float), and with
 * e = exp(-2 k (0.5 - d)), 1 - tanh^2 = 4 e/(1 + e)^2. */
static inline float gradient_value(float g, float x, const struct mq_dsq_run *run) {
  const float v = x / run->scale, inside = mq_clip_value(v, run->lo, run->hi);
  const float d = inside - mq_round_even(inside), distance = d < 0.0f ? -d : d;
  const double e = mq_exp_core(-2.0 * run->k * (0.5 - (double)distance)), one = 1.0 + e;
  const float slope = (float)(run->gain * (4.0 * e / (one * one)));
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
