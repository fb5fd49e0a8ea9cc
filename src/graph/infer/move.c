/* Operators that move elements: Concat, Split, Slice, Pad, Gather, Transpose, Resize. */
#include "graph/infer/infer.h"

mq_status graph_infer_Concat(struct mq_node *node, struct mq_err *err) {
  struct mq_shape out;
  int axis;
  mq_status status = graph_expand_constants(node, err);
  if (status == MQ_OK) {
    out = *graph_shape(node, 0);
    status = mq_node_get_axis(&axis, node, 0, out.rank, err);
  }
  for (int i = 1; i < node->n_inputs && status == MQ_OK; i++) {
    if (!node->inputs[i]) {
      return graph_fail(err, node, "input %d is missing", i);
    }
    struct mq_shape in = *graph_shape(node, i), expected = out;
    int64_t dim = in.rank == out.rank ? in.dim[axis] : 0;
    in.dim[axis] = expected.dim[axis] = 0;
    if (!mq_shape_equal(&in, &expected) || graph_dtype(node, i) != graph_dtype(node, 0)) {
      char left[200], right[200];
      return graph_fail(err, node, "input %d is %s %s, expected as input 0 (%s %s) but along axis %d", i,
                        mq_dtype_get(graph_dtype(node, i))->name,
                        mq_shape_format(left, sizeof left, graph_shape(node, i)),
                        mq_dtype_get(graph_dtype(node, 0))->name,
                        mq_shape_format(right, sizeof right, graph_shape(node, 0)), axis);
    }
    if (dim == MQ_DIM_BATCH || out.dim[axis] == MQ_DIM_BATCH ||
        __builtin_add_overflow(out.dim[axis], dim, &out.dim[axis])) {
      return graph_fail(err, node, "joins along the batch");
    }
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

mq_status graph_infer_Split(struct mq_node *node, struct mq_err *err) {
  int axis;
  const int64_t *parts;
  struct mq_shape out = *graph_shape(node, 0);
  mq_status status = mq_node_get_split(&axis, &parts, node, err);
  for (int i = 0; i < node->n_outputs && status == MQ_OK; i++) {
    out.dim[axis] = parts[i];
    status = graph_set_output(node, i, graph_dtype(node, 0), &out, err);
  }
  return status;
}

/* The index of `axis` in a list that speaks of `axes`, or of all axes in order if none are given; -1. */
static mq_status find_axis(int *at, const struct mq_node *node, int axis, const int64_t *axes, size_t n_axes,
                           struct mq_err *err) {
  *at = axis;
  mq_status status = MQ_OK;
  for (size_t i = 0; i < n_axes && status == MQ_OK; i++) {
    int named;
    *at = i == 0 ? -1 : *at;
    status = graph_normal_axis(&named, node, axes[i], graph_rank(node, 0), false, err);
    *at = status == MQ_OK && named == axis ? (int)i : *at;
  }
  return status;
}

static int batch_axis(const struct mq_node *node) {
  const struct mq_shape *shape = graph_shape(node, 0);
  for (int i = 0; i < shape->rank; i++) {
    if (shape->dim[i] == MQ_DIM_BATCH) {
      return i;
    }
  }
  return -1;
}

/* All images are taken; an end that is the file's batch size becomes one that is beyond any. */
static mq_status open_slice(struct mq_node *node, struct mq_err *err) {
  const int64_t *axes = NULL, *ends = NULL;
  size_t n_axes = 0, n = 0;
  int axis = batch_axis(node), at = -1;
  if (axis < 0) {
    return MQ_OK;
  }
  mq_status status = graph_has_input(node, 3) ? mq_node_get_constant_ints(&axes, &n_axes, node, 3, err)
                                              : mq_node_get_ints(&axes, &n_axes, node, "axes", err);
  if (status == MQ_OK) {
    status = find_axis(&at, node, axis, axes, n_axes, err);
  }
  if (status == MQ_OK) {
    status = graph_has_input(node, 2) ? mq_node_get_constant_ints(&ends, &n, node, 2, err)
                                      : mq_node_get_ints(&ends, &n, node, "ends", err);
  }
  bool is_literal = status == MQ_OK && at >= 0 && at < (int)n && ends[at] > 0 && ends[at] < INT32_MAX;
  return is_literal ? graph_replace_literal(node, "ends", 2, (size_t)at, INT64_MAX, err) : status;
}

mq_status graph_infer_Slice(struct mq_node *node, struct mq_err *err) {
  struct mq_slicing slicing;
  mq_status status = mq_node_get_slicing(&slicing, node, err);
  if (status == MQ_OK) {
    status = open_slice(node, err);
  }
  struct mq_shape out = {.rank = slicing.rank};
  for (int i = 0; i < slicing.rank; i++) {
    out.dim[i] = slicing.count[i];
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

mq_status graph_infer_Pad(struct mq_node *node, struct mq_err *err) {
  struct mq_padding padding;
  mq_status status = mq_node_get_padding(&padding, node, err);
  struct mq_shape out = *graph_shape(node, 0);
  for (int i = 0; i < out.rank && status == MQ_OK; i++) {
    out.dim[i] = out.dim[i] == MQ_DIM_BATCH ? MQ_DIM_BATCH : out.dim[i] + padding.begin[i] + padding.end[i];
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

/* The indices' dimensions take the place of the axis. */
mq_status graph_infer_Gather(struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *data = graph_shape(node, 0), *indices = graph_shape(node, 1);
  int axis;
  mq_status status = mq_node_get_axis(&axis, node, 0, data->rank, err);
  if (status == MQ_OK) {
    status = graph_require_no_batch(node, axis, "picks single images", err);
  }
  if (status != MQ_OK) {
    return status;
  }
  if (graph_dtype(node, 1) != MQ_I64 && graph_dtype(node, 1) != MQ_I32) {
    return graph_fail(err, node, "indices are %s, expected int64 or int32",
                      mq_dtype_get(graph_dtype(node, 1))->name);
  }
  if (data->rank - 1 + indices->rank > MQ_MAX_RANK) {
    return graph_fail(err, node, "output would have more than %d dimensions", MQ_MAX_RANK);
  }
  struct mq_shape out = {.rank = 0};
  for (int i = 0; i < data->rank; i++) {
    if (i != axis) {
      out.dim[out.rank++] = data->dim[i];
      continue;
    }
    for (int k = 0; k < indices->rank; k++) {
      out.dim[out.rank++] = indices->dim[k];
    }
  }
  return graph_set_output(node, 0, graph_dtype(node, 0), &out, err);
}

mq_status graph_infer_Transpose(struct mq_node *node, struct mq_err *err) {
  int perm[MQ_MAX_RANK];
  const struct mq_shape *in = graph_shape(node, 0);
  mq_status status = mq_node_get_perm(perm, node, err);
  struct mq_shape out = {.rank = in->rank};
  for (int i = 0; i < in->rank && status == MQ_OK; i++) {
    out.dim[i] = in->dim[perm[i]];
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

/* A literal 1 or N in sizes that means all images. */
static mq_status name_batch_size(struct mq_node *node, struct mq_err *err) {
  const int64_t *axes, *sizes = NULL;
  size_t n_axes, n = 0;
  int axis = batch_axis(node), at = -1;
  if (axis < 0 || !graph_has_input(node, 3)) {
    return MQ_OK;
  }
  mq_status status = mq_node_get_ints(&axes, &n_axes, node, "axes", err);
  if (status == MQ_OK) {
    status = find_axis(&at, node, axis, axes, n_axes, err);
  }
  if (status == MQ_OK) {
    status = mq_node_get_constant_ints(&sizes, &n, node, 3, err);
  }
  bool is_literal = status == MQ_OK && at >= 0 && at < (int)n && sizes[at] != MQ_DIM_BATCH;
  return is_literal ? graph_replace_literal(node, "sizes", 3, (size_t)at, MQ_DIM_BATCH, err) : status;
}

mq_status graph_infer_Resize(struct mq_node *node, struct mq_err *err) {
  struct mq_resize resize;
  mq_status status = mq_node_get_resize(&resize, node, err);
  if (status == MQ_OK) {
    status = name_batch_size(node, err);
  }
  struct mq_shape out = {.rank = resize.rank};
  for (int i = 0; i < resize.rank; i++) {
    out.dim[i] = resize.size[i];
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

/* Elements of a scalar or vector, which may be the batch; -1: it is neither. */
static int64_t row_count(const struct mq_shape *shape) {
  return shape->rank == 0 ? 1 : shape->rank == 1 ? shape->dim[0] : -1;
}

/* A scale is one number, or one per index along `axis`. */
static mq_status check_scale(const struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *in = graph_shape(node, 0), *scale = graph_shape(node, 1);
  int64_t block;
  mq_status status = mq_node_get_int(&block, node, "block_size", 0, err);
  if (status == MQ_OK && block != 0) {
    return graph_fail(err, node, "block_size is %lld, expected scales per tensor or per axis",
                      (long long)block);
  }
  if (status == MQ_OK && graph_has_input(node, 2) && !mq_shape_equal(scale, graph_shape(node, 2)) &&
      (row_count(graph_shape(node, 2)) != row_count(scale) || row_count(scale) == -1)) {
    return graph_fail(err, node, "scale and zero point have different shapes");
  }
  if (status != MQ_OK || scale->rank == 0 || (scale->rank == 1 && scale->dim[0] == 1)) {
    return status;
  }
  int axis;
  status = mq_node_get_axis(&axis, node, 1, in->rank, err);
  if (status == MQ_OK && (scale->rank != 1 || scale->dim[0] != in->dim[axis])) {
    char text[200];
    return graph_fail(err, node, "scale is %s, expected one number or one per index of axis %d",
                      mq_shape_format(text, sizeof text, scale), axis);
  }
  return status;
}

mq_status graph_infer_QuantizeLinear(struct mq_node *node, struct mq_err *err) {
  int64_t code;
  mq_status status = check_scale(node, err);
  if (status == MQ_OK) {
    status = mq_node_get_int(&code, node, "output_dtype", 0, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  mq_dtype dtype = graph_has_input(node, 2) ? graph_dtype(node, 2) : code ? mq_dtype_from_onnx(code) : MQ_U8;
  if (!dtype || mq_dtype_get(dtype)->is_float) {
    return graph_fail(err, node, "quantizes to a type that is no integer");
  }
  return graph_set_output(node, 0, dtype, graph_shape(node, 0), err);
}

mq_status graph_infer_DequantizeLinear(struct mq_node *node, struct mq_err *err) {
  mq_status status = check_scale(node, err);
  if (status == MQ_OK && graph_has_input(node, 2) && graph_dtype(node, 2) != graph_dtype(node, 0)) {
    return graph_fail(err, node, "input is %s, its zero point %s", mq_dtype_get(graph_dtype(node, 0))->name,
                      mq_dtype_get(graph_dtype(node, 2))->name);
  }
  return status == MQ_OK ? graph_set_output(node, 0, MQ_F32, graph_shape(node, 0), err) : status;
}
