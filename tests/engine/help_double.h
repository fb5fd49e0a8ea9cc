/* Operators in double with plain loops over row-major arrays: what the engine's results and gradients are
 * compared with. Shares nothing with the engine but the graph and its typed attributes. */
#ifndef MQ_TESTS_HELP_DOUBLE_H
#define MQ_TESTS_HELP_DOUBLE_H

#include "common.h"
#include "mqbench/graph.h"

struct grid {
  int rank;
  int64_t dim[MQ_MAX_RANK], count;
  double *v; /* row-major */
};

struct plain {
  const struct mq_graph *graph;
  int64_t batch;
  struct grid *grids; /* by value index; constants and inputs may be written */
};

/* The graph with the whole batch at once: shapes are inferred, constants filled in. */
void plain_init(struct plain *plain, const struct mq_graph *graph, int64_t batch);
void plain_deinit(struct plain *plain);
struct grid *plain_grid(const struct plain *plain, const struct mq_value *value);
/* Batch normalisation takes the statistics of the batch, FakeQuantize is the identity. */
void plain_run(struct plain *plain);
/* Cross entropy of the first output, mean over the batch. */
double plain_loss(struct plain *plain, const int64_t *labels, double smoothing);

/* ---- For the operators' files ---------------------------------------------------------------- */
/* index of element i, and back; strides of a broadcast operand are 0 where it has size 1. */
void grid_index(int64_t index[MQ_MAX_RANK], const struct grid *grid, int64_t i);
int64_t grid_offset(const struct grid *grid, const int64_t index[MQ_MAX_RANK]);
double grid_broadcast(const struct grid *grid, int whole_rank, const int64_t index[MQ_MAX_RANK]);
struct grid *plain_input(const struct plain *plain, const struct mq_node *node, int i); /* NULL if absent */
struct grid *plain_output(const struct plain *plain, const struct mq_node *node, int i);
void plain_require(mq_status status, const struct mq_err *err);
/* help_double_windows.c; false: not one of its operators. */
bool plain_run_window(const struct plain *plain, const struct mq_node *node);
bool plain_run_fold(const struct plain *plain, const struct mq_node *node); /* help_double_folds.c */

#endif
