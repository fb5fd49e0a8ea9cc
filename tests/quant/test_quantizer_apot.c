/* APoT against PyTorch's gradients, and what its levels, ties and bounds are. */
#include <math.h>

#include "common.h"
#include "help_quant.h"
#include "help_train.h"
#include "quant/simd/apot.h"

enum {
  ROWS = 6,
  COLUMNS = 40,
  ALL = ROWS * COLUMNS
};
static float x[ALL], g[ALL], dx[ALL], y[ALL];

static void steps_are_pytorchs(void **state) {
  (void)state;
  check_golden("apot", 2e-6);
}

/* alpha = den: x counts in units of the smallest level. */
static struct train begin_units(int bits, bool is_signed, float den) {
  struct mq_quantizer_config config = train_config(bits, is_signed, false);
  struct train train = train_begin("apot", &config, 1, ALL, 1);
  train.parameters[0] = den;
  train_derive(&train, x, true);
  return train;
}

static void a_tie_goes_to_the_smaller_magnitude(void **state) {
  (void)state;
  const float in[] = {0.5f, 0.50001f, 2.5f, 5, 5.0001f, 7, 7.001f, 9, 10, 11};
  const float want[] = {0, 1, 2, 4, 6, 6, 8, 8, 10, 10};
  for (int i = 0; i < ALL; i++)
    x[i] = in[i % 10] * (float)(i % 20 < 10 ? 1 : -1);
  struct train train = begin_units(4, true, 10);
  train_forward(y, &train, x);
  for (int i = 0; i < 20; i++)
    assert_true(y[i] == (i < 10 ? want[i] : -want[i - 10]));
  train_end(&train);
}

/* Levels in units of 1/den, found by looking where y goes. */
static int count_levels(int bits, bool is_signed, float den) {
  struct train train = begin_units(bits, is_signed, den);
  int n_levels = 1;
  float last = 0;
  for (int first = 0; (float)first <= 4 * den; first += ALL) {
    for (int i = 0; i < ALL; i++)
      x[i] = (float)(first + i) / 4;
    train_forward(y, &train, x);
    for (int i = 0; i < ALL; i++) {
      assert_true(y[i] == rintf(y[i]) && y[i] >= last && fabsf(y[i]) <= den);
      n_levels += y[i] > last;
      last = y[i];
    }
  }
  assert_true(last == den);
  train_end(&train);
  return n_levels;
}

static void every_set_has_all_its_levels(void **state) {
  (void)state;
  const float den[] = {0, 1, 4, 10, 48, 100, 448, 127, 255};
  for (int bits = 2; bits <= 8; bits++) {
    assert_int_equal(count_levels(bits, false, den[bits]), 1 << bits);
    assert_int_equal(count_levels(bits, true, den[bits - 1]), 1 << (bits - 1));
  }
}

static void grids_hold_codes_of_8_bits(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_qparams grid;
  assert_ok(mq_qparams_init(&grid, 1, -1, &err));
  const int32_t den[] = {0, 1, 4, 10, 48, 100, 448, 127, 255};
  for (int bits = 2; bits <= 8; bits++)
    for (int is_signed = 0; is_signed < 2; is_signed++) {
      struct train train = begin_units(bits, is_signed, 3);
      int set = is_signed ? bits - 1 : bits;
      assert_int_equal(train.ops->grid(&grid, &train.config, train.form), set != 6);
      if (set != 6) {
        assert_int_equal(grid.quant_max, den[set]);
        assert_int_equal(grid.quant_min, is_signed ? -den[set] : 0);
        assert_int_equal(grid.zero_point[0], 0);
        assert_true(grid.scale[0] == 3.0f / (float)den[set]);
      }
      train_end(&train);
    }
  mq_qparams_deinit(&grid);
}

static void bounds_are_inside(void **state) {
  (void)state;
  struct mq_quantizer_config config = train_config(4, true, false);
  struct train train = train_begin("apot", &config, 1, 4, 1);
  float values[] = {2, -2, 2.0001f, -2.0001f}, gradients[1];
  const float ones[] = {1, 1, 1, 10};
  train.parameters[0] = 2;
  train_derive(&train, values, true);
  train_backward(dx, &train, ones, values);
  train_finish(gradients, &train);
  assert_true(dx[0] == 1 && dx[1] == 1 && dx[2] == 0 && dx[3] == 0);
  assert_true(gradients[0] == 1 - 10); /* L(1) - 1 is 0 */
  train.config = train_config(4, false, false);
  train_derive(&train, values, true);
  train_backward(dx, &train, ones, values);
  train_finish(gradients, &train);
  assert_true(dx[0] == 1 && dx[1] == 0 && dx[2] == 0 && dx[3] == 0);
  assert_true(gradients[0] == 1);
  train_end(&train);
}

/* The loss that the gradients are of, rounding left out: sum g clip(standardised x). */
struct loss {
  const float *x, *g;
  float alpha;
  bool is_weight;
  const float *levels_less_t; /* L(t) - t, a constant of the straight-through rounding */
};

static double clipped_loss(const void *context) {
  const struct loss *loss = context;
  double mean = 0, squares = 0, sum = 0, alpha = (double)loss->alpha;
  for (int i = 0; i < ALL; i++)
    mean += (double)loss->x[i] / ALL;
  for (int i = 0; i < ALL; i++)
    squares += ((double)loss->x[i] - mean) * ((double)loss->x[i] - mean);
  double std = sqrt(squares / (ALL - 1));
  for (int i = 0; i < ALL; i++) {
    double v = (double)loss->x[i];
    if (loss->is_weight) v = (v - mean) / (std + 1e-5);
    double t = fmin(fmax(v / alpha, -1), 1);
    sum += (double)loss->g[i] * alpha * (t + (double)loss->levels_less_t[i]);
  }
  return sum;
}

static void gradients_are_the_slopes_of_the_clip(void **state) {
  (void)state;
  static float offset[ALL];
  for (int is_weight = 0; is_weight < 2; is_weight++) {
    fill(x, ALL, GAUSSIAN, 51);
    fill(g, ALL, GAUSSIAN, 52);
    struct mq_quantizer_config config = train_config(4, true, is_weight);
    struct train train = train_begin("apot", &config, ROWS, COLUMNS, 1);
    float gradients[1];
    struct loss loss = {x, g, 1.4f, is_weight, offset};
    train.parameters[0] = loss.alpha;
    train_derive(&train, x, true);
    train_forward(y, &train, x);
    train_backward(dx, &train, g, x);
    train_finish(gradients, &train);
    double mean = train.form[1], inverse = train.form[2];
    for (int i = 0; i < ALL; i++) {
      double v = is_weight ? ((double)x[i] - mean) * inverse : (double)x[i];
      offset[i] = (float)((double)y[i] / 1.4f - fmin(fmax(v / 1.4f, -1), 1));
    }
    for (int i = 0; i < ALL; i++)
      check_near((double)dx[i], numeric_slope(&x[i], 1e-4f, clipped_loss, &loss), 2e-4, "dx", i);
    check_near((double)gradients[0], numeric_slope(&loss.alpha, 1e-4f, clipped_loss, &loss), 2e-3, "dalpha",
               0);
    train_end(&train);
  }
}

static void equal_weights_do_no_harm(void **state) {
  (void)state;
  for (int i = 0; i < ALL; i++)
    x[i] = 0.37f;
  fill(g, ALL, GAUSSIAN, 53);
  struct mq_quantizer_config config = train_config(4, true, true);
  struct train train = train_begin("apot", &config, ROWS, COLUMNS, 1);
  train_init(&train, x);
  train_derive(&train, x, true);
  train_forward(y, &train, x);
  train_backward(dx, &train, g, x);
  for (int i = 0; i < ALL; i++)
    assert_true(y[i] == 0 && isfinite(dx[i]));
  train_end(&train);
}

static void alpha_starts_at_3_and_6_and_stays_positive(void **state) {
  (void)state;
  fill(x, ALL, GAUSSIAN, 54);
  for (int is_weight = 0; is_weight < 2; is_weight++) {
    struct mq_quantizer_config config = train_config(4, true, is_weight);
    struct train train = train_begin("apot", &config, ROWS, COLUMNS, 2);
    train_init(&train, x);
    assert_true(train.parameters[0] == (is_weight ? 3 : 6));
    train.parameters[0] = -0.25f;
    train.ops->project(train.parameters, &train.config);
    assert_true(train.parameters[0] == 0.25f);
    train.parameters[0] = 0;
    train.ops->project(train.parameters, &train.config);
    assert_true(train.parameters[0] == 1e-5f);
    train_end(&train);
  }
}

static void instruction_sets_give_the_same_bits(void **state) {
  (void)state;
  static const int32_t nearest[] = {0, 0, 1, 1, 2, 2, 3, 3, 4};
  static float want_y[ALL], want_dx[ALL];
  static uint8_t codes[ALL], want_codes[ALL];
  double sums[3], want_sums[3];
  struct mq_apot_run run = {0.1, 1.7, 1.3f, -1.3f, 0.31f, 4, nearest};
  fill(x, ALL, HEAVY, 56);
  fill(g, ALL, GAUSSIAN, 57);
  for (int uniform = 0; uniform < 2; uniform++, run.nearest = NULL)
    for (mq_simd_level level = MQ_SIMD_BASE; level <= mq_simd_level_best(); level++) {
      const struct mq_simd_apot *loops = mq_simd_apot_at(level);
      bool is_first = level == MQ_SIMD_BASE;
      memset(is_first ? want_sums : sums, 0, sizeof sums);
      loops->forward(is_first ? want_y : y, is_first ? want_codes : codes, x, ALL, &run);
      loops->backward(NULL, false, is_first ? want_sums : sums, g, x, ALL - 3, &run);
      loops->standardise(is_first ? want_dx : dx, false, g, x, ALL, &run, 0.01, 0.02);
      if (is_first) continue;
      assert_memory_equal(y, want_y, sizeof y);
      assert_memory_equal(codes, want_codes, sizeof codes);
      assert_memory_equal(dx, want_dx, sizeof dx);
      assert_memory_equal(sums, want_sums, sizeof sums);
    }
}

static void keeps_to_the_contract(void **state) {
  (void)state;
  for (int bits = 2; bits <= 8; bits++)
    for (int kind = 0; kind < 3; kind++) {
      bool is_signed = kind < 2, is_weight = kind == 0;
      fill(x, ALL, is_signed ? GAUSSIAN : HALF_GAUSSIAN, 55);
      struct mq_quantizer_config config = train_config(bits, is_signed, is_weight);
      struct train train = train_begin("apot", &config, ROWS, COLUMNS, 2);
      train.parameters[0] = 1.3f;
      check_contract(&train, x, (is_signed ? bits - 1 : bits) != 6);
      train_end(&train);
    }
}

static void only_the_academic_setting(void **state) {
  (void)state;
  check_is_academic("apot", 4);
  assert_true(mq_quantizer_find("apot")->is_uniform_at_ends_w &&
              mq_quantizer_find("apot")->is_uniform_at_ends_a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(steps_are_pytorchs),
      cmocka_unit_test(a_tie_goes_to_the_smaller_magnitude),
      cmocka_unit_test(every_set_has_all_its_levels),
      cmocka_unit_test(grids_hold_codes_of_8_bits),
      cmocka_unit_test(bounds_are_inside),
      cmocka_unit_test(gradients_are_the_slopes_of_the_clip),
      cmocka_unit_test(equal_weights_do_no_harm),
      cmocka_unit_test(alpha_starts_at_3_and_6_and_stays_positive),
      cmocka_unit_test(instruction_sets_give_the_same_bits),
      cmocka_unit_test(keeps_to_the_contract),
      cmocka_unit_test(only_the_academic_setting),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
