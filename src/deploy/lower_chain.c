/* What a graph's nodes become together: on whose codes each value lies, and which nodes are one step. */
#include <math.h>

#include "deploy/lower.h"
#include "target/roles.h"

const struct mq_point *lower_point_of(const struct lowering *l, const struct mq_node *node) {
  int64_t index = -1;
  if (node->op != MQ_OP_FakeQuantize || mq_node_get_int(&index, node, "point", -1, NULL) != MQ_OK ||
      index < 0 || (size_t)index >= l->prepared->n_points) {
    return NULL;
  }
  return &l->prepared->points[index];
}

const struct mq_point *lower_weights_of(const struct lowering *l, const struct mq_node *node) {
  const struct mq_value *weights = node->n_inputs > 1 ? node->inputs[1] : NULL;
  const struct mq_node *quantize = weights ? weights->producer : NULL;
  const struct mq_point *point = quantize ? lower_point_of(l, quantize) : NULL;
  return point && point->kind == MQ_POINT_WEIGHT && quantize->inputs[0]->constant ? point : NULL;
}

bool lower_is_island(const struct lowering *l, const struct mq_node *node) {
  for (size_t i = 0; i < l->prepared->n_islands; i++) {
    if (l->prepared->islands[i].node == node) {
      return true;
    }
  }
  return false;
}

const struct mq_point *lower_grid_of(const struct lowering *l, const struct mq_value *value) {
  return value ? l->grids[value->index] : NULL;
}

bool lower_same_codes(const struct mq_point *a, const struct mq_point *b) {
  const struct mq_qparams *p = &a->qparams, *q = &b->qparams;
  return p->n_channels == 1 && q->n_channels == 1 && p->scale[0] == q->scale[0] &&
         p->zero_point[0] == q->zero_point[0] && p->quant_min == q->quant_min &&
         p->quant_max == q->quant_max && p->is_signed == q->is_signed &&
         (a->scheme.bits > 8) == (b->scheme.bits > 8);
}

lower_domain lower_domain_of(const struct lowering *l, const struct mq_node *node) {
  return lower_grid_of(l, node->outputs[0]) ? LOWER_CODES : LOWER_FLOATS;
}

/* ---- Chains -------------------------------------------------------------------------------------------- */

/* The one node that reads a value nobody else sees. */
static const struct mq_node *sole_reader(const struct mq_value *value) {
  return value->n_uses == 1 && !value->is_output ? value->uses[0].node : NULL;
}

static bool is_clip(const struct mq_node *node, const struct mq_value *x) {
  return (node->op == MQ_OP_Relu || node->op == MQ_OP_Clip) && node->inputs[0] == x;
}

/* Clip(Clip(x, a, b), c, d) is one clip. */
static bool take_clip(struct lower_chain *chain, const struct mq_node *node) {
  float lo, hi;
  if (mq_node_get_clip(&lo, &hi, node, NULL) != MQ_OK || !(lo <= hi)) {
    return false;
  }
  chain->clip_lo = fminf(fmaxf(chain->clip_lo, lo), hi);
  chain->clip_hi = fminf(fmaxf(chain->clip_hi, lo), hi);
  return true;
}

static const struct mq_value *other_operand(const struct mq_node *add, const struct mq_value *x) {
  return add->inputs[add->inputs[0] == x ? 1 : 0];
}

static bool ends_in_point(const struct lowering *l, const struct mq_node *add) {
  const struct mq_node *next = sole_reader(add->outputs[0]);
  while (next && (next->op == MQ_OP_Relu || next->op == MQ_OP_Clip)) {
    next = sole_reader(next->outputs[0]);
  }
  return next && lower_point_of(l, next);
}

/* The epilogue of trt_model: the shortcut's codes are added to the sum before its only rounding. */
static bool takes_shortcut(const struct lowering *l, const struct lower_chain *chain,
                           const struct mq_node *add) {
  const struct mq_value *other = other_operand(add, chain->result);
  return l->kind == MQ_ARITHMETIC_TRT && lower_weights_of(l, chain->base) && !chain->norm &&
         !chain->shortcut && isinf(chain->clip_lo) && isinf(chain->clip_hi) && other != chain->result &&
         lower_grid_of(l, other) && mq_shape_equal(&other->shape, &add->outputs[0]->shape) &&
         mq_shape_equal(&chain->result->shape, &add->outputs[0]->shape) && !lower_is_island(l, add) &&
         ends_in_point(l, add);
}

/* A vector along the last axis, or one number. */
static bool is_row(const struct mq_value *value, int64_t n) {
  const struct mq_shape *shape = &value->shape;
  int64_t count = value->constant ? mq_shape_count(shape) : 0;
  return value->constant && value->dtype == MQ_F32 &&
         (count == 1 || (count == n && shape->rank > 0 && shape->dim[shape->rank - 1] == n));
}

static bool takes_bias(const struct lower_chain *chain, const struct mq_node *add) {
  const struct mq_shape *shape = &chain->result->shape;
  return chain->base->op == MQ_OP_MatMul && !chain->bias && !chain->norm && !chain->shortcut &&
         isinf(chain->clip_lo) && isinf(chain->clip_hi) && mq_shape_equal(shape, &add->outputs[0]->shape) &&
         is_row(other_operand(add, chain->result), shape->dim[shape->rank - 1]);
}

static bool take_add(const struct lowering *l, struct lower_chain *chain, const struct mq_node *add) {
  if (takes_bias(chain, add)) {
    chain->bias = other_operand(add, chain->result);
    return true;
  }
  if (takes_shortcut(l, chain, add)) {
    chain->shortcut = other_operand(add, chain->result);
    return true;
  }
  return false;
}

static bool take_node(const struct lowering *l, struct lower_chain *chain, const struct lower_op *op,
                      const struct mq_node *node) {
  const struct mq_point *point = lower_point_of(l, node);
  if (point) {
    bool takes = op->makes_codes && op->makes_codes(l, chain);
    chain->point = takes ? point : NULL;
    return takes;
  }
  if (op->takes_clip && is_clip(node, chain->result) && !lower_grid_of(l, chain->result)) {
    return take_clip(chain, node);
  }
  if (op->is_layer && node->op == MQ_OP_Add) {
    return take_add(l, chain, node);
  }
  if (op->is_layer && node->op == MQ_OP_BatchNormalization && node->inputs[0] == chain->result &&
      !chain->norm && !chain->shortcut && isinf(chain->clip_lo) && isinf(chain->clip_hi)) {
    chain->norm = node;
    return true;
  }
  return false;
}

static void follow(struct lowering *l, const struct mq_node *base) {
  const struct lower_op *op = lower_op_of(base);
  if (l->is_inner[base->index] || l->chains[base->index]) {
    return;
  }
  struct lower_chain *chain = lower_scratch(l, 1, sizeof *chain);
  if (!chain) {
    return;
  }
  *chain = (struct lower_chain){
      .base = base, .end = base, .clip_lo = -INFINITY, .clip_hi = INFINITY, .result = base->outputs[0]};
  const struct mq_node *next = sole_reader(chain->result);
  while (next && !chain->point && take_node(l, chain, op, next)) {
    l->is_inner[chain->end->index] = true;
    chain->end = next;
    chain->result = next->outputs[0];
    next = sole_reader(chain->result);
  }
  l->chains[chain->end->index] = chain;
}

/* ---- Grids --------------------------------------------------------------------------------------------- */

static const struct mq_point *grid_behind(const struct lowering *l, const struct mq_node *node) {
  const struct mq_point *point = lower_point_of(l, node);
  if (point) {
    return point->kind == MQ_POINT_ACTIVATION ? point : NULL;
  }
  const struct lower_op *op = lower_op_of(node);
  bool keeps = op->keeps_grid && !lower_is_island(l, node) && op->keeps_grid(l, node);
  return keeps ? lower_grid_of(l, node->inputs[0]) : NULL;
}

void lower_find_chains(struct lowering *l) {
  const struct mq_graph *graph = l->prepared->graph;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    const struct mq_point *grid = grid_behind(l, node);
    for (int k = 0; k < node->n_outputs; k++) {
      if (node->outputs[k]) {
        l->grids[node->outputs[k]->index] = grid;
      }
    }
  }
  for (size_t i = 0; i < graph->n_nodes && l->status == MQ_OK; i++) {
    if (graph->nodes[i]->n_outputs > 0 && graph->nodes[i]->outputs[0]) {
      follow(l, graph->nodes[i]);
    }
  }
}
