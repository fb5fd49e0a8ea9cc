/* Inside of lowering: from a prepared graph to the steps of an integer program.
 *
 * Nodes are visited in order. A node that ends a chain (a convolution with the activation function, shortcut
 * and point behind it) becomes a step or a few; the nodes in front of it in its chain become nothing. A
 * graph's value is known in up to four tensors: as codes or floats, in the user's order or channels last;
 * whoever reads one says which it needs, and what is missing is made once. */
#ifndef MQ_DEPLOY_LOWER_H
#define MQ_DEPLOY_LOWER_H

#include "mqbench/deploy.h"

#define LOWER_NONE UINT32_MAX

typedef enum lower_domain {
  LOWER_CODES,
  LOWER_FLOATS,
  LOWER_DOMAINS
} lower_domain;

typedef enum lower_form {
  LOWER_PLAIN, /* the user's dimensions behind the batch */
  LOWER_IMAGE, /* [H][W][C] of N C H W, [1][L][C] of N C L, [1][1][C] of N C */
  LOWER_FORMS
} lower_form;

struct lower_value {
  uint32_t tensor[LOWER_DOMAINS][LOWER_FORMS]; /* LOWER_NONE: not there */
};

/* What becomes one step, from `base` to `end`. */
struct lower_chain {
  const struct mq_node *base, *end;
  const struct mq_value *bias;     /* constant added behind a MatMul, or NULL */
  const struct mq_node *norm;      /* batch normalisation that was kept, or NULL */
  const struct mq_value *shortcut; /* added to a layer's sum (trt_model), or NULL */
  float clip_lo, clip_hi;          /* activation function; infinite: none */
  const struct mq_point *point;    /* whose codes it makes; NULL: none */
  const struct mq_value *result;   /* behind all of it */
};

struct lowering {
  const struct mq_prepared *prepared;
  const struct mq_target *target;
  mq_arithmetic_kind kind;
  const struct mq_program_arithmetic *arithmetic;
  struct mq_arena *arena; /* of the result */
  struct mq_arena scratch;
  struct lower_value *values;    /* by index of the graph's value */
  const struct mq_point **grids; /* likewise: on whose codes the value lies; NULL: float */
  struct lower_chain **chains;   /* by index of the chain's last node */
  bool *is_inner;                /* by index: within a chain, not its end */
  const struct mq_node *node;    /* at hand, for messages */
  struct mq_program_tensor *tensors;
  struct mq_program_step *steps, ignored; /* ignored: what is written to after a failure */
  uint32_t n_tensors, n_steps, room_tensors, room_steps;
  struct mq_err *err;
  mq_status status; /* the first failure; calls after it do nothing */
};

/* One for each operator of ops.def: deploy_lower_NAME. */
struct lower_op {
  bool is_layer;   /* takes a bias, a norm, a shortcut */
  bool takes_clip; /* what follows as its own activation function */
  bool (*makes_codes)(const struct lowering *l,
                      const struct lower_chain *chain); /* of a point; NULL: never */
  /* Whether the output lies on the grid of input 0. NULL: never. */
  bool (*keeps_grid)(const struct lowering *l, const struct mq_node *node);
  void (*emit)(struct lowering *l, const struct lower_chain *chain);
};
const struct lower_op *lower_op_of(const struct mq_node *node);

/* ---- Building ------------------------------------------------------------------------------------------ */
/* "model: node 'x' (Conv): ..." */
void lower_fail(struct lowering *l, const char *format, ...) MQ_PRINTF(2, 3);
/* Zeroed, of the result or until the end of lowering. NULL after a failure. */
void *lower_alloc(struct lowering *l, size_t count, size_t bytes);
void *lower_scratch(struct lowering *l, size_t count, size_t bytes);
/* The tensor of a value, made from what there is of it. LOWER_NONE after a failure. */
uint32_t lower_read(struct lowering *l, const struct mq_value *value, lower_domain domain, lower_form form);
/* A form in which the value is there already (a dequantized one in that of its codes). */
lower_form lower_form_of(const struct lowering *l, const struct mq_value *value);
/* A new tensor for the value: codes of `point`, or floats where that is NULL. */
uint32_t lower_make(struct lowering *l, const struct mq_value *value, const struct mq_point *point,
                    lower_form form);
/* A tensor without a name, like tensor `like` but of that shape. */
uint32_t lower_make_like(struct lowering *l, uint32_t like, int32_t rank, const int32_t *dim);
/* The constant as floats of the rank that `like` has in `form`: broadcast to the right. */
uint32_t lower_constant(struct lowering *l, const struct mq_value *value, const struct mq_value *like,
                        lower_form form);
/* n floats along the axis of tensors of that rank, which repeat along all others. */
uint32_t lower_floats_along(struct lowering *l, int32_t rank, int axis, const float *floats, int32_t n);
/* `to` is the same tensors as `from`. */
void lower_alias(struct lowering *l, const struct mq_value *to, const struct mq_value *from);
/* Axis of the tensor that is the user's `axis` (from 1) of `value`. */
int lower_axis(const struct mq_value *value, lower_form form, int axis);
/* Whole numbers of a window or an axis; fails beyond the program's limit. */
int32_t lower_int(struct lowering *l, int64_t value);
/* Valid until the next step is added; never NULL. Named after l->node. */
struct mq_program_step *lower_step(struct lowering *l, mq_step_kind kind, const uint32_t *inputs,
                                   uint32_t n_inputs, uint32_t output);
/* The step makes codes of its output: arithmetic, lo and hi, with the activation function. */
void lower_clamp(struct lowering *l, struct mq_program_step *step, float clip_lo, float clip_hi);
void lower_set_window(struct lowering *l, struct mq_program_window *to, const struct mq_window *from);

/* ---- Knowing ------------------------------------------------------------------------------------------- */
const struct mq_point *lower_point_of(const struct lowering *l,
                                      const struct mq_node *node); /* FakeQuantize */
/* The point of a layer's weights; NULL: they are not quantized. */
const struct mq_point *lower_weights_of(const struct lowering *l, const struct mq_node *node);
bool lower_is_island(const struct lowering *l, const struct mq_node *node);
const struct mq_point *lower_grid_of(const struct lowering *l, const struct mq_value *value);
bool lower_same_codes(const struct mq_point *a, const struct mq_point *b);
/* Codes where the output lies on a grid, else floats. */
lower_domain lower_domain_of(const struct lowering *l, const struct mq_node *node);
/* Finds grids and chains of all nodes. */
void lower_find_chains(struct lowering *l);

/* ---- Steps shared by operators ------------------------------------------------------------------------- */
void lower_emit_alias(struct lowering *l, const struct lower_chain *chain);
/* Behind `tensor`, a value in floats in that form: quantized to the point. */
void lower_emit_quantize(struct lowering *l, const struct mq_value *x, const struct mq_value *y,
                         const struct mq_point *point);
/* One gather along the user's axis: from x to a tensor of y. */
uint32_t lower_emit_gather(struct lowering *l, uint32_t x, int axis, const int32_t *index, int32_t n);
/* `last` holds the node's output, whose name goes to it. */
void lower_emit_end(struct lowering *l, const struct mq_node *node, uint32_t last, lower_form form);

#endif
