/* BN folding, strategies 1 to 4: graphs for training that become strategy 0's form when training is over
 * (paper section 3.2). With running statistics mu, v and the batch's mu~, v~, y = conv(x, w) + c:
 *   1  conv(x, fq(w f)) + b                      f = gamma / sqrt(v + e),  b = beta + f (c - mu)
 *   2  conv(x, fq(w f~)) + b~                    f~, b~ by mu~ and v~ of a first conv(x, w) + c
 *   3  conv(x, fq(w f)) sqrt(v + e) / sqrt(v~ + e) + b~     f by v after its update
 *   4  BN(conv(x, fq(w f)) / f + c)              f by v before its update
 * A BN without a layer before it (is_alone) is a 1x1 depthwise convolution with w = 1, c = 0: its folded
 * weights are the factor itself, and the first convolution is x. */
#include <string.h>

#include "prepare/rewrite.h"
#include "target/roles.h"

/* What the strategies build on: one folded BN, its constants back in the graph. */
struct unfolder {
  struct mq_graph *graph;
  const struct mq_folded_bn *bn;
  struct mq_node *layer;
  struct mq_value *weight, *bias; /* NULL: absent */
  struct mq_value *gamma, *beta, *mean, *variance;
  struct mq_shape channels; /* a vector of them */
};

/* ---- Nodes ------------------------------------------------------------------------------------------- */
static const char *name_after(const struct unfolder *u, const char *what) {
  return mq_arena_printf(&u->graph->arena, "%s_%s", u->layer->name, what);
}

static mq_status add_value(struct mq_value **value, const struct unfolder *u, const char *what,
                           const struct mq_shape *shape, struct mq_err *err) {
  const char *name = name_after(u, what);
  return name ? mq_graph_add_value(value, u->graph, name, MQ_F32, shape, err) : mq_fail_memory(err, "a name");
}

static mq_status add_node(struct mq_node **node, const struct unfolder *u, mq_op op, struct mq_value **inputs,
                          int n_inputs, struct mq_value **outputs, int n_outputs, struct mq_err *err) {
  return mq_graph_add_node(node, u->graph, op, outputs[0]->name, inputs, n_inputs, outputs, n_outputs, err);
}

/* gamma / sqrt(variance + e); gamma NULL: 1. */
static mq_status add_factor(struct mq_value **factor, const struct unfolder *u, const char *what,
                            struct mq_value *variance, struct mq_value *gamma, struct mq_err *err) {
  struct mq_value *inputs[] = {variance, gamma};
  struct mq_node *node = NULL;
  mq_status status = add_value(factor, u, what, &u->channels, err);
  if (!status) status = add_node(&node, u, MQ_OP_FoldFactor, inputs, gamma ? 2 : 1, factor, 1, err);
  return status ? status : mq_node_set_float(u->graph, node, "epsilon", u->bn->epsilon, err);
}

/* beta + factor (c - mean) */
static mq_status add_bias(struct mq_value **bias, const struct unfolder *u, struct mq_value *factor,
                          struct mq_value *mean, struct mq_err *err) {
  struct mq_value *inputs[] = {u->beta, factor, mean, u->bias};
  struct mq_node *node = NULL;
  mq_status status = add_value(bias, u, "folded_bias", &u->channels, err);
  return status ? status : add_node(&node, u, MQ_OP_FoldBias, inputs, u->bias ? 4 : 3, bias, 1, err);
}

struct scaling {
  struct mq_value *factor, *shift; /* shift NULL: none */
  int axis;
  int64_t groups;
  bool divides;
};

/* `scaled` is x scaled: a value that has no producer yet. */
static mq_status add_scale(struct mq_value *scaled, const struct unfolder *u, struct mq_value *x,
                           const struct scaling *scaling, struct mq_err *err) {
  struct mq_value *inputs[] = {x, scaling->factor, scaling->shift};
  struct mq_node *node = NULL;
  mq_status status = add_node(&node, u, MQ_OP_ScaleChannels, inputs, scaling->shift ? 3 : 2, &scaled, 1, err);
  if (!status) status = mq_node_set_int(u->graph, node, "axis", scaling->axis, err);
  if (!status) status = mq_node_set_int(u->graph, node, "groups", scaling->groups, err);
  return status ? status : mq_node_set_int(u->graph, node, "divides", scaling->divides, err);
}

/* The batch's mean and variance of y, and the running variance after its update. */
static mq_status add_statistics(struct mq_value *statistics[4], const struct unfolder *u, struct mq_value *y,
                                struct mq_err *err) {
  static const char *const names[] = {"batch_mean", "batch_variance", "new_mean", "new_variance"};
  struct mq_value *inputs[] = {y, u->mean, u->variance};
  struct mq_node *node = NULL;
  mq_status status = MQ_OK;
  for (int i = 0; i < 4 && !status; i++)
    status = add_value(&statistics[i], u, names[i], &u->channels, err);
  if (!status) status = add_node(&node, u, MQ_OP_BatchStatistics, inputs, 3, statistics, 4, err);
  return status ? status : mq_node_set_float(u->graph, node, "momentum", u->bn->momentum, err);
}

/* ---- The layer's own inputs and output ---------------------------------------------------------------- */

/* The vector as the weights of a 1x1 depthwise convolution. */
static mq_status reshape_factor(struct mq_value **weight, const struct unfolder *u, struct mq_value *factor,
                                const struct mq_shape *shape, struct mq_err *err) {
  struct mq_shape length = {.rank = 1, .dim = {shape->rank}};
  int64_t dims[MQ_MAX_RANK];
  struct mq_value *inputs[] = {factor, NULL};
  struct mq_node *node = NULL;
  memcpy(dims, shape->dim, sizeof dims);
  struct mq_tensor tensor = mq_tensor_view(dims, MQ_I64, &length, NULL);
  const char *name = name_after(u, "weight_shape");
  mq_status status =
      name ? mq_graph_add_constant(&inputs[1], u->graph, name, &tensor, err) : mq_fail_memory(err, "a name");
  if (!status) status = add_value(weight, u, "folded_weight", shape, err);
  return status ? status : add_node(&node, u, MQ_OP_Reshape, inputs, 2, weight, 1, err);
}

/* w f, along the output channels. */
static mq_status fold_weight(struct mq_value **weight, const struct unfolder *u, struct mq_value *factor,
                             struct mq_err *err) {
  struct mq_shape shape = u->layer->inputs[1]->shape;
  struct scaling scaling = {.factor = factor, .axis = mq_weight_axis(u->layer), .groups = 1};
  if (u->bn->is_alone) return reshape_factor(weight, u, factor, &shape, err);
  if (scaling.axis < 0) { /* grouped ConvTranspose: [Cin, Cout / groups, ...] */
    scaling.axis = 1;
    mq_status status = mq_node_get_int(&scaling.groups, u->layer, "group", 1, err);
    if (status) return status;
  }
  mq_status status = add_value(weight, u, "folded_weight", &shape, err);
  return status ? status : add_scale(*weight, u, u->weight, &scaling, err);
}

/* What the layer, or its weights' FakeQuantize, reads. */
static mq_status set_weight(const struct unfolder *u, struct mq_value *factor, struct mq_err *err) {
  struct mq_value *weight = NULL;
  struct mq_node *quantizer = u->layer->inputs[1]->producer;
  mq_status status = fold_weight(&weight, u, factor, err);
  if (status) return status;
  return quantizer ? mq_graph_set_input(u->graph, quantizer, 0, weight, err)
                   : mq_graph_set_input(u->graph, u->layer, 1, weight, err);
}

static mq_status set_bias(const struct unfolder *u, struct mq_value *bias, struct mq_err *err) {
  return bias ? mq_graph_set_input(u->graph, u->layer, 2, bias, err)
              : mq_rewrite_drop_inputs(u->graph, u->layer, 2, err);
}

/* The layer makes a value of its own; *y, which others read, is without a producer. */
static mq_status free_output(struct mq_value **own, struct mq_value **y, const struct unfolder *u,
                             struct mq_err *err) {
  *y = u->layer->outputs[0];
  mq_status status = add_value(own, u, "product", &(*y)->shape, err);
  if (!status) mq_rewrite_take_output(u->layer, *own);
  return status;
}

/* The layer once more, with the model's float weights and bias. Its output is what the BN of the model saw.
 */
static mq_status add_first_layer(struct mq_value **y, const struct unfolder *u, struct mq_err *err) {
  struct mq_value *inputs[] = {u->layer->inputs[0], u->weight, u->bias};
  struct mq_node *node = NULL;
  *y = inputs[0];
  if (u->bn->is_alone) return MQ_OK;
  mq_status status = add_value(y, u, "first", &u->layer->outputs[0]->shape, err);
  if (!status) status = add_node(&node, u, u->layer->op, inputs, u->bias ? 3 : 2, y, 1, err);
  return status ? status : mq_node_copy_attrs(u->graph, node, u->layer, err);
}

/* ---- The strategies ----------------------------------------------------------------------------------- */

/* Weights and bias folded by these statistics. */
static mq_status fold_by(const struct unfolder *u, struct mq_value *mean, struct mq_value *variance,
                         struct mq_err *err) {
  struct mq_value *factor = NULL, *bias = NULL;
  mq_status status = add_factor(&factor, u, "factor", variance, u->gamma, err);
  if (!status) status = set_weight(u, factor, err);
  if (!status) status = add_bias(&bias, u, factor, mean, err);
  return status ? status : set_bias(u, bias, err);
}

static mq_status unfold_1(const struct unfolder *u, struct mq_err *err) {
  return fold_by(u, u->mean, u->variance, err);
}

static mq_status unfold_2(const struct unfolder *u, struct mq_err *err) {
  struct mq_value *first = NULL, *statistics[4];
  mq_status status = add_first_layer(&first, u, err);
  if (!status) status = add_statistics(statistics, u, first, err);
  return status ? status : fold_by(u, statistics[0], statistics[1], err);
}

/* sqrt(v + e) / sqrt(v~ + e), gamma left out, so that rounding makes no gradient for it. */
static mq_status add_correction(struct mq_value **ratio, const struct unfolder *u, struct mq_value *batch,
                                struct mq_value *running, struct mq_err *err) {
  struct mq_value *by_batch = NULL;
  struct scaling scaling = {.axis = 0, .groups = 1, .divides = true};
  mq_status status = add_factor(&by_batch, u, "inverse_batch", batch, NULL, err);
  if (!status) status = add_factor(&scaling.factor, u, "inverse_running", running, NULL, err);
  if (!status) status = add_value(ratio, u, "correction", &u->channels, err);
  return status ? status : add_scale(*ratio, u, by_batch, &scaling, err);
}

static mq_status unfold_3(const struct unfolder *u, struct mq_err *err) {
  struct mq_value *first = NULL, *statistics[4], *factor = NULL, *batch_factor = NULL, *own = NULL, *y = NULL;
  struct scaling scaling = {.axis = 1, .groups = 1};
  mq_status status = add_first_layer(&first, u, err);
  if (!status) status = add_statistics(statistics, u, first, err);
  if (!status) status = add_factor(&factor, u, "factor", statistics[3], u->gamma, err);
  if (!status) status = set_weight(u, factor, err);
  if (!status) status = set_bias(u, NULL, err);
  if (!status) status = add_correction(&scaling.factor, u, statistics[1], statistics[3], err);
  if (!status) status = add_factor(&batch_factor, u, "batch_factor", statistics[1], u->gamma, err);
  if (!status) status = add_bias(&scaling.shift, u, batch_factor, statistics[0], err);
  if (!status) status = free_output(&own, &y, u, err);
  return status ? status : add_scale(y, u, own, &scaling, err);
}

static mq_status unfold_4(const struct unfolder *u, struct mq_err *err) {
  struct mq_value *own = NULL, *y = NULL;
  struct mq_value *bn_inputs[5] = {NULL, u->gamma, u->beta, u->mean, u->variance};
  struct mq_node *bn = NULL;
  struct scaling scaling = {.shift = u->bias, .axis = 1, .groups = 1, .divides = true};
  mq_status status = add_factor(&scaling.factor, u, "factor", u->variance, u->gamma, err);
  if (!status) status = set_weight(u, scaling.factor, err);
  if (!status) status = set_bias(u, NULL, err);
  if (!status) status = free_output(&own, &y, u, err);
  if (!status) status = add_value(&bn_inputs[0], u, "unscaled", &y->shape, err);
  if (!status) status = add_scale(bn_inputs[0], u, own, &scaling, err);
  if (!status) status = add_node(&bn, u, MQ_OP_BatchNormalization, bn_inputs, 5, &y, 1, err);
  if (!status) status = mq_node_set_float(u->graph, bn, "epsilon", u->bn->epsilon, err);
  return status ? status : mq_node_set_float(u->graph, bn, "momentum", u->bn->momentum, err);
}

/* ---- The model's constants under their names ---------------------------------------------------------- */

/* What strategy 0 put in their place makes way. */
static mq_status give_way(struct mq_graph *graph, const struct mq_node *layer, struct mq_err *err) {
  for (int i = 1; i < 3; i++) {
    struct mq_value *value = layer->inputs[i];
    if (value->producer) value = value->producer->inputs[0]; /* behind its FakeQuantize */
    const char *name = mq_arena_printf(&graph->arena, "%s_at_start", value->name);
    if (!name) return mq_fail_memory(err, "a name");
    mq_status status = mq_graph_rename_value(graph, value, name, err);
    if (status) return status;
  }
  return MQ_OK;
}

/* The constant may still be there because others read it. A bias of shape [1, n] is taken as a vector. */
static mq_status restore(struct mq_value **value, struct mq_graph *graph, const struct mq_kept_constant *kept,
                         bool is_vector, struct mq_err *err) {
  *value = kept->name ? mq_graph_find_value(graph, kept->name) : NULL;
  if (!kept->name || *value) return MQ_OK;
  struct mq_tensor tensor = *kept->tensor;
  struct mq_shape vector = {.rank = 1, .dim = {mq_shape_count(&tensor.shape)}};
  if (is_vector) tensor = mq_tensor_view(tensor.data, MQ_F32, &vector, NULL);
  return mq_graph_add_constant(value, graph, kept->name, &tensor, err);
}

static mq_status unfold_one(struct mq_graph *graph, const struct mq_folded_bn *bn, mq_bn_fold strategy,
                            struct mq_err *err) {
  struct unfolder u = {.graph = graph, .bn = bn, .layer = bn->layer};
  mq_status status = restore(&u.weight, graph, &bn->weight, false, err);
  if (!status) status = restore(&u.bias, graph, &bn->bias, true, err);
  if (!status) status = restore(&u.gamma, graph, &bn->gamma, true, err);
  if (!status) status = restore(&u.beta, graph, &bn->beta, true, err);
  if (!status) status = restore(&u.mean, graph, &bn->mean, true, err);
  if (!status) status = restore(&u.variance, graph, &bn->variance, true, err);
  if (status) return status;
  u.channels = u.gamma->shape;
  switch (strategy) {
    case MQ_BN_FOLD_1:
      return unfold_1(&u, err);
    case MQ_BN_FOLD_2:
      return unfold_2(&u, err);
    case MQ_BN_FOLD_3:
      return unfold_3(&u, err);
    default:
      return unfold_4(&u, err);
  }
}

/* One constant of the model that two points read is one variable. */
static mq_status join_doubled(struct mq_graph *graph, const struct mq_rename_log *renames,
                              struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < renames->n && !status; i++) {
    struct mq_value *first = mq_graph_find_value(graph, renames->items[i].from);
    struct mq_value *second = mq_graph_find_value(graph, renames->items[i].to);
    bool is_doubled = first && second && first != second && first->constant && second->constant;
    if (is_doubled) status = mq_graph_replace_uses(graph, second, first, NULL, err);
  }
  return status;
}

mq_status mq_rewrite_unfold_bn(struct mq_graph *graph, const struct mq_fold_log *folded,
                               const struct mq_rename_log *renames, mq_bn_fold strategy, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < folded->n && !status; i++)
    status = give_way(graph, folded->items[i].layer, err);
  for (size_t i = 0; i < folded->n && !status; i++)
    status = unfold_one(graph, &folded->items[i], strategy, err);
  return status ? status : join_doubled(graph, renames, err);
}
