#include "quant/simd/qil.h"

#include "kernel/simd/values.h"

#define LANES 16

MQ_ALWAYS_INLINE float magnitude_of(float x) {
  return x < 0.0f ? -x : x;
}

/* value sign(x); 0 at 0. */
MQ_ALWAYS_INLINE float with_sign(float value, float x) {
  const float right = x > 0.0f ? value : 0.0f;
  return x < 0.0f ? -value : right;
}

MQ_ALWAYS_INLINE float quantize(float x, const struct mq_qil_run *run) {
  const float t = mq_clip_value(magnitude_of(x) * run->slope + run->offset, 0.0f, 1.0f);
  const float q = mq_clip_value(mq_round_even(with_sign(t * run->steps, x)), run->lowest, run->steps);
  return x == x ? q : x;
}

MQ_ALWAYS_INLINE void forward_loop(float *y, uint8_t *codes, const float *x, int64_t n,
                                   const struct mq_qil_run *run) {
  const struct mq_qil_run own = *run;
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++) {
    const float q = quantize(x[i], &own);
    if (codes) codes[i] = (uint8_t)(int)(q == q ? q : 0.0f);
    if (y) y[i] = own.scale * q;
  }
}

static void forward(float *y, uint8_t *codes, const float *x, int64_t n, const struct mq_qil_run *run) {
  if (!codes)
    forward_loop(y, NULL, x, n, run);
  else if (!y)
    forward_loop(NULL, codes, x, n, run);
  else
    forward_loop(y, codes, x, n, run);
}

MQ_ALWAYS_INLINE void backward_element(float *dx, bool adds, bool is_clipped, double *sum, double *moment,
                                       float g, float x, const struct mq_qil_run *run) {
  const float magnitude = is_clipped ? magnitude_of(x) : x, v = magnitude * run->slope + run->offset;
  const float above_0 = v > 0.0f ? g : 0.0f, masked = v < 1.0f ? above_0 : 0.0f;
  const float gradient = is_clipped ? masked : g;
  const double signed_gradient = (double)(is_clipped ? with_sign(gradient, x) : gradient);
  *sum += signed_gradient;
  *moment += signed_gradient * ((double)magnitude - (double)run->center);
  *dx = (adds ? *dx : 0.0f) + gradient * run->slope;
}

MQ_ALWAYS_INLINE void backward_loop(float *dx, bool adds, bool is_clipped, double sums[2], const float *g,
                                    const float *x, int64_t n, const struct mq_qil_run *run) {
  const struct mq_qil_run own = *run;
  double sum[LANES] = {0}, moment[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    MQ_SIMD_INDEPENDENT
    for (int j = 0; j < LANES; j++)
      backward_element(dx + i + j, adds, is_clipped, sum + j, moment + j, g[i + j], x[i + j], &own);
  }
  for (int j = 0; i < n; i++, j++)
    backward_element(dx + i, adds, is_clipped, sum + j, moment + j, g[i], x[i], &own);
  sums[0] += mq_add_lanes(sum, LANES);
  sums[1] += mq_add_lanes(moment, LANES);
}

static void backward(float *dx, bool adds, double sums[2], const float *g, const float *x, int64_t n,
                     const struct mq_qil_run *run) {
  if (!run->is_clipped)
    backward_loop(dx, adds, false, sums, g, x, n, run);
  else if (adds)
    backward_loop(dx, true, true, sums, g, x, n, run);
  else
    backward_loop(dx, false, true, sums, g, x, n, run);
}

const struct mq_simd_qil MQ_SIMD_NAME(mq_simd_qil) = {.forward = forward, .backward = backward};
