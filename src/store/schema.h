/* The tables of a store and their versions. */
#ifndef MQ_STORE_SCHEMA_H
#define MQ_STORE_SCHEMA_H

#include "store/sql.h"

/* Refuses what is no store, or one of a newer version, or one whose tables are not, word for word, those of
 * its version. An empty file passes. */
mq_status mq_schema_check(struct mq_store *store, struct mq_err *err) MQ_MUST_CHECK;
/* Makes the tables of an empty file, or adds to those of an older version what they lack, in one
 * transaction. */
mq_status mq_schema_bring_up(struct mq_store *store, struct mq_err *err) MQ_MUST_CHECK;
/* The same for a reader: a checked store of this version stays as it is; of an older one a copy in memory,
 * brought up, takes its place. */
mq_status mq_schema_bring_up_copy(struct mq_store *store, struct mq_err *err) MQ_MUST_CHECK;

#endif
