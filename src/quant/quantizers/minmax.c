/* Uniform quantization over the range of the data, nothing learned: also what replaces a method in the first
 * and last layer at 8 bits (academic setting).
 *
 *   dx = g 1[n <= rne(x/s) + z <= p], no gradient through the range
 *
 * Weights: the extrema of the weight as it stands, at every forward. Activations: an exponential moving
 * average of the batches' extrema, this batch's included; frozen in evaluation. option: what the average
 * keeps, 0.9. */
#include <math.h>

#include "quant/quantizers/quantizers.h"

#define DEFAULT_KEEP 0.9

enum {
  MIN,
  MAX,
  N_PARAMETERS
};

static const struct mq_quantizer_parameter parameters[N_PARAMETERS] = {
    {.name = "min", .is_state = true},
    {.name = "max", .is_state = true},
};

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  return mq_quantizer_check_kind(&mq_quantizer_minmax, config, what, err);
}

static size_t parameter_count(const struct mq_quantizer_config *config, int parameter) {
  (void)parameter;
  return config->is_weight ? 0 : 1;
}

/* The range that the calibrated scale came from. */
static mq_status init(float *values, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)rows, (void)n_rows, (void)row_count, (void)err;
  if (config->is_weight) return MQ_OK;
  double n = observed->quant_min, p = observed->quant_max, s = (double)observed->scale[0];
  if (!config->scheme.is_symmetric) {
    values[MIN] = (float)((n - observed->zero_point[0]) * s);
    values[MAX] = (float)((p - observed->zero_point[0]) * s);
  } else if (config->is_non_negative) {
    values[MIN] = 0;
    values[MAX] = (float)(observed->is_signed ? (p - n) / 2 * s : (p - n) * s);
  } else {
    values[MAX] = (float)((p - n) / 2 * s);
    values[MIN] = -values[MAX];
  }
  return MQ_OK;
}

/* What the average is after this batch. */
static struct mq_range average(const struct mq_quantizer_config *config, const float *values,
                               const double *statistics) {
  struct mq_range batch = mq_extrema_range(statistics, 0);
  double keep = isnan(config->option) ? DEFAULT_KEEP : config->option;
  return (struct mq_range){(float)(keep * (double)values[MIN] + (1 - keep) * (double)batch.lo),
                           (float)(keep * (double)values[MAX] + (1 - keep) * (double)batch.hi)};
}

static void derive(double *form, const struct mq_quantizer_config *config, const float *values,
                   const double *statistics, const float *least_scale) {
  struct mq_uniform *uniform = mq_uniform_of(form);
  const struct mq_uniform_rule rule = mq_uniform_rule(config, least_scale);
  for (int64_t c = 0; c < config->n_channels; c++) {
    struct mq_range range;
    if (config->is_weight)
      range = mq_extrema_range(statistics, c);
    else if (statistics)
      range = average(config, values, statistics);
    else
      range = (struct mq_range){values[MIN], values[MAX]};
    mq_uniform_set_range(uniform, &rule, c, range.lo, range.hi);
    mq_uniform_mask_after(uniform, c);
  }
}

static void backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                     const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count) {
  (void)sums; /* nothing is learned */
  mq_uniform_backward(dx, adds, NULL, config, form, g, x, n_rows, row_count);
}

static void update(float *values, const struct mq_quantizer_config *config, const double *form,
                   const double *statistics, const double *sums) {
  (void)form, (void)sums;
  if (config->is_weight) return;
  struct mq_range range = average(config, values, statistics);
  values[MIN] = range.lo;
  values[MAX] = range.hi;
}

const struct mq_quantizer_ops mq_quantizer_minmax = {
    .version = MQ_QUANTIZER_VERSION,
    .bytes = sizeof(struct mq_quantizer_ops),
    .name = "minmax",
    .describes = "range of the data, straight-through (option: what the average of activations keeps, 0.9)",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .w_observer = "minmax",
    .a_observer = "ema_minmax",
    .option = {.exists = true, .excludes_max = true, .min = 0, .max = 1},
    .n_parameters = N_PARAMETERS,
    .parameters = parameters,
    .check = check,
    .parameter_count = parameter_count,
    .statistics_count = mq_extrema_count,
    .form_count = mq_uniform_form_count,
    .init = init,
    .observe = mq_extrema_observe,
    .merge = mq_extrema_merge,
    .derive = derive,
    .forward = mq_uniform_forward,
    .backward = backward,
    .update = update,
    .grid = mq_uniform_grid,
};
