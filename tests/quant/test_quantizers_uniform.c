/* Properties of lsq, lsq_plus, pact, dorefa, tqt and minmax: the forward is plain fake quantization on the
 * grid that is handed over, codes are the same numbers, gradients where finite differences can tell,
 * statistics over slices, evaluation, limits. */
#include <math.h>

#include "common.h"
#include "help_quant.h"
#include "help_quantizer.h"

#define ROWS 6
#define ROW 83
#define N (ROWS * ROW)

static const char *const names[] = {"lsq", "lsq_plus", "pact", "dorefa", "tqt", "minmax"};
#define N_NAMES (sizeof names / sizeof *names)

static bool is_never_negative(const float *x) {
  for (int i = 0; i < N; i++)
    if (x[i] < 0) return false;
  return true;
}

static bool takes(const struct mq_quantizer_ops *ops, const struct mq_quantizer_config *config) {
  return ops->check(config, "tensor", NULL) == MQ_OK;
}

typedef void (*visit_fn)(const struct mq_quantizer_ops *ops, const struct mq_quantizer_config *config,
                         const float *x);

/* Every method, kind, scheme, granularity, variant and some distributions. */
static void for_all(visit_fn visit) {
  const distribution which[] = {GAUSSIAN, HALF_GAUSSIAN, UNIFORM, HEAVY, ZEROS, TINY, NEGATIVE};
  int64_t n_cases = 0;
  for (size_t m = 0; m < N_NAMES; m++)
    for (int variant = 0; variant < 12; variant++) {
      bool is_weight = variant & 1, is_published = variant & 2;
      struct mq_scheme schemes[200];
      int n = list_schemes(schemes, is_weight);
      for (int i = 0; i < n; i++) {
        if (test_leaves_out(n_cases++)) continue;
        struct mq_scheme scheme = schemes[i];
        scheme.is_per_channel = is_weight && variant >= 8;
        float x[N];
        fill(x, N, which[(i + variant) % 7], (uint64_t)(i + 1));
        bool is_non_negative = !is_weight && is_never_negative(x);
        if (scheme.is_sign_adaptive && is_non_negative) scheme.is_signed = false;
        struct mq_quantizer_config config = quantizer_config(&scheme, is_weight, ROWS, ROW);
        config.is_non_negative = is_non_negative;
        config.is_published = is_published;
        if (variant & 4) config.option = 1;
        const struct mq_quantizer_ops *ops = mq_quantizer_find(names[m]);
        if (variant & 4 && !ops->option.is_whole) continue;
        if (takes(ops, &config)) visit(ops, &config, x);
      }
    }
}

static void visit_forward(const struct mq_quantizer_ops *ops, const struct mq_quantizer_config *config,
                          const float *x) {
  struct step step;
  step_init(&step, ops, config);
  if (strcmp(ops->name, "tqt") == 0) step.observer = "minmax"; /* kld is slow */
  step_calibrate(&step, x, ROWS, ROW);
  for (int is_training = 0; is_training < 2; is_training++) {
    step_forward(&step, is_training, x, ROWS, ROW);
    bool is_real = is_training && strcmp(ops->name, "lsq_plus") == 0 && !config->is_weight &&
                   !config->scheme.is_symmetric && isnan(config->option);
    if (!is_real) assert_int_equal(step.has_grid, config->scheme.bits <= 8);
    if (is_real && step.parameters[1] != 0) assert_false(step.has_grid);
    if (!step.has_grid) continue;
    float frozen[N];
    struct mq_qparams qparams;
    struct mq_err err;
    assert_ok(mq_qparams_init(&qparams, config->n_channels, step.grid.channel_axis, &err));
    bool is_frozen =
        config->is_weight && ops->freeze && ops->freeze(frozen, &qparams, config, step.form, x, ROWS, ROW);
    check_on_grid(&step, is_frozen ? frozen : x, ROWS, ROW);
    mq_qparams_deinit(&qparams);
    float y[N];
    uint8_t codes[N];
    ops->forward(NULL, codes, config, step.form, x, ROWS, ROW); /* codes alone */
    assert_memory_equal(codes, step.codes, N);
    memcpy(y, x, sizeof y);
    ops->forward(y, NULL, config, step.form, y, ROWS, ROW); /* in place */
    assert_memory_equal(y, step.y, sizeof y);
  }
  step_deinit(&step);
}

static void forward_is_plain_fake_quantization(void **state) {
  (void)state;
  for_all(visit_forward);
}

/* dx may be g, may be added to; slices in tree order give what all rows at once give, but for the rounding of
 * sums. */
static void visit_backward(const struct mq_quantizer_ops *ops, const struct mq_quantizer_config *config,
                           const float *x) {
  float g[N], dx[N], once[N];
  double scratch[64] = {0};
  fill(g, N, GAUSSIAN, 77);
  struct step step;
  step_init(&step, ops, config);
  assert_true(step.n_sums <= sizeof scratch / sizeof *scratch);
  step.observer = "minmax";
  step_calibrate(&step, x, ROWS, ROW);
  step_train(&step, x, g, ROWS, ROW);
  memcpy(once, step.dx, sizeof once);
  memcpy(dx, g, sizeof dx);
  ops->backward(dx, false, scratch, config, step.form, dx, x, ROWS, ROW);
  assert_memory_equal(dx, once, sizeof dx);
  for (size_t i = 0; i < step.n_sums; i++)
    assert_true(scratch[i] == step.sums[i]);
  for (int i = 0; i < N; i++)
    dx[i] = 1;
  ops->backward(dx, true, scratch, config, step.form, g, x, ROWS, ROW);
  for (int i = 0; i < N; i++)
    assert_true(fabsf(dx[i] - (1 + once[i])) <= 1e-6f * (1 + fabsf(once[i])));
  step_deinit(&step);
}

static void backward_adds_and_works_in_place(void **state) {
  (void)state;
  for_all(visit_backward);
}

static void visit_slices(const struct mq_quantizer_ops *ops, const struct mq_quantizer_config *config,
                         const float *x) {
  if (config->is_weight) return;
  float g[N];
  fill(g, N, GAUSSIAN, 78);
  struct step whole, sliced;
  step_init(&whole, ops, config);
  step_init(&sliced, ops, config);
  whole.observer = sliced.observer = "minmax";
  step_calibrate(&whole, x, ROWS, ROW);
  step_calibrate(&sliced, x, ROWS, ROW);
  sliced.rows_per_slice = 1;
  step_train(&whole, x, g, ROWS, ROW);
  step_train(&sliced, x, g, ROWS, ROW);
  assert_memory_equal(whole.form, sliced.form, whole.n_form * sizeof(double)); /* extrema are exact */
  assert_memory_equal(whole.dx, sliced.dx, sizeof g);
  for (size_t i = 0; i < whole.n_sums; i++)
    assert_true(fabs(whole.sums[i] - sliced.sums[i]) <= 1e-12 * (1 + N * fabs(whole.sums[i])));
  step_deinit(&whole);
  step_deinit(&sliced);
}

static void slices_merge_to_the_whole(void **state) {
  (void)state;
  for_all(visit_slices);
}

/* Any parameter or weight that is not finite shows in the outputs. */
static void visit_non_finite(const struct mq_quantizer_ops *ops, const struct mq_quantizer_config *config,
                             const float *x) {
  struct step step;
  step_init(&step, ops, config);
  step.observer = "minmax";
  step_calibrate(&step, x, ROWS, ROW);
  for (size_t i = 0; i < step.n_parameters; i++) {
    float before = step.parameters[i];
    step.parameters[i] = NAN;
    if (ops->project) ops->project(step.parameters, config);
    assert_true(isnan(step.parameters[i]));
    step_forward(&step, false, x, ROWS, ROW);
    assert_true(isnan(step.y[config->n_channels > 1 ? (int)i % ROWS * ROW : 0]));
    step.parameters[i] = before;
  }
  step_deinit(&step);
}

static void parameters_that_are_not_finite_show(void **state) {
  (void)state;
  for_all(visit_non_finite);
}

static struct mq_scheme scheme_of(int bits, bool is_signed, bool is_symmetric) {
  return (struct mq_scheme){.bits = (uint8_t)bits, .is_signed = is_signed, .is_symmetric = is_symmetric};
}

static double loss(struct step *step, const float *x, const float *g) {
  step_forward(step, true, x, ROWS, ROW);
  double sum = 0;
  for (int i = 0; i < N; i++)
    sum += (double)step->y[i] * (double)g[i];
  return sum;
}

/* Where everything is clipped, the loss is linear in the parameter but for float32's rounding. */
static void check_difference(const char *name, const struct mq_scheme *scheme, int parameter, double start,
                             double k) {
  float x[N], g[N];
  for (int i = 0; i < N; i++)
    x[i] = i % 3 == 0 ? -1000.f - (float)i : 1000.f + (float)i;
  fill(g, N, GAUSSIAN, 5);
  struct mq_quantizer_config config = quantizer_config(scheme, false, ROWS, ROW);
  struct step step;
  step_init(&step, mq_quantizer_find(name), &config);
  step_calibrate(&step, x, ROWS, ROW);
  const float values[2] = {1.5f, -1.25f};
  for (size_t i = 0; i < step.n_parameters; i++)
    step.parameters[i] = (int)i == parameter ? (float)start : values[i];
  step_train(&step, x, g, ROWS, ROW);
  double got = (double)step.gradients[parameter], h = 0x1p-10;
  step.parameters[parameter] = (float)(start + h);
  double up = loss(&step, x, g);
  step.parameters[parameter] = (float)(start - h);
  double down = loss(&step, x, g), want = k * (up - down) / (2 * h);
  assert_true(fabs(want) > 0.1 * k);
  if (fabs(got - want) > 1e-3 * fabs(want)) fail_msg("%s: %g, expected %g", name, got, want);
  step_deinit(&step);
}

static void clipped_parts_agree_with_differences(void **state) {
  (void)state;
  const struct mq_scheme symmetric = scheme_of(4, true, true), asymmetric = scheme_of(4, true, false);
  const struct mq_scheme with_sign = scheme_of(8, false, false);
  double k4 = 1 / sqrt(N * 7.0), k8 = 1 / sqrt(N * 127.0);
  check_difference("lsq", &symmetric, 0, 0.75, k4);
  check_difference("lsq", &asymmetric, 0, 0.75, k4);
  check_difference("lsq", &with_sign, 0, 0.75, k8);
  check_difference("lsq_plus", &symmetric, 0, 0.75, k4);
  check_difference("lsq_plus", &asymmetric, 0, 0.75, k4);
  check_difference("lsq_plus", &asymmetric, 1, 0.75, k4); /* beta */
  check_difference("pact", &symmetric, 0, 2, 1);
}

/* Elements on each side of both masks: v = x / s with s = 1/4 on [-8, 7]. */
static void the_two_masks_differ_within_half_a_step(void **state) {
  (void)state;
  const float x[6] = {1.75f, 1.8f, 1.875f, -2, -2.125f, -2.126f};
  const float before[6] = {1, 0, 0, 1, 0, 0}, after[6] = {1, 1, 0, 1, 1, 0};
  const float g[6] = {1, 1, 1, 1, 1, 1};
  const struct mq_scheme scheme = scheme_of(4, true, true);
  struct mq_quantizer_config config = quantizer_config(&scheme, false, 1, 6);
  for (int is_published = 0; is_published < 2; is_published++) {
    config.is_published = is_published;
    struct step step;
    step_init(&step, mq_quantizer_find("lsq"), &config);
    step.parameters[0] = 0.25f;
    step_train(&step, x, g, 1, 6);
    assert_memory_equal(step.dx, is_published ? after : before, sizeof x);
    step_deinit(&step);
  }
}

/* 7.5 or just below it: alpha learns from above for some alphas only. */
static void published_pact_loses_gradients(void **state) {
  (void)state;
  const float x[3] = {100, 99, 98}, g[3] = {1, 1, 1};
  const struct mq_scheme scheme = scheme_of(4, true, true);
  struct mq_quantizer_config config = quantizer_config(&scheme, false, 1, 3);
  config.is_published = true;
  struct step step;
  step_init(&step, mq_quantizer_find("pact"), &config);
  int n_lost = 0, n_kept = 0;
  for (int i = 0; i < 200; i++) {
    step.parameters[0] = 1 + 0.0137f * (float)i;
    step_train(&step, x, g, 1, 3);
    assert_true(step.gradients[0] == 0 || step.gradients[0] == 3);
    *(step.gradients[0] == 0 ? &n_lost : &n_kept) += 1;
  }
  assert_true(n_lost > n_kept && n_kept > 0);
  step_deinit(&step);
}

static void minmax_averages_and_then_stands(void **state) {
  (void)state;
  const float first[4] = {-1, 0, 1, 2}, second[4] = {-3, 0, 1, 5};
  const struct mq_scheme scheme = scheme_of(8, true, false);
  struct mq_quantizer_config config = quantizer_config(&scheme, false, 1, 4);
  config.option = 0.75;
  const struct mq_quantizer_ops *ops = mq_quantizer_find("minmax");
  struct step step;
  step_init(&step, ops, &config);
  step.parameters[0] = -1;
  step.parameters[1] = 2;
  step_train(&step, second, first, 1, 4);
  float scale = step.grid.scale[0];
  assert_true(fabsf(scale - (1.5f + 2.75f) / 255) < 1e-6f); /* 3/4 and 1/4 of both */
  ops->update(step.parameters, &config, step.form, step.statistics, step.sums);
  assert_true(step.parameters[0] == -1.5f && step.parameters[1] == 2.75f);
  step_forward(&step, false, first, 1, 4);
  assert_true(step.grid.scale[0] == scale);
  step_deinit(&step);
}

static void lsq_plus_evaluates_on_a_grid(void **state) {
  (void)state;
  const float x[4] = {-1, 0, 1, 2};
  const struct mq_scheme scheme = scheme_of(4, false, false);
  struct mq_quantizer_config config = quantizer_config(&scheme, false, 1, 4);
  struct step step;
  step_init(&step, mq_quantizer_find("lsq_plus"), &config);
  step.parameters[0] = 0.2f;
  step.parameters[1] = -0.95f;
  step_forward(&step, true, x, 1, 4);
  assert_true(step.y[0] == 0.2f * 0 - 0.95f); /* zero itself is on no level */
  assert_false(step.has_grid);
  step_forward(&step, false, x, 1, 4);
  assert_true(step.has_grid);
  assert_int_equal(step.grid.zero_point[0], 5); /* rne(4.75) */
  assert_true(step.y[1] == 0);
  step_deinit(&step);
}

/* Steps on both sides of zero whatever the storage. */
static void lsq_plus_keeps_weights_centred(void **state) {
  (void)state;
  const float x[4] = {-1, 1, 0.3f, -0.3f};
  const struct mq_scheme unsigned_scheme = scheme_of(4, false, false),
                         signed_scheme = scheme_of(4, true, false);
  for (int is_signed = 0; is_signed < 2; is_signed++) {
    const struct mq_quantizer_config config =
        quantizer_config(is_signed ? &signed_scheme : &unsigned_scheme, true, 1, 4);
    struct step step;
    step_init(&step, mq_quantizer_find("lsq_plus"), &config);
    step.parameters[0] = 0.0625f;
    step_forward(&step, true, x, 1, 4);
    assert_int_equal(step.grid.zero_point[0], is_signed ? 0 : 8);
    assert_true(step.y[0] == -0.5f && step.y[1] == 7 * 0.0625f);
    step_deinit(&step);
  }
}

static void weights_begin_with_three_deviations(void **state) {
  (void)state;
  float x[N];
  fill(x, N, GAUSSIAN, 3);
  struct mq_scheme scheme = scheme_of(4, true, true);
  scheme.is_per_channel = true;
  struct mq_quantizer_config config = quantizer_config(&scheme, true, ROWS, ROW);
  struct step plus, tqt;
  step_init(&plus, mq_quantizer_find("lsq_plus"), &config);
  step_init(&tqt, mq_quantizer_find("tqt"), &config);
  step_calibrate(&plus, x, ROWS, ROW);
  step_calibrate(&tqt, x, ROWS, ROW);
  for (int r = 0; r < ROWS; r++) {
    double mean = 0, square = 0;
    for (int i = 0; i < ROW; i++)
      mean += (double)x[r * ROW + i] / ROW;
    for (int i = 0; i < ROW; i++)
      square += ((double)x[r * ROW + i] - mean) * ((double)x[r * ROW + i] - mean);
    double std = sqrt(square / (ROW - 1)), end = fabs(mean) + 3 * std;
    assert_true(fabs((double)plus.parameters[r] - end / 8) < 1e-6);
    assert_true(fabs((double)tqt.parameters[r] - log2(3 * std)) < 1e-6);
  }
  step_deinit(&plus);
  step_deinit(&tqt);
}

/* Another observer's scale stays as it is. */
static void an_observer_of_the_run_decides(void **state) {
  (void)state;
  struct mq_err err;
  const float x[3] = {-1, 0.5f, 0.25f};
  const struct mq_scheme scheme = scheme_of(4, true, true);
  struct mq_quantizer_config config = quantizer_config(&scheme, true, 1, 3);
  struct mq_qparams observed;
  assert_ok(mq_qparams_init(&observed, 1, -1, &err));
  const struct mq_range range = {-1, 0.75f};
  mq_qparams_from_range(&observed, &scheme, &range, NULL);
  float value;
  assert_ok(mq_quantizer_find("lsq_plus")->init(&value, &config, &observed, x, 1, 3, &err));
  assert_true(value == observed.scale[0]);
  assert_ok(mq_quantizer_find("tqt")->init(&value, &config, &observed, x, 1, 3, &err));
  assert_true(fabsf(value) < 1e-6f); /* t = 1 */
  assert_ok(mq_quantizer_find("lsq")->init(&value, &config, &observed, x, 1, 3, &err));
  assert_true(value == observed.scale[0]);
  mq_qparams_deinit(&observed);
}

/* Calibrated for scales that are powers of two, the threshold is the clip all the same, and t = 5 rounds up
 * to 8. */
static void thresholds_start_at_the_clip(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_scheme scheme = scheme_of(8, true, true);
  scheme.scale_form = MQ_SCALE_POT;
  struct mq_quantizer_config config = quantizer_config(&scheme, false, 1, 3);
  struct mq_qparams observed, copy;
  const struct mq_range range = {-5, 3};
  assert_ok(mq_qparams_init(&observed, 1, -1, &err));
  mq_qparams_from_range(&observed, &scheme, &range, NULL);
  assert_ok(mq_qparams_copy(&copy, &observed, &err));
  assert_true(observed.scale[0] == 0x1p-5f);
  const struct mq_quantizer_ops *tqt = mq_quantizer_find("tqt");
  float value;
  double form[64] = {0}; /* as in an engine's memory */
  assert_ok(tqt->init(&value, &config, &copy, NULL, 0, 0, &err));
  assert_true(fabs((double)value - log2(5)) < 1e-6);
  assert_true(tqt->form_count(&config) <= 64);
  tqt->derive(form, &config, &value, NULL, NULL);
  assert_true(tqt->grid(&copy, &config, form));
  assert_true(copy.scale[0] == 0x1p-4f);
  mq_qparams_deinit(&observed);
  mq_qparams_deinit(&copy);
}

static void least_scales_raise_weights(void **state) {
  (void)state;
  float x[N];
  fill(x, N, GAUSSIAN, 4);
  const float least[ROWS] = {0, 10, 0, 0.7f, 0, 0};
  const char *const of_weights[] = {"lsq", "lsq_plus", "dorefa", "tqt", "minmax"};
  for (size_t m = 0; m < sizeof of_weights / sizeof *of_weights; m++) {
    struct mq_scheme scheme = scheme_of(4, true, true);
    scheme.is_per_channel = true;
    const struct mq_quantizer_config config = quantizer_config(&scheme, true, ROWS, ROW);
    struct step step;
    step_init(&step, mq_quantizer_find(of_weights[m]), &config);
    step_calibrate(&step, x, ROWS, ROW);
    step_forward(&step, true, x, ROWS, ROW);
    float plain = step.grid.scale[0];
    step.least_scale = least;
    step_forward(&step, true, x, ROWS, ROW);
    bool is_tqt = strcmp(of_weights[m], "tqt") == 0;
    assert_true(step.grid.scale[0] == plain);
    assert_true(step.grid.scale[1] == (is_tqt ? 16 : 10));
    assert_true(step.grid.scale[3] == fmaxf(plain, is_tqt ? 1 : 0.7f));
    step_deinit(&step);
  }
}

static void parameters_stay_in_their_range(void **state) {
  (void)state;
  const struct mq_scheme scheme = scheme_of(4, true, false);
  const struct mq_quantizer_config config = quantizer_config(&scheme, false, 1, 4);
  float values[2] = {-0.5f, -9.5f};
  mq_quantizer_find("lsq")->project(values, &config);
  assert_true(values[0] == 0.5f && values[1] == -8);
  values[0] = 0;
  values[1] = 0.25f;
  mq_quantizer_find("pact")->project(values, &config);
  assert_true(values[0] == 0x1p-23f && values[1] == 0);
}

static void undefined_schemes_are_refused(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_scheme scheme = scheme_of(4, true, false);
  struct mq_quantizer_config config = quantizer_config(&scheme, false, 1, 4);
  assert_fails(MQ_BAD_INPUT, "relu1: tqt is not defined for int4 asymmetric per-tensor",
               mq_quantizer_find("tqt")->check(&config, "relu1", &err));
  config.is_weight = true;
  assert_fails(MQ_BAD_INPUT, "conv1: pact does not quantize weights",
               mq_quantizer_find("pact")->check(&config, "conv1", &err));
  config.scheme.bits = 9;
  for (size_t m = 0; m < N_NAMES; m++)
    if (mq_quantizer_find(names[m])->is_for_weights && strcmp(names[m], "tqt") != 0)
      assert_fails(MQ_BAD_INPUT, "conv1: 9 bits", mq_quantizer_find(names[m])->check(&config, "conv1", &err));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(forward_is_plain_fake_quantization),
      cmocka_unit_test(backward_adds_and_works_in_place),
      cmocka_unit_test(slices_merge_to_the_whole),
      cmocka_unit_test(parameters_that_are_not_finite_show),
      cmocka_unit_test(clipped_parts_agree_with_differences),
      cmocka_unit_test(the_two_masks_differ_within_half_a_step),
      cmocka_unit_test(published_pact_loses_gradients),
      cmocka_unit_test(minmax_averages_and_then_stands),
      cmocka_unit_test(lsq_plus_evaluates_on_a_grid),
      cmocka_unit_test(lsq_plus_keeps_weights_centred),
      cmocka_unit_test(weights_begin_with_three_deviations),
      cmocka_unit_test(an_observer_of_the_run_decides),
      cmocka_unit_test(thresholds_start_at_the_clip),
      cmocka_unit_test(least_scales_raise_weights),
      cmocka_unit_test(parameters_stay_in_their_range),
      cmocka_unit_test(undefined_schemes_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
