/* Training: what a compiled graph has beyond inference. See step.h for scopes.
 *
 *   forward phases with their reductions -> loss -> backward phases with the reductions of gradients
 *   -> quantizers' own updates -> optimiser
 *
 * A phase is a run of steps of one scope: between two phases the frames wait for each other. */
#ifndef MQ_ENGINE_TRAIN_TRAINING_H
#define MQ_ENGINE_TRAIN_TRAINING_H

#include "engine/compile.h"

/* A parameter learns by its gradient; a state is changed by steps (running statistics). Its memory belongs to
 * the engine's arena and is what places of it show. */
typedef enum engine_variable_kind {
  ENGINE_WEIGHT,
  ENGINE_BIAS,
  ENGINE_BATCH_NORM, /* gamma, beta */
  ENGINE_QUANTIZER,  /* a point's parameters */
  ENGINE_STATE
} engine_variable_kind;

struct engine_variable {
  engine_variable_kind kind;
  const char *name;             /* of the graph's value, or of the point's tensor */
  const struct mq_value *value; /* NULL for quantizers */
  struct mq_point *point;       /* quantizers */
  float *data;
  size_t count;
  int place;
};

/* The gradient of a place (and of its views), for every scope that has a share in it. */
struct engine_gradient {
  mq_dtype dtype;     /* MQ_F32, or MQ_F64 for sums */
  int64_t count;      /* elements of the whole buffer */
  bool is_like_value; /* lies as the value does; otherwise a plain row of `count` */
  bool is_wanted;     /* a variable learns from it */
  engine_scope owner;
  int buffer[ENGINE_SCOPE_COUNT]; /* -1: no share */
};

/* Forward: `to` (wider) becomes what the narrow frames' `from` merge to, in tree order. */
typedef void (*engine_merge_fn)(void *into, const void *from, const void *state);
struct engine_reduction {
  int after_step, from, to;
  engine_merge_fn merge; /* destroys the shares; NULL: the first frame's counts */
  const void *state;
};

/* Backward: after the phase, the narrow frames' shares of a gradient, added in tree order, are written (or
 * added) to that of the owner's scope. */
struct engine_gathering {
  int gradient;
  engine_scope from;
  bool adds;
};

/* Steps that must keep their order; lanes of one phase run side by side. */
struct engine_lane {
  int *steps;
  int n_steps;
  double cost; /* bytes read and written */
};

struct engine_phase {
  engine_scope scope;
  int first_step, end_step;
  struct engine_lane *lanes; /* of the batch's phases; NULL: all steps in order */
  size_t n_lanes;
  struct engine_gathering *gatherings; /* after it, going backward */
  size_t n_gatherings;
};

/* Before the backward of `step`, this share of a gradient is set to zero. */
struct engine_zeroing {
  int step, gradient;
  engine_scope scope;
};

/* A point that learns: what the trainer needs for its own update and for what it is in the end. */
struct engine_learner {
  const struct mq_quantizer_ops *ops;
  const struct mq_quantizer_config *config;
  int parameters, statistics, form; /* places of the batch; statistics -1: none */
};

struct engine_training {
  struct mq_point *points;
  size_t n_points;
  struct engine_variable *variables;
  struct engine_gradient *gradients;
  struct engine_reduction *reductions;
  struct engine_phase *phases;
  struct engine_zeroing *zeroings; /* in backward order */
  struct engine_learner *learners;
  uint8_t *kind_of;                       /* by value index: 1 + engine_variable_kind; 0: a constant */
  struct engine_codes *codes_of;          /* by value index (codes.h); NULL: none yet */
  struct engine_quantizer **quantizer_of; /* by node index; these three die with the compiler */
  size_t n_variables, n_gradients, n_reductions, n_phases, n_zeroings, n_learners;
  size_t capacity_variables, capacity_gradients, capacity_reductions, capacity_phases, capacity_zeroings,
      capacity_learners;
  int64_t batch, n_groups, batch_per_gpu;
  double smoothing;
  bool has_float_forward, has_published_variance;
  mq_precision backward;
  int loss; /* place of the batch's sums: loss, correct, images */
};

/* ---- variables.c -------------------------------------------------------------------------------- */
/* Which constants of the graph are variables: by the operators that read them. */
void engine_find_variables(struct engine_compiler *c);
/* kind, name, value and point as given; memory of its own, copied from `from`. */
mq_status engine_new_variable(int *place, struct engine_compiler *c, const struct engine_variable *variable,
                              const struct mq_shape *shape, const float *from,
                              struct mq_err *err) MQ_MUST_CHECK;

/* ---- gradients.c -------------------------------------------------------------------------------- */
/* Instead of one like the value: a row of count elements. */
mq_status engine_set_gradient(struct engine_compiler *c, int place, mq_dtype dtype, int64_t count,
                              struct mq_err *err) MQ_MUST_CHECK;
/* Marks which steps pass gradients on, cuts phases, gives gradients their buffers and all buffers their
 * lifetimes over forward (0 .. n - 1) and backward (n .. 2n - 1). */
mq_status engine_plan_training(struct engine_compiler *c, struct mq_err *err) MQ_MUST_CHECK;
mq_status engine_add_reduction(struct engine_compiler *c, const struct engine_reduction *reduction,
                               struct mq_err *err) MQ_MUST_CHECK;

/* ---- refuse.c ----------------------------------------------------------------------------------- */
/* MQ_BAD_INPUT names a node that gradients have to pass and cannot. */
mq_status engine_check_trainable(struct engine_compiler *c, struct mq_err *err) MQ_MUST_CHECK;

/* ---- lanes.c: once phases are cut ---------------------------------------------------------------- */
mq_status engine_plan_lanes(struct engine_compiler *c, struct mq_err *err) MQ_MUST_CHECK;

/* ---- op_loss.c ---------------------------------------------------------------------------------- */
mq_status engine_compile_loss(struct engine_compiler *c, struct mq_err *err) MQ_MUST_CHECK;

/* ---- op_quantize.c ------------------------------------------------------------------------------ */
mq_status engine_train_fake_quantize(struct engine_compiler *c, const struct mq_node *node,
                                     struct mq_err *err) MQ_MUST_CHECK;
/* Derives the forms that depend on parameters alone. */
mq_status engine_train_forms(struct engine_compiler *c, struct mq_err *err) MQ_MUST_CHECK;
/* ---- op_conv.c, op_norm.c, op_fold.c ------------------------------------------------------------ */
mq_status engine_train_conv(struct engine_compiler *c, const struct mq_node *node,
                            struct mq_err *err) MQ_MUST_CHECK;
mq_status engine_train_gemm(struct engine_compiler *c, const struct mq_node *node,
                            struct mq_err *err) MQ_MUST_CHECK;
mq_status engine_train_matmul(struct engine_compiler *c, const struct mq_node *node,
                              struct mq_err *err) MQ_MUST_CHECK;
/* Sums of x and x^2 per channel (2 x n_channels doubles) in a slice, reduced to *total in its group; the
 * gradient that comes back is three rows of floats. y: a place the step names as an output too, or -1. */
mq_status engine_emit_sums(int *total, struct engine_compiler *c, const struct engine_function *function,
                           const void *state, int64_t n_channels, int x, int y,
                           struct mq_err *err) MQ_MUST_CHECK;
/* inputs {x}, outputs {sums, y}; in place: the gradients of x and y are one. */
extern const struct engine_function engine_sums_function, engine_sums_in_place_function;
/* inputs {x, gain and shift}, outputs {y} */
extern const struct engine_function engine_normalise_function;
/* What a batch's biased variance of `count` values a channel is multiplied by in running ones. */
double engine_unbiased(const struct engine_training *training, int64_t count, int64_t n_channels);
/* The ScaleChannels whose division the normalisation does on the way, or NULL. */
const struct mq_node *engine_division_before(const struct mq_node *batch_norm);
mq_status engine_train_batch_norm(struct engine_compiler *c, const struct mq_node *node,
                                  struct mq_err *err) MQ_MUST_CHECK;
/* ---- op_product.c: products of two computed operands, Gemm in general --------------------------- */
mq_status engine_train_general_gemm(struct engine_compiler *c, const struct mq_node *node,
                                    const struct engine_gemm *gemm, struct mq_err *err) MQ_MUST_CHECK;
mq_status engine_train_general_matmul(struct engine_compiler *c, const struct mq_node *node,
                                      struct mq_err *err) MQ_MUST_CHECK;

#endif
