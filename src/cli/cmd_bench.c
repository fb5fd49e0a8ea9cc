/* mqbench bench: a plan's grid into a store, then the report. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/session.h"
#include "mqbench/bench.h"
#include "mqbench/report.h"

struct bench_run {
  struct cli_common common;
  const char *directory, *shard_text;
  bool resumes, is_dry_run;
  struct mq_pool *pool;
  struct mq_plan *plan;
  struct mq_bench_options options;
  struct mq_bench_result result;
  char *db, *report;
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

static mq_status write_report(struct bench_run *run, struct mq_err *err) {
  const char *dbs[] = {run->db};
  struct mq_report_result written = {0};
  mq_status status = mq_report_write(&written, dbs, 1, run->report,
                                     MQ_REPORT_HTML | MQ_REPORT_MD | MQ_REPORT_CSV | MQ_REPORT_JSON, err);
  mq_report_result_deinit(&written);
  char *table = NULL;
  if (status == MQ_OK) {
    status = mq_report_table(&table, dbs, 1, err);
  }
  if (status == MQ_OK) {
    FILE *people = run->common.is_json ? stderr : stdout;
    if (!run->common.is_json || !run->common.is_quiet) {
      fprintf(people,
              "%s\n%lld cells: %lld done, %lld failed, %lld not converged, %lld already there; %.1f s\n"
              "report: %s/report.html\n",
              table, (long long)run->result.cells, (long long)run->result.done, (long long)run->result.failed,
              (long long)run->result.nc, (long long)run->result.skipped, run->result.seconds, run->report);
    }
  }
  mq_free(table);
  return status;
}

static json_t *counts_json(const struct bench_run *run) {
  const struct mq_bench_result *r = &run->result;
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:s, s:s}", "cells", (json_int_t)r->cells, "done",
                   (json_int_t)(r->done + r->skipped), "failed", (json_int_t)r->failed, "nc",
                   (json_int_t)r->nc, "skipped", (json_int_t)r->skipped, "seconds", r->seconds, "db", run->db,
                   "report", run->report);
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
    status = cli_session_start(&run->pool, &run->common, err);
  }
  run->options.directory = run->directory;
  run->options.resumes = run->resumes;
  run->options.pool = run->pool;
  run->db = mq_bench_store_path(&run->options);
  run->report = mq_path_join(run->directory, "report");
  return status == MQ_OK && (!run->db || !run->report) ? mq_fail_memory(err, "report") : status;
}

static mq_status run_bench(struct bench_run *run, struct mq_err *err) {
  mq_status status = make_ready(run, err);
  if (status != MQ_OK || run->is_dry_run) {
    return status == MQ_OK ? print_list(run, err) : status;
  }
  status = mq_bench_run(&run->result, run->plan, &run->options, err);
  if (status == MQ_OK) {
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
      {"--shard", 0, CLI_TEXT, &run.shard_text, "I/N", "only every Nth cell, into a store of its own", 0, 0},
      {"--dry-run", 0, CLI_FLAG, &run.is_dry_run, NULL, "list the cells and end", 0, 0},
  };
  bool is_help;
  mq_status status = cli_parse(&run.common, &is_help, cli_find_command("bench"), options,
                               sizeof options / sizeof options[0], 0, 1, argc, argv, err);
  if (status == MQ_OK && !is_help) {
    status = run_bench(&run, err);
  }
  mq_free(run.db);
  mq_free(run.report);
  mq_plan_destroy(run.plan);
  mq_pool_destroy(run.pool);
  return status;
}
