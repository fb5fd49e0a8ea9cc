/* Layers that were kept float: the same operators on floats, behind DEQUANTIZE and in front of QUANTIZE. An
 * interpreter adds their products in float32, and in an order of its own. */
#include <math.h>
#include <string.h>

#include "deploy/tflite_build.h"

static uint32_t add_weights(struct tflite_build *b, const struct mq_program_conv_float *conv,
                            int32_t n_channels, int32_t n_inputs, bool is_depthwise) {
  const bool is_linear = b->step->kind == MQ_STEP_LINEAR_FLOAT;
  const int32_t *kernel = conv->window.kernel;
  const int64_t taps = (int64_t)kernel[0] * kernel[1];
  struct tflite_tensor w = {.name = tflite_name(b, conv->w_name, ""),
                            .type = TFLITE_FLOAT32,
                            .rank = is_linear ? 2 : 4,
                            .shape = {n_channels, kernel[0], kernel[1], n_inputs},
                            .data = conv->weights,
                            .bytes = (size_t)(n_channels * taps * n_inputs) * sizeof(float)};
  if (is_linear) {
    w.shape[1] = n_inputs;
  } else if (is_depthwise) {
    w.shape[0] = 1;
    w.shape[3] = n_channels;
    w.data = tflite_turn_depthwise(b, conv->weights, n_channels, taps, sizeof(float));
  }
  return tflite_constant(b, &w);
}

static uint32_t add_bias(struct tflite_build *b, const struct mq_program_conv_float *conv,
                         int32_t n_channels) {
  const struct tflite_tensor bias = {.name = tflite_name_bias(b, conv->w_name),
                                     .type = TFLITE_FLOAT32,
                                     .rank = 1,
                                     .shape = {n_channels},
                                     .data = conv->bias,
                                     .bytes = (size_t)n_channels * sizeof(float)};
  return tflite_constant(b, &bias);
}

static void emit_transposed(struct tflite_build *b, const struct mq_program_conv_float *conv,
                            uint32_t weights, uint32_t bias) {
  const float lo = b->step->clip_lo, hi = b->step->clip_hi;
  const bool has_limits = !isinf(lo) || !isinf(hi);
  const uint32_t y = tflite_output(b), made = has_limits ? tflite_tensor_like(b, y, "_unlimited") : y;
  if (conv->groups != 1) {
    tflite_fail(b, "a transposed convolution in %d groups, expected 1", conv->groups);
  }
  tflite_add_transposed(b, &conv->window, weights, bias, made);
  if (has_limits) {
    tflite_limit_floats(b, made, y, lo, hi);
  }
}

void tflite_emit_float_layer(struct tflite_build *b) {
  const struct mq_program_step *step = b->step;
  const struct mq_program_conv_float *conv = &step->as.conv_float;
  const struct mq_program_tensor *x = &b->program->tensors[step->inputs[0]];
  const struct mq_program_tensor *y = &b->program->tensors[step->output];
  const bool is_linear = step->kind == MQ_STEP_LINEAR_FLOAT;
  const int32_t n_channels = y->dim[y->rank - 1], n_inputs = x->dim[x->rank - 1];
  const bool is_depthwise = !conv->is_transposed && conv->groups > 1 && conv->groups == n_inputs;
  struct tflite_place place = {.padding = TFLITE_VALID};
  const uint32_t w = add_weights(b, conv, n_channels, n_inputs / conv->groups, is_depthwise);
  const uint32_t bias = add_bias(b, conv, n_channels);
  if (conv->is_transposed) {
    emit_transposed(b, conv, w, bias);
    return;
  }
  if (!is_linear && b->status == MQ_OK) {
    tflite_find_place(&place, &conv->window, x, y);
  }
  const tflite_code code = is_linear      ? TFLITE_FULLY_CONNECTED
                           : is_depthwise ? TFLITE_DEPTHWISE_CONV_2D
                                          : TFLITE_CONV_2D;
  const uint32_t inputs[] = {tflite_pad_input(b, &place, true, 0), w, bias};
  const tflite_activation activation = tflite_float_activation(b);
  struct tflite_operator *op = tflite_add(b, code, inputs, 3, tflite_output(b));
  op->padding = place.padding;
  op->activation = activation;
  op->multiplier = is_depthwise ? n_channels / n_inputs : 0;
  op->keeps_dimensions = is_linear && y->rank > 1;
  memcpy(op->stride, conv->window.stride, sizeof op->stride);
  memcpy(op->dilation, conv->window.dilation, sizeof op->dilation);
}
