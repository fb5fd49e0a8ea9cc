/* A grid over several ranks: the first one takes cells and keeps runs; the others join it for those that
 * train. */
#ifndef MQ_BENCH_RANKS_H
#define MQ_BENCH_RANKS_H

#include "mqbench/bench.h"

/* The first rank: everybody runs the cell with this index in the plan (NO_CELL: nobody runs any more). */
#define NO_CELL (-1)
mq_status bench_announce(struct mq_collective *ranks, int64_t cell, struct mq_err *err) MQ_MUST_CHECK;
/* After a cell, on every rank: it ended alike everywhere, or the run is over (MQ_FAILED). */
mq_status bench_compare_outcomes(struct mq_collective *ranks, mq_status failure,
                                 struct mq_err *err) MQ_MUST_CHECK;
/* The other ranks: runs what is announced, keeps nothing. */
mq_status bench_follow(const struct mq_plan *plan, const struct mq_bench_options *options,
                       struct mq_err *err) MQ_MUST_CHECK;

#endif
