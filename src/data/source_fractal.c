/* The embedded data set: formula-driven images, computed when read. */
#include <stdio.h>
#include <string.h>

#include "data/fractal.h"
#include "data/source.h"

#define DEFAULT_CLASSES 10
#define DEFAULT_SIZE 32
#define DEFAULT_TRAIN 10000
#define DEFAULT_TEST 2000

struct state {
  struct mq_fractal *classes;          /* n_classes; arena */
  struct mq_fractal_instance instance; /* all but the index */
};

/* "ifs_007": byte order is label order. */
static mq_status name_classes(struct mq_source *source, struct mq_err *err) {
  source->class_names =
      mq_arena_alloc(&source->arena, (size_t)source->n_classes, sizeof *source->class_names);
  for (int64_t i = 0; i < source->n_classes; i++) {
    const char *name = mq_arena_printf(&source->arena, "ifs_%03lld", (long long)i);
    if (!source->class_names || !name) {
      return mq_fail_memory(err, "fractal");
    }
    source->class_names[i] = name;
  }
  return MQ_OK;
}

static mq_status fractal_open(struct mq_source *source, const struct mq_data_spec *spec, struct mq_err *err) {
  struct state *state = mq_arena_alloc(&source->arena, 1, sizeof *state);
  source->state = state;
  source->n_classes = spec->n_classes ? spec->n_classes : DEFAULT_CLASSES;
  if (!state) {
    return mq_fail_memory(err, "fractal");
  }
  const int64_t size = spec->preprocess.size[0] ? spec->preprocess.size[0] : DEFAULT_SIZE;
  if (size < MQ_FRACTAL_MIN_SIZE || size > MQ_FRACTAL_MAX_SIZE) {
    return mq_fail(err, MQ_BAD_USAGE, "fractal: size=%lld, expected %d to %d", (long long)size,
                   MQ_FRACTAL_MIN_SIZE, MQ_FRACTAL_MAX_SIZE);
  }
  source->has_train = source->has_test = true;
  source->size[0] = source->size[1] = size;
  source->size[2] = 3;
  const bool is_test = spec->split == MQ_SPLIT_TEST;
  state->instance = (struct mq_fractal_instance){.seed = spec->seed, .is_test = is_test, .size = size};
  state->classes = mq_arena_alloc(&source->arena, (size_t)source->n_classes, sizeof *state->classes);
  if (!state->classes) {
    return mq_fail_memory(err, "fractal");
  }
  for (int64_t i = 0; i < source->n_classes; i++) {
    mq_fractal_find(&state->classes[i], spec->seed, i);
  }
  mq_status status = name_classes(source, err);
  int64_t n = spec->n_images ? spec->n_images : is_test ? DEFAULT_TEST : DEFAULT_TRAIN;
  n = spec->limit && spec->limit < n ? spec->limit : n;
  for (int64_t i = 0; i < n && status == MQ_OK; i++) {
    status = mq_source_add_numbered(source, is_test ? "test" : "train", i, i % source->n_classes, err);
  }
  return status;
}

static void fractal_close(struct mq_source *source) {
  (void)source;
}

/* Images follow from their parameters, so these stand for the content. */
static mq_status fractal_content(const uint8_t **bytes, size_t *n, uint8_t **owned,
                                 const struct mq_source *source, int64_t index, struct mq_err *err) {
  const struct mq_fractal_instance *instance = &((const struct state *)source->state)->instance;
  char *text = mq_alloc(160, 1);
  *owned = (uint8_t *)text;
  *bytes = *owned;
  if (!text) {
    return mq_fail_memory(err, "fractal");
  }
  *n = (size_t)snprintf(text, 160, "fractal revision %d seed %llu classes %lld size %lld test %d image %lld",
                        MQ_FRACTAL_REVISION, (unsigned long long)instance->seed, (long long)source->n_classes,
                        (long long)instance->size, instance->is_test, (long long)index);
  return MQ_OK;
}

static mq_status fractal_pixels(struct mq_image *image, const struct mq_source *source, int64_t index,
                                struct mq_err *err) {
  const struct state *state = source->state;
  struct mq_fractal_instance instance = state->instance;
  instance.index = index;
  mq_status status = mq_image_init(image, instance.size, instance.size, 3, "fractal", err);
  if (status == MQ_OK) {
    status = mq_fractal_draw(image->pixels, &state->classes[index % source->n_classes], &instance, err);
  }
  return status;
}

const struct mq_source_ops mq_source_fractal = {
    .open = fractal_open, .close = fractal_close, .content = fractal_content, .pixels = fractal_pixels};
