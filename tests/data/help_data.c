#include "data/help_data.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

struct mq_dataset *open_data(const char *argument) {
  struct mq_err err = {0};
  struct mq_data_spec spec;
  struct mq_dataset *dataset = NULL;
  if (mq_data_spec_parse(&spec, argument, &err) != MQ_OK || mq_dataset_open(&dataset, &spec, &err) != MQ_OK) {
    fail_msg("%s: %s", argument, err.message);
  }
  mq_data_spec_deinit(&spec);
  return dataset;
}

void expect_open_fails(const char *argument, mq_status status, const char *part) {
  struct mq_err err = {0};
  struct mq_data_spec spec;
  struct mq_dataset *dataset = NULL;
  mq_status found = mq_data_spec_parse(&spec, argument, &err);
  if (found == MQ_OK) {
    found = mq_dataset_open(&dataset, &spec, &err);
    mq_data_spec_deinit(&spec);
  }
  assert_null(dataset);
  if (found != status || !strstr(err.message, part)) {
    fail_msg("%s: status %d, message '%s', expected %d and '%s'", argument, found, err.message, status, part);
  }
}

char *golden_path(const char *name) {
  return mq_path_join(MQ_TESTS_DIRECTORY "/data/golden", name);
}

void read_golden(struct mq_tensor *tensor, const char *name) {
  struct mq_err err = {0};
  char *path = golden_path(name);
  memset(tensor, 0, sizeof *tensor);
  if (mq_npy_read(tensor, path, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
  mq_free(path);
}

uint8_t *read_golden_bytes(size_t *n, const char *name) {
  struct mq_err err = {0};
  char *path = golden_path(name), *bytes = NULL;
  if (mq_file_read(&bytes, n, path, 1 << 24, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
  mq_free(path);
  return (uint8_t *)bytes;
}

char *make_folder(void) {
  const char *base = getenv("TMPDIR");
  char *folder = mq_path_join(base ? base : "/tmp", "mqbench_data_XXXXXX");
  assert_non_null(mkdtemp(folder));
  return folder;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw) {
  (void)info;
  (void)type;
  (void)ftw;
  return remove(path);
}

void remove_folder(char *folder) {
  nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
  mq_free(folder);
}

void write_file(const char *folder, const char *name, const void *bytes, size_t n) {
  struct mq_err err = {0};
  char *path = mq_path_join(folder, name), *parent = mq_path_directory(path);
  if (mq_file_make_directories(parent, &err) != MQ_OK || mq_file_write(path, bytes, n, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
  mq_free(path);
  mq_free(parent);
}

char *shared_path(const char *name) {
  const char *shared = getenv("MQBENCH_SHARED");
  char *path = mq_path_join(shared ? shared : MQ_SOURCE_DIRECTORY "/../shared", name);
  if (!mq_file_exists(path)) {
    mq_free(path);
    return NULL;
  }
  return path;
}
