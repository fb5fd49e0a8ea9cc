/* What is known when the graph is compiled, and operators that only occur where it is. */
#include <string.h>

#include "engine/compile.h"

static mq_status bind_constant(struct engine_compiler *c, const struct mq_value *value,
                               const struct mq_tensor *tensor, struct mq_err *err) {
  int place;
  mq_status status = engine_new_constant(&place, c, tensor, err);
  if (status == MQ_OK) {
    engine_bind(c, value, place);
  }
  return status;
}

static mq_status compile_constant(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  const struct mq_tensor *tensor;
  mq_status status = mq_node_get_tensor(&tensor, node, "value", err);
  if (status == MQ_OK && !tensor) {
    return engine_fail_unsupported(node, err, "has no attribute value of kind tensor");
  }
  return status == MQ_OK ? bind_constant(c, node->outputs[0], tensor, err) : status;
}

const struct engine_op engine_op_Constant = {.compile = compile_constant};

/* Left over only where the shape holds the batch. */
static mq_status compile_constant_of_shape(struct engine_compiler *c, const struct mq_node *node,
                                           struct mq_err *err) {
  const struct mq_tensor *fill;
  struct mq_value *value = node->outputs[0];
  struct mq_shape shape = engine_shape(c, value), one = {.rank = 0};
  size_t bytes = mq_dtype_get(value->dtype)->bytes;
  int64_t n;
  void *block;
  mq_status status = mq_node_get_tensor(&fill, node, "value", err);
  if (status == MQ_OK) {
    status = mq_shape_elements(&n, &shape, node->name, err);
  }
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, (size_t)n + 1, bytes, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  for (int64_t i = 0; fill && i < n; i++) {
    struct mq_tensor element = mq_tensor_view((char *)block + (size_t)i * bytes, value->dtype, &one, NULL);
    struct mq_tensor from = mq_tensor_view(fill->data, fill->dtype, &one, NULL);
    mq_tensor_copy(&element, &from);
  }
  struct mq_tensor tensor = mq_tensor_view(block, value->dtype, &shape, NULL);
  return bind_constant(c, value, &tensor, err);
}

const struct engine_op engine_op_ConstantOfShape = {.compile = compile_constant_of_shape};

static mq_status compile_shape(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  struct mq_shape in = engine_shape(c, node->inputs[0]), out = engine_shape(c, node->outputs[0]);
  int64_t start;
  void *block;
  mq_status status = mq_node_get_int(&start, node, "start", 0, err);
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, MQ_MAX_RANK, sizeof(int64_t), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  start = start < 0 ? start + in.rank : start;
  start = start < 0 ? 0 : start;
  for (int64_t i = 0; i < out.dim[0] && start + i < in.rank; i++) {
    ((int64_t *)block)[i] = in.dim[start + i];
  }
  struct mq_tensor tensor = mq_tensor_view(block, MQ_I64, &out, NULL);
  return bind_constant(c, node->outputs[0], &tensor, err);
}

const struct engine_op engine_op_Shape = {.compile = compile_shape};

static mq_status compile_folded_only(struct engine_compiler *c, const struct mq_node *node,
                                     struct mq_err *err) {
  (void)c;
  return engine_fail_unsupported(node, err,
                                 "its inputs are computed; supported in computations of shapes only");
}

const struct engine_op engine_op_And = {.compile = compile_folded_only};
const struct engine_op engine_op_Ceil = {.compile = compile_folded_only};
const struct engine_op engine_op_Equal = {.compile = compile_folded_only};
const struct engine_op engine_op_Floor = {.compile = compile_folded_only};
const struct engine_op engine_op_Greater = {.compile = compile_folded_only};
const struct engine_op engine_op_Less = {.compile = compile_folded_only};
const struct engine_op engine_op_Max = {.compile = compile_folded_only};
const struct engine_op engine_op_Min = {.compile = compile_folded_only};
const struct engine_op engine_op_Mod = {.compile = compile_folded_only};
const struct engine_op engine_op_Neg = {.compile = compile_folded_only};
const struct engine_op engine_op_Not = {.compile = compile_folded_only};
const struct engine_op engine_op_Or = {.compile = compile_folded_only};
const struct engine_op engine_op_Range = {.compile = compile_folded_only};
const struct engine_op engine_op_ReduceProd = {.compile = compile_folded_only};
const struct engine_op engine_op_Where = {.compile = compile_folded_only};
const struct engine_op engine_op_Xor = {.compile = compile_folded_only};
