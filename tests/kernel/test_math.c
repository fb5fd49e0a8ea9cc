#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/help_kernel.h"

#define N_SAMPLES 200000

/* Error in units in the last place of a double; the references are long double. */
static double ulps(double got, long double expected) {
  const double rounded = (double)expected;
  if (isnan(expected) || isinf(rounded) || rounded == 0)
    return got == rounded || (isnan(got) && isnan(rounded)) ? 0 : 1e9;
  const double ulp = nextafter(fabs(rounded), INFINITY) - fabs(rounded);
  return (double)(fabsl((long double)got - expected) / (long double)ulp);
}

typedef double (*double_fn)(double);
typedef long double (*long_fn)(long double);

/* The worst error over random x in [lo, hi], or of 2^x there. */
static double worst(double_fn own, long_fn exact, double lo, double hi, bool is_exponent) {
  struct mq_rng rng;
  double most = 0;
  mq_rng_init(&rng, 1, MQ_RNG_TEST, 0, 0);
  for (int i = 0; i < N_SAMPLES; i++) {
    double x = lo + (hi - lo) * mq_rng_double(&rng);
    if (is_exponent) x = exp2(x);
    most = fmax(most, ulps(own(x), exact((long double)x)));
  }
  return most;
}

static void expect_below(double_fn own, long_fn exact, double lo, double hi, bool is_exponent, double limit,
                         const char *name) {
  const double most = worst(own, exact, lo, hi, is_exponent);
  print_message("%s on [%g, %g]: %.3f ulp\n", name, lo, hi, most);
  if (!(most < limit)) fail_msg("%s on [%g, %g]: %.3f ulp, expected below %.2f", name, lo, hi, most, limit);
}

/* Valgrind computes long double with the precision of double: nothing to compare with. */
static bool has_long_double(void) {
  const volatile long double one = 1, small = 0x1p-60L;
  return one + small != one;
}

static void test_double_accuracy(void **state) {
  (void)state;
  if (!has_long_double()) skip();
  expect_below(mq_exp, expl, -1, 1, false, 1.0, "exp");
  expect_below(mq_exp, expl, -740, 709, false, 1.0, "exp");
  expect_below(mq_log, logl, -1070, 1023, true, 1.0, "log 2^x");
  expect_below(mq_log, logl, 0.4, 2.5, false, 1.0, "log");
  expect_below(mq_log, logl, 0.999, 1.001, false, 1.0, "log");
  expect_below(mq_log2, log2l, -1070, 1023, true, 2.0, "log2 2^x");
  expect_below(mq_log2, log2l, 0.4, 2.5, false, 2.5, "log2");
  expect_below(mq_sin, sinl, -4, 4, false, 1.0, "sin");
  expect_below(mq_sin, sinl, -1e6, 1e6, false, 1.0, "sin");
  expect_below(mq_cos, cosl, -4, 4, false, 1.0, "cos");
  expect_below(mq_cos, cosl, -1e6, 1e6, false, 1.0, "cos");
}

static void test_log2_of_powers(void **state) {
  (void)state;
  for (int k = -1074; k < 1024; k++)
    assert_true(mq_log2(ldexp(1, k)) == k);
}

static void test_special_values(void **state) {
  (void)state;
  assert_true(mq_exp(0) == 1 && mq_exp(-INFINITY) == 0 && mq_exp(INFINITY) == INFINITY && isnan(mq_exp(NAN)));
  assert_true(mq_exp(710) == INFINITY && mq_exp(-746) == 0 && mq_exp(-745) > 0 && mq_exp(1e300) == INFINITY);
  assert_true(mq_log(0) == -INFINITY && isnan(mq_log(-1)) && mq_log(INFINITY) == INFINITY && mq_log(1) == 0);
  assert_true(isnan(mq_log(NAN)) && mq_log2(0) == -INFINITY && isnan(mq_log2(-1)));
  assert_true(isnan(mq_sin(INFINITY)) && isnan(mq_cos(NAN)) && mq_sin(0) == 0 && mq_cos(0) == 1);
  assert_true(signbit(mq_sin(-0.0)) && signbit(mq_tanhf(-0.0f)));
  assert_true(mq_tanhf(INFINITY) == 1 && mq_tanhf(-100) == -1 && isnan(mq_tanhf(NAN)));
  assert_true(fabs(mq_sin(1e300)) <= 1 && fabs(mq_cos(-1e18)) <= 1);
  assert_true(mq_expf(-200) == 0 && mq_expf(89) == INFINITY && isnan(mq_logf(-1)) && mq_logf(0) == -INFINITY);
}

/* Floats come from double arithmetic: wrong only where the exact value lies next to a rounding boundary. */
static void test_float_accuracy(void **state) {
  (void)state;
  struct mq_rng rng;
  int n_wrong = 0;
  mq_rng_init(&rng, 2, MQ_RNG_TEST, 0, 0);
  for (int i = 0; i < N_SAMPLES; i++) {
    const float x = 200 * mq_rng_float(&rng) - 100, small = x * 0.05f, positive = expf(x * 0.8f);
    n_wrong += mq_expf(x) != (float)expl((long double)x);
    n_wrong += mq_tanhf(small) != (float)tanhl((long double)small);
    n_wrong += mq_tanhf(small * 1e-4f) != (float)tanhl((long double)(small * 1e-4f));
    n_wrong += mq_logf(positive) != (float)logl((long double)positive);
  }
  assert_true(n_wrong <= 2);
}

static void mix(uint64_t *hash, double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  *hash = (*hash ^ bits) * 0x100000001b3u;
}

/* The same bits wherever this runs: a hash over fixed arguments, recorded once. */
static void test_recorded_bits(void **state) {
  (void)state;
  uint64_t hash = 0;
  for (int i = 1; i < 5000; i++) {
    const double x = (double)i * 0.037;
    mix(&hash, mq_exp(x - 90));
    mix(&hash, mq_log(x));
    mix(&hash, mq_log2(x));
    mix(&hash, mq_sin(x));
    mix(&hash, mq_cos(x));
    mix(&hash, (double)mq_tanhf((float)x * 0.01f));
  }
  assert_true(hash == 0x7ff20bf3725b8ccc);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_double_accuracy), cmocka_unit_test(test_log2_of_powers),
      cmocka_unit_test(test_special_values),  cmocka_unit_test(test_float_accuracy),
      cmocka_unit_test(test_recorded_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
