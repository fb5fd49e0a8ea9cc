/* The memory plan: buffers whose lifetimes do not meet share addresses (first fit, in order of birth). */
#include <stdlib.h>
#include <string.h>

#include "engine/step.h"

#define ALIGNMENT 64

static size_t aligned(size_t bytes) {
  return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool do_meet(const struct engine_buffer *a, const struct engine_buffer *b) {
  return a->scope == b->scope && a->first_step <= b->last_step && b->first_step <= a->last_step;
}

/* The placed buffers alive together with `buffer`, kept sorted by offset in `alive`. */
static size_t collect_alive(struct engine_buffer **alive, struct engine_buffer *const *placed,
                            size_t n_placed, const struct engine_buffer *buffer) {
  size_t n = 0;
  for (size_t i = 0; i < n_placed; i++) {
    if (!do_meet(placed[i], buffer)) {
      continue;
    }
    size_t at = n++;
    for (; at > 0 && alive[at - 1]->offset > placed[i]->offset; at--) {
      alive[at] = alive[at - 1];
    }
    alive[at] = placed[i];
  }
  return n;
}

/* The lowest gap that holds `bytes`. */
static size_t first_fit(struct engine_buffer *const *alive, size_t n_alive, size_t bytes) {
  size_t offset = 0;
  for (size_t i = 0; i < n_alive; i++) {
    if (alive[i]->offset >= offset + bytes) {
      break;
    }
    size_t end = alive[i]->offset + aligned(alive[i]->bytes);
    offset = end > offset ? end : offset;
  }
  return offset;
}

mq_status engine_plan_memory(struct mq_engine *engine, struct mq_err *err) {
  struct engine_buffer **placed = mq_alloc(2 * engine->n_buffers + 1, sizeof *placed);
  if (!placed) {
    return mq_fail_memory(err, "memory plan");
  }
  struct engine_buffer **alive = placed + engine->n_buffers;
  memset(engine->buffer_bytes, 0, sizeof engine->buffer_bytes);
  for (size_t i = 0; i < engine->n_buffers; i++) {
    struct engine_buffer *buffer = &engine->buffers[i];
    size_t n_alive = collect_alive(alive, placed, i, buffer);
    buffer->offset = first_fit(alive, n_alive, aligned(buffer->bytes));
    size_t end = buffer->offset + aligned(buffer->bytes), *total = &engine->buffer_bytes[buffer->scope];
    *total = end > *total ? end : *total;
    placed[i] = buffer;
  }
  mq_free(placed);
  for (size_t i = 0; i < engine->n_steps; i++) {
    size_t bytes = aligned(engine->steps[i].scratch_bytes);
    engine->scratch_bytes = bytes > engine->scratch_bytes ? bytes : engine->scratch_bytes;
  }
  return MQ_OK;
}
