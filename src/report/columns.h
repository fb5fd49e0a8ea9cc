/* The columns of the table: one for each setting, and of what tells rows apart only what does. */
#ifndef MQ_REPORT_COLUMNS_H
#define MQ_REPORT_COLUMNS_H

#include "report/table.h"

#define MQ_NO_COLUMN SIZE_MAX

/* Fills targets, is_hardware, reference and their counts; (*column_of)[i] is the column of run i,
 * MQ_NO_COLUMN for one of a float model. In rows->arena. */
mq_status mq_columns_collect(struct mq_table *table, size_t **column_of, struct mq_report_rows *rows,
                             struct mq_err *err) MQ_MUST_CHECK;
/* What all rows share goes to table->shared; has_* and the rows' options are what is left. The rows must be
 * there. */
mq_status mq_columns_share(struct mq_table *table, struct mq_arena *arena, struct mq_err *err) MQ_MUST_CHECK;

#endif
