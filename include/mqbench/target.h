/* Targets: what a piece of hardware quantizes, and how. Data only, read from targets/NAME.yaml. */
#ifndef MQBENCH_TARGET_H
#define MQBENCH_TARGET_H

#include "mqbench/graph.h"
#include "mqbench/quant.h"

typedef enum mq_add_rule {
  MQ_ADD_NONE,     /* adds stay float */
  MQ_ADD_EPILOGUE, /* the main branch's output goes into the add unquantized (graph 2) */
  MQ_ADD_BOTH,     /* both operands are points (graph 3) */
} mq_add_rule;
typedef enum mq_pool_rule {
  MQ_POOL_NONE,               /* averages stay float */
  MQ_POOL_OUTPUT,             /* a point on the output of every averaging pool */
  MQ_POOL_INPUT_SCALE,        /* averages pass their input's scale on; global ones get a point */
  MQ_POOL_INPUT_SCALE_GLOBAL, /* global ones pass it on too (fbgemm) */
} mq_pool_rule;
typedef enum mq_concat_rule {
  MQ_CONCAT_NONE,
  MQ_CONCAT_SHARED
} mq_concat_rule;
typedef enum mq_bias_form {
  MQ_BIAS_FLOAT,
  MQ_BIAS_INT32,
  MQ_BIAS_POT8
} mq_bias_form;

typedef enum mq_quant_op {
  MQ_QUANT_CONV,   /* Conv, ConvTranspose with constant weights */
  MQ_QUANT_LINEAR, /* Gemm, MatMul with constant weights */
  MQ_QUANT_ADD,    /* Add of two tensors */
  MQ_QUANT_POOL,   /* AveragePool, GlobalAveragePool, ReduceMean over H and W */
  /* In no graph rule; where a target lists them: */
  MQ_QUANT_PRODUCT, /* MatMul of two tensors: both operands are points */
  MQ_QUANT_UNARY,   /* HardSwish, Sigmoid, HardSigmoid: their outputs are points */
  MQ_QUANT_OP_COUNT
} mq_quant_op;
/* Which tensors are points; `points: graph2` is an abbreviation for one of these. */
struct mq_point_rules {
  const char *name;    /* "graph1", "graph2", "graph3", or "custom" for a map of its own */
  uint32_t input_ops;  /* bit (1u << mq_quant_op): its data input is a point */
  uint32_t output_ops; /* its output (after the activation function) is a point; 0: the rest of the network
                          is float by rule, so nothing is called an island */
  mq_add_rule add;
  mq_pool_rule pool;
  mq_concat_rule concat;
  bool network_input;
  bool network_output; /* what no quantized op reads any more (the last layer's output) is a point as well */
};

/* overrides: each sets the fields it names for the points it matches; the last one that names a field wins.
 * Unset fields (-1 / NULL) leave things alone.
 *   - weights: `op`, first, last and a node's name mean the conv or linear that reads them;
 *   - activations: the quantized ops that read the point, directly or through ops that only move values;
 *   - a tensor's name means that tensor; the stem of "conv1.weight" is a name of its layer;
 *   - keep_float for both roles turns the named ops into float islands (their input is dequantized) and drops
 *     points named by tensor; for one role it drops the matching points. */
struct mq_scheme_override {
  bool is_for_weights, is_for_activations;
  bool is_first_op, is_last_op; /* only the first (last) quantized conv or linear: weights and input */
  bool is_depthwise;            /* only convolutions whose groups have one input channel each */
  int op;                       /* mq_quant_op, -1: any */
  bool is_after_relu;           /* only points whose tensor is an activation function's output >= 0 */
  const char *layer;            /* node or tensor name, or /regular expression/ (POSIX extended); NULL: any */
  int bits, max_bits, is_signed, is_symmetric, is_narrow, is_per_channel, scale_form, keep_float;
};

#define MQ_TARGET_NAME_MAX 64 /* characters */

struct mq_target {
  struct mq_arena arena;
  const char *name, *describes, *file;
  char sha256[65]; /* of the file: part of a run's identity */
  struct mq_scheme weights, activations;
  struct mq_point_rules points;
  const struct mq_scheme_override *overrides;
  size_t n_overrides;
  bool folds_bn;
  const char *arithmetic; /* "tflite_ref", ...; NULL: export and simulation only */
  bool pot_half_even;     /* option of pot_shift */
  mq_bias_form bias;
  const char *const *artefacts;
  size_t n_artefacts;
  const char *twin; /* the engine whose bits the program's must be; NULL: none */
};

/* `name` is a target's name (looked up in the target folders) or the path of a YAML file. Unknown key, wrong
 * type or missing field: MQ_BAD_INPUT with file, line and what was expected. */
mq_status mq_target_load(struct mq_target **target, const char *name, struct mq_err *err) MQ_MUST_CHECK;
void mq_target_destroy(struct mq_target *target);
/* Names and descriptions of every target in the target folders, sorted. Arrays live in `arena`. */
struct mq_target_item {
  const char *name, *describes;
};
mq_status mq_target_list(struct mq_target_item **items, size_t *n, struct mq_arena *arena,
                         struct mq_err *err) MQ_MUST_CHECK;
/* Applies `points: graphN` (1, 2, 3) over a loaded target: a plan's `graph` axis. */
mq_status mq_target_set_graph_rule(struct mq_target *target, int graph, struct mq_err *err) MQ_MUST_CHECK;

/* Where the points of `graph` are under a target's rules, before bits are chosen: one entry per tensor, in
 * topological order. Weights follow from the ops. `graph` must be fused-ready: sorted, shapes inferred, BN
 * folded or kept as the target says; it is not changed, but the two arrays live in its arena. A model that
 * already holds QuantizeLinear, DequantizeLinear or FakeQuantize is MQ_BAD_INPUT. */
struct mq_placement {
  struct mq_value *value;     /* the tensor */
  const char *reason;         /* in the graph's arena */
  int share;                  /* concat group, -1: none */
  bool is_weight;             /* one entry per reading op, also where two ops share a constant */
  struct mq_node **consumers; /* the uses that read the quantized tensor; NULL: all of them */
  size_t n_consumers;
  struct mq_node *op; /* weights: the conv or linear; its input 1 is the constant */
};
struct mq_island {
  const struct mq_node *node;
  const char *reason;
  bool is_tolerated; /* no error under --strict: Softmax after the last layer, or float by an override */
};
mq_status mq_target_place(struct mq_placement **placements, size_t *n_placements, struct mq_island **islands,
                          size_t *n_islands, const struct mq_target *target, struct mq_graph *graph,
                          struct mq_err *err) MQ_MUST_CHECK;
/* The scheme of a placement after the target's overrides. */
mq_status mq_target_scheme(struct mq_scheme *scheme, bool *keep_float, const struct mq_target *target,
                           const struct mq_graph *graph, const struct mq_placement *placement,
                           struct mq_err *err) MQ_MUST_CHECK;

#endif
