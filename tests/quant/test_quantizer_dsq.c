/* DSQ against PyTorch's gradients; its ranges, its staircase, the released variant, every scheme. */
#include <math.h>

#include "common.h"
#include "help_quant.h"
#include "help_train.h"
#include "quant/simd/dsq.h"

enum {
  LO,
  HI,
  ROWS = 6,
  COLUMNS = 50,
  ALL = ROWS * COLUMNS
};
static float x[ALL], dx[ALL], g[ALL], other[ALL];

static void steps_are_pytorchs(void **state) {
  (void)state;
  check_golden("dsq", 2e-6);
}

static struct mq_quantizer_config config_of(const struct mq_scheme *scheme, bool is_weight,
                                            bool is_non_negative) {
  struct mq_quantizer_config config = train_config(8, true, is_weight);
  config.scheme = *scheme;
  config.is_non_negative = is_non_negative;
  if (is_non_negative && scheme->is_sign_adaptive) {
    config.scheme.is_signed = false;
    config.scheme.is_narrow = false;
  }
  return config;
}

static struct mq_qparams form_of(const struct train *train) {
  struct mq_err err;
  struct mq_qparams grid;
  assert_ok(mq_qparams_init(&grid, train->config.n_channels, -1, &err));
  assert_int_equal(train->ops->grid(&grid, &train->config, train->form), train->config.scheme.bits <= 8);
  return grid;
}

/* The first evaluation is on the calibrated scales. */
static void a_calibrated_scale_survives_the_range(void **state) {
  (void)state;
  struct mq_scheme schemes[200];
  int n = list_schemes(schemes, false);
  for (distribution d = 0; d < ZEROS; d++) {
    fill(x, ALL, d, 91);
    double min, max;
    plain_extrema(&min, &max, x, ALL);
    for (int i = 0; i < n; i++) {
      if (schemes[i].bits == 16) continue;
      struct mq_quantizer_config config = config_of(&schemes[i], false, min >= 0);
      struct train train = train_begin("dsq", &config, ROWS, COLUMNS, 2);
      train_init(&train, x);
      train_derive(&train, x, false);
      struct mq_err err;
      struct mq_qparams got = form_of(&train), want;
      assert_ok(mq_qparams_init(&want, 1, -1, &err));
      struct feed feed = {mq_observer_find("batch_mean_minmax"),
                          activation_config(&config.scheme),
                          x,
                          ROWS,
                          COLUMNS,
                          2,
                          ROWS};
      assert_ok(feed_and_answer(&want, &feed, &err));
      check_near((double)(got.scale[0] / want.scale[0]), 1, 5e-7, "scale", 0);
      assert_int_equal(got.zero_point[0], want.zero_point[0]);
      assert_int_equal(got.quant_min, want.quant_min);
      mq_qparams_deinit(&got);
      mq_qparams_deinit(&want);
      train_end(&train);
    }
  }
}

static void weights_start_from_their_deviation(void **state) {
  (void)state;
  fill(x, ALL, LAPLACE, 92);
  struct mq_scheme scheme = {.bits = 4, .is_signed = true, .is_symmetric = true, .is_per_channel = true};
  struct mq_quantizer_config config = config_of(&scheme, true, false);
  config.n_channels = ROWS;
  struct train train = train_begin("dsq", &config, ROWS, COLUMNS, 1);
  train_init(&train, x);
  float initial[2 * ROWS];
  memcpy(initial, train.parameters, sizeof initial);
  for (int r = 0; r < ROWS; r++) {
    double mean = 0, squares = 0;
    for (int i = 0; i < COLUMNS; i++)
      mean += (double)x[r * COLUMNS + i] / COLUMNS;
    for (int i = 0; i < COLUMNS; i++)
      squares += pow((double)x[r * COLUMNS + i] - mean, 2);
    double std = sqrt(squares / (COLUMNS - 1));
    check_near((double)initial[r], mean - 2.6 * std, 1e-6, "lo", r);
    check_near((double)initial[ROWS + r], mean + 2.6 * std, 1e-6, "hi", r);
  }
  train_derive(&train, x, true); /* and the first training forward takes the same */
  train_update(&train);
  assert_memory_equal(initial, train.parameters, sizeof initial);
  train.config.is_own_observer = false; /* the run chose another range */
  train_init(&train, x);
  assert_true(train.parameters[ROWS] > 1.1f * initial[ROWS]);
  train_end(&train);
}

static void ranges_are_recomputed_in_training_and_frozen_in_evaluation(void **state) {
  (void)state;
  fill(x, ALL, GAUSSIAN, 93);
  for (int i = 0; i < ALL; i++)
    other[i] = 2 * x[i];
  struct mq_scheme scheme = {.bits = 8, .is_signed = true, .is_symmetric = true};
  for (int is_weight = 0; is_weight < 2; is_weight++) {
    struct mq_quantizer_config config = config_of(&scheme, is_weight, false);
    struct train train = train_begin("dsq", &config, ROWS, COLUMNS, 2);
    train_init(&train, x);
    train_derive(&train, x, false);
    struct mq_qparams first = form_of(&train);
    train_derive(&train, other, true);
    struct mq_qparams training = form_of(&train);
    train_update(&train);
    train_derive(&train, x, false);
    struct mq_qparams after = form_of(&train);
    check_near((double)(training.scale[0] / first.scale[0]), is_weight ? 2 : 0.9 + 0.1 * 2, 1e-6, "growth",
               0);
    assert_true(after.scale[0] == training.scale[0]);
    mq_qparams_deinit(&first);
    mq_qparams_deinit(&training);
    mq_qparams_deinit(&after);
    train_end(&train);
  }
}

struct staircase {
  double scale, zero_point, a;
};

/* sum g s phi, rounding left out. */
static double soft_loss(const void *context) {
  const struct staircase *stairs = context;
  double k = log(2 / stairs->a - 1), sum = 0;
  for (int i = 0; i < ALL; i++) {
    double v = (double)x[i] / stairs->scale + stairs->zero_point, floor_v = floor(v);
    double phi = 0.5 + 0.5 * tanh(k * (v - floor_v - 0.5)) / (1 - stairs->a);
    sum += (double)g[i] * stairs->scale * (floor_v + phi);
  }
  return sum;
}

static void gradients_are_the_slopes_of_the_staircase(void **state) {
  (void)state;
  const double options[] = {(double)NAN, 0.01, 0.4, 0.99};
  for (int asymmetric = 0; asymmetric < 2; asymmetric++)
    for (int k = 0; k < 4; k++) {
      fill(x, ALL, UNIFORM, 95);
      fill(g, ALL, GAUSSIAN, 96);
      struct mq_scheme scheme = {.bits = 4, .is_signed = !asymmetric, .is_symmetric = !asymmetric};
      struct mq_quantizer_config config = config_of(&scheme, false, false);
      config.option = options[k];
      struct train train = train_begin("dsq", &config, ROWS, COLUMNS, 2);
      train.parameters[LO] = -1.3f; /* nothing is clipped */
      train.parameters[HI] = 1.4f;
      train_derive(&train, x, false);
      train_backward(dx, &train, g, x);
      struct mq_qparams grid = form_of(&train);
      struct staircase stairs = {(double)grid.scale[0], grid.zero_point[0],
                                 isnan(options[k]) ? 0.4 : options[k]};
      for (int i = 0; i < ALL; i++) {
        double v = (double)x[i] / stairs.scale;
        if (fabs(v - rint(v)) < 0.01) continue; /* a kink between two steps */
        check_near((double)dx[i], numeric_slope(&x[i], 1e-4f, soft_loss, &stairs), 2e-3, "dx", i);
      }
      mq_qparams_deinit(&grid);
      train_end(&train);
    }
}

/* scale 1, range [-8, 7]: the described mask ends at the bounds, PyTorch's half a step later. */
static void masks_end_at_the_bounds_or_where_rounding_passes_them(void **state) {
  (void)state;
  const float values[] = {7, 7.01f, 7.49f, 7.51f, -8, -8.01f, -8.5f, -8.51f};
  const bool described[] = {true, false, false, false, true, false, false, false};
  const bool published[] = {true, true, true, false, true, true, true, false};
  const float ones[] = {1, 1, 1, 1, 1, 1, 1, 1};
  struct mq_scheme scheme = {.bits = 4, .is_signed = true, .is_symmetric = true};
  struct mq_quantizer_config config = config_of(&scheme, false, false);
  for (int is_published = 0; is_published < 2; is_published++) {
    config.is_published = is_published;
    struct train train = train_begin("dsq", &config, 1, 8, 1);
    train.parameters[LO] = -7.5f;
    train.parameters[HI] = 7.5f;
    train_derive(&train, values, false);
    train_backward(dx, &train, ones, values);
    for (int i = 0; i < 8; i++) {
      assert_int_equal(dx[i] != 0, (is_published ? published : described)[i]);
      if (is_published && dx[i] != 0) assert_true(dx[i] == 1);
    }
    train_end(&train);
  }
}

static void scales_are_at_least_what_the_bias_needs(void **state) {
  (void)state;
  fill(x, ALL, GAUSSIAN, 97);
  struct mq_scheme scheme = {.bits = 8, .is_signed = true, .is_symmetric = true, .is_per_channel = true};
  struct mq_quantizer_config config = config_of(&scheme, true, false);
  config.n_channels = ROWS;
  struct train train = train_begin("dsq", &config, ROWS, COLUMNS, 1);
  const float least[ROWS] = {0, 3, 0, 0, 0, 0.5f};
  train_init(&train, x);
  train.ops->derive(train.form, &train.config, train.parameters, NULL, least);
  struct mq_qparams grid = form_of(&train);
  assert_true(grid.scale[1] == 3 && grid.scale[5] == 0.5f && grid.scale[0] < 0.1f);
  mq_qparams_deinit(&grid);
  train_end(&train);
}

static void instruction_sets_give_the_same_bits(void **state) {
  (void)state;
  static float want[ALL];
  fill(x, ALL, HEAVY, 98);
  fill(g, ALL, GAUSSIAN, 99);
  x[3] = NAN;
  x[4] = INFINITY;
  struct mq_dsq_run run = {.scale = 0.31f, .lo = -8, .hi = 7, .k = 1.3862944f, .gain = 1.155f};
  mq_simd_dsq_at(MQ_SIMD_BASE)->gradient(want, g, x, ALL, &run);
  for (int i = 0; i < ALL; i++) {
    double v = (double)(x[i] / run.scale), u = v - floor(v), t = tanh((double)run.k * (u - 0.5));
    bool is_inside = v >= -8 && v <= 7;
    check_near((double)want[i], is_inside ? (double)(g[i] * run.gain) * (1 - t * t) : 0, 1e-6, "dx", i);
  }
  for (mq_simd_level level = MQ_SIMD_BASE; level <= mq_simd_level_best(); level++) {
    const struct mq_simd_dsq *loops = mq_simd_dsq_at(level);
    loops->gradient(dx, g, x, ALL, &run);
    assert_memory_equal(dx, want, sizeof dx);
    memcpy(other, g, sizeof other);
    loops->add_gradient(other, g, x, ALL, &run);
    for (int i = 0; i < ALL; i++)
      assert_true(other[i] == g[i] + want[i]);
  }
}

static void keeps_to_the_contract_for_every_scheme(void **state) {
  (void)state;
  struct mq_scheme schemes[200];
  for (int is_weight = 0; is_weight < 2; is_weight++) {
    int n = list_schemes(schemes, is_weight);
    for (int i = 0; i < n; i++)
      for (int kind = 0; kind < 4; kind++) {
        bool is_non_negative = !is_weight && (kind & 1);
        struct mq_quantizer_config config = config_of(&schemes[i], is_weight, is_non_negative);
        config.is_published = kind & 2;
        if (is_weight && (kind & 1)) {
          config.n_channels = ROWS;
          config.scheme.is_per_channel = true;
        }
        fill(x, ALL, is_non_negative ? HALF_GAUSSIAN : GAUSSIAN, 100);
        struct train train = train_begin("dsq", &config, ROWS, COLUMNS, 2);
        train_init(&train, x);
        check_contract(&train, x, schemes[i].bits <= 8);
        train_end(&train);
      }
  }
}

static void is_for_hardware_too(void **state) {
  (void)state;
  const struct mq_quantizer_ops *dsq = mq_quantizer_find("dsq");
  assert_false(dsq->is_academic || dsq->is_uniform_at_ends_w || dsq->is_uniform_at_ends_a);
  assert_true(dsq->freezes_weights && dsq->option.exists);
  struct mq_quantizer_config config = train_config(1, true, true);
  check_refuses("dsq", &config, "1 bits");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(steps_are_pytorchs),
      cmocka_unit_test(a_calibrated_scale_survives_the_range),
      cmocka_unit_test(weights_start_from_their_deviation),
      cmocka_unit_test(ranges_are_recomputed_in_training_and_frozen_in_evaluation),
      cmocka_unit_test(gradients_are_the_slopes_of_the_staircase),
      cmocka_unit_test(masks_end_at_the_bounds_or_where_rounding_passes_them),
      cmocka_unit_test(scales_are_at_least_what_the_bias_needs),
      cmocka_unit_test(instruction_sets_give_the_same_bits),
      cmocka_unit_test(keeps_to_the_contract_for_every_scheme),
      cmocka_unit_test(is_for_hardware_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
