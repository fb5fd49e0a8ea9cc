/* Internals of the plan reader: axes of the grid and their values. */
#ifndef MQ_BENCH_PLAN_H
#define MQ_BENCH_PLAN_H

#include "base/yaml.h"
#include "bench/training.h"
#include "mqbench/bench.h"

/* In the order in which the grid is walked, the last one fastest. */
typedef enum mq_axis_id {
  MQ_AXIS_MODEL,
  MQ_AXIS_METHOD,
  MQ_AXIS_BITS,
  MQ_AXIS_OBSERVER,
  MQ_AXIS_GRAPH,
  MQ_AXIS_BN_FOLD,
  MQ_AXIS_BN_CALIBRATION,
  MQ_AXIS_TRAINING, /* the first of MQ_TRAINING_KEYS axes, one for each key */
  MQ_AXIS_TARGET = MQ_AXIS_TRAINING + MQ_TRAINING_KEYS,
  MQ_AXIS_SEED,
  MQ_AXIS_COUNT,
} mq_axis_id;

/* One value of any axis. A value may have two halves (weights and activations; name and variant); in an
 * exclusion a half that was not written matches everything. */
struct mq_axis_value {
  const char *text[2];
  int64_t number[2];
  double parameter[2];
  bool is_given[2];
};

struct mq_axis {
  struct mq_axis_value *values;
  size_t n;
};

struct mq_plan_reader {
  struct mq_arena *arena; /* of the plan */
  const char *directory;  /* relative paths start here */
};

/* A plan while it is read. */
struct mq_plan_model {
  const char *path, *name; /* path NULL: an architecture */
  const char *arch;
  double width;
  int line;
};

struct mq_plan_exclusion {
  struct mq_axis axes[MQ_AXIS_COUNT]; /* n 0: not given */
  bool is_used;
  const struct mq_yaml_node *node;
};

struct mq_plan_reading {
  struct mq_plan *plan;
  struct mq_plan_reader reader;
  const struct mq_yaml_node *root;
  struct mq_axis axes[MQ_AXIS_COUNT]; /* n 0: not given; models by name */
  struct mq_plan_model *models;
  struct mq_plan_exclusion *exclusions;
  size_t n_exclusions;
  struct mq_cell base; /* what all cells share */
};

/* The axis a key of `grid` or `exclude` names, MQ_AXIS_COUNT if none. */
mq_axis_id mq_axis_find(const char *key);
/* A scalar or list; no value twice. */
mq_status mq_axis_read(struct mq_axis *axis, mq_axis_id id, const struct mq_yaml_node *node,
                       const struct mq_plan_reader *reader, struct mq_err *err) MQ_MUST_CHECK;
/* An axis of a key of `training`. */
bool mq_axis_is_training(mq_axis_id id);
bool mq_axis_value_matches(const struct mq_axis_value *pattern, const struct mq_axis_value *value);
/* Writes a value into its fields of a cell. */
void mq_axis_apply(struct mq_cell *cell, mq_axis_id id, const struct mq_axis_value *value);

/* "bits: 8", "bits: {w: 4, a: 8}": also part of overrides. */
mq_status mq_axis_read_bits(struct mq_axis_value *value, const struct mq_yaml_node *node,
                            const struct mq_plan_reader *reader, struct mq_err *err) MQ_MUST_CHECK;

/* `path` seen from the plan's folder, absolute where that folder exists. In the arena. */
mq_status mq_plan_path(const char **absolute, const char *path, const struct mq_plan_reader *reader,
                       struct mq_err *err) MQ_MUST_CHECK;

/* Fills plan->cells from the axes, without what is excluded. */
mq_status mq_plan_expand(struct mq_plan_reading *r, struct mq_err *err) MQ_MUST_CHECK;
/* Of cells that come to the same settings once their target has filled in what they leave open, only the
 * first stays. */
mq_status mq_plan_drop_repeated(struct mq_plan *plan, struct mq_err *err) MQ_MUST_CHECK;

#endif
