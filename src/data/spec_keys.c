/* The keys of a data argument: one setter each, one table. */
#include "data/spec_keys.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIDE 16384
#define MAX_MEMORY_MIB ((int64_t)1 << 20) /* 1 TiB */

static mq_status fail_value(const struct mq_data_key_use *at, const char *expected) {
  return mq_fail(at->err, MQ_BAD_USAGE, "data argument '%s': %s=%s: expected %s", at->argument, at->key,
                 at->value, expected);
}

static mq_status take_int(int64_t *out, const struct mq_data_key_use *at, int64_t least, int64_t most) {
  char *end = NULL, expected[96];
  errno = 0;
  const long long value = strtoll(at->value, &end, 10);
  if (end == at->value || *end || errno || value < least || value > most) {
    snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)least, (long long)most);
    return fail_value(at, expected);
  }
  *out = value;
  return MQ_OK;
}

/* Index of the value among the words, which end with NULL. */
static mq_status take_word(int *index, const struct mq_data_key_use *at, const char *const *words) {
  char expected[160] = "";
  for (int i = 0; words[i]; i++) {
    if (!strcmp(at->value, words[i])) {
      *index = i;
      return MQ_OK;
    }
    size_t n = strlen(expected);
    snprintf(expected + n, sizeof expected - n, "%s%s", i ? " or " : "", words[i]);
  }
  return fail_value(at, expected);
}

/* "a/b/c", or "a" for all three. */
static mq_status take_triple(float out[3], const struct mq_data_key_use *at, bool is_divisor) {
  const char *expected = is_divisor ? "one positive number or three (r/g/b)" : "one number or three (r/g/b)";
  const char *text = at->value;
  float triple[3] = {0, 0, 0};
  int n = 0;
  for (;;) {
    char *end = NULL;
    const float value = strtof(text, &end);
    if (end == text || n == 3 || !isfinite(value) || (is_divisor && !(value > 0))) {
      return fail_value(at, expected);
    }
    triple[n++] = value + 0.0f; /* -0 becomes 0: one canonical form */
    if (!*end) {
      break;
    }
    if (*end != '/') {
      return fail_value(at, expected);
    }
    text = end + 1;
  }
  if (n == 2) {
    return fail_value(at, expected);
  }
  for (int c = 0; c < 3; c++) {
    out[c] = triple[n == 1 ? 0 : c];
  }
  return MQ_OK;
}

static mq_status take_text(char **out, const struct mq_data_key_use *at) {
  if (!*at->value) {
    return fail_value(at, "a path");
  }
  const size_t n = strlen(at->value);
  *out = mq_alloc(n + 1, 1);
  if (!*out) {
    return mq_fail_memory(at->err, "data argument");
  }
  memcpy(*out, at->value, n);
  return MQ_OK;
}

static mq_status set_split(const struct mq_data_key_use *at) {
  static const char *const words[] = {"train", "test", NULL};
  int index = 0;
  mq_status status = take_word(&index, at, words);
  at->spec->split = index ? MQ_SPLIT_TEST : MQ_SPLIT_TRAIN;
  return status;
}

static mq_status set_limit(const struct mq_data_key_use *at) {
  return take_int(&at->spec->limit, at, 1, INT32_MAX);
}

static mq_status set_preset(const struct mq_data_key_use *at) {
  static const char *const words[] = {"imagenet", "cifar", NULL};
  static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
  int index = 0;
  mq_status status = take_word(&index, at, words);
  struct mq_preprocess *p = &at->spec->preprocess;
  memcpy(p->mean, mean, sizeof mean);
  memcpy(p->std, std, sizeof std);
  p->resize = index == 0 ? 256 : 0;
  p->crop = index == 0 ? 224 : 0;
  return status;
}

/* "N" (square) or "HxW". */
static mq_status set_size(const struct mq_data_key_use *at) {
  int64_t *size = at->spec->preprocess.size;
  char *end = NULL;
  size[0] = size[1] = strtol(at->value, &end, 10);
  if (end != at->value && *end == 'x') {
    const char *second = end + 1;
    size[1] = strtol(second, &end, 10);
    end = end == second ? (char *)(uintptr_t)at->value : end;
  }
  if (end == at->value || *end || size[0] < 1 || size[1] < 1 || size[0] > MAX_SIDE || size[1] > MAX_SIDE) {
    return fail_value(at, "N or HxW, sides from 1 to 16384");
  }
  return MQ_OK;
}

static mq_status set_resize(const struct mq_data_key_use *at) {
  return take_int(&at->spec->preprocess.resize, at, 1, MAX_SIDE);
}

static mq_status set_crop(const struct mq_data_key_use *at) {
  return take_int(&at->spec->preprocess.crop, at, 1, MAX_SIDE);
}

static mq_status set_mean(const struct mq_data_key_use *at) {
  return take_triple(at->spec->preprocess.mean, at, false);
}

static mq_status set_std(const struct mq_data_key_use *at) {
  return take_triple(at->spec->preprocess.std, at, true);
}

static mq_status set_calib_order(const struct mq_data_key_use *at) {
  static const char *const words[] = {"sampled", "first", NULL};
  int index = 0;
  mq_status status = take_word(&index, at, words);
  at->spec->is_calib_first = index == 1;
  return status;
}

static mq_status set_layout(const struct mq_data_key_use *at) {
  static const char *const words[] = {"nchw", "nhwc", NULL};
  int index = 0;
  mq_status status = take_word(&index, at, words);
  at->spec->preprocess.is_nhwc = index == 1;
  return status;
}

static mq_status set_channels(const struct mq_data_key_use *at) {
  static const char *const words[] = {"rgb", "bgr", NULL};
  int index = 0;
  mq_status status = take_word(&index, at, words);
  at->spec->preprocess.is_bgr = index == 1;
  return status;
}

static mq_status set_exif(const struct mq_data_key_use *at) {
  static const char *const words[] = {"apply", "ignore", NULL};
  int index = 0;
  mq_status status = take_word(&index, at, words);
  at->spec->preprocess.ignores_exif = index == 1;
  return status;
}

static mq_status set_label_offset(const struct mq_data_key_use *at) {
  return take_int(&at->spec->label_offset, at, -1000000, 1000000);
}

static mq_status set_labels(const struct mq_data_key_use *at) {
  return take_text(&at->spec->labels, at);
}

static mq_status set_cache(const struct mq_data_key_use *at) {
  return take_text(&at->spec->cache, at);
}

static mq_status set_memory(const struct mq_data_key_use *at) {
  return take_int(&at->spec->memory_mib, at, 0, MAX_MEMORY_MIB);
}

static mq_status set_classes(const struct mq_data_key_use *at) {
  return take_int(&at->spec->n_classes, at, 2, 1000);
}

static mq_status set_images(const struct mq_data_key_use *at) {
  return take_int(&at->spec->n_images, at, 1, 10000000);
}

static mq_status set_seed(const struct mq_data_key_use *at) {
  int64_t seed = 0;
  mq_status status = take_int(&seed, at, 0, INT64_MAX);
  at->spec->seed = (uint64_t)seed;
  return status;
}

#define KIND(kind) (1u << MQ_DATA_##kind)
#define FILES (KIND(FOLDER) | KIND(TAR))
#define PICTURES (FILES | KIND(CIFAR10) | KIND(IDX) | KIND(NPY))
#define ALL (PICTURES | KIND(FRACTAL))

static const struct mq_data_key keys[] = {
    {"split", set_split, KIND(CIFAR10) | KIND(IDX) | FILES | KIND(FRACTAL), false},
    {"limit", set_limit, ALL, false},
    {"preset", set_preset, ALL, true},
    {"size", set_size, ALL, true},
    {"resize", set_resize, ALL, true},
    {"crop", set_crop, ALL, true},
    {"mean", set_mean, ALL, true},
    {"std", set_std, ALL, true},
    {"channels", set_channels, ALL, true},
    {"layout", set_layout, ALL, false},
    {"exif", set_exif, FILES, false},
    {"list", set_labels, FILES, false},
    {"labels", set_labels, KIND(IDX) | KIND(NPY), false},
    {"label_offset", set_label_offset, ALL, false},
    {"calib_order", set_calib_order, ALL, false},
    {"cache", set_cache, ALL, false},
    {"memory", set_memory, ALL, false},
    {"classes", set_classes, KIND(FRACTAL), false},
    {"images", set_images, KIND(FRACTAL), false},
    {"seed", set_seed, KIND(FRACTAL), false},
};

const struct mq_data_key *mq_data_key_find(const char *name) {
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    if (!strcmp(keys[i].name, name)) {
      return &keys[i];
    }
  }
  return NULL;
}

void mq_data_key_list(char *text, size_t text_bytes, mq_data_kind kind) {
  size_t n = 0;
  text[0] = 0;
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    if (keys[i].kinds & 1u << kind) {
      const int more = snprintf(text + n, text_bytes - n, "%s%s", n ? ", " : "", keys[i].name);
      n = n + (size_t)more < text_bytes ? n + (size_t)more : text_bytes - 1;
    }
  }
}
