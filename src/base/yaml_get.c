/* Typed getters over the YAML tree. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/spelling.h"
#include "base/yaml.h"

mq_status mq_yaml_fail(struct mq_err *err, const struct mq_yaml_node *node, const char *format, ...) {
  char text[MQ_ERR_MESSAGE_BYTES];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return mq_fail(err, MQ_BAD_INPUT, "%s:%d: %s", node->file, node->line, text);
}

static const char *describe(char buffer[128], const struct mq_yaml_node *node) {
  if (node->kind == MQ_YAML_SCALAR) {
    snprintf(buffer, 128, "'%.100s'", node->text);
  } else {
    snprintf(buffer, 128, "%s", node->kind == MQ_YAML_LIST ? "a list" : "a map");
  }
  return buffer;
}

/* "overrides[2].bits: "; nothing for the root. Of more than MAX_PARENTS levels the innermost ones. */
#define MAX_PARENTS 6
static void format_path(char *path, size_t bytes, const struct mq_yaml_node *node) {
  const struct mq_yaml_node *nodes[MAX_PARENTS];
  size_t n = 0, used = 0;
  *path = 0;
  for (const struct mq_yaml_node *at = node; at->parent && n < MAX_PARENTS; at = at->parent) {
    nodes[n++] = at;
  }
  for (size_t i = n; i > 0 && used < bytes; i--) {
    const struct mq_yaml_node *at = nodes[i - 1];
    int written = at->key ? snprintf(path + used, bytes - used, "%s%.60s", used ? "." : "", at->key)
                          : snprintf(path + used, bytes - used, "[%zu]", at->position);
    used += (size_t)written;
  }
  if (n && used < bytes) {
    snprintf(path + used, bytes - used, ": ");
  }
}

mq_status mq_yaml_fail_found(struct mq_err *err, const struct mq_yaml_node *node, const char *expected) {
  char found[128], path[400];
  format_path(path, sizeof path, node);
  return mq_yaml_fail(err, node, "%sfound %s, expected %s", path, describe(found, node), expected);
}

static void append(char *list, size_t bytes, const char *separator, const char *word) {
  size_t n = strlen(list);
  snprintf(list + n, bytes - n, "%s%s", n ? separator : "", word);
}

static mq_status fail_unknown_key(struct mq_err *err, const struct mq_yaml_node *map, size_t i,
                                  const char *const *allowed) {
  char list[512] = "";
  const char *closest = NULL;
  size_t least = 3; /* more than two edits away is no misspelling */
  for (const char *const *key = allowed; *key; key++) {
    append(list, sizeof list, ", ", *key);
    size_t distance = mq_edit_distance(map->keys[i], *key);
    if (distance < least) {
      least = distance;
      closest = *key;
    }
  }
  return mq_yaml_fail(err, map->items[i], "unknown key '%.100s'%s%s%s; expected one of: %s", map->keys[i],
                      closest ? ", did you mean '" : "", closest ? closest : "", closest ? "'" : "", list);
}

mq_status mq_yaml_check_keys(const struct mq_yaml_node *map, const char *const *allowed, struct mq_err *err) {
  if (map->kind != MQ_YAML_MAP) {
    return mq_yaml_fail_found(err, map, "a map of keys and values");
  }
  for (size_t i = 0; i < map->n; i++) {
    bool is_known = false;
    for (const char *const *key = allowed; *key && !is_known; key++) {
      is_known = !strcmp(map->keys[i], *key);
    }
    if (!is_known) {
      return fail_unknown_key(err, map, i, allowed);
    }
  }
  return MQ_OK;
}

const struct mq_yaml_node *mq_yaml_find(const struct mq_yaml_node *map, const char *key) {
  if (map->kind != MQ_YAML_MAP) {
    return NULL;
  }
  for (size_t i = 0; i < map->n; i++) {
    if (!strcmp(map->keys[i], key)) {
      return map->items[i];
    }
  }
  return NULL;
}

mq_status mq_yaml_require(const struct mq_yaml_node **child, const struct mq_yaml_node *map, const char *key,
                          struct mq_err *err) {
  *child = mq_yaml_find(map, key);
  return *child ? MQ_OK : mq_yaml_fail(err, map, "key '%s' is missing", key);
}

bool mq_yaml_is_null(const struct mq_yaml_node *node) {
  return node->kind == MQ_YAML_SCALAR && !node->is_quoted &&
         (!node->text[0] || !strcmp(node->text, "~") || !strcmp(node->text, "null"));
}

mq_status mq_yaml_get_text(const char **text, const struct mq_yaml_node *node, struct mq_err *err) {
  if (node->kind != MQ_YAML_SCALAR || mq_yaml_is_null(node)) {
    return mq_yaml_fail_found(err, node, "text");
  }
  *text = node->text;
  return MQ_OK;
}

mq_status mq_yaml_get_int(int64_t *i, const struct mq_yaml_node *node, int64_t least, int64_t most,
                          struct mq_err *err) {
  char expected[96];
  snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)least, (long long)most);
  if (node->kind != MQ_YAML_SCALAR || node->is_quoted) {
    return mq_yaml_fail_found(err, node, expected);
  }
  char *end = NULL;
  errno = 0;
  long long value = strtoll(node->text, &end, 10);
  if (errno || end == node->text || *end || value < least || value > most) {
    return mq_yaml_fail_found(err, node, expected);
  }
  *i = value;
  return MQ_OK;
}

mq_status mq_yaml_get_double(double *d, const struct mq_yaml_node *node, struct mq_err *err) {
  if (node->kind != MQ_YAML_SCALAR || node->is_quoted) {
    return mq_yaml_fail_found(err, node, "a number");
  }
  char *end = NULL;
  double value = strtod(node->text, &end);
  if (end == node->text || *end || !isfinite(value)) {
    return mq_yaml_fail_found(err, node, "a number");
  }
  *d = value;
  return MQ_OK;
}

mq_status mq_yaml_get_bool(bool *b, const struct mq_yaml_node *node, struct mq_err *err) {
  static const char *const words[] = {"false", "true", "no", "yes", "off", "on", NULL};
  if (node->kind == MQ_YAML_SCALAR && !node->is_quoted) {
    for (int i = 0; words[i]; i++) {
      if (!strcmp(node->text, words[i])) {
        *b = i % 2 == 1;
        return MQ_OK;
      }
    }
  }
  return mq_yaml_fail_found(err, node, "true or false");
}

mq_status mq_yaml_get_choice(int *index, const struct mq_yaml_node *node, const char *const *words,
                             struct mq_err *err) {
  char list[512] = "one of: ";
  for (int i = 0; words[i]; i++) {
    if (node->kind == MQ_YAML_SCALAR && !strcmp(node->text, words[i])) {
      *index = i;
      return MQ_OK;
    }
    append(list, sizeof list, i ? ", " : "", words[i]);
  }
  return mq_yaml_fail_found(err, node, list);
}
