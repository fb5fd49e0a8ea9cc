/* The floats of a Q/DQ model: what it would compute if integers were infinitely fine. Tools leave activation
 * functions out whose work the integers' range does (a ReLU before a zero point at the least code), so the
 * ranges stay. */
#include <math.h>

#include "mqbench/prepare.h"

static mq_status add_bound(struct mq_value **value, struct mq_graph *graph, const char *name, float bound,
                           struct mq_err *err) {
  const struct mq_shape scalar = {.rank = 0};
  const struct mq_tensor view = mq_tensor_view(&bound, MQ_F32, &scalar, NULL);
  return mq_graph_add_constant(value, graph, name, &view, err);
}

/* Bounds were attributes before opset 11. */
static mq_status add_clip(struct mq_graph *graph, struct mq_value *x, struct mq_value *y, float lo, float hi,
                          struct mq_err *err) {
  struct mq_value *inputs[] = {x, NULL, NULL};
  struct mq_node *node = NULL;
  bool has_inputs = graph->opset >= 11;
  mq_status status = MQ_OK;
  if (has_inputs) status = add_bound(&inputs[1], graph, "clip_min", lo, err);
  if (!status && has_inputs) status = add_bound(&inputs[2], graph, "clip_max", hi, err);
  if (!status) {
    status = mq_graph_add_node(&node, graph, MQ_OP_Clip, y->name, inputs, has_inputs ? 3 : 1, &y, 1, err);
  }
  if (status || has_inputs) return status;
  status = mq_node_set_float(graph, node, "min", lo, err);
  return status ? status : mq_node_set_float(graph, node, "max", hi, err);
}

static mq_status replace(struct mq_graph *graph, struct mq_node *node, const struct mq_point *point,
                         struct mq_err *err) {
  struct mq_value *x = node->inputs[0], *y = node->outputs[0];
  double lo, hi;
  mq_graph_remove_node(graph, node);
  if (x->constant) return mq_graph_replace_uses(graph, y, x, NULL, err);
  mq_qparams_clip_range(&lo, &hi, &point->qparams);
  return add_clip(graph, x, y, (float)lo, (float)hi, err);
}

mq_status mq_prepare_qdq_float(struct mq_graph **graph, const struct mq_prepared *prepared,
                               struct mq_err *err) {
  struct mq_graph *copy = NULL;
  *graph = NULL;
  mq_status status = mq_graph_clone(&copy, prepared->graph, err);
  for (size_t i = 0, n = status ? 0 : copy->n_nodes; i < n && !status; i++) {
    struct mq_node *node = copy->nodes[i];
    int64_t index = -1;
    if (node->op != MQ_OP_FakeQuantize) continue;
    status = mq_node_get_int(&index, node, "point", -1, err);
    if (!status) status = replace(copy, node, &prepared->points[index], err);
  }
  if (!status) status = mq_graph_sort(copy, err);
  if (!status) {
    mq_graph_prune(copy);
    status = mq_graph_verify(copy, err);
  }
  if (status) {
    mq_graph_destroy(copy);
    return status;
  }
  *graph = copy;
  return MQ_OK;
}
