#include "cli/session.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void cli_session_set_log(const struct cli_common *common) {
  mq_log_set_level(common->is_quiet ? MQ_LOG_WARNING : MQ_LOG_INFO);
}

mq_status cli_session_start(struct mq_pool **pool, const struct cli_common *common, struct mq_err *err) {
  *pool = NULL;
  cli_session_set_log(common);
  mq_memory_set_limit((size_t)common->max_memory);
  mq_isa cap;
  mq_status status = mq_isa_parse(&cap, common->isa, err);
  if (status == MQ_OK) {
    status = mq_kernel_start(cap, err);
  }
  if (status == MQ_OK) {
    status = mq_pool_create(pool, (unsigned)common->threads, mq_kernel_start_worker, err);
  }
  return status;
}

mq_status cli_print_json(json_t *object, struct mq_err *err) {
  if (!object) {
    return mq_fail_memory(err, "JSON");
  }
  int failed = json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17));
  json_decref(object);
  if (failed || putchar('\n') == EOF || fflush(stdout) != 0) {
    return mq_fail(err, MQ_FAILED, "cannot write to standard output: %s", strerror(errno));
  }
  return MQ_OK;
}

json_t *cli_json_real(double x) {
  return isfinite(x) ? json_real(x) : json_null();
}
