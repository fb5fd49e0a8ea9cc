#include "kernel/conv_train.h"

#include <math.h>

#include "kernel/conv.h"
#include "kernel/depthwise.h"
#include "kernel/simd/convert.h"

/* ---- Creation ----------------------------------------------------------------------------------------- */

static struct mq_onednn_geometry geometry_of(const struct mq_conv_train *conv,
                                             const struct mq_conv_train_desc *desc) {
  struct mq_onednn_geometry g = {
      .x = desc->is_transposed ? conv->output : conv->input,
      .y = desc->is_transposed ? conv->input : conv->output,
      .groups = desc->groups,
  };
  for (int i = 0; i < 2; i++) {
    g.kernel[i] = desc->weights.dim[2 + i];
    g.stride[i] = desc->stride[i];
    g.dilation[i] = desc->dilation[i];
    g.pad_begin[i] = desc->pad_begin[i];
    /* Rows added to the output of a transposed convolution are rows that no window of the plain one reaches.
     */
    g.pad_end[i] = desc->pad_end[i] - (desc->is_transposed ? desc->output_pad[i] : 0);
  }
  return g;
}

/* weights: those of the desc, without data. */
static struct mq_conv_desc plain_desc(const struct mq_conv_train_desc *desc,
                                      const struct mq_tensor *weights) {
  struct mq_conv_desc plain = {
      .input = desc->input, .weights = weights, .groups = desc->groups, .is_transposed = desc->is_transposed};
  for (int i = 0; i < 2; i++) {
    plain.stride[i] = desc->stride[i];
    plain.dilation[i] = desc->dilation[i];
    plain.pad_begin[i] = desc->pad_begin[i];
    plain.pad_end[i] = desc->pad_end[i];
    plain.output_pad[i] = desc->output_pad[i];
  }
  return plain;
}

static mq_status check_precision(mq_precision precision, struct mq_err *err) {
  if (precision != MQ_PRECISION_BF16 || mq_kernel_isa() >= MQ_ISA_AVX512_BF16) return MQ_OK;
  return mq_fail(err, MQ_BAD_INPUT,
                 "precision bfloat16: the instruction set in use is %s, expected avx512_bf16 or amx",
                 mq_isa_name(mq_kernel_isa()));
}

static mq_status create_data(struct mq_conv_train *conv, const struct mq_onednn_geometry *geometry,
                             mq_onednn_numbers numbers, struct mq_err *err) {
  const mq_onednn_pass pass = conv->is_transposed ? MQ_ONEDNN_FORWARD : MQ_ONEDNN_BACKWARD_DATA;
  if (!conv->is_transposed && mq_conv_phases_can(geometry))
    return mq_conv_phases_create(&conv->phases, geometry, numbers, err);
  const mq_status status = mq_onednn_pass_create(&conv->data, geometry, pass, numbers, err);
  return status != MQ_OK ? status : mq_onednn_pack_create(&conv->pack_backward, conv->data, err);
}

static mq_status create_passes(struct mq_conv_train *conv, const struct mq_onednn_geometry *geometry,
                               struct mq_err *err) {
  const mq_onednn_pass forward = conv->is_transposed ? MQ_ONEDNN_BACKWARD_DATA : MQ_ONEDNN_FORWARD;
  const mq_onednn_numbers numbers = conv->is_bf16 ? MQ_ONEDNN_BF16 : MQ_ONEDNN_F32;
  mq_status status = mq_onednn_pass_create(&conv->forward, geometry, forward, MQ_ONEDNN_F32, err);
  if (status == MQ_OK) status = mq_onednn_pack_create(&conv->pack_forward, conv->forward, err);
  if (status == MQ_OK) status = create_data(conv, geometry, numbers, err);
  if (status == MQ_OK)
    status = mq_onednn_pass_create(&conv->weights, geometry, MQ_ONEDNN_BACKWARD_WEIGHTS, numbers, err);
  if (status == MQ_OK) status = mq_onednn_unpack_create(&conv->unpack, conv->weights, err);
  return status;
}

mq_status mq_conv_train_create(struct mq_conv_train **conv, const struct mq_conv_train_desc *desc,
                               struct mq_err *err) {
  const struct mq_tensor weights = mq_tensor_view(NULL, MQ_F32, &desc->weights, NULL);
  const struct mq_conv_desc plain = plain_desc(desc, &weights);
  struct mq_shape output;
  *conv = NULL;
  mq_status status = check_precision(desc->backward, err);
  if (status == MQ_OK) status = mq_conv_check(&output, &plain, err);
  if (status != MQ_OK) return status;
  struct mq_conv_train *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "convolution");
  made->input = desc->input;
  made->output = output;
  made->n_weights = mq_shape_count(&desc->weights);
  made->is_transposed = desc->is_transposed;
  /* Depthwise products are bound by memory: they stay in float. */
  made->is_bf16 = desc->backward == MQ_PRECISION_BF16 && !mq_depthwise_can(&plain);
  const struct mq_onednn_geometry geometry = geometry_of(made, desc);
  made->zeros = mq_alloc((size_t)geometry.y.dim[1], sizeof *made->zeros);
  if (made->zeros == NULL) status = mq_fail_memory(err, "convolution");
  if (status == MQ_OK && mq_depthwise_can(&plain))
    status = mq_depthwise_train_create(&made->depthwise, &plain, &output, err);
  else if (status == MQ_OK)
    status = create_passes(made, &geometry, err);
  if (status != MQ_OK)
    mq_conv_train_destroy(made);
  else
    *conv = made;
  return status;
}

void mq_conv_train_destroy(struct mq_conv_train *conv) {
  if (conv == NULL) return;
  mq_depthwise_train_destroy(conv->depthwise);
  mq_conv_phases_destroy(conv->phases);
  mq_onednn_destroy(conv->forward);
  mq_onednn_destroy(conv->data);
  mq_onednn_destroy(conv->weights);
  mq_onednn_destroy(conv->pack_forward);
  mq_onednn_destroy(conv->pack_backward);
  mq_onednn_destroy(conv->unpack);
  mq_free(conv->zeros);
  mq_free(conv);
}

struct mq_shape mq_conv_train_output_shape(const struct mq_conv_train *conv) {
  return conv->output;
}

const char *mq_conv_train_implementation(const struct mq_conv_train *conv, int direction) {
  if (conv->depthwise != NULL) return "depthwise";
  if (conv->phases != NULL && direction == 1) return mq_conv_phases_implementation(conv->phases);
  const struct mq_onednn_op *const ops[] = {conv->forward, conv->data, conv->weights};
  return mq_onednn_implementation(ops[direction]);
}

/* ---- Sizes -------------------------------------------------------------------------------------------- */

static size_t max_size(size_t a, size_t b) {
  return a > b ? a : b;
}

static size_t float_bytes(int64_t count) {
  return mq_scratch_round((size_t)count * sizeof(float));
}

/* Of a tensor rounded to bfloat16; 0 where none is. */
static size_t rounded_bytes(const struct mq_conv_train *conv, int64_t count) {
  return conv->is_bf16 ? mq_scratch_round((size_t)count * sizeof(uint16_t)) : 0;
}

static struct mq_conv_train_sizes depthwise_sizes(const struct mq_conv_train *conv) {
  const size_t count = (size_t)mq_depthwise_train_count(conv->depthwise);
  return (struct mq_conv_train_sizes){
      .packed_forward_bytes = count * sizeof(float),
      .packed_backward_bytes = count * sizeof(float),
      .gradient_count = count,
      .run_scratch_bytes = float_bytes(mq_shape_count(&conv->input)),
  };
}

static size_t data_scratch_bytes(const struct mq_conv_train *conv) {
  return conv->phases != NULL ? mq_conv_phases_run_scratch_bytes(conv->phases)
                              : mq_onednn_scratch_bytes(conv->data);
}

static size_t pack_backward_bytes(const struct mq_conv_train *conv) {
  return conv->phases != NULL
             ? mq_conv_phases_pack_scratch_bytes(conv->phases)
             : rounded_bytes(conv, conv->n_weights) + mq_onednn_scratch_bytes(conv->pack_backward);
}

struct mq_conv_train_sizes mq_conv_train_get_sizes(const struct mq_conv_train *conv) {
  if (conv->depthwise != NULL) return depthwise_sizes(conv);
  const int64_t n_in = mq_shape_count(&conv->input), n_out = mq_shape_count(&conv->output);
  const size_t data = float_bytes(n_in) + data_scratch_bytes(conv);
  const size_t weights = float_bytes(n_in) + mq_onednn_scratch_bytes(conv->weights);
  const size_t backward = rounded_bytes(conv, n_out) + max_size(data, weights);
  const size_t unpack = float_bytes(conv->n_weights) + mq_onednn_scratch_bytes(conv->unpack);
  const size_t pack = max_size(pack_backward_bytes(conv), mq_onednn_scratch_bytes(conv->pack_forward));
  return (struct mq_conv_train_sizes){
      .packed_forward_bytes = mq_onednn_pass_weights_bytes(conv->forward),
      .packed_backward_bytes = conv->phases != NULL ? mq_conv_phases_weights_bytes(conv->phases)
                                                    : mq_onednn_pass_weights_bytes(conv->data),
      .gradient_count = mq_onednn_pass_weights_bytes(conv->weights) / sizeof(float),
      .pack_scratch_bytes = max_size(pack, unpack),
      .run_scratch_bytes = max_size(mq_onednn_scratch_bytes(conv->forward), backward),
  };
}

/* ---- Runs --------------------------------------------------------------------------------------------- */

/* The operand itself, or rounded to bfloat16 at *scratch, which moves behind it. */
static const void *round_operand(const struct mq_conv_train *conv, const float *x, int64_t count,
                                 char **scratch) {
  if (!conv->is_bf16) return x;
  uint16_t *rounded = (uint16_t *)(void *)*scratch;
  mq_simd_convert_at(mq_simd_level_used())->round_bf16(rounded, x, count);
  *scratch += rounded_bytes(conv, count);
  return rounded;
}

mq_status mq_conv_train_pack(const struct mq_conv_train *conv, void *packed_forward, void *packed_backward,
                             const float *weights, void *scratch, struct mq_err *err) {
  char *rest = scratch;
  mq_status status = MQ_OK;
  if (conv->depthwise != NULL) {
    mq_depthwise_train_pack(conv->depthwise, packed_forward, packed_backward, weights);
    return MQ_OK;
  }
  if (packed_forward != NULL)
    status = mq_onednn_copy(conv->pack_forward, packed_forward, weights, scratch, err);
  if (status != MQ_OK || packed_backward == NULL) return status;
  if (conv->phases != NULL) return mq_conv_phases_pack(conv->phases, packed_backward, weights, scratch, err);
  const void *operand = round_operand(conv, weights, conv->n_weights, &rest);
  return mq_onednn_copy(conv->pack_backward, packed_backward, operand, rest, err);
}

/* The library adds a bias only in its forward direction. */
static void add_bias(float *y, const float *bias, int64_t n_rows, int64_t n_channels) {
  for (int64_t r = 0; r < n_rows; r++, y += n_channels)
    for (int64_t c = 0; c < n_channels; c++)
      y[c] += bias[c];
}

mq_status mq_conv_train_forward(const struct mq_conv_train *conv, float *y, const float *x,
                                const void *packed_forward, const float *bias, void *scratch,
                                struct mq_err *err) {
  struct mq_onednn_operands operands = {.x = x, .weights = packed_forward, .y = y};
  if (conv->depthwise != NULL) {
    mq_depthwise_train_forward(conv->depthwise, y, x, packed_forward, bias != NULL ? bias : conv->zeros);
    return MQ_OK;
  }
  if (!conv->is_transposed) {
    operands.bias = bias != NULL ? bias : conv->zeros;
    return mq_onednn_pass_run(conv->forward, &operands, scratch, err);
  }
  operands.x = y;
  operands.y = x;
  const mq_status status = mq_onednn_pass_run(conv->forward, &operands, scratch, err);
  const int64_t channels = conv->output.dim[1];
  if (status == MQ_OK && bias != NULL) add_bias(y, bias, mq_shape_count(&conv->output) / channels, channels);
  return status;
}

/* dx is written. dy: of the operands' precision, as in what follows. */
static mq_status run_backward_data(const struct mq_conv_train *conv, float *dx, const void *dy,
                                   const void *packed_backward, void *scratch, struct mq_err *err) {
  if (conv->depthwise != NULL) {
    mq_depthwise_train_backward_data(conv->depthwise, dx, dy, packed_backward, conv->zeros);
    return MQ_OK;
  }
  if (conv->phases != NULL) return mq_conv_phases_run(conv->phases, dx, dy, packed_backward, scratch, err);
  struct mq_onednn_operands operands = {.x = dx, .weights = packed_backward, .y = dy};
  if (conv->is_transposed) {
    operands.x = dy;
    operands.y = dx;
    operands.bias = conv->is_bf16 ? NULL : conv->zeros;
  }
  return mq_onednn_pass_run(conv->data, &operands, scratch, err);
}

static mq_status backward_data(const struct mq_conv_train *conv, const struct mq_conv_backward *b,
                               const void *dy, char *scratch, struct mq_err *err) {
  if (!b->adds) return run_backward_data(conv, b->dx, dy, b->packed_backward, scratch, err);
  const int64_t n_in = mq_shape_count(&conv->input);
  float *result = (float *)(void *)scratch;
  char *rest = scratch + float_bytes(n_in);
  const mq_status status = run_backward_data(conv, result, dy, b->packed_backward, rest, err);
  if (status == MQ_OK) mq_loop_add(b->dx, b->dx, result, n_in, -INFINITY, INFINITY);
  return status;
}

/* The input as an operand: what is there, or at *scratch, which moves behind it. */
static const void *input_operand(const struct mq_conv_train *conv, const struct mq_conv_backward *b,
                                 char **scratch) {
  const struct mq_conv_codes *q = b->codes;
  const int64_t n = mq_shape_count(&conv->input);
  if (q == NULL) return round_operand(conv, b->x, n, scratch);
  void *made = *scratch;
  if (conv->is_bf16) {
    mq_loop_center_codes_bf16(made, q->codes, q->is_signed, n, q->zero_point);
    *scratch += rounded_bytes(conv, n);
  } else {
    mq_loop_dequantize_codes(made, q->codes, q->is_signed, n, q->scale, q->zero_point);
    *scratch += float_bytes(n);
  }
  return made;
}

static mq_status backward_weights(const struct mq_conv_train *conv, const struct mq_conv_backward *b,
                                  const void *dy, char *scratch, struct mq_err *err) {
  const void *x = input_operand(conv, b, &scratch);
  if (conv->depthwise != NULL) {
    mq_depthwise_train_backward_weights(conv->depthwise, b->packed_gradient, x, dy);
    return MQ_OK;
  }
  const struct mq_onednn_operands operands = {
      .x = conv->is_transposed ? dy : x, .weights = b->packed_gradient, .y = conv->is_transposed ? x : dy};
  const mq_status status = mq_onednn_pass_run(conv->weights, &operands, scratch, err);
  const int64_t count = (int64_t)(mq_onednn_pass_weights_bytes(conv->weights) / sizeof(float));
  if (status == MQ_OK && b->codes != NULL && conv->is_bf16)
    mq_loop_axpby(b->packed_gradient, 0.0f, b->packed_gradient, b->codes->scale, count);
  return status;
}

mq_status mq_conv_train_backward(const struct mq_conv_train *conv, const struct mq_conv_backward *b,
                                 void *scratch, struct mq_err *err) {
  char *rest = scratch;
  const void *dy = round_operand(conv, b->dy, mq_shape_count(&conv->output), &rest);
  mq_status status = MQ_OK;
  if (b->packed_gradient != NULL) status = backward_weights(conv, b, dy, rest, err);
  if (b->dx != NULL && status == MQ_OK) status = backward_data(conv, b, dy, rest, err);
  return status;
}

mq_status mq_conv_train_unpack_gradient(const struct mq_conv_train *conv, float *dw, bool adds,
                                        const float *packed_gradient, void *scratch, struct mq_err *err) {
  if (conv->depthwise != NULL) {
    mq_depthwise_train_unpack(conv->depthwise, dw, adds, packed_gradient);
    return MQ_OK;
  }
  float *result = adds ? scratch : dw;
  char *rest = scratch;
  if (adds) rest += float_bytes(conv->n_weights);
  const mq_status status = mq_onednn_copy(conv->unpack, result, packed_gradient, rest, err);
  if (status == MQ_OK && adds) mq_loop_add(dw, dw, result, conv->n_weights, -INFINITY, INFINITY);
  return status;
}
