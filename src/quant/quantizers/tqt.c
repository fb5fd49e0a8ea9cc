/* TQT (Jain et al., 1903.08066): a power-of-two scale from a learned threshold t, kept as its logarithm.
 *
 *   s = 2^ceil(log2 t) / 2^(b-1) (unsigned: / 2^b);   m' = 1[n <= rne(x/s) <= p]
 *   dx = g m',  d(log2 t) = s ln 2 sum g (m' ? rne(x/s) - x/s : n or p),  ceil straight-through
 *
 * Symmetric schemes only; of either scale form, since a power of two is a float scale too. Weights begin with
 * t = 3 std. */
#include <math.h>

#include "mqbench/kernel.h"
#include "quant/quantizers/quantizers.h"

#define INITIAL_STDS 3
#define LN_2 0x1.62e42fefa39efp-1
/* Beyond these the scale would leave the floats. */
#define LEAST_LOG2 (-100.0f)
#define MOST_LOG2 100.0f

static const struct mq_quantizer_parameter parameters[] = {{.name = "log2_t", .adam_rate = 1e-2}};

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  return mq_quantizer_check_symmetric(&mq_quantizer_tqt, config, what, err);
}

/* The end of the range that the calibrated scale came from: rounded to a power of two, it would start an
 * octave off wherever the scale was rounded down. */
static double observed_end(const struct mq_quantizer_config *config, const struct mq_qparams *observed,
                           int64_t c) {
  double steps = (double)observed->quant_max - (double)observed->quant_min;
  bool is_one_sided = !observed->is_signed && config->is_non_negative;
  bool is_kept = observed->plain_scale && observed->plain_scale[c] > 0;
  float scale = is_kept ? observed->plain_scale[c] : observed->scale[c];
  return (double)scale * (is_one_sided ? steps : steps / 2);
}

static float limit(float log2_t) {
  return log2_t < LEAST_LOG2 ? LEAST_LOG2 : log2_t > MOST_LOG2 ? MOST_LOG2 : log2_t;
}

static mq_status init(float *values, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)err;
  for (int64_t c = 0; c < config->n_channels; c++) {
    double mean, std = 0;
    if (config->is_weight && config->is_own_observer)
      mq_quantizer_moments(&mean, &std, config, c, rows, n_rows, row_count);
    double t = std > 0 ? INITIAL_STDS * std : observed_end(config, observed, c);
    values[c] = limit((float)mq_log2(t));
  }
  return MQ_OK;
}

static void derive(double *form, const struct mq_quantizer_config *config, const float *values,
                   const double *statistics, const float *least_scale) {
  (void)statistics;
  struct mq_uniform *uniform = mq_uniform_of(form);
  struct mq_scheme scheme = config->scheme;
  scheme.scale_form = MQ_SCALE_POT; /* raised scales stay powers of two */
  struct mq_uniform_rule rule = mq_uniform_rule(config, least_scale);
  rule.scheme = &scheme;
  int bits = scheme.is_signed ? scheme.bits - 1 : scheme.bits;
  for (int64_t c = 0; c < config->n_channels; c++) {
    float log2_t = limit(values[c]);
    float scale = isfinite(log2_t) ? ldexpf(1, (int)ceilf(log2_t) - bits) : NAN;
    mq_uniform_set_scale(uniform, &rule, c, scale, 0);
    mq_uniform_mask_after(uniform, c);
  }
}

static void finish(float *gradients, const struct mq_quantizer_config *config, const float *values,
                   const double *form, const double *sums) {
  (void)values;
  const struct mq_uniform *uniform = mq_uniform_of_const(form);
  for (int64_t c = 0; c < config->n_channels; c++)
    gradients[c] = (float)(uniform->channel[c].scale * LN_2 * sums[MQ_N_SUMS * c + MQ_SUM_SCALE]);
}

static void project(float *values, const struct mq_quantizer_config *config) {
  for (int64_t c = 0; c < config->n_channels; c++)
    values[c] = limit(values[c]);
}

const struct mq_quantizer_ops mq_quantizer_tqt = {
    .version = MQ_QUANTIZER_VERSION,
    .bytes = sizeof(struct mq_quantizer_ops),
    .name = "tqt",
    .describes = "learned threshold, power-of-two scale",
    .revision = 2,
    .is_for_weights = true,
    .is_for_activations = true,
    .w_observer = "meanstd",
    .a_observer = "kld",
    .n_parameters = sizeof parameters / sizeof *parameters,
    .parameters = parameters,
    .check = check,
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
