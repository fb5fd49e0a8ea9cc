#include "engine/train/frames.h"

/* ---- Addresses ---------------------------------------------------------------------------------- */
static void *address(const struct engine_frame *frame, const struct mq_engine *engine, int buffer) {
  return (char *)frame->block + engine->buffers[buffer].offset;
}

/* The frame of `scope` that frame i of a narrower scope belongs to. */
static struct engine_frame *wider_frame(const struct engine_frames *frames, engine_scope narrow, size_t i,
                                        engine_scope scope) {
  size_t per = frames->n[narrow] / frames->n[scope];
  return &frames->at[scope][scope == narrow ? i : i / per];
}

static void place_values(struct engine_frames *frames, engine_scope scope, size_t i) {
  const struct mq_engine *engine = frames->engine;
  struct engine_frame *frame = &frames->at[scope][i];
  for (size_t p = 0; p < engine->n_places; p++) {
    const struct engine_place *place = &engine->places[p];
    frame->places[p] = place->tensor;
    if (place->buffer >= 0 && place->scope >= scope) {
      const struct engine_frame *owner = wider_frame(frames, scope, i, place->scope);
      frame->places[p].data = (char *)address(owner, engine, place->buffer) + place->offset_bytes;
    }
  }
}

static struct mq_tensor gradient_tensor(const struct engine_place *place, const struct engine_gradient *g,
                                        void *block) {
  if (!g->is_like_value) {
    const struct mq_shape row = {.rank = 1, .dim = {g->count}};
    return mq_tensor_view(block, g->dtype, &row, NULL);
  }
  int64_t offset = place->offset_bytes / mq_dtype_get(place->tensor.dtype)->bytes * (int64_t)sizeof(float);
  struct mq_tensor tensor = place->tensor;
  tensor.dtype = MQ_F32;
  tensor.data = block ? (char *)block + offset : NULL;
  tensor.owned = NULL;
  return tensor;
}

static void place_gradients(struct engine_frames *frames, engine_scope scope, size_t i) {
  const struct mq_engine *engine = frames->engine;
  const struct engine_training *t = engine->training;
  struct engine_frame *frame = &frames->at[scope][i];
  for (size_t p = 0; p < engine->n_places; p++) {
    const struct engine_place *place = &engine->places[p];
    if (place->gradient >= 0) {
      const struct engine_gradient *g = &t->gradients[place->gradient];
      int buffer = g->buffer[scope];
      frame->gradients[p] = gradient_tensor(place, g, buffer >= 0 ? address(frame, engine, buffer) : NULL);
    }
  }
  /* What a narrow frame gave to a reduction gets the gradient of the result. */
  for (size_t r = 0; r < t->n_reductions; r++) {
    const struct engine_place *from = &engine->places[t->reductions[r].from];
    const struct engine_place *to = &engine->places[t->reductions[r].to];
    int buffer = to->gradient >= 0 ? t->gradients[to->gradient].buffer[to->scope] : -1;
    if (from->scope == scope && buffer >= 0) {
      const struct engine_frame *owner = wider_frame(frames, scope, i, to->scope);
      frame->gradients[t->reductions[r].from] =
          gradient_tensor(to, &t->gradients[to->gradient], address(owner, engine, buffer));
    }
  }
}

/* ---- Memory ------------------------------------------------------------------------------------- */
static mq_status create_frame(struct engine_frame *frame, const struct mq_engine *engine, engine_scope scope,
                              struct mq_err *err) {
  frame->block = mq_alloc(engine->buffer_bytes[scope] + 1, 1);
  frame->places = mq_alloc(engine->n_places + 1, sizeof *frame->places);
  frame->gradients = mq_alloc(engine->n_places + 1, sizeof *frame->gradients);
  if (scope == ENGINE_SLICE) {
    frame->inputs = mq_alloc(engine->n_inputs + 1, sizeof *frame->inputs);
    frame->outputs = mq_alloc(engine->n_outputs + 1, sizeof *frame->outputs);
    frame->labels = mq_alloc((size_t)engine->slice_images, sizeof *frame->labels);
  }
  bool has_ends = scope != ENGINE_SLICE || (frame->inputs && frame->outputs && frame->labels);
  return frame->block && frame->places && frame->gradients && has_ends
             ? MQ_OK
             : mq_fail_memory(err, "activations and gradients of a batch");
}

static void show_ends(struct engine_frame *frame, const struct mq_engine *engine) {
  for (size_t i = 0; i < engine->n_inputs; i++) {
    frame->inputs[i] = frame->places[engine->inputs[i]];
  }
  for (size_t i = 0; i < engine->n_outputs; i++) {
    frame->outputs[i] = frame->places[engine->outputs[i]];
  }
}

mq_status engine_frames_init(struct engine_frames *frames, const struct mq_engine *engine, size_t n_slices,
                             size_t n_groups, struct mq_err *err) {
  *frames = (struct engine_frames){
      .engine = engine, .n = {n_slices, n_groups, 1}, .n_workers = mq_pool_workers(engine->pool)};
  mq_status status = MQ_OK;
  for (int scope = 0; scope < ENGINE_SCOPE_COUNT && status == MQ_OK; scope++) {
    frames->at[scope] = mq_alloc(frames->n[scope], sizeof *frames->at[scope]);
    status = frames->at[scope] ? MQ_OK : mq_fail_memory(err, "frames");
    for (size_t i = 0; i < frames->n[scope] && status == MQ_OK; i++) {
      status = create_frame(&frames->at[scope][i], engine, (engine_scope)scope, err);
    }
  }
  frames->scratch = mq_alloc(frames->n_workers, sizeof *frames->scratch);
  for (unsigned w = 0; w < frames->n_workers && status == MQ_OK; w++) {
    void *block = frames->scratch ? mq_alloc(engine->scratch_bytes + 1, 1) : NULL;
    status = block ? MQ_OK : mq_fail_memory(err, "scratch memory");
    if (block) {
      frames->scratch[w] = block;
    }
  }
  for (int scope = 0; scope < ENGINE_SCOPE_COUNT && status == MQ_OK; scope++) {
    for (size_t i = 0; i < frames->n[scope]; i++) {
      place_values(frames, (engine_scope)scope, i);
      place_gradients(frames, (engine_scope)scope, i);
      if (scope == ENGINE_SLICE) {
        show_ends(&frames->at[scope][i], engine);
      }
    }
  }
  if (status != MQ_OK) {
    engine_frames_deinit(frames);
  }
  return status;
}

void engine_frames_deinit(struct engine_frames *frames) {
  for (int scope = 0; scope < ENGINE_SCOPE_COUNT; scope++) {
    for (size_t i = 0; frames->at[scope] && i < frames->n[scope]; i++) {
      struct engine_frame *frame = &frames->at[scope][i];
      mq_free(frame->block);
      mq_free(frame->places);
      mq_free(frame->gradients);
      mq_free(frame->inputs);
      mq_free(frame->outputs);
      mq_free(frame->labels);
    }
    mq_free(frames->at[scope]);
  }
  for (unsigned w = 0; frames->scratch && w < frames->n_workers; w++) {
    mq_free(frames->scratch[w]);
  }
  mq_free(frames->scratch);
  *frames = (struct engine_frames){0};
}

size_t engine_frames_bytes(const struct engine_frames *frames) {
  size_t bytes = frames->n_workers * frames->engine->scratch_bytes;
  for (int scope = 0; scope < ENGINE_SCOPE_COUNT; scope++) {
    bytes += frames->n[scope] * frames->engine->buffer_bytes[scope];
  }
  return bytes;
}

struct engine_range engine_frames_within(const struct engine_frames *frames, engine_scope wide, size_t i,
                                         engine_scope narrow) {
  size_t per = frames->n[narrow] / frames->n[wide];
  return (struct engine_range){.first = i * per, .count = per};
}
