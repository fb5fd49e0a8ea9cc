/* The graph: values (tensors that flow, or constants) and nodes (operators), with ONNX's semantics.
 *
 * Everything a graph owns lives in its arena. Values keep the user's names through every rewrite.
 * Shapes are logical (N, C, H, W); a dimension that counts the images of a batch is MQ_DIM_BATCH, whatever
 * the file said (symbolic, 1 or N); every other dimension is known after mq_graph_infer. Before that, a
 * graph input's dimension that the file left open is -1. At most one dimension of a shape is the batch. */
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
bool mq_op_is_onnx(mq_op op);       /* false for operators of our own */

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
  const char *name;           /* unique in the graph, never empty; change it with mq_graph_rename_value */
  mq_dtype dtype;             /* 0 until inferred */
  struct mq_shape shape;      /* rank -1 until inferred */
  struct mq_tensor *constant; /* not NULL: initialiser or folded; row-major */
  int packed_bits; /* of a constant whose type in the file has fewer bits than its dtype: 4 or 2; else 0 */
  struct mq_node *producer; /* NULL for inputs and constants */
  int producer_output;
  struct mq_use *uses; /* maintained by the mq_graph_* functions; in node order after mq_graph_sort */
  size_t n_uses, capacity_uses;
  bool is_input, is_output;
  size_t index; /* position in graph->values; changes when the graph is compacted */
};

struct mq_node {
  struct mq_graph *graph;   /* the one it belongs to */
  mq_op op;                 /* MQ_OP_NONE: removed, see mq_graph_remove_node */
  const char *name;         /* unique, never empty */
  struct mq_value **inputs; /* an absent optional input is NULL */
  int n_inputs;
  struct mq_value **outputs; /* an absent optional output is NULL */
  int n_outputs;
  struct mq_attr *attrs;
  size_t n_attrs;
  size_t index;         /* position in graph->nodes */
  size_t *use_slots;    /* private: inputs[i]->uses[use_slots[i]] is input i */
  struct mq_node *link; /* private: stacks of passes */
};

struct mq_graph {
  struct mq_arena arena;
  const char *name; /* file or builder it came from, for messages */
  int opset;        /* of the default domain: attributes and inputs follow this version's form; 17 if built */
  int64_t file_batch; /* what MQ_DIM_BATCH was before it was freed: 1 or N; 0 if it was open */
  struct mq_node **nodes;
  size_t n_nodes;
  struct mq_value **values;
  size_t n_values;
  struct mq_value **inputs, **outputs; /* without initialisers */
  size_t n_inputs, n_outputs;
  struct mq_graph_names *value_names, *node_names; /* private: name index */
};

mq_status mq_graph_create(struct mq_graph **graph, const char *name, struct mq_err *err) MQ_MUST_CHECK;
void mq_graph_destroy(struct mq_graph *graph);
/* A deep copy: constants are copied too, so either graph may be destroyed first. */
mq_status mq_graph_clone(struct mq_graph **copy, const struct mq_graph *graph,
                         struct mq_err *err) MQ_MUST_CHECK;

/* ---- Building and rewriting. Failures are MQ_FAILED (memory); mq_graph_add_node also MQ_BAD_INPUT when an
 * output is produced already, and mq_graph_add_constant for a tensor that is not row-major. A name that is
 * taken gets "_1", "_2"...; an empty one is made up. dtype 0 and shape NULL: not known yet. */
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
/* Every use of `from` becomes a use of `to` (graph outputs too), except uses by `except` (may be NULL).
 * Linear in the uses. Where a graph output's name must survive, rename or exchange names afterwards. */
mq_status mq_graph_replace_uses(struct mq_graph *graph, struct mq_value *from, struct mq_value *to,
                                const struct mq_node *except, struct mq_err *err) MQ_MUST_CHECK;
/* Detaches a node; its outputs lose their producer. Memory stays in the arena. The node keeps its place in
 * graph->nodes as MQ_OP_NONE without inputs and outputs, so that loops over nodes may remove as they go;
 * mq_graph_sort, mq_graph_prune and mq_graph_infer close the gaps. */
void mq_graph_remove_node(struct mq_graph *graph, struct mq_node *node);
/* Gives a value another name ("_1"... if it is taken). */
mq_status mq_graph_rename_value(struct mq_graph *graph, struct mq_value *value, const char *name,
                                struct mq_err *err) MQ_MUST_CHECK;
/* Two values exchange their names. */
void mq_graph_swap_names(struct mq_graph *graph, struct mq_value *a, struct mq_value *b);
/* Drops nodes whose outputs nobody uses and values that are neither produced, used, input nor output. */
void mq_graph_prune(struct mq_graph *graph);
/* Stable topological order; MQ_BAD_INPUT names a node of a cycle. Iterative. */
mq_status mq_graph_sort(struct mq_graph *graph, struct mq_err *err) MQ_MUST_CHECK;
struct mq_value *mq_graph_find_value(const struct mq_graph *graph, const char *name); /* NULL if none */

/* ---- Attributes (256 of a node at most). Getters report node, attribute, found and expected kind. */
mq_status mq_node_set_int(struct mq_graph *graph, struct mq_node *node, const char *name, int64_t i,
                          struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_node_set_float(struct mq_graph *graph, struct mq_node *node, const char *name, float f,
                            struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_node_set_string(struct mq_graph *graph, struct mq_node *node, const char *name, const char *s,
                             struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_node_set_ints(struct mq_graph *graph, struct mq_node *node, const char *name,
                           const int64_t *ints, size_t n, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_node_set_floats(struct mq_graph *graph, struct mq_node *node, const char *name,
                             const float *floats, size_t n, struct mq_err *err) MQ_MUST_CHECK;
/* Takes a copy (row-major) into the arena. */
mq_status mq_node_set_tensor(struct mq_graph *graph, struct mq_node *node, const char *name,
                             const struct mq_tensor *tensor, struct mq_err *err) MQ_MUST_CHECK;
/* All attributes of `from`, which may belong to another graph. */
mq_status mq_node_copy_attrs(struct mq_graph *graph, struct mq_node *to, const struct mq_node *from,
                             struct mq_err *err) MQ_MUST_CHECK;
void mq_node_remove_attr(struct mq_node *node, const char *name); /* harmless if absent */
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
mq_status mq_node_get_floats(const float **floats, size_t *n, const struct mq_node *node, const char *name,
                             struct mq_err *err) MQ_MUST_CHECK;
/* *tensor = NULL if absent. */
mq_status mq_node_get_tensor(const struct mq_tensor **tensor, const struct mq_node *node, const char *name,
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
/* One axis attribute ("axis" of Concat, Split, Gather, Flatten, ...), made non-negative against rank; Flatten
 * may answer rank itself. */
mq_status mq_node_get_axis(int *axis, const struct mq_node *node, int64_t fallback, int rank,
                           struct mq_err *err) MQ_MUST_CHECK;
/* axes of Squeeze, Unsqueeze, ReduceMean, ...: attribute or constant input, made non-negative against rank
 * (of the output for Unsqueeze) and ascending. None given: every axis for reductions (none if
 * noop_with_empty_axes), every axis of size 1 for Squeeze. */
mq_status mq_node_get_axes(int64_t axes[MQ_MAX_RANK], int *n_axes, const struct mq_node *node, int rank,
                           struct mq_err *err) MQ_MUST_CHECK;
/* The constant behind input i as int64s (Reshape's shape, Slice's starts, ...), borrowed from the graph's
 * arena; MQ_DIM_BATCH stands for the batch. */
mq_status mq_node_get_constant_ints(const int64_t **ints, size_t *n, const struct mq_node *node, int input,
                                    struct mq_err *err) MQ_MUST_CHECK;
/* The one-element constant behind input i as a float. */
mq_status mq_node_get_constant_float(float *f, const struct mq_node *node, int input,
                                     struct mq_err *err) MQ_MUST_CHECK;
/* Transpose: output dimension i is input dimension perm[i]. */
mq_status mq_node_get_perm(int perm[MQ_MAX_RANK], const struct mq_node *node,
                           struct mq_err *err) MQ_MUST_CHECK;
/* Cast: the dtype values get here. float16, bfloat16 and double are computed as float32. */
mq_status mq_node_get_cast(mq_dtype *to, const struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
/* ONNX's TensorProto.DataType; 0 if the dtype has none of ours (strings, complex). */
mq_dtype mq_dtype_from_onnx(int64_t code);
/* Softmax, LogSoftmax: normalises over the axes first..last together (before opset 13: all from `axis` on).
 */
mq_status mq_node_get_softmax(int *first, int *last, const struct mq_node *node,
                              struct mq_err *err) MQ_MUST_CHECK;
/* Split: the part of every output along `axis`, n_parts = node->n_outputs; borrowed from the graph's arena.
 */
mq_status mq_node_get_split(int *axis, const int64_t **parts, const struct mq_node *node,
                            struct mq_err *err) MQ_MUST_CHECK;
/* Slice, resolved against the input's shape: output index o along an axis is input index start + o * step;
 * count is the output's dimension (MQ_DIM_BATCH, start 0, step 1 along the batch). */
struct mq_slicing {
  int rank;
  int64_t start[MQ_MAX_RANK], step[MQ_MAX_RANK], count[MQ_MAX_RANK];
};
mq_status mq_node_get_slicing(struct mq_slicing *slicing, const struct mq_node *node,
                              struct mq_err *err) MQ_MUST_CHECK;
typedef enum mq_pad_mode {
  MQ_PAD_CONSTANT,
  MQ_PAD_REFLECT,
  MQ_PAD_EDGE,
  MQ_PAD_WRAP,
} mq_pad_mode;
/* Pad: elements added before and after along every axis; negative ones are cut off. */
struct mq_padding {
  int rank;
  int64_t begin[MQ_MAX_RANK], end[MQ_MAX_RANK];
  mq_pad_mode mode;
  double value;
};
mq_status mq_node_get_padding(struct mq_padding *padding, const struct mq_node *node,
                              struct mq_err *err) MQ_MUST_CHECK;
typedef enum mq_resize_mode {
  MQ_RESIZE_NEAREST,
  MQ_RESIZE_LINEAR,
  MQ_RESIZE_CUBIC,
} mq_resize_mode;
typedef enum mq_resize_coordinates {
  MQ_COORDINATES_HALF_PIXEL,
  MQ_COORDINATES_HALF_PIXEL_SYMMETRIC,
  MQ_COORDINATES_PYTORCH_HALF_PIXEL,
  MQ_COORDINATES_ALIGN_CORNERS,
  MQ_COORDINATES_ASYMMETRIC,
  MQ_COORDINATES_TF_HALF_PIXEL_FOR_NN,
  MQ_COORDINATES_TF_CROP_AND_RESIZE,
} mq_resize_coordinates;
typedef enum mq_resize_nearest {
  MQ_NEAREST_ROUND_PREFER_FLOOR,
  MQ_NEAREST_ROUND_PREFER_CEIL,
  MQ_NEAREST_FLOOR,
  MQ_NEAREST_CEIL,
} mq_resize_nearest;
/* Resize of every opset from 10, one entry per axis (scale 1, roi 0..1 where nothing is resized). `size` is
 * the output's dimension; opset 10 is asymmetric with floor. */
struct mq_resize {
  int rank;
  mq_resize_mode mode;
  mq_resize_coordinates coordinates;
  mq_resize_nearest nearest;
  int64_t size[MQ_MAX_RANK];
  double scale[MQ_MAX_RANK], roi_start[MQ_MAX_RANK], roi_end[MQ_MAX_RANK];
  float cubic_a, extrapolation_value;
  bool exclude_outside, antialias;
};
mq_status mq_node_get_resize(struct mq_resize *resize, const struct mq_node *node,
                             struct mq_err *err) MQ_MUST_CHECK;
/* Output o along an axis of n_in is the sum of weight[t] x[index[t]] over n_taps taps, as ONNX defines them;
 * answers the coordinate in the input, beyond whose ends tf_crop_and_resize has extrapolation_value. */
int64_t mq_resize_n_taps(const struct mq_resize *resize, int axis);
double mq_resize_taps(int64_t *index, float *weight, const struct mq_resize *resize, int axis, int64_t o,
                      int64_t n_in);

/* ---- Passes ------------------------------------------------------------------------------------------- */
/* Infers shape and dtype of every value, folds shape computations and constant subgraphs into constants, and
 * turns the first dimension of every graph input that carries images (rank 2 and up, not int32, int64, bool)
 * into MQ_DIM_BATCH if batch_is_free. Run once after load and after rewrites that change shapes; sorts.
 * Errors name the node. Where a Reshape, an Expand or a Resize names the file's batch as a literal (1 or N),
 * its constant gets MQ_DIM_BATCH in that place; a Slice's end becomes INT64_MAX, and a Squeeze without axes
 * gets them. Min or Max with a single number becomes a Clip. Shape computations carry the batch as an opaque
 * element: moving it is fine, arithmetic on it (beyond times 1, plus 0) is an error that names the node. */
mq_status mq_graph_infer(struct mq_graph *graph, bool batch_is_free, struct mq_err *err) MQ_MUST_CHECK;
/* Shape with MQ_DIM_BATCH replaced by `batch`. */
struct mq_shape mq_shape_at_batch(const struct mq_shape *shape, int64_t batch);
bool mq_shape_has_batch(const struct mq_shape *shape);
/* Checks every invariant above: names unique, use lists right, order topological, arity, dtypes known. */
mq_status mq_graph_verify(const struct mq_graph *graph, struct mq_err *err) MQ_MUST_CHECK;
/* Nodes without FakeQuantize, multiply-accumulates of one image, and trainable parameters (floats in
 * constants used by compute nodes). */
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
