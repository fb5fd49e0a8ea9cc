/* Paths, and where the project's own data lies. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

bool mq_file_exists(const char *path) {
  return access(path, F_OK) == 0;
}

bool mq_file_is_directory(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static char *copy_text(const char *text, size_t n) {
  char *copy = mq_alloc(n + 1, 1);
  return copy ? memcpy(copy, text, n) : NULL;
}

char *mq_path_join(const char *directory, const char *name) {
  if (name[0] == '/' || directory[0] == 0) {
    return copy_text(name, strlen(name));
  }
  size_t n = strlen(directory), bytes = n + strlen(name) + 2;
  char *path = mq_alloc(bytes, 1);
  if (path) {
    snprintf(path, bytes, "%s%s%s", directory, directory[n - 1] == '/' ? "" : "/", name);
  }
  return path;
}

char *mq_path_directory(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) {
    return copy_text(".", 1);
  }
  return slash == path ? copy_text("/", 1) : copy_text(path, (size_t)(slash - path));
}

const char *mq_path_base(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static char share[4096];

/* <prefix>/bin/mqbench has <prefix>/share/mqbench; a build tree's executable has the source directory. */
static void find_share(void) {
  char executable[3072];
  ssize_t n = readlink("/proc/self/exe", executable, sizeof executable - 1);
  if (n > 0) {
    executable[n] = 0; /* without links: what lies above its folder is what its name says */
    for (int i = 0; i < 2 && strrchr(executable, '/'); i++) {
      *strrchr(executable, '/') = 0;
    }
    snprintf(share, sizeof share, "%s/share/mqbench", executable);
    if (mq_file_is_directory(share)) {
      return;
    }
  }
  snprintf(share, sizeof share, "%s", MQ_SOURCE_DIRECTORY);
  if (!mq_file_is_directory(share)) {
    share[0] = 0;
  }
}

const char *mq_share_directory(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, find_share);
  return share;
}
