#include "verify/scratch.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

mq_status scratch_create(char **path, struct mq_err *err) {
  const char *parent = getenv("TMPDIR");
  *path = mq_path_join(parent && *parent ? parent : "/tmp", "mqbench-XXXXXX");
  if (!*path) {
    return mq_fail_memory(err, "a path");
  }
  if (!mkdtemp(*path)) {
    mq_status status = mq_fail(err, MQ_FAILED, "%s: cannot create: %s", *path, strerror(errno));
    mq_free(*path);
    *path = NULL;
    return status;
  }
  return MQ_OK;
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *place) {
  (void)about, (void)kind, (void)place;
  remove(path);
  return 0;
}

void scratch_remove(char *path) {
  if (path) {
    nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
  }
  mq_free(path);
}
