/* QIL against PyTorch's gradients; its start, its corrections, its grids, and the released variant. */
#include <float.h>
#include <math.h>

#include "common.h"
#include "help_quant.h"
#include "help_train.h"
#include "quant/simd/qil.h"

enum {
  CENTER,
  DISTANCE,
  ROWS = 6,
  COLUMNS = 40,
  ALL = ROWS * COLUMNS
};
static float x[ALL], g[ALL], dx[ALL], y[ALL], other[ALL];

static void steps_are_pytorchs(void **state) {
  (void)state;
  check_golden("qil", 2e-6);
}

static double largest(const float *values) {
  double min, max;
  plain_extrema(&min, &max, values, ALL);
  return fmax(-min, max);
}

static void both_start_at_half_the_maximum(void **state) {
  (void)state;
  for (int kind = 0; kind < 3; kind++) {
    fill(x, ALL, kind < 2 ? GAUSSIAN : HALF_GAUSSIAN, 61);
    struct mq_quantizer_config config = train_config(4, kind < 2, kind == 0);
    struct train train = train_begin("qil", &config, ROWS, COLUMNS, 2);
    train_init(&train, x);
    check_near((double)train.parameters[CENTER], largest(x) / 2, 3e-7, "center", 0);
    check_near((double)train.parameters[DISTANCE], largest(x) / 2, 3e-7, "distance", 0);
    fill(x, ALL, ZEROS, 0);
    train_init(&train, x);
    assert_true(train.parameters[DISTANCE] > 0);
    train_end(&train);
  }
}

static void corrections_are_written_back_in_training_only(void **state) {
  (void)state;
  fill(x, ALL, GAUSSIAN, 62);
  fill(other, ALL, TINY, 63);
  const float half = (float)(largest(x) * 0.5);
  for (int is_weight = 0; is_weight < 2; is_weight++) {
    struct mq_quantizer_config config = train_config(4, true, is_weight);
    struct train train = train_begin("qil", &config, ROWS, COLUMNS, 2);
    train.parameters[CENTER] = -100;
    train.parameters[DISTANCE] = 0;
    train_derive(&train, x, false);
    assert_true(train.parameters[CENTER] == -100 && train.form[CENTER] == -100);
    train_derive(&train, x, true);
    train_backward(dx, &train, x, x);
    train_update(&train);
    assert_true(train.parameters[CENTER] == half && train.parameters[DISTANCE] == FLT_EPSILON);
    train.parameters[CENTER] = 0.2f;
    train.parameters[DISTANCE] = 0.3f;
    train_derive(&train, other, false); /* as stored, whatever the data */
    assert_true(train.form[CENTER] == (double)0.2f && train.form[DISTANCE] == (double)0.3f);
    train_derive(&train, other, true);
    assert_true(train.form[CENTER] < 1e-28 && train.form[DISTANCE] == (double)FLT_EPSILON);
    train_end(&train);
  }
}

struct loss {
  float c_d[2];
  double steps;
};

/* sum g t, rounding left out. */
static double interval_loss(const void *context) {
  const struct loss *loss = context;
  double c = (double)loss->c_d[CENTER], d = (double)loss->c_d[DISTANCE], sum = 0;
  for (int i = 0; i < ALL; i++) {
    double v = 0.5 * (fabs((double)x[i]) - c) / d + 0.5;
    sum += (double)g[i] * fmin(fmax(v, 0), 1) * (x[i] > 0 ? 1 : -1);
  }
  return sum;
}

static void gradients_are_the_slopes_of_the_interval(void **state) {
  (void)state;
  fill(x, ALL, GAUSSIAN, 64);
  fill(g, ALL, GAUSSIAN, 65);
  for (int bits = 2; bits <= 8; bits += 3) {
    struct mq_quantizer_config config = train_config(bits, true, true);
    config.n_elements = 900;
    struct train train = train_begin("qil", &config, ROWS, COLUMNS, 1);
    struct loss loss = {.c_d = {0.9f, 0.6f}};
    float gradients[2];
    memcpy(train.parameters, loss.c_d, sizeof loss.c_d);
    train_derive(&train, x, true);
    train_backward(dx, &train, g, x);
    train_finish(gradients, &train);
    for (int i = 0; i < ALL; i++)
      check_near((double)dx[i], numeric_slope(&x[i], 1e-4f, interval_loss, &loss), 1e-4, "dx", i);
    double k = 1 / sqrt(900 * (exp2(bits - 1) - 1));
    for (int p = 0; p < 2; p++)
      check_near((double)gradients[p], k * numeric_slope(&loss.c_d[p], 1e-5f, interval_loss, &loss), 2e-3,
                 "slope", p);
    train_end(&train);
  }
}

static void outputs_are_whole_multiples(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_qparams grid;
  assert_ok(mq_qparams_init(&grid, 1, -1, &err));
  for (int bits = 2; bits <= 8; bits++)
    for (int is_signed = 0; is_signed < 2; is_signed++) {
      struct mq_quantizer_config config = train_config(bits, is_signed, false);
      struct train train = train_begin("qil", &config, ROWS, COLUMNS, 2);
      int32_t steps = (1 << (is_signed ? bits - 1 : bits)) - 1;
      assert_true(train.ops->grid(&grid, &config, train.form));
      assert_int_equal(grid.quant_min, is_signed ? -steps : 0);
      assert_int_equal(grid.quant_max, steps);
      assert_true(grid.scale[0] == (float)(1.0 / steps));
      train_end(&train);
    }
  mq_qparams_deinit(&grid);
}

/* Values beyond C + D go on growing, and let gradients through. */
static void published_does_not_clip_unsigned_activations(void **state) {
  (void)state;
  const float values[] = {0, 0.5f, 1, 4}, ones[] = {1, 1, 1, 1};
  struct mq_quantizer_config config = train_config(4, false, false);
  for (int is_published = 0; is_published < 2; is_published++) {
    config.is_published = is_published;
    struct train train = train_begin("qil", &config, 1, 4, 1);
    train.parameters[CENTER] = 0.25f;
    train.parameters[DISTANCE] = 0.5f;
    train_derive(&train, values, true);
    train_forward(y, &train, values);
    train_backward(dx, &train, ones, values);
    float at_zero = is_published ? 4.0f / 15 : 0; /* v = 0.25, and 0.25 * 15 rounds to 4 */
    check_near((double)y[0], (double)at_zero, 1e-6, "y", 0);
    check_near((double)y[3], is_published ? 64.0 / 15 : 1, 1e-6, "y", 3); /* v = 4.25 */
    assert_true(dx[1] == 1 && dx[3] == (is_published ? 1 : 0));
    train_end(&train);
  }
}

static void instruction_sets_give_the_same_bits(void **state) {
  (void)state;
  static float want_y[ALL], want_dx[ALL];
  static uint8_t codes[ALL], want_codes[ALL];
  double sums[2], want_sums[2];
  struct mq_qil_run run = {0.6f, 0.1f, 0.7f, 7, 1.0f / 7, -7, true};
  fill(x, ALL, HEAVY, 67);
  fill(g, ALL, GAUSSIAN, 68);
  x[5] = 0;
  for (int open = 0; open < 2; open++, run.is_clipped = false)
    for (mq_simd_level level = MQ_SIMD_BASE; level <= mq_simd_level_best(); level++) {
      const struct mq_simd_qil *loops = mq_simd_qil_at(level);
      bool is_first = level == MQ_SIMD_BASE;
      memset(is_first ? want_sums : sums, 0, sizeof sums);
      loops->forward(is_first ? want_y : y, is_first ? want_codes : codes, x, ALL, &run);
      loops->backward(is_first ? want_dx : dx, false, is_first ? want_sums : sums, g, x, ALL - 3, &run);
      if (is_first) continue;
      assert_memory_equal(y, want_y, sizeof y);
      assert_memory_equal(codes, want_codes, sizeof codes);
      assert_memory_equal(dx, want_dx, (ALL - 3) * sizeof *dx);
      assert_memory_equal(sums, want_sums, sizeof sums);
    }
}

static void keeps_to_the_contract(void **state) {
  (void)state;
  for (int bits = 2; bits <= 8; bits++)
    for (int kind = 0; kind < 4; kind++) {
      bool is_signed = kind < 2, is_weight = kind == 0;
      fill(x, ALL, is_signed ? GAUSSIAN : HALF_GAUSSIAN, 66);
      struct mq_quantizer_config config = train_config(bits, is_signed, is_weight);
      config.is_published = kind == 3;
      struct train train = train_begin("qil", &config, ROWS, COLUMNS, 2);
      train.parameters[CENTER] = 0.7f;
      train.parameters[DISTANCE] = 0.6f;
      check_contract(&train, x, kind != 3);
      train_end(&train);
    }
}

static void only_the_academic_setting(void **state) {
  (void)state;
  check_is_academic("qil", 4);
  assert_true(mq_quantizer_find("qil")->is_uniform_at_ends_w &&
              mq_quantizer_find("qil")->is_uniform_at_ends_a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(steps_are_pytorchs),
      cmocka_unit_test(both_start_at_half_the_maximum),
      cmocka_unit_test(corrections_are_written_back_in_training_only),
      cmocka_unit_test(gradients_are_the_slopes_of_the_interval),
      cmocka_unit_test(outputs_are_whole_multiples),
      cmocka_unit_test(published_does_not_clip_unsigned_activations),
      cmocka_unit_test(instruction_sets_give_the_same_bits),
      cmocka_unit_test(keeps_to_the_contract),
      cmocka_unit_test(only_the_academic_setting),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
