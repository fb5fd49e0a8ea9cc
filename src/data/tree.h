/* Images named by paths: which of them belong to the split, and to which class. */
#ifndef MQ_DATA_TREE_H
#define MQ_DATA_TREE_H

#include "data/source.h"

/* One file found in a folder or an archive. */
struct mq_tree_file {
  const char *path;  /* relative, components separated by '/' */
  const char *shard; /* "train-0.tar" where there are several, otherwise NULL */
  size_t id;         /* the kind's own number of the file */
};

/* The files found, in the order of the data set. */
struct mq_tree {
  struct mq_tree_file *files; /* owned (mq_free) */
  size_t n, capacity;
};
mq_status mq_tree_add(struct mq_tree *tree, const struct mq_tree_file *file,
                      struct mq_err *err) MQ_MUST_CHECK;
void mq_tree_deinit(struct mq_tree *tree);

/* Orders paths by component, so that a class's images stay together: '/' before every other byte. */
int mq_path_compare(const char *a, const char *b);
bool mq_path_has_image_suffix(const char *path);

/* Adds the images of the split to the source and writes their ids, in the same order, to *ids (arena).
 * class/image and split/class/image are understood (split: train, test or val); is_archive: a folder around
 * everything is passed over. Without class folders there are no labels. */
mq_status mq_tree_take_folders(struct mq_source *source, size_t **ids, const struct mq_tree *tree,
                               mq_data_split split, bool is_archive, const char *what,
                               struct mq_err *err) MQ_MUST_CHECK;
/* The same for list=FILE: lines `name label` (or `name` alone, on all lines or none), names as in the tree.
 */
mq_status mq_tree_take_list(struct mq_source *source, size_t **ids, const struct mq_tree *tree,
                            const char *list_path, const char *what, struct mq_err *err) MQ_MUST_CHECK;

/* The lines of list=FILE. Names are cut out of `text`, which the caller keeps. */
struct mq_list_line {
  const char *name;
  int64_t label; /* -1: none */
};
mq_status mq_list_parse(struct mq_list_line **lines, size_t *n, char *text, const char *path,
                        struct mq_err *err) MQ_MUST_CHECK;

#endif
