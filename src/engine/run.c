/* The run: a pool task per slice, fill -> chunks through all steps -> take. */
#include <time.h>

#include "engine/compile.h"

/* Processor time of this thread: decoding threads and other programs that take turns on the core do not
 * count. */
static int64_t clock_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

mq_status engine_run_steps(struct engine_frame *frame, const struct mq_engine *engine, int first, int end,
                           struct mq_err *err) {
  int64_t start = clock_ns();
  mq_status status = MQ_OK;
  for (int i = first; i < end && status == MQ_OK; i++) {
    status = engine->steps[i].function->forward(&engine->steps[i], frame, err);
  }
  frame->busy_ns += clock_ns() - start;
  return status;
}

/* ---- Chunks of a slice -------------------------------------------------------------------------- */
/* The chunk's part of a tensor of the whole slice. */
static struct mq_tensor part_of(const struct mq_tensor *slice, const struct mq_engine *engine, int batch_dim,
                                int64_t first_image) {
  struct mq_tensor part = *slice;
  int64_t bytes = mq_dtype_get(slice->dtype)->bytes;
  part.shape.dim[batch_dim] = engine->chunk_images;
  part.data = (char *)slice->data + first_image * slice->stride[batch_dim] * bytes;
  return part;
}

static void load_chunk(struct engine_frame *frame, const struct mq_engine *engine, int64_t first_image) {
  int64_t start = clock_ns();
  for (size_t i = 0; i < engine->n_inputs; i++) {
    int batch_dim = engine->input_batch_dims[i];
    if (frame->inputs[i].owned) {
      struct mq_tensor part = part_of(&frame->inputs[i], engine, batch_dim, first_image);
      engine_copy(&frame->places[engine->inputs[i]], &part);
    }
  }
  frame->busy_ns += clock_ns() - start;
}

static void store_chunk(struct engine_frame *frame, const struct mq_engine *engine, int64_t first_image) {
  int64_t start = clock_ns();
  for (size_t i = 0; i < engine->n_outputs; i++) {
    int batch_dim = engine->output_batch_dims[i];
    if (frame->outputs[i].owned) {
      struct mq_tensor part = part_of(&frame->outputs[i], engine, batch_dim, first_image);
      engine_copy(&part, &frame->places[engine->outputs[i]]);
    }
  }
  frame->busy_ns += clock_ns() - start;
}

/* ---- Slices ------------------------------------------------------------------------------------- */
struct engine_run {
  struct mq_engine *engine;
  const struct mq_engine_job *job;
};

static mq_status run_chunk(struct engine_frame *frame, const struct engine_run *run, size_t slice,
                           unsigned worker, int64_t first_image, struct mq_err *err) {
  const struct mq_engine *engine = run->engine;
  const struct mq_engine_job *job = run->job;
  mq_status status = MQ_OK;
  int done = 0;
  for (size_t i = 0; job->tap && i < engine->n_taps && status == MQ_OK; i++) {
    const struct engine_tap *tap = &engine->taps[i];
    status = engine_run_steps(frame, engine, done, tap->after_step + 1, err);
    done = tap->after_step + 1;
    if (status == MQ_OK) {
      status = job->tap(job->context, slice, worker, tap->tap, first_image, &frame->places[tap->place], err);
    }
  }
  return status == MQ_OK ? engine_run_steps(frame, engine, done, (int)engine->n_steps, err) : status;
}

static mq_status run_slice(void *context, size_t slice, unsigned worker, struct mq_err *err) {
  const struct engine_run *run = context;
  const struct mq_engine *engine = run->engine;
  const struct mq_engine_job *job = run->job;
  struct engine_frame *frame = &engine->frames[worker];
  mq_status status = job->fill(job->context, slice, worker, frame->inputs, err);
  for (int64_t image = 0; image < engine->slice_images && status == MQ_OK; image += engine->chunk_images) {
    load_chunk(frame, engine, image);
    status = run_chunk(frame, run, slice, worker, image, err);
    store_chunk(frame, engine, image);
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
