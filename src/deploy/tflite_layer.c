/* Steps that compute on codes: convolutions, linear layers, adds, pools. */
#include <string.h>

#include "deploy/tflite_build.h"

/* ---- Windows ------------------------------------------------------------------------------------------- */

/* Rows (columns) that the windows reach beyond the input, at its end; negative: what they leave out. */
static int32_t reach(const struct mq_program_window *w, const struct mq_program_tensor *x,
                     const struct mq_program_tensor *y, int axis) {
  const int64_t extent = (int64_t)(w->kernel[axis] - 1) * w->dilation[axis] + 1;
  const int64_t last = (int64_t)(y->dim[axis] - 1) * w->stride[axis] - w->pad_begin[axis] + extent;
  return (int32_t)(last - x->dim[axis]);
}

/* SAME: ceil(in / stride) windows, what they need beyond the input halved, the larger half behind. */
static bool is_same(const struct mq_program_window *w, const struct mq_program_tensor *x,
                    const struct mq_program_tensor *y, int axis) {
  const int32_t total = w->pad_begin[axis] + reach(w, x, y, axis);
  const int32_t needed = total > 0 ? total : 0;
  return y->dim[axis] == (x->dim[axis] + w->stride[axis] - 1) / w->stride[axis] &&
         w->pad_begin[axis] == needed / 2;
}

/* VALID on an input with the pads: as many windows as fit. */
void tflite_find_place(struct tflite_place *place, const struct mq_program_window *w,
                       const struct mq_program_tensor *x, const struct mq_program_tensor *y) {
  bool is_same_padding = is_same(w, x, y, 0) && is_same(w, x, y, 1);
  *place = (struct tflite_place){.padding = TFLITE_VALID};
  for (int axis = 0; axis < 2; axis++) {
    const int32_t behind = reach(w, x, y, axis);
    place->before[axis] = w->pad_begin[axis];
    place->behind[axis] = behind > 0 ? behind : 0;
    place->has_pad = place->has_pad || place->before[axis] || place->behind[axis];
  }
  if (place->has_pad && is_same_padding) {
    *place = (struct tflite_place){.padding = TFLITE_SAME};
  }
}

uint32_t tflite_pad_input(struct tflite_build *b, const struct tflite_place *place, bool is_zero,
                          int32_t code) {
  const int32_t pads[] = {0, 0, place->before[0], place->behind[0], place->before[1], place->behind[1], 0, 0};
  const uint32_t x = tflite_input(b, 0);
  if (!place->has_pad || b->status != MQ_OK) {
    return x;
  }
  const uint32_t y = tflite_tensor_like(b, x, "_padded");
  if (b->status != MQ_OK) {
    return y;
  }
  for (int axis = 0; axis < 2; axis++) {
    b->tensors[y].shape[1 + axis] += place->before[axis] + place->behind[axis];
  }
  uint32_t inputs[] = {x, tflite_ints(b, "_pads", pads, 4, 2), TFLITE_NO_TENSOR};
  if (!is_zero) {
    inputs[2] = tflite_code_constant(b, "_pad_value", code, x);
  }
  tflite_add(b, is_zero ? TFLITE_PAD : TFLITE_PADV2, inputs, is_zero ? 2 : 3, y);
  return y;
}

/* ---- Weights and biases -------------------------------------------------------------------------------- */

static void check_layer(struct tflite_build *b, const struct mq_program_conv *conv, int32_t n_channels) {
  const struct mq_program_tensor *y = &b->program->tensors[b->step->output];
  if (b->step->n_inputs > 1) {
    tflite_fail(b, "a shortcut is added before the rounding, expected an add of codes");
  } else if (y->type == MQ_PROGRAM_F32) {
    tflite_fail(b, "its output '%.100s' is float, expected a quantized one", y->name);
  }
  for (int32_t c = 0; c < n_channels && b->status == MQ_OK; c++) {
    if (conv->channels[c].w_zero_point != 0) {
      tflite_fail(b, "weights '%.100s': zero point %d of channel %d, expected 0", conv->w_name,
                  conv->channels[c].w_zero_point, c);
    }
  }
}

/* One scale, or one for each output channel; times `factor`. */
static const float *make_scales(struct tflite_build *b, const struct mq_program_conv *conv, int32_t n,
                                float factor) {
  float *scales = tflite_alloc(b, (size_t)n, sizeof *scales);
  for (int32_t c = 0; scales && c < n; c++) {
    scales[c] = factor * conv->channels[c].w_scale;
  }
  return scales;
}

const void *tflite_turn_depthwise(struct tflite_build *b, const void *weights, int32_t n_channels,
                                  int64_t taps, size_t bytes) {
  char *turned = tflite_alloc(b, (size_t)(n_channels * taps), bytes);
  for (int64_t t = 0; turned && t < taps; t++) {
    for (int32_t c = 0; c < n_channels; c++) {
      memcpy(turned + (size_t)(t * n_channels + c) * bytes,
             (const char *)weights + (size_t)(c * taps + t) * bytes, bytes);
    }
  }
  return turned;
}

static uint32_t add_weights(struct tflite_build *b, const struct mq_program_conv *conv, int32_t n_channels,
                            int32_t n_inputs, bool is_depthwise) {
  const bool is_linear = b->step->kind == MQ_STEP_LINEAR;
  const int32_t *kernel = conv->window.kernel, n_scales = conv->is_per_tensor ? 1 : n_channels;
  struct tflite_tensor w = {.name = tflite_name(b, conv->w_name, ""),
                            .type = TFLITE_INT8,
                            .rank = is_linear ? 2 : 4,
                            .shape = {n_channels, kernel[0], kernel[1], n_inputs},
                            .data = conv->weights,
                            .scales = make_scales(b, conv, n_scales, 1),
                            .n_scales = (size_t)n_scales,
                            .quantized_dimension = is_depthwise ? 3 : 0};
  const int64_t taps = (int64_t)kernel[0] * kernel[1];
  w.bytes = (size_t)(n_channels * taps * n_inputs);
  if (is_linear) {
    w.shape[1] = n_inputs;
  } else if (is_depthwise) {
    w.shape[0] = 1;
    w.shape[3] = n_channels;
    w.data = tflite_turn_depthwise(b, conv->weights, n_channels, taps, 1);
  }
  return tflite_constant(b, &w);
}

/* Found through the weights, behind their point where they have one. */
const char *tflite_name_bias(struct tflite_build *b, const char *w_name) {
  const struct mq_value *w = mq_graph_find_value(b->graph, w_name);
  const struct mq_node *layer = w && w->n_uses == 1 ? w->uses[0].node : NULL;
  if (layer && layer->op == MQ_OP_FakeQuantize) {
    const struct mq_value *made = layer->outputs[0];
    layer = made->n_uses == 1 ? made->uses[0].node : NULL;
  }
  const struct mq_value *bias = layer && layer->n_inputs > 2 ? layer->inputs[2] : NULL;
  return bias ? tflite_name(b, bias->name, "") : tflite_name(b, w_name, "_bias");
}

static uint32_t add_bias(struct tflite_build *b, const struct mq_program_conv *conv, int32_t n_channels,
                         float x_scale) {
  const int32_t n_scales = conv->is_per_tensor ? 1 : n_channels;
  int32_t *bias = tflite_alloc(b, (size_t)n_channels, sizeof *bias);
  for (int32_t c = 0; bias && c < n_channels; c++) {
    bias[c] = conv->channels[c].bias;
  }
  const struct tflite_tensor tensor = {.name = tflite_name_bias(b, conv->w_name),
                                       .type = TFLITE_INT32,
                                       .rank = 1,
                                       .shape = {n_channels},
                                       .data = bias,
                                       .bytes = (size_t)n_channels * sizeof *bias,
                                       .scales = make_scales(b, conv, n_scales, x_scale),
                                       .n_scales = (size_t)n_scales};
  return tflite_constant(b, &tensor);
}

/* ---- Layers -------------------------------------------------------------------------------------------- */

static void emit_weighted(struct tflite_build *b) {
  const struct mq_program_step *step = b->step;
  const struct mq_program_conv *conv = &step->as.conv;
  const struct mq_program_tensor *x = &b->program->tensors[step->inputs[0]];
  const struct mq_program_tensor *y = &b->program->tensors[step->output];
  const bool is_linear = step->kind == MQ_STEP_LINEAR;
  const int32_t n_channels = y->dim[y->rank - 1], n_inputs = x->dim[x->rank - 1];
  const bool is_depthwise = conv->groups > 1 && conv->groups == n_inputs;
  struct tflite_place place = {.padding = TFLITE_VALID};
  uint32_t output;
  check_layer(b, conv, n_channels);
  if (!is_linear && b->status == MQ_OK) {
    tflite_find_place(&place, &conv->window, x, y);
  }
  const uint32_t from = tflite_pad_input(b, &place, true, 0);
  const uint32_t w = add_weights(b, conv, n_channels, n_inputs / conv->groups, is_depthwise);
  const uint32_t inputs[] = {from, w, add_bias(b, conv, n_channels, x->scale)};
  const tflite_activation activation = tflite_choose_activation(b, true, &output);
  struct tflite_operator *op = tflite_add(b,
                                          is_linear      ? TFLITE_FULLY_CONNECTED
                                          : is_depthwise ? TFLITE_DEPTHWISE_CONV_2D
                                                         : TFLITE_CONV_2D,
                                          inputs, 3, output);
  op->padding = place.padding;
  op->activation = activation;
  op->multiplier = is_depthwise ? n_channels / n_inputs : 0;
  op->keeps_dimensions = is_linear && y->rank > 1;
  memcpy(op->stride, conv->window.stride, sizeof op->stride);
  memcpy(op->dilation, conv->window.dilation, sizeof op->dilation);
  tflite_limit(b, output);
}

static void emit_transposed(struct tflite_build *b) {
  const struct mq_program_conv *conv = &b->step->as.conv;
  const struct mq_program_tensor *x = &b->program->tensors[b->step->inputs[0]];
  const int32_t n_channels = b->program->tensors[b->step->output].dim[2];
  uint32_t output;
  check_layer(b, conv, n_channels);
  if (conv->groups != 1) {
    tflite_fail(b, "a transposed convolution in %d groups, expected 1", conv->groups);
  }
  const uint32_t w = add_weights(b, conv, n_channels, x->dim[2], false);
  const uint32_t bias = add_bias(b, conv, n_channels, x->scale);
  tflite_choose_activation(b, false, &output);
  tflite_add_transposed(b, &conv->window, w, bias, output);
  tflite_limit(b, output);
}

static void emit_add(struct tflite_build *b) {
  const uint32_t inputs[] = {tflite_input(b, 0), tflite_input(b, 1)};
  uint32_t output;
  const tflite_activation activation = tflite_choose_activation(b, true, &output);
  tflite_add(b, TFLITE_ADD, inputs, 2, output)->activation = activation;
  tflite_limit(b, output);
}

void tflite_emit_layer(struct tflite_build *b) {
  if (b->step->kind == MQ_STEP_ADD) {
    emit_add(b);
  } else if (b->step->as.conv.is_transposed) {
    emit_transposed(b);
  } else {
    emit_weighted(b);
  }
}

/* ---- Pools --------------------------------------------------------------------------------------------- */

/* The operator divides by the pixels of the input that the window holds; so pads that count must be pixels,
 * and every window then whole. */
static void check_average(struct tflite_build *b, struct tflite_place *place) {
  const struct mq_program_step *step = b->step;
  const struct mq_program_window *w = &step->as.pool.window;
  const struct mq_program_tensor *x = &b->program->tensors[step->inputs[0]];
  const struct mq_program_tensor *y = &b->program->tensors[step->output];
  bool is_whole = true;
  for (int axis = 0; axis < 2; axis++) {
    is_whole = is_whole && reach(w, x, y, axis) <= w->pad_end[axis];
  }
  if (step->as.pool.counts_padding && is_whole) {
    const bool has_pad = place->padding == TFLITE_SAME || place->has_pad;
    *place = (struct tflite_place){.padding = TFLITE_VALID, .has_pad = has_pad};
    for (int axis = 0; axis < 2; axis++) {
      const int32_t behind = reach(w, x, y, axis);
      place->before[axis] = w->pad_begin[axis];
      place->behind[axis] = behind > 0 ? behind : 0;
    }
  } else if (place->has_pad || (step->as.pool.counts_padding && place->padding == TFLITE_SAME)) {
    tflite_fail(b, "pads that are %s and none of the format's paddings",
                step->as.pool.counts_padding ? "counted in part" : "not counted");
  }
}

/* Whatever a maximum is padded with must not win. */
void tflite_emit_pool(struct tflite_build *b) {
  const struct mq_program_step *step = b->step;
  const struct mq_program_window *w = &step->as.pool.window;
  const struct mq_program_tensor *x = &b->program->tensors[step->inputs[0]];
  const struct mq_program_tensor *y = &b->program->tensors[step->output];
  const bool is_average = step->kind == MQ_STEP_AVERAGE, is_float = x->type == MQ_PROGRAM_F32;
  struct tflite_place place;
  uint32_t output;
  tflite_find_place(&place, w, x, y);
  if (w->dilation[0] != 1 || w->dilation[1] != 1) {
    tflite_fail(b, "a pool with dilation %d, %d, expected 1", w->dilation[0], w->dilation[1]);
  } else if (is_average) {
    check_average(b, &place);
  } else if (is_float && place.has_pad) {
    tflite_fail(b, "a maximum of floats with pads that are none of the format's paddings");
  }
  const uint32_t from = tflite_pad_input(b, &place, is_average || is_float, INT8_MIN);
  tflite_activation activation = TFLITE_NONE;
  if (is_average && !is_float) {
    activation = tflite_choose_activation(b, true, &output);
  } else {
    output = tflite_output(b);
  }
  struct tflite_operator *op =
      tflite_add(b, is_average ? TFLITE_AVERAGE_POOL_2D : TFLITE_MAX_POOL_2D, &from, 1, output);
  op->padding = place.padding;
  op->activation = activation;
  memcpy(op->stride, w->stride, sizeof op->stride);
  memcpy(op->kernel, w->kernel, sizeof op->kernel);
  if (is_average && !is_float) {
    tflite_limit(b, output);
  }
}

/* Over everything but the channels. keep_dims is false: with it another kernel runs, which rounds
 * differently; where the dimensions stay, a reshape brings them back. */
void tflite_emit_mean(struct tflite_build *b) {
  const struct mq_program_tensor *x = &b->program->tensors[b->step->inputs[0]];
  const struct mq_program_tensor *y = &b->program->tensors[b->step->output];
  const bool is_float = x->type == MQ_PROGRAM_F32;
  int32_t axes[MQ_PROGRAM_MAX_RANK] = {0}, shape[TFLITE_MAX_RANK] = {-1};
  uint32_t output = tflite_output(b), limited = output;
  for (int32_t i = 0; i + 1 < x->rank; i++) {
    axes[i] = i + 1;
  }
  if (!is_float) {
    tflite_choose_activation(b, false, &limited);
  }
  uint32_t mean = limited;
  if (y->rank > 1 && b->status == MQ_OK) {
    mean = tflite_tensor_like(b, limited, "_mean");
    if (b->status == MQ_OK) {
      b->tensors[mean].rank = 2;
      b->tensors[mean].shape[1] = y->dim[y->rank - 1];
    }
  }
  const uint32_t inputs[] = {tflite_input(b, 0), tflite_ints(b, "_axes", axes, x->rank - 1, 0)};
  tflite_add(b, TFLITE_MEAN, inputs, 2, mean);
  if (mean != limited) {
    memcpy(shape + 1, y->dim, (size_t)y->rank * sizeof *shape);
    const uint32_t to[] = {mean, tflite_ints(b, "_shape", shape, y->rank + 1, 0)};
    tflite_add(b, TFLITE_RESHAPE, to, 2, limited);
  }
  if (!is_float) {
    tflite_limit(b, limited);
  }
}
