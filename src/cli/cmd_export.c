/* mqbench export: the files of one vendor's tool, from a bundle. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "mqbench/deploy.h"
#include "target/words.h"

struct export_run {
  struct cli_common common;
  const char *format, *output;
  const struct mq_exporter *exporter;
  char *stem;
};

static mq_status find_exporter(struct export_run *run, struct mq_err *err) {
  char list[400] = "";
  if (!run->format) {
    return mq_fail(err, MQ_BAD_USAGE, "--format is missing; see mqbench list formats");
  }
  run->exporter = mq_exporter_find(run->format);
  for (size_t i = 0; i < mq_exporter_count(); i++) {
    size_t n = strlen(list);
    snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", mq_exporter_at(i)->name);
  }
  for (const char *const *name = mq_artefact_names; !run->exporter && *name; name++) {
    if (!strcmp(*name, run->format)) {
      return mq_fail(err, MQ_BAD_USAGE, "--format %s: not in this version, expected one of: %s", run->format,
                     list);
    }
  }
  return run->exporter
             ? MQ_OK
             : mq_fail(err, MQ_BAD_USAGE, "--format %s: unknown, expected one of: %s", run->format, list);
}

/* What the suffixes are put behind: the output without the format's own suffix, if it has one. */
static mq_status find_stem(struct export_run *run, struct mq_err *err) {
  char name[128];
  snprintf(name, sizeof name, "export/%s", run->exporter->name);
  run->stem =
      run->output ? mq_path_join(".", run->output) : mq_path_join(run->common.arguments.text[0], name);
  if (!run->stem) {
    return mq_fail_memory(err, "export");
  }
  size_t n = strlen(run->stem);
  for (size_t i = 0; run->output && i < MQ_EXPORT_FILES && run->exporter->suffixes[i]; i++) {
    size_t length = strlen(run->exporter->suffixes[i]);
    if (n > length && !strcmp(run->stem + n - length, run->exporter->suffixes[i])) {
      run->stem[n - length] = 0;
      break;
    }
  }
  char *directory = mq_path_directory(run->stem);
  mq_status status = directory ? mq_file_make_directories(directory, err) : mq_fail_memory(err, "export");
  mq_free(directory);
  return status;
}

static mq_status print_files(const struct export_run *run, struct mq_err *err) {
  json_t *files = json_array();
  const char *stem = strncmp(run->stem, "./", 2) ? run->stem : run->stem + 2;
  for (size_t i = 0; i < MQ_EXPORT_FILES && run->exporter->suffixes[i]; i++) {
    const char *suffix = run->exporter->suffixes[i];
    if (!run->common.is_json) {
      printf("%s%s\n", stem, suffix);
    }
    json_array_append_new(files, json_sprintf("%s%s", stem, suffix));
  }
  if (!run->common.is_json) {
    json_decref(files);
    return MQ_OK;
  }
  return cli_print_json(json_pack("{s:s, s:o}", "format", run->exporter->name, "files", files), err);
}

static mq_status run_export(struct export_run *run, struct mq_err *err) {
  struct mq_bundle bundle = {.has_preprocess = false};
  cli_session_set_log(&run->common);
  mq_memory_set_limit((size_t)run->common.max_memory);
  mq_status status = find_exporter(run, err);
  if (status == MQ_OK) {
    status = mq_bundle_read(&bundle, run->common.arguments.text[0], err);
  }
  if (status == MQ_OK) {
    status = mq_export_check(run->exporter, &bundle, err);
  }
  if (status == MQ_OK) {
    status = find_stem(run, err);
  }
  if (status == MQ_OK) {
    status = mq_export(run->exporter, run->stem, &bundle, err);
  }
  if (status == MQ_OK) {
    status = print_files(run, err);
  }
  mq_bundle_deinit(&bundle);
  mq_free(run->stem);
  return status;
}

mq_status cmd_export(int argc, char **argv, struct mq_err *err) {
  struct export_run run = {.format = NULL};
  const struct cli_option options[] = {
      {"--format", 0, CLI_TEXT, &run.format, "F", "what to write: see mqbench list formats", 0, 0},
      {"--output", 'o', CLI_TEXT, &run.output, "FILE",
       "where (default DIR/export/F); the format's suffixes are put behind it", 0, 0},
  };
  bool is_help;
  mq_status status = cli_parse(&run.common, &is_help, cli_find_command("export"), options,
                               sizeof options / sizeof options[0], 1, 1, argc, argv, err);
  return status == MQ_OK && !is_help ? run_export(&run, err) : status;
}
