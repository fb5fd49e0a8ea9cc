/* The list of images of a source, and reading one. */
#include "data/source.h"

#include <stdio.h>
#include <string.h>

mq_status mq_source_add(struct mq_source *source, const char *name, int64_t label, struct mq_err *err) {
  if (source->n_entries == source->capacity) {
    const int64_t capacity = source->capacity ? 2 * source->capacity : 256;
    struct mq_entry *more = mq_realloc(source->entries, (size_t)capacity, sizeof *more);
    if (!more) {
      return mq_fail_memory(err, "list of images");
    }
    source->entries = more;
    source->capacity = capacity;
  }
  source->entries[source->n_entries++] = (struct mq_entry){.name = name, .label = label};
  return MQ_OK;
}

mq_status mq_source_add_numbered(struct mq_source *source, const char *file, int64_t number, int64_t label,
                                 struct mq_err *err) {
  const char *name = mq_arena_printf(&source->arena, "%s#%lld", file, (long long)number);
  return name ? mq_source_add(source, name, label, err) : mq_fail_memory(err, "list of images");
}

char *mq_source_where(char *text, size_t text_bytes, const struct mq_source *source, int64_t index) {
  snprintf(text, text_bytes, "%s: %s", source->what, source->entries[index].name);
  return text;
}

mq_status mq_source_decode(struct mq_image *image, const struct mq_source *source, int64_t index,
                           struct mq_err *err) {
  memset(image, 0, sizeof *image);
  if (source->ops->pixels) {
    return source->ops->pixels(image, source, index, err);
  }
  const uint8_t *bytes = NULL;
  uint8_t *owned = NULL;
  size_t n = 0;
  mq_status status = source->ops->content(&bytes, &n, &owned, source, index, err);
  if (status == MQ_OK) {
    char where[768];
    status = mq_image_decode(image, bytes, n, source->ignores_exif,
                             mq_source_where(where, sizeof where, source, index), err);
  }
  mq_free(owned);
  return status;
}

mq_status mq_source_check_split(const struct mq_source *source, mq_data_split split, const char *what,
                                struct mq_err *err) {
  const bool is_missing =
      (split == MQ_SPLIT_TRAIN && !source->has_train) || (split == MQ_SPLIT_TEST && !source->has_test);
  if (!is_missing) {
    return MQ_OK;
  }
  return mq_fail(err, MQ_BAD_INPUT, "%s: has no split=%s (%s)", what,
                 split == MQ_SPLIT_TEST ? "test" : "train",
                 source->has_train  ? "only split=train"
                 : source->has_test ? "only split=test"
                                    : "no splits at all");
}

mq_data_split mq_source_split_used(const struct mq_source *source, mq_data_split split) {
  return split == MQ_SPLIT_DEFAULT && source->has_train && source->has_test ? MQ_SPLIT_TRAIN : split;
}
