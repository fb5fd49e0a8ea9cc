/* Executes a graph: forward now; backward, losses and optimisers will join.
 *
 * The engine compiles a graph for slices of a fixed number of images. Compilation fuses (conv + affine + add
 * + clip + fake quantization), chooses layouts once, packs weights and plans memory; a step then never
 * allocates, looks at a name or asks for a target. A slice's bits do not depend on which worker runs it, on
 * how many there are, nor on the other slices. */
#ifndef MQBENCH_ENGINE_H
#define MQBENCH_ENGINE_H

#include "mqbench/graph.h"
#include "mqbench/quant.h"

typedef enum mq_memory_plan {
  MQ_MEMORY_FORWARD,
  MQ_MEMORY_KEEP_ALL
} mq_memory_plan;

struct mq_engine_options {
  int64_t slice_images; /* 0: 8; ignored by graphs without a batch dimension */
  bool simulates;       /* apply fake quantization at calibrated points; otherwise FakeQuantize is identity */
  const struct mq_point *points; /* borrowed; needed when the graph has FakeQuantize nodes and simulates */
  size_t n_points;
  const struct mq_value *const *taps; /* values of the graph to show to the job's tap (observers, verify) */
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
/* Processor seconds spent inside the engine's own steps, summed over workers, since creation (fill, take, tap
 * excluded). */
double mq_engine_busy_seconds(const struct mq_engine *engine);

#endif
