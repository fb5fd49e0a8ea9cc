#include <stdio.h>

#include "mqbench/quant.h"

void mq_scheme_bounds(int32_t *quant_min, int32_t *quant_max, const struct mq_scheme *scheme) {
  int32_t half = (int32_t)1 << (scheme->bits - 1);
  if (!scheme->is_signed) {
    *quant_min = 0;
    *quant_max = 2 * half - 1;
  } else {
    *quant_min = scheme->is_narrow ? 1 - half : -half;
    *quant_max = half - 1;
  }
}

int32_t mq_scheme_norm_max(const struct mq_scheme *scheme, bool is_unsigned) {
  int bits = scheme->is_symmetric && is_unsigned ? scheme->bits : scheme->bits - 1;
  return ((int32_t)1 << bits) - 1;
}

mq_status mq_scheme_check(const struct mq_scheme *scheme, bool is_weight, const char *what,
                          struct mq_err *err) {
  bool is_16 = scheme->bits == 16 && !is_weight;
  if ((scheme->bits < 2 || scheme->bits > 8) && !is_16)
    return mq_fail(err, MQ_BAD_INPUT, "%s: %d bits; expected 2 to 8%s", what, scheme->bits,
                   is_weight ? "" : ", or 16");
  if (scheme->is_narrow && !scheme->is_signed)
    return mq_fail(err, MQ_BAD_INPUT, "%s: narrow and unsigned; a narrow range must be signed", what);
  if (scheme->is_per_channel && !is_weight)
    return mq_fail(err, MQ_BAD_INPUT, "%s: activations per channel; expected per tensor", what);
  if (scheme->is_sign_adaptive && is_weight)
    return mq_fail(err, MQ_BAD_INPUT, "%s: adaptive signness of weights; only activations may have it", what);
  if (scheme->scale_form != MQ_SCALE_FLOAT && scheme->scale_form != MQ_SCALE_POT)
    return mq_fail(err, MQ_BAD_INPUT, "%s: scale form %d; expected float or power of two", what,
                   (int)scheme->scale_form);
  return MQ_OK;
}

char *mq_scheme_format(char *text, size_t text_bytes, const struct mq_scheme *scheme) {
  snprintf(text, text_bytes, "%sint%d%s %ssymmetric per-%s%s%s", scheme->is_signed ? "" : "u", scheme->bits,
           scheme->is_narrow ? " narrow" : "", scheme->is_symmetric ? "" : "a",
           scheme->is_per_channel ? "channel" : "tensor",
           scheme->scale_form == MQ_SCALE_POT ? " power-of-two" : "",
           scheme->is_sign_adaptive ? " adaptive-sign" : "");
  return text;
}
