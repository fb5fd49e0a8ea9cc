/* Where images come from: one table of functions per kind of data set, and the list of images that it fills.
 * A kind is one file, source_<kind>.c, with one constant table. */
#ifndef MQ_DATA_SOURCE_H
#define MQ_DATA_SOURCE_H

#include "base/file.h"
#include "data/image.h"
#include "data/spec.h"

struct mq_entry {
  const char *name; /* in the source's arena */
  int64_t label;    /* -1: none */
};

struct mq_source {
  const struct mq_source_ops *ops;
  struct mq_arena arena; /* names, class names, whatever the kind keeps */
  struct mq_entry *entries;
  int64_t n_entries, capacity;
  int64_t n_classes;        /* class folders, or the format's fixed number; 0: what the labels say */
  const char **class_names; /* n_classes, or NULL */
  bool has_train, has_test;
  int64_t size[3]; /* height, width, channels of every image; height and width -1 where they may differ */
  bool ignores_exif;
  const char *what; /* PATH, for messages; borrowed */
  void *state;
};

/* Tells the files that images lie in: path by path. */
typedef mq_status (*mq_source_file_fn)(void *context, const char *path, struct mq_err *err);

/* Reading functions are called from many threads at once. */
struct mq_source_ops {
  /* Fills the list of images, classes, has_train, has_test, size; MQ_SPLIT_DEFAULT is the training images
   * where the source has both splits, otherwise everything. close follows a failure as well. */
  mq_status (*open)(struct mq_source *source, const struct mq_data_spec *spec, struct mq_err *err);
  void (*close)(struct mq_source *source);
  /* The bytes that the data set's hash covers, as they are stored; *owned (or NULL) goes to mq_free. */
  mq_status (*content)(const uint8_t **bytes, size_t *n, uint8_t **owned, const struct mq_source *source,
                       int64_t index, struct mq_err *err);
  /* Every file that `content` comes from, always in the same order; NULL: from none, it is computed. */
  mq_status (*files)(const struct mq_source *source, mq_source_file_fn visit, void *context,
                     struct mq_err *err);
  /* 8-bit pixels; NULL: content is a JPEG or PNG file. */
  mq_status (*pixels)(struct mq_image *image, const struct mq_source *source, int64_t index,
                      struct mq_err *err);
  /* Whether `pixels` only copies bytes that are in memory already, so that none need be kept. */
  bool is_in_memory;
  /* Instead of pixels: floats given as they are, height x width x channels. */
  void (*floats)(float *out, const struct mq_source *source, int64_t index);
};

extern const struct mq_source_ops mq_source_cifar10, mq_source_idx, mq_source_folder, mq_source_tar,
    mq_source_npy, mq_source_npy_float, mq_source_fractal;

/* Appends an image; `name` must live in the arena. */
mq_status mq_source_add(struct mq_source *source, const char *name, int64_t label,
                        struct mq_err *err) MQ_MUST_CHECK;
/* The same, named "<file>#<number>". */
mq_status mq_source_add_numbered(struct mq_source *source, const char *file, int64_t number, int64_t label,
                                 struct mq_err *err) MQ_MUST_CHECK;
/* "PATH: name" for messages about an image. Returns `text`. */
char *mq_source_where(char *text, size_t text_bytes, const struct mq_source *source, int64_t index);
/* The image, decoded where it is a file. */
mq_status mq_source_decode(struct mq_image *image, const struct mq_source *source, int64_t index,
                           struct mq_err *err) MQ_MUST_CHECK;
/* Whether the split asked for exists; `what` names the source. */
mq_status mq_source_check_split(const struct mq_source *source, mq_data_split split, const char *what,
                                struct mq_err *err) MQ_MUST_CHECK;
/* Of which split to take images. MQ_SPLIT_DEFAULT: of all. */
mq_data_split mq_source_split_used(const struct mq_source *source, mq_data_split split);

#endif
