/* Parameters of Slice and Pad. */
#include <string.h>

#include "graph/internal.h"

/* A list that is an attribute in old opsets and a constant input in new ones. */
static mq_status read_list(const int64_t **ints, size_t *n, const struct mq_node *node, const char *name,
                           int input, struct mq_err *err) {
  if (graph_has_input(node, input)) {
    return mq_node_get_constant_ints(ints, n, node, input, err);
  }
  return mq_node_get_ints(ints, n, node, name, err);
}

static int64_t clamp(int64_t i, int64_t lo, int64_t hi) {
  return i < lo ? lo : i > hi ? hi : i;
}

/* NumPy's rules. INT64_MIN as the end of a backward slice means "past the front". */
static void resolve(struct mq_slicing *slicing, int axis, int64_t start, int64_t end, int64_t step,
                    int64_t dim) {
  start = start < 0 ? (start < -dim ? -1 : start + dim) : start;
  end = end < 0 ? (end < -dim ? -1 : end + dim) : end;
  int64_t count;
  if (step > 0) {
    start = clamp(start, 0, dim);
    end = clamp(end, 0, dim);
    count = end > start ? (end - start - 1) / step + 1 : 0;
  } else {
    start = clamp(start, -1, dim - 1);
    end = clamp(end, -1, dim - 1);
    uint64_t back = (uint64_t)0 - (uint64_t)step; /* -step, also for INT64_MIN */
    count = start > end ? (int64_t)((uint64_t)(start - end - 1) / back) + 1 : 0;
  }
  slicing->start[axis] = count ? start : 0;
  slicing->step[axis] = count > 1 ? step : 1; /* one element needs no step, which may be huge */
  slicing->count[axis] = count;
}

/* Along the batch only the whole of it can be taken; the file may have spelt its size (1 or N). */
static mq_status resolve_batch(const struct mq_node *node, int64_t start, int64_t end, int64_t step,
                               struct mq_err *err) {
  int64_t file_batch = node->graph->file_batch;
  bool is_to_end = end == MQ_DIM_BATCH || end >= INT32_MAX || (file_batch && end >= file_batch);
  if (start == 0 && step == 1 && is_to_end) {
    return MQ_OK;
  }
  return graph_fail(err, node, "takes images %lld to %lld (step %lld) out of the batch, expected all of them",
                    (long long)start, (long long)end, (long long)step);
}

static mq_status check_lengths(const struct mq_node *node, size_t n, size_t n_ends, size_t n_axes,
                               size_t n_steps, int rank, struct mq_err *err) {
  if (n != n_ends || (n_axes && n_axes != n) || (n_steps && n_steps != n) || n > (size_t)rank) {
    return graph_fail(err, node,
                      "%zu starts, %zu ends, %zu axes, %zu steps for %d dimensions, expected as many of each",
                      n, n_ends, n_axes, n_steps, rank);
  }
  return MQ_OK;
}

static mq_status apply_slice(struct mq_slicing *slicing, const struct mq_node *node, int axis, int64_t start,
                             int64_t end, int64_t step, struct mq_err *err) {
  if (step == 0) {
    return graph_fail(err, node, "step 0 along axis %d", axis);
  }
  int64_t dim = node->inputs[0]->shape.dim[axis];
  if (dim == MQ_DIM_BATCH) {
    return resolve_batch(node, start, end, step, err);
  }
  if (start == MQ_DIM_BATCH || (end == MQ_DIM_BATCH && step > 0)) {
    return graph_fail(err, node, "cuts axis %d at the batch size", axis);
  }
  resolve(slicing, axis, start, end, step, dim);
  return MQ_OK;
}

mq_status mq_node_get_slicing(struct mq_slicing *slicing, const struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *shape = &node->inputs[0]->shape;
  *slicing = (struct mq_slicing){.rank = shape->rank};
  const int64_t *starts, *ends, *axes = NULL, *steps = NULL;
  size_t n, n_ends, n_axes = 0, n_steps = 0;
  mq_status status = read_list(&starts, &n, node, "starts", 1, err);
  if (status == MQ_OK) {
    status = read_list(&ends, &n_ends, node, "ends", 2, err);
  }
  if (status == MQ_OK) {
    status = read_list(&axes, &n_axes, node, "axes", 3, err);
  }
  if (status == MQ_OK) {
    status = read_list(&steps, &n_steps, node, "steps", 4, err);
  }
  if (status == MQ_OK) {
    status = check_lengths(node, n, n_ends, n_axes, n_steps, shape->rank, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  for (int i = 0; i < shape->rank; i++) {
    slicing->step[i] = 1;
    slicing->count[i] = shape->dim[i];
  }
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    int axis;
    status = graph_normal_axis(&axis, node, n_axes ? axes[i] : (int64_t)i, shape->rank, false, err);
    if (status == MQ_OK) {
      status = apply_slice(slicing, node, axis, starts[i], ends[i], n_steps ? steps[i] : 1, err);
    }
  }
  return status;
}

/* ---- Pad ---------------------------------------------------------------------------------------------- */

static mq_status read_mode(mq_pad_mode *mode, const struct mq_node *node, struct mq_err *err) {
  static const char *const names[] = {[MQ_PAD_CONSTANT] = "constant",
                                      [MQ_PAD_REFLECT] = "reflect",
                                      [MQ_PAD_EDGE] = "edge",
                                      [MQ_PAD_WRAP] = "wrap"};
  const char *name;
  mq_status status = mq_node_get_string(&name, node, "mode", "constant", err);
  if (status != MQ_OK) {
    return status;
  }
  for (int i = 0; i < 4; i++) {
    if (strcmp(name, names[i]) == 0) {
      *mode = (mq_pad_mode)i;
      return MQ_OK;
    }
  }
  return graph_fail(err, node, "mode is '%.40s', expected constant, reflect, edge or wrap", name);
}

static mq_status read_value(double *value, const struct mq_node *node, struct mq_err *err) {
  float f;
  mq_status status = graph_has_input(node, 2) ? mq_node_get_constant_float(&f, node, 2, err)
                                              : mq_node_get_float(&f, node, "value", 0, err);
  *value = status == MQ_OK ? (double)f : 0;
  return status;
}

static mq_status check_pad(const struct mq_padding *padding, const struct mq_node *node, int axis,
                           struct mq_err *err) {
  int64_t begin = padding->begin[axis], end = padding->end[axis], dim = node->inputs[0]->shape.dim[axis];
  if (dim == MQ_DIM_BATCH) {
    return begin || end ? graph_fail(err, node, "pads the batch") : MQ_OK;
  }
  /* The bounds come first: within them the sum cannot overflow. */
  bool is_bounded = begin >= -dim && end >= -dim && begin <= MQ_MAX_ELEMENTS && end <= MQ_MAX_ELEMENTS;
  if (!is_bounded || begin + end < -dim) {
    return graph_fail(err, node, "pads %lld and %lld along axis %d of size %lld", (long long)begin,
                      (long long)end, axis, (long long)dim);
  }
  bool is_reflect = padding->mode == MQ_PAD_REFLECT;
  int64_t most = is_reflect ? dim - 1 : padding->mode == MQ_PAD_WRAP ? dim : INT64_MAX;
  bool needs_data = padding->mode != MQ_PAD_CONSTANT && (begin > 0 || end > 0);
  if (needs_data && (begin > most || end > most || dim < 1)) {
    return graph_fail(err, node, "pads %lld and %lld along axis %d of size %lld, too much to %s",
                      (long long)begin, (long long)end, axis, (long long)dim,
                      is_reflect ? "reflect" : "repeat");
  }
  return MQ_OK;
}

mq_status mq_node_get_padding(struct mq_padding *padding, const struct mq_node *node, struct mq_err *err) {
  int rank = graph_rank(node, 0), n_axes = rank;
  *padding = (struct mq_padding){.rank = rank};
  const int64_t *pads, *given = NULL;
  size_t n, n_given = 0;
  mq_status status = read_list(&pads, &n, node, "pads", 1, err);
  if (status == MQ_OK && graph_has_input(node, 3)) {
    status = mq_node_get_constant_ints(&given, &n_given, node, 3, err);
    n_axes = (int)n_given;
  }
  if (status == MQ_OK) {
    status = read_mode(&padding->mode, node, err);
  }
  if (status == MQ_OK) {
    status = read_value(&padding->value, node, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  if (n_axes > rank || n != 2 * (size_t)n_axes) {
    return graph_fail(err, node, "%zu pads for %d axes, expected two for each", n, n_axes);
  }
  for (int i = 0; i < n_axes && status == MQ_OK; i++) {
    int axis;
    status = graph_normal_axis(&axis, node, given ? given[i] : i, rank, false, err);
    if (status == MQ_OK) {
      padding->begin[axis] = pads[i];
      padding->end[axis] = pads[n_axes + i];
      status = check_pad(padding, node, axis, err);
    }
  }
  return status;
}
