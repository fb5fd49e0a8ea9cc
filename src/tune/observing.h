/* Evaluation in which the observers of activations go on: see mq_observing in mqbench/tune.h. */
#ifndef MQ_TUNE_OBSERVING_H
#define MQ_TUNE_OBSERVING_H

#include "mqbench/tune.h"
#include "tune/feed.h"

/* Runs `job` over all slices of the feed, batch by batch, with the points of `options` but the watched ones'
 * ranges. The job's fill must take slices in any order, and again. */
mq_status tune_observing_run(const struct mq_observing *observing, const struct mq_graph *graph,
                             const struct mq_engine_options *options, const struct mq_engine_job *job,
                             const struct tune_feed *feed, struct mq_pool *pool,
                             struct mq_err *err) MQ_MUST_CHECK;

#endif
