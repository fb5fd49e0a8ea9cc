/* Concat: runs of bytes, one input after the other. */
#include <string.h>

#include "runtime/internal.h"

static bool can(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  (void)runtime;
  return step->kind == MQ_STEP_CONCAT;
}

/* Along the channels: pixel by pixel. */
static void join_channels(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                          int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct runtime_layout *y = runtime_output(frame->runtime, s);
  int64_t at = 0;
  for (uint32_t i = 0; i < s->n_inputs; i++) {
    const struct runtime_layout *x = runtime_input(frame->runtime, s, i);
    for (int64_t row = first; row < last; row++)
      for (int64_t column = 0; column < y->columns; column++)
        memcpy(runtime_pixel(y, frame->data[s->output], row, column) + at,
               runtime_pixel(x, frame->data[s->inputs[i]], row, column), (size_t)x->pixel_bytes);
    at += x->pixel_bytes;
  }
}

static void join_columns(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                         int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct runtime_layout *y = runtime_output(frame->runtime, s);
  int64_t column = 0;
  for (uint32_t i = 0; i < s->n_inputs; i++) {
    const struct runtime_layout *x = runtime_input(frame->runtime, s, i);
    for (int64_t row = first; row < last; row++)
      memcpy(runtime_pixel(y, frame->data[s->output], row, column),
             runtime_pixel(x, frame->data[s->inputs[i]], row, 0), (size_t)(x->columns * x->pixel_bytes));
    column += x->columns;
  }
}

/* An axis that is part of the rows: `block` rows of each input in turn; every unit is such a turn. */
static void join_rows(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                      int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct mq_runtime *runtime = frame->runtime;
  const struct runtime_layout *y = runtime_output(runtime, s);
  for (int64_t turn = first; turn < last; turn++) {
    int64_t row = turn * (y->rows / step->n_units);
    for (uint32_t i = 0; i < s->n_inputs; i++) {
      const struct runtime_layout *x = runtime_input(runtime, s, i);
      const int64_t n = x->rows / step->n_units;
      for (int64_t r = 0; r < n; r++, row++)
        memcpy(runtime_pixel(y, frame->data[s->output], row, 0),
               runtime_pixel(x, frame->data[s->inputs[i]], turn * n + r, 0),
               (size_t)(x->columns * x->pixel_bytes));
    }
  }
}

static mq_status prepare(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  (void)err;
  const struct mq_program_tensor *y = program_output(runtime->program, step->step);
  const int32_t axis = step->step->as.concat.axis;
  if (axis >= y->rank - 2) {
    step->n_units = runtime_output(runtime, step->step)->rows;
    return MQ_OK;
  }
  for (int32_t i = 0; i < axis; i++)
    step->n_units *= y->dim[i];
  return MQ_OK;
}

static void run(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                int64_t last) {
  const int32_t rank = program_output(frame->runtime->program, step->step)->rank;
  const int32_t axis = step->step->as.concat.axis;
  (axis == rank - 1 ? join_channels : axis == rank - 2 ? join_columns : join_rows)(step, frame, first, last);
}

const struct runtime_op runtime_op_concat = {.name = "concat", .can = can, .prepare = prepare, .run = run};
