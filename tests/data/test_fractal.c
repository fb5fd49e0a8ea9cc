/* The formula-driven images: the same bytes everywhere, disjoint splits, balanced classes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "data/dataset.h"
#include "data/fractal.h"
#include "data/help_data.h"

#define BYTES (32 * 32 * 3)

static void hash_images(char hex[65], const char *argument) {
  struct mq_dataset *dataset = open_data(argument);
  const int64_t *dim = mq_dataset_get_info(dataset)->image.dim, count = dim[0] * dim[1] * dim[2];
  uint8_t *bytes = mq_alloc((size_t)count, 1);
  struct mq_sha256 *hash = NULL;
  bool is_damaged;
  assert_int_equal(mq_sha256_create(&hash, NULL), MQ_OK);
  for (int64_t i = 0; i < mq_dataset_get_info(dataset)->n_images; i++) {
    assert_int_equal(mq_dataset_read_bytes(bytes, &is_damaged, dataset, i, NULL), MQ_OK);
    mq_sha256_update(hash, bytes, (size_t)count);
  }
  mq_sha256_finish(hex, hash);
  mq_free(bytes);
  mq_dataset_close(dataset);
}

/* These bytes are promised: a change needs a new MQ_FRACTAL_REVISION. */
static void test_pinned_bytes(void **state) {
  (void)state;
  static const struct {
    const char *argument, *sha256;
  } pinned[] = {
      {"fractal:images=200", "0fc2d125380ebde8eef95402ba1865313629cc027e4b940922dced5ec80e01f4"},
      {"fractal:images=200,split=test", "f7fafbbd69c9c434ddcd77479457d1e172a1411ac936b1cf588ee09fd7e67d8f"},
      {"fractal:images=40,size=48,seed=12345678901,classes=20",
       "0745f10179b018139ccbdb1f0f214ce7e720237bead5b1585d36a79ef264647c"},
  };
  for (size_t i = 0; i < sizeof pinned / sizeof pinned[0]; i++) {
    char hex[65];
    hash_images(hex, pinned[i].argument);
    assert_string_equal(hex, pinned[i].sha256);
  }
}

static void test_defaults(void **state) {
  (void)state;
  struct mq_dataset *train = open_data("fractal"), *test = open_data("fractal,split=test");
  const struct mq_dataset_info *info = mq_dataset_get_info(train);
  assert_int_equal(info->n_images, 10000);
  assert_int_equal(mq_dataset_get_info(test)->n_images, 2000);
  assert_int_equal(info->n_classes, 10);
  assert_true(info->has_train && info->has_test && info->has_labels);
  assert_int_equal(info->image.dim[0], 3);
  assert_int_equal(info->image.dim[1], 32);
  assert_string_equal(mq_dataset_name(train, 17), "train#17");
  assert_string_equal(mq_dataset_class_name(train, 7), "ifs_007");
  for (int64_t i = 0; i < 100; i++) {
    assert_int_equal(mq_dataset_label(train, i), i % 10);
  }
  uint8_t a[BYTES], b[BYTES];
  bool is_damaged;
  for (int64_t i = 0; i < 20; i++) { /* same class, same number, other image */
    assert_int_equal(mq_dataset_read_bytes(a, &is_damaged, train, i, NULL), MQ_OK);
    assert_int_equal(mq_dataset_read_bytes(b, &is_damaged, test, i, NULL), MQ_OK);
    assert_int_not_equal(memcmp(a, b, BYTES), 0);
  }
  mq_dataset_close(train);
  mq_dataset_close(test);
}

/* More images, another limit or other classes than asked for before: image i stays image i. */
static void test_images_do_not_depend_on_their_number(void **state) {
  (void)state;
  struct mq_dataset *few = open_data("fractal:images=30"), *many = open_data("fractal:images=1000,limit=60");
  uint8_t a[BYTES], b[BYTES];
  bool is_damaged;
  assert_int_equal(mq_dataset_get_info(many)->n_images, 60);
  for (int64_t i = 0; i < 30; i++) {
    assert_int_equal(mq_dataset_read_bytes(a, &is_damaged, few, i, NULL), MQ_OK);
    assert_int_equal(mq_dataset_read_bytes(b, &is_damaged, many, i, NULL), MQ_OK);
    assert_memory_equal(a, b, BYTES);
  }
  mq_dataset_close(few);
  mq_dataset_close(many);
}

/* Many seeds, the smallest and a large size: nothing leaves the canvas (the sanitizers watch), every image
 * has a figure. */
static void test_many_systems(void **state) {
  (void)state;
  static uint8_t pixels[96 * 96 * 3];
  for (uint64_t seed = 0; seed < 60; seed++) {
    struct mq_fractal fractal;
    mq_fractal_find(&fractal, seed, (int64_t)seed);
    assert_true(fractal.n_maps >= 2 && fractal.n_maps <= MQ_FRACTAL_MAX_MAPS);
    const int64_t size = seed % 2 ? MQ_FRACTAL_MIN_SIZE : 96;
    const struct mq_fractal_instance instance = {.seed = seed, .index = (int64_t)seed, .size = size};
    assert_int_equal(mq_fractal_draw(pixels, &fractal, &instance, NULL), MQ_OK);
    int widest = 0;
    for (int c = 0; c < 3; c++) {
      int least = 255, most = 0;
      for (int64_t i = c; i < size * size * 3; i += 3) {
        least = pixels[i] < least ? pixels[i] : least;
        most = pixels[i] > most ? pixels[i] : most;
      }
      widest = most - least > widest ? most - least : widest;
    }
    assert_true(widest > 50);
  }
}

static void test_bad_sizes(void **state) {
  (void)state;
  expect_open_fails("fractal:size=4", MQ_BAD_USAGE, "size=4, expected 8 to 512");
  expect_open_fails("fractal:size=513", MQ_BAD_USAGE, "size=513");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pinned_bytes),
      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_images_do_not_depend_on_their_number),
      cmocka_unit_test(test_many_systems),
      cmocka_unit_test(test_bad_sizes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
