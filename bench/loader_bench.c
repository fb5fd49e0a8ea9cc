/* What training data cost, one core: images per second through the loader, in the caller's thread, epoch by
 * epoch (later epochs find decoded images in memory), and microseconds to create and destroy a loader.
 * Usage: loader_bench [DATA [ISA [plain | colours]]]; the augmentation is the pipeline's own, none (plain) or
 * with ColorJitter (colours). */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mqbench/data.h"
#include "mqbench/kernel.h"

enum {
  SLICE = 8,
  EPOCHS = 4,
  LOADERS = 200
};

/* Processor seconds: other programs do not count. */
static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static mq_status start(const char *name, struct mq_err *err) {
  mq_isa isa = MQ_ISA_NATIVE;
  const mq_status status = mq_isa_parse(&isa, name, err);
  return status == MQ_OK ? mq_kernel_start(isa, err) : status;
}

static mq_status open_data(struct mq_dataset **data, const char *argument, struct mq_err *err) {
  struct mq_data_spec spec = {0};
  mq_status status = mq_data_spec_parse(&spec, argument, err);
  if (status == MQ_OK) {
    status = mq_dataset_open(data, &spec, err);
    mq_data_spec_deinit(&spec);
  }
  return status;
}

static mq_status run_epoch(struct mq_dataset *data, struct mq_loader_options *options, struct mq_err *err) {
  int64_t *order = NULL;
  struct mq_loader *loader = NULL;
  mq_status status = mq_dataset_shuffle(&order, data, options->seed, options->epoch, err);
  options->indices = order;
  options->n_indices = mq_dataset_get_info(data)->n_images;
  if (status == MQ_OK) {
    status = mq_loader_create(&loader, data, options, err);
  }
  for (int64_t i = 0; status == MQ_OK && i < mq_loader_slices(loader); i++) {
    struct mq_slice slice;
    status = mq_loader_take(&slice, loader, i, err);
    if (status == MQ_OK) {
      mq_loader_give_back(loader, i);
    }
  }
  mq_loader_destroy(loader);
  mq_free(order);
  return status;
}

static mq_status time_loaders(struct mq_dataset *data, struct mq_loader_options options, unsigned n_threads,
                              struct mq_err *err) {
  options.indices = NULL;
  options.n_threads = n_threads;
  const double begin = mq_now();
  for (int i = 0; i < LOADERS; i++) {
    struct mq_loader *loader = NULL;
    const mq_status status = mq_loader_create(&loader, data, &options, err);
    if (status != MQ_OK) {
      return status;
    }
    mq_loader_destroy(loader);
  }
  printf("loader with %u threads: %.0f us to create and destroy\n", n_threads,
         1e6 * (mq_now() - begin) / LOADERS);
  return MQ_OK;
}

int main(int argc, char **argv) {
  struct mq_err err = {0};
  struct mq_dataset *data = NULL;
  const char *argument = argc > 1 ? argv[1] : "fractal", *mode = argc > 3 ? argv[3] : "";
  mq_status status = start(argc > 2 ? argv[2] : "native", &err);
  if (status == MQ_OK) {
    status = open_data(&data, argument, &err);
  }
  if (status == MQ_OK) {
    struct mq_augment augment = mq_augment_default(data);
    if (!strcmp(mode, "colours")) {
      augment.brightness = augment.contrast = augment.saturation = 0.2;
      augment.hue = 0.1;
    }
    struct mq_loader_options options = {.slice_images = SLICE,
                                        .augment = strcmp(mode, "plain") != 0 ? &augment : NULL};
    const double n = (double)mq_dataset_get_info(data)->n_images;
    for (; options.epoch < EPOCHS && status == MQ_OK; options.epoch++) {
      const double begin = now();
      status = run_epoch(data, &options, &err);
      printf("epoch %d: %.0f images/s\n", (int)options.epoch, n / (now() - begin));
    }
    for (unsigned n_threads = 0; n_threads < 3 && status == MQ_OK; n_threads += 2) {
      status = time_loaders(data, options, n_threads, &err);
    }
  }
  mq_dataset_close(data);
  if (status != MQ_OK) {
    fprintf(stderr, "loader_bench: %s\n", err.message);
  }
  return status == MQ_OK ? 0 : 1;
}
