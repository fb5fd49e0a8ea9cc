/* FakeQuantize and Cast: other values or other types of the same elements. */
#include <math.h>
#include <string.h>

#include "engine/train/training.h"

/* ---- FakeQuantize ------------------------------------------------------------------------------- */
static mq_status forward_fake_quantize(const struct engine_step *step, struct engine_frame *frame,
                                       struct mq_err *err) {
  (void)err;
  const struct mq_qparams *q = step->state;
  const struct mq_fake_quant fq = {.scale = q->scale[0],
                                   .zero_point = (float)q->zero_point[0],
                                   .quant_min = (float)q->quant_min,
                                   .quant_max = (float)q->quant_max};
  const struct mq_tensor *x = engine_input(step, frame, 0);
  mq_loop_fake_quantize(engine_output(step, frame, 0)->data, x->data, mq_shape_count(&x->shape), &fq);
  return MQ_OK;
}

static const struct engine_function fake_quantize_function = {.forward = forward_fake_quantize};

static mq_status forward_fake_quantize_channels(const struct engine_step *step, struct engine_frame *frame,
                                                struct mq_err *err) {
  (void)err;
  mq_fake_quantize(engine_output(step, frame, 0), engine_input(step, frame, 0), step->state);
  return MQ_OK;
}

static const struct engine_function fake_quantize_channels_function = {.forward =
                                                                           forward_fake_quantize_channels};

/* Constants are quantized once, here. */
static mq_status quantize_constant(struct engine_compiler *c, const struct mq_node *node,
                                   const struct mq_tensor *x, const struct mq_point *point,
                                   struct mq_err *err) {
  void *block;
  int place;
  mq_status status = engine_alloc(&block, c, (size_t)mq_shape_count(&x->shape) + 1, sizeof(float), err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_tensor y = mq_tensor_view(block, MQ_F32, &x->shape, NULL);
  mq_fake_quantize(&y, x, &point->qparams);
  status = engine_new_constant(&place, c, &y, err);
  if (status == MQ_OK) {
    engine_bind(c, node->outputs[0], place);
  }
  return status;
}

/* The point's numbers, copied: the engine does not read points after its creation. */
static mq_status copy_qparams(const struct mq_qparams **copy_out, struct engine_compiler *c,
                              const struct mq_qparams *q, struct mq_err *err) {
  void *block, *numbers;
  size_t n = (size_t)q->n_channels;
  mq_status status = engine_alloc(&block, c, 1, sizeof *q, err);
  if (status == MQ_OK) {
    status = engine_alloc(&numbers, c, n, sizeof(float) + sizeof(int32_t), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_qparams *copy = block;
  *copy = *q;
  copy->scale = numbers;
  copy->zero_point = (int32_t *)(void *)(copy->scale + n);
  memcpy(copy->scale, q->scale, n * sizeof *q->scale);
  memcpy(copy->zero_point, q->zero_point, n * sizeof *q->zero_point);
  *copy_out = copy;
  return MQ_OK;
}

/* ---- Activations of a method whose values lie on no uniform grid: its own forward, in evaluation ---- */
struct quantizer_state {
  const struct mq_quantizer_ops *ops;
  struct mq_quantizer_config config;
  double *form;
};

static mq_status forward_by_quantizer(const struct engine_step *step, struct engine_frame *frame,
                                      struct mq_err *err) {
  (void)err;
  const struct quantizer_state *s = step->state;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  s->ops->forward(engine_output(step, frame, 0)->data, NULL, &s->config, s->form, x->data, 1,
                  mq_shape_count(&x->shape));
  return MQ_OK;
}

static const struct engine_function quantizer_function = {.forward = forward_by_quantizer};

static mq_status compile_quantizer(struct engine_compiler *c, const struct mq_node *node,
                                   const struct mq_point *point, int x, struct mq_err *err) {
  const struct mq_quantizer_ops *ops = point->quantizer;
  void *block, *form;
  int y;
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct quantizer_state), err);
  if (status == MQ_OK) {
    status = engine_alloc(&form, c, ops->form_count(&point->quantizer_config) + 1, sizeof(double), err);
  }
  if (status == MQ_OK) {
    status = engine_like(&y, c, x, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct quantizer_state *state = block;
  *state = (struct quantizer_state){.ops = ops, .config = point->quantizer_config, .form = form};
  ops->derive(state->form, &state->config, point->parameters, NULL, NULL);
  engine_bind(c, node->outputs[0], y);
  return engine_emit_simple(c, &quantizer_function, state, &x, 1, y, err);
}

/* Weights are on their grid or its equivalent already once they are frozen. */
static bool has_quantizer(const struct mq_point *point) {
  return point->quantizer && point->parameters && !point->quantizer_config.is_weight;
}

static mq_status compile_fake_quantize(struct engine_compiler *c, const struct mq_node *node,
                                       struct mq_err *err) {
  const struct mq_point *point;
  const struct mq_qparams *q;
  int x, y;
  mq_status status = engine_fake_quantize_point(&point, c, node, err);
  if (status == MQ_OK) {
    status = engine_read_float(&x, c, node, 0, point ? ENGINE_DENSE : ENGINE_ANY, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  if (!point) {
    engine_bind(c, node->outputs[0], x);
    return MQ_OK;
  }
  if (has_quantizer(point)) {
    return compile_quantizer(c, node, point, x, err);
  }
  const struct mq_tensor *constant = engine_constant(c, node->inputs[0]);
  if (constant) {
    return quantize_constant(c, node, constant, point, err);
  }
  status = copy_qparams(&q, c, &point->qparams, err);
  if (status == MQ_OK) {
    status = engine_like(&y, c, x, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  engine_bind(c, node->outputs[0], y);
  return engine_emit_simple(
      c, q->n_channels == 1 ? &fake_quantize_function : &fake_quantize_channels_function, q, &x, 1, y, err);
}

const struct engine_op engine_op_FakeQuantize = {.compile = compile_fake_quantize,
                                                 .function = &fake_quantize_function,
                                                 .train = engine_train_fake_quantize};

/* ---- Cast: toward zero from floats to integers, x != 0 to bool ---------------------------------- */
static mq_status forward_cast(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  (void)err;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  struct mq_tensor *y = engine_output(step, frame, 0);
  if (y->dtype == MQ_F32 || (!mq_dtype_get(x->dtype)->is_float && y->dtype != MQ_BOOL)) {
    mq_tensor_copy(y, x);
    return MQ_OK;
  }
  const struct mq_shape scalar = {.rank = 0};
  int64_t n = mq_shape_count(&x->shape), bytes = mq_dtype_get(y->dtype)->bytes;
  for (int64_t i = 0; i < n; i++) {
    double d = mq_tensor_get_double(x, i);
    d = y->dtype == MQ_BOOL ? (double)(d != 0) : trunc(d);
    struct mq_tensor from = mq_tensor_view(&d, MQ_F64, &scalar, NULL);
    struct mq_tensor to = mq_tensor_view((char *)y->data + i * bytes, y->dtype, &scalar, NULL);
    mq_tensor_copy(&to, &from);
  }
  return MQ_OK;
}

static const struct engine_function cast_function = {.forward = forward_cast};

static mq_status compile_cast(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int x, y;
  int64_t stride[MQ_MAX_RANK];
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  mq_stride_row_major(stride, &shape);
  mq_status status = engine_read(&x, c, node->inputs[0], ENGINE_ANY, err);
  if (status == MQ_OK && node->inputs[0]->dtype == node->outputs[0]->dtype) {
    engine_bind(c, node->outputs[0], x);
    return MQ_OK;
  }
  if (status == MQ_OK) {
    status = engine_new_output(&y, c, node, 0, stride, err);
  }
  return status == MQ_OK ? engine_emit_simple(c, &cast_function, NULL, &x, 1, y, err) : status;
}

const struct engine_op engine_op_Cast = {.compile = compile_cast, .function = &cast_function};

/* ---- Foreign: of files --------------------------------------------------------------------------- */
static mq_status refuse_foreign(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  (void)c;
  return engine_fail_unsupported(node, err, "only in files");
}

const struct engine_op engine_op_Foreign = {.compile = refuse_foreign};
