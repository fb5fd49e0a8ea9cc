/* What verify found, for people and for programs, and what its answer is. */
#ifndef MQ_CLI_VERIFY_REPORT_H
#define MQ_CLI_VERIFY_REPORT_H

#include "mqbench/verify.h"

struct cli_verify_report {
  const char *target;
  const char *network;
  bool has_program; /* else there is nothing but engines, held against the plain simulation */
  const struct mq_verification *result;
  const struct mq_engine_comparison *engines;
  size_t n_engines;
};
mq_status cli_verify_print_json(const struct cli_verify_report *report, struct mq_err *err) MQ_MUST_CHECK;
mq_status cli_verify_print_text(const struct cli_verify_report *report, struct mq_err *err) MQ_MUST_CHECK;
/* MQ_NO, with what differs, where anything must not. */
mq_status cli_verify_answer(const struct cli_verify_report *report, struct mq_err *err) MQ_MUST_CHECK;

#endif
