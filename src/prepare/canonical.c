/* The float graph in one form, whatever tool exported it: nodes that do nothing removed, biases in their
 * layer, scalars of Gemm absorbed, one activation function instead of two that say the same. */
#include <string.h>

#include "prepare/rewrite.h"
#include "target/roles.h"

/* ---- Nodes that do nothing -------------------------------------------------------------------------- */

static bool is_idle(const struct mq_node *node) {
  if (node->n_inputs < 1 || !node->inputs[0] || node->n_outputs < 1 || !node->outputs[0]) return false;
  switch (node->op) {
    case MQ_OP_Identity:
      return true;
    case MQ_OP_Dropout: /* inference; the mask must be unused */
      return node->n_outputs < 2 || !node->outputs[1] ||
             (!node->outputs[1]->n_uses && !node->outputs[1]->is_output);
    case MQ_OP_Cast:
      return node->inputs[0]->dtype == node->outputs[0]->dtype && node->outputs[0]->dtype == MQ_F32;
    default:
      return false;
  }
}

/* x -> node -> y, both with the same content: one stays, y where the graph's output must keep its name. */
static mq_status remove_idle(struct mq_graph *graph, struct mq_node *node, struct mq_rename_log *log,
                             struct mq_err *err) {
  struct mq_value *x = node->inputs[0], *y = node->outputs[0];
  struct mq_node *maker = x->producer;
  if (!y->is_output) {
    mq_graph_remove_node(graph, node);
    mq_status status = mq_graph_replace_uses(graph, y, x, NULL, err);
    return status ? status : mq_rename_log_add(log, y->name, x->name, err);
  }
  if (x->is_output || !maker || maker->n_outputs != 1) return MQ_OK; /* both names are the user's interface */
  mq_graph_remove_node(graph, node);
  mq_status status = mq_graph_replace_uses(graph, x, y, NULL, err);
  if (status) return status;
  mq_rewrite_take_output(maker, y);
  return mq_rename_log_add(log, x->name, y->name, err);
}

/* ---- Gemm's alpha and beta -------------------------------------------------------------------------- */

static mq_status scale_constant(struct mq_graph *graph, struct mq_node *node, int input, double factor,
                                struct mq_err *err) {
  struct mq_tensor scaled = {0};
  const struct mq_tensor *from = node->inputs[input]->constant;
  mq_status status = mq_tensor_init(&scaled, MQ_F32, &from->shape, err);
  int64_t n = status ? 0 : mq_shape_count(&from->shape);
  for (int64_t i = 0; i < n; i++)
    ((float *)scaled.data)[i] = (float)(mq_tensor_get_double(from, i) * factor);
  if (!status) status = mq_rewrite_constant(graph, node, input, NULL, &scaled, err);
  mq_tensor_deinit(&scaled);
  return status;
}

static mq_status absorb_factor(struct mq_graph *graph, struct mq_node *gemm, const char *name, int input,
                               struct mq_err *err) {
  float factor = 1;
  mq_status status = mq_node_get_float(&factor, gemm, name, 1, err);
  const struct mq_value *value = input < gemm->n_inputs ? gemm->inputs[input] : NULL;
  if (status || factor == 1 || (value && !value->constant)) return status;
  if (value) status = scale_constant(graph, gemm, input, (double)factor, err);
  if (!status) mq_node_remove_attr(gemm, name);
  return status;
}

/* y = alpha A B + beta C: the factors go into constant B and C. */
static mq_status absorb_factors(struct mq_graph *graph, struct mq_node *node, struct mq_err *err) {
  mq_quant_op op;
  if (node->op != MQ_OP_Gemm || !mq_is_layer(&op, node)) return MQ_OK;
  mq_status status = absorb_factor(graph, node, "alpha", 1, err);
  return status ? status : absorb_factor(graph, node, "beta", 2, err);
}

/* ---- Biases ----------------------------------------------------------------------------------------- */

/* The Add of a constant per output channel that alone reads the layer's output. */
static struct mq_node *find_bias_add(const struct mq_node *layer, struct mq_value **constant) {
  const struct mq_value *x = layer->outputs[0];
  if (x->n_uses != 1 || x->is_output || x->uses[0].node->op != MQ_OP_Add) return NULL;
  struct mq_node *add = x->uses[0].node;
  *constant = add->inputs[1 - x->uses[0].input];
  bool is_linear = layer->op == MQ_OP_MatMul || layer->op == MQ_OP_Gemm;
  int rank = x->shape.rank;
  if (rank < 2 || (is_linear && rank != 2)) return NULL;
  return mq_is_channel_constant(*constant, rank, 1, mq_layer_channels(layer)) ? add : NULL;
}

static mq_status set_bias(struct mq_graph *graph, struct mq_node *layer, const struct mq_value *constant,
                          struct mq_err *err) {
  int64_t n = mq_layer_channels(layer);
  struct mq_shape shape = {.rank = 1, .dim = {n}};
  struct mq_tensor sum = {0};
  mq_status status = MQ_OK;
  double *bias = mq_alloc((size_t)n, sizeof *bias);
  if (!bias) status = mq_fail_memory(err, "a bias");
  if (!status) status = mq_tensor_init(&sum, MQ_F32, &shape, err);
  bool is_scalar = mq_shape_count(&constant->constant->shape) == 1;
  if (!status) mq_read_channel_bias(bias, n, layer);
  for (int64_t c = 0; c < n && !status; c++) {
    ((float *)sum.data)[c] = (float)(bias[c] + mq_tensor_get_double(constant->constant, is_scalar ? 0 : c));
  }
  if (!status) status = mq_rewrite_constant(graph, layer, 2, constant->name, &sum, err);
  mq_tensor_deinit(&sum);
  mq_free(bias);
  return status;
}

static mq_status has_plain_bias(bool *is_plain, const struct mq_node *layer, struct mq_err *err) {
  int64_t n = mq_layer_channels(layer);
  double *bias = mq_alloc((size_t)n, sizeof *bias);
  if (!bias) return mq_fail_memory(err, "a bias");
  *is_plain = mq_read_channel_bias(bias, n, layer);
  mq_free(bias);
  return MQ_OK;
}

/* A scalar or [1, n] bias of a Gemm becomes a vector like everyone's. */
static mq_status flatten_bias(struct mq_graph *graph, struct mq_node *node, struct mq_err *err) {
  mq_quant_op op;
  const struct mq_value *bias = node->n_inputs > 2 ? node->inputs[2] : NULL;
  if (!mq_is_layer(&op, node) || !bias || !bias->constant || bias->shape.rank == 1) return MQ_OK;
  int64_t n = mq_layer_channels(node);
  struct mq_shape shape = {.rank = 1, .dim = {n}};
  struct mq_tensor vector = {0};
  bool is_plain = false;
  mq_status status = has_plain_bias(&is_plain, node, err);
  if (status || !is_plain) return status;
  status = mq_tensor_init(&vector, MQ_F32, &shape, err);
  bool is_scalar = mq_shape_count(&bias->constant->shape) == 1;
  for (int64_t c = 0; c < n && !status; c++)
    ((float *)vector.data)[c] = (float)mq_tensor_get_double(bias->constant, is_scalar ? 0 : c);
  if (!status) status = mq_rewrite_constant(graph, node, 2, NULL, &vector, err);
  mq_tensor_deinit(&vector);
  return status;
}

/* conv or linear, then Add of a constant per channel: one layer with a bias. A MatMul becomes a Gemm. */
static mq_status take_bias(struct mq_graph *graph, struct mq_node *node, struct mq_err *err) {
  struct mq_value *constant = NULL;
  mq_quant_op op;
  bool is_plain = false;
  if (!mq_is_layer(&op, node)) return MQ_OK;
  struct mq_node *add = find_bias_add(node, &constant);
  mq_status status = add ? has_plain_bias(&is_plain, node, err) : MQ_OK;
  if (status || !is_plain) return status;
  struct mq_value *y = add->outputs[0];
  bool is_vector = constant->shape.rank == 1 && constant->shape.dim[0] == mq_layer_channels(node);
  mq_graph_remove_node(graph, add);
  if (is_vector && node->n_inputs <= 2) {
    status = mq_graph_set_input(graph, node, 2, constant, err);
  } else {
    status = set_bias(graph, node, constant, err);
  }
  if (status) return status;
  if (node->op == MQ_OP_MatMul) node->op = MQ_OP_Gemm;
  mq_rewrite_take_output(node, y);
  return MQ_OK;
}

/* ---- Activation functions --------------------------------------------------------------------------- */

/* clip(clip(x, lo1, hi1), lo2, hi2) where one range lies in the other: one of the two is enough. */
static mq_status merge_activations(struct mq_graph *graph, struct mq_node *first, struct mq_err *err) {
  float lo1, hi1, lo2, hi2;
  if (mq_op_get(first->op)->kind != MQ_KIND_ACTIVATION) return MQ_OK;
  struct mq_value *between = first->outputs[0];
  while (between->n_uses == 1 && !between->is_output &&
         mq_op_get(between->uses[0].node->op)->kind == MQ_KIND_ACTIVATION && between->uses[0].input == 0) {
    struct mq_node *second = between->uses[0].node;
    if (mq_node_get_clip(&lo1, &hi1, first, NULL) || mq_node_get_clip(&lo2, &hi2, second, NULL)) return MQ_OK;
    struct mq_value *y = second->outputs[0];
    if (lo2 <= lo1 && hi2 >= hi1) {
      mq_graph_remove_node(graph, second);
      mq_rewrite_take_output(first, y);
      between = y;
    } else if (lo1 <= lo2 && hi1 >= hi2) {
      struct mq_value *x = first->inputs[0];
      mq_graph_remove_node(graph, first);
      return mq_graph_set_input(graph, second, 0, x, err);
    } else {
      return MQ_OK;
    }
  }
  return MQ_OK;
}

mq_status mq_rewrite_canonical(struct mq_graph *graph, struct mq_rename_log *log, struct mq_err *err) {
  mq_status status = MQ_OK;
  mq_graph_prune(graph);
  for (size_t i = 0; i < graph->n_nodes && !status; i++) {
    if (graph->nodes[i]->op != MQ_OP_NONE && is_idle(graph->nodes[i])) {
      status = remove_idle(graph, graph->nodes[i], log, err);
    }
  }
  for (size_t i = 0; i < graph->n_nodes && !status; i++) {
    struct mq_node *node = graph->nodes[i];
    if (node->op != MQ_OP_NONE) status = absorb_factors(graph, node, err);
    if (!status && node->op != MQ_OP_NONE) status = take_bias(graph, node, err);
    if (!status && node->op != MQ_OP_NONE) status = flatten_bias(graph, node, err);
  }
  for (size_t i = 0; i < graph->n_nodes && !status; i++) {
    if (graph->nodes[i]->op != MQ_OP_NONE) status = merge_activations(graph, graph->nodes[i], err);
  }
  if (!status) status = mq_graph_sort(graph, err);
  if (!status) mq_graph_prune(graph);
  return status;
}

mq_status mq_prepare_canonical(struct mq_graph *graph, struct mq_err *err) {
  return mq_rewrite_canonical(graph, NULL, err);
}
