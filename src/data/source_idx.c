/* MNIST-like data: an images file of rank 3 and, beside it, a labels file of rank 1; either may be gzipped.
 */
#include <stdio.h>
#include <string.h>

#include "data/gunzip.h"
#include "data/idx.h"
#include "data/source.h"

#define MAX_EXPANDED_BYTES ((size_t)16 << 30)

struct file {
  const uint8_t *map;
  size_t n_map;
  uint8_t *expanded; /* of a gzipped file */
  struct mq_idx idx;
};

struct state {
  struct file images, labels;
  const char *path; /* of the images file; arena */
};

static mq_status open_file(struct file *file, const char *path, int rank, struct mq_err *err) {
  mq_status status = mq_file_map(&file->map, &file->n_map, path, err);
  if (status != MQ_OK) {
    return status;
  }
  const uint8_t *bytes = file->map;
  size_t n = file->n_map;
  if (mq_is_gzip(bytes, n)) {
    status = mq_gunzip(&file->expanded, &n, bytes, n, MAX_EXPANDED_BYTES, path, err);
    bytes = file->expanded;
  }
  if (status == MQ_OK) {
    status = mq_idx_parse(&file->idx, bytes, n, path, err);
  }
  if (status == MQ_OK && file->idx.rank != rank) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: IDX of rank %d, expected %d (%s)", path, file->idx.rank, rank,
                     rank == 3 ? "images, rows, columns" : "labels");
  }
  return status;
}

static void close_file(struct file *file) {
  mq_free(file->expanded);
  mq_file_unmap(file->map, file->n_map);
}

/* The images file of a split in a folder, under MNIST's names; NULL if there is none. mq_free. */
static char *find_images(const char *folder, bool is_test) {
  static const char *const forms[] = {"-images-idx3-ubyte", "-images.idx3-ubyte"};
  static const char *const stems[3] = {"train", "t10k", "test"};
  for (int stem = is_test ? 1 : 0; stem < (is_test ? 3 : 1); stem++) {
    for (int form = 0; form < 4; form++) {
      char name[64];
      snprintf(name, sizeof name, "%s%s%s", stems[stem], forms[form / 2], form % 2 ? ".gz" : "");
      char *path = mq_path_join(folder, name);
      if (path && mq_file_exists(path)) {
        return path;
      }
      mq_free(path);
    }
  }
  return NULL;
}

/* The last `from` in the file's own name becomes `to`, of the same length. */
static void replace_last(char *path, const char *from, const char *to) {
  char *found = NULL;
  for (char *at = (char *)(uintptr_t)mq_path_base(path); (at = strstr(at, from)); at++) {
    found = at;
  }
  if (found) {
    memcpy(found, to, strlen(to));
  }
}

/* ...images-idx3-ubyte -> ...labels-idx1-ubyte, with and without .gz; NULL if there is none. mq_free. */
static char *find_labels(const char *images) {
  const size_t n = strlen(images);
  const bool is_gzip = n > 3 && !strcmp(images + n - 3, ".gz");
  for (int try = 0; try < 2; try++) {
    char *path = mq_alloc(n + 4, 1);
    if (!path) {
      return NULL;
    }
    memcpy(path, images, n);
    replace_last(path, "images", "labels");
    replace_last(path, "idx3", "idx1");
    if (try == 1) {
      memcpy(path + (is_gzip ? n - 3 : n), is_gzip ? "\0\0\0" : ".gz", 4);
    }
    if (strcmp(path, images) != 0 && mq_file_exists(path)) {
      return path;
    }
    mq_free(path);
  }
  return NULL;
}

/* PATH is a folder or the images file; says which splits there are. */
static mq_status choose_images(char **images, struct mq_source *source, const struct mq_data_spec *spec,
                               struct mq_err *err) {
  if (!mq_file_is_directory(spec->path)) {
    const char *name = mq_path_base(spec->path);
    source->has_test = strstr(name, "t10k") || strstr(name, "test");
    source->has_train = strstr(name, "train") && !source->has_test;
    *images = mq_path_join(".", spec->path);
    return *images ? mq_source_check_split(source, spec->split, spec->path, err)
                   : mq_fail_memory(err, spec->path);
  }
  char *train = find_images(spec->path, false), *test = find_images(spec->path, true);
  source->has_train = train != NULL;
  source->has_test = test != NULL;
  mq_status status = mq_source_check_split(source, spec->split, spec->path, err);
  if (status == MQ_OK && !train && !test) {
    status = mq_fail(err, MQ_BAD_INPUT,
                     "%s: no train-images-idx3-ubyte[.gz] or t10k-images-idx3-ubyte[.gz] in it", spec->path);
  }
  const bool wants_test = mq_source_split_used(source, spec->split) == MQ_SPLIT_TEST || !train;
  *images = status != MQ_OK ? NULL : wants_test ? test : train;
  if (train != *images) {
    mq_free(train);
  }
  if (test != *images) {
    mq_free(test);
  }
  return status;
}

static mq_status idx_open(struct mq_source *source, const struct mq_data_spec *spec, struct mq_err *err) {
  struct state *state = mq_arena_alloc(&source->arena, 1, sizeof *state);
  char *images = NULL, *found = NULL;
  source->state = state;
  mq_status status = state ? choose_images(&images, source, spec, err) : mq_fail_memory(err, spec->path);
  if (status == MQ_OK) {
    state->path = mq_arena_strdup(&source->arena, images);
    status = state->path ? open_file(&state->images, images, 3, err) : mq_fail_memory(err, images);
  }
  if (status != MQ_OK) {
    goto done;
  }
  found = spec->labels ? NULL : find_labels(images);
  const char *labels = spec->labels ? spec->labels : found;
  const int64_t n = state->images.idx.size[0];
  if (labels) {
    status = open_file(&state->labels, labels, 1, err);
  }
  if (status == MQ_OK && labels && state->labels.idx.size[0] != n) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: %lld labels for the %lld images of %s", labels,
                     (long long)state->labels.idx.size[0], (long long)n, images);
  }
  source->size[0] = state->images.idx.size[1];
  source->size[1] = state->images.idx.size[2];
  source->size[2] = 1;
  for (int64_t i = 0; i < n && status == MQ_OK; i++) {
    status =
        mq_source_add_numbered(source, mq_path_base(images), i, labels ? state->labels.idx.data[i] : -1, err);
  }
done:
  mq_free(images);
  mq_free(found);
  return status;
}

static void idx_close(struct mq_source *source) {
  struct state *state = source->state;
  if (state) {
    close_file(&state->images);
    close_file(&state->labels);
  }
}

static mq_status idx_content(const uint8_t **bytes, size_t *n, uint8_t **owned,
                             const struct mq_source *source, int64_t index, struct mq_err *err) {
  (void)err;
  const struct mq_idx *idx = &((const struct state *)source->state)->images.idx;
  *n = (size_t)(idx->size[1] * idx->size[2]);
  *bytes = idx->data + (size_t)index * *n;
  *owned = NULL;
  return MQ_OK;
}

/* The labels' file is no part: labels are read when the data set is opened. */
static mq_status idx_files(const struct mq_source *source, mq_source_file_fn visit, void *context,
                           struct mq_err *err) {
  return visit(context, ((const struct state *)source->state)->path, err);
}

static mq_status idx_pixels(struct mq_image *image, const struct mq_source *source, int64_t index,
                            struct mq_err *err) {
  const uint8_t *bytes = NULL;
  uint8_t *owned = NULL;
  size_t n = 0;
  mq_status status = idx_content(&bytes, &n, &owned, source, index, err);
  if (status == MQ_OK) {
    status = mq_image_init(image, source->size[0], source->size[1], 1, source->entries[index].name, err);
  }
  if (status == MQ_OK) {
    memcpy(image->pixels, bytes, n);
  }
  return status;
}

const struct mq_source_ops mq_source_idx = {.open = idx_open,
                                            .close = idx_close,
                                            .content = idx_content,
                                            .files = idx_files,
                                            .pixels = idx_pixels,
                                            .is_in_memory = true};
