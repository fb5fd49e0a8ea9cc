/* YAML files with a schema: a tree of nodes that know their line, and getters that report file, line, what
 * was found and what was expected. libyaml parses; this is the schema's side. */
#ifndef MQ_BASE_YAML_H
#define MQ_BASE_YAML_H

#include "mqbench/base.h"

typedef enum mq_yaml_kind {
  MQ_YAML_SCALAR,
  MQ_YAML_LIST,
  MQ_YAML_MAP
} mq_yaml_kind;

struct mq_yaml_node {
  mq_yaml_kind kind;
  int line; /* 1-based */
  const char *file;
  const struct mq_yaml_node *parent; /* NULL: the root */
  const char *key;                   /* the map key it stands behind; NULL: an item of a list, or the root */
  size_t position;                   /* in the parent */
  const char *text;                  /* scalar */
  bool is_quoted;                    /* a quoted scalar is text, never null, bool or number */
  size_t n;                          /* items of a list, pairs of a map */
  struct mq_yaml_node **items;       /* list items, or map values */
  const char **keys;                 /* map keys, unique */
};

/* Everything lives in `arena`. At most 1 MiB, 64 levels, 100,000 nodes; one document; aliases may not loop.
 */
mq_status mq_yaml_load(const struct mq_yaml_node **root, const char *path, struct mq_arena *arena,
                       struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_yaml_parse(const struct mq_yaml_node **root, const char *text, size_t n, const char *file,
                        struct mq_arena *arena, struct mq_err *err) MQ_MUST_CHECK;

/* "file:line: <formatted>". */
mq_status mq_yaml_fail(struct mq_err *err, const struct mq_yaml_node *node, const char *format, ...)
    MQ_PRINTF(3, 4);
/* "file:line: weights.bits: found '1', expected <expected>". */
mq_status mq_yaml_fail_found(struct mq_err *err, const struct mq_yaml_node *node, const char *expected);
/* The node must be a map with no other keys than `allowed` (NULL-terminated); an unknown one is reported with
 * the list of what is allowed and the closest match. */
mq_status mq_yaml_check_keys(const struct mq_yaml_node *map, const char *const *allowed,
                             struct mq_err *err) MQ_MUST_CHECK;
const struct mq_yaml_node *mq_yaml_find(const struct mq_yaml_node *map, const char *key); /* NULL if absent */
mq_status mq_yaml_require(const struct mq_yaml_node **child, const struct mq_yaml_node *map, const char *key,
                          struct mq_err *err) MQ_MUST_CHECK;

/* Scalars; a failure names the key with its parents. A NULL node is a programmer's error: look with find
 * first. */
mq_status mq_yaml_get_text(const char **text, const struct mq_yaml_node *node,
                           struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_yaml_get_int(int64_t *i, const struct mq_yaml_node *node, int64_t least, int64_t most,
                          struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_yaml_get_double(double *d, const struct mq_yaml_node *node, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_yaml_get_bool(bool *b, const struct mq_yaml_node *node, struct mq_err *err) MQ_MUST_CHECK;
/* One of `words` (NULL-terminated): its index. */
mq_status mq_yaml_get_choice(int *index, const struct mq_yaml_node *node, const char *const *words,
                             struct mq_err *err) MQ_MUST_CHECK;
bool mq_yaml_is_null(const struct mq_yaml_node *node);

#endif
