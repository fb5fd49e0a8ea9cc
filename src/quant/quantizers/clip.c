/* Uniform quantization of what a real-valued clip to [lo, hi] leaves; see quantizers.h. The codes end where
 * the clip's ends are rounded to, so the forward is plain fake quantization on that grid. */
#include <math.h>

#include "quant/quantizers/quantizers.h"
#include "quant/simd/clip.h"

mq_clip_kind mq_clip_kind_of(const struct mq_quantizer_config *config) {
  if (config->scheme.is_symmetric) return config->scheme.is_signed ? MQ_CLIP_BOTH : MQ_CLIP_NON_NEGATIVE;
  return config->is_non_negative ? MQ_CLIP_NON_NEGATIVE : MQ_CLIP_TWO;
}

/* Scale, zero point and bounds. */
static void set_grid(struct mq_uniform *uniform, const struct mq_quantizer_config *config, float alpha,
                     float beta, const float *least_scale) {
  struct mq_uniform_rule rule = mq_uniform_rule(config, least_scale);
  mq_clip_kind kind = mq_clip_kind_of(config);
  if (kind == MQ_CLIP_TWO) {
    mq_uniform_set_range(uniform, &rule, 0, beta, alpha);
  } else if (kind == MQ_CLIP_NON_NEGATIVE) {
    rule.is_non_negative = true;
    mq_uniform_set_range(uniform, &rule, 0, 0, alpha);
  } else if (config->is_published) {
    mq_uniform_set_range(uniform, &rule, 0, -alpha, alpha);
  } else {
    int32_t p = ((int32_t)1 << (config->scheme.bits - 1)) - 1;
    mq_uniform_set_scale(uniform, &rule, 0, alpha / (float)p, 0);
    uniform->quant_min = -p;
  }
}

/* The ends of the grid: where the range is nudged, or the scale is another than the clip asked for. */
static void set_ends_of_grid(struct mq_uniform *uniform) {
  struct mq_uniform_channel *channel = &uniform->channel[0];
  float scale = (float)channel->scale;
  channel->lo = (double)(scale * (float)(uniform->quant_min - channel->zero_point));
  channel->hi = (double)(scale * (float)(uniform->quant_max - channel->zero_point));
}

/* The largest float whose quotient by scale is at most `bound`. */
static float largest_within(float bound, float scale) {
  float x = bound * scale;
  while (x / scale > bound)
    x = nextafterf(x, 0);
  while (nextafterf(x, INFINITY) / scale <= bound)
    x = nextafterf(x, INFINITY);
  return x;
}

/* The released code's range is symmetric about 0, so alpha / s is p + 1/2, which may round beyond p;
 * PyTorch's kernel then lets no gradient through, neither to the x there nor to alpha. */
static void set_published_ends(struct mq_uniform *uniform, float alpha) {
  struct mq_uniform_channel *channel = &uniform->channel[0];
  float scale = (float)channel->scale;
  mq_uniform_mask_after(uniform, 0);
  float last = largest_within((float)channel->hi, scale), first = -largest_within((float)-channel->lo, scale);
  uniform->own[MQ_CLIP_ABOVE] = alpha <= last;
  uniform->own[MQ_CLIP_BELOW] = -alpha >= first;
  channel->hi = (double)fminf(alpha, last);
  channel->lo = (double)fmaxf(-alpha, first);
  double code = (double)rintf(alpha / scale);
  uniform->quant_max = fmin(uniform->quant_max, code);
  uniform->quant_min = fmax(uniform->quant_min, -code);
}

void mq_clip_derive(double *form, const struct mq_quantizer_config *config, float alpha, float beta,
                    bool is_open, const float *least_scale) {
  struct mq_uniform *uniform = mq_uniform_of(form);
  struct mq_uniform_channel *channel = &uniform->channel[0];
  mq_clip_kind kind = mq_clip_kind_of(config);
  set_grid(uniform, config, alpha, beta, least_scale);
  uniform->own[MQ_CLIP_ABOVE] = uniform->own[MQ_CLIP_BELOW] = 1;
  if (!isfinite(channel->scale)) return;
  if (kind == MQ_CLIP_BOTH && config->is_published) {
    set_published_ends(uniform, alpha);
  } else if (kind == MQ_CLIP_TWO || config->scheme.scale_form == MQ_SCALE_POT || least_scale) {
    set_ends_of_grid(uniform);
  } else {
    channel->hi = (double)alpha;
    channel->lo = kind == MQ_CLIP_BOTH ? -(double)alpha : 0;
  }
  if (!is_open) return;
  channel->lo = (double)nextafterf((float)channel->lo, INFINITY);
  channel->hi = (double)nextafterf((float)channel->hi, -INFINITY);
}

void mq_clip_backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                      const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count) {
  (void)config;
  const struct mq_uniform_channel *channel = &mq_uniform_of_const(form)->channel[0];
  double unwanted[MQ_CLIP_N_SUMS] = {0};
  double *into = sums ? sums : unwanted;
  mq_simd_clip_at(mq_simd_level_used())
      ->backward(dx, adds, &into[MQ_CLIP_ABOVE], &into[MQ_CLIP_BELOW], g, x, n_rows * row_count,
                 (float)channel->lo, (float)channel->hi);
}
