/* Where tensors lie: places, views, layouts, and when memory may be written over. */
#include <assert.h>
#include <string.h>

#include "engine/train/codes.h"

struct mq_shape engine_shape(const struct engine_compiler *c, const struct mq_value *value) {
  return mq_shape_at_batch(&value->shape, c->images);
}

const struct mq_tensor *engine_tensor(const struct engine_compiler *c, int place) {
  return &c->engine->places[place].tensor;
}

void engine_bind(struct engine_compiler *c, const struct mq_value *value, int place) {
  c->place_of[value->index] = place;
}

static void default_stride(int64_t stride[MQ_MAX_RANK], const struct mq_shape *shape) {
  if (shape->rank == 4) {
    mq_stride_channels_last(stride, shape);
  } else {
    mq_stride_row_major(stride, shape);
  }
}

/* Makes room for one more element of an array that doubles. */
mq_status engine_reserve(void **array, size_t *capacity, size_t n, size_t bytes, struct mq_err *err) {
  if (n < *capacity) {
    return MQ_OK;
  }
  size_t wanted = *capacity ? 2 * *capacity : 64;
  void *grown = mq_realloc(*array, wanted, bytes);
  if (!grown) {
    return mq_fail_memory(err, "engine plan");
  }
  *array = grown;
  *capacity = wanted;
  return MQ_OK;
}

static mq_status add_place(int *place, struct mq_engine *engine, const struct engine_place *content,
                           struct mq_err *err) {
  void *array = engine->places;
  mq_status status = engine_reserve(&array, &engine->capacity_places, engine->n_places, sizeof *content, err);
  engine->places = array;
  if (status != MQ_OK) {
    return status;
  }
  *place = (int)engine->n_places;
  engine->places[engine->n_places++] = *content;
  return MQ_OK;
}

mq_status engine_new_place(int *place, struct engine_compiler *c, mq_dtype dtype,
                           const struct mq_shape *shape, const int64_t *stride, struct mq_err *err) {
  struct mq_engine *engine = c->engine;
  int64_t n_elements, fallback[MQ_MAX_RANK];
  mq_status status = mq_shape_elements(&n_elements, shape, "tensor of a slice", err);
  if (status != MQ_OK) {
    return status;
  }
  void *array = engine->buffers;
  status = engine_reserve(&array, &engine->capacity_buffers, engine->n_buffers, sizeof *engine->buffers, err);
  engine->buffers = array;
  if (status != MQ_OK) {
    return status;
  }
  default_stride(fallback, shape);
  struct engine_place content = {.buffer = (int)engine->n_buffers, .scope = c->scope, .gradient = -1};
  content.tensor = mq_tensor_view(NULL, dtype, shape, stride ? stride : fallback);
  engine->buffers[engine->n_buffers++] = (struct engine_buffer){
      .bytes = (size_t)n_elements * mq_dtype_get(dtype)->bytes,
      .first_step = (int)engine->n_steps,
      .last_step = (int)engine->n_steps,
      .scope = c->scope,
  };
  status = add_place(place, engine, &content, err);
  return status == MQ_OK && c->training && dtype == MQ_F32 ? engine_add_gradient(c, *place, err) : status;
}

mq_status engine_new_output(int *place, struct engine_compiler *c, const struct mq_node *node, int output,
                            const int64_t *stride, struct mq_err *err) {
  const struct mq_value *value = node->outputs[output];
  struct mq_shape shape = engine_shape(c, value);
  mq_status status = engine_new_place(place, c, value->dtype, &shape, stride, err);
  if (status == MQ_OK) {
    engine_bind(c, value, *place);
  }
  return status;
}

mq_status engine_new_view(int *view, struct engine_compiler *c, int place, const struct mq_tensor *tensor,
                          int64_t offset, struct mq_err *err) {
  struct engine_place content = c->engine->places[place];
  int64_t offset_bytes = offset * mq_dtype_get(tensor->dtype)->bytes;
  void *data = content.tensor.data;
  content.tensor = *tensor;
  content.tensor.owned = NULL;
  content.tensor.data = data ? (char *)data + offset_bytes : NULL;
  content.offset_bytes += offset_bytes;
  return add_place(view, c->engine, &content, err);
}

mq_status engine_new_constant(int *place, struct engine_compiler *c, const struct mq_tensor *tensor,
                              struct mq_err *err) {
  struct engine_place content = {.buffer = -1, .tensor = *tensor, .scope = ENGINE_BATCH, .gradient = -1};
  content.tensor.owned = NULL;
  return add_place(place, c->engine, &content, err);
}

const struct mq_tensor *engine_constant(const struct engine_compiler *c, const struct mq_value *value) {
  const struct engine_place *place =
      c->place_of[value->index] >= 0 ? &c->engine->places[c->place_of[value->index]] : NULL;
  if (place) {
    return place->buffer < 0 && !place->is_variable ? &place->tensor : NULL;
  }
  return c->is_constant[value->index] ? value->constant : NULL;
}

bool engine_is_dense(const struct mq_tensor *tensor) {
  const struct mq_shape *shape = &tensor->shape;
  bool is_counted[MQ_MAX_RANK] = {false};
  int64_t expected = 1;
  for (;;) {
    int next = -1;
    for (int i = 0; i < shape->rank; i++) {
      if (shape->dim[i] == 0) {
        return true;
      }
      if (!is_counted[i] && shape->dim[i] > 1 && tensor->stride[i] == expected) {
        next = i;
      }
    }
    if (next < 0) {
      return expected == mq_shape_count(shape);
    }
    is_counted[next] = true;
    expected *= shape->dim[next];
  }
}

bool engine_lies_as(const struct mq_tensor *tensor, engine_layout layout) {
  switch (layout) {
    case ENGINE_ANY:
      return true;
    case ENGINE_DENSE:
      return engine_is_dense(tensor);
    case ENGINE_ROW_MAJOR:
      return mq_tensor_is_row_major(tensor);
    case ENGINE_CHANNELS_LAST:
      return mq_tensor_is_channels_last(tensor);
  }
  return false;
}

mq_status engine_arrange(int *arranged, struct engine_compiler *c, int place, engine_layout layout,
                         struct mq_err *err) {
  struct mq_tensor tensor = *engine_tensor(c, place); /* a copy: the array may move */
  if (engine_lies_as(&tensor, layout)) {
    *arranged = place;
    return MQ_OK;
  }
  int64_t stride[MQ_MAX_RANK];
  if (layout == ENGINE_ROW_MAJOR) {
    mq_stride_row_major(stride, &tensor.shape);
  } else if (layout == ENGINE_CHANNELS_LAST) {
    mq_stride_channels_last(stride, &tensor.shape);
  } else {
    default_stride(stride, &tensor.shape);
  }
  mq_status status = engine_new_place(arranged, c, tensor.dtype, &tensor.shape, stride, err);
  if (status != MQ_OK) {
    return status;
  }
  return engine_emit_simple(c, &engine_copy_function, NULL, &place, 1, *arranged, err);
}

mq_status engine_read(int *place, struct engine_compiler *c, const struct mq_value *value,
                      engine_layout layout, struct mq_err *err) {
  int *known = &c->place_of[value->index];
  if (*known < 0 && value->constant) {
    mq_status status = c->is_constant[value->index] ? engine_new_constant(known, c, value->constant, err)
                                                    : engine_read_variable(known, c, value, err);
    if (status != MQ_OK) {
      return status;
    }
  }
  assert(*known >= 0 && "the graph is sorted");
  mq_status status = c->training ? engine_decode(known, c, value, err) : MQ_OK;
  if (status == MQ_OK) {
    status = engine_arrange(place, c, *known, layout, err);
  }
  if (status == MQ_OK) {
    c->place_of[value->index] = *place; /* whoever reads it next finds it arranged */
  }
  return status;
}

mq_status engine_read_float(int *place, struct engine_compiler *c, const struct mq_node *node, int input,
                            engine_layout layout, struct mq_err *err) {
  const struct mq_value *value = node->inputs[input];
  if (value->dtype != MQ_F32) {
    return engine_fail_unsupported(node, err, "input %s is %s, expected float32", value->name,
                                   mq_dtype_get(value->dtype)->name);
  }
  return engine_read(place, c, value, layout, err);
}

bool engine_can_overwrite(const struct engine_compiler *c, int place) {
  int buffer = c->engine->places[place].buffer;
  if (buffer < 0 || c->options->memory != MQ_MEMORY_FORWARD) {
    return false;
  }
  for (size_t i = 0; i < c->graph->n_values; i++) {
    const struct mq_value *value = c->graph->values[i];
    int other = c->place_of[value->index];
    if (other < 0 || c->engine->places[other].buffer != buffer) {
      continue;
    }
    if (value->is_output) {
      return false;
    }
    for (size_t u = 0; u < value->n_uses; u++) {
      if (!c->is_done[value->uses[u].node->index]) {
        return false;
      }
    }
  }
  return true;
}

mq_status engine_like(int *result, struct engine_compiler *c, int place, struct mq_err *err) {
  struct mq_tensor tensor = *engine_tensor(c, place);
  assert(engine_is_dense(&tensor));
  if (engine_can_overwrite(c, place)) {
    return engine_new_view(result, c, place, &tensor, 0, err);
  }
  return engine_new_place(result, c, tensor.dtype, &tensor.shape, tensor.stride, err);
}
