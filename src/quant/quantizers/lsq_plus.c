/* LSQ+ (Bhalgat et al., 2004.09576).
 *
 * Activations with an asymmetric scheme learn a scale and a real offset beta:
 *   v = (x - beta) / s,  q = clip(rne(v), n, p),  y = s q + beta;   m = 1[n <= v <= p]
 *   dx = g m,  ds = k sum g (m ? q - v : bound),  dbeta = k sum g (m ? 0 : 1),  k = 1/sqrt(N p)
 * Evaluation and deployment use z = clip(rne(-beta / s), n, p) instead. option 1, the variant `zero_point`,
 * learns z itself (kept as a float), dz = k sum g (m ? 0 : -s).
 *
 * Everything else has its zero in the middle and learns s alone, as in LSQ. Weights begin with
 * s = max(|mean - 3 std|, |mean + 3 std|) / 2^(b-1). */
#include <math.h>

#include "quant/quantizers/quantizers.h"

#define INITIAL_STDS 3

enum {
  SCALE,
  OFFSET,
  N_PARAMETERS
};

static const struct mq_quantizer_parameter parameters[N_PARAMETERS] = {
    {.name = "scale", .has_decay = true, .is_scale = true}, {.name = "offset"}, /* beta, or z */
};

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  return mq_quantizer_check_kind(&mq_quantizer_lsq_plus, config, what, err);
}

static bool has_offset(const struct mq_quantizer_config *config) {
  return !config->is_weight && !config->scheme.is_symmetric;
}

static bool is_zero_point_learned(const struct mq_quantizer_config *config) {
  return has_offset(config) && mq_quantizer_has_option(config);
}

static size_t parameter_count(const struct mq_quantizer_config *config, int parameter) {
  return parameter == SCALE ? (size_t)config->n_channels : has_offset(config) ? 1 : 0;
}

/* 0 where there is nothing to be seen: all values are zero. */
static float scale_of_rows(const struct mq_quantizer_config *config, int64_t c, const float *rows,
                           int64_t n_rows, int64_t row_count) {
  double mean, std;
  mq_quantizer_moments(&mean, &std, config, c, rows, n_rows, row_count);
  double end = fmax(fabs(mean - INITIAL_STDS * std), fabs(mean + INITIAL_STDS * std));
  return (float)(end / (double)((int32_t)1 << (config->scheme.bits - 1)));
}

static mq_status init(float *values, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)err;
  for (int64_t c = 0; c < config->n_channels; c++) {
    float scale = 0;
    if (config->is_weight && config->is_own_observer)
      scale = scale_of_rows(config, c, rows, n_rows, row_count);
    values[c] = mq_quantizer_safe_scale(scale > 0 ? scale : observed->scale[c]);
  }
  if (is_zero_point_learned(config))
    values[1] = (float)observed->zero_point[0];
  else if (has_offset(config))
    values[1] = -values[0] * (float)observed->zero_point[0];
  return MQ_OK;
}

/* Weights of an asymmetric scheme: as many steps below zero as a signed range has. */
static float middle(const struct mq_quantizer_config *config) {
  bool is_centred = config->scheme.is_symmetric || config->scheme.is_signed;
  return is_centred ? 0 : (float)((int32_t)1 << (config->scheme.bits - 1));
}

static void derive_activation(struct mq_uniform *uniform, const struct mq_quantizer_config *config,
                              const float *values, bool is_training, const struct mq_uniform_rule *rule) {
  float scale = mq_quantizer_safe_scale(values[0]);
  if (is_zero_point_learned(config)) {
    mq_uniform_set_scale(uniform, rule, 0, scale, values[1]);
    return;
  }
  mq_uniform_set_scale(uniform, rule, 0, scale, 0);
  if (is_training) {
    uniform->offset = (double)values[1];
    uniform->channel[0].zero_point = 0;
    if (!isfinite(values[1])) uniform->channel[0].scale = (double)NAN;
  } else {
    float in_use = (float)uniform->channel[0].scale;
    mq_uniform_set_scale(uniform, rule, 0, scale, -values[1] / in_use);
  }
}

static void derive(double *form, const struct mq_quantizer_config *config, const float *values,
                   const double *statistics, const float *least_scale) {
  struct mq_uniform *uniform = mq_uniform_of(form);
  const struct mq_uniform_rule rule = mq_uniform_rule(config, least_scale);
  uniform->offset = 0;
  if (has_offset(config)) {
    derive_activation(uniform, config, values, statistics, &rule);
    mq_uniform_mask_before(uniform, 0);
    return;
  }
  for (int64_t c = 0; c < config->n_channels; c++) {
    mq_uniform_set_scale(uniform, &rule, c, mq_quantizer_safe_scale(values[c]), middle(config));
    mq_uniform_mask_before(uniform, c);
  }
}

static void finish(float *gradients, const struct mq_quantizer_config *config, const float *values,
                   const double *form, const double *sums) {
  (void)values;
  const struct mq_uniform *uniform = mq_uniform_of_const(form);
  double k = mq_quantizer_gradient_scale(config);
  for (int64_t c = 0; c < config->n_channels; c++)
    gradients[c] = (float)(k * uniform->channel[c].slope * sums[MQ_N_SUMS * c + MQ_SUM_SCALE]);
  if (!has_offset(config)) return;
  /* of z: g (m ? 0 : -s); of beta: g (m ? 0 : 1) */
  double per_unit = is_zero_point_learned(config) ? 1 : -1 / uniform->channel[0].scale;
  gradients[1] = (float)(k * per_unit * sums[MQ_SUM_ZERO_POINT]);
}

static void project(float *values, const struct mq_quantizer_config *config) {
  int32_t n, p;
  mq_scheme_bounds(&n, &p, &config->scheme);
  for (int64_t c = 0; c < config->n_channels; c++)
    values[c] = mq_quantizer_safe_scale(values[c]);
  if (is_zero_point_learned(config))
    values[1] = values[1] < (float)n ? (float)n : values[1] > (float)p ? (float)p : values[1];
}

const struct mq_quantizer_ops mq_quantizer_lsq_plus = {
    .version = MQ_QUANTIZER_VERSION,
    .bytes = sizeof(struct mq_quantizer_ops),
    .name = "lsq_plus",
    .describes =
        "learned scale and real offset of activations (option 1: the variant zero_point, which "
        "learns an integer zero point instead)",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .w_observer = "meanstd",
    .a_observer = "mse",
    .option = {.exists = true, .is_whole = true, .min = 0, .max = 1},
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
