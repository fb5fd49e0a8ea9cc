#include "quant/quantizers/academic.h"

mq_status mq_quantizer_check_academic(const struct mq_quantizer_ops *quantizer,
                                      const struct mq_quantizer_config *config, const char *what,
                                      struct mq_err *err) {
  const struct mq_scheme *scheme = &config->scheme;
  char text[96];
  mq_scheme_format(text, sizeof text, scheme);
  if (!scheme->is_symmetric || scheme->is_per_channel || scheme->scale_form != MQ_SCALE_FLOAT)
    return mq_fail(err, MQ_BAD_INPUT,
                   "%s: %s is not defined for %s; expected a symmetric per-tensor scheme with a float scale",
                   what, quantizer->name, text);
  if (config->is_weight && !scheme->is_signed)
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s is not defined for %s weights; expected a signed scheme", what,
                   quantizer->name, text);
  return mq_quantizer_check_kind(quantizer, config, what, err);
}

double mq_observed_magnitude(const struct mq_quantizer_config *config, const struct mq_qparams *observed) {
  double steps = (double)observed->quant_max - (double)observed->quant_min;
  bool is_one_sided = !observed->is_signed && config->is_non_negative;
  return (double)observed->scale[0] * (is_one_sided ? steps : steps / 2);
}

void mq_set_symmetric_grid(struct mq_qparams *out, double scale, int32_t quant_min, int32_t quant_max) {
  out->scale[0] = (float)scale;
  out->zero_point[0] = 0;
  out->quant_min = quant_min;
  out->quant_max = quant_max;
  out->is_signed = quant_min < 0;
}
