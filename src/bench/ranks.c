#include "bench/ranks.h"

#include "base/file.h"
#include "mqbench/engine.h"

/* Only the first rank has something to say. */
static mq_status tell_cell(int64_t *cell, struct mq_collective *ranks, struct mq_err *err) {
  size_t n = (size_t)mq_collective_size(ranks);
  size_t *bytes = mq_alloc(n, sizeof *bytes);
  if (!bytes) {
    return mq_fail_memory(err, "ranks");
  }
  bytes[0] = sizeof *cell;
  int64_t own = *cell;
  mq_status status = mq_collective_gather(ranks, cell, &own, bytes, err);
  mq_free(bytes);
  return status;
}

mq_status bench_announce(struct mq_collective *ranks, int64_t cell, struct mq_err *err) {
  return mq_collective_size(ranks) > 1 ? tell_cell(&cell, ranks, err) : MQ_OK;
}

mq_status bench_compare_outcomes(struct mq_collective *ranks, mq_status failure, struct mq_err *err) {
  size_t n = (size_t)mq_collective_size(ranks);
  if (n == 1) {
    return MQ_OK;
  }
  int own = (int)failure, *all = mq_alloc(n, sizeof *all);
  if (!all) {
    return mq_fail_memory(err, "ranks");
  }
  mq_status status = mq_collective_gather_equal(ranks, all, &own, sizeof own, err);
  for (size_t r = 0; r < n && status == MQ_OK; r++) {
    if (all[r] != all[0]) {
      status =
          mq_fail(err, MQ_FAILED, "rank %zu ended a cell with status %d, rank 0 with %d", r, all[r], all[0]);
    }
  }
  mq_free(all);
  return status;
}

static mq_status join_cell(const struct mq_cell *cell, struct mq_trial_cache *cache, const char *checkpoints,
                           const struct mq_bench_options *options, struct mq_err *err) {
  struct mq_arena arena;
  struct mq_trial_result trial;
  const struct mq_trial_options trial_options = {
      .pool = options->pool, .ranks = options->ranks, .cache = cache, .checkpoints = checkpoints};
  mq_arena_init(&arena, 0);
  mq_status status = mq_trial_run(&trial, cell, &trial_options, &arena, err);
  if (status == MQ_OK) {
    status = bench_compare_outcomes(options->ranks, trial.failure, err);
  }
  mq_arena_deinit(&arena);
  return status;
}

mq_status bench_follow(const struct mq_plan *plan, const struct mq_bench_options *options,
                       struct mq_err *err) {
  struct mq_trial_cache *cache = NULL;
  char *checkpoints = mq_path_join(options->directory, "checkpoints");
  mq_status status = checkpoints ? mq_trial_cache_create(&cache, NULL, err) : mq_fail_memory(err, "bench");
  while (status == MQ_OK) {
    int64_t cell = NO_CELL;
    status = tell_cell(&cell, options->ranks, err);
    if (status != MQ_OK || cell == NO_CELL) {
      break;
    }
    if (cell < 0 || (size_t)cell >= plan->n_cells) {
      status = mq_fail(err, MQ_FAILED, "ranks: rank 0 runs another plan");
      break;
    }
    status = join_cell(&plan->cells[cell], cache, checkpoints, options, err);
  }
  mq_trial_cache_destroy(cache);
  mq_free(checkpoints);
  return status;
}
