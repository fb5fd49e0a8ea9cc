/* Batch normalisation over a group of slices, in three steps:
 *   sums      (slice)  x -> sum x, sum x^2 per channel, in double                 reduced over the group
 *   gains     (group)  sums, gamma, beta, running mean and variance -> gain, shift
 *   normalise (slice)  y = gain x + shift
 * with gain = gamma / sqrt(v + e), shift = beta - mean gain; v biased. Backward: normalise answers sum g and
 * sum g x per channel, gains turns their totals into gradients of gamma and beta and into the coefficients of
 *   dx = a g + b x + d,   a = gain, b = -gain S / (N (v + e)), d = -gain T / N - b mean,
 *   T = sum g, S = sum g (x - mean),
 * which sums applies: it names y among its outputs so that g is still there.
 *
 * Where x is divided by a factor f per channel first (folding strategy 4), nobody forms x / f: with r = 1 / f
 * its mean is r mean(x), its variance r^2 v(x), and y = r gain x + shift. Backward the same way, and df =
 * -r^2 sum dx' x,   dx' = a g + b r x + d, the gradient at x / f, by the sums that are there already. */
#include <math.h>
#include <string.h>

#include "engine/train/training.h"

struct norm_state {
  int64_t n_channels, n_rows;
  int64_t count;            /* values per channel of a whole group */
  bool divides;             /* x is divided by a factor */
  double unbiased;          /* factor of the variance that goes into the running one */
  double epsilon, momentum; /* running = momentum running + (1 - momentum) batch */
};

static void add_sums(void *into, const void *from, const void *state) {
  const struct norm_state *s = state;
  double *a = into;
  const double *b = from;
  for (int64_t i = 0; i < 2 * s->n_channels; i++) {
    a[i] += b[i];
  }
}

/* ---- sums: inputs {x}, outputs {sums, y} --------------------------------------------------------- */
static mq_status forward_sums(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  (void)err;
  const struct norm_state *s = step->state;
  double *sums = engine_output(step, frame, 0)->data;
  if (frame->is_training) {
    mq_loop_channel_moments(sums, sums + s->n_channels, engine_input(step, frame, 0)->data, s->n_rows,
                            s->n_channels);
  }
  return MQ_OK;
}

/* The gradient of the sums: a, b and d as floats. */
static mq_status backward_sums(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct norm_state *s = step->state;
  const float *a = engine_output_gradient(step, frame, 0)->data;
  bool adds = step->adds[0] && step->function != &engine_sums_in_place_function;
  mq_loop_normalize_backward(engine_input_gradient(step, frame, 0)->data, adds,
                             engine_output_gradient(step, frame, 1)->data, engine_input(step, frame, 0)->data,
                             s->n_rows, s->n_channels, a, a + s->n_channels, a + 2 * s->n_channels);
  return MQ_OK;
}

const struct engine_function engine_sums_function = {
    .forward = forward_sums, .backward = backward_sums, .keeps_inputs = true};
const struct engine_function engine_sums_in_place_function = {
    .forward = forward_sums, .backward = backward_sums, .keeps_inputs = true};

/* ---- gains: inputs {sums, gamma, beta, mean, variance[, factor]}, outputs {gain and shift, mean and
 * variance} -- */
enum {
  GAINS_SUMS,
  GAINS_GAMMA,
  GAINS_BETA,
  GAINS_MEAN,
  GAINS_VARIANCE,
  GAINS_FACTOR
};

/* 1 / f of channel c. */
static double inverse_factor(const struct engine_step *step, struct engine_frame *frame, int64_t c) {
  const struct norm_state *s = step->state;
  return s->divides ? 1 / (double)((const float *)engine_input(step, frame, GAINS_FACTOR)->data)[c] : 1;
}

static mq_status forward_gains(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct norm_state *s = step->state;
  const double *sums = engine_input(step, frame, GAINS_SUMS)->data;
  const float *gamma = engine_input(step, frame, GAINS_GAMMA)->data;
  const float *beta = engine_input(step, frame, GAINS_BETA)->data;
  const float *running_mean = engine_input(step, frame, GAINS_MEAN)->data;
  const float *running_variance = engine_input(step, frame, GAINS_VARIANCE)->data;
  float *gain = engine_output(step, frame, 0)->data, *shift = gain + s->n_channels;
  double *mean = engine_output(step, frame, 1)->data, *variance = mean + s->n_channels;
  for (int64_t c = 0; c < s->n_channels; c++) {
    double r = inverse_factor(step, frame, c);
    if (frame->is_training) {
      double m = sums[c] / (double)s->count, v = sums[s->n_channels + c] / (double)s->count - m * m;
      mean[c] = r * m;
      variance[c] = v < 0 ? 0 : r * r * v;
    } else {
      mean[c] = (double)running_mean[c];
      variance[c] = (double)running_variance[c];
    }
    double g = (double)gamma[c] / sqrt(variance[c] + s->epsilon);
    gain[c] = (float)(r * g);
    shift[c] = (float)((double)beta[c] - mean[c] * g);
  }
  return MQ_OK;
}

static void store(float *into, bool adds, double value) {
  *into = (adds ? *into : 0) + (float)value;
}

/* What the gradient at the normalised x is made of; and, with r, what it is to x / r. */
struct slopes {
  double a, b, d;
};

/* df of the channel: sum dx' x = a sum g x + b r sum x^2 + d sum x. */
static double factor_gradient(const struct slopes *k, double r, double product, double sum, double square) {
  return -r * r * (k->a * product + k->b * r * square + k->d * sum);
}

static mq_status backward_gains(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct norm_state *s = step->state;
  int64_t n = s->n_channels;
  const double *t = engine_output_gradient(step, frame, 0)->data, *products = t + n;
  const double *sums = engine_input(step, frame, GAINS_SUMS)->data;
  const double *mean = engine_output(step, frame, 1)->data, *variance = mean + n;
  const float *gamma = engine_input(step, frame, GAINS_GAMMA)->data;
  float *a = engine_input_gradient(step, frame, GAINS_SUMS)->data;
  float *d_gamma = engine_input_gradient(step, frame, GAINS_GAMMA)->data;
  float *d_beta = engine_input_gradient(step, frame, GAINS_BETA)->data;
  float *d_factor = s->divides ? engine_input_gradient(step, frame, GAINS_FACTOR)->data : NULL;
  for (int64_t c = 0; c < n; c++) {
    double inverse = 1 / sqrt(variance[c] + s->epsilon), gain = (double)gamma[c] * inverse;
    double r = inverse_factor(step, frame, c);
    double centred = r * products[c] - mean[c] * t[c]; /* S */
    double b = -gain * centred * inverse * inverse / (double)s->count;
    const struct slopes k = {.a = gain, .b = b, .d = -gain * t[c] / (double)s->count - b * mean[c]};
    if (d_gamma) {
      store(&d_gamma[c], step->adds[GAINS_GAMMA], centred * inverse);
    }
    if (d_beta) {
      store(&d_beta[c], step->adds[GAINS_BETA], t[c]);
    }
    if (d_factor) {
      store(&d_factor[c], step->adds[GAINS_FACTOR],
            factor_gradient(&k, r, products[c], sums[c], sums[n + c]));
    }
    if (a) {
      a[c] = (float)(r * k.a);
      a[n + c] = (float)(r * r * k.b);
      a[2 * n + c] = (float)(r * k.d);
    }
  }
  return MQ_OK;
}

static const struct engine_function gains_function = {.forward = forward_gains,
                                                      .backward = backward_gains,
                                                      .keeps_inputs = true,
                                                      .keeps_outputs = true,
                                                      .ignores = 1u << GAINS_MEAN | 1u << GAINS_VARIANCE};

/* ---- running statistics: inputs {mean and variance of group 0, running mean, running variance} ----- */
static mq_status forward_running(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  (void)err;
  const struct norm_state *s = step->state;
  const double *mean = engine_input(step, frame, 0)->data, *variance = mean + s->n_channels;
  float *running_mean = engine_input(step, frame, 1)->data;
  float *running_variance = engine_input(step, frame, 2)->data;
  for (int64_t c = 0; c < s->n_channels && frame->is_training; c++) {
    running_mean[c] = (float)(s->momentum * (double)running_mean[c] + (1 - s->momentum) * mean[c]);
    running_variance[c] =
        (float)(s->momentum * (double)running_variance[c] + (1 - s->momentum) * variance[c] * s->unbiased);
  }
  return MQ_OK;
}

static const struct engine_function running_function = {.forward = forward_running};

/* ---- normalise: inputs {x, gain and shift}, outputs {y} ------------------------------------------- */
static mq_status forward_normalise(const struct engine_step *step, struct engine_frame *frame,
                                   struct mq_err *err) {
  (void)err;
  const struct norm_state *s = step->state;
  const float *gain = engine_input(step, frame, 1)->data;
  mq_loop_affine(engine_output(step, frame, 0)->data, engine_input(step, frame, 0)->data, s->n_rows,
                 s->n_channels, gain, gain + s->n_channels, -INFINITY, INFINITY);
  return MQ_OK;
}

static mq_status backward_normalise(const struct engine_step *step, struct engine_frame *frame,
                                    struct mq_err *err) {
  (void)err;
  const struct norm_state *s = step->state;
  double *sums = engine_input_gradient(step, frame, 1)->data;
  mq_loop_channel_products(sums, sums + s->n_channels, engine_output_gradient(step, frame, 0)->data,
                           engine_input(step, frame, 0)->data, s->n_rows, s->n_channels);
  return MQ_OK;
}

const struct engine_function engine_normalise_function = {
    .forward = forward_normalise, .backward = backward_normalise, .keeps_inputs = true, .ignores = 1u << 0};

/* ---- Compilation -------------------------------------------------------------------------------- */
static mq_status new_row(int *place, struct engine_compiler *c, mq_dtype dtype, int64_t count,
                         struct mq_err *err) {
  const struct mq_shape shape = {.rank = 1, .dim = {count}};
  return engine_new_place(place, c, dtype, &shape, NULL, err);
}

double engine_unbiased(const struct engine_training *training, int64_t count, int64_t n_channels) {
  int64_t n = training->has_published_variance ? n_channels : count;
  return n > 1 ? (double)n / (double)(n - 1) : 1;
}

static mq_status create_state(struct norm_state **state, struct engine_compiler *c,
                              const struct mq_node *node, const struct mq_tensor *x, struct mq_err *err) {
  float epsilon, momentum;
  void *block;
  mq_status status = mq_node_get_float(&epsilon, node, "epsilon", 1e-5f, err);
  if (status == MQ_OK) {
    status = mq_node_get_float(&momentum, node, "momentum", 0.9f, err);
  }
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, 1, sizeof **state, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  *state = block;
  int64_t channels = x->shape.dim[1], rows = mq_shape_count(&x->shape) / channels;
  int64_t count = rows / c->images * (c->training->batch / c->training->n_groups);
  **state = (struct norm_state){.n_channels = channels,
                                .n_rows = rows,
                                .count = count,
                                .divides = engine_division_before(node) != NULL,
                                .unbiased = engine_unbiased(c->training, count, channels),
                                .epsilon = (double)epsilon,
                                .momentum = (double)momentum};
  return MQ_OK;
}

/* sums of x in the slice and, reduced, in the group. y: the normalised value's place, or -1. */
mq_status engine_emit_sums(int *total, struct engine_compiler *c, const struct engine_function *function,
                           const void *state, int64_t n_channels, int x, int y, struct mq_err *err) {
  int outputs[2] = {-1, y};
  c->scope = ENGINE_SLICE;
  mq_status status = new_row(&outputs[0], c, MQ_F64, 2 * n_channels, err);
  if (status == MQ_OK) {
    status = engine_set_gradient(c, outputs[0], MQ_F32, 3 * n_channels, err);
  }
  if (status == MQ_OK) {
    struct engine_step step = {.function = function,
                               .state = state,
                               .inputs = &x,
                               .n_inputs = 1,
                               .outputs = outputs,
                               .n_outputs = y >= 0 ? 2 : 1};
    status = engine_emit(c, &step, err);
  }
  c->scope = ENGINE_GROUP;
  if (status == MQ_OK) {
    status = new_row(total, c, MQ_F64, 2 * n_channels, err);
  }
  if (status == MQ_OK) {
    status = engine_set_gradient(c, *total, MQ_F32, 3 * n_channels, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  const struct engine_reduction reduction = {
      .from = outputs[0], .to = *total, .merge = add_sums, .state = state};
  return engine_add_reduction(c, &reduction, err);
}

/* The division of channels that this normalisation does on the way: nobody else sees its result. */
const struct mq_node *engine_division_before(const struct mq_node *batch_norm) {
  const struct mq_value *x = batch_norm->inputs[0];
  const struct mq_node *scale = x->producer;
  int64_t divides = 0;
  bool is_division = scale && scale->op == MQ_OP_ScaleChannels && x->n_uses == 1 && !x->is_output &&
                     (scale->n_inputs < 3 || !scale->inputs[2]) && mq_shape_has_batch(&x->shape) &&
                     mq_node_get_int(&divides, scale, "divides", 0, NULL) == MQ_OK && divides != 0;
  return is_division ? scale : NULL;
}

/* gains: the place of gain and shift; statistics: that of mean and variance. */
static mq_status emit_gains(int *gains, int *statistics, struct engine_compiler *c,
                            const struct norm_state *state, const struct mq_node *node, int total,
                            struct mq_err *err) {
  int inputs[6] = {total}, outputs[2];
  mq_status status = MQ_OK;
  for (int i = 1; i < 5 && status == MQ_OK; i++) {
    status = engine_read_float(&inputs[i], c, node, i, ENGINE_ROW_MAJOR, err);
  }
  if (state->divides && status == MQ_OK) {
    status =
        engine_read_float(&inputs[GAINS_FACTOR], c, engine_division_before(node), 1, ENGINE_ROW_MAJOR, err);
  }
  if (status == MQ_OK) {
    status = new_row(&outputs[0], c, MQ_F32, 2 * state->n_channels, err);
  }
  if (status == MQ_OK) {
    status = engine_set_gradient(c, outputs[0], MQ_F64, 2 * state->n_channels, err);
  }
  if (status == MQ_OK) {
    status = new_row(&outputs[1], c, MQ_F64, 2 * state->n_channels, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct engine_step step = {.function = &gains_function,
                             .state = state,
                             .inputs = inputs,
                             .n_inputs = state->divides ? 6 : 5,
                             .outputs = outputs,
                             .n_outputs = 2};
  *gains = outputs[0];
  *statistics = outputs[1];
  return engine_emit(c, &step, err);
}

/* The first group's statistics move the running ones. */
static mq_status emit_running(struct engine_compiler *c, const struct norm_state *state,
                              const struct mq_node *node, int statistics, struct mq_err *err) {
  int inputs[3];
  c->scope = ENGINE_BATCH;
  mq_status status = new_row(&inputs[0], c, MQ_F64, 2 * state->n_channels, err);
  if (status == MQ_OK) {
    const struct engine_reduction reduction = {.from = statistics, .to = inputs[0]};
    status = engine_add_reduction(c, &reduction, err);
  }
  for (int i = 1; i < 3 && status == MQ_OK; i++) {
    status = engine_read_float(&inputs[i], c, node, i + 2, ENGINE_ROW_MAJOR, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct engine_step step = {.function = &running_function, .state = state, .inputs = inputs, .n_inputs = 3};
  return engine_emit(c, &step, err);
}

mq_status engine_train_batch_norm(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  struct norm_state *state;
  int x, y, total, gains, statistics;
  mq_status status = engine_read_float(&x, c, node, 0, ENGINE_CHANNELS_LAST, err);
  if (status == MQ_OK) {
    status = create_state(&state, c, node, engine_tensor(c, x), err);
  }
  if (status == MQ_OK) {
    struct mq_tensor like = *engine_tensor(c, x);
    status = engine_new_output(&y, c, node, 0, like.stride, err);
  }
  if (status == MQ_OK) {
    status = engine_emit_sums(&total, c, &engine_sums_function, state, state->n_channels, x, y, err);
  }
  if (status == MQ_OK) {
    status = emit_gains(&gains, &statistics, c, state, node, total, err);
  }
  if (status == MQ_OK) {
    status = emit_running(c, state, node, statistics, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  c->scope = ENGINE_SLICE;
  int inputs[2] = {x, gains};
  return engine_emit_simple(c, &engine_normalise_function, state, inputs, 2, y, err);
}
