/* Axes of a plan's grid: how each key is read, and where its values go in a cell. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "bench/plan.h"
#include "bench/variant.h"
#include "mqbench/target.h"

#define MQ_AXIS_MAX_VALUES 1000

typedef mq_status (*read_fn)(struct mq_axis_value *value, const struct mq_yaml_node *node,
                             const struct mq_plan_reader *reader, struct mq_err *err);

static mq_status read_name(struct mq_axis_value *value, const struct mq_yaml_node *node,
                           const struct mq_plan_reader *reader, struct mq_err *err) {
  (void)reader;
  value->is_given[0] = true;
  return mq_yaml_get_text(&value->text[0], node, err);
}

/* The method by its own name: a quantizer may have several spellings. */
static mq_status check_method(const char **name, const struct mq_yaml_node *node, struct mq_err *err) {
  static const char *const later[] = {"adaround", "brecq", "qdrop", NULL};
  const struct mq_quantizer_ops *quantizer = mq_quantizer_find(*name);
  if (quantizer) {
    *name = quantizer->name;
  }
  if (quantizer || !strcmp(*name, "float") || !strcmp(*name, "ptq")) {
    return MQ_OK;
  }
  for (const char *const *word = later; *word; word++) {
    if (!strcmp(*word, *name)) {
      return mq_yaml_fail(err, node, "method '%s' is not in this version (mqbench list methods)", *name);
    }
  }
  return mq_yaml_fail(err, node, "unknown method '%.100s' (mqbench list methods)", *name);
}

static mq_status read_variant(struct mq_axis_value *value, const struct mq_yaml_node *node,
                              const struct mq_plan_reader *reader, struct mq_err *err) {
  struct mq_err why = {0};
  mq_status status = mq_variant_read(&value->text[1], node, reader->arena, err);
  if (status == MQ_OK && mq_variant_check(value->text[1], value->text[0], &why) != MQ_OK) {
    status = mq_yaml_fail(err, node, "%s", why.message);
  }
  value->is_given[1] = true;
  return status;
}

static mq_status read_option(struct mq_axis_value *value, const struct mq_yaml_node *node,
                             struct mq_err *err) {
  struct mq_err why = {0};
  mq_status status = mq_yaml_get_double(&value->parameter[1], node, err);
  if (status == MQ_OK && mq_training_check_option(value->text[0], value->parameter[1], &why) != MQ_OK) {
    status = mq_yaml_fail(err, node, "%s", why.message);
  }
  value->is_given[1] = true;
  return status;
}

/* "ptq" or {name: lsq, variant: published, option: 1}. */
static mq_status read_method(struct mq_axis_value *value, const struct mq_yaml_node *node,
                             const struct mq_plan_reader *reader, struct mq_err *err) {
  static const char *const keys[] = {"name", "variant", "option", NULL};
  const struct mq_yaml_node *name = node, *variant = NULL, *option = NULL;
  mq_status status = MQ_OK;
  if (node->kind != MQ_YAML_SCALAR) {
    status = mq_yaml_check_keys(node, keys, err);
    if (status == MQ_OK) {
      status = mq_yaml_require(&name, node, "name", err);
    }
    variant = mq_yaml_find(node, "variant");
    option = mq_yaml_find(node, "option");
  }
  if (status == MQ_OK) {
    status = read_name(value, name, reader, err);
  }
  if (status == MQ_OK) {
    status = check_method(&value->text[0], name, err);
  }
  if (status == MQ_OK && variant) {
    status = read_variant(value, variant, reader, err);
  }
  return status == MQ_OK && option ? read_option(value, option, err) : status;
}

/* A name from the target folders, or a file. */
static mq_status read_target(struct mq_axis_value *value, const struct mq_yaml_node *node,
                             const struct mq_plan_reader *reader, struct mq_err *err) {
  mq_status status = read_name(value, node, reader, err);
  if (status != MQ_OK) {
    return status;
  }
  size_t n = strlen(value->text[0]);
  bool is_file = strchr(value->text[0], '/') || (n > 5 && !strcmp(value->text[0] + n - 5, ".yaml"));
  if (is_file) {
    status = mq_plan_path(&value->text[0], value->text[0], reader, err);
  }
  struct mq_target *target = NULL;
  struct mq_err why = {0};
  if (status == MQ_OK && mq_target_load(&target, value->text[0], &why) != MQ_OK) {
    status = mq_yaml_fail(err, node, "%s", why.message);
  }
  mq_target_destroy(target);
  return status;
}

static mq_status read_bit_count(struct mq_axis_value *value, int half, const struct mq_yaml_node *node,
                                struct mq_err *err) {
  int64_t bits = 0;
  mq_status status = mq_yaml_get_int(&bits, node, 2, 16, NULL);
  if (status != MQ_OK || (bits > 8 && (half == 0 || bits != 16))) {
    return mq_yaml_fail_found(err, node,
                              half == 0 ? "a whole number from 2 to 8 for weights (activations: also 16, as "
                                          "in {w: 8, a: 16})"
                                        : "a whole number from 2 to 8, or 16, for activations");
  }
  value->number[half] = bits;
  value->is_given[half] = true;
  return MQ_OK;
}

typedef mq_status (*half_fn)(struct mq_axis_value *value, int half, const struct mq_yaml_node *node,
                             struct mq_err *err);

/* A scalar for weights and activations, or {w: .., a: ..}. */
static mq_status read_halves(struct mq_axis_value *value, const struct mq_yaml_node *node, half_fn read,
                             struct mq_err *err) {
  static const char *const keys[] = {"w", "a", NULL};
  if (node->kind == MQ_YAML_SCALAR) {
    mq_status status = read(value, 0, node, err);
    return status == MQ_OK ? read(value, 1, node, err) : status;
  }
  mq_status status = mq_yaml_check_keys(node, keys, err);
  if (status == MQ_OK && node->n == 0) {
    status = mq_yaml_fail(err, node, "found an empty map, expected w, a or both");
  }
  for (int half = 0; half < 2 && status == MQ_OK; half++) {
    const struct mq_yaml_node *child = mq_yaml_find(node, keys[half]);
    status = child ? read(value, half, child, err) : MQ_OK;
  }
  return status;
}

mq_status mq_axis_read_bits(struct mq_axis_value *value, const struct mq_yaml_node *node,
                            const struct mq_plan_reader *reader, struct mq_err *err) {
  (void)reader;
  return read_halves(value, node, read_bit_count, err);
}

static mq_status check_parameter(const struct mq_observer_ops *observer, double parameter,
                                 const struct mq_yaml_node *node, struct mq_err *err) {
  const struct mq_observer_limits *limits = &observer->parameter;
  if (mq_observer_takes(observer, parameter)) {
    return MQ_OK;
  }
  if (!limits->exists) {
    return mq_yaml_fail(err, node, "found parameter %g, expected none: observer '%s' has no parameter",
                        parameter, observer->name);
  }
  char expected[MQ_LIMITS_TEXT];
  mq_limits_format(expected, limits);
  return mq_yaml_fail(err, node, "found parameter %g of observer '%s', expected %s", parameter,
                      observer->name, expected);
}

/* "mse" or {name: quantile, parameter: 0.999}. */
static mq_status read_observer_half(struct mq_axis_value *value, int half, const struct mq_yaml_node *node,
                                    struct mq_err *err) {
  static const char *const keys[] = {"name", "parameter", NULL};
  const struct mq_yaml_node *name = node, *parameter = NULL;
  mq_status status = MQ_OK;
  if (node->kind == MQ_YAML_MAP) {
    status = mq_yaml_check_keys(node, keys, err);
    if (status == MQ_OK) {
      status = mq_yaml_require(&name, node, "name", err);
    }
    parameter = mq_yaml_find(node, "parameter");
  }
  if (status == MQ_OK && parameter) {
    status = mq_yaml_get_double(&value->parameter[half], parameter, err);
  }
  if (status == MQ_OK) {
    status = mq_yaml_get_text(&value->text[half], name, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  value->is_given[half] = true;
  const struct mq_observer_ops *observer = mq_observer_find(value->text[half]);
  if (!observer) {
    return mq_yaml_fail(err, name, "unknown observer '%.100s' (mqbench list observers)", value->text[half]);
  }
  if (half == 0 ? !observer->is_for_weights : !observer->is_for_activations) {
    return mq_yaml_fail(err, name, "observer '%s' is not for %s", observer->name,
                        half == 0 ? "weights" : "activations");
  }
  return parameter ? check_parameter(observer, value->parameter[half], parameter, err) : MQ_OK;
}

static mq_status read_observer(struct mq_axis_value *value, const struct mq_yaml_node *node,
                               const struct mq_plan_reader *reader, struct mq_err *err) {
  (void)reader;
  bool is_named = node->kind == MQ_YAML_MAP && mq_yaml_find(node, "name");
  if (is_named) { /* the same observer for both halves */
    mq_status status = read_observer_half(value, 0, node, err);
    return status == MQ_OK ? read_observer_half(value, 1, node, err) : status;
  }
  return read_halves(value, node, read_observer_half, err);
}

static mq_status read_seed(struct mq_axis_value *value, const struct mq_yaml_node *node,
                           const struct mq_plan_reader *reader, struct mq_err *err) {
  (void)reader;
  value->is_given[0] = true;
  return mq_yaml_get_int(&value->number[0], node, 0, INT64_MAX, err);
}

static mq_status read_graph(struct mq_axis_value *value, const struct mq_yaml_node *node,
                            const struct mq_plan_reader *reader, struct mq_err *err) {
  static const char *const words[] = {"target", "1", "2", "3", NULL};
  (void)reader;
  int index = 0;
  mq_status status = mq_yaml_get_choice(&index, node, words, err);
  value->is_given[0] = true;
  value->number[0] = index;
  return status;
}

static mq_status read_bn_fold(struct mq_axis_value *value, const struct mq_yaml_node *node,
                              const struct mq_plan_reader *reader, struct mq_err *err) {
  (void)reader;
  double index = 0;
  mq_status status = mq_training_read(&index, mq_training_key_at(mq_training_key_find("bn_fold")), node, err);
  value->is_given[0] = true;
  value->number[0] = (int64_t)index;
  return status;
}

static mq_status read_flag(struct mq_axis_value *value, const struct mq_yaml_node *node,
                           const struct mq_plan_reader *reader, struct mq_err *err) {
  (void)reader;
  bool flag = false;
  mq_status status = mq_yaml_get_bool(&flag, node, err);
  value->is_given[0] = true;
  value->number[0] = flag;
  return status;
}

static const struct {
  const char *name;
  read_fn read;
} axes[MQ_AXIS_COUNT] = {
    [MQ_AXIS_MODEL] = {"model", read_name},
    [MQ_AXIS_METHOD] = {"method", read_method},
    [MQ_AXIS_BITS] = {"bits", mq_axis_read_bits},
    [MQ_AXIS_OBSERVER] = {"observer", read_observer},
    [MQ_AXIS_GRAPH] = {"graph", read_graph},
    [MQ_AXIS_BN_FOLD] = {"bn_fold", read_bn_fold},
    [MQ_AXIS_BN_CALIBRATION] = {"bn_calibration", read_flag},
    [MQ_AXIS_TARGET] = {"target", read_target},
    [MQ_AXIS_SEED] = {"seed", read_seed},
};

/* The key of `training` that an axis stands for, or NULL. */
static const struct mq_training_key *training_key(mq_axis_id id) {
  return id >= MQ_AXIS_TRAINING && id < MQ_AXIS_TARGET ? mq_training_key_at((size_t)(id - MQ_AXIS_TRAINING))
                                                       : NULL;
}

static const char *axis_name(mq_axis_id id) {
  const struct mq_training_key *key = training_key(id);
  return key ? key->name : axes[id].name;
}

mq_axis_id mq_axis_find(const char *key) {
  mq_axis_id id = 0;
  while (id < MQ_AXIS_COUNT && strcmp(key, axis_name(id)) != 0) {
    id++;
  }
  return id;
}

bool mq_axis_is_training(mq_axis_id id) {
  return training_key(id) != NULL;
}

static mq_status read_value(struct mq_axis_value *value, mq_axis_id id, const struct mq_yaml_node *node,
                            const struct mq_plan_reader *reader, struct mq_err *err) {
  const struct mq_training_key *key = training_key(id);
  value->is_given[0] = value->is_given[0] || key != NULL;
  return key ? mq_training_read(&value->parameter[0], key, node, err)
             : axes[id].read(value, node, reader, err);
}

static bool is_same_text(const char *a, const char *b) {
  return a && b ? !strcmp(a, b) : a == b;
}

static bool is_same_half(const struct mq_axis_value *a, const struct mq_axis_value *b, int half) {
  bool is_same_parameter =
      isnan(a->parameter[half]) ? isnan(b->parameter[half]) : a->parameter[half] == b->parameter[half];
  return is_same_text(a->text[half], b->text[half]) && a->number[half] == b->number[half] &&
         is_same_parameter;
}

bool mq_axis_value_matches(const struct mq_axis_value *pattern, const struct mq_axis_value *value) {
  return (!pattern->is_given[0] || is_same_half(pattern, value, 0)) &&
         (!pattern->is_given[1] || is_same_half(pattern, value, 1));
}

mq_status mq_axis_read(struct mq_axis *axis, mq_axis_id id, const struct mq_yaml_node *node,
                       const struct mq_plan_reader *reader, struct mq_err *err) {
  bool is_list = node->kind == MQ_YAML_LIST;
  size_t n = is_list ? node->n : 1;
  *axis = (struct mq_axis){.values = NULL};
  if (n == 0 || n > MQ_AXIS_MAX_VALUES) {
    return mq_yaml_fail(err, node, "%s: found %zu values, expected 1 to %d", axis_name(id), n,
                        MQ_AXIS_MAX_VALUES);
  }
  axis->values = mq_arena_alloc(reader->arena, n, sizeof *axis->values);
  if (!axis->values) {
    return mq_fail_memory(err, "plan");
  }
  for (; axis->n < n; axis->n++) {
    const struct mq_yaml_node *item = is_list ? node->items[axis->n] : node;
    struct mq_axis_value *value = &axis->values[axis->n];
    value->parameter[0] = value->parameter[1] = (double)NAN;
    mq_status status = read_value(value, id, item, reader, err);
    if (status != MQ_OK) {
      return status;
    }
    for (size_t i = 0; i < axis->n; i++) {
      if (is_same_half(value, &axis->values[i], 0) && is_same_half(value, &axis->values[i], 1)) {
        return mq_yaml_fail(err, item, "%s: this value is listed twice", axis_name(id));
      }
    }
  }
  return MQ_OK;
}

void mq_axis_apply(struct mq_cell *cell, mq_axis_id id, const struct mq_axis_value *value) {
  switch (id) {
    case MQ_AXIS_METHOD:
      cell->method = value->text[0];
      cell->variant = value->text[1];
      cell->method_option = value->parameter[1];
      break;
    case MQ_AXIS_BITS: /* 0: the target's */
      cell->w_bits = (int)value->number[0];
      cell->a_bits = (int)value->number[1];
      break;
    case MQ_AXIS_OBSERVER:
      cell->w_observer = value->is_given[0] ? value->text[0] : cell->w_observer;
      cell->a_observer = value->is_given[1] ? value->text[1] : cell->a_observer;
      cell->w_parameter = value->parameter[0];
      cell->a_parameter = value->parameter[1];
      break;
    case MQ_AXIS_GRAPH:
      cell->graph = (int)value->number[0];
      break;
    case MQ_AXIS_BN_FOLD:
      cell->bn_fold = (mq_bn_fold)value->number[0];
      break;
    case MQ_AXIS_BN_CALIBRATION:
      cell->calibrates_bn = value->number[0] != 0;
      break;
    case MQ_AXIS_TARGET:
      cell->target = value->text[0];
      break;
    case MQ_AXIS_SEED:
      cell->seed = (uint64_t)value->number[0];
      break;
    case MQ_AXIS_MODEL: /* a model is more than its name: plan.c */
    case MQ_AXIS_COUNT:
      break;
    default:
      mq_training_set(cell, training_key(id), value->parameter[0]);
      break;
  }
}
