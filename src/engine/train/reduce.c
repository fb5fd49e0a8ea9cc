/* Reductions over frames in the fixed tree of their index: ((0 + 1) + (2 + 3)) + ..., whoever computes them.
 */
#include <math.h>
#include <string.h>

#include "engine/train/frames.h"

/* ---- Shares ------------------------------------------------------------------------------------- */
static void *gradient_of(const struct engine_frames *frames, engine_scope scope, size_t i,
                         const struct engine_gradient *g) {
  const struct engine_buffer *buffer = &frames->engine->buffers[g->buffer[scope]];
  return (char *)frames->at[scope][i].block + buffer->offset;
}

static const struct engine_gradient *item_gradient(const struct engine_frames *frames,
                                                   const struct engine_item *item) {
  return &frames->engine->training->gradients[item->gathering->gradient];
}

static size_t gradient_offset(const struct engine_gradient *g, const struct engine_item *item) {
  return (size_t)item->first * mq_dtype_get(g->dtype)->bytes;
}

void *engine_item_share(const struct engine_frames *frames, const struct engine_item *item, size_t frame) {
  if (item->reduction) {
    int from = item->reduction->from;
    return frames->at[frames->engine->places[from].scope][frame].places[from].data;
  }
  const struct engine_gradient *g = item_gradient(frames, item);
  return (char *)gradient_of(frames, item->gathering->from, frame, g) + gradient_offset(g, item);
}

static void add_doubles(double *into, const double *from, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    into[i] += from[i];
  }
}

static void add(void *into, const void *from, int64_t n, mq_dtype dtype) {
  if (dtype == MQ_F32) {
    mq_loop_add(into, into, from, n, -INFINITY, INFINITY);
  } else {
    add_doubles(into, from, n);
  }
}

void engine_item_join(const struct engine_frames *frames, const struct engine_item *item, void *into,
                      const void *from) {
  if (item->gathering) {
    add(into, from, item->count, item_gradient(frames, item)->dtype);
  } else if (item->reduction->merge) {
    item->reduction->merge(into, from, item->reduction->state);
  }
}

void engine_item_finish(const struct engine_frames *frames, const struct engine_item *item, const void *sum) {
  if (item->reduction) {
    int to = item->reduction->to;
    memcpy(frames->at[frames->engine->places[to].scope][item->wide].places[to].data, sum, item->bytes);
    return;
  }
  const struct engine_gradient *g = item_gradient(frames, item);
  void *total = (char *)gradient_of(frames, g->owner, item->wide, g) + gradient_offset(g, item);
  if (item->gathering->adds) {
    add(total, sum, item->count, g->dtype);
  } else {
    memcpy(total, sum, item->bytes);
  }
}

/* This rank's part of the tree, or all of it. */
static void join_own(const struct engine_frames *frames, const struct engine_item *item) {
  for (size_t i = 0; i < item->tree->n_own; i++) {
    const struct engine_join *join = &item->tree->own[i];
    engine_item_join(frames, item, engine_item_share(frames, item, join->into),
                     engine_item_share(frames, item, join->from));
  }
}

/* Only slices are shared out among ranks; everything wider is computed by all of them. */
static bool is_shared(const struct engine_frames *frames, engine_scope narrow) {
  return frames->parcel && narrow == ENGINE_SLICE;
}

/* ---- Values, forward ---------------------------------------------------------------------------- */
static mq_status reduce_value(struct engine_frames *frames, const struct engine_reduction *r,
                              struct mq_err *err) {
  const struct engine_place *from = &frames->engine->places[r->from], *to = &frames->engine->places[r->to];
  size_t bytes = (size_t)mq_shape_count(&to->tensor.shape) * mq_dtype_get(to->tensor.dtype)->bytes;
  mq_status status = MQ_OK;
  for (size_t i = 0; i < frames->n[to->scope] && status == MQ_OK; i++) {
    const struct engine_item item = {
        .tree = &frames->trees[from->scope][to->scope][i], .reduction = r, .wide = i, .bytes = bytes};
    join_own(frames, &item);
    if (is_shared(frames, from->scope)) {
      status = engine_parcel_put(frames, &item, err);
    } else {
      engine_item_finish(frames, &item, engine_item_share(frames, &item, item.tree->roots[0]));
    }
  }
  return status;
}

mq_status engine_reduce_values(struct engine_frames *frames, const struct engine_phase *phase,
                               struct mq_err *err) {
  const struct engine_training *t = frames->engine->training;
  mq_status status = MQ_OK;
  for (size_t r = 0; r < t->n_reductions && status == MQ_OK; r++) {
    const struct engine_reduction *reduction = &t->reductions[r];
    if (reduction->after_step >= phase->first_step && reduction->after_step < phase->end_step) {
      status = reduce_value(frames, reduction, err);
    }
  }
  return status == MQ_OK && frames->parcel ? engine_parcel_send(frames, err) : status;
}

/* ---- Gradients, backward ------------------------------------------------------------------------ */
#define CHUNK 16384 /* elements a task adds up: a few cache lines of every share at a time */

struct gathering_run {
  struct engine_frames *frames;
  const struct engine_phase *phase;
};

static size_t count_chunks(const struct engine_gradient *g) {
  return (size_t)((g->count + CHUNK - 1) / CHUNK);
}

/* Chunks of all gradients of the phase, one after the other, for every frame they are gathered in. */
static size_t count_tasks(const struct engine_frames *frames, const struct engine_gathering *gathering) {
  const struct engine_gradient *g = &frames->engine->training->gradients[gathering->gradient];
  return count_chunks(g) * frames->n[g->owner];
}

static struct engine_item item_of(const struct gathering_run *run, size_t task) {
  const struct engine_gathering *gathering = run->phase->gatherings;
  for (; task >= count_tasks(run->frames, gathering); gathering++) {
    task -= count_tasks(run->frames, gathering);
  }
  const struct engine_gradient *g = &run->frames->engine->training->gradients[gathering->gradient];
  size_t wide = task / count_chunks(g);
  int64_t first = (int64_t)(task % count_chunks(g)) * CHUNK, left = g->count - first;
  int64_t n = left < CHUNK ? left : CHUNK;
  return (struct engine_item){.tree = &run->frames->trees[gathering->from][g->owner][wide],
                              .gathering = gathering,
                              .wide = wide,
                              .first = first,
                              .count = n,
                              .bytes = (size_t)n * mq_dtype_get(g->dtype)->bytes};
}

static mq_status gather_chunk(void *context, size_t task, unsigned worker, struct mq_err *err) {
  (void)worker;
  (void)err;
  const struct gathering_run *run = context;
  const struct engine_item item = item_of(run, task);
  join_own(run->frames, &item);
  if (!is_shared(run->frames, item.gathering->from)) {
    engine_item_finish(run->frames, &item, engine_item_share(run->frames, &item, item.tree->roots[0]));
  }
  return MQ_OK;
}

mq_status engine_gather_gradients(struct engine_frames *frames, const struct engine_phase *phase,
                                  struct mq_err *err) {
  struct gathering_run run = {.frames = frames, .phase = phase};
  size_t n_tasks = 0;
  for (size_t i = 0; i < phase->n_gatherings; i++) {
    n_tasks += count_tasks(frames, &phase->gatherings[i]);
  }
  mq_status status = mq_pool_run(frames->engine->pool, n_tasks, gather_chunk, &run, err);
  for (size_t i = 0; i < n_tasks && status == MQ_OK && frames->parcel; i++) {
    const struct engine_item item = item_of(&run, i);
    if (is_shared(frames, item.gathering->from)) {
      status = engine_parcel_put(frames, &item, err);
    }
  }
  return status == MQ_OK && frames->parcel ? engine_parcel_send(frames, err) : status;
}
