#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/help_kernel.h"
#include "kernel/simd/elementwise.h"
#include "kernel/simd/reduce.h"
#include "kernel/simd/softmax.h"

/* Lengths around every vector width. */
static const int64_t lengths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 200, 1027};
#define N_LENGTHS (sizeof lengths / sizeof *lengths)
#define MAX_LENGTH 1027

static const float odd_values[] = {
    0.0f,     -0.0f, 1e-45f, -1e-45f,       FLT_MIN,   -FLT_MIN,   0.5f,      -0.5f,
    1.5f,     2.5f,  -2.5f,  4194304,       4194305,   8388607.5f, 8388609,   16777216,
    -8388609, 1e10f, -1e10f, FLT_MAX,       -FLT_MAX,  INFINITY,   -INFINITY, NAN,
    -104.5f,  88.8f, -88.8f, 2147483648.0f, 0.124999f, 0.375f,     -0.375f,   0.1249999f};
#define N_ODD ((int64_t)(sizeof odd_values / sizeof *odd_values))

/* Random values of several magnitudes with the odd ones among them. */
static float *mixed_values(int64_t n, uint64_t seed) {
  float *x = help_random(n, seed);
  const float magnitudes[] = {1, 10, 0.01f, 1000, 3, 100};
  for (int64_t i = 0; i < n; i++)
    x[i] *= magnitudes[i % 6];
  for (int64_t i = 0; i < n / 5; i++)
    x[i * 5] = odd_values[i % N_ODD];
  return x;
}

/* The definition of quant.h, in double where the exact value matters. */
static float fake_quantize_plain(float x, const struct mq_fake_quant *fq) {
  const float v = x / fq->scale;
  double q = nearbyint((double)v) + (double)fq->zero_point;
  if (q < (double)fq->quant_min) q = (double)fq->quant_min;
  if (q > (double)fq->quant_max) q = (double)fq->quant_max;
  return isnan(x) ? NAN : fq->scale * (float)(q - (double)fq->zero_point);
}

static const struct mq_fake_quant quantizers[] = {
    {0.1f, 0, -128, 127},     {0.25f, 0, -128, 127},
    {0.037f, 113, 0, 255},    {1, 0, -8, 7},
    {0.5f, 3, 0, 15},         {1e-3f, -32768, -32768, 32767},
    {3e-4f, 65535, 0, 65535}, {1e-38f, 0, -2, 1},
    {1e30f, 255, 0, 255},     {0.125f, 0, 0, 3},
    {1, 0, -127, 127},        {FLT_EPSILON, 1, 0, 3},
};

static void test_fake_quantize(void **state) {
  (void)state;
  float expected[MAX_LENGTH], y[MAX_LENGTH];
  for (size_t k = 0; k < sizeof quantizers / sizeof *quantizers; k++)
    for (size_t l = 0; l < N_LENGTHS; l++) {
      const int64_t n = lengths[l];
      float *x = mixed_values(n, 10 * k + l);
      for (int64_t i = 0; i < n; i++)
        expected[i] = fake_quantize_plain(x[i], &quantizers[k]);
      for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
        mq_simd_elementwise_at(level)->fake_quantize(y, x, n, &quantizers[k]);
        help_assert_same(y, expected, n, "fake quantize");
      }
      mq_loop_fake_quantize(x, x, n, &quantizers[k]);
      help_assert_same(x, expected, n, "fake quantize in place");
      mq_free(x);
    }
}

/* Every multiple of half a step over the range of 16 bits: ties go to even. */
static void test_fake_quantize_ties(void **state) {
  (void)state;
  const int64_t n = 4 * 32768 + 9;
  const struct mq_fake_quant fq = {0.5f, 0, -32768, 32767};
  float *x = help_random(n, 1), *y = help_random(n, 2), *expected = help_random(n, 3);
  for (int64_t i = 0; i < n; i++) {
    x[i] = (float)(i - n / 2) * 0.25f;
    expected[i] = fake_quantize_plain(x[i], &fq);
  }
  for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
    mq_simd_elementwise_at(level)->fake_quantize(y, x, n, &fq);
    help_assert_same(y, expected, n, "ties");
  }
  mq_free(x);
  mq_free(y);
  mq_free(expected);
}

static float clip_plain(float v, float lo, float hi) {
  return v < lo ? lo : v > hi ? hi : v;
}

static void test_affine_add_clip(void **state) {
  (void)state;
  float y[3 * MAX_LENGTH], expected[3 * MAX_LENGTH];
  for (size_t l = 0; l < N_LENGTHS; l++) {
    const int64_t n = lengths[l];
    float *x = mixed_values(3 * n, l), *gain = help_random(n, 50 + l), *shift = help_random(n, 90 + l);
    float *other = mixed_values(3 * n, 77 + l);
    for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
      const struct mq_simd_elementwise *table = mq_simd_elementwise_at(level);
      for (int64_t i = 0; i < 3 * n; i++) {
        const volatile float product = x[i] * gain[i % n]; /* no fused multiply-add */
        expected[i] = clip_plain(product + shift[i % n], -1, INFINITY);
      }
      table->affine(y, x, 3, n, gain, shift, -1, INFINITY);
      help_assert_same(y, expected, 3 * n, "affine");
      for (int64_t i = 0; i < 3 * n; i++)
        expected[i] = clip_plain(x[i] + other[i], 0, 6);
      table->add(y, x, other, 3 * n, 0, 6);
      help_assert_same(y, expected, 3 * n, "add");
      for (int64_t i = 0; i < 3 * n; i++)
        expected[i] = clip_plain(x[i], -0.5f, 0.25f);
      table->clip(y, x, 3 * n, -0.5f, 0.25f);
      help_assert_same(y, expected, 3 * n, "clip");
    }
    mq_free(x);
    mq_free(gain);
    mq_free(shift);
    mq_free(other);
  }
}

static double unary_plain(double x, mq_unary unary, double alpha, double beta) {
  switch (unary) {
    case MQ_UNARY_SIGMOID:
      return 1 / (1 + exp(-x));
    case MQ_UNARY_HARD_SIGMOID:
      return isnan(x) ? x : fmax(0, fmin(1, alpha * x + beta));
    case MQ_UNARY_HARD_SWISH:
      return isnan(x) ? x : x * fmax(0, fmin(1, x / 6 + 0.5));
    case MQ_UNARY_LEAKY_RELU:
      break;
  }
  return x >= 0 ? x : alpha * x;
}

static void test_unary(void **state) {
  (void)state;
  const float alpha = 0.2f, beta = 0.5f;
  const int64_t n = 1021;
  float base[1021], y[1021];
  for (uint64_t seed = 0; seed < 20; seed++) {
    float *x = mixed_values(n, seed);
    for (mq_unary unary = MQ_UNARY_SIGMOID; unary <= MQ_UNARY_LEAKY_RELU; unary++) {
      mq_simd_elementwise_at(MQ_SIMD_BASE)->unary(base, x, n, unary, alpha, beta);
      for (mq_simd_level level = MQ_SIMD_AVX2; level <= mq_simd_level_best(); level++) {
        mq_simd_elementwise_at(level)->unary(y, x, n, unary, alpha, beta);
        help_assert_same(y, base, n, "unary");
      }
      for (int64_t i = 0; i < n; i++) {
        const double expected = unary_plain((double)x[i], unary, (double)alpha, (double)beta);
        const double tolerance = fmax(fabs(expected) * 3 * (double)FLT_EPSILON, 2e-45);
        if (isnan(expected) ? !isnan(base[i])
                            : base[i] != (float)expected &&
                                  !(fabs((double)base[i] - expected) <=
                                    fmax(tolerance, 3e-7 * (double)(unary == MQ_UNARY_HARD_SIGMOID ||
                                                                    unary == MQ_UNARY_HARD_SWISH))))
          fail_msg("unary %d of %a: %a, expected %a", (int)unary, (double)x[i], (double)base[i], expected);
      }
    }
    mq_free(x);
  }
}

/* Sigmoid over its whole range, in units in the last place. */
static void test_sigmoid_accuracy(void **state) {
  (void)state;
  const int64_t n = 400001;
  float *x = help_random(n, 5), *y = help_random(n, 6);
  double worst = 0;
  for (int64_t i = 0; i < n; i++)
    x[i] = (float)(i - n / 2) * (104.0f / 200000.0f);
  mq_loop_unary(y, x, n, MQ_UNARY_SIGMOID, 0, 0);
  for (int64_t i = 0; i < n; i++) {
    const double expected = 1 / (1 + exp(-(double)x[i]));
    const double ulp = (double)nextafterf((float)expected, INFINITY) - (double)(float)expected;
    worst = fmax(worst, fabs((double)y[i] - expected) / ulp);
  }
  assert_true(worst < 3.0);
  mq_free(x);
  mq_free(y);
}

static void test_softmax(void **state) {
  (void)state;
  float y[2 * MAX_LENGTH], base[2 * MAX_LENGTH];
  for (size_t l = 0; l < N_LENGTHS; l++)
    for (int is_log = 0; is_log < 2; is_log++) {
      const int64_t n = lengths[l];
      float *x = help_random(2 * n, l);
      for (int64_t i = 0; i < 2 * n; i++)
        x[i] *= 20;
      x[0] = -INFINITY;
      if (n == 1) x[0] = 3;
      mq_simd_softmax_at(MQ_SIMD_BASE)->softmax(base, x, 2, n, is_log);
      for (mq_simd_level level = MQ_SIMD_AVX2; level <= mq_simd_level_best(); level++) {
        mq_simd_softmax_at(level)->softmax(y, x, 2, n, is_log);
        help_assert_same(y, base, 2 * n, "softmax");
      }
      for (int64_t r = 0; r < 2; r++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
          sum += exp((double)x[r * n + i]);
        for (int64_t i = 0; i < n; i++) {
          const double p = is_log ? (double)x[r * n + i] - log(sum) : exp((double)x[r * n + i]) / sum;
          const double got = (double)base[r * n + i];
          assert_true(got == p ||
                      fabs(got - p) <= fabs(p) * 2 * (double)FLT_EPSILON + (is_log ? 1e-13 : 1e-45));
        }
      }
      mq_softmax_rows(x, x, 2, n, is_log);
      help_assert_same(x, base, 2 * n, "softmax in place");
      mq_free(x);
    }
}

static void test_softmax_extremes(void **state) {
  (void)state;
  const float large[] = {1e30f, -1e30f, FLT_MAX}, with_nan[] = {0, NAN, 1};
  float y[3];
  mq_softmax_rows(y, large, 1, 3, false);
  assert_true(y[0] == 0 && y[1] == 0 && y[2] == 1);
  mq_softmax_rows(y, with_nan, 1, 3, false);
  assert_true(isnan(y[0]) && isnan(y[1]) && isnan(y[2]));
}

static void test_min_max(void **state) {
  (void)state;
  float lo, hi;
  for (size_t l = 0; l < N_LENGTHS; l++)
    for (int64_t nan_at = -1; nan_at < lengths[l]; nan_at += 1 + lengths[l] / 7) {
      const int64_t n = lengths[l];
      float *x = help_random(n, l);
      float expected_lo = INFINITY, expected_hi = -INFINITY;
      for (int64_t i = 0; i < n; i++) {
        expected_lo = fminf(expected_lo, x[i]);
        expected_hi = fmaxf(expected_hi, x[i]);
      }
      if (nan_at >= 0) x[nan_at] = expected_lo = expected_hi = NAN;
      for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
        mq_simd_reduce_at(level)->min_max(&lo, &hi, x, n);
        help_assert_same(&lo, &expected_lo, 1, "minimum");
        help_assert_same(&hi, &expected_hi, 1, "maximum");
      }
      mq_free(x);
    }
  mq_loop_min_max(&lo, &hi, NULL, 0);
  assert_true(lo == INFINITY && hi == -INFINITY);
}

static void test_moments(void **state) {
  (void)state;
  for (size_t l = 0; l < N_LENGTHS; l++) {
    const int64_t n = lengths[l];
    float *x = help_random(n, l);
    long double sum = 0, sum_abs = 0, sum_square = 0;
    double base[3], other[3];
    for (int64_t i = 0; i < n; i++) {
      sum += (long double)x[i];
      sum_abs += fabsl((long double)x[i]);
      sum_square += (long double)x[i] * (long double)x[i];
    }
    mq_simd_reduce_at(MQ_SIMD_BASE)->moments(&base[0], &base[1], &base[2], x, n);
    assert_true(fabs(base[0] - (double)sum) < 1e-10 && fabs(base[1] - (double)sum_abs) < 1e-10 &&
                fabs(base[2] - (double)sum_square) < 1e-10);
    for (mq_simd_level level = MQ_SIMD_AVX2; level <= mq_simd_level_best(); level++) {
      mq_simd_reduce_at(level)->moments(&other[0], &other[1], &other[2], x, n);
      assert_memory_equal(other, base, sizeof base);
    }
    mq_free(x);
  }
}

static void test_global_pools(void **state) {
  (void)state;
  const int64_t pixels = 37, channel_counts[] = {1, 3, 16, 50, 300};
  for (size_t k = 0; k < 5; k++) {
    const int64_t channels = channel_counts[k];
    float *x = help_random(2 * pixels * channels, k), *y = help_random(2 * channels, 9),
          *base = help_random(2 * channels, 8);
    for (int64_t i = 0; i < 2 * channels; i++) {
      double sum = 0;
      const float *image = x + i / channels * pixels * channels + i % channels;
      for (int64_t p = 0; p < pixels; p++)
        sum += (double)image[p * channels];
      base[i] = (float)(sum / (double)pixels);
    }
    mq_global_average(y, x, 2, pixels, channels);
    help_assert_same(y, base, 2 * channels, "global average");
    for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
      mq_simd_reduce_at(level)->mean_pixels(y, x, pixels, channels);
      help_assert_same(y, base, channels, "mean");
    }
    mq_global_max(y, x, 2, pixels, channels);
    for (int64_t i = 0; i < 2 * channels; i++) {
      float max = -INFINITY;
      const float *image = x + i / channels * pixels * channels + i % channels;
      for (int64_t p = 0; p < pixels; p++)
        max = fmaxf(max, image[p * channels]);
      assert_true(y[i] == max);
    }
    x[channels * 5] = NAN;
    mq_global_max(y, x, 2, pixels, channels);
    assert_true(isnan(y[0]) && (channels == 1 || !isnan(y[1])));
    mq_free(x);
    mq_free(y);
    mq_free(base);
  }
}

static int run_group(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fake_quantize),    cmocka_unit_test(test_fake_quantize_ties),
      cmocka_unit_test(test_affine_add_clip),  cmocka_unit_test(test_unary),
      cmocka_unit_test(test_sigmoid_accuracy), cmocka_unit_test(test_softmax),
      cmocka_unit_test(test_softmax_extremes), cmocka_unit_test(test_min_max),
      cmocka_unit_test(test_moments),          cmocka_unit_test(test_global_pools),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
  return help_run_levels(run_group);
}
