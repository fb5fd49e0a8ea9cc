/* The graph: values (tensors that flow, or constants) and nodes (operators), with ONNX's semantics.
 *
 * Everything a graph owns lives in its arena. Values keep the user's names through every rewrite.
 * Shapes are logical (N, C, H, W); a dimension that counts the images of a batch is MQ_DIM_BATCH, whatever
 * the file said (symbolic, 1 or N); every other dimension is known after mq_graph_infer. */
#ifndef MQBENCH_GRAPH_H
#define MQBENCH_GRAPH_H

#include <stdio.h>

#include "mqbench/tensor.h"

#define MQ_DIM_BATCH INT64_MIN

/* ops.def: MQ_OP(name, min_inputs, max_inputs, n_outputs, kind), one line per operator, data only. */
typedef enum mq_op {
  MQ_OP_NONE = 0,
#define MQ_OP(name, min_inputs, max_inputs, n_outputs, kind) MQ_OP_##name,
#include "mqbench/ops.def"
#undef MQ_OP
  MQ_OP_COUNT,
} mq_op;

/* How quantization sees an operator. */
typedef enum mq_op_kind {
  MQ_KIND_COMPUTE,     /* a rule of its own: Conv, ConvTranspose, Gemm, MatMul, Add, pools, Concat, BN */
  MQ_KIND_ACTIVATION,  /* fuses into the operator before it: Relu, Clip */
  MQ_KIND_PASSTHROUGH, /* values only move: Reshape, Transpose, MaxPool, Slice, ...: scale passed on */
  MQ_KIND_OTHER,       /* stays float: Sigmoid, Softmax, Mul, ... */
  MQ_KIND_SHAPE,       /* computes shapes; folded away at load: Shape, Constant, ... */
  MQ_KIND_QUANTIZE,    /* FakeQuantize, QuantizeLinear, DequantizeLinear */
} mq_op_kind;

struct mq_op_traits {
  const char *name; /* ONNX op_type */
  int min_inputs, max_inputs, n_outputs;
  mq_op_kind kind;
};
const struct mq_op_traits *mq_op_get(mq_op op);
mq_op mq_op_find(const char *name); /* MQ_OP_NONE if it is not supported */

typedef enum mq_attr_kind {
  MQ_ATTR_INT = 1,
  MQ_ATTR_FLOAT,
  MQ_ATTR_STRING,
  MQ_ATTR_INTS,
  MQ_ATTR_FLOATS,
  MQ_ATTR_TENSOR,
} mq_attr_kind;

struct mq_attr {
  const char *name;
  mq_attr_kind kind;
  size_t n; /* of ints, floats */
  union {
    int64_t i;
    float f;
    const char *s;
    const int64_t *ints;
    const float *floats;
    struct mq_tensor *tensor;
  } as;
};

struct mq_node;

struct mq_use {
  struct mq_node *node;
  int input; /* index into node->inputs */
};

struct mq_value {
  const char *name; /* unique in the graph, never empty */
  mq_dtype dtype;
  struct mq_shape shape;      /* rank -1 until inferred */
  struct mq_tensor *constant; /* not NULL: initialiser or folded; row-major */
  struct mq_node *producer;   /* NULL for inputs and constants */
  int producer_output;
  struct mq_use *uses; /* maintained by the mq_graph_* functions */
  size_t n_uses, capacity_uses;
  bool is_input, is_output;
  size_t index; /* position in graph->values; changes when the graph is compacted */
};

struct mq_node {
  mq_op op;
  const char *name;         /* unique, never empty */
  struct mq_value **inputs; /* an absent optional input is NULL */
  int n_inputs;
  struct mq_value **outputs; /* an absent optional output is NULL */
  int n_outputs;
  struct mq_attr *attrs;
  size_t n_attrs;
  size_t index; /* position in graph->nodes */
};

struct mq_graph {
  struct mq_arena arena;
  const char *name; /* file or builder it came from, for messages */
  int opset;        /* of the default domain: attributes and inputs follow this version's form */
  struct mq_node **nodes;
  size_t n_nodes, capacity_nodes;
  struct mq_value **values;
  size_t n_values, capacity_values;
  struct mq_value **inputs, **outputs; /* without initialisers */
  size_t n_inputs, n_outputs;
};

mq_status mq_graph_create(struct mq_graph **graph, const char *name, struct mq_err *err) MQ_MUST_CHECK;
void mq_graph_destroy(struct mq_graph *graph);
/* A deep copy; constants are shared with `graph` unless copy_constants. */
mq_status mq_graph_clone(struct mq_graph **copy, const struct mq_graph *graph,
                         struct mq_err *err) MQ_MUST_CHECK;

/* ---- Building and rewriting. Failures are MQ_FAILED (memory) only. A name that is taken gets "_1", "_2"...
 */
mq_status mq_graph_add_value(struct mq_value **value, struct mq_graph *graph, const char *name,
                             mq_dtype dtype, const struct mq_shape *shape, struct mq_err *err) MQ_MUST_CHECK;
/* Takes a copy of `tensor` (row-major) into the arena. */
mq_status mq_graph_add_constant(struct mq_value **value, struct mq_graph *graph, const char *name,
                                const struct mq_tensor *tensor, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_graph_add_input(struct mq_graph *graph, struct mq_value *value,
                             struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_graph_add_output(struct mq_graph *graph, struct mq_value *value,
                              struct mq_err *err) MQ_MUST_CHECK;
/* Appends; call mq_graph_sort when the order of nodes is no longer topological. */
mq_status mq_graph_add_node(struct mq_node **node, struct mq_graph *graph, mq_op op, const char *name,
                            struct mq_value *const *inputs, int n_inputs, struct mq_value *const *outputs,
                            int n_outputs, struct mq_err *err) MQ_MUST_CHECK;
/* Input index may be n_inputs to append one. Keeps the use lists. */
mq_status mq_graph_set_input(struct mq_graph *graph, struct mq_node *node, int input, struct mq_value *value,
                             struct mq_err *err) MQ_MUST_CHECK;
/* Every use of `from` becomes a use of `to` (graph outputs too), except uses by `except` (may be NULL). */
mq_status mq_graph_replace_uses(struct mq_graph *graph, struct mq_value *from, struct mq_value *to,
                                const struct mq_node *except, struct mq_err *err) MQ_MUST_CHECK;
/* Detaches a node; its outputs lose their producer. Memory stays in the arena. */
void mq_graph_remove_node(struct mq_graph *graph, struct mq_node *node);
/* Drops nodes whose outputs nobody uses and values that are neither produced, used, input nor output. */
void mq_graph_prune(struct mq_graph *graph);
/* Stable topological order; MQ_BAD_INPUT names a node of a cycle. Iterative. */
mq_status mq_graph_sort(struct mq_graph *graph, struct mq_err *err) MQ_MUST_CHECK;
struct mq_value *mq_graph_find_value(const struct mq_graph *graph, const char *name); /* NULL if none */

/* ---- Attributes. Getters report node, attribute, found and expected kind. */
mq_status mq_node_set_int(struct mq_graph *graph, struct mq_node *node, const char *name, int64_t i,
                          struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_node_set_float(struct mq_graph *graph, struct mq_node *node, const char *name, float f,
                            struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_node_set_string(struct mq_graph *graph, struct mq_node *node, const char *name, const char *s,
                             struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_node_set_ints(struct mq_graph *graph, struct mq_node *node, const char *name,
                           const int64_t *ints, size_t n, struct mq_err *err) MQ_MUST_CHECK;
const struct mq_attr *mq_node_find_attr(const struct mq_node *node, const char *name); /* NULL if absent */
mq_status mq_node_get_int(int64_t *i, const struct mq_node *node, const char *name, int64_t fallback,
                          struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_node_get_float(float *f, const struct mq_node *node, const char *name, float fallback,
                            struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_node_get_string(const char **s, const struct mq_node *node, const char *name,
                             const char *fallback, struct mq_err *err) MQ_MUST_CHECK;
/* *n = 0 and *ints = NULL if absent. The array is borrowed. */
mq_status mq_node_get_ints(const int64_t **ints, size_t *n, const struct mq_node *node, const char *name,
                           struct mq_err *err) MQ_MUST_CHECK;

/* ---- Typed parameters: attributes and constant inputs of every opset version, checked, in one form. ---- */
/* Conv, ConvTranspose and pools. 1-D operators are reported as 2-D with a leading spatial dimension of 1
 * (rank tells). Pads are explicit: auto_pad is resolved against the input's shape. */
struct mq_window {
  int spatial_rank; /* 1 or 2 */
  int64_t kernel[2], stride[2], dilation[2], pad_begin[2], pad_end[2], output_pad[2];
  int64_t groups;
  bool ceil_mode, count_include_pad;
};
mq_status mq_node_get_window(struct mq_window *window, const struct mq_node *node,
                             struct mq_err *err) MQ_MUST_CHECK;
/* Clip (attributes or constant inputs), Relu (0, +inf); infinite where unbounded. */
mq_status mq_node_get_clip(float *lo, float *hi, const struct mq_node *node,
                           struct mq_err *err) MQ_MUST_CHECK;
/* axes of Squeeze, Unsqueeze, ReduceMean, ...: attribute or constant input, made non-negative against rank.
 */
mq_status mq_node_get_axes(int64_t axes[MQ_MAX_RANK], int *n_axes, const struct mq_node *node, int rank,
                           struct mq_err *err) MQ_MUST_CHECK;
/* The constant behind input i as int64s (Reshape's shape, Slice's starts, ...), borrowed from the graph's
 * arena; MQ_DIM_BATCH stands for the batch. */
mq_status mq_node_get_constant_ints(const int64_t **ints, size_t *n, const struct mq_node *node, int input,
                                    struct mq_err *err) MQ_MUST_CHECK;

/* ---- Passes ------------------------------------------------------------------------------------------- */
/* Infers shape and dtype of every value, folds shape computations and constant subgraphs into constants, and
 * turns the first dimension of every graph input that carries images into MQ_DIM_BATCH if batch_is_free.
 * Run once after load and after rewrites that change shapes. Errors name the node. */
mq_status mq_graph_infer(struct mq_graph *graph, bool batch_is_free, struct mq_err *err) MQ_MUST_CHECK;
/* Shape with MQ_DIM_BATCH replaced by `batch`. */
struct mq_shape mq_shape_at_batch(const struct mq_shape *shape, int64_t batch);
bool mq_shape_has_batch(const struct mq_shape *shape);
/* Checks every invariant above: names unique, use lists right, order topological, arity, dtypes known. */
mq_status mq_graph_verify(const struct mq_graph *graph, struct mq_err *err) MQ_MUST_CHECK;
/* Multiply-accumulates of one image, and trainable parameters (floats in constants used by compute nodes). */
struct mq_graph_counts {
  int64_t nodes, parameters, macs;
};
mq_status mq_graph_count(struct mq_graph_counts *counts, const struct mq_graph *graph,
                         struct mq_err *err) MQ_MUST_CHECK;
/* One line per node: op, name, shapes. For the .dot form nodes may be annotated by a caller. */
typedef const char *(*mq_graph_note_fn)(void *context, const struct mq_value *value); /* NULL: no note */
void mq_graph_dump_text(FILE *file, const struct mq_graph *graph);
void mq_graph_dump_dot(FILE *file, const struct mq_graph *graph, mq_graph_note_fn note, void *context);

#endif
