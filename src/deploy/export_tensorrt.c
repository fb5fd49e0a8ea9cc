/* TensorRT's dynamic ranges: a float model, `blob_range` in JSON (127 s for each tensor), and the same as a
 * calibration cache: the float32 scale's bytes in hexadecimal. The engine's integers are [-128, 127]. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "deploy/export.h"

/* A range without -128 is the engine's business: a Clip would cost more than the one step it saves. */
static bool fits(const struct mq_qparams *q) {
  return deploy_fills(q, 8, true);
}

static json_t *ranges_json(const struct deploy_plain *plain) {
  json_t *ranges = json_object();
  for (size_t i = 0; i < plain->n_entries; i++) {
    const struct deploy_entry *entry = &plain->entries[i];
    if (entry->point->kind == MQ_POINT_ACTIVATION) {
      json_object_set_new(ranges, entry->tensor, json_real((double)entry->point->qparams.scale[0] * 127));
    }
  }
  return json_pack("{s:{s:o}}", "tensorrt", "blob_range", ranges);
}

static mq_status print_cache(void *file, const struct deploy_plain *plain, struct mq_err *err) {
  fprintf(file, "TRT-7000-EntropyCalibration2\n");
  for (size_t i = 0; i < plain->n_entries; i++) {
    const struct deploy_entry *entry = &plain->entries[i];
    uint32_t bits;
    if (entry->point->kind != MQ_POINT_ACTIVATION) {
      continue;
    }
    mq_status status = deploy_check_name("tensorrt", entry->tensor, true, err);
    if (status != MQ_OK) {
      return status;
    }
    memcpy(&bits, &entry->point->qparams.scale[0], sizeof bits);
    fprintf(file, "%s: %08" PRIx32 "\n", entry->tensor, bits);
  }
  return MQ_OK;
}

static mq_status write_tensorrt(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct deploy_plain plain;
  deploy_plain_begin(&plain, bundle, fits, err);
  deploy_plain_write(&plain, stem);
  if (plain.edit.status == MQ_OK) {
    plain.edit.status = deploy_write_json(stem, ".json", ranges_json(&plain), err);
  }
  deploy_plain_print(&plain, stem, ".cache", print_cache);
  return deploy_plain_end(&plain);
}

const struct mq_exporter mq_exporter_tensorrt = {
    .name = "tensorrt",
    .describes = "TensorRT: dynamic ranges in JSON and as a calibration cache, and the float model",
    .suffixes = {".json", ".cache", ".onnx"},
    .weights = {.takes_signed = true, .takes_channels = true},
    .activations = {.takes_signed = true},
    .write = write_tensorrt,
};
