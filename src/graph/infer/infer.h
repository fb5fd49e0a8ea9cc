/* Shape and dtype of one node's outputs from its inputs: graph_infer_<op>, one function per line of ops.def.
 */
#ifndef MQ_GRAPH_INFER_H
#define MQ_GRAPH_INFER_H

#include "graph/internal.h"

typedef mq_status (*graph_infer_fn)(struct mq_node *node, struct mq_err *err);

/* The required inputs are there and every input's shape and dtype is known when these are called. */
#define MQ_OP(name, min_inputs, max_inputs, n_outputs, kind) \
  mq_status graph_infer_##name(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
#include "mqbench/ops.def"
#undef MQ_OP

static inline const struct mq_shape *graph_shape(const struct mq_node *node, int input) {
  return &node->inputs[input]->shape;
}
static inline mq_dtype graph_dtype(const struct mq_node *node, int input) {
  return node->inputs[input]->dtype;
}

/* Sets an output (nothing happens if it is absent) after checking rank, dimensions, element count, and that
 * one dimension at most is the batch. */
mq_status graph_set_output(struct mq_node *node, int output, mq_dtype dtype, const struct mq_shape *shape,
                           struct mq_err *err) MQ_MUST_CHECK;
/* NumPy broadcasting; the batch fits itself and 1. */
mq_status graph_broadcast(struct mq_shape *out, const struct mq_node *node, const struct mq_shape *a,
                          const struct mq_shape *b, struct mq_err *err) MQ_MUST_CHECK;
/* Product of dim[first .. last-1]; the batch stays the batch when everything else is 1, otherwise an error.
 */
mq_status graph_merge_dims(int64_t *product, const struct mq_node *node, const struct mq_shape *shape,
                           int first, int last, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_require_float(const struct mq_node *node, int input, struct mq_err *err) MQ_MUST_CHECK;
/* `what` ("reduces", "normalises") is not possible over the batch. */
mq_status graph_require_no_batch(const struct mq_node *node, int axis, const char *what,
                                 struct mq_err *err) MQ_MUST_CHECK;
/* Replaces input i by a new int64 constant. */
mq_status graph_set_constant_ints(struct mq_node *node, int input, const int64_t *ints, size_t n,
                                  struct mq_err *err) MQ_MUST_CHECK;

/* Where the file spelt the batch's size as the literal in element `at` of an integer list (constant input
 * `input`, or attribute `name` if that is absent), `value` takes its place in a list of this node's own:
 * MQ_DIM_BATCH, or INT64_MAX for "to the end". */
mq_status graph_replace_literal(struct mq_node *node, const char *name, int input, size_t at, int64_t value,
                                struct mq_err *err) MQ_MUST_CHECK;
/* Constants that repeat the same for every image of a file of fixed batch: reduced to one image (operators
 * that broadcast), or expanded over the batch again (Concat). */
mq_status graph_match_batch(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_expand_constants(struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;

#endif
