/* Rounding, fused products, elementary functions and checksums against libm and plain loops. */
#include "program/number.h"

#include "program/file.h"
#include "program/help_program.h"

static float any_float(struct help *help) {
  const uint32_t bits = help_random(help, 1 << 16) << 16 | help_random(help, 1 << 16);
  return program_float_of(bits);
}

static void test_rounding(void **state) {
  (void)state;
  struct help help;
  help_begin(&help, 3);
  for (int i = -4000; i <= 4000; i++) {
    const float x = (float)i / 8;
    assert_int_equal(program_round_even(x), (int)rintf(x));
    assert_int_equal(program_round_away(x), (int)roundf(x));
  }
  for (int i = 0; i < 200000; i++) {
    const float x = help_uniform(&help, -1, 1) * ldexpf(1, (int)help_random(&help, 30));
    assert_int_equal(program_round_even(x), (int)rintf(x));
    assert_int_equal(program_round_away(x), (int)roundf(x));
  }
  assert_int_equal(program_round_even(INFINITY), 1 << 30);
  assert_int_equal(program_round_even(NAN), -(1 << 30));
  assert_int_equal(program_round_away(-INFINITY), -(1 << 30));
}

static void test_round_double(void **state) {
  (void)state;
  struct help help;
  int32_t whole;
  help_begin(&help, 4);
  for (int i = 0; i < 100000; i++) {
    const double x = (double)help_uniform(&help, -1, 1) * ldexp(1, (int)help_random(&help, 32));
    const bool fits = program_round_double(&whole, x);
    assert_int_equal(fits, fabs(rint(x)) < 0x1p31);
    if (fits) assert_int_equal(whole, (int)rint(x));
  }
  assert_true(program_round_double(&whole, 2.5) && whole == 2);
  assert_true(program_round_double(&whole, -3.5) && whole == -4);
  assert_true(program_round_double(&whole, 2147483647.4) && whole == INT32_MAX);
  assert_false(program_round_double(&whole, 2147483647.5));
  assert_false(program_round_double(&whole, -2147483648.0));
  assert_false(program_round_double(&whole, (double)NAN));
}

static bool same(float a, float b) {
  return (isnan(a) && isnan(b)) || program_float_bits(a) == program_float_bits(b);
}

/* The C library's fmaf is exact. Any bits, operands of like size, and sums that cancel or lie near a tie. */
static void test_fma(void **state) {
  (void)state;
  struct help help;
  help_begin(&help, 5);
  for (int i = 0; i < 400000; i++) {
    float a = any_float(&help), b = any_float(&help), c = any_float(&help);
    if (i % 4 == 1)
      a = help_uniform(&help, -2, 2), b = help_uniform(&help, -2, 2), c = help_uniform(&help, -2, 2);
    if (i % 4 == 2) c = -a * b;
    if (i % 4 == 3) { /* a b is a tie of floats; c, lost in a double, breaks it */
      a = 1 + (float)(2 * help_random(&help, 1 << 10) + 1) * 0x1p-12f;
      b = 1 + (float)(2 * help_random(&help, 1 << 10) + 1) * 0x1p-12f;
      c = ldexpf(help_random(&help, 2) ? 1 : -1, -20 - (int)help_random(&help, 60));
    }
    if (!same(program_fma(a, b, c), fmaf(a, b, c)))
      fail_msg("fma(%a, %a, %a): %a, expected %a", (double)a, (double)b, (double)c,
               (double)program_fma(a, b, c), (double)fmaf(a, b, c));
  }
}

static void test_split(void **state) {
  (void)state;
  const double values[] = {1, 0.5, 0.75, 3, 1e-300, 1e300, 0x1p-1074, 0x1.8p-1023, 0.0123};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    int expected;
    int32_t exponent;
    const double fraction = frexp(values[i], &expected);
    assert_true(program_split(&exponent, values[i]) == fraction);
    assert_int_equal(exponent, expected);
  }
}

static void test_functions(void **state) {
  (void)state;
  struct help help;
  float x[37], y[37];
  help_begin(&help, 6);
  for (int i = 0; i < 20000; i++) {
    const float v = help_uniform(&help, -110, 110);
    const double expected = 1 / (1 + exp(-(double)v));
    assert_true(fabs((double)program_sigmoid(v) - expected) <= 4e-7 * expected + 1e-44);
  }
  assert_true(isnan(program_sigmoid(NAN)));
  for (int n = 1; n <= 37; n++) {
    double sum = 0;
    for (int i = 0; i < n; i++)
      x[i] = help_uniform(&help, -30, 80), sum += exp((double)x[i]);
    program_softmax(y, x, n);
    for (int i = 0; i < n; i++)
      assert_true(fabs((double)y[i] - exp((double)x[i]) / sum) <= 2e-7 * exp((double)x[i]) / sum + 1e-44);
  }
}

static void test_crc(void **state) {
  (void)state;
  assert_int_equal(program_crc("123456789", 9), 0xe3069283);
  assert_int_equal(program_crc("", 0), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rounding), cmocka_unit_test(test_round_double), cmocka_unit_test(test_fma),
      cmocka_unit_test(test_split),    cmocka_unit_test(test_functions),    cmocka_unit_test(test_crc),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
