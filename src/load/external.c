/* External data: location, offset and length of a tensor, checked against the model's folder and the file. */
#include "load/external.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

struct place {
  const char *location;
  uint64_t offset, length;
  bool has_length;
};

void mq_onnx_external_deinit(struct mq_onnx_external *external) {
  while (external->files) {
    struct mq_onnx_mapped *file = external->files;
    external->files = file->next;
    mq_file_unmap(file->bytes, file->n);
    mq_free(file->location);
    mq_free(file);
  }
}

static bool parse_size(uint64_t *size, const char *text) {
  char *end;
  errno = 0;
  unsigned long long parsed = strtoull(text, &end, 10);
  *size = parsed;
  return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

static mq_status read_place(struct place *place, const Onnx__TensorProto *tensor, const char *what,
                            struct mq_err *err) {
  *place = (struct place){0};
  for (size_t i = 0; i < tensor->n_external_data; i++) {
    const char *key = tensor->external_data[i]->key ? tensor->external_data[i]->key : "";
    const char *value = tensor->external_data[i]->value ? tensor->external_data[i]->value : "";
    bool is_good = true;
    if (strcmp(key, "location") == 0) {
      place->location = value;
    } else if (strcmp(key, "offset") == 0) {
      is_good = parse_size(&place->offset, value);
    } else if (strcmp(key, "length") == 0) {
      is_good = place->has_length = parse_size(&place->length, value);
    }
    if (!is_good) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: external data's %s is '%.40s', expected a number", what, key,
                     value);
    }
  }
  if (!place->location || place->location[0] == '\0') {
    return mq_fail(err, MQ_BAD_INPUT, "%s: external data without a location", what);
  }
  return MQ_OK;
}

static bool climbs(const char *path) {
  for (const char *part = path; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL) {
    if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0')) {
      return true;
    }
  }
  return false;
}

/* The real path of the file, symbolic links followed, if it lies inside the model's folder. */
static mq_status resolve(char resolved[PATH_MAX], const struct mq_onnx_external *external,
                         const char *location, struct mq_err *err) {
  char folder[PATH_MAX];
  if (location[0] == '/' || climbs(location)) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "%s: external data in '%.200s', expected a relative path inside the model's folder",
                   external->name, location);
  }
  char *path = mq_path_join(external->directory, location);
  if (!path) {
    return mq_fail_memory(err, "path of external data");
  }
  bool exists = realpath(external->directory, folder) && realpath(path, resolved);
  int code = errno;
  mq_free(path);
  if (!exists) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: external data '%.200s': %s", external->name, location,
                   code == ENOENT ? "no such file" : strerror(code));
  }
  size_t n = strcmp(folder, "/") == 0 ? 0 : strlen(folder);
  if (strncmp(resolved, folder, n) != 0 || resolved[n] != '/') {
    return mq_fail(err, MQ_BAD_INPUT, "%s: external data '%.200s' is a link out of the model's folder",
                   external->name, location);
  }
  return MQ_OK;
}

static mq_status map(const struct mq_onnx_mapped **mapped, struct mq_onnx_external *external,
                     const char *location, struct mq_err *err) {
  for (struct mq_onnx_mapped *file = external->files; file; file = file->next) {
    if (strcmp(file->location, location) == 0) {
      *mapped = file;
      return MQ_OK;
    }
  }
  char resolved[PATH_MAX];
  mq_status status = resolve(resolved, external, location, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_onnx_mapped *file = mq_alloc(1, sizeof *file);
  char *copy = mq_alloc(strlen(location) + 1, 1);
  if (!file || !copy) {
    status = mq_fail_memory(err, "external data");
  } else {
    status = mq_file_map(&file->bytes, &file->n, resolved, err);
  }
  if (status != MQ_OK) {
    mq_free(file);
    mq_free(copy);
    return status;
  }
  file->location = strcpy(copy, location);
  file->next = external->files;
  external->files = file;
  *mapped = file;
  return MQ_OK;
}

mq_status mq_onnx_external_get(const uint8_t **bytes, struct mq_onnx_external *external,
                               const Onnx__TensorProto *tensor, size_t n_expected, const char *what,
                               struct mq_err *err) {
  struct place place;
  mq_status status = read_place(&place, tensor, what, err);
  if (status != MQ_OK) {
    return status;
  }
  if (!external->directory) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: external data cannot be used here", what);
  }
  if (place.has_length && place.length != n_expected) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "%s: external data of %" PRIu64 " bytes, expected %zu by type and shape", what,
                   place.length, n_expected);
  }
  const struct mq_onnx_mapped *file;
  if ((status = map(&file, external, place.location, err)) != MQ_OK) {
    return status;
  }
  if (place.offset > file->n || n_expected > file->n - place.offset) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: bytes %" PRIu64 " + %zu of '%.200s', which has only %zu", what,
                   place.offset, n_expected, place.location, file->n);
  }
  *bytes = file->bytes ? file->bytes + place.offset : (const uint8_t *)"";
  return MQ_OK;
}
