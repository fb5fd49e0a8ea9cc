/* Looking targets up: a name in the target folder, or the path of a file. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "target/read.h"

#define TARGET_BYTES_MAX ((size_t)1 << 20)
#define TARGETS_MAX 1000

static bool has_suffix(const char *name, const char *suffix) {
  size_t n = strlen(name), n_suffix = strlen(suffix);
  return n > n_suffix && !strcmp(name + n - n_suffix, suffix);
}

static mq_status load_file(struct mq_target **target, const char *path, struct mq_err *err) {
  char *bytes = NULL;
  size_t n = 0;
  *target = NULL;
  mq_status status = mq_file_read(&bytes, &n, path, TARGET_BYTES_MAX, err);
  if (!status) status = mq_target_parse(target, bytes, n, path, err);
  mq_free(bytes);
  return status;
}

/* In the target folder a file is found by its name, so both must say the same. */
static mq_status load_named(struct mq_target **target, const char *directory, const char *name,
                            struct mq_err *err) {
  size_t n = strlen(name) + sizeof ".yaml";
  char *base = mq_alloc(n, 1), *path = NULL;
  mq_status status = MQ_OK;
  *target = NULL;
  if (base) {
    memcpy(base, name, strlen(name));
    memcpy(base + strlen(name), ".yaml", sizeof ".yaml");
    path = mq_path_join(directory, base);
  }
  if (!path) status = mq_fail_memory(err, "a path");
  if (!status) status = load_file(target, path, err);
  if (!status && strcmp((*target)->name, name) != 0) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: name: found '%s', expected '%s' as the file is called", path,
                     (*target)->name, name);
    mq_target_destroy(*target);
    *target = NULL;
  }
  mq_free(path);
  mq_free(base);
  return status;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Stems of DIRECTORY/NAME.yaml, sorted. */
static mq_status scan_names(const char ***names, size_t *n, const char *directory, struct mq_arena *arena,
                            struct mq_err *err) {
  mq_status status = MQ_OK;
  *n = 0;
  *names = mq_arena_alloc(arena, TARGETS_MAX, sizeof **names);
  DIR *stream = opendir(directory);
  if (!*names) {
    status = mq_fail_memory(err, "the list of targets");
  } else if (!stream) {
    status = mq_fail(err, MQ_FAILED, "%s: %s, expected the folder of targets", directory, strerror(errno));
  }
  for (struct dirent *entry; !status && *n < TARGETS_MAX && (entry = readdir(stream));) {
    if (entry->d_name[0] == '.' || !has_suffix(entry->d_name, ".yaml")) continue;
    char *name = mq_arena_strdup(arena, entry->d_name);
    if (name) {
      name[strlen(name) - strlen(".yaml")] = 0;
      (*names)[(*n)++] = name;
    } else {
      status = mq_fail_memory(err, "the list of targets");
    }
  }
  if (stream) closedir(stream);
  if (!status && *n > 1) qsort(*names, *n, sizeof **names, compare_names);
  return status;
}

static mq_status fail_unknown(const char *directory, const char *name, struct mq_err *err) {
  struct mq_arena arena;
  const char **names = NULL;
  size_t n = 0;
  char list[600] = "";
  mq_arena_init(&arena, 0);
  mq_status status = scan_names(&names, &n, directory, &arena, err);
  for (size_t i = 0; !status && i < n; i++) {
    if (strlen(list) + strlen(names[i]) + 3 > sizeof list) break;
    strcat(list, i ? ", " : "");
    strcat(list, names[i]);
  }
  if (!status) {
    status = mq_fail(err, MQ_BAD_USAGE, "unknown target '%.100s', expected one of: %s, or a YAML file", name,
                     list);
  }
  mq_arena_deinit(&arena);
  return status;
}

mq_status mq_target_load(struct mq_target **target, const char *name, struct mq_err *err) {
  *target = NULL;
  if (strchr(name, '/') || has_suffix(name, ".yaml") || has_suffix(name, ".yml")) {
    return load_file(target, name, err);
  }
  struct mq_arena arena;
  mq_arena_init(&arena, 0);
  const char **names = NULL;
  size_t n = 0;
  bool is_known = false;
  char *directory = mq_path_join(mq_share_directory(), "targets");
  mq_status status = directory ? MQ_OK : mq_fail_memory(err, "a path");
  if (!status) status = scan_names(&names, &n, directory, &arena, err);
  for (size_t i = 0; !status && i < n; i++)
    is_known |= !strcmp(names[i], name);
  if (!status) {
    status = is_known ? load_named(target, directory, name, err) : fail_unknown(directory, name, err);
  }
  mq_free(directory);
  mq_arena_deinit(&arena);
  return status;
}

static mq_status fill_item(struct mq_target_item *item, const char *directory, const char *name,
                           struct mq_arena *arena, struct mq_err *err) {
  struct mq_target *target = NULL;
  mq_status status = load_named(&target, directory, name, err);
  if (!status) {
    item->name = name;
    item->describes = mq_arena_strdup(arena, target->describes);
    if (!item->describes) status = mq_fail_memory(err, "the list of targets");
  }
  mq_target_destroy(target);
  return status;
}

mq_status mq_target_list(struct mq_target_item **items, size_t *n, struct mq_arena *arena,
                         struct mq_err *err) {
  const char **names = NULL;
  size_t n_names = 0;
  *items = NULL;
  *n = 0;
  char *directory = mq_path_join(mq_share_directory(), "targets");
  mq_status status = directory ? MQ_OK : mq_fail_memory(err, "a path");
  if (!status) status = scan_names(&names, &n_names, directory, arena, err);
  struct mq_target_item *list = status ? NULL : mq_arena_alloc(arena, n_names + 1, sizeof *list);
  if (!status && !list) status = mq_fail_memory(err, "the list of targets");
  for (size_t i = 0; !status && i < n_names; i++)
    status = fill_item(&list[i], directory, names[i], arena, err);
  mq_free(directory);
  if (status) return status;
  *items = list;
  *n = n_names;
  return MQ_OK;
}

mq_status mq_target_set_graph_rule(struct mq_target *target, int graph, struct mq_err *err) {
  static const char *const names[] = {"graph1", "graph2", "graph3"};
  struct mq_point_rules rules = {0};
  if (graph < 1 || graph > 3 || !mq_point_rules_of(&rules, names[graph - 1])) {
    return mq_fail(err, MQ_BAD_USAGE, "graph: found %d, expected 1, 2 or 3", graph);
  }
  /* How the hardware averages, and whether its last output is an integer, are properties of the target. */
  if (graph > 1) {
    if (target->points.pool != MQ_POOL_NONE) rules.pool = target->points.pool;
    rules.network_output = target->points.network_output;
  }
  target->points = rules;
  return MQ_OK;
}
