#include "prepare/rewrite.h"

#include <assert.h>
#include <string.h>

void mq_rename_log_deinit(struct mq_rename_log *log) {
  mq_free(log->items);
  *log = (struct mq_rename_log){0};
}

mq_status mq_rename_log_add(struct mq_rename_log *log, const char *from, const char *to, struct mq_err *err) {
  if (!log) return MQ_OK;
  if (log->n == log->capacity) {
    size_t capacity = log->capacity ? 2 * log->capacity : 16;
    struct mq_rename *items = mq_realloc(log->items, capacity, sizeof *items);
    if (!items) return mq_fail_memory(err, "renamed tensors");
    log->items = items;
    log->capacity = capacity;
  }
  log->items[log->n++] = (struct mq_rename){.from = from, .to = to};
  return MQ_OK;
}

void mq_rewrite_take_output(struct mq_node *node, struct mq_value *value) {
  assert(!value->producer && node->outputs[0]);
  node->outputs[0]->producer = NULL;
  node->outputs[0] = value;
  value->producer = node;
  value->producer_output = 0;
}

mq_status mq_rewrite_constant(struct mq_graph *graph, struct mq_node *node, int input, const char *name,
                              const struct mq_tensor *tensor, struct mq_err *err) {
  struct mq_value *old = input < node->n_inputs ? node->inputs[input] : NULL, *value = NULL;
  mq_status status = mq_graph_add_constant(&value, graph, old ? old->name : name, tensor, err);
  if (!status) status = mq_graph_set_input(graph, node, input, value, err);
  if (!status && old && old->n_uses == 0 && !old->is_output) mq_graph_swap_names(graph, old, value);
  return status;
}

mq_status mq_rewrite_drop_inputs(struct mq_graph *graph, struct mq_node *node, int n_inputs,
                                 struct mq_err *err) {
  for (int i = n_inputs; i < node->n_inputs; i++) {
    mq_status status = mq_graph_set_input(graph, node, i, NULL, err);
    if (status) return status;
  }
  if (node->n_inputs > n_inputs) node->n_inputs = n_inputs;
  return MQ_OK;
}

const char *mq_rewrite_bias_name(struct mq_graph *graph, const struct mq_node *layer) {
  const char *weight = layer->inputs[1]->name;
  size_t n = strlen(weight), n_suffix = strlen(".weight");
  if (n > n_suffix && !strcmp(weight + n - n_suffix, ".weight")) {
    return mq_arena_printf(&graph->arena, "%.*s.bias", (int)(n - n_suffix), weight);
  }
  return mq_arena_printf(&graph->arena, "%s_bias", weight);
}

int64_t mq_layer_channels(const struct mq_node *layer) {
  const struct mq_shape *w = &layer->inputs[1]->constant->shape;
  int64_t group = 1, trans_b = 0;
  switch (layer->op) {
    case MQ_OP_ConvTranspose:
      return mq_node_get_int(&group, layer, "group", 1, NULL) ? w->dim[1] : w->dim[1] * group;
    case MQ_OP_Gemm:
      return !mq_node_get_int(&trans_b, layer, "transB", 0, NULL) && trans_b ? w->dim[0] : w->dim[1];
    case MQ_OP_MatMul:
      return w->dim[1];
    default:
      return w->dim[0];
  }
}

bool mq_is_channel_constant(const struct mq_value *value, int rank, int axis, int64_t n_channels) {
  if (!value->constant || value->constant->dtype != MQ_F32) return false;
  const struct mq_shape *shape = &value->constant->shape;
  if (shape->rank > rank) return false;
  for (int i = 0; i < shape->rank; i++) {
    bool is_channel = i + rank - shape->rank == axis;
    if (shape->dim[i] != 1 && !(is_channel && shape->dim[i] == n_channels)) return false;
  }
  return true;
}

bool mq_read_channel_bias(double *bias, int64_t n_channels, const struct mq_node *layer) {
  const struct mq_value *value = layer->n_inputs > 2 ? layer->inputs[2] : NULL;
  memset(bias, 0, (size_t)n_channels * sizeof *bias);
  if (!value) return true;
  int rank = layer->op == MQ_OP_Gemm ? 2 : 1;
  if (!mq_is_channel_constant(value, rank, rank - 1, n_channels)) return false;
  bool is_scalar = mq_shape_count(&value->constant->shape) == 1;
  for (int64_t c = 0; c < n_channels; c++)
    bias[c] = mq_tensor_get_double(value->constant, is_scalar ? 0 : c);
  return true;
}
