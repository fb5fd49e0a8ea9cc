/* The exact simulation: the graph as the engine runs it, but wherever a value becomes a code it does so in
 * the target's own arithmetic (src/quant/exact.h), from sums of integers.
 *
 * Between nodes values stay float32, real numbers s (q - z) on the grid of their point, which stand for their
 * codes exactly; so whatever only moves values, and whatever is computed in floats, is the engine's own. What
 * differs are groups of nodes: a layer, an add or an average with the activation function behind it and the
 * point that makes its result codes. */
#ifndef MQ_ENGINE_EXACT_H
#define MQ_ENGINE_EXACT_H

#include "engine/exact/geometry.h"
#include "quant/exact.h"

typedef enum exact_kind {
  EXACT_LAYER = 1,
  EXACT_ADD,
  EXACT_AVERAGE,
  EXACT_FLOAT_LAYER, /* kept out of quantization */
  EXACT_POINT, /* floats that become codes: the network's input, and after everything computed in floats */
} exact_kind;

struct exact_group {
  exact_kind kind;
  const struct mq_node *head;     /* the layer, add, average or point */
  const struct mq_value *bias;    /* of a layer, or NULL */
  float clip_lo, clip_hi;         /* activation functions on the way to the point; infinite: none */
  const struct mq_value *output;  /* of the last node */
  const struct mq_qparams *x[2];  /* grids of the operands; a point: none */
  const struct mq_point *weights; /* of a layer */
  const struct mq_tensor *weight_values;
  const struct mq_qparams *y; /* grid of the output; NULL: it is float */
  bool is_mean;               /* an average over all pixels */
};

struct engine_exact {
  const struct mq_exact_arithmetic *arithmetic;
  struct exact_group **groups;     /* by node index, of its head; or NULL */
  const struct mq_qparams **grids; /* by value index; NULL: no grid */
};

/* groups.c: finds the groups; each of more than one node becomes a chain of the compiler. */
mq_status engine_exact_plan(struct engine_compiler *c, struct mq_err *err) MQ_MUST_CHECK;
/* Compiles the group whose head the node is; *is_taken false: it is the engine's. */
mq_status engine_exact_compile(bool *is_taken, struct engine_compiler *c, const struct mq_node *node,
                               struct mq_err *err) MQ_MUST_CHECK;

mq_status exact_compile_layer(struct engine_compiler *c, const struct exact_group *group,
                              struct mq_err *err) MQ_MUST_CHECK;
mq_status exact_compile_float_layer(struct engine_compiler *c, const struct exact_group *group,
                                    struct mq_err *err) MQ_MUST_CHECK;
/* The bias of a layer, one for each output or one for all; NULL: none. */
mq_status exact_read_bias(const float **values, const struct exact_group *group, int64_t n_outputs,
                          struct mq_err *err) MQ_MUST_CHECK;
mq_status exact_compile_add(struct engine_compiler *c, const struct exact_group *group,
                            struct mq_err *err) MQ_MUST_CHECK;
mq_status exact_compile_average(struct engine_compiler *c, const struct exact_group *group,
                                struct mq_err *err) MQ_MUST_CHECK;
mq_status exact_compile_point(struct engine_compiler *c, const struct exact_group *group,
                              struct mq_err *err) MQ_MUST_CHECK;

/* ---- codes.c ------------------------------------------------------------------------------------ */
struct mq_exact_grid exact_grid(const struct mq_qparams *q);
/* The grid of a group's output, tighter where an activation function is part of the group. */
struct mq_exact_grid exact_output_grid(const struct engine_compiler *c, const struct exact_group *group);
/* Codes of values that lie on the grid, and back: nothing is rounded. */
void exact_codes(int32_t *q, const float *x, int64_t n, const struct mq_exact_grid *grid);
void exact_values(float *x, const int32_t *q, int64_t n, const struct mq_exact_grid *grid);

/* ---- sums.c: sum (q - z)(w - zw) of every output element of a layer -------------------------------- */
struct exact_sums;
struct exact_sums_options {
  struct exact_geometry g;
  const int32_t *codes; /* of the weights, row-major in g.weights */
  int32_t *zero_point;  /* O */
  int32_t code_min, code_max;
  struct mq_exact_grid x;
};
/* In the engine's arena but for what exact_sums_release frees. */
mq_status exact_sums_create(struct exact_sums **sums, struct engine_compiler *c,
                            const struct exact_sums_options *options, struct mq_err *err) MQ_MUST_CHECK;
void exact_sums_release(struct exact_sums *sums);
size_t exact_sums_scratch_bytes(const struct exact_sums *sums);
/* What exact_sums_pixel reads is made in `scratch`; x: values on the grid. */
mq_status exact_sums_begin(const struct exact_sums *sums, const float *x, void *scratch,
                           struct mq_err *err) MQ_MUST_CHECK;
/* The O sums of an output pixel, counted through N, H, W. */
void exact_sums_pixel(int64_t *sum, const struct exact_sums *sums, const void *scratch, int64_t pixel);
/* The largest magnitude that a channel's sum can have. */
double exact_sums_largest(const struct exact_sums *sums, int64_t channel);

#endif
