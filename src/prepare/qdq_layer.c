/* Layers of a Q/DQ model: which constants are their weights, and what stays float. */
#include "prepare/qdq.h"
#include "target/roles.h"

static uint32_t grid_of(const struct qdq *qdq, const struct mq_value *value) {
  return value && value->constant ? qdq_state_of(qdq, value)->grid : 0;
}

/* alpha would be multiplied into the weights, which would leave their grid. */
static mq_status check_alpha(const struct qdq *qdq, const struct mq_node *node) {
  float alpha = 1;
  if (node->op != MQ_OP_Gemm || !grid_of(qdq, node->inputs[1])) return MQ_OK;
  mq_status status = mq_node_get_float(&alpha, node, "alpha", 1, qdq->err);
  if (status || alpha == 1) return status;
  return qdq_fail(qdq, node, "alpha is %g, expected 1 beside quantized weights", (double)alpha);
}

/* Integer layers have one scale for each output channel, or one for all. */
static mq_status check_weights(const struct qdq *qdq, const struct mq_node *node, uint32_t grid) {
  const struct qdq_grid *g = qdq_grid_at(qdq, grid);
  if (g->bits > 8) {
    return qdq_fail(qdq, node, "its weights '%.100s' have %d bits, expected 2 to 8", node->inputs[1]->name,
                    g->bits);
  }
  if (g->q.channel_axis < 0 || g->q.channel_axis == mq_weight_axis(node)) return MQ_OK;
  return qdq_fail(qdq, node,
                  "its weights '%.100s' have their scales along axis %d, expected along axis %d, the "
                  "output channels",
                  node->inputs[1]->name, g->q.channel_axis, mq_weight_axis(node));
}

mq_status qdq_check_layers(struct qdq *qdq) {
  mq_quant_op op;
  mq_status status = MQ_OK;
  for (size_t i = 0; i < qdq->graph->n_nodes && !status; i++) {
    const struct mq_node *node = qdq->graph->nodes[i];
    if (node->op == MQ_OP_NONE || !mq_is_layer(&op, node)) continue;
    uint32_t grid = grid_of(qdq, node->inputs[1]);
    status = check_alpha(qdq, node);
    if (!status && grid) status = check_weights(qdq, node, grid);
  }
  return status;
}

/* ---- Weights ---------------------------------------------------------------------------------------- */

/* Behind the FakeQuantize of a constant, which the first layer that reads it makes. */
static mq_status quantized(struct mq_value **out, struct qdq *qdq, struct mq_value *w) {
  struct qdq_state *state = qdq_state_of(qdq, w);
  mq_status status = MQ_OK;
  if (!state->quantized) {
    const char *name = mq_arena_printf(&qdq->graph->arena, "%s_fq", w->name);
    if (!name) return mq_fail_memory(qdq->err, "a name");
    status = mq_graph_add_value(&state->quantized, qdq->graph, name, MQ_F32, &w->shape, qdq->err);
    if (!status) status = qdq_add_fake_quantize(qdq, w, state->quantized, state->grid);
  }
  *out = state->quantized;
  return status;
}

mq_status qdq_quantize_weights(struct qdq *qdq) {
  mq_quant_op op;
  mq_status status = MQ_OK;
  for (size_t i = 0, n = qdq->graph->n_nodes; i < n && !status; i++) {
    struct mq_node *node = qdq->graph->nodes[i];
    struct mq_value *w = NULL;
    if (node->op == MQ_OP_NONE || !mq_is_layer(&op, node) || !grid_of(qdq, node->inputs[1])) continue;
    status = quantized(&w, qdq, node->inputs[1]);
    if (!status) status = mq_graph_set_input(qdq->graph, node, 1, w, qdq->err);
  }
  return status;
}

/* ---- Islands ---------------------------------------------------------------------------------------- */

static bool is_fake_quantize(const struct mq_value *value) {
  return value && value->producer && value->producer->op == MQ_OP_FakeQuantize;
}

static bool joins_grids(const struct mq_node *node, const bool *is_on_grid) {
  for (int i = 0; i < node->n_inputs; i++) {
    if (!is_on_grid[node->inputs[i]->index]) return false;
  }
  return true;
}

static bool lands_on_grid(const struct mq_node *node, const bool *is_on_grid) {
  if (node->op == MQ_OP_FakeQuantize) return !node->inputs[0]->constant;
  if (node->op == MQ_OP_Concat) return joins_grids(node, is_on_grid);
  return mq_moves_values(node) && is_on_grid[node->inputs[0]->index];
}

/* Does a point follow, with nothing but activation functions between? */
static bool reaches_point(const struct mq_node *node) {
  const struct mq_value *y = node->outputs[0];
  while (y->n_uses == 1 && mq_op_get(y->uses[0].node->op)->kind == MQ_KIND_ACTIVATION)
    y = y->uses[0].node->outputs[0];
  return y->n_uses == 1 && y->uses[0].node->op == MQ_OP_FakeQuantize;
}

static const char *reason_of_layer(const struct mq_node *node, const bool *is_on_grid) {
  if (!is_fake_quantize(node->inputs[1])) {
    return node->inputs[1]->constant ? "its weights are floats in the model"
                                     : "it multiplies two activations";
  }
  return is_on_grid[node->inputs[0]->index] ? NULL : "its input is float in the model";
}

static const char *reason_of(const struct mq_node *node, const bool *is_on_grid) {
  switch (node->op) {
    case MQ_OP_Conv:
    case MQ_OP_ConvTranspose:
    case MQ_OP_Gemm:
    case MQ_OP_MatMul:
      return reason_of_layer(node, is_on_grid);
    case MQ_OP_Concat:
      return joins_grids(node, is_on_grid) ? NULL : "an input is float in the model";
    case MQ_OP_Add:
    case MQ_OP_AveragePool:
    case MQ_OP_GlobalAveragePool:
    case MQ_OP_ReduceMean:
      return !joins_grids(node, is_on_grid) ? "an input is float in the model"
             : reaches_point(node)          ? NULL
                                            : "its output is float in the model";
    case MQ_OP_BatchNormalization:
      return "batch normalisation stays float";
    default:
      return mq_op_get(node->op)->kind == MQ_KIND_OTHER && node->op != MQ_OP_Cast && !mq_moves_values(node)
                 ? "there is no rule for it"
                 : NULL;
  }
}

mq_status qdq_find_islands(struct mq_prepared *prepared, struct mq_err *err) {
  struct mq_graph *graph = prepared->graph;
  prepared->islands = mq_arena_alloc(&graph->arena, graph->n_nodes + 1, sizeof *prepared->islands);
  bool *is_on_grid = mq_alloc(graph->n_values + 1, sizeof *is_on_grid);
  if (!prepared->islands || !is_on_grid) {
    mq_free(is_on_grid);
    return mq_fail_memory(err, "islands");
  }
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    bool lands = node->n_inputs > 0 && lands_on_grid(node, is_on_grid);
    for (int k = 0; k < node->n_outputs; k++) {
      if (node->outputs[k]) is_on_grid[node->outputs[k]->index] = lands;
    }
    const char *reason = node->op == MQ_OP_FakeQuantize ? NULL : reason_of(node, is_on_grid);
    if (!reason) continue;
    prepared->islands[prepared->n_islands++] =
        (struct mq_island){.node = node,
                           .reason = reason,
                           .is_tolerated = node->op == MQ_OP_Softmax && !node->outputs[0]->n_uses};
  }
  mq_free(is_on_grid);
  return MQ_OK;
}
