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
  double momentum, unbiased; /* unbiased: factor of the variance that goes into the running one */
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
  for (int i = 0; i < 2; i++) {
    const float *batch = engine_input(step, frame, i)->data;
    float *running = engine_input(step, frame, 2 + i)->data, *seen = engine_output(step, frame, i)->data;
    for (int64_t c = 0; c < s->n_channels; c++) {
      double value = (double)batch[c] * (i == 1 ? s->unbiased : 1);
      if (frame->is_training) {
        running[c] = (float)(s->momentum * (double)running[c] + (1 - s->momentum) * value);
      }
      seen[c] = running[c];
    }
  }
  return MQ_OK;
}

static const struct engine_function running_function = {.forward = forward_running, .ignores = 0xf};

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
  int64_t count = rows / c->images * (c->training->batch / c->training->n_groups);
  *state = (struct statistics_state){.n_channels = shape.dim[1],
                                     .n_rows = rows,
                                     .count = count,
                                     .momentum = (double)momentum,
                                     .unbiased = engine_unbiased(c->training, count, shape.dim[1])};
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

/* ---- FoldFactor, FoldBias: vectors, in double -------------------------------------------------------
 * A factor lies twice: as a float, which carries the gradient, and as it was before it was rounded. What is
 * multiplied by the latter and rounded once is, bit for bit, what folding strategy 0 makes of it (prepare.h).
 */
struct factor_state {
  int64_t n;
  double epsilon;
};

/* inputs {variance[, gamma]}, outputs {factor, variance as it was, unrounded factor} */
static mq_status forward_factor(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct factor_state *s = step->state;
  const float *variance = engine_input(step, frame, 0)->data;
  const float *gamma = step->n_inputs > 1 ? engine_input(step, frame, 1)->data : NULL;
  float *factor = engine_output(step, frame, 0)->data, *seen = engine_output(step, frame, 1)->data;
  double *unrounded = engine_output(step, frame, 2)->data;
  for (int64_t c = 0; c < s->n; c++) {
    double f = (gamma ? (double)gamma[c] : 1) / sqrt((double)variance[c] + s->epsilon);
    f = fabs(f) >= LEAST_FACTOR ? f : f < 0 ? -LEAST_FACTOR : LEAST_FACTOR;
    unrounded[c] = f;
    factor[c] = (float)f;
    seen[c] = variance[c];
  }
  return MQ_OK;
}

/* Nothing flows where the floor holds. */
static mq_status backward_factor(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  (void)err;
  const struct factor_state *s = step->state;
  bool has_gamma = step->n_inputs > 1;
  const float *variance = engine_output(step, frame, 1)->data;
  const float *gamma = has_gamma ? engine_input(step, frame, 1)->data : NULL;
  const float *g = engine_output_gradient(step, frame, 0)->data;
  float *d_variance = engine_input_gradient(step, frame, 0)->data;
  float *d_gamma = has_gamma ? engine_input_gradient(step, frame, 1)->data : NULL;
  for (int64_t c = 0; c < s->n; c++) {
    double v = (double)variance[c] + s->epsilon, inverse = 1 / sqrt(v);
    double f = (gamma ? (double)gamma[c] : 1) * inverse;
    double flows = fabs(f) >= LEAST_FACTOR ? (double)g[c] : 0;
    if (d_gamma) {
      store(&d_gamma[c], step->adds[1], flows * inverse);
    }
    if (d_variance) {
      store(&d_variance[c], step->adds[0], -0.5 * flows * f / v);
    }
  }
  return MQ_OK;
}

static const struct engine_function factor_function = {
    .forward = forward_factor, .backward = backward_factor, .keeps_inputs = true, .keeps_outputs = true};

static mq_status train_fold_factor(struct engine_compiler *c, const struct mq_node *node,
                                   struct mq_err *err) {
  int inputs[2], outputs[3], n_inputs = node->n_inputs > 1 && node->inputs[1] ? 2 : 1;
  int64_t n = node->outputs[0]->shape.dim[0];
  float epsilon;
  void *block;
  mq_status status = mq_node_get_float(&epsilon, node, "epsilon", 1e-5f, err);
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, 1, sizeof(struct factor_state), err);
  }
  for (int i = 0; i < n_inputs && status == MQ_OK; i++) {
    status = engine_read_float(&inputs[i], c, node, i, ENGINE_ROW_MAJOR, err);
  }
  if (status == MQ_OK) {
    status = engine_new_output(&outputs[0], c, node, 0, NULL, err);
  }
  if (status == MQ_OK) {
    status = new_row(&outputs[1], c, MQ_F32, n, err);
  }
  if (status == MQ_OK) {
    status = new_row(&outputs[2], c, MQ_F64, n, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  *(struct factor_state *)block = (struct factor_state){.n = n, .epsilon = (double)epsilon};
  struct engine_step step = {.function = &factor_function,
                             .state = block,
                             .inputs = inputs,
                             .n_inputs = n_inputs,
                             .outputs = outputs,
                             .n_outputs = 3};
  return engine_emit(c, &step, err);
}

/* The factor at a place before it was rounded; -1 where no FoldFactor made it. */
static int unrounded_factor(const struct engine_compiler *c, int place) {
  for (size_t i = c->engine->n_steps; i-- > 0;) {
    const struct engine_step *step = &c->engine->steps[i];
    if (step->function == &factor_function && step->outputs[0] == place) {
      return step->outputs[2];
    }
  }
  return -1;
}

/* Where the optional inputs of a step stand; 0: absent. */
struct bias_state {
  int64_t n;
  int bias, unrounded;
};

static double factor_at(const struct engine_step *step, struct engine_frame *frame, int unrounded,
                        int64_t c) {
  return unrounded ? ((const double *)engine_input(step, frame, unrounded)->data)[c]
                   : (double)((const float *)engine_input(step, frame, 1)->data)[c];
}

/* inputs {beta, factor, mean[, bias][, unrounded factor]} */
static mq_status forward_bias(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  (void)err;
  const struct bias_state *s = step->state;
  const float *beta = engine_input(step, frame, 0)->data, *mean = engine_input(step, frame, 2)->data;
  const float *bias = s->bias ? engine_input(step, frame, s->bias)->data : NULL;
  float *y = engine_output(step, frame, 0)->data;
  for (int64_t c = 0; c < s->n; c++) {
    double centred = (bias ? (double)bias[c] : 0) - (double)mean[c];
    y[c] = (float)((double)beta[c] + factor_at(step, frame, s->unrounded, c) * centred);
  }
  return MQ_OK;
}

static mq_status backward_bias(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct bias_state *s = step->state;
  const float *g = engine_output_gradient(step, frame, 0)->data, *mean = engine_input(step, frame, 2)->data;
  const float *bias = s->bias ? engine_input(step, frame, s->bias)->data : NULL;
  for (int i = 0; i < (s->bias ? 4 : 3); i++) {
    float *d = engine_input_gradient(step, frame, i)->data;
    for (int64_t c = 0; c < s->n && d; c++) {
      double factor = factor_at(step, frame, s->unrounded, c);
      double centred = (bias ? (double)bias[c] : 0) - (double)mean[c];
      const double slope[4] = {1, centred, -factor, factor};
      store(&d[c], step->adds[i], (double)g[c] * slope[i]);
    }
  }
  return MQ_OK;
}

static const struct engine_function bias_function = {
    .forward = forward_bias, .backward = backward_bias, .keeps_inputs = true};

/* Adds the unrounded factor to a step's inputs, where there is one, and answers its position. */
static int append_unrounded(int *inputs, int *n_inputs, const struct engine_compiler *c) {
  int place = unrounded_factor(c, inputs[1]);
  if (place < 0) {
    return 0;
  }
  inputs[*n_inputs] = place;
  return (*n_inputs)++;
}

static mq_status train_fold_bias(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int inputs[5], y, n_inputs = node->n_inputs > 3 && node->inputs[3] ? 4 : 3;
  void *block;
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct bias_state), err);
  for (int i = 0; i < n_inputs && status == MQ_OK; i++) {
    status = engine_read_float(&inputs[i], c, node, i, ENGINE_ROW_MAJOR, err);
  }
  if (status == MQ_OK) {
    status = engine_new_output(&y, c, node, 0, NULL, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct bias_state *state = block;
  *state = (struct bias_state){.n = node->outputs[0]->shape.dim[0], .bias = n_inputs > 3 ? 3 : 0};
  state->unrounded = append_unrounded(inputs, &n_inputs, c);
  return engine_emit_simple(c, &bias_function, state, inputs, n_inputs, y, err);
}

/* ---- ScaleChannels: weights -------------------------------------------------------------------------
 * Row-major, as outer x channels x inner; with groups the outer ones fall into `n_groups` runs, each with
 * factors of its own (grouped ConvTranspose). */
struct scale_state {
  int64_t n_outer, n_channels, n_inner, n_groups;
  int shift, unrounded; /* positions in the inputs; 0: absent */
  bool divides;
};

static int64_t factor_of_row(const struct scale_state *s, int64_t row) {
  int64_t outer = row / s->n_channels, per_group = s->n_outer / s->n_groups;
  return outer / per_group * s->n_channels + row % s->n_channels;
}

static mq_status forward_scale_weights(const struct engine_step *step, struct engine_frame *frame,
                                       struct mq_err *err) {
  (void)err;
  const struct scale_state *s = step->state;
  const float *x = engine_input(step, frame, 0)->data;
  float *y = engine_output(step, frame, 0)->data;
  for (int64_t r = 0; r < s->n_outer * s->n_channels; r++, x += s->n_inner, y += s->n_inner) {
    double f = factor_at(step, frame, s->unrounded, factor_of_row(s, r));
    if (!s->divides) {
      mq_loop_scale(y, false, x, s->n_inner, f);
      continue;
    }
    for (int64_t i = 0; i < s->n_inner; i++) {
      y[i] = (float)((double)x[i] / f);
    }
  }
  return MQ_OK;
}

static void backward_weights(const struct engine_step *step, struct engine_frame *frame) {
  const struct scale_state *s = step->state;
  const float *g = engine_output_gradient(step, frame, 0)->data;
  float *dx = engine_input_gradient(step, frame, 0)->data;
  for (int64_t r = 0; r < s->n_outer * s->n_channels; r++, g += s->n_inner, dx += s->n_inner) {
    double f = factor_at(step, frame, s->unrounded, factor_of_row(s, r));
    if (!s->divides) {
      mq_loop_scale(dx, step->adds[0], g, s->n_inner, f);
      continue;
    }
    for (int64_t i = 0; i < s->n_inner; i++) {
      store(&dx[i], step->adds[0], (double)g[i] / f);
    }
  }
}

/* df = sum g x, or - sum g x / f^2. */
static void store_factor_gradients(const struct engine_step *step, struct engine_frame *frame,
                                   const double *products) {
  const struct scale_state *s = step->state;
  float *df = engine_input_gradient(step, frame, 1)->data;
  for (int64_t c = 0; c < s->n_groups * s->n_channels && df; c++) {
    double f = factor_at(step, frame, s->unrounded, c);
    store(&df[c], step->adds[1], s->divides ? -products[c] / (f * f) : products[c]);
  }
}

/* Row after row. */
static void backward_weight_factors(const struct engine_step *step, struct engine_frame *frame) {
  const struct scale_state *s = step->state;
  const float *g = engine_output_gradient(step, frame, 0)->data, *x = engine_input(step, frame, 0)->data;
  double *products = frame->scratch;
  memset(products, 0, (size_t)(s->n_groups * s->n_channels) * sizeof *products);
  for (int64_t r = 0; r < s->n_outer * s->n_channels; r++, g += s->n_inner, x += s->n_inner) {
    products[factor_of_row(s, r)] += mq_loop_dot(g, x, s->n_inner);
  }
  store_factor_gradients(step, frame, products);
}

static mq_status backward_scale_weights(const struct engine_step *step, struct engine_frame *frame,
                                        struct mq_err *err) {
  (void)err;
  if (engine_input_gradient(step, frame, 0)->data) {
    backward_weights(step, frame);
  }
  if (engine_input_gradient(step, frame, 1)->data) {
    backward_weight_factors(step, frame);
  }
  return MQ_OK;
}

static const struct engine_function scale_weights_function = {
    .forward = forward_scale_weights, .backward = backward_scale_weights, .keeps_inputs = true};

/* ---- ScaleChannels: activations, channels last: y = gain x + shift, gain = f or 1 / f as a float ------ */

/* In scratch: products and sums (doubles), then gains and zeros (floats). */
static float *gains_of(const struct engine_step *step, struct engine_frame *frame) {
  const struct scale_state *s = step->state;
  void *after_sums = (double *)frame->scratch + 2 * s->n_channels;
  float *gain = after_sums;
  for (int64_t c = 0; c < s->n_channels; c++) {
    double f = factor_at(step, frame, s->unrounded, c);
    gain[c] = (float)(s->divides ? 1 / f : f);
  }
  memset(gain + s->n_channels, 0, (size_t)s->n_channels * sizeof *gain);
  return gain;
}

static mq_status forward_scale(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct scale_state *s = step->state;
  const float *gain = gains_of(step, frame), *zeros = gain + s->n_channels;
  const float *shift = s->shift ? engine_input(step, frame, s->shift)->data : zeros;
  mq_loop_affine(engine_output(step, frame, 0)->data, engine_input(step, frame, 0)->data, s->n_outer,
                 s->n_channels, gain, shift, -INFINITY, INFINITY);
  return MQ_OK;
}

static mq_status backward_scale(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct scale_state *s = step->state;
  const float *g = engine_output_gradient(step, frame, 0)->data, *x = engine_input(step, frame, 0)->data;
  const float *gain = gains_of(step, frame), *zeros = gain + s->n_channels;
  double *products = frame->scratch, *sums = products + s->n_channels;
  float *dx = engine_input_gradient(step, frame, 0)->data;
  float *d_shift = s->shift ? engine_input_gradient(step, frame, s->shift)->data : NULL;
  mq_loop_channel_products(sums, products, g, x, s->n_outer, s->n_channels);
  store_factor_gradients(step, frame, products);
  for (int64_t c = 0; c < s->n_channels && d_shift; c++) {
    store(&d_shift[c], step->adds[s->shift], sums[c]);
  }
  if (dx) {
    mq_loop_normalize_backward(dx, step->adds[0], g, x, s->n_outer, s->n_channels, gain, zeros, zeros);
  }
  return MQ_OK;
}

static const struct engine_function scale_function = {
    .forward = forward_scale, .backward = backward_scale, .keeps_inputs = true};

/* ---- ScaleChannels: compilation ---------------------------------------------------------------------- */
static void measure(struct scale_state *s, const struct mq_shape *x, int axis, bool is_activation) {
  s->n_outer = s->n_inner = 1;
  s->n_channels = x->dim[axis];
  for (int i = 0; i < x->rank; i++) {
    bool is_inner = i > axis && !is_activation;
    if (i != axis) {
      *(is_inner ? &s->n_inner : &s->n_outer) *= x->dim[i];
    }
  }
}

static mq_status read_scale(struct scale_state *s, int *axis, const struct mq_node *node,
                            struct mq_err *err) {
  int64_t divides = 0;
  mq_status status = mq_node_get_axis(axis, node, 1, node->inputs[0]->shape.rank, err);
  if (status == MQ_OK) {
    status = mq_node_get_int(&divides, node, "divides", 0, err);
  }
  if (status == MQ_OK) {
    status = mq_node_get_int(&s->n_groups, node, "groups", 1, err);
  }
  s->divides = divides != 0;
  return status;
}

/* Is it done by the normalisation that reads it? Then the value stays as it is. */
static bool is_done_later(const struct mq_node *scale) {
  const struct mq_value *y = scale->outputs[0];
  const struct mq_node *reader = y->n_uses == 1 ? y->uses[0].node : NULL;
  return reader && reader->op == MQ_OP_BatchNormalization && y->uses[0].input == 0 &&
         engine_division_before(reader) == scale;
}

static mq_status train_scale(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int inputs[4], y, axis, n_inputs = node->n_inputs > 2 && node->inputs[2] ? 3 : 2;
  struct scale_state read = {0};
  void *block;
  mq_status status = read_scale(&read, &axis, node, err);
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, 1, sizeof read, err);
  }
  bool is_activation = mq_shape_has_batch(&node->inputs[0]->shape);
  if (status == MQ_OK && is_activation != (axis == 1 && is_activation && read.n_groups == 1)) {
    return engine_fail_unsupported(node, err, "activations are scaled along axis 1 only");
  }
  for (int i = 0; i < n_inputs && status == MQ_OK; i++) {
    engine_layout layout = i == 0 && is_activation ? ENGINE_CHANNELS_LAST : ENGINE_ROW_MAJOR;
    status = engine_read_float(&inputs[i], c, node, i, layout, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  if (is_done_later(node)) {
    engine_bind(c, node->outputs[0], inputs[0]);
    return MQ_OK;
  }
  const struct mq_tensor x = *engine_tensor(c, inputs[0]);
  measure(&read, &x.shape, axis, is_activation);
  read.shift = n_inputs > 2 ? 2 : 0;
  read.unrounded = read.divides ? 0 : append_unrounded(inputs, &n_inputs, c);
  *(struct scale_state *)block = read;
  status = engine_new_output(&y, c, node, 0, x.stride, err);
  if (status != MQ_OK) {
    return status;
  }
  struct engine_step step = {.function = is_activation ? &scale_function : &scale_weights_function,
                             .state = block,
                             .inputs = inputs,
                             .n_inputs = n_inputs,
                             .outputs = &y,
                             .n_outputs = 1,
                             .scratch_bytes = (size_t)(read.n_groups * read.n_channels) * 3 * sizeof(double)};
  return engine_emit(c, &step, err);
}

static mq_status refuse(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  (void)c;
  return engine_fail_unsupported(node, err, "only in training");
}

const struct engine_op engine_op_BatchStatistics = {.compile = refuse, .train = train_batch_statistics};
const struct engine_op engine_op_FoldFactor = {.compile = refuse, .train = train_fold_factor};
const struct engine_op engine_op_FoldBias = {.compile = refuse, .train = train_fold_bias};
const struct engine_op engine_op_ScaleChannels = {.compile = refuse, .train = train_scale};
