#include "quant/simd/tanh.h"

#include "kernel/math_core.h"
#include "kernel/simd/values.h"

#define LANES 16
#define SIGN ((uint64_t)1 << 63)

/* mq_tanhf's operations without its branch. */
MQ_ALWAYS_INLINE float tanh_value(float x) {
  const uint64_t bits = mq_bits_of((double)x);
  const double a = mq_double_of(bits & ~SIGN), e = mq_exp_core(2.0 * (a > 20.0 ? 20.0 : a));
  const double t = a < 0x1p-12 ? a - a * a * a / 3.0 : (e - 1.0) / (e + 1.0);
  return (float)mq_double_of(mq_bits_of(t) | (bits & SIGN));
}

static void transform(float *y, const float *w, int64_t n, const struct mq_tanh_run *run) {
  const struct mq_tanh_run own = *run;
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = tanh_value(w[i]) / own.divisor * own.factor;
}

MQ_ALWAYS_INLINE void tanh_element(float *dw, bool adds, double *sum, float g, float w,
                                   struct mq_tanh_run run) {
  const float t = tanh_value(w), transformed = t / run.divisor * run.factor, v = transformed / run.scale;
  const bool is_outside = (v < run.first) | (v > run.last);
  const double passed = (double)(is_outside ? 0.0f : g);
  const double slope = (1.0 - (double)t * (double)t) * (double)run.factor / (double)run.divisor;
  *sum += passed * (double)transformed;
  *dw = (float)(adds ? (double)*dw + passed * slope : passed * slope);
}

MQ_ALWAYS_INLINE double tanh_loop(float *dw, bool adds, const float *g, const float *w, int64_t n,
                                  struct mq_tanh_run run) {
  double sums[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    MQ_SIMD_INDEPENDENT
    for (int j = 0; j < LANES; j++)
      tanh_element(dw + i + j, adds, sums + j, g[i + j], w[i + j], run);
  }
  for (int j = 0; i < n; i++, j++)
    tanh_element(dw + i, adds, sums + j, g[i], w[i], run);
  return mq_add_lanes(sums, LANES);
}

static double backward(float *dw, bool adds, const float *g, const float *w, int64_t n,
                       const struct mq_tanh_run *run) {
  return adds ? tanh_loop(dw, true, g, w, n, *run) : tanh_loop(dw, false, g, w, n, *run);
}

const struct mq_simd_tanh MQ_SIMD_NAME(mq_simd_tanh) = {.transform = transform, .backward = backward};
