/* A step by the reference executor's own loops. */
#include "runtime/internal.h"

#define MAX_INPUTS 2

/* What a loop of our own does not do is done here; concat, which has any number of inputs, has one. */
static bool can(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  (void)runtime;
  return step->n_inputs <= MAX_INPUTS;
}

static size_t plain_room(const struct mq_program_tensor *tensor) {
  return runtime_round(mq_program_tensor_bytes(tensor));
}

static mq_status prepare(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err) {
  (void)err;
  size_t bytes = plain_room(program_output(runtime->program, step->step));
  for (uint32_t i = 0; i < step->step->n_inputs; i++)
    bytes += plain_room(program_input(runtime->program, step->step, i));
  runtime_want_scratch(runtime, bytes);
  return MQ_OK;
}

/* The tensor as the reference wants it: where it is, or copied into scratch memory. */
static const void *plain_input(const struct runtime_layout *layout, unsigned char *data,
                               unsigned char *scratch) {
  if (runtime_is_plain(layout)) return data;
  runtime_fetch(layout, scratch, data);
  return scratch;
}

/* A program of this step and its tensors: inputs are "constants", the output is all of the arena. */
static void run(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
                int64_t last) {
  (void)first;
  (void)last;
  const struct mq_program *program = frame->runtime->program;
  const struct mq_program_step *whole = step->step;
  const struct runtime_layout *y = runtime_output(frame->runtime, whole);
  struct mq_program_tensor tensors[MAX_INPUTS + 1];
  uint32_t inputs[MAX_INPUTS];
  unsigned char *scratch = frame->scratch;
  const uint32_t n = whole->n_inputs;
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t t = whole->inputs[i];
    inputs[i] = i;
    tensors[i] = program->tensors[t];
    tensors[i].constant = plain_input(&frame->runtime->layouts[t], frame->data[t], scratch);
    scratch += plain_room(&tensors[i]);
  }
  tensors[n] = program->tensors[whole->output];
  tensors[n].offset = 0;
  struct mq_program_step one = *whole;
  one.inputs = inputs;
  one.output = n;
  const struct mq_program alone = {
      .name = program->name, .tensors = tensors, .n_tensors = n + 1, .steps = &one, .n_steps = 1};
  const bool is_plain = runtime_is_plain(y);
  const struct program_frame of_program = {.program = &alone,
                                           .arena = is_plain ? frame->data[whole->output] : scratch};
  program_op_get(whole->kind)->run(&of_program, &one);
  if (!is_plain) runtime_store(y, frame->data[whole->output], scratch);
}

const struct runtime_op runtime_op_reference = {
    .name = "reference", .can = can, .prepare = prepare, .run = run};
