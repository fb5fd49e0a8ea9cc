/* Observers that go on in evaluation, against the same thing done batch by batch with plain loops. */
#include <math.h>

#include "help_tune.h"
#include "tune/points.h"

enum {
  BATCH = 16,
  SLICE = 4,
  IMAGES = 80,
  CLASSES = 10,
  PIXELS = 3 * 8 * 8
};

/* Assigned, not frozen: `turned`, if not NULL, is a point taken for non-negative, whatever its data say. */
static void learn(struct mq_prepared *prepared, const struct net *net, struct fixture *f, const char *target,
                  const char *method, const char *turned) {
  struct mq_err err = {0};
  struct mq_calibrate_result result;
  const struct mq_calibrate_options options = fixture_calibration(fixture_indices, 2);
  const struct mq_method m = {.quantizer = mq_quantizer_find(method), .option = (double)NAN};
  fixture_prepare(prepared, net, target, 4);
  assert_ok(mq_calibrate(&result, prepared, f->data, &options, f->pool, &err));
  for (size_t i = 0; i < prepared->n_points && turned; i++)
    if (!strcmp(prepared->points[i].tensor, turned)) prepared->points[i].qparams.is_non_negative = true;
  assert_ok(mq_assign_quantizers(prepared, &m, &err));
}

static void evaluate(struct mq_evaluation *e, const struct mq_prepared *frozen, struct fixture *f,
                     const struct mq_observing *observing) {
  struct mq_err err = {0};
  const struct mq_evaluate_options options = {.points = frozen->points,
                                              .n_points = frozen->n_points,
                                              .slice_images = SLICE,
                                              .loader_threads = 2,
                                              .observing = observing};
  assert_ok(mq_evaluate(e, frozen->graph, f->data, &options, f->pool, &err));
  assert_true(e->is_finite);
}

/* ---- Ranges that follow the data ------------------------------------------------------------------------
 */
struct look {
  struct fixture *f;
  int64_t first;
  double min, max;
};

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  (void)slice, (void)worker;
  const struct look *look = context;
  mq_status status = MQ_OK;
  assert_true(mq_tensor_is_channels_last(&inputs[0]));
  for (int64_t i = 0; i < BATCH && status == MQ_OK; i++)
    status = mq_dataset_read((float *)inputs[0].data + i * PIXELS, look->f->data, look->first + i, err);
  return status;
}

static mq_status tap(void *context, size_t slice, unsigned worker, size_t index, int64_t first_image,
                     const struct mq_tensor *value, struct mq_err *why) {
  (void)slice, (void)worker, (void)index, (void)first_image;
  struct look *look = context;
  struct mq_tensor dense;
  if (mq_tensor_init(&dense, MQ_F32, &value->shape, why) != MQ_OK) return MQ_FAILED;
  mq_tensor_copy(&dense, value);
  for (int64_t i = 0; i < mq_shape_count(&value->shape); i++) {
    look->min = fmin(look->min, (double)((const float *)dense.data)[i]);
    look->max = fmax(look->max, (double)((const float *)dense.data)[i]);
  }
  mq_tensor_deinit(&dense);
  return MQ_OK;
}

/* Extrema of a batch before the point, all scales as they are. */
static void look_at(struct look *look, const struct mq_prepared *frozen, const struct mq_node *node) {
  struct mq_err err = {0};
  struct mq_engine *engine;
  const struct mq_value *value = node->inputs[0];
  const struct mq_engine_options options = {.slice_images = BATCH,
                                            .simulates = true,
                                            .points = frozen->points,
                                            .n_points = frozen->n_points,
                                            .taps = &value,
                                            .n_taps = 1};
  const struct mq_engine_job job = {.context = look, .n_slices = 1, .fill = fill, .tap = tap};
  look->min = (double)INFINITY, look->max = -(double)INFINITY;
  assert_ok(mq_engine_create(&engine, frozen->graph, &options, look->f->pool, &err));
  assert_ok(mq_engine_run(engine, &job, &err));
  mq_engine_destroy(engine);
}

/* What is known of a point that follows the data. */
struct follower {
  size_t point;
  struct mq_quantizer_config config;
  float range[2];
};

static void set_scale(struct mq_point *point, const struct follower *follower) {
  const struct mq_quantizer_ops *ops = mq_quantizer_find("minmax");
  double *form = test_calloc(ops->form_count(&follower->config) + 1, sizeof *form);
  ops->derive(form, &follower->config, follower->range, NULL, NULL);
  assert_true(ops->grid(&point->qparams, &follower->config, form));
  test_free(form);
}

static double loss_of(const float *logits, int64_t label) {
  double sum = 0;
  for (int k = 0; k < CLASSES; k++)
    sum += exp((double)logits[k] - (double)logits[label]);
  return log(sum);
}

/* Each batch with its own scales, from a prediction of all images. */
static double plain_loss(struct mq_prepared *frozen, struct follower *followers, size_t n,
                         const struct mq_node *const *nodes, struct fixture *f) {
  struct mq_err err = {0};
  const struct mq_evaluate_options options = {
      .points = frozen->points, .n_points = frozen->n_points, .slice_images = SLICE};
  double sum = 0;
  for (int64_t first = 0; first < IMAGES; first += BATCH) {
    struct mq_tensor logits;
    for (size_t i = 0; i < n; i++) {
      struct look look = {.f = f, .first = first};
      look_at(&look, frozen, nodes[followers[i].point]);
      followers[i].range[0] = (float)(0.9 * (double)followers[i].range[0] + (1 - 0.9) * look.min);
      followers[i].range[1] = (float)(0.9 * (double)followers[i].range[1] + (1 - 0.9) * look.max);
      set_scale(&frozen->points[followers[i].point], &followers[i]);
    }
    assert_ok(mq_predict(&logits, frozen->graph, f->data, 0, &options, f->pool, &err));
    for (int64_t i = first; i < first + BATCH; i++)
      sum += loss_of((const float *)logits.data + i * CLASSES, mq_dataset_label(f->data, i));
    mq_tensor_deinit(&logits);
  }
  return sum / IMAGES;
}

static void check_followers(const char *method, unsigned workers) {
  struct mq_err err = {0};
  struct fixture f;
  struct net net;
  struct mq_prepared prepared;
  struct mq_observing *observing;
  struct mq_evaluation fixed, went_on, again;
  struct follower followers[4];
  size_t n = 0;
  fixture_init_classes(&f, workers);
  net_residual(&net, true);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  learn(&prepared, &net, &f, "academic", method, NULL);
  const struct mq_node **nodes = test_malloc((prepared.n_points + 1) * sizeof *nodes);
  assert_ok(tune_find_nodes(nodes, &prepared, &err));
  for (size_t i = 0; i < prepared.n_points; i++) {
    const struct mq_point *point = &prepared.points[i];
    if (point->kind != MQ_POINT_ACTIVATION || !point->is_at_end) continue;
    assert_string_equal(point->quantizer->name, "minmax");
    assert_true(n < 4);
    followers[n++] = (struct follower){
        .point = i, .config = point->quantizer_config, .range = {point->parameters[0], point->parameters[1]}};
  }
  assert_int_equal(n, 2); /* the inputs of the first and the last layer, in this order */
  assert_ok(mq_observing_create(&observing, &prepared, BATCH, &err));
  assert_ok(mq_freeze_quantizers(&prepared, MQ_BIAS_FLOAT, &err));
  evaluate(&fixed, &prepared, &f, NULL);
  evaluate(&went_on, &prepared, &f, observing);
  evaluate(&again, &prepared, &f, observing); /* starts anew */
  assert_memory_equal(&went_on.loss, &again.loss, sizeof again.loss);
  double expected = plain_loss(&prepared, followers, n, nodes, &f);
  if (fabs(went_on.loss - expected) > 1e-12 * expected)
    fail_msg("%s: loss %.15g, expected %.15g", method, went_on.loss, expected);
  if (fabs(went_on.loss - fixed.loss) < 1e-7)
    fail_msg("%s: loss %.15g with ranges that stay", method, fixed.loss);
  mq_evaluation_deinit(&fixed);
  mq_evaluation_deinit(&went_on);
  mq_evaluation_deinit(&again);
  mq_observing_destroy(observing);
  test_free(nodes);
  mq_prepared_deinit(&prepared);
  mq_graph_destroy(net.graph);
  fixture_deinit(&f);
}

static void ranges_follow_the_batches(void **state) {
  (void)state;
  check_followers("pact", 1);
  check_followers("dorefa", 2);
}

/* ---- Ranges that end at zero ----------------------------------------------------------------------------
 */
/* Taken for non-negative, its first batch shows otherwise: from then on as a network that knew it. */
static void negative_values_turn_a_range(void **state) {
  (void)state;
  static const char *const methods[] = {"pact", "dorefa"};
  struct mq_err err = {0};
  struct fixture f;
  struct net net;
  fixture_init_classes(&f, 2);
  net_residual(&net, true);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  for (int m = 0; m < 2; m++) {
    struct mq_prepared known, wrong;
    struct mq_observing *observing;
    struct mq_evaluation right, fixed, turned;
    learn(&known, &net, &f, "snpe", methods[m], NULL);
    learn(&wrong, &net, &f, "snpe", methods[m], "input");
    assert_ok(mq_observing_create(&observing, &wrong, BATCH, &err));
    assert_ok(mq_freeze_quantizers(&known, MQ_BIAS_FLOAT, &err));
    assert_ok(mq_freeze_quantizers(&wrong, MQ_BIAS_FLOAT, &err));
    evaluate(&right, &known, &f, NULL);
    evaluate(&fixed, &wrong, &f, NULL);
    evaluate(&turned, &wrong, &f, observing);
    assert_memory_equal(&turned.loss, &right.loss, sizeof right.loss);
    assert_memory_equal(turned.predicted, right.predicted, IMAGES * sizeof *right.predicted);
    assert_true(fixed.loss != right.loss);
    mq_evaluation_deinit(&right);
    mq_evaluation_deinit(&fixed);
    mq_evaluation_deinit(&turned);
    mq_observing_destroy(observing);
    mq_prepared_deinit(&known);
    mq_prepared_deinit(&wrong);
  }
  mq_graph_destroy(net.graph);
  fixture_deinit(&f);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test(ranges_follow_the_batches),
                                     cmocka_unit_test(negative_values_turn_a_range)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
