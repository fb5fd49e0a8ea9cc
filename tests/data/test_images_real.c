/* The real data beside the source directory: counts, labels, and every pixel equal to Pillow's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/file.h"
#include "data/dataset.h"
#include "data/help_data.h"

static char argument[4096];

/* SHA-256 of all pixels after resize and crop; the expected values are those of Pillow 9.4 with libjpeg-turbo
 * 2.1.5 (decode, exif_transpose, convert("RGB"), resize(BILINEAR), centre crop). Prints the
 * speed of one core. */
static void assert_pixels(struct mq_dataset *dataset, const char *sha256) {
  const size_t count = (size_t)mq_shape_count(&mq_dataset_get_info(dataset)->image);
  const int64_t n = mq_dataset_get_info(dataset)->n_images;
  uint8_t *pixels = mq_alloc(count, 1);
  char hex[65];
  struct mq_sha256 *hash = NULL;
  double seconds = 0;
  assert_int_equal(mq_sha256_create(&hash, NULL), MQ_OK);
  for (int64_t i = 0; i < n; i++) {
    bool is_damaged = true;
    const clock_t start = clock();
    assert_int_equal(mq_dataset_read_bytes(pixels, &is_damaged, dataset, i, NULL), MQ_OK);
    seconds += (double)(clock() - start) / CLOCKS_PER_SEC;
    assert_false(is_damaged);
    mq_sha256_update(hash, pixels, count);
  }
  mq_sha256_finish(hex, hash);
  mq_free(pixels);
  assert_string_equal(hex, sha256);
  printf("%lld images, %.0f per second of one core\n", (long long)n, (double)n / seconds);
}

static void test_cifar10_jpeg(void **state) {
  (void)state;
  char *path = shared_path("data/cifar10jpeg/test.tar");
  snprintf(argument, sizeof argument, "tar:%s,preset=cifar", path);
  struct mq_dataset *dataset = open_data(argument);
  const struct mq_dataset_info *info = mq_dataset_get_info(dataset);
  assert_int_equal(info->n_images, 10000);
  assert_int_equal(info->n_classes, 10);
  assert_int_equal(info->image.dim[1], 32);
  assert_int_equal(info->image.dim[2], 32);
  assert_false(info->has_test);
  assert_string_equal(mq_dataset_name(dataset, 0), "airplane/0000.jpg");
  assert_string_equal(mq_dataset_class_name(dataset, 9), "truck");
  int64_t n[10] = {0};
  for (int64_t i = 0; i < 10000; i++) {
    n[mq_dataset_label(dataset, i)]++;
  }
  for (int c = 0; c < 10; c++) {
    assert_int_equal(n[c], 1000);
  }
  assert_pixels(dataset, "5a6aa8185204d80b65d3dfb540696dadd5f10d185ded226a96665d3e0fc6259f");
  mq_dataset_close(dataset);
  mq_free(path);
}

static void test_cifar10_shards(void **state) {
  (void)state;
  char *path = shared_path("data/cifar10jpeg");
  snprintf(argument, sizeof argument, "tar:%s/train-*.tar", path);
  struct mq_dataset *dataset = open_data(argument);
  assert_int_equal(mq_dataset_get_info(dataset)->n_images, 50000);
  assert_int_equal(mq_dataset_get_info(dataset)->n_classes, 10);
  assert_string_equal(mq_dataset_name(dataset, 0), "train-0.tar:automobile/1690.jpg");
  assert_int_equal(mq_dataset_label(dataset, 0), 1);
  mq_dataset_close(dataset);
  mq_free(path);
}

static void test_photographs(void **state) {
  (void)state;
  char *path = shared_path("data/imagenet200");
  snprintf(argument, sizeof argument, "folder:%s,list=%s/labels.txt,resize=182,crop=160", path, path);
  struct mq_dataset *dataset = open_data(argument);
  const struct mq_dataset_info *info = mq_dataset_get_info(dataset);
  assert_int_equal(info->n_images, 200);
  assert_true(info->has_labels && info->n_classes <= 1001);
  assert_int_equal(mq_dataset_label(dataset, 0), 3);
  assert_int_equal(info->image.dim[1], 160);
  assert_pixels(dataset, "80220e666c14ad9a37688e7d46d1f6d9b8c9cc43fde7857b348cd3f0ec4160a0");
  mq_dataset_close(dataset);
  mq_free(path);
}

int main(void) {
  char *path = shared_path("data/cifar10jpeg/test.tar");
  if (!path) {
    printf("skipped: no real data beside the source directory\n");
    return 77;
  }
  mq_free(path);
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_cifar10_jpeg),
                                     cmocka_unit_test(test_cifar10_shards),
                                     cmocka_unit_test(test_photographs)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
