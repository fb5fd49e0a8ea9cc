/* What a compiled graph consists of: places (where tensors lie), buffers (memory with a lifetime) and steps.
 */
#ifndef MQ_ENGINE_STEP_H
#define MQ_ENGINE_STEP_H

#include "mqbench/engine.h"

/* One worker's memory: the places of the plan with their addresses filled in. */
struct engine_frame {
  struct mq_tensor *places;           /* of a chunk */
  struct mq_tensor *inputs, *outputs; /* of a slice: what fill and take see */
  void *block;                        /* planned buffers, then scratch */
  void *scratch;
  int64_t busy_ns; /* in steps */
  char pad[64];    /* two workers never write one cache line */
};

struct engine_step;
typedef mq_status (*engine_forward_fn)(const struct engine_step *step, struct engine_frame *frame,
                                       struct mq_err *err);

struct engine_step {
  engine_forward_fn forward;
  const void *state;            /* what the operator's compile function prepared */
  void (*release)(void *state); /* NULL: the state lives in the engine's arena */
  const int *inputs, *outputs;  /* places */
  int n_inputs, n_outputs;
  size_t scratch_bytes;
};

struct engine_place {
  struct mq_tensor tensor; /* data: a constant's memory; NULL in a buffer */
  int buffer;              /* -1: constant */
  int64_t offset_bytes;    /* of element {0, ..., 0} in the buffer */
};

struct engine_buffer {
  size_t bytes, offset;
  int first_step, last_step; /* lifetime; -1: written before the first step */
};

/* A value shown to the job's tap once `after_step` is done (-1: before the first step). */
struct engine_tap {
  int after_step;
  size_t tap;
  int place;
};

/* Where the slices of a group wait for each other: before `step`, which applies gain and shift. */
struct engine_exchange {
  int step, place; /* place: what is normalised, channels last */
  size_t index;    /* in the options' list */
  int64_t n_channels;
  float *gain, *shift;
};

struct mq_engine {
  struct mq_arena arena; /* states, constants, lists */
  struct mq_pool *pool;
  struct engine_place *places;
  struct engine_buffer *buffers;
  struct engine_step *steps;
  struct engine_tap *taps;
  size_t n_places, n_buffers, n_steps, n_taps;
  size_t capacity_places, capacity_buffers, capacity_steps, capacity_taps;
  int *inputs, *outputs;                     /* places */
  int *input_batch_dims, *output_batch_dims; /* the dimension that counts images; -1: none */
  size_t n_inputs, n_outputs;
  int64_t slice_images, chunk_images; /* a slice runs as chunks that the caches hold */
  struct engine_exchange *exchanges;  /* in the order of their steps */
  size_t n_exchanges, group_slices;
  size_t scratch_offset, block_bytes;
  struct engine_frame *frames; /* one per worker, or per slice of a group */
  unsigned n_frames;
};

/* plan.c: gives every buffer its offset by first fit over the lifetimes, scratch behind them. */
mq_status engine_plan_memory(struct mq_engine *engine, struct mq_err *err) MQ_MUST_CHECK;

/* run.c */
mq_status engine_run_steps(struct engine_frame *frame, const struct mq_engine *engine, int first, int end,
                           struct mq_err *err) MQ_MUST_CHECK;
/* exchange.c: a job whose slices run in groups. */
mq_status engine_run_groups(struct mq_engine *engine, const struct mq_engine_job *job,
                            struct mq_err *err) MQ_MUST_CHECK;

static inline struct mq_tensor *engine_input(const struct engine_step *step, struct engine_frame *frame,
                                             int i) {
  return &frame->places[step->inputs[i]];
}

static inline struct mq_tensor *engine_output(const struct engine_step *step, struct engine_frame *frame,
                                              int i) {
  return &frame->places[step->outputs[i]];
}

#endif
