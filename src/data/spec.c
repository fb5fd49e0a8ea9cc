/* The data argument KIND:PATH[,key=value...]: splitting, presets first, and the canonical text. */
#include "data/spec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/spec_keys.h"

#define MAX_TEXT_BYTES 16384
#define MAX_PARTS 33 /* KIND:PATH and up to 32 keys */

static const char *const kind_names[] = {
    [MQ_DATA_CIFAR10] = "cifar10", [MQ_DATA_IDX] = "idx", [MQ_DATA_FOLDER] = "folder",
    [MQ_DATA_TAR] = "tar",         [MQ_DATA_NPY] = "npy", [MQ_DATA_FRACTAL] = "fractal"};
#define N_KINDS (sizeof kind_names / sizeof kind_names[0])

const char *mq_data_kind_name(mq_data_kind kind) {
  return kind_names[kind];
}

struct mq_preprocess mq_preprocess_default(mq_data_kind kind) {
  struct mq_preprocess plain = {.std = {1, 1, 1}};
  for (int c = 0; c < 3 && kind == MQ_DATA_FRACTAL; c++) {
    plain.mean[c] = 0.5f;
    plain.std[c] = 0.25f;
  }
  return plain;
}

/* Cuts `text` in place at its commas; "\," is a comma that belongs to the part, "\\" a backslash. */
static size_t cut_parts(const char *parts[MAX_PARTS], char *text) {
  size_t n = 0;
  char *to = text;
  parts[n++] = text;
  for (const char *from = text; *from; from++) {
    if (*from == '\\' && (from[1] == ',' || from[1] == '\\')) {
      *to++ = *++from;
    } else if (*from == ',') {
      *to++ = 0;
      if (n == MAX_PARTS) {
        return 0;
      }
      parts[n++] = to;
    } else {
      *to++ = *from;
    }
  }
  *to = 0;
  return n;
}

static mq_status parse_kind(struct mq_data_spec *spec, const char **rest, char *part, const char *argument,
                            struct mq_err *err) {
  char *colon = strchr(part, ':');
  if (colon) {
    *colon = 0;
  }
  for (size_t i = 1; i < N_KINDS; i++) {
    if (!strcmp(part, kind_names[i])) {
      spec->kind = (mq_data_kind)i;
    }
  }
  if (!spec->kind) {
    return mq_fail(
        err, MQ_BAD_USAGE,
        "data argument '%s': unknown kind '%s', expected KIND:PATH[,key=value...] with KIND one of "
        "cifar10, idx, folder, tar, npy, fractal",
        argument, part);
  }
  *rest = colon ? colon + 1 : "";
  const bool has_path = **rest != 0;
  if (spec->kind != MQ_DATA_FRACTAL && !has_path) {
    return mq_fail(err, MQ_BAD_USAGE, "data argument '%s': no path, expected %s:PATH[,key=value...]",
                   argument, part);
  }
  return MQ_OK;
}

static mq_status parse_key(struct mq_data_key_use *use, const struct mq_data_key **key, char *part) {
  char *equals = strchr(part, '='), list[512];
  mq_data_key_list(list, sizeof list, use->spec->kind);
  if (!equals) {
    return mq_fail(use->err, MQ_BAD_USAGE,
                   "data argument '%s': '%s' is not key=value (a comma inside a path is written \\,)",
                   use->argument, part);
  }
  *equals = 0;
  use->key = part;
  use->value = equals + 1;
  *key = mq_data_key_find(part);
  if (*key && (*key)->kinds & 1u << use->spec->kind) {
    return MQ_OK;
  }
  return mq_fail(use->err, MQ_BAD_USAGE, "data argument '%s': %s key '%s'%s%s, expected one of %s",
                 use->argument, *key ? "the" : "unknown", part, *key ? " does not belong to kind " : "",
                 *key ? kind_names[use->spec->kind] : "", list);
}

/* preset= sets several fields, so it comes first wherever it stands. */
static mq_status apply_keys(struct mq_data_spec *spec, const char **parts, size_t n, const char *argument,
                            struct mq_err *err) {
  struct mq_data_key_use uses[MAX_PARTS];
  const struct mq_data_key *keys[MAX_PARTS];
  for (size_t i = 0; i < n; i++) {
    uses[i] = (struct mq_data_key_use){.spec = spec, .argument = argument, .err = err};
    mq_status status = parse_key(&uses[i], &keys[i], (char *)(uintptr_t)parts[i]);
    for (size_t j = 0; j < i && status == MQ_OK; j++) {
      if (keys[j] == keys[i]) {
        status = mq_fail(err, MQ_BAD_USAGE, "data argument '%s': key '%s' is given twice", argument,
                         keys[i]->name);
      }
    }
    if (status != MQ_OK) {
      return status;
    }
    spec->has_preprocess |= keys[i]->is_preprocess;
  }
  for (int is_rest = 0; is_rest < 2; is_rest++) {
    for (size_t i = 0; i < n; i++) {
      if (strcmp(keys[i]->name, "preset") == 0 ? is_rest == 1 : is_rest == 0) {
        continue;
      }
      const mq_status status = keys[i]->set(&uses[i]);
      if (status != MQ_OK) {
        return status;
      }
    }
  }
  return MQ_OK;
}

/* What no single key can see. size= replaces a preset's resize and crop unless they are given as well. */
static mq_status check_together(struct mq_data_spec *spec, const char **parts, size_t n, const char *argument,
                                struct mq_err *err) {
  bool has_resize = false, has_crop = false;
  for (size_t i = 0; i < n; i++) { /* the setters left "key\0value" */
    has_resize |= !strcmp(parts[i], "resize");
    has_crop |= !strcmp(parts[i], "crop");
  }
  struct mq_preprocess *p = &spec->preprocess;
  if (p->size[0]) {
    p->resize = has_resize ? p->resize : 0;
    p->crop = has_crop ? p->crop : 0;
  }
  if (p->size[0] && p->resize && spec->kind != MQ_DATA_FRACTAL) {
    return mq_fail(err, MQ_BAD_USAGE,
                   "data argument '%s': both size= and resize= are given, expected one of them", argument);
  }
  if (spec->kind == MQ_DATA_FRACTAL && p->size[0] != p->size[1]) {
    return mq_fail(err, MQ_BAD_USAGE, "data argument '%s': size=%lldx%lld, expected a square", argument,
                   (long long)p->size[0], (long long)p->size[1]);
  }
  return MQ_OK;
}

mq_status mq_data_spec_parse(struct mq_data_spec *spec, const char *text, struct mq_err *err) {
  memset(spec, 0, sizeof *spec);
  const size_t n_text = strlen(text);
  if (n_text > MAX_TEXT_BYTES) {
    return mq_fail(err, MQ_BAD_USAGE, "data argument of %zu bytes, expected at most %d", n_text,
                   MAX_TEXT_BYTES);
  }
  const char *parts[MAX_PARTS + 1], *path = "";
  mq_status status = MQ_OK;
  char *copy = mq_alloc(n_text + 1, 1);
  if (!copy) {
    return mq_fail_memory(err, "data argument");
  }
  memcpy(copy, text, n_text);
  size_t n = cut_parts(parts, copy);
  if (n == 0) {
    status = mq_fail(err, MQ_BAD_USAGE, "data argument '%.200s...': more than %d keys", text, MAX_PARTS - 1);
    goto done;
  }
  status = parse_kind(spec, &path, copy, text, err);
  if (status != MQ_OK) {
    goto done;
  }
  spec->memory_mib = -1;
  spec->preprocess = mq_preprocess_default(spec->kind);
  if (spec->kind == MQ_DATA_FRACTAL && *path) { /* "fractal:classes=5": what looks like a path is a key */
    parts[0] = path;
    path = "";
  } else {
    memmove(parts, parts + 1, --n * sizeof parts[0]);
  }
  spec->path = mq_alloc(strlen(path) + 1, 1);
  if (!spec->path) {
    status = mq_fail_memory(err, "data argument");
    goto done;
  }
  memcpy(spec->path, path, strlen(path));
  status = apply_keys(spec, parts, n, text, err);
  if (status == MQ_OK) {
    status = check_together(spec, parts, n, text, err);
  }
done:
  mq_free(copy);
  if (status != MQ_OK) {
    mq_data_spec_deinit(spec);
  }
  return status;
}

void mq_data_spec_deinit(struct mq_data_spec *spec) {
  mq_free(spec->path);
  mq_free(spec->labels);
  mq_free(spec->cache);
  memset(spec, 0, sizeof *spec);
}

/* ---- Canonical text ------------------------------------------------------------------------------------ */

struct text {
  char *bytes;
  size_t n, capacity;
  bool is_exhausted;
};

static void MQ_PRINTF(2, 3) add(struct text *text, const char *format, ...) {
  for (int try = 0; try < 2 && !text->is_exhausted; try++) {
    va_list arguments;
    va_start(arguments, format);
    const size_t room = text->capacity - text->n;
    const int n = vsnprintf(text->bytes + text->n, room, format, arguments);
    va_end(arguments);
    if ((size_t)n < room) {
      text->n += (size_t)n;
      return;
    }
    char *more = mq_realloc(text->bytes, text->capacity + (size_t)n + 256, 1);
    text->is_exhausted = !more;
    text->bytes = more ? more : text->bytes;
    text->capacity += more ? (size_t)n + 256 : 0;
  }
}

static void add_escaped(struct text *text, const char *value) {
  for (; *value; value++) {
    add(text, *value == ',' || *value == '\\' ? "\\%c" : "%c", *value);
  }
}

static void add_path(struct text *text, const char *key, const char *value) {
  if (value) {
    add(text, ",%s=", key);
    add_escaped(text, value);
  }
}

/* The fewest digits that read back as the same float32. */
static void add_float(struct text *text, const char *separator, float value) {
  char digits[32];
  for (int n = 1; n <= 9; n++) {
    snprintf(digits, sizeof digits, "%.*g", n, (double)value);
    if (strtof(digits, NULL) == value) {
      break;
    }
  }
  add(text, "%s%s", separator, digits);
}

static void add_triple(struct text *text, const char *key, const float triple[3]) {
  add(text, ",%s", key);
  for (int c = 0; c < 3; c++) {
    add_float(text, c ? "/" : "=", triple[c]);
  }
}

static void add_int(struct text *text, const char *key, int64_t value) {
  if (value) {
    add(text, ",%s=%lld", key, (long long)value);
  }
}

static void add_preprocess(struct text *text, const struct mq_data_spec *spec) {
  const struct mq_preprocess *p = &spec->preprocess, plain = mq_preprocess_default(spec->kind);
  if (p->size[0]) {
    add(text, ",size=%lldx%lld", (long long)p->size[0], (long long)p->size[1]);
  }
  add_int(text, "resize", p->resize);
  add_int(text, "crop", p->crop);
  if (spec->has_preprocess || p->size[0] || p->resize || p->crop || p->is_bgr ||
      memcmp(p->mean, plain.mean, sizeof plain.mean) || memcmp(p->std, plain.std, sizeof plain.std)) {
    add_triple(text, "mean", p->mean);
    add_triple(text, "std", p->std);
  }
  add(text, "%s%s%s", p->is_bgr ? ",channels=bgr" : "", p->is_nhwc ? ",layout=nhwc" : "",
      p->ignores_exif ? ",exif=ignore" : "");
}

mq_status mq_data_spec_format(char **out, const struct mq_data_spec *spec, struct mq_err *err) {
  *out = NULL;
  struct text text = {.bytes = mq_alloc(256, 1), .capacity = 256};
  if (!text.bytes) {
    return mq_fail_memory(err, "data argument");
  }
  add(&text, "%s:", kind_names[spec->kind]);
  add_escaped(&text, spec->path ? spec->path : "");
  const bool is_list = spec->kind == MQ_DATA_FOLDER || spec->kind == MQ_DATA_TAR;
  add_path(&text, is_list ? "list" : "labels", spec->labels);
  add(&text, "%s",
      spec->split == MQ_SPLIT_TRAIN  ? ",split=train"
      : spec->split == MQ_SPLIT_TEST ? ",split=test"
                                     : "");
  add_int(&text, "limit", spec->limit);
  add_int(&text, "classes", spec->n_classes);
  add_int(&text, "images", spec->n_images);
  if (spec->seed) {
    add(&text, ",seed=%llu", (unsigned long long)spec->seed);
  }
  add_preprocess(&text, spec);
  add_int(&text, "label_offset", spec->label_offset);
  add(&text, "%s", spec->is_calib_first ? ",calib_order=first" : "");
  add_path(&text, "cache", spec->cache);
  if (spec->memory_mib >= 0) {
    add(&text, ",memory=%lld", (long long)spec->memory_mib);
  }
  if (text.is_exhausted) {
    mq_free(text.bytes);
    return mq_fail_memory(err, "data argument");
  }
  *out = text.bytes;
  return MQ_OK;
}
