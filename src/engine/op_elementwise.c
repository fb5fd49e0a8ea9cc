/* Functions of one or two tensors, element by element; the result lies as its operand does. */
#include <math.h>

#include "engine/compile.h"

static mq_status compile_in_place(struct engine_compiler *c, const struct mq_node *node, const void *state,
                                  struct mq_err *err) {
  int x, y;
  mq_status status = engine_read_float(&x, c, node, 0, ENGINE_DENSE, err);
  if (status == MQ_OK) {
    status = engine_like(&y, c, x, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  engine_bind(c, node->outputs[0], y);
  return engine_emit_simple(c, engine_op_get(node->op)->function, state, &x, 1, y, err);
}

/* ---- Relu, Clip --------------------------------------------------------------------------------- */
struct clip_state {
  float lo, hi;
};

static mq_status forward_clip(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  (void)err;
  const struct clip_state *clip = step->state;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  mq_loop_clip(engine_output(step, frame, 0)->data, x->data, mq_shape_count(&x->shape), clip->lo, clip->hi);
  return MQ_OK;
}

static mq_status backward_clip(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct clip_state *clip = step->state;
  const struct mq_tensor *y = engine_output(step, frame, 0);
  mq_loop_clip_backward(engine_input_gradient(step, frame, 0)->data, step->adds[0],
                        engine_output_gradient(step, frame, 0)->data, y->data, mq_shape_count(&y->shape),
                        clip->lo, clip->hi);
  return MQ_OK;
}

static const struct engine_function clip_function = {
    .forward = forward_clip, .backward = backward_clip, .keeps_outputs = true};

/* Integers of a quantized tensor: bounds are whole numbers within the type. */
static mq_status forward_clip_integers(const struct engine_step *step, struct engine_frame *frame,
                                       struct mq_err *err) {
  (void)err;
  const struct clip_state *clip = step->state;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  void *y = engine_output(step, frame, 0)->data;
  const int64_t n = mq_shape_count(&x->shape);
  const bool is_signed = x->dtype == MQ_I8;
  const float least = is_signed ? INT8_MIN : 0, greatest = is_signed ? INT8_MAX : UINT8_MAX;
  const int lo = (int)fmaxf(clip->lo, least), hi = (int)fminf(clip->hi, greatest);
  for (int64_t i = 0; i < n; i++) {
    int q = is_signed ? ((const int8_t *)x->data)[i] : ((const uint8_t *)x->data)[i];
    ((uint8_t *)y)[i] = (uint8_t)(q < lo ? lo : q > hi ? hi : q);
  }
  return MQ_OK;
}

static const struct engine_function clip_integers_function = {.forward = forward_clip_integers};

static mq_status compile_clip_integers(struct engine_compiler *c, const struct mq_node *node,
                                       const struct clip_state *clip, struct mq_err *err) {
  int x, y;
  mq_status status = engine_read(&x, c, node->inputs[0], ENGINE_DENSE, err);
  if (status == MQ_OK) {
    status = engine_like(&y, c, x, err);
  }
  if (status == MQ_OK) {
    engine_bind(c, node->outputs[0], y);
    status = engine_emit_simple(c, &clip_integers_function, clip, &x, 1, y, err);
  }
  return status;
}

static mq_status compile_clip(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  void *state;
  mq_status status = engine_alloc(&state, c, 1, sizeof(struct clip_state), err);
  struct clip_state *clip = state;
  if (status == MQ_OK) {
    status = mq_node_get_clip(&clip->lo, &clip->hi, node, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  bool is_integer = node->inputs[0]->dtype == MQ_I8 || node->inputs[0]->dtype == MQ_U8;
  return is_integer ? compile_clip_integers(c, node, clip, err) : compile_in_place(c, node, clip, err);
}

const struct engine_op engine_op_Relu = {.compile = compile_clip, .function = &clip_function};
const struct engine_op engine_op_Clip = {.compile = compile_clip, .function = &clip_function};

/* ---- Sigmoid and its kind ----------------------------------------------------------------------- */
struct unary_state {
  mq_unary unary;
  float alpha, beta;
};

static mq_status forward_unary(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct unary_state *s = step->state;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  mq_loop_unary(engine_output(step, frame, 0)->data, x->data, mq_shape_count(&x->shape), s->unary, s->alpha,
                s->beta);
  return MQ_OK;
}

static mq_status backward_unary(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct unary_state *s = step->state;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  mq_loop_unary_backward(engine_input_gradient(step, frame, 0)->data, step->adds[0],
                         engine_output_gradient(step, frame, 0)->data, x->data, mq_shape_count(&x->shape),
                         s->unary, s->alpha, s->beta);
  return MQ_OK;
}

static const struct engine_function unary_function = {
    .forward = forward_unary, .backward = backward_unary, .keeps_inputs = true};

static mq_status compile_unary(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  static const struct {
    mq_op op;
    struct unary_state fallback;
  } table[] = {
      {MQ_OP_Sigmoid, {MQ_UNARY_SIGMOID, 0, 0}},
      {MQ_OP_HardSigmoid, {MQ_UNARY_HARD_SIGMOID, 0.2f, 0.5f}},
      {MQ_OP_HardSwish, {MQ_UNARY_HARD_SWISH, 0, 0}},
      {MQ_OP_LeakyRelu, {MQ_UNARY_LEAKY_RELU, 0.01f, 0}},
  };
  void *block;
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct unary_state), err);
  if (status != MQ_OK) {
    return status;
  }
  struct unary_state *state = block;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    if (table[i].op == node->op) {
      *state = table[i].fallback;
    }
  }
  status = mq_node_get_float(&state->alpha, node, "alpha", state->alpha, err);
  if (status == MQ_OK) {
    status = mq_node_get_float(&state->beta, node, "beta", state->beta, err);
  }
  return status == MQ_OK ? compile_in_place(c, node, state, err) : status;
}

const struct engine_op engine_op_Sigmoid = {.compile = compile_unary, .function = &unary_function};
const struct engine_op engine_op_HardSigmoid = {.compile = compile_unary, .function = &unary_function};
const struct engine_op engine_op_HardSwish = {.compile = compile_unary, .function = &unary_function};
const struct engine_op engine_op_LeakyRelu = {.compile = compile_unary, .function = &unary_function};

/* ---- Two tensors, broadcast --------------------------------------------------------------------- */
struct binary_state {
  mq_binary binary;
};

static mq_status forward_binary(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct binary_state *s = step->state;
  mq_binary_forward(engine_output(step, frame, 0), engine_input(step, frame, 0), engine_input(step, frame, 1),
                    s->binary);
  return MQ_OK;
}

/* A gradient that is written (not added to) is dense: see the plan. */
static mq_status backward_binary(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  (void)err;
  const struct binary_state *s = step->state;
  for (int i = 0; i < 2; i++) {
    struct mq_tensor *d = engine_input_gradient(step, frame, i);
    if (d->data && !step->adds[i]) {
      engine_zero(d);
    }
    if (d->data) {
      mq_binary_backward(d, engine_output_gradient(step, frame, 0), engine_input(step, frame, 0),
                         engine_input(step, frame, 1), s->binary, i);
    }
  }
  return MQ_OK;
}

static const struct engine_function binary_function = {
    .forward = forward_binary, .backward = backward_binary, .keeps_inputs = true};

/* Operands that lie alike and without gaps are one long run. */
static mq_status forward_add(const struct engine_step *step, struct engine_frame *frame, struct mq_err *err) {
  (void)err;
  const struct mq_tensor *a = engine_input(step, frame, 0);
  mq_loop_add(engine_output(step, frame, 0)->data, a->data, engine_input(step, frame, 1)->data,
              mq_shape_count(&a->shape), -INFINITY, INFINITY);
  return MQ_OK;
}

static mq_status backward_add(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  (void)err;
  for (int i = 0; i < 2; i++) {
    struct mq_tensor *d = engine_input_gradient(step, frame, i);
    if (d->data) {
      engine_pass_gradient(d, engine_output_gradient(step, frame, 0), step->adds[i]);
    }
  }
  return MQ_OK;
}

const struct engine_function engine_add_function = {.forward = forward_add, .backward = backward_add};

static bool lie_alike(const struct mq_tensor *a, const struct mq_tensor *b) {
  bool is_alike = mq_shape_equal(&a->shape, &b->shape) && engine_is_dense(a) && engine_is_dense(b);
  for (int i = 0; i < a->shape.rank && is_alike; i++) {
    is_alike = a->shape.dim[i] == 1 || a->stride[i] == b->stride[i];
  }
  return is_alike;
}

/* The result lies over an operand of its shape where that is free, else like the first such operand. */
static mq_status binary_output(int *y, struct engine_compiler *c, const struct mq_node *node,
                               const int operands[2], struct mq_err *err) {
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  const struct engine_place *places = c->engine->places;
  const struct mq_tensor a = places[operands[0]].tensor, b = places[operands[1]].tensor;
  bool may_overlap = places[operands[0]].buffer != places[operands[1]].buffer;
  const int64_t *stride = NULL;
  for (int i = 0; i < 2; i++) {
    const struct mq_tensor *t = i == 0 ? &a : &b;
    if (!mq_shape_equal(&t->shape, &shape) || !engine_is_dense(t)) {
      continue;
    }
    if (may_overlap && lie_alike(&a, &b) && engine_can_overwrite(c, operands[i])) {
      mq_status status = engine_new_view(y, c, operands[i], t, 0, err);
      engine_bind(c, node->outputs[0], *y);
      return status;
    }
    stride = stride ? stride : t->stride;
  }
  return engine_new_output(y, c, node, 0, stride, err);
}

static mq_status compile_binary(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  static const mq_binary binaries[MQ_OP_COUNT] = {
      [MQ_OP_Add] = MQ_BINARY_ADD, [MQ_OP_Sub] = MQ_BINARY_SUB,     [MQ_OP_Mul] = MQ_BINARY_MUL,
      [MQ_OP_Div] = MQ_BINARY_DIV, [MQ_OP_PRelu] = MQ_BINARY_PRELU,
  };
  int operands[2], y;
  void *block;
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct binary_state), err);
  for (int i = 0; i < 2 && status == MQ_OK; i++) {
    status = engine_read_float(&operands[i], c, node, i, ENGINE_ANY, err);
  }
  if (status == MQ_OK) {
    status = binary_output(&y, c, node, operands, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct binary_state *state = block;
  state->binary = binaries[node->op];
  bool is_run =
      node->op == MQ_OP_Add && lie_alike(engine_tensor(c, operands[0]), engine_tensor(c, operands[1]));
  return engine_emit_simple(c, is_run ? &engine_add_function : &binary_function, state, operands, 2, y, err);
}

const struct engine_op engine_op_Add = {.compile = compile_binary, .function = &binary_function};
const struct engine_op engine_op_Sub = {.compile = compile_binary, .function = &binary_function};
const struct engine_op engine_op_Mul = {.compile = compile_binary, .function = &binary_function};
const struct engine_op engine_op_Div = {.compile = compile_binary, .function = &binary_function};
const struct engine_op engine_op_PRelu = {.compile = compile_binary, .function = &binary_function};
