/* Gradients of broadcasting arithmetic: what is broadcast in the forward pass is summed in the backward. */
#include <assert.h>

#include "kernel/nest.h"
#include "kernel/simd/rows.h"
#include "kernel/simd/values.h"

enum {
  G,
  A,
  B,
  D,
  N_OPERANDS
};

/* The innermost dimension of g's memory is a column; of the others some belong to d, the rest are summed. */
struct plan {
  struct mq_nest kept, summed;
  int64_t n_columns, column[N_OPERANDS];
  const float *g, *a, *b;
  mq_binary binary;
  int which;
};

static void plan_init(struct plan *plan, const struct mq_nest *nest) {
  const int inner = nest->rank - 1;
  plan->kept = plan->summed = (struct mq_nest){0};
  plan->n_columns = inner >= 0 ? nest->dim[inner] : 1;
  for (int k = 0; k < N_OPERANDS; k++)
    plan->column[k] = inner >= 0 ? nest->stride[inner][k] : 0;
  for (int d = 0; d < inner; d++)
    mq_nest_append(nest->stride[d][D] != 0 ? &plan->kept : &plan->summed, nest, d);
}

/* The terms of up to MQ_SIMD_TERMS columns from `first`. */
static void find_terms(double *term, const struct plan *plan, const struct mq_simd_rows *table,
                       const struct mq_nest_place *kept, const struct mq_nest_place *summed, int64_t first,
                       int64_t n) {
  const struct mq_simd_term_steps steps = {plan->column[G], plan->column[A], plan->column[B]};
  int64_t at[N_OPERANDS];
  for (int k = 0; k < N_OPERANDS; k++)
    at[k] = kept->offset[k] + summed->offset[k] + first * plan->column[k];
  table->binary_terms(term, plan->g + at[G], plan->a + at[A], plan->b + at[B], n, &steps, plan->binary,
                      plan->which);
}

static int64_t block_size(const struct plan *plan, int64_t first) {
  return plan->n_columns - first < MQ_SIMD_TERMS ? plan->n_columns - first : MQ_SIMD_TERMS;
}

/* Columns are d's own: each has a sum. */
static void add_columns(float *d, const struct plan *plan, const struct mq_simd_rows *table,
                        const struct mq_nest_place *kept) {
  double sum[MQ_SIMD_TERMS], term[MQ_SIMD_TERMS];
  for (int64_t first = 0; first < plan->n_columns; first += MQ_SIMD_TERMS) {
    const int64_t n = block_size(plan, first);
    struct mq_nest_place summed = {0};
    find_terms(sum, plan, table, kept, &summed, first, n);
    while (mq_nest_step(&plan->summed, &summed)) {
      find_terms(term, plan, table, kept, &summed, first, n);
      for (int64_t j = 0; j < n; j++)
        sum[j] += term[j];
    }
    for (int64_t j = 0; j < n; j++)
      d[(first + j) * plan->column[D]] += (float)sum[j];
  }
}

/* Columns are summed too: column j in lane j mod MQ_SIMD_TERM_LANES. */
static void add_row(float *d, const struct plan *plan, const struct mq_simd_rows *table,
                    const struct mq_nest_place *kept) {
  double lanes[MQ_SIMD_TERM_LANES] = {0}, term[MQ_SIMD_TERMS];
  struct mq_nest_place summed = {0};
  do {
    for (int64_t first = 0; first < plan->n_columns; first += MQ_SIMD_TERMS) {
      const int64_t n = block_size(plan, first);
      find_terms(term, plan, table, kept, &summed, first, n);
      for (int64_t j = 0; j < n; j++)
        lanes[j % MQ_SIMD_TERM_LANES] += term[j];
    }
  } while (mq_nest_step(&plan->summed, &summed));
  *d += (float)mq_add_lanes(lanes, MQ_SIMD_TERM_LANES);
}

/* What a term does not depend on may be missing: g stands in. */
static const struct mq_tensor *needed(const struct mq_tensor *operand, const struct mq_tensor *g,
                                      mq_binary binary, int which, int own) {
  const bool is_linear = binary == MQ_BINARY_ADD || binary == MQ_BINARY_SUB;
  const bool is_own_unused = binary == MQ_BINARY_MUL || (binary == MQ_BINARY_DIV && which == 0) ||
                             (binary == MQ_BINARY_PRELU && which == 1);
  return is_linear || (is_own_unused && which == own) ? g : operand;
}

void mq_binary_backward(struct mq_tensor *d, const struct mq_tensor *g, const struct mq_tensor *a,
                        const struct mq_tensor *b, mq_binary binary, int which) {
  assert(d->dtype == MQ_F32 && g->dtype == MQ_F32 && (which == 0 || which == 1));
  const struct mq_simd_rows *table = mq_simd_rows_at(mq_simd_level_used());
  struct mq_nest nest;
  if (mq_shape_count(&g->shape) == 0) return;
  a = needed(a, g, binary, which, 0);
  b = needed(b, g, binary, which, 1);
  mq_nest_init(&nest, (const struct mq_tensor *const[N_OPERANDS]){g, a, b, d}, N_OPERANDS);
  struct plan plan = {.g = g->data, .a = a->data, .b = b->data, .binary = binary, .which = which};
  plan_init(&plan, &nest);
  struct mq_nest_place kept = {0};
  do {
    float *to = (float *)d->data + kept.offset[D];
    if (plan.column[D] != 0)
      add_columns(to, &plan, table, &kept);
    else
      add_row(to, &plan, table, &kept);
  } while (mq_nest_step(&plan.kept, &kept));
}
