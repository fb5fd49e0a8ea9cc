/* What a compiled graph consists of: places (where tensors lie), buffers (memory with a lifetime) and steps.
 *
 * In training every place has a scope. What a slice computes is its own; what batch statistics come to
 * belongs to a group of slices; what comes from parameters alone belongs to the batch. A step sees the values
 * of its own scope and of wider ones. Going forward a narrow value becomes a wide one by a reduction over the
 * narrow frames (statistics); going backward the gradient of a wide value is the reduction of what every
 * narrow frame that read it answers. In inference everything computed is a slice's. */
#ifndef MQ_ENGINE_STEP_H
#define MQ_ENGINE_STEP_H

#include "mqbench/engine.h"

typedef enum engine_scope {
  ENGINE_SLICE,
  ENGINE_GROUP,
  ENGINE_BATCH,
  ENGINE_SCOPE_COUNT
} engine_scope;

/* The memory that steps of one scope see: the places of the plan with their addresses filled in. One per
 * worker in inference; in training one per slice, one per group and one for the batch. */
struct engine_frame {
  struct mq_tensor *places;           /* of a chunk */
  struct mq_tensor *gradients;        /* by place; data NULL where none flows; NULL in inference */
  struct mq_tensor *inputs, *outputs; /* of a slice: what fill and take see */
  void *block;                        /* planned buffers, then scratch */
  void *scratch;
  int64_t *labels;  /* of a slice in training, -1: none */
  bool is_training; /* statistics of the batch; otherwise the running ones */
  int64_t busy_ns;  /* in steps */
  char pad[64];     /* two workers never write one cache line */
};

struct engine_step;
typedef mq_status (*engine_step_fn)(const struct engine_step *step, struct engine_frame *frame,
                                    struct mq_err *err);

/* What a step does: forward beside backward. Backward reads the gradients of the outputs and writes those of
 * the inputs, or adds to them where engine_adds says so; NULL: no gradient passes. */
struct engine_function {
  engine_step_fn forward, backward;
  bool keeps_inputs, keeps_outputs; /* backward reads values of inputs, of outputs */
  uint32_t ignores;                 /* bit i: input i gets no gradient from here */
};

struct engine_step {
  const struct engine_function *function;
  const void *state;            /* what the operator's compile function prepared */
  void (*release)(void *state); /* NULL: the state lives in the engine's arena */
  const int *inputs, *outputs;  /* places */
  int n_inputs, n_outputs;
  size_t scratch_bytes;
  engine_scope scope;
  bool *adds;                 /* by input; training only */
  bool is_backward;           /* a gradient reaches its outputs and is wanted at its inputs */
  const struct mq_node *node; /* while the graph is compiled; NULL: the loss */
};

struct engine_place {
  struct mq_tensor tensor; /* data: a constant's or variable's memory; NULL in a buffer */
  int buffer;              /* -1: constant or variable */
  int64_t offset_bytes;    /* of element {0, ..., 0} in the buffer */
  engine_scope scope;
  bool is_variable; /* a parameter or state of training */
  int gradient;     /* index of its gradient, shared by views; -1: none */
};

struct engine_buffer {
  size_t bytes, offset;
  int first_step, last_step; /* lifetime; -1: written before the first step */
  engine_scope scope;
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

struct engine_training;

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
  size_t buffer_bytes[ENGINE_SCOPE_COUNT], scratch_bytes; /* of a frame */
  struct engine_frame *frames;                            /* one per worker, or per slice of a group */
  unsigned n_frames;
  struct engine_training *training; /* NULL: inference */
};

/* plan.c: gives every buffer its offset by first fit over the lifetimes, each scope by itself. */
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

/* The gradient at an input; data NULL where none is wanted. */
static inline struct mq_tensor *engine_input_gradient(const struct engine_step *step,
                                                      struct engine_frame *frame, int i) {
  return &frame->gradients[step->inputs[i]];
}

/* The gradient at an output; data NULL where none came. */
static inline struct mq_tensor *engine_output_gradient(const struct engine_step *step,
                                                       struct engine_frame *frame, int i) {
  return &frame->gradients[step->outputs[i]];
}

#endif
