/* Creation: compilation, memory plan, a frame for every worker. */
#include "mqbench/engine.h"

#include "engine/compile.h"

/* ---- Creation ----------------------------------------------------------------------------------- */
/* A graph input or output for a whole slice: the place itself where it holds one, else memory of its own. */
static mq_status create_end(struct mq_tensor *end, const struct mq_engine *engine,
                            const struct mq_tensor *place, int batch_dim, struct mq_err *err) {
  *end = *place;
  if (engine->chunk_images == engine->slice_images || batch_dim < 0) {
    return MQ_OK;
  }
  struct mq_shape shape = place->shape;
  shape.dim[batch_dim] = engine->slice_images;
  mq_status status = mq_tensor_init(end, place->dtype, &shape, err);
  if (status == MQ_OK && !mq_tensor_is_row_major(place) && mq_tensor_is_channels_last(place)) {
    mq_stride_channels_last(end->stride, &shape);
  }
  return status;
}

static mq_status create_ends(struct engine_frame *frame, const struct mq_engine *engine, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < engine->n_inputs && status == MQ_OK; i++) {
    status = create_end(&frame->inputs[i], engine, &frame->places[engine->inputs[i]],
                        engine->input_batch_dims[i], err);
  }
  for (size_t i = 0; i < engine->n_outputs && status == MQ_OK; i++) {
    status = create_end(&frame->outputs[i], engine, &frame->places[engine->outputs[i]],
                        engine->output_batch_dims[i], err);
  }
  return status;
}

static void destroy_frame(struct engine_frame *frame, const struct mq_engine *engine) {
  for (size_t i = 0; frame->inputs && i < engine->n_inputs; i++) {
    mq_free(frame->inputs[i].owned);
  }
  for (size_t i = 0; frame->outputs && i < engine->n_outputs; i++) {
    mq_free(frame->outputs[i].owned);
  }
  mq_free(frame->block);
  mq_free(frame->places);
  mq_free(frame->inputs);
  mq_free(frame->outputs);
}

static mq_status create_frame(struct engine_frame *frame, const struct mq_engine *engine,
                              struct mq_err *err) {
  frame->block = mq_alloc(engine->buffer_bytes[ENGINE_SLICE] + engine->scratch_bytes + 1, 1);
  frame->places = mq_alloc(engine->n_places + 1, sizeof *frame->places);
  frame->inputs = mq_alloc(engine->n_inputs + 1, sizeof *frame->inputs);
  frame->outputs = mq_alloc(engine->n_outputs + 1, sizeof *frame->outputs);
  if (!frame->block || !frame->places || !frame->inputs || !frame->outputs) {
    return mq_fail_memory(err, "a worker's activations");
  }
  frame->scratch = (char *)frame->block + engine->buffer_bytes[ENGINE_SLICE];
  for (size_t i = 0; i < engine->n_places; i++) {
    const struct engine_place *place = &engine->places[i];
    frame->places[i] = place->tensor;
    if (place->buffer >= 0) {
      size_t offset = engine->buffers[place->buffer].offset;
      frame->places[i].data = (char *)frame->block + offset + place->offset_bytes;
    }
  }
  return create_ends(frame, engine, err);
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
    destroy_frame(&engine->frames[i], engine);
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
  return engine->buffer_bytes[ENGINE_SLICE] + engine->scratch_bytes;
}

double mq_engine_busy_seconds(const struct mq_engine *engine) {
  int64_t ns = 0;
  for (unsigned i = 0; i < engine->n_frames; i++) {
    ns += engine->frames[i].busy_ns;
  }
  return (double)ns * 1e-9;
}
