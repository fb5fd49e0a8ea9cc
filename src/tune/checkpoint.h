/* A training run's state on disk, so that it can go on where it stopped.
 *
 * The file: "MQCKPT02", a header of little-endian 64-bit numbers (step, the trainer's step, entries, entries
 * of the average, curve points, bytes of notes, and the sums of the curve point under way), the identity,
 * every entry with its name, the moving average, the curve, the notes, and the SHA-256 of everything before.
 */
#ifndef MQ_TUNE_CHECKPOINT_H
#define MQ_TUNE_CHECKPOINT_H

#include "mqbench/tune.h"

/* Means of the curve point under way are made of these. */
struct tune_interval {
  double loss; /* sum over steps of loss x images */
  int64_t correct, images;
};

/* What a checkpoint holds besides the trainer's own state. Arrays are owned by whoever runs. */
struct tune_progress {
  int64_t step;
  struct tune_interval interval;
  struct mq_curve_point *curve;
  size_t n_curve, capacity;
  float *average; /* of all variables, one after the other; NULL: none is kept */
  size_t n_average;
  void *notes; /* of whoever judges (mq_train_options.note): borrowed for writing, from mq_alloc after reading
                */
  size_t n_notes;
};

mq_status tune_checkpoint_write(const char *path, const char *identity, const struct mq_trainer *trainer,
                                const struct tune_progress *progress, struct mq_err *err) MQ_MUST_CHECK;
/* Into a trainer of the same run; progress->average has n_average floats, progress->curve room for
 * `capacity`. A file that is damaged, or another run's, is MQ_BAD_INPUT, and nothing has changed. */
mq_status tune_checkpoint_read(const char *path, const char *identity, struct mq_trainer *trainer,
                               struct tune_progress *progress, struct mq_err *err) MQ_MUST_CHECK;

#endif
