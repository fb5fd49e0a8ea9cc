/* The memory of a training step: a frame per slice, per group of slices, and one for the batch. */
#ifndef MQ_ENGINE_TRAIN_FRAMES_H
#define MQ_ENGINE_TRAIN_FRAMES_H

#include "engine/train/training.h"
#include "engine/train/tree.h"

struct engine_parcel;

struct engine_frames {
  const struct mq_engine *engine;
  struct mq_collective *collective;            /* NULL: alone */
  struct engine_frame *at[ENGINE_SCOPE_COUNT]; /* slices in order, group after group */
  size_t n[ENGINE_SCOPE_COUNT];
  struct engine_range own[ENGINE_SCOPE_COUNT]; /* those this rank computes: its block of the slices, all
                                                * others. Only they have memory. */
  /* Over the frames of a narrower scope (first index) that a wider one (second) is made of. */
  struct engine_tree *trees[ENGINE_SCOPE_COUNT][ENGINE_SCOPE_COUNT];
  struct engine_parcel *parcel; /* NULL: alone */
  void **scratch;               /* by worker */
  unsigned n_workers;
  struct mq_arena arena;
};

/* collective: borrowed; NULL: alone. */
mq_status engine_frames_init(struct engine_frames *frames, const struct mq_engine *engine, size_t n_slices,
                             size_t n_groups, struct mq_collective *collective,
                             struct mq_err *err) MQ_MUST_CHECK;
void engine_frames_deinit(struct engine_frames *frames);
size_t engine_frames_bytes(const struct engine_frames *frames);

/* The narrow frames that frame `i` of the wider scope is made of. */
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

/* ---- parcel.c: what goes to all ranks --------------------------------------------------------------- */
/* A share of something that every slice has: a place's value, or some elements of a gradient. */
struct engine_item {
  const struct engine_tree *tree;
  const struct engine_reduction *reduction; /* or NULL */
  const struct engine_gathering *gathering; /* or NULL */
  size_t wide;                              /* the frame the sum belongs to */
  int64_t first, count;                     /* elements of a gradient */
  size_t bytes;
};
/* Where the share of a frame lies, how one is added to another, where the sum goes: reduce.c. */
void *engine_item_share(const struct engine_frames *frames, const struct engine_item *item, size_t frame);
void engine_item_join(const struct engine_frames *frames, const struct engine_item *item, void *into,
                      const void *from);
void engine_item_finish(const struct engine_frames *frames, const struct engine_item *item, const void *sum);

mq_status engine_parcel_create(struct engine_parcel **parcel, const struct engine_frames *frames,
                               struct mq_err *err) MQ_MUST_CHECK;
void engine_parcel_destroy(struct engine_parcel *parcel);
size_t engine_parcel_bytes(const struct engine_parcel *parcel); /* NULL: 0 */
/* Takes this rank's shares, which it has joined; sends what was put in before if there is no room. */
mq_status engine_parcel_put(struct engine_frames *frames, const struct engine_item *item,
                            struct mq_err *err) MQ_MUST_CHECK;
/* Exchanges all shares that were put in, joins them to the end and finishes the items. */
mq_status engine_parcel_send(struct engine_frames *frames, struct mq_err *err) MQ_MUST_CHECK;

/* All ranks must run on the same instruction set, from the same variables. */
mq_status engine_check_ranks(const struct engine_frames *frames, struct mq_err *err) MQ_MUST_CHECK;

#endif
