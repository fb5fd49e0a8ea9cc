#include "kernel/simd/softmax.h"

#include "kernel/math_core.h"
#include "kernel/simd/values.h"

/* Sums of exponentials run in this many lanes, added pairwise at the end. */
#define LANES 16

/* A NaN anywhere is the answer: it must not get lost between ordinary values. */
static float row_max(const float *x, int64_t n) {
  float max = x[0];
  for (int64_t i = 1; i < n; i++)
    max = x[i] > max || x[i] != x[i] ? x[i] : max;
  return max;
}

/* Sum of e^(x - max) in double; the exponentials themselves, rounded, go to e unless it is NULL. */
MQ_ALWAYS_INLINE double sum_exp(float *e, const float *x, int64_t n, double max) {
  double lanes[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    MQ_SIMD_INDEPENDENT
    for (int j = 0; j < LANES; j++) {
      const double v = mq_exp_core((double)x[i + j] - max);
      lanes[j] += v;
      if (e) e[i + j] = (float)v;
    }
  }
  for (int j = 0; i < n; i++, j++) {
    const double v = mq_exp_core((double)x[i] - max);
    lanes[j] += v;
    if (e) e[i] = (float)v;
  }
  return mq_add_lanes(lanes, LANES);
}

static void softmax(float *y, const float *x, int64_t n_rows, int64_t n, bool is_log) {
  for (int64_t r = 0; r < n_rows; r++, x += n, y += n) {
    const double max = (double)row_max(x, n);
    if (is_log) {
      const double log_sum = mq_log(sum_exp(NULL, x, n, max));
      MQ_SIMD_INDEPENDENT
      for (int64_t i = 0; i < n; i++)
        y[i] = (float)(((double)x[i] - max) - log_sum);
    } else {
      const double sum = sum_exp(y, x, n, max);
      MQ_SIMD_INDEPENDENT
      for (int64_t i = 0; i < n; i++)
        y[i] = (float)((double)y[i] / sum);
    }
  }
}

/* Sum of g y in lanes; y counts 1 where it is NULL. */
MQ_ALWAYS_INLINE double sum_products(const float *g, const float *y, int64_t n) {
  double lanes[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; j++)
      lanes[j] += (double)g[i + j] * (y == NULL ? 1.0 : (double)y[i + j]);
  for (int j = 0; i < n; i++, j++)
    lanes[j] += (double)g[i] * (y == NULL ? 1.0 : (double)y[i]);
  return mq_add_lanes(lanes, LANES);
}

/* dx = y (g - sum g y); of the logarithm: dx = g - e^y sum g. */
MQ_ALWAYS_INLINE void softmax_backward_rows(float *dx, bool adds, const float *g, const float *y,
                                            int64_t n_rows, int64_t n, bool is_log) {
  for (int64_t r = 0; r < n_rows; r++, dx += n, g += n, y += n) {
    const double sum = sum_products(g, is_log ? NULL : y, n);
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
      const double yi = (double)y[i], gi = (double)g[i];
      const float value = (float)(is_log ? gi - mq_exp_core(yi) * sum : yi * (gi - sum));
      dx[i] = adds ? dx[i] + value : value;
    }
  }
}

static void softmax_backward(float *dx, bool adds, const float *g, const float *y, int64_t n_rows, int64_t n,
                             bool is_log) {
  if (is_log && adds)
    softmax_backward_rows(dx, true, g, y, n_rows, n, true);
  else if (is_log)
    softmax_backward_rows(dx, false, g, y, n_rows, n, true);
  else if (adds)
    softmax_backward_rows(dx, true, g, y, n_rows, n, false);
  else
    softmax_backward_rows(dx, false, g, y, n_rows, n, false);
}

/* Sum of x - max in lanes. */
static double sum_shifted(const float *x, int64_t n, double max) {
  double lanes[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; j++)
      lanes[j] += (double)x[i + j] - max;
  for (int j = 0; i < n; i++, j++)
    lanes[j] += (double)x[i] - max;
  return mq_add_lanes(lanes, LANES);
}

/* -log p[k] = log sum e^(x - max) - (x[k] - max). The loss is (1 - e) of the label's and e of the mean of
 * all. The gradient: weight (p - target). */
static double cross_entropy(float *dx, const float *x, int64_t label, const struct mq_simd_entropy *entropy) {
  const int64_t n = entropy->n_classes;
  const double max = (double)row_max(x, n), sum = sum_exp(NULL, x, n, max), log_sum = mq_log(sum);
  const double e = entropy->smoothing, off = entropy->off_target, weight = entropy->weight;
  double loss = log_sum - ((double)x[label] - max);
  /* Without smoothing a logit of -infinity elsewhere must not count. */
  if (e > 0.0) loss = (1.0 - e) * loss + e * (log_sum - sum_shifted(x, n, max) / (double)n);
  if (dx == NULL) return loss;
  const double on_gradient = weight * (mq_exp_core((double)x[label] - max) / sum - entropy->on_target);
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    dx[i] = (float)(weight * (mq_exp_core((double)x[i] - max) / sum - off));
  dx[label] = (float)on_gradient;
  return loss;
}

const struct mq_simd_softmax MQ_SIMD_NAME(mq_simd_softmax) = {
    .softmax = softmax,
    .softmax_backward = softmax_backward,
    .cross_entropy = cross_entropy,
};
