/* Text of runs on its way into a format: whatever a store holds stays text there. */
#ifndef MQ_REPORT_TEXT_H
#define MQ_REPORT_TEXT_H

#include <stdio.h>

#include "report/table.h"

void mq_put_html(FILE *out, const char *text);     /* also inside quoted attributes */
void mq_put_csv(FILE *out, const char *text);      /* one RFC 4180 field */
void mq_put_markdown(FILE *out, const char *text); /* inside a table cell */

/* As HTML; long names lose their middle, at whole UTF-8 characters. */
void mq_put_short_name(FILE *out, const char *name);

/* "87.12", "87.12 ± 0.10", "NC", "failed", "87.12 (1/3 NC)", "–": a cell of the main table. */
void mq_put_cell(FILE *out, const struct mq_table_cell *cell);
/* A fraction as percent with two decimals, "–" for NAN. */
void mq_put_percent(FILE *out, double fraction);

/* Copies of one text while it is built: a stream into memory. */
struct mq_text {
  FILE *stream;
  char *bytes;
  size_t n;
};
mq_status mq_text_open(struct mq_text *text, struct mq_err *err) MQ_MUST_CHECK;
/* Closes; `bytes` stays until mq_text_deinit. */
mq_status mq_text_close(struct mq_text *text, struct mq_err *err) MQ_MUST_CHECK;
void mq_text_deinit(struct mq_text *text);

#endif
