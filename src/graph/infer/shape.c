/* Constant, ConstantOfShape, Shape, Range: operators whose value or shape is known without data. */
#include "graph/infer/infer.h"

#include <math.h>

/* The forms of Constant's one attribute (value only, before opset 12). */
mq_status graph_infer_Constant(struct mq_node *node, struct mq_err *err) {
  if (node->n_attrs != 1) {
    return graph_fail(err, node, "%zu attributes, expected one that holds the value", node->n_attrs);
  }
  const struct mq_attr *attr = &node->attrs[0];
  struct mq_shape scalar = {.rank = 0}, list = {.rank = 1, .dim = {(int64_t)attr->n}};
  switch (attr->kind) {
    case MQ_ATTR_TENSOR:
      return graph_set_output(node, 0, attr->as.tensor->dtype, &attr->as.tensor->shape, err);
    case MQ_ATTR_INT:
      return graph_set_output(node, 0, MQ_I64, &scalar, err);
    case MQ_ATTR_FLOAT:
      return graph_set_output(node, 0, MQ_F32, &scalar, err);
    case MQ_ATTR_INTS:
      return graph_set_output(node, 0, MQ_I64, &list, err);
    case MQ_ATTR_FLOATS:
      return graph_set_output(node, 0, MQ_F32, &list, err);
    default:
      return graph_fail(err, node, "attribute '%.40s' holds text, expected numbers", attr->name);
  }
}

/* One element of the wanted type (default: 0 in float32), expanded. Where the shape names the batch the
 * value is not constant: the node becomes an Expand of one image's. */
static mq_status expand_over_batch(struct mq_node *node, const struct mq_shape *shape,
                                   const struct mq_tensor *element, struct mq_err *err) {
  struct mq_graph *graph = node->graph;
  float zero = 0;
  struct mq_shape one = {.rank = 1, .dim = {1}};
  struct mq_tensor tensor =
      mq_tensor_view(element ? element->data : &zero, element ? element->dtype : MQ_F32, &one, NULL);
  struct mq_value *target = node->inputs[0], *value;
  mq_status status = mq_graph_add_constant(&value, graph, node->name, &tensor, err);
  if (status == MQ_OK) {
    status = mq_graph_set_input(graph, node, 0, value, err);
  }
  if (status == MQ_OK) {
    status = mq_graph_set_input(graph, node, 1, target, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  mq_node_remove_attr(node, "value");
  node->op = MQ_OP_Expand;
  return graph_set_output(node, 0, tensor.dtype, shape, err);
}

mq_status graph_infer_ConstantOfShape(struct mq_node *node, struct mq_err *err) {
  const int64_t *ints;
  const struct mq_tensor *element;
  size_t n;
  mq_status status = mq_node_get_constant_ints(&ints, &n, node, 0, err);
  if (status == MQ_OK) {
    status = mq_node_get_tensor(&element, node, "value", err);
  }
  if (status != MQ_OK) {
    return status;
  }
  if (n > MQ_MAX_RANK) {
    return graph_fail(err, node, "shape has %zu dimensions, expected %d at most", n, MQ_MAX_RANK);
  }
  if (element && mq_shape_count(&element->shape) != 1) {
    return graph_fail(err, node, "value has %lld elements, expected 1",
                      (long long)mq_shape_count(&element->shape));
  }
  struct mq_shape shape = {.rank = (int)n};
  for (int i = 0; i < (int)n; i++) {
    shape.dim[i] = ints[i];
  }
  if (mq_shape_has_batch(&shape)) {
    return expand_over_batch(node, &shape, element, err);
  }
  return graph_set_output(node, 0, element ? element->dtype : MQ_F32, &shape, err);
}

mq_status graph_shape_range(int *first, int *last, const struct mq_node *node, struct mq_err *err) {
  int rank = graph_rank(node, 0);
  int64_t start, end;
  *first = *last = 0;
  mq_status status = mq_node_get_int(&start, node, "start", 0, err);
  if (status == MQ_OK) {
    status = mq_node_get_int(&end, node, "end", rank, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  start = start < 0 ? (start < -rank ? 0 : start + rank) : start > rank ? rank : start;
  end = end < 0 ? (end < -rank ? 0 : end + rank) : end > rank ? rank : end;
  *first = (int)start;
  *last = (int)(end < start ? start : end);
  return MQ_OK;
}

mq_status graph_infer_Shape(struct mq_node *node, struct mq_err *err) {
  int first, last;
  mq_status status = graph_shape_range(&first, &last, node, err);
  struct mq_shape out = {.rank = 1, .dim = {last - first}};
  return status == MQ_OK ? graph_set_output(node, 0, MQ_I64, &out, err) : status;
}

/* start, start + delta, ... before limit; needs the numbers to know how many there are. */
mq_status graph_infer_Range(struct mq_node *node, struct mq_err *err) {
  double bounds[3] = {0};
  for (int i = 0; i < 3; i++) {
    const struct mq_tensor *tensor;
    mq_status status = graph_get_constant(&tensor, node, i, err);
    if (status != MQ_OK) {
      return status;
    }
    if (mq_shape_count(&tensor->shape) != 1 || tensor->dtype != graph_dtype(node, 0)) {
      return graph_fail(err, node, "input %d is not one number of input 0's type", i);
    }
    bounds[i] = mq_tensor_get_double(tensor, 0);
    if (bounds[i] == (double)MQ_DIM_BATCH || (tensor->dtype == MQ_I32 && bounds[i] == (double)INT32_MIN)) {
      return graph_fail(err, node, "counts to the batch size, which is not fixed");
    }
  }
  double n = ceil((bounds[1] - bounds[0]) / bounds[2]);
  if (!(fabs(n) <= (double)MQ_MAX_ELEMENTS)) {
    return graph_fail(err, node, "from %g to %g in steps of %g", bounds[0], bounds[1], bounds[2]);
  }
  struct mq_shape out = {.rank = 1, .dim = {n > 0 ? (int64_t)n : 0}};
  return graph_set_output(node, 0, graph_dtype(node, 0), &out, err);
}
