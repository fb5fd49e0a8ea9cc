/* Which quantizer every point gets, with which configuration and initial parameters. */
#include <math.h>

#include "help_tune.h"

struct desk {
  struct fixture fixture;
  struct net net;
  struct mq_prepared prepared;
};

static void desk_begin(struct desk *d, const char *target, int w_bits) {
  struct mq_err err = {0};
  struct mq_calibrate_result result;
  const struct mq_calibrate_options options = fixture_calibration(fixture_indices, 16);
  *d = (struct desk){0};
  net_residual(&d->net, true);
  fixture_init_random(&d->fixture, 16, 3, 8, 2);
  fixture_prepare(&d->prepared, &d->net, target, w_bits);
  assert_ok(mq_calibrate(&result, &d->prepared, d->fixture.data, &options, d->fixture.pool, &err));
}

static void desk_end(struct desk *d) {
  mq_prepared_deinit(&d->prepared);
  mq_graph_destroy(d->net.graph);
  fixture_deinit(&d->fixture);
}

static const struct mq_point *point_of(const struct desk *d, const char *tensor) {
  for (size_t i = 0; i < d->prepared.n_points; i++) {
    if (!strcmp(d->prepared.points[i].tensor, tensor)) return &d->prepared.points[i];
  }
  fail_msg("no point '%s'", tensor);
  return NULL;
}

static void assign(struct desk *d, const char *name, double option) {
  struct mq_err err = {0};
  const struct mq_method method = {.quantizer = mq_quantizer_find(name), .option = option};
  assert_ok(mq_assign_quantizers(&d->prepared, &method, &err));
}

static void check_name(const struct desk *d, const char *tensor, const char *name) {
  const struct mq_point *point = point_of(d, tensor);
  assert_non_null(point->quantizer);
  assert_string_equal(point->quantizer->name, name);
  assert_non_null(point->parameters);
}

static void weights_may_have_another(void **state) {
  (void)state;
  struct desk d;
  desk_begin(&d, "tensorrt", 4);
  assign(&d, "pact", NAN);
  check_name(&d, "conv1.weight", "dorefa");
  check_name(&d, "relu1_out", "pact");
  check_name(&d, "input", "pact"); /* this target makes nothing of the ends */
  assign(&d, "lsq", NAN);          /* again: what was there is replaced */
  check_name(&d, "conv1.weight", "lsq");
  desk_end(&d);
}

/* PACT: the inputs of the first and last layer; APoT: their weights too. The method's option is not minmax's.
 */
static void ends_are_uniform(void **state) {
  (void)state;
  struct desk d;
  desk_begin(&d, "academic", 4);
  assign(&d, "pact", 1);
  check_name(&d, "input", "minmax");
  check_name(&d, "flatten_out", "minmax");
  check_name(&d, "conv0.weight", "dorefa");
  check_name(&d, "conv1.weight", "dorefa");
  check_name(&d, "relu0_out", "pact");
  assert_true(point_of(&d, "conv1.weight")->quantizer_config.option == 1);
  assert_true(isnan(point_of(&d, "input")->quantizer_config.option));
  assign(&d, "apot", NAN);
  check_name(&d, "input", "minmax");
  check_name(&d, "conv0.weight", "minmax");
  check_name(&d, "fc.weight", "minmax");
  check_name(&d, "conv1.weight", "apot");
  check_name(&d, "relu0_out", "apot");
  desk_end(&d);
}

static void configurations(void **state) {
  (void)state;
  struct desk d;
  desk_begin(&d, "tensorrt", 4);
  assign(&d, "lsq", NAN);
  const struct mq_quantizer_config *w = &point_of(&d, "conv1.weight")->quantizer_config;
  assert_true(w->is_weight);
  assert_int_equal(w->scheme.bits, 4);
  assert_int_equal(w->n_channels, 8);
  assert_int_equal(w->n_rows, 8);
  assert_true(w->n_elements == 4 * 3 * 3); /* of one scale */
  desk_end(&d);
  desk_begin(&d, "academic", 4);
  assign(&d, "lsq", NAN);
  w = &point_of(&d, "conv1.weight")->quantizer_config;
  assert_int_equal(w->n_channels, 1);
  assert_int_equal(w->n_rows, 8);
  assert_true(w->n_elements == 8 * 4 * 3 * 3);
  /* adaptive sign: decided by calibration */
  const struct mq_quantizer_config *a = &point_of(&d, "relu0_out")->quantizer_config;
  assert_false(a->is_weight);
  assert_false(a->scheme.is_sign_adaptive);
  assert_false(a->scheme.is_signed);
  assert_true(a->is_non_negative);
  a = &point_of(&d, "input")->quantizer_config;
  assert_true(a->scheme.is_signed);
  assert_false(a->is_non_negative);
  desk_end(&d);
}

/* LSQ begins at the calibrated scales. */
static void initial_values(void **state) {
  (void)state;
  struct desk d;
  desk_begin(&d, "snpe", 8);
  assign(&d, "lsq", NAN);
  for (size_t i = 0; i < d.prepared.n_points; i++) {
    const struct mq_point *p = &d.prepared.points[i];
    for (int64_t c = 0; c < p->qparams.n_channels; c++) {
      assert_true(p->parameters[c] == p->qparams.scale[c]);
      assert_true(p->parameters[p->qparams.n_channels + c] == (float)p->qparams.zero_point[c]);
    }
  }
  desk_end(&d);
}

static void undefined_schemes_are_refused(void **state) {
  (void)state;
  struct desk d;
  struct mq_err err = {0};
  desk_begin(&d, "tensorrt", 4);
  const struct mq_method method = {.quantizer = mq_quantizer_find("apot"), .option = NAN};
  assert_int_equal(mq_assign_quantizers(&d.prepared, &method, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "apot"));
  assert_non_null(strstr(err.message, "conv0.weight")); /* per channel */
  desk_end(&d);
}

/* A training form computes its weights: quantizers are assigned in strategy 0's form. */
static void computed_weights_are_refused(void **state) {
  (void)state;
  struct desk d;
  struct mq_err err = {0};
  struct mq_target *target;
  const struct mq_prepare_options options = {.bn_fold = MQ_BN_FOLD_1};
  desk_begin(&d, "tensorrt", 8);
  struct mq_prepared training;
  assert_ok(mq_target_load(&target, MQ_SOURCE_DIRECTORY "/targets/tensorrt.yaml", &err));
  assert_ok(mq_prepare(&training, d.net.graph, target, &options, &err));
  mq_target_destroy(target);
  assert_ok(mq_copy_quantizers(&training, &d.prepared, &err)); /* the scales */
  const struct mq_method method = {.quantizer = mq_quantizer_find("lsq"), .option = NAN};
  assert_int_equal(mq_assign_quantizers(&training, &method, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "conv0.weight"));
  mq_prepared_deinit(&training);
  desk_end(&d);
}

static void copies_are_independent(void **state) {
  (void)state;
  struct desk d;
  struct mq_prepared copy;
  struct mq_err err = {0};
  desk_begin(&d, "tensorrt", 4);
  assign(&d, "lsq", NAN);
  fixture_prepare(&copy, &d.net, "tensorrt", 4);
  for (int again = 0; again < 2; again++) { /* what was there is freed */
    assert_ok(mq_copy_quantizers(&copy, &d.prepared, &err));
    for (size_t i = 0; i < copy.n_points; i++) {
      const struct mq_point *a = &copy.points[i], *b = &d.prepared.points[i];
      assert_ptr_equal(a->quantizer, b->quantizer);
      assert_ptr_not_equal(a->parameters, b->parameters);
      assert_ptr_not_equal(a->qparams.scale, b->qparams.scale);
      size_t n = mq_quantizer_parameter_total(b->quantizer, &b->quantizer_config);
      assert_memory_equal(a->parameters, b->parameters, n * sizeof(float));
      assert_memory_equal(a->qparams.scale, b->qparams.scale, (size_t)b->qparams.n_channels * sizeof(float));
    }
  }
  mq_prepared_deinit(&copy);
  desk_end(&d);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(weights_may_have_another),
      cmocka_unit_test(ends_are_uniform),
      cmocka_unit_test(configurations),
      cmocka_unit_test(initial_values),
      cmocka_unit_test(undefined_schemes_are_refused),
      cmocka_unit_test(computed_weights_are_refused),
      cmocka_unit_test(copies_are_independent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
