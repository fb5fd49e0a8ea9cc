#include "quant/qparams.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

mq_status mq_qparams_init(struct mq_qparams *qparams, int64_t n_channels, int channel_axis,
                          struct mq_err *err) {
  assert(n_channels >= 1);
  *qparams = (struct mq_qparams){.n_channels = n_channels, .channel_axis = channel_axis};
  qparams->scale = mq_alloc((size_t)n_channels, sizeof *qparams->scale);
  qparams->zero_point = mq_alloc((size_t)n_channels, sizeof *qparams->zero_point);
  qparams->plain_scale = mq_alloc((size_t)n_channels, sizeof *qparams->plain_scale);
  if (!qparams->scale || !qparams->zero_point || !qparams->plain_scale) {
    mq_qparams_deinit(qparams);
    return mq_fail_memory(err, "quantization parameters");
  }
  for (int64_t c = 0; c < n_channels; c++)
    qparams->scale[c] = 1;
  return MQ_OK;
}

void mq_qparams_clip_range(double *lo, double *hi, const struct mq_qparams *qparams) {
  *lo = *hi = (double)NAN;
  for (int64_t c = 0; c < qparams->n_channels; c++) {
    double scale = (double)qparams->scale[c], zero_point = qparams->zero_point[c];
    *lo = fmin(*lo, (qparams->quant_min - zero_point) * scale); /* of NAN and a number: the number */
    *hi = fmax(*hi, (qparams->quant_max - zero_point) * scale);
  }
}

mq_status mq_qparams_copy(struct mq_qparams *to, const struct mq_qparams *from, struct mq_err *err) {
  mq_status status = mq_qparams_init(to, from->n_channels, from->channel_axis, err);
  if (status != MQ_OK) return status;
  to->quant_min = from->quant_min;
  to->quant_max = from->quant_max;
  to->is_signed = from->is_signed;
  to->is_non_negative = from->is_non_negative;
  memcpy(to->scale, from->scale, (size_t)from->n_channels * sizeof *to->scale);
  if (from->plain_scale)
    memcpy(to->plain_scale, from->plain_scale, (size_t)from->n_channels * sizeof *to->plain_scale);
  memcpy(to->zero_point, from->zero_point, (size_t)from->n_channels * sizeof *to->zero_point);
  return MQ_OK;
}

void mq_qparams_deinit(struct mq_qparams *qparams) {
  mq_free(qparams->scale);
  mq_free(qparams->zero_point);
  mq_free(qparams->plain_scale);
  *qparams = (struct mq_qparams){0};
}

float mq_to_finite_float(double x) {
  if (x > (double)FLT_MAX) return FLT_MAX;
  if (x < -(double)FLT_MAX) return -FLT_MAX;
  return (float)x;
}

static float clamp_pot(int exponent) {
  if (exponent < FLT_MIN_EXP - 1) exponent = FLT_MIN_EXP - 1;
  if (exponent > FLT_MAX_EXP - 1) exponent = FLT_MAX_EXP - 1;
  return ldexpf(1.0f, exponent);
}

/* log2 m rounds up exactly when m^2 > 2 (m in [1, 2), its square exact in double, never equal to 2). */
float mq_scale_to_pot(float scale) {
  int exponent;
  double m = 2 * (double)frexpf(scale, &exponent);
  return clamp_pot(exponent - 1 + (m * m > 2));
}

static float next_pot(float scale) {
  int exponent;
  float m = frexpf(scale, &exponent);
  return clamp_pot(m == 0.5f ? exponent - 1 : exponent);
}

/* A range of zeros (scale 0) has scale 1, others are normal floats, so that x / s is never NaN. */
static float normal_scale(float scale, bool is_zero_range) {
  if (is_zero_range) return 1;
  if (!(scale >= FLT_MIN)) return FLT_MIN;
  return scale > FLT_MAX ? FLT_MAX : scale;
}

/* In the scheme's form, and at least least_scale. */
static void set_scale(struct mq_qparams *out, int64_t c, float scale, bool is_zero_range,
                      const struct mq_scheme *scheme, const float *least_scale) {
  float least = least_scale ? least_scale[c] : 0;
  scale = normal_scale(scale, is_zero_range);
  if (out->plain_scale) out->plain_scale[c] = scale;
  bool is_pot = scheme->scale_form == MQ_SCALE_POT;
  if (is_pot) scale = mq_scale_to_pot(scale);
  if (least > scale) scale = is_pot ? next_pot(least) : least;
  out->scale[c] = scale;
}

static void set_bounds(struct mq_qparams *out, const struct mq_scheme *scheme, bool is_non_negative) {
  out->is_non_negative = is_non_negative;
  struct mq_scheme taken = *scheme;
  if (scheme->is_sign_adaptive && is_non_negative) taken.is_signed = false;
  mq_scheme_bounds(&out->quant_min, &out->quant_max, &taken);
  out->is_signed = taken.is_signed;
}

static float scale_of_range(const struct mq_qparams *out, const struct mq_scheme *scheme, float lo, float hi,
                            bool is_non_negative) {
  float steps = (float)(out->quant_max - out->quant_min);
  if (scheme->is_symmetric) {
    if (!out->is_signed && is_non_negative) return hi / steps;
    return fmaxf(fabsf(lo), fabsf(hi)) / (steps / 2);
  }
  float scale = (hi - lo) / steps;
  return isfinite(scale) ? scale : hi / steps - lo / steps; /* hi - lo may overflow */
}

static int32_t clip_zero_point(const struct mq_qparams *out, float zero_point) {
  float z = rintf(zero_point), n = (float)out->quant_min, p = (float)out->quant_max;
  return (int32_t)(z > p ? p : z > n ? z : n);
}

void mq_qparams_from_observed(struct mq_qparams *out, const struct mq_scheme *scheme,
                              const struct mq_range *range, bool is_non_negative, const float *least_scale) {
  set_bounds(out, scheme, is_non_negative);
  for (int64_t c = 0; c < out->n_channels; c++) {
    float lo = range[c].lo, hi = range[c].hi;
    if (!scheme->is_symmetric) {
      lo = fminf(lo, 0);
      hi = fmaxf(hi, 0);
    }
    float scale = scale_of_range(out, scheme, lo, hi, is_non_negative);
    set_scale(out, c, scale, lo == 0 && hi == 0, scheme, least_scale);
    out->zero_point[c] =
        scheme->is_symmetric ? 0 : clip_zero_point(out, (float)out->quant_min - rintf(lo / out->scale[c]));
  }
}

void mq_qparams_from_range(struct mq_qparams *out, const struct mq_scheme *scheme,
                           const struct mq_range *range, const float *least_scale) {
  bool is_non_negative = true;
  for (int64_t c = 0; c < out->n_channels; c++)
    is_non_negative = is_non_negative && range[c].lo >= 0;
  mq_qparams_from_observed(out, scheme, range, is_non_negative, least_scale);
}

void mq_qparams_from_scale(struct mq_qparams *out, const struct mq_scheme *scheme, const float *scale,
                           const float *zero_point, bool is_non_negative, const float *least_scale) {
  set_bounds(out, scheme, is_non_negative);
  for (int64_t c = 0; c < out->n_channels; c++) {
    set_scale(out, c, scale[c], scale[c] == 0, scheme, least_scale);
    out->zero_point[c] = scheme->is_symmetric || !zero_point ? 0 : clip_zero_point(out, zero_point[c]);
  }
}
