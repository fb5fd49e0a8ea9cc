/* Operands whose dimensions are the output's or 1, row by row. */
#ifndef MQ_RUNTIME_BROADCAST_H
#define MQ_RUNTIME_BROADCAST_H

#include "runtime/internal.h"

/* Both operands are of the output's shape, or repeat along rows, columns or channels of their layouts. */
bool runtime_broadcast_can(const struct mq_runtime *runtime, const struct mq_program_step *step);
/* What rows of operands take that have to be made; to be asked for of the scratch memory. */
size_t runtime_broadcast_bytes(const struct mq_runtime *runtime, const struct mq_program_step *step);

struct runtime_operand {
  const struct runtime_layout *x, *y;
  unsigned char *data, *made; /* made: a row of the output's size, or NULL */
  int64_t made_row;           /* -1: none */
};
/* Operands 0 and 1 of the step; scratch: of runtime_broadcast_bytes. */
struct runtime_operand runtime_operand_of(const struct runtime_step *step, const struct runtime_frame *frame,
                                          uint32_t i, unsigned char *scratch);
/* Its elements for a row of the output. */
const unsigned char *runtime_operand_row(struct runtime_operand *operand, int64_t row);

#endif
