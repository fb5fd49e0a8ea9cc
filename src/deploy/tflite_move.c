/* Steps that move values, and those between floats and codes or on floats alone. */
#include <math.h>
#include <string.h>

#include "deploy/tflite_build.h"

static const struct mq_program_tensor *step_input(const struct tflite_build *b, uint32_t i) {
  return &b->program->tensors[b->step->inputs[i]];
}

static const struct mq_program_tensor *step_output(const struct tflite_build *b) {
  return &b->program->tensors[b->step->output];
}

/* ---- Moves --------------------------------------------------------------------------------------------- */

static void emit_concat(struct tflite_build *b) {
  const struct mq_program_step *step = b->step;
  uint32_t *inputs = tflite_alloc(b, step->n_inputs, sizeof *inputs);
  for (uint32_t i = 0; inputs && i < step->n_inputs; i++) {
    if (step_input(b, i)->constant) {
      tflite_fail(b, "one of its inputs is a constant, which has no batch");
    }
    inputs[i] = tflite_input(b, i);
  }
  if (b->status == MQ_OK) {
    tflite_add(b, TFLITE_CONCATENATION, inputs, step->n_inputs, tflite_output(b))->axis =
        step->as.concat.axis + 1;
  }
}

static void emit_pad(struct tflite_build *b) {
  const struct mq_program_step *step = b->step;
  const struct mq_program_tensor *x = step_input(b, 0), *y = step_output(b);
  const bool is_float = x->type == MQ_PROGRAM_F32;
  int32_t pads[2 * TFLITE_MAX_RANK] = {0};
  for (int32_t i = 0; i < x->rank; i++) {
    pads[2 * i + 2] = step->as.pad.begin[i];
    pads[2 * i + 3] = y->dim[i] - x->dim[i] - step->as.pad.begin[i];
  }
  const bool is_zero = is_float ? step->as.pad.value == 0 : step->as.pad.code == x->zero_point;
  uint32_t inputs[] = {tflite_input(b, 0), tflite_ints(b, "_pads", pads, x->rank + 1, 2), TFLITE_NO_TENSOR};
  if (!is_zero) {
    inputs[2] = is_float ? tflite_floats(b, "_pad_value", &step->as.pad.value, 1)
                         : tflite_code_constant(b, "_pad_value", step->as.pad.code - tflite_code_offset(x),
                                                inputs[0]);
  }
  tflite_add(b, is_zero ? TFLITE_PAD : TFLITE_PADV2, inputs, is_zero ? 2 : 3, tflite_output(b));
}

/* From begin up to, not including, end; an end in front of the first element is said by the mask. */
static void emit_slice(struct tflite_build *b) {
  const struct mq_program_step *step = b->step;
  const struct mq_program_tensor *x = step_input(b, 0), *y = step_output(b);
  int32_t begin[TFLITE_MAX_RANK] = {0}, end[TFLITE_MAX_RANK] = {0}, by[TFLITE_MAX_RANK] = {1}, mask = 1;
  const int n = x->rank + 1;
  for (int32_t i = 0; i < x->rank; i++) {
    const int32_t start = step->as.slice.start[i], each = step->as.slice.step[i];
    const int32_t last = start + (y->dim[i] - 1) * each;
    begin[i + 1] = start;
    by[i + 1] = y->dim[i] == 1 ? 1 : each;
    end[i + 1] = by[i + 1] > 0 ? last + 1 : last - 1;
    if (end[i + 1] < 0) {
      end[i + 1] = 0;
      mask |= 1 << (i + 1);
    }
  }
  const uint32_t inputs[] = {tflite_input(b, 0), tflite_ints(b, "_begin", begin, n, 0),
                             tflite_ints(b, "_end", end, n, 0), tflite_ints(b, "_strides", by, n, 0)};
  struct tflite_operator *op = tflite_add(b, TFLITE_STRIDED_SLICE, inputs, 4, tflite_output(b));
  op->begin_mask = 1;
  op->end_mask = mask;
}

static void emit_gather(struct tflite_build *b) {
  const struct mq_program_step *step = b->step;
  const int32_t axis = step->as.gather.axis, n = step_output(b)->dim[axis];
  const uint32_t inputs[] = {tflite_input(b, 0), tflite_ints(b, "_indices", step->as.gather.index, n, 0)};
  tflite_add(b, TFLITE_GATHER, inputs, 2, tflite_output(b))->axis = axis + 1;
}

static void emit_transpose(struct tflite_build *b) {
  int32_t perm[TFLITE_MAX_RANK] = {0};
  const int32_t rank = step_output(b)->rank;
  for (int32_t i = 0; i < rank; i++) {
    perm[i + 1] = b->step->as.transpose.perm[i] + 1;
  }
  const uint32_t inputs[] = {tflite_input(b, 0), tflite_ints(b, "_perm", perm, rank + 1, 0)};
  tflite_add(b, TFLITE_TRANSPOSE, inputs, 2, tflite_output(b));
}

static void emit_reshape(struct tflite_build *b) {
  const struct mq_program_tensor *y = step_output(b);
  int32_t shape[TFLITE_MAX_RANK] = {-1};
  memcpy(shape + 1, y->dim, (size_t)y->rank * sizeof *shape);
  const uint32_t inputs[] = {tflite_input(b, 0), tflite_ints(b, "_shape", shape, y->rank + 1, 0)};
  tflite_add(b, TFLITE_RESHAPE, inputs, 2, tflite_output(b));
}

/* The interpreter's kernels count four dimensions, the batch among them; for these two, five. */
static void check_rank(struct tflite_build *b) {
  const struct mq_program_tensor *x = step_input(b, 0);
  const mq_step_kind kind = b->step->kind;
  if (x->rank > 4 && (kind == MQ_STEP_PAD || kind == MQ_STEP_SLICE)) {
    tflite_fail(b, "an input of %d dimensions behind the batch, expected at most 4", x->rank);
  }
  if (kind != MQ_STEP_CONCAT && x->constant) {
    tflite_fail(b, "its input '%.100s' is a constant, which has no batch", x->name);
  }
}

void tflite_emit_move(struct tflite_build *b) {
  check_rank(b);
  switch (b->step->kind) {
    case MQ_STEP_CONCAT:
      emit_concat(b);
      break;
    case MQ_STEP_PAD:
      emit_pad(b);
      break;
    case MQ_STEP_SLICE:
      emit_slice(b);
      break;
    case MQ_STEP_GATHER:
      emit_gather(b);
      break;
    case MQ_STEP_TRANSPOSE:
      emit_transpose(b);
      break;
    default:
      emit_reshape(b);
  }
}

/* ---- Floats and codes ---------------------------------------------------------------------------------- */

static void emit_quantize(struct tflite_build *b, uint32_t x) {
  uint32_t output;
  tflite_choose_activation(b, false, &output);
  tflite_add(b, TFLITE_QUANTIZE, &x, 1, output);
  tflite_limit(b, output);
}

static int32_t entry_at(const struct mq_program_tensor *y, const void *entries, int i) {
  return y->type == MQ_PROGRAM_S8 ? ((const int8_t *)entries)[i] : ((const uint8_t *)entries)[i];
}

/* From codes of one scale to those of another: f(f(q - z) s), quantized again. Of other functions the table
 * does not say which they are. */
static bool is_rescaling(const struct tflite_build *b) {
  const struct mq_program_tensor *x = step_input(b, 0), *y = step_output(b);
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(b->program->arithmetic);
  const struct mq_program_output output = {.scale = y->scale,
                                           .zero_point = y->zero_point,
                                           .lo = y->code_min,
                                           .hi = y->code_max,
                                           .clip_lo = -INFINITY,
                                           .clip_hi = INFINITY};
  const int least = x->type == MQ_PROGRAM_S8 ? INT8_MIN : 0;
  bool is_same = y->type == MQ_PROGRAM_S8 || y->type == MQ_PROGRAM_U8;
  for (int code = x->code_min; code <= x->code_max && is_same; code++) {
    const float value = (float)(code - x->zero_point) * x->scale;
    is_same = entry_at(y, b->step->as.table.entries, code - least) == arithmetic->quantize(value, &output);
  }
  return is_same;
}

static void emit_table(struct tflite_build *b) {
  if (!is_rescaling(b)) {
    tflite_fail(b, "a function of codes as a table, expected a change of scale");
    return;
  }
  const uint32_t x = tflite_input(b, 0), values = tflite_tensor_like(b, x, "_dequantized");
  if (b->status != MQ_OK) {
    return;
  }
  b->tensors[values].type = TFLITE_FLOAT32;
  b->tensors[values].n_scales = 0;
  tflite_add(b, TFLITE_DEQUANTIZE, &x, 1, values);
  /* A table has its limits inside. */
  struct mq_program_step limited = *b->step;
  const struct mq_program_step *step = b->step;
  limited.lo = step_output(b)->code_min;
  limited.hi = step_output(b)->code_max;
  b->step = &limited;
  emit_quantize(b, values);
  b->step = step;
}

/* ---- Floats -------------------------------------------------------------------------------------------- */

tflite_activation tflite_float_activation(struct tflite_build *b) {
  const float lo = b->step->clip_lo, hi = b->step->clip_hi;
  if (isinf(lo) && isinf(hi)) {
    return TFLITE_NONE;
  }
  if (lo == 0 && (isinf(hi) || hi == 6)) {
    return isinf(hi) ? TFLITE_RELU : TFLITE_RELU6;
  }
  if (!(lo == -1 && hi == 1)) {
    tflite_fail(b, "an activation from %g to %g, expected 0 or -1 to 1, or 0 to 6 or infinity", (double)lo,
                (double)hi);
  }
  return TFLITE_RELU_N1_TO_1;
}

void tflite_limit_floats(struct tflite_build *b, uint32_t x, uint32_t y, float lo, float hi) {
  const uint32_t inputs[] = {x, tflite_floats(b, "_least", &lo, 1)};
  const uint32_t between = tflite_tensor_like(b, y, "_limited_below");
  tflite_add(b, TFLITE_MAXIMUM, inputs, 2, between);
  const uint32_t behind[] = {between, tflite_floats(b, "_most", &hi, 1)};
  tflite_add(b, TFLITE_MINIMUM, behind, 2, y);
}

/* The format has no operator for it: alpha x + beta, each rounded, between 0 and 1. */
static void emit_hard_sigmoid(struct tflite_build *b, uint32_t x, uint32_t y) {
  const struct mq_program_step *step = b->step;
  const uint32_t product = tflite_tensor_like(b, y, "_product"), sum = tflite_tensor_like(b, y, "_sum");
  const uint32_t factors[] = {x, tflite_floats(b, "_alpha", &step->as.unary.alpha, 1)};
  tflite_add(b, TFLITE_MUL, factors, 2, product);
  const uint32_t terms[] = {product, tflite_floats(b, "_beta", &step->as.unary.beta, 1)};
  tflite_add(b, TFLITE_ADD, terms, 2, sum);
  tflite_limit_floats(b, sum, y, 0, 1);
}

static void emit_unary(struct tflite_build *b) {
  const struct mq_program_step *step = b->step;
  const uint32_t x = tflite_input(b, 0), y = tflite_output(b);
  switch (step->as.unary.kind) {
    case MQ_PROGRAM_SIGMOID:
      tflite_add(b, TFLITE_LOGISTIC, &x, 1, y);
      return;
    case MQ_PROGRAM_HARD_SWISH:
      tflite_add(b, TFLITE_HARD_SWISH, &x, 1, y);
      return;
    case MQ_PROGRAM_LEAKY_RELU:
      tflite_add(b, TFLITE_LEAKY_RELU, &x, 1, y)->alpha = step->as.unary.alpha;
      return;
    case MQ_PROGRAM_CLIP:
      tflite_limit_floats(b, x, y, step->clip_lo, step->clip_hi);
      return;
    default:
      emit_hard_sigmoid(b, x, y);
  }
}

static void emit_binary(struct tflite_build *b) {
  static const tflite_code codes[] = {[MQ_PROGRAM_ADD] = TFLITE_ADD,
                                      [MQ_PROGRAM_SUB] = TFLITE_SUB,
                                      [MQ_PROGRAM_MUL] = TFLITE_MUL,
                                      [MQ_PROGRAM_DIV] = TFLITE_DIV,
                                      [MQ_PROGRAM_PRELU] = TFLITE_PRELU};
  const mq_program_binary kind = b->step->as.binary.kind;
  const struct mq_program_tensor *slopes = step_input(b, 1);
  if (kind == MQ_PROGRAM_PRELU &&
      (!slopes->constant || !isinf(b->step->clip_lo) || !isinf(b->step->clip_hi))) {
    tflite_fail(b, "a PRelu with %s",
                slopes->constant ? "an activation behind it" : "slopes that are computed");
    return;
  }
  const uint32_t inputs[] = {tflite_input(b, 0), tflite_input(b, 1)};
  const tflite_activation activation = tflite_float_activation(b);
  tflite_add(b, codes[kind], inputs, 2, tflite_output(b))->activation = activation;
}

/* A product, then a sum, each rounded. */
static void emit_affine(struct tflite_build *b) {
  const struct mq_program_tensor *y = step_output(b);
  const int32_t n = y->dim[y->rank - 1];
  const uint32_t product = tflite_tensor_like(b, tflite_output(b), "_product");
  const uint32_t factors[] = {tflite_input(b, 0), tflite_floats(b, "_gain", b->step->as.affine.gain, n)};
  tflite_add(b, TFLITE_MUL, factors, 2, product);
  const uint32_t terms[] = {product, tflite_floats(b, "_shift", b->step->as.affine.shift, n)};
  const tflite_activation activation = tflite_float_activation(b);
  tflite_add(b, TFLITE_ADD, terms, 2, tflite_output(b))->activation = activation;
}

void tflite_emit_float(struct tflite_build *b) {
  uint32_t x;
  switch (b->step->kind) {
    case MQ_STEP_QUANTIZE:
      emit_quantize(b, tflite_input(b, 0));
      break;
    case MQ_STEP_TABLE:
      emit_table(b);
      break;
    case MQ_STEP_DEQUANTIZE:
      x = tflite_input(b, 0);
      tflite_add(b, TFLITE_DEQUANTIZE, &x, 1, tflite_output(b));
      break;
    case MQ_STEP_SOFTMAX:
      x = tflite_input(b, 0);
      tflite_add(b, TFLITE_SOFTMAX, &x, 1, tflite_output(b))->alpha = 1;
      break;
    case MQ_STEP_UNARY:
      emit_unary(b);
      break;
    case MQ_STEP_BINARY:
      emit_binary(b);
      break;
    default:
      emit_affine(b);
  }
}
