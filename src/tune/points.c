#include "tune/points.h"

#include <math.h>

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

void tune_store_rows(struct mq_tensor *weights, const float *rows, int64_t n_rows, int axis) {
  int64_t n = mq_shape_count(&weights->shape), inner = 1;
  for (int i = axis + 1; i < weights->shape.rank; i++) {
    inner *= weights->shape.dim[i];
  }
  int64_t row_count = n_rows ? n / n_rows : 0;
  float *to = weights->data;
  for (int64_t i = 0; i < n; i++) {
    int64_t row = i / inner % n_rows, outer = i / (inner * n_rows);
    to[i] = rows[row * row_count + outer * inner + i % inner];
  }
}

int tune_row_axis(const struct mq_point *point, const struct mq_node *node) {
  const struct mq_value *y = node->outputs[0];
  const struct mq_node *reader = y->n_uses > 0 ? y->uses[0].node : NULL;
  int64_t is_transposed = 0;
  if (point->channel_axis >= 0 || !reader || y->shape.rank < 2) {
    return point->channel_axis >= 0 ? point->channel_axis : 0;
  }
  if (reader->op == MQ_OP_Gemm) {
    return mq_node_get_int(&is_transposed, reader, "transB", 0, NULL) == MQ_OK && is_transposed ? 0 : 1;
  }
  return reader->op == MQ_OP_ConvTranspose || reader->op == MQ_OP_MatMul ? 1 : 0;
}

/* Where the bias is int32, |b| <= 2^30 s_x s_w is wanted: s_w >= |b| / (2^30 s_x). Raises `least` (zeroed,
 * n_channels entries; one: the largest over the channels) by one consumer of the weights. */
static void raise_least_scale(float *least, int64_t n_channels, const struct mq_prepared *prepared,
                              const struct mq_node *consumer) {
  const struct mq_tensor *bias = consumer->n_inputs > 2 ? tune_constant_behind(consumer->inputs[2]) : NULL;
  size_t input = tune_point_behind(prepared, consumer->inputs[0]);
  bool is_layer =
      consumer->op == MQ_OP_Conv || consumer->op == MQ_OP_ConvTranspose || consumer->op == MQ_OP_Gemm;
  if (!is_layer || !bias || input == SIZE_MAX || prepared->points[input].qparams.n_channels == 0) {
    return;
  }
  double step = ldexp((double)prepared->points[input].qparams.scale[0], 30);
  int64_t n = mq_shape_count(&bias->shape);
  for (int64_t i = 0; i < n; i++) {
    float wanted = (float)(fabs(mq_tensor_get_double(bias, i)) / step);
    float *entry = &least[n_channels == n ? i : 0];
    *entry = wanted > *entry ? wanted : *entry;
  }
}

mq_status tune_least_scales(float **least, const struct mq_prepared *prepared, const struct mq_node *node,
                            const struct mq_point *point, mq_bias_form bias, struct mq_err *err) {
  *least = NULL;
  if (bias != MQ_BIAS_INT32 || point->kind != MQ_POINT_WEIGHT) {
    return MQ_OK;
  }
  *least = mq_alloc((size_t)point->n_channels, sizeof **least);
  if (!*least) {
    return mq_fail_memory(err, "least scales");
  }
  const struct mq_value *quantized = node->outputs[0];
  for (size_t u = 0; u < quantized->n_uses; u++) {
    if (quantized->uses[u].input == 1) {
      raise_least_scale(*least, point->n_channels, prepared, quantized->uses[u].node);
    }
  }
  return MQ_OK;
}
