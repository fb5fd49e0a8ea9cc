/* From axes to cells. */
#include <string.h>

#include "bench/cell.h"
#include "bench/plan.h"

#define MQ_PLAN_MAX_CELLS 100000

/* The value of an axis in the cell at `index`; NULL where the axis is not given, or does not touch the cell.
 */
static const struct mq_axis_value *value_at(const struct mq_plan_reading *r, mq_axis_id id,
                                            const size_t index[MQ_AXIS_COUNT]) {
  const struct mq_cell cell = {.method = r->axes[MQ_AXIS_METHOD].values[index[MQ_AXIS_METHOD]].text[0],
                               .trains_float = r->models[index[MQ_AXIS_MODEL]].arch != NULL};
  bool is_of_all = id == MQ_AXIS_MODEL || id == MQ_AXIS_METHOD;
  bool is_of_training = mq_axis_is_training(id) || (id == MQ_AXIS_SEED && cell.trains_float);
  bool touches = is_of_all || (is_of_training ? mq_cell_trains(&cell) : !mq_cell_is_float(&cell));
  if (r->axes[id].n == 0 || !touches) {
    return NULL;
  }
  return &r->axes[id].values[index[id]];
}

/* Every key of the item must match. */
static bool is_excluded_by(const struct mq_plan_exclusion *exclusion, const struct mq_plan_reading *r,
                           const size_t index[MQ_AXIS_COUNT]) {
  for (mq_axis_id id = 0; id < MQ_AXIS_COUNT; id++) {
    const struct mq_axis *axis = &exclusion->axes[id];
    const struct mq_axis_value *value = value_at(r, id, index);
    bool matches = axis->n == 0;
    for (size_t i = 0; i < axis->n && value && !matches; i++) {
      matches = mq_axis_value_matches(&axis->values[i], value);
    }
    if (!matches) {
      return false;
    }
  }
  return true;
}

static bool is_excluded(struct mq_plan_reading *r, const size_t index[MQ_AXIS_COUNT]) {
  bool is_hit = false;
  for (size_t i = 0; i < r->n_exclusions; i++) {
    if (is_excluded_by(&r->exclusions[i], r, index)) {
      r->exclusions[i].is_used = is_hit = true;
    }
  }
  return is_hit;
}

static mq_status check_training(const struct mq_cell *cell, const struct mq_plan_reading *r,
                                struct mq_err *err) {
  struct mq_err why = {0};
  if (cell->trains_float && !cell->calib_data) {
    return mq_yaml_fail(err, mq_yaml_find(r->root, "data"), "key 'train' is missing: %s is trained on it",
                        cell->model_name);
  }
  if (mq_training_check(cell, &why) != MQ_OK) {
    return mq_yaml_fail(err, mq_yaml_find(r->root, "grid"), "%s", why.message);
  }
  return MQ_OK;
}

static mq_status fill_cell(struct mq_cell *cell, const struct mq_plan_reading *r,
                           const size_t index[MQ_AXIS_COUNT], struct mq_err *err) {
  *cell = r->base;
  cell->model_path = r->models[index[MQ_AXIS_MODEL]].path;
  cell->model_name = r->models[index[MQ_AXIS_MODEL]].name;
  cell->arch = r->models[index[MQ_AXIS_MODEL]].arch;
  cell->arch_width = r->models[index[MQ_AXIS_MODEL]].width;
  cell->trains_float = cell->arch != NULL;
  cell->target_position = (int)index[MQ_AXIS_TARGET];
  for (mq_axis_id id = 0; id < MQ_AXIS_COUNT; id++) {
    const struct mq_axis_value *value = value_at(r, id, index);
    if (value) {
      mq_axis_apply(cell, id, value);
    }
  }
  if (cell->arch && !mq_cell_is_float(cell)) {
    return mq_yaml_fail(err, mq_yaml_find(r->root, "models"),
                        "architecture %s has no trained weights that method %s could quantize: train it with "
                        "method float first",
                        cell->arch, cell->method);
  }
  if (mq_cell_is_float(cell)) {
    *cell = mq_cell_float(cell);
    return cell->trains_float ? check_training(cell, r, err) : MQ_OK;
  }
  mq_training_fill_observers(cell);
  return check_training(cell, r, err);
}

/* The next index, the last axis fastest; axes that do not touch a cell stay at 0. False at the end. */
static bool advance(const struct mq_plan_reading *r, size_t index[MQ_AXIS_COUNT]) {
  for (int id = MQ_AXIS_COUNT - 1; id >= 0; id--) {
    size_t n = value_at(r, (mq_axis_id)id, index) ? r->axes[id].n : 1;
    if (++index[id] < n) {
      return true;
    }
    index[id] = 0;
  }
  return false;
}

static mq_status check_cell_needs(const struct mq_plan_reading *r, struct mq_err *err) {
  const struct mq_axis *method = &r->axes[MQ_AXIS_METHOD];
  bool quantizes = false;
  for (size_t i = 0; i < method->n; i++) {
    quantizes |= strcmp(method->values[i].text[0], "float") != 0;
  }
  if (quantizes && !r->base.calib_data) {
    return mq_yaml_fail(err, mq_yaml_find(r->root, "data"),
                        "key 'train' is missing: it calibrates and trains");
  }
  if (quantizes && !r->axes[MQ_AXIS_TARGET].n) {
    return mq_yaml_fail(err, mq_yaml_find(r->root, "grid"), "grid: key 'target' is missing");
  }
  double n = 1;
  for (mq_axis_id id = 0; id < MQ_AXIS_COUNT; id++) {
    n *= r->axes[id].n ? (double)r->axes[id].n : 1;
  }
  if (n > MQ_PLAN_MAX_CELLS) {
    return mq_yaml_fail(err, mq_yaml_find(r->root, "grid"), "grid: %.0f cells, expected at most %d", n,
                        MQ_PLAN_MAX_CELLS);
  }
  return MQ_OK;
}

mq_status mq_plan_expand(struct mq_plan_reading *r, struct mq_err *err) {
  mq_status status = check_cell_needs(r, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_plan *plan = r->plan;
  for (int pass = 0; pass < 2; pass++) { /* count, then fill */
    size_t index[MQ_AXIS_COUNT] = {0}, n = 0;
    do {
      if (!is_excluded(r, index)) {
        if (pass == 1) {
          status = fill_cell(&plan->cells[n], r, index, err);
        }
        n++;
      }
    } while (status == MQ_OK && advance(r, index));
    if (status != MQ_OK) {
      return status;
    }
    plan->n_cells = n;
    plan->cells = pass == 0 ? mq_arena_alloc(&plan->arena, n ? n : 1, sizeof *plan->cells) : plan->cells;
    if (!plan->cells) {
      return mq_fail_memory(err, "plan");
    }
  }
  for (size_t i = 0; i < r->n_exclusions; i++) {
    if (!r->exclusions[i].is_used) {
      mq_log_warn("%s:%d: this exclusion matches no cell", plan->file, r->exclusions[i].node->line);
    }
  }
  return plan->n_cells ? MQ_OK : mq_yaml_fail(err, r->root, "the exclusions leave no cell");
}
