/* Loops over tensors that are broadcast to one shape, as few as their strides allow. */
#ifndef MQ_KERNEL_NEST_H
#define MQ_KERNEL_NEST_H

#include "mqbench/tensor.h"

#define MQ_NEST_OPERANDS 4

/* Dimension 0 is the outermost; strides in elements, 0 where an operand is broadcast. */
struct mq_nest {
  int rank, n_operands;
  int64_t dim[MQ_MAX_RANK];
  int64_t stride[MQ_MAX_RANK][MQ_NEST_OPERANDS];
};

/* Where a walk over a nest is; zero-initialised: at its beginning. */
struct mq_nest_place {
  int64_t index[MQ_MAX_RANK], offset[MQ_NEST_OPERANDS];
};

/* Operand 0 has the whole shape; its dimensions but those of size 1 are walked in the order in which they lie
 * in its memory, neighbours that every operand walks as one are joined. */
void mq_nest_init(struct mq_nest *nest, const struct mq_tensor *const *operands, int n_operands);
/* Appends dimension d of `from` as the innermost. */
void mq_nest_append(struct mq_nest *nest, const struct mq_nest *from, int d);
/* The next index; false (and back at the beginning) behind the last. */
bool mq_nest_step(const struct mq_nest *nest, struct mq_nest_place *place);

#endif
