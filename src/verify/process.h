/* Starting another program and waiting for it, with bounds on time and output. */
#ifndef MQ_VERIFY_PROCESS_H
#define MQ_VERIFY_PROCESS_H

#include "mqbench/base.h"

#define PROCESS_OUTPUT_MAX ((size_t)1 << 20) /* of standard output; more is a failure */
#define PROCESS_ERRORS_KEPT ((size_t)4096)   /* of standard error: its end */

struct process_output {
  char *text; /* standard output, terminated; mq_free */
  size_t n;
};
/* Runs argv[0] with the given arguments: no shell, standard input empty, standard output kept, open files of
 * ours closed, a process group of its own, which does not outlive the call. Exit status 0 is MQ_OK. Anything
 * else is MQ_BAD_INPUT with the last line of standard error, the signal, or the time that was allowed
 * (0: any); MQ_CANCELLED when mq_cancelled(). */
mq_status process_run(struct process_output *output, char *const *argv, double timeout_seconds,
                      struct mq_err *err) MQ_MUST_CHECK;

#endif
