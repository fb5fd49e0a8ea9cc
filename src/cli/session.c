#include "cli/session.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void cli_session_set_log(const struct cli_common *common) {
  mq_log_set_level(common->is_quiet ? MQ_LOG_WARNING : MQ_LOG_INFO);
}

static struct mq_collective *ranks; /* of the process: MPI is opened once */

struct mq_collective *cli_session_ranks(void) {
  return ranks;
}
bool cli_is_first_rank(void) {
  return mq_collective_rank(ranks) == 0;
}
void cli_session_end(mq_status status) {
  mq_collective_close(ranks, status);
  ranks = NULL;
}

static mq_status open_ranks(struct mq_err *err) {
  mq_status status = mq_collective_open(&ranks, err);
  if (status == MQ_OK && !cli_is_first_rank()) {
    mq_log_set_level(MQ_LOG_QUIET);
  }
  return status;
}

static mq_status start(struct mq_pool **pool, const struct cli_common *common, struct mq_err *err) {
  mq_memory_set_limit((size_t)common->max_memory);
  mq_isa cap;
  mq_status status = mq_isa_parse(&cap, common->isa, err);
  if (status == MQ_OK) {
    status = mq_kernel_start(cap, err);
  }
  return status == MQ_OK ? mq_pool_create(pool, (unsigned)common->threads, mq_kernel_start_worker, err)
                         : status;
}

mq_status cli_session_start(struct mq_pool **pool, const struct cli_common *common, struct mq_err *err) {
  *pool = NULL;
  cli_session_set_log(common);
  mq_status status = open_ranks(err);
  if (status == MQ_OK && mq_collective_size(ranks) > 1) {
    status = mq_fail(err, MQ_BAD_USAGE,
                     "started with %d ranks: only bench, quantize and train share their work between ranks",
                     mq_collective_size(ranks));
  }
  return status == MQ_OK ? start(pool, common, err) : status;
}

mq_status cli_session_start_ranks(struct mq_pool **pool, const struct cli_common *common,
                                  struct mq_err *err) {
  *pool = NULL;
  cli_session_set_log(common);
  mq_status status = open_ranks(err);
  return status == MQ_OK ? start(pool, common, err) : status;
}

mq_status cli_print_json(json_t *object, struct mq_err *err) {
  if (!object) {
    return mq_fail_memory(err, "JSON");
  }
  if (!cli_is_first_rank()) {
    json_decref(object);
    return MQ_OK;
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
