/* The phases of a training step, forward and the same ones the other way. */
#include <string.h>

#include "engine/train/frames.h"

struct phase_run {
  struct engine_frames *frames;
  const struct engine_phase *phase;
  bool is_training;
};

static struct engine_frame *own_frame(const struct phase_run *run, size_t task) {
  engine_scope scope = run->phase->scope;
  return &run->frames->at[scope][run->frames->own[scope].first + task];
}

static size_t n_tasks(const struct phase_run *run) {
  return run->phase->lanes ? run->phase->n_lanes : run->frames->own[run->phase->scope].count;
}

/* The frame as this task sees it: lanes of a phase share one, but for the scratch memory. */
static struct engine_frame task_frame(const struct phase_run *run, size_t task, unsigned worker) {
  struct engine_frame frame = *own_frame(run, run->phase->lanes ? 0 : task);
  frame.scratch = run->frames->scratch[worker];
  frame.is_training = run->is_training;
  return frame;
}

static mq_status run_forward(void *context, size_t task, unsigned worker, struct mq_err *err) {
  const struct phase_run *run = context;
  const struct mq_engine *engine = run->frames->engine;
  struct engine_frame frame = task_frame(run, task, worker);
  if (!run->phase->lanes) {
    return engine_run_steps(&frame, engine, run->phase->first_step, run->phase->end_step, err);
  }
  const struct engine_lane *lane = &run->phase->lanes[task];
  mq_status status = MQ_OK;
  for (int i = 0; i < lane->n_steps && status == MQ_OK; i++) {
    status = engine_run_steps(&frame, engine, lane->steps[i], lane->steps[i] + 1, err);
  }
  return status;
}

mq_status engine_phases_forward(struct engine_frames *frames, bool is_training, struct mq_err *err) {
  const struct engine_training *t = frames->engine->training;
  mq_status status = MQ_OK;
  for (size_t i = 0; i < t->n_phases && status == MQ_OK; i++) {
    struct phase_run run = {.frames = frames, .phase = &t->phases[i], .is_training = is_training};
    status = mq_pool_run(frames->engine->pool, n_tasks(&run), run_forward, &run, err);
    if (status == MQ_OK) {
      status = engine_reduce_values(frames, run.phase, err);
    }
  }
  return status;
}

/* Zeroings stand in backward order; those of one step follow each other. */
static void zero_shares(struct engine_frame *frame, const struct mq_engine *engine, int step) {
  const struct engine_training *t = engine->training;
  for (size_t i = 0; i < t->n_zeroings; i++) {
    const struct engine_zeroing *z = &t->zeroings[i];
    if (z->step == step) {
      const struct engine_buffer *buffer = &engine->buffers[t->gradients[z->gradient].buffer[z->scope]];
      memset((char *)frame->block + buffer->offset, 0, buffer->bytes);
    }
  }
}

static mq_status run_backward(void *context, size_t task, unsigned worker, struct mq_err *err) {
  const struct phase_run *run = context;
  const struct mq_engine *engine = run->frames->engine;
  const struct engine_lane *lane = run->phase->lanes ? &run->phase->lanes[task] : NULL;
  struct engine_frame frame = task_frame(run, task, worker);
  int n = lane ? lane->n_steps : run->phase->end_step - run->phase->first_step;
  mq_status status = MQ_OK;
  for (int i = n; i-- > 0 && status == MQ_OK;) {
    int s = lane ? lane->steps[i] : run->phase->first_step + i;
    const struct engine_step *step = &engine->steps[s];
    if (step->is_backward) {
      zero_shares(&frame, engine, s);
      status = step->function->backward(step, &frame, err);
    }
  }
  return status;
}

mq_status engine_phases_backward(struct engine_frames *frames, struct mq_err *err) {
  const struct engine_training *t = frames->engine->training;
  mq_status status = MQ_OK;
  for (size_t i = t->n_phases; i-- > 0 && status == MQ_OK;) {
    struct phase_run run = {.frames = frames, .phase = &t->phases[i], .is_training = true};
    status = mq_pool_run(frames->engine->pool, n_tasks(&run), run_backward, &run, err);
    if (status == MQ_OK) {
      status = engine_gather_gradients(frames, run.phase, err);
    }
  }
  return status;
}
