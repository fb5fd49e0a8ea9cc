/* One image file to what a network sees: what a data set does with each of its images, without the data set.
 */
#include <string.h>

#include "base/file.h"
#include "data/spec.h"
#include "data/transform.h"

#define MAX_FILE_BYTES ((size_t)1 << 30)

/* What only says how images become tensors, or nothing that would be lost on a single one. */
static bool is_only_preprocess(const struct mq_data_spec *spec) {
  return !spec->labels && !spec->cache && spec->split == MQ_SPLIT_DEFAULT && spec->memory_mib < 0 &&
         spec->limit == 0 && spec->label_offset == 0 && !spec->is_calib_first;
}

mq_status mq_preprocess_parse(struct mq_preprocess *preprocess, const char *keys, struct mq_err *err) {
  static const char argument[] = "folder:.,";
  struct mq_data_spec spec;
  *preprocess = mq_preprocess_default(MQ_DATA_FOLDER);
  if (!*keys) {
    return MQ_OK;
  }
  char *text = mq_alloc(sizeof argument + strlen(keys), 1);
  if (!text) {
    return mq_fail_memory(err, "preprocessing");
  }
  memcpy(text, argument, sizeof argument - 1);
  memcpy(text + sizeof argument - 1, keys, strlen(keys) + 1);
  mq_status status = mq_data_spec_parse(&spec, text, err);
  mq_free(text);
  if (status != MQ_OK) {
    return status;
  }
  if (is_only_preprocess(&spec)) {
    *preprocess = spec.preprocess;
  } else {
    status = mq_fail(err, MQ_BAD_USAGE, "'%.200s' is not preprocessing alone, expected preset=, resize=, ...",
                     keys);
  }
  mq_data_spec_deinit(&spec);
  return status;
}

static mq_status check_size(const struct mq_image *image, const struct mq_preprocess *preprocess,
                            int64_t height, int64_t width, const char *path, struct mq_err *err) {
  int64_t size[2];
  mq_transform_size(size, preprocess, image->height, image->width);
  if (size[0] == height && size[1] == width) {
    return MQ_OK;
  }
  return mq_fail(err, MQ_BAD_INPUT,
                 "%s is %lld x %lld, expected %lld x %lld: set resize= and crop=, or size=", path,
                 (long long)size[1], (long long)size[0], (long long)width, (long long)height);
}

static mq_status fill(float *pixels, const struct mq_image *image, int64_t height, int64_t width,
                      const struct mq_preprocess *preprocess, struct mq_err *err) {
  struct mq_normalise normalise;
  uint8_t *bytes = mq_alloc((size_t)(height * width * image->channels) + MQ_IMAGE_SLACK_BYTES, 1);
  if (!bytes) {
    return mq_fail_memory(err, "image");
  }
  const mq_status status = mq_transform_geometry(bytes, image, preprocess, err);
  if (status == MQ_OK) {
    mq_normalise_init(&normalise, preprocess, image->channels);
    mq_normalise_apply(pixels, bytes, height * width, image->channels, &normalise);
  }
  mq_free(bytes);
  return status;
}

mq_status mq_image_load(float *pixels, int64_t height, int64_t width, const char *path,
                        const struct mq_preprocess *preprocess, struct mq_err *err) {
  struct mq_image image = {0};
  char *file = NULL;
  size_t n = 0;
  mq_status status = mq_file_read(&file, &n, path, MAX_FILE_BYTES, err);
  if (status == MQ_OK) {
    status = mq_image_decode(&image, (const uint8_t *)file, n, preprocess->ignores_exif, path, err);
  }
  if (status == MQ_OK) {
    status = check_size(&image, preprocess, height, width, path, err);
  }
  if (status == MQ_OK) {
    status = fill(pixels, &image, height, width, preprocess, err);
  }
  if (status == MQ_OK && image.is_damaged) {
    mq_log_warn("%s is truncated or damaged and was decoded as far as it goes", path);
  }
  mq_image_deinit(&image);
  mq_free(file);
  return status;
}
