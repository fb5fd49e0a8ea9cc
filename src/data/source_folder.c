/* Images in a folder: class subfolders, or list=FILE. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/source.h"
#include "data/tree.h"

#define MAX_IMAGE_BYTES ((size_t)256 << 20)
#define MAX_LIST_BYTES ((size_t)1 << 30)
#define MAX_LEVELS 16

struct state {
  const char *root;
};

/* A file without an image's suffix may still be one: its first bytes tell. */
static bool is_image(int folder, const char *name) {
  if (mq_path_has_image_suffix(name)) {
    return true;
  }
  uint8_t bytes[8] = {0};
  const int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const ssize_t n = fd < 0 ? 0 : read(fd, bytes, sizeof bytes);
  if (fd >= 0) {
    close(fd);
  }
  return n > 0 && (mq_image_is_jpeg(bytes, (size_t)n) || mq_image_is_png(bytes, (size_t)n));
}

static mq_status walk(struct mq_tree *tree, struct mq_source *source, int fd, const char *relative, int level,
                      struct mq_err *err);

static mq_status visit(struct mq_tree *tree, struct mq_source *source, int folder, const char *relative,
                       const char *name, int level, struct mq_err *err) {
  struct stat info;
  if (name[0] == '.' || fstatat(folder, name, &info, 0) != 0) {
    return MQ_OK; /* hidden files, dangling links */
  }
  const char *path = mq_arena_printf(&source->arena, "%s%s%s", relative, *relative ? "/" : "", name);
  if (!path) {
    return mq_fail_memory(err, "list of files");
  }
  if (S_ISDIR(info.st_mode)) {
    const int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0) {
      return mq_fail(err, MQ_BAD_INPUT, "%s/%s: %s", ((struct state *)source->state)->root, path,
                     strerror(errno));
    }
    return walk(tree, source, fd, path, level + 1, err);
  }
  const struct mq_tree_file file = {.path = path};
  return S_ISREG(info.st_mode) && is_image(folder, name) ? mq_tree_add(tree, &file, err) : MQ_OK;
}

/* Takes over `fd`. */
static mq_status walk(struct mq_tree *tree, struct mq_source *source, int fd, const char *relative, int level,
                      struct mq_err *err) {
  const char *root = ((struct state *)source->state)->root;
  if (level > MAX_LEVELS) {
    close(fd);
    return mq_fail(err, MQ_BAD_INPUT, "%s/%s: more than %d levels of folders", root, relative, MAX_LEVELS);
  }
  DIR *stream = fdopendir(fd);
  if (!stream) {
    close(fd);
    return mq_fail(err, MQ_FAILED, "%s/%s: %s", root, relative, strerror(errno));
  }
  mq_status status = MQ_OK;
  for (const struct dirent *entry; status == MQ_OK && (entry = readdir(stream));) {
    status = visit(tree, source, fd, relative, entry->d_name, level, err);
  }
  closedir(stream);
  return status;
}

static int compare_files(const void *a, const void *b) {
  return mq_path_compare(((const struct mq_tree_file *)a)->path, ((const struct mq_tree_file *)b)->path);
}

static mq_status open_classes(struct mq_source *source, const struct mq_data_spec *spec, struct mq_err *err) {
  struct mq_tree tree = {0};
  size_t *ids = NULL;
  const int fd = open(spec->path, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
  if (fd < 0) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s", spec->path,
                   errno == ENOENT ? "no such folder" : strerror(errno));
  }
  mq_status status = walk(&tree, source, fd, "", 1, err);
  if (status == MQ_OK) {
    if (tree.n) {
      qsort(tree.files, tree.n, sizeof *tree.files, compare_files);
    }
    status = mq_tree_take_folders(source, &ids, &tree, spec->split, false, spec->path, err);
  }
  mq_tree_deinit(&tree);
  return status;
}

static bool leaves_folder(const char *name) {
  if (name[0] == '/') {
    return true;
  }
  for (const char *at = name; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL) {
    if (!strncmp(at, "..", 2) && (at[2] == 0 || at[2] == '/')) {
      return true;
    }
  }
  return false;
}

static mq_status add_line(struct mq_source *source, const struct mq_list_line *line, const char *list_path,
                          struct mq_err *err) {
  const char *root = ((struct state *)source->state)->root;
  if (leaves_folder(line->name)) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: '%s' lies outside of %s", list_path, line->name, root);
  }
  char *path = mq_path_join(root, line->name), *name = mq_arena_strdup(&source->arena, line->name);
  mq_status status = path && name ? MQ_OK : mq_fail_memory(err, "list of images");
  if (status == MQ_OK && !mq_file_exists(path)) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: no such file, named in %s", path, list_path);
  }
  mq_free(path);
  return status == MQ_OK ? mq_source_add(source, name, line->label, err) : status;
}

/* FILE as it stands, or else within PATH. */
static mq_status open_list(struct mq_source *source, const struct mq_data_spec *spec, struct mq_err *err) {
  char *text = NULL, *inside = mq_path_join(spec->path, spec->labels);
  struct mq_list_line *lines = NULL;
  size_t n_text = 0, n = 0;
  if (!inside) {
    return mq_fail_memory(err, spec->path);
  }
  const char *list_path = !mq_file_exists(spec->labels) && mq_file_exists(inside) ? inside : spec->labels;
  mq_status status = mq_source_check_split(source, spec->split, list_path, err);
  if (status == MQ_OK) {
    status = mq_file_read(&text, &n_text, list_path, MAX_LIST_BYTES, err);
  }
  if (status == MQ_OK) {
    status = mq_list_parse(&lines, &n, text, list_path, err);
  }
  if (status == MQ_OK && n == 0) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: no lines, expected `name label`", list_path);
  }
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    status = add_line(source, &lines[i], list_path, err);
  }
  mq_free(lines);
  mq_free(text);
  mq_free(inside);
  return status;
}

static mq_status folder_open(struct mq_source *source, const struct mq_data_spec *spec, struct mq_err *err) {
  struct state *state = mq_arena_alloc(&source->arena, 1, sizeof *state);
  source->state = state;
  if (!state || !(state->root = mq_arena_strdup(&source->arena, spec->path))) {
    return mq_fail_memory(err, spec->path);
  }
  return spec->labels ? open_list(source, spec, err) : open_classes(source, spec, err);
}

static void folder_close(struct mq_source *source) {
  (void)source;
}

static mq_status folder_content(const uint8_t **bytes, size_t *n, uint8_t **owned,
                                const struct mq_source *source, int64_t index, struct mq_err *err) {
  const struct state *state = source->state;
  char *path = mq_path_join(state->root, source->entries[index].name), *text = NULL;
  *owned = NULL;
  if (!path) {
    return mq_fail_memory(err, source->entries[index].name);
  }
  const mq_status status = mq_file_read(&text, n, path, MAX_IMAGE_BYTES, err);
  mq_free(path);
  *owned = (uint8_t *)text;
  *bytes = *owned;
  return status;
}

static mq_status folder_files(const struct mq_source *source, mq_source_file_fn take, void *context,
                              struct mq_err *err) {
  const struct state *state = source->state;
  mq_status status = MQ_OK;
  for (int64_t i = 0; i < source->n_entries && status == MQ_OK; i++) {
    char *path = mq_path_join(state->root, source->entries[i].name);
    status = path ? take(context, path, err) : mq_fail_memory(err, source->entries[i].name);
    mq_free(path);
  }
  return status;
}

const struct mq_source_ops mq_source_folder = {
    .open = folder_open, .close = folder_close, .content = folder_content, .files = folder_files};
