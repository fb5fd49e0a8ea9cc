/* Adds of codes, and floats that become codes. */
#include "engine/exact/exact.h"

#define BLOCK 1024 /* elements at a time: their codes stay in the first cache */

/* ---- Points ----------------------------------------------------------------------------------------- */
struct point_state {
  const struct mq_exact_arithmetic *arithmetic;
  struct mq_exact_grid y;
};

static mq_status forward_point(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct point_state *s = step->state;
  const float *x = engine_input(step, frame, 0)->data;
  float *y = engine_output(step, frame, 0)->data;
  int64_t n = mq_shape_count(&engine_input(step, frame, 0)->shape);
  int32_t codes[BLOCK];
  for (int64_t first = 0; first < n; first += BLOCK) {
    int64_t count = n - first < BLOCK ? n - first : BLOCK;
    s->arithmetic->quantize(codes, x + first, count, &s->y);
    exact_values(y + first, codes, count, &s->y);
  }
  return MQ_OK;
}

static const struct engine_function point_function = {.forward = forward_point};

mq_status exact_compile_point(struct engine_compiler *c, const struct exact_group *group,
                              struct mq_err *err) {
  int x, y;
  void *block;
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct point_state), err);
  if (status != MQ_OK) {
    return status;
  }
  struct point_state *s = block;
  s->arithmetic = c->exact->arithmetic;
  s->y = exact_grid(group->y);
  status = engine_read_float(&x, c, group->head, 0, ENGINE_DENSE, err);
  if (status == MQ_OK) {
    status = engine_like(&y, c, x, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  engine_bind(c, group->output, y);
  return engine_emit_simple(c, &point_function, s, &x, 1, y, err);
}

/* ---- Adds ------------------------------------------------------------------------------------------- */
struct add_state {
  const struct mq_exact_arithmetic *arithmetic;
  struct mq_exact_add add;
  struct mq_exact_grid y;
};

static mq_status forward_add(const struct engine_step *step, struct engine_frame *frame, struct mq_err *err) {
  (void)err;
  const struct add_state *s = step->state;
  const float *a = engine_input(step, frame, 0)->data, *b = engine_input(step, frame, 1)->data;
  float *y = engine_output(step, frame, 0)->data;
  int64_t n = mq_shape_count(&engine_output(step, frame, 0)->shape);
  int32_t codes_a[BLOCK], codes_b[BLOCK], codes[BLOCK];
  for (int64_t first = 0; first < n; first += BLOCK) {
    int64_t count = n - first < BLOCK ? n - first : BLOCK;
    exact_codes(codes_a, a + first, count, &s->add.a);
    exact_codes(codes_b, b + first, count, &s->add.b);
    s->arithmetic->add(codes, codes_a, codes_b, count, &s->add, &s->y);
    exact_values(y + first, codes, count, &s->y);
  }
  return MQ_OK;
}

static const struct engine_function add_function = {.forward = forward_add};

/* An operand in the result's shape (broadcast by stride 0), channels last. */
static mq_status read_operand(int *place, struct engine_compiler *c, const struct exact_group *group,
                              int input, const struct mq_shape *shape, struct mq_err *err) {
  mq_status status = engine_read_float(place, c, group->head, input, ENGINE_ANY, err);
  if (status != MQ_OK) {
    return status;
  }
  const struct mq_tensor from = *engine_tensor(c, *place);
  if (mq_shape_equal(&from.shape, shape)) {
    return engine_arrange(place, c, *place, ENGINE_CHANNELS_LAST, err);
  }
  struct mq_tensor view = from;
  int lead = shape->rank - from.shape.rank;
  view.shape = *shape;
  for (int i = 0; i < shape->rank; i++) {
    view.stride[i] = i < lead || from.shape.dim[i - lead] == 1 ? 0 : from.stride[i - lead];
  }
  status = engine_new_view(place, c, *place, &view, 0, err);
  return status == MQ_OK ? engine_arrange(place, c, *place, ENGINE_CHANNELS_LAST, err) : status;
}

mq_status exact_compile_add(struct engine_compiler *c, const struct exact_group *group, struct mq_err *err) {
  int operands[2], y;
  void *block;
  struct mq_shape shape = engine_shape(c, group->head->outputs[0]);
  int64_t stride[MQ_MAX_RANK];
  mq_stride_channels_last(stride, &shape);
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct add_state), err);
  if (status != MQ_OK) {
    return status;
  }
  struct add_state *s = block;
  s->arithmetic = c->exact->arithmetic;
  s->y = exact_output_grid(c, group);
  s->add.a = exact_grid(group->x[0]);
  s->add.b = exact_grid(group->x[1]);
  for (int i = 0; i < 2 && status == MQ_OK; i++) {
    status = read_operand(&operands[i], c, group, i, &shape, err);
  }
  if (status == MQ_OK) {
    status = s->arithmetic->make_add(&s->add, &s->y, err);
  }
  if (status == MQ_OK) {
    status = engine_new_place(&y, c, MQ_F32, &shape, stride, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  engine_bind(c, group->output, y);
  return engine_emit_simple(c, &add_function, s, operands, 2, y, err);
}
