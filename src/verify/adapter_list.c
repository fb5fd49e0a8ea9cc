/* Which adapters there are. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "mqbench/verify.h"

#define MAX_ADAPTERS 256

struct listing {
  const char **names;
  size_t n;
  struct mq_arena *arena;
};

static bool is_adapter(const char *folder, const char *name) {
  if (name[0] == '.' || strcmp(name, "install") == 0) {
    return false;
  }
  char *path = mq_path_join(folder, name);
  bool is_program = path && !mq_file_is_directory(path) && access(path, X_OK) == 0;
  mq_free(path);
  return is_program;
}

static bool is_listed(const struct listing *l, const char *name) {
  for (size_t i = 0; i < l->n; i++) {
    if (strcmp(l->names[i], name) == 0) {
      return true;
    }
  }
  return false;
}

/* A folder that is not there holds none. False: no memory. */
static bool add_folder(struct listing *l, const char *folder) {
  DIR *directory = opendir(folder);
  bool is_added = true;
  for (struct dirent *entry; directory && is_added && l->n < MAX_ADAPTERS && (entry = readdir(directory));) {
    if (is_adapter(folder, entry->d_name) && !is_listed(l, entry->d_name)) {
      l->names[l->n] = mq_arena_strdup(l->arena, entry->d_name);
      is_added = l->names[l->n] != NULL;
      l->n += is_added;
    }
  }
  if (directory) {
    closedir(directory);
  }
  return is_added;
}

static bool add_folders(struct listing *l, const char *folders) {
  bool is_added = true;
  for (const char *at = folders; at && is_added;) {
    const size_t n = strcspn(at, ":");
    const char *folder = mq_arena_printf(l->arena, "%.*s", (int)n, at);
    is_added = folder && (n == 0 || add_folder(l, folder));
    at = at[n] ? at + n + 1 : NULL;
  }
  return is_added;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

mq_status mq_adapter_list(const char *const **names, size_t *n, struct mq_arena *arena, struct mq_err *err) {
  struct listing l = {.names = mq_arena_alloc(arena, MAX_ADAPTERS, sizeof *l.names), .arena = arena};
  char *own = mq_path_join(mq_share_directory(), "adapters");
  bool is_listed_all = l.names && own && add_folders(&l, getenv("MQBENCH_ADAPTERS")) && add_folder(&l, own);
  mq_free(own);
  *names = NULL;
  *n = 0;
  if (!is_listed_all) {
    return mq_fail_memory(err, "a list of adapters");
  }
  qsort(l.names, l.n, sizeof *l.names, compare_names);
  *names = l.names;
  *n = l.n;
  return MQ_OK;
}
