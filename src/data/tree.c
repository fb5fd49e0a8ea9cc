/* Class folders and splits from paths. */
#include "data/tree.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

mq_status mq_tree_add(struct mq_tree *tree, const struct mq_tree_file *file, struct mq_err *err) {
  if (tree->n == tree->capacity) {
    const size_t capacity = tree->capacity ? 2 * tree->capacity : 256;
    struct mq_tree_file *more = mq_realloc(tree->files, capacity, sizeof *more);
    if (!more) {
      return mq_fail_memory(err, "list of files");
    }
    tree->files = more;
    tree->capacity = capacity;
  }
  tree->files[tree->n++] = *file;
  return MQ_OK;
}

void mq_tree_deinit(struct mq_tree *tree) {
  mq_free(tree->files);
  memset(tree, 0, sizeof *tree);
}

static int rank_of(char c) {
  return c == 0 ? 0 : c == '/' ? 1 : (unsigned char)c + 2;
}

int mq_path_compare(const char *a, const char *b) {
  while (*a && *a == *b) {
    a++;
    b++;
  }
  return rank_of(*a) - rank_of(*b);
}

bool mq_path_has_image_suffix(const char *path) {
  const char *dot = strrchr(mq_path_base(path), '.');
  return dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg") || !strcasecmp(dot, ".png") ||
                 !strcasecmp(dot, ".jpe"));
}

/* Behind the next slash, or NULL in the last component. */
static const char *skip_component(const char *path) {
  const char *slash = strchr(path, '/');
  return slash ? slash + 1 : NULL;
}

/* Bytes of the longest run of leading folders common to all paths that leaves every image a folder. */
static size_t common_prefix(const struct mq_tree *tree) {
  size_t prefix = 0;
  for (;;) {
    const char *first = tree->files[0].path + prefix, *next = skip_component(first);
    if (!next) {
      return prefix;
    }
    const size_t n = prefix + (size_t)(next - first);
    for (size_t i = 0; i < tree->n; i++) {
      const char *path = tree->files[i].path;
      if (strncmp(path, tree->files[0].path, n) != 0 || !skip_component(path + n)) {
        return prefix;
      }
    }
    prefix = n;
  }
}

/* Split folders in the order of preference among those that mean the same. */
static const char *const split_folders[] = {"train/", "test/", "val/", "validation/"};
#define N_SPLIT_FOLDERS 4

static int split_folder_of(const char *path) {
  for (int i = 0; i < N_SPLIT_FOLDERS; i++) {
    if (!strncmp(path, split_folders[i], strlen(split_folders[i]))) {
      return i;
    }
  }
  return -1;
}

/* The index of the split folder that images are taken from; -1: images are not in split folders, or all of
 * them are wanted. A class may be called "train": the folders mean splits only if every image is in one. */
static mq_status choose_split(int *chosen, bool *is_split, struct mq_source *source,
                              const struct mq_tree *tree, size_t prefix, mq_data_split split,
                              const char *what, struct mq_err *err) {
  size_t n[N_SPLIT_FOLDERS] = {0}, n_in_all = 0;
  for (size_t i = 0; i < tree->n; i++) {
    const int folder = split_folder_of(tree->files[i].path + prefix);
    if (folder >= 0) {
      n[folder]++;
      n_in_all++;
    }
  }
  *is_split = n_in_all == tree->n;
  *chosen = -1;
  if (*is_split) {
    source->has_train = n[0] > 0;
    source->has_test = n[1] + n[2] + n[3] > 0;
  }
  mq_status status = mq_source_check_split(source, split, what, err);
  if (status != MQ_OK || !*is_split) {
    return status;
  }
  const bool wants_train = mq_source_split_used(source, split) == MQ_SPLIT_TRAIN ||
                           (split == MQ_SPLIT_DEFAULT && !source->has_test);
  *chosen = wants_train ? 0 : n[1] ? 1 : n[2] ? 2 : 3;
  return MQ_OK;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A path's class folder copied into the arena, "" if it has none. Consecutive images share the copy. */
static const char *class_of(struct mq_arena *arena, const char *path, const char *previous) {
  const char *slash = strchr(path, '/');
  const size_t n = slash ? (size_t)(slash - path) : 0;
  if (previous && strlen(previous) == n && memcmp(previous, path, n) == 0) {
    return previous;
  }
  char *copy = mq_arena_alloc(arena, n + 1, 1);
  return copy ? memcpy(copy, path, n) : NULL;
}

/* classes[i] of every file (of all splits, so that labels agree among them), and the sorted distinct ones. */
static mq_status collect_classes(struct mq_source *source, const char **classes, const struct mq_tree *tree,
                                 size_t prefix, bool is_split, const char *what, struct mq_err *err) {
  const char **sorted = mq_arena_alloc(&source->arena, tree->n, sizeof *sorted);
  const char *previous = NULL;
  size_t n_without = 0, example = 0;
  for (size_t i = 0; i < tree->n && sorted; i++) {
    const char *path = tree->files[i].path + prefix;
    previous = class_of(&source->arena, is_split ? skip_component(path) : path, previous);
    if (!previous) {
      return mq_fail_memory(err, "class names");
    }
    classes[i] = sorted[i] = previous;
    if (!*previous) {
      n_without++;
      example = i;
    }
  }
  if (!sorted) {
    return mq_fail_memory(err, "class names");
  }
  if (n_without && n_without < tree->n) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: image '%s' is in no class folder, %zu others are", what,
                   tree->files[example].path, tree->n - n_without);
  }
  if (n_without) {
    return MQ_OK;
  }
  qsort(sorted, tree->n, sizeof *sorted, compare_names);
  for (size_t i = 0; i < tree->n; i++) {
    if (i == 0 || strcmp(sorted[i], sorted[i - 1]) != 0) {
      sorted[source->n_classes++] = sorted[i];
    }
  }
  source->class_names = sorted;
  return MQ_OK;
}

static int64_t label_of(const struct mq_source *source, const char *class) {
  if (!source->class_names) {
    return -1;
  }
  const char **found =
      bsearch(&class, source->class_names, (size_t)source->n_classes, sizeof class, compare_names);
  return found - source->class_names;
}

static mq_status add_file(struct mq_source *source, const struct mq_tree_file *file, int64_t label,
                          struct mq_err *err) {
  const char *name = file->shard ? mq_arena_printf(&source->arena, "%s:%s", file->shard, file->path)
                                 : mq_arena_strdup(&source->arena, file->path);
  return name ? mq_source_add(source, name, label, err) : mq_fail_memory(err, "list of images");
}

mq_status mq_tree_take_folders(struct mq_source *source, size_t **ids, const struct mq_tree *tree,
                               mq_data_split split, bool is_archive, const char *what, struct mq_err *err) {
  if (tree->n == 0) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: no JPEG or PNG images found", what);
  }
  const size_t prefix = is_archive ? common_prefix(tree) : 0;
  int chosen = -1;
  bool is_split = false;
  mq_status status = choose_split(&chosen, &is_split, source, tree, prefix, split, what, err);
  if (status != MQ_OK) {
    return status;
  }
  const char **classes = mq_alloc(tree->n, sizeof *classes);
  *ids = mq_arena_alloc(&source->arena, tree->n, sizeof **ids);
  status = classes && *ids ? collect_classes(source, classes, tree, prefix, is_split, what, err)
                           : mq_fail_memory(err, "list of images");
  for (size_t i = 0; i < tree->n && status == MQ_OK; i++) {
    if (is_split && split_folder_of(tree->files[i].path + prefix) != chosen) {
      continue;
    }
    (*ids)[source->n_entries] = tree->files[i].id;
    status = add_file(source, &tree->files[i], label_of(source, classes[i]), err);
  }
  mq_free(classes);
  return status;
}
