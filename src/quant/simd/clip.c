#include "quant/simd/clip.h"

#include "kernel/simd/values.h"

#define LANES 16

/* What clipping changes is outside, and so is NaN (below). */
MQ_ALWAYS_INLINE void clip_element(float *dx, bool adds, double *above_sum, double *below_sum, float g,
                                   float x, float first, float last) {
  const float near = mq_clip_value(x, first, last);
  const float outside = near != x ? g : 0.0f, inside = near != x ? 0.0f : g, above = x > last ? g : 0.0f;
  *above_sum += (double)above;
  *below_sum += (double)(outside - above);
  *dx = adds ? *dx + inside : inside;
}

MQ_ALWAYS_INLINE void clip_loop(float *dx, bool adds, double *above, double *below, const float *g,
                                const float *x, int64_t n, float first, float last) {
  double above_sum[LANES] = {0}, below_sum[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    MQ_SIMD_INDEPENDENT
    for (int j = 0; j < LANES; j++)
      clip_element(dx + i + j, adds, above_sum + j, below_sum + j, g[i + j], x[i + j], first, last);
  }
  for (int j = 0; i < n; i++, j++)
    clip_element(dx + i, adds, above_sum + j, below_sum + j, g[i], x[i], first, last);
  *above += mq_add_lanes(above_sum, LANES);
  *below += mq_add_lanes(below_sum, LANES);
}

static void backward(float *dx, bool adds, double *above, double *below, const float *g, const float *x,
                     int64_t n, float first, float last) {
  if (adds)
    clip_loop(dx, true, above, below, g, x, n, first, last);
  else
    clip_loop(dx, false, above, below, g, x, n, first, last);
}

const struct mq_simd_clip MQ_SIMD_NAME(mq_simd_clip) = {.backward = backward};
