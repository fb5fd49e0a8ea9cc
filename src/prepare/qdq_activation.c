/* QuantizeLinear, DequantizeLinear, and what a file computes on the integers between them. */
#include <math.h>
#include <string.h>

#include "prepare/qdq.h"
#include "target/roles.h"

#define MAX_LOOKED_AT 64 /* earlier points of a tensor: bounds the work where a file quantizes it often */

/* `node` hands its first input on: an Identity, which the canonical form has no more. */
static mq_status dissolve(struct qdq *qdq, struct mq_node *node, bool is_codes) {
  const struct mq_value *v = node->inputs[0];
  struct mq_value *y = node->outputs[0];
  while (node->n_attrs > 0)
    mq_node_remove_attr(node, node->attrs[0].name);
  node->op = MQ_OP_Identity;
  y->dtype = MQ_F32;
  *qdq_state_of(qdq, y) = (struct qdq_state){.grid = qdq_state_of(qdq, v)->grid, .is_codes = is_codes};
  return mq_rewrite_drop_inputs(qdq->graph, node, 1, qdq->err);
}

mq_status qdq_add_fake_quantize(struct qdq *qdq, struct mq_value *x, struct mq_value *y, uint32_t grid) {
  struct mq_node *node = NULL;
  mq_status status =
      mq_graph_add_node(&node, qdq->graph, MQ_OP_FakeQuantize, y->name, &x, 1, &y, 1, qdq->err);
  return status ? status : mq_node_set_int(qdq->graph, node, "point", grid, qdq->err);
}

static bool is_twin(const struct qdq *qdq, const struct mq_node *node, uint32_t grid) {
  int64_t other = 0;
  if (node->op != MQ_OP_FakeQuantize || mq_node_get_int(&other, node, "point", 0, NULL)) return false;
  const struct mq_qparams *p = &qdq_grid_at(qdq, (uint32_t)other)->q, *q = &qdq_grid_at(qdq, grid)->q;
  return p->quant_min == q->quant_min && p->quant_max == q->quant_max &&
         qdq_same_grid(qdq, (uint32_t)other, grid);
}

/* A FakeQuantize of x with the same numbers. */
static struct mq_node *find_twin(const struct qdq *qdq, const struct mq_value *x, uint32_t grid) {
  size_t n = x->n_uses, first = n > MAX_LOOKED_AT ? n - MAX_LOOKED_AT : 0;
  for (size_t i = first; i < n; i++) {
    if (is_twin(qdq, x->uses[i].node, grid)) return x->uses[i].node;
  }
  return NULL;
}

/* ---- QuantizeLinear --------------------------------------------------------------------------------- */

static mq_status check_activation(const struct qdq *qdq, const struct mq_node *node, uint32_t grid) {
  const struct qdq_grid *g = qdq_grid_at(qdq, grid);
  if (g->q.n_channels > 1 && g->q.channel_axis != 1) {
    return qdq_fail(qdq, node, "%lld scales along axis %d of an activation, expected one, or along axis 1",
                    (long long)g->q.n_channels, g->q.channel_axis);
  }
  if (g->bits > 16) return qdq_fail(qdq, node, "an activation of %d bits, expected 2 to 8, or 16", g->bits);
  return MQ_OK;
}

static mq_status quantize(struct qdq *qdq, struct mq_node *node) {
  struct mq_value *x = node->inputs[0], *y = node->outputs[0];
  struct qdq_state state = {.is_codes = true};
  if (qdq_state_of(qdq, x)->is_codes || x->dtype != MQ_F32) {
    return qdq_fail(qdq, node, "its input '%.100s' is %s, expected floats", x->name,
                    x->dtype == MQ_F32 ? "quantized already" : mq_dtype_get(x->dtype)->name);
  }
  if (x->constant) return qdq_quantize_constant(qdq, node);
  mq_status status = qdq_read_grid(&state.grid, qdq, node, y);
  if (!status) status = check_activation(qdq, node, state.grid);
  if (status) return status;
  struct mq_node *twin = find_twin(qdq, x, state.grid);
  if (twin) {
    status = mq_graph_set_input(qdq->graph, node, 0, twin->outputs[0], qdq->err);
    return status ? status : dissolve(qdq, node, true);
  }
  mq_graph_remove_node(qdq->graph, node);
  y->dtype = MQ_F32;
  *qdq_state_of(qdq, y) = state;
  return qdq_add_fake_quantize(qdq, x, y, state.grid);
}

/* ---- DequantizeLinear ------------------------------------------------------------------------------- */

static mq_status dequantize_codes(struct qdq *qdq, struct mq_node *node) {
  struct mq_value *v = node->inputs[0];
  const struct qdq_grid *made = qdq_grid_at(qdq, qdq_state_of(qdq, v)->grid);
  /* Its integers have become floats: the type is that of the grid they were made on. */
  struct mq_value codes = {
      .name = v->name,
      .dtype = made->bits == 16 ? (made->q.is_signed ? MQ_I16 : MQ_U16) : (made->q.is_signed ? MQ_I8 : MQ_U8),
      .packed_bits = made->bits < 8 ? made->bits : 0,
      .shape = v->shape};
  uint32_t grid = 0;
  mq_status status = qdq_read_grid(&grid, qdq, node, &codes);
  if (status) return status;
  if (!qdq_same_grid(qdq, grid, qdq_state_of(qdq, v)->grid)) {
    const struct mq_qparams *p = &qdq_grid_at(qdq, qdq_state_of(qdq, v)->grid)->q;
    const struct mq_qparams *q = &qdq_grid_at(qdq, grid)->q;
    return qdq_fail(
        qdq, node,
        "scale %.9g and zero point %d, but '%.100s' was quantized with %.9g and %d: integers that "
        "change their meaning are not supported",
        (double)q->scale[0], q->zero_point[0], v->name, (double)p->scale[0], p->zero_point[0]);
  }
  return v->constant ? qdq_release_constant(qdq, node) : dissolve(qdq, node, false);
}

/* Integers come in from outside: the network takes the real numbers instead, and rounds them itself. */
static mq_status dequantize_input(struct qdq *qdq, struct mq_node *node) {
  struct mq_value *x = node->inputs[0], *y = node->outputs[0];
  uint32_t grid = 0;
  for (size_t i = 0; i < x->n_uses; i++) {
    if (x->uses[i].node->op != MQ_OP_DequantizeLinear) {
      return qdq_fail(qdq, x->uses[i].node,
                      "it reads the integers of input '%.100s', expected "
                      "DequantizeLinear to be the only one to do so",
                      x->name);
    }
  }
  mq_status status = qdq_read_grid(&grid, qdq, node, x);
  if (!status) status = check_activation(qdq, node, grid);
  if (status) return status;
  if (x->n_uses > 1) {
    return qdq_fail(qdq, node, "several nodes dequantize input '%.100s', expected one", x->name);
  }
  x->dtype = MQ_F32;
  mq_graph_remove_node(qdq->graph, node);
  return qdq_add_fake_quantize(qdq, x, y, grid);
}

static mq_status dequantize(struct qdq *qdq, struct mq_node *node) {
  struct mq_value *v = node->inputs[0];
  if (qdq_state_of(qdq, v)->is_codes) return dequantize_codes(qdq, node);
  if (v->constant) return qdq_dequantize_constant(qdq, node);
  if (v->is_input) return dequantize_input(qdq, node);
  return qdq_fail(qdq, node, "its input '%.100s' is %s that no QuantizeLinear made", v->name,
                  mq_dtype_get(v->dtype)->name);
}

/* ---- Operators on integers -------------------------------------------------------------------------- */

static bool reads_codes(const struct qdq *qdq, const struct mq_node *node) {
  for (int i = 0; i < node->n_inputs; i++) {
    if (node->inputs[i] && qdq_state_of(qdq, node->inputs[i])->is_codes) return true;
  }
  return false;
}

/* A range narrower than the type's: Clip of the integers right behind the QuantizeLinear. */
static mq_status clip(struct qdq *qdq, struct mq_node *node) {
  const struct mq_value *v = node->inputs[0];
  float lo = -INFINITY, hi = INFINITY;
  mq_status status = mq_node_get_clip(&lo, &hi, node, qdq->err);
  if (status) return status;
  if (!v->producer || v->producer->op != MQ_OP_FakeQuantize || v->n_uses != 1 || v->is_output) {
    return qdq_fail(qdq, node,
                    "a Clip of integers, expected right behind a QuantizeLinear and its only reader");
  }
  struct mq_qparams *q = &qdq->grids[qdq_state_of(qdq, v)->grid - 1].q;
  if (lo > (float)q->quant_min) q->quant_min = (int32_t)fminf(ceilf(lo), (float)q->quant_max);
  if (hi < (float)q->quant_max) q->quant_max = (int32_t)fmaxf(floorf(hi), (float)q->quant_min);
  if (!(lo <= hi) || q->quant_min >= q->quant_max || q->zero_point[0] < q->quant_min ||
      q->zero_point[0] > q->quant_max) {
    return qdq_fail(qdq, node, "it clips integers to %g .. %g, expected a range that holds the zero point %d",
                    (double)lo, (double)hi, q->zero_point[0]);
  }
  return dissolve(qdq, node, true);
}

/* Codes stay codes of the same grid. */
static mq_status move_codes(struct qdq *qdq, struct mq_node *node) {
  const struct qdq_state state = *qdq_state_of(qdq, node->inputs[0]);
  int n_data = node->op == MQ_OP_Concat ? node->n_inputs : 1;
  if (qdq_grid_at(qdq, state.grid)->q.n_channels > 1 && node->op != MQ_OP_MaxPool) {
    return qdq_fail(qdq, node, "it moves integers with a scale for each channel, expected one scale");
  }
  for (int i = 0; i < n_data; i++) {
    const struct qdq_state *other = qdq_state_of(qdq, node->inputs[i]);
    if (!other->is_codes || !qdq_same_grid(qdq, state.grid, other->grid)) {
      return qdq_fail(qdq, node,
                      "input %d '%.100s' has another scale, zero point or type than input 0, "
                      "expected integers that mean the same",
                      i, node->inputs[i]->name);
    }
  }
  for (int i = 0; i < node->n_outputs; i++) {
    bool is_indices = node->op == MQ_OP_MaxPool && i > 0;
    if (!node->outputs[i] || is_indices) continue;
    node->outputs[i]->dtype = MQ_F32;
    *qdq_state_of(qdq, node->outputs[i]) = state;
  }
  return MQ_OK;
}

static bool may_move_codes(const struct qdq *qdq, const struct mq_node *node) {
  const struct mq_value *x = node->inputs[0];
  if (!x || x->constant || !qdq_state_of(qdq, x)->is_codes || node->op == MQ_OP_Pad) return false;
  if (node->op == MQ_OP_Concat) return true;
  return mq_moves_values(node) && mq_op_get(node->op)->kind != MQ_KIND_ACTIVATION;
}

static mq_status visit_other(struct qdq *qdq, struct mq_node *node) {
  bool is_moved = false;
  mq_status status = qdq_move_constant(&is_moved, qdq, node);
  if (status || is_moved || !reads_codes(qdq, node)) return status;
  if (node->op == MQ_OP_Clip && qdq_state_of(qdq, node->inputs[0])->is_codes) return clip(qdq, node);
  if (may_move_codes(qdq, node)) return move_codes(qdq, node);
  return qdq_fail(qdq, node, "it computes on integers, expected a DequantizeLinear before it");
}

mq_status qdq_visit(struct qdq *qdq, struct mq_node *node) {
  switch (node->op) {
    case MQ_OP_NONE:
      return MQ_OK;
    case MQ_OP_QuantizeLinear:
      return quantize(qdq, node);
    case MQ_OP_DequantizeLinear:
      return dequantize(qdq, node);
    default:
      return visit_other(qdq, node);
  }
}
