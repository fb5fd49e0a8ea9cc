/* quant.json back into points of a graph. Nothing in it is believed: every field has its type and range, and
 * fields that say the same thing twice (bits and the range, granularity and the number of scales) must agree,
 * because a point with a senseless field would run and be wrong. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "deploy/field.h"
#include "deploy/read.h"
#include "deploy/rules.h"
#include "target/words.h"

struct reader {
  struct deploy_at at;
  struct mq_prepared *prepared;
  struct mq_graph *graph;
};

/* ---- Scheme and range ---------------------------------------------------------------------------- */

static mq_status read_kind(struct mq_point *point, const struct reader *r, const json_t *object,
                           const struct mq_value *value) {
  static const char *const kinds[] = {"weight", "activation", NULL};
  int kind = 0;
  mq_status status = deploy_get_choice(&kind, &r->at, object, "kind", kinds);
  if (status != MQ_OK) {
    return status;
  }
  if (kind == 0 && !value->constant) {
    return deploy_fail_found(&r->at, "kind", json_object_get(object, "kind"),
                             "activation: the tensor is no constant");
  }
  point->kind = kind == 0 ? MQ_POINT_WEIGHT : MQ_POINT_ACTIVATION;
  return MQ_OK;
}

static mq_status read_bits(struct mq_scheme *scheme, const struct reader *r, const json_t *object,
                           bool is_weight) {
  int64_t bits = 0;
  const json_t *item = json_object_get(object, "bits");
  if (!is_weight && json_is_integer(item) && json_integer_value(item) == 16) {
    bits = 16;
  } else if (deploy_get_int(&bits, &r->at, object, "bits", 2, 8) != MQ_OK) {
    return deploy_fail_found(&r->at, "bits", item, "a whole number from 2 to 8%s",
                             is_weight ? "" : ", or 16");
  }
  scheme->bits = (uint8_t)bits;
  return MQ_OK;
}

static mq_status read_scheme(struct mq_point *point, const struct reader *r, const json_t *object) {
  struct mq_scheme *scheme = &point->scheme;
  bool is_pot = false;
  mq_status status = read_bits(scheme, r, object, point->kind == MQ_POINT_WEIGHT);
  if (status == MQ_OK) {
    status = deploy_get_bool(&scheme->is_signed, &r->at, object, "signed");
  }
  if (status == MQ_OK) {
    status = deploy_get_bool(&scheme->is_narrow, &r->at, object, "narrow");
  }
  if (status == MQ_OK) {
    status = deploy_get_bool(&scheme->is_symmetric, &r->at, object, "symmetric");
  }
  if (status == MQ_OK) {
    status = deploy_get_bool(&is_pot, &r->at, object, "power_of_two");
  }
  scheme->scale_form = is_pot ? MQ_SCALE_POT : MQ_SCALE_FLOAT;
  if (status == MQ_OK && scheme->is_narrow && !scheme->is_signed) {
    status = deploy_fail_found(&r->at, "narrow", json_true(), "false, as signed is false");
  }
  if (status == MQ_OK && is_pot && !scheme->is_symmetric) {
    status = deploy_fail_found(&r->at, "power_of_two", json_true(), "false, as symmetric is false");
  }
  return status;
}

static mq_status read_bound(int32_t *bound, const struct reader *r, const json_t *object, const char *key,
                            int32_t least, int32_t most, const struct mq_scheme *scheme) {
  const json_t *item = json_object_get(object, key);
  char what[128];
  if (json_is_integer(item) && json_integer_value(item) >= least && json_integer_value(item) <= most) {
    *bound = (int32_t)json_integer_value(item);
    return MQ_OK;
  }
  mq_scheme_format(what, sizeof what, scheme);
  return least == most
             ? deploy_fail_found(&r->at, key, item, "%d, the bound of %s", least, what)
             : deploy_fail_found(&r->at, key, item, "a whole number from %d to %d for a custom_range of %s",
                                 least, most, what);
}

/* The range of the bits; or, marked `custom_range` (a learned grid), one within the bytes that hold it. */
static mq_status read_range(struct mq_point *point, const struct reader *r, const json_t *object) {
  const struct mq_scheme *scheme = &point->scheme;
  const struct mq_scheme container = {.bits = scheme->bits > 8 ? 16 : 8, .is_signed = scheme->is_signed};
  struct mq_qparams *q = &point->qparams;
  bool is_custom = false;
  int32_t low = 0, high = 0;
  mq_status status = MQ_OK;
  if (deploy_has(object, "custom_range")) {
    status = deploy_get_bool(&is_custom, &r->at, object, "custom_range");
  }
  mq_scheme_bounds(&low, &high, is_custom ? &container : scheme);
  if (status == MQ_OK) {
    status = read_bound(&q->quant_min, r, object, "quant_min", low, is_custom ? 0 : low, scheme);
  }
  if (status == MQ_OK) {
    status = read_bound(&q->quant_max, r, object, "quant_max", is_custom ? 1 : high, high, scheme);
  }
  q->is_signed = scheme->is_signed;
  return status;
}

/* ---- Scales and zero points ---------------------------------------------------------------------- */

static mq_status read_axis(struct mq_point *point, const struct reader *r, const json_t *object,
                           const struct mq_value *value) {
  const json_t *item = json_object_get(object, "channel_axis");
  int64_t axis = -1;
  if (point->kind == MQ_POINT_ACTIVATION || value->shape.rank < 1) {
    if (!json_is_null(item)) {
      return deploy_fail_found(&r->at, "channel_axis", item, "null: one scale for the tensor");
    }
  } else if (!json_is_null(item) &&
             deploy_get_int(&axis, &r->at, object, "channel_axis", 0, value->shape.rank - 1) != MQ_OK) {
    return deploy_fail_found(&r->at, "channel_axis", item, "null or 0 to %d, as the tensor has %d dimensions",
                             value->shape.rank - 1, value->shape.rank);
  }
  point->channel_axis = (int)axis;
  point->n_channels = axis < 0 ? 1 : value->shape.dim[axis];
  point->scheme.is_per_channel = axis >= 0;
  return MQ_OK;
}

/* Normal floats only, as quant/qparams makes them: x / s must neither overflow nor lose its meaning. */
static mq_status take_scale(float *scale, const struct mq_point *point, const struct reader *r,
                            const json_t *list, size_t i) {
  int exponent;
  mq_status status = deploy_float_at(scale, &r->at, list, "scale", i, FLT_MIN, FLT_MAX);
  if (status == MQ_OK && point->scheme.scale_form == MQ_SCALE_POT && frexpf(*scale, &exponent) != 0.5f) {
    status = deploy_fail_item(&r->at, "scale", list, i, "a power of two, as power_of_two is true");
  }
  return status;
}

static mq_status read_scales(struct mq_point *point, const struct reader *r, const json_t *object) {
  const json_t *scales = NULL, *zeros = NULL;
  const struct mq_qparams range = point->qparams;
  size_t n = (size_t)point->n_channels;
  mq_status status = deploy_get_list(&scales, &r->at, object, "scale", n, "numbers, one per channel or one");
  if (status == MQ_OK) {
    status = deploy_get_list(&zeros, &r->at, object, "zero_point", n, "whole numbers, one per scale");
  }
  if (status == MQ_OK) {
    status = mq_qparams_init(&point->qparams, point->n_channels, point->channel_axis, r->at.err);
  }
  if (status != MQ_OK) {
    return status;
  }
  point->qparams.quant_min = range.quant_min;
  point->qparams.quant_max = range.quant_max;
  point->qparams.is_signed = range.is_signed;
  bool is_symmetric = point->scheme.is_symmetric;
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    int64_t zero = 0;
    status = take_scale(&point->qparams.scale[i], point, r, scales, i);
    if (status == MQ_OK) {
      status = deploy_int_at(&zero, &r->at, zeros, "zero_point", i, is_symmetric ? 0 : range.quant_min,
                             is_symmetric ? 0 : range.quant_max);
    }
    point->qparams.zero_point[i] = (int32_t)zero;
  }
  return status;
}

/* ---- The graph ----------------------------------------------------------------------------------- */

static void hand_output_over(struct mq_graph *graph, struct mq_value *from, struct mq_value *to) {
  for (size_t i = 0; i < graph->n_outputs; i++) {
    if (graph->outputs[i] == from) {
      graph->outputs[i] = to;
    }
  }
  from->is_output = false;
  to->is_output = true;
}

/* A use of `value` by the node of that name that reads the float tensor still. */
static const struct mq_use *find_use(const struct mq_value *value, const char *node) {
  for (size_t u = 0; node && u < value->n_uses; u++) {
    const struct mq_use *use = &value->uses[u];
    if (use->node->op != MQ_OP_FakeQuantize && !strcmp(use->node->name, node)) {
      return use;
    }
  }
  return NULL;
}

static mq_status move_consumers(const struct reader *r, const json_t *consumers, struct mq_value *value,
                                struct mq_value *quantized) {
  for (size_t i = 0; i < json_array_size(consumers); i++) {
    const struct mq_use *use = find_use(value, json_string_value(json_array_get(consumers, i)));
    if (!use) {
      return deploy_fail_item(
          &r->at, "consumers", consumers, i,
          "a node of model.onnx that reads the tensor, named once for each of its inputs");
    }
    mq_status status = mq_graph_set_input(r->graph, use->node, use->input, quantized, r->at.err);
    if (status != MQ_OK) {
      return status;
    }
  }
  return MQ_OK;
}

static mq_status move_readers(const struct reader *r, const json_t *object, struct mq_value *value,
                              struct mq_value *quantized) {
  const json_t *consumers = NULL;
  bool is_output = false;
  mq_status status = deploy_get_bool(&is_output, &r->at, object, "network_output");
  if (status == MQ_OK) {
    status = deploy_get_list(&consumers, &r->at, object, "consumers", SIZE_MAX, "names of nodes");
  }
  if (status == MQ_OK && is_output && !value->is_output) {
    status = deploy_fail_found(&r->at, "network_output", json_true(), "false: model.onnx has no such output");
  }
  if (status == MQ_OK && !is_output && json_array_size(consumers) == 0) {
    status = deploy_fail_found(&r->at, "consumers", consumers,
                               "at least one name of a node, as network_output is false");
  }
  if (status == MQ_OK) {
    status = move_consumers(r, consumers, value, quantized);
  }
  if (status == MQ_OK && is_output) {
    hand_output_over(r->graph, value, quantized);
  }
  return status;
}

/* A FakeQuantize node behind `value`, whose output is read by the named nodes and, if asked, by the network's
 * output. */
static mq_status insert_node(const struct reader *r, const json_t *object, struct mq_value *value,
                             size_t index) {
  struct mq_graph *graph = r->graph;
  struct mq_err *err = r->at.err;
  struct mq_value *quantized = NULL;
  struct mq_node *node = NULL;
  const char *name = mq_arena_printf(&graph->arena, "%s_quantized", value->name);
  if (!name) {
    return mq_fail_memory(err, r->at.directory);
  }
  mq_status status = mq_graph_add_value(&quantized, graph, name, MQ_F32, &value->shape, err);
  if (status == MQ_OK) {
    status = mq_graph_add_node(&node, graph, MQ_OP_FakeQuantize, name, &value, 1, &quantized, 1, err);
  }
  if (status == MQ_OK) {
    status = mq_node_set_int(graph, node, "point", (int64_t)index, err);
  }
  return status == MQ_OK ? move_readers(r, object, value, quantized) : status;
}

/* ---- Points -------------------------------------------------------------------------------------- */

/* For people and tools; nothing is computed from them. */
static mq_status read_remarks(struct mq_point *point, const struct reader *r, const json_t *object) {
  static const char *const texts[] = {"reason", "observer", "observer_variant"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    const json_t *item = json_object_get(object, texts[i]);
    if (item && !json_is_string(item) && !json_is_null(item)) {
      return deploy_fail_found(&r->at, texts[i], item, "text or null");
    }
  }
  const json_t *parameter = json_object_get(object, "observer_parameter");
  if (parameter && !json_is_number(parameter) && !json_is_null(parameter)) {
    return deploy_fail_found(&r->at, "observer_parameter", parameter, "a number or null");
  }
  const char *reason = json_string_value(json_object_get(object, "reason"));
  point->reason = mq_arena_strdup(&r->graph->arena, reason ? reason : "");
  return point->reason ? MQ_OK : mq_fail_memory(r->at.err, "points");
}

/* The tensor's point of the same kind that was read before. */
static bool is_taken(const struct reader *r, const struct mq_value *value, mq_point_kind kind) {
  for (size_t u = 0; u < value->n_uses; u++) {
    int64_t index = -1;
    const struct mq_node *node = value->uses[u].node;
    if (node->op == MQ_OP_FakeQuantize && mq_node_get_int(&index, node, "point", -1, NULL) == MQ_OK &&
        r->prepared->points[index].kind == kind) {
      return true;
    }
  }
  return false;
}

static mq_status find_tensor(struct mq_value **value, struct reader *r, const json_t *object, size_t index) {
  const char *tensor = NULL;
  snprintf(r->at.where, sizeof r->at.where, "points[%zu]: ", index);
  if (!json_is_object(object)) {
    r->at.where[0] = 0;
    char key[48];
    snprintf(key, sizeof key, "points[%zu]", index);
    return deploy_fail_found(&r->at, key, object, "an object");
  }
  mq_status status = deploy_get_text(&tensor, &r->at, object, "tensor");
  if (status != MQ_OK) {
    return status;
  }
  *value = mq_graph_find_value(r->graph, tensor);
  if (!*value || (*value)->dtype != MQ_F32) {
    return deploy_fail_found(&r->at, "tensor", json_object_get(object, "tensor"),
                             "a float32 tensor of model.onnx");
  }
  snprintf(r->at.where, sizeof r->at.where, "point '%.200s': ", tensor);
  return MQ_OK;
}

static mq_status read_point(struct reader *r, const json_t *object, size_t index) {
  struct mq_point *point = &r->prepared->points[index];
  struct mq_value *value = NULL;
  mq_status status = find_tensor(&value, r, object, index);
  if (status != MQ_OK) {
    return status;
  }
  *point = (struct mq_point){.tensor = value->name, .share = -1, .channel_axis = -1};
  status = read_kind(point, r, object, value);
  if (status == MQ_OK && is_taken(r, value, point->kind)) {
    status = deploy_fail_found(&r->at, "tensor", json_object_get(object, "tensor"),
                               "one point for a tensor, this is the second");
  }
  if (status == MQ_OK) {
    status = read_scheme(point, r, object);
  }
  if (status == MQ_OK) {
    status = read_range(point, r, object);
  }
  if (status == MQ_OK) {
    status = read_axis(point, r, object, value);
  }
  if (status == MQ_OK) {
    status = read_scales(point, r, object);
  }
  if (status == MQ_OK) {
    status = read_remarks(point, r, object);
  }
  return status == MQ_OK ? insert_node(r, object, value, index) : status;
}

/* Bundles of before this key: what their arithmetic adds. */
static mq_status read_bias(mq_bias_form *bias, const struct reader *r, const json_t *quant) {
  const struct mq_arithmetic_traits *arithmetic =
      mq_arithmetic_find(json_is_null(json_object_get(quant, "arithmetic"))
                             ? "none"
                             : json_string_value(json_object_get(quant, "arithmetic")));
  int word = 0;
  *bias = arithmetic && arithmetic->bias_forms == 1u << MQ_BIAS_FLOAT ? MQ_BIAS_FLOAT : MQ_BIAS_INT32;
  if (!deploy_has(quant, "bias")) {
    return MQ_OK;
  }
  mq_status status = deploy_get_choice(&word, &r->at, quant, "bias", mq_bias_names);
  if (status == MQ_OK && arithmetic && !(arithmetic->bias_forms & (1u << word))) {
    status = deploy_fail_found(&r->at, "bias", json_object_get(quant, "bias"),
                               "a form that arithmetic %s adds", arithmetic->name);
  }
  *bias = status == MQ_OK ? (mq_bias_form)word : *bias;
  return status;
}

static mq_status read_head(char target[128], mq_bias_form *bias, const struct reader *r,
                           const json_t *quant) {
  const char *name = NULL;
  const json_t *arithmetic = json_object_get(quant, "arithmetic");
  int word = 0;
  mq_status status = deploy_get_text(&name, &r->at, quant, "target");
  if (status == MQ_OK && strlen(name) > MQ_TARGET_NAME_MAX) {
    status = deploy_fail_found(&r->at, "target", json_object_get(quant, "target"), "at most %d characters",
                               MQ_TARGET_NAME_MAX);
  }
  if (status == MQ_OK && !json_is_null(arithmetic)) {
    status = deploy_get_choice(&word, &r->at, quant, "arithmetic", mq_arithmetic_names);
  }
  if (status == MQ_OK) {
    snprintf(target, 128, "%s", name);
    status = read_bias(bias, r, quant);
  }
  return status;
}

mq_status deploy_read_quant(struct mq_bundle *bundle, const json_t *quant, const char *directory,
                            struct mq_err *err) {
  struct mq_prepared *prepared = &bundle->prepared;
  struct reader reader = {.at = {.directory = directory, .name = "quant.json", .err = err},
                          .prepared = prepared,
                          .graph = prepared->graph};
  const json_t *points = NULL;
  mq_status status = read_head(bundle->target, &bundle->bias, &reader, quant);
  if (status == MQ_OK) {
    status = deploy_get_list(&points, &reader.at, quant, "points", SIZE_MAX, "points, at least one");
  }
  size_t n = json_array_size(points);
  if (status == MQ_OK && n == 0) {
    status = deploy_fail_found(&reader.at, "points", points, "a list of points, at least one");
  }
  if (status != MQ_OK) {
    return status;
  }
  prepared->points = mq_alloc(n + 1, sizeof *prepared->points);
  if (!prepared->points) {
    return mq_fail_memory(err, "points");
  }
  for (size_t i = 0; i < n && status == MQ_OK; i++) {
    prepared->n_points = i + 1;
    status = read_point(&reader, json_array_get(points, i), i);
  }
  if (status == MQ_OK) {
    status = mq_graph_sort(prepared->graph, err);
  }
  if (status == MQ_OK) {
    status = deploy_read_rules(bundle, quant, directory, err);
  }
  return status == MQ_OK ? mq_graph_verify(prepared->graph, err) : status;
}
