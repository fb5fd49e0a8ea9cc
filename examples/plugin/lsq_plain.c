/* An example of a quantizer from outside: LSQ's learned scale (Esser et al., 1902.08153) without its gradient
 * scaling, for symmetric schemes.
 *
 *   v = x / s,  q = clip(rne(v), n, p),  y = s q;   m = 1[n <= v <= p]
 *   dx = g m,   ds = sum g (m ? q - v : n or p)
 *
 * A plug-in is a shared object with one table, mq_plugin_quantizer. It may call the public functions of
 * mqbench/quant.h and mqbench/status.h, which the program that loads it provides. */
#include <math.h>

#include "mqbench/quant.h"

/* What derive hands to forward and backward: two numbers for all channels, then one scale for each. */
enum {
  FORM_MIN,
  FORM_MAX,
  FORM_SCALES
};

static const struct mq_quantizer_parameter parameters[] = {
    {.name = "scale", .has_decay = true, .is_scale = true}};

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  if (!config->scheme.is_symmetric)
    return mq_fail(err, MQ_BAD_INPUT, "%s: lsq_plain has no zero point; expected a symmetric scheme", what);
  return mq_scheme_check(&config->scheme, config->is_weight, what, err);
}

static size_t form_count(const struct mq_quantizer_config *config) {
  return FORM_SCALES + (size_t)config->n_channels;
}

static size_t sum_count(const struct mq_quantizer_config *config) {
  return (size_t)config->n_channels;
}

static mq_status init(float *scales, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)rows, (void)n_rows, (void)row_count, (void)err;
  for (int64_t c = 0; c < config->n_channels; c++)
    scales[c] = observed->scale[c];
  return MQ_OK;
}

/* The scheme's form and limits of each channel's scale by the library, one channel at a time. */
static void derive(double *form, const struct mq_quantizer_config *config, const float *scales,
                   const double *statistics, const float *least_scale) {
  (void)statistics;
  for (int64_t c = 0; c < config->n_channels; c++) {
    float given = fabsf(scales[c]), zero = 0, scale;
    int32_t zero_point;
    struct mq_qparams qparams = {
        .n_channels = 1, .channel_axis = -1, .scale = &scale, .zero_point = &zero_point};
    mq_qparams_from_scale(&qparams, &config->scheme, &given, &zero, config->is_non_negative,
                          least_scale ? least_scale + c : NULL);
    form[FORM_MIN] = qparams.quant_min;
    form[FORM_MAX] = qparams.quant_max;
    form[FORM_SCALES + c] = isfinite(given) ? (double)scale : (double)NAN; /* the loss shall tell */
  }
}

static void forward(float *y, void *codes, const struct mq_quantizer_config *config, const double *form,
                    const float *x, int64_t n_rows, int64_t row_count) {
  float n = (float)form[FORM_MIN], p = (float)form[FORM_MAX];
  for (int64_t r = 0; r < n_rows; r++) {
    float scale = (float)form[FORM_SCALES + (config->n_channels > 1 ? r : 0)];
    for (int64_t i = r * row_count; i < (r + 1) * row_count; i++) {
      float q = rintf(x[i] / scale);
      q = q < n ? n : q > p ? p : q;
      if (codes) ((uint8_t *)codes)[i] = (uint8_t)(int)(isnan(q) ? 0 : q); /* int8 has the same bytes */
      if (y) y[i] = scale * (q + 0.0f);                                    /* no negative zero */
    }
  }
}

static void backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                     const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count) {
  float n = (float)form[FORM_MIN], p = (float)form[FORM_MAX];
  for (int64_t r = 0; r < n_rows; r++) {
    int64_t c = config->n_channels > 1 ? r : 0;
    float scale = (float)form[FORM_SCALES + c];
    for (int64_t i = r * row_count; i < (r + 1) * row_count; i++) {
      float v = x[i] / scale, passed = v < n || v > p ? 0 : g[i];
      sums[c] += (double)g[i] * (double)(v < n ? n : v > p ? p : rintf(v) - v);
      dx[i] = adds ? dx[i] + passed : passed;
    }
  }
}

static void finish(float *gradients, const struct mq_quantizer_config *config, const float *scales,
                   const double *form, const double *sums) {
  (void)scales, (void)form;
  for (int64_t c = 0; c < config->n_channels; c++)
    gradients[c] = (float)sums[c];
}

static void project(float *scales, const struct mq_quantizer_config *config) {
  for (int64_t c = 0; c < config->n_channels; c++) {
    scales[c] = fabsf(scales[c]);
    if (scales[c] < 0x1p-23f) scales[c] = 0x1p-23f;
  }
}

static bool grid(struct mq_qparams *out, const struct mq_quantizer_config *config, const double *form) {
  out->quant_min = (int32_t)form[FORM_MIN];
  out->quant_max = (int32_t)form[FORM_MAX];
  out->is_signed = config->scheme.is_signed;
  for (int64_t c = 0; c < config->n_channels; c++) {
    out->scale[c] = (float)form[FORM_SCALES + c];
    out->zero_point[c] = 0;
  }
  return config->scheme.bits <= 8;
}

extern const struct mq_quantizer_ops mq_plugin_quantizer;
const struct mq_quantizer_ops mq_plugin_quantizer = {
    .version = MQ_QUANTIZER_VERSION,
    .bytes = sizeof(struct mq_quantizer_ops),
    .name = "lsq_plain",
    .describes = "learned scale without gradient scaling",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .w_observer = "norm",
    .a_observer = "norm",
    .n_parameters = 1,
    .parameters = parameters,
    .check = check,
    .form_count = form_count,
    .sum_count = sum_count,
    .init = init,
    .derive = derive,
    .forward = forward,
    .backward = backward,
    .finish = finish,
    .project = project,
    .grid = grid,
};
