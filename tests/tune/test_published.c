/* What the paper's released code does otherwise while it trains: the running variance's factor, folding 2 and
 * 3 with frozen statistics. */
#include <math.h>

#include "help_training.h"

/* ---- The factor of the running variance -------------------------------------------------------------- */
static void load(struct mq_target **target, const char *name) {
  struct mq_err err = {0};
  char path[600];
  snprintf(path, sizeof path, MQ_SOURCE_DIRECTORY "/targets/%s.yaml", name);
  assert_ok(mq_target_load(target, path, &err));
}

static void prepare_form(struct mq_prepared *prepared, const struct mq_graph *model, mq_bn_fold fold) {
  struct mq_err err = {0};
  struct mq_target *target;
  const struct mq_prepare_options options = {.bn_fold = fold};
  load(&target, "tensorrt");
  assert_ok(mq_prepare(prepared, model, target, &options, &err));
  mq_target_destroy(target);
}

/* Running variances by BN, each 0.9 v + 0.1 f b with the batch's biased b. */
#define MAX_CHANNELS 8
struct variances {
  double before[MAX_CHANNELS], after[MAX_CHANNELS];
  size_t n;
};

static struct mq_trainer_state find_state(const struct lesson *lesson, const char *name) {
  for (size_t i = 0; i < mq_trainer_state_count(lesson->trainer); i++) {
    struct mq_trainer_state state = mq_trainer_state_at(lesson->trainer, i);
    if (!strcmp(state.name, name)) return state;
  }
  fail_msg("no variable %s", name);
  return (struct mq_trainer_state){0};
}

static void step_once(struct variances *v, const struct mq_graph *model, mq_bn_fold fold, const char *name,
                      bool is_published) {
  struct mq_prepared prepared;
  struct lesson lesson;
  const struct mq_trainer_options options = {.momentum = 0.9, .has_published_variance = is_published};
  prepare_form(&prepared, model, fold);
  lesson_begin(&lesson, prepared.graph, prepared.points, prepared.n_points, &options);
  struct mq_trainer_state state = find_state(&lesson, name);
  v->n = state.count;
  assert_true(v->n <= MAX_CHANNELS);
  for (size_t c = 0; c < v->n; c++)
    v->before[c] = (double)state.values[c];
  lesson_step(&lesson, 1e-6);
  for (size_t c = 0; c < v->n; c++)
    v->after[c] = (double)state.values[c];
  lesson_end(&lesson);
  mq_prepared_deinit(&prepared);
}

/* From the usual run's variance comes the batch's, from that what the other run must have. */
static void check_variance(const struct mq_graph *model, mq_bn_fold fold, const char *name, double n) {
  struct variances usual, published;
  step_once(&usual, model, fold, name, false);
  step_once(&published, model, fold, name, true);
  assert_int_equal(usual.n, published.n);
  double channels = (double)usual.n;
  for (size_t i = 0; i < usual.n; i++) {
    double batch = (usual.after[i] - 0.9 * usual.before[i]) / 0.1 / (n / (n - 1));
    double expected = 0.9 * usual.before[i] + 0.1 * batch * channels / (channels - 1);
    assert_true(batch > 0);
    if (fabs(published.after[i] - expected) > 1e-5 * expected)
      fail_msg("folding %d, %s[%zu]: %g, expected %g", (int)fold, name, i, published.after[i], expected);
    assert_true(published.after[i] > usual.after[i] * (1 + 1e-4)); /* 4/3 or 8/7 against 1024/1023 */
  }
}

static void test_variance(void **state) {
  (void)state;
  static const mq_bn_fold folds[] = {MQ_BN_FOLD_NONE, MQ_BN_FOLD_2, MQ_BN_FOLD_3, MQ_BN_FOLD_4};
  struct net net;
  net_residual(&net, true);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  for (size_t i = 0; i < 4; i++) {
    check_variance(net.graph, folds[i], "bn0.running_var", LESSON_IMAGES * 64);
    check_variance(net.graph, folds[i], "bn1.running_var", LESSON_IMAGES * 16);
  }
  mq_graph_destroy(net.graph);
}

/* ---- Folding 2 and 3 ----------------------------------------------------------------------------------- */
static struct mq_qat_options options_of(mq_bn_fold fold, bool is_published) {
  return (struct mq_qat_options){.prepare = {.w_bits = 4, .a_bits = 4, .bn_fold = fold},
                                 .calibrate = fixture_calibration(fixture_indices, 32),
                                 .method = {.quantizer = mq_quantizer_find("lsq"), .option = NAN},
                                 .is_published_fold = is_published,
                                 .train = {.epochs = 2,
                                           .batch = 16,
                                           .slice_images = 4,
                                           .rate = 0.02,
                                           .momentum = 0.9,
                                           .bias_decay = NAN,
                                           .bn_decay = NAN,
                                           .quantizer_decay = NAN,
                                           .scale_decay = NAN,
                                           .seed = 3}};
}

static uint64_t trained_bits(struct fixture *f, const struct mq_graph *model, mq_bn_fold fold,
                             bool is_published) {
  struct mq_err err = {0};
  struct mq_qat_result result;
  struct mq_target *target;
  uint64_t sum = 17;
  load(&target, "tensorrt");
  const struct mq_qat_options options = options_of(fold, is_published);
  assert_ok(mq_qat(&result, model, target, f->data, NULL, &options, f->pool, &err));
  for (size_t i = 0; i < result.trained->n_values; i++) {
    const struct mq_tensor *constant = result.trained->values[i]->constant;
    if (!constant || constant->dtype != MQ_F32) continue;
    for (int64_t k = 0; k < mq_shape_count(&constant->shape); k++) {
      uint32_t bits;
      memcpy(&bits, (const float *)constant->data + k, sizeof bits);
      sum = sum * 6364136223846793005u + bits;
    }
  }
  mq_qat_result_deinit(&result);
  mq_target_destroy(target);
  return sum;
}

static void test_folding(void **state) {
  (void)state;
  struct fixture f;
  struct net net;
  fixture_init_classes(&f, 2);
  net_residual(&net, true);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  uint64_t frozen = trained_bits(&f, net.graph, MQ_BN_FOLD_1, false);
  for (mq_bn_fold fold = MQ_BN_FOLD_2; fold <= MQ_BN_FOLD_3; fold++) {
    assert_true(trained_bits(&f, net.graph, fold, true) == frozen);
    assert_true(trained_bits(&f, net.graph, fold, false) != frozen);
  }
  /* nothing else is touched */
  assert_true(trained_bits(&f, net.graph, MQ_BN_FOLD_4, true) ==
              trained_bits(&f, net.graph, MQ_BN_FOLD_4, false));
  mq_graph_destroy(net.graph);
  fixture_deinit(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_variance),
      cmocka_unit_test(test_folding),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
