#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "common.h"

static char directory[512];

static int set_up(void **state) {
  (void)state;
  strcpy(directory, make_test_directory());
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  remove_test_directory(directory);
  return 0;
}

static void writes_are_whole_and_read_back(void **state) {
  (void)state;
  struct mq_err err;
  char *path = mq_path_join(directory, "a.txt");
  assert_ok(mq_file_write(path, "hello", 5, &err));
  assert_ok(mq_file_write(path, "other", 5, &err));
  char *bytes = NULL;
  size_t n = 0;
  assert_ok(mq_file_read(&bytes, &n, path, 100, &err));
  assert_int_equal(n, 5);
  assert_string_equal(bytes, "other");
  mq_free(bytes);
  assert_fails(MQ_BAD_INPUT, "expected at most 3", mq_file_read(&bytes, &n, path, 3, &err));
  char hex[65];
  assert_ok(mq_sha256_file(hex, path, &err));
  assert_string_equal(hex, "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa");
  mq_free(path);
}

static void an_abandoned_or_failed_write_leaves_nothing(void **state) {
  (void)state;
  struct mq_err err;
  char *path = mq_path_join(directory, "b.txt"), *bad = mq_path_join(directory, "no/such/c.txt");
  struct mq_file_out out;
  assert_ok(mq_file_out_open(&out, path, &err));
  fputs("half", out.stream);
  mq_file_out_abandon(&out);
  assert_false(mq_file_exists(path));
  assert_fails(MQ_FAILED, "no/such/c.txt: cannot write: No such file", mq_file_write(bad, "x", 1, &err));
  char command[600];
  snprintf(command, sizeof command, "test $(ls '%s' | grep -c 'b.txt') = 0", directory);
  assert_int_equal(system(command), 0);
  mq_free(path);
  mq_free(bad);
}

static void a_full_disk_is_reported(void **state) {
  (void)state;
  struct mq_err err;
  if (access("/dev/full", W_OK) != 0) {
    skip();
  }
  struct mq_file_out out;
  char *path = mq_path_join(directory, "full");
  assert_ok(mq_file_out_open(&out, path, &err));
  fclose(out.stream);
  out.stream = fopen("/dev/full", "w");
  fputs("text", out.stream);
  assert_fails(MQ_FAILED, "cannot write", mq_file_out_commit(&out, &err));
  assert_false(mq_file_exists(path));
  mq_free(path);
}

static void only_regular_files_are_read(void **state) {
  (void)state;
  struct mq_err err;
  char *bytes;
  size_t n;
  const uint8_t *map;
  assert_fails(MQ_BAD_INPUT, "is a directory", mq_file_read(&bytes, &n, directory, 10, &err));
  assert_fails(MQ_BAD_INPUT, "device or pipe", mq_file_read(&bytes, &n, "/dev/zero", 10, &err));
  assert_fails(MQ_BAD_INPUT, "no such file", mq_file_map(&map, &n, "/no/such/file", &err));
  char *fifo = mq_path_join(directory, "fifo");
  assert_int_equal(mkfifo(fifo, 0600), 0);
  assert_fails(MQ_BAD_INPUT, "device or pipe", mq_file_map(&map, &n, fifo, &err));
  mq_free(fifo);
}

static void an_empty_file_has_a_hash(void **state) {
  (void)state;
  struct mq_err err;
  char *path = mq_path_join(directory, "empty");
  assert_ok(mq_file_write(path, NULL, 0, &err));
  char hex[65], streamed[65];
  assert_ok(mq_sha256_file(hex, path, &err));
  assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  struct mq_sha256 *hash = NULL;
  assert_ok(mq_sha256_create(&hash, &err));
  mq_sha256_update(hash, "ab", 2);
  mq_sha256_update(hash, "c", 1);
  mq_sha256_finish(streamed, hash);
  assert_string_equal(streamed, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  mq_free(path);
}

static void paths_join_and_split(void **state) {
  (void)state;
  struct mq_err err;
  const char *cases[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a", "/b", "/b"}, {"", "b", "b"}};
  for (size_t i = 0; i < 4; i++) {
    char *joined = mq_path_join(cases[i][0], cases[i][1]);
    assert_string_equal(joined, cases[i][2]);
    mq_free(joined);
  }
  char *folder = mq_path_directory("x/y/z.onnx"), *here = mq_path_directory("z"),
       *root = mq_path_directory("/z");
  assert_string_equal(folder, "x/y");
  assert_string_equal(here, ".");
  assert_string_equal(root, "/");
  assert_string_equal(mq_path_base("x/y/z.onnx"), "z.onnx");
  mq_free(folder);
  mq_free(here);
  mq_free(root);
  char *deep = mq_path_join(directory, "p/q/r");
  assert_ok(mq_file_make_directories(deep, &err));
  assert_ok(mq_file_make_directories(deep, &err));
  assert_true(mq_file_is_directory(deep));
  char *file = mq_path_join(deep, "f"), *below = mq_path_join(file, "g");
  assert_ok(mq_file_write(file, "", 0, &err));
  assert_fails(MQ_FAILED, "cannot create directory", mq_file_make_directories(below, &err));
  assert_fails(MQ_BAD_INPUT, "not a directory", mq_file_make_directories(file, &err));
  mq_free(below);
  mq_free(file);
  mq_free(deep);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(writes_are_whole_and_read_back),
      cmocka_unit_test(an_abandoned_or_failed_write_leaves_nothing),
      cmocka_unit_test(a_full_disk_is_reported),
      cmocka_unit_test(only_regular_files_are_read),
      cmocka_unit_test(an_empty_file_has_a_hash),
      cmocka_unit_test(paths_join_and_split),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
