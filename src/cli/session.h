/* What a command runs in: kernels started, worker pool, memory cap; and how it answers. */
#ifndef MQ_CLI_SESSION_H
#define MQ_CLI_SESSION_H

#include <jansson.h>

#include "cli/options.h"
#include "mqbench/engine.h"

/* --quiet takes progress and notes away. Warnings stay: they say what a result is worth. */
void cli_session_set_log(const struct cli_common *common);
/* Applies the common options: log level, memory cap, instruction set, pool. */
mq_status cli_session_start(struct mq_pool **pool, const struct cli_common *common,
                            struct mq_err *err) MQ_MUST_CHECK;

/* The same for commands whose work ranks may share. */
mq_status cli_session_start_ranks(struct mq_pool **pool, const struct cli_common *common,
                                  struct mq_err *err) MQ_MUST_CHECK;
/* The ranks that mpirun started together; NULL: this process alone. Only rank 0 writes files and answers. */
struct mq_collective *cli_session_ranks(void);
bool cli_is_first_rank(void);
/* How the command ended: a failure ends the other ranks too. */
void cli_session_end(mq_status status);

/* Prints `object` on stdout (with --json) and releases it. NULL is exhausted memory. */
mq_status cli_print_json(json_t *object, struct mq_err *err) MQ_MUST_CHECK;
/* A JSON number, or null when it is not finite. */
json_t *cli_json_real(double x);

#endif
