/* Xilinx Vitis DPU: a float model and a scale for each tensor, weights and biases included, all powers of
 * two:
 *
 *   {"vitis": {"conv1.weight": {"scale": 0.0078125}, ...}}
 *
 * Biases are int8 there: each gets the least power of two with which it fits, and lies on that grid in the
 * model. */
#include <math.h>
#include <string.h>

#include "deploy/export.h"

static bool fits(const struct mq_qparams *q) {
  return deploy_fills(q, 8, true);
}

static void set_scale(json_t *scales, const char *tensor, double scale) {
  json_object_set_new(scales, tensor, json_pack("{s:f}", "scale", scale));
}

/* The least 2^k with |b| <= 127 2^k for all; 1 where all are zero. */
static float bias_scale(const struct mq_tensor *bias) {
  const float *b = bias->data;
  float largest = 0;
  for (int64_t c = 0; c < mq_shape_count(&bias->shape); c++) {
    largest = fmaxf(largest, fabsf(b[c]));
  }
  if (largest == 0) {
    return 1;
  }
  int exponent;
  float mantissa = frexpf(largest / 127, &exponent); /* in [0.5, 1) */
  return ldexpf(1, mantissa == 0.5f ? exponent - 1 : exponent);
}

static void round_bias(json_t *scales, const struct mq_value *value) {
  struct mq_tensor *bias = value->constant;
  float *b = bias->data, scale = bias_scale(bias);
  for (int64_t c = 0; c < mq_shape_count(&bias->shape); c++) {
    b[c] = mq_fake_quantize_value(b[c], scale, 0, -128, 127);
  }
  set_scale(scales, value->name, (double)scale);
}

static void add_biases(json_t *scales, struct deploy_plain *plain) {
  for (size_t i = 0; i < plain->n_entries; i++) {
    const struct mq_node *layer = plain->entries[i].layer;
    const struct mq_value *bias = layer && layer->n_inputs > 2 ? layer->inputs[2] : NULL;
    if (bias && bias->constant && bias->constant->dtype == MQ_F32 && !json_object_get(scales, bias->name)) {
      round_bias(scales, bias);
    }
  }
}

static mq_status write_vitis(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct deploy_plain plain;
  json_t *scales = json_object();
  deploy_plain_begin(&plain, bundle, fits, err);
  for (size_t i = 0; i < plain.n_entries && plain.edit.status == MQ_OK; i++) {
    set_scale(scales, plain.entries[i].tensor, (double)plain.entries[i].point->qparams.scale[0]);
  }
  if (plain.edit.status == MQ_OK) {
    add_biases(scales, &plain);
  }
  json_t *object = json_pack("{s:o}", "vitis", scales);
  deploy_plain_write(&plain, stem);
  if (plain.edit.status == MQ_OK) {
    plain.edit.status = deploy_write_json(stem, ".json", json_incref(object), err);
  }
  json_decref(object);
  return deploy_plain_end(&plain);
}

const struct mq_exporter mq_exporter_vitis = {
    .name = "vitis",
    .describes = "Xilinx Vitis DPU: scales that are powers of two in JSON, and the float model",
    .suffixes = {".json", ".onnx"},
    .weights = {.takes_signed = true, .needs_pot = true},
    .activations = {.takes_signed = true, .needs_pot = true},
    .write = write_vitis,
};
