#include "kernel/simd/rows.h"

#include "kernel/simd/values.h"

MQ_ALWAYS_INLINE float apply(float a, float b, mq_binary binary) {
  switch (binary) {
    case MQ_BINARY_ADD:
      return a + b;
    case MQ_BINARY_SUB:
      return a - b;
    case MQ_BINARY_MUL:
      return a * b;
    case MQ_BINARY_DIV:
      return a / b;
    case MQ_BINARY_PRELU:
      break;
  }
  return a >= 0.0f ? a : b * a;
}

MQ_ALWAYS_INLINE void run_row(float *y, const float *a, const float *b, int64_t n, int64_t a_step,
                              int64_t b_step, mq_binary binary) {
  const float a0 = a[0], b0 = b[0];
  if (a_step == 1 && b_step == 1) {
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
      y[i] = apply(a[i], b[i], binary);
  } else if (a_step == 1) {
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
      y[i] = apply(a[i], b0, binary);
  } else if (b_step == 1) {
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++)
      y[i] = apply(a0, b[i], binary);
  } else {
    for (int64_t i = 0; i < n; i++)
      y[i] = apply(a0, b0, binary);
  }
}

MQ_ALWAYS_INLINE void run_rows(float *y, const float *a, const float *b,
                               const struct mq_simd_row_steps *steps, mq_binary kind) {
  for (int64_t r = 0; r < steps->n_rows; r++)
    run_row(y + r * steps->y_row, a + r * steps->a_row, b + r * steps->b_row, steps->n_columns,
            steps->a_column, steps->b_column, kind);
}

/* The kind is a constant in each call, so that each gets a loop of its own. */
static void binary(float *y, const float *a, const float *b, const struct mq_simd_row_steps *steps,
                   mq_binary kind) {
  switch (kind) {
    case MQ_BINARY_ADD:
      run_rows(y, a, b, steps, MQ_BINARY_ADD);
      break;
    case MQ_BINARY_SUB:
      run_rows(y, a, b, steps, MQ_BINARY_SUB);
      break;
    case MQ_BINARY_MUL:
      run_rows(y, a, b, steps, MQ_BINARY_MUL);
      break;
    case MQ_BINARY_DIV:
      run_rows(y, a, b, steps, MQ_BINARY_DIV);
      break;
    case MQ_BINARY_PRELU:
      run_rows(y, a, b, steps, MQ_BINARY_PRELU);
      break;
  }
}

/* dy/da (which 0) or dy/db (1), times g. Products and quotients of floats rounded to float would be the same.
 */
MQ_ALWAYS_INLINE double term_of(double g, float a, float b, mq_binary binary, int which) {
  switch (binary) {
    case MQ_BINARY_ADD:
      return g;
    case MQ_BINARY_SUB:
      return which == 0 ? g : -g;
    case MQ_BINARY_MUL:
      return g * (double)(which == 0 ? b : a);
    case MQ_BINARY_DIV:
      return which == 0 ? g / (double)b : -(g * (double)a) / ((double)b * (double)b);
    case MQ_BINARY_PRELU:
      break;
  }
  const double at_negative = g * (double)(which == 0 ? b : a), at_positive = which == 0 ? g : 0.0;
  return a > 0.0f ? at_positive : at_negative;
}

MQ_ALWAYS_INLINE void run_terms(double *term, const float *g, const float *a, const float *b, int64_t n,
                                int64_t g_step, int64_t a_step, int64_t b_step, mq_binary binary, int which) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    term[i] = term_of((double)g[i * g_step], a[i * a_step], b[i * b_step], binary, which);
}

/* The usual steps as constants. */
MQ_ALWAYS_INLINE void step_terms(double *term, const float *g, const float *a, const float *b, int64_t n,
                                 const struct mq_simd_term_steps *steps, mq_binary binary, int which) {
  if (steps->g == 1 && steps->a == 1 && steps->b == 1)
    run_terms(term, g, a, b, n, 1, 1, 1, binary, which);
  else if (steps->g == 1 && steps->a == 1 && steps->b == 0)
    run_terms(term, g, a, b, n, 1, 1, 0, binary, which);
  else if (steps->g == 1 && steps->a == 0 && steps->b == 1)
    run_terms(term, g, a, b, n, 1, 0, 1, binary, which);
  else
    run_terms(term, g, a, b, n, steps->g, steps->a, steps->b, binary, which);
}

MQ_ALWAYS_INLINE void operand_terms(double *term, const float *g, const float *a, const float *b, int64_t n,
                                    const struct mq_simd_term_steps *steps, mq_binary kind, int which) {
  if (which == 0)
    step_terms(term, g, a, b, n, steps, kind, 0);
  else
    step_terms(term, g, a, b, n, steps, kind, 1);
}

static void binary_terms(double *term, const float *g, const float *a, const float *b, int64_t n,
                         const struct mq_simd_term_steps *steps, mq_binary kind, int which) {
  switch (kind) {
    case MQ_BINARY_ADD:
      operand_terms(term, g, a, b, n, steps, MQ_BINARY_ADD, which);
      break;
    case MQ_BINARY_SUB:
      operand_terms(term, g, a, b, n, steps, MQ_BINARY_SUB, which);
      break;
    case MQ_BINARY_MUL:
      operand_terms(term, g, a, b, n, steps, MQ_BINARY_MUL, which);
      break;
    case MQ_BINARY_DIV:
      operand_terms(term, g, a, b, n, steps, MQ_BINARY_DIV, which);
      break;
    case MQ_BINARY_PRELU:
      operand_terms(term, g, a, b, n, steps, MQ_BINARY_PRELU, which);
      break;
  }
}

const struct mq_simd_rows MQ_SIMD_NAME(mq_simd_rows) = {.binary = binary, .binary_terms = binary_terms};
