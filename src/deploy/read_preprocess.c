/* preprocess.json: what the data went through. */
#include <float.h>
#include <string.h>

#include "deploy/field.h"
#include "deploy/read.h"

#define MAX_SIDE 16384 /* as a data argument allows */

static mq_status read_size(struct mq_preprocess *p, const struct deploy_at *at, const json_t *object) {
  mq_status status = MQ_OK;
  const json_t *size = NULL;
  if (deploy_has(object, "resize")) {
    status = deploy_get_int(&p->resize, at, object, "resize", 0, MAX_SIDE);
  }
  if (status == MQ_OK && deploy_has(object, "crop")) {
    status = deploy_get_int(&p->crop, at, object, "crop", 0, MAX_SIDE);
  }
  if (status != MQ_OK || !deploy_has(object, "size")) {
    return status;
  }
  status = deploy_get_list(&size, at, object, "size", 2, "whole numbers, height and width");
  for (size_t i = 0; i < 2 && status == MQ_OK; i++) {
    status = deploy_int_at(&p->size[i], at, size, "size", i, 0, MAX_SIDE);
  }
  if (status == MQ_OK && (p->size[0] == 0) != (p->size[1] == 0)) {
    size_t which = p->size[0] == 0 ? 0 : 1;
    status = deploy_fail_item(at, "size", size, which, "both 0 (as the image is) or neither");
  }
  return status;
}

/* Three finite numbers in units of pixel / 255; a divisor is positive. */
static mq_status read_triple(float out[3], const struct deploy_at *at, const json_t *object, const char *key,
                             bool is_divisor) {
  const json_t *list = NULL;
  if (!deploy_has(object, key)) {
    return MQ_OK;
  }
  mq_status status = deploy_get_list(&list, at, object, key, 3, "numbers (r, g, b)");
  for (size_t i = 0; i < 3 && status == MQ_OK; i++) {
    status = deploy_float_at(&out[i], at, list, key, i, is_divisor ? FLT_TRUE_MIN : -FLT_MAX, FLT_MAX);
  }
  return status;
}

static mq_status read_words(struct mq_preprocess *p, const struct deploy_at *at, const json_t *object) {
  static const char *const layouts[] = {"nchw", "nhwc", NULL}, *const channels[] = {"rgb", "bgr", NULL};
  int layout = 0, order = 0;
  bool applies_exif = true;
  mq_status status = deploy_get_choice(&layout, at, object, "layout", layouts);
  if (status == MQ_OK && deploy_has(object, "channels")) {
    status = deploy_get_choice(&order, at, object, "channels", channels);
  }
  if (status == MQ_OK && deploy_has(object, "apply_exif")) {
    status = deploy_get_bool(&applies_exif, at, object, "apply_exif");
  }
  p->is_nhwc = layout == 1;
  p->is_bgr = order == 1;
  p->ignores_exif = !applies_exif;
  return status;
}

static mq_status check_labels(const struct deploy_at *at, const json_t *object) {
  const json_t *labels = NULL;
  if (!deploy_has(object, "labels")) {
    return MQ_OK;
  }
  mq_status status = deploy_get_list(&labels, at, object, "labels", SIZE_MAX, "names of classes");
  for (size_t i = 0; status == MQ_OK && i < json_array_size(labels); i++) {
    if (!json_is_string(json_array_get(labels, i))) {
      status = deploy_fail_item(at, "labels", labels, i, "the name of a class");
    }
  }
  return status;
}

/* A key that is not known might be a step that is not taken. */
static mq_status check_keys(const struct deploy_at *at, const json_t *object) {
  static const char *const known[] = {"layout", "channels", "resize", "crop",       "size",
                                      "mean",   "std",      "labels", "apply_exif", NULL};
  const char *key;
  json_t *item;
  json_object_foreach((json_t *)(uintptr_t)object, key, item) {
    bool is_known = false;
    for (int i = 0; known[i]; i++) {
      is_known = is_known || !strcmp(key, known[i]);
    }
    if (!is_known) {
      return mq_fail(at->err, MQ_BAD_INPUT,
                     "%s/%s: unknown key '%.60s', expected layout, channels, resize, crop, size, mean, std, "
                     "apply_exif or labels",
                     at->directory, at->name, key);
    }
  }
  return MQ_OK;
}

mq_status deploy_read_preprocess(struct mq_bundle *bundle, const json_t *preprocess, const char *directory,
                                 struct mq_err *err) {
  const struct deploy_at at = {.directory = directory, .name = "preprocess.json", .err = err};
  struct mq_preprocess p = {.std = {1, 1, 1}};
  mq_status status = check_keys(&at, preprocess);
  if (status == MQ_OK) {
    status = check_labels(&at, preprocess);
  }
  bool has_labels_alone = json_object_size(preprocess) == (size_t)deploy_has(preprocess, "labels");
  if (status != MQ_OK || has_labels_alone) {
    return status; /* the data was taken as it is */
  }
  status = read_words(&p, &at, preprocess);
  if (status == MQ_OK) {
    status = read_size(&p, &at, preprocess);
  }
  if (status == MQ_OK) {
    status = read_triple(p.mean, &at, preprocess, "mean", false);
  }
  if (status == MQ_OK) {
    status = read_triple(p.std, &at, preprocess, "std", true);
  }
  if (status == MQ_OK) {
    bundle->preprocess = p;
    bundle->has_preprocess = true;
  }
  return status;
}
