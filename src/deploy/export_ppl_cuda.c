/* PPL on CUDA: a float model and a line for each activation, the largest magnitude of its range:
 *
 *   conv1_out: 2.54 */
#include <math.h>
#include <stdio.h>

#include "deploy/export.h"

static bool fits(const struct mq_qparams *q) {
  return deploy_fills(q, 8, true);
}

static mq_status print_ranges(void *file, const struct deploy_plain *plain, struct mq_err *err) {
  for (size_t i = 0; i < plain->n_entries; i++) {
    const struct deploy_entry *entry = &plain->entries[i];
    const struct mq_qparams *q = &entry->point->qparams;
    if (entry->point->kind != MQ_POINT_ACTIVATION) {
      continue;
    }
    mq_status status = deploy_check_name("ppl_cuda", entry->tensor, true, err);
    if (status != MQ_OK) {
      return status;
    }
    int32_t lo = q->zero_point[0] - q->quant_min, hi = q->quant_max - q->zero_point[0];
    fprintf(file, "%s: %.9g\n", entry->tensor, (double)q->scale[0] * (lo > hi ? lo : hi));
  }
  return MQ_OK;
}

static mq_status write_ppl_cuda(const char *stem, const struct mq_bundle *bundle, struct mq_err *err) {
  struct deploy_plain plain;
  deploy_plain_begin(&plain, bundle, fits, err);
  deploy_plain_write(&plain, stem);
  deploy_plain_print(&plain, stem, ".txt", print_ranges);
  return deploy_plain_end(&plain);
}

const struct mq_exporter mq_exporter_ppl_cuda = {
    .name = "ppl_cuda",
    .describes = "PPL on CUDA: the largest magnitude of each activation, and the float model",
    .suffixes = {".txt", ".onnx"},
    .weights = {.takes_signed = true,
                .takes_unsigned = true,
                .takes_zero_point = true,
                .takes_channels = true},
    .activations = {.takes_signed = true, .takes_unsigned = true, .takes_zero_point = true},
    .write = write_ppl_cuda,
};
