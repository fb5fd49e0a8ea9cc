/* A Q/DQ model on a target: the points stay the file's, but its integers must be such as the target's
 * arithmetic adds and multiplies. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "mqbench/prepare.h"

struct fit {
  const struct mq_prepared *prepared;
  const struct mq_target *target;
  struct mq_err *err;
};

static mq_status refuse(const struct fit *fit, const struct mq_point *point, const char *format, ...)
    MQ_PRINTF(3, 4);

static mq_status refuse(const struct fit *fit, const struct mq_point *point, const char *format, ...) {
  char text[200], scheme[128];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return mq_fail(fit->err, MQ_BAD_INPUT, "%s: point '%.200s' (%s %s): %s", fit->prepared->graph->name,
                 point->tensor, point->kind == MQ_POINT_WEIGHT ? "weights" : "activation",
                 mq_scheme_format(scheme, sizeof scheme, &point->scheme), text);
}

/* u8 with zero point z is s8 with z - 128, and back: the same real numbers. */
static int32_t shift_to(const struct mq_point *point, bool is_signed) {
  int32_t half = (int32_t)1 << (point->scheme.bits - 1);
  return point->qparams.is_signed == is_signed ? 0 : is_signed ? -half : half;
}

static void set_sign(struct mq_point *point, bool is_signed) {
  struct mq_qparams *q = &point->qparams;
  int32_t shift = shift_to(point, is_signed);
  if (shift == 0) return;
  point->scheme.is_symmetric = true;
  for (int64_t c = 0; c < q->n_channels; c++) {
    q->zero_point[c] += shift;
    if (q->zero_point[c] != 0) point->scheme.is_symmetric = false;
  }
  q->quant_min += shift;
  q->quant_max += shift;
  q->is_signed = point->scheme.is_signed = is_signed;
  point->scheme.is_narrow = false;
}

static mq_status fit_sign(struct mq_point *point, const struct fit *fit, const struct mq_scheme *scheme) {
  bool is_signed = scheme->is_signed;
  if (scheme->is_sign_adaptive) { /* of the two only the signed one has its zero in the middle */
    is_signed = point->qparams.is_signed || !point->scheme.is_symmetric;
  }
  int32_t zero = -shift_to(point, is_signed); /* as the file would have to say it */
  for (int64_t c = 0; scheme->is_symmetric && c < point->n_channels; c++) {
    if (point->qparams.zero_point[c] == zero) continue;
    return refuse(fit, point, "zero point %d, but %s takes symmetric %s, whose zero point here would be %d",
                  point->qparams.zero_point[c], fit->target->name, is_signed ? "signed ones" : "ones", zero);
  }
  set_sign(point, is_signed);
  return MQ_OK;
}

static mq_status fit_form(struct mq_point *point, const struct fit *fit, const struct mq_scheme *scheme) {
  int exponent;
  if (scheme->scale_form != MQ_SCALE_POT) return MQ_OK;
  for (int64_t c = 0; c < point->qparams.n_channels; c++) {
    if (frexpf(point->qparams.scale[c], &exponent) != 0.5f) {
      return refuse(fit, point, "scale %.9g, but %s takes powers of two", (double)point->qparams.scale[c],
                    fit->target->name);
    }
  }
  point->scheme.scale_form = MQ_SCALE_POT;
  return MQ_OK;
}

static mq_status fit_point(struct mq_point *point, const struct fit *fit) {
  bool is_weight = point->kind == MQ_POINT_WEIGHT;
  const struct mq_scheme *scheme = is_weight ? &fit->target->weights : &fit->target->activations;
  if (point->scheme.is_per_channel && !scheme->is_per_channel) {
    return refuse(fit, point, "one scale for each channel, but %s takes one for the tensor",
                  fit->target->name);
  }
  mq_status status = fit_sign(point, fit, scheme);
  return status ? status : fit_form(point, fit, scheme);
}

mq_status mq_prepare_fit_target(struct mq_prepared *prepared, const struct mq_target *target,
                                struct mq_err *err) {
  const struct fit fit = {.prepared = prepared, .target = target, .err = err};
  mq_status status = MQ_OK;
  for (size_t i = 0; i < prepared->n_points && !status; i++)
    status = fit_point(&prepared->points[i], &fit);
  return status;
}
