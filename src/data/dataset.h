/* An opened data set: source, geometry, normalisation, what is kept of its images. */
#ifndef MQ_DATA_DATASET_H
#define MQ_DATA_DATASET_H

#include <pthread.h>
#include <stdatomic.h>

#include "data/keep.h"
#include "data/source.h"
#include "data/transform.h"

/* Images after resize and crop, mapped from a file of cache=DIR. */
struct mq_cache {
  const uint8_t *map; /* NULL: no cache */
  size_t n_map;
  const uint8_t *pixels;     /* n_images x H x W x C */
  const uint8_t *is_damaged; /* n_images */
};

struct mq_dataset {
  struct mq_source source;
  struct mq_dataset_info info;
  struct mq_preprocess preprocess;
  struct mq_normalise normalise;
  int64_t label_offset;
  bool has_geometry; /* size=, resize= or crop= */
  struct mq_cache cache;
  struct mq_keep keep;
  _Atomic uint8_t *was_damaged; /* one per image, so that each counts once */
  _Atomic int64_t n_damaged;
  int64_t opened_ns; /* wall clock before the first file was looked at */
  pthread_mutex_t hash_lock;
  char hash[65]; /* "" until asked for */
};

/* Image after resize and crop, 8-bit, into out[H x W x C] of the data set's info; false in *is_damaged if it
 * was whole. Not for sources of floats. */
mq_status mq_dataset_read_bytes(uint8_t *out, bool *is_damaged, struct mq_dataset *dataset, int64_t index,
                                struct mq_err *err) MQ_MUST_CHECK;
/* MQ_BAD_INPUT unless all images have one size. */
mq_status mq_dataset_check_size(const struct mq_dataset *dataset, struct mq_err *err) MQ_MUST_CHECK;

/* Maps the cache file of this data set and geometry in `directory`, after writing it if it is not there. */
mq_status mq_cache_attach(struct mq_dataset *dataset, const char *directory,
                          struct mq_err *err) MQ_MUST_CHECK;
void mq_cache_detach(struct mq_cache *cache);

#endif
