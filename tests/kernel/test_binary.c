#include <math.h>
#include <string.h>

#include "kernel/help_kernel.h"
#include "kernel/simd/rows.h"

static float apply(float a, float b, mq_binary binary) {
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

static int64_t offset_of(const struct mq_tensor *t, const struct mq_shape *out, const int64_t *index) {
  int64_t offset = 0;
  for (int d = 0; d < t->shape.rank; d++)
    if (t->shape.dim[d] != 1) offset += index[d + out->rank - t->shape.rank] * t->stride[d];
  return offset;
}

/* Element by element. */
static void check(struct mq_tensor *y, const struct mq_tensor *a, const struct mq_tensor *b,
                  mq_binary binary) {
  int64_t index[MQ_MAX_RANK] = {0};
  const int64_t n = mq_shape_count(&y->shape);
  for (int64_t i = 0; i < n; i++) {
    int64_t rest = i;
    for (int d = y->shape.rank - 1; d >= 0; d--) {
      index[d] = rest % y->shape.dim[d];
      rest /= y->shape.dim[d];
    }
    const float expected = apply(((const float *)a->data)[offset_of(a, &y->shape, index)],
                                 ((const float *)b->data)[offset_of(b, &y->shape, index)], binary);
    help_assert_same((const float *)y->data + offset_of(y, &y->shape, index), &expected, 1, "binary");
  }
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
    {{1, 1}, {{1}, {1000}}},
};

static struct mq_shape shape_of(const struct shapes *s, int i) {
  struct mq_shape shape = {.rank = s->rank[i]};
  for (int d = 0; d < shape.rank; d++)
    shape.dim[d] = s->dim[i][d];
  return shape;
}

/* Bit i of `layouts`: operand i (a, b, y) lies channels last. */
static void run_case(const struct shapes *s, unsigned layouts, mq_binary binary) {
  struct mq_err err = {0};
  const struct mq_shape a_shape = shape_of(s, 0), b_shape = shape_of(s, 1);
  struct mq_shape y_shape;
  assert_int_equal(mq_shape_broadcast(&y_shape, &a_shape, &b_shape, "test", &err), MQ_OK);
  const struct mq_shape *shapes[] = {&a_shape, &b_shape, &y_shape};
  struct mq_tensor t[3];
  for (int i = 0; i < 3; i++) {
    int64_t stride[MQ_MAX_RANK];
    mq_stride_channels_last(stride, shapes[i]);
    float *data = help_random(mq_shape_count(shapes[i]) + 1, 10 + (uint64_t)i);
    t[i] = mq_tensor_view(data, MQ_F32, shapes[i], layouts >> i & 1 ? stride : NULL);
  }
  mq_binary_forward(&t[2], &t[0], &t[1], binary);
  check(&t[2], &t[0], &t[1], binary);
  for (int i = 0; i < 3; i++)
    mq_free(t[i].data);
}

static void test_broadcasting(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (unsigned layouts = 0; layouts < 8; layouts++)
      for (mq_binary binary = MQ_BINARY_ADD; binary <= MQ_BINARY_PRELU; binary++)
        run_case(&cases[i], layouts, binary);
}

static void test_in_place(void **state) {
  (void)state;
  const int64_t dim[] = {2, 5, 3, 4};
  for (mq_binary binary = MQ_BINARY_ADD; binary <= MQ_BINARY_PRELU; binary++) {
    struct mq_tensor a = help_tensor(4, dim, 1), b = help_tensor(4, dim, 2), y = help_tensor(4, dim, 3);
    mq_binary_forward(&y, &a, &b, binary);
    mq_binary_forward(&a, &a, &b, binary);
    help_assert_same(a.data, y.data, 120, "in place");
    mq_tensor_deinit(&a);
    mq_tensor_deinit(&b);
    mq_tensor_deinit(&y);
  }
}

static void test_levels(void **state) {
  (void)state;
  const int64_t n = 77;
  float *a = help_random(3 * n, 1), *b = help_random(3 * n, 2), *base = help_random(3 * n, 3),
        *y = help_random(3 * n, 4);
  a[5] = NAN;
  b[6] = 0;
  for (int64_t columns = 0; columns < 4; columns++) {
    const struct mq_simd_row_steps steps = {3, n, n, n, n, columns & 1, columns >> 1};
    for (mq_binary binary = MQ_BINARY_ADD; binary <= MQ_BINARY_PRELU; binary++)
      for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
        mq_simd_rows_at(MQ_SIMD_BASE)->binary(base, a, b, &steps, binary);
        mq_simd_rows_at(level)->binary(y, a, b, &steps, binary);
        help_assert_same(y, base, 3 * n, "levels");
      }
  }
  mq_free(a);
  mq_free(b);
  mq_free(base);
  mq_free(y);
}

static int run_group(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_broadcasting), cmocka_unit_test(test_in_place),
                                     cmocka_unit_test(test_levels)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
  return help_run_levels(run_group);
}
