/* What the parts of a trial share. */
#ifndef MQ_BENCH_TRIAL_H
#define MQ_BENCH_TRIAL_H

#include "bench/cache.h"
#include "mqbench/tune.h"

struct trial {
  const struct mq_cell *cell;
  const struct mq_trial_options *options;
  struct mq_trial_cache *cache;
  struct mq_arena *arena;
  struct mq_trial_result *result;
  const char *label;
  const struct mq_cache_model *model;
  struct mq_cache_data *calib, *eval;
  struct mq_target *target;
  struct mq_prepared prepared;
  bool is_prepared;
  int64_t *indices; /* of the calibration images */
  int64_t n_indices;
  struct mq_evaluation evaluation;
  struct mq_cache_model own; /* of an architecture */
  struct mq_graph *trained;  /* float weights as learned; NULL: nothing was trained */
  bool is_diverged;
  bool is_evaluated; /* t->evaluation is of the trained network already: its last judgement */
};

/* part / whole, NAN of nothing. */
double mq_trial_share(int64_t part, int64_t whole);
struct mq_prepare_options mq_trial_prepare_options(const struct mq_cell *cell);
struct mq_calibrate_options mq_trial_calibrate_options(const struct trial *t);

/* Quantization-aware training: fills t->prepared and t->trained, and what the run says of its training. */
mq_status mq_trial_train(struct trial *t, struct mq_err *err) MQ_MUST_CHECK;

/* The same for a float network: fills t->trained. */
mq_status mq_trial_train_float(struct trial *t, struct mq_err *err) MQ_MUST_CHECK;

/* t->evaluation and t->prepared into the run. */
mq_status mq_trial_record_evaluation(struct trial *t, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_trial_record_points(struct trial *t, struct mq_err *err) MQ_MUST_CHECK;
/* The bits that were measured: constants, scales, zero points. */
mq_status mq_trial_record_result(struct trial *t, struct mq_err *err) MQ_MUST_CHECK;

#endif
