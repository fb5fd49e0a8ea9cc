/* ONNX with operators on integers: QLinearConv, and com.microsoft's QGemm, QLinearAdd and averages.
 *
 *   input -> QuantizeLinear -> input_quantized -> QLinearConv(w, b) [-> Clip] -> conv1 -> ...
 *         -> logits_quantized -> DequantizeLinear -> logits
 *
 * Integers take the user's names where no float tensor has them. The integers of every point are made from
 * those of its operator's inputs, in the order of the graph; what has no such operator (islands, sums that
 * stay float, signed integers beside unsigned ones) stays float between DequantizeLinear and QuantizeLinear.
 * At the end the float nodes that nobody reads any more are dropped. A fused activation function, and a
 * range of fewer bits, is a Clip of the integers. */
#include <math.h>
#include <string.h>

#include "deploy/export.h"
#include "mqbench/load.h"
#include "target/roles.h"

#define MICROSOFT "com.microsoft"
#define OPSET 13

struct grid {
  struct mq_value *scale, *zero_point;
};

struct made {
  struct mq_value *ints;
  const char *name; /* the user's */
};

struct qop {
  struct deploy_edit edit;
  size_t n_values;        /* of the bundle's graph; what is added lies behind */
  struct mq_value **ints; /* by index of those; NULL: not made (yet) */
  struct grid *grids;     /* by point */
  struct made *made;
  size_t n_made, room_made;
};

/* A point and what makes its tensor: base [-> add of a bias] [-> activation functions]. */
struct chain {
  const struct mq_node *base;
  const struct mq_value *bias; /* behind a MatMul; NULL: none */
  float lo, hi;                /* of the activation functions */
  const struct mq_point *point;
};

static mq_dtype type_of(const struct mq_qparams *q) {
  return q->is_signed ? MQ_I8 : MQ_U8;
}

static const struct mq_point *grid_point(const struct qop *qop, const struct mq_value *value) {
  const struct mq_node *grid = deploy_grid_of(qop->edit.bundle, value);
  return grid ? deploy_point_of(qop->edit.bundle, grid) : NULL;
}

/* ---- Constants ------------------------------------------------------------------------------------- */

static struct grid grid_of(struct qop *qop, const struct mq_point *point) {
  struct deploy_edit *edit = &qop->edit;
  struct grid *grid = &qop->grids[point - edit->bundle->prepared.points];
  const struct mq_qparams *q = &point->qparams;
  bool is_scalar = q->channel_axis < 0;
  if (!grid->scale) {
    grid->scale = deploy_edit_floats(edit, deploy_edit_name(edit, point->tensor, "_scale"), q->scale,
                                     q->n_channels, is_scalar);
    grid->zero_point = deploy_edit_ints(edit, deploy_edit_name(edit, point->tensor, "_zero_point"),
                                        type_of(q), q->zero_point, q->n_channels, is_scalar);
  }
  return *grid;
}

/* The value will bear the user's name if that is free in the end. */
static void note_made(struct qop *qop, struct mq_value *ints, const char *name) {
  if (qop->edit.status == MQ_OK && qop->n_made < qop->room_made) {
    qop->made[qop->n_made++] = (struct made){.ints = ints, .name = name};
  }
}

/* The integers of the weights behind a FakeQuantize node. */
static struct mq_value *weights_of(struct qop *qop, const struct mq_node *fake) {
  struct deploy_edit *edit = &qop->edit;
  const struct mq_point *point = deploy_point_of(edit->bundle, fake);
  struct mq_value *w = fake->inputs[0], **ints = &qop->ints[fake->outputs[0]->index];
  if (!*ints) {
    *ints = deploy_edit_quantized(edit, deploy_edit_name(edit, w->name, "_quantized"), w->constant,
                                  &point->qparams, type_of(&point->qparams));
    note_made(qop, *ints, w->name);
  }
  return *ints;
}

/* int32 in steps of s_x s_w; one number stands for all outputs. NULL: there is none. */
static struct mq_value *bias_of(struct qop *qop, const struct chain *chain, int64_t outputs,
                                const struct mq_qparams *x, const struct mq_qparams *w) {
  struct deploy_edit *edit = &qop->edit;
  const struct mq_node *layer = chain->base;
  const struct mq_value *b = chain->bias ? chain->bias : layer->n_inputs > 2 ? layer->inputs[2] : NULL;
  int32_t *ints = b ? mq_arena_alloc(&edit->graph->arena, (size_t)outputs + 1, sizeof *ints) : NULL;
  int64_t n = b ? mq_shape_count(&b->constant->shape) : 0;
  if (!b || edit->status != MQ_OK) {
    return NULL;
  }
  if (!ints) {
    edit->status = mq_fail_memory(edit->err, "bias");
  }
  for (int64_t c = 0; c < outputs && edit->status == MQ_OK; c++) {
    double scale = (double)x->scale[0] * (double)w->scale[w->n_channels > 1 ? c : 0];
    deploy_quantize_bias(edit, &ints[c], ((const float *)b->constant->data)[n > 1 ? c : 0], scale, layer);
  }
  struct mq_value *value =
      deploy_edit_ints(edit, deploy_edit_name(edit, b->name, "_quantized"), MQ_I32, ints, outputs, false);
  note_made(qop, value, b->name);
  return value;
}

/* ---- Nodes ----------------------------------------------------------------------------------------- */

/* A node of integers that makes what stands for `like` (name, shape). `op`: ONNX's own, or NULL: a foreign
 * operator `name`. Inputs that are NULL at the end are left out. */
static struct mq_node *add_node(struct qop *qop, mq_op op, const char *foreign, const char *domain,
                                const struct mq_value *like, mq_dtype dtype, struct mq_value *const *inputs,
                                int n_inputs) {
  struct deploy_edit *edit = &qop->edit;
  struct mq_value *y = NULL;
  struct mq_node *node = NULL;
  const char *name = deploy_edit_name(edit, like->name, "_quantized");
  while (n_inputs > 0 && !inputs[n_inputs - 1]) {
    n_inputs--;
  }
  if (edit->status == MQ_OK) {
    edit->status = mq_graph_add_value(&y, edit->graph, name, dtype, &like->shape, edit->err);
  }
  if (edit->status == MQ_OK) {
    edit->status = mq_graph_add_node(&node, edit->graph, op, name, inputs, n_inputs, &y, 1, edit->err);
  }
  if (edit->status == MQ_OK && foreign) {
    edit->status = mq_node_set_string(edit->graph, node, MQ_ONNX_OP, foreign, edit->err);
  }
  if (edit->status == MQ_OK && foreign) {
    edit->status = mq_node_set_string(edit->graph, node, MQ_ONNX_DOMAIN, domain, edit->err);
  }
  return edit->status == MQ_OK ? node : NULL;
}

static struct mq_value *result_of(const struct mq_node *node) {
  return node ? node->outputs[0] : NULL;
}

static void set_int(struct qop *qop, struct mq_node *node, const char *name, int64_t i) {
  if (node && qop->edit.status == MQ_OK) {
    qop->edit.status = mq_node_set_int(qop->edit.graph, node, name, i, qop->edit.err);
  }
}

static void copy_attributes(struct qop *qop, struct mq_node *to, const struct mq_node *from) {
  if (to && qop->edit.status == MQ_OK) {
    qop->edit.status = mq_node_copy_attrs(qop->edit.graph, to, from, qop->edit.err);
  }
}

/* The integers [lo, hi] of an activation function on the point's grid, where that is less than its type. */
static struct mq_value *clamp(struct qop *qop, struct mq_value *ints, const struct mq_value *like, float lo,
                              float hi, const struct mq_qparams *q) {
  struct deploy_edit *edit = &qop->edit;
  const struct mq_program_tensor tensor = {.scale = q->scale[0],
                                           .zero_point = q->zero_point[0],
                                           .code_min = q->quant_min,
                                           .code_max = q->quant_max};
  int32_t least = 0, most = 0;
  mq_program_clamp(&least, &most, &tensor, lo, hi);
  bool is_whole = least == (q->is_signed ? -128 : 0) && most == (q->is_signed ? 127 : 255);
  if (edit->status != MQ_OK || is_whole) {
    return ints;
  }
  deploy_edit_rename(edit, ints, deploy_edit_name(edit, like->name, "_unclipped"));
  struct mq_value *inputs[] = {
      ints,
      deploy_edit_ints(edit, deploy_edit_name(edit, like->name, "_quant_min"), type_of(q), &least, 1, true),
      deploy_edit_ints(edit, deploy_edit_name(edit, like->name, "_quant_max"), type_of(q), &most, 1, true)};
  return result_of(add_node(qop, MQ_OP_Clip, NULL, NULL, like, type_of(q), inputs, 3));
}

/* ---- Integers of values that are no points ---------------------------------------------------------- */

static struct mq_value *ints_of(struct qop *qop, struct mq_value *value);

/* The node once more, on integers; NULL: it has no form for them. */
static struct mq_value *move_ints(struct qop *qop, const struct mq_node *node, const struct mq_value *value,
                                  const struct mq_point *point) {
  struct mq_value *inputs[8] = {ints_of(qop, node->inputs[0])};
  bool is_relu = mq_op_get(node->op)->kind == MQ_KIND_ACTIVATION;
  if (!inputs[0] || node->op == MQ_OP_GlobalMaxPool || node->n_inputs > 8 || node->n_outputs != 1) {
    return NULL;
  }
  if (is_relu) {
    return clamp(qop, inputs[0], value, 0, INFINITY, &point->qparams);
  }
  for (int i = 1; i < node->n_inputs; i++) {
    inputs[i] = node->inputs[i];
  }
  if (node->op == MQ_OP_Pad) {
    inputs[2] = grid_of(qop, point).zero_point;
  }
  int n_inputs = node->op == MQ_OP_Pad && node->n_inputs < 3 ? 3 : node->n_inputs;
  struct mq_node *copy =
      add_node(qop, node->op, NULL, NULL, value, type_of(&point->qparams), inputs, n_inputs);
  copy_attributes(qop, copy, node);
  return result_of(copy);
}

static struct mq_value *join_ints(struct qop *qop, const struct mq_node *node, const struct mq_value *value,
                                  const struct mq_point *point) {
  struct deploy_edit *edit = &qop->edit;
  size_t n = (size_t)node->n_inputs;
  struct mq_value **inputs = mq_arena_alloc(&edit->graph->arena, n + 1, sizeof(struct mq_value *));
  if (!inputs) {
    edit->status = mq_fail_memory(edit->err, "inputs of a node");
    return NULL;
  }
  for (size_t i = 0; i < n; i++) {
    inputs[i] = ints_of(qop, node->inputs[i]);
    if (!inputs[i]) {
      return NULL;
    }
  }
  struct mq_node *copy =
      add_node(qop, MQ_OP_Concat, NULL, NULL, value, type_of(&point->qparams), inputs, node->n_inputs);
  copy_attributes(qop, copy, node);
  return result_of(copy);
}

static struct mq_value *average(struct qop *qop, const struct mq_node *node, const struct mq_value *value,
                                const struct mq_point *point);

static struct mq_value *quantize(struct qop *qop, struct mq_value *x, const struct mq_value *like,
                                 const struct mq_point *point) {
  const struct grid grid = grid_of(qop, point);
  struct mq_value *inputs[] = {x, grid.scale, grid.zero_point};
  return result_of(
      add_node(qop, MQ_OP_QuantizeLinear, NULL, NULL, like, type_of(&point->qparams), inputs, 3));
}

/* NULL: the value is on no grid, or its integers are those of a constant. */
static struct mq_value *ints_of(struct qop *qop, struct mq_value *value) {
  const struct mq_node *node = value->producer;
  const struct mq_point *point = grid_point(qop, value);
  if (qop->edit.status != MQ_OK || value->index >= qop->n_values || !node) {
    return NULL;
  }
  struct mq_value **ints = &qop->ints[value->index];
  mq_quant_op op;
  if (*ints || node->op == MQ_OP_FakeQuantize || !point) {
    return *ints;
  }
  if (node->op == MQ_OP_Concat) {
    *ints = join_ints(qop, node, value, point);
  } else if (mq_moves_values(node)) {
    *ints = move_ints(qop, node, value, point);
  } else if (mq_quant_op_of(&op, node) && op == MQ_QUANT_POOL) {
    *ints = average(qop, node, value, point);
  }
  if (!*ints && qop->edit.status == MQ_OK) {
    *ints = quantize(qop, value, value, point);
  }
  note_made(qop, *ints, value->name);
  return *ints;
}

/* Inputs of a point's operator: their integers, if they are of the type that the operator answers. */
static struct mq_value *operand(struct qop *qop, struct mq_value *value, const struct mq_point **point,
                                const struct mq_point *result) {
  *point = grid_point(qop, value);
  if (!*point || (*point)->qparams.is_signed != result->qparams.is_signed) {
    return NULL;
  }
  return ints_of(qop, value);
}

/* ---- Operators ------------------------------------------------------------------------------------- */

static bool has_bias_form(const struct mq_value *bias, int64_t outputs) {
  int64_t n = bias && bias->constant ? mq_shape_count(&bias->constant->shape) : 0;
  return !bias || (bias->constant && bias->dtype == MQ_F32 && (n == 1 || n == outputs));
}

static struct mq_value *convolve(struct qop *qop, const struct chain *chain, const struct mq_value *like) {
  const struct mq_node *node = chain->base;
  const struct mq_point *x_point, *w_point = deploy_layer_weights(qop->edit.bundle, node);
  int64_t outputs = node->outputs[0]->shape.dim[1];
  struct mq_value *x = operand(qop, node->inputs[0], &x_point, chain->point);
  if (!x || node->op != MQ_OP_Conv || !has_bias_form(node->n_inputs > 2 ? node->inputs[2] : NULL, outputs)) {
    return NULL;
  }
  const struct grid from = grid_of(qop, x_point), of = grid_of(qop, w_point), to = grid_of(qop, chain->point);
  struct mq_value *inputs[] = {x,
                               from.scale,
                               from.zero_point,
                               weights_of(qop, node->inputs[1]->producer),
                               of.scale,
                               of.zero_point,
                               to.scale,
                               to.zero_point,
                               bias_of(qop, chain, outputs, &x_point->qparams, &w_point->qparams)};
  struct mq_node *made =
      add_node(qop, MQ_OP_Foreign, "QLinearConv", "", like, type_of(&chain->point->qparams), inputs, 9);
  copy_attributes(qop, made, node);
  return result_of(made);
}

/* Rows of a matrix, where there are more dimensions than two; and back. */
static struct mq_value *reshape(struct qop *qop, struct mq_value *x, const int64_t *shape, int64_t n,
                                const struct mq_value *like, mq_dtype dtype) {
  struct deploy_edit *edit = &qop->edit;
  const struct mq_shape list = {.rank = 1, .dim = {n}};
  struct mq_value *inputs[] = {
      x, deploy_edit_constant(edit, deploy_edit_name(edit, like->name, "_shape"), MQ_I64, &list, shape)};
  return result_of(add_node(qop, MQ_OP_Reshape, NULL, NULL, like, dtype, inputs, 2));
}

static bool has_plain_form(const struct mq_node *gemm) {
  float alpha = 1, beta = 1;
  return mq_node_get_float(&alpha, gemm, "alpha", 1, NULL) == MQ_OK &&
         mq_node_get_float(&beta, gemm, "beta", 1, NULL) == MQ_OK && alpha == 1 && beta == 1;
}

static struct mq_value *multiply(struct qop *qop, const struct chain *chain, const struct mq_value *like) {
  const struct mq_node *node = chain->base;
  const struct mq_shape *w_shape = &node->inputs[1]->shape, *shape = &node->outputs[0]->shape;
  const struct mq_point *x_point, *w_point = deploy_layer_weights(qop->edit.bundle, node);
  const mq_dtype dtype = type_of(&chain->point->qparams);
  int64_t trans_b = 0, rows[2], back[MQ_MAX_RANK];
  struct mq_value *x = operand(qop, node->inputs[0], &x_point, chain->point);
  bool is_known = mq_node_get_int(&trans_b, node, "transB", 0, NULL) == MQ_OK && w_shape->rank == 2;
  int64_t outputs = is_known ? w_shape->dim[trans_b ? 0 : 1] : 0;
  const struct mq_value *bias = chain->bias ? chain->bias : node->n_inputs > 2 ? node->inputs[2] : NULL;
  if (!x || !is_known || !has_plain_form(node) || !has_bias_form(bias, outputs)) {
    return NULL;
  }
  rows[0] = -1;
  rows[1] = w_shape->dim[trans_b ? 1 : 0];
  if (shape->rank != 2) {
    x = reshape(qop, x, rows, 2, like, dtype);
  }
  const struct grid from = grid_of(qop, x_point), of = grid_of(qop, w_point), to = grid_of(qop, chain->point);
  struct mq_value *inputs[] = {x,
                               from.scale,
                               from.zero_point,
                               weights_of(qop, node->inputs[1]->producer),
                               of.scale,
                               of.zero_point,
                               bias_of(qop, chain, outputs, &x_point->qparams, &w_point->qparams),
                               to.scale,
                               to.zero_point};
  struct mq_node *made = add_node(qop, MQ_OP_Foreign, "QGemm", MICROSOFT, like, dtype, inputs, 9);
  set_int(qop, made, "transB", trans_b);
  for (int i = 0; i < shape->rank; i++) {
    back[i] = i == 0 ? -1 : shape->dim[i];
  }
  struct mq_value *y = result_of(made);
  return y && shape->rank != 2 ? reshape(qop, y, back, shape->rank, like, dtype) : y;
}

static struct mq_value *add(struct qop *qop, const struct chain *chain, const struct mq_value *like) {
  const struct mq_node *node = chain->base;
  const struct mq_point *a_point, *b_point;
  struct mq_value *a = operand(qop, node->inputs[0], &a_point, chain->point),
                  *b = a ? operand(qop, node->inputs[1], &b_point, chain->point) : NULL;
  if (!a || !b) {
    return NULL;
  }
  const struct grid left = grid_of(qop, a_point), right = grid_of(qop, b_point),
                    to = grid_of(qop, chain->point);
  struct mq_value *inputs[] = {a,           left.scale,       left.zero_point, b,
                               right.scale, right.zero_point, to.scale,        to.zero_point};
  return result_of(add_node(qop, MQ_OP_Foreign, "QLinearAdd", MICROSOFT, like,
                            type_of(&chain->point->qparams), inputs, 8));
}

/* Over H and W, or over windows; `like` may have lost the plane. */
static struct mq_value *average(struct qop *qop, const struct mq_node *node, const struct mq_value *like,
                                const struct mq_point *point) {
  const struct mq_point *x_point;
  const mq_dtype dtype = type_of(&point->qparams);
  struct mq_value *x = operand(qop, node->inputs[0], &x_point, point);
  bool is_global = mq_is_global_pool(node);
  if (!x || (!is_global && node->op != MQ_OP_AveragePool)) {
    return NULL;
  }
  const struct grid from = grid_of(qop, x_point), to = grid_of(qop, point);
  struct mq_value *inputs[] = {x, from.scale, from.zero_point, to.scale, to.zero_point};
  struct mq_node *made =
      add_node(qop, MQ_OP_Foreign, is_global ? "QLinearGlobalAveragePool" : "QLinearAveragePool", MICROSOFT,
               like, dtype, inputs, 5);
  if (!is_global) {
    copy_attributes(qop, made, node);
  }
  set_int(qop, made, "channels_last", 0);
  if (!made || node->outputs[0]->shape.rank == node->inputs[0]->shape.rank) {
    return result_of(made);
  }
  inputs[0] = result_of(made);
  made = add_node(qop, MQ_OP_Flatten, NULL, NULL, like, dtype, inputs, 1);
  return result_of(made);
}

/* ---- Points ---------------------------------------------------------------------------------------- */

static bool is_read_once(const struct mq_value *value) {
  return value->n_uses == 1 && !value->is_output;
}

/* Relu and Clip behind the operator. */
static bool take_clip(struct chain *chain, const struct mq_node *node) {
  float lo, hi;
  if ((node->op != MQ_OP_Relu && node->op != MQ_OP_Clip) || mq_node_get_clip(&lo, &hi, node, NULL) != MQ_OK ||
      !(lo <= hi)) {
    return false;
  }
  /* What stands behind it in the graph was taken before: its bounds hold for this one's. */
  chain->lo = fminf(fmaxf(lo, chain->lo), chain->hi);
  chain->hi = fminf(fmaxf(hi, chain->lo), chain->hi);
  return true;
}

static const struct mq_value *bias_behind(const struct mq_node *add, struct mq_value **product) {
  for (int i = 0; i < 2 && add->op == MQ_OP_Add; i++) {
    const struct mq_node *node = add->inputs[i]->producer;
    const struct mq_value *other = add->inputs[1 - i];
    if (node && node->op == MQ_OP_MatMul && other->constant && is_read_once(add->inputs[i])) {
      *product = add->inputs[i];
      return other;
    }
  }
  return NULL;
}

static struct chain find_chain(const struct qop *qop, const struct mq_node *fake) {
  struct chain chain = {.lo = -INFINITY, .hi = INFINITY, .point = deploy_point_of(qop->edit.bundle, fake)};
  struct mq_value *value = fake->inputs[0];
  while (is_read_once(value) && value->producer && !grid_point(qop, value) &&
         take_clip(&chain, value->producer)) {
    value = value->producer->inputs[0];
  }
  if (!is_read_once(value) || !value->producer) {
    return chain;
  }
  chain.bias = bias_behind(value->producer, &value);
  chain.base = value->producer;
  return chain;
}

static struct mq_value *compute(struct qop *qop, const struct chain *chain, const struct mq_value *like) {
  mq_quant_op op;
  if (!chain->base || qop->edit.status != MQ_OK) {
    return NULL;
  }
  if (deploy_layer_weights(qop->edit.bundle, chain->base)) {
    bool is_linear = chain->base->op == MQ_OP_Gemm || chain->base->op == MQ_OP_MatMul;
    return is_linear ? multiply(qop, chain, like) : convolve(qop, chain, like);
  }
  if (chain->base->op == MQ_OP_Add) {
    return add(qop, chain, like);
  }
  bool is_pool = mq_quant_op_of(&op, chain->base) && op == MQ_QUANT_POOL;
  return is_pool ? average(qop, chain->base, like, chain->point) : NULL;
}

static void treat_point(struct qop *qop, const struct mq_node *fake) {
  struct mq_value *x = fake->inputs[0];
  struct chain chain = find_chain(qop, fake);
  struct mq_value *ints = compute(qop, &chain, x);
  if (!ints && qop->edit.status == MQ_OK) {
    ints = quantize(qop, x, x, chain.point);
    chain.lo = -INFINITY;
    chain.hi = INFINITY;
  }
  ints = clamp(qop, ints, x, chain.lo, chain.hi, &chain.point->qparams);
  qop->ints[fake->outputs[0]->index] = ints;
  note_made(qop, ints, x->name);
}

/* ---- The file -------------------------------------------------------------------------------------- */

/* Whoever still reads floats has the integers dequantized. */
static void replace_point(struct qop *qop, struct mq_node *fake, const struct mq_point *point) {
  struct deploy_edit *edit = &qop->edit;
  struct mq_value *x = fake->inputs[0], *y = fake->outputs[0];
  if (y->n_uses == 0 && !y->is_output) {
    return;
  }
  const struct grid grid = grid_of(qop, point);
  struct mq_value *inputs[] = {x->constant ? weights_of(qop, fake) : qop->ints[y->index], grid.scale,
                               grid.zero_point};
  mq_graph_remove_node(edit->graph, fake);
  deploy_edit_rename(edit, y, deploy_edit_name(edit, x->name, "_dequantized"));
  struct mq_node *node = deploy_edit_node(
      edit, MQ_OP_DequantizeLinear, deploy_edit_name(edit, x->name, "_dequantized"), inputs, 3, MQ_F32, y);
  if (edit->status == MQ_OK && point->qparams.channel_axis >= 0) {
    edit->status = mq_node_set_int(edit->graph, node, "axis", point->qparams.channel_axis, edit->err);
  }
  deploy_edit_name_output(edit, x, y);
}

static void begin(struct qop *qop, const struct mq_bundle *bundle, struct mq_err *err) {
  deploy_edit_begin(&qop->edit, bundle, err);
  deploy_edit_raise_opset(&qop->edit, OPSET);
  if (qop->edit.status != MQ_OK) {
    return;
  }
  struct mq_graph *graph = qop->edit.graph;
  qop->n_values = graph->n_values;
  qop->room_made = 3 * graph->n_values;
  qop->ints = mq_arena_alloc(&graph->arena, graph->n_values + 1, sizeof(struct mq_value *));
  qop->grids = mq_arena_alloc(&graph->arena, bundle->prepared.n_points + 1, sizeof *qop->grids);
  qop->made = mq_arena_alloc(&graph->arena, qop->room_made + 1, sizeof *qop->made);
  if (!qop->ints || !qop->grids || !qop->made) {
    qop->edit.status = mq_fail_memory(err, "integers");
  }
}

/* First all integers beside the floats, then the floats are made of them where someone reads these. */
static void rewrite(struct qop *qop) {
  struct mq_graph *graph = qop->edit.graph;
  const struct mq_bundle *bundle = qop->edit.bundle;
  size_t n = qop->edit.status == MQ_OK ? graph->n_nodes : 0;
  for (size_t i = 0; i < n && qop->edit.status == MQ_OK; i++) {
    if (deploy_point_of(bundle, graph->nodes[i]) && !graph->nodes[i]->inputs[0]->constant) {
      treat_point(qop, graph->nodes[i]);
    }
  }
  for (size_t i = 0; i < n && qop->edit.status == MQ_OK; i++) {
    const struct mq_point *point = deploy_point_of(bundle, graph->nodes[i]);
    if (point) {
      replace_point(qop, graph->nodes[i], point);
    }
  }
}

/* Integers have the user's name where no float has it any more, or that and a suffix. */
static void name_ints(struct qop *qop) {
  struct deploy_edit *edit = &qop->edit;
  for (size_t i = 0; i < qop->n_made && edit->status == MQ_OK; i++) {
    struct mq_value *ints = qop->made[i].ints;
    const char *name = qop->made[i].name;
    if (mq_graph_find_value(edit->graph, ints->name) == ints) { /* it was not dropped */
      bool is_free = !mq_graph_find_value(edit->graph, name);
      deploy_edit_rename(edit, ints, is_free ? name : deploy_edit_name(edit, name, "_quantized"));
    }
  }
}

static mq_status write_qoperator(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct qop qop = {.n_made = 0};
  begin(&qop, bundle, err);
  rewrite(&qop);
  deploy_edit_end(&qop.edit);
  name_ints(&qop);
  const char *path = deploy_edit_name(&qop.edit, stem, ".onnx");
  if (qop.edit.status == MQ_OK) {
    qop.edit.status = mq_onnx_write(path, qop.edit.graph, err);
  }
  mq_graph_destroy(qop.edit.graph);
  return qop.edit.status;
}

/* The engine takes one zero point for all channels. */
static mq_status check_qoperator(const struct mq_bundle *bundle, struct mq_err *err) {
  for (size_t i = 0; i < bundle->prepared.n_points; i++) {
    const struct mq_point *point = &bundle->prepared.points[i];
    for (int64_t c = 1; c < point->qparams.n_channels; c++) {
      if (point->qparams.zero_point[c] != point->qparams.zero_point[0]) {
        return mq_fail(err, MQ_BAD_INPUT,
                       "format onnx_qoperator cannot express point '%.200s': found zero points %d and %d, "
                       "expected the same for all channels",
                       point->tensor, point->qparams.zero_point[0], point->qparams.zero_point[c]);
      }
    }
  }
  return MQ_OK;
}

const struct mq_exporter mq_exporter_onnx_qoperator = {
    .name = "onnx_qoperator",
    .describes =
        "ONNX with operators on integers: QLinearConv, and ONNX Runtime's QGemm, QLinearAdd and averages",
    .suffixes = {".onnx"},
    .weights = {.takes_signed = true,
                .takes_unsigned = true,
                .takes_zero_point = true,
                .takes_channels = true},
    .activations = {.takes_signed = true, .takes_unsigned = true, .takes_zero_point = true},
    .check = check_qoperator,
    .write = write_qoperator,
};
