/* targets/NAME.yaml -> struct mq_target. Format: docs/targets.md. */
#include "target/read.h"

#include <string.h>

#include "base/file.h"
#include "base/yaml.h"
#include "target/override.h"
#include "target/words.h"

#define DESCRIPTION_MAX 200

static mq_status read_bool(bool *value, const struct mq_yaml_node *map, const char *key, struct mq_err *err) {
  const struct mq_yaml_node *node;
  mq_status status = mq_yaml_require(&node, map, key, err);
  return status ? status : mq_yaml_get_bool(value, node, err);
}

/* One line of visible text. */
static mq_status read_line(const char **text, const struct mq_yaml_node *map, const char *key,
                           struct mq_err *err) {
  const struct mq_yaml_node *node;
  mq_status status = mq_yaml_require(&node, map, key, err);
  if (!status) status = mq_yaml_get_text(text, node, err);
  if (status) return status;
  bool is_blank = !(*text)[strspn(*text, " \t")], has_control = false;
  for (const char *c = *text; *c; c++)
    has_control |= (unsigned char)*c < 0x20 || *c == 0x7f;
  if (is_blank || has_control || strlen(*text) > DESCRIPTION_MAX) {
    return mq_yaml_fail_found(err, node, "one line of text, 1 to 200 bytes");
  }
  return MQ_OK;
}

/* A list that says a word twice was meant to say another one. */
static mq_status check_twice(const struct mq_yaml_node *list, size_t i, struct mq_err *err) {
  for (size_t k = 0; k < i; k++) {
    if (!strcmp(list->items[k]->text, list->items[i]->text)) {
      return mq_yaml_fail_found(err, list->items[i], "each word once, this is the second time");
    }
  }
  return MQ_OK;
}

/* An optional key with a bool; *value stays as it is when the key is absent. */
static mq_status read_optional_bool(bool *value, const struct mq_yaml_node *map, const char *key,
                                    struct mq_err *err) {
  const struct mq_yaml_node *node = mq_yaml_find(map, key);
  return node ? mq_yaml_get_bool(value, node, err) : MQ_OK;
}

static mq_status read_optional_choice(int *index, const struct mq_yaml_node *map, const char *key,
                                      const char *const *words, struct mq_err *err) {
  const struct mq_yaml_node *node = mq_yaml_find(map, key);
  return node ? mq_yaml_get_choice(index, node, words, err) : MQ_OK;
}

/* ---- Schemes ---------------------------------------------------------------------------------------- */

static const char *const granularities[] = {"tensor", "channel", NULL};
static const char *const scale_forms[] = {"float", "pot", NULL};

static mq_status read_bits(int *bits, const struct mq_yaml_node *node, bool is_weight, struct mq_err *err) {
  int64_t value = 0;
  mq_status status = mq_yaml_get_int(&value, node, 2, 16, NULL);
  if (status || (value > 8 && (is_weight || value != 16))) {
    return mq_yaml_fail_found(err, node,
                              is_weight ? "a whole number from 2 to 8" : "a whole number from 2 to 8, or 16");
  }
  *bits = (int)value;
  return MQ_OK;
}

/* signed: true, false, or "adaptive": decided at calibration, for activations only. */
static mq_status read_sign(struct mq_scheme *scheme, const struct mq_yaml_node *map, bool is_weight,
                           struct mq_err *err) {
  const struct mq_yaml_node *node;
  mq_status status = mq_yaml_require(&node, map, "signed", err);
  if (status) return status;
  if (node->kind == MQ_YAML_SCALAR && !strcmp(node->text, "adaptive")) {
    if (is_weight)
      return mq_yaml_fail(err, node, "signed: adaptive is for activations, expected true or false");
    scheme->is_signed = scheme->is_sign_adaptive = true;
    return MQ_OK;
  }
  return mq_yaml_get_bool(&scheme->is_signed, node, err);
}

static mq_status check_scheme(const struct mq_scheme *scheme, const struct mq_yaml_node *node, bool is_weight,
                              struct mq_err *err) {
  if (scheme->is_narrow && !scheme->is_signed) {
    return mq_yaml_fail(err, node, "narrow: true with signed: false, expected signed: true");
  }
  if (scheme->is_sign_adaptive && !scheme->is_symmetric) {
    return mq_yaml_fail(err, node, "signed: adaptive with symmetric: false, expected symmetric: true");
  }
  if (scheme->scale_form == MQ_SCALE_POT && !scheme->is_symmetric) {
    return mq_yaml_fail(err, node, "scale: pot with symmetric: false, expected symmetric: true");
  }
  if (scheme->is_per_channel && !is_weight) {
    return mq_yaml_fail(err, node, "granularity: channel for activations, expected tensor");
  }
  return MQ_OK;
}

static mq_status read_scheme(struct mq_scheme *scheme, const struct mq_yaml_node *root, const char *key,
                             struct mq_err *err) {
  static const char *const keys[] = {"bits", "signed", "narrow", "symmetric", "granularity", "scale", NULL};
  bool is_weight = !strcmp(key, "weights");
  const struct mq_yaml_node *map, *node;
  int bits = 0, granularity = 0, form = 0;
  mq_status status = mq_yaml_require(&map, root, key, err);
  if (!status) status = mq_yaml_check_keys(map, keys, err);
  if (!status) status = mq_yaml_require(&node, map, "bits", err);
  if (!status) status = read_bits(&bits, node, is_weight, err);
  if (!status) status = read_sign(scheme, map, is_weight, err);
  if (!status) status = read_bool(&scheme->is_symmetric, map, "symmetric", err);
  if (!status) status = mq_yaml_require(&node, map, "granularity", err);
  if (!status) status = mq_yaml_get_choice(&granularity, node, granularities, err);
  if (!status) status = read_optional_bool(&scheme->is_narrow, map, "narrow", err);
  if (!status) status = read_optional_choice(&form, map, "scale", scale_forms, err);
  if (status) return status;
  scheme->bits = (uint8_t)bits;
  scheme->is_per_channel = granularity == 1;
  scheme->scale_form = form == 1 ? MQ_SCALE_POT : MQ_SCALE_FLOAT;
  return check_scheme(scheme, map, is_weight, err);
}

/* ---- Points ----------------------------------------------------------------------------------------- */

/* Of the graph rules. */
#define ALL_OPS \
  ((1u << MQ_QUANT_CONV) | (1u << MQ_QUANT_LINEAR) | (1u << MQ_QUANT_ADD) | (1u << MQ_QUANT_POOL))
#define LAYERS ((1u << MQ_QUANT_CONV) | (1u << MQ_QUANT_LINEAR))

static const struct mq_point_rules graph_rules[] = {
    {.name = "graph1", .input_ops = LAYERS},
    {.name = "graph2",
     .input_ops = ALL_OPS,
     .output_ops = ALL_OPS,
     .add = MQ_ADD_EPILOGUE,
     .pool = MQ_POOL_OUTPUT,
     .concat = MQ_CONCAT_SHARED,
     .network_input = true},
    {.name = "graph3",
     .input_ops = ALL_OPS,
     .output_ops = ALL_OPS,
     .add = MQ_ADD_BOTH,
     .pool = MQ_POOL_OUTPUT,
     .concat = MQ_CONCAT_SHARED,
     .network_input = true,
     .network_output = true},
};
static const char *const rule_names[] = {"graph1", "graph2", "graph3", NULL};

bool mq_point_rules_of(struct mq_point_rules *rules, const char *name) {
  for (int i = 0; rule_names[i]; i++) {
    if (!strcmp(rule_names[i], name)) {
      *rules = graph_rules[i];
      return true;
    }
  }
  return false;
}

static mq_status read_op_set(uint32_t *ops, const struct mq_yaml_node *map, const char *key,
                             struct mq_err *err) {
  const struct mq_yaml_node *list = mq_yaml_find(map, key);
  if (!list) return MQ_OK;
  if (list->kind != MQ_YAML_LIST) {
    return mq_yaml_fail_found(err, list, "a list of ops, such as [Conv, Gemm]");
  }
  *ops = 0;
  for (size_t i = 0; i < list->n; i++) {
    int word = 0;
    mq_status status = mq_yaml_get_choice(&word, list->items[i], mq_quant_op_words, err);
    if (!status) status = check_twice(list, i, err);
    if (status) return status;
    mq_quant_op op = mq_quant_op_of_word(word);
    if (op == MQ_QUANT_UNARY && strcmp(key, "outputs") != 0) {
      return mq_yaml_fail(err, list->items[i], "%s among %s: found, expected it among outputs",
                          mq_quant_op_words[word], key);
    }
    *ops |= 1u << op;
  }
  return MQ_OK;
}

/* Ops that are listed need a rule that quantizes them. */
static mq_status check_points(const struct mq_point_rules *points, const struct mq_yaml_node *map,
                              struct mq_err *err) {
  uint32_t ops = points->input_ops | points->output_ops;
  if (!(ops & LAYERS)) {
    return mq_yaml_fail(err, map,
                        "no op with weights is quantized, expected Conv or Gemm in inputs or outputs");
  }
  if ((ops & (1u << MQ_QUANT_ADD)) && points->add == MQ_ADD_NONE) {
    return mq_yaml_fail(err, map, "Add is listed but add is none, expected epilogue or both");
  }
  if ((ops & (1u << MQ_QUANT_POOL)) && points->pool == MQ_POOL_NONE) {
    return mq_yaml_fail(err, map, "AveragePool is listed but pool is none, expected output or input_scale");
  }
  if (points->add == MQ_ADD_EPILOGUE && !(points->output_ops & (1u << MQ_QUANT_ADD))) {
    return mq_yaml_fail(err, map,
                        "add: found epilogue, expected Add among outputs beside it, or none or both");
  }
  return MQ_OK;
}

static mq_status read_points_map(struct mq_point_rules *points, const struct mq_yaml_node *map,
                                 struct mq_err *err) {
  static const char *const keys[] = {"rule",   "inputs",        "outputs",        "add", "pool",
                                     "concat", "network_input", "network_output", NULL};
  static const char *const adds[] = {"none", "epilogue", "both", NULL};
  static const char *const pools[] = {"none", "output", "input_scale", "input_scale_global", NULL};
  static const char *const concats[] = {"none", "shared", NULL};
  mq_status status = mq_yaml_check_keys(map, keys, err);
  const struct mq_yaml_node *rule = mq_yaml_find(map, "rule");
  int index = 0;
  if (!status && rule) {
    status = mq_yaml_get_choice(&index, rule, rule_names, err);
    if (!status) *points = graph_rules[index];
  }
  int add = (int)points->add, pool = (int)points->pool, concat = (int)points->concat;
  if (!status) status = read_op_set(&points->input_ops, map, "inputs", err);
  if (!status) status = read_op_set(&points->output_ops, map, "outputs", err);
  if (!status) status = read_optional_choice(&add, map, "add", adds, err);
  if (!status) status = read_optional_choice(&pool, map, "pool", pools, err);
  if (!status) status = read_optional_choice(&concat, map, "concat", concats, err);
  if (!status) status = read_optional_bool(&points->network_input, map, "network_input", err);
  if (!status) status = read_optional_bool(&points->network_output, map, "network_output", err);
  if (status) return status;
  points->add = (mq_add_rule)add;
  points->pool = (mq_pool_rule)pool;
  points->concat = (mq_concat_rule)concat;
  return check_points(points, map, err);
}

static mq_status read_points(struct mq_point_rules *points, const struct mq_yaml_node *root,
                             struct mq_err *err) {
  const struct mq_yaml_node *node;
  mq_status status = mq_yaml_require(&node, root, "points", err);
  if (status) return status;
  points->name = "custom";
  if (node->kind == MQ_YAML_MAP) return read_points_map(points, node, err);
  int index = 0;
  status = mq_yaml_get_choice(&index, node, rule_names, err);
  if (!status) *points = graph_rules[index];
  return status;
}

/* ---- Overrides -------------------------------------------------------------------------------------- */

static mq_status read_override_op(struct mq_scheme_override *o, const struct mq_yaml_node *map,
                                  struct mq_err *err) {
  const struct mq_yaml_node *node = mq_yaml_find(map, "op");
  if (!node) return MQ_OK;
  const char *text = NULL;
  mq_status status = mq_yaml_get_text(&text, node, err);
  if (status) return status;
  o->is_first_op = !strcmp(text, "first");
  o->is_last_op = !strcmp(text, "last");
  o->is_depthwise = !strcmp(text, "depthwise");
  if (o->is_first_op || o->is_last_op || o->is_depthwise) return MQ_OK;
  for (int i = 0; mq_quant_op_words[i]; i++) {
    if (!strcmp(mq_quant_op_words[i], text)) {
      o->op = (int)mq_quant_op_of_word(i);
      return MQ_OK;
    }
  }
  return mq_yaml_fail(err, node,
                      "op: found '%.100s', expected first, last, conv, depthwise, linear, add or pool", text);
}

static mq_status read_override_role(struct mq_scheme_override *o, const struct mq_yaml_node *map,
                                    struct mq_err *err) {
  static const char *const roles[] = {"weight", "activation", NULL};
  static const char *const afters[] = {"relu", NULL};
  const struct mq_yaml_node *after = mq_yaml_find(map, "after");
  int role = -1, index = -1;
  mq_status status = read_optional_choice(&role, map, "role", roles, err);
  if (!status) status = read_optional_choice(&index, map, "after", afters, err);
  if (status) return status;
  o->is_for_weights = role != 1;
  o->is_for_activations = role != 0;
  o->is_after_relu = index == 0;
  if (o->is_after_relu && role != 1) {
    return mq_yaml_fail(err, after, "after: relu is for activations, expected role: activation beside it");
  }
  return MQ_OK;
}

static mq_status read_flag(int *flag, const struct mq_yaml_node *map, const char *key, struct mq_err *err) {
  bool value = false;
  const struct mq_yaml_node *node = mq_yaml_find(map, key);
  mq_status status = node ? mq_yaml_get_bool(&value, node, err) : MQ_OK;
  if (node && !status) *flag = value;
  return status;
}

static mq_status read_override_layer(struct mq_scheme_override *o, const struct mq_yaml_node *map,
                                     struct mq_err *err) {
  const struct mq_yaml_node *node = mq_yaml_find(map, "layer");
  if (!node) return MQ_OK;
  char text[256];
  mq_status status = mq_yaml_get_text(&o->layer, node, err);
  if (!status && (!*o->layer || !strcmp(o->layer, "//"))) {
    return mq_yaml_fail_found(err, node, "the name of a node or tensor, or /an expression/");
  }
  const char *wrong = status ? NULL : mq_layer_pattern_check(text, sizeof text, o->layer);
  return wrong ? mq_yaml_fail(
                     err, node,
                     "layer: found '%.100s' (%.100s), expected a name or a POSIX extended /expression/",
                     o->layer, wrong)
               : status;
}

static bool sets_anything(const struct mq_scheme_override *o) {
  return o->bits >= 0 || o->max_bits >= 0 || o->is_signed >= 0 || o->is_symmetric >= 0 || o->is_narrow >= 0 ||
         o->is_per_channel >= 0 || o->scale_form >= 0 || o->keep_float >= 0;
}

/* Fields of one override that cannot both be. What the schemes then come to is checked per point. */
static mq_status check_override(const struct mq_scheme_override *o, const struct mq_yaml_node *map,
                                struct mq_err *err) {
  if (!sets_anything(o)) {
    return mq_yaml_fail(
        err, map,
        "override%s%.100s sets nothing, expected bits, max_bits, signed, narrow, symmetric, scale, "
        "granularity or keep_float beside what it is for",
        o->layer ? " of layer " : "", o->layer ? o->layer : "");
  }
  if (o->is_per_channel == 1 && (!o->is_for_weights || o->is_for_activations)) {
    return mq_yaml_fail(err, map, "granularity: channel for activations, expected role: weight beside it");
  }
  if (o->is_narrow == 1 && o->is_signed == 0) {
    return mq_yaml_fail(err, map, "narrow: true with signed: false, expected signed: true");
  }
  if (o->scale_form == MQ_SCALE_POT && o->is_symmetric == 0) {
    return mq_yaml_fail(err, map, "scale: pot with symmetric: false, expected symmetric: true");
  }
  struct mq_scheme_override rest = *o;
  rest.keep_float = -1;
  if (o->keep_float == 1 && sets_anything(&rest)) {
    return mq_yaml_fail(err, map, "keep_float: true beside fields of a scheme, expected one or the other");
  }
  return MQ_OK;
}

static mq_status read_override(struct mq_scheme_override *o, const struct mq_yaml_node *map,
                               struct mq_err *err) {
  static const char *const keys[] = {"role",        "after",      "op",     "layer",     "bits",
                                     "max_bits",    "signed",     "narrow", "symmetric", "scale",
                                     "granularity", "keep_float", NULL};
  *o = mq_override_blank(NULL);
  mq_status status = mq_yaml_check_keys(map, keys, err);
  if (!status) status = read_override_role(o, map, err);
  if (!status) status = read_override_op(o, map, err);
  if (!status) status = read_override_layer(o, map, err);
  const struct mq_yaml_node *bits = mq_yaml_find(map, "bits");
  if (!status && bits) status = read_bits(&o->bits, bits, o->is_for_weights, err);
  const struct mq_yaml_node *most = mq_yaml_find(map, "max_bits");
  if (!status && most) status = read_bits(&o->max_bits, most, o->is_for_weights, err);
  if (!status) status = read_flag(&o->is_signed, map, "signed", err);
  if (!status) status = read_flag(&o->is_narrow, map, "narrow", err);
  if (!status) status = read_flag(&o->is_symmetric, map, "symmetric", err);
  if (!status) status = read_flag(&o->keep_float, map, "keep_float", err);
  if (!status) status = read_optional_choice(&o->is_per_channel, map, "granularity", granularities, err);
  if (!status) status = read_optional_choice(&o->scale_form, map, "scale", scale_forms, err);
  return status ? status : check_override(o, map, err);
}

static mq_status read_overrides(struct mq_target *target, const struct mq_yaml_node *root,
                                struct mq_err *err) {
  const struct mq_yaml_node *list = mq_yaml_find(root, "overrides");
  if (!list || mq_yaml_is_null(list)) return MQ_OK;
  if (list->kind != MQ_YAML_LIST) {
    return mq_yaml_fail_found(err, list, "a list such as [{op: first, bits: 8}]");
  }
  struct mq_scheme_override *overrides = mq_arena_alloc(&target->arena, list->n + 1, sizeof *overrides);
  if (!overrides) return mq_fail_memory(err, "overrides of a target");
  for (size_t i = 0; i < list->n; i++) {
    mq_status status = read_override(&overrides[i], list->items[i], err);
    if (status) return status;
  }
  target->overrides = overrides;
  target->n_overrides = list->n;
  return MQ_OK;
}

/* ---- Arithmetic, bias, artefacts -------------------------------------------------------------------- */

static mq_status read_bias(struct mq_target *target, const struct mq_yaml_node *root,
                           const struct mq_arithmetic_traits *arithmetic, struct mq_err *err) {
  const struct mq_yaml_node *node;
  int bias = 0;
  mq_status status = mq_yaml_require(&node, root, "bias", err);
  if (!status) status = mq_yaml_get_choice(&bias, node, mq_bias_names, err);
  if (status) return status;
  target->bias = (mq_bias_form)bias;
  if (arithmetic && !(arithmetic->bias_forms & (1u << bias))) {
    return mq_yaml_fail(
        err, node, "bias: found %s, expected %s (the form arithmetic %s adds)", mq_bias_names[bias],
        arithmetic->bias_forms & (1u << MQ_BIAS_INT32) ? "int32" : "float32", arithmetic->name);
  }
  return MQ_OK;
}

/* An override may not give a point what the arithmetic cannot compute with. */
static mq_status check_overrides(const struct mq_target *target, const struct mq_yaml_node *root,
                                 const struct mq_arithmetic_traits *traits, struct mq_err *err) {
  const struct mq_yaml_node *list = mq_yaml_find(root, "overrides");
  for (size_t i = 0; traits && i < target->n_overrides; i++) {
    const struct mq_scheme_override *o = &target->overrides[i];
    if (traits->is_symmetric && o->is_symmetric == 0) {
      return mq_yaml_fail(err, list->items[i],
                          "symmetric: false beside arithmetic %s, which has no zero points, expected true",
                          traits->name);
    }
    if (traits->is_pot && o->scale_form == MQ_SCALE_FLOAT) {
      return mq_yaml_fail(err, list->items[i],
                          "scale: float beside arithmetic %s, which shifts, expected pot", traits->name);
    }
  }
  return MQ_OK;
}

static mq_status read_arithmetic(struct mq_target *target, const struct mq_yaml_node *root,
                                 struct mq_err *err) {
  const struct mq_yaml_node *node = mq_yaml_find(root, "arithmetic"), *tie = mq_yaml_find(root, "half_even");
  int index = 0;
  mq_status status = MQ_OK;
  if (node && !mq_yaml_is_null(node)) status = mq_yaml_get_choice(&index, node, mq_arithmetic_names, err);
  if (status) return status;
  const struct mq_arithmetic_traits *traits = index ? mq_arithmetic_find(mq_arithmetic_names[index]) : NULL;
  target->arithmetic = traits ? traits->name : NULL;
  const struct mq_scheme *w = &target->weights, *a = &target->activations;
  if (traits && traits->is_symmetric && !(w->is_symmetric && a->is_symmetric)) {
    return mq_yaml_fail(err, node,
                        "arithmetic %s has no zero points, expected symmetric weights and activations",
                        traits->name);
  }
  if (traits && traits->is_pot && !(w->scale_form == MQ_SCALE_POT && a->scale_form == MQ_SCALE_POT)) {
    return mq_yaml_fail(err, node, "arithmetic %s shifts, expected scale: pot for weights and activations",
                        traits->name);
  }
  if (tie && !(traits && traits->is_pot)) {
    return mq_yaml_fail(err, tie, "half_even: found beside arithmetic %s, expected pot_shift or no half_even",
                        traits ? traits->name : "none");
  }
  status = check_overrides(target, root, traits, err);
  if (!status) status = read_optional_bool(&target->pot_half_even, root, "half_even", err);
  return status ? status : read_bias(target, root, traits, err);
}

static mq_status read_artefacts(struct mq_target *target, const struct mq_yaml_node *root,
                                struct mq_err *err) {
  const struct mq_yaml_node *list = mq_yaml_find(root, "artefacts");
  if (!list || mq_yaml_is_null(list)) return MQ_OK;
  if (list->kind != MQ_YAML_LIST) {
    return mq_yaml_fail_found(err, list, "a list such as [onnx_qdq]");
  }
  const char **names = mq_arena_alloc(&target->arena, list->n + 1, sizeof *names);
  if (!names) return mq_fail_memory(err, "artefacts of a target");
  for (size_t i = 0; i < list->n; i++) {
    int index = 0;
    mq_status status = mq_yaml_get_choice(&index, list->items[i], mq_artefact_names, err);
    if (!status) status = check_twice(list, i, err);
    if (status) return status;
    names[i] = mq_artefact_names[index];
  }
  target->artefacts = names;
  target->n_artefacts = list->n;
  return MQ_OK;
}

static mq_status read_name(struct mq_target *target, const struct mq_yaml_node *root, struct mq_err *err) {
  const struct mq_yaml_node *node;
  mq_status status = mq_yaml_require(&node, root, "name", err);
  if (!status) status = mq_yaml_get_text(&target->name, node, err);
  if (status) return status;
  size_t n = strspn(target->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
  bool begins_well = !strchr("_-.", target->name[0]); /* the NUL of an empty name does not either */
  if (!begins_well || target->name[n] || n > MQ_TARGET_NAME_MAX) {
    return mq_yaml_fail_found(
        err, node, "1 to 64 letters, digits, '_', '-' or '.', the first of them a letter or digit");
  }
  return MQ_OK;
}

static mq_status read_root(struct mq_target *target, const struct mq_yaml_node *root, struct mq_err *err) {
  static const char *const keys[] = {"name",      "describes", "weights",    "activations", "overrides",
                                     "points",    "fold_bn",   "arithmetic", "half_even",   "bias",
                                     "artefacts", "twin",      NULL};
  mq_status status = mq_yaml_check_keys(root, keys, err);
  if (!status) status = read_name(target, root, err);
  if (!status) status = read_line(&target->describes, root, "describes", err);
  if (!status) status = read_scheme(&target->weights, root, "weights", err);
  if (!status) status = read_scheme(&target->activations, root, "activations", err);
  if (!status) status = read_overrides(target, root, err);
  if (!status) status = read_points(&target->points, root, err);
  if (!status) status = read_bool(&target->folds_bn, root, "fold_bn", err);
  if (!status) status = read_arithmetic(target, root, err);
  if (!status) status = read_artefacts(target, root, err);
  if (!status && mq_yaml_find(root, "twin")) status = read_line(&target->twin, root, "twin", err);
  return status;
}

mq_status mq_target_parse(struct mq_target **out, const char *text, size_t n, const char *file,
                          struct mq_err *err) {
  const struct mq_yaml_node *root = NULL;
  mq_status status = MQ_OK;
  *out = NULL;
  struct mq_target *target = mq_alloc(1, sizeof *target);
  if (!target) return mq_fail_memory(err, "a target");
  mq_arena_init(&target->arena, 0);
  target->file = mq_arena_strdup(&target->arena, file);
  if (!target->file) status = mq_fail_memory(err, "a target");
  if (!status) mq_sha256_bytes(target->sha256, text, n);
  if (!status) status = mq_yaml_parse(&root, text, n, target->file, &target->arena, err);
  if (!status) status = read_root(target, root, err);
  if (status) {
    mq_target_destroy(target);
    return status;
  }
  *out = target;
  return MQ_OK;
}

void mq_target_destroy(struct mq_target *target) {
  if (target) {
    mq_arena_deinit(&target->arena);
    mq_free(target);
  }
}
