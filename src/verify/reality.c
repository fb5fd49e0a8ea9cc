/* Elements in real numbers: leaves, points, sums, float islands. */
#include "verify/reality.h"

#include <math.h>
#include <string.h>

#define MAX_DEPTH 2000
#define U REALITY_ROUNDING

static const struct real unknown = {0, INFINITY};

static const struct mq_program_tensor *tensor_of(const struct reality *r, uint32_t tensor) {
  return &r->program->tensors[tensor];
}

static struct real exact(double value) {
  return (struct real){value, 0};
}

static struct real clip(struct real x, const struct mq_program_step *step) {
  x.value = fmin(fmax(x.value, (double)step->clip_lo), (double)step->clip_hi);
  return x;
}

/* ---- Leaves ------------------------------------------------------------------------------------------- */

static double value_of_code(const struct mq_program_tensor *t, int32_t code) {
  return (double)(code - t->zero_point) * (double)t->scale;
}

static struct real constant_at(const struct mq_program_tensor *t, int64_t at) {
  if (t->type == MQ_PROGRAM_F32) {
    return exact((double)((const float *)t->constant)[at]);
  }
  return reality_is_codes(t) ? exact(value_of_code(t, reality_code(t->constant, t->type, at)))
                             : exact((double)((const int32_t *)t->constant)[at]);
}

static struct real simulated_at(const struct mq_program_tensor *t, int32_t cell) {
  float x;
  if (reality_is_codes(t)) {
    return exact(value_of_code(t, cell));
  }
  memcpy(&x, &cell, sizeof x);
  return exact((double)x);
}

struct real reality_of(const struct reality *r, uint32_t tensor, int64_t at) {
  const struct mq_program_tensor *t = tensor_of(r, tensor);
  if (--*r->budget < 0 || r->depth > MAX_DEPTH) {
    return unknown;
  }
  if (t->constant) {
    return constant_at(t, at);
  }
  if (r->kinds[tensor] == REALITY_INPUT) {
    return exact((double)((const float *)r->made[tensor])[at]);
  }
  bool is_leaf = r->kinds[tensor] == REALITY_LEAF;
  if (is_leaf && r->simulated && r->simulated[tensor]) {
    return simulated_at(t, r->simulated[tensor][at]);
  }
  if (is_leaf && t->type == MQ_PROGRAM_F32) {
    return exact((double)((const float *)r->made[tensor])[at]);
  }
  if (reality_is_codes(t) && (is_leaf || r->follows_codes)) {
    return exact(value_of_code(t, reality_code(r->made[tensor], t->type, at)));
  }
  struct reality deeper = *r;
  deeper.depth++;
  return reality_made(&deeper, tensor, at);
}

/* ---- Points -------------------------------------------------------------------------------------------- */

/* From one grid to another the real value stays; a table that computes something is what it says. */
static struct real table(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct mq_program_tensor *x = tensor_of(r, step->inputs[0]), *y = tensor_of(r, step->output);
  const struct real from = reality_of(r, step->inputs[0], at);
  const int32_t least = x->type == MQ_PROGRAM_S8 ? INT8_MIN : 0;
  double place = nearbyint(from.value / (double)x->scale) + x->zero_point - least;
  const int32_t entry = (int32_t)fmin(fmax(place, 0), 255);
  if (y->type == MQ_PROGRAM_F32) {
    return exact((double)((const float *)step->as.table.entries)[entry]);
  }
  const int32_t code = reality_code(step->as.table.entries, y->type, entry);
  const double value = value_of_code(y, code);
  bool is_other_grid = x->scale < y->scale || x->scale > y->scale || x->zero_point != y->zero_point;
  bool is_at_end = code == y->code_min || code == y->code_max;
  bool is_near = fabs(value - from.value) <= (double)y->scale;
  return is_other_grid && (is_near || is_at_end) ? from : exact(value);
}

static struct real dequantize(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  struct real x = reality_of(r, step->inputs[0], at);
  x.slack += 2 * U * fabs(x.value);
  return x;
}

/* ---- Two operands -------------------------------------------------------------------------------------- */

/* Element of input `i` that is broadcast to the output's element. */
static struct real operand(const struct reality *r, const struct mq_program_step *step, uint32_t i,
                           int64_t at) {
  const struct mq_program_tensor *x = tensor_of(r, step->inputs[i]), *y = tensor_of(r, step->output);
  int64_t position = 0, stride = 1;
  for (int32_t axis = y->rank; axis-- > 0;) {
    position += x->dim[axis] == 1 ? 0 : at % y->dim[axis] * stride;
    at /= y->dim[axis];
    stride *= x->dim[axis];
  }
  return reality_of(r, step->inputs[i], position);
}

static struct real add(struct real a, struct real b) {
  return (struct real){a.value + b.value, a.slack + b.slack + 3 * U * (fabs(a.value) + fabs(b.value))};
}

static struct real multiply(struct real a, struct real b) {
  const double value = a.value * b.value;
  return (struct real){
      value, fabs(a.value) * b.slack + fabs(b.value) * a.slack + a.slack * b.slack + 3 * U * fabs(value)};
}

static struct real divide(struct real a, struct real b) {
  const double value = a.value / b.value, least = fabs(b.value) - b.slack;
  if (!(least > 0)) {
    return unknown;
  }
  return (struct real){value, (a.slack + fabs(value) * b.slack) / least + 3 * U * fabs(value)};
}

static struct real binary(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct real a = operand(r, step, 0, at), b = operand(r, step, 1, at);
  struct real other = b;
  switch (step->as.binary.kind) {
    case MQ_PROGRAM_ADD:
      return clip(add(a, b), step);
    case MQ_PROGRAM_SUB:
      other.value = -other.value;
      return clip(add(a, other), step);
    case MQ_PROGRAM_MUL:
      return clip(multiply(a, b), step);
    case MQ_PROGRAM_DIV:
      return clip(divide(a, b), step);
    case MQ_PROGRAM_PRELU:
      return clip(a.value >= 0 ? (struct real){a.value, a.slack * fmax(1, fabs(b.value))} : multiply(a, b),
                  step);
    case MQ_PROGRAM_BINARY_END:
      break;
  }
  return unknown;
}

/* ---- Floats -------------------------------------------------------------------------------------------- */

static int64_t channels_of(const struct mq_program_tensor *t) {
  return t->rank > 0 ? t->dim[t->rank - 1] : 1;
}

static struct real affine(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct real x = reality_of(r, step->inputs[0], at);
  const int64_t c = at % channels_of(tensor_of(r, step->output));
  const double gain = (double)step->as.affine.gain[c], shift = (double)step->as.affine.shift[c];
  const double product = x.value * gain;
  return clip((struct real){product + shift, fabs(gain) * x.slack + 4 * U * (fabs(product) + fabs(shift))},
              step);
}

static struct real unary(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct real x = reality_of(r, step->inputs[0], at);
  const double alpha = (double)step->as.unary.alpha, beta = (double)step->as.unary.beta;
  switch (step->as.unary.kind) {
    case MQ_PROGRAM_CLIP:
      return clip(x, step);
    case MQ_PROGRAM_SIGMOID:
      return (struct real){1 / (1 + exp(-x.value)), x.slack / 4 + 16 * U};
    case MQ_PROGRAM_HARD_SIGMOID:
      return (struct real){fmin(fmax(alpha * x.value + beta, 0), 1),
                           fabs(alpha) * x.slack + 4 * U * (fabs(alpha * x.value) + fabs(beta))};
    case MQ_PROGRAM_HARD_SWISH:
      return (struct real){x.value * fmin(fmax(x.value / 6 + 0.5, 0), 1),
                           1.5 * x.slack + 8 * U * fabs(x.value)};
    case MQ_PROGRAM_LEAKY_RELU:
      return (struct real){x.value >= 0 ? x.value : alpha * x.value,
                           fmax(1, fabs(alpha)) * (x.slack + 2 * U * fabs(x.value))};
    case MQ_PROGRAM_UNARY_END:
      break;
  }
  return unknown;
}

/* y_i = exp(x_i) / sum exp(x): an error of d in every x is at most exp(2 d) in the quotient. */
static struct real softmax(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const int64_t n = channels_of(tensor_of(r, step->output)), first = at / n * n;
  double max = -INFINITY, slack = 0, sum = 0;
  for (int64_t i = 0; i < n; i++) {
    const struct real x = reality_of(r, step->inputs[0], first + i);
    max = fmax(max, x.value);
    slack = fmax(slack, x.slack);
  }
  for (int64_t i = 0; i < n; i++) {
    sum += exp(reality_of(r, step->inputs[0], first + i).value - max);
  }
  const double y = exp(reality_of(r, step->inputs[0], at).value - max) / sum;
  /* The exponent itself is rounded to float32. */
  return (struct real){y, y * (expm1(2 * slack) + 4 * U * (fabs(max) + (double)n + 32)) + 0x1p-126};
}

/* ---- Steps --------------------------------------------------------------------------------------------- */

struct real reality_made(const struct reality *r, uint32_t tensor, int64_t at) {
  const struct mq_program_step *step = &r->program->steps[tensor_of(r, tensor)->first_step];
  switch (step->kind) {
    case MQ_STEP_QUANTIZE:
      return reality_of(r, step->inputs[0], at);
    case MQ_STEP_DEQUANTIZE:
      return dequantize(r, step, at);
    case MQ_STEP_CONV:
    case MQ_STEP_LINEAR:
      return reality_layer(r, step, at);
    case MQ_STEP_CONV_FLOAT:
    case MQ_STEP_LINEAR_FLOAT:
      return reality_layer_float(r, step, at);
    case MQ_STEP_ADD:
      return clip(add(operand(r, step, 0, at), operand(r, step, 1, at)), step);
    case MQ_STEP_TABLE:
      return table(r, step, at);
    case MQ_STEP_AFFINE:
      return affine(r, step, at);
    case MQ_STEP_UNARY:
      return unary(r, step, at);
    case MQ_STEP_BINARY:
      return binary(r, step, at);
    case MQ_STEP_SOFTMAX:
      return softmax(r, step, at);
    default:
      return reality_move(r, step, at);
  }
}
