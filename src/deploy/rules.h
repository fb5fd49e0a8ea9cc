/* What of a target the exact simulation needs beside the points: keys of quant.json. */
#ifndef MQ_DEPLOY_RULES_H
#define MQ_DEPLOY_RULES_H

#include <jansson.h>

#include "mqbench/deploy.h"

/* Adds `half_even`, `pool` and `float_nodes`. */
void deploy_write_rules(json_t *quant, const struct mq_bundle_contents *contents);
/* Those of a target, into a bundle that was no files. */
void deploy_take_rules(struct mq_bundle *bundle, const struct mq_target *target);
/* Reads them, where the bundle has them, into `bundle`; its graph is complete. */
mq_status deploy_read_rules(struct mq_bundle *bundle, const json_t *quant, const char *directory,
                            struct mq_err *err) MQ_MUST_CHECK;

#endif
