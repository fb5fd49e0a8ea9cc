/* Reads a plan: a YAML file (docs/plans.md) becomes a list of complete cells. */
#include "bench/plan.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "bench/training.h"
#include "mqbench/data.h"
#include "mqbench/zoo.h"
#include "target/override.h"

#define MQ_PLAN_MAX_BYTES (1 << 20)
#define MQ_PLAN_MAX_EXCLUSIONS 256

/* ---- Paths ------------------------------------------------------------------------------------------ */

mq_status mq_plan_path(const char **absolute, const char *path, const struct mq_plan_reader *reader,
                       struct mq_err *err) {
  char *joined = mq_path_join(reader->directory, path);
  char *directory = joined ? mq_path_directory(joined) : NULL;
  char *real = directory ? realpath(directory, NULL) : NULL;
  char *whole = real ? mq_path_join(real, mq_path_base(joined)) : NULL;
  const char *best = whole ? whole : joined;
  *absolute = best ? mq_arena_strdup(reader->arena, best) : NULL;
  mq_free(whole);
  free(real);
  mq_free(directory);
  mq_free(joined);
  return *absolute ? MQ_OK : mq_fail_memory(err, "plan");
}

/* With `if_exists` a name is left alone when nothing of that name lies beside the plan (list= may name a file
 * inside the data). */
static mq_status make_absolute(char **path, bool if_exists, const struct mq_plan_reader *reader,
                               struct mq_err *err) {
  const char *absolute = NULL;
  if (!*path || !(*path)[0]) {
    return MQ_OK;
  }
  mq_status status = mq_plan_path(&absolute, *path, reader, err);
  if (status == MQ_OK && if_exists && !mq_file_exists(absolute)) {
    return MQ_OK;
  }
  char *copy = status == MQ_OK ? mq_alloc(strlen(absolute) + 1, 1) : NULL;
  if (!copy) {
    return status == MQ_OK ? mq_fail_memory(err, "plan") : status;
  }
  strcpy(copy, absolute);
  mq_free(*path);
  *path = copy;
  return MQ_OK;
}

/* A data argument in canonical form with absolute paths. */
static mq_status read_data_argument(const char **text, bool *is_calib_first, const struct mq_yaml_node *node,
                                    const struct mq_plan_reader *reader, struct mq_err *err) {
  const char *argument = NULL;
  char *canonical = NULL;
  struct mq_data_spec spec = {.kind = 0};
  struct mq_err why = {0};
  mq_status status = mq_yaml_get_text(&argument, node, err);
  if (status != MQ_OK) {
    return status;
  }
  status = mq_data_spec_parse(&spec, argument, &why);
  if (status != MQ_OK) {
    return mq_yaml_fail(err, node, "%s", why.message);
  }
  *is_calib_first = spec.is_calib_first;
  char **paths[] = {&spec.path, &spec.labels, &spec.cache};
  for (size_t i = 0; i < 3 && status == MQ_OK; i++) {
    status = make_absolute(paths[i], i == 1, reader, err);
  }
  if (status == MQ_OK) {
    status = mq_data_spec_format(&canonical, &spec, err);
  }
  if (status == MQ_OK) {
    *text = mq_arena_strdup(reader->arena, canonical);
    status = *text ? MQ_OK : mq_fail_memory(err, "plan");
  }
  mq_free(canonical);
  mq_data_spec_deinit(&spec);
  return status;
}

/* ---- What the plan names --------------------------------------------------------------------------- */

static mq_status list_inputs(struct mq_plan_reading *r, struct mq_err *err) {
  struct mq_plan *plan = r->plan;
  const struct mq_yaml_node *data = mq_yaml_find(r->root, "data");
  const char *const arguments[] = {r->base.calib_data, r->base.eval_data};
  static const char *const keys[] = {"train", "eval"}, *const names[] = {"data.train", "data.eval"};
  size_t n_models = r->axes[MQ_AXIS_MODEL].n;
  plan->inputs = mq_arena_alloc(&plan->arena, n_models + 2, sizeof *plan->inputs);
  if (!plan->inputs) {
    return mq_fail_memory(err, "plan");
  }
  for (size_t i = 0; i < n_models; i++) {
    if (!r->models[i].path) continue;
    plan->inputs[plan->n_inputs++] =
        (struct mq_plan_input){.key = "models", .line = r->models[i].line, .model = r->models[i].path};
  }
  for (int i = 0; i < 2; i++) {
    if (arguments[i]) {
      plan->inputs[plan->n_inputs++] = (struct mq_plan_input){
          .key = names[i], .line = mq_yaml_find(data, keys[i])->line, .data = arguments[i]};
    }
  }
  return MQ_OK;
}

/* Objects whose methods the grid may name, each beside the plan. A plan is a text from anywhere: it loads no
 * code, it only says which must have been loaded. */
static mq_status read_plugins(struct mq_plan_reading *r, struct mq_err *err) {
  const struct mq_yaml_node *node = mq_yaml_find(r->root, "plugins");
  bool is_list = node && node->kind == MQ_YAML_LIST;
  size_t n = !node || mq_yaml_is_null(node) ? 0 : is_list ? node->n : 1;
  mq_status status = MQ_OK;
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    const struct mq_yaml_node *item = is_list ? node->items[i] : node;
    const char *path = NULL;
    struct mq_err why = {0};
    status = mq_yaml_get_text(&path, item, err);
    if (status == MQ_OK) {
      status = mq_plan_path(&path, path, &r->reader, err);
    }
    if (status == MQ_OK && mq_quantizer_check_loaded(path, &why) != MQ_OK) {
      status = mq_yaml_fail(err, item, "plugins: %.800s", why.message);
    }
  }
  return status;
}

/* ---- Sections --------------------------------------------------------------------------------------- */

static mq_status read_data(struct mq_plan_reading *r, struct mq_err *err) {
  static const char *const keys[] = {"train", "eval", NULL};
  const struct mq_yaml_node *data = NULL, *eval = NULL;
  bool is_first = false;
  mq_status status = mq_yaml_require(&data, r->root, "data", err);
  if (status == MQ_OK) {
    status = mq_yaml_check_keys(data, keys, err);
  }
  if (status == MQ_OK) {
    status = mq_yaml_require(&eval, data, "eval", err);
  }
  if (status == MQ_OK) {
    status = read_data_argument(&r->base.eval_data, &is_first, eval, &r->reader, err);
  }
  const struct mq_yaml_node *train = status == MQ_OK ? mq_yaml_find(data, "train") : NULL;
  if (train) {
    status = read_data_argument(&r->base.calib_data, &r->base.is_calib_first, train, &r->reader, err);
  }
  return status;
}

/* "net.onnx" -> "net". */
static const char *default_model_name(const char *path, struct mq_arena *arena) {
  char *name = mq_arena_strdup(arena, mq_path_base(path));
  char *dot = name ? strrchr(name, '.') : NULL;
  if (dot && dot != name && !strcmp(dot, ".onnx")) {
    *dot = '\0';
  }
  return name;
}

/* {arch: resnet20_s32, width: 0.5, name: narrow} */
static mq_status read_arch(struct mq_plan_model *model, const struct mq_yaml_node *node, struct mq_err *err) {
  static const char *const keys[] = {"arch", "width", "name", NULL};
  const struct mq_yaml_node *width = mq_yaml_find(node, "width"), *name = mq_yaml_find(node, "name");
  mq_status status = mq_yaml_check_keys(node, keys, err);
  if (status == MQ_OK) {
    status = mq_yaml_get_text(&model->arch, mq_yaml_find(node, "arch"), err);
  }
  if (status == MQ_OK && !mq_zoo_find(model->arch)) {
    status = mq_yaml_fail(err, node, "unknown architecture '%.100s' (mqbench list models)", model->arch);
  }
  if (status == MQ_OK && width) {
    status = mq_yaml_get_double(&model->width, width, err);
    if (status == MQ_OK && !(model->width > 0 && model->width <= 16)) {
      status = mq_yaml_fail_found(err, width, "a factor above 0 and up to 16");
    }
  }
  model->line = node->line;
  model->name = model->arch;
  return status == MQ_OK && name ? mq_yaml_get_text(&model->name, name, err) : status;
}

static mq_status read_model(struct mq_plan_model *model, const struct mq_yaml_node *node,
                            const struct mq_plan_reading *r, struct mq_err *err) {
  static const char *const keys[] = {"path", "name", NULL};
  const struct mq_yaml_node *path = node, *name = NULL;
  mq_status status = MQ_OK;
  if (node->kind == MQ_YAML_MAP) {
    if (mq_yaml_find(node, "arch")) {
      return read_arch(model, node, err);
    }
    status = mq_yaml_check_keys(node, keys, err);
    if (status == MQ_OK) {
      status = mq_yaml_require(&path, node, "path", err);
    }
    name = mq_yaml_find(node, "name");
  }
  if (status == MQ_OK) {
    status = mq_yaml_get_text(&model->path, path, err);
  }
  if (status == MQ_OK) {
    model->line = path->line;
    status = mq_plan_path(&model->path, model->path, &r->reader, err);
  }
  if (status == MQ_OK && name) {
    return mq_yaml_get_text(&model->name, name, err);
  }
  if (status == MQ_OK) {
    model->name = default_model_name(model->path, r->reader.arena);
    status = model->name ? MQ_OK : mq_fail_memory(err, "plan");
  }
  return status;
}

static mq_status read_models(struct mq_plan_reading *r, struct mq_err *err) {
  const struct mq_yaml_node *node = NULL;
  struct mq_axis *axis = &r->axes[MQ_AXIS_MODEL];
  mq_status status = mq_yaml_require(&node, r->root, "models", err);
  if (status != MQ_OK) {
    return status;
  }
  bool is_list = node->kind == MQ_YAML_LIST;
  size_t n = is_list ? node->n : 1;
  if (n == 0) {
    return mq_yaml_fail(err, node, "models: found an empty list, expected at least one model");
  }
  r->models = mq_arena_alloc(r->reader.arena, n, sizeof *r->models);
  axis->values = mq_arena_alloc(r->reader.arena, n, sizeof *axis->values);
  if (!r->models || !axis->values) {
    return mq_fail_memory(err, "plan");
  }
  for (; axis->n < n; axis->n++) {
    const struct mq_yaml_node *item = is_list ? node->items[axis->n] : node;
    status = read_model(&r->models[axis->n], item, r, err);
    if (status != MQ_OK) {
      return status;
    }
    struct mq_axis_value value = {.text = {r->models[axis->n].name}, .parameter = {NAN, NAN}};
    axis->values[axis->n] = value;
    for (size_t i = 0; i < axis->n; i++) {
      if (!strcmp(r->models[i].name, value.text[0])) {
        return mq_yaml_fail(err, item, "models: two are called '%.100s'; give one {path: ..., name: ...}",
                            value.text[0]);
      }
    }
  }
  return MQ_OK;
}

static mq_status fail_axis(struct mq_err *err, const struct mq_yaml_node *node, const char *section,
                           const char *key) {
  return mq_yaml_fail(
      err, node,
      "%s: unknown key '%.100s', expected target, method, bits, observer, seed, graph, bn_fold, "
      "bn_calibration or a key of training%s",
      section, key, strcmp(section, "exclude") ? "" : ", or model");
}

static mq_status read_grid(struct mq_plan_reading *r, struct mq_err *err) {
  const struct mq_yaml_node *grid = NULL;
  mq_status status = mq_yaml_require(&grid, r->root, "grid", err);
  if (status == MQ_OK && grid->kind != MQ_YAML_MAP) {
    status = mq_yaml_fail(err, grid, "grid: expected a map of axes");
  }
  for (size_t i = 0; status == MQ_OK && i < grid->n; i++) {
    mq_axis_id id = mq_axis_find(grid->keys[i]);
    if (id == MQ_AXIS_COUNT || id == MQ_AXIS_MODEL) {
      return fail_axis(err, grid->items[i], "grid", grid->keys[i]);
    }
    status = mq_axis_read(&r->axes[id], id, grid->items[i], &r->reader, err);
  }
  if (status == MQ_OK && !r->axes[MQ_AXIS_METHOD].n) {
    status = mq_yaml_fail(err, grid, "grid: key 'method' is missing");
  }
  return status;
}

static mq_status read_exclusion(struct mq_plan_exclusion *exclusion, const struct mq_yaml_node *node,
                                const struct mq_plan_reading *r, struct mq_err *err) {
  exclusion->node = node;
  if (node->kind != MQ_YAML_MAP || node->n == 0) {
    return mq_yaml_fail(err, node, "exclude: expected a list of maps of axes, each with at least one key");
  }
  for (size_t i = 0; i < node->n; i++) {
    mq_axis_id id = mq_axis_find(node->keys[i]);
    if (id == MQ_AXIS_COUNT) {
      return fail_axis(err, node->items[i], "exclude", node->keys[i]);
    }
    mq_status status = mq_axis_read(&exclusion->axes[id], id, node->items[i], &r->reader, err);
    if (status != MQ_OK) {
      return status;
    }
  }
  return MQ_OK;
}

static mq_status read_exclusions(struct mq_plan_reading *r, struct mq_err *err) {
  const struct mq_yaml_node *node = mq_yaml_find(r->root, "exclude");
  if (!node || mq_yaml_is_null(node)) {
    return MQ_OK;
  }
  if (node->kind != MQ_YAML_LIST) {
    return mq_yaml_fail(err, node, "exclude: expected a list of maps of axes");
  }
  if (node->n > MQ_PLAN_MAX_EXCLUSIONS) {
    return mq_yaml_fail(err, node, "exclude: found %zu items, expected at most %d", node->n,
                        MQ_PLAN_MAX_EXCLUSIONS);
  }
  r->exclusions = mq_arena_alloc(r->reader.arena, node->n ? node->n : 1, sizeof *r->exclusions);
  if (!r->exclusions) {
    return mq_fail_memory(err, "plan");
  }
  for (; r->n_exclusions < node->n; r->n_exclusions++) {
    mq_status status = read_exclusion(&r->exclusions[r->n_exclusions], node->items[r->n_exclusions], r, err);
    if (status != MQ_OK) {
      return status;
    }
  }
  return MQ_OK;
}

/* Calibration and evaluation take the same slices as training does: floating point sums depend on them. */
static mq_status read_training(struct mq_plan_reading *r, struct mq_err *err) {
  const struct mq_yaml_node *node = mq_yaml_find(r->root, "training");
  const char *names[MQ_TRAINING_KEYS + 1] = {NULL};
  double value = 0;
  for (size_t i = 0; i < MQ_TRAINING_KEYS; i++) {
    names[i] = mq_training_key_at(i)->name;
  }
  mq_status status = node ? mq_yaml_check_keys(node, names, err) : MQ_OK;
  for (size_t i = 0; node && i < node->n && status == MQ_OK; i++) {
    const struct mq_training_key *key = mq_training_key_at(mq_training_key_find(node->keys[i]));
    status = mq_training_read(&value, key, node->items[i], err);
    if (status == MQ_OK) {
      mq_training_set(&r->base, key, value);
    }
  }
  return status;
}

static mq_status read_calibration(struct mq_plan_reading *r, struct mq_err *err) {
  static const char *const keys[] = {"images", "batch", "order", NULL};
  static const char *const orders[] = {"sampled", "first", NULL};
  const struct mq_yaml_node *node = mq_yaml_find(r->root, "calibration"), *child;
  if (!node) {
    return MQ_OK;
  }
  mq_status status = mq_yaml_check_keys(node, keys, err);
  if (status == MQ_OK && (child = mq_yaml_find(node, "images"))) {
    status = mq_yaml_get_int(&r->base.calib_images, child, 1, INT32_MAX, err);
  }
  if (status == MQ_OK && (child = mq_yaml_find(node, "batch"))) {
    status = mq_yaml_get_int(&r->base.calib_batch, child, 1, 65536, err);
  }
  if (status == MQ_OK && (child = mq_yaml_find(node, "order"))) {
    int index = 0;
    status = mq_yaml_get_choice(&index, child, orders, err);
    r->base.is_calib_first = index == 1;
  }
  return status;
}

static mq_status read_override(struct mq_layer_override *override, const struct mq_yaml_node *node,
                               const struct mq_plan_reading *r, struct mq_err *err) {
  static const char *const keys[] = {"layer", "bits", "keep_float", NULL};
  const struct mq_yaml_node *layer = NULL, *child;
  struct mq_axis_value bits = {.text = {NULL}};
  mq_status status = mq_yaml_check_keys(node, keys, err);
  if (status == MQ_OK) {
    status = mq_yaml_require(&layer, node, "layer", err);
  }
  if (status == MQ_OK) {
    status = mq_yaml_get_text(&override->layer, layer, err);
  }
  char why[128];
  const char *fault = status == MQ_OK ? mq_layer_pattern_check(why, sizeof why, override->layer) : NULL;
  if (fault) {
    return mq_yaml_fail(err, layer, "layer '%.100s' is no regular expression: %s", override->layer, fault);
  }
  if (status == MQ_OK && node->n == 1) {
    status = mq_yaml_fail(err, node, "override of '%.100s' changes nothing, expected bits or keep_float",
                          override->layer);
  }
  if (status == MQ_OK && (child = mq_yaml_find(node, "bits"))) {
    status = mq_axis_read_bits(&bits, child, &r->reader, err);
  }
  if (status == MQ_OK && (child = mq_yaml_find(node, "keep_float"))) {
    status = mq_yaml_get_bool(&override->keep_float, child, err);
  }
  override->w_bits = (int)bits.number[0];
  override->a_bits = (int)bits.number[1];
  return status;
}

static mq_status read_overrides(struct mq_plan_reading *r, struct mq_err *err) {
  const struct mq_yaml_node *node = mq_yaml_find(r->root, "overrides");
  if (!node || mq_yaml_is_null(node)) {
    return MQ_OK;
  }
  if (node->kind != MQ_YAML_LIST) {
    return mq_yaml_fail(err, node,
                        "overrides: expected a list of {layer: ..., bits: ... or keep_float: true}");
  }
  struct mq_layer_override *overrides =
      mq_arena_alloc(r->reader.arena, node->n ? node->n : 1, sizeof *overrides);
  if (!overrides) {
    return mq_fail_memory(err, "plan");
  }
  for (size_t i = 0; i < node->n; i++) {
    mq_status status = read_override(&overrides[i], node->items[i], r, err);
    if (status != MQ_OK) {
      return status;
    }
  }
  r->base.overrides = overrides;
  r->base.n_overrides = node->n;
  return MQ_OK;
}

static mq_status read_scalars(struct mq_plan_reading *r, struct mq_err *err) {
  const struct mq_yaml_node *child;
  const char *text = NULL;
  struct mq_err why = {0};
  mq_status status = MQ_OK;
  if ((child = mq_yaml_find(r->root, "name"))) {
    status = mq_yaml_get_text(&text, child, err);
  }
  if (status == MQ_OK) {
    r->plan->name = mq_arena_strdup(r->reader.arena, text ? text : mq_path_base(r->plan->file));
    status = r->plan->name ? MQ_OK : mq_fail_memory(err, "plan");
  }
  if (status == MQ_OK && (child = mq_yaml_find(r->root, "description"))) {
    status = mq_yaml_get_text(&r->plan->description, child, err);
  }
  if (status == MQ_OK && (child = mq_yaml_find(r->root, "strict"))) {
    status = mq_yaml_get_bool(&r->base.is_strict, child, err);
  }
  if (status == MQ_OK && (child = mq_yaml_find(r->root, "isa"))) {
    status = mq_yaml_get_text(&text, child, err);
    if (status == MQ_OK && mq_isa_parse(&r->base.isa, text, &why) != MQ_OK) {
      status = mq_yaml_fail(err, child, "%s", why.message);
    }
  }
  r->base.plan = r->plan->name;
  r->plan->isa = r->base.isa;
  return status;
}

static mq_status check_top_keys(const struct mq_plan_reading *r, struct mq_err *err) {
  static const char *const keys[] = {"name",    "description", "models",      "data",      "grid",
                                     "exclude", "training",    "calibration", "overrides", "isa",
                                     "strict",  "plugins",     NULL};
  return mq_yaml_check_keys(r->root, keys, err);
}

/* ---- The grid --------------------------------------------------------------------------------------- */

static mq_status read_all(struct mq_plan_reading *r, struct mq_err *err) {
  typedef mq_status (*section_fn)(struct mq_plan_reading *, struct mq_err *);
  static const section_fn sections[] = {read_scalars,     read_plugins,   read_data,       read_models,
                                        list_inputs,      read_grid,      read_exclusions, read_training,
                                        read_calibration, read_overrides, mq_plan_expand};
  mq_status status = check_top_keys(r, err);
  for (size_t i = 0; i < sizeof sections / sizeof sections[0] && status == MQ_OK; i++) {
    status = sections[i](r, err);
  }
  return status == MQ_OK ? mq_plan_drop_repeated(r->plan, err) : status;
}

mq_status mq_plan_parse(struct mq_plan **out, const char *text, size_t n, const char *file,
                        struct mq_err *err) {
  *out = NULL;
  struct mq_plan_reading r = {.base = {.w_parameter = (double)NAN,
                                       .a_parameter = (double)NAN,
                                       .method_option = (double)NAN,
                                       .calib_images = MQ_CALIB_IMAGES,
                                       .calib_batch = MQ_CALIB_BATCH,
                                       .slice_images = MQ_SLICE_IMAGES,
                                       .isa = MQ_ISA_NATIVE}};
  char *directory = NULL;
  mq_status status = MQ_OK;
  mq_training_defaults(&r.base);
  r.plan = mq_alloc(1, sizeof *r.plan);
  if (!r.plan) {
    return mq_fail_memory(err, "plan");
  }
  mq_arena_init(&r.plan->arena, 0);
  r.plan->file = mq_arena_strdup(&r.plan->arena, file);
  directory = mq_path_directory(file);
  r.reader = (struct mq_plan_reader){.arena = &r.plan->arena, .directory = directory};
  if (!r.plan->file || !directory) {
    status = mq_fail_memory(err, "plan");
    goto done;
  }
  status = mq_yaml_parse(&r.root, text, n, r.plan->file, &r.plan->arena, err);
  if (status == MQ_OK) {
    status = read_all(&r, err);
  }
done:
  mq_free(directory);
  if (status != MQ_OK) {
    mq_plan_destroy(r.plan);
    return status;
  }
  *out = r.plan;
  return MQ_OK;
}

mq_status mq_plan_load(struct mq_plan **plan, const char *path, struct mq_err *err) {
  char *text = NULL;
  size_t n = 0;
  *plan = NULL;
  mq_status status = mq_file_read(&text, &n, path, MQ_PLAN_MAX_BYTES, err);
  if (status == MQ_OK) {
    status = mq_plan_parse(plan, text, n, path, err);
  }
  mq_free(text);
  return status;
}

void mq_plan_destroy(struct mq_plan *plan) {
  if (plan) {
    mq_arena_deinit(&plan->arena);
    mq_free(plan);
  }
}
