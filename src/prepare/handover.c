/* The graph that is handed over: no FakeQuantize, weights on their grid, the user's names. */
#include <assert.h>
#include <string.h>

#include "mqbench/prepare.h"

static mq_status get_point(const struct mq_point **point, const struct mq_prepared *prepared,
                           const struct mq_node *node, struct mq_err *err) {
  int64_t index = -1;
  mq_status status = mq_node_get_int(&index, node, "point", -1, err);
  if (status) return status;
  assert(index >= 0 && (size_t)index < prepared->n_points);
  *point = &prepared->points[index];
  return MQ_OK;
}

/* The clone's constants are its own: weights are rounded where they lie. */
static mq_status remove_point(struct mq_graph *graph, struct mq_node *node, const struct mq_point *point,
                              struct mq_err *err) {
  struct mq_value *in = node->inputs[0], *out = node->outputs[0];
  if (in->constant && point->qparams.n_channels > 0) {
    mq_fake_quantize(in->constant, in->constant, &point->qparams);
  }
  mq_graph_remove_node(graph, node);
  mq_status status = mq_graph_replace_uses(graph, out, in, NULL, err);
  if (!status && strcmp(out->name, point->tensor) == 0) mq_graph_swap_names(graph, in, out);
  return status;
}

mq_status mq_prepare_handover(struct mq_graph **graph, const struct mq_prepared *prepared,
                              struct mq_err *err) {
  *graph = NULL;
  struct mq_graph *copy = NULL;
  mq_status status = mq_graph_clone(&copy, prepared->graph, err);
  for (size_t i = 0; !status && i < copy->n_nodes; i++) {
    struct mq_node *node = copy->nodes[i];
    if (node->op != MQ_OP_FakeQuantize) continue;
    const struct mq_point *point = NULL;
    status = get_point(&point, prepared, node, err);
    if (!status) status = remove_point(copy, node, point, err);
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
