/* SNPE's quantization overrides: a float model and encodings in JSON, for activations and parameters. An
 * encoding is a range on its grid: min = s (n - z), max = s (p - z) of an integer type of `bitwidth`. */
#include <math.h>

#include "deploy/export.h"

#define LEAST_RANGE 0.01 /* what the tools take at least */

/* The point's own bits, if its integers are within them. */
static int width_of(const struct mq_point *point) {
  const struct mq_scheme scheme = {.bits = point->scheme.bits, .is_signed = point->qparams.is_signed};
  int32_t lo, hi;
  mq_scheme_bounds(&lo, &hi, &scheme);
  bool holds = point->qparams.quant_min >= lo && point->qparams.quant_max <= hi;
  return holds ? point->scheme.bits : 8;
}

static bool fits(const struct mq_qparams *q) {
  for (int bits = 2; bits <= 16; bits++) {
    if (deploy_fills(q, bits, true)) {
      return true;
    }
  }
  return false;
}

static json_t *encoding_json(const struct mq_point *point, int64_t c) {
  const struct mq_qparams *q = &point->qparams;
  const struct mq_scheme scheme = {.bits = (uint8_t)width_of(point), .is_signed = q->is_signed};
  int32_t lo, hi;
  mq_scheme_bounds(&lo, &hi, &scheme);
  double scale = (double)q->scale[c];
  return json_pack("{s:i, s:f, s:f, s:f, s:i, s:s}", "bitwidth", (int)scheme.bits, "min",
                   scale * (lo - q->zero_point[c]), "max", scale * (hi - q->zero_point[c]), "scale", scale,
                   "offset", lo - q->zero_point[c], "is_symmetric",
                   point->scheme.is_symmetric ? "True" : "False");
}

static json_t *encodings_json(const struct mq_point *point) {
  json_t *list = json_array();
  for (int64_t c = 0; c < point->qparams.n_channels; c++) {
    json_array_append_new(list, encoding_json(point, c));
  }
  return list;
}

static double least_range(const struct mq_point *point) {
  const struct mq_qparams *q = &point->qparams;
  double least = INFINITY;
  for (int64_t c = 0; c < q->n_channels; c++) {
    least = fmin(least, (double)q->scale[c] * (q->quant_max - q->quant_min));
  }
  return least;
}

static void warn_of_small(const struct deploy_plain *plain) {
  const struct deploy_entry *first = NULL;
  size_t n = 0;
  for (size_t i = 0; i < plain->n_entries; i++) {
    if (least_range(plain->entries[i].point) < LEAST_RANGE) {
      first = first ? first : &plain->entries[i];
      n++;
    }
  }
  if (n > 0) {
    mq_log_warn(
        "snpe: %zu of %zu encodings have ranges below %.2g, which the vendor's tools widen, such as "
        "'%.200s' with %.3g",
        n, plain->n_entries, LEAST_RANGE, first->tensor, least_range(first->point));
  }
}

static mq_status write_snpe(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct deploy_plain plain;
  json_t *activations = json_object(), *parameters = json_object();
  deploy_plain_begin(&plain, bundle, fits, err);
  for (size_t i = 0; i < plain.n_entries && plain.edit.status == MQ_OK; i++) {
    const struct deploy_entry *entry = &plain.entries[i];
    json_object_set_new(entry->point->kind == MQ_POINT_ACTIVATION ? activations : parameters, entry->tensor,
                        encodings_json(entry->point));
  }
  json_t *object =
      json_pack("{s:o, s:o}", "activation_encodings", activations, "param_encodings", parameters);
  warn_of_small(&plain);
  deploy_plain_write(&plain, stem);
  if (plain.edit.status == MQ_OK) {
    plain.edit.status = deploy_write_json(stem, ".json", json_incref(object), err);
  }
  json_decref(object);
  return deploy_plain_end(&plain);
}

const struct mq_exporter mq_exporter_snpe = {
    .name = "snpe",
    .describes = "Qualcomm SNPE: quantization overrides in JSON, and the float model",
    .suffixes = {".json", ".onnx"},
    .weights = {.takes_signed = true,
                .takes_unsigned = true,
                .takes_zero_point = true,
                .takes_channels = true},
    .activations = {.takes_signed = true, .takes_unsigned = true, .takes_zero_point = true, .takes_16 = true},
    .write = write_snpe,
};
