/* Comparing what was simulated with what runs: integer programs, and real engines. */
#ifndef MQBENCH_VERIFY_H
#define MQBENCH_VERIFY_H

#include "mqbench/program.h"
#include "mqbench/tune.h"

/* ---- Integer programs over a data set --------------------------------------------------------------------
 */
struct mq_program_evaluate_options {
  int64_t slice_images;    /* 0: 8 */
  unsigned loader_threads; /* as in mq_evaluate_options */
  const char *label;       /* of the progress bar */
};
/* Accuracy of a program, by its reference executor, in slices over the pool. `graph`: what it was lowered
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

/* ---- Real engines ----------------------------------------------------------------------------------------
 * Each behind an adapter, a small program with one protocol (docs/adapters.md), so that anyone can add a
 * board's runner without touching this code. */
#define MQ_ADAPTER_PROTOCOL 1
#define MQ_ADAPTER_TEXT 256

/* The adapter of that name: an executable file in a directory of MQBENCH_ADAPTERS (separated by ':'), else in
 * the project's own adapters folder. MQ_BAD_USAGE when there is none, or the name is no plain file name.
 * *path is freed with mq_free. */
mq_status mq_adapter_find(char **path, const char *engine, struct mq_err *err) MQ_MUST_CHECK;

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

#endif
