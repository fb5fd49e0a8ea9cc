/* A product whose input is kept as codes. Forward, where the weights have codes too, the sums are of integers
 * and exact: y = sum (x - zx)(w - zw) (s_x s_w[c]) + bias. Otherwise, and for the weights' gradient, the
 * codes become floats in scratch memory. */
#include <math.h>
#include <string.h>

#include "engine/train/conv.h"
#include "kernel/conv_int.h"

#define ALIGNMENT 64

static size_t rounded(size_t bytes) {
  return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- Creation ----------------------------------------------------------------------------------- */
/* Codes of the weights as the product's rows? */
static bool matches(const struct engine_codes *codes, const struct mq_conv_train_desc *desc) {
  return codes->n_channels == 1 || codes->n_channels == desc->weights.dim[0];
}

/* One channel at a time is bound by memory: our own loops over floats are as fast there. */
static bool is_depthwise(const struct mq_conv_train_desc *desc) {
  return desc->weights.dim[1] == 1 && desc->groups > 1;
}

mq_status engine_conv_add_integer(struct engine_conv *s, const struct mq_conv_train_desc *desc,
                                  const struct engine_operands *operands, struct mq_err *err) {
  const struct engine_codes *x = operands->x_codes, *w = operands->w_codes;
  s->n_inputs = mq_shape_count(&desc->input);
  s->input_bytes = rounded((size_t)s->n_inputs * sizeof(float));
  s->is_input_signed = x && x->kind.is_signed;
  if (!x || !w || desc->is_transposed || is_depthwise(desc) || !matches(w, desc)) {
    return MQ_OK;
  }
  struct mq_conv_int_desc integer = {.input = desc->input,
                                     .weights = desc->weights,
                                     .groups = desc->groups,
                                     .is_input_signed = x->kind.is_signed,
                                     .x_bits = x->kind.bits,
                                     .w_bits = w->kind.bits,
                                     .are_weights_signed = w->kind.is_signed,
                                     .has_weight_zero_point = w->kind.has_zero_point,
                                     .has_input_zero_point = x->kind.has_zero_point};
  memcpy(integer.stride, desc->stride, sizeof integer.stride);
  memcpy(integer.dilation, desc->dilation, sizeof integer.dilation);
  memcpy(integer.pad_begin, desc->pad_begin, sizeof integer.pad_begin);
  memcpy(integer.pad_end, desc->pad_end, sizeof integer.pad_end);
  mq_status status = mq_conv_int_create(&s->integer, &integer, err);
  if (status != MQ_OK) {
    return status;
  }
  if (strncmp(mq_conv_int_implementation(s->integer), "ref", 3) == 0) {
    mq_conv_int_destroy(s->integer);
    s->integer = NULL;
  }
  s->n_scales = w->n_channels;
  s->has_weight_zero_point = w->kind.has_zero_point;
  s->zero_bytes = rounded((size_t)s->n_channels * sizeof(int32_t));
  return MQ_OK;
}

static size_t multiplier_bytes(const struct engine_conv *s) {
  return rounded((size_t)s->n_channels * sizeof(float));
}

size_t engine_conv_codes_scratch_bytes(const struct engine_conv *s) {
  size_t floats = s->input_bytes + s->sizes.run_scratch_bytes;
  size_t codes = s->integer ? multiplier_bytes(s) + mq_conv_int_scratch_bytes(s->integer) : 0;
  return floats > codes ? floats : codes;
}

/* ---- Steps -------------------------------------------------------------------------------------- */
static struct mq_conv_codes input_codes(const struct engine_step *step, struct engine_frame *frame) {
  const struct engine_conv *s = step->state;
  const double *grid = engine_input(step, frame, CODES_X_GRID)->data;
  return (struct mq_conv_codes){.codes = engine_input(step, frame, CODES_X)->data,
                                .is_signed = s->is_input_signed,
                                .scale = (float)grid[0],
                                .zero_point = (float)grid[1]};
}

static mq_status forward_integer(const struct engine_step *step, struct engine_frame *frame,
                                 const float *bias, struct mq_err *err) {
  const struct engine_conv *s = step->state;
  const double *x_grid = engine_input(step, frame, CODES_X_GRID)->data;
  const double *w_grid = engine_input(step, frame, CODES_W_GRID)->data;
  float *multiplier = frame->scratch;
  for (int64_t c = 0; c < s->n_channels; c++) {
    multiplier[c] = (float)x_grid[0] * (float)w_grid[s->n_scales > 1 ? c : 0];
  }
  return mq_conv_int_forward(s->integer, engine_output(step, frame, 0)->data,
                             engine_input(step, frame, CODES_X)->data, (int32_t)x_grid[1],
                             engine_input(step, frame, CODES_FORWARD)->data, multiplier, bias,
                             (char *)frame->scratch + multiplier_bytes(s), err);
}

static mq_status forward_codes(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  const struct engine_conv *s = step->state;
  const float *bias = step->n_inputs > CODES_BIAS ? engine_input(step, frame, CODES_BIAS)->data : NULL;
  if (s->integer) {
    return forward_integer(step, frame, bias, err);
  }
  const struct mq_conv_codes codes = input_codes(step, frame);
  float *x = frame->scratch;
  mq_loop_dequantize_codes(x, codes.codes, codes.is_signed, s->n_inputs, codes.scale, codes.zero_point);
  return mq_conv_train_forward(s->conv, engine_output(step, frame, 0)->data, x,
                               engine_input(step, frame, CODES_FORWARD)->data, bias,
                               (char *)frame->scratch + s->input_bytes, err);
}

static mq_status backward_codes(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  const struct engine_conv *s = step->state;
  const float *g = engine_output_gradient(step, frame, 0)->data;
  float *dx = engine_input_gradient(step, frame, CODES_X)->data;
  float *dw = engine_input_gradient(step, frame, CODES_FORWARD)->data;
  if (step->n_inputs > CODES_BIAS && engine_input_gradient(step, frame, CODES_BIAS)->data) {
    engine_conv_backward_bias(s, engine_input_gradient(step, frame, CODES_BIAS)->data, step->adds[CODES_BIAS],
                              g, frame);
  }
  const struct mq_conv_codes x = input_codes(step, frame);
  const struct mq_conv_backward backward = {
      .packed_gradient = dw,
      .codes = &x,
      .dx = dx,
      .adds = step->adds[CODES_X],
      .packed_backward = engine_input(step, frame, CODES_BACKWARD)->data,
      .dy = g};
  return mq_conv_train_backward(s->conv, &backward, frame->scratch, err);
}

const struct engine_function engine_conv_codes_function = {
    .forward = forward_codes, .backward = backward_codes, .keeps_inputs = true};
