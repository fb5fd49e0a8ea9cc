/* From learned parameters to deployable points: for every method on every target it is defined for, the
 * frozen network in the inference engine gives the training graph's evaluation. */
#include <math.h>

#include "help_training.h"

static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};

struct bench {
  struct fixture fixture;
  struct net net;
};

static void bench_begin(struct bench *b) {
  *b = (struct bench){0};
  net_residual(&b->net, true);
  fixture_init_random(&b->fixture, 32, 3, 8, 2);
}

static void bench_end(struct bench *b) {
  mq_graph_destroy(b->net.graph);
  fixture_deinit(&b->fixture);
}

/* Calibrated, with quantizers. False: the method is not defined for the target. */
static bool assign(struct mq_prepared *prepared, const struct bench *b, const char *target,
                   const struct mq_quantizer_ops *quantizer) {
  struct mq_err err = {0};
  struct mq_calibrate_result result;
  const struct mq_calibrate_options options = fixture_calibration(fixture_indices, 32);
  const struct mq_method method = {.quantizer = quantizer, .option = NAN};
  fixture_prepare(prepared, &b->net, target, strcmp(quantizer->name, "nnie") ? 4 : 8);
  assert_ok(mq_calibrate(&result, prepared, b->fixture.data, &options, b->fixture.pool, &err));
  if (!mq_assign_quantizers(prepared, &method, &err)) return true;
  mq_prepared_deinit(prepared);
  return false;
}

/* ---- Weights: fake quantization of the frozen ones against the method's own forward ---------------------
 */

/* What forward makes of each weight (rows along dimension 0, as Conv's and this Gemm's are). */
static void forward_weights(float *y, const struct mq_point *point, const struct mq_tensor *w) {
  const struct mq_quantizer_ops *ops = point->quantizer;
  const struct mq_quantizer_config *config = &point->quantizer_config;
  int64_t n_rows = w->shape.dim[0], row_count = mq_shape_count(&w->shape) / n_rows;
  size_t n_statistics = ops->statistics_count && !ops->freezes_weights ? ops->statistics_count(config) : 0;
  double *statistics = mq_alloc(n_statistics + 1, sizeof *statistics);
  double *form = mq_alloc(ops->form_count(config) + 1, sizeof *form);
  assert_true(statistics && form);
  if (n_statistics) ops->observe(statistics, config, w->data, n_rows, row_count);
  ops->derive(form, config, point->parameters, n_statistics ? statistics : NULL, NULL);
  ops->forward(y, NULL, config, form, w->data, n_rows, row_count);
  mq_free(statistics);
  mq_free(form);
}

/* By the plain definition, s (clip(rne(x / s) + z) - z); the quotient is a float's (half a step, where the
 * largest weight of a symmetric range lies, depends on it). */
static void check_rows(const struct mq_tensor *frozen, const struct mq_qparams *q, const float *y,
                       const char *name) {
  int64_t n = mq_shape_count(&frozen->shape), row_count = n / frozen->shape.dim[0];
  for (int64_t i = 0; i < n; i++) {
    float w = ((const float *)frozen->data)[i];
    double found = (double)w, expected = (double)y[i];
    if (q->n_channels > 0) {
      int64_t c = q->n_channels > 1 ? i / row_count : 0;
      double code = nearbyint((double)(w / q->scale[c])) + q->zero_point[c];
      code = fmin(fmax(code, q->quant_min), q->quant_max);
      found = (double)q->scale[c] * (code - q->zero_point[c]);
    }
    if (fabs(found - expected) > 1e-6 * (1 + fabs(expected)))
      fail_msg("%s: element %d is %g, forward gave %g", name, (int)i, found, expected);
  }
}

static const struct mq_tensor *weights_of(const struct mq_prepared *prepared, size_t point) {
  return mq_graph_find_value(prepared->graph, prepared->points[point].tensor)->constant;
}

/* ---- The whole network ----------------------------------------------------------------------------------
 */
static void check_points(const struct mq_prepared *prepared) {
  for (size_t i = 0; i < prepared->n_points; i++) {
    const struct mq_point *point = &prepared->points[i];
    bool is_weight = point->kind == MQ_POINT_WEIGHT;
    if (is_weight) assert_null(point->quantizer);
    if (point->quantizer) assert_true(point->quantizer->is_academic); /* no grid of the scheme's */
    for (int64_t c = 0; c < point->qparams.n_channels; c++)
      assert_true(isfinite(point->qparams.scale[c]) && point->qparams.scale[c] > 0);
  }
}

static void check_method(const struct bench *b, const char *target,
                         const struct mq_quantizer_ops *quantizer) {
  struct mq_prepared prepared;
  struct mq_err err = {0};
  struct lesson lesson;
  float logits[LESSON_IMAGES * LESSON_CLASSES], *rows[64] = {0};
  const struct mq_trainer_options options = {.momentum = 0.9, .quantizer_decay = NAN};
  if (!assign(&prepared, b, target, quantizer)) {
    assert_string_not_equal(target, "academic"); /* which takes them all */
    return;
  }
  lesson_begin(&lesson, prepared.graph, prepared.points, prepared.n_points, &options);
  for (int step = 0; step < 3; step++)
    lesson_step(&lesson, 0.002);
  lesson_evaluate(&lesson);
  assert_ok(mq_trainer_export(lesson.trainer, prepared.graph, prepared.points, &err));
  assert_true(prepared.n_points < 64);
  for (size_t i = 0; i < prepared.n_points; i++) {
    if (prepared.points[i].kind != MQ_POINT_WEIGHT) continue;
    rows[i] = mq_alloc((size_t)mq_shape_count(&weights_of(&prepared, i)->shape), sizeof(float));
    assert_non_null(rows[i]);
    forward_weights(rows[i], &prepared.points[i], weights_of(&prepared, i));
  }
  assert_ok(mq_freeze_quantizers(&prepared, MQ_BIAS_FLOAT, &err));
  check_points(&prepared);
  for (size_t i = 0; i < prepared.n_points; i++) {
    if (rows[i]) check_rows(weights_of(&prepared, i), &prepared.points[i].qparams, rows[i], quantizer->name);
    mq_free(rows[i]);
  }
  infer_lesson(logits, prepared.graph, prepared.points, prepared.n_points);
  check_logits(logits, lesson.logits, lesson.n_classes, true);
  lesson_end(&lesson);
  mq_prepared_deinit(&prepared);
}

static void every_method(void **state) {
  (void)state;
  struct bench b;
  bench_begin(&b);
  for (size_t t = 0; t < sizeof targets / sizeof *targets; t++) {
    for (size_t i = 0; i < mq_quantizer_count(); i++)
      check_method(&b, targets[t], mq_quantizer_at(i));
  }
  bench_end(&b);
}

/* Methods on no grid are handed over as the values themselves. */
static void what_remains_of_a_method(void **state) {
  (void)state;
  struct bench b;
  struct mq_prepared prepared;
  struct mq_err err = {0};
  bench_begin(&b);
  assert_true(assign(&prepared, &b, "academic", mq_quantizer_find("lqnet")));
  assert_ok(mq_freeze_quantizers(&prepared, MQ_BIAS_FLOAT, &err));
  for (size_t i = 0; i < prepared.n_points; i++) {
    const struct mq_point *point = &prepared.points[i];
    bool is_weight = point->kind == MQ_POINT_WEIGHT;
    if (point->is_at_end) assert_true(!point->quantizer && point->qparams.n_channels == 1); /* minmax */
    if (!point->is_at_end && is_weight) assert_int_equal(point->qparams.n_channels, 0);
    if (!point->is_at_end && !is_weight) assert_true(point->quantizer && point->parameters);
  }
  mq_prepared_deinit(&prepared);
  bench_end(&b);
}

/* int32 biases: s_w >= |b| / (2^30 s_x), channel by channel. */
static void int32_biases_raise_scales(void **state) {
  (void)state;
  struct bench b;
  struct mq_prepared prepared;
  struct mq_err err = {0};
  bench_begin(&b);
  assert_true(assign(&prepared, &b, "tensorrt", mq_quantizer_find("lsq")));
  float *bias = mq_graph_find_value(prepared.graph, "conv1.bias")->constant->data;
  bias[0] = -3e7f;
  float scale[8];
  size_t w = 0, x = 0;
  for (size_t i = 0; i < prepared.n_points; i++) {
    w = strcmp(prepared.points[i].tensor, "conv1.weight") ? w : i;
    x = strcmp(prepared.points[i].tensor, "relu0_out") ? x : i;
  }
  memcpy(scale, prepared.points[w].parameters, sizeof scale);
  assert_ok(mq_freeze_quantizers(&prepared, MQ_BIAS_INT32, &err));
  const struct mq_qparams *q = &prepared.points[w].qparams;
  double least = 3e7 / (1073741824.0 * (double)prepared.points[x].qparams.scale[0]);
  assert_true(least > (double)scale[0]); /* the test tests something */
  assert_true(fabs((double)q->scale[0] / least - 1) < 1e-6);
  for (int c = 1; c < 8; c++)
    assert_true(q->scale[c] == scale[c]);
  mq_prepared_deinit(&prepared);
  bench_end(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_method),
      cmocka_unit_test(what_remains_of_a_method),
      cmocka_unit_test(int32_biases_raise_scales),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
