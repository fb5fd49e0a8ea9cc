/* Reductions over frames in the fixed tree of their index: ((0 + 1) + (2 + 3)) + ..., whoever computes them.
 */
#include <math.h>
#include <string.h>

#include "engine/train/frames.h"

/* ---- Values, forward ---------------------------------------------------------------------------- */
static void reduce_into(struct engine_frames *frames, const struct engine_reduction *r, size_t i) {
  const struct engine_place *places = frames->engine->places;
  engine_scope narrow = places[r->from].scope, wide = places[r->to].scope;
  struct engine_range within = engine_frames_within(frames, wide, i, narrow);
  struct engine_frame *shares = &frames->at[narrow][within.first];
  for (size_t step = 1; r->merge && step < within.count; step *= 2) {
    for (size_t s = 0; s + step < within.count; s += 2 * step) {
      r->merge(shares[s].places[r->from].data, shares[s + step].places[r->from].data, r->state);
    }
  }
  const struct mq_tensor *to = &frames->at[wide][i].places[r->to];
  memcpy(to->data, shares[0].places[r->from].data,
         (size_t)mq_shape_count(&to->shape) * mq_dtype_get(to->dtype)->bytes);
}

mq_status engine_reduce_values(struct engine_frames *frames, const struct engine_phase *phase,
                               struct mq_err *err) {
  (void)err;
  const struct engine_training *t = frames->engine->training;
  for (size_t r = 0; r < t->n_reductions; r++) {
    const struct engine_reduction *reduction = &t->reductions[r];
    bool is_here = reduction->after_step >= phase->first_step && reduction->after_step < phase->end_step;
    size_t n = is_here ? frames->n[frames->engine->places[reduction->to].scope] : 0;
    for (size_t i = 0; i < n; i++) {
      reduce_into(frames, reduction, i);
    }
  }
  return MQ_OK;
}

/* ---- Gradients, backward ------------------------------------------------------------------------ */
#define CHUNK 16384 /* elements a task adds up: a few cache lines of every share at a time */

struct gathering_run {
  struct engine_frames *frames;
  const struct engine_gathering *gathering;
  const struct engine_gradient *gradient;
  size_t wide; /* the frame of the owner's scope */
};

static void *share_of(const struct engine_frames *frames, engine_scope scope, size_t i,
                      const struct engine_gradient *g) {
  const struct engine_buffer *buffer = &frames->engine->buffers[g->buffer[scope]];
  return (char *)frames->at[scope][i].block + buffer->offset;
}

static void add_floats(float *into, const float *from, int64_t n) {
  mq_loop_add(into, into, from, n, -INFINITY, INFINITY);
}

static void add_doubles(double *into, const double *from, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    into[i] += from[i];
  }
}

static void add(void *into, const void *from, int64_t first, int64_t n, mq_dtype dtype) {
  if (dtype == MQ_F32) {
    add_floats((float *)into + first, (const float *)from + first, n);
  } else {
    add_doubles((double *)into + first, (const double *)from + first, n);
  }
}

static mq_status gather_chunk(void *context, size_t task, unsigned worker, struct mq_err *err) {
  (void)worker;
  (void)err;
  const struct gathering_run *run = context;
  const struct engine_gradient *g = run->gradient;
  engine_scope from = run->gathering->from;
  struct engine_range within = engine_frames_within(run->frames, g->owner, run->wide, from);
  int64_t first = (int64_t)task * CHUNK, left = g->count - first, n = left < CHUNK ? left : CHUNK;
  for (size_t step = 1; step < within.count; step *= 2) {
    for (size_t s = within.first; s + step < within.first + within.count; s += 2 * step) {
      add(share_of(run->frames, from, s, g), share_of(run->frames, from, s + step, g), first, n, g->dtype);
    }
  }
  void *total = share_of(run->frames, g->owner, run->wide, g);
  const void *sum = share_of(run->frames, from, within.first, g);
  size_t bytes = mq_dtype_get(g->dtype)->bytes;
  if (run->gathering->adds) {
    add(total, sum, first, n, g->dtype);
  } else {
    memcpy((char *)total + (size_t)first * bytes, (const char *)sum + (size_t)first * bytes,
           (size_t)n * bytes);
  }
  return MQ_OK;
}

mq_status engine_gather_gradients(struct engine_frames *frames, const struct engine_phase *phase,
                                  struct mq_err *err) {
  const struct engine_training *t = frames->engine->training;
  mq_status status = MQ_OK;
  for (size_t i = 0; i < phase->n_gatherings && status == MQ_OK; i++) {
    struct gathering_run run = {.frames = frames, .gathering = &phase->gatherings[i]};
    run.gradient = &t->gradients[run.gathering->gradient];
    size_t n_chunks = (size_t)((run.gradient->count + CHUNK - 1) / CHUNK);
    for (run.wide = 0; run.wide < frames->n[run.gradient->owner] && status == MQ_OK; run.wide++) {
      status = mq_pool_run(frames->engine->pool, n_chunks, gather_chunk, &run, err);
    }
  }
  return status;
}
