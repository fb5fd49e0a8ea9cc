/* What a command runs in: kernels started, worker pool, memory cap; and how it answers. */
#ifndef MQ_CLI_SESSION_H
#define MQ_CLI_SESSION_H

#include <jansson.h>

#include "cli/options.h"
#include "mqbench/kernel.h"

/* --quiet takes progress and notes away. Warnings stay: they say what a result is worth. */
void cli_session_set_log(const struct cli_common *common);
/* Applies the common options: log level, memory cap, instruction set, pool. */
mq_status cli_session_start(struct mq_pool **pool, const struct cli_common *common,
                            struct mq_err *err) MQ_MUST_CHECK;

/* Prints `object` on stdout (with --json) and releases it. NULL is exhausted memory. */
mq_status cli_print_json(json_t *object, struct mq_err *err) MQ_MUST_CHECK;
/* A JSON number, or null when it is not finite. */
json_t *cli_json_real(double x);

#endif
