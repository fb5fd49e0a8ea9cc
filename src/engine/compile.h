/* The compiler: walks the sorted graph once and turns it into places and steps.
 *
 * An operator is one `const struct engine_op engine_op_<Name>` (op_*.c). Its compile function asks for the
 * places of its inputs in the form it needs, makes the places of its outputs and emits steps; operators that
 * only move values make a view and emit nothing. */
#ifndef MQ_ENGINE_COMPILE_H
#define MQ_ENGINE_COMPILE_H

#include "engine/step.h"
#include "mqbench/kernel.h"

/* An operator with what is fused behind it; the chain is emitted where its last node stands, because a
 * residual is known only there. */
struct engine_chain {
  const struct mq_node *head, *tail;
  const struct mq_value *output;   /* the tail's */
  const struct mq_value *residual; /* of MQ_POST_ADD, or NULL */
  struct mq_post posts[MQ_MAX_POSTS];
  int n_posts;
  double *fold_gain, *fold_shift; /* per output channel, to be merged into weights and bias; or NULL */
};

struct engine_compiler {
  struct mq_engine *engine;
  const struct mq_graph *graph;
  const struct mq_engine_options *options;
  int64_t images;                   /* what MQ_DIM_BATCH stands for */
  int *place_of;                    /* by value index; -1: none yet */
  bool *is_done;                    /* by node index: its inputs were read */
  size_t *exchange_of;              /* by node index: 1 + index of its exchange; 0: none */
  bool *is_tapped;                  /* by value index */
  bool *is_constant;                /* by value index: known before the first slice */
  engine_scope scope;               /* of the places and steps made now */
  const struct mq_node *node;       /* that steps are made for now */
  struct engine_training *training; /* the engine's; NULL: inference */
  struct engine_chain **chains;     /* by node index: the chain a node belongs to, or NULL */
  struct engine_exact *exact;       /* the exact simulation; NULL: floats */
  struct mq_arena arena;            /* dies with the compiler */
};

struct engine_op {
  mq_status (*compile)(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err);
  const struct engine_function *function; /* NULL: never executed, compile makes views or constants */
  /* What training compiles instead; NULL: the same. */
  mq_status (*train)(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err);
};
const struct engine_op *engine_op_get(mq_op op);

/* ---- compile.c ---------------------------------------------------------------------------------- */
/* Fills an engine whose pool, arena and (for training) `training` are set. */
mq_status engine_compile(struct mq_engine *engine, const struct mq_graph *graph,
                         const struct mq_engine_options *options, struct mq_err *err) MQ_MUST_CHECK;
/* Takes the step's lists by copy; releases the state on failure. Keeps the buffers' lifetimes. */
mq_status engine_emit(struct engine_compiler *c, const struct engine_step *step,
                      struct mq_err *err) MQ_MUST_CHECK;
/* The usual step: inputs to one output, arena state, no scratch. */
mq_status engine_emit_simple(struct engine_compiler *c, const struct engine_function *function,
                             const void *state, const int *inputs, int n_inputs, int output,
                             struct mq_err *err) MQ_MUST_CHECK;
/* Memory that lives as long as the engine. */
mq_status engine_alloc(void **block, struct engine_compiler *c, size_t count, size_t bytes,
                       struct mq_err *err) MQ_MUST_CHECK;
mq_status engine_fail_unsupported(const struct mq_node *node, struct mq_err *err, const char *format, ...)
    MQ_PRINTF(3, 4);

/* ---- constant.c: nodes without any computed input are executed at compile time ------------------ */
void engine_find_constants(struct engine_compiler *c);
/* Turns what the steps from `first_step` on (of one such node) make into constants and drops the steps;
 * places and buffers made since are those from first_place and first_buffer on. */
mq_status engine_fold_steps(struct engine_compiler *c, size_t first_step, size_t first_place,
                            size_t first_buffer, struct mq_err *err) MQ_MUST_CHECK;

/* ---- exchange.c --------------------------------------------------------------------------------- */
/* The exchange of a node whose output (or, for a BatchNormalization, whose input) lies at `x`; y may be x. */
mq_status engine_emit_exchange(struct engine_compiler *c, const struct mq_node *node, int x, int y,
                               struct mq_err *err) MQ_MUST_CHECK;

/* ---- fuse.c ------------------------------------------------------------------------------------- */
mq_status engine_find_chains(struct engine_compiler *c, struct mq_err *err) MQ_MUST_CHECK;
/* The chain of a head; made up (nothing fused) when the fuser left the node alone. */
struct engine_chain engine_chain_get(const struct engine_compiler *c, const struct mq_node *head);
/* gain = gamma / sqrt(var + eps), shift = beta - mean * gain, in double. Arrays of n = channels in the arena.
 */
mq_status engine_batch_norm(double **gain, double **shift, int64_t *n, struct mq_arena *arena,
                            const struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;
/* Is this FakeQuantize a calibrated point of a simulating engine (otherwise it is the identity)? */
mq_status engine_fake_quantize_point(const struct mq_point **point_or_null, const struct engine_compiler *c,
                                     const struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;

/* The place of a chain's output: over the residual (-1: none) where nobody needs that any more and it is not
 * what the head reads (x); otherwise new, with the given strides. */
mq_status engine_chain_output(int *y, struct engine_compiler *c, const struct engine_chain *chain, int x,
                              int residual, const int64_t *stride, struct mq_err *err) MQ_MUST_CHECK;

/* op_gemm.c: Gemm's attributes, and operands as products need them. */
struct engine_gemm {
  float alpha, beta;
  bool is_a_transposed, is_b_transposed;
};
/* An input of rank 2, transposed or not, row-major. */
mq_status engine_read_matrix(int *place, struct engine_compiler *c, const struct mq_node *node, int input,
                             bool is_transposed, struct mq_err *err) MQ_MUST_CHECK;
/* MatMul's operands row-major, broadcast to the same batch of matrices; fills in batch, m, k and n. */
mq_status engine_read_factors(int operands[2], struct mq_matmul_desc *desc, struct engine_compiler *c,
                              const struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;

/* op_pool.c: the mean over everything behind N and C, channels last (GlobalAveragePool, some ReduceMean). */
mq_status engine_compile_mean_of_pixels(struct engine_compiler *c, const struct mq_node *node,
                                        struct mq_err *err) MQ_MUST_CHECK;

/* ---- train/ ------------------------------------------------------------------------------------- */
struct engine_training;
/* The place of a parameter or state, made at first use from the value's constant. */
mq_status engine_read_variable(int *place, struct engine_compiler *c, const struct mq_value *value,
                               struct mq_err *err) MQ_MUST_CHECK;
/* Gives a new place a gradient that lies like the value. */
mq_status engine_add_gradient(struct engine_compiler *c, int place, struct mq_err *err) MQ_MUST_CHECK;

/* ---- place.c: where tensors lie ------------------------------------------------------------- */
/* Rank 4 lies channels last, everything else row-major, unless an operator says otherwise; a view keeps the
 * strides it gets, an elementwise result those of its operand. */
typedef enum engine_layout {
  ENGINE_ANY,   /* as it is, strided */
  ENGINE_DENSE, /* some permutation of the dimensions without gaps */
  ENGINE_ROW_MAJOR,
  ENGINE_CHANNELS_LAST, /* rank below 3: row-major */
} engine_layout;

const struct mq_tensor *engine_tensor(const struct engine_compiler *c, int place);
/* The place of a value that was computed before; emits a copy if it does not lie as needed. */
mq_status engine_read(int *place, struct engine_compiler *c, const struct mq_value *value,
                      engine_layout layout, struct mq_err *err) MQ_MUST_CHECK;
mq_status engine_arrange(int *arranged, struct engine_compiler *c, int place, engine_layout layout,
                         struct mq_err *err) MQ_MUST_CHECK;
/* The same, refusing anything but float32. */
mq_status engine_read_float(int *place, struct engine_compiler *c, const struct mq_node *node, int input,
                            engine_layout layout, struct mq_err *err) MQ_MUST_CHECK;
/* The constant behind an input (after fake quantization of weights); NULL if it is computed. */
const struct mq_tensor *engine_constant(const struct engine_compiler *c, const struct mq_value *value);
/* A new place with memory of its own. stride NULL: the default layout. */
mq_status engine_new_place(int *place, struct engine_compiler *c, mq_dtype dtype,
                           const struct mq_shape *shape, const int64_t *stride,
                           struct mq_err *err) MQ_MUST_CHECK;
/* A new place for a node's output i. */
mq_status engine_new_output(int *place, struct engine_compiler *c, const struct mq_node *node, int output,
                            const int64_t *stride, struct mq_err *err) MQ_MUST_CHECK;
/* A new place over the same memory; `tensor` says shape and strides, offset counts elements. */
mq_status engine_new_view(int *view, struct engine_compiler *c, int place, const struct mq_tensor *tensor,
                          int64_t offset, struct mq_err *err) MQ_MUST_CHECK;
/* A constant; the tensor's memory is borrowed. */
mq_status engine_new_constant(int *place, struct engine_compiler *c, const struct mq_tensor *tensor,
                              struct mq_err *err) MQ_MUST_CHECK;
void engine_bind(struct engine_compiler *c, const struct mq_value *value, int place);
/* May a step that reads `place` write its result over it? True when nobody reads that memory any more. */
bool engine_can_overwrite(const struct engine_compiler *c, int place);
/* A place for an elementwise result of the place's shape: over `place` if that is allowed, else a new one
 * with the same strides (dense). */
mq_status engine_like(int *result, struct engine_compiler *c, int place, struct mq_err *err) MQ_MUST_CHECK;
bool engine_is_dense(const struct mq_tensor *tensor);
bool engine_lies_as(const struct mq_tensor *tensor, engine_layout layout);
/* Makes room for one more element of an array that doubles. */
mq_status engine_reserve(void **array, size_t *capacity, size_t n, size_t bytes,
                         struct mq_err *err) MQ_MUST_CHECK;
struct mq_shape engine_shape(const struct engine_compiler *c, const struct mq_value *value);

/* ---- copy.c ------------------------------------------------------------------------------------- */
/* mq_tensor_copy after dropping and joining dimensions, so that runs are as long as possible. */
void engine_copy(struct mq_tensor *to, const struct mq_tensor *from);
extern const struct engine_function engine_copy_function;
/* inputs {a, b}, outputs {a + b}, all lying alike and without gaps */
extern const struct engine_function engine_add_function;
/* d = g, or d += g; strided, of one shape. */
void engine_pass_gradient(struct mq_tensor *d, const struct mq_tensor *g, bool adds);
void engine_zero(const struct mq_tensor *dense);

#endif
