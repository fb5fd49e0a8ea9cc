/* Convolutions and linear layers in real numbers. */
#include <math.h>

#include "verify/reality.h"

/* One output channel's weights against the inputs. */
struct layer {
  const struct reality *reality;
  const struct mq_program_step *step;
  const struct mq_program_tensor *x;
  const int32_t *simulated; /* codes, or NULL */
  const void *made;
  const struct mq_program_window *window;
  bool is_transposed;
  const int8_t *weights;
  const float *floats; /* of a layer on floats: instead of the codes above */
  int32_t w_zero_point;
  int64_t inputs; /* of a tap */
  struct reality_sum *sum;
};

static void add_codes(const struct layer *l, int64_t first, const int8_t *weights) {
  int64_t whole = 0, magnitude = 0;
  for (int64_t i = 0; i < l->inputs; i++) {
    const int32_t code =
        l->simulated ? l->simulated[first + i] : reality_code(l->made, l->x->type, first + i);
    const int64_t product = (int64_t)(code - l->x->zero_point) * (weights[i] - l->w_zero_point);
    whole += product;
    magnitude += product < 0 ? -product : product;
  }
  l->sum->whole += whole;
  l->sum->magnitude += (double)magnitude;
}

static void add_reals(const struct layer *l, int64_t first, const int8_t *weights) {
  for (int64_t i = 0; i < l->inputs; i++) {
    const struct real x = reality_of(l->reality, l->step->inputs[0], first + i);
    const double w = weights[i] - l->w_zero_point, product = x.value / (double)l->x->scale * w;
    l->sum->real += product;
    l->sum->magnitude += fabs(product);
    l->sum->slack += x.slack / (double)l->x->scale * fabs(w);
  }
}

static void add_floats(const struct layer *l, int64_t first, const float *weights) {
  for (int64_t i = 0; i < l->inputs; i++) {
    const struct real x = reality_of(l->reality, l->step->inputs[0], first + i);
    const double w = (double)weights[i], product = x.value * w;
    l->sum->real += product;
    l->sum->magnitude += fabs(product);
    l->sum->slack += x.slack * fabs(w);
  }
}

static void add_tap(const struct layer *l, int64_t first, int64_t tap) {
  l->sum->terms += l->inputs;
  if (l->floats) {
    add_floats(l, first, l->floats + tap * l->inputs);
  } else if (l->sum->is_whole) {
    add_codes(l, first, l->weights + tap * l->inputs);
  } else {
    add_reals(l, first, l->weights + tap * l->inputs);
  }
}

/* The input row or column under tap t of output o; -1: outside, or (transposed) between the rows. */
static int64_t input_at(const struct layer *l, int axis, int64_t o, int64_t t, int64_t size) {
  const struct mq_program_window *w = l->window;
  int64_t at = o * w->stride[axis] - w->pad_begin[axis] + t * w->dilation[axis];
  if (l->is_transposed) {
    const int64_t reached = o + w->pad_begin[axis] - t * w->dilation[axis];
    at = reached % w->stride[axis] == 0 ? reached / w->stride[axis] : -1;
  }
  return at >= 0 && at < size ? at : -1;
}

static void sum_window(const struct layer *l, int64_t row, int64_t column, int64_t group) {
  const int32_t *dim = l->x->dim;
  int64_t tap = 0;
  for (int64_t kh = 0; kh < l->window->kernel[0]; kh++) {
    const int64_t h = input_at(l, 0, row, kh, dim[0]);
    for (int64_t kw = 0; kw < l->window->kernel[1]; kw++, tap++) {
      const int64_t w = input_at(l, 1, column, kw, dim[1]);
      if (h >= 0 && w >= 0) {
        add_tap(l, (h * dim[1] + w) * dim[2] + group * l->inputs, tap);
      }
    }
  }
}

static int64_t channels_of(const struct mq_program_tensor *t) {
  return t->rank > 0 ? t->dim[t->rank - 1] : 1;
}

/* All of an output element's taps. */
static void sum_element(const struct layer *l, int64_t at) {
  const struct mq_program_tensor *y = &l->reality->program->tensors[l->step->output];
  const int64_t outputs = channels_of(y), pixel = at / outputs;
  const int64_t groups = channels_of(l->x) / l->inputs;
  if (l->step->kind == MQ_STEP_LINEAR || l->step->kind == MQ_STEP_LINEAR_FLOAT) {
    add_tap(l, pixel * l->inputs, 0);
  } else {
    sum_window(l, pixel / y->dim[1], pixel % y->dim[1], at % outputs / (outputs / groups));
  }
}

void reality_layer_sum(struct reality_sum *sum, const struct reality *r, const struct mq_program_step *step,
                       int64_t at) {
  const uint32_t input = step->inputs[0];
  const struct mq_program_tensor *x = &r->program->tensors[input], *y = &r->program->tensors[step->output];
  const struct mq_program_conv *conv = &step->as.conv;
  const int64_t channel = at % channels_of(y), inputs = channels_of(x) / conv->groups;
  const int64_t taps = (int64_t)conv->window.kernel[0] * conv->window.kernel[1];
  bool is_leaf = r->kinds[input] == REALITY_LEAF;
  *sum = (struct reality_sum){.is_whole = is_leaf || r->follows_codes || x->constant};
  const struct layer l = {.reality = r,
                          .step = step,
                          .x = x,
                          .simulated = is_leaf && r->simulated ? r->simulated[input] : NULL,
                          .made = x->constant ? x->constant : r->made[input],
                          .window = &conv->window,
                          .is_transposed = conv->is_transposed,
                          .weights = conv->weights + channel * taps * inputs,
                          .w_zero_point = conv->channels[channel].w_zero_point,
                          .inputs = inputs,
                          .sum = sum};
  sum_element(&l, at);
}

struct real reality_layer_float(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct mq_program_tensor *x = &r->program->tensors[step->inputs[0]];
  const struct mq_program_conv_float *conv = &step->as.conv_float;
  const int64_t channel = at % channels_of(&r->program->tensors[step->output]);
  const int64_t inputs = channels_of(x) / conv->groups;
  const int64_t taps = (int64_t)conv->window.kernel[0] * conv->window.kernel[1];
  const double bias = (double)conv->bias[channel];
  struct reality_sum sum = {.is_whole = false};
  const struct layer l = {.reality = r,
                          .step = step,
                          .x = x,
                          .window = &conv->window,
                          .is_transposed = conv->is_transposed,
                          .floats = conv->weights + channel * taps * inputs,
                          .inputs = inputs,
                          .sum = &sum};
  sum_element(&l, at);
  const double y = sum.real + bias;
  return (struct real){
      .value = fmin(fmax(y, (double)step->clip_lo), (double)step->clip_hi),
      .slack = sum.slack + (double)(sum.terms + 8) * REALITY_ROUNDING * (sum.magnitude + fabs(bias))};
}

double reality_own_bias(const struct mq_program *program, const struct mq_program_step *step,
                        int64_t channel) {
  const struct mq_program_channel *c = &step->as.conv.channels[channel];
  const double steps = (double)program->tensors[step->inputs[0]].scale * (double)c->w_scale;
  if (!mq_program_arithmetic_get(step->arithmetic)->has_float_bias) {
    return (double)c->bias * steps;
  }
  return step->arithmetic == MQ_ARITHMETIC_TRT ? (double)c->offset : (double)c->offset * steps;
}

struct real reality_layer(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  struct reality_sum sum;
  reality_layer_sum(&sum, r, step, at);
  const int64_t channel = at % channels_of(&r->program->tensors[step->output]);
  const double *biases = r->biases ? r->biases[step - r->program->steps] : NULL;
  const double bias = biases ? biases[channel] : reality_own_bias(r->program, step, channel);
  const double steps =
      (double)r->program->tensors[step->inputs[0]].scale * (double)step->as.conv.channels[channel].w_scale;
  const double product = (sum.is_whole ? (double)sum.whole : sum.real) * steps;
  struct real y = {.value = product + bias,
                   .slack = sum.slack * steps + (double)(sum.terms + 8) * REALITY_ROUNDING *
                                                    (sum.magnitude * steps + fabs(bias))};
  if (step->n_inputs > 1) {
    const struct real shortcut = reality_of(r, step->inputs[1], at);
    y.value += shortcut.value;
    y.slack += shortcut.slack + 4 * REALITY_ROUNDING * (fabs(y.value) + fabs(shortcut.value));
  }
  y.value = fmin(fmax(y.value, (double)step->clip_lo), (double)step->clip_hi);
  return y;
}
