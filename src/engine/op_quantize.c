/* FakeQuantize, QuantizeLinear, DequantizeLinear, Cast: other values or other types of the same elements. */
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

/* ---- QuantizeLinear, DequantizeLinear ----------------------------------------------------------- */
/* inputs: x, scale, zero point (maybe). Scale and zero point: one element, or one per index of the axis. */
struct linear_state {
  int axis;
  int32_t quant_min, quant_max;
};

typedef void (*linear_fn)(void *y, mq_dtype y_dtype, const void *x, mq_dtype x_dtype, float scale,
                          int32_t zero_point, const struct linear_state *s);

static void store_int(void *y, mq_dtype dtype, int32_t q) {
  const struct mq_shape scalar = {.rank = 0};
  struct mq_tensor to = mq_tensor_view(y, dtype, &scalar, NULL);
  struct mq_tensor from = mq_tensor_view(&q, MQ_I32, &scalar, NULL);
  mq_tensor_copy(&to, &from);
}

static double load(const void *x, mq_dtype dtype) {
  const struct mq_shape scalar = {.rank = 0};
  struct mq_tensor from = mq_tensor_view((void *)(uintptr_t)x, dtype, &scalar, NULL);
  return mq_tensor_get_double(&from, 0);
}

static void quantize_element(void *y, mq_dtype y_dtype, const void *x, mq_dtype x_dtype, float scale,
                             int32_t zero_point, const struct linear_state *s) {
  int32_t q = mq_quantize_value((float)load(x, x_dtype), scale, zero_point, s->quant_min, s->quant_max);
  if (y_dtype == MQ_U8) {
    *(uint8_t *)y = (uint8_t)q;
  } else if (y_dtype == MQ_I8) {
    *(int8_t *)y = (int8_t)q;
  } else {
    store_int(y, y_dtype, q);
  }
}

static void dequantize_element(void *y, mq_dtype y_dtype, const void *x, mq_dtype x_dtype, float scale,
                               int32_t zero_point, const struct linear_state *s) {
  (void)y_dtype;
  (void)s;
  int64_t q;
  if (x_dtype == MQ_U8) {
    q = *(const uint8_t *)x;
  } else if (x_dtype == MQ_I8) {
    q = *(const int8_t *)x;
  } else {
    q = (int64_t)load(x, x_dtype);
  }
  *(float *)y = (float)(q - zero_point) * scale;
}

/* What an element needs, by index of the axis (or 0). */
static float scale_at(const struct engine_step *step, struct engine_frame *frame, int64_t channel) {
  return (float)mq_tensor_get_double(engine_input(step, frame, 1), channel);
}

static int32_t zero_point_at(const struct engine_step *step, struct engine_frame *frame, int64_t channel) {
  return step->n_inputs > 2 ? (int32_t)mq_tensor_get_int(engine_input(step, frame, 2), channel) : 0;
}

/* The elements of one index along the axis (or all of them); x and y lie alike. */
static void convert_part(const struct mq_tensor *y, const struct mq_tensor *x, linear_fn function,
                         float scale, int32_t zero_point, const struct linear_state *s) {
  int64_t n = mq_shape_count(&x->shape), position[MQ_MAX_RANK] = {0};
  int64_t x_bytes = mq_dtype_get(x->dtype)->bytes, y_bytes = mq_dtype_get(y->dtype)->bytes;
  bool is_dense = engine_is_dense(x);
  for (int64_t i = 0; i < n; i++) {
    int64_t offset = is_dense ? i : 0;
    for (int d = 0; d < x->shape.rank && !is_dense; d++) {
      offset += position[d] * x->stride[d];
    }
    function((char *)y->data + offset * y_bytes, y->dtype, (const char *)x->data + offset * x_bytes, x->dtype,
             scale, zero_point, s);
    for (int d = x->shape.rank - 1; d >= 0 && !is_dense && ++position[d] == x->shape.dim[d]; d--) {
      position[d] = 0;
    }
  }
}

static void for_each_element(const struct engine_step *step, struct engine_frame *frame, linear_fn function) {
  const struct linear_state *s = step->state;
  const struct mq_tensor *x = engine_input(step, frame, 0), *y = engine_output(step, frame, 0);
  int64_t n = mq_shape_count(&engine_input(step, frame, 1)->shape);
  if (n == 1) {
    convert_part(y, x, function, scale_at(step, frame, 0), zero_point_at(step, frame, 0), s);
    return;
  }
  for (int64_t c = 0; c < n && mq_shape_count(&x->shape) > 0; c++) {
    struct mq_tensor part_x = *x, part_y = *y;
    part_x.shape.dim[s->axis] = part_y.shape.dim[s->axis] = 1;
    part_x.data = (char *)x->data + c * x->stride[s->axis] * mq_dtype_get(x->dtype)->bytes;
    part_y.data = (char *)y->data + c * y->stride[s->axis] * mq_dtype_get(y->dtype)->bytes;
    convert_part(&part_y, &part_x, function, scale_at(step, frame, c), zero_point_at(step, frame, c), s);
  }
}

static mq_status forward_quantize(const struct engine_step *step, struct engine_frame *frame,
                                  struct mq_err *err) {
  (void)err;
  for_each_element(step, frame, quantize_element);
  return MQ_OK;
}

static const struct engine_function quantize_function = {.forward = forward_quantize};

static mq_status forward_dequantize(const struct engine_step *step, struct engine_frame *frame,
                                    struct mq_err *err) {
  (void)err;
  for_each_element(step, frame, dequantize_element);
  return MQ_OK;
}

static const struct engine_function dequantize_function = {.forward = forward_dequantize};

static mq_status set_bounds(struct linear_state *state, const struct mq_node *node, struct mq_err *err) {
  switch (node->outputs[0]->dtype) {
    case MQ_U8:
      state->quant_max = UINT8_MAX;
      return MQ_OK;
    case MQ_I8:
      state->quant_min = INT8_MIN;
      state->quant_max = INT8_MAX;
      return MQ_OK;
    case MQ_U16:
      state->quant_max = UINT16_MAX;
      return MQ_OK;
    case MQ_I16:
      state->quant_min = INT16_MIN;
      state->quant_max = INT16_MAX;
      return MQ_OK;
    default:
      return engine_fail_unsupported(node, err, "output is %s, expected an integer of 8 or 16 bits",
                                     mq_dtype_get(node->outputs[0]->dtype)->name);
  }
}

/* One scale and zero point, or one for every index of the axis (-1: one). */
static mq_status check_counts(const struct engine_compiler *c, const struct mq_node *node, int axis,
                              struct mq_err *err) {
  struct mq_shape shape = engine_shape(c, node->inputs[0]);
  int64_t expected = axis < 0 ? 1 : shape.dim[axis];
  for (int i = 1; i < node->n_inputs; i++) {
    int64_t found = node->inputs[i] ? mq_shape_count(&node->inputs[i]->shape) : expected;
    if (found != expected) {
      return engine_fail_unsupported(node, err, "%s has %lld elements, expected %lld",
                                     i == 1 ? "scale" : "zero point", (long long)found, (long long)expected);
    }
  }
  return MQ_OK;
}

static mq_status compile_linear(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  void *block;
  int inputs[3], n_inputs = node->n_inputs > 2 && node->inputs[2] ? 3 : 2, y;
  int rank = node->inputs[0]->shape.rank;
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct linear_state), err);
  if (status != MQ_OK) {
    return status;
  }
  struct linear_state *state = block;
  bool is_per_channel = mq_shape_count(&node->inputs[1]->shape) > 1;
  if (is_per_channel) {
    status = mq_node_get_axis(&state->axis, node, 1, rank, err);
  }
  if (status == MQ_OK) {
    status = check_counts(c, node, is_per_channel ? state->axis : -1, err);
  }
  if (status == MQ_OK && node->op == MQ_OP_QuantizeLinear) {
    status = set_bounds(state, node, err);
  }
  for (int i = 0; i < n_inputs && status == MQ_OK; i++) {
    status = engine_read(&inputs[i], c, node->inputs[i], i == 0 ? ENGINE_DENSE : ENGINE_ANY, err);
  }
  if (status == MQ_OK) {
    struct mq_tensor like = *engine_tensor(c, inputs[0]);
    status = engine_new_output(&y, c, node, 0, like.stride, err);
  }
  return status == MQ_OK
             ? engine_emit_simple(c, engine_op_get(node->op)->function, state, inputs, n_inputs, y, err)
             : status;
}

const struct engine_op engine_op_QuantizeLinear = {.compile = compile_linear, .function = &quantize_function};
const struct engine_op engine_op_DequantizeLinear = {.compile = compile_linear,
                                                     .function = &dequantize_function};

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
