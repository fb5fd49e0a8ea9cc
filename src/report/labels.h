/* Names in a run's options what its names leave open. */
#ifndef MQ_REPORT_LABELS_H
#define MQ_REPORT_LABELS_H

#include "report/rows.h"

/* Where runs of one model name, algorithm and options differ in the content of their model, data or target,
 * or in settings, each gets the first digits of what differs as an option: "data 1a2b3c", "target 9f8e7d". */
mq_status mq_report_label(struct mq_report_rows *rows, struct mq_err *err) MQ_MUST_CHECK;

#endif
