/* Comparing what was simulated with what runs: integer programs, and real engines. */
#ifndef MQBENCH_VERIFY_H
#define MQBENCH_VERIFY_H

#include "mqbench/deploy.h"
#include "mqbench/tune.h"

/* ---- Integer programs over a data set --------------------------------------------------------------------
 */
struct mq_program_evaluate_options {
  int64_t slice_images;    /* 0: 8 */
  unsigned loader_threads; /* as in mq_evaluate_options */
  const char *label;       /* of the progress bar */
  bool is_fast; /* by the fast executor, which gives the same bits; else by the reference executor */
};
/* Accuracy of a program in slices over the pool. `graph`: what it was lowered
 * from, whose first input takes the images and whose first output has the classes; codes become floats before
 * they are judged. The same bits for any number of workers. */
mq_status mq_program_evaluate(struct mq_evaluation *evaluation, const struct mq_program *program,
                              const struct mq_graph *graph, struct mq_dataset *data,
                              const struct mq_program_evaluate_options *options, struct mq_pool *pool,
                              struct mq_err *err) MQ_MUST_CHECK;
/* The first `n_images` (0: all) images' logits as float32 [n x classes], owned. */
mq_status mq_program_predict(struct mq_tensor *logits, const struct mq_program *program,
                             const struct mq_graph *graph, struct mq_dataset *data, int64_t n_images,
                             const struct mq_program_evaluate_options *options, struct mq_pool *pool,
                             struct mq_err *err) MQ_MUST_CHECK;

/* ---- Simulation and program side by side -----------------------------------------------------------------
 * The plain simulation is fake quantization in float32; it differs from the program in places that are
 * counted and explained. The exact simulation and the fast executor must not differ from the program's
 * reference executor anywhere. */
typedef enum mq_cause {
  MQ_CAUSE_ROUNDING,   /* a tie, or a value that a first rounding puts on one, goes to the other side */
  MQ_CAUSE_BIAS,       /* the bias is a whole number of the accumulator's steps */
  MQ_CAUSE_MULTIPLIER, /* the scales' ratio is a fixed-point number, or a float rounded more than once */
  MQ_CAUSE_ADD,        /* the arithmetic's sum of two operands */
  MQ_CAUSE_POOL,       /* the arithmetic's average; averages that are rounded where the simulation does not */
  MQ_CAUSE_FLOAT,      /* float32 sums and products that round */
  MQ_CAUSE_INHERITED,  /* the inputs differed already */
  MQ_CAUSE_UNEXPLAINED, /* none of these: an error on one side */
  MQ_CAUSES
} mq_cause;
const char *mq_cause_name(mq_cause cause);     /* "rounding", "float_accumulation", ...: keys in JSON */
const char *mq_cause_describe(mq_cause cause); /* for people */

struct mq_differences {
  int64_t elements, differing;
  int64_t causes[MQ_CAUSES]; /* of those that differ: one cause each */
  double max_step;           /* the largest difference, in steps of the tensor's scale */
};
int64_t mq_differences_explained(const struct mq_differences *differences);

/* A tensor of the program, over all images. */
struct mq_verified_tensor {
  const char *name; /* the user's; of a tensor that only the program has: its step's */
  const char *step; /* that makes it: "conv", "add", ...; "input" */
  int64_t elements;
  int64_t fast_elements;   /* that the fast executor made */
  int64_t fast_mismatches; /* of these, other bits than the reference's */
  int64_t exact_elements;  /* that the exact simulation has as well */
  int64_t exact_mismatches;
  bool is_float;               /* no codes */
  bool is_simulated;           /* a point, or an output: the two below count */
  struct mq_differences whole; /* the simulation as it runs */
  struct mq_differences local; /* each of its steps given the program's own inputs: nothing is inherited */
};

struct mq_verify_options {
  int64_t n_images;                   /* 0: all */
  unsigned loader_threads;            /* as in mq_evaluate_options */
  const char *label;                  /* of the progress bar */
  bool keeps_outputs;                 /* for mq_verify_engine */
  const struct mq_exact_rules *exact; /* NULL: the exact simulation is left out */
};
struct mq_verification {
  struct mq_arena arena;
  int64_t n_images;
  struct mq_verified_tensor *tensors; /* that are not constant, as the program numbers them */
  size_t n_tensors;
  int64_t elements, fast_elements, fast_mismatches, exact_elements, exact_mismatches;
  struct mq_differences whole, local; /* sums over tensors */
  int64_t n_agree;                    /* images that simulation and program give the same class */
  bool is_finite;                     /* every pixel was */
  struct mq_tensor *outputs; /* of the program, as floats in the user's order; owned; NULL: not kept; without
                                a program the simulation's */
  size_t n_outputs;
};
/* Runs the first images of `data` through the simulation of `prepared`, as it is and step by step from the
 * program's own values, the exact simulation, and the program's two executors. MQ_BAD_INPUT where program and
 * graph do not belong together: a point's scale, a tensor's shape. */
mq_status mq_verify(struct mq_verification *verification, const struct mq_prepared *prepared,
                    const struct mq_program *program, struct mq_dataset *data,
                    const struct mq_verify_options *options, struct mq_pool *pool,
                    struct mq_err *err) MQ_MUST_CHECK;
/* Where there is no program: the plain simulation's outputs, for mq_verify_engine, and nothing else.
 * `keeps_outputs` and `exact` do not count. MQ_BAD_INPUT: more than one output. */
mq_status mq_verify_simulated(struct mq_verification *verification, const struct mq_prepared *prepared,
                              struct mq_dataset *data, const struct mq_verify_options *options,
                              struct mq_pool *pool, struct mq_err *err) MQ_MUST_CHECK;
void mq_verification_deinit(struct mq_verification *verification); /* accepts a zeroed one */

/* ---- Real engines ----------------------------------------------------------------------------------------
 * Each behind an adapter, a small program with one protocol (docs/adapters.md), so that anyone can add a
 * board's runner without touching this code. */
#define MQ_ADAPTER_PROTOCOL 1
#define MQ_ADAPTER_TEXT 256

/* The adapter of that name: an executable file in a directory of MQBENCH_ADAPTERS (separated by ':'), else in
 * the project's own adapters folder. MQ_BAD_USAGE when there is none, or the name is no plain file name, or
 * "install", which is none. *path is freed with mq_free. */
mq_status mq_adapter_find(char **path, const char *engine, struct mq_err *err) MQ_MUST_CHECK;

/* The names of all adapters in these folders, sorted, each once; arrays live in `arena`. */
mq_status mq_adapter_list(const char *const **names, size_t *n, struct mq_arena *arena,
                          struct mq_err *err) MQ_MUST_CHECK;

struct mq_adapter_info {
  bool is_available;
  char engine[MQ_ADAPTER_TEXT], version[MQ_ADAPTER_TEXT];
  char formats[MQ_ADAPTER_TEXT]; /* export formats that it reads, separated by spaces, best first */
  char reason[MQ_ADAPTER_TEXT];  /* why the engine is not available; "" if it is */
};
/* Asks what the adapter can do. An engine that is not installed is MQ_OK with is_available false and the
 * reason; MQ_BAD_INPUT is an adapter that does not keep to the protocol, crashes or hangs. */
mq_status mq_adapter_probe(struct mq_adapter_info *info, const char *path, double timeout_seconds,
                           struct mq_err *err) MQ_MUST_CHECK;

struct mq_adapter_job {
  const char *adapter, *model; /* paths */
  const char *const *input_names;
  const struct mq_tensor *inputs; /* row-major or not; dimension 0 counts the images, the same of all */
  size_t n_inputs;
  int64_t batch;          /* images at a time; 0: all of them */
  int64_t threads;        /* 0: 1 */
  int64_t warmup, repeat; /* passes before the times are taken, and those that are timed (0: 1) */
  double timeout_seconds; /* 0: none */
};

struct mq_adapter_node {
  const char *name, *op;
  bool is_integer;
};
struct mq_adapter_result {
  struct mq_arena arena;
  char engine[MQ_ADAPTER_TEXT], version[MQ_ADAPTER_TEXT];
  struct mq_tensor *outputs; /* as the adapter wrote them; owned */
  const char **names;        /* of the outputs */
  size_t n_outputs;
  double *milliseconds; /* of each batch that was timed, in order */
  size_t n_times;
  struct mq_adapter_node *nodes; /* what the engine made of the model, as far as it tells */
  size_t n_nodes;
};
/* Runs the model in the engine: files go through a directory of their own under TMPDIR, which is removed. The
 * adapter gets no shell, no standard input, no open file of ours, and its process group is killed when the
 * time is over or the run is cancelled. MQ_BAD_INPUT, in one line: what the adapter said on its standard
 * error, or what was wrong with what it left. */
mq_status mq_adapter_run(struct mq_adapter_result *result, const struct mq_adapter_job *job,
                         struct mq_err *err) MQ_MUST_CHECK;
void mq_adapter_result_deinit(struct mq_adapter_result *result); /* accepts a zeroed one */

/* ---- A real engine beside the program, or beside the simulation where there is none
 * --------------------------------------------------------------------
 */
#define MQ_ENGINE_IN_PROCESS "onednn" /* the fast executor: needs no adapter and no export */

struct mq_engine_comparison {
  struct mq_arena arena;
  const char *name, *version, *format;    /* format: of the export that it ran; "" in process */
  const char *skipped_reason;             /* why there is nothing to compare; NULL: there is */
  bool is_failed;                         /* then: it is here and was given the export, and did not answer */
  bool is_twin;                           /* its bits must be the program's */
  int64_t n_images, elements, mismatches; /* of all outputs; of codes: others, of floats: other bits */
  double max_step; /* the largest difference, in steps of the output's scale; of floats: of 1/127 of what the
                      image's largest value is */
  int64_t n_agree; /* images with the same class */
  const struct mq_adapter_node *nodes; /* what the engine made of the export, as far as it tells */
  size_t n_nodes, n_integer;
};
/* Exports the bundle in the first of the engine's formats that the target names and that has a form for it,
 * or else in the first that has one, and runs it on the images that `verification` kept outputs of.
 * MQ_BAD_USAGE: no engine of that name. An engine that is not installed, reads none of the formats or fails
 * is MQ_OK with the reason. An image whose outputs are not all numbers has no class. */
struct mq_verify_engine_options {
  const char *name;
  const struct mq_target *target; /* NULL: not known; nothing is a twin */
  const char
      *qdq; /* the Q/DQ model that the bundle is: who reads such models gets this very file; NULL: none */
  unsigned loader_threads;
};
mq_status mq_verify_engine(struct mq_engine_comparison *comparison, const struct mq_bundle *bundle,
                           const struct mq_verification *verification, struct mq_dataset *data,
                           const struct mq_verify_engine_options *options, struct mq_pool *pool,
                           struct mq_err *err) MQ_MUST_CHECK;
void mq_engine_comparison_deinit(struct mq_engine_comparison *comparison); /* accepts a zeroed one */

#endif
