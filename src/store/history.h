/* What trainings record: curves and clipping ranges. */
#ifndef MQ_STORE_HISTORY_H
#define MQ_STORE_HISTORY_H

#include "store/sql.h"

/* Within the transaction that writes the run. */
mq_status mq_history_insert(struct mq_store *store, int64_t run_id, const struct mq_run_history *history,
                            struct mq_err *err) MQ_MUST_CHECK;

#endif
