/* Operators that give the same elements another shape, and how a literal batch in a file is recognised. */
#include "graph/infer/infer.h"

#include <string.h>

static const char *text_of(char text[200], const struct mq_shape *shape) {
  return mq_shape_format(text, 200, shape);
}

/* Product of the dimensions that are neither the batch nor -1. Saturates. */
static int64_t known_product(const int64_t *dims, int first, int last) {
  int64_t n = 1;
  for (int i = first; i < last; i++) {
    if (dims[i] != MQ_DIM_BATCH && dims[i] != -1 && __builtin_mul_overflow(n, dims[i], &n)) {
      return INT64_MAX;
    }
  }
  return n;
}

static int batch_position(const struct mq_shape *shape) {
  for (int i = 0; i < shape->rank; i++) {
    if (shape->dim[i] == MQ_DIM_BATCH) {
      return i;
    }
  }
  return -1;
}

/* The target with 0 replaced by what it copies. -1 (position in *hole) and MQ_DIM_BATCH stay. */
static mq_status read_target(struct mq_shape *target, int *hole, const struct mq_node *node,
                             const int64_t *ints, size_t n, struct mq_err *err) {
  const struct mq_shape *in = graph_shape(node, 0);
  int64_t allows_zero;
  *hole = -1;
  mq_status status = mq_node_get_int(&allows_zero, node, "allowzero", 0, err);
  if (status != MQ_OK) {
    return status;
  }
  if (n > MQ_MAX_RANK) {
    return graph_fail(err, node, "target shape has %zu dimensions, expected %d at most", n, MQ_MAX_RANK);
  }
  *target = (struct mq_shape){.rank = (int)n};
  for (int i = 0; i < (int)n; i++) {
    int64_t dim = ints[i];
    if (dim == 0 && !allows_zero) {
      if (i >= in->rank) {
        return graph_fail(err, node, "target dimension %d copies an input dimension that is not there", i);
      }
      dim = in->dim[i];
    } else if (dim == -1 && *hole < 0) {
      *hole = i;
    } else if (dim < 0 && dim != MQ_DIM_BATCH) {
      return graph_fail(err, node, "target dimension %d is %lld%s", i, (long long)dim,
                        dim == -1 ? ", a second one to be found out" : "");
    }
    target->dim[i] = dim;
  }
  return MQ_OK;
}

/* Fills the hole so that `total` elements (of one image where the target names the batch) come out. */
static bool fill_hole(struct mq_shape *target, int hole, int64_t total) {
  int64_t known = known_product(target->dim, 0, target->rank);
  if (hole < 0) {
    return known == total;
  }
  if (known == 0 || total % known) {
    return false;
  }
  target->dim[hole] = total / known;
  return true;
}

/* Row-major order is kept, so the batch must have as many elements of an image behind it as before. */
static bool is_batch_at(const struct mq_shape *target, int position, const struct mq_shape *in) {
  int b = batch_position(in);
  return known_product(target->dim, position + 1, target->rank) == known_product(in->dim, b + 1, in->rank);
}

/* A target without the batch for an input with it: the file was written for a batch of `size` images.
 * *is_possible: such a batch has as many elements as the target, with or without mixing its images. */
static bool place_literal_batch(struct mq_shape *target, bool *is_possible, int hole,
                                const struct mq_shape *in, int64_t size) {
  int64_t total;
  *is_possible = !__builtin_mul_overflow(known_product(in->dim, 0, in->rank), size, &total) &&
                 fill_hole(target, hole, total);
  for (int i = 0; *is_possible && i < target->rank; i++) {
    if (target->dim[i] == size && is_batch_at(target, i, in)) {
      target->dim[i] = MQ_DIM_BATCH;
      return true;
    }
  }
  return false;
}

static bool resolve(struct mq_shape *target, int hole, const struct mq_node *node) {
  const struct mq_shape *in = graph_shape(node, 0);
  bool has_batch = mq_shape_has_batch(in), names_batch = mq_shape_has_batch(target);
  if (!has_batch) {
    return !names_batch && fill_hole(target, hole, known_product(in->dim, 0, in->rank));
  }
  if (names_batch) {
    return fill_hole(target, hole, known_product(in->dim, 0, in->rank)) &&
           is_batch_at(target, batch_position(target), in);
  }
  struct mq_shape as_given = *target;
  int64_t size = node->graph->file_batch ? node->graph->file_batch : 1;
  bool is_possible;
  if (place_literal_batch(target, &is_possible, hole, in, size)) {
    return true;
  }
  /* Files whose input alone was given a batch still say 1 inside. A target that is possible for the N images
   * of the file means what it says, though: it mixes them. */
  *target = as_given;
  return size != 1 && !is_possible && place_literal_batch(target, &is_possible, hole, in, 1);
}

/* The shape as an attribute is opset 1's form; it is met in files of mixed origin. */
static mq_status read_shape_ints(const int64_t **ints, size_t *n, const struct mq_node *node,
                                 struct mq_err *err) {
  if (graph_has_input(node, 1)) {
    return mq_node_get_constant_ints(ints, n, node, 1, err);
  }
  mq_status status = mq_node_get_ints(ints, n, node, "shape", err);
  return status == MQ_OK && !mq_node_find_attr(node, "shape") ? graph_fail(err, node, "no target shape")
                                                              : status;
}

/* Puts MQ_DIM_BATCH in the constant where the file spelt the batch's size. */
static mq_status name_batch(struct mq_node *node, const int64_t *ints, const struct mq_shape *out,
                            struct mq_err *err) {
  int position = batch_position(out);
  bool is_literal = position >= 0 && ints[position] > 0;
  if (!is_literal) {
    return MQ_OK;
  }
  int64_t named[MQ_MAX_RANK];
  memcpy(named, ints, (size_t)out->rank * sizeof *named);
  named[position] = MQ_DIM_BATCH;
  mq_node_remove_attr(node, "shape");
  return graph_set_constant_ints(node, 1, named, (size_t)out->rank, err);
}

mq_status graph_infer_Reshape(struct mq_node *node, struct mq_err *err) {
  const int64_t *ints;
  size_t n;
  struct mq_shape out;
  int hole;
  mq_status status = read_shape_ints(&ints, &n, node, err);
  if (status == MQ_OK) {
    status = read_target(&out, &hole, node, ints, n, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_shape target = out;
  if (!resolve(&out, hole, node)) {
    char from[200], to[200];
    return graph_fail(err, node, "%s cannot be reshaped to %s%s", text_of(from, graph_shape(node, 0)),
                      text_of(to, &target),
                      mq_shape_has_batch(graph_shape(node, 0)) ? " without mixing the batch (N) with other "
                                                                 "dimensions"
                                                               : "");
  }
  status = name_batch(node, ints, &out, err);
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

/* NumPy's broadcast_to, but a 1 in the target leaves the input's dimension. */
mq_status graph_infer_Expand(struct mq_node *node, struct mq_err *err) {
  const int64_t *ints;
  size_t n;
  mq_status status = mq_node_get_constant_ints(&ints, &n, node, 1, err);
  if (status != MQ_OK) {
    return status;
  }
  if (n > MQ_MAX_RANK) {
    return graph_fail(err, node, "target shape has %zu dimensions, expected %d at most", n, MQ_MAX_RANK);
  }
  const struct mq_shape *in = graph_shape(node, 0);
  struct mq_shape target = {.rank = (int)n}, out;
  bool is_literal = false;
  for (int i = 0; i < (int)n; i++) {
    int k = i - ((int)n - in->rank);
    bool is_batch = k >= 0 && in->dim[k] == MQ_DIM_BATCH;
    if (ints[i] < 0 && ints[i] != MQ_DIM_BATCH) {
      return graph_fail(err, node, "target dimension %d is %lld", i, (long long)ints[i]);
    }
    bool is_file_batch = is_batch && ints[i] > 1 && ints[i] == node->graph->file_batch;
    is_literal = is_literal || is_file_batch;
    target.dim[i] = is_file_batch ? MQ_DIM_BATCH : ints[i];
  }
  status = graph_broadcast(&out, node, in, &target, err);
  if (status == MQ_OK && is_literal) {
    status = graph_set_constant_ints(node, 1, target.dim, n, err);
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

mq_status graph_infer_Flatten(struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *in = graph_shape(node, 0);
  struct mq_shape out = {.rank = 2};
  int axis;
  mq_status status = mq_node_get_axis(&axis, node, 1, in->rank, err);
  if (status == MQ_OK) {
    status = graph_merge_dims(&out.dim[0], node, in, 0, axis, err);
  }
  if (status == MQ_OK) {
    status = graph_merge_dims(&out.dim[1], node, in, axis, in->rank, err);
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

/* Without axes a written model would lose its batch when that is 1: they are spelt out. */
static mq_status name_squeezed(struct mq_node *node, const int64_t *axes, int n_axes, struct mq_err *err) {
  bool is_given = graph_has_input(node, 1) || mq_node_find_attr(node, "axes");
  if (is_given || !mq_shape_has_batch(graph_shape(node, 0))) {
    return MQ_OK;
  }
  if (n_axes == 0) {
    node->op = MQ_OP_Identity;
    return MQ_OK;
  }
  return node->graph->opset >= 13 ? graph_set_constant_ints(node, 1, axes, (size_t)n_axes, err)
                                  : mq_node_set_ints(node->graph, node, "axes", axes, (size_t)n_axes, err);
}

mq_status graph_infer_Squeeze(struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *in = graph_shape(node, 0);
  struct mq_shape out = {.rank = 0};
  int64_t axes[MQ_MAX_RANK];
  int n_axes, next = 0;
  mq_status status = mq_node_get_axes(axes, &n_axes, node, in->rank, err);
  if (status != MQ_OK) {
    return status;
  }
  for (int i = 0; i < in->rank; i++) {
    if (next == n_axes || axes[next] != i) {
      out.dim[out.rank++] = in->dim[i];
      continue;
    }
    next++;
    if (in->dim[i] != 1) {
      char text[200];
      return graph_fail(err, node, "removes axis %d of %s, %s", i, text_of(text, in),
                        in->dim[i] == MQ_DIM_BATCH ? "which is the batch" : "which is not of size 1");
    }
  }
  status = name_squeezed(node, axes, n_axes, err);
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

mq_status graph_infer_Unsqueeze(struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *in = graph_shape(node, 0);
  const int64_t *given;
  size_t n;
  mq_status status = graph_given_axes(&given, &n, node, err);
  if (status != MQ_OK) {
    return status;
  }
  if (n > (size_t)(MQ_MAX_RANK - in->rank)) {
    return graph_fail(err, node, "output would have more than %d dimensions", MQ_MAX_RANK);
  }
  struct mq_shape out = {.rank = in->rank + (int)n};
  int64_t axes[MQ_MAX_RANK];
  int n_axes, next = 0, from = 0;
  status = graph_normal_axes(axes, &n_axes, node, out.rank, given, n, err);
  for (int i = 0; i < out.rank && status == MQ_OK; i++) {
    bool is_new = next < n_axes && axes[next] == i;
    next += is_new;
    out.dim[i] = is_new ? 1 : in->dim[from++];
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}
