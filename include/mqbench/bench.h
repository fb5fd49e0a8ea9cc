/* Plans, cells, trials: a run is a function of its cell.
 *
 * A cell is complete: nothing is read from the environment later. Its canonical text, the content of model,
 * data and target, and the revisions of method, observers and engine make its identity. */
#ifndef MQBENCH_BENCH_H
#define MQBENCH_BENCH_H

#include "mqbench/kernel.h"
#include "mqbench/prepare.h"
#include "mqbench/store.h"
#include "mqbench/tune.h"

/* Defaults of a plan and of the command line. */
#define MQ_CALIB_IMAGES 256
#define MQ_CALIB_BATCH 32
#define MQ_SLICE_IMAGES 8

/* Random views of training images: see struct mq_augment. */
typedef enum mq_augments {
  MQ_AUGMENTS_STANDARD, /* mq_augment_default */
  MQ_AUGMENTS_NOT,
  MQ_AUGMENTS_CROP_FLIP,
  MQ_AUGMENTS_RESIZED_CROP, /* and flip */
  MQ_AUGMENTS_RESIZED_CROP_JITTER,
} mq_augments;

struct mq_cell {
  const char *plan; /* name, for people; not part of the identity */
  const char *model_path, *model_name;
  const char *arch;  /* instead of a file: a network of the zoo, with drawn weights */
  double arch_width; /* 0: the architecture's own */
  bool trains_float; /* method float: trains the network before it is measured; always with arch */
  const char *calib_data, *eval_data; /* data arguments, canonical */
  const char *target;                 /* name or path */
  int target_position;                /* in the plan's list of targets; not part of the identity */
  const char *method;                 /* "float", "ptq", or a quantizer's own name */
  const char *variant;                /* NULL, "published", "published:observer+bn_variance" */
  double method_option;               /* the method's own number; NAN: its default */
  const char *w_observer, *a_observer;
  double w_parameter, a_parameter; /* NAN: default */
  bool has_own_observers;          /* methods that train: the run left the observers to the method */
  int w_bits, a_bits;              /* 0: the target's */
  int graph;                       /* 0: the target's points; 1, 2, 3 */
  mq_bn_fold bn_fold;
  bool calibrates_bn;
  int64_t calib_images, calib_batch;
  bool is_calib_first;
  int64_t slice_images;          /* of evaluation and calibration too: float sums depend on it */
  struct mq_train_options train; /* of methods that train: what a plan's `training` says; the rest is set by
                                  * the trial */
  mq_augments augment;
  uint64_t seed;
  mq_isa isa; /* cap */
  const struct mq_layer_override *overrides;
  size_t n_overrides;
  bool is_strict;
};

/* A file or data argument that a plan names, and where. */
struct mq_plan_input {
  const char *key; /* "models", "data.train", "data.eval" */
  int line;
  const char *model, *data; /* path; data argument as in the cells; the other one NULL */
};

struct mq_plan {
  struct mq_arena arena;
  const char *name, *description, *file; /* description: one line for people, or NULL */
  struct mq_plan_input *inputs;
  size_t n_inputs;
  mq_isa isa;            /* start the kernels with this cap before running the plan */
  struct mq_cell *cells; /* the grid in order, without exclusions and without what is said twice */
  size_t n_cells;
};
/* Unknown key, wrong type, unknown name: MQ_BAD_INPUT with file and line. Paths are relative to the plan and
 * absolute in its cells. Models and data are not opened. Plug-ins that it names must be loaded before. */
mq_status mq_plan_load(struct mq_plan **plan, const char *path, struct mq_err *err) MQ_MUST_CHECK;
/* The same from n bytes of text; `file` stands for it in messages and its folder for relative paths. */
mq_status mq_plan_parse(struct mq_plan **plan, const char *text, size_t n, const char *file,
                        struct mq_err *err) MQ_MUST_CHECK;
void mq_plan_destroy(struct mq_plan *plan);
/* key=value lines in fixed order, floats as hex: equal cells give equal text. In arena. */
mq_status mq_cell_format(const char **text, const struct mq_cell *cell, struct mq_arena *arena,
                         struct mq_err *err) MQ_MUST_CHECK;
/* The cell of a canonical text, with strings in the arena: mq_cell_format gives the same text again. Anything
 * else, a name or value this version does not know among it, is MQ_BAD_INPUT. */
mq_status mq_cell_parse(struct mq_cell *cell, const char *text, struct mq_arena *arena,
                        struct mq_err *err) MQ_MUST_CHECK;

/* Models, data sets and float accuracies that several cells share; not thread safe. */
struct mq_trial_cache;
/* Hashes of data sets are kept in `directory` (NULL: nowhere). */
mq_status mq_trial_cache_create(struct mq_trial_cache **cache, const char *directory,
                                struct mq_err *err) MQ_MUST_CHECK;
void mq_trial_cache_destroy(struct mq_trial_cache *cache);

struct mq_trial_options {
  struct mq_pool *pool;
  struct mq_collective *ranks;  /* that share the work of trainings; NULL: none */
  const char *bundle;           /* directory to write, or NULL */
  const char *trained;          /* file for the float network as it was trained, or NULL */
  const char *checkpoints;      /* directory: trainings go on there after an interruption; NULL: none */
  const char *label;            /* of progress bars; NULL: the cell's own */
  struct mq_trial_cache *cache; /* NULL: nothing is shared */
};
/* Loads, prepares, calibrates, evaluates one cell. `run` is filled (memory in arena) also when the cell fails
 * for a reason of its own (run->status "failed", message, `failure`): then MQ_OK is returned. MQ_CANCELLED
 * passes through. */
struct mq_trial_result {
  struct mq_run run;
  struct mq_run_point *points;
  size_t n_points;
  mq_status failure; /* why the run failed, MQ_OK if it did not */
};
mq_status mq_trial_run(struct mq_trial_result *result, const struct mq_cell *cell,
                       const struct mq_trial_options *options, struct mq_arena *arena,
                       struct mq_err *err) MQ_MUST_CHECK;

/* A number that a stored run and the same cell now do not share: `kind` says which members hold it. */
typedef enum mq_difference_kind {
  MQ_DIFFERENCE_REAL,  /* NAN: none */
  MQ_DIFFERENCE_COUNT, /* -1: none */
  MQ_DIFFERENCE_TEXT,  /* NULL: none */
} mq_difference_kind;
struct mq_difference {
  const char *what; /* "top1", "point conv1.weight (weight): scale[3]", "curve[2].loss" */
  mq_difference_kind kind;
  double stored_real, now_real;
  int64_t stored_count, now_count;
  const char *stored_text, *now_text;
};
#define MQ_MAX_DIFFERENCES 1000
struct mq_reproduction {
  const char *why_not; /* the runs cannot be compared, one line; NULL: they can */
  struct mq_difference *differences;
  size_t n_differences; /* listed: the first MQ_MAX_DIFFERENCES of all that there are */
  size_t n_all, n_compared;
  double seconds; /* of the second run */
};
/* The run of a store that `name` means: its id, or the first digits of its identity if no other run shares
 * them. MQ_BAD_INPUT without one, with several, and for a run that failed. Memory in arena. */
mq_status mq_reproduce_find(struct mq_run *run, struct mq_store *store, const char *name,
                            struct mq_arena *arena, struct mq_err *err) MQ_MUST_CHECK;
/* Runs the cell of `run` again and compares every number that the store recorded of it, but times, bit by
 * bit. The kernels run already, with the instruction set of the run where the machine has it. Where version,
 * instruction set, inputs or revisions are others, nothing runs and `why_not` says which. Memory in arena. */
mq_status mq_reproduce(struct mq_reproduction *result, struct mq_store *store, const struct mq_run *run,
                       struct mq_pool *pool, struct mq_arena *arena, struct mq_err *err) MQ_MUST_CHECK;

/* Once the run is kept, the checkpoint of its training is of no use any more. */
void mq_trial_remove_checkpoint(const char *checkpoints, const struct mq_run *run);

struct mq_bench_options {
  const char *directory;
  bool resumes;        /* accepted for compatibility: what the store holds is always skipped */
  int shard, n_shards; /* 1-based; 0: none */
  struct mq_pool *pool;
  /* That share the work of trainings, NULL: none. All of them call; rank 0 keeps the runs and has the result.
   */
  struct mq_collective *ranks;
  double renew_seconds; /* how often the lease of the cell that runs is renewed; 0: four times in its life */
};
struct mq_bench_result {
  int64_t cells;   /* of the plan, or of the shard */
  int64_t skipped; /* found in the store */
  int64_t done;    /* finished now, nc included */
  int64_t failed;
  int64_t nc;
  double seconds;
};
/* The grid: what the store holds is skipped, a failing cell becomes a failed run and the grid goes on, so
 * does it after a kill. MQ_CANCELLED after Ctrl-C, with what is finished kept. A model that is not there and
 * data that cannot be read are an error before the first cell, with the plan's line and key. `result` is
 * valid for every outcome. */
mq_status mq_bench_run(struct mq_bench_result *result, const struct mq_plan *plan,
                       const struct mq_bench_options *options, struct mq_err *err) MQ_MUST_CHECK;
/* The cells that mq_bench_run would look at, in order; opens nothing but targets. In arena. */
struct mq_bench_line {
  int64_t number; /* in the plan, from 1 */
  const char *label;
};
mq_status mq_bench_list(struct mq_bench_line **lines, size_t *n, const struct mq_plan *plan,
                        const struct mq_bench_options *options, struct mq_arena *arena,
                        struct mq_err *err) MQ_MUST_CHECK;
/* Where mq_bench_run keeps its runs: DIR/results.db, for a shard DIR/results.I-of-N.db. mq_free; NULL on
 * exhausted memory. */
char *mq_bench_store_path(const struct mq_bench_options *options);

#endif
