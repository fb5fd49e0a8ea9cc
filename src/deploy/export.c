/* The registry of export formats. */
#include <string.h>

#include "deploy/export.h"

static const struct mq_exporter *const exporters[] = {
    &mq_exporter_onnx_qdq,  &mq_exporter_onnx_qoperator, &mq_exporter_tensorrt, &mq_exporter_snpe,
    &mq_exporter_acl,       &mq_exporter_openvino,       &mq_exporter_vitis,    &mq_exporter_ppl_cuda,
    &mq_exporter_ppl_w8a16, &mq_exporter_tengine,        &mq_exporter_stpu,     &mq_exporter_tflite,
    &mq_exporter_nnie,
};

size_t mq_exporter_count(void) {
  return sizeof exporters / sizeof exporters[0];
}

const struct mq_exporter *mq_exporter_at(size_t i) {
  return exporters[i];
}

const struct mq_exporter *mq_exporter_find(const char *name) {
  for (size_t i = 0; i < mq_exporter_count(); i++) {
    if (!strcmp(exporters[i]->name, name)) {
      return exporters[i];
    }
  }
  return NULL;
}

/* What the format lacks for the point; NULL: nothing. */
static const char *find_lack(const struct mq_export_scheme *takes, const struct mq_point *point) {
  const struct mq_qparams *q = &point->qparams;
  for (int64_t c = 0; c < q->n_channels; c++) {
    if (q->zero_point[c] != 0 && !takes->takes_zero_point) {
      return "a zero point of 0";
    }
  }
  return q->is_signed && !takes->takes_signed                           ? "unsigned integers"
         : !q->is_signed && !takes->takes_unsigned                      ? "signed integers"
         : q->n_channels > 1 && !takes->takes_channels                  ? "one scale for the tensor"
         : point->scheme.bits > 8 && !takes->takes_16                   ? "at most 8 bits"
         : takes->needs_pot && point->scheme.scale_form != MQ_SCALE_POT ? "scales that are powers of two"
                                                                        : NULL;
}

mq_status mq_export_check(const struct mq_exporter *exporter, const struct mq_bundle *bundle,
                          struct mq_err *err) {
  for (size_t i = 0; i < bundle->prepared.n_points; i++) {
    const struct mq_point *point = &bundle->prepared.points[i];
    const char *lack =
        find_lack(point->kind == MQ_POINT_ACTIVATION ? &exporter->activations : &exporter->weights, point);
    if (lack) {
      char scheme[128];
      mq_scheme_format(scheme, sizeof scheme, &point->scheme);
      return mq_fail(err, MQ_BAD_INPUT, "format %s cannot express point '%.200s': found %s, expected %s",
                     exporter->name, point->tensor, scheme, lack);
    }
  }
  return exporter->check ? exporter->check(bundle, err) : MQ_OK;
}

mq_status mq_export(const struct mq_exporter *exporter, const char *stem, const struct mq_bundle *bundle,
                    struct mq_err *err) {
  mq_status status = mq_export_check(exporter, bundle, err);
  return status == MQ_OK ? exporter->write(stem, bundle, err) : status;
}
