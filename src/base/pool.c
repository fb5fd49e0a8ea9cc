/* The worker pool: a fixed set of threads that take task indices in order. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "mqbench/base.h"

/* Who looked on in vain leaves it out for the next times: once, 3, 7, ... times. */
struct patience {
  unsigned left_out, to_leave_out;
};

struct mq_pool {
  unsigned n_workers, n_threads; /* threads beside the caller */
  pthread_t *threads;
  mq_pool_start_fn on_start;
  pthread_mutex_t mutex;
  pthread_cond_t work, idle;
  bool has_cores;           /* one for each worker: who waits may look on for a while before it sleeps */
  struct patience patience; /* of the caller of mq_pool_run */
  /* The current job; written under the mutex before `job` counts up. */
  _Atomic uint64_t job;
  atomic_uint n_busy;
  atomic_bool is_stopping;
  mq_pool_task_fn task;
  void *context;
  size_t n_tasks;
  atomic_size_t next;
  atomic_bool has_failed;
  size_t failed_task;
  struct mq_err failure;
};

struct thread_start {
  struct mq_pool *pool;
  unsigned worker;
};

static atomic_bool is_cancelled;

void mq_cancel(void) {
  atomic_store(&is_cancelled, true);
}
bool mq_cancelled(void) {
  return atomic_load_explicit(&is_cancelled, memory_order_relaxed);
}

static void keep_failure(struct mq_pool *pool, size_t task, const struct mq_err *failure) {
  pthread_mutex_lock(&pool->mutex);
  if (!atomic_load(&pool->has_failed) || task < pool->failed_task) {
    pool->failed_task = task;
    pool->failure = *failure;
  }
  atomic_store(&pool->has_failed, true);
  pthread_mutex_unlock(&pool->mutex);
}

static void take_tasks(struct mq_pool *pool, unsigned worker) {
  while (!atomic_load(&pool->has_failed)) {
    size_t task = atomic_fetch_add(&pool->next, 1);
    if (task >= pool->n_tasks) {
      return;
    }
    struct mq_err failure = {0};
    mq_status status = mq_cancelled() ? mq_fail(&failure, MQ_CANCELLED, "cancelled")
                                      : pool->task(pool->context, task, worker, &failure);
    if (status != MQ_OK) {
      failure.status = status;
      keep_failure(pool, task, &failure);
    }
  }
}

/* ---- Waiting ------------------------------------------------------------------------------------------
 * A step of training has hundreds of jobs that last about a millisecond: to fall asleep and be woken takes a
 * twentieth of that. So who waits looks on for a moment first, unless that is in vain, as where others want
 * the cores too: then it only takes from those that it waits for. */
#define LOOK_SECONDS 1e-4
#define LOOKS 32 /* between two looks at the clock */
#define MOST_LEFT_OUT 63

static inline void pause_processor(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/* Until another job is there than the one seen (job NULL: until nobody is busy), or for a while. */
static void look_on(struct patience *patience, _Atomic uint64_t *job, uint64_t seen, atomic_uint *n_busy) {
  if (patience->to_leave_out > 0) {
    patience->to_leave_out--;
    return;
  }
  double end = mq_now() + LOOK_SECONDS;
  do {
    for (int i = 0; i < LOOKS; i++) {
      if (job ? atomic_load(job) != seen : atomic_load(n_busy) == 0) {
        patience->left_out = 0;
        return;
      }
      pause_processor();
    }
  } while (mq_now() < end);
  patience->left_out = 2 * patience->left_out + 1;
  patience->left_out = patience->left_out < MOST_LEFT_OUT ? patience->left_out : MOST_LEFT_OUT;
  patience->to_leave_out = patience->left_out;
}

static void wait_for_job(struct mq_pool *pool, uint64_t seen, struct patience *patience) {
  if (pool->has_cores) {
    look_on(patience, &pool->job, seen, NULL);
  }
  if (atomic_load(&pool->job) != seen) {
    return;
  }
  pthread_mutex_lock(&pool->mutex);
  while (!atomic_load(&pool->is_stopping) && atomic_load(&pool->job) == seen) {
    pthread_cond_wait(&pool->work, &pool->mutex);
  }
  pthread_mutex_unlock(&pool->mutex);
}

static void wait_for_others(struct mq_pool *pool) {
  if (pool->has_cores) {
    look_on(&pool->patience, NULL, 0, &pool->n_busy);
  }
  if (atomic_load(&pool->n_busy) == 0) {
    return;
  }
  pthread_mutex_lock(&pool->mutex);
  while (atomic_load(&pool->n_busy) > 0) {
    pthread_cond_wait(&pool->idle, &pool->mutex);
  }
  pthread_mutex_unlock(&pool->mutex);
}

/* ---- Threads ------------------------------------------------------------------------------------------ */
static void check_out(struct mq_pool *pool) {
  if (atomic_fetch_sub(&pool->n_busy, 1) == 1) {
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->idle);
    pthread_mutex_unlock(&pool->mutex);
  }
}

static void *run_thread(void *argument) {
  struct thread_start start = *(struct thread_start *)argument;
  mq_free(argument);
  struct mq_pool *pool = start.pool;
  if (pool->on_start) {
    pool->on_start(start.worker);
  }
  struct patience patience = {0};
  for (uint64_t seen = 0;; seen++) {
    wait_for_job(pool, seen, &patience);
    if (atomic_load(&pool->is_stopping)) {
      return NULL;
    }
    take_tasks(pool, start.worker);
    check_out(pool);
  }
}

/* "200000 100000": processor time within a period, in microseconds; "max 100000": no limit. */
static unsigned quota_cores(unsigned n) {
  long long quota, period;
  FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
  if (!file) {
    return n;
  }
  if (fscanf(file, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0 && quota / period < n) {
    n = (unsigned)((quota + period - 1) / period);
  }
  fclose(file);
  return n;
}

unsigned mq_cores(void) {
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return quota_cores(n < 1 ? 1 : (unsigned)n);
}

static bool start_thread(struct mq_pool *pool, unsigned worker) {
  struct thread_start *start = mq_alloc(1, sizeof *start);
  if (!start) {
    return false;
  }
  *start = (struct thread_start){.pool = pool, .worker = worker};
  if (pthread_create(&pool->threads[pool->n_threads], NULL, run_thread, start) != 0) {
    mq_free(start);
    return false;
  }
  pool->n_threads++;
  return true;
}

mq_status mq_pool_create(struct mq_pool **out, unsigned n_workers, mq_pool_start_fn on_start,
                         struct mq_err *err) {
  *out = NULL;
  if (n_workers == 0) {
    n_workers = mq_cores();
  }
  struct mq_pool *pool = mq_alloc(1, sizeof *pool);
  pthread_t *threads = mq_alloc(n_workers, sizeof *threads);
  if (!pool || !threads) {
    mq_free(pool);
    mq_free(threads);
    return mq_fail_memory(err, "worker pool");
  }
  pool->n_workers = n_workers;
  pool->threads = threads;
  pool->on_start = on_start;
  pool->has_cores = n_workers <= mq_cores();
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->work, NULL);
  pthread_cond_init(&pool->idle, NULL);
  /* Signals belong to the main thread. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool is_complete = true;
  for (unsigned worker = 1; worker < n_workers && is_complete; worker++) {
    is_complete = start_thread(pool, worker);
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!is_complete) {
    mq_pool_destroy(pool);
    return mq_fail(err, MQ_FAILED, "cannot start %u threads: set --threads to fewer", n_workers);
  }
  if (on_start) {
    on_start(0);
  }
  *out = pool;
  return MQ_OK;
}

void mq_pool_destroy(struct mq_pool *pool) {
  if (!pool) {
    return;
  }
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->is_stopping, true);
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->mutex);
  for (unsigned i = 0; i < pool->n_threads; i++) {
    pthread_join(pool->threads[i], NULL);
  }
  pthread_cond_destroy(&pool->idle);
  pthread_cond_destroy(&pool->work);
  pthread_mutex_destroy(&pool->mutex);
  mq_free(pool->threads);
  mq_free(pool);
}

unsigned mq_pool_workers(const struct mq_pool *pool) {
  return pool->n_workers;
}

mq_status mq_pool_run(struct mq_pool *pool, size_t n_tasks, mq_pool_task_fn task, void *context,
                      struct mq_err *err) {
  bool is_alone = n_tasks <= 1; /* nobody else need come for one task */
  pthread_mutex_lock(&pool->mutex);
  pool->task = task;
  pool->context = context;
  pool->n_tasks = n_tasks;
  atomic_store(&pool->next, 0);
  atomic_store(&pool->has_failed, false);
  if (!is_alone) {
    atomic_store(&pool->n_busy, pool->n_threads);
    atomic_fetch_add(&pool->job, 1);
    pthread_cond_broadcast(&pool->work);
  }
  pthread_mutex_unlock(&pool->mutex);

  take_tasks(pool, 0);
  wait_for_others(pool);
  if (!atomic_load(&pool->has_failed)) {
    return MQ_OK;
  }
  if (err) {
    *err = pool->failure;
  }
  return pool->failure.status;
}
