/* Frames and their memory: who has which buffers, where places and gradients lie in them. */
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

static mq_status create_frames(struct engine_frames *frames, engine_scope scope, struct mq_err *err) {
  struct engine_range own = frames->own[scope];
  frames->at[scope] = mq_alloc(frames->n[scope], sizeof *frames->at[scope]);
  mq_status status = frames->at[scope] ? MQ_OK : mq_fail_memory(err, "frames");
  for (size_t i = own.first; i < own.first + own.count && status == MQ_OK; i++) {
    status = create_frame(&frames->at[scope][i], frames->engine, scope, err);
  }
  return status;
}

static mq_status create_scratch(struct engine_frames *frames, struct mq_err *err) {
  frames->scratch = mq_alloc(frames->n_workers, sizeof *frames->scratch);
  for (unsigned w = 0; w < frames->n_workers; w++) {
    void *block = frames->scratch ? mq_alloc(frames->engine->scratch_bytes + 1, 1) : NULL;
    if (!block) {
      return mq_fail_memory(err, "scratch memory");
    }
    frames->scratch[w] = block;
  }
  return MQ_OK;
}

/* ---- Trees -------------------------------------------------------------------------------------- */
static mq_status plant_trees(struct engine_frames *frames, engine_scope narrow, engine_scope wide,
                             struct mq_err *err) {
  int rank = mq_collective_rank(frames->collective), n_ranks = mq_collective_size(frames->collective);
  bool is_shared = narrow == ENGINE_SLICE;
  struct engine_tree *trees = mq_arena_alloc(&frames->arena, frames->n[wide], sizeof *trees);
  mq_status status = trees ? MQ_OK : mq_fail_memory(err, "reduction trees");
  for (size_t i = 0; i < frames->n[wide] && status == MQ_OK; i++) {
    status = engine_tree_init(&trees[i], engine_frames_within(frames, wide, i, narrow), frames->n[narrow],
                              is_shared ? rank : 0, is_shared ? n_ranks : 1, &frames->arena, err);
  }
  frames->trees[narrow][wide] = trees;
  return status;
}

static mq_status create_reductions(struct engine_frames *frames, struct mq_err *err) {
  mq_status status = plant_trees(frames, ENGINE_SLICE, ENGINE_GROUP, err);
  if (status == MQ_OK) {
    status = plant_trees(frames, ENGINE_SLICE, ENGINE_BATCH, err);
  }
  if (status == MQ_OK) {
    status = plant_trees(frames, ENGINE_GROUP, ENGINE_BATCH, err);
  }
  if (status == MQ_OK && mq_collective_size(frames->collective) > 1) {
    status = engine_parcel_create(&frames->parcel, frames, err);
  }
  return status;
}

/* ---- All of it ---------------------------------------------------------------------------------- */
static void place_all(struct engine_frames *frames, engine_scope scope) {
  struct engine_range own = frames->own[scope];
  for (size_t i = own.first; i < own.first + own.count; i++) {
    place_values(frames, scope, i);
    place_gradients(frames, scope, i);
    if (scope == ENGINE_SLICE) {
      show_ends(&frames->at[scope][i], frames->engine);
    }
  }
}

mq_status engine_frames_init(struct engine_frames *frames, const struct mq_engine *engine, size_t n_slices,
                             size_t n_groups, struct mq_collective *collective, struct mq_err *err) {
  *frames = (struct engine_frames){.engine = engine,
                                   .collective = collective,
                                   .n = {n_slices, n_groups, 1},
                                   .own = {{0, 0}, {0, n_groups}, {0, 1}},
                                   .n_workers = mq_pool_workers(engine->pool)};
  frames->own[ENGINE_SLICE] =
      engine_block_of(n_slices, mq_collective_rank(collective), mq_collective_size(collective));
  mq_arena_init(&frames->arena, 0);
  mq_status status = MQ_OK;
  for (int scope = 0; scope < ENGINE_SCOPE_COUNT && status == MQ_OK; scope++) {
    status = create_frames(frames, (engine_scope)scope, err);
  }
  if (status == MQ_OK) {
    status = create_scratch(frames, err);
  }
  if (status == MQ_OK) {
    status = create_reductions(frames, err);
  }
  for (int scope = 0; scope < ENGINE_SCOPE_COUNT && status == MQ_OK; scope++) {
    place_all(frames, (engine_scope)scope);
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
  engine_parcel_destroy(frames->parcel);
  mq_arena_deinit(&frames->arena);
  *frames = (struct engine_frames){0};
}

size_t engine_frames_bytes(const struct engine_frames *frames) {
  size_t bytes = frames->n_workers * frames->engine->scratch_bytes + engine_parcel_bytes(frames->parcel);
  for (int scope = 0; scope < ENGINE_SCOPE_COUNT; scope++) {
    bytes += frames->own[scope].count * frames->engine->buffer_bytes[scope];
  }
  return bytes;
}

struct engine_range engine_frames_within(const struct engine_frames *frames, engine_scope wide, size_t i,
                                         engine_scope narrow) {
  size_t per = frames->n[narrow] / frames->n[wide];
  return (struct engine_range){.first = i * per, .count = per};
}
