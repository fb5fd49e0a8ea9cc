/* Cross entropy of the graph's first output, with label smoothing; mean over the images of the batch. A
 * Softmax at the end of the graph is part of the loss. */
#include <string.h>

#include "engine/train/training.h"

struct loss_state {
  int64_t n_classes, n_rows;
  double smoothing, weight; /* weight: 1 / images of the batch */
};

enum {
  LOSS_SUM,
  LOSS_CORRECT,
  LOSS_IMAGES,
  LOSS_COUNT
};

static mq_status forward_loss(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  (void)err;
  const struct loss_state *s = step->state;
  double *sums = engine_output(step, frame, 0)->data, *losses = frame->scratch;
  bool *is_correct = (void *)(losses + s->n_rows);
  memset(sums, 0, LOSS_COUNT * sizeof *sums);
  mq_cross_entropy_rows(losses, NULL, is_correct, engine_input(step, frame, 0)->data, frame->labels,
                        s->n_rows, s->n_classes, s->smoothing, s->weight);
  for (int64_t r = 0; r < s->n_rows; r++) {
    sums[LOSS_SUM] += losses[r];
    sums[LOSS_CORRECT] += is_correct[r];
    sums[LOSS_IMAGES] += frame->labels[r] >= 0;
  }
  return MQ_OK;
}

static mq_status backward_loss(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct loss_state *s = step->state;
  float *dx = engine_input_gradient(step, frame, 0)->data;
  const size_t n = (size_t)(s->n_rows * s->n_classes);
  float *own = step->adds[0] ? frame->scratch : dx;
  mq_cross_entropy_rows(NULL, own, NULL, engine_input(step, frame, 0)->data, frame->labels, s->n_rows,
                        s->n_classes, s->smoothing, s->weight);
  for (size_t i = 0; step->adds[0] && i < n; i++) {
    dx[i] += own[i];
  }
  return MQ_OK;
}

static const struct engine_function loss_function = {
    .forward = forward_loss, .backward = backward_loss, .keeps_inputs = true};

static void add_sums(void *into, const void *from, const void *state) {
  (void)state;
  double *a = into;
  const double *b = from;
  for (int i = 0; i < LOSS_COUNT; i++) {
    a[i] += b[i];
  }
}

static const struct mq_value *logits_of(const struct engine_compiler *c) {
  const struct mq_value *value = c->graph->outputs[0];
  const struct mq_node *node = value->producer;
  return node && node->op == MQ_OP_Softmax ? node->inputs[0] : value;
}

mq_status engine_compile_loss(struct engine_compiler *c, struct mq_err *err) {
  const struct mq_value *logits = logits_of(c);
  const struct mq_shape sums = {.rank = 1, .dim = {LOSS_COUNT}};
  int x, share;
  void *block;
  c->scope = ENGINE_SLICE;
  mq_status status = engine_read(&x, c, logits, ENGINE_ROW_MAJOR, err);
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, 1, sizeof(struct loss_state), err);
  }
  if (status == MQ_OK) {
    status = engine_new_place(&share, c, MQ_F64, &sums, NULL, err);
  }
  if (status == MQ_OK) {
    status = engine_set_gradient(c, share, MQ_F64, 1, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  const struct mq_shape shape = engine_tensor(c, x)->shape;
  struct loss_state *state = block;
  *state = (struct loss_state){.n_rows = c->images,
                               .n_classes = mq_shape_count(&shape) / c->images,
                               .smoothing = c->training->smoothing,
                               .weight = 1.0 / (double)c->training->batch};
  size_t losses = (size_t)state->n_rows * (sizeof(double) + sizeof(bool));
  size_t gradients = (size_t)(state->n_rows * state->n_classes) * sizeof(float);
  struct engine_step step = {.function = &loss_function,
                             .state = state,
                             .inputs = &x,
                             .n_inputs = 1,
                             .outputs = &share,
                             .n_outputs = 1,
                             .scratch_bytes = losses > gradients ? losses : gradients};
  status = engine_emit(c, &step, err);
  c->scope = ENGINE_BATCH;
  if (status == MQ_OK) {
    status = engine_new_place(&c->training->loss, c, MQ_F64, &sums, NULL, err);
  }
  if (status == MQ_OK) {
    status = engine_set_gradient(c, c->training->loss, MQ_F64, 1, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  const struct engine_reduction reduction = {.from = share, .to = c->training->loss, .merge = add_sums};
  return engine_add_reduction(c, &reduction, err);
}
