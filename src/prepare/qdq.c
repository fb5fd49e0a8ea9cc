/* A model that someone else quantized -> a graph with FakeQuantize nodes and the table of their points, as
 * mq_prepare makes them. The points are the file's: no target says where they are. */
#include "prepare/qdq.h"

#include <stdarg.h>
#include <stdio.h>

mq_status qdq_fail(const struct qdq *qdq, const struct mq_node *node, const char *format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return mq_fail(qdq->err, MQ_BAD_INPUT, "%s: node '%.200s' (%s): %s", qdq->graph->name, node->name,
                 mq_op_get(node->op)->name, text);
}

struct qdq_state *qdq_state_of(const struct qdq *qdq, const struct mq_value *value) {
  return &qdq->states[value->index];
}

bool mq_is_qdq(const struct mq_graph *graph) {
  for (size_t i = 0; i < graph->n_nodes; i++) {
    mq_op op = graph->nodes[i]->op;
    if (op == MQ_OP_QuantizeLinear || op == MQ_OP_DequantizeLinear) return true;
  }
  return false;
}

/* ---- The walk --------------------------------------------------------------------------------------- */

/* Every node adds one constant at most. */
static mq_status visit_all(struct qdq *qdq) {
  struct mq_graph *graph = qdq->graph;
  size_t n = graph->n_nodes;
  mq_status status = MQ_OK;
  qdq->n_states = graph->n_values + n + 1;
  qdq->states = mq_alloc(qdq->n_states, sizeof *qdq->states);
  if (!qdq->states) return mq_fail_memory(qdq->err, "a Q/DQ model");
  for (size_t i = 0; i < n && !status; i++)
    status = qdq_visit(qdq, graph->nodes[i]);
  return status;
}

/* Values that a node gets at most after the graph is canonical: weights and bias made twice, a product. */
#define MAX_ADDED 8

struct kept {
  const struct mq_value *value;
  struct qdq_state state;
};

/* The graph in its canonical form; states find their values again, whose indices have changed. */
static mq_status make_canonical(struct qdq *qdq) {
  struct mq_graph *graph = qdq->graph;
  size_t n = 0;
  struct kept *kept = mq_alloc(graph->n_values + 1, sizeof *kept);
  if (!kept) return mq_fail_memory(qdq->err, "a Q/DQ model");
  for (size_t i = 0; i < graph->n_values; i++) {
    const struct qdq_state *state = qdq_state_of(qdq, graph->values[i]);
    if (state->grid) kept[n++] = (struct kept){.value = graph->values[i], .state = *state};
  }
  mq_status status = mq_rewrite_canonical(graph, NULL, qdq->err);
  size_t n_states = graph->n_values + MAX_ADDED * graph->n_nodes + 1;
  struct qdq_state *states = status ? NULL : mq_alloc(n_states, sizeof *states);
  if (!status && !states) status = mq_fail_memory(qdq->err, "a Q/DQ model");
  for (size_t i = 0; i < n && !status; i++) {
    size_t at = kept[i].value->index;
    if (at < graph->n_values && graph->values[at] == kept[i].value) states[at] = kept[i].state;
  }
  if (!status) {
    mq_free(qdq->states);
    qdq->states = states;
    qdq->n_states = n_states;
  }
  mq_free(kept);
  return status;
}

/* ---- Points ----------------------------------------------------------------------------------------- */

static bool is_symmetric(const struct mq_qparams *q) {
  for (int64_t c = 0; c < q->n_channels; c++) {
    if (q->zero_point[c] != 0) return false;
  }
  return true;
}

/* The narrowest bits whose range it is; otherwise those of the type. */
static struct mq_scheme scheme_of(const struct qdq_grid *grid) {
  const struct mq_qparams *q = &grid->q;
  struct mq_scheme scheme = {.bits = (uint8_t)grid->bits,
                             .is_signed = q->is_signed,
                             .is_symmetric = is_symmetric(q),
                             .is_per_channel = q->n_channels > 1};
  for (uint8_t bits = 2; bits <= 8 && bits <= grid->bits; bits++) {
    for (int narrow = 0; narrow <= (int)q->is_signed; narrow++) {
      struct mq_scheme candidate = scheme;
      int32_t lo, hi;
      candidate.bits = bits;
      candidate.is_narrow = narrow;
      mq_scheme_bounds(&lo, &hi, &candidate);
      if (lo == q->quant_min && hi == q->quant_max) return candidate;
    }
  }
  return scheme;
}

/* What the user calls the tensor: the name in front of the QuantizeLinear, unless the network's output
 * follows, or that name has a point already. */
static const char *name_point(const struct mq_node *node) {
  const struct mq_value *x = node->inputs[0], *y = node->outputs[0];
  if (y->is_output) return y->name;
  for (size_t u = 0; u < x->n_uses; u++) {
    const struct mq_node *other = x->uses[u].node;
    if (other == node) return x->name;
    if (other->op == MQ_OP_FakeQuantize) return y->name;
  }
  return x->name;
}

static mq_status add_point(struct mq_prepared *prepared, struct qdq *qdq, struct mq_node *node) {
  const bool is_weight = node->inputs[0]->constant != NULL;
  int64_t grid = 0;
  mq_status status = mq_node_get_int(&grid, node, "point", 0, qdq->err);
  if (status) return status;
  const struct qdq_grid *from = qdq_grid_at(qdq, (uint32_t)grid);
  struct mq_point *point = &prepared->points[prepared->n_points];
  *point =
      (struct mq_point){.tensor = name_point(node),
                        .reason = is_weight ? "weights quantized in the model" : "quantized in the model",
                        .kind = is_weight ? MQ_POINT_WEIGHT : MQ_POINT_ACTIVATION,
                        .scheme = scheme_of(from),
                        .n_channels = from->q.n_channels,
                        .channel_axis = from->q.channel_axis,
                        .share = -1};
  status = mq_qparams_copy(&point->qparams, &from->q, qdq->err);
  if (status) return status;
  return mq_node_set_int(qdq->graph, node, "point", (int64_t)prepared->n_points++, qdq->err);
}

static mq_status add_points(struct mq_prepared *prepared, struct qdq *qdq) {
  struct mq_graph *graph = qdq->graph;
  prepared->points = mq_alloc(graph->n_nodes + 1, sizeof *prepared->points);
  if (!prepared->points) return mq_fail_memory(qdq->err, "points of a graph");
  mq_status status = MQ_OK;
  for (size_t i = 0; i < graph->n_nodes && !status; i++) {
    if (graph->nodes[i]->op == MQ_OP_FakeQuantize) status = add_point(prepared, qdq, graph->nodes[i]);
  }
  if (!status && !prepared->n_points) {
    status =
        mq_fail(qdq->err, MQ_BAD_INPUT,
                "%s: no activation and no layer's weights are quantized, expected at least one", graph->name);
  }
  return status;
}

mq_status mq_prepare_qdq(struct mq_prepared *prepared, const struct mq_graph *model, struct mq_err *err) {
  struct qdq qdq = {.err = err};
  *prepared = (struct mq_prepared){0};
  mq_status status = mq_graph_clone(&prepared->graph, model, err);
  qdq.graph = prepared->graph;
  if (!status) status = visit_all(&qdq);
  if (!status) status = qdq_check_layers(&qdq);
  if (!status) status = mq_graph_sort(qdq.graph, err);
  if (!status) status = make_canonical(&qdq);
  if (!status) status = qdq_join_channels(&qdq);
  if (!status) status = qdq_quantize_weights(&qdq);
  if (!status) status = mq_graph_sort(qdq.graph, err);
  if (!status) mq_graph_prune(qdq.graph);
  if (!status) status = add_points(prepared, &qdq);
  if (!status) status = qdq_find_islands(prepared, err);
  if (!status) status = mq_graph_verify(qdq.graph, err);
  for (size_t i = 0; i < qdq.n_grids; i++)
    mq_qparams_deinit(&qdq.grids[i].q);
  mq_free(qdq.grids);
  mq_free(qdq.states);
  if (status) mq_prepared_deinit(prepared);
  return status;
}
