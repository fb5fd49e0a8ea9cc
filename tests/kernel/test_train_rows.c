/* Softmax backward and cross entropy against formulas in double, finite differences, every instruction set.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/help_kernel.h"
#include "kernel/simd/softmax.h"

static const int64_t lengths[] = {1, 2, 3, 10, 15, 16, 17, 33, 100, 1000};
#define N_LENGTHS (sizeof lengths / sizeof *lengths)
#define MAX_LENGTH 1000
#define ROWS 3

static void assert_close(double got, double expected, double tolerance, const char *what) {
  if (!(fabs(got - expected) <= tolerance)) fail_msg("%s: %.12g, expected %.12g", what, got, expected);
}

static void test_softmax_backward(void **state) {
  (void)state;
  float base[ROWS * MAX_LENGTH], dx[ROWS * MAX_LENGTH], expected[ROWS * MAX_LENGTH];
  for (size_t l = 0; l < N_LENGTHS; l++)
    for (int is_log = 0; is_log < 2; is_log++) {
      const int64_t n = lengths[l];
      float *x = help_random(ROWS * n, l), *y = help_random(ROWS * n, 2), *g = help_random(ROWS * n, 3);
      for (int64_t i = 0; i < ROWS * n; i++)
        x[i] *= 5;
      mq_softmax_rows(y, x, ROWS, n, is_log);
      mq_softmax_rows_backward(base, false, g, y, ROWS, n, is_log);
      for (int64_t r = 0; r < ROWS; r++) {
        double sum = 0;
        for (int64_t i = r * n; i < (r + 1) * n; i++)
          sum += (double)g[i] * (is_log ? 1 : (double)y[i]);
        for (int64_t i = r * n; i < (r + 1) * n; i++) {
          const double yi = (double)y[i];
          const double want = is_log ? (double)g[i] - exp(yi) * sum : yi * ((double)g[i] - sum);
          assert_close((double)base[i], want, 1e-7 * (1 + fabs(want)), "softmax backward");
        }
      }
      for (int adds = 0; adds < 2; adds++)
        for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
          memcpy(dx, g, (size_t)(ROWS * n) * sizeof *dx); /* in place */
          for (int64_t i = 0; i < ROWS * n; i++)
            expected[i] = adds ? g[i] + base[i] : base[i];
          mq_simd_softmax_at(level)->softmax_backward(dx, adds, adds ? g : dx, y, ROWS, n, is_log);
          help_assert_same(dx, expected, ROWS * n, "softmax backward");
        }
      mq_free(x);
      mq_free(y);
      mq_free(g);
    }
}

/* The definition: - sum target log softmax. */
static double entropy_plain(const double *x, int64_t label, int64_t n, double smoothing) {
  double max = x[0], sum = 0, loss = 0;
  for (int64_t i = 1; i < n; i++)
    max = fmax(max, x[i]);
  for (int64_t i = 0; i < n; i++)
    sum += exp(x[i] - max);
  for (int64_t i = 0; i < n; i++)
    loss -= ((1 - smoothing) * (i == label) + smoothing / (double)n) * (x[i] - max - log(sum));
  return loss;
}

static void check_row(const float *x, double loss, const float *dx, int64_t label, int64_t n,
                      double smoothing, double weight) {
  double wide[MAX_LENGTH] = {0};
  const double h = 1e-4;
  for (int64_t i = 0; i < n; i++)
    wide[i] = (double)x[i];
  assert_close(loss, entropy_plain(wide, label, n, smoothing), 1e-12 * (1 + loss), "loss");
  for (int64_t i = 0; i < n; i += 1 + n / 11) {
    const double middle = wide[i];
    wide[i] = middle + h;
    const double above = entropy_plain(wide, label, n, smoothing);
    wide[i] = middle - h;
    const double below = entropy_plain(wide, label, n, smoothing);
    wide[i] = middle;
    assert_close((double)dx[i], weight * (above - below) / (2 * h), 1e-7, "gradient of the loss");
  }
}

static void test_cross_entropy(void **state) {
  (void)state;
  const double smoothings[] = {0, 0.1};
  float dx[ROWS * MAX_LENGTH], other[MAX_LENGTH];
  double loss[ROWS], alone[ROWS];
  for (size_t l = 0; l < 2 * N_LENGTHS; l++) {
    const int64_t n = lengths[l / 2], labels[ROWS] = {n / 2, -1, n - 1};
    const double smoothing = smoothings[l % 2], weight = 0.25;
    float *x = help_random(ROWS * n, l);
    for (int64_t i = 0; i < ROWS * n; i++)
      x[i] *= 6;
    mq_cross_entropy_rows(loss, dx, NULL, x, labels, ROWS, n, smoothing, weight);
    mq_cross_entropy_rows(alone, NULL, NULL, x, labels, ROWS, n, smoothing, weight);
    assert_memory_equal(loss, alone, sizeof loss);
    check_row(x, loss[0], dx, labels[0], n, smoothing, weight);
    check_row(x + 2 * n, loss[2], dx + 2 * n, labels[2], n, smoothing, weight);
    assert_true(loss[1] == 0);
    for (int64_t i = n; i < 2 * n; i++)
      assert_true(dx[i] == 0);
    const struct mq_simd_entropy entropy = {n, smoothing, (1 - smoothing) + smoothing / (double)n,
                                            smoothing / (double)n, weight};
    for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
      const double value = mq_simd_softmax_at(level)->cross_entropy(other, x, labels[0], &entropy);
      assert_memory_equal(&value, &loss[0], sizeof value);
      help_assert_same(other, dx, n, "gradient of the loss");
    }
    mq_cross_entropy_rows(NULL, x, NULL, x, labels, ROWS, n, smoothing, weight);
    help_assert_same(x, dx, ROWS * n, "gradient in the logits' place");
    mq_free(x);
  }
}

/* Large logits, and ones of -infinity, give the limits. */
static void test_extremes(void **state) {
  (void)state;
  const float x[] = {1e30f, -1e30f, -INFINITY}, bad[] = {0, NAN, 1};
  const int64_t first = 0, second = 1;
  float dx[3];
  double loss;
  mq_cross_entropy_rows(&loss, dx, NULL, x, &first, 1, 3, 0, 1);
  assert_true(loss == 0 && dx[0] == 0 && dx[1] == 0 && dx[2] == 0);
  mq_cross_entropy_rows(&loss, dx, NULL, x, &second, 1, 3, 0, 1);
  assert_close(loss / 2e30, 1, 1e-6, "loss");
  assert_true(dx[0] == 1 && dx[1] == -1);
  mq_cross_entropy_rows(&loss, dx, NULL, bad, &first, 1, 3, 0.1, 1);
  assert_true(isnan(loss) && isnan(dx[0]) && isnan(dx[1]) && isnan(dx[2]));
}

static void test_is_correct(void **state) {
  (void)state;
  const float x[] = {1, 3, 3, 0, 5, NAN, 1, 2, 2, 2, 2, 2};
  const int64_t labels[][3] = {{1, 0, 0}, {2, 1, 1}, {-1, -1, -1}};
  bool is_correct[3];
  mq_cross_entropy_rows(NULL, NULL, is_correct, x, labels[0], 3, 4, 0, 1);
  assert_true(is_correct[0] && !is_correct[1] && is_correct[2]); /* NaN beside it: not correct */
  mq_cross_entropy_rows(NULL, NULL, is_correct, x, labels[1], 3, 4, 0, 1);
  assert_true(!is_correct[0] && !is_correct[1] && !is_correct[2]);
  mq_cross_entropy_rows(NULL, NULL, is_correct, x, labels[2], 3, 4, 0, 1);
  assert_true(!is_correct[0] && !is_correct[1] && !is_correct[2]);
}

static int run_group(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_softmax_backward),
                                     cmocka_unit_test(test_cross_entropy), cmocka_unit_test(test_extremes),
                                     cmocka_unit_test(test_is_correct)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
  return help_run_levels(run_group);
}
