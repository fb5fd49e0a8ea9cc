/* Our own executors, each measured in a child process. */
#include "verify/latency.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mqbench/runtime.h"

#define LEAST_RUNS 10
#define MOST_RUNS 100000
#define LEAST_WARM_RUNS 3

/* ---- Figures ---------------------------------------------------------------------------------------- */

static int compare_times(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

void latency_summarise(struct latency_row *row, double *milliseconds, size_t n) {
  double sum = 0;
  qsort(milliseconds, n, sizeof *milliseconds, compare_times);
  for (size_t i = 0; i < n; i++) {
    sum += milliseconds[i];
  }
  row->n_runs = (int64_t)n;
  row->median_ms = (milliseconds[(n - 1) / 2] + milliseconds[n / 2]) / 2;
  row->p90_ms = milliseconds[(9 * n + 9) / 10 - 1]; /* the least that 90% do not exceed */
  row->images_per_second = sum > 0 ? 1e3 * (double)(row->batch * row->n_runs) / sum : (double)NAN;
}

/* ---- Cores ------------------------------------------------------------------------------------------ */

static cpu_set_t cores; /* written once, before any thread or process is started */

mq_status latency_keep_to_cores(int64_t threads, struct mq_err *err) {
  cpu_set_t allowed;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
    return mq_fail(err, MQ_FAILED, "cannot read which cores may be used: %s", strerror(errno));
  }
  for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&cores) < threads; cpu++) {
    if (CPU_ISSET(cpu, &allowed)) CPU_SET(cpu, &cores);
  }
  if (sched_setaffinity(0, sizeof cores, &cores) != 0) {
    return mq_fail(err, MQ_FAILED, "cannot choose cores: %s", strerror(errno));
  }
  return MQ_OK;
}

/* A worker on a core of its own, as far as there are cores. */
static void start_worker(unsigned worker) {
  cpu_set_t own;
  unsigned left = worker % (unsigned)CPU_COUNT(&cores);
  size_t cpu = 0;
  while (!CPU_ISSET(cpu, &cores) || left-- > 0)
    cpu++;
  CPU_ZERO(&own);
  CPU_SET(cpu, &own);
  sched_setaffinity(0, sizeof own, &own); /* if not, it may move: slower, not wrong */
  mq_kernel_start_worker(worker);
}

/* ---- Runs ------------------------------------------------------------------------------------------- */

struct timing {
  const struct latency_model *model;
  const struct latency_options *options;
  struct latency_row *row;
  struct mq_pool *pool;
  struct mq_arena arena;
  double *times;
  size_t n_times;
  /* float */
  struct mq_engine *engine;
  struct mq_engine_job job;
  float **pixels; /* of each input, for a slice */
  int64_t slice_images;
  /* integer */
  struct mq_runtime *runtime;
  struct mq_program_run run;
};

typedef mq_status (*run_fn)(struct timing *t, struct mq_err *err);

/* Runs until the time is over; `times` NULL: these do not count. */
static mq_status repeat(struct timing *t, run_fn run, double seconds, size_t least, double *times,
                        struct mq_err *err) {
  const double end = mq_now() + seconds;
  size_t n = 0;
  while (n < MOST_RUNS && (n < least || mq_now() < end)) {
    const double start = mq_now();
    mq_status status = mq_cancelled() ? mq_fail(err, MQ_CANCELLED, "cancelled") : run(t, err);
    if (status != MQ_OK) {
      return status;
    }
    if (times) {
      times[n] = 1e3 * (mq_now() - start);
    }
    n++;
  }
  t->n_times = n;
  return MQ_OK;
}

static mq_status measure_runs(struct timing *t, run_fn run, struct mq_err *err) {
  t->times = mq_arena_alloc(&t->arena, MOST_RUNS, sizeof *t->times);
  if (!t->times) {
    return mq_fail_memory(err, "times");
  }
  mq_status status = repeat(t, run, t->options->seconds / 4, LEAST_WARM_RUNS, NULL, err);
  if (status == MQ_OK) {
    status = repeat(t, run, t->options->seconds, LEAST_RUNS, t->times, err);
  }
  if (status == MQ_OK) {
    latency_summarise(t->row, t->times, t->n_times);
  }
  return status;
}

/* Uniform in [-2, 2): what a normalised image holds, about. */
static float *draw(struct timing *t, int64_t n, uint64_t which) {
  struct mq_rng rng;
  float *values = mq_arena_alloc(&t->arena, (size_t)n + 16, sizeof *values);
  mq_rng_init(&rng, t->options->seed, MQ_RNG_TEST, which, 0);
  for (int64_t i = 0; values && i < n; i++) {
    values[i] = 4 * mq_rng_float(&rng) - 2;
  }
  return values;
}

/* ---- Floats ----------------------------------------------------------------------------------------- */

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  const struct timing *t = context;
  (void)slice, (void)worker, (void)err;
  for (size_t i = 0; i < t->model->graph->n_inputs; i++) {
    memcpy(inputs[i].data, t->pixels[i], (size_t)mq_shape_count(&inputs[i].shape) * sizeof(float));
  }
  return MQ_OK;
}

static mq_status run_floats(struct timing *t, struct mq_err *err) {
  return mq_engine_run(t->engine, &t->job, err);
}

/* Images over the workers where there are enough; all threads within the image where there is one. */
static mq_status measure_floats(struct timing *t, struct mq_err *err) {
  const struct mq_graph *graph = t->model->graph;
  const int64_t batch = t->row->batch, threads = t->options->threads;
  const bool is_within = batch < threads;
  t->slice_images = is_within ? batch : (batch + threads - 1) / threads;
  if (is_within) {
    mq_kernel_use_threads_within((unsigned)threads);
  }
  t->pixels = mq_arena_alloc(&t->arena, graph->n_inputs, sizeof *t->pixels);
  mq_status status = t->pixels ? MQ_OK : mq_fail_memory(err, "images");
  for (size_t i = 0; i < graph->n_inputs && status == MQ_OK; i++) {
    const struct mq_shape shape = mq_shape_at_batch(&graph->inputs[i]->shape, t->slice_images);
    t->pixels[i] = draw(t, mq_shape_count(&shape), i);
    status = t->pixels[i] ? MQ_OK : mq_fail_memory(err, "images");
  }
  if (status == MQ_OK) {
    status =
        mq_pool_create(&t->pool, is_within ? 1 : (unsigned)threads, is_within ? NULL : start_worker, err);
  }
  const struct mq_engine_options options = {.slice_images = t->slice_images};
  if (status == MQ_OK) {
    status = mq_engine_create(&t->engine, graph, &options, t->pool, err);
  }
  t->job = (struct mq_engine_job){
      .context = t, .n_slices = (size_t)((batch + t->slice_images - 1) / t->slice_images), .fill = fill};
  return status == MQ_OK ? measure_runs(t, run_floats, err) : status;
}

/* ---- Integers --------------------------------------------------------------------------------------- */

static mq_status run_integers(struct timing *t, struct mq_err *err) {
  return mq_runtime_run(t->runtime, &t->run, err);
}

static mq_status allocate_images(struct timing *t, const struct mq_program *program, struct mq_err *err) {
  const size_t batch = (size_t)t->row->batch;
  const void **inputs = mq_arena_alloc(&t->arena, program->n_inputs, sizeof *inputs);
  void **outputs = mq_arena_alloc(&t->arena, program->n_outputs, sizeof *outputs);
  for (uint32_t i = 0; inputs && i < program->n_inputs; i++) {
    const struct mq_program_tensor *x = &program->tensors[program->inputs[i]];
    if (x->type != MQ_PROGRAM_F32) {
      return mq_fail(err, MQ_BAD_INPUT, "input %u of the program holds codes, expected floats", i);
    }
    inputs[i] = draw(t, (int64_t)batch * mq_program_elements(x), i);
    if (!inputs[i]) {
      return mq_fail_memory(err, "images");
    }
  }
  for (uint32_t i = 0; outputs && i < program->n_outputs; i++) {
    const struct mq_program_tensor *y = &program->tensors[program->outputs[i]];
    outputs[i] = mq_arena_alloc(&t->arena, batch, mq_program_tensor_bytes(y) + 1);
    if (!outputs[i]) {
      return mq_fail_memory(err, "outputs");
    }
  }
  t->run = (struct mq_program_run){.inputs = inputs, .outputs = outputs, .n_images = t->row->batch};
  return inputs && outputs ? MQ_OK : mq_fail_memory(err, "images");
}

static mq_status measure_integers(struct timing *t, struct mq_err *err) {
  const struct mq_program *program = t->model->bundle->program;
  mq_status status = mq_pool_create(&t->pool, (unsigned)t->options->threads, start_worker, err);
  if (status == MQ_OK) {
    status = allocate_images(t, program, err);
  }
  const struct mq_runtime_options options = {.pool = t->pool, .cut = MQ_RUNTIME_AUTO};
  if (status == MQ_OK) {
    status = mq_runtime_create(&t->runtime, program, &options, err);
  }
  return status == MQ_OK ? measure_runs(t, run_integers, err) : status;
}

/* ---- The child -------------------------------------------------------------------------------------- */

struct reply {
  struct latency_row row;
  mq_status status;
  struct mq_err err;
};

static mq_status measure(struct latency_row *row, const struct latency_model *model,
                         const struct latency_options *options, struct mq_err *err) {
  struct timing t = {.model = model, .options = options, .row = row};
  mq_arena_init(&t.arena, 0);
  mq_status status = mq_kernel_start(options->isa, err);
  if (status == MQ_OK) {
    status = row->is_integer ? measure_integers(&t, err) : measure_floats(&t, err);
  }
  mq_runtime_destroy(t.runtime);
  mq_engine_destroy(t.engine);
  mq_pool_destroy(t.pool);
  mq_arena_deinit(&t.arena);
  return status;
}

static void write_reply(int to, const struct reply *reply) {
  const char *at = (const char *)reply;
  for (size_t left = sizeof *reply; left > 0;) {
    const ssize_t n = write(to, at, left);
    if (n < 0 && errno != EINTR) {
      break;
    }
    at += n > 0 ? n : 0;
    left -= n > 0 ? (size_t)n : 0;
  }
}

static bool read_reply(struct reply *reply, int from) {
  char *at = (char *)reply;
  size_t left = sizeof *reply;
  while (left > 0) {
    const ssize_t n = read(from, at, left);
    if (n == 0 || (n < 0 && errno != EINTR)) {
      return false;
    }
    at += n > 0 ? n : 0;
    left -= n > 0 ? (size_t)n : 0;
  }
  return true;
}

/* A process of its own, so that no measurement finds the threads and the memory of the one before. Its end
 * returns the copy of the model that it has from us: memory checkers list that, bundle and graph, as
 * reachable or possibly lost in the child. What `measure` allocates it frees; of its own nothing is left but
 * what oneDNN and OpenMP keep for as long as a process lives. _exit: whatever atexit would do (buffers of
 * stdout) is ours to do, once. */
static mq_status measure_in_child(struct latency_row *row, const struct latency_model *model,
                                  const struct latency_options *options, struct mq_err *err) {
  struct reply reply = {.row = *row};
  int ends[2], how = 0;
  if (pipe(ends) != 0) {
    return mq_fail(err, MQ_FAILED, "cannot make a pipe: %s", strerror(errno));
  }
  const pid_t child = fork();
  if (child == 0) {
    reply.status = measure(&reply.row, model, options, &reply.err);
    write_reply(ends[1], &reply);
    _exit(0);
  }
  close(ends[1]);
  const bool is_whole = child > 0 && read_reply(&reply, ends[0]);
  close(ends[0]);
  if (child < 0) {
    return mq_fail(err, MQ_FAILED, "cannot start a process: %s", strerror(errno));
  }
  while (waitpid(child, &how, 0) < 0 && errno == EINTR)
    continue;
  if (!is_whole) {
    return mq_cancelled() ? mq_fail(err, MQ_CANCELLED, "cancelled")
                          : mq_fail(err, MQ_FAILED, "the measuring process ended with %s %d",
                                    WIFSIGNALED(how) ? "signal" : "status",
                                    WIFSIGNALED(how) ? WTERMSIG(how) : WEXITSTATUS(how));
  }
  *row = reply.row;
  return reply.status == MQ_OK ? MQ_OK : mq_fail(err, reply.status, "%s", reply.err.message);
}

mq_status latency_measure_own(struct latency_row *row, const struct latency_model *model,
                              const struct latency_options *options, struct mq_err *err) {
  const char *why = NULL;
  snprintf(row->version, sizeof row->version, "%s", MQ_VERSION);
  if (!row->is_integer && !model->graph) {
    why = "the model is known in integers only";
  } else if (row->is_integer && !model->bundle) {
    why = "the model is in floats: quantize it, and name the bundle";
  } else if (row->is_integer && !model->bundle->program) {
    why = model->bundle->no_program[0] ? model->bundle->no_program : "the bundle has no integer program";
  }
  if (why) {
    snprintf(row->skipped, sizeof row->skipped, "%s", why);
    return MQ_OK;
  }
  return measure_in_child(row, model, options, err);
}
