/* Batch normalisation taken apart (ops.def): the operators that folding strategies are built of. */
#include <math.h>
#include <string.h>

#include "engine/train/training.h"

#define LEAST_FACTOR 1e-6

static mq_status new_row(int *place, struct engine_compiler *c, mq_dtype dtype, int64_t count,
                         struct mq_err *err) {
  const struct mq_shape shape = {.rank = 1, .dim = {count}};
  return engine_new_place(place, c, dtype, &shape, NULL, err);
}

static void store(float *into, bool adds, double value) {
  *into = (adds ? *into : 0) + (float)value;
}

/* ---- BatchStatistics ------------------------------------------------------------------------------ */
struct statistics_state {
  int64_t n_channels, n_rows, count;
  double momentum;
};

static mq_status forward_sums(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  (void)err;
  const struct statistics_state *s = step->state;
  double *sums = engine_output(step, frame, 0)->data;
  if (frame->is_training) {
    mq_loop_channel_moments(sums, sums + s->n_channels, engine_input(step, frame, 0)->data, s->n_rows,
                            s->n_channels);
  }
  return MQ_OK;
}

/* dx = b x + d for the gradients b, d that the group's step left (a is not used). */
static mq_status backward_sums(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct statistics_state *s = step->state;
  const float *a = engine_output_gradient(step, frame, 0)->data;
  const float *x = engine_input(step, frame, 0)->data;
  mq_loop_normalize_backward(engine_input_gradient(step, frame, 0)->data, step->adds[0], x, x, s->n_rows,
                             s->n_channels, a, a + s->n_channels, a + 2 * s->n_channels);
  return MQ_OK;
}

static const struct engine_function sums_function = {
    .forward = forward_sums, .backward = backward_sums, .keeps_inputs = true};

/* inputs {sums, running mean, running variance}, outputs {mean, variance} */
static mq_status forward_statistics(const struct engine_step *step, struct engine_frame *frame,
                                    struct mq_err *err) {
  (void)err;
  const struct statistics_state *s = step->state;
  const double *sums = engine_input(step, frame, 0)->data;
  float *mean = engine_output(step, frame, 0)->data, *variance = engine_output(step, frame, 1)->data;
  for (int64_t c = 0; c < s->n_channels; c++) {
    if (frame->is_training) {
      double m = sums[c] / (double)s->count, v = sums[s->n_channels + c] / (double)s->count - m * m;
      mean[c] = (float)m;
      variance[c] = (float)(v < 0 ? 0 : v);
    } else {
      mean[c] = ((const float *)engine_input(step, frame, 1)->data)[c];
      variance[c] = ((const float *)engine_input(step, frame, 2)->data)[c];
    }
  }
  return MQ_OK;
}

/* With v = sum x^2 / N - m^2: dx = dm / N + dv 2 (x - m) / N. */
static mq_status backward_statistics(const struct engine_step *step, struct engine_frame *frame,
                                     struct mq_err *err) {
  (void)err;
  const struct statistics_state *s = step->state;
  const float *mean = engine_output(step, frame, 0)->data;
  const float *d_mean = engine_output_gradient(step, frame, 0)->data;
  const float *d_variance = engine_output_gradient(step, frame, 1)->data;
  float *a = engine_input_gradient(step, frame, 0)->data;
  for (int64_t c = 0; c < s->n_channels; c++) {
    double dm = d_mean ? (double)d_mean[c] : 0, dv = d_variance ? (double)d_variance[c] : 0;
    a[c] = 0;
    a[s->n_channels + c] = (float)(2 * dv / (double)s->count);
    a[2 * s->n_channels + c] = (float)((dm - 2 * dv * (double)mean[c]) / (double)s->count);
  }
  return MQ_OK;
}

static const struct engine_function statistics_function = {.forward = forward_statistics,
                                                           .backward = backward_statistics,
                                                           .keeps_outputs = true,
                                                           .ignores = 1u << 1 | 1u << 2};

/* inputs {mean, variance of group 0, running mean, running variance}, outputs {new ones} */
static mq_status forward_running(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  (void)err;
  const struct statistics_state *s = step->state;
  double unbiased = s->count > 1 ? (double)s->count / (double)(s->count - 1) : 1;
  for (int i = 0; i < 2; i++) {
    const float *batch = engine_input(step, frame, i)->data;
    float *running = engine_input(step, frame, 2 + i)->data, *seen = engine_output(step, frame, i)->data;
    for (int64_t c = 0; c < s->n_channels; c++) {
      double value = (double)batch[c] * (i == 1 ? unbiased : 1);
      if (frame->is_training) {
        running[c] = (float)(s->momentum * (double)running[c] + (1 - s->momentum) * value);
      }
      seen[c] = running[c];
    }
  }
  return MQ_OK;
}

static const struct engine_function running_function = {.forward = forward_running};

static mq_status emit_statistics(int outputs[2], struct engine_compiler *c, const struct mq_node *node,
                                 const struct statistics_state *state, int total, struct mq_err *err) {
  int inputs[3] = {total};
  c->scope = ENGINE_GROUP;
  mq_status status = MQ_OK;
  for (int i = 1; i < 3 && status == MQ_OK; i++) {
    status = engine_read_float(&inputs[i], c, node, i, ENGINE_ROW_MAJOR, err);
    if (status == MQ_OK) {
      status = new_row(&outputs[i - 1], c, MQ_F32, state->n_channels, err);
    }
  }
  if (status != MQ_OK) {
    return status;
  }
  struct engine_step step = {.function = &statistics_function,
                             .state = state,
                             .inputs = inputs,
                             .n_inputs = 3,
                             .outputs = outputs,
                             .n_outputs = 2};
  return engine_emit(c, &step, err);
}

static mq_status emit_running(int outputs[2], struct engine_compiler *c, const struct mq_node *node,
                              const struct statistics_state *state, const int group[2], struct mq_err *err) {
  int inputs[4];
  c->scope = ENGINE_BATCH;
  mq_status status = MQ_OK;
  for (int i = 0; i < 2 && status == MQ_OK; i++) {
    status = new_row(&inputs[i], c, MQ_F32, state->n_channels, err);
    c->engine->places[inputs[i]].gradient = -1; /* running statistics are constants to the gradient */
    if (status == MQ_OK) {
      const struct engine_reduction reduction = {.from = group[i], .to = inputs[i]};
      status = engine_add_reduction(c, &reduction, err);
    }
    if (status == MQ_OK) {
      status = engine_read_float(&inputs[2 + i], c, node, i + 1, ENGINE_ROW_MAJOR, err);
    }
    if (status == MQ_OK) {
      status = new_row(&outputs[i], c, MQ_F32, state->n_channels, err);
    }
  }
  if (status != MQ_OK) {
    return status;
  }
  struct engine_step step = {.function = &running_function,
                             .state = state,
                             .inputs = inputs,
                             .n_inputs = 4,
                             .outputs = outputs,
                             .n_outputs = 2};
  return engine_emit(c, &step, err);
}

static mq_status train_batch_statistics(struct engine_compiler *c, const struct mq_node *node,
                                        struct mq_err *err) {
  int x, total, places[4];
  float momentum;
  void *block;
  mq_status status = mq_node_get_float(&momentum, node, "momentum", 0.9f, err);
  if (status == MQ_OK) {
    status = engine_read_float(&x, c, node, 0, ENGINE_CHANNELS_LAST, err);
  }
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, 1, sizeof(struct statistics_state), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct statistics_state *state = block;
  const struct mq_shape shape = engine_tensor(c, x)->shape;
  int64_t rows = mq_shape_count(&shape) / shape.dim[1];
  *state = (struct statistics_state){.n_channels = shape.dim[1],
                                     .n_rows = rows,
                                     .count = rows / c->images * (c->training->batch / c->training->n_groups),
                                     .momentum = (double)momentum};
  status = engine_emit_sums(&total, c, &sums_function, state, state->n_channels, x, -1, err);
  if (status == MQ_OK) {
    status = emit_statistics(places, c, node, state, total, err);
  }
  if (status == MQ_OK) {
    status = emit_running(places + 2, c, node, state, places, err);
  }
  for (int i = 0; i < node->n_outputs && status == MQ_OK; i++) {
    if (node->outputs[i]) {
      engine_bind(c, node->outputs[i], places[i]);
    }
  }
  return status;
}

/* ---- FoldFactor, FoldBias: vectors, in double ------------------------------------------------------- */
struct vector_state {
  int64_t n;
  double epsilon;
};

/* inputs {gamma, variance}, outputs {factor, variance as it was} */
static mq_status forward_factor(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct vector_state *s = step->state;
  const float *gamma = engine_input(step, frame, 0)->data, *variance = engine_input(step, frame, 1)->data;
  float *factor = engine_output(step, frame, 0)->data, *seen = engine_output(step, frame, 1)->data;
  for (int64_t c = 0; c < s->n; c++) {
    double f = (double)gamma[c] / sqrt((double)variance[c] + s->epsilon);
    factor[c] = (float)(fabs(f) >= LEAST_FACTOR ? f : copysign(LEAST_FACTOR, signbit(f) && f != 0 ? -1 : 1));
    seen[c] = variance[c];
  }
  return MQ_OK;
}

/* Nothing flows where the floor holds. */
static mq_status backward_factor(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  (void)err;
  const struct vector_state *s = step->state;
  const float *gamma = engine_input(step, frame, 0)->data, *variance = engine_output(step, frame, 1)->data;
  const float *g = engine_output_gradient(step, frame, 0)->data;
  float *d_gamma = engine_input_gradient(step, frame, 0)->data;
  float *d_variance = engine_input_gradient(step, frame, 1)->data;
  for (int64_t c = 0; c < s->n; c++) {
    double v = (double)variance[c] + s->epsilon, inverse = 1 / sqrt(v), f = (double)gamma[c] * inverse;
    double flows = fabs(f) >= LEAST_FACTOR ? (double)g[c] : 0;
    if (d_gamma) {
      store(&d_gamma[c], step->adds[0], flows * inverse);
    }
    if (d_variance) {
      store(&d_variance[c], step->adds[1], -0.5 * flows * f / v);
    }
  }
  return MQ_OK;
}

static const struct engine_function factor_function = {
    .forward = forward_factor, .backward = backward_factor, .keeps_inputs = true, .keeps_outputs = true};

/* inputs {beta, factor, mean[, bias]} */
static mq_status forward_bias(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  (void)err;
  const struct vector_state *s = step->state;
  const float *beta = engine_input(step, frame, 0)->data, *factor = engine_input(step, frame, 1)->data;
  const float *mean = engine_input(step, frame, 2)->data;
  const float *bias = step->n_inputs > 3 ? engine_input(step, frame, 3)->data : NULL;
  float *y = engine_output(step, frame, 0)->data;
  for (int64_t c = 0; c < s->n; c++) {
    double centred = (bias ? (double)bias[c] : 0) - (double)mean[c];
    y[c] = (float)((double)beta[c] + (double)factor[c] * centred);
  }
  return MQ_OK;
}

static mq_status backward_bias(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct vector_state *s = step->state;
  const float *g = engine_output_gradient(step, frame, 0)->data;
  const float *factor = engine_input(step, frame, 1)->data, *mean = engine_input(step, frame, 2)->data;
  const float *bias = step->n_inputs > 3 ? engine_input(step, frame, 3)->data : NULL;
  for (int i = 0; i < step->n_inputs; i++) {
    float *d = engine_input_gradient(step, frame, i)->data;
    for (int64_t c = 0; c < s->n && d; c++) {
      double centred = (bias ? (double)bias[c] : 0) - (double)mean[c];
      const double slope[4] = {1, centred, -(double)factor[c], (double)factor[c]};
      store(&d[c], step->adds[i], (double)g[c] * slope[i]);
    }
  }
  return MQ_OK;
}

static const struct engine_function bias_function = {
    .forward = forward_bias, .backward = backward_bias, .keeps_inputs = true};

static mq_status train_vectors(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  bool is_factor = node->op == MQ_OP_FoldFactor;
  int inputs[4], outputs[2], n_inputs = node->n_inputs > 3 && !node->inputs[3] ? 3 : node->n_inputs;
  float epsilon;
  void *block;
  mq_status status = mq_node_get_float(&epsilon, node, "epsilon", 1e-5f, err);
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, 1, sizeof(struct vector_state), err);
  }
  for (int i = 0; i < n_inputs && status == MQ_OK; i++) {
    status = engine_read_float(&inputs[i], c, node, i, ENGINE_ROW_MAJOR, err);
  }
  if (status == MQ_OK) {
    status = engine_new_output(&outputs[0], c, node, 0, NULL, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct vector_state *state = block;
  *state = (struct vector_state){.n = node->outputs[0]->shape.dim[0], .epsilon = (double)epsilon};
  status = is_factor ? new_row(&outputs[1], c, MQ_F32, state->n, err) : MQ_OK;
  if (status != MQ_OK) {
    return status;
  }
  struct engine_step step = {.function = is_factor ? &factor_function : &bias_function,
                             .state = state,
                             .inputs = inputs,
                             .n_inputs = n_inputs,
                             .outputs = outputs,
                             .n_outputs = is_factor ? 2 : 1};
  return engine_emit(c, &step, err);
}

/* ---- ScaleChannels ----------------------------------------------------------------------------------
 * The tensor as outer x channels x inner, the way it lies: weights row-major, activations channels last. */
struct scale_state {
  int64_t n_outer, n_channels, n_inner;
  bool divides;
};

static mq_status forward_scale(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct scale_state *s = step->state;
  const float *x = engine_input(step, frame, 0)->data, *factor = engine_input(step, frame, 1)->data;
  float *y = engine_output(step, frame, 0)->data;
  for (int64_t r = 0; r < s->n_outer * s->n_channels; r++, x += s->n_inner, y += s->n_inner) {
    float f = factor[r % s->n_channels];
    for (int64_t i = 0; i < s->n_inner; i++) {
      y[i] = s->divides ? x[i] / f : x[i] * f;
    }
  }
  return MQ_OK;
}

static void backward_scaled(const struct engine_step *step, struct engine_frame *frame) {
  const struct scale_state *s = step->state;
  const float *g = engine_output_gradient(step, frame, 0)->data, *factor = engine_input(step, frame, 1)->data;
  float *dx = engine_input_gradient(step, frame, 0)->data;
  for (int64_t r = 0; r < s->n_outer * s->n_channels; r++, g += s->n_inner, dx += s->n_inner) {
    float f = factor[r % s->n_channels];
    for (int64_t i = 0; i < s->n_inner; i++) {
      dx[i] = (step->adds[0] ? dx[i] : 0) + (s->divides ? g[i] / f : g[i] * f);
    }
  }
}

/* df = sum g x, or - sum g x / f^2; in double, row after row. */
static void backward_factors(const struct engine_step *step, struct engine_frame *frame) {
  const struct scale_state *s = step->state;
  const float *g = engine_output_gradient(step, frame, 0)->data, *x = engine_input(step, frame, 0)->data;
  const float *factor = engine_input(step, frame, 1)->data;
  float *df = engine_input_gradient(step, frame, 1)->data;
  double *sums = frame->scratch;
  memset(sums, 0, (size_t)s->n_channels * sizeof *sums);
  for (int64_t r = 0; r < s->n_outer * s->n_channels; r++, g += s->n_inner, x += s->n_inner) {
    double sum = 0;
    for (int64_t i = 0; i < s->n_inner; i++) {
      sum += (double)g[i] * (double)x[i];
    }
    sums[r % s->n_channels] += sum;
  }
  for (int64_t c = 0; c < s->n_channels; c++) {
    double f = (double)factor[c];
    store(&df[c], step->adds[1], s->divides ? -sums[c] / (f * f) : sums[c]);
  }
}

static mq_status backward_scale(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  if (engine_input_gradient(step, frame, 0)->data) {
    backward_scaled(step, frame);
  }
  if (engine_input_gradient(step, frame, 1)->data) {
    backward_factors(step, frame);
  }
  return MQ_OK;
}

static const struct engine_function scale_function = {
    .forward = forward_scale, .backward = backward_scale, .keeps_inputs = true};

static mq_status train_scale(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int inputs[2], y, axis;
  int64_t divides;
  void *block;
  const struct mq_shape *shape = &node->inputs[0]->shape;
  mq_status status = mq_node_get_axis(&axis, node, 1, shape->rank, err);
  if (status == MQ_OK) {
    status = mq_node_get_int(&divides, node, "divides", 0, err);
  }
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, 1, sizeof(struct scale_state), err);
  }
  bool is_activation = mq_shape_has_batch(shape) && axis == 1;
  if (status == MQ_OK) {
    status = engine_read_float(&inputs[0], c, node, 0,
                               is_activation ? ENGINE_CHANNELS_LAST : ENGINE_ROW_MAJOR, err);
  }
  if (status == MQ_OK) {
    status = engine_read_float(&inputs[1], c, node, 1, ENGINE_ROW_MAJOR, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_tensor x = *engine_tensor(c, inputs[0]);
  struct scale_state *state = block;
  *state = (struct scale_state){
      .n_outer = 1, .n_channels = x.shape.dim[axis], .n_inner = 1, .divides = divides != 0};
  for (int i = 0; i < x.shape.rank; i++) {
    bool is_inner = i > axis && !is_activation;
    if (i != axis) {
      *(is_inner ? &state->n_inner : &state->n_outer) *= x.shape.dim[i];
    }
  }
  status = engine_new_output(&y, c, node, 0, x.stride, err);
  if (status != MQ_OK) {
    return status;
  }
  struct engine_step step = {.function = &scale_function,
                             .state = state,
                             .inputs = inputs,
                             .n_inputs = 2,
                             .outputs = &y,
                             .n_outputs = 1,
                             .scratch_bytes = (size_t)state->n_channels * sizeof(double)};
  return engine_emit(c, &step, err);
}

static mq_status refuse(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  (void)c;
  return engine_fail_unsupported(node, err, "only in training");
}

const struct engine_op engine_op_BatchStatistics = {.compile = refuse, .train = train_batch_statistics};
const struct engine_op engine_op_FoldFactor = {.compile = refuse, .train = train_vectors};
const struct engine_op engine_op_FoldBias = {.compile = refuse, .train = train_vectors};
const struct engine_op engine_op_ScaleChannels = {.compile = refuse, .train = train_scale};
