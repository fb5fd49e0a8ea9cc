/* Codes of fake quantization and LSQ's backward pass, every instruction set. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/help_kernel.h"
#include "kernel/simd/codes.h"

static const int64_t lengths[] = {1, 3, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 147, 1027};
#define N_LENGTHS (sizeof lengths / sizeof *lengths)
#define MAX_LENGTH 1027

static const struct mq_fake_quant quantizers[] = {
    {0.01f, 0, -128, 127}, {0.25f, 0, -128, 127}, {0.037f, 113, 0, 255}, {0.125f, 0, -8, 7},
    {0.07f, 3, 0, 15},     {0.25f, 0, 0, 3},      {0.01f, 0, -127, 127}, {1e-38f, 0, -2, 1},
    {1e30f, 255, 0, 255},  {0.5f, -5, -8, 7},     {FLT_EPSILON, 1, 0, 3}};
#define N_QUANTIZERS (sizeof quantizers / sizeof *quantizers)

static const float odd_values[] = {0.0f,    -0.0f,    1e-45f,   -1e-45f,   FLT_MIN,    1e10f,
                                   FLT_MAX, -FLT_MAX, INFINITY, -INFINITY, 8388609.0f, -2147483648.0f};
#define N_ODD ((int64_t)(sizeof odd_values / sizeof *odd_values))

/* Ties, values at and beside the bounds, random ones inside and outside, and odd ones; no NaN. */
static float *values_for(const struct mq_fake_quant *fq, int64_t n, uint64_t seed) {
  float *x = help_random(n, seed);
  const float lo = fq->quant_min - fq->zero_point, hi = fq->quant_max - fq->zero_point, s = fq->scale;
  const float edges[] = {lo, hi, lo - 0.5f, hi + 0.5f, lo + 0.5f, hi - 0.5f, lo - 1, hi + 1};
  for (int64_t i = 0; i < n; i++) {
    const float middle = 0.5f * (lo + hi), spread = 0.75f * (hi - lo);
    if (i % 7 == 3)
      x[i] = odd_values[i / 7 % N_ODD];
    else if (i % 7 == 5)
      x[i] = s * edges[i / 7 % 8];
    else if (i % 7 == 6)
      x[i] = s * (floorf(x[i] * spread + middle) + 0.5f);
    else
      x[i] = s * (x[i] * spread + middle);
    if (i % 21 == 12) x[i] = nextafterf(x[i], i % 2 ? INFINITY : -INFINITY);
  }
  return x;
}

static double code_at(const void *codes, bool is_signed, int64_t i) {
  return is_signed ? (double)((const int8_t *)codes)[i] : (double)((const uint8_t *)codes)[i];
}

/* q against rne(x / s) + z in double; back to real values against fake quantization, bit for bit. */
static void check_codes(const struct mq_fake_quant *fq, int64_t n, uint64_t seed) {
  const bool is_signed = fq->quant_min < 0;
  float *x = values_for(fq, n, seed), expected[MAX_LENGTH], y[MAX_LENGTH];
  uint8_t codes[MAX_LENGTH];
  mq_loop_fake_quantize(expected, x, n, fq);
  for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
    const struct mq_simd_codes *table = mq_simd_codes_at(level);
    memset(codes, 0x55, sizeof codes);
    assert_true(table->quantize(codes, is_signed, x, n, fq));
    for (int64_t i = 0; i < n; i++) {
      const volatile float v = x[i] / fq->scale;
      const double q = nearbyint((double)v) + (double)fq->zero_point;
      const double clipped = fmin(fmax(q, (double)fq->quant_min), (double)fq->quant_max);
      if (code_at(codes, is_signed, i) != clipped)
        fail_msg("code of %a: %g, expected %g", (double)x[i], code_at(codes, is_signed, i), clipped);
    }
    table->dequantize(y, codes, is_signed, n, fq->scale, fq->zero_point);
    help_assert_same(y, expected, n, "codes and back");
  }
  assert_true(mq_loop_quantize_codes(codes, is_signed, x, n, fq));
  mq_loop_dequantize_codes(y, codes, is_signed, n, fq->scale, fq->zero_point);
  help_assert_same(y, expected, n, "codes and back");
  mq_free(x);
}

static void test_codes(void **state) {
  (void)state;
  for (size_t k = 0; k < N_QUANTIZERS; k++)
    for (size_t l = 0; l < N_LENGTHS; l++)
      check_codes(&quantizers[k], lengths[l], 10 * k + l);
}

/* A NaN anywhere is told, and has the least code. */
static void test_nan_is_told(void **state) {
  (void)state;
  for (size_t k = 0; k < N_QUANTIZERS; k++)
    for (int64_t at = 0; at < 100; at += 9)
      for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
        const bool is_signed = quantizers[k].quant_min < 0;
        float *x = help_random(100, 1);
        uint8_t codes[100];
        x[at] = NAN;
        assert_false(mq_simd_codes_at(level)->quantize(codes, is_signed, x, 100, &quantizers[k]));
        assert_true(code_at(codes, is_signed, at) == (double)quantizers[k].quant_min);
        mq_free(x);
      }
}

/* All codes and all zero points of 8 bits. */
static void test_bf16_is_exact(void **state) {
  (void)state;
  for (int is_signed = 0; is_signed < 2; is_signed++)
    for (int zero_point = is_signed ? -128 : 0; zero_point <= (is_signed ? 127 : 255); zero_point++) {
      uint8_t codes[259];
      uint16_t y[259], base[259];
      for (int i = 0; i < 259; i++)
        codes[i] = (uint8_t)i;
      mq_loop_center_codes_bf16(base, codes, is_signed, 259, (float)zero_point);
      for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
        mq_simd_codes_at(level)->center_bf16(y, codes, is_signed, 259, (float)zero_point);
        assert_memory_equal(y, base, sizeof y);
      }
      for (int i = 0; i < 259; i++) {
        const uint32_t bits = (uint32_t)y[i] << 16;
        float value;
        memcpy(&value, &bits, sizeof value);
        assert_true((double)value == code_at(codes, is_signed, i) - (double)zero_point);
      }
    }
}

/* One element of the definition as papers write it: q - z, x/s and m. */
struct lsq_term {
  bool is_inside;
  double scale, outside;
};

static struct lsq_term lsq_plain(float g, float x, const struct mq_fake_quant *fq, bool after) {
  const volatile float v = x / fq->scale;
  const double z = (double)fq->zero_point, n = (double)fq->quant_min, p = (double)fq->quant_max;
  const double rounded = nearbyint((double)v) + z, masked = after ? rounded - z : (double)v;
  const bool is_inside = masked >= n - z && masked <= p - z; /* exact: v + z may not be */
  const double q = fmin(fmax(rounded, n), p);
  return (struct lsq_term){is_inside, (double)g * (q - z - (is_inside ? (double)v : 0)),
                           is_inside ? 0 : -(double)fq->scale * (double)g};
}

static void check_lsq(const struct mq_fake_quant *fq, int64_t n, bool adds, bool after, uint64_t seed) {
  float *x = values_for(fq, n, seed), *g = help_random(n, seed + 1), *start = help_random(n, seed + 2);
  float dx[MAX_LENGTH], expected[MAX_LENGTH];
  double sums[2], base[2] = {0.25, -3}, plain[2] = {0.25, -3}, size[2] = {4, 4};
  for (int64_t i = 0; i < n; i++) {
    const struct lsq_term term = lsq_plain(g[i], x[i], fq, after);
    expected[i] = (adds ? start[i] : 0) + (term.is_inside ? g[i] : 0);
    plain[0] += term.scale;
    plain[1] += term.outside;
    size[0] += fabs(term.scale);
    size[1] += fabs(term.outside);
  }
  memcpy(dx, adds ? start : g, (size_t)n * sizeof *dx);
  mq_loop_lsq_backward(dx, adds, base, adds ? g : dx, x, n, fq, after);
  help_assert_same(dx, expected, n, "lsq");
  for (int k = 0; k < 2; k++)
    if (!(fabs(base[k] - plain[k]) <= 1e-14 * size[k]))
      fail_msg("lsq sum %d of scale %g: %.17g, expected %.17g", k, (double)fq->scale, base[k], plain[k]);
  for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
    memcpy(dx, start, (size_t)n * sizeof *dx);
    sums[0] = 0.25, sums[1] = -3;
    mq_simd_codes_at(level)->lsq_backward(dx, adds, sums, g, x, n, fq, after);
    help_assert_same(dx, expected, n, "lsq");
    assert_memory_equal(sums, base, sizeof sums);
  }
  mq_free(x);
  mq_free(g);
  mq_free(start);
}

static void test_lsq(void **state) {
  (void)state;
  for (size_t k = 0; k < N_QUANTIZERS; k++)
    for (size_t l = 0; l < N_LENGTHS; l++)
      for (int options = 0; options < 4; options++)
        check_lsq(&quantizers[k], lengths[l], options & 1, options & 2, 10 * k + l);
}

/* Fake quantization whose rounding error stays what it is at (scale, zero_point): what straight-through
 * means.
 */
static double frozen(double x, double error, double scale, double zero_point,
                     const struct mq_fake_quant *fq) {
  const double q = x / scale + error + zero_point;
  return scale * (fmin(fmax(q, (double)fq->quant_min), (double)fq->quant_max) - zero_point);
}

/* The sums and dx are the gradients of sum g y, away from the bounds. */
static void test_finite_differences(void **state) {
  (void)state;
  const struct mq_fake_quant fq = {0.07f, 3, 0, 15};
  const double s = (double)fq.scale, z = (double)fq.zero_point, h = 1e-7;
  const int64_t n = 200;
  float *x = help_random(n, 1), *g = help_random(n, 2), dx[200];
  double sums[2] = {0, 0}, expected[2] = {0, 0};
  mq_loop_lsq_backward(dx, false, sums, g, x, n, &fq, true);
  int64_t n_outside = 0;
  for (int64_t i = 0; i < n; i++) {
    const double v = (double)x[i], gi = (double)g[i], e = nearbyint(v / s) - v / s;
    expected[0] += gi * (frozen(v, e, s + h, z, &fq) - frozen(v, e, s - h, z, &fq)) / (2 * h);
    expected[1] += gi * (frozen(v, e, s, z + h, &fq) - frozen(v, e, s, z - h, &fq)) / (2 * h);
    const double slope = (frozen(v + h, e, s, z, &fq) - frozen(v - h, e, s, z, &fq)) / (2 * h);
    /* Values that round to a bound are on the corner: differences see half of it. */
    const double q = nearbyint(v / s) + z;
    if (q == (double)fq.quant_min || q == (double)fq.quant_max) {
      const struct lsq_term term = lsq_plain(g[i], x[i], &fq, true);
      expected[0] += term.scale - gi * (frozen(v, e, s + h, z, &fq) - frozen(v, e, s - h, z, &fq)) / (2 * h);
      expected[1] +=
          term.outside - gi * (frozen(v, e, s, z + h, &fq) - frozen(v, e, s, z - h, &fq)) / (2 * h);
    } else {
      assert_true(fabs((double)dx[i] - gi * slope) < 1e-6);
    }
    n_outside += dx[i] == 0;
  }
  assert_true(n_outside > 20 && n_outside < 180);
  assert_true(fabs(sums[0] - expected[0]) < 1e-4 && fabs(sums[1] - expected[1]) < 1e-4);
  mq_free(x);
  mq_free(g);
}

static void test_lsq_nan(void **state) {
  (void)state;
  for (int options = 0; options < 2; options++)
    for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
      float *x = help_random(40, 1), *g = help_random(40, 2), dx[40];
      double sums[2] = {0, 0};
      x[20] = NAN;
      mq_simd_codes_at(level)->lsq_backward(dx, false, sums, g, x, 40, &quantizers[0], options);
      assert_true(isnan(sums[0]) && dx[20] == 0);
      mq_free(x);
      mq_free(g);
    }
}

static int run_group(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_codes),
      cmocka_unit_test(test_nan_is_told),
      cmocka_unit_test(test_bf16_is_exact),
      cmocka_unit_test(test_lsq),
      cmocka_unit_test(test_finite_differences),
      cmocka_unit_test(test_lsq_nan),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
  return help_run_levels(run_group);
}
