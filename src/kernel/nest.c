#include "kernel/nest.h"

#include <assert.h>

/* Stride of `tensor` along dimension d of the whole shape, aligned at the last dimension. */
static int64_t broadcast_stride(const struct mq_tensor *tensor, const struct mq_shape *whole, int d) {
  const int own = d - (whole->rank - tensor->shape.rank);
  if (own < 0 || tensor->shape.dim[own] == 1) return 0;
  assert(tensor->shape.dim[own] == whole->dim[d]);
  return tensor->stride[own];
}

static bool can_merge(const struct mq_nest *nest, int outer, int inner) {
  for (int k = 0; k < nest->n_operands; k++)
    if (nest->stride[outer][k] != nest->stride[inner][k] * nest->dim[inner]) return false;
  return true;
}

/* Joins neighbours that every operand walks as one. */
static void merge(struct mq_nest *nest) {
  int rank = 0;
  for (int d = 0; d < nest->rank; d++) {
    if (rank > 0 && can_merge(nest, rank - 1, d)) {
      nest->dim[rank - 1] *= nest->dim[d];
    } else {
      nest->dim[rank++] = nest->dim[d];
    }
    for (int k = 0; k < nest->n_operands; k++)
      nest->stride[rank - 1][k] = nest->stride[d][k];
  }
  nest->rank = rank;
}

void mq_nest_init(struct mq_nest *nest, const struct mq_tensor *const *operands, int n_operands) {
  const struct mq_tensor *whole = operands[0];
  assert(n_operands <= MQ_NEST_OPERANDS);
  *nest = (struct mq_nest){.n_operands = n_operands};
  for (int d = 0; d < whole->shape.rank; d++) {
    if (whole->shape.dim[d] == 1) continue;
    int at = nest->rank++;
    for (; at > 0 && nest->stride[at - 1][0] < whole->stride[d]; at--) {
      nest->dim[at] = nest->dim[at - 1];
      for (int k = 0; k < n_operands; k++)
        nest->stride[at][k] = nest->stride[at - 1][k];
    }
    nest->dim[at] = whole->shape.dim[d];
    for (int k = 0; k < n_operands; k++)
      nest->stride[at][k] = broadcast_stride(operands[k], &whole->shape, d);
  }
  merge(nest);
}

void mq_nest_append(struct mq_nest *nest, const struct mq_nest *from, int d) {
  const int at = nest->rank++;
  nest->n_operands = from->n_operands;
  nest->dim[at] = from->dim[d];
  for (int k = 0; k < from->n_operands; k++)
    nest->stride[at][k] = from->stride[d][k];
}

/* An odometer. */
bool mq_nest_step(const struct mq_nest *nest, struct mq_nest_place *place) {
  for (int d = nest->rank - 1; d >= 0; d--) {
    for (int k = 0; k < nest->n_operands; k++)
      place->offset[k] += nest->stride[d][k];
    if (++place->index[d] < nest->dim[d]) return true;
    for (int k = 0; k < nest->n_operands; k++)
      place->offset[k] -= nest->stride[d][k] * nest->dim[d];
    place->index[d] = 0;
  }
  return false;
}
