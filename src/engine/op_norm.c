/* BatchNormalization that no convolution took: one multiply and add per channel. */
#include <math.h>

#include "engine/train/training.h"

struct affine_state {
  int64_t rows, channels;
  const float *gain, *shift;
};

static mq_status forward_affine(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct affine_state *s = step->state;
  mq_loop_affine(engine_output(step, frame, 0)->data, engine_input(step, frame, 0)->data, s->rows,
                 s->channels, s->gain, s->shift, -INFINITY, INFINITY);
  return MQ_OK;
}

static const struct engine_function affine_function = {.forward = forward_affine};

static mq_status create_state(const struct affine_state **state, struct engine_compiler *c,
                              const struct mq_node *node, struct mq_err *err) {
  double *gain, *shift;
  int64_t n;
  void *block, *floats;
  mq_status status = engine_batch_norm(&gain, &shift, &n, &c->arena, node, err);
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, 1, sizeof **state, err);
  }
  if (status == MQ_OK) {
    status = engine_alloc(&floats, c, (size_t)n, 2 * sizeof(float), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  float *gains = floats, *shifts = gains + n;
  for (int64_t i = 0; i < n; i++) {
    gains[i] = (float)gain[i];
    shifts[i] = (float)shift[i];
  }
  struct affine_state *s = block;
  *s = (struct affine_state){.channels = n, .gain = gains, .shift = shifts};
  struct mq_shape shape = engine_shape(c, node->inputs[0]);
  s->rows = n ? mq_shape_count(&shape) / n : 0;
  *state = s;
  return MQ_OK;
}

static mq_status compile_exchanged(struct engine_compiler *c, const struct mq_node *node,
                                   struct mq_err *err) {
  int x, y;
  mq_status status = engine_read_float(&x, c, node, 0, ENGINE_CHANNELS_LAST, err);
  if (status == MQ_OK) {
    status = engine_like(&y, c, x, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  engine_bind(c, node->outputs[0], y);
  return engine_emit_exchange(c, node, x, y, err);
}

static mq_status compile_batch_norm(struct engine_compiler *c, const struct mq_node *node,
                                    struct mq_err *err) {
  int x, y;
  if (c->exchange_of[node->index]) {
    return compile_exchanged(c, node, err);
  }
  const struct affine_state *state;
  mq_status status = create_state(&state, c, node, err);
  if (status == MQ_OK) {
    status = engine_read_float(&x, c, node, 0, ENGINE_CHANNELS_LAST, err);
  }
  if (status == MQ_OK) {
    status = engine_like(&y, c, x, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  engine_bind(c, node->outputs[0], y);
  return engine_emit_simple(c, &affine_function, state, &x, 1, y, err);
}

const struct engine_op engine_op_BatchNormalization = {
    .compile = compile_batch_norm, .function = &affine_function, .train = engine_train_batch_norm};
