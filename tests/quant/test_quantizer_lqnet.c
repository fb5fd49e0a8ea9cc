/* LQ-Net against brute force over codes and a general solver; its start, its ties, its least squares. */
#include <math.h>

#include "common.h"
#include "help_quant.h"
#include "help_train.h"

enum {
  ROWS = 6,
  COLUMNS = 60,
  ALL = ROWS * COLUMNS,
  MAX_BITS = 8
};
static float x[ALL], y[ALL], dx[ALL], g[ALL], other[ALL];

static void steps_are_pytorchs(void **state) {
  (void)state;
  check_golden("lqnet", 2e-6);
}

/* An activation of one row. */
static struct train begin_basis(int bits, bool is_signed, const float *v) {
  struct mq_quantizer_config config = train_config(bits, is_signed, false);
  struct train train = train_begin("lqnet", &config, ROWS, COLUMNS, 2);
  memcpy(train.parameters, v, (size_t)bits * sizeof *v);
  train_derive(&train, x, true);
  return train;
}

static void basis_starts_from_deviations(void **state) {
  (void)state;
  fill(x, ALL, GAUSSIAN, 71);
  struct mq_quantizer_config config = train_config(3, true, true);
  struct train train = train_begin("lqnet", &config, ROWS, COLUMNS, 1);
  assert_int_equal(train.n_parameters, ROWS * 3);
  train_init(&train, x);
  for (int r = 0; r < ROWS; r++) {
    double mean = 0, squares = 0;
    for (int i = 0; i < COLUMNS; i++)
      mean += (double)x[r * COLUMNS + i] / COLUMNS;
    for (int i = 0; i < COLUMNS; i++)
      squares += ((double)x[r * COLUMNS + i] - mean) * ((double)x[r * COLUMNS + i] - mean);
    for (int i = 0; i < 3; i++)
      check_near((double)train.parameters[r * 3 + i], exp2(i) * 0.6745 * sqrt(squares / (COLUMNS - 1)) / 4,
                 1e-6, "weight basis", i);
  }
  train_end(&train);
  config = train_config(4, false, false);
  fill(x, ALL, HALF_GAUSSIAN, 72);
  train = train_begin("lqnet", &config, ROWS, COLUMNS, 2);
  assert_int_equal(train.n_parameters, 4);
  train_init(&train, x);
  double mean = 0;
  for (int i = 0; i < ALL; i++)
    mean += (double)x[i] * (double)x[i] / ALL;
  for (int i = 0; i < 4; i++)
    check_near((double)train.parameters[i], exp2(i) * 1.349 * sqrt(2 * mean) / 15, 1e-6, "basis", i);
  train_end(&train);
}

/* The run's own observer: that observer's uniform grid. */
static void basis_starts_from_another_observers_range(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_qparams observed;
  assert_ok(mq_qparams_init(&observed, 1, -1, &err));
  for (int is_signed = 0; is_signed < 2; is_signed++) {
    struct mq_quantizer_config config = train_config(4, is_signed, false);
    config.is_own_observer = false;
    struct train train = train_begin("lqnet", &config, ROWS, COLUMNS, 2);
    struct mq_range range = {is_signed ? -3 : 0, 3};
    mq_qparams_from_range(&observed, &config.scheme, &range, NULL);
    assert_ok(train.ops->init(train.parameters, &config, &observed, NULL, 0, 0, &err));
    double top = 0;
    for (int i = 0; i < 4; i++)
      top += (double)train.parameters[i];
    check_near(top, 3, 1e-6, "highest level", 0);
    check_near((double)train.parameters[3], 8.0 * 3 / 15, 1e-6, "basis", 3);
    train_end(&train);
  }
  mq_qparams_deinit(&observed);
}

static void a_midpoint_takes_the_lower_level(void **state) {
  (void)state;
  const float v[] = {1, 2};
  const float values[] = {0.5f, 0.50001f, -0.5f, 2.5f, 2.6f, 9};
  const float unsigned_levels[] = {0, 1, 0, 2, 3, 3}; /* 0 1 2 3 */
  const float signed_levels[] = {1, 1, -1, 3, 3, 3};  /* -3 -1 1 3 */
  for (int i = 0; i < ALL; i++)
    x[i] = values[i % 6];
  for (int is_signed = 0; is_signed < 2; is_signed++) {
    struct train train = begin_basis(2, is_signed, v);
    train_forward(y, &train, x);
    for (int i = 0; i < 6; i++)
      assert_true(y[i] == (is_signed ? signed_levels : unsigned_levels)[i]);
    train_end(&train);
  }
}

/* Negative and unordered elements: still the nearest level. */
static void levels_are_sorted_whatever_the_basis(void **state) {
  (void)state;
  fill(x, ALL, GAUSSIAN, 73);
  const float v[] = {0.7f, -0.31f, 0.05f, -1.1f, 0.31f, 0, 0.02f, 0.4f};
  for (int bits = 2; bits <= MAX_BITS; bits++)
    for (int is_signed = 0; is_signed < 2; is_signed++) {
      struct train train = begin_basis(bits, is_signed, v);
      train_forward(y, &train, x);
      for (int i = 0; i < ALL; i++) {
        double least = (double)INFINITY;
        for (int code = 0; code < 1 << bits; code++) {
          double level = 0;
          for (int b = 0; b < bits; b++)
            level += (double)v[b] * (code >> b & 1 ? 1 : is_signed ? -1 : 0);
          least = fmin(least, fabs((double)x[i] - level));
        }
        check_near(fabs((double)x[i] - (double)y[i]), least, 2e-7, "distance", i);
      }
      train_end(&train);
    }
}

static void masks_are_the_extreme_levels(void **state) {
  (void)state;
  const float v[] = {1, 2}, values[] = {3, 3.001f, -3, -3.001f, 0, -9};
  const float signed_mask[] = {1, 0, 1, 0, 1, 0}, unsigned_mask[] = {1, 0, 1, 1, 1, 1};
  for (int i = 0; i < ALL; i++) {
    x[i] = values[i % 6];
    g[i] = 1;
  }
  for (int is_signed = 0; is_signed < 2; is_signed++) {
    struct train train = begin_basis(2, is_signed, v);
    train_backward(dx, &train, g, x);
    for (int i = 0; i < 6; i++)
      assert_true(dx[i] == (is_signed ? signed_mask : unsigned_mask)[i]);
    train_end(&train);
  }
  struct mq_quantizer_config config = train_config(2, true, true);
  struct train train = train_begin("lqnet", &config, ROWS, COLUMNS, 1);
  train_init(&train, x);
  train_derive(&train, x, true);
  train_backward(dx, &train, g, x);
  for (int i = 0; i < ALL; i++)
    assert_true(dx[i] == 1);
  train_end(&train);
}

/* |x - B v|^2 + 1e-4 |v - old|^2 with the codes that were used: the solution is its minimum. */
struct least_squares {
  const float *levels; /* y */
  float v[2];
  const float *old;
};

static double squares_loss(const void *context) {
  const struct least_squares *fit = context;
  double sum = 0;
  for (int i = 0; i < 2; i++)
    sum += 1e-4 * pow((double)fit->v[i] - (double)fit->old[i], 2);
  for (int i = 0; i < ALL; i++) {
    double level = (double)fit->levels[i], best = 0;
    for (int code = 0; code < 4; code++) { /* the code whose old level y is */
      int a = code & 1 ? 1 : -1, b = code & 2 ? 1 : -1;
      if (fabs(a * (double)fit->old[0] + b * (double)fit->old[1] - level) < 1e-6)
        best = a * (double)fit->v[0] + b * (double)fit->v[1];
    }
    sum += pow((double)x[i] - best, 2);
  }
  return sum;
}

static void the_basis_moves_towards_the_least_squares(void **state) {
  (void)state;
  fill(x, ALL, LAPLACE, 74);
  fill(g, ALL, GAUSSIAN, 75);
  const float old[] = {0.4f, 0.9f};
  struct train train = begin_basis(2, true, old);
  train_forward(y, &train, x);
  train_backward(dx, &train, g, x);
  train_update(&train);
  struct least_squares fit = {.levels = y, .old = old};
  for (int i = 0; i < 2; i++)
    fit.v[i] = (float)(((double)train.parameters[i] - 0.9 * (double)old[i]) / 0.1);
  for (int i = 0; i < 2; i++) {
    float was = fit.v[i];
    double slope = numeric_slope(&fit.v[i], 1e-3f, squares_loss, &fit);
    assert_true(fabs(slope) < 5e-3);
    fit.v[i] = was + 0.1f;
    assert_true(fabs(numeric_slope(&fit.v[i], 1e-3f, squares_loss, &fit)) > 10); /* the check can fail */
    fit.v[i] = was;
  }
  train_end(&train);
}

static double error_of(struct train *train) {
  double sum = 0;
  train_forward(y, train, x);
  for (int i = 0; i < ALL; i++)
    sum += pow((double)x[i] - (double)y[i], 2);
  return sum;
}

static void steps_lower_the_error_until_it_settles(void **state) {
  (void)state;
  for (int kind = 0; kind < 3; kind++) {
    bool is_signed = kind < 2;
    fill(x, ALL, is_signed ? LAPLACE : HALF_GAUSSIAN, 76);
    struct mq_quantizer_config config = train_config(3, is_signed, kind == 0);
    struct train train = train_begin("lqnet", &config, ROWS, COLUMNS, 2);
    train_init(&train, x);
    train_derive(&train, x, true);
    double first = error_of(&train);
    for (int step = 0; step < 60; step++) {
      train_derive(&train, x, true);
      train_backward(dx, &train, x, x);
      train_update(&train);
    }
    train_derive(&train, x, true);
    assert_true(error_of(&train) < 0.9 * first);
    train_end(&train);
  }
}

/* All zeros use no bit of {0, 1}: B'B is 0, the ridge keeps v. */
static void a_bit_that_is_never_set_keeps_its_element(void **state) {
  (void)state;
  const float v[] = {1, 2, 4};
  fill(x, ALL, ZEROS, 0);
  struct train train = begin_basis(3, false, v);
  train_backward(dx, &train, x, x);
  train_update(&train);
  for (int i = 0; i < 3; i++)
    check_near((double)train.parameters[i], (double)v[i], 1e-6, "basis", i);
  for (int i = 0; i < ALL; i++)
    x[i] = 1.25f; /* only the first bit */
  train_derive(&train, x, true);
  train_backward(dx, &train, x, x);
  train_update(&train);
  check_near((double)train.parameters[0], 0.9 + 0.1 * 1.25, 1e-6, "basis", 0);
  check_near((double)train.parameters[2], 4, 1e-6, "basis", 2);
  train_end(&train);
}

static void evaluation_leaves_the_basis(void **state) {
  (void)state;
  const float v[] = {0.5f, 1};
  fill(x, ALL, GAUSSIAN, 77);
  fill(other, ALL, HEAVY, 78);
  struct train train = begin_basis(2, true, v);
  train_derive(&train, other, false);
  train_forward(y, &train, x);
  assert_memory_equal(train.parameters, v, sizeof v);
  for (int i = 0; i < ALL; i++)
    assert_true(fabsf(y[i]) == 0.5f || fabsf(y[i]) == 1.5f);
  train_end(&train);
}

static void keeps_to_the_contract(void **state) {
  (void)state;
  for (int bits = 2; bits <= MAX_BITS; bits++)
    for (int kind = 0; kind < 3; kind++) {
      fill(x, ALL, kind < 2 ? GAUSSIAN : HALF_GAUSSIAN, 79);
      struct mq_quantizer_config config = train_config(bits, kind < 2, kind == 0);
      struct train train = train_begin("lqnet", &config, ROWS, COLUMNS, 2);
      train_init(&train, x);
      check_contract(&train, x, false);
      train_end(&train);
    }
}

static void only_the_academic_setting_up_to_8_bits(void **state) {
  (void)state;
  check_is_academic("lqnet", 4);
  struct mq_quantizer_config config = train_config(16, true, false);
  check_refuses("lqnet", &config, "up to 8 bits; found 16");
  assert_true(mq_quantizer_find("lqnet")->is_uniform_at_ends_w &&
              mq_quantizer_find("lqnet")->is_uniform_at_ends_a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(steps_are_pytorchs),
      cmocka_unit_test(basis_starts_from_deviations),
      cmocka_unit_test(basis_starts_from_another_observers_range),
      cmocka_unit_test(a_midpoint_takes_the_lower_level),
      cmocka_unit_test(levels_are_sorted_whatever_the_basis),
      cmocka_unit_test(masks_are_the_extreme_levels),
      cmocka_unit_test(the_basis_moves_towards_the_least_squares),
      cmocka_unit_test(steps_lower_the_error_until_it_settles),
      cmocka_unit_test(a_bit_that_is_never_set_keeps_its_element),
      cmocka_unit_test(evaluation_leaves_the_basis),
      cmocka_unit_test(keeps_to_the_contract),
      cmocka_unit_test(only_the_academic_setting_up_to_8_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
