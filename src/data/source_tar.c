/* Images in tar archives: one file, or a pattern of files in byte order of their names. */
#include <glob.h>
#include <stdlib.h>
#include <string.h>

#include "data/source.h"
#include "data/tar.h"
#include "data/tree.h"

#define MAX_SHARDS 65536

struct map {
  const char *path; /* arena */
  const uint8_t *bytes;
  size_t n;
};

struct state {
  struct map *maps; /* arena */
  size_t n_maps;
  struct mq_tar tar;
  size_t *ids; /* tar entry of each image; arena */
};

static int compare_paths(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The files that PATH means: itself, or what the pattern matches. */
static mq_status find_shards(char ***shards, size_t *n, glob_t *matches, char **path, struct mq_err *err) {
  *shards = path;
  *n = 1;
  if (mq_file_exists(*path) || !strpbrk(*path, "*?[")) {
    return MQ_OK;
  }
  const int code = glob(*path, GLOB_NOSORT, NULL, matches);
  if (code == GLOB_NOSPACE) {
    return mq_fail_memory(err, *path);
  }
  if (code != 0 || matches->gl_pathc == 0 || matches->gl_pathc > MAX_SHARDS) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s", *path,
                   code == 0 && matches->gl_pathc ? "matches too many files" : "no file matches the pattern");
  }
  qsort(matches->gl_pathv, matches->gl_pathc, sizeof *matches->gl_pathv, compare_paths);
  *shards = matches->gl_pathv;
  *n = matches->gl_pathc;
  return MQ_OK;
}

static mq_status index_shard(struct mq_tree *tree, struct mq_source *source, const char *path, bool is_only,
                             struct mq_err *err) {
  struct state *state = source->state;
  struct map *map = &state->maps[state->n_maps++];
  map->path = mq_arena_strdup(&source->arena, path);
  if (!map->path) {
    return mq_fail_memory(err, path);
  }
  mq_status status = mq_file_map(&map->bytes, &map->n, path, err);
  if (status != MQ_OK) {
    return status;
  }
  const size_t before = state->tar.n;
  status = mq_tar_index(&state->tar, map->bytes, map->n, path, &source->arena, err);
  const char *shard = is_only ? NULL : mq_arena_strdup(&source->arena, mq_path_base(path));
  if (status == MQ_OK && !is_only && !shard) {
    status = mq_fail_memory(err, path);
  }
  for (size_t i = before; i < state->tar.n && status == MQ_OK; i++) {
    const struct mq_tree_file file = {.path = state->tar.entries[i].name, .shard = shard, .id = i};
    status = mq_tree_add(tree, &file, err);
  }
  return status;
}

static mq_status tar_open(struct mq_source *source, const struct mq_data_spec *spec, struct mq_err *err) {
  struct mq_tree tree = {0};
  glob_t matches = {0};
  char **shards = NULL, *path = spec->path;
  size_t n = 0;
  struct state *state = mq_arena_alloc(&source->arena, 1, sizeof *state);
  source->state = state;
  mq_status status = state ? find_shards(&shards, &n, &matches, &path, err) : mq_fail_memory(err, path);
  if (status != MQ_OK) {
    goto done;
  }
  state->maps = mq_arena_alloc(&source->arena, n, sizeof *state->maps);
  if (!state->maps) {
    status = mq_fail_memory(err, path);
    goto done;
  }
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    status = index_shard(&tree, source, shards[i], n == 1, err);
  }
  if (status == MQ_OK && spec->labels) {
    status = mq_source_check_split(source, spec->split, path, err);
    status =
        status == MQ_OK ? mq_tree_take_list(source, &state->ids, &tree, spec->labels, path, err) : status;
  } else if (status == MQ_OK) {
    status = mq_tree_take_folders(source, &state->ids, &tree, spec->split, true, path, err);
  }
done:
  globfree(&matches);
  mq_tree_deinit(&tree);
  return status;
}

static void tar_close(struct mq_source *source) {
  struct state *state = source->state;
  for (size_t i = 0; state && i < state->n_maps; i++) {
    mq_file_unmap(state->maps[i].bytes, state->maps[i].n);
  }
  if (state) {
    mq_tar_deinit(&state->tar);
  }
}

static mq_status tar_content(const uint8_t **bytes, size_t *n, uint8_t **owned,
                             const struct mq_source *source, int64_t index, struct mq_err *err) {
  (void)err;
  const struct state *state = source->state;
  const struct mq_tar_entry *entry = &state->tar.entries[state->ids[index]];
  *bytes = entry->bytes;
  *n = entry->n;
  *owned = NULL;
  return MQ_OK;
}

static mq_status tar_files(const struct mq_source *source, mq_source_file_fn visit, void *context,
                           struct mq_err *err) {
  const struct state *state = source->state;
  mq_status status = MQ_OK;
  for (size_t i = 0; i < state->n_maps && status == MQ_OK; i++) {
    status = visit(context, state->maps[i].path, err);
  }
  return status;
}

const struct mq_source_ops mq_source_tar = {
    .open = tar_open, .close = tar_close, .content = tar_content, .files = tar_files};
