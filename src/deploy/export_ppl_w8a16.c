/* PPL with 16-bit activations: a float model and for each tensor, weights too (lists where per channel),
 *
 *   {"ppl": {"t": {"step": 0.1, "zero_point": 3, "min": -0.3, "max": 25.2, "bit": 8, "type": "biased"}}} */
#include "deploy/export.h"

/* A number, or the list of one for each channel. */
static json_t *number_or_list(const struct mq_qparams *q,
                              json_t *(*number)(const struct mq_qparams *, int64_t)) {
  if (q->channel_axis < 0) {
    return number(q, 0);
  }
  json_t *list = json_array();
  for (int64_t c = 0; c < q->n_channels; c++) {
    json_array_append_new(list, number(q, c));
  }
  return list;
}

static json_t *step_json(const struct mq_qparams *q, int64_t c) {
  return json_real((double)q->scale[c]);
}

static json_t *zero_point_json(const struct mq_qparams *q, int64_t c) {
  return json_integer(q->zero_point[c]);
}

static json_t *min_json(const struct mq_qparams *q, int64_t c) {
  return json_real((double)q->scale[c] * (q->quant_min - q->zero_point[c]));
}

static json_t *max_json(const struct mq_qparams *q, int64_t c) {
  return json_real((double)q->scale[c] * (q->quant_max - q->zero_point[c]));
}

static mq_status write_ppl_w8a16(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct deploy_plain plain;
  json_t *tensors = json_object();
  deploy_plain_begin(&plain, bundle, NULL, err);
  for (size_t i = 0; i < plain.n_entries && plain.edit.status == MQ_OK; i++) {
    const struct mq_point *point = plain.entries[i].point;
    const struct mq_qparams *q = &point->qparams;
    json_object_set_new(
        tensors, plain.entries[i].tensor,
        json_pack("{s:o, s:o, s:o, s:o, s:i, s:s}", "step", number_or_list(q, step_json), "zero_point",
                  number_or_list(q, zero_point_json), "min", number_or_list(q, min_json), "max",
                  number_or_list(q, max_json), "bit", (int)point->scheme.bits, "type", "biased"));
  }
  json_t *object = json_pack("{s:o}", "ppl", tensors);
  deploy_plain_write(&plain, stem);
  if (plain.edit.status == MQ_OK) {
    plain.edit.status = deploy_write_json(stem, ".json", json_incref(object), err);
  }
  json_decref(object);
  return deploy_plain_end(&plain);
}

#define ANY \
  { true, true, true, true, true, false }
const struct mq_exporter mq_exporter_ppl_w8a16 = {
    .name = "ppl_w8a16",
    .describes = "PPL: step, zero point, range and bits of each tensor in JSON, and the float model",
    .suffixes = {".json", ".onnx"},
    .weights = ANY,
    .activations = ANY,
    .write = write_ppl_w8a16,
};
