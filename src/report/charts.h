/* Charts as inline SVG. Colours come from the page's style sheet, so that they follow its theme. */
#ifndef MQ_REPORT_CHARTS_H
#define MQ_REPORT_CHARTS_H

#include <stdio.h>

#include "report/table.h"

#define MQ_CHART_COLOURS 8

/* One colour stands for one algorithm (method, calibration, options) wherever it appears: the index of the
 * run's algorithm among those of all rows, bits left aside. */
size_t mq_chart_colour(const struct mq_table *table, const struct mq_run *run);
void mq_chart_algorithm(FILE *out, const struct mq_run *run); /* its name as HTML text */

/* Accuracy in each setting: rows first .. first + n - 1 of the table share model and bits; dots with whiskers
 * of one standard deviation over seeds, the float accuracy as a dashed line. */
void mq_chart_accuracy(FILE *out, const struct mq_table *table, size_t first, size_t n);

/* Clipping ranges of tensors of one kind ("weight", "activation"): a bar from lo to hi for each run. */
struct mq_chart_bar_run {
  const struct mq_report_run *run;
  size_t colour;
  bool is_low; /* fewer bits than another run shown: paler */
};
#define MQ_CHART_MAX_TENSORS 250
void mq_chart_ranges(FILE *out, const struct mq_chart_bar_run *runs, size_t n_runs, const char *kind);

#endif
