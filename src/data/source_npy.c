/* Arrays in .npy files: uint8 images of 1 or 3 channels, or float32 given as they are. */
#include <string.h>

#include "data/source.h"

struct state {
  struct mq_tensor images, labels;
  int64_t size[3];       /* height, width, channels */
  bool is_channels_last; /* how the file has them */
};

static bool is_channel_count(int64_t n) {
  return n == 1 || n == 3;
}

static mq_status check_size(const struct state *state, const struct mq_data_spec *spec, struct mq_err *err) {
  const struct mq_shape *shape = &state->images.shape;
  const int64_t h = state->size[0], w = state->size[1], channels = state->size[2];
  char text[128];
  mq_shape_format(text, sizeof text, shape);
  if (shape->dim[0] == 0) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: shape %s holds no image, expected at least one", spec->path, text);
  }
  if (h < 1 || w < 1 || h > MQ_IMAGE_MAX_SIDE || w > MQ_IMAGE_MAX_SIDE) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: shape %s: images of %lld x %lld pixels, expected sides of 1 to %d",
                   spec->path, text, (long long)h, (long long)w, MQ_IMAGE_MAX_SIDE);
  }
  if (channels < 1 || (state->images.dtype == MQ_U8 && !is_channel_count(channels))) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: shape %s: %lld channels in the %s dimension, expected %s",
                   spec->path, text, (long long)channels, state->is_channels_last ? "last" : "second",
                   channels < 1 ? "at least 1" : "1 or 3 of uint8");
  }
  return MQ_OK;
}

/* N x H x W, N x H x W x C or N x C x H x W; floats also N x F, which becomes F channels of one pixel. Which
 * of the two of rank 4 is told by the side that is 1 or 3; layout= decides where both are or neither is. */
static mq_status read_shape(struct state *state, const struct mq_data_spec *spec, struct mq_err *err) {
  const struct mq_shape *shape = &state->images.shape;
  const bool is_float = state->images.dtype == MQ_F32;
  const int64_t *dim = shape->dim;
  char text[128];
  state->is_channels_last = true;
  if (shape->rank == 3) {
    memcpy(state->size, (int64_t[3]){dim[1], dim[2], 1}, sizeof state->size);
  } else if (shape->rank == 2 && is_float) {
    memcpy(state->size, (int64_t[3]){1, 1, dim[1]}, sizeof state->size);
  } else if (shape->rank == 4) {
    const bool can_first = is_channel_count(dim[1]), can_last = is_channel_count(dim[3]);
    state->is_channels_last = can_first == can_last ? spec->preprocess.is_nhwc : can_last;
    const int64_t last[3] = {dim[1], dim[2], dim[3]}, first[3] = {dim[2], dim[3], dim[1]};
    memcpy(state->size, state->is_channels_last ? last : first, sizeof state->size);
  } else {
    return mq_fail(err, MQ_BAD_INPUT, "%s: shape %s, expected N x H x W x C, N x C x H x W or N x H x W",
                   spec->path, mq_shape_format(text, sizeof text, shape));
  }
  return check_size(state, spec, err);
}

static mq_status read_labels(struct state *state, const char *path, struct mq_err *err) {
  mq_status status = mq_npy_read(&state->labels, path, err);
  if (status != MQ_OK) {
    return status;
  }
  const struct mq_tensor *labels = &state->labels;
  if (labels->shape.rank != 1 || labels->shape.dim[0] != state->images.shape.dim[0] ||
      mq_dtype_get(labels->dtype)->is_float) {
    char text[128];
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s of shape %s, expected %lld integers, one per image", path,
                   mq_dtype_get(labels->dtype)->name, mq_shape_format(text, sizeof text, &labels->shape),
                   (long long)state->images.shape.dim[0]);
  }
  for (int64_t i = 0; i < labels->shape.dim[0]; i++) {
    const int64_t label = mq_tensor_get_int(labels, i);
    if (label < 0 || label > 1000000) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: label %lld of image %lld, expected 0 to 1000000", path,
                     (long long)label, (long long)i);
    }
  }
  return MQ_OK;
}

/* Floats come as the model wants them, so nothing is left to preprocess. */
static void warn_preprocess(const struct mq_data_spec *spec) {
  const struct mq_preprocess *p = &spec->preprocess, plain = mq_preprocess_default(MQ_DATA_NPY);
  if (p->resize || p->crop || p->size[0] || p->is_bgr || memcmp(p->mean, plain.mean, sizeof plain.mean) ||
      memcmp(p->std, plain.std, sizeof plain.std)) {
    mq_log_warn("%s: float32 images are used as they are, without resize, crop, mean and std", spec->path);
  }
}

static mq_status npy_open(struct mq_source *source, const struct mq_data_spec *spec, struct mq_err *err) {
  struct state *state = mq_arena_alloc(&source->arena, 1, sizeof *state);
  source->state = state;
  mq_status status = state ? mq_npy_read(&state->images, spec->path, err) : mq_fail_memory(err, spec->path);
  if (status == MQ_OK && state->images.dtype != MQ_U8 && state->images.dtype != MQ_F32) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: %s, expected uint8 or float32", spec->path,
                     mq_dtype_get(state->images.dtype)->name);
  }
  if (status == MQ_OK) {
    status = read_shape(state, spec, err);
  }
  if (status == MQ_OK && spec->labels) {
    status = read_labels(state, spec->labels, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  memcpy(source->size, state->size, sizeof source->size);
  if (state->images.dtype == MQ_F32) {
    source->ops = &mq_source_npy_float;
    warn_preprocess(spec);
  }
  for (int64_t i = 0; i < state->images.shape.dim[0] && status == MQ_OK; i++) {
    status = mq_source_add_numbered(source, mq_path_base(spec->path), i,
                                    spec->labels ? mq_tensor_get_int(&state->labels, i) : -1, err);
  }
  return status;
}

static void npy_close(struct mq_source *source) {
  struct state *state = source->state;
  if (state) {
    mq_tensor_deinit(&state->images);
    mq_tensor_deinit(&state->labels);
  }
}

static mq_status npy_content(const uint8_t **bytes, size_t *n, uint8_t **owned,
                             const struct mq_source *source, int64_t index, struct mq_err *err) {
  (void)err;
  const struct state *state = source->state;
  *n = (size_t)(state->size[0] * state->size[1] * state->size[2]) * mq_dtype_get(state->images.dtype)->bytes;
  *bytes = (const uint8_t *)state->images.data + (size_t)index * *n;
  *owned = NULL;
  return MQ_OK;
}

static mq_status npy_files(const struct mq_source *source, mq_source_file_fn visit, void *context,
                           struct mq_err *err) {
  return visit(context, source->what, err);
}

static mq_status npy_pixels(struct mq_image *image, const struct mq_source *source, int64_t index,
                            struct mq_err *err) {
  const struct state *state = source->state;
  const int64_t h = state->size[0], w = state->size[1], channels = state->size[2];
  const mq_status status = mq_image_init(image, h, w, channels, source->entries[index].name, err);
  if (status != MQ_OK) {
    return status;
  }
  const uint8_t *from = (const uint8_t *)state->images.data + index * h * w * channels;
  if (state->is_channels_last) {
    memcpy(image->pixels, from, (size_t)(h * w * channels));
    return MQ_OK;
  }
  for (int64_t i = 0; i < h * w; i++) {
    for (int64_t c = 0; c < channels; c++) {
      image->pixels[i * channels + c] = from[c * h * w + i];
    }
  }
  return MQ_OK;
}

static void npy_floats(float *out, const struct mq_source *source, int64_t index) {
  const struct state *state = source->state;
  const int64_t pixels = state->size[0] * state->size[1], channels = state->size[2];
  const float *from = (const float *)state->images.data + index * pixels * channels;
  if (state->is_channels_last) {
    memcpy(out, from, (size_t)(pixels * channels) * sizeof *out);
    return;
  }
  for (int64_t i = 0; i < pixels; i++) {
    for (int64_t c = 0; c < channels; c++) {
      out[i * channels + c] = from[c * pixels + i];
    }
  }
}

const struct mq_source_ops mq_source_npy = {.open = npy_open,
                                            .close = npy_close,
                                            .content = npy_content,
                                            .files = npy_files,
                                            .pixels = npy_pixels,
                                            .is_in_memory = true};
/* What npy_open turns into when the file holds floats. */
const struct mq_source_ops mq_source_npy_float = {
    .open = npy_open, .close = npy_close, .content = npy_content, .files = npy_files, .floats = npy_floats};
