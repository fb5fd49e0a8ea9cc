/* A run's layer overrides as overrides of its target. */
#ifndef MQ_PREPARE_OVERRIDES_H
#define MQ_PREPARE_OVERRIDES_H

#include "mqbench/prepare.h"

/* `working` is a copy of the target with the options' bits; its override list is extended (in the graph's
 * arena). Names are resolved against `graph` and `model`; one that means nothing is MQ_BAD_USAGE and lists
 * close ones. */
mq_status mq_overrides_apply(struct mq_target *working, const struct mq_prepare_options *options,
                             struct mq_graph *graph, const struct mq_graph *model,
                             struct mq_err *err) MQ_MUST_CHECK;

#endif
