#include "deploy/field.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FOUND_BYTES 96

/* What stands in the file, in short. */
static const char *describe(char text[FOUND_BYTES], const json_t *found) {
  if (!found) {
    return "nothing";
  }
  switch (json_typeof(found)) {
    case JSON_OBJECT:
      return "an object";
    case JSON_ARRAY:
      snprintf(text, FOUND_BYTES, "a list of %zu", json_array_size(found));
      return text;
    case JSON_STRING:
      snprintf(text, FOUND_BYTES, "\"%.60s\"", json_string_value(found));
      return text;
    default:
      break;
  }
  size_t n = json_dumpb(found, text, FOUND_BYTES - 1, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
  text[n < FOUND_BYTES ? n : 0] = 0;
  return text;
}

mq_status deploy_fail_found(const struct deploy_at *at, const char *key, const json_t *found,
                            const char *expected, ...) {
  char text[FOUND_BYTES], wanted[400];
  va_list arguments;
  va_start(arguments, expected);
  vsnprintf(wanted, sizeof wanted, expected, arguments);
  va_end(arguments);
  return mq_fail(at->err, MQ_BAD_INPUT, "%s/%s: %s%s: found %s, expected %s", at->directory, at->name,
                 at->where, key, describe(text, found), wanted);
}

bool deploy_has(const json_t *object, const char *key) {
  return json_object_get(object, key) != NULL;
}

mq_status deploy_get_text(const char **text, const struct deploy_at *at, const json_t *object,
                          const char *key) {
  const json_t *item = json_object_get(object, key);
  if (json_string_length(item) == 0) {
    return deploy_fail_found(at, key, item, "text");
  }
  *text = json_string_value(item);
  return MQ_OK;
}

mq_status deploy_get_bool(bool *value, const struct deploy_at *at, const json_t *object, const char *key) {
  const json_t *item = json_object_get(object, key);
  if (!json_is_boolean(item)) {
    return deploy_fail_found(at, key, item, "true or false");
  }
  *value = json_is_true(item);
  return MQ_OK;
}

static mq_status take_int(int64_t *value, const struct deploy_at *at, const char *key, const json_t *item,
                          int64_t least, int64_t most) {
  if (!json_is_integer(item) || json_integer_value(item) < least || json_integer_value(item) > most) {
    return least == most ? deploy_fail_found(at, key, item, "%lld", (long long)least)
                         : deploy_fail_found(at, key, item, "a whole number from %lld to %lld",
                                             (long long)least, (long long)most);
  }
  *value = json_integer_value(item);
  return MQ_OK;
}

mq_status deploy_get_int(int64_t *value, const struct deploy_at *at, const json_t *object, const char *key,
                         int64_t least, int64_t most) {
  return take_int(value, at, key, json_object_get(object, key), least, most);
}

mq_status deploy_get_choice(int *index, const struct deploy_at *at, const json_t *object, const char *key,
                            const char *const *words) {
  const json_t *item = json_object_get(object, key);
  const char *text = json_string_value(item);
  char list[300] = "";
  for (int i = 0; words[i]; i++) {
    if (text && !strcmp(text, words[i])) {
      *index = i;
      return MQ_OK;
    }
    size_t n = strlen(list);
    snprintf(list + n, sizeof list - n, "%s%s", i ? " or " : "", words[i]);
  }
  return deploy_fail_found(at, key, item, "%s", list);
}

mq_status deploy_get_list(const json_t **list, const struct deploy_at *at, const json_t *object,
                          const char *key, size_t n, const char *of) {
  const json_t *item = json_object_get(object, key);
  if (!json_is_array(item) || (n != SIZE_MAX && json_array_size(item) != n)) {
    return n == SIZE_MAX ? deploy_fail_found(at, key, item, "a list of %s", of)
                         : deploy_fail_found(at, key, item, "a list of %zu %s", n, of);
  }
  *list = item;
  return MQ_OK;
}

/* "zero_point[3]" */
static const char *name_item(char text[64], const char *key, size_t i) {
  snprintf(text, 64, "%.40s[%zu]", key, i);
  return text;
}

mq_status deploy_int_at(int64_t *value, const struct deploy_at *at, const json_t *list, const char *key,
                        size_t i, int64_t least, int64_t most) {
  char name[64];
  return take_int(value, at, name_item(name, key, i), json_array_get(list, i), least, most);
}

mq_status deploy_float_at(float *value, const struct deploy_at *at, const json_t *list, const char *key,
                          size_t i, float least, float most) {
  const json_t *item = json_array_get(list, i);
  char name[64];
  double x = json_number_value(item);
  bool is_float = json_is_number(item) && fabs(x) < 2 * (double)FLT_MAX;
  *value = is_float ? (float)x : 0;
  if (!is_float || !(*value >= least && *value <= most)) {
    return deploy_fail_found(at, name_item(name, key, i), item, "a number from %.9g to %.9g", (double)least,
                             (double)most);
  }
  return MQ_OK;
}

mq_status deploy_fail_item(const struct deploy_at *at, const char *key, const json_t *list, size_t i,
                           const char *expected) {
  char name[64];
  return deploy_fail_found(at, name_item(name, key, i), json_array_get(list, i), "%s", expected);
}
