/* cache=DIR: images after resize and crop, 8-bit, in one file per data set and geometry.
 *
 * The file's name is a hash of its key; the key (the data set's own hash and the geometry) stands in it as
 * well. Layout: struct header, n x H x W x C pixels, n bytes that mark damaged images. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/dataset.h"

#define KEY_BYTES 208
#define CHUNK_IMAGES 64

struct header {
  char magic[16];
  char key[KEY_BYTES];
  int64_t n_images, height, width, channels;
};

static const char magic[16] = "mqbench cache 1";

static mq_status make_header(struct header *header, struct mq_dataset *dataset, const char *directory,
                             struct mq_err *err) {
  char hash[65];
  const mq_status status = mq_dataset_hash_kept(hash, dataset, directory, err);
  if (status != MQ_OK) {
    return status;
  }
  const struct mq_preprocess *p = &dataset->preprocess;
  const int64_t *dim = dataset->info.image.dim;
  *header = (struct header){
      .n_images = dataset->info.n_images, .height = dim[1], .width = dim[2], .channels = dim[0]};
  memcpy(header->magic, magic, sizeof magic);
  snprintf(header->key, KEY_BYTES, "%s size=%lldx%lld resize=%lld crop=%lld exif=%s", hash,
           (long long)p->size[0], (long long)p->size[1], (long long)p->resize, (long long)p->crop,
           p->ignores_exif ? "ignore" : "apply");
  return MQ_OK;
}

/* A chunk of images decoded by the pool. */
struct chunk {
  struct mq_dataset *dataset;
  int64_t first;
  size_t image_bytes;
  uint8_t *pixels, *is_damaged; /* is_damaged: of the whole data set */
};

static mq_status decode_one(void *context, size_t task, unsigned worker, struct mq_err *err) {
  (void)worker;
  const struct chunk *chunk = context;
  const int64_t index = chunk->first + (int64_t)task;
  bool is_damaged = false;
  const mq_status status = mq_dataset_read_bytes(chunk->pixels + task * chunk->image_bytes, &is_damaged,
                                                 chunk->dataset, index, err);
  chunk->is_damaged[index] = is_damaged;
  return status;
}

static mq_status put(struct mq_file_out *out, const void *bytes, size_t n, struct mq_err *err) {
  return fwrite(bytes, 1, n, out->stream) == n
             ? MQ_OK
             : mq_fail(err, MQ_FAILED, "%s: cannot write: disk full?", out->path);
}

static mq_status write_images(struct mq_file_out *out, struct chunk *chunk, struct mq_pool *pool,
                              struct mq_err *err) {
  const int64_t n = chunk->dataset->info.n_images;
  struct mq_progress progress;
  mq_progress_init(&progress, "decoding for the cache", (uint64_t)n);
  mq_status status = MQ_OK;
  for (chunk->first = 0; chunk->first < n && status == MQ_OK; chunk->first += CHUNK_IMAGES) {
    const size_t count = n - chunk->first < CHUNK_IMAGES ? (size_t)(n - chunk->first) : CHUNK_IMAGES;
    status = mq_pool_run(pool, count, decode_one, chunk, err);
    if (status == MQ_OK) {
      status = put(out, chunk->pixels, count * chunk->image_bytes, err);
    }
    mq_progress_add(&progress, count);
  }
  mq_progress_end(&progress);
  return status;
}

static mq_status write_cache(const char *path, const struct header *header, struct mq_dataset *dataset,
                             struct mq_err *err) {
  struct mq_file_out out = {0};
  struct mq_pool *pool = NULL;
  struct chunk chunk = {.dataset = dataset,
                        .image_bytes = (size_t)(header->height * header->width * header->channels)};
  mq_status status = mq_file_out_open(&out, path, err);
  if (status != MQ_OK) {
    return status;
  }
  status = mq_pool_create(&pool, 0, NULL, err);
  if (status != MQ_OK) {
    goto done;
  }
  chunk.pixels = mq_alloc(CHUNK_IMAGES, chunk.image_bytes);
  chunk.is_damaged = mq_alloc((size_t)header->n_images, 1);
  if (!chunk.pixels || !chunk.is_damaged) {
    status = mq_fail_memory(err, path);
    goto done;
  }
  status = put(&out, header, sizeof *header, err);
  if (status == MQ_OK) {
    status = write_images(&out, &chunk, pool, err);
  }
  if (status == MQ_OK) {
    status = put(&out, chunk.is_damaged, (size_t)header->n_images, err);
  }
  if (status == MQ_OK) {
    status = mq_file_out_commit(&out, err);
  }
done:
  mq_file_out_abandon(&out);
  mq_pool_destroy(pool);
  mq_free(chunk.pixels);
  mq_free(chunk.is_damaged);
  return status;
}

static mq_status map_cache(struct mq_cache *cache, const char *path, const struct header *header,
                           struct mq_err *err) {
  mq_status status = mq_file_map(&cache->map, &cache->n_map, path, err);
  if (status != MQ_OK) {
    return status;
  }
  const size_t n_pixels = (size_t)(header->n_images * header->height * header->width * header->channels);
  const size_t expected = sizeof *header + n_pixels + (size_t)header->n_images;
  if (cache->n_map != expected || memcmp(cache->map, header, sizeof *header) != 0) {
    return mq_fail(err, MQ_BAD_INPUT,
                   "%s: not the cache of this data set (%zu bytes, expected %zu): delete it", path,
                   cache->n_map, expected);
  }
  cache->pixels = cache->map + sizeof *header;
  cache->is_damaged = cache->pixels + n_pixels;
  return MQ_OK;
}

mq_status mq_cache_attach(struct mq_dataset *dataset, const char *directory, struct mq_err *err) {
  struct header header;
  char hex[65], name[64];
  mq_status status = make_header(&header, dataset, directory, err);
  if (status != MQ_OK) {
    return status;
  }
  mq_sha256_bytes(hex, &header, sizeof header);
  snprintf(name, sizeof name, "%.32s.mqcache", hex);
  char *path = mq_path_join(directory, name);
  if (!path) {
    return mq_fail_memory(err, directory);
  }
  status = mq_file_make_directories(directory, err);
  if (status == MQ_OK && !mq_file_exists(path)) {
    status = write_cache(path, &header, dataset, err);
  }
  if (status == MQ_OK) {
    status = map_cache(&dataset->cache, path, &header, err);
  }
  mq_free(path);
  return status;
}

void mq_cache_detach(struct mq_cache *cache) {
  mq_file_unmap(cache->map, cache->n_map);
  memset(cache, 0, sizeof *cache);
}
