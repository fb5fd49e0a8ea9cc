/* From a target's rules to the engine's exact simulation. */
#ifndef MQ_TUNE_EXACT_H
#define MQ_TUNE_EXACT_H

#include "mqbench/tune.h"

struct tune_exact {
  struct mq_engine_exact engine;
  const struct mq_node **float_nodes; /* owned */
};

/* MQ_BAD_INPUT when the rules name no arithmetic. Rules and islands must outlive the engine's creation. */
mq_status tune_exact_init(struct tune_exact *exact, const struct mq_exact_rules *rules,
                          struct mq_err *err) MQ_MUST_CHECK;
void tune_exact_deinit(struct tune_exact *exact); /* accepts a zeroed one */

#endif
