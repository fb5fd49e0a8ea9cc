/* Constants that the graph's own folding left: dequantized, transposed or multiplied weights. */
#include <string.h>

#include "engine/train/training.h"

void engine_find_constants(struct engine_compiler *c) {
  for (size_t i = 0; i < c->graph->n_values; i++) {
    c->is_constant[i] = c->graph->values[i]->constant && !(c->training && c->training->kind_of[i]);
  }
  for (size_t i = 0; i < c->graph->n_nodes; i++) {
    const struct mq_node *node = c->graph->nodes[i];
    bool is_constant = node->op != MQ_OP_NONE;
    for (int k = 0; k < node->n_inputs && is_constant; k++) {
      is_constant = !node->inputs[k] || c->is_constant[node->inputs[k]->index];
    }
    for (int k = 0; k < node->n_outputs; k++) {
      if (node->outputs[k] && is_constant) {
        c->is_constant[node->outputs[k]->index] = true;
      }
    }
  }
}

/* Gives every new place in a buffer memory of the engine's arena. */
static mq_status settle_places(struct engine_compiler *c, size_t first_place, size_t first_buffer,
                               struct mq_err *err) {
  struct mq_engine *engine = c->engine;
  for (size_t b = first_buffer; b < engine->n_buffers; b++) {
    void *block;
    mq_status status = engine_alloc(&block, c, engine->buffers[b].bytes + 1, 1, err);
    if (status != MQ_OK) {
      return status;
    }
    for (size_t p = first_place; p < engine->n_places; p++) {
      struct engine_place *place = &engine->places[p];
      if (place->buffer == (int)b) {
        place->tensor.data = (char *)block + place->offset_bytes;
        place->buffer = -1;
      }
    }
  }
  engine->n_buffers = first_buffer;
  return MQ_OK;
}

static mq_status execute(struct engine_compiler *c, size_t first_step, struct mq_err *err) {
  struct mq_engine *engine = c->engine;
  size_t scratch_bytes = 0;
  for (size_t i = first_step; i < engine->n_steps; i++) {
    size_t bytes = engine->steps[i].scratch_bytes;
    scratch_bytes = bytes > scratch_bytes ? bytes : scratch_bytes;
  }
  struct engine_frame frame = {.places = mq_alloc(engine->n_places, sizeof *frame.places),
                               .scratch = mq_alloc(scratch_bytes + 1, 1)};
  mq_status status = frame.places && frame.scratch ? MQ_OK : mq_fail_memory(err, "constants");
  for (size_t i = 0; i < engine->n_places && status == MQ_OK; i++) {
    frame.places[i] = engine->places[i].tensor;
  }
  for (size_t i = first_step; i < engine->n_steps && status == MQ_OK; i++) {
    status = engine->steps[i].function->forward(&engine->steps[i], &frame, err);
  }
  mq_free(frame.places);
  mq_free(frame.scratch);
  return status;
}

mq_status engine_fold_steps(struct engine_compiler *c, size_t first_step, size_t first_place,
                            size_t first_buffer, struct mq_err *err) {
  struct mq_engine *engine = c->engine;
  if (first_step == engine->n_steps) {
    return MQ_OK;
  }
  mq_status status = settle_places(c, first_place, first_buffer, err);
  if (status == MQ_OK) {
    status = execute(c, first_step, err);
  }
  for (size_t i = first_step; i < engine->n_steps; i++) {
    if (engine->steps[i].release) {
      engine->steps[i].release((void *)(uintptr_t)engine->steps[i].state);
    }
  }
  engine->n_steps = first_step;
  return status;
}
