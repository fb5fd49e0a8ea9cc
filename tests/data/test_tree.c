/* Folders, lists and tar archives: classes, splits, order; archives and lists that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>
#include <cmocka.h>

#include "base/file.h"
#include "data/help_data.h"
#include "data/tar.h"
#include "data/tree.h"

static char argument[2048];

static const char *arg(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(argument, sizeof argument, format, arguments);
  va_end(arguments);
  return argument;
}

static uint8_t *jpeg, *png;
static size_t n_jpeg, n_png;

static int load_images(void **state) {
  (void)state;
  jpeg = read_golden_bytes(&n_jpeg, "exif1.jpg"); /* 24 x 16 */
  png = read_golden_bytes(&n_png, "rgb.png");     /* 27 x 19 */
  return 0;
}

static int drop_images(void **state) {
  (void)state;
  mq_free(jpeg);
  mq_free(png);
  return 0;
}

/* A tar of the golden JPEG under each name; names that end in "/" are folders, in ".txt" text. */
static void write_tar(const char *folder, const char *name, bool is_gzip, const char *const *names) {
  char *path = mq_path_join(folder, name);
  struct archive *archive = archive_write_new();
  if (is_gzip) {
    archive_write_add_filter_gzip(archive);
  }
  archive_write_set_format_pax_restricted(archive);
  assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
  for (; *names; names++) {
    const bool is_folder = (*names)[strlen(*names) - 1] == '/', is_text = strstr(*names, ".txt") != NULL;
    const size_t n = is_folder ? 0 : is_text ? 5 : n_jpeg;
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, *names);
    archive_entry_set_size(entry, (la_int64_t)n);
    archive_entry_set_filetype(entry, is_folder ? AE_IFDIR : AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
    assert_int_equal(archive_write_data(archive, is_text ? (const void *)"hello" : jpeg, n), n);
    archive_entry_free(entry);
  }
  archive_write_close(archive);
  archive_write_free(archive);
  mq_free(path);
}

static void assert_images(struct mq_dataset *dataset, const char *const *names, const int64_t *labels) {
  int64_t n = 0;
  for (; names[n]; n++) {
    assert_true(n < mq_dataset_get_info(dataset)->n_images);
    assert_string_equal(mq_dataset_name(dataset, n), names[n]);
    assert_int_equal(mq_dataset_label(dataset, n), labels[n]);
  }
  assert_int_equal(mq_dataset_get_info(dataset)->n_images, n);
  mq_dataset_close(dataset);
}

static void test_folder_of_classes(void **state) {
  (void)state;
  char *folder = make_folder();
  write_file(folder, "dog/b.jpg", jpeg, n_jpeg);
  write_file(folder, "dog/a", jpeg, n_jpeg); /* no suffix: told by content */
  write_file(folder, "dog/notes.txt", "hello", 5);
  write_file(folder, "Zebra/deep/er/x.png", png, n_png);
  write_file(folder, "dog-house/1.PNG", png, n_png);
  write_file(folder, ".hidden/1.png", png, n_png);
  struct mq_dataset *dataset = open_data(arg("folder:%s", folder));
  assert_int_equal(mq_dataset_get_info(dataset)->n_classes, 3);
  assert_string_equal(mq_dataset_class_name(dataset, 0), "Zebra");
  assert_int_equal(mq_dataset_get_info(dataset)->image.dim[1], -1); /* sizes differ */
  struct mq_err err = {0};
  float pixels[27 * 19 * 3];
  assert_int_equal(mq_dataset_read(pixels, dataset, 0, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "images differ in size"));
  assert_images(dataset,
                (const char *[]){"Zebra/deep/er/x.png", "dog/a", "dog/b.jpg", "dog-house/1.PNG", NULL},
                (int64_t[]){0, 1, 1, 2});
  dataset = open_data(arg("folder:%s,size=12", folder));
  assert_int_equal(mq_dataset_get_info(dataset)->image.dim[1], 12);
  for (int64_t i = 0; i < 4; i++) {
    assert_int_equal(mq_dataset_read(pixels, dataset, i, &err), MQ_OK);
  }
  mq_dataset_close(dataset);
  dataset = open_data(arg("folder:%s/dog,limit=1", folder)); /* no class folders: no labels */
  assert_false(mq_dataset_get_info(dataset)->has_labels);
  assert_int_equal(mq_dataset_get_info(dataset)->image.dim[1], 16);
  assert_images(dataset, (const char *[]){"a", NULL}, (int64_t[]){-1});
  write_file(folder, "stray.jpg", jpeg, n_jpeg);
  expect_open_fails(arg("folder:%s", folder), MQ_BAD_INPUT, "image 'stray.jpg' is in no class folder");
  expect_open_fails(arg("folder:%s/none", folder), MQ_BAD_INPUT, "no such folder");
  expect_open_fails(arg("folder:%s/.hidden/1.png", folder), MQ_BAD_INPUT, "Not a directory");
  remove_folder(folder);
}

static void test_folder_splits(void **state) {
  (void)state;
  char *folder = make_folder();
  write_file(folder, "train/b/1.jpg", jpeg, n_jpeg);
  write_file(folder, "train/c/2.jpg", jpeg, n_jpeg);
  write_file(folder, "val/c/3.jpg", jpeg, n_jpeg);
  write_file(folder, "val/a/4.jpg", jpeg, n_jpeg);
  struct mq_dataset *dataset = open_data(arg("folder:%s", folder));
  assert_true(mq_dataset_get_info(dataset)->has_train && mq_dataset_get_info(dataset)->has_test);
  assert_int_equal(mq_dataset_get_info(dataset)->n_classes, 3); /* of both splits, so labels agree */
  assert_images(dataset, (const char *[]){"train/b/1.jpg", "train/c/2.jpg", NULL}, (int64_t[]){1, 2});
  assert_images(open_data(arg("folder:%s,split=test", folder)),
                (const char *[]){"val/a/4.jpg", "val/c/3.jpg", NULL}, (int64_t[]){0, 2});
  assert_images(open_data(arg("folder:%s/val", folder)), (const char *[]){"a/4.jpg", "c/3.jpg", NULL},
                (int64_t[]){0, 1});
  expect_open_fails(arg("folder:%s/val,split=test", folder), MQ_BAD_INPUT,
                    "has no split=test (no splits at all)");
  write_file(folder, "zoo/5.jpg", jpeg, n_jpeg); /* now "train" and "val" are classes like any other */
  dataset = open_data(arg("folder:%s", folder));
  assert_string_equal(mq_dataset_class_name(dataset, 0), "train");
  assert_false(mq_dataset_get_info(dataset)->has_test);
  mq_dataset_close(dataset);
  remove_folder(folder);
}

static void test_folder_list(void **state) {
  (void)state;
  char *folder = make_folder();
  write_file(folder, "p/x y.jpg", jpeg, n_jpeg);
  write_file(folder, "p/z.jpg", jpeg, n_jpeg);
  const char *list = "p/z.jpg 7\r\n\n  ./p/x y.jpg\t3\n";
  write_file(folder, "list.txt", list, strlen(list));
  struct mq_dataset *dataset = open_data(arg("folder:%s,list=list.txt,label_offset=-1", folder));
  assert_int_equal(mq_dataset_get_info(dataset)->n_classes, 7);
  assert_images(dataset, (const char *[]){"p/z.jpg", "p/x y.jpg", NULL}, (int64_t[]){6, 2});
  write_file(folder, "names.txt", "p/z.jpg\n", 8);
  dataset = open_data(arg("folder:%s,list=%s/names.txt", folder, folder));
  assert_false(mq_dataset_get_info(dataset)->has_labels);
  mq_dataset_close(dataset);
  static const struct {
    const char *text, *part;
  } bad[] = {
      {"p/z.jpg 1\np/x y.jpg\n", "bad.txt:2: 'p/x y.jpg' has no label"},
      {"p/none.jpg 1\n", "none.jpg: no such file"},
      {"p/x y.jpg 1\np/z.jpg -4\n", "bad.txt:2: label -4, expected 0 to 1000000"},
      {"p/z.jpg 1000001\n", "bad.txt:1: label 1000001, expected 0 to 1000000"},
      {"p/z.jpg 99999999999999999999\n", "bad.txt:1: label 99999999999999999999, expected"},
      {"../p/z.jpg 1\n", "lies outside of"},
      {"p/../../z.jpg 1\n", "lies outside of"},
      {"/etc/passwd 1\n", "lies outside of"},
      {"\n\n", "no lines"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    write_file(folder, "bad.txt", bad[i].text, strlen(bad[i].text));
    expect_open_fails(arg("folder:%s,list=%s/bad.txt", folder, folder), MQ_BAD_INPUT, bad[i].part);
  }
  expect_open_fails(arg("folder:%s,list=nowhere.txt", folder), MQ_BAD_INPUT, "no such file");
  expect_open_fails(arg("folder:%s,list=list.txt,split=test", folder), MQ_BAD_INPUT, "has no split=test");
  remove_folder(folder);
}

static const char *const members[] = {"./data/",          "./data/frog/2.jpg", "./data/readme.txt",
                                      "./data/ant/1.jpg", "data/frog/noname",  NULL};

static void check_tar(const char *path) {
  struct mq_dataset *dataset = open_data(arg("tar:%s", path));
  float pixels[16 * 24 * 3], expected = (float)0;
  struct mq_image image;
  assert_int_equal(mq_image_decode(&image, jpeg, n_jpeg, false, "x", NULL), MQ_OK);
  expected = (float)image.pixels[100] / 255.0f;
  mq_image_deinit(&image);
  assert_int_equal(mq_dataset_get_info(dataset)->n_classes, 2);
  assert_string_equal(mq_dataset_class_name(dataset, 0), "ant");
  for (int64_t i = 0; i < 3; i++) {
    assert_int_equal(mq_dataset_read(pixels, dataset, i, NULL), MQ_OK);
    assert_true(pixels[100] == expected);
  }
  assert_images(dataset, (const char *[]){"data/frog/2.jpg", "data/ant/1.jpg", "data/frog/noname", NULL},
                (int64_t[]){1, 0, 1});
}

static void test_tar(void **state) {
  (void)state;
  char *folder = make_folder(), path[512];
  write_tar(folder, "a.tar", false, members);
  write_tar(folder, "a.tar.gz", true, members);
  snprintf(path, sizeof path, "%s/a.tar", folder);
  check_tar(path);
  strcat(path, ".gz");
  check_tar(path);
  char hash[2][65];
  for (int i = 0; i < 2; i++) {
    struct mq_dataset *dataset = open_data(arg("tar:%s/a.tar%s", folder, i ? ".gz" : ""));
    assert_int_equal(mq_dataset_hash(hash[i], dataset, NULL), MQ_OK);
    mq_dataset_close(dataset);
  }
  assert_string_equal(hash[0], hash[1]);
  remove_folder(folder);
}

static void test_tar_shards(void **state) {
  (void)state;
  char *folder = make_folder();
  write_tar(folder, "t-1.tar", false, (const char *[]){"b/1.jpg", NULL});
  write_tar(folder, "t-0.tar", false, (const char *[]){"c/2.jpg", "a/3.jpg", NULL});
  assert_images(open_data(arg("tar:%s/t-*.tar", folder)),
                (const char *[]){"t-0.tar:c/2.jpg", "t-0.tar:a/3.jpg", "t-1.tar:b/1.jpg", NULL},
                (int64_t[]){2, 0, 1});
  write_file(folder, "list", "b/1.jpg 5\nc/2.jpg 1\n", 20);
  assert_images(open_data(arg("tar:%s/t-?.tar,list=%s/list", folder, folder)),
                (const char *[]){"b/1.jpg", "c/2.jpg", NULL}, (int64_t[]){5, 1});
  write_file(folder, "list", "b/9.jpg 5\n", 10);
  expect_open_fails(arg("tar:%s/t-?.tar,list=%s/list", folder, folder), MQ_BAD_INPUT, "'b/9.jpg' is not in");
  expect_open_fails(arg("tar:%s/u-*.tar", folder), MQ_BAD_INPUT, "no file matches");
  expect_open_fails(arg("tar:%s/none.tar", folder), MQ_BAD_INPUT, "no such file");
  remove_folder(folder);
}

/* Names are only names; archives cut anywhere end in a message or a shorter data set, never in a crash. */
static void test_hostile_tar(void **state) {
  (void)state;
  char *folder = make_folder(), *bytes = NULL;
  struct mq_err err = {0};
  write_tar(folder, "evil.tar", false, (const char *[]){"../../up/1.jpg", "/abs/2.jpg", NULL});
  assert_images(open_data(arg("tar:%s/evil.tar", folder)),
                (const char *[]){"../../up/1.jpg", "abs/2.jpg", NULL}, (int64_t[]){0, 1});
  write_tar(folder, "a.tar", false, members);
  size_t n;
  char *path = mq_path_join(folder, "a.tar");
  assert_int_equal(mq_file_read(&bytes, &n, path, 1 << 20, &err), MQ_OK);
  for (size_t cut = 0; cut < 6000; cut += 101) {
    struct mq_tar tar = {0};
    struct mq_arena arena;
    mq_arena_init(&arena, 0);
    char *exact = mq_alloc(cut + 1, 1);
    memcpy(exact, bytes, cut);
    mq_status status = mq_tar_index(&tar, (uint8_t *)exact, cut, "cut.tar", &arena, &err);
    assert_true(status == MQ_OK || (status == MQ_BAD_INPUT && strstr(err.message, "cut.tar")));
    mq_tar_deinit(&tar);
    mq_arena_deinit(&arena);
    mq_free(exact);
  }
  write_file(folder, "b.tar", bytes, 512 * 3 + 300); /* ends within the first image */
  expect_open_fails(arg("tar:%s/b.tar", folder), MQ_BAD_INPUT, "b.tar");
  write_file(folder, "c.tar", "this is no archive at all", 25);
  expect_open_fails(arg("tar:%s/c.tar", folder), MQ_BAD_INPUT, "c.tar");
  write_file(folder, "d.tar", "", 0);
  expect_open_fails(arg("tar:%s/d.tar", folder), MQ_BAD_INPUT, "empty file");
  write_tar(folder, "e.tar", false, (const char *[]){"a/b.txt", NULL});
  expect_open_fails(arg("tar:%s/e.tar", folder), MQ_BAD_INPUT, "no JPEG or PNG images");
  mq_free(bytes);
  mq_free(path);
  remove_folder(folder);
}

static void test_damaged_images_count_once(void **state) {
  (void)state;
  char *folder = make_folder();
  mq_log_set_level(MQ_LOG_QUIET);
  write_file(folder, "a/1.jpg", jpeg, n_jpeg);
  write_file(folder, "a/2.jpg", jpeg, n_jpeg - 100);
  struct mq_dataset *dataset = open_data(arg("folder:%s", folder));
  float pixels[16 * 24 * 3];
  for (int i = 0; i < 4; i++) {
    assert_int_equal(mq_dataset_read(pixels, dataset, i % 2, NULL), MQ_OK);
  }
  assert_int_equal(mq_dataset_damaged(dataset), 1);
  mq_dataset_close(dataset);
  write_file(folder, "a/3.jpg", "\xff\xd8\xff nothing", 11);
  expect_open_fails(arg("folder:%s", folder), MQ_BAD_INPUT, "a/3.jpg: not a readable JPEG");
  remove_folder(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_folder_of_classes),
      cmocka_unit_test(test_folder_splits),
      cmocka_unit_test(test_folder_list),
      cmocka_unit_test(test_tar),
      cmocka_unit_test(test_tar_shards),
      cmocka_unit_test(test_hostile_tar),
      cmocka_unit_test(test_damaged_images_count_once),
  };
  return cmocka_run_group_tests(tests, load_images, drop_images);
}
