#include "deploy/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define MAX_JSON_BYTES ((size_t)256 << 20)

json_t *deploy_json_real(double x) {
  return isfinite(x) ? json_real(x) : json_null();
}

mq_status deploy_json_write(const char *directory, const char *name, json_t *object, struct mq_err *err) {
  char *text = object ? json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
  char *path = mq_path_join(directory, name);
  mq_status status = text && path ? mq_file_write(path, text, strlen(text), err) : mq_fail_memory(err, name);
  mq_free(path);
  free(text);
  json_decref(object);
  return status;
}

mq_status deploy_json_read(json_t **object, const char *directory, const char *name, struct mq_err *err) {
  *object = NULL;
  char *path = mq_path_join(directory, name), *text = NULL;
  size_t n = 0;
  mq_status status = path ? mq_file_read(&text, &n, path, MAX_JSON_BYTES, err) : mq_fail_memory(err, name);
  if (status == MQ_OK) {
    json_error_t where;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    if (!root) {
      status = mq_fail(err, MQ_BAD_INPUT, "%s:%d: not JSON: found %s, expected one object", path, where.line,
                       where.text);
    } else if (!json_is_object(root)) {
      status = mq_fail(err, MQ_BAD_INPUT, "%s: found %s at the top, expected an object", path,
                       json_is_array(root) ? "a list" : "a single value");
      json_decref(root);
    } else {
      *object = root;
    }
  }
  mq_free(text);
  mq_free(path);
  return status;
}
