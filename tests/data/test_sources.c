/* CIFAR-10, IDX and npy: files written here, read back; files that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/file.h"
#include "data/help_data.h"

#define RECORD 3073

static char argument[1024];

static const char *arg(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(argument, sizeof argument, format, arguments);
  va_end(arguments);
  return argument;
}

/* n records; image i of a file has red = i, green = 2 i, blue = x + y. */
static void write_batch(const char *folder, const char *name, int n, int first_label) {
  uint8_t *bytes = mq_alloc((size_t)n, RECORD);
  for (int i = 0; i < n; i++) {
    uint8_t *record = bytes + i * RECORD;
    record[0] = (uint8_t)((first_label + i) % 10);
    memset(record + 1, i, 1024);
    memset(record + 1025, 2 * i, 1024);
    for (int p = 0; p < 1024; p++) {
      record[2049 + p] = (uint8_t)(p % 32 + p / 32);
    }
  }
  write_file(folder, name, bytes, (size_t)(n * RECORD));
  mq_free(bytes);
}

static void test_cifar10(void **state) {
  (void)state;
  char *folder = make_folder();
  write_batch(folder, "data_batch_2.bin", 3, 5);
  write_batch(folder, "data_batch_1.bin", 4, 0);
  write_batch(folder, "test_batch.bin", 2, 8);
  write_file(folder, "readme.html", "x", 1);
  struct mq_dataset *dataset = open_data(arg("cifar10:%s", folder));
  const struct mq_dataset_info *info = mq_dataset_get_info(dataset);
  assert_int_equal(info->n_images, 7); /* the training files */
  assert_int_equal(info->n_classes, 10);
  assert_true(info->has_train && info->has_test && info->has_labels);
  assert_string_equal(mq_dataset_name(dataset, 5), "data_batch_2.bin#1");
  assert_int_equal(mq_dataset_label(dataset, 5), 6);
  assert_string_equal(mq_dataset_class_name(dataset, 6), "frog");
  assert_null(mq_dataset_class_name(dataset, 10));
  float pixels[3072];
  assert_int_equal(mq_dataset_read(pixels, dataset, 5, NULL), MQ_OK);
  assert_true(pixels[0] == 1.0f / 255.0f && pixels[1] == 2.0f / 255.0f);
  assert_true(pixels[(3 * 32 + 4) * 3 + 2] == 7.0f / 255.0f);
  mq_dataset_close(dataset);
  dataset = open_data(arg("cifar10:%s,split=test,label_offset=1", folder));
  assert_int_equal(mq_dataset_get_info(dataset)->n_images, 2);
  assert_int_equal(mq_dataset_get_info(dataset)->n_classes, 11);
  assert_int_equal(mq_dataset_label(dataset, 0), 9);
  assert_string_equal(mq_dataset_class_name(dataset, 9), "ship");
  mq_dataset_close(dataset);
  dataset = open_data(arg("cifar10:%s/test_batch.bin", folder));
  assert_int_equal(mq_dataset_get_info(dataset)->n_images, 2);
  mq_dataset_close(dataset);
  expect_open_fails(arg("cifar10:%s/test_batch.bin,split=train", folder), MQ_BAD_INPUT, "has no split=train");
  expect_open_fails(arg("cifar10:%s,label_offset=-1", folder), MQ_BAD_INPUT, "is negative");
  expect_open_fails(arg("cifar10:%s/none", folder), MQ_BAD_INPUT, "no such file");
  write_file(folder, "short/data_batch_1.bin", "xyz", 3);
  expect_open_fails(arg("cifar10:%s/short", folder), MQ_BAD_INPUT, "3 bytes, expected a multiple of 3073");
  uint8_t bad[RECORD] = {10};
  write_file(folder, "bad/test_batch.bin", bad, sizeof bad);
  expect_open_fails(arg("cifar10:%s/bad", folder), MQ_BAD_INPUT, "label 10, expected 0 to 9");
  write_file(folder, "empty/x", "", 0);
  expect_open_fails(arg("cifar10:%s/empty", folder), MQ_BAD_INPUT, "no data_batch_*.bin");
  remove_folder(folder);
}

static size_t make_idx(uint8_t *bytes, int rank, uint32_t n, uint32_t rows, uint32_t columns) {
  const uint32_t size[3] = {n, rows, columns};
  memcpy(bytes, (uint8_t[4]){0, 0, 8, (uint8_t)rank}, 4);
  size_t count = 1;
  for (int d = 0; d < rank; d++) {
    for (int b = 0; b < 4; b++) {
      bytes[4 + 4 * d + b] = (uint8_t)(size[d] >> (24 - 8 * b));
    }
    count *= size[d];
  }
  for (size_t i = 0; i < count; i++) {
    bytes[4 + 4 * rank + (int)i] = (uint8_t)(i % 7);
  }
  return 4 + 4 * (size_t)rank + count;
}

static void write_gzip(const char *folder, const char *name, const void *bytes, unsigned n) {
  uint8_t packed[4096];
  z_stream stream = {0};
  assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = (uint8_t *)(uintptr_t)bytes;
  stream.avail_in = n;
  stream.next_out = packed;
  stream.avail_out = sizeof packed;
  assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
  write_file(folder, name, packed, stream.total_out);
  deflateEnd(&stream);
}

static void test_idx(void **state) {
  (void)state;
  char *folder = make_folder();
  uint8_t images[4096], labels[64];
  size_t n_images = make_idx(images, 3, 6, 4, 5), n_labels = make_idx(labels, 1, 6, 0, 0);
  write_gzip(folder, "train-images-idx3-ubyte.gz", images, (unsigned)n_images);
  write_file(folder, "train-labels-idx1-ubyte", labels, n_labels);
  write_file(folder, "t10k-images.idx3-ubyte", images, n_images);
  write_gzip(folder, "t10k-labels.idx1-ubyte.gz", labels, (unsigned)n_labels);
  static const char *const rests[] = {"", ",split=test", "/t10k-images.idx3-ubyte"};
  for (int i = 0; i < 3; i++) {
    struct mq_dataset *dataset = open_data(arg("idx:%s%s", folder, rests[i]));
    const struct mq_dataset_info *info = mq_dataset_get_info(dataset);
    assert_int_equal(info->n_images, 6);
    assert_int_equal(info->n_classes, 6);
    assert_int_equal(info->image.dim[0], 1);
    assert_int_equal(info->image.dim[1], 4);
    assert_int_equal(info->image.dim[2], 5);
    assert_int_equal(info->has_train, i < 2);
    assert_true(info->has_test);
    float pixels[20];
    assert_int_equal(mq_dataset_read(pixels, dataset, 2, NULL), MQ_OK);
    assert_true(pixels[3] == (float)(43 % 7) / 255.0f);
    assert_int_equal(mq_dataset_label(dataset, 2), 2);
    mq_dataset_close(dataset);
  }
  remove_folder(folder);
}

static void test_idx_without_labels(void **state) {
  (void)state;
  char *folder = make_folder();
  uint8_t images[256];
  write_file(folder, "some.idx", images, make_idx(images, 3, 2, 4, 5));
  struct mq_dataset *dataset = open_data(arg("idx:%s/some.idx", folder));
  assert_false(mq_dataset_get_info(dataset)->has_labels);
  assert_int_equal(mq_dataset_get_info(dataset)->n_classes, 0);
  assert_int_equal(mq_dataset_label(dataset, 1), -1);
  mq_dataset_close(dataset);
  remove_folder(folder);
}

static void test_idx_that_lies(void **state) {
  (void)state;
  char *folder = make_folder();
  uint8_t bytes[4096];
  size_t n = make_idx(bytes, 3, 6, 4, 5);
  bytes[4] = 0x7f; /* two billion images */
  write_file(folder, "a", bytes, n);
  expect_open_fails(arg("idx:%s/a", folder), MQ_BAD_INPUT, "header says 2130706438 x 4 x 5 bytes, found 120");
  memset(bytes + 4, 0xff, 12);
  write_file(folder, "a", bytes, n);
  expect_open_fails(arg("idx:%s/a", folder), MQ_BAD_INPUT, "header says");
  n = make_idx(bytes, 3, 0, 4, 5);
  write_file(folder, "a", bytes, n);
  expect_open_fails(arg("idx:%s/a", folder), MQ_BAD_INPUT, "header says");
  n = make_idx(bytes, 3, 6, 4, 5);
  write_file(folder, "a", bytes, n - 1);
  expect_open_fails(arg("idx:%s/a", folder), MQ_BAD_INPUT, "found 119");
  write_file(folder, "a", bytes, 9);
  expect_open_fails(arg("idx:%s/a", folder), MQ_BAD_INPUT, "expected a header of 16");
  write_file(folder, "a", "\x89PNG", 4);
  expect_open_fails(arg("idx:%s/a", folder), MQ_BAD_INPUT, "expected IDX of unsigned bytes");
  write_file(folder, "a", "", 0);
  expect_open_fails(arg("idx:%s/a", folder), MQ_BAD_INPUT, "expected IDX");
  write_file(folder, "a", "\x1f\x8b\x08\0\0\0", 6);
  expect_open_fails(arg("idx:%s/a", folder), MQ_BAD_INPUT, "gzip");
  write_file(folder, "l", bytes, make_idx(bytes, 1, 5, 0, 0));
  write_file(folder, "a", bytes, make_idx(bytes, 3, 6, 4, 5));
  expect_open_fails(arg("idx:%s/a,labels=%s/l", folder, folder), MQ_BAD_INPUT, "5 labels for the 6 images");
  expect_open_fails(arg("idx:%s/l", folder), MQ_BAD_INPUT, "rank 1, expected 3");
  expect_open_fails(arg("idx:%s", folder), MQ_BAD_INPUT, "no train-images-idx3-ubyte");
  remove_folder(folder);
}

static void write_npy(const char *folder, const char *name, mq_dtype dtype, int rank, const int64_t *dim) {
  struct mq_tensor tensor = {0};
  struct mq_shape shape = {.rank = rank};
  memcpy(shape.dim, dim, (size_t)rank * sizeof *dim);
  assert_int_equal(mq_tensor_init(&tensor, dtype, &shape, NULL), MQ_OK);
  for (int64_t i = 0; i < mq_shape_count(&shape); i++) {
    if (dtype == MQ_F32) {
      ((float *)tensor.data)[i] = (float)i;
    } else if (dtype == MQ_U8) {
      ((uint8_t *)tensor.data)[i] = (uint8_t)i;
    } else {
      ((int64_t *)tensor.data)[i] = i;
    }
  }
  char *path = mq_path_join(folder, name);
  assert_int_equal(mq_npy_write(path, &tensor, NULL), MQ_OK);
  mq_free(path);
  mq_tensor_deinit(&tensor);
}

static void assert_pixel(const char *text, int64_t index, int64_t at, float expected) {
  struct mq_dataset *dataset = open_data(text);
  float pixels[256];
  assert_int_equal(mq_dataset_read(pixels, dataset, index, NULL), MQ_OK);
  if (pixels[at] != expected) {
    fail_msg("%s: %g, expected %g", text, (double)pixels[at], (double)expected);
  }
  mq_dataset_close(dataset);
}

static void test_npy(void **state) {
  (void)state;
  char *folder = make_folder();
  write_npy(folder, "last.npy", MQ_U8, 4, (int64_t[]){2, 4, 5, 3});
  write_npy(folder, "first.npy", MQ_U8, 4, (int64_t[]){2, 3, 4, 5});
  write_npy(folder, "both.npy", MQ_U8, 4, (int64_t[]){2, 3, 4, 3});
  write_npy(folder, "grey.npy", MQ_U8, 3, (int64_t[]){2, 4, 5});
  write_npy(folder, "float.npy", MQ_F32, 4, (int64_t[]){2, 3, 4, 5});
  write_npy(folder, "rows.npy", MQ_F32, 2, (int64_t[]){2, 7});
  write_npy(folder, "labels.npy", MQ_I64, 1, (int64_t[]){2});
  write_npy(folder, "labels3.npy", MQ_I64, 1, (int64_t[]){3});
  assert_pixel(arg("npy:%s/last.npy", folder), 1, 4, 64.0f / 255.0f);
  assert_pixel(arg("npy:%s/first.npy", folder), 1, 4, (60.0f + 20 + 1) / 255.0f); /* pixel 1, green */
  assert_pixel(arg("npy:%s/both.npy", folder), 0, 4, (12.0f + 1) / 255.0f);       /* nchw unless told */
  assert_pixel(arg("npy:%s/both.npy,layout=nhwc", folder), 0, 4, 4.0f / 255.0f);
  assert_pixel(arg("npy:%s/grey.npy,mean=0.5,std=0.5", folder), 1, 4, (24.0f / 255.0f - 0.5f) / 0.5f);
  assert_pixel(arg("npy:%s/float.npy", folder), 1, 4, 81.0f);
  assert_pixel(arg("npy:%s/rows.npy", folder), 1, 6, 13.0f);
  struct mq_dataset *dataset =
      open_data(arg("npy:%s/last.npy,labels=%s/labels.npy,label_offset=2", folder, folder));
  assert_int_equal(mq_dataset_label(dataset, 1), 3);
  assert_int_equal(mq_dataset_get_info(dataset)->n_classes, 4);
  mq_dataset_close(dataset);
  expect_open_fails(arg("npy:%s/last.npy,labels=%s/labels3.npy", folder, folder), MQ_BAD_INPUT,
                    "expected 2 integers");
  expect_open_fails(arg("npy:%s/labels.npy", folder), MQ_BAD_INPUT, "expected uint8 or float32");
  expect_open_fails(arg("npy:%s/none.npy", folder), MQ_BAD_INPUT, "no such file");
  write_npy(folder, "four.npy", MQ_U8, 4, (int64_t[]){2, 4, 5, 4});
  expect_open_fails(arg("npy:%s/four.npy", folder), MQ_BAD_INPUT,
                    "shape 2x4x5x4: 4 channels in the second dimension, expected 1 or 3 of uint8");
  static const struct {
    mq_dtype dtype;
    int64_t dim[4];
    const char *says;
  } empty[] = {
      {MQ_U8, {0, 3, 32, 32}, "e.npy: shape 0x3x32x32 holds no image, expected at least one"},
      {MQ_F32, {0, 3, 32, 32}, "e.npy: shape 0x3x32x32 holds no image, expected at least one"},
      {MQ_U8, {2, 3, 0, 32}, "shape 2x3x0x32: images of 0 x 32 pixels, expected sides of 1 to 65535"},
      {MQ_F32, {2, 0, 4, 5}, "shape 2x0x4x5: 0 channels in the second dimension, expected at least 1"},
      {MQ_U8, {1, 65536, 1, 3}, "shape 1x65536x1x3: images of 65536 x 1 pixels, expected sides of 1 to"},
  };
  for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
    write_npy(folder, "e.npy", empty[i].dtype, 4, empty[i].dim);
    expect_open_fails(arg("npy:%s/e.npy", folder), MQ_BAD_INPUT, empty[i].says);
  }
  remove_folder(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cifar10),
      cmocka_unit_test(test_idx),
      cmocka_unit_test(test_idx_without_labels),
      cmocka_unit_test(test_idx_that_lies),
      cmocka_unit_test(test_npy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
