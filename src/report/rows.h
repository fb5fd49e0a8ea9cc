/* The runs of one or many stores, each once. */
#ifndef MQ_REPORT_ROWS_H
#define MQ_REPORT_ROWS_H

#include "mqbench/store.h"

struct mq_report_run {
  struct mq_run run;
  const struct mq_run_point *points; /* NULL unless asked for */
  size_t n_points;
  size_t db; /* the store it is in */
};

struct mq_report_rows {
  struct mq_arena arena;
  struct mq_report_run *runs; /* no stale ones; of two runs with one identity the better finished one */
  size_t n_runs, n_stale;
};

mq_status mq_report_rows_read(struct mq_report_rows *rows, const char *const *db_paths, size_t n_dbs,
                              bool with_points, struct mq_err *err) MQ_MUST_CHECK;
void mq_report_rows_deinit(struct mq_report_rows *rows);

bool mq_report_is_float(const struct mq_run *run);
bool mq_report_same_text(const char *a, const char *b); /* NULL equals NULL */

#endif
