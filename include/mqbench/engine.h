/* Executes a graph: inference (mq_engine) and training (mq_trainer: forward, loss, backward, optimiser).
 *
 * The engine compiles a graph for slices of a fixed number of images. Compilation fuses (conv + affine + add
 * + clip + fake quantization), chooses layouts once, packs weights and plans memory; a step then never
 * allocates, looks at a name or asks for a target. A slice's bits do not depend on which worker runs it, on
 * how many there are, nor on the other slices. */
#ifndef MQBENCH_ENGINE_H
#define MQBENCH_ENGINE_H

#include "mqbench/graph.h"
#include "mqbench/kernel.h"
#include "mqbench/quant.h"

typedef enum mq_memory_plan {
  MQ_MEMORY_FORWARD,
  MQ_MEMORY_BACKWARD, /* what backward reads stays; set by mq_trainer */
  MQ_MEMORY_KEEP_ALL
} mq_memory_plan;

/* The exact simulation: sums of integers, and the arithmetic's own codes, at calibrated points on grids of
 * integers. Wherever the graph computes in floats between points, so does the engine. */
struct mq_engine_exact {
  const struct mq_exact_arithmetic *arithmetic;
  /* Averages over windows, over all pixels: their codes are on the grid of their input. */
  bool averages_keep_scale, means_keep_scale;
  bool has_float_averages;                  /* the target quantizes none */
  const struct mq_node *const *float_nodes; /* adds and averages that are computed in floats */
  size_t n_float_nodes;
};

struct mq_engine_options {
  int64_t slice_images; /* 0: 8; ignored by graphs without a batch dimension */
  bool simulates;       /* apply fake quantization at calibrated points; otherwise FakeQuantize is identity */
  const struct mq_point *points; /* borrowed; needed when the graph has FakeQuantize nodes and simulates */
  size_t n_points;
  const struct mq_engine_exact *exact; /* with `simulates`; NULL: in floats */
  const struct mq_value *const *taps;  /* values of the graph to show to the job's tap (observers, verify) */
  size_t n_taps;
  mq_memory_plan memory;
  /* Nodes where groups of slices exchange statistics (see mq_engine_job.exchange): a BatchNormalization takes
   * its gain and shift from there; any other node's first output is multiplied and added to. */
  const struct mq_node *const *exchanges;
  size_t n_exchanges;
  size_t group_slices; /* slices that run in step with each other (taps are not called); 0: 1 */
};

struct mq_engine;
mq_status mq_engine_create(struct mq_engine **engine, const struct mq_graph *graph,
                           const struct mq_engine_options *options, struct mq_pool *pool,
                           struct mq_err *err) MQ_MUST_CHECK;
void mq_engine_destroy(struct mq_engine *engine);
size_t mq_engine_memory_bytes(const struct mq_engine *engine); /* of one worker's plan */

struct mq_channel_statistics {
  int64_t n_channels, count;     /* count: values per channel */
  const double *mean, *variance; /* biased variance */
};

/* What flows through. All functions are called in workers, for different slices at the same time. */
struct mq_engine_job {
  void *context;
  size_t n_slices;
  /* Fills the graph's inputs: logical shapes with the slice's batch; rank-4 inputs N C H W lie channels last,
   * others row-major (also N H W C inputs that the
   * graph only transposes): go by the strides. */
  mq_status (*fill)(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                    struct mq_err *err);
  /* Reads the graph's outputs (strided views, borrowed). May be NULL. */
  mq_status (*take)(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                    struct mq_err *err);
  /* Sees each tapped value after it was computed (before fake quantization of it). A slice may run as several
   * chunks of images, one after the other: the value holds those from first_image on. May be NULL. */
  mq_status (*tap)(void *context, size_t slice, unsigned worker, size_t tap, int64_t first_image,
                   const struct mq_tensor *value, struct mq_err *err);
  /* With exchanges, a group of slices runs in segments. Between two of them this gets the statistics per
   * channel (dimension 1) of what the exchange's node normalises, over the images of the group that count,
   * reduced in tree order; it answers what every slice of the group then applies: y = x gain[c] + shift[c].
   * Called in the calling thread, in order. */
  mq_status (*exchange)(void *context, size_t group, size_t exchange,
                        const struct mq_channel_statistics *statistics, float *gain, float *shift,
                        struct mq_err *err);
  /* Images of a slice that count, for exchanges; NULL: all. */
  int64_t (*count_valid)(void *context, size_t slice);
};
mq_status mq_engine_run(struct mq_engine *engine, const struct mq_engine_job *job,
                        struct mq_err *err) MQ_MUST_CHECK;
/* Processor seconds that the engine's own work took, summed over workers, since creation (fill, take, tap
 * excluded). */
double mq_engine_busy_seconds(const struct mq_engine *engine);

/* ---- Ranks: processes that share the slices of a training step (mpirun -n 2 mqbench ...) ----------------
 * Every rank makes the same calls in the same order, in one thread; all hold the same variables, with the
 * same bits. Files are written by rank 0 alone. NULL stands for a single rank everywhere. */
struct mq_collective;
bool mq_collective_has_mpi(void); /* was the library built with it? */
/* Joins the ranks that mpirun started together (MPI is not touched otherwise). Once in a process. Several
 * ranks without MPI in the library: MQ_BAD_USAGE, because they would do the same work side by side. */
mq_status mq_collective_open(struct mq_collective **collective, struct mq_err *err) MQ_MUST_CHECK;
/* `status`: how the rank's work ended. A failure ends the other ranks too, which may be waiting for it. */
void mq_collective_close(struct mq_collective *collective, mq_status status);
int mq_collective_rank(const struct mq_collective *collective);
int mq_collective_size(const struct mq_collective *collective);
/* `all` becomes the ranks' blocks, one behind the other; bytes[r] of rank r (the same array on all ranks). */
mq_status mq_collective_gather(struct mq_collective *collective, void *all, const void *own,
                               const size_t *bytes, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_collective_gather_equal(struct mq_collective *collective, void *all, const void *own,
                                     size_t bytes, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_collective_barrier(struct mq_collective *collective, struct mq_err *err) MQ_MUST_CHECK;
/* The rank's own status if that is a failure, otherwise a failure that names the first rank that failed. */
mq_status mq_collective_agree(struct mq_collective *collective, mq_status status,
                              struct mq_err *err) MQ_MUST_CHECK;

/* ---- Training --------------------------------------------------------------------------------------------
 * A step takes a batch through the graph and back and moves the parameters. The batch is cut into slices;
 * what is summed over them (gradients, batch statistics, the loss) is summed in the fixed tree of the slice
 * index, so that the bits do not depend on the number of workers or ranks. Batch normalisation has the
 * statistics of its group of slices (bn_groups; 1: of the whole batch); running statistics follow the first
 * group. */
typedef enum mq_optimiser {
  MQ_OPTIMISER_SGD,
  MQ_OPTIMISER_ADAM
} mq_optimiser;

struct mq_trainer_options {
  int64_t batch;           /* images of a step: a multiple of slice_images * bn_groups */
  int64_t slice_images;    /* 0: 8 */
  int64_t bn_groups;       /* 0: 1 */
  int64_t batch_per_gpu;   /* what LSQ's N counts; 0: the batch */
  struct mq_point *points; /* borrowed; with quantizers and their parameters. NULL: float training */
  size_t n_points;
  double label_smoothing;
  mq_precision backward;  /* of convolutions and linear layers */
  bool has_float_forward; /* never products on integers: the cross-check */
  /* Running variances move by the batch's variance times C/(C - 1), C channels (1: unchanged), as in the
   * paper's released code, instead of N/(N - 1), N values a channel. */
  bool has_published_variance;
  mq_optimiser optimiser;
  double momentum; /* SGD; Adam's first beta */
  double beta2;    /* Adam; 0: 0.999 */
  bool is_nesterov;
  double weight_decay;                 /* of weights and, where a method has it so, of its parameters */
  double bias_decay, bn_decay;         /* of biases; of gamma and beta. NAN: like weights */
  double quantizer_decay, scale_decay; /* of a method's parameters; of scales alone. NAN: like weights */
  /* Borrowed; the ranks that share the slices of every batch. NULL: none. The result's bits do not depend on
   * it. A trainer's functions that take an `err` are then called by all ranks. */
  struct mq_collective *collective;
};

struct mq_trainer;
/* The graph is only read; its constants are where the parameters start. */
mq_status mq_trainer_create(struct mq_trainer **trainer, const struct mq_graph *graph,
                            const struct mq_trainer_options *options, struct mq_pool *pool,
                            struct mq_err *err) MQ_MUST_CHECK;
void mq_trainer_destroy(struct mq_trainer *trainer);
size_t mq_trainer_memory_bytes(const struct mq_trainer *trainer);
size_t mq_trainer_slices(const struct mq_trainer *trainer); /* of a batch */
/* Those that this rank fills and takes: all of them without ranks. */
void mq_trainer_own_slices(size_t *first, size_t *count, const struct mq_trainer *trainer);

struct mq_trainer_job {
  void *context;
  /* Fills a slice's inputs (as mq_engine_job.fill) and its slice_images labels (-1: does not count). Called
   * in workers, for the rank's own slices. */
  mq_status (*fill)(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs, int64_t *labels,
                    struct mq_err *err);
  /* Reads the outputs of a slice, one of the rank's own; may be NULL. */
  mq_status (*take)(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                    struct mq_err *err);
};
struct mq_trainer_result {
  double loss; /* mean over the batch's images */
  int64_t correct, images;
  /* false: the loss is NaN or infinite, and nothing was changed but running statistics; or the loss is finite
   * and mq_trainer_step has made a parameter NaN or infinite */
  bool is_finite;
};
/* One step: forward, backward, the quantizers' own updates, the optimiser at `rate`. */
mq_status mq_trainer_step(struct mq_trainer_result *result, struct mq_trainer *trainer,
                          const struct mq_trainer_job *job, double rate, struct mq_err *err) MQ_MUST_CHECK;
/* Forward and backward only: the gradients stay for mq_trainer_gradient. For tests and analyses. */
mq_status mq_trainer_differentiate(struct mq_trainer_result *result, struct mq_trainer *trainer,
                                   const struct mq_trainer_job *job, struct mq_err *err) MQ_MUST_CHECK;
/* The training graph in evaluation: running statistics, quantizers as they stand. Nothing changes. */
mq_status mq_trainer_evaluate(struct mq_trainer_result *result, struct mq_trainer *trainer,
                              const struct mq_trainer_job *job, struct mq_err *err) MQ_MUST_CHECK;

/* Everything that training changes, one entry after the other in a fixed order: variables (parameters and
 * running statistics), then the optimiser's own, then its step counter. For checkpoints, moving averages,
 * hashes of a run. `values` is the trainer's memory and may be written. */
struct mq_trainer_state {
  const char *name; /* "conv1.weight", "conv1.weight/momentum", "layer1.out/scale", ... */
  float *values;
  size_t count;
  bool is_variable; /* false: the optimiser's */
};
size_t mq_trainer_state_count(const struct mq_trainer *trainer);
struct mq_trainer_state mq_trainer_state_at(const struct mq_trainer *trainer, size_t i);
/* The gradient of variable i after mq_trainer_differentiate; NULL for running statistics. */
const float *mq_trainer_gradient(const struct mq_trainer *trainer, size_t i);
int64_t mq_trainer_steps(const struct mq_trainer *trainer);           /* done so far */
void mq_trainer_set_steps(struct mq_trainer *trainer, int64_t steps); /* when a checkpoint is taken up */
/* Writes the variables into `graph` (the one given at creation, or a clone: values are found by name) and the
 * quantizers' parameters into `points`. */
mq_status mq_trainer_export(const struct mq_trainer *trainer, struct mq_graph *graph, struct mq_point *points,
                            struct mq_err *err) MQ_MUST_CHECK;

#endif
