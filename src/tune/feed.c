#include "tune/feed.h"

#include <string.h>

bool tune_input_form(struct tune_input_form *form, const struct mq_shape *input,
                     const struct mq_shape *image) {
  static const struct tune_input_form forms[] = {{1, 2, 3}, {3, 1, 2}};
  int64_t channels = image->dim[0], height = image->dim[1], width = image->dim[2];
  for (int i = 0; i < 2 && input->rank == 4; i++) {
    *form = forms[i];
    if (input->dim[form->channels] == channels && input->dim[form->height] == height &&
        input->dim[form->width] == width) {
      return true;
    }
  }
  *form = (struct tune_input_form){-1, -1, -1};
  int64_t n = input->rank > 1 ? 1 : -1;
  for (int i = 1; i < input->rank; i++) {
    n *= input->dim[i];
  }
  return input->rank != 4 && n == channels * height * width;
}

mq_status tune_feed_init(struct tune_feed *feed, const struct mq_graph *graph, struct mq_dataset *data,
                         const struct tune_feed_options *options, struct mq_err *err) {
  *feed = (struct tune_feed){.data = data,
                             .image = mq_dataset_get_info(data)->image,
                             .n_images = options->n_images,
                             .slice_images = options->slice_images > 0 ? options->slice_images : 8};
  const struct mq_shape *input = &graph->inputs[0]->shape;
  if (!mq_shape_has_batch(input)) {
    feed->slice_images = input->dim[0];
  }
  struct mq_loader_options loader = {.indices = options->indices,
                                     .n_indices = options->n_images,
                                     .slice_images = feed->slice_images,
                                     .n_threads = options->loader_threads,
                                     .augment = options->augment,
                                     .seed = options->seed,
                                     .epoch = options->epoch};
  feed->n_slices = (size_t)((feed->n_images + feed->slice_images - 1) / feed->slice_images);
  return mq_loader_create(&feed->loader, data, &loader, err);
}

void tune_feed_deinit(struct tune_feed *feed) {
  mq_loader_destroy(feed->loader);
  *feed = (struct tune_feed){0};
}

int64_t tune_feed_valid(const struct tune_feed *feed, size_t slice) {
  int64_t first = (int64_t)(feed->first_slice + slice) * feed->slice_images;
  int64_t left = feed->n_images - first;
  return left < feed->slice_images ? left : feed->slice_images;
}

/* The input seen as N C H W, whatever form the model wants. */
static struct mq_tensor as_nchw(const struct mq_tensor *input, const struct mq_shape *image, int64_t n) {
  struct tune_input_form form;
  struct mq_shape shape = {.rank = 4, .dim = {n, image->dim[0], image->dim[1], image->dim[2]}};
  bool fits = tune_input_form(&form, &input->shape, image);
  if (!fits || form.channels < 0) {
    return mq_tensor_view(input->data, MQ_F32, &shape, NULL);
  }
  int64_t stride[MQ_MAX_RANK] = {input->stride[0], input->stride[form.channels], input->stride[form.height],
                                 input->stride[form.width]};
  return mq_tensor_view(input->data, MQ_F32, &shape, stride);
}

mq_status tune_feed_fill(struct tune_feed *feed, size_t slice, struct mq_tensor *inputs, int64_t *labels,
                         struct mq_err *err) {
  struct mq_slice pixels;
  int64_t index = (int64_t)(feed->first_slice + slice), stride[MQ_MAX_RANK];
  mq_status status = mq_loader_take(&pixels, feed->loader, index, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_tensor to = as_nchw(&inputs[0], &feed->image, feed->slice_images);
  if (mq_tensor_is_channels_last(&to)) {
    memcpy(to.data, pixels.pixels, (size_t)mq_shape_count(&to.shape) * sizeof(float));
  } else {
    mq_stride_channels_last(stride, &to.shape);
    struct mq_tensor from =
        mq_tensor_view((void *)(uintptr_t)pixels.pixels, MQ_F32, &to.shape, stride); /* only read */
    mq_tensor_copy(&to, &from);
  }
  for (int64_t i = 0; labels && i < feed->slice_images; i++) {
    labels[i] = i < pixels.n_valid ? pixels.labels[i] : -1;
  }
  mq_loader_give_back(feed->loader, index);
  return MQ_OK;
}

double tune_tree_sum(const double *x, size_t n) {
  if (n <= 2) {
    return n == 0 ? 0 : n == 1 ? x[0] : x[0] + x[1];
  }
  size_t half = 1; /* the largest power of two below n, so that the tree does not depend on n's left part */
  while (2 * half < n) {
    half *= 2;
  }
  return tune_tree_sum(x, half) + tune_tree_sum(x + half, n - half);
}

double tune_alone_seconds(double busy_seconds, size_t n_slices, unsigned n_workers, unsigned n_cores) {
  size_t at_once = n_workers < n_cores ? n_workers : n_cores;
  if (n_slices == 0 || at_once == 0) {
    return 0;
  }
  size_t rounds = (n_slices + at_once - 1) / at_once;
  return busy_seconds / (double)n_slices * (double)rounds;
}
