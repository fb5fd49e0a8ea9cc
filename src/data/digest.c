/* What identifies a data set's content, and draws from it. */
#include <string.h>

#include "data/dataset.h"

static void put_int(struct mq_sha256 *hash, int64_t value) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; i++) {
    bytes[i] = (uint8_t)((uint64_t)value >> 8 * i);
  }
  mq_sha256_update(hash, bytes, sizeof bytes);
}

/* Per image: name and its NUL, label and number of bytes as little-endian 64 bits, bytes as stored. */
static mq_status hash_all(char hex[65], struct mq_dataset *dataset, struct mq_err *err) {
  struct mq_sha256 *hash = NULL;
  mq_status status = mq_sha256_create(&hash, err);
  const struct mq_source *source = &dataset->source;
  for (int64_t i = 0; i < source->n_entries && status == MQ_OK; i++) {
    const uint8_t *bytes = NULL;
    uint8_t *owned = NULL;
    size_t n = 0;
    status = source->ops->content(&bytes, &n, &owned, source, i, err);
    if (status == MQ_OK) {
      mq_sha256_update(hash, source->entries[i].name, strlen(source->entries[i].name) + 1);
      put_int(hash, source->entries[i].label);
      put_int(hash, (int64_t)n);
      mq_sha256_update(hash, bytes, n);
    }
    mq_free(owned);
    if (status == MQ_OK && mq_cancelled()) {
      status = mq_fail(err, MQ_CANCELLED, "cancelled");
    }
  }
  if (hash) {
    mq_sha256_finish(hex, hash);
  }
  return status;
}

mq_status mq_dataset_hash(char hex[65], struct mq_dataset *dataset, struct mq_err *err) {
  mq_status status = MQ_OK;
  pthread_mutex_lock(&dataset->hash_lock);
  if (!dataset->hash[0]) {
    char text[65] = "";
    status = hash_all(text, dataset, err);
    if (status == MQ_OK) {
      memcpy(dataset->hash, text, sizeof text);
    }
  }
  memcpy(hex, dataset->hash, sizeof dataset->hash);
  pthread_mutex_unlock(&dataset->hash_lock);
  return status;
}

/* The first n places of a Fisher-Yates shuffle of order[n_all]: n draws without replacement. */
static void shuffle(int64_t *order, int64_t n, int64_t n_all, struct mq_rng *rng) {
  for (int64_t i = 0; i < n; i++) {
    const int64_t other = i + mq_rng_below(rng, (uint32_t)(n_all - i)), drawn = order[other];
    order[other] = order[i];
    order[i] = drawn;
  }
}

/* 0, 1, 2, ... */
static mq_status count_up(int64_t **order, int64_t n, struct mq_err *err) {
  *order = mq_alloc((size_t)n, sizeof **order);
  for (int64_t i = 0; *order && i < n; i++) {
    (*order)[i] = i;
  }
  return *order ? MQ_OK : mq_fail_memory(err, "order of images");
}

mq_status mq_dataset_shuffle(int64_t **indices, const struct mq_dataset *dataset, uint64_t seed,
                             uint64_t epoch, struct mq_err *err) {
  const int64_t n = dataset->info.n_images;
  const mq_status status = count_up(indices, n, err);
  if (status == MQ_OK) {
    struct mq_rng rng;
    mq_rng_init(&rng, seed, MQ_RNG_SHUFFLE, epoch, 0);
    shuffle(*indices, n, n, &rng);
  }
  return status;
}

mq_status mq_dataset_sample(int64_t **indices, const struct mq_dataset *dataset, int64_t n, bool is_first,
                            uint64_t seed, struct mq_err *err) {
  *indices = NULL;
  const int64_t n_images = dataset->info.n_images;
  if (n < 1 || n > n_images) {
    return mq_fail(err, MQ_BAD_USAGE, "%s: %lld images asked for, expected 1 to %lld", dataset->source.what,
                   (long long)n, (long long)n_images);
  }
  const mq_status status = count_up(indices, is_first ? n : n_images, err);
  if (status == MQ_OK && !is_first) {
    struct mq_rng rng;
    mq_rng_init(&rng, seed, MQ_RNG_CALIBRATION_SAMPLE, 0, 0);
    shuffle(*indices, n, n_images, &rng);
  }
  return status;
}
