/* From a data set into an engine: slices of images as graph inputs. Shared by everything that runs a model
 * over data. */
#ifndef MQ_TUNE_FEED_H
#define MQ_TUNE_FEED_H

#include "mqbench/tune.h"

struct tune_feed {
  struct mq_dataset *data;
  struct mq_loader *loader;
  struct mq_shape image; /* C H W */
  int64_t n_images, slice_images;
  size_t n_slices, first_slice; /* first_slice: the loader's slice that is slice 0 of the next job */
};

struct tune_feed_options {
  const int64_t *indices; /* NULL: the first n_images of the data set */
  int64_t n_images;
  int64_t slice_images; /* 0: 8 */
  unsigned loader_threads;
  const struct mq_augment *augment; /* borrowed; NULL: as in evaluation */
  uint64_t seed, epoch;             /* of the augmentation */
};

/* The model and the data must have passed mq_check_model_data. A graph whose batch is fixed sets the slice.
 */
mq_status tune_feed_init(struct tune_feed *feed, const struct mq_graph *graph, struct mq_dataset *data,
                         const struct tune_feed_options *options, struct mq_err *err) MQ_MUST_CHECK;
void tune_feed_deinit(struct tune_feed *feed);
/* For mq_engine_job.fill and mq_trainer_job.fill: labels NULL, or slice_images of them. */
mq_status tune_feed_fill(struct tune_feed *feed, size_t slice, struct mq_tensor *inputs, int64_t *labels,
                         struct mq_err *err) MQ_MUST_CHECK;
/* Images of a slice that count; the rest are zeros. */
int64_t tune_feed_valid(const struct tune_feed *feed, size_t slice);

/* Where the graph's input expects channels, height and width: dimension indices; all -1 for a flat input
 * N x (C H W). false: neither of these forms. */
struct tune_input_form {
  int channels, height, width;
};
bool tune_input_form(struct tune_input_form *form, const struct mq_shape *input,
                     const struct mq_shape *image);

/* Wall time of n_slices slices that need busy_seconds of processor time together: each round of them takes as
 * many at once as there are workers and cores for. */
double tune_alone_seconds(double busy_seconds, size_t n_slices, unsigned n_workers, unsigned n_cores);

/* Sum of n doubles as a binary tree over the index: the same bits however they were computed. */
double tune_tree_sum(const double *x, size_t n);

#endif
