/* What a method's graph gives in evaluation, the inference engine gives too once the weights are frozen: with
 * activations on a uniform grid by its scales, otherwise by the method's own forward. */
#include <math.h>

#include "help_quantize.h"
#include "help_run.h"
#include "mqbench/kernel.h"

/* Of the largest logit: two engines' convolutions, in floats or integers. */
#define TOLERANCE 1e-6

struct taken {
  struct quantize_net *q;
  float *logits;
};

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs, int64_t *labels,
                      struct mq_err *err) {
  struct taken *taken = context;
  const struct mq_trainer_job job = gradient_batch_job(&taken->q->batch);
  return job.fill(job.context, slice, worker, inputs, labels, err);
}

static mq_status take(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  struct taken *taken = context;
  int64_t n = mq_shape_count(&outputs[0].shape);
  struct mq_tensor to = mq_tensor_view(taken->logits + (int64_t)slice * n, MQ_F32, &outputs[0].shape, NULL);
  mq_tensor_copy(&to, &outputs[0]);
  return MQ_OK;
}

/* Some steps, so that the parameters are not those of calibration; then the evaluation's logits, and
 * everything learned back in graph and points. */
static void train(float *logits, struct quantize_net *q) {
  const struct mq_trainer_options options = quantize_net_options(q);
  struct gradient_session s;
  struct mq_err err;
  struct mq_trainer_result result;
  struct taken taken = {q, logits};
  const struct mq_trainer_job job = {.context = &taken, .fill = fill, .take = take};
  gradient_session_init(&s, &q->batch, &options, 2);
  for (int i = 0; i < 3; i++)
    assert_ok(mq_trainer_step(&result, s.trainer, &job, 0.02, &err));
  assert_ok(mq_trainer_evaluate(&result, s.trainer, &job, &err));
  assert_true(result.is_finite);
  assert_ok(mq_trainer_export(s.trainer, q->net.graph, q->points, &err));
  gradient_session_deinit(&s);
}

/* The form of a point in evaluation. */
static double *derive(const struct stage *s, const struct mq_point *point, const float *rows) {
  size_t n = s->ops->statistics_count ? s->ops->statistics_count(&s->config) : 0;
  bool looks = s->config.is_weight && !s->ops->freezes_weights && n > 0;
  double *statistics = mq_alloc(n + 1, sizeof *statistics);
  double *form = mq_alloc(s->ops->form_count(&s->config) + 1, sizeof *form);
  if (looks) s->ops->observe(statistics, &s->config, rows, s->n_rows, s->row_count);
  s->ops->derive(form, &s->config, point->parameters, looks ? statistics : NULL, NULL);
  mq_free(statistics);
  return form;
}

/* Weights: the quantized rows themselves, their point does nothing more. */
static void freeze_weights(struct quantize_net *q) {
  const struct stage *s = &q->stages[POINT_W];
  struct mq_point *point = &q->points[POINT_W];
  float *w = mq_graph_find_value(q->net.graph, "w")->constant->data;
  double *form = derive(s, point, w);
  s->ops->forward(w, NULL, &s->config, form, w, s->n_rows, s->row_count);
  mq_qparams_deinit(&point->qparams);
  mq_free(form);
}

/* Activations: methods for hardware leave scales and zero points only; academic ones their parameters. */
static void freeze_activation(struct quantize_net *q, int p) {
  const struct stage *s = &q->stages[p];
  struct mq_point *point = &q->points[p];
  double *form = derive(s, point, NULL);
  if (!s->ops->is_academic && s->ops->grid(&point->qparams, &s->config, form)) point->quantizer = NULL;
  mq_free(form);
}

static void check_case(const struct quantize_case *c, bool has_norm) {
  struct quantize_net q;
  struct mq_err err;
  struct mq_tensor output = {0};
  quantize_net_init(&q, c, has_norm);
  float *logits = mq_alloc((size_t)q.n_y, sizeof *logits);
  double largest = 0;
  train(logits, &q);
  freeze_weights(&q);
  freeze_activation(&q, POINT_X);
  freeze_activation(&q, POINT_R);
  const struct run_options options = {
      .workers = 2, .slice_images = 3, .simulates = true, .points = q.points, .n_points = N_GRAPH_POINTS};
  assert_ok(run_graph(&output, q.net.graph, q.batch.inputs, &options, &err));
  const float *got = output.data;
  for (int64_t i = 0; i < q.n_y; i++)
    largest = fmax(largest, fabs((double)logits[i]));
  for (int64_t i = 0; i < q.n_y; i++)
    if (!(fabs((double)got[i] - (double)logits[i]) <= TOLERANCE * largest))
      fail_msg("%s: logit %lld is %.9g, in training's evaluation %.9g", c->method, (long long)i,
               (double)got[i], (double)logits[i]);
  mq_tensor_deinit(&output);
  mq_free(logits);
  quantize_net_deinit(&q);
}

static void test_same_logits(void **state) {
  (void)state;
  for (size_t i = 0; i < n_quantize_cases; i++)
    for (int has_norm = 0; has_norm < 2; has_norm++)
      check_case(&quantize_cases[i], has_norm == 1);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_logits)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
