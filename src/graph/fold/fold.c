/* Which nodes are evaluated while shapes are inferred, and how much of that is allowed. */
#include "graph/fold/fold.h"

#define FREE_ELEMENTS ((int64_t)64 << 20)
#define MAX_BUDGET ((int64_t)1 << 40)

/* QuantizeLinear, DequantizeLinear and FakeQuantize of constants stay: their meaning matters. But for a
 * single number, which is nobody's weights: what a Pad writes, for one. */
static const graph_fold_fn fold_table[MQ_OP_COUNT] = {
    [MQ_OP_Add] = graph_fold_binary,
    [MQ_OP_And] = graph_fold_binary,
    [MQ_OP_Cast] = graph_fold_cast,
    [MQ_OP_Ceil] = graph_fold_unary,
    [MQ_OP_Concat] = graph_fold_concat,
    [MQ_OP_Constant] = graph_fold_constant,
    [MQ_OP_ConstantOfShape] = graph_fold_constant_of_shape,
    [MQ_OP_DequantizeLinear] = graph_fold_dequantize,
    [MQ_OP_Div] = graph_fold_binary,
    [MQ_OP_Equal] = graph_fold_binary,
    [MQ_OP_Expand] = graph_fold_expand,
    [MQ_OP_Flatten] = graph_fold_copy,
    [MQ_OP_Floor] = graph_fold_unary,
    [MQ_OP_Gather] = graph_fold_gather,
    [MQ_OP_Greater] = graph_fold_binary,
    [MQ_OP_Identity] = graph_fold_copy,
    [MQ_OP_Less] = graph_fold_binary,
    [MQ_OP_Max] = graph_fold_binary,
    [MQ_OP_Min] = graph_fold_binary,
    [MQ_OP_Mod] = graph_fold_binary,
    [MQ_OP_Mul] = graph_fold_binary,
    [MQ_OP_Neg] = graph_fold_unary,
    [MQ_OP_Not] = graph_fold_unary,
    [MQ_OP_Or] = graph_fold_binary,
    [MQ_OP_Range] = graph_fold_range,
    [MQ_OP_ReduceProd] = graph_fold_reduce_prod,
    [MQ_OP_Reshape] = graph_fold_copy,
    [MQ_OP_Shape] = graph_fold_shape,
    [MQ_OP_Slice] = graph_fold_slice,
    [MQ_OP_Split] = graph_fold_split,
    [MQ_OP_Squeeze] = graph_fold_copy,
    [MQ_OP_Sub] = graph_fold_binary,
    [MQ_OP_Transpose] = graph_fold_transpose,
    [MQ_OP_Unsqueeze] = graph_fold_copy,
    [MQ_OP_Where] = graph_fold_where,
    [MQ_OP_Xor] = graph_fold_binary,
};

static bool is_foldable(const struct mq_node *node) {
  if (!fold_table[node->op] ||
      (node->op == MQ_OP_DequantizeLinear && node->inputs[0]->constant && node->inputs[0]->shape.rank > 0)) {
    return false;
  }
  for (int i = 0; i < node->n_inputs && node->op != MQ_OP_Shape; i++) {
    if (node->inputs[i] && !node->inputs[i]->constant) {
      return false;
    }
  }
  for (int i = 0; i < node->n_outputs; i++) {
    /* The same constant for every image of a batch, expanded: not constant as long as the batch is open. */
    if (node->outputs[i] && mq_shape_has_batch(&node->outputs[i]->shape)) {
      return false;
    }
  }
  return true;
}

static void allow(struct graph_folding *folding, const struct mq_tensor *tensor) {
  int64_t n = tensor ? mq_shape_count(&tensor->shape) : 0;
  bool is_small = folding->budget < MAX_BUDGET && n < MAX_BUDGET;
  folding->budget = is_small ? folding->budget + 4 * n : folding->budget;
}

void graph_folding_init(struct graph_folding *folding, const struct mq_graph *graph) {
  folding->budget = FREE_ELEMENTS;
  for (size_t i = 0; i < graph->n_values; i++) {
    allow(folding, graph->values[i]->constant);
  }
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    for (size_t k = 0; k < node->n_attrs; k++) {
      allow(folding, node->attrs[k].kind == MQ_ATTR_TENSOR ? node->attrs[k].as.tensor : NULL);
    }
  }
}

static mq_status check_size(struct graph_folding *folding, const struct mq_node *node, struct mq_err *err) {
  for (int i = 0; i < node->n_outputs; i++) {
    int64_t n = node->outputs[i] ? mq_shape_count(&node->outputs[i]->shape) : 0;
    if (n > folding->budget) {
      return graph_fail(err, node,
                        "a constant of %lld elements would be computed while loading, which is too many",
                        (long long)n);
    }
    folding->budget -= n;
  }
  return MQ_OK;
}

static mq_status make_outputs(struct mq_node *node, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (int i = 0; i < node->n_outputs && status == MQ_OK; i++) {
    struct mq_value *value = node->outputs[i];
    if (value) {
      status = graph_new_tensor(&value->constant, &node->graph->arena, value->dtype, &value->shape, err);
    }
  }
  return status;
}

mq_status graph_fold_node(bool *is_folded, struct graph_folding *folding, struct mq_node *node,
                          struct mq_err *err) {
  *is_folded = false;
  if (!is_foldable(node)) {
    return MQ_OK;
  }
  mq_status status = check_size(folding, node, err);
  if (status == MQ_OK) {
    status = make_outputs(node, err);
  }
  if (status == MQ_OK) {
    status = fold_table[node->op](node, err);
  }
  if (status == MQ_OK) {
    mq_graph_remove_node(node->graph, node);
    *is_folded = true;
  }
  return status;
}
