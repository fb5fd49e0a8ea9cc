/* mqbench bench: a plan's grid into a store, then the report. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "mqbench/bench.h"
#include "mqbench/quant.h"
#include "mqbench/report.h"

struct bench_run {
  struct cli_common common;
  const char *directory, *shard_text;
  struct cli_texts plugins;
  bool resumes, is_dry_run;
  struct mq_pool *pool;
  struct mq_plan *plan;
  struct mq_bench_options options;
  struct mq_bench_result result;
  char *db, *report;
  char **dbs; /* of the report: `db`, and what the plan's other shards have left beside it */
  size_t n_dbs;
};

static mq_status parse_shard(struct bench_run *run, struct mq_err *err) {
  int i = 0, n = 0, used = 0;
  if (!run->shard_text) {
    return MQ_OK;
  }
  if (sscanf(run->shard_text, "%d/%d%n", &i, &n, &used) != 2 || run->shard_text[used] || i < 1 || n < i ||
      n > 100000) {
    return mq_fail(err, MQ_BAD_USAGE, "--shard %s: expected I/N, 1 <= I <= N", run->shard_text);
  }
  run->options.shard = i;
  run->options.n_shards = n;
  return MQ_OK;
}

static mq_status load_plan(struct bench_run *run, struct mq_err *err) {
  if (run->common.arguments.n) {
    return mq_plan_load(&run->plan, run->common.arguments.text[0], err);
  }
  char *path = mq_path_join(mq_share_directory(), "plans/quick.yaml");
  mq_status status = path ? mq_plan_load(&run->plan, path, err) : mq_fail_memory(err, "plan");
  mq_free(path);
  return status;
}

/* --strict and --seed hold for every cell; a plan with seeds of its own keeps them. */
static mq_status apply_options(struct bench_run *run, struct mq_err *err) {
  bool has_seeds = false;
  for (size_t i = 0; i < run->plan->n_cells; i++) {
    has_seeds = has_seeds || run->plan->cells[i].seed != 0;
  }
  if (run->common.seed && has_seeds) {
    return mq_fail(err, MQ_BAD_USAGE, "--seed %lld: the plan %s has seeds of its own",
                   (long long)run->common.seed, run->plan->name);
  }
  for (size_t i = 0; i < run->plan->n_cells; i++) {
    struct mq_cell *cell = &run->plan->cells[i];
    cell->is_strict = cell->is_strict || run->common.is_strict;
    cell->seed = run->common.seed ? (uint64_t)run->common.seed : cell->seed;
  }
  return MQ_OK;
}

/* A store of another shard that this moment's report can do without: it may just be made. */
static bool is_readable(const char *path) {
  struct mq_store *store = NULL;
  struct mq_err why = {0};
  if (!mq_file_exists(path)) {
    return false;
  }
  if (mq_store_open(&store, path, true, &why) != MQ_OK) {
    mq_log_warn("left out of the report: %s", why.message);
    return false;
  }
  mq_store_close(store);
  return true;
}

/* In order of the shards, so that the report does not depend on who writes it. */
static mq_status find_stores(struct bench_run *run, struct mq_err *err) {
  struct mq_bench_options options = run->options;
  int n_shards = options.n_shards > 0 ? options.n_shards : 1;
  run->dbs = mq_alloc((size_t)n_shards, sizeof *run->dbs);
  if (!run->dbs) {
    return mq_fail_memory(err, "report");
  }
  for (int i = 1; i <= n_shards; i++) {
    options.shard = i;
    char *path = mq_bench_store_path(&options);
    if (!path) {
      return mq_fail_memory(err, "report");
    }
    if (i == run->options.shard || n_shards == 1 || is_readable(path)) {
      run->dbs[run->n_dbs++] = path;
    } else {
      mq_free(path);
    }
  }
  return MQ_OK;
}

/* Processes that end together report one after the other, and the last one finds the runs of all. The lock
 * goes with the descriptor; -1, or a file system without locks: none. */
static int lock_directory(const char *directory) {
  int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  while (descriptor >= 0 && flock(descriptor, LOCK_EX) != 0 && errno == EINTR && !mq_cancelled()) {
  }
  return descriptor;
}

static void print_report(const struct bench_run *run, const char *table) {
  const struct mq_bench_result *r = &run->result;
  if (run->common.is_json && run->common.is_quiet) {
    return;
  }
  FILE *people = run->common.is_json ? stderr : stdout;
  fprintf(people,
          "%s\n%lld cells: %lld done, %lld failed, %lld not converged, %lld already there; %.1f s\n"
          "report: %s/report.html",
          table, (long long)r->cells, (long long)r->done, (long long)r->failed, (long long)r->nc,
          (long long)r->skipped, r->seconds, run->report);
  if (run->options.n_shards > 0) {
    fprintf(people, " (%zu of %d shards)", run->n_dbs, run->options.n_shards);
  }
  fputc('\n', people);
}

/* Said for the plan, once: its cells all have the same data. */
static void warn_of_calibration_data(const struct mq_plan *plan) {
  for (size_t i = 0; i < plan->n_cells; i++) {
    const struct mq_cell *cell = &plan->cells[i];
    if (cell->calib_data && !strcmp(cell->calib_data, cell->eval_data)) {
      mq_log_warn("%s: measured on calibration data: data.train and data.eval are the same", plan->file);
      return;
    }
  }
}

static mq_status write_report(struct bench_run *run, struct mq_err *err) {
  struct mq_report_result written = {0};
  char *table = NULL;
  int lock = lock_directory(run->directory);
  mq_status status = find_stores(run, err);
  const char *const *dbs = (const char *const *)run->dbs;
  if (status == MQ_OK) {
    status = mq_report_write(&written, dbs, run->n_dbs, run->report,
                             MQ_REPORT_HTML | MQ_REPORT_MD | MQ_REPORT_CSV | MQ_REPORT_JSON, err);
  }
  mq_report_result_deinit(&written);
  if (status == MQ_OK) {
    status = mq_report_table(&table, dbs, run->n_dbs, err);
  }
  if (lock >= 0) {
    close(lock);
  }
  if (status == MQ_OK) {
    print_report(run, table);
  }
  mq_free(table);
  return status;
}

static json_t *counts_json(const struct bench_run *run) {
  const struct mq_bench_result *r = &run->result;
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:s, s:s, s:I}", "cells", (json_int_t)r->cells, "done",
                   (json_int_t)(r->done + r->skipped), "failed", (json_int_t)r->failed, "nc",
                   (json_int_t)r->nc, "skipped", (json_int_t)r->skipped, "seconds", r->seconds, "db", run->db,
                   "report", run->report, "stores", (json_int_t)run->n_dbs);
}

/* The list is the command's answer, so it is data: on stdout, whether quiet or not. */
static mq_status print_list(const struct bench_run *run, struct mq_err *err) {
  struct mq_arena arena;
  struct mq_bench_line *lines = NULL;
  size_t n = 0;
  mq_arena_init(&arena, 0);
  mq_status status = mq_bench_list(&lines, &n, run->plan, &run->options, &arena, err);
  json_t *list = run->common.is_json ? json_array() : NULL;
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    if (list) {
      json_array_append_new(list, json_string(lines[i].label));
    } else {
      printf("cell %lld/%zu %s\n", (long long)lines[i].number, run->plan->n_cells, lines[i].label);
    }
  }
  if (status == MQ_OK && list) {
    json_t *object = counts_json(run);
    json_object_set_new(object, "cells", json_integer((json_int_t)n));
    json_object_set(object, "list", list);
    status = cli_print_json(object, err);
  }
  json_decref(list);
  mq_arena_deinit(&arena);
  return status;
}

/* The plan with what the command line adds to it. */
static mq_status make_ready(struct bench_run *run, struct mq_err *err) {
  mq_status status = parse_shard(run, err);
  for (size_t i = 0; i < run->plugins.n && status == MQ_OK; i++) {
    status = mq_quantizer_load(run->plugins.text[i], err);
  }
  if (status == MQ_OK) {
    status = load_plan(run, err);
  }
  if (status == MQ_OK) {
    status = apply_options(run, err);
  }
  if (status == MQ_OK) {
    /* --isa wins over the plan's own cap. */
    if (!strcmp(run->common.isa, "native")) {
      run->common.isa = mq_isa_name(run->plan->isa);
    }
    status = cli_session_start_ranks(&run->pool, &run->common, err);
  }
  run->options.directory = run->directory;
  run->options.resumes = run->resumes;
  run->options.pool = run->pool;
  run->options.ranks = cli_session_ranks();
  run->db = mq_bench_store_path(&run->options);
  run->report = mq_path_join(run->directory, "report");
  return status == MQ_OK && (!run->db || !run->report) ? mq_fail_memory(err, "report") : status;
}

static mq_status run_bench(struct bench_run *run, struct mq_err *err) {
  mq_status status = make_ready(run, err);
  if (status != MQ_OK || run->is_dry_run) {
    return status == MQ_OK && cli_is_first_rank() ? print_list(run, err) : status;
  }
  status = mq_bench_run(&run->result, run->plan, &run->options, err);
  if (!cli_is_first_rank()) {
    return status;
  }
  if (status == MQ_OK) {
    warn_of_calibration_data(run->plan);
    status = write_report(run, err);
  }
  if (status == MQ_OK && run->common.is_json) {
    status = cli_print_json(counts_json(run), err);
  }
  if (status == MQ_OK && run->result.failed > 0) {
    status = mq_fail(err, MQ_NO, "%lld cells failed; the report says why", (long long)run->result.failed);
  }
  return status;
}

mq_status cmd_bench(int argc, char **argv, struct mq_err *err) {
  struct bench_run run = {.directory = "mqbench-out"};
  const struct cli_option options[] = {
      {"--output", 'o', CLI_TEXT, &run.directory, "DIR", "store and report (default mqbench-out)", 0, 0},
      {"--resume", 0, CLI_FLAG, &run.resumes, NULL, "go on where a run was ended (always so; for scripts)", 0,
       0},
      {"--shard", 0, CLI_TEXT, &run.shard_text, "I/N",
       "only every Nth cell, into a store of its own; the report is of all shards in DIR", 0, 0},
      {"--plugin", 0, CLI_TEXTS, &run.plugins, "FILE", "a shared object that the plan names", 0, 0},
      {"--dry-run", 0, CLI_FLAG, &run.is_dry_run, NULL, "list the cells and end", 0, 0},
  };
  bool is_help;
  mq_status status = cli_parse(&run.common, &is_help, cli_find_command("bench"), options,
                               sizeof options / sizeof options[0], 0, 1, argc, argv, err);
  if (status == MQ_OK && !is_help) {
    status = run_bench(&run, err);
  }
  for (size_t i = 0; i < run.n_dbs; i++) {
    mq_free(run.dbs[i]);
  }
  mq_free(run.dbs);
  mq_free(run.db);
  mq_free(run.report);
  mq_plan_destroy(run.plan);
  mq_pool_destroy(run.pool);
  return status;
}
