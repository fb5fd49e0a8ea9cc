#include "mqbench/tensor.h"

#include <math.h>
#include <unistd.h>

#include "base/file.h"
#include "common.h"
#include "tensor/element.h"

static struct mq_shape shape_of(int rank, const int64_t *dim) {
  struct mq_shape shape = {.rank = rank};
  memcpy(shape.dim, dim, (size_t)rank * sizeof *dim);
  return shape;
}
#define SHAPE(...) \
  shape_of((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__})

static void sizes_are_checked(void **state) {
  (void)state;
  struct mq_err err;
  int64_t n;
  struct mq_shape huge = SHAPE(1 << 20, 1 << 20, 2), negative = SHAPE(2, -1), empty = SHAPE(3, 0, 5),
                  scalar = {0};
  assert_fails(MQ_BAD_INPUT, "weights: more than 2^40", mq_shape_elements(&n, &huge, "weights", &err));
  assert_fails(MQ_BAD_INPUT, "dimension 1 is -1", mq_shape_elements(&n, &negative, "weights", &err));
  assert_ok(mq_shape_elements(&n, &empty, "x", &err));
  assert_int_equal(n, 0);
  assert_ok(mq_shape_elements(&n, &scalar, "x", &err));
  assert_int_equal(n, 1);
  struct mq_shape overflow = SHAPE(INT64_MAX, INT64_MAX);
  assert_fails(MQ_BAD_INPUT, "2^40", mq_shape_elements(&n, &overflow, "x", &err));
}

static void shapes_broadcast_like_numpy(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_shape a = SHAPE(2, 3, 4, 5), b = SHAPE(3, 1, 1), out, expected = SHAPE(2, 3, 4, 5), c = SHAPE(4);
  assert_ok(mq_shape_broadcast(&out, &a, &b, "Add", &err));
  assert_true(mq_shape_equal(&out, &expected));
  assert_fails(MQ_BAD_INPUT, "Add: shapes 2x3x4x5 and 4 do not broadcast",
               mq_shape_broadcast(&out, &a, &c, "Add", &err));
}

static void copies_between_layouts_keep_logical_elements(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_shape shape = SHAPE(2, 3, 4, 5);
  struct mq_tensor a = {0}, memory = {0}, back = {0};
  assert_ok(mq_tensor_init(&a, MQ_F32, &shape, &err));
  assert_ok(mq_tensor_init(&memory, MQ_F32, &shape, &err));
  assert_ok(mq_tensor_init(&back, MQ_F64, &shape, &err));
  for (int i = 0; i < 120; i++) {
    ((float *)a.data)[i] = (float)i;
  }
  int64_t stride[MQ_MAX_RANK];
  mq_stride_channels_last(stride, &shape);
  struct mq_tensor last = mq_tensor_view(memory.data, MQ_F32, &shape, stride);
  mq_tensor_copy(&last, &a);
  assert_true(mq_tensor_is_channels_last(&last));
  assert_false(mq_tensor_is_row_major(&last));
  for (int n = 0; n < 2; n++) {
    for (int c = 0; c < 3; c++) {
      for (int y = 0; y < 4; y++) {
        for (int x = 0; x < 5; x++) {
          float expected = (float)(((n * 3 + c) * 4 + y) * 5 + x);
          assert_true(((float *)memory.data)[((n * 4 + y) * 5 + x) * 3 + c] == expected);
        }
      }
    }
  }
  mq_tensor_copy(&back, &last);
  for (int i = 0; i < 120; i++) {
    assert_true(((double *)back.data)[i] == i);
    assert_int_equal(mq_tensor_get_int(&last, i), i);
  }
  mq_tensor_deinit(&a);
  mq_tensor_deinit(&memory);
  mq_tensor_deinit(&back);
}

static void conversions_round_to_even_and_saturate(void **state) {
  (void)state;
  const double in[] = {2.5, 3.5, -2.5, 300, -300, NAN, INFINITY, 1e300, 0.49};
  const int8_t out[] = {2, 4, -2, 127, -128, 0, 127, 127, 0};
  for (size_t i = 0; i < 9; i++) {
    int8_t q;
    mq_element_convert(MQ_I8, &q, MQ_F64, &in[i]);
    assert_int_equal(q, out[i]);
  }
  double big = 1e30;
  int64_t wide;
  mq_element_convert(MQ_I64, &wide, MQ_F64, &big);
  assert_true(wide == INT64_MAX);
}

/* Every half converts to float and back; floats between two halves go to the nearer, ties to even. */
static void halves_convert_exactly(void **state) {
  (void)state;
  for (uint32_t h = 0; h < 0x10000; h++) {
    float x = mq_float_from_half((uint16_t)h);
    if (isnan(x)) {
      assert_true((mq_half_from_float(x) & 0x7FFF) > 0x7C00);
      continue;
    }
    assert_int_equal(mq_half_from_float(x), h);
    float next = mq_float_from_half((uint16_t)(h + 1));
    if ((h & 0x7FFF) >= 0x7BFF || isnan(next)) {
      continue;
    }
    float middle = x / 2 + next / 2;
    assert_int_equal(mq_half_from_float(middle), h & 1 ? h + 1 : h);
    assert_int_equal(mq_half_from_float(nextafterf(middle, x)), h);
    assert_int_equal(mq_half_from_float(nextafterf(middle, next)), h + 1);
  }
  assert_int_equal(mq_half_from_float(1e6f), 0x7C00);
}

static void reshapes_that_need_no_copy_are_views(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_shape shape = SHAPE(2, 6, 4, 5), split = SHAPE(2, 3, 2, 4, 5), flat = SHAPE(2, 120),
                  row = SHAPE(240);
  struct mq_tensor a = {0}, view;
  assert_ok(mq_tensor_init(&a, MQ_F32, &shape, &err));
  for (int i = 0; i < 240; i++) {
    ((float *)a.data)[i] = (float)i;
  }
  assert_true(mq_tensor_reshape_view(&view, &a, &row));
  assert_true(view.data == a.data);
  int64_t stride[MQ_MAX_RANK];
  mq_stride_channels_last(stride, &shape);
  struct mq_tensor last = mq_tensor_view(a.data, MQ_F32, &shape, stride);
  assert_true(mq_tensor_reshape_view(&view, &last, &split)); /* a channel split */
  for (int i = 0; i < 240; i++) {
    assert_int_equal(mq_tensor_get_int(&view, i), mq_tensor_get_int(&last, i));
  }
  assert_false(mq_tensor_reshape_view(&view, &last, &flat)); /* C, H, W order needs a copy */
  struct mq_shape pooled = SHAPE(2, 120, 1, 1);
  mq_stride_channels_last(stride, &pooled);
  struct mq_tensor one = mq_tensor_view(a.data, MQ_F32, &pooled, stride);
  assert_true(mq_tensor_reshape_view(&view, &one, &flat));
  mq_tensor_deinit(&a);
}

static void npy_files_come_back(void **state) {
  (void)state;
  struct mq_err err;
  char *directory = make_test_directory(), *path = mq_path_join(directory, "a.npy");
  struct mq_shape shapes[] = {SHAPE(2, 3), SHAPE(7), {0}, SHAPE(0, 4)};
  for (size_t s = 0; s < 4; s++) {
    struct mq_tensor a = {0}, b = {0};
    assert_ok(mq_tensor_init(&a, MQ_I32, &shapes[s], &err));
    for (int64_t i = 0; i < mq_shape_count(&shapes[s]); i++) {
      ((int32_t *)a.data)[i] = (int32_t)(i * i - 3);
    }
    assert_ok(mq_npy_write(path, &a, &err));
    assert_ok(mq_npy_read(&b, path, &err));
    assert_int_equal(b.dtype, MQ_I32);
    assert_true(mq_shape_equal(&a.shape, &b.shape));
    assert_memory_equal(a.data, b.data, (size_t)mq_shape_count(&shapes[s]) * 4);
    mq_tensor_deinit(&a);
    mq_tensor_deinit(&b);
  }
  remove_test_directory(directory);
  mq_free(path);
}

static void write_npy(const char *path, const char *header, size_t n_data) {
  FILE *file = fopen(path, "wb");
  unsigned char start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)strlen(header), 0};
  fwrite(start, 1, 10, file);
  fputs(header, file);
  for (size_t i = 0; i < n_data; i++) {
    fputc((int)i, file);
  }
  fclose(file);
}

static void hostile_npy_files_are_refused(void **state) {
  (void)state;
  struct mq_err err;
  struct mq_tensor a;
  char *directory = make_test_directory(), *path = mq_path_join(directory, "a.npy");
  const struct {
    const char *header, *message;
  } cases[] = {
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999), }", "2^40"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (100,), }", "8 bytes of data, expected 400"},
      {"{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", "not supported"},
      {"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", "element type '|O' is not supported"},
      {"{'descr': 'a\x1b\xff\xc3', 'fortran_order': False, 'shape': (2,), }",
       "element type 'a??"
       "?' is not"},
      {"{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (2,), }", "element type '[' is not"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "bad shape"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", "bad shape"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1", "bad shape"},
      {"{'descr': '<f4'}", "lacks"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    write_npy(path, cases[i].header, 8);
    assert_fails(MQ_BAD_INPUT, cases[i].message, mq_npy_read(&a, path, &err));
  }
  write_npy(path, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", 6);
  assert_ok(mq_npy_read(&a, path, &err));
  const uint8_t expected[] = {0, 2, 4, 1, 3, 5};
  assert_memory_equal(a.data, expected, 6);
  mq_tensor_deinit(&a);
  assert_int_equal(truncate(path, 20), 0);
  assert_fails(MQ_BAD_INPUT, "does not fit", mq_npy_read(&a, path, &err));
  assert_int_equal(truncate(path, 7), 0);
  assert_fails(MQ_BAD_INPUT, "not a .npy file", mq_npy_read(&a, path, &err));
  remove_test_directory(directory);
  mq_free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sizes_are_checked),
      cmocka_unit_test(shapes_broadcast_like_numpy),
      cmocka_unit_test(copies_between_layouts_keep_logical_elements),
      cmocka_unit_test(conversions_round_to_even_and_saturate),
      cmocka_unit_test(halves_convert_exactly),
      cmocka_unit_test(reshapes_that_need_no_copy_are_views),
      cmocka_unit_test(npy_files_come_back),
      cmocka_unit_test(hostile_npy_files_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
