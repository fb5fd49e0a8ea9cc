/* The memory of a training step: a frame per slice, per group of slices, and one for the batch. */
#ifndef MQ_ENGINE_TRAIN_FRAMES_H
#define MQ_ENGINE_TRAIN_FRAMES_H

#include "engine/train/training.h"

struct engine_frames {
  const struct mq_engine *engine;
  struct engine_frame *at[ENGINE_SCOPE_COUNT]; /* slices in order, group after group */
  size_t n[ENGINE_SCOPE_COUNT];
  void **scratch; /* by worker */
  unsigned n_workers;
};

mq_status engine_frames_init(struct engine_frames *frames, const struct mq_engine *engine, size_t n_slices,
                             size_t n_groups, struct mq_err *err) MQ_MUST_CHECK;
void engine_frames_deinit(struct engine_frames *frames);
size_t engine_frames_bytes(const struct engine_frames *frames);

/* The narrow frames (first, count) that frame `i` of the wider scope is made of. */
struct engine_range {
  size_t first, count;
};
struct engine_range engine_frames_within(const struct engine_frames *frames, engine_scope wide, size_t i,
                                         engine_scope narrow);

/* ---- phases.c: all phases with their reductions --------------------------------------------------- */
mq_status engine_phases_forward(struct engine_frames *frames, bool is_training,
                                struct mq_err *err) MQ_MUST_CHECK;
mq_status engine_phases_backward(struct engine_frames *frames, struct mq_err *err) MQ_MUST_CHECK;

/* ---- reduce.c ------------------------------------------------------------------------------------- */
/* After a forward phase: what ended in it. */
mq_status engine_reduce_values(struct engine_frames *frames, const struct engine_phase *phase,
                               struct mq_err *err) MQ_MUST_CHECK;
/* After a backward phase. */
mq_status engine_gather_gradients(struct engine_frames *frames, const struct engine_phase *phase,
                                  struct mq_err *err) MQ_MUST_CHECK;

#endif
