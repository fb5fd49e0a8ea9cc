/* Parameters and multiply-accumulates. */
#include <stdlib.h>

#include "graph/internal.h"

static bool is_weighted(mq_op op) {
  return op == MQ_OP_Conv || op == MQ_OP_ConvTranspose || op == MQ_OP_Gemm || op == MQ_OP_MatMul ||
         op == MQ_OP_BatchNormalization || op == MQ_OP_PRelu;
}

/* The constant behind a weight, also behind its quantization. */
static const struct mq_value *find_constant(const struct mq_value *value) {
  while (value && !value->constant) {
    const struct mq_node *producer = value->producer;
    bool is_passed = producer && (mq_op_get(producer->op)->kind == MQ_KIND_QUANTIZE);
    value = is_passed ? producer->inputs[0] : NULL;
  }
  return value;
}

/* A shared constant counts once. */
static void count_parameters(int64_t *n, uint8_t *is_counted, const struct mq_node *node) {
  /* A batch norm's running mean and variance are not trained. */
  int n_inputs = node->op == MQ_OP_BatchNormalization ? 3 : node->n_inputs;
  for (int i = 0; i < n_inputs; i++) {
    const struct mq_value *constant = find_constant(node->inputs[i]);
    if (constant && !is_counted[constant->index]) {
      is_counted[constant->index] = 1;
      *n += mq_shape_count(&constant->shape);
    }
  }
}

/* Products of one image for every output (Conv, MatMul, Gemm) or input element (ConvTranspose). */
static bool node_macs(int64_t *macs, const struct mq_node *node) {
  const struct mq_value *counted = node->op == MQ_OP_ConvTranspose ? node->inputs[0] : node->outputs[0];
  struct mq_shape shape = mq_shape_at_batch(&counted->shape, 1);
  const struct mq_shape *a = &node->inputs[0]->shape, *b = &node->inputs[1]->shape;
  int64_t each = 1;
  if (node->op == MQ_OP_Conv || node->op == MQ_OP_ConvTranspose) {
    for (int i = 1; i < b->rank; i++) {
      each *= b->dim[i];
    }
  } else {
    const struct mq_attr *transposed = mq_node_find_attr(node, "transA");
    bool is_first =
        node->op == MQ_OP_Gemm && transposed && transposed->kind == MQ_ATTR_INT && transposed->as.i;
    each = is_first ? a->dim[0] : a->dim[a->rank - 1];
  }
  return !__builtin_mul_overflow(mq_shape_count(&shape), each, macs);
}

mq_status mq_graph_count(struct mq_graph_counts *counts, const struct mq_graph *graph, struct mq_err *err) {
  *counts = (struct mq_graph_counts){0};
  uint8_t *is_counted = mq_alloc(graph->n_values + 1, 1);
  if (!is_counted) {
    return mq_fail_memory(err, "counts of a graph");
  }
  mq_status status = MQ_OK;
  for (size_t i = 0; i < graph->n_nodes && status == MQ_OK; i++) {
    const struct mq_node *node = graph->nodes[i];
    /* a quantization point is no node of the network's own */
    counts->nodes += node->op != MQ_OP_NONE && node->op != MQ_OP_FakeQuantize;
    if (!is_weighted(node->op)) {
      continue;
    }
    count_parameters(&counts->parameters, is_counted, node);
    int64_t macs = 0;
    bool is_product = node->op != MQ_OP_BatchNormalization && node->op != MQ_OP_PRelu;
    if (is_product &&
        (!node_macs(&macs, node) || __builtin_add_overflow(counts->macs, macs, &counts->macs))) {
      status = graph_fail(err, node, "more than 2^63 multiplications");
    }
  }
  mq_free(is_counted);
  return status;
}
