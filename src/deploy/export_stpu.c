/* STPU: a float model and ranges in JSON: [-127 s, 127 s] of activations by tensor, of weights by layer, and
 * the scale of each bias:
 *
 *   {"t": {"min": -1.27, "max": 1.27, "emin": 117}, "conv1_weights": {"min": -1, "max": 1},
 *    "conv1_bias": {"alpha": 7.9e-5, "zero_point": 0}}
 *
 * `emin` is the least exponent of the accumulator's float format: biased by 127, ten binades below the
 * largest value that a convolution is expected to sum up to, sqrt(n) max|x| max|w| over n products (or its
 * output's range, if that is larger); 20 below an upsampled range; 128 for a linear layer. What a layer gives
 * to a Relu has the Relu's entry, and a concat's output that of its inputs. */
#include <math.h>
#include <stdio.h>

#include "deploy/export.h"

#define LEVELS 127

static bool fits(const struct mq_qparams *q) {
  return deploy_fills(q, 8, true);
}

static mq_status check_stpu(const struct mq_bundle *bundle, struct mq_err *err) {
  for (size_t i = 0; i < bundle->prepared.n_points; i++) {
    const struct mq_point *point = &bundle->prepared.points[i];
    if (point->qparams.quant_min < -LEVELS) {
      return mq_fail(
          err, MQ_BAD_INPUT,
          "format stpu cannot express point '%.200s': found integers from %d, expected from %d (narrow)",
          point->tensor, point->qparams.quant_min, -LEVELS);
    }
  }
  return MQ_OK;
}

static json_t *range_json(const struct mq_qparams *q) {
  double hi = (double)q->scale[0] * LEVELS;
  return json_pack("{s:f, s:f}", "min", -hi, "max", hi);
}

static void set_named(json_t *entries, const char *name, const char *suffix, json_t *object) {
  char text[512];
  snprintf(text, sizeof text, "%s%s", name, suffix);
  json_object_set_new(entries, text, object);
}

static double max_of(const json_t *entries, const char *tensor) {
  return json_number_value(json_object_get(json_object_get(entries, tensor), "max"));
}

/* A float32's exponent field: 0 for zero, else 1 to 254. */
static int exponent_of(double v) {
  int exponent;
  if (v == 0) {
    return 0;
  }
  frexp(v, &exponent);
  int biased = exponent - 1 + 127;
  return biased < 1 ? 1 : biased > 254 ? 254 : biased;
}

static int conv_emin(const struct mq_shape *w, double x_max, double w_max, double y_max) {
  double n = 1;
  for (int i = 1; i < w->rank; i++) {
    n *= (double)w->dim[i];
  }
  return exponent_of(fmax(sqrt(n) * x_max * w_max, y_max)) - 10;
}

static void set_emin(json_t *entries, const struct mq_node *node, const struct mq_qparams *x,
                     const struct mq_qparams *w) {
  json_t *y = json_object_get(entries, node->outputs[0]->name);
  if (!y) {
    return;
  }
  bool is_linear = node->op == MQ_OP_Gemm || node->op == MQ_OP_MatMul;
  int emin = is_linear ? 128
                       : conv_emin(&node->inputs[1]->shape, (double)x->scale[0] * LEVELS,
                                   (double)w->scale[0] * LEVELS, max_of(entries, node->outputs[0]->name));
  json_object_set_new(y, "emin", json_integer(emin));
}

/* What is read off the model as it is written: entries of tensors that are no points themselves. */
static void pass_on(json_t *entries, const struct mq_graph *graph) {
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    const char *in = node->n_inputs > 0 && node->inputs[0] ? node->inputs[0]->name : "";
    const char *out = node->n_outputs > 0 && node->outputs[0] ? node->outputs[0]->name : "";
    json_t *before = json_object_get(entries, in), *behind = json_object_get(entries, out);
    if ((node->op == MQ_OP_Relu || node->op == MQ_OP_Clip) && behind && !before) {
      json_object_set_new(entries, in, json_deep_copy(behind));
    } else if (node->op == MQ_OP_Concat && before && !behind) {
      json_object_set_new(entries, out, json_deep_copy(before));
    } else if (node->op == MQ_OP_Resize && behind) {
      json_object_set_new(behind, "emin", json_integer(exponent_of(max_of(entries, out)) - 20));
    }
  }
}

/* Layers of the bundle's graph, whose nodes know the points; names are the same in the written model. */
static void add_layers(json_t *entries, const struct mq_bundle *bundle) {
  const struct mq_graph *graph = bundle->prepared.graph;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    const struct mq_point *w = deploy_layer_weights(bundle, node);
    const struct mq_node *grid = w ? deploy_grid_of(bundle, node->inputs[0]) : NULL;
    if (!w) {
      continue;
    }
    set_named(entries, node->name, "_weights", range_json(&w->qparams));
    if (grid && node->n_inputs > 2 && node->inputs[2]) {
      double alpha = (double)deploy_point_of(bundle, grid)->qparams.scale[0] * (double)w->qparams.scale[0];
      set_named(entries, node->name, "_bias", json_pack("{s:f, s:i}", "alpha", alpha, "zero_point", 0));
    }
    if (grid) {
      set_emin(entries, node, &deploy_point_of(bundle, grid)->qparams, &w->qparams);
    }
  }
}

static mq_status write_stpu(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct deploy_plain plain;
  json_t *entries = json_object();
  deploy_plain_begin(&plain, bundle, fits, err);
  for (size_t i = 0; i < plain.n_entries && plain.edit.status == MQ_OK; i++) {
    if (plain.entries[i].point->kind == MQ_POINT_ACTIVATION) {
      json_object_set_new(entries, plain.entries[i].tensor, range_json(&plain.entries[i].point->qparams));
    }
  }
  if (plain.edit.status == MQ_OK) {
    pass_on(entries, plain.edit.graph);
    add_layers(entries, bundle);
  }
  deploy_plain_write(&plain, stem);
  if (plain.edit.status == MQ_OK) {
    plain.edit.status = deploy_write_json(stem, ".json", json_incref(entries), err);
  }
  json_decref(entries);
  return deploy_plain_end(&plain);
}

const struct mq_exporter mq_exporter_stpu = {
    .name = "stpu",
    .describes = "STPU: ranges of activations and weights, scales of biases in JSON, and the float model",
    .suffixes = {".json", ".onnx"},
    .weights = {.takes_signed = true},
    .activations = {.takes_signed = true},
    .check = check_stpu,
    .write = write_stpu,
};
