/* BN folding, strategy 0: merged once, then removed.
 *
 * With f = gamma / sqrt(v + e), floored at 1e-6 in magnitude with its sign kept (zero counts as positive):
 *   w' = w f      b' = beta - f (mu - b)
 * per output channel, in double, rounded to float32 once. */
#include <math.h>

#include "prepare/rewrite.h"
#include "target/roles.h"

#define FACTOR_FLOOR 1e-6

/* One number per channel. */
struct bn {
  int64_t n;
  double *factor, *shift, *mean; /* f, beta, mu */
  double *bias;                  /* of the layer before it */
};

static void bn_deinit(struct bn *bn) {
  mq_free(bn->factor);
  mq_free(bn->shift);
  mq_free(bn->mean);
  mq_free(bn->bias);
}

static bool has_constant_parameters(const struct mq_node *node) {
  int64_t n =
      node->inputs[1] && node->inputs[1]->constant ? mq_shape_count(&node->inputs[1]->constant->shape) : 0;
  for (int i = 1; i < 5; i++) {
    const struct mq_value *value = node->inputs[i];
    if (!value || !value->constant || value->constant->dtype != MQ_F32 || value->constant->shape.rank != 1 ||
        value->constant->shape.dim[0] != n) {
      return false;
    }
  }
  return n > 0;
}

static mq_status fill_bn(struct bn *bn, const struct mq_node *node, double epsilon, struct mq_err *err) {
  for (int64_t c = 0; c < bn->n; c++) {
    double variance = mq_tensor_get_double(node->inputs[4]->constant, c) + epsilon;
    if (!(variance > 0)) {
      return mq_fail(err, MQ_BAD_INPUT,
                     "node '%s' (BatchNormalization): variance + epsilon of channel %lld is %g, "
                     "expected a positive number",
                     node->name, (long long)c, variance);
    }
    double factor = mq_tensor_get_double(node->inputs[1]->constant, c) / sqrt(variance);
    if (fabs(factor) < FACTOR_FLOOR) factor = factor < 0 ? -FACTOR_FLOOR : FACTOR_FLOOR;
    bn->factor[c] = factor;
    bn->shift[c] = mq_tensor_get_double(node->inputs[2]->constant, c);
    bn->mean[c] = mq_tensor_get_double(node->inputs[3]->constant, c);
  }
  return MQ_OK;
}

static mq_status bn_init(struct bn *bn, const struct mq_node *node, struct mq_err *err) {
  float epsilon = 0;
  *bn = (struct bn){.n = mq_shape_count(&node->inputs[1]->constant->shape)};
  mq_status status = mq_node_get_float(&epsilon, node, "epsilon", 1e-5f, err);
  if (status) return status;
  size_t n = (size_t)bn->n;
  bn->factor = mq_alloc(n, sizeof(double));
  bn->shift = mq_alloc(n, sizeof(double));
  bn->mean = mq_alloc(n, sizeof(double));
  bn->bias = mq_alloc(n, sizeof(double));
  if (!bn->factor || !bn->shift || !bn->mean || !bn->bias) return mq_fail_memory(err, "batch normalization");
  return fill_bn(bn, node, (double)epsilon, err);
}

/* Output channel of element i of the weights. */
static int64_t channel_of(const struct mq_node *layer, int64_t i) {
  const struct mq_shape *w = &layer->inputs[1]->constant->shape;
  int64_t inner = 1, group = 1;
  for (int k = 2; k < w->rank; k++)
    inner *= w->dim[k];
  if (layer->op ==
      MQ_OP_ConvTranspose) { /* [Cin, Cout/group, ...]: input channel a belongs to group a/(Cin/g) */
    if (mq_node_get_int(&group, layer, "group", 1, NULL)) group = 1;
    int64_t in = i / (inner * w->dim[1]), out = i / inner % w->dim[1];
    return in / (w->dim[0] / group) * w->dim[1] + out;
  }
  return mq_weight_axis(layer) == 0 ? i / (inner * w->dim[1]) : i / inner % w->dim[1];
}

static mq_status fold_weight(struct mq_graph *graph, struct mq_node *layer, const struct bn *bn,
                             struct mq_err *err) {
  const struct mq_tensor *w = layer->inputs[1]->constant;
  struct mq_tensor folded = {0};
  mq_status status = mq_tensor_init(&folded, MQ_F32, &w->shape, err);
  int64_t n = status ? 0 : mq_shape_count(&w->shape);
  for (int64_t i = 0; i < n; i++) {
    ((float *)folded.data)[i] = (float)(mq_tensor_get_double(w, i) * bn->factor[channel_of(layer, i)]);
  }
  if (!status) status = mq_rewrite_constant(graph, layer, 1, NULL, &folded, err);
  mq_tensor_deinit(&folded);
  return status;
}

static mq_status fold_bias(struct mq_graph *graph, struct mq_node *layer, const struct bn *bn,
                           const char *name, struct mq_err *err) {
  struct mq_shape shape = {.rank = 1, .dim = {bn->n}};
  struct mq_tensor folded = {0};
  mq_status status = name ? mq_tensor_init(&folded, MQ_F32, &shape, err) : mq_fail_memory(err, "a name");
  for (int64_t c = 0; c < bn->n && !status; c++) {
    ((float *)folded.data)[c] = (float)(bn->shift[c] - bn->factor[c] * (bn->mean[c] - bn->bias[c]));
  }
  if (!status) status = mq_rewrite_constant(graph, layer, 2, name, &folded, err);
  mq_tensor_deinit(&folded);
  return status;
}

/* ---- What was folded -------------------------------------------------------------------------------- */
void mq_fold_log_deinit(struct mq_fold_log *log) {
  mq_free(log->items);
  *log = (struct mq_fold_log){0};
}

static struct mq_kept_constant keep(const struct mq_node *node, int input) {
  const struct mq_value *value = input < node->n_inputs ? node->inputs[input] : NULL;
  if (!value) return (struct mq_kept_constant){0};
  return (struct mq_kept_constant){.name = value->name, .tensor = value->constant};
}

/* Before anything is changed. layer NULL: the BN will be one itself. */
static mq_status note(struct mq_fold_log *log, struct mq_node *layer, struct mq_node *node,
                      struct mq_err *err) {
  struct mq_folded_bn folded = {.layer = layer ? layer : node, .is_alone = !layer};
  if (!log) return MQ_OK;
  mq_status status = mq_node_get_float(&folded.epsilon, node, "epsilon", 1e-5f, err);
  if (!status) status = mq_node_get_float(&folded.momentum, node, "momentum", 0.9f, err);
  if (status) return status;
  if (layer) {
    folded.weight = keep(layer, 1);
    folded.bias = keep(layer, 2);
  }
  folded.gamma = keep(node, 1);
  folded.beta = keep(node, 2);
  folded.mean = keep(node, 3);
  folded.variance = keep(node, 4);
  if (log->n == log->capacity) {
    size_t capacity = log->capacity ? 2 * log->capacity : 16;
    struct mq_folded_bn *items = mq_realloc(log->items, capacity, sizeof *items);
    if (!items) return mq_fail_memory(err, "folded batch normalizations");
    log->items = items;
    log->capacity = capacity;
  }
  log->items[log->n++] = folded;
  return MQ_OK;
}

/* The layer that only this BN reads. */
static struct mq_node *layer_before(const struct mq_node *bn) {
  const struct mq_value *x = bn->inputs[0];
  struct mq_node *layer = x ? x->producer : NULL;
  mq_quant_op op;
  if (!layer || x->n_uses != 1 || x->is_output || !mq_is_layer(&op, layer)) return NULL;
  if (op == MQ_QUANT_LINEAR && x->shape.rank != 2) return NULL; /* channels are not dimension 1 */
  return mq_layer_channels(layer) == mq_shape_count(&bn->inputs[1]->constant->shape) ? layer : NULL;
}

static mq_status fold_into(struct mq_graph *graph, struct mq_node *layer, struct mq_node *node,
                           const struct bn *bn, struct mq_err *err) {
  struct mq_value *y = node->outputs[0];
  mq_status status = fold_weight(graph, layer, bn, err);
  if (!status) status = fold_bias(graph, layer, bn, mq_rewrite_bias_name(graph, layer), err);
  if (status) return status;
  if (layer->op == MQ_OP_MatMul) layer->op = MQ_OP_Gemm;
  mq_graph_remove_node(graph, node);
  mq_rewrite_take_output(layer, y);
  return MQ_OK;
}

/* y = f x + (beta - f mu) as a 1x1 depthwise convolution with the BN's own names. */
static mq_status make_depthwise(struct mq_graph *graph, struct mq_node *node, const struct bn *bn,
                                struct mq_err *err) {
  int rank = node->inputs[0]->shape.rank;
  struct mq_shape shape = {.rank = rank, .dim = {bn->n, 1, 1, 1, 1, 1, 1, 1}};
  struct mq_tensor weight = {0};
  mq_status status = mq_tensor_init(&weight, MQ_F32, &shape, err);
  for (int64_t c = 0; c < bn->n && !status; c++)
    ((float *)weight.data)[c] = (float)bn->factor[c];
  if (!status) status = mq_rewrite_constant(graph, node, 1, NULL, &weight, err);
  if (!status) status = fold_bias(graph, node, bn, node->name, err);
  if (!status) status = mq_rewrite_drop_inputs(graph, node, 3, err);
  mq_tensor_deinit(&weight);
  if (status) return status;
  for (size_t i = node->n_attrs; i-- > 0;)
    mq_node_remove_attr(node, node->attrs[i].name);
  node->op = MQ_OP_Conv;
  return mq_node_set_int(graph, node, "group", bn->n, err);
}

static mq_status fold_one(struct mq_graph *graph, struct mq_node *node, bool fold_others,
                          struct mq_fold_log *log, struct mq_err *err) {
  if (!has_constant_parameters(node)) return MQ_OK;
  struct bn bn;
  mq_status status = bn_init(&bn, node, err);
  struct mq_node *layer = layer_before(node);
  int rank = node->inputs[0]->shape.rank;
  if (!status && layer && mq_read_channel_bias(bn.bias, bn.n, layer)) {
    status = note(log, layer, node, err);
    if (!status) status = fold_into(graph, layer, node, &bn, err);
  } else if (!status && fold_others && (rank == 3 || rank == 4)) {
    for (int64_t c = 0; c < bn.n; c++)
      bn.bias[c] = 0;
    status = note(log, NULL, node, err);
    if (!status) status = make_depthwise(graph, node, &bn, err);
  }
  bn_deinit(&bn);
  return status;
}

mq_status mq_rewrite_fold_bn(struct mq_graph *graph, bool fold_others, struct mq_fold_log *log,
                             struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < graph->n_nodes && !status; i++) {
    struct mq_node *node = graph->nodes[i];
    if (node->op == MQ_OP_BatchNormalization) status = fold_one(graph, node, fold_others, log, err);
  }
  if (!status) status = mq_graph_sort(graph, err);
  if (!status) mq_graph_prune(graph);
  return status;
}

mq_status mq_prepare_fold_bn(struct mq_graph *graph, bool fold_others, struct mq_err *err) {
  return mq_rewrite_fold_bn(graph, fold_others, NULL, err);
}
