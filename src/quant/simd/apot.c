#include "quant/simd/apot.h"

#include "kernel/simd/values.h"

#define LANES 16

MQ_ALWAYS_INLINE float standardised(float w, const struct mq_apot_run *run) {
  return (float)(((double)w - run->mean) * run->inverse);
}

/* v of the clipped x, NaN as alpha. */
MQ_ALWAYS_INLINE double position(float clipped, const struct mq_apot_run *run) {
  const float magnitude = clipped < 0.0f ? -clipped : clipped;
  const float safe = magnitude <= run->alpha ? magnitude : run->alpha;
  return (double)safe * (2 * run->den) / (double)run->alpha;
}

MQ_ALWAYS_INLINE int32_t level_at(double v, const int32_t *nearest) {
  int32_t j = (int32_t)v;
  j += (double)j < v;
  return nearest ? nearest[j] : j / 2;
}

MQ_ALWAYS_INLINE void forward_loop(float *y, uint8_t *codes, const float *w, int64_t n,
                                   const struct mq_apot_run *run, const int32_t *nearest) {
  const struct mq_apot_run own = *run;
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++) {
    const float x = standardised(w[i], &own), clipped = mq_clip_value(x, own.lowest, own.alpha);
    const int32_t k = level_at(position(clipped, &own), nearest), level = clipped < 0.0f ? -k : k;
    if (codes) codes[i] = (uint8_t)level;
    if (y) y[i] = x == x ? own.scale * (float)level : x;
  }
}

MQ_ALWAYS_INLINE void forward_kind(float *y, uint8_t *codes, const float *w, int64_t n,
                                   const struct mq_apot_run *run, const int32_t *nearest) {
  if (!codes)
    forward_loop(y, NULL, w, n, run, nearest);
  else if (!y)
    forward_loop(NULL, codes, w, n, run, nearest);
  else
    forward_loop(y, codes, w, n, run, nearest);
}

static void forward(float *y, uint8_t *codes, const float *w, int64_t n, const struct mq_apot_run *run) {
  if (run->nearest)
    forward_kind(y, codes, w, n, run, run->nearest);
  else
    forward_kind(y, codes, w, n, run, NULL);
}

/* Of LANES elements; slope: what g is multiplied with for alpha. */
MQ_ALWAYS_INLINE void clip_lanes(float *x, float *inside, double *slope, const float *g, const float *w,
                                 int n, const struct mq_apot_run *run, const int32_t *nearest) {
  const double per_level = 1.0 / run->den, below = run->lowest < 0.0f ? -1.0 : 0.0;
  MQ_SIMD_INDEPENDENT
  for (int j = 0; j < n; j++) {
    x[j] = standardised(w[j], run);
    const float clipped = mq_clip_value(x[j], run->lowest, run->alpha);
    const double v = position(clipped, run), distance = ((double)level_at(v, nearest) - 0.5 * v) * per_level;
    const double beyond = x[j] > run->alpha ? 1.0 : below;
    slope[j] = clipped == x[j] ? (clipped < 0.0f ? -distance : distance) : beyond;
    inside[j] = clipped == x[j] ? g[j] : 0.0f;
  }
}

MQ_ALWAYS_INLINE void backward_lanes(float *dx, bool adds, double sum[3][LANES], const float *g,
                                     const float *w, int n, const struct mq_apot_run *run,
                                     const int32_t *nearest) {
  float x[LANES], inside[LANES];
  double slope[LANES];
  clip_lanes(x, inside, slope, g, w, n, run, nearest);
  MQ_SIMD_INDEPENDENT
  for (int j = 0; j < n; j++) {
    sum[0][j] += (double)g[j] * slope[j];
    sum[1][j] += (double)inside[j];
    sum[2][j] += (double)inside[j] * (double)x[j];
    if (dx) dx[j] = (adds ? dx[j] : 0.0f) + inside[j];
  }
}

MQ_ALWAYS_INLINE void backward_loop(float *dx, bool adds, double sums[3], const float *g, const float *w,
                                    int64_t n, const struct mq_apot_run *run, const int32_t *nearest) {
  const struct mq_apot_run own = *run;
  double sum[3][LANES] = {{0}};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    backward_lanes(dx ? dx + i : NULL, adds, sum, g + i, w + i, LANES, &own, nearest);
  backward_lanes(dx ? dx + i : NULL, adds, sum, g + i, w + i, (int)(n - i), &own, nearest);
  for (int k = 0; k < 3; k++)
    sums[k] += mq_add_lanes(sum[k], LANES);
}

static void backward(float *dx, bool adds, double sums[3], const float *g, const float *w, int64_t n,
                     const struct mq_apot_run *run) {
  if (run->nearest)
    backward_loop(dx, adds, sums, g, w, n, run, run->nearest);
  else
    backward_loop(dx, adds, sums, g, w, n, run, NULL);
}

static void standardise(float *dw, bool adds, const float *g, const float *w, int64_t n,
                        const struct mq_apot_run *run, double center, double along) {
  const struct mq_apot_run own = *run;
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++) {
    const float x = standardised(w[i], &own);
    const float inside = mq_clip_value(x, own.lowest, own.alpha) == x ? g[i] : 0.0f;
    const float d = (float)(own.inverse * ((double)inside - center) - (double)x * along);
    dw[i] = adds ? dw[i] + d : d;
  }
}

const struct mq_simd_apot MQ_SIMD_NAME(mq_simd_apot) = {
    .forward = forward, .backward = backward, .standardise = standardise};
