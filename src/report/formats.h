/* The formats of a report: each writes one file's content. */
#ifndef MQ_REPORT_FORMATS_H
#define MQ_REPORT_FORMATS_H

#include <stdio.h>

#include "report/trainings.h"

/* What a report is made of. */
struct mq_report {
  struct mq_report_rows rows;
  struct mq_table table;
  struct mq_trainings trainings; /* of a report with charts */
};

typedef mq_status (*mq_report_write_fn)(FILE *out, const struct mq_report *report, struct mq_err *err);

mq_status mq_report_write_markdown(FILE *out, const struct mq_report *report,
                                   struct mq_err *err) MQ_MUST_CHECK;
/* One line for each run; the first line names the columns. */
mq_status mq_report_write_csv(FILE *out, const struct mq_report *report, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_report_write_json(FILE *out, const struct mq_report *report, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_report_write_html(FILE *out, const struct mq_report *report, struct mq_err *err) MQ_MUST_CHECK;

#endif
