/* Internals of the store: the open database and short forms of SQLite's calls. */
#ifndef MQ_STORE_SQL_H
#define MQ_STORE_SQL_H

#include <sqlite3.h>

#include "mqbench/store.h"

#define MQ_SQL_MAX_CHANNELS (1 << 24)
#define MQ_SQL_BUSY_MS 20000

struct mq_store {
  sqlite3 *db;
  char *path;
};

/* SQLite's last error as one line that names the store. Damage is MQ_BAD_INPUT, the rest MQ_FAILED. */
mq_status mq_sql_fail(struct mq_err *err, const struct mq_store *store, const char *doing);
/* A store that says something no mqbench writes: "<path>: <formatted>", MQ_BAD_INPUT. */
mq_status mq_sql_bad(struct mq_err *err, const struct mq_store *store, const char *format, ...)
    MQ_PRINTF(3, 4);

/* What every connection needs before it looks at a file that may come from anyone. */
mq_status mq_sql_set_limits(struct mq_store *store, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_sql_exec(struct mq_store *store, const char *sql, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_sql_prepare(sqlite3_stmt **statement, struct mq_store *store, const char *sql,
                         struct mq_err *err) MQ_MUST_CHECK;
/* *has_row false: done. */
mq_status mq_sql_step(bool *has_row, struct mq_store *store, sqlite3_stmt *statement,
                      struct mq_err *err) MQ_MUST_CHECK;
/* One statement with text parameters (NULL binds NULL), run to its end. */
mq_status mq_sql_run(struct mq_store *store, const char *sql, const char *const *texts, int n_texts,
                     struct mq_err *err) MQ_MUST_CHECK;

/* The number a query answers (its parameter bound to ?1): 0 without a row. */
mq_status mq_sql_count(size_t *n, struct mq_store *store, const char *sql, int64_t parameter,
                       struct mq_err *err) MQ_MUST_CHECK;
/* Ends a transaction: commits when `status` is MQ_OK, rolls back otherwise; returns what happened first. */
mq_status mq_sql_end(struct mq_store *store, mq_status status, struct mq_err *err) MQ_MUST_CHECK;

/* A text column in `arena`: valid UTF-8 whose only control character is the newline (whatever else a
 * tampered store holds becomes '?'). NULL stays NULL. */
mq_status mq_sql_text(const char **text, sqlite3_stmt *statement, int column, struct mq_arena *arena,
                      struct mq_err *err) MQ_MUST_CHECK;

#endif
