/* What the files of this folder share. */
#ifndef MQ_GRAPH_INTERNAL_H
#define MQ_GRAPH_INTERNAL_H

#include "mqbench/graph.h"

/* MQ_BAD_INPUT: "<graph>: node '<name>' (<op>): <formatted>". */
mq_status graph_fail(struct mq_err *err, const struct mq_node *node, const char *format, ...) MQ_PRINTF(3, 4);

/* ---- Name index: open addressing over the names of one kind of object. A released name keeps its entry, so
 * the counter of suffixes below survives and making names unique stays linear in their number. */
struct mq_graph_names {
  struct name_entry {
    const char *name;
    void *object;       /* NULL: released */
    size_t next_suffix; /* the next "_<i>" to try when this name is wanted again */
  } * entries;
  size_t capacity, n_entries;
};
/* `*name` is a copy of `wanted` (of `fallback` if that is NULL or empty) in the arena, made unique. */
mq_status graph_names_claim(const char **name, struct mq_graph_names *names, struct mq_arena *arena,
                            const char *wanted, const char *fallback, void *object, struct mq_err *err);
void *graph_names_find(const struct mq_graph_names *names, const char *name);
/* The name must be there; object NULL releases it. */
void graph_names_point(struct mq_graph_names *names, const char *name, void *object);

/* Appends to an array without a capacity field: it doubles when *n is a power of two. False: no memory. */
bool graph_append(struct mq_arena *arena, void *array, size_t *n, size_t item_bytes, const void *item);
void graph_compact_nodes(struct mq_graph *graph); /* drops MQ_OP_NONE, sets every index */
/* A row-major copy of `tensor` in the arena, struct and data. */
mq_status graph_copy_tensor(struct mq_tensor **copy, struct mq_arena *arena, const struct mq_tensor *tensor,
                            struct mq_err *err);
/* Struct and zeroed data of a row-major tensor in the arena. */
mq_status graph_new_tensor(struct mq_tensor **tensor, struct mq_arena *arena, mq_dtype dtype,
                           const struct mq_shape *shape, struct mq_err *err);
/* Inputs and outputs as ops.def says; required inputs are there. */
mq_status graph_check_arity(const struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_add_use(struct mq_graph *graph, struct mq_node *node, int input, struct mq_err *err);

static inline int graph_rank(const struct mq_node *node, int input) {
  return node->inputs[input]->shape.rank;
}
static inline bool graph_has_input(const struct mq_node *node, int input) {
  return input < node->n_inputs && node->inputs[input];
}
/* The constant behind an input; MQ_BAD_INPUT says what makes it depend on the data. */
mq_status graph_get_constant(const struct mq_tensor **tensor, const struct mq_node *node, int input,
                             struct mq_err *err) MQ_MUST_CHECK;
/* Negative axes count from the end. */
mq_status graph_normal_axis(int *axis, const struct mq_node *node, int64_t given, int rank, bool may_be_rank,
                            struct mq_err *err) MQ_MUST_CHECK;
/* As the node has them: its second input, or the attribute of older opsets; *n is 0 where neither is there.
 */
mq_status graph_given_axes(const int64_t **given, size_t *n, const struct mq_node *node,
                           struct mq_err *err) MQ_MUST_CHECK;
mq_status graph_normal_axes(int64_t axes[MQ_MAX_RANK], int *n_axes, const struct mq_node *node, int rank,
                            const int64_t *given, size_t n, struct mq_err *err) MQ_MUST_CHECK;
/* Output size of a window along axis i (0, 1 of the window's two) for an input of `in`; may be <= 0. */
int64_t graph_window_output(const struct mq_window *window, int i, int64_t in, bool is_transposed);

#endif
