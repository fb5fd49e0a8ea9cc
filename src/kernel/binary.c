/* NumPy broadcasting, reduced to as few loops over rows as the strides allow. */
#include <assert.h>

#include "kernel/nest.h"
#include "kernel/simd/rows.h"

enum {
  Y,
  A,
  B,
  N_OPERANDS
};

/* The two innermost dimensions, as rows and columns; what is missing counts 1. */
static struct mq_simd_row_steps inner_steps(const struct mq_nest *nest) {
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
static struct mq_simd_row_steps element_steps(const struct mq_nest *nest) {
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
  struct mq_nest nest;
  if (mq_shape_count(&y->shape) == 0) return;
  mq_nest_init(&nest, (const struct mq_tensor *const[N_OPERANDS]){y, a, b}, N_OPERANDS);
  const int64_t *inner = nest.stride[nest.rank > 0 ? nest.rank - 1 : 0];
  const bool has_rows = nest.rank == 0 || (inner[Y] == 1 && is_row_step(inner[A]) && is_row_step(inner[B]));
  const struct mq_simd_row_steps steps = has_rows ? inner_steps(&nest) : element_steps(&nest);
  nest.rank -= has_rows ? 2 : 1; /* below 0: nothing is left to walk */
  struct mq_nest_place place = {0};
  do {
    table->binary((float *)y->data + place.offset[Y], (const float *)a->data + place.offset[A],
                  (const float *)b->data + place.offset[B], &steps, binary);
  } while (mq_nest_step(&nest, &place));
}
