/* The grid: every cell of a plan that the store does not hold yet. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "bench/cache.h"
#include "bench/ranks.h"
#include "bench/training.h"
#include "mqbench/engine.h"

typedef enum cell_state {
  CELL_PENDING,
  CELL_FOUND, /* in the store */
  CELL_RAN,
} cell_state;

struct item {
  const struct mq_cell *cell;
  int64_t number; /* in the plan, from 1 */
  cell_state state;
  char identity[65]; /* "" where an input cannot be read */
  char float_identity[65];
};

/* The lease of the cell that runs, renewed while it makes progress. The renewals come from the threads that
 * do the work, so they have a connection of their own. */
struct renewal {
  struct mq_store *store;
  const char *identity;
};

struct grid {
  const struct mq_plan *plan;
  const struct mq_bench_options *options;
  struct mq_bench_result *result;
  struct mq_store *store;
  struct renewal renewal;
  struct mq_trial_cache *cache;
  char *checkpoints; /* directory */
  struct item *items;
  int64_t n_items, n_pending;
  int64_t n_ran;
  double start, work_seconds; /* work: spent on the n_ran cells */
};

char *mq_bench_store_path(const struct mq_bench_options *options) {
  char name[64] = "results.db";
  if (options->n_shards > 0) {
    snprintf(name, sizeof name, "results.%d-of-%d.db", options->shard, options->n_shards);
  }
  return mq_path_join(options->directory, name);
}

static mq_status select_cells(struct grid *grid, struct mq_err *err) {
  const struct mq_bench_options *options = grid->options;
  size_t n_shards = options->n_shards > 0 ? (size_t)options->n_shards : 1;
  size_t shard = options->n_shards > 0 ? (size_t)options->shard - 1 : 0;
  grid->items = mq_alloc(grid->plan->n_cells, sizeof *grid->items);
  if (!grid->items) {
    return mq_fail_memory(err, "cells of a plan");
  }
  for (size_t i = shard; i < grid->plan->n_cells; i += n_shards) {
    grid->items[grid->n_items++] =
        (struct item){.cell = &grid->plan->cells[i], .number = (int64_t)i + 1, .state = CELL_PENDING};
  }
  grid->result->cells = grid->n_items;
  return MQ_OK;
}

static bool is_data_of(const struct grid *grid, const char *argument) {
  for (int64_t i = 0; i < grid->n_items; i++) {
    const struct mq_cell *cell = grid->items[i].cell;
    if (!strcmp(cell->eval_data, argument) || (cell->calib_data && !strcmp(cell->calib_data, argument))) {
      return true;
    }
  }
  return false;
}

/* What is not there fails every cell that needs it: better said once, before anything runs. */
static mq_status check_inputs(struct grid *grid, struct mq_err *err) {
  const struct mq_plan *plan = grid->plan;
  for (size_t i = 0; i < plan->n_inputs; i++) {
    const struct mq_plan_input *input = &plan->inputs[i];
    struct mq_err why = {.status = MQ_OK};
    struct mq_cache_data *data = NULL;
    mq_status status = MQ_OK;
    if (input->model && !mq_file_exists(input->model)) {
      status = mq_fail(&why, MQ_BAD_INPUT, "%s: no such file", input->model);
    } else if (input->data && is_data_of(grid, input->data)) {
      status = mq_cache_get_data(&data, grid->cache, input->data, &why);
    }
    if (status != MQ_OK) {
      return mq_fail(err, status, "%s:%d: %s: %s", plan->file, input->line, input->key, why.message);
    }
  }
  return MQ_OK;
}

static mq_status check_isa(const struct mq_plan *plan, struct mq_err *err) {
  if (plan->isa != MQ_ISA_NATIVE && mq_kernel_isa() > plan->isa) {
    return mq_fail(err, MQ_BAD_USAGE, "%s asks for isa %s, this process runs %s: give --isa %s", plan->file,
                   mq_isa_name(plan->isa), mq_isa_name(mq_kernel_isa()), mq_isa_name(plan->isa));
  }
  return MQ_OK;
}

/* Does the store hold this cell? Float accuracies it knows go to the cache. */
static mq_status look_up(struct grid *grid, struct item *item, struct mq_err *err) {
  struct mq_arena arena;
  struct mq_run run;
  bool is_found = false, is_known = false;
  mq_arena_init(&arena, 0);
  mq_status status = mq_store_find(&is_found, &run, grid->store, item->identity, &arena, err);
  if (status == MQ_OK && !mq_cache_find_float(grid->cache, item->float_identity)) {
    status = mq_store_find_float(&is_known, &run, grid->store, item->float_identity, err);
  }
  if (status == MQ_OK && is_known) {
    struct mq_cache_float known = {
        .top1 = run.float_top1, .correct = run.float_correct, .images = run.images};
    memcpy(known.identity, item->float_identity, sizeof known.identity);
    status = mq_cache_put_float(grid->cache, &known, err);
  }
  if (status == MQ_OK && is_found) {
    item->state = CELL_FOUND;
    grid->result->skipped++;
    grid->n_pending--;
  }
  mq_arena_deinit(&arena);
  return status;
}

/* Identifies a cell, lets results of older code or content become stale, looks it up. */
static mq_status identify(struct grid *grid, struct item *item, struct mq_err *err) {
  struct mq_arena arena;
  struct mq_cell_inputs inputs;
  const char *text = NULL;
  mq_arena_init(&arena, 0);
  grid->n_pending++;
  mq_status status = mq_cell_format(&text, item->cell, &arena, err);
  if (status == MQ_OK && mq_cache_identify(item->identity, item->float_identity, &inputs, grid->cache,
                                           item->cell, &arena, NULL) != MQ_OK) {
    item->identity[0] = '\0'; /* its trial will say why */
  }
  if (status == MQ_OK && item->identity[0]) {
    status = mq_store_mark_stale(grid->store, text, item->identity, err);
    if (status == MQ_OK) {
      status = look_up(grid, item, err);
    }
  }
  mq_arena_deinit(&arena);
  return status;
}

/* "12 s left", "3 min left", "2.5 h left"; "" before anything is known. */
static const char *time_left(char text[48], const struct grid *grid) {
  text[0] = '\0';
  if (grid->n_ran == 0 || grid->n_pending == 0) {
    return text;
  }
  double seconds = grid->work_seconds / (double)grid->n_ran * (double)grid->n_pending;
  if (seconds < 100) {
    snprintf(text, 48, ", %.0f s left", ceil(seconds));
  } else if (seconds < 6000) {
    snprintf(text, 48, ", %.0f min left", ceil(seconds / 60));
  } else {
    snprintf(text, 48, ", %.1f h left", seconds / 3600);
  }
  return text;
}

static void tell(const struct grid *grid, const struct item *item, const char *label,
                 const struct mq_trial_result *trial) {
  const struct mq_run *run = &trial->run;
  char left[48];
  time_left(left, grid);
  long long number = item->number;
  size_t n = grid->plan->n_cells;
  if (trial->failure != MQ_OK) {
    mq_log_warn("cell %lld/%zu %s failed: %s%s", number, n, label, run->message, left);
  } else if (isnan(run->top1)) {
    mq_log_info("cell %lld/%zu %s: %s (%.1f s)%s", number, n, label, run->status, run->seconds, left);
  } else {
    mq_log_info("cell %lld/%zu %s: %.2f%%%s (%.1f s)%s", number, n, label, 100 * run->top1,
                strcmp(run->status, "nc") ? "" : ", not converged", run->seconds, left);
  }
}

static void count(struct grid *grid, struct item *item, const struct mq_trial_result *trial, double seconds) {
  item->state = CELL_RAN;
  grid->n_pending--;
  grid->n_ran++;
  grid->work_seconds += seconds;
  grid->result->failed += trial->failure != MQ_OK;
  grid->result->done += trial->failure == MQ_OK;
  grid->result->nc += trial->failure == MQ_OK && !strcmp(trial->run.status, "nc");
}

/* The run, and the network that it trained as its artefact. */
static mq_status keep_run(struct grid *grid, struct mq_trial_result *trial, const char *trained,
                          struct mq_err *err) {
  mq_status status = mq_store_put(grid->store, &trial->run, trial->points, trial->n_points, err);
  if (status == MQ_OK && trained && mq_file_exists(trained)) {
    status = mq_store_put_artefact(grid->store, trial->run.id, "model.onnx", trained, err);
    (void)unlink(trained);
  }
  /* Where the disk or memory did not suffice the next attempt goes on. */
  if (status == MQ_OK && trial->failure != MQ_FAILED) {
    mq_trial_remove_checkpoint(grid->checkpoints, &trial->run);
  }
  return status;
}

/* What trains is run by all ranks. */
static mq_status run_trial(struct mq_trial_result *trial, const struct item *item,
                           const struct mq_trial_options *options, struct mq_arena *arena,
                           struct mq_err *err) {
  bool is_shared = mq_cell_trains(item->cell);
  mq_status status = is_shared ? bench_announce(options->ranks, item->number - 1, err) : MQ_OK;
  if (status == MQ_OK) {
    status = mq_trial_run(trial, item->cell, options, arena, err);
  }
  if (status == MQ_OK && is_shared) {
    status = bench_compare_outcomes(options->ranks, trial->failure, err);
  }
  return status;
}

static mq_status run_cell(struct grid *grid, struct item *item, struct mq_err *err) {
  struct mq_arena arena;
  const char *trained = NULL;
  struct mq_trial_result trial;
  const char *label = NULL, *bar = NULL;
  char left[48];
  double start = mq_now();
  mq_arena_init(&arena, 0);
  mq_status status = mq_cell_label(&label, item->cell, &arena, err);
  if (status == MQ_OK) {
    bar = mq_arena_printf(&arena, "cell %lld/%zu%s", (long long)item->number, grid->plan->n_cells,
                          time_left(left, grid));
    if (item->cell->trains_float) {
      trained = mq_arena_printf(&arena, "%s/trained-%s.onnx", grid->options->directory, item->identity);
    }
    struct mq_trial_options options = {.trained = trained,
                                       .pool = grid->options->pool,
                                       .ranks = grid->options->ranks,
                                       .label = bar,
                                       .cache = grid->cache,
                                       .checkpoints = grid->checkpoints};
    status = run_trial(&trial, item, &options, &arena, err);
  }
  if (status == MQ_OK) {
    status = keep_run(grid, &trial, trained, err);
  }
  if (status == MQ_OK) {
    count(grid, item, &trial, mq_now() - start);
    tell(grid, item, label, &trial);
  }
  mq_arena_deinit(&arena);
  return status;
}

static void renew(void *context) {
  const struct renewal *renewal = context;
  bool is_taken = false;
  if (mq_store_lease(&is_taken, renewal->store, renewal->identity, NULL) != MQ_OK) {
    return; /* the next one comes long before the lease ends */
  }
}

static mq_status run_leased(struct grid *grid, struct item *item, struct mq_err *err) {
  double seconds = grid->options->renew_seconds;
  grid->renewal.identity = item->identity;
  mq_progress_set_tick(renew, &grid->renewal, seconds > 0 ? seconds : MQ_STORE_LEASE_SECONDS / 4.0);
  mq_status status = run_cell(grid, item, err);
  mq_progress_set_tick(NULL, NULL, 0);
  return status;
}

/* Runs a cell unless another process has it or has just finished it. */
static mq_status take_cell(struct grid *grid, struct item *item, struct mq_err *err) {
  if (!item->identity[0]) {
    return run_cell(grid, item, err);
  }
  bool is_taken = false;
  mq_status status = mq_store_lease(&is_taken, grid->store, item->identity, err);
  if (status != MQ_OK || !is_taken) {
    return status;
  }
  status = look_up(grid, item, err);
  if (status == MQ_OK && item->state == CELL_PENDING) {
    status = run_leased(grid, item, err);
  }
  struct mq_err later = {.status = MQ_OK};
  mq_status released = mq_store_release(grid->store, item->identity, &later);
  return status == MQ_OK && released != MQ_OK ? mq_fail(err, released, "%s", later.message) : status;
}

static mq_status cancelled(const struct grid *grid, struct mq_err *err) {
  return mq_fail(err, MQ_CANCELLED,
                 "interrupted: %lld cells finished by this run are kept; the same command goes on",
                 (long long)grid->result->done);
}

/* Passes over the cells until none is left; what other processes hold is looked at again in a moment. */
static mq_status run_pending(struct grid *grid, struct mq_err *err) {
  while (grid->n_pending > 0) {
    int64_t before = grid->n_pending;
    for (int64_t i = 0; i < grid->n_items; i++) {
      struct item *item = &grid->items[i];
      if (mq_cancelled()) {
        return MQ_CANCELLED;
      }
      mq_status status = item->state == CELL_PENDING ? take_cell(grid, item, err) : MQ_OK;
      if (status != MQ_OK) {
        return status;
      }
    }
    if (grid->n_pending == before) {
      nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    }
  }
  return MQ_OK;
}

static mq_status open_store(struct grid *grid, struct mq_err *err) {
  char *path = mq_bench_store_path(grid->options);
  mq_status status = path ? mq_store_open(&grid->store, path, false, err) : mq_fail_memory(err, "store");
  if (status == MQ_OK) {
    status = mq_store_open(&grid->renewal.store, path, false, err);
  }
  mq_free(path);
  return status;
}

static mq_status create_cache(struct grid *grid, struct mq_err *err) {
  char *directory = mq_path_join(grid->options->directory, "hashes");
  mq_status status = directory ? mq_trial_cache_create(&grid->cache, directory, err)
                               : mq_fail_memory(err, grid->options->directory);
  mq_free(directory);
  grid->checkpoints = mq_path_join(grid->options->directory, "checkpoints");
  return status == MQ_OK && !grid->checkpoints ? mq_fail_memory(err, grid->options->directory) : status;
}

static mq_status run_grid(struct grid *grid, struct mq_err *err) {
  mq_status status = check_isa(grid->plan, err);
  if (status == MQ_OK) {
    status = create_cache(grid, err);
  }
  if (status == MQ_OK) {
    status = check_inputs(grid, err);
  }
  if (status == MQ_OK) {
    status = open_store(grid, err);
  }
  for (int64_t i = 0; i < grid->n_items && status == MQ_OK; i++) {
    status = mq_cancelled() ? MQ_CANCELLED : identify(grid, &grid->items[i], err);
  }
  if (status == MQ_OK && grid->result->skipped > 0) {
    mq_log_info("%lld of %lld cells are in the store", (long long)grid->result->skipped,
                (long long)grid->n_items);
  }
  return status == MQ_OK ? run_pending(grid, err) : status;
}

mq_status mq_bench_run(struct mq_bench_result *result, const struct mq_plan *plan,
                       const struct mq_bench_options *options, struct mq_err *err) {
  struct grid grid = {.plan = plan, .options = options, .result = result, .start = mq_now()};
  *result = (struct mq_bench_result){.cells = 0};
  if (mq_collective_rank(options->ranks) > 0) {
    return bench_follow(plan, options, err);
  }
  mq_status status = select_cells(&grid, err);
  if (status == MQ_OK) {
    status = run_grid(&grid, err);
  }
  if (status == MQ_OK) {
    status = bench_announce(options->ranks, NO_CELL, err);
  }
  if (status == MQ_CANCELLED) { /* wherever it was noticed */
    status = cancelled(&grid, err);
  }
  result->seconds = mq_now() - grid.start;
  mq_store_close(grid.renewal.store);
  mq_store_close(grid.store);
  mq_trial_cache_destroy(grid.cache);
  mq_free(grid.checkpoints);
  mq_free(grid.items);
  return status;
}

mq_status mq_bench_list(struct mq_bench_line **lines, size_t *n, const struct mq_plan *plan,
                        const struct mq_bench_options *options, struct mq_arena *arena, struct mq_err *err) {
  struct mq_bench_result result = {.cells = 0};
  struct grid grid = {.plan = plan, .options = options, .result = &result};
  *n = 0;
  *lines = mq_arena_alloc(arena, plan->n_cells, sizeof **lines);
  mq_status status = *lines ? select_cells(&grid, err) : mq_fail_memory(err, "cells of a plan");
  for (int64_t i = 0; i < grid.n_items && status == MQ_OK; i++) {
    struct mq_bench_line *line = &(*lines)[(*n)++];
    line->number = grid.items[i].number;
    status = mq_cell_label(&line->label, grid.items[i].cell, arena, err);
  }
  mq_free(grid.items);
  return status;
}
