/* What commands that read bundles ask of them alike. */
#ifndef MQ_CLI_BUNDLE_H
#define MQ_CLI_BUNDLE_H

#include "mqbench/deploy.h"

/* --target beside a bundle: its target's name or the target's file. Anything else is MQ_BAD_USAGE. `path` is
 * the bundle's, for the message. */
mq_status cli_bundle_check_target(const struct mq_bundle *bundle, const char *path, const char *target,
                                  struct mq_err *err) MQ_MUST_CHECK;

#endif
