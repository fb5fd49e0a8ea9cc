/* One image file on its own: the same floats as through a data set that holds it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/help_data.h"

#define MAX_SIDE 64

/* A folder data set whose only image is the golden file. */
static char *make_data(const char *name) {
  size_t n = 0;
  char path[600];
  char *folder = make_folder();
  uint8_t *bytes = read_golden_bytes(&n, name);
  snprintf(path, sizeof path, "mkdir '%s/class'", folder);
  assert_int_equal(system(path), 0);
  snprintf(path, sizeof path, "class/%s", name);
  write_file(folder, path, bytes, n);
  mq_free(bytes);
  return folder;
}

static void assert_as_data_set(const char *name, const char *keys) {
  struct mq_err err = {0};
  char *folder = make_data(name), argument[700], path[700];
  float *expected = calloc(MAX_SIDE * MAX_SIDE * 3, sizeof *expected);
  float *pixels = calloc(MAX_SIDE * MAX_SIDE * 3, sizeof *pixels);
  snprintf(argument, sizeof argument, "folder:%s,%s", folder, keys);
  snprintf(path, sizeof path, "%s/class/%s", folder, name);
  struct mq_dataset *dataset = open_data(argument);
  const struct mq_shape *shape = &mq_dataset_get_info(dataset)->image; /* C H W */
  const int64_t height = shape->dim[1], width = shape->dim[2];
  assert_in_range(height, 1, MAX_SIDE);
  assert_in_range(width, 1, MAX_SIDE);
  assert_int_equal(mq_dataset_read(expected, dataset, 0, &err), MQ_OK);
  struct mq_preprocess preprocess;
  assert_int_equal(mq_preprocess_parse(&preprocess, keys, &err), MQ_OK);
  if (mq_image_load(pixels, height, width, path, &preprocess, &err) != MQ_OK) {
    fail_msg("%s, %s: %s", name, keys, err.message);
  }
  assert_memory_equal(pixels, expected, (size_t)(height * width * 3) * sizeof *pixels);
  mq_dataset_close(dataset);
  free(expected);
  free(pixels);
  remove_folder(folder);
}

static void test_same_floats(void **state) {
  (void)state;
  assert_as_data_set("exif6.jpg", "resize=20,crop=16");
  assert_as_data_set("exif6.jpg", "size=17x23,mean=0.1/0.2/0.3,std=0.4/0.5/0.6,channels=bgr");
  assert_as_data_set("exif3.jpg", "size=12,exif=ignore,mean=0.5");
  assert_as_data_set("cmyk.jpg", "crop=48");
}

static void test_refused(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_preprocess preprocess;
  float *pixels = calloc(MAX_SIDE * MAX_SIDE * 3, sizeof *pixels);
  assert_int_equal(mq_preprocess_parse(&preprocess, "limit=3", &err), MQ_BAD_USAGE);
  assert_non_null(strstr(err.message, "limit=3"));
  assert_int_equal(mq_preprocess_parse(&preprocess, "resize=none", &err), MQ_BAD_USAGE);
  assert_int_equal(mq_preprocess_parse(&preprocess, "", &err), MQ_OK);
  assert_true(preprocess.std[2] == 1 && preprocess.mean[0] == 0 && preprocess.crop == 0);
  char *path = golden_path("cmyk.jpg");
  assert_int_equal(mq_image_load(pixels, 1, 1, path, &preprocess, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "expected 1 x 1"));
  mq_free(path);
  path = golden_path("augment_pad.npy");
  assert_int_equal(mq_image_load(pixels, 1, 1, path, &preprocess, &err), MQ_BAD_INPUT);
  mq_free(path);
  assert_int_not_equal(mq_image_load(pixels, 1, 1, "no such file.jpg", &preprocess, &err), MQ_OK);
  assert_non_null(strstr(err.message, "no such file.jpg"));
  free(pixels);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_floats), cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
