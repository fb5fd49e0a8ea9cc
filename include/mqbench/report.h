/* Tables, statistics, charts and pages from stores. Reads only stores. */
#ifndef MQBENCH_REPORT_H
#define MQBENCH_REPORT_H

#include "mqbench/store.h"

typedef enum mq_report_format {
  MQ_REPORT_HTML = 1,
  MQ_REPORT_MD = 2,
  MQ_REPORT_CSV = 4,
  MQ_REPORT_JSON = 8
} mq_report_format;

struct mq_report_result {
  int64_t rows; /* runs that entered */
  char **files; /* paths written, owned: mq_report_result_deinit */
  size_t n_files;
};
/* Writes DIR/report.{html,md,csv,json} as `formats` asks (bits). The HTML is one self-contained file. */
mq_status mq_report_write(struct mq_report_result *result, const char *const *db_paths, size_t n_dbs,
                          const char *directory, unsigned formats, struct mq_err *err) MQ_MUST_CHECK;
void mq_report_result_deinit(struct mq_report_result *result);
/* The main table as Markdown text for the terminal; owned by the caller (mq_free). */
mq_status mq_report_table(char **text, const char *const *db_paths, size_t n_dbs,
                          struct mq_err *err) MQ_MUST_CHECK;

#endif
