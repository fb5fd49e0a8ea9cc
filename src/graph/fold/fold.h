/* Evaluation of constant subgraphs and shape computations: graph_fold_<group>, exact and unhurried.
 *
 * The batch is an opaque element of integer and float constants: INT64_MIN (MQ_DIM_BATCH) in int64, INT32_MIN
 * in int32, -2^63 in float32. It moves like any element; arithmetic with it is refused unless trivial. */
#ifndef MQ_GRAPH_FOLD_H
#define MQ_GRAPH_FOLD_H

#include "graph/internal.h"

/* How many elements one run of mq_graph_infer may still make: bounds what a hostile file can have computed.
 */
struct graph_folding {
  int64_t budget;
};
/* 64 Mi elements, and four times those of the constants in the file (weights that are transposed, cast, ...).
 */
void graph_folding_init(struct graph_folding *folding, const struct mq_graph *graph);

/* Evaluates `node` if it can be: its outputs become constants and the node is removed. Its outputs' shapes
 * are inferred. */
mq_status graph_fold_node(bool *is_folded, struct graph_folding *folding, struct mq_node *node,
                          struct mq_err *err) MQ_MUST_CHECK;

/* Fills the node's outputs' constants (row-major, zeroed, of the inferred dtype and shape). */
typedef mq_status (*graph_fold_fn)(struct mq_node *node, struct mq_err *err);
mq_status graph_fold_copy(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_transpose(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_expand(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_slice(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_split(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_concat(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_gather(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_constant(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_constant_of_shape(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_shape(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_range(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_unary(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_cast(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_dequantize(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_binary(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_where(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_fold_reduce_prod(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;

/* One element on its way through arithmetic. */
struct graph_number {
  bool is_float, is_batch;
  double d;
  int64_t i;
};
struct graph_number graph_load(const struct mq_tensor *tensor, int64_t offset);
void graph_store(struct mq_tensor *tensor, int64_t offset, struct graph_number number);

static inline const struct mq_tensor *graph_in(const struct mq_node *node, int i) {
  return node->inputs[i]->constant;
}
static inline struct mq_tensor *graph_out(const struct mq_node *node, int i) {
  return node->outputs[i] ? node->outputs[i]->constant : NULL;
}
/* Strides of `tensor` seen as `shape`: 0 along what is broadcast. */
void graph_broadcast_strides(int64_t stride[MQ_MAX_RANK], const struct mq_tensor *tensor,
                             const struct mq_shape *shape);
/* First and last (exclusive) dimension that a Shape node reports. */
mq_status graph_shape_range(int *first, int *last, const struct mq_node *node,
                            struct mq_err *err) MQ_MUST_CHECK;

#endif
