/* DSQ (Gong et al., 1908.05033): uniform quantization whose staircase is a row of soft tanh steps to the
 * gradient. The range comes from the data, with no gradient through it:
 *
 *   weights      mean +- 2.6 std (N - 1) of the row or tensor, at every training forward
 *   activations  means over the batch of each image's extrema, moving average that keeps 0.9
 *
 * and stays what it was in evaluation.
 *
 *   y = s (clip(rne(x/s) + z, n, p) - z),  m = 1[n <= x/s + z <= p],  k = ln(2/a - 1)
 *   u = (x/s + z) - floor(x/s + z),  phi(u) = 0.5 + 0.5 tanh(k (u - 0.5))/(1 - a)
 *   dx = g m phi'(u) = g m 0.5 k (1 - tanh^2(k (u - 0.5)))/(1 - a)
 *
 * phi is rounded in the forward, which leaves plain uniform quantization. option: a, 0.4. Variant
 * `published`: straight-through, m taken after rounding. */
#include <math.h>

#include "mqbench/kernel.h"
#include "quant/qparams.h"
#include "quant/quantizers/quantizers.h"
#include "quant/simd/dsq.h"

#define DEFAULT_A 0.4
#define DEVIATIONS 2.6
#define KEEP 0.9

enum {
  LO,
  HI,
  N_PARAMETERS
};
/* Of mq_uniform's own numbers. */
enum {
  OWN_K,
  OWN_GAIN /* 0.5 k/(1 - a) */
};
/* Per channel: of weights values, of activations images. */
enum {
  STATISTIC_N,
  STATISTIC_A, /* weights: sum of x; activations: of minima */
  STATISTIC_B, /* weights: sum of x^2; activations: of maxima */
  N_STATISTICS
};

static const struct mq_quantizer_parameter parameters_of_dsq[N_PARAMETERS] = {
    {.name = "lo", .is_state = true},
    {.name = "hi", .is_state = true},
};

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  return mq_quantizer_check_kind(&mq_quantizer_dsq, config, what, err);
}

static size_t statistics_count(const struct mq_quantizer_config *config) {
  return N_STATISTICS * (size_t)config->n_channels;
}

/* ---- Range ---- */

static struct mq_range range_around(double mean, double std) {
  return (struct mq_range){mq_to_finite_float(mean - DEVIATIONS * std),
                           mq_to_finite_float(mean + DEVIATIONS * std)};
}

/* The range that a calibrated scale came from. */
static struct mq_range observed_range(const struct mq_quantizer_config *config,
                                      const struct mq_qparams *observed, int64_t c) {
  double n = observed->quant_min, p = observed->quant_max, scale = (double)observed->scale[c];
  double lo = scale * (n - observed->zero_point[c]), hi = scale * (p - observed->zero_point[c]);
  if (config->scheme.is_symmetric) {
    bool is_one_sided = !observed->is_signed && config->is_non_negative;
    hi = scale * (is_one_sided ? p - n : (p - n) / 2);
    lo = config->is_non_negative ? 0 : -hi;
  }
  return (struct mq_range){mq_to_finite_float(lo), mq_to_finite_float(hi)};
}

static mq_status init(float *parameters, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)err;
  for (int64_t c = 0; c < config->n_channels; c++) {
    struct mq_range range = observed_range(config, observed, c);
    if (config->is_weight && config->is_own_observer) {
      double mean, std;
      mq_quantizer_moments(&mean, &std, config, c, rows, n_rows, row_count);
      range = range_around(mean, std);
    }
    parameters[LO * config->n_channels + c] = range.lo;
    parameters[HI * config->n_channels + c] = range.hi;
  }
  return MQ_OK;
}

static void observe(double *statistics, const struct mq_quantizer_config *config, const float *x,
                    int64_t n_rows, int64_t row_count) {
  for (int64_t r = 0; r < n_rows; r++) {
    double *own = statistics + N_STATISTICS * mq_quantizer_channel(config, r);
    const float *row = x + r * row_count;
    if (config->is_weight) {
      double sum, sum_abs, square;
      mq_loop_moments(&sum, &sum_abs, &square, row, row_count);
      own[STATISTIC_N] += (double)row_count;
      own[STATISTIC_A] += sum;
      own[STATISTIC_B] += square;
    } else {
      float min, max;
      mq_loop_min_max(&min, &max, row, row_count);
      own[STATISTIC_N] += 1;
      own[STATISTIC_A] += (double)min;
      own[STATISTIC_B] += (double)max;
    }
  }
}

static void merge(double *into, const double *from, const struct mq_quantizer_config *config) {
  for (size_t i = 0; i < statistics_count(config); i++)
    into[i] += from[i];
}

/* What a training forward takes; NaN where the data was not finite. */
static struct mq_range training_range(const struct mq_quantizer_config *config, const float *parameters,
                                      const double *statistics, int64_t c) {
  const double *own = statistics + N_STATISTICS * c;
  double n = own[STATISTIC_N], a = own[STATISTIC_A] / n, b = own[STATISTIC_B] / n;
  if (!isfinite(a) || !isfinite(b)) return (struct mq_range){NAN, NAN};
  if (!config->is_weight) {
    double lo = (double)parameters[LO], hi = (double)parameters[HI];
    return (struct mq_range){(float)(KEEP * lo + (1 - KEEP) * a), (float)(KEEP * hi + (1 - KEEP) * b)};
  }
  double squares = own[STATISTIC_B] - a * own[STATISTIC_A];
  return range_around(a, n > 1 && squares > 0 ? sqrt(squares / (n - 1)) : 0);
}

static void derive(double *form, const struct mq_quantizer_config *config, const float *parameters,
                   const double *statistics, const float *least_scale) {
  struct mq_uniform *uniform = mq_uniform_of(form);
  const struct mq_uniform_rule rule = mq_uniform_rule(config, least_scale);
  double a = isnan(config->option) ? DEFAULT_A : config->option;
  uniform->own[OWN_K] = mq_log(2 / a - 1);
  uniform->own[OWN_GAIN] = 0.5 * uniform->own[OWN_K] / (1 - a);
  for (int64_t c = 0; c < config->n_channels; c++) {
    struct mq_range range = {parameters[LO * config->n_channels + c],
                             parameters[HI * config->n_channels + c]};
    if (statistics) range = training_range(config, parameters, statistics, c);
    mq_uniform_set_range(uniform, &rule, c, range.lo, range.hi);
    if (config->is_published)
      mq_uniform_mask_after(uniform, c);
    else
      mq_uniform_mask_before(uniform, c);
  }
}

static void update(float *parameters, const struct mq_quantizer_config *config, const double *form,
                   const double *statistics, const double *sums) {
  (void)form, (void)sums;
  for (int64_t c = 0; c < config->n_channels; c++) {
    struct mq_range range = training_range(config, parameters, statistics, c);
    parameters[LO * config->n_channels + c] = range.lo;
    parameters[HI * config->n_channels + c] = range.hi;
  }
}

/* ---- Gradient ---- */

static void backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                     const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count) {
  if (config->is_published) {
    mq_uniform_backward(dx, adds, NULL, config, form, g, x, n_rows, row_count);
    return;
  }
  (void)sums;
  const struct mq_uniform *uniform = mq_uniform_of_const(form);
  const struct mq_simd_dsq *loops = mq_simd_dsq_at(mq_simd_level_used());
  for (int64_t r = 0; r < n_rows; r++, dx += row_count, g += row_count, x += row_count) {
    const struct mq_uniform_channel *channel = &uniform->channel[mq_quantizer_channel(config, r)];
    struct mq_dsq_run run = {.scale = (float)channel->scale,
                             .lo = (float)channel->lo,
                             .hi = (float)channel->hi,
                             .k = (float)uniform->own[OWN_K],
                             .gain = (float)uniform->own[OWN_GAIN]};
    (adds ? loops->add_gradient : loops->gradient)(dx, g, x, row_count, &run);
  }
}

const struct mq_quantizer_ops mq_quantizer_dsq = {
    .version = MQ_QUANTIZER_VERSION,
    .bytes = sizeof(struct mq_quantizer_ops),
    .name = "dsq",
    .describes = "range from the data, gradient of soft tanh steps (option: their flatness a, 0.4)",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .w_observer = "meanstd",
    .a_observer = "batch_mean_minmax",
    .has_published = true,
    .freezes_weights = true,
    .option = {.exists = true, .excludes_min = true, .excludes_max = true, .min = 0, .max = 1},
    .n_parameters = N_PARAMETERS,
    .parameters = parameters_of_dsq,
    .check = check,
    .statistics_count = statistics_count,
    .form_count = mq_uniform_form_count,
    .init = init,
    .observe = observe,
    .merge = merge,
    .derive = derive,
    .forward = mq_uniform_forward,
    .backward = backward,
    .update = update,
    .grid = mq_uniform_grid,
};
