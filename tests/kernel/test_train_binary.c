/* Gradients of broadcasting arithmetic against finite differences in double, every instruction set. */
#include <math.h>
#include <string.h>

#include "kernel/help_kernel.h"
#include "kernel/simd/rows.h"

static double apply(double a, double b, mq_binary binary) {
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
  return a >= 0 ? a : a * b;
}

struct shapes {
  int rank[2];
  int64_t dim[2][6];
};

static const struct shapes cases[] = {
    {{4, 4}, {{2, 5, 3, 4}, {2, 5, 3, 4}}},
    {{4, 4}, {{2, 16, 6, 6}, {1, 16, 1, 1}}},
    {{4, 4}, {{2, 16, 6, 6}, {2, 16, 1, 1}}}, /* squeeze and excitation */
    {{4, 0}, {{2, 5, 3, 4}, {0}}},
    {{0, 4}, {{0}, {2, 5, 3, 4}}},
    {{4, 1}, {{2, 5, 3, 4}, {4}}},
    {{4, 3}, {{2, 5, 3, 4}, {5, 1, 1}}},
    {{3, 2}, {{7, 1, 9}, {8, 1}}},
    {{2, 2}, {{1, 9}, {8, 1}}},
    {{5, 4}, {{2, 1, 3, 1, 5}, {4, 1, 6, 1}}},
    {{6, 6}, {{1, 2, 1, 3, 1, 2}, {2, 1, 2, 1, 2, 1}}},
    {{0, 0}, {{0}, {0}}},
    {{2, 2}, {{0, 4}, {1, 4}}},
    {{2, 1}, {{3, 600}, {1}}},
    {{2, 2}, {{3, 600}, {3, 1}}},
    {{2, 1}, {{3, 600}, {600}}},
};

static struct mq_shape shape_of(const struct shapes *s, int i) {
  struct mq_shape shape = {.rank = s->rank[i]};
  for (int d = 0; d < shape.rank; d++)
    shape.dim[d] = s->dim[i][d];
  return shape;
}

static int64_t offset_of(const struct mq_tensor *t, const struct mq_shape *out, const int64_t *index) {
  int64_t offset = 0;
  for (int d = 0; d < t->shape.rank; d++)
    if (t->shape.dim[d] != 1) offset += index[d + out->rank - t->shape.rank] * t->stride[d];
  return offset;
}

/* Adds to sum (laid out like d) the derivatives of y in one operand, by central differences, times g. */
static void sum_plain(double *sum, const struct mq_tensor *d, const struct mq_tensor *g,
                      const struct mq_tensor *a, const struct mq_tensor *b, mq_binary binary, int which) {
  const double h = 1e-5;
  int64_t index[MQ_MAX_RANK] = {0};
  for (int64_t i = 0; i < mq_shape_count(&g->shape); i++) {
    int64_t rest = i;
    for (int k = g->shape.rank - 1; k >= 0; k--) {
      index[k] = rest % g->shape.dim[k];
      rest /= g->shape.dim[k];
    }
    const double va = (double)((const float *)a->data)[offset_of(a, &g->shape, index)];
    const double vb = (double)((const float *)b->data)[offset_of(b, &g->shape, index)];
    const double vg = (double)((const float *)g->data)[offset_of(g, &g->shape, index)];
    const double above = which == 0 ? apply(va + h, vb, binary) : apply(va, vb + h, binary);
    const double below = which == 0 ? apply(va - h, vb, binary) : apply(va, vb - h, binary);
    sum[offset_of(d, &g->shape, index)] += vg * (above - below) / (2 * h);
  }
}

static struct mq_tensor tensor_of(const struct mq_shape *shape, bool is_channels_last, uint64_t seed) {
  int64_t stride[MQ_MAX_RANK];
  mq_stride_channels_last(stride, shape);
  float *data = help_random(mq_shape_count(shape) + 1, seed);
  for (int64_t i = 0; i < mq_shape_count(shape); i++)
    data[i] += data[i] < 0 ? -0.5f : 0.5f; /* away from 0: divisors, PReLU's corner */
  return mq_tensor_view(data, MQ_F32, shape, is_channels_last ? stride : NULL);
}

/* Bit i of `layouts`: tensor i (a, b, g, d) lies channels last. */
static void run_case(const struct shapes *s, unsigned layouts, mq_binary binary, int which) {
  struct mq_err err = {0};
  const struct mq_shape a_shape = shape_of(s, 0), b_shape = shape_of(s, 1);
  struct mq_shape y_shape;
  assert_int_equal(mq_shape_broadcast(&y_shape, &a_shape, &b_shape, "test", &err), MQ_OK);
  struct mq_tensor a = tensor_of(&a_shape, layouts & 1, 1), b = tensor_of(&b_shape, layouts & 2, 2),
                   g = tensor_of(&y_shape, layouts & 4, 3),
                   d = tensor_of(which == 0 ? &a_shape : &b_shape, layouts & 8, 4);
  const int64_t n = mq_shape_count(&d.shape);
  double *expected = mq_alloc((size_t)n + 1, sizeof *expected);
  assert_non_null(expected);
  for (int64_t i = 0; i < n; i++)
    expected[i] = (double)((float *)d.data)[i];
  sum_plain(expected, &d, &g, &a, &b, binary, which);
  const bool is_linear = binary == MQ_BINARY_ADD || binary == MQ_BINARY_SUB;
  struct mq_tensor a_seen = a, b_seen = b;
  if (is_linear || (binary == MQ_BINARY_MUL && which == 0)) a_seen.data = NULL;
  if (is_linear || (binary == MQ_BINARY_MUL && which == 1)) b_seen.data = NULL;
  mq_binary_backward(&d, &g, &a_seen, &b_seen, binary, which);
  for (int64_t i = 0; i < n; i++)
    if (!(fabs((double)((float *)d.data)[i] - expected[i]) < 1e-6 * (2 + fabs(expected[i])) + 1e-6))
      fail_msg("binary %d, operand %d: element %lld is %.9g, expected %.9g", (int)binary, which, (long long)i,
               (double)((float *)d.data)[i], expected[i]);
  struct mq_tensor *all[] = {&a, &b, &g, &d};
  for (int i = 0; i < 4; i++)
    mq_free(all[i]->data);
  mq_free(expected);
}

static void test_broadcasting(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (unsigned layouts = 0; layouts < 16; layouts++)
      for (mq_binary binary = MQ_BINARY_ADD; binary <= MQ_BINARY_PRELU; binary++)
        for (int which = 0; which < 2; which++)
          run_case(&cases[i], layouts, binary, which);
}

/* At zero PReLU has the slope of its negative side. */
static void test_prelu_corner(void **state) {
  (void)state;
  float a_data[] = {0, 1}, b_data[] = {0.25f, 0.25f}, g_data[] = {2, 2}, da[] = {0, 0}, db[] = {0, 0};
  const struct mq_shape shape = {1, {2}};
  const struct mq_tensor a = mq_tensor_view(a_data, MQ_F32, &shape, NULL),
                         b = mq_tensor_view(b_data, MQ_F32, &shape, NULL),
                         g = mq_tensor_view(g_data, MQ_F32, &shape, NULL);
  struct mq_tensor to_a = mq_tensor_view(da, MQ_F32, &shape, NULL),
                   to_b = mq_tensor_view(db, MQ_F32, &shape, NULL);
  mq_binary_backward(&to_a, &g, &a, &b, MQ_BINARY_PRELU, 0);
  mq_binary_backward(&to_b, &g, &a, &b, MQ_BINARY_PRELU, 1);
  assert_true(da[0] == 0.5f && da[1] == 2 && db[0] == 0 && db[1] == 0);
}

static void test_levels(void **state) {
  (void)state;
  double base[256], term[256];
  float *g = help_random(512, 1), *a = help_random(512, 2), *b = help_random(512, 3);
  const struct mq_simd_term_steps steps[] = {{1, 1, 1}, {1, 0, 1}, {1, 1, 0}, {2, 1, 2}};
  const int64_t lengths[] = {1, 3, 8, 17, 256};
  for (size_t s = 0; s < 4; s++)
    for (size_t l = 0; l < 5; l++)
      for (mq_binary binary = MQ_BINARY_ADD; binary <= MQ_BINARY_PRELU; binary++)
        for (int which = 0; which < 2; which++)
          for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
            mq_simd_rows_at(MQ_SIMD_BASE)->binary_terms(base, g, a, b, lengths[l], &steps[s], binary, which);
            mq_simd_rows_at(level)->binary_terms(term, g, a, b, lengths[l], &steps[s], binary, which);
            assert_memory_equal(term, base, (size_t)lengths[l] * sizeof *term);
          }
  mq_free(g);
  mq_free(a);
  mq_free(b);
}

static int run_group(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_broadcasting), cmocka_unit_test(test_prelu_corner),
                                     cmocka_unit_test(test_levels)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
  return help_run_levels(run_group);
}
