/* Loops over rows of float32: broadcasting arithmetic and its gradients. */
#ifndef MQ_KERNEL_SIMD_ROWS_H
#define MQ_KERNEL_SIMD_ROWS_H

#include "kernel/simd.h"

/* y is contiguous within a row; a and b step by 0 (one value for the whole row) or 1. */
struct mq_simd_row_steps {
  int64_t n_rows, n_columns;
  int64_t y_row, a_row, b_row;
  int64_t a_column, b_column;
};

/* What an operand's gradient is made of; a and b step as above, or by anything (then slower). */
struct mq_simd_term_steps {
  int64_t g, a, b;
};

/* Columns of terms that go through memory at once. */
#define MQ_SIMD_TERMS 256
#define MQ_SIMD_TERM_LANES 16

struct mq_simd_rows {
  /* y may be a or b where it steps like them. */
  void (*binary)(float *y, const float *a, const float *b, const struct mq_simd_row_steps *steps,
                 mq_binary binary);
  /* term[j] = the gradient at operand `which` (0: a, 1: b) of y = a o b, in double; n <= MQ_SIMD_TERMS. What
   * the term does not depend on is not read. */
  void (*binary_terms)(double *term, const float *g, const float *a, const float *b, int64_t n,
                       const struct mq_simd_term_steps *steps, mq_binary binary, int which);
};
MQ_SIMD_DECLARE(mq_simd_rows)

#endif
