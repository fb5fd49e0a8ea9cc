/* Every method in the engine against the chain rule by hand: gradients of weights, of the data and of the
 * quantizers' parameters; what the methods change themselves; evaluation; data that are not finite. */
#include <math.h>

#include "help_quantize.h"
#include "mqbench/kernel.h"

/* Of a tensor's largest gradient. The engine's convolution and the one in double round differently; no value
 * of these batches lies so close to a step of its staircase that this would take it to the other side. DSQ's
 * gradient depends on where on the step a value lies: with 8 bits 255 times what it lies off. */
#define TOLERANCE 1e-5
#define TOLERANCE_DSQ 1e-4

static void compare(const float *got, const float *expected, int64_t n, const char *method,
                    const char *what) {
  double largest = 0, tolerance = strcmp(method, "dsq") == 0 ? TOLERANCE_DSQ : TOLERANCE;
  for (int64_t i = 0; i < n; i++)
    largest = fmax(largest, fabs((double)expected[i]));
  for (int64_t i = 0; i < n; i++)
    if (!(fabs((double)got[i] - (double)expected[i]) <= tolerance * largest + 1e-12))
      fail_msg("%s: %s[%lld] is %.9g, expected %.9g (largest %.3g)", method, what, (long long)i,
               (double)got[i], (double)expected[i], largest);
}

static const float *gradient_of(const struct gradient_session *s, const char *name) {
  const float *gradient = mq_trainer_gradient(s->trainer, gradient_find(s, name));
  if (!gradient) fail_msg("no gradient of %s", name);
  return gradient;
}

static bool is_learned(const struct stage *s, size_t value) {
  int i = 0;
  while (i + 1 < s->ops->n_parameters && mq_quantizer_parameter_offset(s->ops, &s->config, i + 1) <= value)
    i++;
  return !s->ops->parameters[i].is_state;
}

static void compare_parameters(const struct gradient_session *s, const struct quantize_net *q, int point) {
  const struct stage *stage = &q->stages[point];
  const char *name = q->points[point].tensor;
  size_t variable = gradient_find(s, name);
  const float *gradient = mq_trainer_gradient(s->trainer, variable);
  assert_int_equal(mq_trainer_state_at(s->trainer, variable).count, stage->n_parameters);
  for (size_t i = 0; i < stage->n_parameters; i++) {
    if (!is_learned(stage, i)) continue;
    if (!gradient) fail_msg("%s: no gradient of %s", stage->ops->name, name);
    double expected = (double)stage->gradients[i], error = fabs((double)gradient[i] - expected);
    /* A sum over the whole tensor, of which little may be left. */
    if (!(error <= 1e-4 * fabs(expected) + 1e-6))
      fail_msg("%s: gradient of %s[%zu] is %.9g, expected %.9g", stage->ops->name, name, i,
               (double)gradient[i], expected);
  }
}

static void check_gradients_of(const struct quantize_case *c, bool has_float_forward, bool has_norm) {
  struct quantize_net q;
  struct gradient_session s;
  quantize_net_init(&q, c, has_norm);
  struct mq_trainer_options options = quantize_net_options(&q);
  options.has_float_forward = has_float_forward;
  quantize_net_forward(&q, true);
  quantize_net_backward(&q);
  for (unsigned workers = 1; workers < 3; workers++) {
    gradient_session_init(&s, &q.batch, &options, workers);
    if (!(fabs(s.result.loss - q.loss) <= 1e-6 * q.loss))
      fail_msg("%s: loss %.9g, expected %.9g", c->method, s.result.loss, q.loss);
    compare(gradient_of(&s, "b"), q.g_b, q.n_b, c->method, "bias");
    if (has_norm) compare(gradient_of(&s, "gamma"), q.g_gamma, q.n_b, c->method, "gamma");
    compare(gradient_of(&s, "w"), q.g_w, q.n_w, c->method, "weights");
    compare(gradient_of(&s, "x_shift_weights"), q.g_shift, q.n_x / GRADIENT_IMAGES, c->method, "data");
    for (int i = 0; i < N_POINTS; i++)
      compare_parameters(&s, &q, i);
    gradient_session_deinit(&s);
  }
  quantize_net_deinit(&q);
}

static void test_gradients(void **state) {
  (void)state;
  for (size_t i = 0; i < n_quantize_cases; i++)
    check_gradients_of(&quantize_cases[i], false, false);
}

static void test_gradients_float_forward(void **state) {
  (void)state;
  for (size_t i = 0; i < n_quantize_cases; i++)
    check_gradients_of(&quantize_cases[i], true, false);
}

/* With batch normalisation between convolution and ReLU, on codes and on floats. */
static void test_gradients_norm(void **state) {
  (void)state;
  for (size_t i = 0; i < n_quantize_cases; i++)
    for (int is_float = 0; is_float < 2; is_float++)
      check_gradients_of(&quantize_cases[i], is_float == 1, true);
}

/* ---- Steps ----------------------------------------------------------------------------------- */
static void take_variables(float **values, const struct gradient_session *s) {
  for (size_t i = 0; i < mq_trainer_state_count(s->trainer); i++) {
    struct mq_trainer_state state = mq_trainer_state_at(s->trainer, i);
    values[i] = mq_alloc(state.count + 1, sizeof(float));
    memcpy(values[i], state.values, state.count * sizeof(float));
  }
}

static void compare_variables(float **values, const struct gradient_session *s, const char *method) {
  for (size_t i = 0; i < mq_trainer_state_count(s->trainer); i++) {
    struct mq_trainer_state state = mq_trainer_state_at(s->trainer, i);
    if (memcmp(values[i], state.values, state.count * sizeof(float)) != 0)
      fail_msg("%s: %s has changed", method, state.name);
    mq_free(values[i]);
  }
}

/* What the methods learn by gradient stands still at rate 0, unless they bring a rate of their own. */
static bool is_still(const struct stage *s, size_t value) {
  int i = 0;
  while (i + 1 < s->ops->n_parameters && mq_quantizer_parameter_offset(s->ops, &s->config, i + 1) <= value)
    i++;
  return s->ops->parameters[i].is_state || s->ops->parameters[i].adam_rate == 0;
}

static void compare_states(const struct gradient_session *s, const struct quantize_net *q, int step) {
  for (int p = 0; p < N_POINTS; p++) {
    const struct stage *stage = &q->stages[p];
    struct mq_trainer_state state = mq_trainer_state_at(s->trainer, gradient_find(s, q->points[p].tensor));
    for (size_t i = 0; i < stage->n_parameters; i++) {
      double expected = (double)stage->parameters[i];
      if (is_still(stage, i) && !(fabs((double)state.values[i] - expected) <= 1e-5 * fabs(expected) + 1e-7))
        fail_msg("%s: %s[%zu] is %.9g after step %d, expected %.9g", stage->ops->name, state.name, i,
                 (double)state.values[i], step, expected);
    }
  }
}

static bool learns_by_itself(const struct quantize_net *q) {
  bool is_any = false;
  for (int p = 0; p < N_POINTS; p++)
    for (int i = 0; i < q->stages[p].ops->n_parameters; i++)
      is_any = is_any || q->stages[p].ops->parameters[i].adam_rate > 0;
  return is_any;
}

static void check_step_result(const struct mq_trainer_result *result, const struct quantize_net *q,
                              const char *method, const char *what) {
  assert_true(result->is_finite);
  if (!(fabs(result->loss - q->loss) <= 2e-6 * q->loss))
    fail_msg("%s: loss in %s %.9g, expected %.9g", method, what, result->loss, q->loss);
}

/* Three steps at rate 0: moving averages, bases, corrections; then an evaluation with what they left. */
static void check_states(const struct quantize_case *c) {
  struct quantize_net q;
  struct gradient_session s;
  struct mq_trainer_result result;
  float *values[64];
  quantize_net_init(&q, c, false);
  const struct mq_trainer_options options = quantize_net_options(&q);
  const struct mq_trainer_job job = gradient_batch_job(&q.batch);
  struct mq_err err;
  gradient_session_init(&s, &q.batch, &options, 2);
  for (int step = 0; step < 3; step++) {
    quantize_net_forward(&q, true);
    quantize_net_backward(&q);
    quantize_net_update(&q);
    assert_ok(mq_trainer_step(&result, s.trainer, &job, 0, &err));
    if (!learns_by_itself(&q)) check_step_result(&result, &q, c->method, "training");
    compare_states(&s, &q, step);
  }
  assert_true(mq_trainer_state_count(s.trainer) <= 64);
  take_variables(values, &s);
  for (int i = 0; i < 2; i++) {
    quantize_net_forward(&q, false);
    assert_ok(mq_trainer_evaluate(&result, s.trainer, &job, &err));
    if (!learns_by_itself(&q)) check_step_result(&result, &q, c->method, "evaluation");
  }
  compare_variables(values, &s, c->method);
  gradient_session_deinit(&s);
  quantize_net_deinit(&q);
}

static void test_states(void **state) {
  (void)state;
  for (size_t i = 0; i < n_quantize_cases; i++)
    check_states(&quantize_cases[i]);
}

/* A step far too long throws parameters out of their range; what the optimiser leaves is inside it. */
static void check_range(const struct quantize_case *c) {
  struct quantize_net q;
  struct gradient_session s;
  struct mq_trainer_result result;
  struct mq_err err;
  quantize_net_init(&q, c, false);
  const struct mq_trainer_options options = quantize_net_options(&q);
  const struct mq_trainer_job job = gradient_batch_job(&q.batch);
  gradient_session_init(&s, &q.batch, &options, 2);
  assert_ok(mq_trainer_step(&result, s.trainer, &job, 1e5, &err));
  for (int p = 0; p < N_POINTS; p++) {
    const struct stage *stage = &q.stages[p];
    const float *values = mq_trainer_state_at(s.trainer, gradient_find(&s, q.points[p].tensor)).values;
    memcpy(stage->parameters, values, stage->n_parameters * sizeof *values);
    if (stage->ops->project) stage->ops->project(stage->parameters, &stage->config);
    for (size_t i = 0; i < stage->n_parameters; i++)
      if (memcmp(&values[i], &stage->parameters[i], sizeof *values) != 0)
        fail_msg("%s: %s[%zu] is %g, the range's nearest is %g", stage->ops->name, q.points[p].tensor, i,
                 (double)values[i], (double)stage->parameters[i]);
  }
  gradient_session_deinit(&s);
  quantize_net_deinit(&q);
}

static void test_ranges(void **state) {
  (void)state;
  for (size_t i = 0; i < n_quantize_cases; i++)
    check_range(&quantize_cases[i]);
}

/* ---- Data that are not finite ---------------------------------------------------------------- */
/* One element of one slice: the step says so and changes nothing; nor does a later one with good data suffer.
 */
static void check_lost(const struct quantize_case *c, float bad, bool has_float_forward) {
  struct quantize_net q;
  struct gradient_session s;
  struct mq_trainer_result result;
  float *values[64], *at;
  quantize_net_init(&q, c, false);
  struct mq_trainer_options options = quantize_net_options(&q);
  options.has_float_forward = has_float_forward;
  const struct mq_trainer_job job = gradient_batch_job(&q.batch);
  struct mq_err err;
  gradient_session_init(&s, &q.batch, &options, 2);
  double loss = s.result.loss;
  take_variables(values, &s);
  at = (float *)q.batch.inputs[0].data + 3 * (q.n_x / GRADIENT_IMAGES) + 17;
  float good = *at;
  *at = bad;
  assert_ok(mq_trainer_step(&result, s.trainer, &job, 0.1, &err));
  if (result.is_finite) fail_msg("%s: a NaN in the data went unnoticed: loss %g", c->method, result.loss);
  assert_ok(mq_trainer_differentiate(&result, s.trainer, &job, &err));
  assert_false(result.is_finite);
  assert_ok(mq_trainer_evaluate(&result, s.trainer, &job, &err));
  assert_false(result.is_finite);
  compare_variables(values, &s, c->method);
  *at = good;
  assert_ok(mq_trainer_differentiate(&result, s.trainer, &job, &err));
  assert_true(result.is_finite);
  assert_memory_equal(&result.loss, &loss, sizeof loss);
  gradient_session_deinit(&s);
  quantize_net_deinit(&q);
}

static void test_nan(void **state) {
  (void)state;
  for (size_t i = 0; i < n_quantize_cases; i++)
    for (int is_float = 0; is_float < 2; is_float++)
      check_lost(&quantize_cases[i], NAN, is_float == 1);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_gradients),      cmocka_unit_test(test_gradients_float_forward),
      cmocka_unit_test(test_gradients_norm), cmocka_unit_test(test_states),
      cmocka_unit_test(test_ranges),         cmocka_unit_test(test_nan),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
