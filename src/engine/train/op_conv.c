/* Conv, ConvTranspose, Gemm and linear MatMul with weights that change. The weights are packed once per step
 * in the scope they belong to; slices read them packed, and their gradient comes back packed. */
#include <assert.h>
#include <string.h>

#include "engine/train/conv.h"

/* ---- Packing: inputs {w[, codes of w, their grid]}, outputs {packed forward, packed backward} ------- */
static mq_status pack_codes(const struct engine_step *step, struct engine_frame *frame, struct mq_err *err) {
  const struct engine_conv *s = step->state;
  const double *zeros = (const double *)engine_input(step, frame, 2)->data + s->n_scales;
  int32_t *zero_point = frame->scratch;
  for (int64_t c = 0; c < s->n_channels; c++) {
    zero_point[c] = (int32_t)zeros[s->n_scales > 1 ? c : 0];
  }
  char *rest = (char *)frame->scratch + s->zero_bytes;
  return mq_conv_int_pack(s->integer, engine_output(step, frame, 0)->data, engine_input(step, frame, 1)->data,
                          s->has_weight_zero_point ? zero_point : NULL, rest, err);
}

static mq_status forward_pack(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  const struct engine_conv *s = step->state;
  mq_status status = s->integer ? pack_codes(step, frame, err) : MQ_OK;
  if (status != MQ_OK) {
    return status;
  }
  return mq_conv_train_pack(s->conv, s->integer ? NULL : engine_output(step, frame, 0)->data,
                            engine_output(step, frame, 1)->data, engine_input(step, frame, 0)->data,
                            frame->scratch, err);
}

static mq_status backward_pack(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  const struct engine_conv *s = step->state;
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
  const struct engine_conv *s = step->state;
  const float *bias = step->n_inputs > CONV_BIAS ? engine_input(step, frame, CONV_BIAS)->data : NULL;
  return mq_conv_train_forward(s->conv, engine_output(step, frame, 0)->data,
                               engine_input(step, frame, CONV_X)->data,
                               engine_input(step, frame, CONV_FORWARD)->data, bias, frame->scratch, err);
}

void engine_conv_backward_bias(const struct engine_conv *s, float *db, bool adds, const float *g,
                               struct engine_frame *frame) {
  double *sums = frame->scratch;
  mq_loop_channel_products(sums, NULL, g, NULL, s->n_rows, s->n_channels);
  for (int64_t c = 0; c < s->n_channels; c++) {
    db[c] = (adds ? db[c] : 0) + (float)sums[c];
  }
}

static mq_status backward_conv(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  const struct engine_conv *s = step->state;
  const float *g = engine_output_gradient(step, frame, 0)->data;
  float *dx = engine_input_gradient(step, frame, CONV_X)->data;
  float *dw = engine_input_gradient(step, frame, CONV_FORWARD)->data;
  if (step->n_inputs > CONV_BIAS && engine_input_gradient(step, frame, CONV_BIAS)->data) {
    engine_conv_backward_bias(s, engine_input_gradient(step, frame, CONV_BIAS)->data, step->adds[CONV_BIAS],
                              g, frame);
  }
  const struct mq_conv_backward backward = {.packed_gradient = dw,
                                            .x = engine_input(step, frame, CONV_X)->data,
                                            .dx = dx,
                                            .adds = step->adds[CONV_X],
                                            .packed_backward = engine_input(step, frame, CONV_BACKWARD)->data,
                                            .dy = g};
  return mq_conv_train_backward(s->conv, &backward, frame->scratch, err);
}

static const struct engine_function conv_function = {
    .forward = forward_conv, .backward = backward_conv, .keeps_inputs = true, .ignores = 1u << CONV_BACKWARD};

void engine_conv_release(void *state) {
  struct engine_conv *s = state;
  mq_conv_train_destroy(s->conv);
  mq_conv_int_destroy(s->integer);
  s->conv = NULL;
  s->integer = NULL;
}

/* ---- Compilation -------------------------------------------------------------------------------- */
static mq_status new_packed(int *place, struct engine_compiler *c, size_t bytes, struct mq_err *err) {
  const struct mq_shape shape = {.rank = 1, .dim = {(int64_t)bytes}};
  return engine_new_place(place, c, MQ_U8, &shape, NULL, err);
}

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

/* Emits the packing of the weights in the scope they belong to. */
static mq_status emit_pack(int packed[2], struct engine_compiler *c, const struct engine_conv *s,
                           const struct engine_operands *o, struct mq_err *err) {
  engine_scope scope = c->scope;
  c->scope = c->engine->places[o->w].scope;
  int inputs[3] = {o->w};
  size_t forward_bytes = s->sizes.packed_forward_bytes, scratch_bytes = s->sizes.pack_scratch_bytes;
  if (s->integer) {
    inputs[1] = o->w_codes->codes;
    inputs[2] = o->w_codes->grid;
    forward_bytes = mq_conv_int_packed_bytes(s->integer);
    scratch_bytes = larger(scratch_bytes, s->zero_bytes + mq_conv_int_scratch_bytes(s->integer));
  }
  mq_status status = new_packed(&packed[0], c, forward_bytes, err);
  if (status == MQ_OK) {
    status = engine_set_gradient(c, packed[0], MQ_F32, (int64_t)s->sizes.gradient_count, err);
  }
  if (status == MQ_OK) {
    status = new_packed(&packed[1], c, s->sizes.packed_backward_bytes, err);
  }
  if (status == MQ_OK) {
    struct engine_step step = {.function = &pack_function,
                               .state = s,
                               .inputs = inputs,
                               .n_inputs = s->integer ? 3 : 1,
                               .outputs = packed,
                               .n_outputs = 2,
                               .scratch_bytes = scratch_bytes};
    status = engine_emit(c, &step, err);
  }
  c->scope = scope;
  return status;
}

/* Codes are read where floats are not to be had, or where the product is on integers. */
static bool reads_codes(const struct engine_conv *s, const struct engine_operands *o) {
  return o->x < 0 || s->integer;
}

static mq_status emit_product(struct engine_compiler *c, struct engine_conv *s,
                              const struct engine_operands *o, int y, struct mq_err *err) {
  int packed[2];
  mq_status status = emit_pack(packed, c, s, o, err);
  if (status != MQ_OK) {
    engine_conv_release(s);
    return status;
  }
  bool is_coded = reads_codes(s, o);
  int plain[4] = {o->x, packed[0], packed[1], o->bias};
  int coded[6] = {0, 0, packed[0], packed[1], 0, o->bias};
  if (is_coded) {
    coded[CODES_X] = o->x_codes->codes;
    coded[CODES_X_GRID] = o->x_codes->grid;
    coded[CODES_W_GRID] = s->integer ? o->w_codes->grid : o->x_codes->grid;
  }
  size_t run_bytes = is_coded ? engine_conv_codes_scratch_bytes(s) : s->sizes.run_scratch_bytes;
  struct engine_step step = {.function = is_coded ? &engine_conv_codes_function : &conv_function,
                             .state = s,
                             .release = engine_conv_release,
                             .inputs = is_coded ? coded : plain,
                             .n_inputs = (is_coded ? CODES_BIAS : CONV_BIAS) + (o->bias >= 0),
                             .outputs = &y,
                             .n_outputs = 1,
                             .scratch_bytes = larger(run_bytes, (size_t)s->n_channels * sizeof(double))};
  return engine_emit(c, &step, err);
}

static mq_status create_state(struct engine_conv **state, struct engine_compiler *c,
                              const struct mq_conv_train_desc *desc, const struct engine_operands *operands,
                              struct mq_err *err) {
  void *block;
  mq_status status = engine_alloc(&block, c, 1, sizeof **state, err);
  if (status != MQ_OK) {
    return status;
  }
  struct engine_conv *s = block;
  *state = s;
  status = mq_conv_train_create(&s->conv, desc, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_shape shape = mq_conv_train_output_shape(s->conv);
  s->sizes = mq_conv_train_get_sizes(s->conv);
  s->n_channels = shape.dim[1];
  s->n_rows = shape.dim[0] * shape.dim[2] * shape.dim[3];
  status = engine_conv_add_integer(s, desc, operands, err);
  if (status != MQ_OK) {
    engine_conv_release(s);
  }
  return status;
}

static struct mq_shape with_height(const struct mq_shape *shape) {
  if (shape->rank == 4) {
    return *shape;
  }
  return (struct mq_shape){.rank = 4, .dim = {shape->dim[0], shape->dim[1], 1, shape->dim[2]}};
}

/* x as codes, floats or both. */
static mq_status read_input(struct engine_operands *o, struct engine_compiler *c, const struct mq_node *node,
                            engine_layout layout, struct mq_err *err) {
  const struct engine_codes *codes = engine_codes_of(c, node->inputs[0]);
  bool is_arranged = codes && engine_lies_as(engine_tensor(c, codes->codes), layout);
  o->x_codes = is_arranged ? codes : NULL;
  o->x = -1;
  if (codes && c->place_of[node->inputs[0]->index] == codes->codes) {
    assert(is_arranged && "who makes codes only asked for the layout");
    return MQ_OK;
  }
  mq_status status = engine_read_float(&o->x, c, node, 0, layout, err);
  if (status == MQ_OK && !o->x_codes && o->w_codes) {
    status = engine_recode(&o->x_codes, c, node->inputs[0], o->x, err);
  }
  return status;
}

static mq_status read_operands(struct engine_operands *o, struct engine_compiler *c,
                               const struct mq_node *node, engine_layout layout, struct mq_err *err) {
  *o = (struct engine_operands){.bias = -1, .w_codes = engine_codes_of(c, node->inputs[1])};
  mq_status status = read_input(o, c, node, layout, err);
  if (status == MQ_OK) {
    status = engine_read_float(&o->w, c, node, 1, ENGINE_ANY, err);
  }
  if (status == MQ_OK && node->n_inputs > 2 && node->inputs[2]) {
    status = engine_read_float(&o->bias, c, node, 2, ENGINE_ROW_MAJOR, err);
  }
  return status;
}

static struct mq_shape input_shape(const struct engine_compiler *c, const struct engine_operands *o) {
  return engine_tensor(c, o->x >= 0 ? o->x : o->x_codes->codes)->shape;
}

/* Row-major O x I.. in the scope they belong to; those of a linear layer may come as I x O. */
static mq_status arrange_weights(int *w, struct engine_compiler *c, bool is_row_output, struct mq_err *err) {
  engine_scope scope = c->scope;
  c->scope = c->engine->places[*w].scope;
  struct mq_tensor from = *engine_tensor(c, *w), view = from;
  mq_status status = MQ_OK;
  for (int i = 0; i < 2 && !is_row_output; i++) {
    view.shape.dim[i] = from.shape.dim[1 - i];
    view.stride[i] = from.stride[1 - i];
  }
  if (!is_row_output) {
    status = engine_new_view(w, c, *w, &view, 0, err);
  }
  if (status == MQ_OK) {
    status = engine_arrange(w, c, *w, ENGINE_ROW_MAJOR, err);
  }
  c->scope = scope;
  return status;
}

mq_status engine_train_conv(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int y;
  struct engine_operands operands;
  struct mq_window window;
  struct engine_conv *state;
  mq_status status = mq_node_get_window(&window, node, err);
  if (status == MQ_OK) {
    status = read_operands(&operands, c, node, ENGINE_CHANNELS_LAST, err);
  }
  if (status == MQ_OK) {
    status = arrange_weights(&operands.w, c, true, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_shape input = input_shape(c, &operands);
  struct mq_conv_train_desc desc = {.input = with_height(&input),
                                    .weights = with_height(&engine_tensor(c, operands.w)->shape),
                                    .groups = window.groups,
                                    .is_transposed = node->op == MQ_OP_ConvTranspose,
                                    .backward = c->training->backward};
  memcpy(desc.stride, window.stride, sizeof desc.stride);
  memcpy(desc.dilation, window.dilation, sizeof desc.dilation);
  memcpy(desc.pad_begin, window.pad_begin, sizeof desc.pad_begin);
  memcpy(desc.pad_end, window.pad_end, sizeof desc.pad_end);
  memcpy(desc.output_pad, window.output_pad, sizeof desc.output_pad);
  status = create_state(&state, c, &desc, &operands, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  int64_t stride[MQ_MAX_RANK];
  mq_stride_channels_last(stride, &shape);
  status = engine_new_output(&y, c, node, 0, stride, err);
  if (status != MQ_OK) {
    engine_conv_release(state);
    return status;
  }
  return emit_product(c, state, &operands, y, err);
}

/* ---- Gemm: a convolution of images of one pixel --------------------------------------------------- */
static mq_status emit_linear(struct engine_compiler *c, const struct mq_node *node,
                             const struct engine_operands *operands, struct mq_err *err) {
  const struct mq_shape in = input_shape(c, operands), weights = engine_tensor(c, operands->w)->shape;
  int64_t k = in.dim[in.rank - 1], m = k ? mq_shape_count(&in) / k : 0;
  struct mq_conv_train_desc desc = {.input = {.rank = 4, .dim = {m, k, 1, 1}},
                                    .weights = {.rank = 4, .dim = {weights.dim[0], weights.dim[1], 1, 1}},
                                    .stride = {1, 1},
                                    .dilation = {1, 1},
                                    .groups = 1,
                                    .backward = c->training->backward};
  struct engine_conv *state;
  int y;
  int64_t stride[MQ_MAX_RANK];
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  mq_stride_row_major(stride, &shape);
  mq_status status = create_state(&state, c, &desc, operands, err);
  if (status != MQ_OK) {
    return status;
  }
  status = engine_new_output(&y, c, node, 0, stride, err);
  if (status != MQ_OK) {
    engine_conv_release(state);
    return status;
  }
  return emit_product(c, state, operands, y, err);
}

mq_status engine_train_gemm(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  struct engine_operands operands;
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
    status = read_operands(&operands, c, node, ENGINE_ROW_MAJOR, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  int64_t n = node->outputs[0]->shape.dim[1];
  int bias = operands.bias;
  bool has_row = bias < 0 || mq_shape_count(&engine_tensor(c, bias)->shape) == n;
  if (alpha != 1.0f || beta != 1.0f || is_a_transposed || !has_row) {
    return engine_fail_unsupported(node, err,
                                   "training takes alpha 1, beta 1, transA 0 and a bias of one row only");
  }
  status = arrange_weights(&operands.w, c, is_b_transposed != 0, err);
  return status == MQ_OK ? emit_linear(c, node, &operands, err) : status;
}

/* x W with W a parameter; anything else is the general product (op_gemm.c). */
mq_status engine_train_matmul(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  struct engine_operands o;
  mq_status status = read_operands(&o, c, node, ENGINE_ROW_MAJOR, err);
  if (status == MQ_OK &&
      (c->engine->places[o.w].scope == ENGINE_SLICE || engine_tensor(c, o.w)->shape.rank != 2)) {
    return engine_fail_unsupported(node, err, "training takes products with a matrix of parameters only");
  }
  if (status == MQ_OK) {
    status = arrange_weights(&o.w, c, false, err);
  }
  return status == MQ_OK ? emit_linear(c, node, &o, err) : status;
}
