/* What a target makes of the embedded networks, for whoever writes its file: points, islands, the integer
 * program beside its simulation, exports, and the accuracy that methods reach. The runs are those of
 * plans/target_check.yaml with the file in place of the plan's target. */
#ifndef MQ_BENCH_TARGET_CHECK_H
#define MQ_BENCH_TARGET_CHECK_H

#include "mqbench/bench.h"
#include "mqbench/verify.h"

struct mq_target_check_options {
  const struct mq_plan *plan; /* mq_target_check_plan */
  const char *target;         /* a YAML file, or a name */
  const char *const *methods; /* of the plan */
  size_t n_methods;
  double epochs;    /* of trainings; 0: the plan's */
  int64_t n_images; /* accuracy is measured on the first ones; 0: all */
  int64_t n_compared;
  uint64_t seed;
  bool is_strict;
  mq_isa isa;
  struct mq_pool *pool;
};

struct mq_checked_points { /* points of one kind and scheme */
  const char *kind, *scheme;
  int64_t count;
};
struct mq_checked_island {
  const char *node, *op, *reason;
  bool is_tolerated;
};
struct mq_checked_artefact {
  const char *format, *reason; /* why it was not written; NULL: it was */
};
struct mq_checked_program {
  const char *reason; /* why there is none; NULL: there is */
  int64_t n_steps, weight_bytes, arena_bytes;
  /* Of mq_verify, its sums over tensors. */
  int64_t n_images, n_agree, elements, fast_elements, fast_mismatches, exact_elements, exact_mismatches;
  struct mq_differences simulation;
};
struct mq_checked_model {
  const char *name;
  struct mq_checked_points *points;
  struct mq_checked_island *islands;
  struct mq_checked_artefact *artefacts;
  size_t n_points, n_islands, n_artefacts; /* n_points: of `points` */
  struct mq_checked_program program;
  struct mq_run *runs;
  size_t n_runs;
};
struct mq_target_check {
  struct mq_arena arena;
  struct mq_target *target;
  struct mq_checked_model *models;
  size_t n_models;
  const char **problems; /* one line each; none: the target is ok */
  size_t n_problems;
};

mq_status mq_target_check_plan(struct mq_plan **plan, struct mq_err *err) MQ_MUST_CHECK;
/* A target that cannot be read is MQ_BAD_INPUT (MQ_BAD_USAGE: no such name); what does not work with one that
 * can is a problem of the result, and MQ_OK. */
mq_status mq_target_check_run(struct mq_target_check *check, const struct mq_target_check_options *options,
                              struct mq_err *err) MQ_MUST_CHECK;
void mq_target_check_deinit(struct mq_target_check *check); /* accepts a zeroed one */

#endif
