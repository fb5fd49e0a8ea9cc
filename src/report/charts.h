/* Charts as inline SVG. Colours come from the page's style sheet, so that they follow its theme. */
#ifndef MQ_REPORT_CHARTS_H
#define MQ_REPORT_CHARTS_H

#include <stdio.h>

#include "report/table.h"

/* One mark, a colour and a shape, stands for one algorithm (mq_table_row.algorithm) wherever it appears. From
 * this number on marks come again. */
#define MQ_CHART_MARKS 32
size_t mq_chart_colour(size_t algorithm);           /* n of the classes cn of page.css */
size_t mq_chart_shape(size_t algorithm);            /* 0 to 3 */
void mq_chart_dot_key(FILE *out, size_t algorithm); /* the mark in a legend */
void mq_chart_bar_key(FILE *out, size_t algorithm, bool is_low);
/* Its name as HTML text; options: the run's, or those of its row. */
void mq_chart_algorithm(FILE *out, const struct mq_run *run, const char *options);

/* Accuracy in each setting: rows first .. first + n - 1 of the table share model and bits; dots with whiskers
 * of one standard deviation over seeds, the float accuracy as a dashed line. */
void mq_chart_accuracy(FILE *out, const struct mq_table *table, size_t first, size_t n);

/* Clipping ranges of tensors of one kind ("weight", "activation"): a bar from lo to hi for each run. */
struct mq_chart_bar_run {
  const struct mq_report_run *run;
  const char *options; /* of its row */
  size_t algorithm;
  bool is_low; /* fewer bits than another run shown: paler */
};
/* NULL: the run has no such point. */
const struct mq_run_point *mq_chart_find_point(const struct mq_report_run *run, const char *tensor,
                                               const char *kind);
#define MQ_CHART_MAX_TENSORS 250
void mq_chart_ranges(FILE *out, const struct mq_chart_bar_run *runs, size_t n_runs, const char *kind);

#endif
