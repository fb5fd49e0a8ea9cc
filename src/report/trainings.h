/* Which trainings the page draws, and what they recorded. Stores hold thousands of runs: only what is drawn
 * is read. */
#ifndef MQ_REPORT_TRAININGS_H
#define MQ_REPORT_TRAININGS_H

#include "report/table.h"

#define MQ_TRAININGS_MAX_GROUPS 24
#define MQ_TRAININGS_MAX_LINES 8

struct mq_training_line {
  const struct mq_report_run *run; /* run->run.history: what was read, never NULL */
  const char *options;             /* of its row */
  size_t algorithm;
};

/* Trainings that are compared: the same model, bits and setting, other methods. The first seed of each row.
 */
struct mq_training_group {
  const char *model, *target; /* target NULL: float networks */
  struct mq_training_line lines[MQ_TRAININGS_MAX_LINES];
  size_t n, n_left_out;
};

struct mq_trainings {
  struct mq_training_group *groups;
  size_t n, n_left_out;
};

bool mq_training_has(const struct mq_run *run);
/* Everything lives in rows->arena; the histories go into the runs of `rows`. */
mq_status mq_trainings_read(struct mq_trainings *trainings, const struct mq_table *table,
                            struct mq_report_rows *rows, const char *const *db_paths, size_t n_dbs,
                            struct mq_err *err) MQ_MUST_CHECK;

#endif
