/* Hash, sample, cache and tar writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>

#include "base/file.h"
#include "data/dataset.h"
#include "data/help_data.h"

static void hash_of(char hex[65], const char *argument) {
  struct mq_dataset *dataset = open_data(argument);
  assert_int_equal(mq_dataset_hash(hex, dataset, NULL), MQ_OK);
  mq_dataset_close(dataset);
}

/* The hash says which images there are, not how they are preprocessed. */
static void test_hash(void **state) {
  (void)state;
  char a[65], b[65];
  hash_of(a, "fractal:limit=20");
  assert_int_equal(strlen(a), 64);
  hash_of(b, "fractal:images=20,mean=0.1,channels=bgr,crop=8");
  assert_string_equal(a, b);
  static const char *const others[] = {
      "fractal:limit=21",           "fractal:limit=20,seed=1",  "fractal:limit=20,split=test",
      "fractal:limit=20,classes=9", "fractal:limit=20,size=16", "fractal:limit=20,label_offset=1"};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
    hash_of(b, others[i]);
    assert_string_not_equal(a, b);
  }
}

static void write_images(const char *folder, uint8_t first) {
  struct mq_err err = {0};
  char path[600];
  uint8_t pixels[2 * 4 * 4 * 3] = {first};
  const struct mq_shape shape = {.rank = 4, .dim = {2, 4, 4, 3}};
  const struct mq_tensor tensor = mq_tensor_view(pixels, MQ_U8, &shape, NULL);
  snprintf(path, sizeof path, "%s/x.npy", folder);
  assert_int_equal(mq_npy_write(path, &tensor, &err), MQ_OK);
}

/* Opens the images as if their files had been there for `seconds`. */
static void kept_hash_of(char hex[65], const char *folder, int64_t seconds) {
  char argument[600], memory[600];
  snprintf(argument, sizeof argument, "npy:%s/x.npy", folder);
  snprintf(memory, sizeof memory, "%s/memory", folder);
  struct mq_dataset *dataset = open_data(argument);
  dataset->opened_ns += seconds * 1000000000;
  assert_int_equal(mq_dataset_hash_kept(hex, dataset, memory, NULL), MQ_OK);
  mq_dataset_close(dataset);
}

static void run_in(const char *folder, const char *command) {
  char line[1200];
  snprintf(line, sizeof line, "cd '%s' && %s", folder, command);
  assert_int_equal(system(line), 0);
}

/* Unchanged files are not read again; whatever changes in them is noticed. */
static void test_hash_is_kept(void **state) {
  (void)state;
  char *folder = make_folder(), right[65], hex[65], made_up[65];
  memset(made_up, 'a', 64);
  made_up[64] = '\0';
  write_images(folder, 1);
  kept_hash_of(right, folder, 0); /* written a moment ago: not kept */
  run_in(folder, "test ! -e memory");
  kept_hash_of(hex, folder, 60);
  assert_string_equal(hex, right);
  run_in(folder, "test $(ls memory | wc -l) = 1");
  run_in(folder, "for f in memory/*; do printf '%064d\\n' 0 | tr 0 a >$f; done");
  kept_hash_of(hex, folder, 60);
  assert_string_equal(hex, made_up); /* so the images were not read */
  /* the same name, size and time of modification, other content */
  run_in(folder, "touch -r x.npy when");
  write_images(folder, 2);
  run_in(folder, "touch -r when x.npy");
  kept_hash_of(hex, folder, 60);
  assert_string_not_equal(hex, made_up);
  assert_string_not_equal(hex, right);
  /* what is kept but no hash is made again */
  strcpy(right, hex);
  run_in(folder, "for f in memory/*; do echo nonsense >$f; done");
  kept_hash_of(hex, folder, 60);
  assert_string_equal(hex, right);
  /* a place that cannot be written */
  run_in(folder, "rm -r memory && echo file >memory");
  kept_hash_of(hex, folder, 60);
  assert_string_equal(hex, right);
  remove_folder(folder);
}

static void test_sample(void **state) {
  (void)state;
  struct mq_dataset *dataset = open_data("fractal:images=1000");
  int64_t *drawn = NULL, *again = NULL, *other = NULL, *first = NULL;
  struct mq_err err = {0};
  assert_int_equal(mq_dataset_sample(&drawn, dataset, 100, false, 3, NULL), MQ_OK);
  assert_int_equal(mq_dataset_sample(&again, dataset, 50, false, 3, NULL), MQ_OK);
  assert_int_equal(mq_dataset_sample(&other, dataset, 100, false, 4, NULL), MQ_OK);
  assert_int_equal(mq_dataset_sample(&first, dataset, 100, true, 3, NULL), MQ_OK);
  assert_memory_equal(drawn, again, 50 * sizeof *drawn); /* fewer draws are a prefix of more */
  bool seen[1000] = {false};
  int64_t n_equal = 0;
  for (int i = 0; i < 100; i++) {
    assert_true(drawn[i] >= 0 && drawn[i] < 1000 && !seen[drawn[i]]);
    seen[drawn[i]] = true;
    n_equal += drawn[i] == other[i];
    assert_int_equal(first[i], i);
  }
  assert_true(n_equal < 10);
  mq_free(drawn);
  assert_int_equal(mq_dataset_sample(&drawn, dataset, 1001, false, 3, &err), MQ_BAD_USAGE);
  assert_null(drawn);
  assert_non_null(strstr(err.message, "1001 images asked for, expected 1 to 1000"));
  assert_int_equal(mq_dataset_sample(&drawn, dataset, 1000, false, 3, NULL), MQ_OK);
  mq_free(drawn);
  mq_free(again);
  mq_free(other);
  mq_free(first);
  mq_dataset_close(dataset);
}

static void assert_same_pixels(struct mq_dataset *a, struct mq_dataset *b) {
  const int64_t n = mq_dataset_get_info(a)->n_images, count = mq_shape_count(&mq_dataset_get_info(a)->image);
  assert_int_equal(mq_dataset_get_info(b)->n_images, n);
  assert_true(mq_shape_equal(&mq_dataset_get_info(a)->image, &mq_dataset_get_info(b)->image));
  float *pixels[2] = {mq_alloc((size_t)count, sizeof(float)), mq_alloc((size_t)count, sizeof(float))};
  for (int64_t i = 0; i < n; i++) {
    assert_int_equal(mq_dataset_read(pixels[0], a, i, NULL), MQ_OK);
    assert_int_equal(mq_dataset_read(pixels[1], b, i, NULL), MQ_OK);
    assert_memory_equal(pixels[0], pixels[1], (size_t)count * sizeof(float));
    assert_int_equal(mq_dataset_label(a, i), mq_dataset_label(b, i));
  }
  mq_free(pixels[0]);
  mq_free(pixels[1]);
}

static int count_files(const char *folder) {
  DIR *stream = opendir(folder);
  int n = 0;
  for (const struct dirent *entry; (entry = readdir(stream));) {
    n += entry->d_name[0] != '.';
  }
  closedir(stream);
  return n;
}

static void test_cache(void **state) {
  (void)state;
  char *folder = make_folder(), text[512];
  struct mq_dataset *plain = open_data("fractal:images=150,resize=20,crop=17");
  for (int round = 0; round < 2; round++) { /* written, then found */
    snprintf(text, sizeof text, "fractal:images=150,resize=20,crop=17,cache=%s/new/folder", folder);
    struct mq_dataset *cached = open_data(text);
    assert_same_pixels(plain, cached);
    mq_dataset_close(cached);
  }
  mq_dataset_close(plain);
  snprintf(text, sizeof text, "%s/new/folder", folder);
  assert_int_equal(count_files(text), 1);
  snprintf(text, sizeof text, "fractal:images=150,resize=20,crop=17,mean=0,std=1,cache=%s/new/folder",
           folder);
  mq_dataset_close(open_data(text)); /* normalisation is not in the file: the same one serves */
  snprintf(text, sizeof text, "%s/new/folder", folder);
  assert_int_equal(count_files(text), 1);
  snprintf(text, sizeof text, "fractal:images=150,crop=17,cache=%s/new/folder", folder);
  mq_dataset_close(open_data(text));
  snprintf(text, sizeof text, "%s/new/folder", folder);
  assert_int_equal(count_files(text), 2);
  remove_folder(folder);
}

static void test_damaged_cache(void **state) {
  (void)state;
  char *folder = make_folder(), text[512], name[256] = "";
  snprintf(text, sizeof text, "fractal:images=3,cache=%s", folder);
  mq_dataset_close(open_data(text));
  DIR *stream = opendir(folder);
  for (const struct dirent *entry; (entry = readdir(stream));) {
    if (entry->d_name[0] != '.') {
      snprintf(name, sizeof name, "%s", entry->d_name);
    }
  }
  closedir(stream);
  write_file(folder, name, "short", 5);
  expect_open_fails(text, MQ_BAD_INPUT, "not the cache of this data set");
  remove_folder(folder);
}

/* Damaged images of a cache still count. */
static void test_cache_keeps_damage(void **state) {
  (void)state;
  mq_log_set_level(MQ_LOG_QUIET);
  char *folder = make_folder(), text[512];
  size_t n;
  uint8_t *jpeg = read_golden_bytes(&n, "exif1.jpg");
  write_file(folder, "images/1.jpg", jpeg, n - 100);
  write_file(folder, "images/2.jpg", jpeg, n);
  mq_free(jpeg);
  snprintf(text, sizeof text, "folder:%s/images,cache=%s/cache", folder, folder);
  float pixels[24 * 16 * 3];
  for (int round = 0; round < 2; round++) {
    struct mq_dataset *dataset = open_data(text);
    for (int64_t i = 0; i < 2; i++) {
      assert_int_equal(mq_dataset_read(pixels, dataset, i, NULL), MQ_OK);
    }
    assert_int_equal(mq_dataset_damaged(dataset), 1);
    mq_dataset_close(dataset);
  }
  remove_folder(folder);
}

static void test_write_tar(void **state) {
  (void)state;
  char *folder = make_folder(), path[256], text[512], *bytes[2] = {NULL, NULL};
  size_t n[2];
  struct mq_dataset *dataset = open_data("fractal:images=30,classes=7");
  for (int i = 0; i < 2; i++) { /* the same bytes each time */
    snprintf(path, sizeof path, "%s/%d.tar", folder, i);
    assert_int_equal(mq_dataset_write_tar(path, dataset, NULL), MQ_OK);
    assert_int_equal(mq_file_read(&bytes[i], &n[i], path, 1 << 24, NULL), MQ_OK);
  }
  assert_int_equal(n[0], n[1]);
  assert_memory_equal(bytes[0], bytes[1], n[0]);
  snprintf(text, sizeof text, "tar:%s/0.tar,mean=0.5,std=0.25", folder);
  struct mq_dataset *back = open_data(text);
  assert_same_pixels(dataset, back);
  assert_string_equal(mq_dataset_class_name(back, 3), mq_dataset_class_name(dataset, 3));
  mq_dataset_close(back);
  mq_free(bytes[0]);
  mq_free(bytes[1]);
  struct mq_err err = {0};
  snprintf(path, sizeof path, "%s/none/0.tar", folder);
  assert_int_not_equal(mq_dataset_write_tar(path, dataset, &err), MQ_OK);
  assert_non_null(strstr(err.message, "none/0.tar"));
  assert_int_equal(count_files(folder), 2); /* nothing temporary left */
  mq_dataset_close(dataset);
  remove_folder(folder);
}

static void test_nothing_leaks(void **state) {
  (void)state;
  assert_int_equal(mq_memory_used(), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_hash),          cmocka_unit_test(test_hash_is_kept),
      cmocka_unit_test(test_sample),        cmocka_unit_test(test_cache),
      cmocka_unit_test(test_damaged_cache), cmocka_unit_test(test_cache_keeps_damage),
      cmocka_unit_test(test_write_tar),     cmocka_unit_test(test_nothing_leaks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
