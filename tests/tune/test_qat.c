/* Quantization-aware training from a float model to a deployable network. */
#include <math.h>

#include "help_tune.h"

struct qat_case {
  const char *target, *method;
  int bits;
  mq_bn_fold fold;
  double epochs, least; /* accuracy at the end */
};

static struct mq_qat_options usual_options(const struct qat_case *c) {
  const struct mq_qat_options options = {
      .prepare = {.w_bits = c->bits, .a_bits = c->bits, .bn_fold = c->fold},
      .calibrate = fixture_calibration(fixture_indices, 32),
      .method = {.quantizer = mq_quantizer_find(c->method), .option = NAN},
      .train = {.epochs = c->epochs > 0 ? c->epochs : 6,
                .batch = 16,
                .slice_images = 4,
                .rate = 0.02,
                .momentum = 0.9,
                .is_nesterov = true,
                .weight_decay = 1e-4,
                .bias_decay = NAN,
                .bn_decay = NAN,
                .quantizer_decay = NAN,
                .scale_decay = NAN,
                .seed = 3}};
  return options;
}

static struct mq_target *load(const char *name) {
  struct mq_err err = {0};
  struct mq_target *target;
  char path[600];
  snprintf(path, sizeof path, MQ_SOURCE_DIRECTORY "/targets/%s.yaml", name);
  assert_ok(mq_target_load(&target, path, &err));
  return target;
}

/* A float network that knows the classes. */
static struct mq_graph *learned_net(struct fixture *f) {
  struct net net;
  struct mq_train_result result;
  const struct qat_case c = {.method = "lsq"};
  struct mq_qat_options options = usual_options(&c);
  options.train.epochs = 40;
  net_residual(&net, true);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  struct mq_err err = {0};
  assert_ok(mq_train(&result, net.graph, NULL, 0, f->data, &options.train, f->pool, &err));
  mq_train_result_deinit(&result);
  return net.graph;
}

/* `known`, if there is one, must be what measuring again gives, bit for bit. */
static double top1_of(const struct mq_prepared *prepared, const struct mq_evaluation *known,
                      struct fixture *f) {
  struct mq_err err = {0};
  struct mq_evaluation e;
  const struct mq_evaluate_options options = {
      .points = prepared->points, .n_points = prepared->n_points, .slice_images = 4};
  assert_ok(mq_evaluate(&e, prepared->graph, f->data, &options, f->pool, &err));
  double top1 = (double)e.correct / (double)e.n_labelled;
  assert_true(e.is_finite);
  if (known) {
    assert_true(known->is_finite && known->n_images == e.n_images && known->n_labelled == e.n_labelled);
    assert_true(known->correct == e.correct && known->correct5 == e.correct5);
    assert_memory_equal(&known->loss, &e.loss, sizeof e.loss);
    assert_memory_equal(known->is_correct, e.is_correct, (size_t)e.n_images / 8 + 1);
    assert_memory_equal(known->predicted, e.predicted, (size_t)e.n_images * sizeof *e.predicted);
  }
  mq_evaluation_deinit(&e);
  return top1;
}

static void check_case(const struct qat_case *c, struct fixture *f, const struct mq_graph *model) {
  struct mq_err err = {0};
  struct mq_qat_result result;
  struct mq_target *target = load(c->target);
  const struct mq_qat_options options = usual_options(c);
  mq_status status = mq_qat(&result, model, target, f->data, f->data, &options, f->pool, &err);
  if (status) fail_msg("%s on %s, folding %d: %s", c->method, c->target, (int)c->fold, err.message);
  assert_int_equal(result.train.steps, 5 * (int64_t)c->epochs);
  assert_int_equal(result.n_records, (int)c->epochs);
  assert_false(result.train.is_diverged);
  assert_true(result.is_evaluated);
  assert_true(result.train.last_top1 == top1_of(&result.prepared, &result.evaluation, f));
  if (!(result.train.last_top1 > c->least))
    fail_msg("%s on %s, %d bits, folding %d: accuracy %g", c->method, c->target, c->bits, (int)c->fold,
             result.train.last_top1);
  for (size_t i = 0; i < result.prepared.n_points; i++) {
    const struct mq_point *point = &result.prepared.points[i];
    if (point->kind == MQ_POINT_BIAS || point->qparams.n_channels == 0) continue;
    const struct mq_range *range = &result.records[result.n_records - 1].ranges[i];
    assert_true(range->lo <= 0 && range->hi > range->lo);
    if (point->qparams.n_channels == 1) {
      float hi = (float)(point->qparams.quant_max - point->qparams.zero_point[0]) * point->qparams.scale[0];
      assert_true(range->hi == hi);
    }
  }
  mq_qat_result_deinit(&result);
  mq_target_destroy(target);
}

static void test_methods(void **state) {
  (void)state;
  static const struct qat_case cases[] = {{"academic", "lsq", 4, MQ_BN_FOLD_TARGET, 6, 0.5},
                                          {"tensorrt", "lsq", 8, MQ_BN_FOLD_TARGET, 6, 0.5},
                                          {"tensorrt", "lsq", 4, MQ_BN_FOLD_NONE, 6, 0.5},
                                          {"acl", "pact", 4, MQ_BN_FOLD_0, 6, 0.5},
                                          {"tvm", "lsq", 4, MQ_BN_FOLD_TARGET, 6, 0.5},
                                          {"snpe", "dorefa", 8, MQ_BN_FOLD_0, 24, 0.5},
                                          {"fbgemm", "dsq", 4, MQ_BN_FOLD_0, 6, 0.5},
                                          {"academic", "qil", 4, MQ_BN_FOLD_TARGET, 24, 0.15},
                                          {"academic", "apot", 4, MQ_BN_FOLD_TARGET, 6, 0.5},
                                          {"tvm", "tqt", 8, MQ_BN_FOLD_TARGET, 6, 0.5},
                                          {"academic", "lqnet", 3, MQ_BN_FOLD_TARGET, 6, 0.5},
                                          {"academic", "nnie", 8, MQ_BN_FOLD_TARGET, 6, 0.5},
                                          {"fbgemm", "lsq_plus", 4, MQ_BN_FOLD_TARGET, 6, 0.5}};
  struct fixture f;
  fixture_init_classes(&f, 2);
  struct mq_graph *model = learned_net(&f);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (!test_leaves_out((int64_t)i)) check_case(&cases[i], &f, model);
  mq_graph_destroy(model);
  fixture_deinit(&f);
}

static bool has_bn(const struct mq_graph *graph) {
  for (size_t i = 0; i < graph->n_nodes; i++)
    if (graph->nodes[i]->op == MQ_OP_BatchNormalization) return true;
  return false;
}

/* A target that keeps BN by itself: a run that names a strategy trains and hands over its folded form all the
 * same. Steps too small to change anything leave the calibrated network, one for all strategies; 2 to 4 have
 * moved their statistics a little by then. */
static void test_folding_where_the_target_does_not(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct fixture f;
  struct mq_target *target = load("academic");
  fixture_init_classes(&f, 2);
  struct mq_graph *model = learned_net(&f);
  double folded = 0;
  for (mq_bn_fold fold = MQ_BN_FOLD_0; fold <= MQ_BN_FOLD_4; fold++) {
    if (test_is_light() && fold != MQ_BN_FOLD_0 && fold != MQ_BN_FOLD_4) continue;
    struct mq_qat_result result;
    const struct qat_case c = {"academic", "dsq", 4, fold, 1, 0};
    struct mq_qat_options options = usual_options(&c);
    options.train.rate = 1e-9;
    assert_ok(mq_qat(&result, model, target, f.data, f.data, &options, f.pool, &err));
    assert_false(has_bn(result.prepared.graph));
    if (fold == MQ_BN_FOLD_0) folded = result.train.last_top1;
    if (result.train.last_top1 < folded - 0.15)
      fail_msg("folding %d: accuracy %g, expected about %g", (int)fold, result.train.last_top1, folded);
    mq_qat_result_deinit(&result);
  }
  mq_graph_destroy(model);
  mq_target_destroy(target);
  fixture_deinit(&f);
}

static void test_workers(void **state) {
  (void)state;
  const struct qat_case c = {"tensorrt", "lsq", 4, MQ_BN_FOLD_TARGET, test_is_light() ? 1 : 6, 0.5};
  uint64_t deployed[3], trained[3];
  for (unsigned workers = 1; workers <= 3; workers++) {
    struct mq_err err = {0};
    struct fixture f;
    struct mq_qat_result result;
    fixture_init_classes(&f, workers);
    struct mq_target *target = load(c.target);
    struct mq_graph *model = learned_net(&f);
    uint64_t before = constants_bits(model);
    const struct mq_qat_options options = usual_options(&c);
    assert_ok(mq_qat(&result, model, target, f.data, NULL, &options, f.pool, &err));
    assert_true(constants_bits(model) == before); /* only read */
    assert_int_equal(result.n_records, 0);
    deployed[workers - 1] = constants_bits(result.prepared.graph);
    trained[workers - 1] = constants_bits(result.trained);
    assert_true(trained[workers - 1] != before);
    mq_qat_result_deinit(&result);
    mq_graph_destroy(model);
    mq_target_destroy(target);
    fixture_deinit(&f);
  }
  assert_true(deployed[0] == deployed[1] && deployed[1] == deployed[2]);
  assert_true(trained[0] == trained[1] && trained[1] == trained[2]);
}

/* What was recorded before an interruption is there after it: here it came right after the last step. */
static void check_resumed(const char *method, double ema, bool observes) {
  struct mq_err err = {0};
  struct fixture f;
  struct mq_qat_result whole, resumed;
  struct net net;
  char path[700];
  const struct qat_case c = {observes ? "academic" : "snpe", method, 4, MQ_BN_FOLD_TARGET, 3, 0};
  fixture_init_classes(&f, 1);
  struct mq_target *target = load(c.target);
  net_residual(&net, true);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  struct mq_qat_options options = usual_options(&c);
  snprintf(path, sizeof path, "%s/qat.checkpoint", f.directory);
  options.train.checkpoint = path;
  options.train.resumes = true;
  options.train.ema = ema;
  options.observes_in_evaluation = observes;
  assert_ok(mq_qat(&whole, net.graph, target, f.data, f.data, &options, f.pool, &err));
  assert_ok(mq_qat(&resumed, net.graph, target, f.data, f.data, &options, f.pool, &err));
  assert_true(resumed.train.is_resumed && !whole.train.is_resumed);
  /* the one hands over what its last judgement was of, the other what the checkpoint holds */
  assert_true(whole.is_evaluated && resumed.is_evaluated);
  assert_int_equal(whole.n_records, 3);
  assert_int_equal(resumed.n_records, 3);
  assert_true(whole.prepared.n_points > 5);
  for (size_t i = 0; i < 3; i++) {
    assert_int_equal(resumed.records[i].step, whole.records[i].step);
    assert_memory_equal(resumed.records[i].ranges, whole.records[i].ranges,
                        whole.prepared.n_points * sizeof(struct mq_range));
  }
  assert_true(constants_bits(resumed.prepared.graph) == constants_bits(whole.prepared.graph));
  assert_true(constants_bits(resumed.trained) == constants_bits(whole.trained));
  assert_int_equal(resumed.prepared.n_points, whole.prepared.n_points);
  for (size_t i = 0; i < whole.prepared.n_points; i++) {
    const struct mq_qparams *a = &whole.prepared.points[i].qparams, *b = &resumed.prepared.points[i].qparams;
    assert_int_equal(a->n_channels, b->n_channels);
    assert_memory_equal(a->scale, b->scale, (size_t)a->n_channels * sizeof *a->scale);
    assert_memory_equal(a->zero_point, b->zero_point, (size_t)a->n_channels * sizeof *a->zero_point);
  }
  assert_memory_equal(&whole.evaluation.loss, &resumed.evaluation.loss, sizeof whole.evaluation.loss);
  double top1 = top1_of(&resumed.prepared, observes ? NULL : &whole.evaluation, &f);
  assert_true(observes || whole.train.last_top1 == top1);
  mq_qat_result_deinit(&whole);
  mq_qat_result_deinit(&resumed);
  mq_graph_destroy(net.graph);
  mq_target_destroy(target);
  fixture_deinit(&f);
}

static void test_resumed_records(void **state) {
  (void)state;
  check_resumed("lsq", 0, false);
  check_resumed("lsq", 0.9, false);
  check_resumed("pact", 0, true);
}

/* A scheme that the method is not defined for is an error that names the tensor. */
static void test_refusal(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct fixture f;
  struct mq_qat_result result;
  struct net net;
  const struct qat_case c = {"tensorrt", "apot", 4, MQ_BN_FOLD_TARGET, 6, 0.5};
  fixture_init_classes(&f, 1);
  struct mq_target *target = load(c.target);
  net_residual(&net, true);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  const struct mq_qat_options options = usual_options(&c);
  assert_int_equal(mq_qat(&result, net.graph, target, f.data, f.data, &options, f.pool, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "apot"));
  struct mq_qat_options observing = usual_options(&(struct qat_case){"tensorrt", "pact", 4, 0, 1, 0});
  observing.observes_in_evaluation = observing.is_handed_over = true;
  assert_int_equal(mq_qat(&result, net.graph, target, f.data, f.data, &observing, f.pool, &err),
                   MQ_BAD_USAGE);
  assert_non_null(strstr(err.message, "observer_eval"));
  assert_null(result.prepared.graph);
  mq_graph_destroy(net.graph);
  mq_target_destroy(target);
  fixture_deinit(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_methods), cmocka_unit_test(test_folding_where_the_target_does_not),
      cmocka_unit_test(test_workers), cmocka_unit_test(test_resumed_records),
      cmocka_unit_test(test_refusal),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
