/* Windows of convolutions and pools: kernel, stride, dilation, explicit pads. */
#include <string.h>

#include "graph/internal.h"

/* Keeps every product and sum of window arithmetic far inside int64. */
#define MAX_WINDOW ((int64_t)1 << 31)

static bool is_convolution(const struct mq_node *node) {
  return node->op == MQ_OP_Conv || node->op == MQ_OP_ConvTranspose;
}

/* A list attribute with one entry per spatial dimension into out[2 - rank ..]. */
static mq_status read_list(int64_t out[2], const struct mq_node *node, const char *name, int rank,
                           int64_t least, struct mq_err *err) {
  const int64_t *ints;
  size_t n;
  mq_status status = mq_node_get_ints(&ints, &n, node, name, err);
  if (status != MQ_OK || !n) {
    return status;
  }
  if (n != (size_t)rank) {
    return graph_fail(err, node, "attribute '%s' has %zu entries, expected %d", name, n, rank);
  }
  for (int i = 0; i < rank; i++) {
    if (ints[i] < least || ints[i] > MAX_WINDOW) {
      return graph_fail(err, node, "attribute '%s' has the entry %lld, expected %lld or more", name,
                        (long long)ints[i], (long long)least);
    }
    out[2 - rank + i] = ints[i];
  }
  return MQ_OK;
}

static mq_status read_pads(struct mq_window *window, const struct mq_node *node, struct mq_err *err) {
  const int64_t *ints;
  size_t n;
  mq_status status = mq_node_get_ints(&ints, &n, node, "pads", err);
  if (status != MQ_OK || !n) {
    return status;
  }
  int rank = window->spatial_rank;
  if (n != 2 * (size_t)rank) {
    return graph_fail(err, node, "attribute 'pads' has %zu entries, expected %d", n, 2 * rank);
  }
  for (int i = 0; i < rank; i++) {
    int64_t begin = ints[i], end = ints[rank + i];
    if (begin < 0 || end < 0 || begin > MAX_WINDOW || end > MAX_WINDOW) {
      return graph_fail(err, node, "attribute 'pads' has a negative or huge entry");
    }
    window->pad_begin[2 - rank + i] = begin;
    window->pad_end[2 - rank + i] = end;
  }
  return MQ_OK;
}

static mq_status read_kernel(struct mq_window *window, const struct mq_node *node, struct mq_err *err) {
  int rank = window->spatial_rank;
  mq_status status = read_list(window->kernel, node, "kernel_shape", rank, 1, err);
  if (status != MQ_OK) {
    return status;
  }
  bool is_given = mq_node_find_attr(node, "kernel_shape") != NULL;
  if (!is_convolution(node)) {
    return is_given ? MQ_OK : graph_fail(err, node, "no attribute 'kernel_shape'");
  }
  const struct mq_shape *weights = &node->inputs[1]->shape;
  if (weights->rank != rank + 2) {
    return graph_fail(err, node, "weights have %d dimensions, expected %d", weights->rank, rank + 2);
  }
  for (int i = 0; i < rank; i++) {
    int64_t dim = weights->dim[2 + i];
    if (dim < 1 || dim > MAX_WINDOW || (is_given && window->kernel[2 - rank + i] != dim)) {
      return graph_fail(err, node, "kernel_shape and the weights' shape disagree, or a kernel is empty");
    }
    window->kernel[2 - rank + i] = dim;
  }
  return MQ_OK;
}

static int64_t extent(const struct mq_window *window, int i) {
  return (window->kernel[i] - 1) * window->dilation[i] + 1;
}

/* total pad split in two halves; an odd one goes to the end or to the beginning. */
static void set_pads(struct mq_window *window, int i, int64_t total, bool is_end_larger) {
  int64_t small = total / 2;
  window->pad_begin[i] = is_end_larger ? small : total - small;
  window->pad_end[i] = is_end_larger ? total - small : small;
}

/* SAME: out = ceil(in / stride); transposed: out = in * stride. */
static void pad_same(struct mq_window *window, int i, int64_t in, bool is_upper) {
  int64_t out = (in + window->stride[i] - 1) / window->stride[i];
  int64_t total = (out - 1) * window->stride[i] + extent(window, i) - in;
  set_pads(window, i, total > 0 ? total : 0, is_upper);
}

/* ConvTranspose with a wanted output size. Less than no padding becomes output padding. */
static void pad_transposed(struct mq_window *window, int i, int64_t in, int64_t out, bool is_upper) {
  int64_t total = window->stride[i] * (in - 1) + window->output_pad[i] + extent(window, i) - out;
  if (total < 0) {
    window->output_pad[i] -= total;
    total = 0;
  }
  set_pads(window, i, total, is_upper);
}

static mq_status pad_to_output_shape(struct mq_window *window, const struct mq_node *node, bool is_upper,
                                     bool *is_given, struct mq_err *err) {
  const int64_t *sizes;
  size_t n;
  mq_status status = mq_node_get_ints(&sizes, &n, node, "output_shape", err);
  *is_given = status == MQ_OK && n;
  if (!*is_given) {
    return status;
  }
  int rank = window->spatial_rank;
  if (n != (size_t)rank && n != (size_t)rank + 2) {
    return graph_fail(err, node, "attribute 'output_shape' has %zu entries, expected %d", n, rank);
  }
  for (int i = 0; i < rank; i++) {
    int64_t out = sizes[n - (size_t)rank + (size_t)i];
    if (out < 1 || out > MAX_WINDOW) {
      return graph_fail(err, node, "attribute 'output_shape' has the entry %lld", (long long)out);
    }
    pad_transposed(window, 2 - rank + i, node->inputs[0]->shape.dim[2 + i], out, is_upper);
  }
  return MQ_OK;
}

static mq_status resolve_auto_pad(struct mq_window *window, const struct mq_node *node, struct mq_err *err) {
  const char *mode;
  mq_status status = mq_node_get_string(&mode, node, "auto_pad", "NOTSET", err);
  if (status != MQ_OK) {
    return status;
  }
  bool is_upper = strcmp(mode, "SAME_UPPER") == 0, is_lower = strcmp(mode, "SAME_LOWER") == 0;
  bool is_valid = strcmp(mode, "VALID") == 0, is_explicit = !*mode || strcmp(mode, "NOTSET") == 0;
  if (!is_upper && !is_lower && !is_valid && !is_explicit) {
    return graph_fail(err, node, "auto_pad is '%.40s', expected NOTSET, SAME_UPPER, SAME_LOWER or VALID",
                      mode);
  }
  bool is_transposed = node->op == MQ_OP_ConvTranspose, is_sized = false;
  if (is_transposed) {
    status = pad_to_output_shape(window, node, is_upper, &is_sized, err);
  }
  if (status != MQ_OK || is_sized || is_explicit) {
    return status;
  }
  window->ceil_mode = false;
  for (int i = 2 - window->spatial_rank; i < 2; i++) {
    int64_t in = node->inputs[0]->shape.dim[i + window->spatial_rank];
    if (is_valid) {
      set_pads(window, i, 0, true);
    } else if (is_transposed) {
      pad_transposed(window, i, in, in * window->stride[i], is_upper);
    } else {
      pad_same(window, i, in, is_upper);
    }
  }
  return MQ_OK;
}

/* A pool's end pad beyond what its last window reaches is dropped: exporters of opset 9 wrote ceil_mode as a
 * floor with larger pads. */
static void trim_pads(struct mq_window *window, const struct mq_node *node) {
  for (int i = 2 - window->spatial_rank; i < 2 && !window->ceil_mode; i++) {
    int64_t in = node->inputs[0]->shape.dim[i + window->spatial_rank];
    int64_t out = graph_window_output(window, i, in, false);
    int64_t reach = (out - 1) * window->stride[i] + extent(window, i) - in - window->pad_begin[i];
    if (out > 0 && window->pad_end[i] > reach) {
      window->pad_end[i] = reach > 0 ? reach : 0;
    }
  }
}

static mq_status read_flags(struct mq_window *window, const struct mq_node *node, struct mq_err *err) {
  int64_t groups, ceil_mode, count_include_pad;
  mq_status status = mq_node_get_int(&groups, node, "group", 1, err);
  if (status == MQ_OK) {
    status = mq_node_get_int(&ceil_mode, node, "ceil_mode", 0, err);
  }
  if (status == MQ_OK) {
    status = mq_node_get_int(&count_include_pad, node, "count_include_pad", 0, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  if (groups < 1 || groups > MAX_WINDOW) {
    return graph_fail(err, node, "group is %lld, expected 1 or more", (long long)groups);
  }
  window->groups = groups;
  window->ceil_mode = ceil_mode != 0;
  window->count_include_pad = count_include_pad != 0;
  return MQ_OK;
}

mq_status mq_node_get_window(struct mq_window *window, const struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *input = &node->inputs[0]->shape;
  *window = (struct mq_window){
      .spatial_rank = input->rank - 2, .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1};
  int rank = window->spatial_rank;
  if (rank < 1 || rank > 2) {
    window->spatial_rank = 2;
    return graph_fail(err, node, "input has %d dimensions, expected 3 or 4", input->rank);
  }
  for (int i = 0; i < rank; i++) {
    if (input->dim[2 + i] < 0 || input->dim[2 + i] > MAX_WINDOW) {
      return graph_fail(err, node, "the batch or an unknown size stands in spatial dimension %d", 2 + i);
    }
  }
  mq_status status = read_kernel(window, node, err);
  if (status == MQ_OK) {
    status = read_list(window->stride, node, "strides", rank, 1, err);
  }
  if (status == MQ_OK) {
    status = read_list(window->dilation, node, "dilations", rank, 1, err);
  }
  if (status == MQ_OK) {
    status = read_list(window->output_pad, node, "output_padding", rank, 0, err);
  }
  if (status == MQ_OK) {
    status = read_pads(window, node, err);
  }
  if (status == MQ_OK) {
    status = read_flags(window, node, err);
  }
  if (status == MQ_OK) {
    status = resolve_auto_pad(window, node, err);
  }
  if (status == MQ_OK && !is_convolution(node)) {
    trim_pads(window, node);
  }
  return status;
}

int64_t graph_window_output(const struct mq_window *window, int i, int64_t in, bool is_transposed) {
  int64_t pads = window->pad_begin[i] + window->pad_end[i], stride = window->stride[i];
  if (is_transposed) {
    return stride * (in - 1) + window->output_pad[i] + extent(window, i) - pads;
  }
  int64_t room = in + pads - extent(window, i);
  if (room < 0) {
    return 0;
  }
  if (!window->ceil_mode) {
    return room / stride + 1;
  }
  int64_t out = (room + stride - 1) / stride + 1;
  /* The last window must begin inside the input or its leading pad. */
  return (out - 1) * stride >= in + window->pad_begin[i] ? out - 1 : out;
}
