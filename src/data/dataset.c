/* Opening a data set, and what is known of it. */
#include "data/dataset.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#define MAX_PROBES 256

static const struct mq_source_ops *const kinds[] = {
    [MQ_DATA_CIFAR10] = &mq_source_cifar10, [MQ_DATA_IDX] = &mq_source_idx,
    [MQ_DATA_FOLDER] = &mq_source_folder,   [MQ_DATA_TAR] = &mq_source_tar,
    [MQ_DATA_NPY] = &mq_source_npy,         [MQ_DATA_FRACTAL] = &mq_source_fractal,
};

/* Adds label_offset and counts classes: the folders, or as many as the largest label asks for. */
static mq_status settle_labels(struct mq_dataset *dataset, const struct mq_data_spec *spec,
                               struct mq_err *err) {
  struct mq_source *source = &dataset->source;
  int64_t n_classes = source->n_classes ? source->n_classes + spec->label_offset : 0;
  dataset->label_offset = spec->label_offset;
  for (int64_t i = 0; i < source->n_entries; i++) {
    struct mq_entry *entry = &source->entries[i];
    if (entry->label < 0) {
      continue;
    }
    if (entry->label + spec->label_offset < 0) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: %s: label %lld with label_offset=%lld is negative", source->what,
                     entry->name, (long long)entry->label, (long long)spec->label_offset);
    }
    entry->label += spec->label_offset;
    n_classes = entry->label >= n_classes ? entry->label + 1 : n_classes;
    dataset->info.has_labels = true;
  }
  dataset->info.n_classes = dataset->info.has_labels ? n_classes : 0;
  return MQ_OK;
}

/* Height and width before resizing: of all images, or -1. Image files are asked by their headers: 256 evenly
 * spaced ones, the first and the last among them; reading an image of another size says so. */
static mq_status probe_size(struct mq_source *source, struct mq_err *err) {
  const int64_t n = source->n_entries, n_probes = n < MAX_PROBES ? n : MAX_PROBES;
  for (int64_t i = 0; i < n_probes; i++) {
    const int64_t index = n_probes > 1 ? i * (n - 1) / (n_probes - 1) : 0;
    const uint8_t *bytes = NULL;
    uint8_t *owned = NULL;
    size_t n_bytes = 0;
    int64_t size[2] = {0, 0};
    mq_status status = source->ops->content(&bytes, &n_bytes, &owned, source, index, err);
    if (status == MQ_OK) {
      char where[768];
      status = mq_image_peek(size, bytes, n_bytes, source->ignores_exif,
                             mq_source_where(where, sizeof where, source, index), err);
    }
    mq_free(owned);
    if (status != MQ_OK) {
      return status;
    }
    if (i > 0 && (size[0] != source->size[0] || size[1] != source->size[1])) {
      source->size[0] = source->size[1] = -1;
      return MQ_OK;
    }
    source->size[0] = size[0];
    source->size[1] = size[1];
  }
  return MQ_OK;
}

static mq_status settle_size(struct mq_dataset *dataset, const struct mq_data_spec *spec,
                             struct mq_err *err) {
  struct mq_source *source = &dataset->source;
  struct mq_preprocess *p = &dataset->preprocess;
  *p = spec->preprocess;
  if (spec->kind == MQ_DATA_FRACTAL || source->ops->floats) {
    p->size[0] = p->size[1] = 0; /* drawn at this size; floats are taken as they are */
  }
  if (source->ops->floats) {
    p->resize = p->crop = 0;
  }
  dataset->has_geometry = p->size[0] || p->resize || p->crop;
  if (!source->ops->pixels && !source->ops->floats) {
    source->size[0] = source->size[1] = -1;
    source->size[2] = 3;
    if (!p->size[0] && !p->crop) {
      const mq_status status = probe_size(source, err);
      if (status != MQ_OK) {
        return status;
      }
    }
  }
  int64_t size[2];
  mq_transform_size(size, p, source->size[0], source->size[1]);
  dataset->info.image = (struct mq_shape){.rank = 3, .dim = {source->size[2], size[0], size[1]}};
  return MQ_OK;
}

static mq_status open_source(struct mq_dataset *dataset, const struct mq_data_spec *spec,
                             struct mq_err *err) {
  struct mq_source *source = &dataset->source;
  assert(spec->kind >= MQ_DATA_CIFAR10 && spec->kind <= MQ_DATA_FRACTAL && spec->path);
  source->ops = kinds[spec->kind];
  source->ignores_exif = spec->preprocess.ignores_exif;
  source->what = mq_arena_strdup(&source->arena, spec->kind == MQ_DATA_FRACTAL ? "fractal" : spec->path);
  if (!source->what) {
    return mq_fail_memory(err, spec->path);
  }
  mq_status status = source->ops->open(source, spec, err);
  if (status == MQ_OK && source->n_entries == 0) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s: no images", source->what);
  }
  if (status == MQ_OK) {
    status = settle_labels(dataset, spec, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  if (spec->limit && spec->limit < source->n_entries) {
    source->n_entries = spec->limit;
  }
  dataset->info.n_images = source->n_entries;
  dataset->info.has_train = source->has_train;
  dataset->info.has_test = source->has_test;
  return MQ_OK;
}

mq_status mq_dataset_open(struct mq_dataset **out, const struct mq_data_spec *spec, struct mq_err *err) {
  *out = NULL;
  struct mq_dataset *dataset = mq_alloc(1, sizeof *dataset);
  if (!dataset) {
    return mq_fail_memory(err, "data set");
  }
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  dataset->opened_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
  mq_arena_init(&dataset->source.arena, 0);
  pthread_mutex_init(&dataset->hash_lock, NULL);
  mq_status status = open_source(dataset, spec, err);
  if (status == MQ_OK) {
    status = settle_size(dataset, spec, err);
  }
  if (status != MQ_OK) {
    goto done;
  }
  mq_normalise_init(&dataset->normalise, &dataset->preprocess, dataset->source.size[2]);
  dataset->was_damaged = mq_alloc((size_t)dataset->info.n_images, 1);
  if (!dataset->was_damaged) {
    status = mq_fail_memory(err, "data set");
    goto done;
  }
  status = mq_keep_init(&dataset->keep, dataset->info.n_images, spec->memory_mib, err);
  if (status != MQ_OK) {
    goto done;
  }
  if (spec->cache && !dataset->source.ops->floats) {
    status = mq_dataset_check_size(dataset, err);
    status = status == MQ_OK ? mq_cache_attach(dataset, spec->cache, err) : status;
  }
done:
  if (status != MQ_OK) {
    mq_dataset_close(dataset);
    return status;
  }
  *out = dataset;
  return MQ_OK;
}

void mq_dataset_close(struct mq_dataset *dataset) {
  if (!dataset) {
    return;
  }
  mq_cache_detach(&dataset->cache);
  mq_keep_deinit(&dataset->keep);
  if (dataset->source.ops) {
    dataset->source.ops->close(&dataset->source);
  }
  mq_free(dataset->source.entries);
  mq_arena_deinit(&dataset->source.arena);
  mq_free((void *)dataset->was_damaged);
  pthread_mutex_destroy(&dataset->hash_lock);
  mq_free(dataset);
}

const struct mq_dataset_info *mq_dataset_get_info(const struct mq_dataset *dataset) {
  return &dataset->info;
}

const char *mq_dataset_name(const struct mq_dataset *dataset, int64_t index) {
  assert(index >= 0 && index < dataset->info.n_images);
  return dataset->source.entries[index].name;
}

int64_t mq_dataset_label(const struct mq_dataset *dataset, int64_t index) {
  assert(index >= 0 && index < dataset->info.n_images);
  return dataset->source.entries[index].label;
}

const char *mq_dataset_class_name(const struct mq_dataset *dataset, int64_t label) {
  const int64_t class_index = label - dataset->label_offset;
  const struct mq_source *source = &dataset->source;
  return source->class_names && class_index >= 0 && class_index < source->n_classes
             ? source->class_names[class_index]
             : NULL;
}

int64_t mq_dataset_damaged(const struct mq_dataset *dataset) {
  return atomic_load(&dataset->n_damaged);
}

mq_status mq_dataset_check_size(const struct mq_dataset *dataset, struct mq_err *err) {
  if (dataset->info.image.dim[1] > 0) {
    return MQ_OK;
  }
  return mq_fail(err, MQ_BAD_INPUT,
                 "%s: images differ in size, set resize= and crop=, or size= (or a preset=)",
                 dataset->source.what);
}
