/* What several cells share: one loaded model at a time, opened data sets, float accuracies. */
#ifndef MQ_BENCH_CACHE_H
#define MQ_BENCH_CACHE_H

#include "bench/cell.h"
#include "mqbench/data.h"
#include "mqbench/graph.h"

struct mq_cache_model {
  struct mq_cache_model *next;
  char *path, sha256[65], weights[65];
  struct mq_graph *graph; /* NULL: another model is loaded */
};

struct mq_cache_data {
  struct mq_cache_data *next;
  char *argument, sha256[65];
  struct mq_data_spec spec;
  struct mq_dataset *dataset;
  /* Warnings that come once: sorted by class, no background class, fewer images than asked for. */
  bool is_order_told, is_labels_told, is_count_told;
};

/* The float accuracy under the identity of its cell. */
struct mq_cache_float {
  struct mq_cache_float *next;
  char identity[65];
  double top1;
  int64_t correct, images;
};

/* Borrowed from the cache; the graph until the next model is asked for. */
mq_status mq_cache_get_model(const struct mq_cache_model **model, struct mq_trial_cache *cache,
                             const char *path, struct mq_err *err) MQ_MUST_CHECK;
/* Hashes alone: a model that was seen before is not loaded again. */
mq_status mq_cache_get_model_hashes(const struct mq_cache_model **model, struct mq_trial_cache *cache,
                                    const char *path, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_cache_get_data(struct mq_cache_data **data, struct mq_trial_cache *cache, const char *argument,
                            struct mq_err *err) MQ_MUST_CHECK;
/* NULL if it is not known. */
const struct mq_cache_float *mq_cache_find_float(const struct mq_trial_cache *cache, const char *identity);
mq_status mq_cache_put_float(struct mq_trial_cache *cache, const struct mq_cache_float *known,
                             struct mq_err *err) MQ_MUST_CHECK;

/* Identity of a cell and of its float cell from the content of what it names. */
mq_status mq_cache_identify(char identity[65], char float_identity[65], struct mq_cell_inputs *inputs,
                            struct mq_trial_cache *cache, const struct mq_cell *cell, struct mq_arena *arena,
                            struct mq_err *err) MQ_MUST_CHECK;

#endif
