/* Looking into a simulation: every point once for each image, the same logits as an evaluation, any number of
 * workers; and going on from other values. */
#include <math.h>

#include "help_tune.h"

#define IMAGES 11
#define MOST 64 /* points and outputs */

static void prepare(struct fixture *f, struct mq_prepared *prepared, const char *target) {
  struct net net;
  struct mq_err err = {0};
  struct mq_calibrate_result result;
  net_residual(&net, true);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  const struct mq_shape *shape = &net.graph->inputs[0]->shape;
  fixture_init_random(f, IMAGES, shape->dim[1], shape->dim[2], 2);
  fixture_prepare(prepared, &net, target, 0);
  const struct mq_calibrate_options options = fixture_calibration(fixture_indices, IMAGES);
  assert_ok(mq_calibrate(&result, prepared, f->data, &options, f->pool, &err));
  mq_graph_destroy(net.graph);
}

static const struct mq_exact_rules snpe_rules = {.arithmetic = "tflite_ref", .pool = MQ_POOL_INPUT_SCALE};

/* ---- What is seen ----------------------------------------------------------------------------------------
 */

struct watcher {
  bool is_exact;
  _Atomic int n_seen[MOST]; /* by point */
  _Atomic int n_outputs;
  const struct mq_point *points;
  _Atomic int64_t sum; /* of codes times index, whatever the order of calls */
};

static void check_point(struct watcher *w, const struct mq_seen *seen) {
  const struct mq_qparams *q = &seen->point->qparams;
  int64_t sum = 0, n = mq_shape_count(&seen->codes.shape);
  assert_string_equal(seen->tensor, seen->point->tensor);
  assert_true(mq_shape_equal(&seen->codes.shape, &seen->values.shape));
  for (int64_t i = 0; i < n; i++) {
    int32_t code = (int32_t)mq_tensor_get_int(&seen->codes, i);
    assert_in_range(code - q->quant_min, 0, q->quant_max - q->quant_min);
    assert_true(mq_tensor_get_double(&seen->values, i) ==
                (double)(q->scale[0] * (float)(code - q->zero_point[0])));
    if (!w->is_exact) {
      float before = (float)mq_tensor_get_double(&seen->before, i);
      assert_int_equal(code,
                       mq_quantize_value(before, q->scale[0], q->zero_point[0], q->quant_min, q->quant_max));
    }
    sum += (i + 1) * code;
  }
  assert_int_equal(seen->before.data != NULL, !w->is_exact);
  w->n_seen[seen->point - w->points]++;
  w->sum += sum * (seen->image + 1);
}

static mq_status watch(void *context, const struct mq_seen *seen, unsigned worker, struct mq_err *err) {
  (void)err;
  struct watcher *w = context;
  assert_true(worker < 4);
  assert_in_range(seen->image, 0, IMAGES - 1);
  assert_int_equal(seen->values.shape.dim[0], 1);
  if (seen->point) {
    check_point(w, seen);
  } else {
    assert_null(seen->codes.data);
    w->n_outputs++;
  }
  return MQ_OK;
}

static int64_t see(struct fixture *f, const struct mq_prepared *prepared, const struct mq_exact_rules *exact,
                   unsigned workers, int64_t slice_images) {
  struct watcher w = {.is_exact = exact != NULL, .points = prepared->points};
  struct mq_pool *pool;
  struct mq_err err = {0};
  const struct mq_see_options options = {.points = prepared->points,
                                         .n_points = prepared->n_points,
                                         .exact = exact,
                                         .slice_images = slice_images,
                                         .context = &w,
                                         .see = watch};
  assert_ok(mq_pool_create(&pool, workers, mq_kernel_start_worker, &err));
  assert_ok(mq_simulate_and_see(prepared->graph, f->data, &options, pool, &err));
  for (size_t i = 0; i < prepared->n_points; i++)
    assert_int_equal(w.n_seen[i], prepared->points[i].kind == MQ_POINT_ACTIVATION ? IMAGES : 0);
  mq_pool_destroy(pool);
  return w.sum;
}

static void every_point_once(void **state) {
  (void)state;
  struct fixture f;
  struct mq_prepared prepared;
  prepare(&f, &prepared, "snpe");
  int64_t plain = see(&f, &prepared, NULL, 1, 8), exact = see(&f, &prepared, &snpe_rules, 1, 8);
  assert_true(plain != exact); /* roundings differ somewhere */
  for (unsigned workers = 1; workers <= 3; workers++) {
    assert_int_equal(see(&f, &prepared, NULL, workers, 3), plain);
    assert_int_equal(see(&f, &prepared, &snpe_rules, workers, 3), exact);
  }
  mq_prepared_deinit(&prepared);
  fixture_deinit(&f);
}

/* ---- The same as an evaluation
 * ----------------------------------------------------------------------------- */

struct reader {
  const char *output;
  float *logits; /* IMAGES x 10 */
  const struct mq_point *erased;
};

static mq_status read_logits(void *context, const struct mq_seen *seen, unsigned worker, struct mq_err *err) {
  (void)worker;
  struct reader *r = context;
  if (strcmp(seen->tensor, r->output) == 0) {
    for (int64_t i = 0; i < 10; i++)
      r->logits[seen->image * 10 + i] = (float)mq_tensor_get_double(&seen->values, i);
  } else if (seen->point && seen->point == r->erased) {
    struct mq_tensor zeros = {0}, values = seen->values;
    mq_status status = mq_tensor_init(&zeros, MQ_F32, &seen->values.shape, err);
    if (status != MQ_OK) {
      return status;
    }
    mq_tensor_copy(&values, &zeros);
    mq_tensor_deinit(&zeros);
  }
  return MQ_OK;
}

static void read(float *logits, struct fixture *f, const struct mq_prepared *prepared,
                 const struct mq_exact_rules *exact, const struct mq_point *erased) {
  struct mq_err err = {0};
  struct reader r = {.output = prepared->graph->outputs[0]->name, .logits = logits, .erased = erased};
  const struct mq_see_options options = {.points = prepared->points,
                                         .n_points = prepared->n_points,
                                         .exact = exact,
                                         .context = &r,
                                         .see = read_logits,
                                         .replaces = erased != NULL};
  assert_ok(mq_simulate_and_see(prepared->graph, f->data, &options, f->pool, &err));
}

static void the_same_as_evaluated(void **state) {
  (void)state;
  struct fixture f;
  struct mq_prepared prepared;
  struct mq_err err = {0};
  prepare(&f, &prepared, "snpe");
  for (int is_exact = 0; is_exact < 2; is_exact++) {
    struct mq_tensor expected;
    float logits[IMAGES * 10] = {0};
    const struct mq_exact_rules *exact = is_exact ? &snpe_rules : NULL;
    const struct mq_evaluate_options options = {
        .points = prepared.points, .n_points = prepared.n_points, .exact = exact};
    assert_ok(mq_predict(&expected, prepared.graph, f.data, 0, &options, f.pool, &err));
    read(logits, &f, &prepared, exact, NULL);
    assert_memory_equal(logits, expected.data, sizeof logits);
    mq_tensor_deinit(&expected);
  }
  mq_prepared_deinit(&prepared);
  fixture_deinit(&f);
}

/* With the network's input erased, every image gives the same answer, which is not the one it gave. */
static void goes_on_from_other_values(void **state) {
  (void)state;
  struct fixture f;
  struct mq_prepared prepared;
  prepare(&f, &prepared, "snpe");
  const struct mq_point *input = NULL;
  for (size_t i = 0; i < prepared.n_points; i++)
    if (strcmp(prepared.points[i].tensor, prepared.graph->inputs[0]->name) == 0) input = &prepared.points[i];
  assert_non_null(input);
  for (int is_exact = 0; is_exact < 2; is_exact++) {
    float plain[IMAGES * 10] = {0}, erased[IMAGES * 10] = {0};
    const struct mq_exact_rules *exact = is_exact ? &snpe_rules : NULL;
    read(plain, &f, &prepared, exact, NULL);
    read(erased, &f, &prepared, exact, input);
    assert_memory_not_equal(plain, erased, sizeof plain);
    for (int i = 1; i < IMAGES; i++)
      assert_memory_equal(&erased[10 * i], erased, 10 * sizeof(float));
  }
  mq_prepared_deinit(&prepared);
  fixture_deinit(&f);
}

/* ---- Refusals
 * ---------------------------------------------------------------------------------------------- */

static void refusals(void **state) {
  (void)state;
  struct fixture f;
  struct mq_prepared prepared;
  struct mq_err err = {0};
  struct mq_evaluation e;
  prepare(&f, &prepared, "snpe");
  struct mq_exact_rules rules = {0};
  const struct mq_evaluate_options options = {
      .points = prepared.points, .n_points = prepared.n_points, .exact = &rules};
  assert_fails(MQ_BAD_INPUT, "the target has no arithmetic",
               mq_evaluate(&e, prepared.graph, f.data, &options, f.pool, &err));
  rules.arithmetic = "abacus";
  assert_fails(MQ_BAD_INPUT, "abacus", mq_evaluate(&e, prepared.graph, f.data, &options, f.pool, &err));
  rules.arithmetic = "tflite_ref";
  for (size_t i = 0; i < prepared.n_points; i++)
    if (prepared.points[i].kind == MQ_POINT_ACTIVATION) prepared.points[i].qparams.n_channels = 0;
  assert_fails(MQ_BAD_INPUT, "no scale on a grid of integers",
               mq_evaluate(&e, prepared.graph, f.data, &options, f.pool, &err));
  for (size_t i = 0; i < prepared.n_points; i++)
    if (prepared.points[i].kind == MQ_POINT_ACTIVATION) prepared.points[i].qparams.n_channels = 1;
  mq_prepared_deinit(&prepared);
  fixture_deinit(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_point_once),
      cmocka_unit_test(the_same_as_evaluated),
      cmocka_unit_test(goes_on_from_other_values),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
