/* NNIE's logarithmic format against logarithms in double. */
#include <float.h>
#include <math.h>

#include "common.h"
#include "help_quant.h"
#include "help_train.h"

enum {
  ROWS = 6,
  COLUMNS = 400,
  ALL = ROWS * COLUMNS
};
static float x[ALL], y[ALL], dx[ALL], g[ALL];

static void steps_are_pytorchs(void **state) {
  (void)state;
  check_golden("nnie", 2e-7);
}

static double plain_nnie(double value, double most) {
  double z = rint(16 * log2(most)) - 127;
  if (value >= -exp2((z - 15) / 16) && value <= exp2((z - 16) / 16)) return 0;
  double code = fmin(fmax(rint(16 * log2(fabs(value))) - z, value > 0 ? 0 : 1), 127);
  return copysign(exp2((code + z) / 16), value);
}

/* Any float's bits, as far down as subnormal ones. */
static void fill_any(float *values, int64_t n, uint64_t seed) {
  struct mq_rng rng;
  mq_rng_init(&rng, seed, MQ_RNG_TEST, 0, 0);
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits = mq_rng_u32(&rng);
    memcpy(&values[i], &bits, sizeof bits);
    if (!isfinite(values[i])) values[i] = 0;
  }
}

static void every_magnitude_is_rounded_as_its_logarithm(void **state) {
  (void)state;
  struct mq_quantizer_config config = train_config(8, true, false);
  struct train train = train_begin("nnie", &config, ROWS, COLUMNS, 2);
  for (int exponent = -149; exponent <= 127; exponent += 3) {
    train.parameters[0] = ldexpf(1.3f, exponent);
    fill_any(x, ALL, (uint64_t)(exponent + 200));
    for (int i = 0; i < ALL / 2; i++) /* near the maximum, where the codes are */
      x[i] = train.parameters[0] * ldexpf(1 + (float)(i % 997) / 997, -(i % 11)) * (float)(i % 2 ? 1 : -1);
    train_derive(&train, x, true);
    train_forward(y, &train, x);
    for (int i = 0; i < ALL; i++) {
      double want = plain_nnie((double)x[i], (double)train.parameters[0]);
      if (isinf((float)want)) continue; /* the top code may be beyond float32 */
      assert_true(fabs((double)y[i] - want) <= 1e-7 * fabs(want) + (double)FLT_TRUE_MIN);
    }
  }
  train_end(&train);
}

static void zero_is_where_half_the_smallest_code_begins(void **state) {
  (void)state;
  struct mq_quantizer_config config = train_config(8, true, false);
  struct train train = train_begin("nnie", &config, 1, 4, 1);
  train.parameters[0] = exp2f(127.0f / 16);                 /* z = 0: codes are 2^(code/16) */
  const float values[] = {0.5f, 0.500001f, -0.52f, -0.53f}; /* 2^(-15/16) = 0.5221 */
  train_derive(&train, values, true);
  train_forward(y, &train, values);
  assert_true(y[0] == 0 && y[1] == 1 && y[2] == 0);
  check_near((double)y[3], -exp2(1.0 / 16), 1e-7, "y", 3);
  train_end(&train);
}

static void the_range_is_the_calibrated_one(void **state) {
  (void)state;
  for (int kind = 0; kind < 3; kind++) {
    fill(x, ALL, kind < 2 ? GAUSSIAN : HALF_GAUSSIAN, 81);
    struct mq_quantizer_config config = train_config(8, kind < 2, kind == 0);
    struct train train = train_begin("nnie", &config, ROWS, COLUMNS, 2);
    double min, max;
    plain_extrema(&min, &max, x, ALL);
    train_init(&train, x);
    check_near((double)train.parameters[0], fmax(-min, max), 3e-7, "max", 0);
    const float was = train.parameters[0];
    train_derive(&train, x, true);
    train_backward(dx, &train, x, x);
    train_update(&train);
    assert_true(train.parameters[0] == was);
    train_end(&train);
  }
}

static void without_a_range_everything_is_zero_and_gradients_pass(void **state) {
  (void)state;
  fill(x, ALL, GAUSSIAN, 82);
  fill(g, ALL, GAUSSIAN, 83);
  struct mq_quantizer_config config = train_config(8, true, false);
  struct train train = train_begin("nnie", &config, ROWS, COLUMNS, 2);
  train_derive(&train, x, true);
  train_forward(y, &train, x);
  train_backward(dx, &train, g, x);
  for (int i = 0; i < ALL; i++)
    assert_true(y[i] == 0 && dx[i] == g[i]);
  train_end(&train);
}

static void keeps_to_the_contract(void **state) {
  (void)state;
  for (int kind = 0; kind < 3; kind++) {
    fill(x, ALL, kind < 2 ? GAUSSIAN : HALF_GAUSSIAN, 84);
    struct mq_quantizer_config config = train_config(8, kind < 2, kind == 0);
    struct train train = train_begin("nnie", &config, ROWS, COLUMNS, 2);
    train.parameters[0] = 2.5f;
    check_contract(&train, x, false);
    train_end(&train);
  }
}

static void only_8_bits_in_the_academic_setting(void **state) {
  (void)state;
  check_is_academic("nnie", 8);
  struct mq_quantizer_config config = train_config(4, true, true);
  check_refuses("nnie", &config, "8 bits; found 4");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(steps_are_pytorchs),
      cmocka_unit_test(every_magnitude_is_rounded_as_its_logarithm),
      cmocka_unit_test(zero_is_where_half_the_smallest_code_begins),
      cmocka_unit_test(the_range_is_the_calibrated_one),
      cmocka_unit_test(without_a_range_everything_is_zero_and_gradients_pass),
      cmocka_unit_test(keeps_to_the_contract),
      cmocka_unit_test(only_8_bits_in_the_academic_setting),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
