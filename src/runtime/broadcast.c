#include "runtime/broadcast.h"

#include <string.h>

static bool is_one_or(int64_t n, int64_t of) {
  return n == 1 || n == of;
}

/* Of more than three dimensions, several are rows: they repeat together or not at all. */
static bool can_repeat(const struct mq_program_tensor *x, const struct mq_program_tensor *y) {
  int64_t n = 1, n_y = 1;
  for (int32_t i = 0; i + 2 < x->rank; i++) {
    n *= x->dim[i];
    n_y *= y->dim[i];
  }
  return x->rank == y->rank && is_one_or(n, n_y);
}

bool runtime_broadcast_can(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  const struct mq_program_tensor *y = program_output(runtime->program, step);
  return can_repeat(program_input(runtime->program, step, 0), y) &&
         can_repeat(program_input(runtime->program, step, 1), y);
}

static bool is_whole(const struct runtime_layout *x, const struct runtime_layout *y) {
  return x->rows == y->rows && x->columns == y->columns && x->channels == y->channels;
}

/* Of a row that has to be made. */
static size_t row_bytes(const struct runtime_layout *y, const struct runtime_layout *x) {
  return is_whole(x, y) ? 0 : runtime_round((size_t)(y->columns * y->channels * x->element_bytes));
}

size_t runtime_broadcast_bytes(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  const struct runtime_layout *y = runtime_output(runtime, step);
  size_t bytes = 0;
  for (uint32_t i = 0; i < 2; i++)
    bytes += row_bytes(y, runtime_input(runtime, step, i));
  return bytes;
}

struct runtime_operand runtime_operand_of(const struct runtime_step *step, const struct runtime_frame *frame,
                                          uint32_t i, unsigned char *scratch) {
  const struct mq_runtime *runtime = frame->runtime;
  const struct runtime_layout *x = runtime_input(runtime, step->step, i);
  const struct runtime_layout *y = runtime_output(runtime, step->step);
  if (i > 0) scratch += row_bytes(y, runtime_input(runtime, step->step, 0));
  return (struct runtime_operand){.x = x,
                                  .y = y,
                                  .data = frame->data[step->step->inputs[i]],
                                  .made = is_whole(x, y) ? NULL : scratch,
                                  .made_row = -1};
}

/* A pixel of the output's channels: the operand's, or its only one again and again. */
static void put_pixel(unsigned char *to, const unsigned char *from, const struct runtime_operand *operand) {
  const int64_t n = operand->y->channels, bytes = operand->x->element_bytes;
  if (operand->x->channels == n)
    memcpy(to, from, (size_t)(n * bytes));
  else if (bytes == 1)
    memset(to, *from, (size_t)n);
  else
    for (int64_t c = 0; c < n; c++)
      memcpy(to + c * bytes, from, (size_t)bytes);
}

const unsigned char *runtime_operand_row(struct runtime_operand *operand, int64_t row) {
  const struct runtime_layout *x = operand->x, *y = operand->y;
  const int64_t x_row = x->rows == 1 ? 0 : row, bytes = y->channels * x->element_bytes;
  if (operand->made == NULL) return runtime_pixel(x, operand->data, row, 0);
  if (operand->made_row == x_row) return operand->made;
  for (int64_t column = 0; column < y->columns; column++)
    put_pixel(operand->made + column * bytes,
              runtime_pixel(x, operand->data, x_row, x->columns == 1 ? 0 : column), operand);
  operand->made_row = x_row;
  return operand->made;
}
