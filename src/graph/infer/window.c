/* Convolutions and pools. */
#include "graph/infer/infer.h"

/* out = N, channels, spatial sizes of the window over the input. */
static mq_status window_shape(struct mq_shape *out, const struct mq_node *node,
                              const struct mq_window *window, int64_t channels, struct mq_err *err) {
  const struct mq_shape *in = graph_shape(node, 0);
  *out = *in;
  out->dim[1] = channels;
  for (int i = 0; i < window->spatial_rank; i++) {
    int64_t size = in->dim[2 + i];
    out->dim[2 + i] =
        graph_window_output(window, 2 - window->spatial_rank + i, size, node->op == MQ_OP_ConvTranspose);
    if (out->dim[2 + i] < 1) {
      return graph_fail(err, node,
                        "the window does not fit: input size %lld gives output size %lld along axis %d",
                        (long long)size, (long long)out->dim[2 + i], 2 + i);
    }
  }
  return MQ_OK;
}

static mq_status check_bias(const struct mq_node *node, int64_t channels, struct mq_err *err) {
  if (!graph_has_input(node, 2)) {
    return MQ_OK;
  }
  const struct mq_shape *bias = graph_shape(node, 2);
  if (bias->rank != 1 || bias->dim[0] != channels) {
    char text[200];
    return graph_fail(err, node, "bias is %s, expected %lld", mq_shape_format(text, sizeof text, bias),
                      (long long)channels);
  }
  return MQ_OK;
}

static mq_status check_channels(const struct mq_node *node, int64_t channels, int64_t expected,
                                int64_t out_channels, int64_t groups, struct mq_err *err) {
  if (channels != expected) {
    return graph_fail(err, node, "input has %lld channels, the weights (group %lld) expect %lld",
                      channels == MQ_DIM_BATCH ? -1 : (long long)channels, (long long)groups,
                      (long long)expected);
  }
  if (channels % groups || out_channels % groups || out_channels < 1) {
    return graph_fail(err, node, "%lld input and %lld output channels cannot be cut into %lld groups",
                      (long long)channels, (long long)out_channels, (long long)groups);
  }
  return check_bias(node, out_channels, err);
}

static mq_status convolution(struct mq_node *node, bool is_transposed, struct mq_err *err) {
  struct mq_window window;
  mq_status status = graph_require_float(node, 0, err);
  if (status == MQ_OK) {
    status = graph_require_float(node, 1, err);
  }
  if (status == MQ_OK) {
    status = mq_node_get_window(&window, node, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  const struct mq_shape *weights = graph_shape(node, 1); /* O I/g K K, transposed: I O/g K K */
  int64_t per_group = weights->dim[1], whole;
  if (__builtin_mul_overflow(per_group, window.groups, &whole)) {
    return graph_fail(err, node, "group is %lld", (long long)window.groups);
  }
  int64_t out_channels = is_transposed ? whole : weights->dim[0];
  int64_t in_channels = is_transposed ? weights->dim[0] : whole;
  status = check_channels(node, graph_shape(node, 0)->dim[1], in_channels, out_channels, window.groups, err);
  struct mq_shape out;
  if (status == MQ_OK) {
    status = window_shape(&out, node, &window, out_channels, err);
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

mq_status graph_infer_Conv(struct mq_node *node, struct mq_err *err) {
  return convolution(node, false, err);
}

mq_status graph_infer_ConvTranspose(struct mq_node *node, struct mq_err *err) {
  return convolution(node, true, err);
}

static mq_status pool(struct mq_node *node, struct mq_err *err) {
  struct mq_window window;
  struct mq_shape out;
  mq_status status = mq_node_get_window(&window, node, err);
  if (status == MQ_OK) {
    status = window_shape(&out, node, &window, graph_shape(node, 0)->dim[1], err);
  }
  for (int i = 0; status == MQ_OK && i < 2; i++) {
    int64_t extent = (window.kernel[i] - 1) * window.dilation[i] + 1;
    if (window.pad_begin[i] >= extent || window.pad_end[i] >= extent) {
      return graph_fail(err, node, "a window would lie in the padding only");
    }
  }
  if (status == MQ_OK) {
    status = graph_set_output(node, 0, graph_dtype(node, 0), &out, err);
  }
  return status == MQ_OK ? graph_set_output(node, 1, MQ_I64, &out, err) : status;
}

mq_status graph_infer_MaxPool(struct mq_node *node, struct mq_err *err) {
  return pool(node, err);
}

mq_status graph_infer_AveragePool(struct mq_node *node, struct mq_err *err) {
  mq_status status = graph_require_float(node, 0, err);
  return status == MQ_OK ? pool(node, err) : status;
}

static mq_status global_pool(struct mq_node *node, struct mq_err *err) {
  struct mq_shape out = *graph_shape(node, 0);
  mq_status status = graph_require_float(node, 0, err);
  if (status == MQ_OK && out.rank < 3) {
    return graph_fail(err, node, "input has %d dimensions, expected 3 or more", out.rank);
  }
  for (int i = 2; i < out.rank && status == MQ_OK; i++) {
    status = graph_require_no_batch(node, i, "pools", err);
    out.dim[i] = 1;
  }
  return status == MQ_OK ? graph_set_output(node, 0, graph_dtype(node, 0), &out, err) : status;
}

mq_status graph_infer_GlobalAveragePool(struct mq_node *node, struct mq_err *err) {
  return global_pool(node, err);
}

mq_status graph_infer_GlobalMaxPool(struct mq_node *node, struct mq_err *err) {
  return global_pool(node, err);
}
