/* Decoded images in memory, within a bound. */
#include "data/keep.h"

#include <string.h>

mq_status mq_keep_init(struct mq_keep *keep, int64_t n_images, int64_t memory_mib, struct mq_err *err) {
  memset(keep, 0, sizeof *keep);
  keep->n_images = n_images;
  keep->limit_bytes = (memory_mib < 0 ? MQ_KEEP_DEFAULT_MIB : memory_mib) << 20;
  if (keep->limit_bytes == 0) {
    return MQ_OK;
  }
  keep->lists = mq_alloc((size_t)n_images, sizeof *keep->lists);
  keep->was_read = mq_alloc((size_t)n_images, sizeof *keep->was_read);
  return keep->lists && keep->was_read ? MQ_OK : mq_fail_memory(err, "data set");
}

void mq_keep_deinit(struct mq_keep *keep) {
  for (int64_t i = 0; keep->lists && i < keep->n_images; i++) {
    for (struct mq_kept *kept = atomic_load(&keep->lists[i]), *next = NULL; kept; kept = next) {
      next = kept->next;
      mq_image_deinit(&kept->image);
      mq_free(kept);
    }
  }
  mq_free((void *)keep->lists);
  mq_free((void *)keep->was_read);
  memset(keep, 0, sizeof *keep);
}

static const struct mq_image *find_in(const struct mq_kept *list, mq_stage stage) {
  for (; list; list = list->next) {
    if (list->stage == stage) {
      return &list->image;
    }
  }
  return NULL;
}

const struct mq_image *mq_keep_find(const struct mq_keep *keep, mq_stage stage, int64_t index) {
  return keep->limit_bytes ? find_in(atomic_load(&keep->lists[index]), stage) : NULL;
}

/* Reserves first, so that threads together stay within the bound. */
static bool reserve(struct mq_keep *keep, int64_t bytes) {
  if (atomic_fetch_add(&keep->used_bytes, bytes) + bytes <= keep->limit_bytes) {
    return true;
  }
  atomic_fetch_sub(&keep->used_bytes, bytes);
  return false;
}

bool mq_keep_offer(struct mq_keep *keep, mq_stage stage, int64_t index, const struct mq_image *image,
                   bool is_again) {
  if (keep->limit_bytes == 0) {
    return false;
  }
  const uint8_t bit = (uint8_t)(1u << stage), before = atomic_fetch_or(&keep->was_read[index], bit);
  if (!is_again && !(before & bit)) {
    return false;
  }
  const int64_t bytes =
      image->height * image->width * image->channels + MQ_IMAGE_SLACK_BYTES + (int64_t)sizeof(struct mq_kept);
  if (!reserve(keep, bytes)) {
    return false;
  }
  struct mq_kept *kept = mq_alloc(1, sizeof *kept);
  if (kept) {
    struct mq_kept *list = atomic_load(&keep->lists[index]);
    *kept = (struct mq_kept){.image = *image, .stage = stage};
    while (!find_in(list, stage)) { /* another thread may be first */
      kept->next = list;
      if (atomic_compare_exchange_weak(&keep->lists[index], &list, kept)) {
        return true;
      }
    }
  }
  mq_free(kept);
  atomic_fetch_sub(&keep->used_bytes, bytes);
  return false;
}
