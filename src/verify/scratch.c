#include "verify/scratch.h"

#include <dirent.h>
#include <errno.h>
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

void scratch_remove(char *path) {
  DIR *directory = path ? opendir(path) : NULL;
  for (struct dirent *entry; directory && (entry = readdir(directory));) {
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
      unlinkat(dirfd(directory), entry->d_name, 0);
    }
  }
  if (directory) {
    closedir(directory);
    rmdir(path);
  }
  mq_free(path);
}
