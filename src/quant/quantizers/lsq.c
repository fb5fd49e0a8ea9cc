/* LSQ (Esser et al., 1902.08153): the scale is learned, with it the zero point where the scheme has one.
 *
 *   v = x / s,  q = clip(rne(v) + z, n, p),  y = s (q - z);   m = 1[n <= v + z <= p]
 *   dx = g m,   ds = k sum g (m ? (q - z) - v : bound - z),   dz = k sum g (m ? 0 : -s),   k = 1/sqrt(N p)
 *
 * z is kept as a float and used as clip(rne(z), n, p), straight-through. Variant `published`: m is taken
 * after rounding, as PyTorch's kernels do. */
#include <math.h>

#include "quant/quantizers/quantizers.h"

enum {
  SCALE,
  ZERO_POINT,
  N_PARAMETERS
};

static const struct mq_quantizer_parameter parameters[N_PARAMETERS] = {
    {.name = "scale", .has_decay = true, .is_scale = true},
    {.name = "zero_point"},
};

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  return mq_quantizer_check_kind(&mq_quantizer_lsq, config, what, err);
}

static size_t parameter_count(const struct mq_quantizer_config *config, int parameter) {
  return parameter == ZERO_POINT && config->scheme.is_symmetric ? 0 : (size_t)config->n_channels;
}

static mq_status init(float *values, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)rows, (void)n_rows, (void)row_count, (void)err;
  for (int64_t c = 0; c < config->n_channels; c++) {
    values[c] = mq_quantizer_safe_scale(observed->scale[c]);
    if (!config->scheme.is_symmetric) values[config->n_channels + c] = (float)observed->zero_point[c];
  }
  return MQ_OK;
}

static void derive(double *form, const struct mq_quantizer_config *config, const float *values,
                   const double *statistics, const float *least_scale) {
  (void)statistics;
  struct mq_uniform *uniform = mq_uniform_of(form);
  const struct mq_uniform_rule rule = mq_uniform_rule(config, least_scale);
  for (int64_t c = 0; c < config->n_channels; c++) {
    float zero_point = config->scheme.is_symmetric ? 0 : values[config->n_channels + c];
    mq_uniform_set_scale(uniform, &rule, c, mq_quantizer_safe_scale(values[c]), zero_point);
    if (config->is_published)
      mq_uniform_mask_after(uniform, c);
    else
      mq_uniform_mask_before(uniform, c);
  }
}

static void finish(float *gradients, const struct mq_quantizer_config *config, const float *values,
                   const double *form, const double *sums) {
  (void)values;
  const struct mq_uniform *uniform = mq_uniform_of_const(form);
  double k = mq_quantizer_gradient_scale(config);
  for (int64_t c = 0; c < config->n_channels; c++, sums += MQ_N_SUMS) {
    gradients[c] = (float)(k * uniform->channel[c].slope * sums[MQ_SUM_SCALE]);
    if (!config->scheme.is_symmetric)
      gradients[config->n_channels + c] = (float)(k * sums[MQ_SUM_ZERO_POINT]);
  }
}

static void project(float *values, const struct mq_quantizer_config *config) {
  int32_t n, p;
  mq_scheme_bounds(&n, &p, &config->scheme);
  for (int64_t c = 0; c < config->n_channels; c++) {
    values[c] = mq_quantizer_safe_scale(values[c]);
    if (config->scheme.is_symmetric) continue;
    float *zero_point = &values[config->n_channels + c];
    *zero_point = *zero_point < (float)n ? (float)n : *zero_point > (float)p ? (float)p : *zero_point;
  }
}

const struct mq_quantizer_ops mq_quantizer_lsq = {
    .version = MQ_QUANTIZER_VERSION,
    .bytes = sizeof(struct mq_quantizer_ops),
    .name = "lsq",
    .describes = "learned scale, and zero point where the scheme has one (published: mask after rounding)",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .w_observer = "norm",
    .a_observer = "norm",
    .has_published = true,
    .n_parameters = N_PARAMETERS,
    .parameters = parameters,
    .check = check,
    .parameter_count = parameter_count,
    .form_count = mq_uniform_form_count,
    .sum_count = mq_uniform_sum_count,
    .init = init,
    .derive = derive,
    .forward = mq_uniform_forward,
    .backward = mq_uniform_backward,
    .finish = finish,
    .project = project,
    .grid = mq_uniform_grid,
};
