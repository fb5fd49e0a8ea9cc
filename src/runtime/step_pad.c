/* Pads of tensors of up to three dimensions: rows are filled, and what is inside is copied. */
#include <string.h>

#include "runtime/ops.h"

struct pad {
  int64_t begin[3]; /* of rows, columns and channels */
};

static bool can(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  const struct mq_program_tensor *y = program_output(runtime->program, step);
  return step->kind == MQ_STEP_PAD && y->rank <= 3;
}

static mq_status prepare(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  const int32_t rank = program_output(runtime->program, step->step)->rank;
  struct pad *pad = mq_arena_alloc(&runtime->arena, 1, sizeof *pad);
  if (pad == NULL) return mq_fail_memory(err, "a pad");
  for (int32_t i = 0; i < rank; i++)
    pad->begin[3 - rank + i] = step->step->as.pad.begin[i];
  step->own = pad;
  step->n_units = runtime_output(runtime, step->step)->rows;
  return MQ_OK;
}

/* n elements of the value, as codes are stored. */
static void fill(unsigned char *to, const struct mq_program_step *step, const struct mq_program_tensor *y,
                 const struct runtime_layout *layout, int64_t n) {
  if (layout->is_bytes) {
    memset(to, (int)((unsigned)(step->as.pad.code + layout->flip) & 0xff), (size_t)n);
    return;
  }
  for (int64_t i = 0; i < n; i++)
    if (program_is_float(y))
      memcpy(to + 4 * i, &step->as.pad.value, 4);
    else if (program_is_code(y))
      program_put_code(to, y->type, i, step->as.pad.code);
    else
      memcpy(to + 4 * i, &step->as.pad.code, 4);
}

static void run(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                int64_t last) {
  const struct mq_program_step *s = step->step;
  const struct pad *pad = step->own;
  const struct runtime_layout *x = runtime_input(frame->runtime, s, 0),
                              *y = runtime_output(frame->runtime, s);
  const struct mq_program_tensor *tensor = program_output(frame->runtime->program, s);
  for (int64_t row = first; row < last; row++) {
    const int64_t from = row - pad->begin[0];
    fill(runtime_pixel(y, frame->data[s->output], row, 0), s, tensor, y, y->columns * y->channels);
    if (from < 0 || from >= x->rows) continue;
    for (int64_t column = 0; column < x->columns; column++)
      memcpy(runtime_pixel(y, frame->data[s->output], row, column + pad->begin[1]) +
                 pad->begin[2] * y->element_bytes,
             runtime_pixel(x, frame->data[s->inputs[0]], from, column), (size_t)x->pixel_bytes);
  }
}

const struct runtime_op runtime_op_pad = {.name = "pad", .can = can, .prepare = prepare, .run = run};
