#include "help_gradients.h"

#include <math.h>

#include "help_double.h"
#include "mqbench/kernel.h"

#define SMOOTHING 0.1
#define STEP 1e-5 /* of the differences: truncation and rounding both near 1e-10 */

/* ---- Building -------------------------------------------------------------------------------- */
struct mq_shape dims(int rank, const int64_t *dim) {
  struct mq_shape shape = {.rank = rank};
  memcpy(shape.dim, dim, (size_t)rank * sizeof *dim);
  return shape;
}

struct mq_value *net_op(struct net *net, mq_op op, const char *name, struct mq_value *const *inputs,
                        int n_inputs) {
  return net_node(net, op, name, inputs, n_inputs, (struct mq_shape){.rank = -1});
}

struct mq_value *net_op1(struct net *net, mq_op op, const char *name, struct mq_value *x) {
  return net_op(net, op, name, &x, 1);
}

struct mq_value *net_op2(struct net *net, mq_op op, const char *name, struct mq_value *a,
                         struct mq_value *b) {
  struct mq_value *inputs[] = {a, b};
  return net_op(net, op, name, inputs, 2);
}

/* A FakeQuantize without a point is the identity, and what it reads is to learn. */
struct mq_value *net_learned(struct net *net, const char *name, struct mq_shape shape, float lo, float hi) {
  char text[64];
  snprintf(text, sizeof text, "%s_weights", name);
  return net_op1(net, MQ_OP_FakeQuantize, name, net_constant(net, text, shape, lo, hi));
}

struct mq_value *net_data(struct net *net, const char *name, struct mq_shape image) {
  char text[64];
  struct mq_shape batch = {.rank = image.rank + 1, .dim = {MQ_DIM_BATCH}}, one = batch;
  memcpy(batch.dim + 1, image.dim, (size_t)image.rank * sizeof *image.dim);
  memcpy(one.dim + 1, image.dim, (size_t)image.rank * sizeof *image.dim);
  one.dim[0] = 1;
  snprintf(text, sizeof text, "%s_input", name);
  struct mq_value *input = net_input(net, text, batch);
  snprintf(text, sizeof text, "%s_shift", name);
  return net_op2(net, MQ_OP_Add, name, input, net_learned(net, text, one, -0.5f, 0.5f));
}

void net_set_int(struct net *net, struct mq_value *y, const char *name, int64_t i) {
  net_check(net, mq_node_set_int(net->graph, y->producer, name, i, &net->err));
}

void net_set_float(struct net *net, struct mq_value *y, const char *name, float f) {
  net_check(net, mq_node_set_float(net->graph, y->producer, name, f, &net->err));
}

void net_set_string(struct net *net, struct mq_value *y, const char *name, const char *text) {
  net_check(net, mq_node_set_string(net->graph, y->producer, name, text, &net->err));
}

void net_set_ints(struct net *net, struct mq_value *y, const char *name, int n, const int64_t *ints) {
  net_check(net, mq_node_set_ints(net->graph, y->producer, name, ints, (size_t)n, &net->err));
}

struct mq_value *net_int_list(struct net *net, const char *name, int n, const int64_t *ints) {
  return net_ints(net, name, ints, n);
}

/* ---- The batch ------------------------------------------------------------------------------- */
void gradient_batch_init(struct gradient_batch *batch, const struct mq_graph *graph) {
  struct mq_err err;
  struct mq_rng rng;
  *batch = (struct gradient_batch){.graph = graph, .slice_images = GRADIENT_SLICE};
  batch->inputs = mq_alloc(graph->n_inputs + 1, sizeof *batch->inputs);
  mq_rng_init(&rng, 11, MQ_RNG_TEST, 0, 0);
  for (size_t i = 0; i < graph->n_inputs; i++) {
    struct mq_shape shape = mq_shape_at_batch(&graph->inputs[i]->shape, GRADIENT_IMAGES);
    assert_ok(mq_tensor_init(&batch->inputs[i], MQ_F32, &shape, &err));
    for (int64_t k = 0; k < mq_shape_count(&shape); k++)
      ((float *)batch->inputs[i].data)[k] = 2 * mq_rng_float(&rng) - 1;
  }
  struct mq_shape logits = mq_shape_at_batch(&graph->outputs[0]->shape, 1);
  for (int64_t i = 0; i < GRADIENT_IMAGES; i++)
    batch->labels[i] = mq_rng_below(&rng, (uint32_t)mq_shape_count(&logits));
}

void gradient_batch_deinit(struct gradient_batch *batch) {
  for (size_t i = 0; i < batch->graph->n_inputs; i++)
    mq_tensor_deinit(&batch->inputs[i]);
  mq_free(batch->inputs);
}

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs, int64_t *labels,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  const struct gradient_batch *batch = context;
  int64_t first = (int64_t)slice * batch->slice_images;
  for (size_t i = 0; i < batch->graph->n_inputs; i++) {
    struct mq_tensor from = batch->inputs[i];
    from.data = (float *)from.data + first * from.stride[0];
    from.shape.dim[0] = batch->slice_images;
    mq_tensor_copy(&inputs[i], &from);
  }
  memcpy(labels, batch->labels + first, (size_t)batch->slice_images * sizeof *labels);
  return MQ_OK;
}

struct mq_trainer_job gradient_batch_job(struct gradient_batch *batch) {
  return (struct mq_trainer_job){.context = batch, .fill = fill};
}

/* ---- The trainer ----------------------------------------------------------------------------- */
static void require(const struct gradient_session *session, mq_status status) {
  if (status) fail_msg("status %d: %s", status, session->err.message);
}

void gradient_session_init(struct gradient_session *s, struct gradient_batch *batch,
                           const struct mq_trainer_options *options, unsigned workers) {
  struct mq_trainer_options filled = *options;
  const struct mq_trainer_job job = gradient_batch_job(batch);
  filled.batch = GRADIENT_IMAGES;
  filled.slice_images = batch->slice_images;
  *s = (struct gradient_session){0};
  require(s, mq_pool_create(&s->pool, workers, mq_kernel_start_worker, &s->err));
  require(s, mq_trainer_create(&s->trainer, batch->graph, &filled, s->pool, &s->err));
  require(s, mq_trainer_differentiate(&s->result, s->trainer, &job, &s->err));
}

void gradient_session_deinit(struct gradient_session *s) {
  mq_trainer_destroy(s->trainer);
  mq_pool_destroy(s->pool);
}

size_t gradient_find(const struct gradient_session *s, const char *name) {
  size_t n = mq_trainer_state_count(s->trainer);
  for (size_t i = 0; i < n; i++)
    if (strcmp(mq_trainer_state_at(s->trainer, i).name, name) == 0) return i;
  fail_msg("no variable %s", name);
  return 0;
}

static void check_same_bits(const struct gradient_session *a, const struct gradient_session *b,
                            const char *what) {
  assert_memory_equal(&a->result.loss, &b->result.loss, sizeof(double));
  for (size_t i = 0; i < mq_trainer_state_count(a->trainer); i++) {
    struct mq_trainer_state state = mq_trainer_state_at(a->trainer, i);
    const float *ga = state.is_variable ? mq_trainer_gradient(a->trainer, i) : NULL;
    if (ga && memcmp(ga, mq_trainer_gradient(b->trainer, i), state.count * sizeof *ga) != 0)
      fail_msg("%s: the gradient of %s depends on the number of workers", what, state.name);
  }
}

/* ---- Against differences --------------------------------------------------------------------- */
#define MAX_GROUPS 2

/* The batch in groups, each with statistics of its own. */
struct reference {
  struct plain groups[MAX_GROUPS];
  int64_t n_groups;
  const int64_t *labels;
};

static void reference_init(struct reference *r, const struct gradient_batch *batch, int64_t n_groups) {
  int64_t images = GRADIENT_IMAGES / n_groups;
  *r = (struct reference){.n_groups = n_groups, .labels = batch->labels};
  for (int64_t g = 0; g < n_groups; g++) {
    plain_init(&r->groups[g], batch->graph, images);
    for (size_t i = 0; i < batch->graph->n_inputs; i++) {
      struct grid *grid = plain_grid(&r->groups[g], batch->graph->inputs[i]);
      for (int64_t k = 0; k < grid->count; k++)
        grid->v[k] = (double)((const float *)batch->inputs[i].data)[g * grid->count + k];
    }
  }
}

static void reference_deinit(struct reference *r) {
  for (int64_t g = 0; g < r->n_groups; g++)
    plain_deinit(&r->groups[g]);
}

static double reference_loss(struct reference *r) {
  double loss = 0;
  for (int64_t g = 0; g < r->n_groups; g++)
    loss += plain_loss(&r->groups[g], r->labels + g * (GRADIENT_IMAGES / r->n_groups), SMOOTHING);
  return loss / (double)r->n_groups;
}

static double difference(struct reference *r, const struct mq_value *value, int64_t at) {
  double kept = plain_grid(&r->groups[0], value)->v[at], loss[3];
  for (int side = 0; side < 3; side++) { /* the last one puts things back */
    for (int64_t g = 0; g < r->n_groups; g++)
      plain_grid(&r->groups[g], value)->v[at] = side == 2 ? kept : kept + (side ? STEP : -STEP);
    loss[side] = side == 2 ? 0 : reference_loss(r);
  }
  return (loss[1] - loss[0]) / (2 * STEP);
}

static void check_variable(struct reference *r, const struct mq_value *value, const float *gradient,
                           double tolerance, const char *what) {
  int64_t n = plain_grid(&r->groups[0], value)->count;
  double *expected = mq_alloc((size_t)n, sizeof *expected), largest = 0;
  for (int64_t i = 0; i < n; i++) {
    expected[i] = test_leaves_out(i) ? (double)gradient[i] : difference(r, value, i);
    largest = fmax(largest, fabs(expected[i]));
  }
  if (largest < 1e-6) fail_msg("%s: nothing depends on %s", what, value->name);
  for (int64_t i = 0; i < n; i++)
    if (!(fabs((double)gradient[i] - expected[i]) <= tolerance * largest))
      fail_msg("%s: gradient of %s[%lld] is %.9g, expected %.9g (largest %.3g)", what, value->name,
               (long long)i, (double)gradient[i], expected[i], largest);
  mq_free(expected);
}

/* part: of the names of the variables to check. */
static void check_session(const struct gradient_session *s, struct reference *r, const char *part,
                          double tolerance, const char *what) {
  double loss = reference_loss(r);
  size_t n_checked = 0;
  if (!(fabs(s->result.loss - loss) <= 1e-6 * loss))
    fail_msg("%s: loss %.9g, expected %.9g", what, s->result.loss, loss);
  for (size_t i = 0; i < mq_trainer_state_count(s->trainer); i++) {
    struct mq_trainer_state state = mq_trainer_state_at(s->trainer, i);
    const float *gradient = state.is_variable ? mq_trainer_gradient(s->trainer, i) : NULL;
    const struct mq_value *value =
        state.is_variable ? mq_graph_find_value(r->groups[0].graph, state.name) : NULL;
    if (value && strstr(state.name, part) && !strstr(state.name, "running_")) {
      if (!gradient) fail_msg("%s: no gradient of %s", what, state.name);
      check_variable(r, value, gradient, tolerance, what);
      n_checked++;
    }
  }
  assert_true(n_checked > 0);
}

static void make_logits(struct net *net, const struct gradient_case *made, bool is_shared) {
  struct mq_value *logits = net_op1(net, MQ_OP_Flatten, "logits", made->y);
  if (is_shared) {
    struct mq_value *parts[] = {logits, net_op1(net, MQ_OP_Flatten, "shared", made->x)};
    logits = net_op(net, MQ_OP_Concat, "both", parts, 2);
    net_set_int(net, logits, "axis", 1);
  }
  net_output(net, logits);
  net_check(net, mq_graph_infer(net->graph, true, &net->err));
}

static void check_graph(struct net *net, bool is_shared, int64_t n_groups, double tolerance) {
  const struct mq_trainer_options options = {.label_smoothing = SMOOTHING, .bn_groups = n_groups};
  const char *what = net->graph->name;
  struct gradient_batch batch;
  struct gradient_session one, two;
  struct reference reference;
  gradient_batch_init(&batch, net->graph);
  gradient_session_init(&one, &batch, &options, 1);
  gradient_session_init(&two, &batch, &options, 2);
  reference_init(&reference, &batch, n_groups);
  check_same_bits(&one, &two, what);
  check_session(&one, &reference, is_shared ? "_shift" : "", tolerance, what);
  reference_deinit(&reference);
  gradient_session_deinit(&two);
  gradient_session_deinit(&one);
  gradient_batch_deinit(&batch);
}

void check_gradients_in_groups(const char *what, gradient_build_fn build, const void *parameters,
                               double tolerance, int64_t n_groups) {
  for (int is_shared = 0; is_shared < 2; is_shared++) {
    struct net net;
    struct gradient_case made = {0};
    net_begin(&net, what);
    build(&made, &net, parameters);
    make_logits(&net, &made, is_shared == 1);
    check_graph(&net, is_shared == 1, n_groups, tolerance);
    mq_graph_destroy(net.graph);
  }
}

void check_gradients(const char *what, gradient_build_fn build, const void *parameters, double tolerance) {
  check_gradients_in_groups(what, build, parameters, tolerance, 1);
}
