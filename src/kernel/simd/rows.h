/* Loops over rows of float32: broadcasting arithmetic and softmax. */
#ifndef MQ_KERNEL_SIMD_ROWS_H
#define MQ_KERNEL_SIMD_ROWS_H

#include "kernel/simd.h"

/* y is contiguous within a row; a and b step by 0 (one value for the whole row) or 1. */
struct mq_simd_row_steps {
  int64_t n_rows, n_columns;
  int64_t y_row, a_row, b_row;
  int64_t a_column, b_column;
};

struct mq_simd_rows {
  /* y may be a or b where it steps like them. */
  void (*binary)(float *y, const float *a, const float *b, const struct mq_simd_row_steps *steps,
                 mq_binary binary);
  void (*softmax)(float *y, const float *x, int64_t n_rows, int64_t row_count, bool is_log);
};
MQ_SIMD_DECLARE(mq_simd_rows)

#endif
