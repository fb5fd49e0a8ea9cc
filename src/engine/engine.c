/* Creation and the run: a pool task per slice, fill -> steps -> take. */
#include "mqbench/engine.h"

#include <string.h>
#include <time.h>

#include "engine/compile.h"

/* Processor time of this thread: decoding threads and other programs that take turns on the core do not
 * count. */
static int64_t clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- Creation ------------------------------------------------------------------------------------------ */
static mq_status create_frame(struct engine_frame *frame, const struct mq_engine *engine,
                              struct mq_err *err) {
  frame->block = mq_alloc(engine->block_bytes, 1);
  frame->places = mq_alloc(engine->n_places + 1, sizeof *frame->places);
  frame->inputs = mq_alloc(engine->n_inputs + 1, sizeof *frame->inputs);
  frame->outputs = mq_alloc(engine->n_outputs + 1, sizeof *frame->outputs);
  if (!frame->block || !frame->places || !frame->inputs || !frame->outputs) {
    return mq_fail_memory(err, "a worker's activations");
  }
  frame->scratch = (char *)frame->block + engine->scratch_offset;
  for (size_t i = 0; i < engine->n_places; i++) {
    const struct engine_place *place = &engine->places[i];
    frame->places[i] = place->tensor;
    if (place->buffer >= 0) {
      size_t offset = engine->buffers[place->buffer].offset;
      frame->places[i].data = (char *)frame->block + offset + place->offset_bytes;
    }
  }
  for (size_t i = 0; i < engine->n_inputs; i++) {
    frame->inputs[i] = frame->places[engine->inputs[i]];
  }
  for (size_t i = 0; i < engine->n_outputs; i++) {
    frame->outputs[i] = frame->places[engine->outputs[i]];
  }
  return MQ_OK;
}

static mq_status create_frames(struct mq_engine *engine, struct mq_err *err) {
  unsigned n = mq_pool_workers(engine->pool);
  if (engine->n_exchanges > 0) {
    n = (unsigned)engine->group_slices;
  }
  engine->frames = mq_alloc(n, sizeof *engine->frames);
  if (!engine->frames) {
    return mq_fail_memory(err, "engine frames");
  }
  engine->n_frames = n;
  mq_status status = MQ_OK;
  for (unsigned i = 0; i < n && status == MQ_OK; i++) {
    status = create_frame(&engine->frames[i], engine, err);
  }
  return status;
}

mq_status mq_engine_create(struct mq_engine **engine_out, const struct mq_graph *graph,
                           const struct mq_engine_options *options, struct mq_pool *pool,
                           struct mq_err *err) {
  *engine_out = NULL;
  struct mq_engine *engine = mq_alloc(1, sizeof *engine);
  if (!engine) {
    return mq_fail_memory(err, "engine");
  }
  engine->pool = pool;
  engine->group_slices = options->group_slices ? options->group_slices : 1;
  mq_arena_init(&engine->arena, 0);
  mq_status status = engine_compile(engine, graph, options, err);
  if (status != MQ_OK) {
    goto done;
  }
  if (options->memory == MQ_MEMORY_KEEP_ALL) {
    for (size_t i = 0; i < engine->n_buffers; i++) {
      engine->buffers[i].first_step = -1;
      engine->buffers[i].last_step = (int)engine->n_steps;
    }
  }
  status = engine_plan_memory(engine, err);
  if (status == MQ_OK) {
    status = create_frames(engine, err);
  }
done:
  if (status != MQ_OK) {
    mq_engine_destroy(engine);
    return status;
  }
  *engine_out = engine;
  return MQ_OK;
}

void mq_engine_destroy(struct mq_engine *engine) {
  if (!engine) {
    return;
  }
  for (unsigned i = 0; i < engine->n_frames; i++) {
    mq_free(engine->frames[i].block);
    mq_free(engine->frames[i].places);
    mq_free(engine->frames[i].inputs);
    mq_free(engine->frames[i].outputs);
  }
  for (size_t i = 0; i < engine->n_steps; i++) {
    if (engine->steps[i].release) {
      engine->steps[i].release((void *)(uintptr_t)engine->steps[i].state);
    }
  }
  mq_free(engine->frames);
  mq_free(engine->steps);
  mq_free(engine->places);
  mq_free(engine->buffers);
  mq_free(engine->taps);
  mq_arena_deinit(&engine->arena);
  mq_free(engine);
}

size_t mq_engine_memory_bytes(const struct mq_engine *engine) {
  return engine->block_bytes;
}

double mq_engine_busy_seconds(const struct mq_engine *engine) {
  int64_t ns = 0;
  for (unsigned i = 0; i < engine->n_frames; i++) {
    ns += engine->frames[i].busy_ns;
  }
  return (double)ns * 1e-9;
}

/* ---- The run ------------------------------------------------------------------------------------------- */
struct engine_run {
  struct mq_engine *engine;
  const struct mq_engine_job *job;
};

mq_status engine_run_steps(struct engine_frame *frame, const struct mq_engine *engine, int first, int end,
                           struct mq_err *err) {
  int64_t start = clock_ns();
  mq_status status = MQ_OK;
  for (int i = first; i < end && status == MQ_OK; i++) {
    status = engine->steps[i].forward(&engine->steps[i], frame, err);
  }
  frame->busy_ns += clock_ns() - start;
  return status;
}

static mq_status run_slice(void *context, size_t slice, unsigned worker, struct mq_err *err) {
  const struct engine_run *run = context;
  const struct mq_engine *engine = run->engine;
  const struct mq_engine_job *job = run->job;
  struct engine_frame *frame = &engine->frames[worker];
  mq_status status = job->fill(job->context, slice, worker, frame->inputs, err);
  int done = 0;
  for (size_t i = 0; job->tap && i < engine->n_taps && status == MQ_OK; i++) {
    const struct engine_tap *tap = &engine->taps[i];
    status = engine_run_steps(frame, engine, done, tap->after_step + 1, err);
    done = tap->after_step + 1;
    if (status == MQ_OK) {
      status = job->tap(job->context, slice, worker, tap->tap, &frame->places[tap->place], err);
    }
  }
  if (status == MQ_OK) {
    status = engine_run_steps(frame, engine, done, (int)engine->n_steps, err);
  }
  if (status == MQ_OK && job->take) {
    status = job->take(job->context, slice, worker, frame->outputs, err);
  }
  return status;
}

mq_status mq_engine_run(struct mq_engine *engine, const struct mq_engine_job *job, struct mq_err *err) {
  struct engine_run run = {.engine = engine, .job = job};
  if (engine->n_exchanges > 0) {
    return engine_run_groups(engine, job, err);
  }
  return mq_pool_run(engine->pool, job->n_slices, run_slice, &run, err);
}
