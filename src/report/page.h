/* Sections of the page, each complete with its head; html.c puts them together. */
#ifndef MQ_REPORT_PAGE_H
#define MQ_REPORT_PAGE_H

#include "report/formats.h"

void mq_page_put_accuracy_charts(FILE *out, const struct mq_table *table);
void mq_page_put_range_charts(FILE *out, const struct mq_table *table);
void mq_page_put_curves(FILE *out, const struct mq_trainings *trainings);
void mq_page_put_range_curves(FILE *out, const struct mq_trainings *trainings);
void mq_page_put_runs(FILE *out, const struct mq_report *report);
mq_status mq_page_put_environment(FILE *out, const struct mq_report *report,
                                  struct mq_err *err) MQ_MUST_CHECK;

#endif
