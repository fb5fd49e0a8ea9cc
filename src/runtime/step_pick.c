/* Slices, gathers and transposes, of any type: every dimension of the output has a table of places in the
 * input, whose sum is the element's. */
#include <string.h>

#include "runtime/ops.h"

struct pick {
  int32_t rank;
  const int32_t *dim;                   /* of the output */
  int64_t *places[MQ_PROGRAM_MAX_RANK]; /* bytes from the first pixel */
  bool is_run;                          /* along the last dimension bytes follow each other */
};

static bool can(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  (void)runtime;
  return step->kind == MQ_STEP_SLICE || step->kind == MQ_STEP_GATHER || step->kind == MQ_STEP_TRANSPOSE;
}

/* Bytes from one index of the input's dimension to the next. */
static void find_strides(int64_t *stride, const struct mq_program_tensor *x,
                         const struct runtime_layout *layout) {
  int64_t rows = layout->row_bytes;
  for (int32_t i = x->rank - 1; i >= 0; i--)
    if (i == x->rank - 1) {
      stride[i] = layout->element_bytes;
    } else if (i == x->rank - 2) {
      stride[i] = layout->pixel_bytes;
    } else {
      stride[i] = rows;
      rows *= x->dim[i];
    }
}

static int64_t place_of(const struct mq_program_step *step, const int64_t *stride, int32_t axis, int64_t i) {
  if (step->kind == MQ_STEP_TRANSPOSE) return i * stride[step->as.transpose.perm[axis]];
  if (step->kind == MQ_STEP_SLICE)
    return (step->as.slice.start[axis] + i * step->as.slice.step[axis]) * stride[axis];
  return (axis == step->as.gather.axis ? step->as.gather.index[i] : i) * stride[axis];
}

static mq_status prepare(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  const struct mq_program_tensor *y = program_output(runtime->program, step->step);
  const struct runtime_layout *layout = runtime_input(runtime, step->step, 0);
  int64_t stride[MQ_PROGRAM_MAX_RANK] = {0};
  struct pick *pick = mq_arena_alloc(&runtime->arena, 1, sizeof *pick);
  if (pick == NULL) return mq_fail_memory(err, "a move");
  *pick = (struct pick){.rank = y->rank, .dim = y->dim, .is_run = true};
  step->own = pick;
  step->n_units = runtime_output(runtime, step->step)->rows;
  find_strides(stride, program_input(runtime->program, step->step, 0), layout);
  for (int32_t axis = 0; axis < y->rank; axis++) {
    pick->places[axis] = mq_arena_alloc(&runtime->arena, (size_t)y->dim[axis], sizeof(int64_t));
    if (pick->places[axis] == NULL) return mq_fail_memory(err, "a move");
    for (int64_t i = 0; i < y->dim[axis]; i++)
      pick->places[axis][i] = place_of(step->step, stride, axis, i);
  }
  const int32_t end = y->rank - 1;
  for (int64_t i = 1; end >= 0 && i < y->dim[end]; i++)
    pick->is_run = pick->is_run && pick->places[end][i] - pick->places[end][i - 1] == layout->element_bytes;
  return MQ_OK;
}

static void copy_each(unsigned char *to, const unsigned char *from, const int64_t *places, int64_t n,
                      int64_t bytes) {
  if (bytes == 1)
    for (int64_t i = 0; i < n; i++)
      to[i] = from[places[i]];
  else if (bytes == 4)
    for (int64_t i = 0; i < n; i++)
      memcpy(to + 4 * i, from + places[i], 4);
  else
    for (int64_t i = 0; i < n; i++)
      memcpy(to + bytes * i, from + places[i], (size_t)bytes);
}

/* Where the row of the output begins: its index is that of all dimensions but the last two. */
static int64_t place_of_row(const struct pick *pick, int64_t row) {
  int64_t place = 0;
  for (int32_t axis = pick->rank - 3; axis >= 0; axis--) {
    place += pick->places[axis][row % pick->dim[axis]];
    row /= pick->dim[axis];
  }
  return place;
}

static void run(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct pick *pick = step->own;
  const struct runtime_layout *y = runtime_output(frame->runtime, s);
  const unsigned char *x = frame->data[s->inputs[0]];
  static const int64_t zero[1] = {0};
  const int64_t *columns = pick->rank > 1 ? pick->places[pick->rank - 2] : zero;
  const int64_t *channels = pick->rank > 0 ? pick->places[pick->rank - 1] : zero;
  for (int64_t row = first; row < last; row++) {
    const unsigned char *from = x + place_of_row(pick, row);
    unsigned char *to = runtime_pixel(y, frame->data[s->output], row, 0);
    for (int64_t column = 0; column < y->columns; column++, to += y->pixel_bytes)
      if (pick->is_run)
        memcpy(to, from + columns[column] + channels[0], (size_t)y->pixel_bytes);
      else
        copy_each(to, from + columns[column], channels, y->channels, y->element_bytes);
  }
}

const struct runtime_op runtime_op_pick = {.name = "pick", .can = can, .prepare = prepare, .run = run};
