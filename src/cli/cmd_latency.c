/* mqbench latency: how long a network takes, in floats and in integers, here and in real engines. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "mqbench/load.h"
#include "verify/latency.h"

#define OWN "mqbench"
#define MAX_BATCHES 16
#define MAX_BATCH 4096

struct latency_run {
  struct cli_common common;
  const char *batch_text;
  struct cli_texts engines;
  double seconds;
  int64_t batches[MAX_BATCHES];
  size_t n_batches;
  struct mq_arena arena;
  const char **names; /* of engines */
  size_t n_names;
  struct mq_bundle bundle;
  struct mq_graph *graph;
  char *float_path;
  struct mq_target *target;
  struct latency_model model;
  struct latency_row *rows;
  size_t n_rows;
};

/* ---- Arguments -------------------------------------------------------------------------------------- */

static mq_status parse_batches(struct latency_run *run, struct mq_err *err) {
  const char *at = run->batch_text;
  while (run->n_batches < MAX_BATCHES) {
    char *end = NULL;
    const long batch = strtol(at, &end, 10);
    if (end == at || batch < 1 || batch > MAX_BATCH || (*end && *end != ',')) {
      break;
    }
    run->batches[run->n_batches++] = batch;
    if (!*end) {
      return MQ_OK;
    }
    at = end + 1;
  }
  return mq_fail(err, MQ_BAD_USAGE,
                 "--batch %.60s: expected at most %d numbers from 1 to %d, separated by commas",
                 run->batch_text, MAX_BATCHES, MAX_BATCH);
}

static void add_name(struct latency_run *run, const char *name) {
  for (size_t i = 0; i < run->n_names; i++) {
    if (!strcmp(run->names[i], name)) return;
  }
  run->names[run->n_names++] = name;
}

/* Ours comes first. An engine that there is none of is told before anything is measured. */
static mq_status find_engines(struct latency_run *run, struct mq_err *err) {
  const char *const *all = NULL;
  size_t n_all = 0;
  mq_status status = mq_adapter_list(&all, &n_all, &run->arena, err);
  if (status != MQ_OK) {
    return status;
  }
  run->names = mq_arena_alloc(&run->arena, run->engines.n + n_all + 1, sizeof *run->names);
  if (!run->names) {
    return mq_fail_memory(err, "names of engines");
  }
  if (run->engines.n == 0) {
    add_name(run, OWN);
  }
  for (size_t i = 0; i < run->engines.n && status == MQ_OK; i++) {
    const char *name = run->engines.text[i];
    char *path = NULL;
    if (!strcmp(name, "all")) {
      add_name(run, OWN);
      for (size_t k = 0; k < n_all; k++)
        add_name(run, all[k]);
      continue;
    }
    status = strcmp(name, OWN) != 0 ? mq_adapter_find(&path, name, err) : MQ_OK;
    mq_free(path);
    add_name(run, name);
  }
  return status;
}

/* ---- The model -------------------------------------------------------------------------------------- */

/* In floats as one would deploy it: normalisation merged. */
static mq_status take_floats(struct latency_run *run, const char *path, struct mq_err *err) {
  mq_status status = run->graph ? MQ_OK : mq_onnx_read(&run->graph, path, NULL, err);
  if (status == MQ_OK) {
    status = mq_prepare_canonical(run->graph, err);
  }
  if (status == MQ_OK) {
    status = mq_prepare_fold_bn(run->graph, false, err);
  }
  run->model.graph = run->graph;
  run->model.float_path = path;
  return status;
}

static mq_status load_bundle(struct latency_run *run, const char *path, struct mq_err *err) {
  mq_status status = mq_bundle_read(&run->bundle, path, err);
  if (status != MQ_OK) {
    return status;
  }
  run->model.bundle = &run->bundle;
  if (mq_target_load(&run->target, run->bundle.target, NULL) != MQ_OK) {
    mq_log_info("target %s is not here: engines get the first of their formats", run->bundle.target);
  }
  run->model.target = run->target;
  run->float_path = mq_path_join(path, "float.onnx");
  return run->float_path ? take_floats(run, run->float_path, err) : mq_fail_memory(err, path);
}

static mq_status load(struct latency_run *run, const char *path, struct mq_err *err) {
  if (mq_file_is_directory(path)) {
    return load_bundle(run, path, err);
  }
  const struct mq_onnx_options options = {.takes_packed = true};
  mq_status status = mq_onnx_read(&run->graph, path, &options, err);
  if (status != MQ_OK || !mq_is_qdq(run->graph)) {
    return status == MQ_OK ? take_floats(run, path, err) : status;
  }
  run->model.qdq = path;
  run->model.bundle = &run->bundle;
  return mq_bundle_read_qdq(&run->bundle, path, NULL, err);
}

/* ---- Measuring -------------------------------------------------------------------------------------- */

static mq_status measure(struct latency_run *run, mq_isa isa, struct mq_err *err) {
  const struct latency_options options = {.threads = run->common.threads,
                                          .seconds = run->seconds,
                                          .isa = isa,
                                          .seed = (uint64_t)run->common.seed};
  run->rows = mq_arena_alloc(&run->arena, 2 * run->n_names * run->n_batches, sizeof *run->rows);
  mq_status status = run->rows ? MQ_OK : mq_fail_memory(err, "rows");
  for (size_t i = 0; i < 2 * run->n_names && status == MQ_OK; i++) {
    struct latency_row *rows = &run->rows[run->n_rows];
    const bool is_own = !strcmp(run->names[i / 2], OWN);
    for (size_t k = 0; k < run->n_batches; k++) {
      rows[k] = (struct latency_row){.is_integer = i % 2, .batch = run->batches[k]};
      snprintf(rows[k].engine, sizeof rows[k].engine, "%s", run->names[i / 2]);
    }
    mq_log_info("%s in %s", run->names[i / 2], i % 2 ? "integers" : "floats");
    for (size_t k = 0; is_own && k < run->n_batches && status == MQ_OK; k++) {
      status = latency_measure_own(&rows[k], &run->model, &options, err);
    }
    if (!is_own) {
      status = latency_measure_engine(rows, run->n_batches, &run->model, &options, err);
    }
    run->n_rows += run->n_batches;
  }
  return status;
}

/* ---- The answer ------------------------------------------------------------------------------------- */

static const char *precision_of(const struct latency_row *row) {
  return row->is_integer ? "int8" : "float32";
}

static mq_status print_json(const struct latency_run *run, struct mq_err *err) {
  json_t *rows = json_array();
  for (size_t i = 0; i < run->n_rows; i++) {
    const struct latency_row *r = &run->rows[i];
    const bool is_skipped = r->skipped[0] != 0;
    json_array_append_new(
        rows, json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:I, s:o}", "engine", r->engine, "version",
                        r->version, "precision", precision_of(r), "batch", (json_int_t)r->batch, "median_ms",
                        is_skipped ? json_null() : cli_json_real(r->median_ms), "p90_ms",
                        is_skipped ? json_null() : cli_json_real(r->p90_ms), "images_per_second",
                        is_skipped ? json_null() : cli_json_real(r->images_per_second), "runs",
                        (json_int_t)r->n_runs, "skipped_reason",
                        is_skipped ? json_string(r->skipped) : json_null()));
  }
  return cli_print_json(json_pack("{s:o, s:I}", "rows", rows, "threads", (json_int_t)run->common.threads),
                        err);
}

static void print_rows(const struct latency_run *run) {
  printf("%-12s  %-9s  %5s  %10s  %10s  %10s\n", "engine", "precision", "batch", "median ms", "p90 ms",
         "images/s");
  for (size_t i = 0; i < run->n_rows; i++) {
    const struct latency_row *r = &run->rows[i];
    printf("%-12s  %-9s  %5lld", r->engine, precision_of(r), (long long)r->batch);
    if (r->skipped[0]) {
      printf("  skipped: %s\n", r->skipped);
    } else {
      printf("  %10.3f  %10.3f  %10.1f\n", r->median_ms, r->p90_ms, r->images_per_second);
    }
  }
}

/* No kernel and no pool is started here: what is measured runs in children. */
static mq_status run_latency(struct latency_run *run, struct mq_err *err) {
  mq_isa isa = MQ_ISA_NATIVE;
  cli_session_set_log(&run->common);
  run->common.threads = run->common.threads ? run->common.threads : (int64_t)mq_cores();
  mq_memory_set_limit((size_t)run->common.max_memory);
  mq_status status = parse_batches(run, err);
  if (status == MQ_OK) {
    status = mq_isa_parse(&isa, run->common.isa, err);
  }
  if (status == MQ_OK && !(run->seconds > 0 && run->seconds <= 3600)) {
    status = mq_fail(err, MQ_BAD_USAGE, "--seconds %g: expected more than 0, at most 3600", run->seconds);
  }
  if (status == MQ_OK) {
    status = find_engines(run, err);
  }
  if (status == MQ_OK) {
    status = load(run, run->common.arguments.text[0], err);
  }
  if (status == MQ_OK) {
    status = latency_keep_to_cores(run->common.threads, err);
  }
  if (status == MQ_OK) {
    status = measure(run, isa, err);
  }
  if (status == MQ_OK && run->common.is_json) {
    status = print_json(run, err);
  } else if (status == MQ_OK) {
    print_rows(run);
  }
  return status;
}

mq_status cmd_latency(int argc, char **argv, struct mq_err *err) {
  struct latency_run run = {.batch_text = "1,8", .seconds = 2};
  mq_arena_init(&run.arena, 0);
  const struct cli_option options[] = {
      {"--batch", 0, CLI_TEXT, &run.batch_text, "N,...", "images at a time (default 1,8)", 0, 0},
      {"--engine", 0, CLI_TEXTS, &run.engines, "E",
       "mqbench (default), one of list engines, or all; may be given again", 0, 0},
      {"--seconds", 0, CLI_REAL, &run.seconds, "S", "to measure each row for, about (default 2)", 0, 0},
  };
  bool is_help;
  mq_status status = cli_parse(&run.common, &is_help, cli_find_command("latency"), options,
                               sizeof options / sizeof options[0], 1, 1, argc, argv, err);
  if (status == MQ_OK && !is_help) {
    status = run_latency(&run, err);
  }
  mq_target_destroy(run.target);
  mq_bundle_deinit(&run.bundle);
  mq_graph_destroy(run.graph);
  mq_free(run.float_path);
  mq_arena_deinit(&run.arena);
  return status;
}
