/* CIFAR-10's binary version: records of a label byte and 3 x 32 x 32 planar bytes. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "data/source.h"

#define SIDE 32
#define PLANE (SIDE * SIDE)
#define RECORD (1 + 3 * PLANE)
#define MAX_FILES 256

static const char *const class_names[10] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                            "dog",      "frog",       "horse", "ship", "truck"};

struct file {
  const char *path; /* arena */
  const uint8_t *bytes;
  size_t n;
  int64_t first; /* index of its first image */
};

struct state {
  struct file files[MAX_FILES];
  int n_files;
};

static bool is_train_name(const char *name) {
  return !strncmp(name, "data_batch_", 11) && strlen(name) > 4 && !strcmp(name + strlen(name) - 4, ".bin");
}

static bool is_test_name(const char *name) {
  return !strcmp(name, "test_batch.bin");
}

static mq_status add_file(struct mq_source *source, const char *path, struct mq_err *err) {
  struct state *state = source->state;
  if (state->n_files == MAX_FILES) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: more than %d batch files", path, MAX_FILES);
  }
  struct file *file = &state->files[state->n_files++];
  file->path = mq_arena_strdup(&source->arena, path);
  if (!file->path) {
    return mq_fail_memory(err, path);
  }
  mq_status status = mq_file_map(&file->bytes, &file->n, path, err);
  if (status != MQ_OK) {
    return status;
  }
  file->first = source->n_entries;
  if (file->n == 0 || file->n % RECORD) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %zu bytes, expected a multiple of %d (label and 3 x 32 x 32)",
                   path, file->n, RECORD);
  }
  for (size_t i = 0; i < file->n / RECORD && status == MQ_OK; i++) {
    const uint8_t label = file->bytes[i * RECORD];
    if (label > 9) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: image %zu has label %d, expected 0 to 9", path, i, label);
    }
    status = mq_source_add_numbered(source, mq_path_base(path), (int64_t)i, label, err);
  }
  return status;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of the batch files in the folder, in byte order. */
static mq_status list_batches(const char *names[MAX_FILES], int *n, struct mq_source *source,
                              const char *path, struct mq_err *err) {
  DIR *stream = opendir(path);
  if (!stream) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s", path, strerror(errno));
  }
  mq_status status = MQ_OK;
  for (const struct dirent *entry; status == MQ_OK && (entry = readdir(stream));) {
    const bool is_train = is_train_name(entry->d_name), is_test = is_test_name(entry->d_name);
    if (!is_train && !is_test) {
      continue;
    }
    source->has_train |= is_train;
    source->has_test |= is_test;
    names[*n] = mq_arena_strdup(&source->arena, entry->d_name);
    status = !names[*n]          ? mq_fail_memory(err, path)
             : ++*n == MAX_FILES ? mq_fail(err, MQ_BAD_INPUT, "%s: too many batch files", path)
                                 : MQ_OK;
  }
  closedir(stream);
  qsort(names, (size_t)*n, sizeof *names, compare_names);
  return status;
}

static mq_status add_folder(struct mq_source *source, const char *path, mq_data_split split,
                            struct mq_err *err) {
  const char *names[MAX_FILES];
  int n = 0;
  mq_status status = list_batches(names, &n, source, path, err);
  if (status == MQ_OK && n == 0) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: no data_batch_*.bin or test_batch.bin in it", path);
  }
  if (status == MQ_OK) {
    status = mq_source_check_split(source, split, path, err);
  }
  const mq_data_split used = mq_source_split_used(source, split);
  for (int i = 0; i < n && status == MQ_OK; i++) {
    const bool is_wanted = used == MQ_SPLIT_DEFAULT || (used == MQ_SPLIT_TEST) == is_test_name(names[i]);
    char *joined = is_wanted ? mq_path_join(path, names[i]) : NULL;
    if (is_wanted) {
      status = joined ? add_file(source, joined, err) : mq_fail_memory(err, path);
    }
    mq_free(joined);
  }
  return status;
}

static mq_status cifar10_open(struct mq_source *source, const struct mq_data_spec *spec, struct mq_err *err) {
  source->state = mq_arena_alloc(&source->arena, 1, sizeof(struct state));
  source->class_names = mq_arena_alloc(&source->arena, 10, sizeof *source->class_names);
  if (!source->state || !source->class_names) {
    return mq_fail_memory(err, spec->path);
  }
  memcpy(source->class_names, class_names, sizeof class_names);
  source->n_classes = 10;
  source->size[0] = source->size[1] = SIDE;
  source->size[2] = 3;
  if (mq_file_is_directory(spec->path)) {
    return add_folder(source, spec->path, spec->split, err);
  }
  source->has_train = is_train_name(mq_path_base(spec->path));
  source->has_test = is_test_name(mq_path_base(spec->path));
  const mq_status status = mq_source_check_split(source, spec->split, spec->path, err);
  return status == MQ_OK ? add_file(source, spec->path, err) : status;
}

static void cifar10_close(struct mq_source *source) {
  struct state *state = source->state;
  for (int i = 0; state && i < state->n_files; i++) {
    mq_file_unmap(state->files[i].bytes, state->files[i].n);
  }
}

static mq_status cifar10_content(const uint8_t **bytes, size_t *n, uint8_t **owned,
                                 const struct mq_source *source, int64_t index, struct mq_err *err) {
  (void)err;
  const struct state *state = source->state;
  int f = state->n_files - 1;
  while (state->files[f].first > index) {
    f--;
  }
  *bytes = state->files[f].bytes + (index - state->files[f].first) * RECORD + 1;
  *n = RECORD - 1;
  *owned = NULL;
  return MQ_OK;
}

static mq_status cifar10_files(const struct mq_source *source, mq_source_file_fn visit, void *context,
                               struct mq_err *err) {
  const struct state *state = source->state;
  mq_status status = MQ_OK;
  for (int i = 0; i < state->n_files && status == MQ_OK; i++) {
    status = visit(context, state->files[i].path, err);
  }
  return status;
}

static mq_status cifar10_pixels(struct mq_image *image, const struct mq_source *source, int64_t index,
                                struct mq_err *err) {
  const uint8_t *planes = NULL;
  uint8_t *owned = NULL;
  size_t n = 0;
  mq_status status = cifar10_content(&planes, &n, &owned, source, index, err);
  if (status == MQ_OK) {
    status = mq_image_init(image, SIDE, SIDE, 3, source->entries[index].name, err);
  }
  for (int i = 0; i < PLANE && status == MQ_OK; i++) {
    image->pixels[3 * i] = planes[i];
    image->pixels[3 * i + 1] = planes[PLANE + i];
    image->pixels[3 * i + 2] = planes[2 * PLANE + i];
  }
  return status;
}

const struct mq_source_ops mq_source_cifar10 = {.open = cifar10_open,
                                                .close = cifar10_close,
                                                .content = cifar10_content,
                                                .files = cifar10_files,
                                                .pixels = cifar10_pixels,
                                                .is_in_memory = true};
