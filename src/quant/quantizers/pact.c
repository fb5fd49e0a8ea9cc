/* PACT (Choi et al., 1805.06085): activations clipped to a learned range; weights by DoReFa.
 *
 *   y = uniform(clip(x, lo, alpha)):  symmetric on a signed range: lo = -alpha, s = alpha / p;
 *   otherwise lo = 0, s = alpha / (2^b - 1) for data >= 0; else lo = beta, learned too, and the range nudged
 * so that zero is a grid point. dx = g 1[lo < x < alpha],  dalpha = sum_{x >= alpha} g (- sum_{x <= -alpha}
 * g),  dbeta = sum_{x <= beta} g
 *
 * s and z are constants in the backward; no gradient scaling. Variant `published` (symmetric, signed):
 * s = alpha / (p + 1/2), and what rounds beyond p gives no gradient. option: DoReFa's, for the weights. */
#include "quant/quantizers/quantizers.h"

#define INITIAL_ALPHA 6

enum {
  ALPHA,
  BETA,
  N_PARAMETERS
};

static const struct mq_quantizer_parameter parameters[N_PARAMETERS] = {
    {.name = "alpha", .has_decay = true},
    {.name = "beta", .has_decay = true},
};

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  return mq_quantizer_check_kind(&mq_quantizer_pact, config, what, err);
}

static size_t parameter_count(const struct mq_quantizer_config *config, int parameter) {
  return parameter == ALPHA || mq_clip_kind_of(config) == MQ_CLIP_TWO ? 1 : 0;
}

static size_t sum_count(const struct mq_quantizer_config *config) {
  (void)config;
  return MQ_CLIP_N_SUMS;
}

static mq_status init(float *values, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)observed, (void)rows, (void)n_rows, (void)row_count, (void)err;
  values[ALPHA] = INITIAL_ALPHA;
  if (mq_clip_kind_of(config) == MQ_CLIP_TWO) values[BETA] = -INITIAL_ALPHA;
  return MQ_OK;
}

static void derive(double *form, const struct mq_quantizer_config *config, const float *values,
                   const double *statistics, const float *least_scale) {
  (void)statistics;
  float beta = 0;
  if (mq_clip_kind_of(config) == MQ_CLIP_TWO) beta = values[BETA] > 0 ? 0 : values[BETA];
  mq_clip_derive(form, config, mq_quantizer_safe_scale(values[ALPHA]), beta, true, least_scale);
}

static void finish(float *gradients, const struct mq_quantizer_config *config, const float *values,
                   const double *form, const double *sums) {
  (void)values;
  const struct mq_uniform *uniform = mq_uniform_of_const(form);
  mq_clip_kind kind = mq_clip_kind_of(config);
  double slope = uniform->channel[0].slope;
  double above = uniform->own[MQ_CLIP_ABOVE] != 0 ? sums[MQ_CLIP_ABOVE] : 0;
  double below = uniform->own[MQ_CLIP_BELOW] != 0 ? sums[MQ_CLIP_BELOW] : 0;
  gradients[ALPHA] = (float)(slope * (kind == MQ_CLIP_BOTH ? above - below : above));
  if (kind == MQ_CLIP_TWO) gradients[BETA] = (float)(slope * below);
}

static void project(float *values, const struct mq_quantizer_config *config) {
  values[ALPHA] = mq_quantizer_safe_scale(values[ALPHA]);
  if (mq_clip_kind_of(config) == MQ_CLIP_TWO && values[BETA] > 0) values[BETA] = 0;
}

const struct mq_quantizer_ops mq_quantizer_pact = {
    .version = MQ_QUANTIZER_VERSION,
    .bytes = sizeof(struct mq_quantizer_ops),
    .name = "pact",
    .describes = "learned clip of activations, weights by dorefa (option 1: these rescaled)",
    .revision = 2,
    .is_for_activations = true,
    .w_quantizer = "dorefa",
    .w_observer = "minmax",
    .a_observer = "minmax",
    .has_published = true,
    .is_uniform_at_ends_a = true,
    .option = {.exists = true, .is_whole = true, .min = 0, .max = 1},
    .n_parameters = N_PARAMETERS,
    .parameters = parameters,
    .check = check,
    .parameter_count = parameter_count,
    .form_count = mq_uniform_form_count,
    .sum_count = sum_count,
    .init = init,
    .derive = derive,
    .forward = mq_uniform_forward,
    .backward = mq_clip_backward,
    .finish = finish,
    .project = project,
    .grid = mq_uniform_grid,
};
