/* mqbench report: tables and charts from stores. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/session.h"
#include "mqbench/report.h"

static mq_status parse_format(unsigned *formats, const char *text, struct mq_err *err) {
  static const struct {
    const char *name;
    unsigned format;
  } known[] = {
      {"html", MQ_REPORT_HTML}, {"md", MQ_REPORT_MD}, {"csv", MQ_REPORT_CSV}, {"json", MQ_REPORT_JSON}};
  if (!text) {
    *formats = MQ_REPORT_HTML | MQ_REPORT_MD | MQ_REPORT_CSV | MQ_REPORT_JSON;
    return MQ_OK;
  }
  for (size_t i = 0; i < 4; i++) {
    if (!strcmp(text, known[i].name)) {
      *formats = known[i].format;
      return MQ_OK;
    }
  }
  return mq_fail(err, MQ_BAD_USAGE, "--format %s: expected html, md, csv or json", text);
}

static mq_status print_result(const struct mq_report_result *result, const struct cli_common *common,
                              struct mq_err *err) {
  if (!common->is_json) {
    for (size_t i = 0; i < result->n_files; i++) {
      printf("%s\n", result->files[i]);
    }
    return MQ_OK;
  }
  json_t *files = json_array();
  for (size_t i = 0; i < result->n_files; i++) {
    json_array_append_new(files, json_string(result->files[i]));
  }
  return cli_print_json(json_pack("{s:I, s:o}", "rows", (json_int_t)result->rows, "files", files), err);
}

mq_status cmd_report(int argc, char **argv, struct mq_err *err) {
  struct cli_common common;
  const char *directory = "report", *format = NULL;
  const struct cli_option options[] = {
      {"--output", 'o', CLI_TEXT, &directory, "DIR", "where the files go (default report)", 0, 0},
      {"--format", 0, CLI_TEXT, &format, "F", "html, md, csv or json (default: all)", 0, 0},
  };
  bool is_help;
  mq_status status = cli_parse(&common, &is_help, cli_find_command("report"), options,
                               sizeof options / sizeof options[0], 1, CLI_MAX_TEXTS, argc, argv, err);
  if (status != MQ_OK || is_help) {
    return status;
  }
  cli_session_set_log(&common);
  struct mq_report_result result = {0};
  unsigned formats = 0;
  status = parse_format(&formats, format, err);
  if (status == MQ_OK) {
    status = mq_report_write(&result, common.arguments.text, common.arguments.n, directory, formats, err);
  }
  if (status == MQ_OK) {
    status = print_result(&result, &common, err);
  }
  mq_report_result_deinit(&result);
  return status;
}
