/* Typed fields of a JSON file from outside. A failure is one line: file, place in it, key, what was found and
 * what was expected. */
#ifndef MQ_DEPLOY_FIELD_H
#define MQ_DEPLOY_FIELD_H

#include <jansson.h>

#include "mqbench/base.h"

struct deploy_at {
  const char *directory, *name; /* of the file */
  char where[240];              /* "point 'conv1.weight': ", or nothing at the top */
  struct mq_err *err;
};

/* "dir/name: where key: found 1.5, expected <expected>"; `found` NULL: the key is missing. */
mq_status deploy_fail_found(const struct deploy_at *at, const char *key, const json_t *found,
                            const char *expected, ...) MQ_PRINTF(4, 5);

/* Of `object`, which is one. A key that is missing is a failure; see deploy_has for optional ones. */
bool deploy_has(const json_t *object, const char *key);
mq_status deploy_get_text(const char **text, const struct deploy_at *at, const json_t *object,
                          const char *key) MQ_MUST_CHECK; /* never empty */
mq_status deploy_get_bool(bool *value, const struct deploy_at *at, const json_t *object,
                          const char *key) MQ_MUST_CHECK;
mq_status deploy_get_int(int64_t *value, const struct deploy_at *at, const json_t *object, const char *key,
                         int64_t least, int64_t most) MQ_MUST_CHECK;
/* One of `words`, which end with NULL: its index. */
mq_status deploy_get_choice(int *index, const struct deploy_at *at, const json_t *object, const char *key,
                            const char *const *words) MQ_MUST_CHECK;
/* A list of `n` items (SIZE_MAX: any number, also none). `of` says what they are, in the plural. */
mq_status deploy_get_list(const json_t **list, const struct deploy_at *at, const json_t *object,
                          const char *key, size_t n, const char *of) MQ_MUST_CHECK;

/* Item i of list `key`. */
mq_status deploy_int_at(int64_t *value, const struct deploy_at *at, const json_t *list, const char *key,
                        size_t i, int64_t least, int64_t most) MQ_MUST_CHECK;
/* As float32: the nearest one is within the bounds. */
mq_status deploy_float_at(float *value, const struct deploy_at *at, const json_t *list, const char *key,
                          size_t i, float least, float most) MQ_MUST_CHECK;
mq_status deploy_fail_item(const struct deploy_at *at, const char *key, const json_t *list, size_t i,
                           const char *expected);

#endif
