/* What every other folder uses: arena, worker pool, counter-based random numbers, cancellation, logging.
 * Files, hashing, YAML and JSON are internal (src/base). */
#ifndef MQBENCH_BASE_H
#define MQBENCH_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mqbench/status.h"

/* ---- Arena ------------------------------------------------------------------------------------------
 * Memory that lives and dies together: one per graph or run. Blocks are zeroed. Not thread safe. */
struct mq_arena {
  struct mq_arena_block *blocks;
  size_t used_bytes;  /* sum of what was handed out */
  size_t limit_bytes; /* 0 = none; an allocation past it fails like exhausted memory */
};

void mq_arena_init(struct mq_arena *arena, size_t limit_bytes);
void mq_arena_deinit(struct mq_arena *arena);
/* 64-byte aligned, zeroed; NULL when memory or the limit is exhausted, or count * bytes overflows. */
void *mq_arena_alloc(struct mq_arena *arena, size_t count, size_t bytes);
char *mq_arena_strdup(struct mq_arena *arena, const char *text);
char *mq_arena_printf(struct mq_arena *arena, const char *format, ...) MQ_PRINTF(2, 3);

/* Process-wide cap (--max-memory) on what mq_alloc, arenas and tensors hold. 0 = none. Default: none;
 * the command line sets 75% of RAM. */
void mq_memory_set_limit(size_t bytes);
size_t mq_memory_used(void);
/* Counted, 64-byte aligned, zeroed heap memory; NULL on exhaustion, overflow or beyond the cap. Thread safe.
 */
void *mq_alloc(size_t count, size_t bytes);
/* Grows or shrinks; contents up to min(old, new) kept, new bytes zeroed; NULL leaves the old block alone. */
void *mq_realloc(void *block, size_t count, size_t bytes);
void mq_free(void *block); /* accepts NULL */

/* ---- Worker pool ------------------------------------------------------------------------------------
 * The only source of threads. Tasks are taken in index order by whichever worker is free; what a task
 * computes must depend on its index only, so results do not depend on the number of workers. */
struct mq_pool;

/* Runs in every worker thread before its first task; kernel/ uses it to pin oneDNN to one thread. */
typedef void (*mq_pool_start_fn)(unsigned worker);
typedef mq_status (*mq_pool_task_fn)(void *context, size_t task, unsigned worker, struct mq_err *err);

/* How many cores the process may keep busy: its CPU affinity, and the quota of its control group (version 2).
 */
unsigned mq_cores(void);

/* n_workers >= 1 (0: mq_cores()). The calling thread of mq_pool_run is worker 0. */
mq_status mq_pool_create(struct mq_pool **pool, unsigned n_workers, mq_pool_start_fn on_start,
                         struct mq_err *err) MQ_MUST_CHECK;
void mq_pool_destroy(struct mq_pool *pool);
unsigned mq_pool_workers(const struct mq_pool *pool);
/* Runs tasks 0..n_tasks-1 and waits. After the first failure no new task starts; the failure with the
 * lowest task index among those that ran is returned. Stops with MQ_CANCELLED when mq_cancelled().
 * Not reentrant: a task must not call mq_pool_run on its own pool. */
mq_status mq_pool_run(struct mq_pool *pool, size_t n_tasks, mq_pool_task_fn task, void *context,
                      struct mq_err *err) MQ_MUST_CHECK;

/* Set by the signal handler; long loops look at it and end with MQ_CANCELLED. */
void mq_cancel(void);
bool mq_cancelled(void);

/* ---- Random numbers ---------------------------------------------------------------------------------
 * Philox4x32-10 (Salmon et al., SC 2011): the stream is a function of (seed, purpose, a, b), so a number
 * never depends on who drew before. */
typedef enum mq_rng_purpose {
  MQ_RNG_CALIBRATION_SAMPLE = 1,
  MQ_RNG_SHUFFLE,
  MQ_RNG_AUGMENT,
  MQ_RNG_DROPOUT,
  MQ_RNG_QDROP,
  MQ_RNG_INIT,
  MQ_RNG_FRACTAL,
  MQ_RNG_TEST,
} mq_rng_purpose;

struct mq_rng {
  uint32_t key[2], counter[4], block[4];
  unsigned n_left;
};

/* a, b: epoch, sample, step, layer ... whatever identifies the draw within its purpose. */
void mq_rng_init(struct mq_rng *rng, uint64_t seed, mq_rng_purpose purpose, uint64_t a, uint64_t b);
uint32_t mq_rng_u32(struct mq_rng *rng);
uint32_t mq_rng_below(struct mq_rng *rng, uint32_t n); /* uniform in 0..n-1, unbiased; n >= 1 */
float mq_rng_float(struct mq_rng *rng);                /* uniform in [0, 1), 24 bits */
double mq_rng_double(struct mq_rng *rng);              /* uniform in [0, 1), 53 bits */

/* ---- Log and progress (people read stderr; data goes to stdout) --------------------------------------- */
typedef enum mq_log_level {
  MQ_LOG_QUIET,
  MQ_LOG_WARNING,
  MQ_LOG_INFO,
  MQ_LOG_DEBUG
} mq_log_level;

void mq_log_set_level(mq_log_level level);
/* One line on stderr, prefixed "mqbench: " ("mqbench: warning: "). Thread safe; clears a progress bar first.
 */
void mq_log_warn(const char *format, ...) MQ_PRINTF(1, 2);
void mq_log_info(const char *format, ...) MQ_PRINTF(1, 2);

/* A bar on stderr when it is a terminal, otherwise a plain line now and then; nothing when quiet or when
 * the work ends within a second. Shows done / total, rate and time left. Caller storage; add is thread safe.
 */
struct mq_progress {
  const char *label;
  uint64_t total;
  _Atomic uint64_t done;
  _Atomic int64_t next_print_ns;
  int64_t start_ns;
  bool is_shown;
};
void mq_progress_init(struct mq_progress *progress, const char *label, uint64_t total);
void mq_progress_add(struct mq_progress *progress, uint64_t n);
void mq_progress_end(struct mq_progress *progress);

/* What must be done now and then as long as work goes on, such as renewing a lease: mq_progress_add, of
 * whatever bar and in whatever thread, calls `tick` when `seconds` have passed since the last call. One call
 * at a time; none is running after this function, with which NULL ends it. */
typedef void (*mq_tick_fn)(void *context);
void mq_progress_set_tick(mq_tick_fn tick, void *context, double seconds);

/* Seconds of a monotonic clock. */
double mq_now(void);

#endif
