/* Conv, ConvTranspose, Gemm and linear MatMul with weights that change. The weights are packed once per step
 * in the scope they belong to; slices read them packed, and their gradient comes back packed. */
#include <string.h>

#include "engine/train/training.h"

struct conv_state {
  struct mq_conv_train *conv;
  struct mq_conv_train_sizes sizes;
  int64_t n_rows, n_channels; /* of the output, for the bias */
};

/* ---- Packing: inputs {w}, outputs {packed forward, packed backward} ------------------------------ */
static mq_status forward_pack(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  const struct conv_state *s = step->state;
  return mq_conv_train_pack(s->conv, engine_output(step, frame, 0)->data, engine_output(step, frame, 1)->data,
                            engine_input(step, frame, 0)->data, frame->scratch, err);
}

static mq_status backward_pack(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  const struct conv_state *s = step->state;
  return mq_conv_train_unpack_gradient(s->conv, engine_input_gradient(step, frame, 0)->data, step->adds[0],
                                       engine_output_gradient(step, frame, 0)->data, frame->scratch, err);
}

static const struct engine_function pack_function = {.forward = forward_pack, .backward = backward_pack};

/* ---- The product: inputs {x, packed forward, packed backward[, bias]}, outputs {y} ---------------- */
enum {
  CONV_X,
  CONV_FORWARD,
  CONV_BACKWARD,
  CONV_BIAS
};

static mq_status forward_conv(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  const struct conv_state *s = step->state;
  const float *bias = step->n_inputs > CONV_BIAS ? engine_input(step, frame, CONV_BIAS)->data : NULL;
  return mq_conv_train_forward(s->conv, engine_output(step, frame, 0)->data,
                               engine_input(step, frame, CONV_X)->data,
                               engine_input(step, frame, CONV_FORWARD)->data, bias, frame->scratch, err);
}

/* db = the sum of g over rows, in double. */
static void backward_bias(const struct engine_step *step, struct engine_frame *frame) {
  const struct conv_state *s = step->state;
  float *db = engine_input_gradient(step, frame, CONV_BIAS)->data;
  double *sums = frame->scratch;
  mq_loop_channel_products(sums, NULL, engine_output_gradient(step, frame, 0)->data, NULL, s->n_rows,
                           s->n_channels);
  for (int64_t c = 0; c < s->n_channels; c++) {
    db[c] = (step->adds[CONV_BIAS] ? db[c] : 0) + (float)sums[c];
  }
}

static mq_status backward_conv(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  const struct conv_state *s = step->state;
  const float *g = engine_output_gradient(step, frame, 0)->data;
  float *dx = engine_input_gradient(step, frame, CONV_X)->data;
  float *dw = engine_input_gradient(step, frame, CONV_FORWARD)->data;
  mq_status status = MQ_OK;
  if (step->n_inputs > CONV_BIAS && engine_input_gradient(step, frame, CONV_BIAS)->data) {
    backward_bias(step, frame);
  }
  if (dw) {
    status = mq_conv_train_backward_weights(s->conv, dw, engine_input(step, frame, CONV_X)->data, g,
                                            frame->scratch, err);
  }
  if (dx && status == MQ_OK) {
    status = mq_conv_train_backward_data(s->conv, dx, step->adds[CONV_X], g,
                                         engine_input(step, frame, CONV_BACKWARD)->data, frame->scratch, err);
  }
  return status;
}

static const struct engine_function conv_function = {
    .forward = forward_conv, .backward = backward_conv, .keeps_inputs = true, .ignores = 1u << CONV_BACKWARD};

static void release_conv(void *state) {
  struct conv_state *s = state;
  mq_conv_train_destroy(s->conv);
  s->conv = NULL;
}

/* ---- Compilation -------------------------------------------------------------------------------- */
static mq_status new_packed(int *place, struct engine_compiler *c, size_t bytes, struct mq_err *err) {
  const struct mq_shape shape = {.rank = 1, .dim = {(int64_t)bytes}};
  return engine_new_place(place, c, MQ_U8, &shape, NULL, err);
}

/* Emits the packing of weights place `w` in the scope they belong to. */
static mq_status emit_pack(int packed[2], struct engine_compiler *c, const struct conv_state *s, int w,
                           struct mq_err *err) {
  engine_scope scope = c->scope;
  c->scope = c->engine->places[w].scope;
  mq_status status = new_packed(&packed[0], c, s->sizes.packed_forward_bytes, err);
  if (status == MQ_OK) {
    status = engine_set_gradient(c, packed[0], MQ_F32, (int64_t)s->sizes.gradient_count, err);
  }
  if (status == MQ_OK) {
    status = new_packed(&packed[1], c, s->sizes.packed_backward_bytes, err);
  }
  if (status == MQ_OK) {
    struct engine_step step = {.function = &pack_function,
                               .state = s,
                               .inputs = &w,
                               .n_inputs = 1,
                               .outputs = packed,
                               .n_outputs = 2,
                               .scratch_bytes = s->sizes.pack_scratch_bytes};
    status = engine_emit(c, &step, err);
  }
  c->scope = scope;
  return status;
}

static mq_status emit_product(struct engine_compiler *c, struct conv_state *s, int x, int w, int bias, int y,
                              struct mq_err *err) {
  int packed[2];
  mq_status status = emit_pack(packed, c, s, w, err);
  if (status != MQ_OK) {
    release_conv(s);
    return status;
  }
  int inputs[4] = {x, packed[0], packed[1], bias};
  size_t bias_bytes = (size_t)s->n_channels * sizeof(double);
  size_t run_bytes = s->sizes.run_scratch_bytes;
  struct engine_step step = {.function = &conv_function,
                             .state = s,
                             .release = release_conv,
                             .inputs = inputs,
                             .n_inputs = bias >= 0 ? 4 : 3,
                             .outputs = &y,
                             .n_outputs = 1,
                             .scratch_bytes = run_bytes > bias_bytes ? run_bytes : bias_bytes};
  return engine_emit(c, &step, err);
}

static mq_status create_state(struct conv_state **state, struct engine_compiler *c,
                              const struct mq_conv_train_desc *desc, struct mq_err *err) {
  void *block;
  mq_status status = engine_alloc(&block, c, 1, sizeof **state, err);
  if (status != MQ_OK) {
    return status;
  }
  struct conv_state *s = block;
  status = mq_conv_train_create(&s->conv, desc, err);
  if (status == MQ_OK) {
    struct mq_shape shape = mq_conv_train_output_shape(s->conv);
    s->sizes = mq_conv_train_get_sizes(s->conv);
    s->n_channels = shape.dim[1];
    s->n_rows = shape.dim[0] * shape.dim[2] * shape.dim[3];
  }
  *state = s;
  return status;
}

static struct mq_shape with_height(const struct mq_shape *shape) {
  if (shape->rank == 4) {
    return *shape;
  }
  return (struct mq_shape){.rank = 4, .dim = {shape->dim[0], shape->dim[1], 1, shape->dim[2]}};
}

static mq_status read_operands(int *x, int *w, int *bias, struct engine_compiler *c,
                               const struct mq_node *node, engine_layout layout, struct mq_err *err) {
  *bias = -1;
  mq_status status = engine_read_float(x, c, node, 0, layout, err);
  if (status == MQ_OK) {
    status = engine_read_float(w, c, node, 1, ENGINE_ROW_MAJOR, err);
  }
  if (status == MQ_OK && node->n_inputs > 2 && node->inputs[2]) {
    status = engine_read_float(bias, c, node, 2, ENGINE_ROW_MAJOR, err);
  }
  return status;
}

mq_status engine_train_conv(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int x, w, bias, y;
  struct mq_window window;
  struct conv_state *state;
  mq_status status = mq_node_get_window(&window, node, err);
  if (status == MQ_OK) {
    status = read_operands(&x, &w, &bias, c, node, ENGINE_CHANNELS_LAST, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_conv_train_desc desc = {.input = with_height(&engine_tensor(c, x)->shape),
                                    .weights = with_height(&engine_tensor(c, w)->shape),
                                    .groups = window.groups,
                                    .is_transposed = node->op == MQ_OP_ConvTranspose,
                                    .backward = c->training->backward};
  memcpy(desc.stride, window.stride, sizeof desc.stride);
  memcpy(desc.dilation, window.dilation, sizeof desc.dilation);
  memcpy(desc.pad_begin, window.pad_begin, sizeof desc.pad_begin);
  memcpy(desc.pad_end, window.pad_end, sizeof desc.pad_end);
  memcpy(desc.output_pad, window.output_pad, sizeof desc.output_pad);
  status = create_state(&state, c, &desc, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  int64_t stride[MQ_MAX_RANK];
  mq_stride_channels_last(stride, &shape);
  status = engine_new_output(&y, c, node, 0, stride, err);
  if (status != MQ_OK) {
    release_conv(state);
    return status;
  }
  return emit_product(c, state, x, w, bias, y, err);
}

/* ---- Gemm: a convolution of images of one pixel ---------------------------------------------------
 * Weights as O x I: transB 1 as they are, transB 0 through a transposed copy in their own scope. */
static mq_status read_linear_weights(int *w, struct engine_compiler *c, int place, bool is_transposed,
                                     struct mq_err *err) {
  engine_scope scope = c->scope;
  c->scope = c->engine->places[place].scope;
  struct mq_tensor view = *engine_tensor(c, place);
  mq_status status = MQ_OK;
  *w = place;
  if (!is_transposed) {
    struct mq_tensor from = view;
    for (int i = 0; i < 2; i++) {
      view.shape.dim[i] = from.shape.dim[1 - i];
      view.stride[i] = from.stride[1 - i];
    }
    status = engine_new_view(w, c, place, &view, 0, err);
    if (status == MQ_OK) {
      status = engine_arrange(w, c, *w, ENGINE_ROW_MAJOR, err);
    }
  }
  c->scope = scope;
  return status;
}

static mq_status emit_linear(struct engine_compiler *c, const struct mq_node *node, int x, int w, int bias,
                             struct mq_err *err) {
  const struct mq_shape in = engine_tensor(c, x)->shape, weights = engine_tensor(c, w)->shape;
  int64_t k = in.dim[in.rank - 1], m = k ? mq_shape_count(&in) / k : 0;
  struct mq_conv_train_desc desc = {.input = {.rank = 4, .dim = {m, k, 1, 1}},
                                    .weights = {.rank = 4, .dim = {weights.dim[0], weights.dim[1], 1, 1}},
                                    .stride = {1, 1},
                                    .dilation = {1, 1},
                                    .groups = 1,
                                    .backward = c->training->backward};
  struct conv_state *state;
  int y;
  int64_t stride[MQ_MAX_RANK];
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  mq_stride_row_major(stride, &shape);
  mq_status status = create_state(&state, c, &desc, err);
  if (status != MQ_OK) {
    return status;
  }
  status = engine_new_output(&y, c, node, 0, stride, err);
  if (status != MQ_OK) {
    release_conv(state);
    return status;
  }
  return emit_product(c, state, x, w, bias, y, err);
}

mq_status engine_train_gemm(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int x, w, bias;
  float alpha, beta;
  int64_t is_a_transposed, is_b_transposed;
  mq_status status = mq_node_get_float(&alpha, node, "alpha", 1, err);
  if (status == MQ_OK) {
    status = mq_node_get_float(&beta, node, "beta", 1, err);
  }
  if (status == MQ_OK) {
    status = mq_node_get_int(&is_a_transposed, node, "transA", 0, err);
  }
  if (status == MQ_OK) {
    status = mq_node_get_int(&is_b_transposed, node, "transB", 0, err);
  }
  if (status == MQ_OK) {
    status = read_operands(&x, &w, &bias, c, node, ENGINE_ROW_MAJOR, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  int64_t n = node->outputs[0]->shape.dim[1];
  bool has_row = bias < 0 || mq_shape_count(&engine_tensor(c, bias)->shape) == n;
  if (alpha != 1.0f || beta != 1.0f || is_a_transposed || !has_row) {
    return engine_fail_unsupported(node, err,
                                   "training takes alpha 1, beta 1, transA 0 and a bias of one row only");
  }
  status = read_linear_weights(&w, c, w, is_b_transposed != 0, err);
  return status == MQ_OK ? emit_linear(c, node, x, w, bias, err) : status;
}

/* x W with W a parameter; anything else is the general product (op_gemm.c). */
mq_status engine_train_matmul(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int x, w;
  mq_status status = engine_read_float(&x, c, node, 0, ENGINE_ROW_MAJOR, err);
  if (status == MQ_OK) {
    status = engine_read_float(&w, c, node, 1, ENGINE_ROW_MAJOR, err);
  }
  if (status == MQ_OK &&
      (c->engine->places[w].scope == ENGINE_SLICE || engine_tensor(c, w)->shape.rank != 2)) {
    return engine_fail_unsupported(node, err, "training takes products with a matrix of parameters only");
  }
  if (status == MQ_OK) {
    status = read_linear_weights(&w, c, w, false, err);
  }
  return status == MQ_OK ? emit_linear(c, node, x, w, -1, err) : status;
}
