/* Conv and ConvTranspose: one oneDNN call with everything that is fused behind it. */
#include <string.h>

#include "engine/train/training.h"

/* Weights of a slice's convolution in the kernel's form: rank 4 (1-D gets a height of 1), with a folded batch
 * normalisation merged in double and rounded once: w' = w gain, b' = b gain + shift. */
struct conv_weights {
  struct mq_tensor weights, bias;
  bool has_bias;
};

static struct mq_shape with_height(const struct mq_shape *shape) {
  if (shape->rank == 4) {
    return *shape;
  }
  return (struct mq_shape){.rank = 4, .dim = {shape->dim[0], shape->dim[1], 1, shape->dim[2]}};
}

static mq_status fold_weights(struct conv_weights *w, const struct engine_chain *chain, struct mq_err *err) {
  struct mq_tensor folded = {0}, bias = {0};
  int64_t outputs = w->weights.shape.dim[0], row = mq_shape_count(&w->weights.shape) / outputs;
  const struct mq_shape bias_shape = {.rank = 1, .dim = {outputs}};
  mq_status status = mq_tensor_init(&folded, MQ_F32, &w->weights.shape, err);
  if (status == MQ_OK) {
    status = mq_tensor_init(&bias, MQ_F32, &bias_shape, err);
  }
  if (status != MQ_OK) {
    mq_tensor_deinit(&folded);
    return status;
  }
  const float *from = w->weights.data, *from_bias = w->bias.data;
  float *to = folded.data, *to_bias = bias.data;
  for (int64_t o = 0; o < outputs; o++) {
    double gain = chain->fold_gain[o];
    for (int64_t i = 0; i < row; i++) {
      to[o * row + i] = (float)((double)from[o * row + i] * gain);
    }
    to_bias[o] = (float)((w->has_bias ? (double)from_bias[o] : 0.0) * gain + chain->fold_shift[o]);
  }
  *w = (struct conv_weights){.weights = folded, .bias = bias, .has_bias = true};
  return MQ_OK;
}

static mq_status get_weights(struct conv_weights *w, const struct engine_compiler *c,
                             const struct engine_chain *chain, struct mq_err *err) {
  const struct mq_node *node = chain->head;
  const struct mq_value *bias_value = node->n_inputs > 2 ? node->inputs[2] : NULL;
  const struct mq_tensor *weights = engine_constant(c, node->inputs[1]);
  const struct mq_tensor *bias = bias_value ? engine_constant(c, bias_value) : NULL;
  *w = (struct conv_weights){.has_bias = bias != NULL};
  if (!weights || (bias_value && !bias)) {
    return engine_fail_unsupported(node, err, "%s %s is computed, expected a constant",
                                   weights ? "bias" : "weight", node->inputs[weights ? 2 : 1]->name);
  }
  if (weights->dtype != MQ_F32 || (bias && bias->dtype != MQ_F32)) {
    return engine_fail_unsupported(node, err, "weights are %s, expected float32",
                                   mq_dtype_get(weights->dtype)->name);
  }
  struct mq_shape shape = with_height(&weights->shape);
  w->weights = mq_tensor_view(weights->data, MQ_F32, &shape, NULL);
  if (bias) {
    w->bias = *bias;
    w->bias.owned = NULL;
  }
  return chain->fold_gain ? fold_weights(w, chain, err) : MQ_OK;
}

static mq_status create_kernel(struct mq_conv **conv, const struct engine_compiler *c,
                               const struct engine_chain *chain, const struct mq_shape *input,
                               struct mq_err *err) {
  struct mq_window window;
  struct conv_weights w = {0};
  *conv = NULL;
  mq_status status = mq_node_get_window(&window, chain->head, err);
  if (status == MQ_OK) {
    status = get_weights(&w, c, chain, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_conv_desc desc = {
      .input = with_height(input),
      .weights = &w.weights,
      .bias = w.has_bias ? &w.bias : NULL,
      .groups = window.groups,
      .is_transposed = chain->head->op == MQ_OP_ConvTranspose,
      .n_posts = chain->n_posts,
  };
  memcpy(desc.stride, window.stride, sizeof desc.stride);
  memcpy(desc.dilation, window.dilation, sizeof desc.dilation);
  memcpy(desc.pad_begin, window.pad_begin, sizeof desc.pad_begin);
  memcpy(desc.pad_end, window.pad_end, sizeof desc.pad_end);
  memcpy(desc.output_pad, window.output_pad, sizeof desc.output_pad);
  memcpy(desc.posts, chain->posts, sizeof desc.posts);
  status = mq_conv_create(conv, &desc, err);
  mq_tensor_deinit(&w.weights);
  mq_tensor_deinit(&w.bias);
  return status;
}

static void release_conv(void *state) {
  mq_conv_destroy(state);
}

/* y = posts(conv(x) + b); inputs: x, then the residual if there is one. */
static mq_status forward_conv(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  const float *residual = step->n_inputs > 1 ? engine_input(step, frame, 1)->data : NULL;
  return mq_conv_forward(step->state, engine_output(step, frame, 0)->data, engine_input(step, frame, 0)->data,
                         residual, frame->scratch, err);
}

static const struct engine_function conv_function = {.forward = forward_conv};

static mq_status compile_conv(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  struct engine_chain chain = engine_chain_get(c, node);
  struct mq_conv *conv = NULL;
  int x, residual = -1, y;
  mq_status status = engine_read_float(&x, c, node, 0, ENGINE_CHANNELS_LAST, err);
  if (status == MQ_OK && chain.residual) {
    status = engine_read(&residual, c, chain.residual, ENGINE_CHANNELS_LAST, err);
  }
  if (status == MQ_OK) {
    status = create_kernel(&conv, c, &chain, &engine_tensor(c, x)->shape, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_shape shape = engine_shape(c, chain.output), made = mq_conv_output_shape(conv);
  struct mq_shape expected = with_height(&shape);
  int64_t stride[MQ_MAX_RANK];
  mq_stride_channels_last(stride, &shape);
  status = mq_shape_equal(&made, &expected)
               ? engine_chain_output(&y, c, &chain, x, residual, stride, err)
               : engine_fail_unsupported(node, err, "the kernel's output shape differs from the graph's");
  if (status != MQ_OK) {
    mq_conv_destroy(conv);
    return status;
  }
  int inputs[2] = {x, residual};
  struct engine_step step = {.function = engine_op_get(node->op)->function,
                             .state = conv,
                             .release = release_conv,
                             .inputs = inputs,
                             .n_inputs = residual >= 0 ? 2 : 1,
                             .outputs = &y,
                             .n_outputs = 1,
                             .scratch_bytes = mq_conv_scratch_bytes(conv)};
  return engine_emit(c, &step, err);
}

const struct engine_op engine_op_Conv = {
    .compile = compile_conv, .function = &conv_function, .train = engine_train_conv};
const struct engine_op engine_op_ConvTranspose = {
    .compile = compile_conv, .function = &conv_function, .train = engine_train_conv};
