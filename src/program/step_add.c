/* Sums of two tensors of codes. */
#include "program/arith.h"
#include "program/file.h"

static mq_program_status check(const struct mq_program *program, const struct mq_program_step *step,
                               struct mq_program_err *err) {
  const struct mq_program_tensor *a = program_input(program, step, 0), *b = program_input(program, step, 1);
  const struct mq_program_tensor *y = program_output(program, step);
  struct mq_program_add add;
  if (!program_is_code(a) || !program_is_code(b) || !program_is_code(y))
    return program_fail_step(err, program, step, "expected codes in and out");
  if (!program_broadcasts(a, y) || !program_broadcasts(b, y))
    return program_fail_step(err, program, step,
                             "expected operands whose dimensions are the output's or 1, of its rank");
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  if (arithmetic->add == NULL)
    return program_fail_step(err, program, step, "%s adds no codes", arithmetic->name);
  if (arithmetic->make_add(&add, a, b, y, err) == MQ_PROGRAM_OK) return MQ_PROGRAM_OK;
  return program_blame_step(err, program, step);
}

static void run(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *a = program_input(frame->program, step, 0);
  const struct mq_program_tensor *b = program_input(frame->program, step, 1);
  const struct mq_program_tensor *y = program_output(frame->program, step);
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  const struct mq_program_output output = mq_program_get_output(frame->program, step);
  const void *from_a = program_read(frame, step->inputs[0]), *from_b = program_read(frame, step->inputs[1]);
  struct program_walk at_a = program_walk_broadcast(y, a), at_b = program_walk_broadcast(y, b);
  struct mq_program_add add;
  if (arithmetic->make_add(&add, a, b, y, NULL) != MQ_PROGRAM_OK) return; /* cannot be: checked */
  for (int64_t i = 0, n = mq_program_elements(y); i < n; i++) {
    const int32_t code_a = program_get_code(from_a, a->type, at_a.at);
    const int32_t code_b = program_get_code(from_b, b->type, at_b.at);
    program_put_code(program_write_to(frame, step), y->type, i,
                     arithmetic->add(code_a, code_b, &add, &output));
    program_walk_next(&at_a);
    program_walk_next(&at_b);
  }
}

const struct program_op program_op_add = {
    .name = "add",
    .min_inputs = 2,
    .max_inputs = 2,
    .rounds = true,
    .check = check,
    .run = run,
};
