/* Slices decoded ahead. The one place besides base/pool that has threads: decoding must go on while the
 * pool's workers compute, so it cannot be a task of theirs.
 *
 * Slots move in a circle: free -> a thread fills one with the next slice -> ready -> taken -> given back. At
 * most `ahead` slots are being filled or ready; taken ones come on top. Slices are assigned in order, so the
 * lowest one that nobody has yet taken is always ready or on its way. */
#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "data/augment.h"
#include "data/dataset.h"

#define MAX_THREADS 256

struct slot {
  struct slot *next_free;
  float *pixels;
  int64_t *labels, *indices;
  int64_t n_valid;
  bool is_ready, is_taken;
};

struct mq_loader {
  struct mq_dataset *dataset;
  int64_t *indices; /* own copy; NULL: all in order */
  int64_t n_indices, slice_images, n_slices, ahead;
  size_t image_count; /* floats of an image */
  bool has_augment;
  struct mq_augment augment;
  uint64_t seed, epoch;
  unsigned n_threads;
  pthread_t threads[MAX_THREADS];

  pthread_mutex_t lock;
  pthread_cond_t is_changed;
  struct slot **slots; /* by slice: NULL before it is assigned and after it was given back */
  struct slot *free_slots;
  int64_t next;      /* next slice to assign to a thread */
  int64_t n_waiting; /* assigned and not taken: at most `ahead` */
  bool is_stopping;
  int64_t failed_slice; /* -1: none */
  struct mq_err failure;
};

static void slot_destroy(struct slot *slot) {
  if (slot) {
    mq_free(slot->pixels);
    mq_free(slot->labels);
    mq_free(slot->indices);
    mq_free(slot);
  }
}

static mq_status slot_create(struct slot **out, const struct mq_loader *loader, struct mq_err *err) {
  *out = NULL;
  struct slot *slot = mq_alloc(1, sizeof *slot);
  const size_t n = (size_t)loader->slice_images;
  if (slot) {
    slot->pixels = mq_alloc(n, loader->image_count * sizeof *slot->pixels);
    slot->labels = mq_alloc(n, sizeof *slot->labels);
    slot->indices = mq_alloc(n, sizeof *slot->indices);
  }
  if (!slot || !slot->pixels || !slot->labels || !slot->indices) {
    slot_destroy(slot);
    return mq_fail_memory(err, "slice of images");
  }
  *out = slot;
  return MQ_OK;
}

/* A slot for a slice; call with the lock held. */
static mq_status take_free_slot(struct slot **slot, struct mq_loader *loader, struct mq_err *err) {
  *slot = loader->free_slots;
  if (*slot) {
    loader->free_slots = (*slot)->next_free;
    return MQ_OK;
  }
  return slot_create(slot, loader, err);
}

static void free_slot(struct mq_loader *loader, struct slot *slot) {
  slot->next_free = loader->free_slots;
  slot->is_ready = slot->is_taken = false;
  loader->free_slots = slot;
}

static mq_status read_image(float *pixels, struct mq_loader *loader, int64_t index, struct mq_err *err) {
  return loader->has_augment ? mq_dataset_read_augmented(pixels, loader->dataset, index, &loader->augment,
                                                         loader->seed, loader->epoch, err)
                             : mq_dataset_read(pixels, loader->dataset, index, err);
}

static mq_status fill_slot(struct slot *slot, struct mq_loader *loader, int64_t slice, struct mq_err *err) {
  const int64_t first = slice * loader->slice_images, left = loader->n_indices - first;
  slot->n_valid = left < loader->slice_images ? left : loader->slice_images;
  for (int64_t i = 0; i < loader->slice_images; i++) {
    float *pixels = slot->pixels + (size_t)i * loader->image_count;
    if (i >= slot->n_valid) {
      memset(pixels, 0, loader->image_count * sizeof *pixels);
      slot->indices[i] = slot->labels[i] = -1;
      continue;
    }
    const int64_t index = loader->indices ? loader->indices[first + i] : first + i;
    slot->indices[i] = index;
    slot->labels[i] = mq_dataset_label(loader->dataset, index);
    const mq_status status =
        mq_cancelled() ? mq_fail(err, MQ_CANCELLED, "cancelled") : read_image(pixels, loader, index, err);
    if (status != MQ_OK) {
      return status;
    }
  }
  return MQ_OK;
}

/* With the lock held. The failure of the lowest slice is the one that is told; no new slices after it. */
static void note_failure(struct mq_loader *loader, int64_t slice, const struct mq_err *failure) {
  if (loader->failed_slice < 0 || slice < loader->failed_slice) {
    loader->failed_slice = slice;
    loader->failure = *failure;
  }
}

static bool can_assign(const struct mq_loader *loader) {
  return loader->failed_slice < 0 && loader->next < loader->n_slices && loader->n_waiting < loader->ahead;
}

static void *decode_ahead(void *context) {
  struct mq_loader *loader = context;
  struct mq_err err;
  pthread_mutex_lock(&loader->lock);
  for (;;) {
    while (!loader->is_stopping && !can_assign(loader)) {
      pthread_cond_wait(&loader->is_changed, &loader->lock);
    }
    if (loader->is_stopping) {
      break;
    }
    const int64_t slice = loader->next++;
    loader->n_waiting++;
    struct slot *slot = NULL;
    mq_status status = take_free_slot(&slot, loader, &err);
    loader->slots[slice] = slot;
    if (status == MQ_OK) {
      pthread_mutex_unlock(&loader->lock);
      status = fill_slot(slot, loader, slice, &err);
      pthread_mutex_lock(&loader->lock);
    }
    if (status == MQ_OK) {
      slot->is_ready = true;
    } else {
      note_failure(loader, slice, &err);
    }
    pthread_cond_broadcast(&loader->is_changed);
  }
  pthread_mutex_unlock(&loader->lock);
  return NULL;
}

static mq_status copy_indices(struct mq_loader *loader, const struct mq_loader_options *options,
                              struct mq_err *err) {
  const int64_t n_images = loader->dataset->info.n_images;
  loader->n_indices = options->indices ? options->n_indices : n_images;
  if (!options->indices) {
    return MQ_OK;
  }
  loader->indices = mq_alloc((size_t)loader->n_indices + 1, sizeof *loader->indices);
  if (!loader->indices) {
    return mq_fail_memory(err, "list of images");
  }
  for (int64_t i = 0; i < loader->n_indices; i++) {
    assert(options->indices[i] >= 0 && options->indices[i] < n_images);
    loader->indices[i] = options->indices[i];
  }
  return MQ_OK;
}

static mq_status start_threads(struct mq_loader *loader, unsigned n, struct mq_err *err) {
  n = n > MAX_THREADS ? MAX_THREADS : n;
  for (unsigned i = 0; i < n; i++) {
    if (pthread_create(&loader->threads[i], NULL, decode_ahead, loader) != 0) {
      return mq_fail(err, MQ_FAILED, "cannot start a decoding thread");
    }
    loader->n_threads++;
  }
  return MQ_OK;
}

mq_status mq_loader_create(struct mq_loader **out, struct mq_dataset *dataset,
                           const struct mq_loader_options *options, struct mq_err *err) {
  *out = NULL;
  assert(options->slice_images > 0);
  mq_status status = mq_dataset_check_size(dataset, err);
  if (status == MQ_OK && options->augment) {
    status = mq_augment_check(options->augment, dataset->source.ops->floats != NULL, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_loader *loader = mq_alloc(1, sizeof *loader);
  if (!loader) {
    return mq_fail_memory(err, "loader");
  }
  loader->dataset = dataset;
  loader->slice_images = options->slice_images;
  loader->image_count = (size_t)mq_shape_count(&dataset->info.image);
  loader->has_augment = options->augment != NULL;
  loader->augment = options->augment ? *options->augment : (struct mq_augment){0};
  loader->seed = options->seed;
  loader->epoch = options->epoch;
  loader->failed_slice = -1;
  loader->ahead = options->ahead > 0 ? options->ahead : 2 * (int64_t)options->n_threads;
  pthread_mutex_init(&loader->lock, NULL);
  pthread_cond_init(&loader->is_changed, NULL);
  status = copy_indices(loader, options, err);
  if (status != MQ_OK) {
    goto done;
  }
  loader->n_slices = (loader->n_indices + loader->slice_images - 1) / loader->slice_images;
  loader->slots = mq_alloc((size_t)loader->n_slices + 1, sizeof(struct slot *));
  status = loader->slots ? start_threads(loader, options->n_threads, err) : mq_fail_memory(err, "loader");
done:
  if (status != MQ_OK) {
    mq_loader_destroy(loader);
    return status;
  }
  *out = loader;
  return MQ_OK;
}

void mq_loader_destroy(struct mq_loader *loader) {
  if (!loader) {
    return;
  }
  pthread_mutex_lock(&loader->lock);
  loader->is_stopping = true;
  pthread_cond_broadcast(&loader->is_changed);
  pthread_mutex_unlock(&loader->lock);
  for (unsigned i = 0; i < loader->n_threads; i++) {
    pthread_join(loader->threads[i], NULL);
  }
  for (int64_t i = 0; loader->slots && i < loader->n_slices; i++) {
    slot_destroy(loader->slots[i]);
  }
  while (loader->free_slots) {
    struct slot *next = loader->free_slots->next_free;
    slot_destroy(loader->free_slots);
    loader->free_slots = next;
  }
  pthread_cond_destroy(&loader->is_changed);
  pthread_mutex_destroy(&loader->lock);
  mq_free(loader->slots);
  mq_free(loader->indices);
  mq_free(loader);
}

int64_t mq_loader_slices(const struct mq_loader *loader) {
  return loader->n_slices;
}

/* Without threads: decoded here, outside of the lock. */
static mq_status take_now(struct slot **slot, struct mq_loader *loader, int64_t slice, struct mq_err *err) {
  pthread_mutex_lock(&loader->lock);
  assert(!loader->slots[slice]);
  mq_status status = take_free_slot(slot, loader, err);
  loader->slots[slice] = *slot;
  pthread_mutex_unlock(&loader->lock);
  if (status == MQ_OK) {
    status = fill_slot(*slot, loader, slice, err);
  }
  if (status != MQ_OK && *slot) {
    mq_loader_give_back(loader, slice);
  }
  return status;
}

static mq_status take_ready(struct slot **slot, struct mq_loader *loader, int64_t slice, struct mq_err *err) {
  mq_status status = MQ_OK;
  pthread_mutex_lock(&loader->lock);
  while ((loader->failed_slice < 0 || slice < loader->failed_slice) &&
         !(loader->slots[slice] && loader->slots[slice]->is_ready)) {
    pthread_cond_wait(&loader->is_changed, &loader->lock);
  }
  if (loader->failed_slice >= 0 && slice >= loader->failed_slice) { /* later ones fail too, ready or not */
    status = loader->failure.status;
    if (err) {
      *err = loader->failure;
    }
  } else {
    *slot = loader->slots[slice];
    assert(!(*slot)->is_taken);
    (*slot)->is_taken = true;
    loader->n_waiting--;
    pthread_cond_broadcast(&loader->is_changed);
  }
  pthread_mutex_unlock(&loader->lock);
  return status;
}

mq_status mq_loader_take(struct mq_slice *slice, struct mq_loader *loader, int64_t i, struct mq_err *err) {
  assert(i >= 0 && i < loader->n_slices);
  *slice = (struct mq_slice){0};
  struct slot *slot = NULL;
  mq_status status = loader->n_threads ? take_ready(&slot, loader, i, err) : take_now(&slot, loader, i, err);
  if (status == MQ_OK) {
    *slice = (struct mq_slice){
        .pixels = slot->pixels, .labels = slot->labels, .indices = slot->indices, .n_valid = slot->n_valid};
  }
  return status;
}

void mq_loader_give_back(struct mq_loader *loader, int64_t i) {
  pthread_mutex_lock(&loader->lock);
  struct slot *slot = loader->slots[i];
  assert(slot);
  loader->slots[i] = NULL;
  free_slot(loader, slot);
  pthread_mutex_unlock(&loader->lock);
}
