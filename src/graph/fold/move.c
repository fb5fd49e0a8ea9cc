/* Folding of what only moves elements: strided copies between row-major constants. */
#include <string.h>

#include "graph/fold/fold.h"

static size_t element_bytes(const struct mq_tensor *tensor) {
  return mq_dtype_get(tensor->dtype)->bytes;
}

static void *at(const struct mq_tensor *tensor, int64_t offset) {
  return (char *)tensor->data + offset * (int64_t)element_bytes(tensor);
}

void graph_broadcast_strides(int64_t stride[MQ_MAX_RANK], const struct mq_tensor *tensor,
                             const struct mq_shape *shape) {
  for (int i = 0; i < shape->rank; i++) {
    int k = i - (shape->rank - tensor->shape.rank);
    stride[i] = k < 0 || tensor->shape.dim[k] == 1 ? 0 : tensor->stride[k];
  }
}

/* to = from's elements in logical order under to's shape, starting at from's element `offset`. */
static void copy_view(struct mq_tensor *to, const struct mq_tensor *from, int64_t offset,
                      const int64_t stride[MQ_MAX_RANK]) {
  if (mq_shape_count(&to->shape) > 0) {
    struct mq_tensor view = mq_tensor_view(at(from, offset), from->dtype, &to->shape, stride);
    mq_tensor_copy(to, &view);
  }
}

/* Reshape, Squeeze, ...: the same elements in the same order. */
mq_status graph_fold_copy(struct mq_node *node, struct mq_err *err) {
  (void)err;
  struct mq_tensor *out = graph_out(node, 0);
  if (out) {
    memcpy(out->data, graph_in(node, 0)->data, (size_t)mq_shape_count(&out->shape) * element_bytes(out));
  }
  return MQ_OK;
}

mq_status graph_fold_transpose(struct mq_node *node, struct mq_err *err) {
  int perm[MQ_MAX_RANK];
  const struct mq_tensor *in = graph_in(node, 0);
  mq_status status = mq_node_get_perm(perm, node, err);
  if (status != MQ_OK || !graph_out(node, 0)) {
    return status;
  }
  int64_t stride[MQ_MAX_RANK] = {0};
  for (int i = 0; i < in->shape.rank; i++) {
    stride[i] = in->stride[perm[i]];
  }
  copy_view(graph_out(node, 0), in, 0, stride);
  return MQ_OK;
}

mq_status graph_fold_expand(struct mq_node *node, struct mq_err *err) {
  (void)err;
  struct mq_tensor *out = graph_out(node, 0);
  if (out) {
    int64_t stride[MQ_MAX_RANK] = {0};
    graph_broadcast_strides(stride, graph_in(node, 0), &out->shape);
    copy_view(out, graph_in(node, 0), 0, stride);
  }
  return MQ_OK;
}

mq_status graph_fold_slice(struct mq_node *node, struct mq_err *err) {
  struct mq_slicing slicing;
  const struct mq_tensor *in = graph_in(node, 0);
  mq_status status = mq_node_get_slicing(&slicing, node, err);
  if (status != MQ_OK || !graph_out(node, 0)) {
    return status;
  }
  int64_t stride[MQ_MAX_RANK] = {0}, offset = 0;
  for (int i = 0; i < slicing.rank; i++) {
    stride[i] = in->stride[i] * slicing.step[i];
    offset += in->stride[i] * slicing.start[i];
  }
  copy_view(graph_out(node, 0), in, offset, stride);
  return MQ_OK;
}

mq_status graph_fold_split(struct mq_node *node, struct mq_err *err) {
  int axis;
  const int64_t *parts;
  const struct mq_tensor *in = graph_in(node, 0);
  int64_t begin = 0;
  mq_status status = mq_node_get_split(&axis, &parts, node, err);
  for (int i = 0; i < node->n_outputs && status == MQ_OK; i++) {
    if (graph_out(node, i)) {
      copy_view(graph_out(node, i), in, begin * in->stride[axis], in->stride);
    }
    begin += parts[i];
  }
  return status;
}

mq_status graph_fold_concat(struct mq_node *node, struct mq_err *err) {
  int axis;
  struct mq_tensor *out = graph_out(node, 0);
  mq_status status = mq_node_get_axis(&axis, node, 0, graph_rank(node, 0), err);
  int64_t begin = 0;
  for (int i = 0; i < node->n_inputs && status == MQ_OK && out; i++) {
    const struct mq_tensor *in = graph_in(node, i);
    if (mq_shape_count(&in->shape) > 0) {
      struct mq_tensor part =
          mq_tensor_view(at(out, begin * out->stride[axis]), out->dtype, &in->shape, out->stride);
      mq_tensor_copy(&part, in);
    }
    begin += in->shape.dim[axis];
  }
  return status;
}

/* out[before, indices, after] = data[before, indices[...], after] */
mq_status graph_fold_gather(struct mq_node *node, struct mq_err *err) {
  int axis;
  const struct mq_tensor *data = graph_in(node, 0), *indices = graph_in(node, 1);
  struct mq_tensor *out = graph_out(node, 0);
  mq_status status = mq_node_get_axis(&axis, node, 0, data->shape.rank, err);
  if (status != MQ_OK || !out || mq_shape_count(&out->shape) == 0) {
    return status;
  }
  int64_t dim = data->shape.dim[axis], n_indices = mq_shape_count(&indices->shape);
  int64_t after = data->stride[axis], before = mq_shape_count(&data->shape) / (dim * after);
  for (int64_t k = 0; k < n_indices; k++) {
    int64_t index = mq_tensor_get_int(indices, k);
    if (index < -dim || index >= dim) {
      return graph_fail(err, node, "index %lld, expected %lld to %lld", (long long)index, (long long)-dim,
                        (long long)(dim - 1));
    }
    index += index < 0 ? dim : 0;
    for (int64_t b = 0; b < before; b++) {
      memcpy(at(out, (b * n_indices + k) * after), at(data, (b * dim + index) * after),
             (size_t)after * element_bytes(data));
    }
  }
  return MQ_OK;
}

/* ---- Sources of constants ----------------------------------------------------------------------------- */

mq_status graph_fold_constant(struct mq_node *node, struct mq_err *err) {
  (void)err;
  const struct mq_attr *attr = &node->attrs[0];
  struct mq_tensor *out = graph_out(node, 0);
  if (!out) {
    return MQ_OK;
  }
  switch (attr->kind) {
    case MQ_ATTR_TENSOR:
      mq_tensor_copy(out, attr->as.tensor);
      break;
    case MQ_ATTR_INT:
      memcpy(out->data, &attr->as.i, sizeof attr->as.i);
      break;
    case MQ_ATTR_FLOAT:
      memcpy(out->data, &attr->as.f, sizeof attr->as.f);
      break;
    case MQ_ATTR_INTS:
      memcpy(out->data, attr->as.ints, attr->n * sizeof *attr->as.ints);
      break;
    case MQ_ATTR_FLOATS:
      memcpy(out->data, attr->as.floats, attr->n * sizeof *attr->as.floats);
      break;
    case MQ_ATTR_STRING: /* refused by inference */
      break;
  }
  return MQ_OK;
}

mq_status graph_fold_constant_of_shape(struct mq_node *node, struct mq_err *err) {
  const struct mq_tensor *element;
  struct mq_tensor *out = graph_out(node, 0);
  mq_status status = mq_node_get_tensor(&element, node, "value", err);
  if (status == MQ_OK && element && out) {
    int64_t stride[MQ_MAX_RANK] = {0};
    copy_view(out, element, 0, stride);
  }
  return status;
}

mq_status graph_fold_shape(struct mq_node *node, struct mq_err *err) {
  int first, last;
  struct mq_tensor *out = graph_out(node, 0);
  mq_status status = graph_shape_range(&first, &last, node, err);
  for (int i = first; i < last && status == MQ_OK && out; i++) {
    memcpy(at(out, i - first), &node->inputs[0]->shape.dim[i], sizeof(int64_t));
  }
  return status;
}
