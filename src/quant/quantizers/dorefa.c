/* DoReFa (Zhou et al., 1606.06160).
 *
 * Weights: t = tanh(w), M = max|t| over the whole tensor, w~ = t / (M + 1e-5), quantized over the range of w~
 * (symmetric: s = max|w~| / p), anew at every forward. Not rescaled; option 1 multiplies w~ by M.
 *   dw_i = (1 - t_i^2) (g_i - [i = argmax] sign(w_i) sum_j g_j w~_j) / (M + 1e-5)
 * Variant `published` (symmetric): s = max / ((p - n)/2), and what rounds beyond p gives no gradient.
 *
 * Activations: clip to [0, 1] where the data are >= 0, else to [-1, 1]; uniform like PACT's with alpha = 1;
 * dx = g inside the clip, ends included.
 *
 * tanh is monotone, so that extrema of w give those of w~, and M; it is computed once in each direction. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "mqbench/kernel.h"
#include "quant/quantizers/quantizers.h"
#include "quant/simd/tanh.h"

/* Keeps w~ below 1: without it the running variance of a folded layer overflows. */
#define EPSILON 1e-5f
#define CHUNK 1024

/* own[] of a weight's form */
enum {
  END,     /* max|w| */
  LARGEST, /* M */
  DIVISOR, /* M + EPSILON */
  FACTOR   /* 1, or M where the result is rescaled */
};

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  return mq_quantizer_check_kind(&mq_quantizer_dorefa, config, what, err);
}

static size_t statistics_count(const struct mq_quantizer_config *config) {
  return config->is_weight ? mq_extrema_count(config) : 0;
}

static void observe(double *statistics, const struct mq_quantizer_config *config, const float *x,
                    int64_t n_rows, int64_t row_count) {
  if (config->is_weight) mq_extrema_observe(statistics, config, x, n_rows, row_count);
}

static void merge(double *into, const double *from, const struct mq_quantizer_config *config) {
  if (config->is_weight) mq_extrema_merge(into, from, config);
}

static mq_status init(float *values, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)values, (void)config, (void)observed, (void)rows, (void)n_rows, (void)row_count, (void)err;
  return MQ_OK;
}

/* ---- Weights ---- */
static float transform(float w, const struct mq_uniform *uniform) {
  return mq_tanhf(w) / (float)uniform->own[DIVISOR] * (float)uniform->own[FACTOR];
}

static void derive_transform(struct mq_uniform *uniform, const struct mq_quantizer_config *config,
                             const double *statistics) {
  float largest = 0;
  for (int64_t c = 0; c < config->n_channels; c++) {
    struct mq_range range = mq_extrema_range(statistics, c);
    float end = -range.lo > range.hi ? -range.lo : range.hi;
    if (end > largest || isnan(end)) largest = end;
  }
  uniform->own[END] = (double)largest;
  largest = mq_tanhf(largest);
  uniform->own[LARGEST] = (double)largest;
  uniform->own[DIVISOR] = (double)(largest + EPSILON);
  uniform->own[FACTOR] = mq_quantizer_has_option(config) ? (double)largest : 1;
}

static void derive_weights(struct mq_uniform *uniform, const struct mq_quantizer_config *config,
                           const double *statistics, const float *least_scale) {
  const struct mq_uniform_rule rule = mq_uniform_rule(config, least_scale);
  int32_t n, p;
  mq_scheme_bounds(&n, &p, &config->scheme);
  derive_transform(uniform, config, statistics);
  for (int64_t c = 0; c < config->n_channels; c++) {
    struct mq_range range = mq_extrema_range(statistics, c);
    float lo = transform(range.lo, uniform), hi = transform(range.hi, uniform);
    if (config->scheme.is_symmetric && !config->is_published)
      mq_uniform_set_scale(uniform, &rule, c, (-lo > hi ? -lo : hi) / (float)p, 0);
    else
      mq_uniform_set_range(uniform, &rule, c, lo, hi);
    mq_uniform_mask_after(uniform, c);
  }
}

/* How the rows of channel c pass: masked in the variant `published` only. */
static struct mq_tanh_run run_of(const struct mq_quantizer_config *config, const struct mq_uniform *uniform,
                                 int64_t c) {
  const struct mq_uniform_channel *channel = &uniform->channel[c];
  return (struct mq_tanh_run){.divisor = (float)uniform->own[DIVISOR],
                              .factor = (float)uniform->own[FACTOR],
                              .scale = (float)channel->scale,
                              .first = config->is_published ? (float)channel->lo : -INFINITY,
                              .last = config->is_published ? (float)channel->hi : INFINITY};
}

static void transform_run(float *to, const struct mq_quantizer_config *config,
                          const struct mq_uniform *uniform, const float *w, int64_t n) {
  const struct mq_tanh_run run = run_of(config, uniform, 0);
  mq_simd_tanh_at(mq_simd_level_used())->transform(to, w, n, &run);
}

static void forward_weights(float *y, uint8_t *codes, const struct mq_quantizer_config *config,
                            const struct mq_uniform *uniform, const float *w, int64_t n_rows,
                            int64_t row_count) {
  float transformed[CHUNK];
  for (int64_t r = 0; r < n_rows; r++)
    for (int64_t at = 0; at < row_count; at += CHUNK) {
      int64_t n = row_count - at < CHUNK ? row_count - at : CHUNK, i = r * row_count + at;
      transform_run(transformed, config, uniform, w + i, n);
      mq_uniform_forward_run(y ? y + i : NULL, codes ? codes + i : NULL, uniform,
                             mq_quantizer_channel(config, r), transformed, n);
    }
}

/* The smallest |w| whose tanh is M: large w share it. Bits of floats >= 0 are in their order. */
static float smallest_at(float largest, float end) {
  uint32_t below = 0, at;
  memcpy(&at, &end, sizeof at);
  while (below < at) {
    uint32_t middle = below + (at - below) / 2;
    float w;
    memcpy(&w, &middle, sizeof w);
    if (mq_tanhf(w) < largest)
      below = middle + 1;
    else
      at = middle;
  }
  float smallest;
  memcpy(&smallest, &at, sizeof smallest);
  return smallest;
}

/* M's own gradient goes to the first of the largest. */
static void add_gradient_of_largest(float *dw, const struct mq_uniform *uniform, double total, const float *w,
                                    int64_t n) {
  double largest = uniform->own[LARGEST];
  float smallest = smallest_at((float)largest, (float)uniform->own[END]);
  int64_t i = 0;
  while (i < n && fabsf(w[i]) < smallest)
    i++;
  if (i == n) return; /* NaN */
  double d = (1 - largest * largest) * total / uniform->own[DIVISOR];
  dw[i] = (float)((double)dw[i] - (w[i] < 0 ? -d : d));
}

static void backward_weights(float *dw, bool adds, const struct mq_quantizer_config *config,
                             const struct mq_uniform *uniform, const float *g, const float *w, int64_t n_rows,
                             int64_t row_count) {
  const struct mq_simd_tanh *loops = mq_simd_tanh_at(mq_simd_level_used());
  double total = 0;
  for (int64_t r = 0; r < n_rows; r++) {
    const struct mq_tanh_run run = run_of(config, uniform, mq_quantizer_channel(config, r));
    int64_t at = r * row_count;
    total += loops->backward(dw + at, adds, g + at, w + at, row_count, &run);
  }
  add_gradient_of_largest(dw, uniform, total, w, n_rows * row_count);
}

static bool freeze(float *frozen, struct mq_qparams *out, const struct mq_quantizer_config *config,
                   const double *form, const float *rows, int64_t n_rows, int64_t row_count) {
  transform_run(frozen, config, mq_uniform_of_const(form), rows, n_rows * row_count);
  return mq_uniform_grid(out, config, form);
}

/* ---- Both ---- */
static void derive(double *form, const struct mq_quantizer_config *config, const float *values,
                   const double *statistics, const float *least_scale) {
  (void)values;
  if (config->is_weight)
    derive_weights(mq_uniform_of(form), config, statistics, least_scale);
  else
    mq_clip_derive(form, config, 1, -1, false, least_scale);
}

static void forward(float *y, void *codes, const struct mq_quantizer_config *config, const double *form,
                    const float *x, int64_t n_rows, int64_t row_count) {
  if (config->is_weight)
    forward_weights(y, codes, config, mq_uniform_of_const(form), x, n_rows, row_count);
  else
    mq_uniform_forward(y, codes, config, form, x, n_rows, row_count);
}

static void backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                     const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count) {
  (void)sums;
  if (config->is_weight)
    backward_weights(dx, adds, config, mq_uniform_of_const(form), g, x, n_rows, row_count);
  else
    mq_clip_backward(dx, adds, NULL, config, form, g, x, n_rows, row_count);
}

const struct mq_quantizer_ops mq_quantizer_dorefa = {
    .version = MQ_QUANTIZER_VERSION,
    .bytes = sizeof(struct mq_quantizer_ops),
    .name = "dorefa",
    .describes = "weights through tanh, activations clipped to 1 (option 1: weights rescaled)",
    .revision = 2,
    .is_for_weights = true,
    .is_for_activations = true,
    .w_observer = "minmax",
    .a_observer = "minmax",
    .has_published = true,
    .is_uniform_at_ends_a = true,
    .option = {.exists = true, .is_whole = true, .min = 0, .max = 1},
    .check = check,
    .statistics_count = statistics_count,
    .form_count = mq_uniform_form_count,
    .init = init,
    .observe = observe,
    .merge = merge,
    .derive = derive,
    .forward = forward,
    .backward = backward,
    .grid = mq_uniform_grid,
    .freeze = freeze,
};
