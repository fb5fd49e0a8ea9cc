/* Runs a graph over a whole batch held in memory, slice by slice. Shared by the engine's tests. */
#ifndef MQ_TESTS_HELP_RUN_H
#define MQ_TESTS_HELP_RUN_H

#include "common.h"
#include "mqbench/engine.h"

struct run_options {
  unsigned workers;     /* 0: 1 */
  int64_t slice_images; /* 0: 8 */
  bool is_backwards;    /* slices are taken from the last to the first */
  bool simulates;
  mq_memory_plan memory;
  const struct mq_point *points;
  size_t n_points;
};

/* outputs[n of the graph], owned, row-major, for all images of the inputs (dimension 0 of inputs whose graph
 * input has a batch; the last slice is padded with zeros). A graph without a batch runs once. */
mq_status run_graph(struct mq_tensor *outputs, const struct mq_graph *graph, const struct mq_tensor *inputs,
                    const struct run_options *options, struct mq_err *err);
/* Largest |a - b| / (absolute + relative |b|); infinite where NaN or infinity do not match. */
double largest_error(const struct mq_tensor *a, const struct mq_tensor *b, double relative, double absolute);
bool same_bits(const struct mq_tensor *a, const struct mq_tensor *b);

#endif
