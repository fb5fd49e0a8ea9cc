/* Loops of training against the formulas of kernel.h, every instruction set. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/help_kernel.h"
#include "kernel/simd/channel.h"
#include "kernel/simd/gradient.h"
#include "kernel/simd/optimise.h"

/* Lengths around every vector width. */
static const int64_t lengths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 33, 63, 65, 127, 200, 517};
#define N_LENGTHS (sizeof lengths / sizeof *lengths)

static void assert_doubles(const double *a, const double *b, int64_t n, const char *what) {
  for (int64_t i = 0; i < n; i++)
    if (memcmp(&a[i], &b[i], sizeof *a) != 0)
      fail_msg("%s: element %lld is %a, expected %a", what, (long long)i, a[i], b[i]);
}

static double *doubles(int64_t n) {
  double *data = mq_alloc((size_t)n, sizeof *data);
  assert_non_null(data);
  for (int64_t i = 0; i < n; i++)
    data[i] = NAN; /* nothing may be added to what was there */
  return data;
}

/* Row counts around the tile of 32. */
static const int64_t row_counts[] = {0, 1, 31, 32, 33, 100};

static void test_channel_sums(void **state) {
  (void)state;
  for (size_t l = 0; l < N_LENGTHS; l++)
    for (size_t k = 0; k < sizeof row_counts / sizeof *row_counts; k++) {
      const int64_t n = lengths[l], rows = row_counts[k];
      float *g = help_random(rows * n + 1, l), *x = help_random(rows * n + 1, 100 + l);
      double *expected = mq_alloc((size_t)(3 * n), sizeof *expected), *got = doubles(4 * n);
      assert_non_null(expected);
      for (int64_t i = 0; i < rows * n; i++) {
        expected[i % n] += (double)g[i];
        expected[n + i % n] += (double)g[i] * (double)g[i];
        expected[2 * n + i % n] += (double)g[i] * (double)x[i];
      }
      for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
        const struct mq_simd_channel *table = mq_simd_channel_at(level);
        table->moments(got, got + n, g, rows, n);
        assert_doubles(got, expected, 2 * n, "moments");
        table->products(got, got + 2 * n, g, x, rows, n);
        assert_doubles(got, expected, n, "sums");
        assert_doubles(got + 2 * n, expected + 2 * n, n, "products");
        table->products(got + 3 * n, NULL, g, NULL, rows, n);
        assert_doubles(got + 3 * n, expected, n, "sums alone");
      }
      mq_free(g);
      mq_free(x);
      mq_free(expected);
      mq_free(got);
    }
}

static void test_normalize_backward(void **state) {
  (void)state;
  for (size_t l = 0; l < N_LENGTHS; l++)
    for (size_t k = 0; k < sizeof row_counts / sizeof *row_counts; k++)
      for (int adds = 0; adds < 2; adds++) {
        const int64_t n = lengths[l], size = row_counts[k] * n;
        float *g = help_random(size + 1, 1), *x = help_random(size + 1, 2), *y = help_random(size + 1, 3);
        float *a = help_random(n, 4), *b = help_random(n, 5), *d = help_random(n, 6);
        float *expected = help_random(size + 1, 3), *start = help_random(size + 1, 3);
        for (int64_t i = 0; i < size; i++) {
          const volatile float first = a[i % n] * g[i], second = b[i % n] * x[i]; /* no fused multiply-add */
          const float value = (first + second) + d[i % n];
          expected[i] = adds ? expected[i] + value : value;
        }
        for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
          memcpy(y, start, (size_t)size * sizeof *y);
          mq_simd_channel_at(level)->normalize_backward(y, adds, g, x, row_counts[k], n, a, b, d);
          help_assert_same(y, expected, size + 1, "normalize backward");
        }
        if (!adds) {
          mq_loop_normalize_backward(g, false, g, x, row_counts[k], n, a, b, d);
          help_assert_same(g, expected, size, "normalize backward in place");
        }
        float *all[] = {g, x, y, a, b, d, expected, start};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
          mq_free(all[i]);
      }
}

static void test_clip_backward(void **state) {
  (void)state;
  const int64_t n = 517;
  float *g = help_random(n, 1), *y = help_random(n, 2), *start = help_random(n, 3);
  float dx[517], expected[517];
  const float bounds[][2] = {{0, INFINITY}, {-0.5f, 0.25f}, {0, 6}};
  for (int64_t i = 0; i < n; i += 3)
    y[i] = bounds[1][i & 1];
  for (int64_t i = 1; i < n; i += 6)
    y[i] = 0;
  y[5] = NAN;
  for (size_t k = 0; k < 3; k++)
    for (int adds = 0; adds < 2; adds++)
      for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
        memcpy(dx, start, sizeof dx);
        for (int64_t i = 0; i < n; i++) {
          const float value = y[i] > bounds[k][0] && y[i] < bounds[k][1] ? g[i] : 0;
          expected[i] = adds ? start[i] + value : value;
        }
        mq_simd_gradient_at(level)->clip(dx, adds, g, y, n, bounds[k][0], bounds[k][1]);
        help_assert_same(dx, expected, n, "clip backward");
      }
  memcpy(dx, g, sizeof dx);
  mq_loop_clip_backward(dx, false, dx, y, n, 0, 6);
  for (int64_t i = 0; i < n; i++)
    expected[i] = y[i] > 0 && y[i] < 6 ? g[i] : 0;
  help_assert_same(dx, expected, n, "clip backward in place");
  mq_free(g);
  mq_free(y);
  mq_free(start);
}

static double unary_plain(double x, mq_unary unary, double alpha, double beta) {
  switch (unary) {
    case MQ_UNARY_SIGMOID:
      return 1 / (1 + exp(-x));
    case MQ_UNARY_HARD_SIGMOID:
      return fmax(0, fmin(1, alpha * x + beta));
    case MQ_UNARY_HARD_SWISH:
      return x * fmax(0, fmin(1, x / 6 + 0.5));
    case MQ_UNARY_LEAKY_RELU:
      break;
  }
  return x >= 0 ? x : alpha * x;
}

/* Against central differences of the function in double. */
static void test_unary_backward(void **state) {
  (void)state;
  const int64_t n = 1021;
  const float alpha = 0.2f, beta = 0.5f;
  const double h = 1e-5;
  float *g = help_random(n, 1), *x = help_random(n, 2), *start = help_random(n, 3);
  float dx[1021], base[1021];
  for (int64_t i = 0; i < n; i++)
    x[i] *= 8;
  for (mq_unary unary = MQ_UNARY_SIGMOID; unary <= MQ_UNARY_LEAKY_RELU; unary++) {
    mq_loop_unary_backward(base, false, g, x, n, unary, alpha, beta);
    for (int64_t i = 0; i < n; i++) {
      const double v = (double)x[i], a = (double)alpha, b = (double)beta;
      const double slope = (unary_plain(v + h, unary, a, b) - unary_plain(v - h, unary, a, b)) / (2 * h);
      if (fabs((double)base[i] - (double)g[i] * slope) > 1e-6)
        fail_msg("unary %d at %g: %g, expected %g", (int)unary, v, (double)base[i], (double)g[i] * slope);
    }
    for (int adds = 0; adds < 2; adds++)
      for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
        float expected[1021];
        memcpy(dx, start, sizeof dx);
        for (int64_t i = 0; i < n; i++)
          expected[i] = adds ? start[i] + base[i] : base[i];
        mq_simd_gradient_at(level)->unary(dx, adds, g, x, n, unary, alpha, beta);
        help_assert_same(dx, expected, n, "unary backward");
      }
  }
  mq_free(g);
  mq_free(x);
  mq_free(start);
}

/* Corners and far ends; a sigmoid's slope must not be lost where the sigmoid is 1. */
static void test_unary_corners(void **state) {
  (void)state;
  const float one[] = {1, 1, 1, 1, 1}, x[] = {-3, 3, 0, 20, -80}, line[] = {-2.5f, 2.5f, 0, INFINITY, NAN};
  float dx[5];
  mq_loop_unary_backward(dx, false, one, x, 5, MQ_UNARY_HARD_SWISH, 0, 0);
  assert_true(dx[0] == 0 && dx[1] == 1 && dx[2] == 0.5f && dx[3] == 1 && dx[4] == 0);
  mq_loop_unary_backward(dx, false, one, line, 5, MQ_UNARY_HARD_SIGMOID, 0.2f, 0.5f);
  assert_true(dx[0] == 0 && dx[1] == 0 && dx[2] == 0.2f && dx[3] == 0);
  mq_loop_unary_backward(dx, false, one, line, 5, MQ_UNARY_LEAKY_RELU, 0.1f, 0);
  assert_true(dx[0] == 0.1f && dx[1] == 1 && dx[2] == 0.1f && dx[3] == 1);
  mq_loop_unary_backward(dx, false, one, x, 5, MQ_UNARY_SIGMOID, 0, 0);
  assert_true(fabs((double)dx[3] / exp(-20.0) - 1) < 1e-6 && fabs((double)dx[4] / exp(-80.0) - 1) < 1e-6);
  mq_loop_unary_backward(dx, false, one, line, 5, MQ_UNARY_SIGMOID, 0, 0);
  assert_true(dx[3] == 0 && isnan(dx[4]));
}

static void test_axpy(void **state) {
  (void)state;
  for (size_t l = 0; l < N_LENGTHS; l++) {
    const int64_t n = lengths[l];
    float *x = help_random(n, 1), *y = help_random(n, 2), *start = help_random(n, 2),
          *plus = help_random(n, 3), *both = help_random(n, 4);
    for (int64_t i = 0; i < n; i++) {
      const volatile float ax = 0.3f * x[i], by = -0.7f * start[i];
      plus[i] = start[i] + ax;
      both[i] = ax + by;
    }
    for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
      memcpy(y, start, (size_t)n * sizeof *y);
      mq_simd_gradient_at(level)->axpy(y, 0.3f, x, n);
      help_assert_same(y, plus, n, "axpy");
      memcpy(y, start, (size_t)n * sizeof *y);
      mq_simd_gradient_at(level)->axpby(y, 0.3f, x, -0.7f, n);
      help_assert_same(y, both, n, "axpby");
    }
    mq_loop_axpy(start, 0.3f, x, n);
    help_assert_same(start, plus, n, "axpy");
    float *all[] = {x, y, start, plus, both};
    for (size_t i = 0; i < 5; i++)
      mq_free(all[i]);
  }
}

/* Products of floats are exact in double, so the sum differs from a plain one by the order of additions only.
 */
static void test_scale_and_dot(void **state) {
  (void)state;
  const double factor = 0.1;
  for (size_t l = 0; l < N_LENGTHS; l++) {
    const int64_t n = lengths[l];
    float *x = help_random(n, 1), *y = help_random(n, 2), *start = help_random(n, 2),
          *scaled = help_random(n, 3), *plus = help_random(n, 4);
    double sum = 0, sum_abs = 0;
    for (int64_t i = 0; i < n; i++) {
      scaled[i] = (float)((double)x[i] * factor);
      const volatile float added = start[i] + scaled[i];
      plus[i] = added;
      sum += (double)x[i] * (double)start[i];
      sum_abs += fabs((double)x[i] * (double)start[i]);
    }
    const double first = mq_simd_gradient_at(0)->dot(x, start, n);
    for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
      const struct mq_simd_gradient *table = mq_simd_gradient_at(level);
      memcpy(y, start, (size_t)n * sizeof *y);
      table->scale(y, true, x, n, factor);
      help_assert_same(y, plus, n, "scale, added");
      table->scale(y, false, x, n, factor);
      help_assert_same(y, scaled, n, "scale");
      const double dot = table->dot(x, start, n);
      assert_memory_equal(&dot, &first, sizeof dot);
      assert_true(fabs(dot - sum) <= 1e-14 * sum_abs);
    }
    float *all[] = {x, y, start, scaled, plus};
    for (size_t i = 0; i < 5; i++)
      mq_free(all[i]);
  }
}

/* Parameters and their state after some steps, in double. */
struct trained {
  double w, first, second;
};

static void step_plain_sgd(struct trained *t, double g, const struct mq_sgd *o) {
  const double d = g + (double)o->decay * t->w;
  t->first = (double)o->momentum * t->first + d;
  t->w -= (double)o->rate * (o->is_nesterov ? d + (double)o->momentum * t->first : t->first);
}

static void step_plain_adam(struct trained *t, double g, const struct mq_adam *o, int step) {
  const double d = g + (double)o->decay * t->w, b1 = (double)o->beta1, b2 = (double)o->beta2;
  t->first = b1 * t->first + (1 - b1) * d;
  t->second = b2 * t->second + (1 - b2) * d * d;
  const double m = t->first / (1 - pow(b1, step)), u = t->second / (1 - pow(b2, step));
  t->w -= (double)o->rate * m / (sqrt(u) + (double)o->epsilon);
}

/* Several steps of one level, compared with double; the first level's bits are what the others must have. */
static void run_steps(float *w, int64_t n, mq_simd_level level, const struct mq_sgd *sgd,
                      struct mq_adam adam) {
  const struct mq_simd_optimise *table = mq_simd_optimise_at(level);
  float *v = help_random(n, 9), *u = help_random(n, 9), *start = help_random(n, 4);
  struct trained *plain = mq_alloc((size_t)n, sizeof *plain);
  assert_non_null(plain);
  memset(v, 0, (size_t)n * sizeof *v);
  memset(u, 0, (size_t)n * sizeof *u);
  memcpy(w, start, (size_t)n * sizeof *w);
  for (int64_t i = 0; i < n; i++)
    plain[i].w = (double)w[i];
  for (int step = 1; step <= 5; step++) {
    float *g = help_random(n, (uint64_t)step + 10);
    adam.correction1 = 1 - pow((double)adam.beta1, step);
    adam.correction2 = 1 - pow((double)adam.beta2, step);
    if (sgd != NULL)
      table->sgd(w, v, g, n, sgd);
    else
      table->adam(w, v, u, g, n, &adam);
    for (int64_t i = 0; i < n; i++) {
      if (sgd != NULL)
        step_plain_sgd(&plain[i], (double)g[i], sgd);
      else
        step_plain_adam(&plain[i], (double)g[i], &adam, step);
      if (!(fabs((double)w[i] - plain[i].w) < 2e-6))
        fail_msg("%s, step %d: %.9g, expected %.9g", sgd != NULL ? "sgd" : "adam", step, (double)w[i],
                 plain[i].w);
    }
    mq_free(g);
  }
  mq_free(v);
  mq_free(u);
  mq_free(start);
  mq_free(plain);
}

static void test_optimisers(void **state) {
  (void)state;
  const struct mq_sgd sgd[] = {{0.1f, 0.9f, 1e-2f, true}, {0.1f, 0.9f, 1e-2f, false}, {0.2f, 0, 0, false}};
  const struct mq_adam adam = {
      .rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .decay = 0.01f};
  float base[517], w[517];
  for (size_t l = 0; l < N_LENGTHS; l++)
    for (size_t k = 0; k < 4; k++) {
      run_steps(base, lengths[l], MQ_SIMD_BASE, k < 3 ? &sgd[k] : NULL, adam);
      for (mq_simd_level level = MQ_SIMD_AVX2; level <= mq_simd_level_best(); level++) {
        run_steps(w, lengths[l], level, k < 3 ? &sgd[k] : NULL, adam);
        help_assert_same(w, base, lengths[l], "optimiser");
      }
    }
}

/* One step by hand: v = 0.5 * 2 + (3 + 0.25 * 4) = 5, w = 4 - 0.5 (4 + 0.5 * 5). */
static void test_sgd_by_hand(void **state) {
  (void)state;
  float w = 4, v = 2;
  const float g = 3;
  mq_loop_sgd(&w, &v, &g, 1, &(struct mq_sgd){0.5f, 0.5f, 0.25f, true});
  assert_true(v == 5 && w == 0.75f);
  /* Adam: d = 2, m = 1, u = 2, m / c1 = 2, u / c2 = 4, w = 1 - 0.5 * 2 / (2 + 2). */
  float m = 0, u = 0, p = 1;
  const float d = 2;
  mq_loop_adam(&p, &m, &u, &d, 1, &(struct mq_adam){0.5f, 0.5f, 0.5f, 2, 0, 0.5, 0.5});
  assert_true(m == 1 && u == 2 && p == 0.75f);
}

static int run_group(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_channel_sums),  cmocka_unit_test(test_normalize_backward),
      cmocka_unit_test(test_clip_backward), cmocka_unit_test(test_unary_backward),
      cmocka_unit_test(test_unary_corners), cmocka_unit_test(test_axpy),
      cmocka_unit_test(test_scale_and_dot), cmocka_unit_test(test_optimisers),
      cmocka_unit_test(test_sgd_by_hand),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
  return help_run_levels(run_group);
}
