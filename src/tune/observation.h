/* Observers over activations: states of slices are merged as a fixed tree of the slice index within each
 * observer batch, batches folded in order. Where the order of observing cannot change a bit (counts, extrema)
 * a worker has one state for all that it sees of a batch, or of all data. */
#ifndef MQ_TUNE_OBSERVATION_H
#define MQ_TUNE_OBSERVATION_H

#include "mqbench/tune.h"
#include "tune/feed.h"

/* What is observed together and gets one scale and zero point: a point, or all points of one share. */
struct tune_unit {
  const struct mq_observer_ops *observer;
  struct mq_observer_config config;
  mq_observer_span span;
  size_t state_bytes; /* rounded up to a cache line */
  size_t offset;      /* of this unit's first state in the chunk's */
  char *running;      /* folded over the batches so far */
  size_t first_point; /* the one that is answered; the others copy it */
};

struct tune_observation {
  struct tune_feed feed; /* first: the engine's fill function finds it here */
  struct mq_prepared *prepared;
  const struct mq_calibrate_options *options;
  struct tune_unit *units;
  size_t n_units;
  size_t *unit_of; /* by point; SIZE_MAX: not an activation */
  const struct mq_value **taps;
  size_t *tap_point;
  size_t n_taps;
  char *states; /* of one chunk: ready to observe */
  size_t batch_slices, n_batches, chunk_batches;
  float **dense; /* per worker: a value whose images do not lie in one piece */
  size_t *dense_elements;
  unsigned n_workers;
  struct mq_progress progress;
};

mq_status tune_observation_init(struct tune_observation *o, struct mq_prepared *prepared,
                                struct mq_dataset *data, const struct mq_node *const *nodes,
                                const struct mq_calibrate_options *options, struct mq_pool *pool,
                                struct mq_err *err) MQ_MUST_CHECK;
/* Runs the engine over all images; afterwards every unit's `running` state is complete. */
mq_status tune_observation_run(struct tune_observation *o, struct mq_pool *pool,
                               struct mq_err *err) MQ_MUST_CHECK;
void tune_observation_deinit(struct tune_observation *o);

/* The observer of a point: its own or the run's; MQ_BAD_USAGE if it is unknown or not for this kind. */
mq_status tune_choose_observer(const struct mq_observer_ops **observer, struct mq_observer_config *config,
                               const struct mq_point *point, const struct mq_calibrate_options *options,
                               struct mq_err *err) MQ_MUST_CHECK;

#endif
