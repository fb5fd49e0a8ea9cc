#include "tune/points.h"

mq_status tune_find_nodes(const struct mq_node **nodes, const struct mq_prepared *prepared,
                          struct mq_err *err) {
  for (size_t i = 0; i < prepared->n_points; i++) {
    nodes[i] = NULL;
  }
  for (size_t i = 0; i < prepared->graph->n_nodes; i++) {
    const struct mq_node *node = prepared->graph->nodes[i];
    int64_t point;
    if (node->op != MQ_OP_FakeQuantize) {
      continue;
    }
    mq_status status = mq_node_get_int(&point, node, "point", -1, err);
    if (status != MQ_OK) {
      return status;
    }
    if (point < 0 || (uint64_t)point >= prepared->n_points) {
      return mq_fail(err, MQ_BAD_INPUT, "node %s (FakeQuantize): point %lld, expected 0 to %zu", node->name,
                     (long long)point, prepared->n_points);
    }
    nodes[point] = nodes[point] ? nodes[point] : node;
  }
  return MQ_OK;
}

const struct mq_tensor *tune_constant_behind(const struct mq_value *value) {
  while (value && !value->constant && value->producer && value->producer->op == MQ_OP_FakeQuantize) {
    value = value->producer->inputs[0];
  }
  return value ? value->constant : NULL;
}

size_t tune_point_behind(const struct mq_prepared *prepared, const struct mq_value *value) {
  while (value && value->producer) {
    const struct mq_node *node = value->producer;
    int64_t point;
    if (node->op == MQ_OP_FakeQuantize) {
      bool is_known = mq_node_get_int(&point, node, "point", -1, NULL) == MQ_OK && point >= 0 &&
                      (uint64_t)point < prepared->n_points;
      return is_known ? (size_t)point : SIZE_MAX;
    }
    if (mq_op_get(node->op)->kind != MQ_KIND_PASSTHROUGH) {
      return SIZE_MAX;
    }
    value = node->inputs[0];
  }
  return SIZE_MAX;
}

mq_status tune_weight_rows(const float **rows, float **owned, int64_t *row_count,
                           const struct mq_tensor *weights, int64_t n_channels, int channel_axis,
                           struct mq_err *err) {
  int64_t n = mq_shape_count(&weights->shape), inner = 1;
  *owned = NULL;
  *row_count = n_channels ? n / n_channels : 0;
  *rows = weights->data;
  if (n_channels <= 1 || channel_axis <= 0) {
    return MQ_OK;
  }
  *owned = mq_alloc((size_t)n + 1, sizeof(float));
  if (!*owned) {
    return mq_fail_memory(err, "weights by channel");
  }
  for (int i = channel_axis + 1; i < weights->shape.rank; i++) {
    inner *= weights->shape.dim[i];
  }
  int64_t outer = *row_count / inner;
  const float *from = weights->data;
  for (int64_t o = 0; o < outer; o++) {
    for (int64_t c = 0; c < n_channels; c++) {
      for (int64_t i = 0; i < inner; i++) {
        (*owned)[c * *row_count + o * inner + i] = from[(o * n_channels + c) * inner + i];
      }
    }
  }
  *rows = *owned;
  return MQ_OK;
}
