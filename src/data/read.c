/* Reading the images of a data set: as the model sees them in evaluation, or as random views. */
#include <assert.h>
#include <string.h>

#include "data/augment.h"
#include "data/dataset.h"

/* Counts an image once; the first one is reported. */
static void note_damage(struct mq_dataset *dataset, int64_t index) {
  if (atomic_exchange(&dataset->was_damaged[index], 1) == 0 &&
      atomic_fetch_add(&dataset->n_damaged, 1) == 0) {
    mq_log_warn("%s: %s is truncated or damaged and was decoded as far as it goes", dataset->source.what,
                dataset->source.entries[index].name);
  }
}

/* Images without resize and crop must have the size that the data set promises. */
static mq_status check_image(const struct mq_dataset *dataset, const struct mq_image *image, int64_t index,
                             struct mq_err *err) {
  const int64_t *dim = dataset->info.image.dim;
  int64_t size[2];
  mq_transform_size(size, &dataset->preprocess, image->height, image->width);
  if (size[0] == dim[1] && size[1] == dim[2]) {
    return MQ_OK;
  }
  return mq_fail(err, MQ_BAD_INPUT,
                 "%s: %s is %lld x %lld, expected %lld x %lld as others: set resize= and crop=, or size=",
                 dataset->source.what, dataset->source.entries[index].name, (long long)size[1],
                 (long long)size[0], (long long)dim[2], (long long)dim[1]);
}

static mq_status decode_image(struct mq_image *image, struct mq_dataset *dataset, int64_t index,
                              struct mq_err *err) {
  mq_status status = mq_dataset_check_size(dataset, err);
  if (status == MQ_OK) {
    status = mq_source_decode(image, &dataset->source, index, err);
  }
  return status == MQ_OK ? check_image(dataset, image, index, err) : status;
}

mq_status mq_dataset_read_bytes(uint8_t *out, bool *is_damaged, struct mq_dataset *dataset, int64_t index,
                                struct mq_err *err) {
  struct mq_image image = {0};
  mq_status status = decode_image(&image, dataset, index, err);
  if (status == MQ_OK) {
    status = mq_transform_geometry(out, &image, &dataset->preprocess, err);
  }
  *is_damaged = image.is_damaged;
  mq_image_deinit(&image);
  return status;
}

/* ---- One image in 8 bit, wherever it is -----------------------------------------------------------------
 */

struct view {
  struct mq_image image;
  bool is_owned; /* otherwise its pixels are the cache's, or kept in memory */
};

static void view_deinit(struct view *view) {
  if (view->is_owned) {
    mq_image_deinit(&view->image);
  }
}

/* After resize and crop; no kept image or cache is asked. */
static mq_status shape_image(struct mq_image *image, struct mq_dataset *dataset, int64_t index,
                             struct mq_err *err) {
  if (!dataset->has_geometry) {
    return decode_image(image, dataset, index, err);
  }
  mq_status status = mq_dataset_check_size(dataset, err);
  if (status != MQ_OK) {
    return status;
  }
  const int64_t *dim = dataset->info.image.dim;
  *image = (struct mq_image){.height = dim[1], .width = dim[2], .channels = dim[0]};
  image->pixels = mq_alloc((size_t)mq_shape_count(&dataset->info.image) + MQ_IMAGE_SLACK_BYTES, 1);
  if (!image->pixels) {
    return mq_fail_memory(err, "image");
  }
  status = mq_dataset_read_bytes(image->pixels, &image->is_damaged, dataset, index, err);
  if (status != MQ_OK) {
    mq_image_deinit(image);
  }
  return status;
}

static bool is_worth_keeping(const struct mq_dataset *dataset, mq_stage stage) {
  return (stage == MQ_STAGE_SHAPED && dataset->has_geometry) || !dataset->source.ops->is_in_memory;
}

static mq_status view_init(struct view *view, struct mq_dataset *dataset, mq_stage stage, int64_t index,
                           bool is_again, struct mq_err *err) {
  memset(view, 0, sizeof *view);
  stage = dataset->has_geometry ? stage : MQ_STAGE_SHAPED; /* the same without geometry */
  if (stage == MQ_STAGE_SHAPED && dataset->cache.map) {
    const int64_t *dim = dataset->info.image.dim;
    const uint8_t *pixels = dataset->cache.pixels + index * mq_shape_count(&dataset->info.image);
    view->image = (struct mq_image){.pixels = (uint8_t *)(uintptr_t)pixels,
                                    .height = dim[1],
                                    .width = dim[2],
                                    .channels = dim[0],
                                    .is_damaged = dataset->cache.is_damaged[index] != 0};
    return MQ_OK;
  }
  const struct mq_image *kept = mq_keep_find(&dataset->keep, stage, index);
  if (kept) {
    view->image = *kept;
    return MQ_OK;
  }
  const mq_status status = stage == MQ_STAGE_SHAPED ? shape_image(&view->image, dataset, index, err)
                                                    : decode_image(&view->image, dataset, index, err);
  view->is_owned = status == MQ_OK && !(is_worth_keeping(dataset, stage) &&
                                        mq_keep_offer(&dataset->keep, stage, index, &view->image, is_again));
  return status;
}

/* ---- Float32 --------------------------------------------------------------------------------------------
 */

mq_status mq_dataset_read(float *pixels, struct mq_dataset *dataset, int64_t index, struct mq_err *err) {
  assert(index >= 0 && index < dataset->info.n_images);
  if (dataset->source.ops->floats) {
    dataset->source.ops->floats(pixels, &dataset->source, index);
    return MQ_OK;
  }
  struct view view;
  const mq_status status = view_init(&view, dataset, MQ_STAGE_SHAPED, index, false, err);
  if (status == MQ_OK) {
    const struct mq_image *image = &view.image;
    mq_normalise_apply(pixels, image->pixels, image->height * image->width, image->channels,
                       &dataset->normalise);
    if (image->is_damaged) {
      note_damage(dataset, index);
    }
  }
  view_deinit(&view);
  return status;
}

/* The whole image is copied first: the source lays it out channels last. */
static mq_status augment_floats(float *pixels, struct mq_dataset *dataset, int64_t index,
                                const struct mq_augment_draw *draw, struct mq_err *err) {
  const int64_t *dim = dataset->info.image.dim;
  float *whole = mq_alloc((size_t)mq_shape_count(&dataset->info.image), sizeof *whole);
  if (!whole) {
    return mq_fail_memory(err, "image");
  }
  dataset->source.ops->floats(whole, &dataset->source, index);
  mq_augment_floats(pixels, &dim[1], whole, &dim[1], dim[0], draw);
  mq_free(whole);
  return MQ_OK;
}

static mq_status augment_image(float *pixels, struct mq_dataset *dataset, const struct mq_image *image,
                               const struct mq_augment_draw *draw, struct mq_err *err) {
  const int64_t *dim = dataset->info.image.dim;
  uint8_t *bytes = mq_alloc((size_t)mq_shape_count(&dataset->info.image), 1);
  if (!bytes) {
    return mq_fail_memory(err, "image");
  }
  const mq_status status = mq_augment_geometry(bytes, &dim[1], image, draw, err);
  if (status == MQ_OK) {
    mq_augment_colours(pixels, bytes, dim[1] * dim[2], dim[0], draw, &dataset->normalise);
  }
  mq_free(bytes);
  return status;
}

mq_status mq_dataset_read_augmented(float *pixels, struct mq_dataset *dataset, int64_t index,
                                    const struct mq_augment *augment, uint64_t seed, uint64_t epoch,
                                    struct mq_err *err) {
  assert(index >= 0 && index < dataset->info.n_images);
  const bool is_float = dataset->source.ops->floats != NULL;
  const int64_t *size = &dataset->info.image.dim[1];
  struct mq_augment_draw draw;
  mq_status status = mq_augment_check(augment, is_float, err);
  if (status != MQ_OK) {
    return status;
  }
  if (is_float) {
    mq_augment_draw(&draw, augment, size, size, seed, epoch, index);
    return augment_floats(pixels, dataset, index, &draw, err);
  }
  struct view view;
  const mq_stage stage = augment->resized_crop ? MQ_STAGE_DECODED : MQ_STAGE_SHAPED;
  status = view_init(&view, dataset, stage, index, true, err);
  if (status == MQ_OK) {
    const int64_t from[2] = {view.image.height, view.image.width};
    mq_augment_draw(&draw, augment, from, size, seed, epoch, index);
    status = augment_image(pixels, dataset, &view.image, &draw, err);
    if (status == MQ_OK && view.image.is_damaged) {
      note_damage(dataset, index);
    }
  }
  view_deinit(&view);
  return status;
}
