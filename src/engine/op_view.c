/* Operators that only say anew where values lie: views wherever strides can express it. */
#include <string.h>

#include "engine/compile.h"

/* ---- The same elements in the same order: Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout ---- */
static mq_status compile_reshape(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int x, y;
  struct mq_tensor view;
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  mq_status status = engine_read(&x, c, node->inputs[0], ENGINE_ANY, err);
  if (status != MQ_OK) {
    return status;
  }
  if (mq_shape_count(&engine_tensor(c, x)->shape) != mq_shape_count(&shape)) {
    char from[128], to[128];
    return engine_fail_unsupported(node, err, "reshapes %s to %s at %lld images per slice",
                                   mq_shape_format(from, sizeof from, &engine_tensor(c, x)->shape),
                                   mq_shape_format(to, sizeof to, &shape), (long long)c->images);
  }
  if (!mq_tensor_reshape_view(&view, engine_tensor(c, x), &shape)) {
    status = engine_arrange(&x, c, x, ENGINE_ROW_MAJOR, err);
    if (status != MQ_OK) {
      return status;
    }
    view = mq_tensor_view(NULL, engine_tensor(c, x)->dtype, &shape, NULL);
  }
  status = engine_new_view(&y, c, x, &view, 0, err);
  if (status == MQ_OK) {
    engine_bind(c, node->outputs[0], y);
  }
  return status;
}

const struct engine_op engine_op_Reshape = {.compile = compile_reshape, .function = &engine_copy_function};
const struct engine_op engine_op_Flatten = {.compile = compile_reshape, .function = &engine_copy_function};
const struct engine_op engine_op_Squeeze = {.compile = compile_reshape, .function = &engine_copy_function};
const struct engine_op engine_op_Unsqueeze = {.compile = compile_reshape, .function = &engine_copy_function};

static mq_status compile_identity(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int x;
  mq_status status = engine_read(&x, c, node->inputs[0], ENGINE_ANY, err);
  if (status == MQ_OK) {
    engine_bind(c, node->outputs[0], x);
  }
  return status;
}

const struct engine_op engine_op_Identity = {.compile = compile_identity};

/* In inference everything is kept: the mask, if anybody asks, is all true. */
static mq_status compile_mask(struct engine_compiler *c, const struct mq_value *mask, struct mq_err *err) {
  struct mq_shape shape = engine_shape(c, mask);
  void *block;
  int place;
  size_t n = (size_t)mq_shape_count(&shape);
  mq_status status = engine_alloc(&block, c, n + 1, sizeof(double), err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_tensor tensor = mq_tensor_view(block, mask->dtype, &shape, NULL);
  for (size_t i = 0; i < n; i++) {
    if (mask->dtype == MQ_F32) {
      ((float *)block)[i] = 1.0f;
    } else {
      ((uint8_t *)block)[i] = 1;
    }
  }
  status = engine_new_constant(&place, c, &tensor, err);
  if (status == MQ_OK) {
    engine_bind(c, mask, place);
  }
  return status;
}

static mq_status compile_dropout(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  const struct mq_value *training = node->n_inputs > 2 ? node->inputs[2] : NULL;
  if (training && (!training->constant || mq_tensor_get_int(training->constant, 0) != 0)) {
    return engine_fail_unsupported(node, err, "training_mode is %s, expected false",
                                   training->constant ? "true" : "computed");
  }
  mq_status status = compile_identity(c, node, err);
  const struct mq_value *mask = node->n_outputs > 1 ? node->outputs[1] : NULL;
  if (status == MQ_OK && mask && (mask->n_uses > 0 || mask->is_output)) {
    status = compile_mask(c, mask, err);
  }
  return status;
}

const struct engine_op engine_op_Dropout = {.compile = compile_dropout};

/* ---- Other strides over the same memory: Transpose, Expand, Slice, Split ------------------------ */
static mq_status bind_view(struct engine_compiler *c, const struct mq_value *value, int place,
                           const struct mq_tensor *view, int64_t offset, struct mq_err *err) {
  int y;
  mq_status status = engine_new_view(&y, c, place, view, offset, err);
  if (status == MQ_OK) {
    engine_bind(c, value, y);
  }
  return status;
}

static mq_status compile_transpose(struct engine_compiler *c, const struct mq_node *node,
                                   struct mq_err *err) {
  int x, perm[MQ_MAX_RANK];
  mq_status status = mq_node_get_perm(perm, node, err);
  if (status == MQ_OK) {
    status = engine_read(&x, c, node->inputs[0], ENGINE_ANY, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_tensor from = *engine_tensor(c, x), view = from;
  for (int i = 0; i < from.shape.rank; i++) {
    view.shape.dim[i] = from.shape.dim[perm[i]];
    view.stride[i] = from.stride[perm[i]];
  }
  return bind_view(c, node->outputs[0], x, &view, 0, err);
}

const struct engine_op engine_op_Transpose = {.compile = compile_transpose};

static mq_status compile_expand(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int x;
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  mq_status status = engine_read(&x, c, node->inputs[0], ENGINE_ANY, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_tensor from = *engine_tensor(c, x), view = {.dtype = from.dtype, .shape = shape};
  int lead = shape.rank - from.shape.rank;
  for (int i = 0; i < shape.rank; i++) {
    bool is_repeated = i < lead || (from.shape.dim[i - lead] == 1 && shape.dim[i] != 1);
    view.stride[i] = is_repeated ? 0 : from.stride[i - lead];
  }
  return bind_view(c, node->outputs[0], x, &view, 0, err);
}

const struct engine_op engine_op_Expand = {.compile = compile_expand};

static mq_status compile_slice(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int x;
  struct mq_slicing slicing;
  mq_status status = mq_node_get_slicing(&slicing, node, err);
  if (status == MQ_OK) {
    status = engine_read(&x, c, node->inputs[0], ENGINE_ANY, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_tensor from = *engine_tensor(c, x), view = from;
  int64_t offset = 0;
  view.shape = engine_shape(c, node->outputs[0]);
  bool is_empty = mq_shape_count(&view.shape) == 0;
  for (int i = 0; i < view.shape.rank && !is_empty; i++) {
    offset += slicing.start[i] * from.stride[i];
    view.stride[i] = from.stride[i] * slicing.step[i];
  }
  return bind_view(c, node->outputs[0], x, &view, offset, err);
}

const struct engine_op engine_op_Slice = {.compile = compile_slice};

static mq_status compile_split(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int x, axis;
  const int64_t *parts;
  mq_status status = mq_node_get_split(&axis, &parts, node, err);
  if (status == MQ_OK) {
    status = engine_read(&x, c, node->inputs[0], ENGINE_ANY, err);
  }
  int64_t start = 0;
  for (int i = 0; i < node->n_outputs && status == MQ_OK; i++) {
    if (node->outputs[i]) {
      struct mq_tensor view = *engine_tensor(c, x);
      view.shape = engine_shape(c, node->outputs[i]);
      int64_t offset = mq_shape_count(&view.shape) ? start * view.stride[axis] : 0;
      status = bind_view(c, node->outputs[i], x, &view, offset, err);
    }
    start += parts[i];
  }
  return status;
}

const struct engine_op engine_op_Split = {.compile = compile_split};
