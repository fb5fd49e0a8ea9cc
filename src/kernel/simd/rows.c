#include "kernel/simd/rows.h"

#include "kernel/math_core.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE float apply(float a, float b, mq_binary binary) {
  switch (binary) {
    case MQ_BINARY_ADD:
      return a + b;
    case MQ_BINARY_SUB:
      return a - b;
    case MQ_BINARY_MUL:
      return a * b;
    case MQ_BINARY_DIV:
      return a / b;
    case MQ_BINARY_PRELU:
      break;
  }
  return a >= 0.0f ? a : b * a;
}

ALWAYS_INLINE void run_row(float *y, const float *a, const float *b, int64_t n, int64_t a_step,
                           int64_t b_step, mq_binary binary) {
  const float a0 = a[0], b0 = b[0];
  if (a_step == 1 && b_step == 1) {
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
      y[i] = apply(a[i], b[i], binary);
  } else if (a_step == 1) {
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
      y[i] = apply(a[i], b0, binary);
  } else if (b_step == 1) {
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
      y[i] = apply(a0, b[i], binary);
  } else {
    for (int64_t i = 0; i < n; i++)
      y[i] = apply(a0, b0, binary);
  }
}

ALWAYS_INLINE void run_rows(float *y, const float *a, const float *b, const struct mq_simd_row_steps *steps,
                            mq_binary kind) {
  for (int64_t r = 0; r < steps->n_rows; r++)
    run_row(y + r * steps->y_row, a + r * steps->a_row, b + r * steps->b_row, steps->n_columns,
            steps->a_column, steps->b_column, kind);
}

/* The kind is a constant in each call, so that each gets a loop of its own. */
static void binary(float *y, const float *a, const float *b, const struct mq_simd_row_steps *steps,
                   mq_binary kind) {
  switch (kind) {
    case MQ_BINARY_ADD:
      run_rows(y, a, b, steps, MQ_BINARY_ADD);
      break;
    case MQ_BINARY_SUB:
      run_rows(y, a, b, steps, MQ_BINARY_SUB);
      break;
    case MQ_BINARY_MUL:
      run_rows(y, a, b, steps, MQ_BINARY_MUL);
      break;
    case MQ_BINARY_DIV:
      run_rows(y, a, b, steps, MQ_BINARY_DIV);
      break;
    case MQ_BINARY_PRELU:
      run_rows(y, a, b, steps, MQ_BINARY_PRELU);
      break;
  }
}

/* Sums of exponentials run in this many lanes, added pairwise at the end. */
#define LANES 16

static double add_lanes(double lanes[LANES]) {
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++)
      lanes[i] += lanes[i + width];
  return lanes[0];
}

/* A NaN anywhere is the answer: it must not get lost between ordinary values. */
static float row_max(const float *x, int64_t n) {
  float max = x[0];
  for (int64_t i = 1; i < n; i++)
    max = x[i] > max || x[i] != x[i] ? x[i] : max;
  return max;
}

/* Sum of e^(x - max) in double; the exponentials themselves, rounded, go to e unless it is NULL. */
ALWAYS_INLINE double sum_exp(float *e, const float *x, int64_t n, double max, bool is_kept) {
  double lanes[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) {
    MQ_SIMD_INDEPENDENT
    for (int j = 0; j < LANES; j++) {
      const double v = mq_exp_core((double)x[i + j] - max);
      lanes[j] += v;
      if (is_kept) e[i + j] = (float)v;
    }
  }
  for (int j = 0; i < n; i++, j++) {
    const double v = mq_exp_core((double)x[i] - max);
    lanes[j] += v;
    if (is_kept) e[i] = (float)v;
  }
  return add_lanes(lanes);
}

static void softmax(float *y, const float *x, int64_t n_rows, int64_t n, bool is_log) {
  for (int64_t r = 0; r < n_rows; r++, x += n, y += n) {
    const double max = (double)row_max(x, n);
    if (is_log) {
      const double log_sum = mq_log(sum_exp(NULL, x, n, max, false));
      MQ_SIMD_INDEPENDENT
      for (int64_t i = 0; i < n; i++)
        y[i] = (float)(((double)x[i] - max) - log_sum);
    } else {
      const double sum = sum_exp(y, x, n, max, true);
      MQ_SIMD_INDEPENDENT
      for (int64_t i = 0; i < n; i++)
        y[i] = (float)((double)y[i] / sum);
    }
  }
}

const struct mq_simd_rows MQ_SIMD_NAME(mq_simd_rows) = {.binary = binary, .softmax = softmax};
