/* NumPy broadcasting, reduced to as few loops over rows as the strides allow. */
#include <assert.h>

#include "kernel/simd/rows.h"

enum {
  Y,
  A,
  B,
  N_OPERANDS
};

/* Loop nest: dimension 0 outermost; strides in elements, 0 where an operand is broadcast. */
struct nest {
  int rank;
  int64_t dim[MQ_MAX_RANK];
  int64_t stride[MQ_MAX_RANK][N_OPERANDS];
};

/* Stride of `tensor` along dimension d of y's shape, aligned at the last dimension. */
static int64_t broadcast_stride(const struct mq_tensor *tensor, const struct mq_tensor *y, int d) {
  const int own = d - (y->shape.rank - tensor->shape.rank);
  if (own < 0 || tensor->shape.dim[own] == 1) return 0;
  assert(tensor->shape.dim[own] == y->shape.dim[d]);
  return tensor->stride[own];
}

/* Dimensions of y but those of size 1, in the order in which y lies in memory. */
static void nest_init(struct nest *nest, const struct mq_tensor *y, const struct mq_tensor *a,
                      const struct mq_tensor *b) {
  nest->rank = 0;
  for (int d = 0; d < y->shape.rank; d++) {
    if (y->shape.dim[d] == 1) continue;
    int at = nest->rank++;
    for (; at > 0 && nest->stride[at - 1][Y] < y->stride[d]; at--) {
      nest->dim[at] = nest->dim[at - 1];
      for (int k = 0; k < N_OPERANDS; k++)
        nest->stride[at][k] = nest->stride[at - 1][k];
    }
    nest->dim[at] = y->shape.dim[d];
    nest->stride[at][Y] = y->stride[d];
    nest->stride[at][A] = broadcast_stride(a, y, d);
    nest->stride[at][B] = broadcast_stride(b, y, d);
  }
}

static bool can_merge(const struct nest *nest, int outer, int inner) {
  for (int k = 0; k < N_OPERANDS; k++)
    if (nest->stride[outer][k] != nest->stride[inner][k] * nest->dim[inner]) return false;
  return true;
}

/* Joins neighbours that every operand walks as one. */
static void nest_merge(struct nest *nest) {
  int rank = 0;
  for (int d = 0; d < nest->rank; d++) {
    if (rank > 0 && can_merge(nest, rank - 1, d)) {
      nest->dim[rank - 1] *= nest->dim[d];
    } else {
      nest->dim[rank++] = nest->dim[d];
    }
    for (int k = 0; k < N_OPERANDS; k++)
      nest->stride[rank - 1][k] = nest->stride[d][k];
  }
  nest->rank = rank;
}

/* The two innermost dimensions, as rows and columns; what is missing counts 1. */
static struct mq_simd_row_steps inner_steps(const struct nest *nest) {
  const int column = nest->rank - 1, row = nest->rank - 2;
  struct mq_simd_row_steps steps = {.n_rows = 1, .n_columns = 1};
  if (column >= 0) {
    steps.n_columns = nest->dim[column];
    steps.a_column = nest->stride[column][A];
    steps.b_column = nest->stride[column][B];
  }
  if (row >= 0) {
    steps.n_rows = nest->dim[row];
    steps.y_row = nest->stride[row][Y];
    steps.a_row = nest->stride[row][A];
    steps.b_row = nest->stride[row][B];
  }
  return steps;
}

/* An innermost dimension with other steps than 0 and 1 (a transposed operand): every element is a row. */
static struct mq_simd_row_steps element_steps(const struct nest *nest) {
  const int inner = nest->rank - 1;
  return (struct mq_simd_row_steps){
      .n_rows = nest->dim[inner],
      .n_columns = 1,
      .y_row = nest->stride[inner][Y],
      .a_row = nest->stride[inner][A],
      .b_row = nest->stride[inner][B],
  };
}

static bool is_row_step(int64_t stride) {
  return stride == 0 || stride == 1;
}

void mq_binary_forward(struct mq_tensor *y, const struct mq_tensor *a, const struct mq_tensor *b,
                       mq_binary binary) {
  assert(y->dtype == MQ_F32 && a->dtype == MQ_F32 && b->dtype == MQ_F32);
  const struct mq_simd_rows *table = mq_simd_rows_at(mq_simd_level_used());
  struct nest nest;
  if (mq_shape_count(&y->shape) == 0) return;
  nest_init(&nest, y, a, b);
  nest_merge(&nest);
  const int64_t *inner = nest.stride[nest.rank > 0 ? nest.rank - 1 : 0];
  const bool has_rows = nest.rank == 0 || (inner[Y] == 1 && is_row_step(inner[A]) && is_row_step(inner[B]));
  const struct mq_simd_row_steps steps = has_rows ? inner_steps(&nest) : element_steps(&nest);
  const int n_outer = nest.rank - (has_rows ? 2 : 1);
  int64_t index[MQ_MAX_RANK] = {0}, offset[N_OPERANDS] = {0};
  for (int d = 0; d >= 0;) {
    table->binary((float *)y->data + offset[Y], (const float *)a->data + offset[A],
                  (const float *)b->data + offset[B], &steps, binary);
    /* Odometer over the outer dimensions; d < 0: all of them have turned over. */
    for (d = n_outer - 1; d >= 0; d--) {
      for (int k = 0; k < N_OPERANDS; k++)
        offset[k] += nest.stride[d][k];
      if (++index[d] < nest.dim[d]) break;
      for (int k = 0; k < N_OPERANDS; k++)
        offset[k] -= nest.stride[d][k] * nest.dim[d];
      index[d] = 0;
    }
  }
}
