/* Moves the parameters along their gradients: SGD with momentum (Nesterov) or Adam, with the weight decay of
 * each parameter's kind. Parameters that a method learns by Adam at a rate of its own always do. */
#ifndef MQ_ENGINE_TRAIN_OPTIMISER_H
#define MQ_ENGINE_TRAIN_OPTIMISER_H

#include "engine/train/frames.h"

/* A run of one parameter's floats that moves in one way. */
struct engine_mover {
  float *values, *first, *second; /* momentum or Adam's moments; second NULL for SGD */
  const float *gradient;
  size_t count;
  double decay, adam_rate; /* adam_rate > 0: Adam at this rate */
};

struct engine_optimiser {
  struct engine_frames *frames;
  struct mq_trainer_options options;
  struct engine_mover *movers;
  struct mq_trainer_state *states; /* the movers' moments, for checkpoints */
  size_t n_movers, n_states;
  int64_t n_steps;
  struct mq_arena arena;
};

mq_status engine_optimiser_init(struct engine_optimiser *optimiser, struct engine_frames *frames,
                                const struct mq_trainer_options *options, struct mq_err *err) MQ_MUST_CHECK;
void engine_optimiser_deinit(struct engine_optimiser *optimiser);
/* *is_finite: no parameter has become NaN or infinite. */
mq_status engine_optimiser_step(bool *is_finite, struct engine_optimiser *optimiser, double rate,
                                struct mq_err *err) MQ_MUST_CHECK;

#endif
