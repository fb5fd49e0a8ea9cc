/* Reads stores, builds the table, writes files. */
#include "mqbench/report.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "report/formats.h"
#include "report/labels.h"
#include "report/text.h"

static mq_status report_read(struct mq_report *report, const char *const *db_paths, size_t n_dbs,
                             bool with_charts, struct mq_err *err) {
  memset(report, 0, sizeof *report);
  mq_status status = mq_report_rows_read(&report->rows, db_paths, n_dbs, with_charts, err);
  if (status != MQ_OK) {
    return status;
  }
  status = mq_report_label(&report->rows, err);
  if (status == MQ_OK) {
    status = mq_table_build(&report->table, &report->rows, err);
  }
  if (status == MQ_OK && with_charts) {
    status = mq_trainings_read(&report->trainings, &report->table, &report->rows, db_paths, n_dbs, err);
  }
  if (status != MQ_OK) {
    mq_report_rows_deinit(&report->rows);
  }
  return status;
}

/* Appends DIR/name to the list of files and writes it. */
static mq_status write_file(struct mq_report_result *result, const struct mq_report *report,
                            const char *directory, const char *name, mq_report_write_fn write,
                            struct mq_err *err) {
  struct mq_file_out out = {.stream = NULL};
  char *path = mq_path_join(directory, name);
  mq_status status = path ? mq_file_out_open(&out, path, err) : mq_fail_memory(err, name);
  if (status == MQ_OK) {
    status = write(out.stream, report, err);
    if (status == MQ_OK) {
      status = mq_file_out_commit(&out, err);
    } else {
      mq_file_out_abandon(&out);
    }
  }
  if (status != MQ_OK) {
    mq_free(path);
    return status;
  }
  result->files[result->n_files++] = path;
  return MQ_OK;
}

mq_status mq_report_write(struct mq_report_result *result, const char *const *db_paths, size_t n_dbs,
                          const char *directory, unsigned formats, struct mq_err *err) {
  static const struct {
    mq_report_format format;
    const char *name;
    mq_report_write_fn write;
  } kinds[] = {
      {MQ_REPORT_HTML, "report.html", mq_report_write_html},
      {MQ_REPORT_MD, "report.md", mq_report_write_markdown},
      {MQ_REPORT_CSV, "report.csv", mq_report_write_csv},
      {MQ_REPORT_JSON, "report.json", mq_report_write_json},
  };
  const size_t n_kinds = sizeof kinds / sizeof kinds[0];
  struct mq_report report;
  memset(result, 0, sizeof *result);
  mq_status status = report_read(&report, db_paths, n_dbs, formats & MQ_REPORT_HTML, err);
  if (status != MQ_OK) {
    return status;
  }
  result->rows = (int64_t)report.rows.n_runs;
  result->files = mq_alloc(n_kinds, sizeof *result->files);
  status = result->files ? mq_file_make_directories(directory, err) : mq_fail_memory(err, directory);
  for (size_t i = 0; i < n_kinds && status == MQ_OK; i++) {
    if (formats & (unsigned)kinds[i].format) {
      status = write_file(result, &report, directory, kinds[i].name, kinds[i].write, err);
    }
  }
  mq_report_rows_deinit(&report.rows);
  if (status != MQ_OK) {
    mq_report_result_deinit(result);
  }
  return status;
}

void mq_report_result_deinit(struct mq_report_result *result) {
  for (size_t i = 0; i < result->n_files; i++) {
    mq_free(result->files[i]);
  }
  mq_free(result->files);
  memset(result, 0, sizeof *result);
}

mq_status mq_report_table(char **text, const char *const *db_paths, size_t n_dbs, struct mq_err *err) {
  struct mq_report report;
  struct mq_text stream = {.bytes = NULL};
  *text = NULL;
  mq_status status = report_read(&report, db_paths, n_dbs, false, err);
  if (status != MQ_OK) {
    return status;
  }
  status = mq_text_open(&stream, err);
  if (status == MQ_OK) {
    status = mq_report_write_markdown(stream.stream, &report, err);
  }
  if (status == MQ_OK) {
    status = mq_text_close(&stream, err);
  }
  if (status == MQ_OK) {
    *text = mq_alloc(stream.n + 1, 1);
    status = *text ? MQ_OK : mq_fail_memory(err, "table");
  }
  if (status == MQ_OK) {
    memcpy(*text, stream.bytes, stream.n);
  }
  mq_text_deinit(&stream);
  mq_report_rows_deinit(&report.rows);
  return status;
}
