/* Typed parameters of single operators: attributes and constant inputs of every opset version in one form. */
#include <math.h>
#include <string.h>

#include "graph/internal.h"

/* No list of axes, sizes or pads is longer; an int32 one is converted into the arena. */
#define MAX_LIST 65536

mq_status graph_get_constant(const struct mq_tensor **tensor, const struct mq_node *node, int input,
                             struct mq_err *err) {
  *tensor = NULL;
  const struct mq_value *value = graph_has_input(node, input) ? node->inputs[input] : NULL;
  if (!value) {
    return graph_fail(err, node, "input %d is missing", input);
  }
  if (!value->constant) {
    const struct mq_node *producer = value->producer;
    return graph_fail(err, node,
                      "input %d ('%.100s') depends on the data (made by %s '%.100s'), expected a "
                      "constant",
                      input, value->name, producer ? mq_op_get(producer->op)->name : "graph input",
                      producer ? producer->name : value->name);
  }
  *tensor = value->constant;
  return MQ_OK;
}

static mq_status convert_ints(const int64_t **ints, const struct mq_node *node,
                              const struct mq_tensor *tensor, int64_t n, struct mq_err *err) {
  if (n > MAX_LIST) {
    return graph_fail(err, node, "a list of %lld integers, expected %d at most", (long long)n, MAX_LIST);
  }
  int64_t *copy = mq_arena_alloc(&node->graph->arena, (size_t)n + 1, sizeof *copy);
  if (!copy) {
    return mq_fail_memory(err, "integers of a constant");
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t element = mq_tensor_get_int(tensor, i);
    copy[i] = tensor->dtype == MQ_I32 && element == INT32_MIN ? MQ_DIM_BATCH : element;
  }
  *ints = copy;
  return MQ_OK;
}

mq_status mq_node_get_constant_ints(const int64_t **ints, size_t *n, const struct mq_node *node, int input,
                                    struct mq_err *err) {
  *ints = NULL;
  *n = 0;
  const struct mq_tensor *tensor;
  mq_status status = graph_get_constant(&tensor, node, input, err);
  if (status != MQ_OK) {
    return status;
  }
  if (tensor->shape.rank > 1 || mq_dtype_get(tensor->dtype)->is_float) {
    char text[128];
    return graph_fail(err, node, "input %d ('%.100s') is %s %s, expected a list of integers", input,
                      node->inputs[input]->name, mq_dtype_get(tensor->dtype)->name,
                      mq_shape_format(text, sizeof text, &tensor->shape));
  }
  int64_t count = mq_shape_count(&tensor->shape);
  if (tensor->dtype == MQ_I64) {
    *ints = tensor->data;
  } else {
    status = convert_ints(ints, node, tensor, count, err);
  }
  *n = status == MQ_OK ? (size_t)count : 0;
  return status;
}

mq_status mq_node_get_constant_float(float *f, const struct mq_node *node, int input, struct mq_err *err) {
  *f = 0;
  const struct mq_tensor *tensor;
  mq_status status = graph_get_constant(&tensor, node, input, err);
  if (status != MQ_OK) {
    return status;
  }
  if (mq_shape_count(&tensor->shape) != 1) {
    return graph_fail(err, node, "input %d ('%.100s') has %lld elements, expected one number", input,
                      node->inputs[input]->name, (long long)mq_shape_count(&tensor->shape));
  }
  *f = (float)mq_tensor_get_double(tensor, 0);
  return MQ_OK;
}

mq_status mq_node_get_clip(float *lo, float *hi, const struct mq_node *node, struct mq_err *err) {
  *lo = node->op == MQ_OP_Relu ? 0 : -INFINITY;
  *hi = INFINITY;
  if (node->op == MQ_OP_Relu) {
    return MQ_OK;
  }
  mq_status status = graph_has_input(node, 1) ? mq_node_get_constant_float(lo, node, 1, err)
                                              : mq_node_get_float(lo, node, "min", -INFINITY, err);
  if (status != MQ_OK) {
    return status;
  }
  status = graph_has_input(node, 2) ? mq_node_get_constant_float(hi, node, 2, err)
                                    : mq_node_get_float(hi, node, "max", INFINITY, err);
  if (status == MQ_OK && (isnan(*lo) || isnan(*hi))) {
    return graph_fail(err, node, "a bound is NaN");
  }
  /* The files' way to say "unbounded" before bounds could be left out. */
  *lo = *lo <= -3.402823e+38f ? -INFINITY : *lo;
  *hi = *hi >= 3.402823e+38f ? INFINITY : *hi;
  return status;
}

mq_status graph_normal_axis(int *axis, const struct mq_node *node, int64_t given, int rank, bool may_be_rank,
                            struct mq_err *err) {
  *axis = 0;
  if (given < -rank || given > rank || (given == rank && !may_be_rank)) {
    return graph_fail(err, node, "axis %lld, expected %d to %d", (long long)given, -rank,
                      may_be_rank ? rank : rank - 1);
  }
  *axis = (int)(given < 0 ? given + rank : given);
  return MQ_OK;
}

mq_status mq_node_get_axis(int *axis, const struct mq_node *node, int64_t fallback, int rank,
                           struct mq_err *err) {
  int64_t given;
  *axis = 0;
  mq_status status = mq_node_get_int(&given, node, "axis", fallback, err);
  return status == MQ_OK ? graph_normal_axis(axis, node, given, rank, node->op == MQ_OP_Flatten, err)
                         : status;
}

/* Non-negative, ascending, none twice. */
mq_status graph_normal_axes(int64_t axes[MQ_MAX_RANK], int *n_axes, const struct mq_node *node, int rank,
                            const int64_t *given, size_t n, struct mq_err *err) {
  bool is_given[MQ_MAX_RANK + 1] = {false};
  *n_axes = 0;
  for (size_t i = 0; i < n; i++) {
    int axis;
    mq_status status = graph_normal_axis(&axis, node, given[i], rank, false, err);
    if (status != MQ_OK) {
      return status;
    }
    if (is_given[axis]) {
      return graph_fail(err, node, "axis %d is named twice", axis);
    }
    is_given[axis] = true;
  }
  for (int i = 0; i < rank; i++) {
    if (is_given[i]) {
      axes[(*n_axes)++] = i;
    }
  }
  return MQ_OK;
}

static bool is_reduction(mq_op op) {
  return op == MQ_OP_ReduceMean || op == MQ_OP_ReduceProd;
}

/* What "no axes given" means. */
static mq_status default_axes(int64_t axes[MQ_MAX_RANK], int *n_axes, const struct mq_node *node, int rank,
                              struct mq_err *err) {
  int64_t is_noop = 0;
  mq_status status = mq_node_get_int(&is_noop, node, "noop_with_empty_axes", 0, err);
  if (status != MQ_OK) {
    return status;
  }
  if (node->op == MQ_OP_Unsqueeze) {
    return graph_fail(err, node, "no axes");
  }
  for (int i = 0; i < rank; i++) {
    if (is_reduction(node->op) ? !is_noop : node->inputs[0]->shape.dim[i] == 1) {
      axes[(*n_axes)++] = i;
    }
  }
  return MQ_OK;
}

mq_status graph_given_axes(const int64_t **given, size_t *n, const struct mq_node *node, struct mq_err *err) {
  return graph_has_input(node, 1) ? mq_node_get_constant_ints(given, n, node, 1, err)
                                  : mq_node_get_ints(given, n, node, "axes", err);
}

mq_status mq_node_get_axes(int64_t axes[MQ_MAX_RANK], int *n_axes, const struct mq_node *node, int rank,
                           struct mq_err *err) {
  *n_axes = 0;
  const int64_t *given;
  size_t n;
  mq_status status = graph_given_axes(&given, &n, node, err);
  if (status != MQ_OK) {
    return status;
  }
  bool is_empty = !n && (is_reduction(node->op) || !graph_has_input(node, 1));
  return is_empty ? default_axes(axes, n_axes, node, rank, err)
                  : graph_normal_axes(axes, n_axes, node, rank, given, n, err);
}

mq_status mq_node_get_perm(int perm[MQ_MAX_RANK], const struct mq_node *node, struct mq_err *err) {
  int rank = graph_rank(node, 0);
  const int64_t *given;
  size_t n;
  mq_status status = mq_node_get_ints(&given, &n, node, "perm", err);
  if (status != MQ_OK) {
    return status;
  }
  if (n && n != (size_t)rank) {
    return graph_fail(err, node, "perm has %zu entries, expected %d as the input has dimensions", n, rank);
  }
  unsigned seen = 0;
  for (int i = 0; i < rank; i++) {
    int64_t axis = n ? given[i] : rank - 1 - i;
    if (axis < 0 || axis >= rank || (seen >> axis & 1)) {
      return graph_fail(err, node, "perm is no permutation of 0 to %d", rank - 1);
    }
    seen |= 1u << axis;
    perm[i] = (int)axis;
  }
  return MQ_OK;
}

mq_dtype mq_dtype_from_onnx(int64_t code) {
  static const uint8_t dtypes[] = {0,       MQ_F32, MQ_U8,  MQ_I8,  MQ_U16, MQ_I16, MQ_I32, MQ_I64, 0,
                                   MQ_BOOL, MQ_F16, MQ_F64, MQ_U32, MQ_U64, 0,      0,      MQ_BF16};
  return code >= 0 && code < (int64_t)sizeof dtypes ? (mq_dtype)dtypes[code] : (mq_dtype)0;
}

mq_status mq_node_get_cast(mq_dtype *to, const struct mq_node *node, struct mq_err *err) {
  int64_t code;
  *to = MQ_F32;
  mq_status status = mq_node_get_int(&code, node, "to", 0, err);
  if (status != MQ_OK) {
    return status;
  }
  mq_dtype dtype = mq_dtype_from_onnx(code);
  if (!dtype) {
    return graph_fail(err, node, "attribute 'to' is %lld, expected the code of a number type",
                      (long long)code);
  }
  *to = mq_dtype_get(dtype)->is_float ? MQ_F32 : dtype;
  return MQ_OK;
}

mq_status mq_node_get_softmax(int *first, int *last, const struct mq_node *node, struct mq_err *err) {
  int rank = graph_rank(node, 0);
  bool flattens = node->graph->opset < 13;
  *last = rank - 1;
  mq_status status = mq_node_get_axis(first, node, flattens && rank > 1 ? 1 : -1, rank, err);
  if (status == MQ_OK && !flattens) {
    *last = *first;
  }
  return status;
}

static mq_status equal_parts(int64_t *parts, const struct mq_node *node, int64_t dim, struct mq_err *err) {
  int64_t n = node->n_outputs, declared;
  mq_status status = mq_node_get_int(&declared, node, "num_outputs", n, err);
  if (status != MQ_OK) {
    return status;
  }
  if (declared != n) {
    return graph_fail(err, node, "num_outputs is %lld, but there are %lld outputs", (long long)declared,
                      (long long)n);
  }
  bool is_even = dim == MQ_DIM_BATCH ? n == 1 : dim % n == 0;
  if (!is_even && (dim == MQ_DIM_BATCH || !mq_node_find_attr(node, "num_outputs"))) {
    return graph_fail(err, node, "a dimension of %s cannot be split into %lld equal parts",
                      dim == MQ_DIM_BATCH ? "the batch" : "that size", (long long)n);
  }
  int64_t part = dim == MQ_DIM_BATCH ? dim : (dim + n - 1) / n;
  for (int64_t i = 0; i < n; i++) {
    int64_t left = dim - i * part;
    parts[i] = n == 1 ? part : left < part ? (left > 0 ? left : 0) : part;
  }
  return MQ_OK;
}

static mq_status check_parts(const struct mq_node *node, const int64_t *parts, size_t n, int64_t dim,
                             struct mq_err *err) {
  if (n != (size_t)node->n_outputs) {
    return graph_fail(err, node, "%zu parts for %d outputs", n, node->n_outputs);
  }
  if (n == 1 && dim == MQ_DIM_BATCH && parts[0] == MQ_DIM_BATCH) {
    return MQ_OK;
  }
  if (dim == MQ_DIM_BATCH) {
    return graph_fail(err, node, "splits the batch into parts of given sizes, expected another axis");
  }
  int64_t sum = 0;
  for (size_t i = 0; i < n; i++) {
    if (parts[i] < 0 || parts[i] > dim - sum) {
      return graph_fail(err, node, "part %zu does not fit into the dimension that is split", i);
    }
    sum += parts[i];
  }
  return sum == dim ? MQ_OK
                    : graph_fail(err, node, "the parts sum to %lld, the dimension is %lld", (long long)sum,
                                 (long long)dim);
}

mq_status mq_node_get_split(int *axis, const int64_t **parts, const struct mq_node *node,
                            struct mq_err *err) {
  *parts = NULL;
  mq_status status = mq_node_get_axis(axis, node, 0, graph_rank(node, 0), err);
  if (status != MQ_OK) {
    return status;
  }
  int64_t dim = node->inputs[0]->shape.dim[*axis];
  const int64_t *given;
  size_t n;
  status = graph_has_input(node, 1) ? mq_node_get_constant_ints(&given, &n, node, 1, err)
                                    : mq_node_get_ints(&given, &n, node, "split", err);
  if (status != MQ_OK) {
    return status;
  }
  if (n) {
    *parts = given;
    return check_parts(node, given, n, dim, err);
  }
  int64_t *equal = mq_arena_alloc(&node->graph->arena, (size_t)node->n_outputs, sizeof *equal);
  if (!equal) {
    return mq_fail_memory(err, "parts of a split");
  }
  *parts = equal;
  return equal_parts(equal, node, dim, err);
}
