/* Concat and Gather: parts copied into the places they get in the output. */
#include <string.h>

#include "engine/compile.h"

static void *element_at(const struct mq_tensor *tensor, int64_t offset) {
  return (char *)tensor->data + offset * (int64_t)mq_dtype_get(tensor->dtype)->bytes;
}

/* ---- Concat ------------------------------------------------------------------------------------- */
struct axis_state {
  int axis;
};

static mq_status forward_concat(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct axis_state *state = step->state;
  const struct mq_tensor *y = engine_output(step, frame, 0);
  int64_t start = 0;
  for (int i = 0; i < step->n_inputs; i++) {
    const struct mq_tensor *x = engine_input(step, frame, i);
    struct mq_tensor part = *y;
    part.shape = x->shape;
    part.data = element_at(y, start * y->stride[state->axis]);
    engine_copy(&part, x);
    start += x->shape.dim[state->axis];
  }
  return MQ_OK;
}

static mq_status backward_concat(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  (void)err;
  const struct axis_state *state = step->state;
  const struct mq_tensor *g = engine_output_gradient(step, frame, 0);
  int64_t start = 0;
  for (int i = 0; i < step->n_inputs; i++) {
    struct mq_tensor *d = engine_input_gradient(step, frame, i), part = *g;
    const struct mq_tensor *x = engine_input(step, frame, i);
    part.shape = x->shape;
    part.data = element_at(g, start * g->stride[state->axis]);
    if (d->data) {
      engine_pass_gradient(d, &part, step->adds[i]);
    }
    start += x->shape.dim[state->axis];
  }
  return MQ_OK;
}

static const struct engine_function concat_function = {.forward = forward_concat,
                                                       .backward = backward_concat};

static mq_status compile_concat(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  void *block, *list;
  int y;
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct axis_state), err);
  if (status == MQ_OK) {
    status = engine_alloc(&list, c, (size_t)node->n_inputs, sizeof(int), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct axis_state *state = block;
  int *inputs = list;
  status = mq_node_get_axis(&state->axis, node, 1, node->outputs[0]->shape.rank, err);
  for (int i = 0; i < node->n_inputs && status == MQ_OK; i++) {
    status = engine_read(&inputs[i], c, node->inputs[i], ENGINE_ANY, err);
  }
  if (status == MQ_OK) {
    status = engine_new_output(&y, c, node, 0, NULL, err);
  }
  return status == MQ_OK ? engine_emit_simple(c, &concat_function, state, inputs, node->n_inputs, y, err)
                         : status;
}

const struct engine_op engine_op_Concat = {.compile = compile_concat, .function = &concat_function};

/* ---- Gather ------------------------------------------------------------------------------------- */
/* Plane `index` of x along the axis, and plane j of y, where y's index dimensions count as one. */
struct gather_planes {
  struct mq_tensor of_x, of_y;
};

static struct gather_planes find_planes(const struct mq_tensor *y, int64_t j, int index_rank,
                                        const struct mq_tensor *x, int64_t index, int axis) {
  struct mq_tensor from = *x, to = *x;
  for (int i = 0; i < x->shape.rank; i++) {
    to.stride[i] = y->stride[i < axis ? i : i + index_rank - 1];
  }
  from.shape.dim[axis] = to.shape.dim[axis] = 1;
  int64_t step = index_rank ? y->stride[axis + index_rank - 1] : 0;
  from.data = element_at(x, index * x->stride[axis]);
  to.data = element_at(y, j * step);
  to.stride[axis] = 1;
  return (struct gather_planes){.of_x = from, .of_y = to};
}

struct gather_state {
  int axis;
  const char *node;
};

static mq_status forward_gather(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  const struct gather_state *state = step->state;
  const struct mq_tensor *x = engine_input(step, frame, 0), *indices = engine_input(step, frame, 1);
  int64_t n = mq_shape_count(&indices->shape), size = x->shape.dim[state->axis];
  for (int64_t j = 0; j < n; j++) {
    int64_t index = mq_tensor_get_int(indices, j);
    if (index < -size || index >= size) {
      return mq_fail(err, MQ_BAD_INPUT, "node %s (Gather): index %lld, expected %lld to %lld", state->node,
                     (long long)index, (long long)-size, (long long)size - 1);
    }
    struct gather_planes planes = find_planes(engine_output(step, frame, 0), j, indices->shape.rank, x,
                                              index < 0 ? index + size : index, state->axis);
    engine_copy(&planes.of_y, &planes.of_x);
  }
  return MQ_OK;
}

/* A plane that was taken several times gets the sum, in the order of the indices. */
static mq_status backward_gather(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  (void)err;
  const struct gather_state *state = step->state;
  const struct mq_tensor *d = engine_input_gradient(step, frame, 0), *indices = engine_input(step, frame, 1);
  int64_t n = mq_shape_count(&indices->shape), size = d->shape.dim[state->axis];
  if (!step->adds[0]) {
    engine_zero(d);
  }
  for (int64_t j = 0; j < n; j++) {
    int64_t index = mq_tensor_get_int(indices, j);
    struct gather_planes planes = find_planes(engine_output_gradient(step, frame, 0), j, indices->shape.rank,
                                              d, index < 0 ? index + size : index, state->axis);
    engine_pass_gradient(&planes.of_x, &planes.of_y, true);
  }
  return MQ_OK;
}

static const struct engine_function gather_function = {
    .forward = forward_gather, .backward = backward_gather, .keeps_inputs = true, .ignores = 1u << 1};

static mq_status compile_gather(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  void *block;
  int inputs[2], y;
  int64_t stride[MQ_MAX_RANK];
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  mq_stride_row_major(stride, &shape);
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct gather_state), err);
  if (status != MQ_OK) {
    return status;
  }
  struct gather_state *state = block;
  state->node = mq_arena_strdup(&c->engine->arena, node->name);
  if (!state->node) {
    return mq_fail_memory(err, "engine plan");
  }
  status = mq_node_get_axis(&state->axis, node, 0, node->inputs[0]->shape.rank, err);
  for (int i = 0; i < 2 && status == MQ_OK; i++) {
    status = engine_read(&inputs[i], c, node->inputs[i], ENGINE_ANY, err);
  }
  if (status == MQ_OK) {
    status = engine_new_output(&y, c, node, 0, stride, err);
  }
  return status == MQ_OK ? engine_emit_simple(c, &gather_function, state, inputs, 2, y, err) : status;
}

const struct engine_op engine_op_Gather = {.compile = compile_gather, .function = &gather_function};
