/* A cell's texts and its identity. */
#ifndef MQ_BENCH_CELL_H
#define MQ_BENCH_CELL_H

#include "mqbench/bench.h"

/* Raise when preparation, calibration, engine or evaluation change recorded numbers: stored runs of the
 * older code become stale. Observers have revisions of their own. */
#define MQ_TRIAL_REVISION 1
/* The same for what only training uses. */
#define MQ_TRAINING_REVISION 2

/* Content a cell's names stand for, as SHA-256 in hex; "" where a cell has none. */
struct mq_cell_inputs {
  char model[65];   /* the model file */
  char weights[65]; /* its constants, external data included */
  char calib[65], eval[65], target[65];
};

/* The same network and evaluation data in float: what accuracies are compared with. */
struct mq_cell mq_cell_float(const struct mq_cell *cell);
bool mq_cell_is_float(const struct mq_cell *cell);

/* SHA-256 over the canonical text without paths, the inputs' content and the revisions: where files lie does
 * not matter, what they hold does. */
mq_status mq_cell_identity(char hex[65], const struct mq_cell *cell, const struct mq_cell_inputs *inputs,
                           struct mq_arena *arena, struct mq_err *err) MQ_MUST_CHECK;

/* For people: "snpe ptq w4a8 minmax/mse seed 0", and what differs from the defaults and has no column of its
 * own ("graph 2, bn calibrated"; NULL if nothing does). In arena. */
mq_status mq_cell_label(const char **label, const struct mq_cell *cell, struct mq_arena *arena,
                        struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_cell_options(const char **options, const struct mq_cell *cell, struct mq_arena *arena,
                          struct mq_err *err) MQ_MUST_CHECK;

#endif
