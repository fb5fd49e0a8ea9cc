/* APoT (Li et al., 1909.13144): levels that are sums of powers of two, scaled by a learned clip alpha.
 *
 *   t = clip(x/alpha, -1 or 0, 1),  y = alpha L(t),  L: the nearest level, tie to the smaller magnitude
 *   dx = g 1[|x| <= alpha]  (unsigned: 0 <= x <= alpha)
 *   dalpha = sum g (inside ? L(t) - x/alpha : sign(x); 0 below an unsigned range)
 *
 * Weights and signed activations: sign and the (b-1)-bit set; unsigned ones: the b-bit set. Levels are k/den
 * with integer k, so y lies on a grid of scale alpha/den.
 *
 * Weights are standardised before: x = (w - mean)/(std + 1e-5), std with N - 1 over the whole tensor; the
 * gradient goes through both, the result is not scaled back. With G = dx as above, c = 1/(std + 1e-5):
 *   dw = c (G - mean(G)) - x sum(G x)/((N - 1) std) */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "mqbench/kernel.h"
#include "quant/quantizers/academic.h"

enum {
  FORM_ALPHA,
  FORM_MEAN,    /* weights, as all that follows */
  FORM_INVERSE, /* 1/(std + 1e-5) */
  FORM_STD,
  FORM_N,
  FORM_COUNT
};
enum {
  STATISTIC_N,
  STATISTIC_SUM,
  STATISTIC_SQUARE,
  STATISTIC_COUNT
};
#define LEAST_ALPHA 1e-5f
#define STD_OFFSET 1e-5

/* ---- Levels ---------------------------------------------------------------------------------------------
 * Terms of each set, one per brace, in units of the smallest power; `den` is their largest sum. */
#define MAX_SET_BITS 6
#define MAX_DEN 448
struct term_set {
  int den;
  int term[3][4];
};
static const struct term_set sets[MAX_SET_BITS + 1] = {
    [1] = {1, {{0, 1}}},
    [2] = {4, {{0, 1, 2, 4}}},
    [3] = {10, {{0, 1, 4, 8}, {0, 2}}},
    [4] = {48, {{0, 2, 8, 32}, {0, 1, 4, 16}}},
    [5] = {100, {{0, 2, 16, 64}, {0, 1, 8, 32}, {0, 4}}},
    [6] = {448, {{0, 4, 32, 256}, {0, 2, 16, 128}, {0, 1, 8, 64}}},
};

/* Halves of level steps are counted: nearest[j] is the level of every v = 2 den t with ceil(v) = j, since a
 * threshold between two levels is a whole number of them. */
struct levels {
  int den;
  bool is_uniform; /* more than 6 bits: k = 0 .. den, nearest[j] = j/2 */
  uint16_t nearest[2 * MAX_DEN + 1];
};

static int set_bits(const struct mq_quantizer_config *config) {
  return config->scheme.is_signed ? config->scheme.bits - 1 : config->scheme.bits;
}

static int den_of(const struct mq_quantizer_config *config) {
  const int bits = set_bits(config);
  return bits > MAX_SET_BITS ? (1 << bits) - 1 : sets[bits].den;
}

static void make_levels(struct levels *levels, const struct mq_quantizer_config *config) {
  const int bits = set_bits(config), den = den_of(config);
  levels->den = den;
  levels->is_uniform = bits > MAX_SET_BITS;
  if (levels->is_uniform) return;
  bool is_level[MAX_DEN + 1] = {false};
  const struct term_set *set = &sets[bits];
  for (int i = 0; i < 4 * 4 * 4; i++)
    is_level[set->term[0][i & 3] + set->term[1][i >> 2 & 3] + set->term[2][i >> 4]] = true;
  int level = 0, next = 1;
  for (int j = 0; j <= 2 * den; j++) {
    if (level < den && level + next < j) level = next++;
    while (next < den && !is_level[next])
      next++;
    levels->nearest[j] = (uint16_t)level;
  }
}

/* den L(t), t = magnitude/alpha. In double, so that ties are ties of the real quotient: the product is exact,
 * and a quotient that is no whole number differs from one by more than its rounding. */
static inline int nearest(float magnitude, float alpha, const struct levels *levels) {
  if (!(magnitude < alpha)) return levels->den;
  const double v = (double)magnitude * (2 * levels->den) / (double)alpha;
  int j = (int)v;
  j += (double)j < v;
  return levels->is_uniform ? j / 2 : levels->nearest[j];
}

/* ---- Tables ----------------------------------------------------------------------------------------------
 */

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  return mq_quantizer_check_academic(&mq_quantizer_apot, config, what, err);
}

static size_t statistics_count(const struct mq_quantizer_config *config) {
  return config->is_weight ? STATISTIC_COUNT : 0;
}

static size_t form_count(const struct mq_quantizer_config *config) {
  (void)config;
  return FORM_COUNT;
}

static size_t sum_count(const struct mq_quantizer_config *config) {
  (void)config;
  return 1;
}

static mq_status init(float *parameters, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)observed, (void)rows, (void)n_rows, (void)row_count, (void)err;
  parameters[0] = config->is_weight ? 3 : 6;
  return MQ_OK;
}

static void observe(double *statistics, const struct mq_quantizer_config *config, const float *x,
                    int64_t n_rows, int64_t row_count) {
  if (!config->is_weight) return;
  double sum, sum_abs, square;
  mq_loop_moments(&sum, &sum_abs, &square, x, n_rows * row_count);
  statistics[STATISTIC_N] += (double)(n_rows * row_count);
  statistics[STATISTIC_SUM] += sum;
  statistics[STATISTIC_SQUARE] += square;
}

static void merge(double *into, const double *from, const struct mq_quantizer_config *config) {
  for (size_t i = 0; i < statistics_count(config); i++)
    into[i] += from[i];
}

static float safe_alpha(float alpha) {
  if (!isfinite(alpha)) return NAN;
  return fmaxf(fabsf(alpha), LEAST_ALPHA);
}

static void derive(double *form, const struct mq_quantizer_config *config, const float *parameters,
                   const double *statistics, const float *least_scale) {
  (void)least_scale; /* a float bias */
  memset(form, 0, FORM_COUNT * sizeof *form);
  form[FORM_ALPHA] = (double)safe_alpha(parameters[0]);
  if (!config->is_weight) return;
  assert(statistics);
  const double n = statistics[STATISTIC_N], mean = statistics[STATISTIC_SUM] / n;
  const double squares = statistics[STATISTIC_SQUARE] - mean * statistics[STATISTIC_SUM];
  form[FORM_N] = n;
  form[FORM_MEAN] = mean;
  form[FORM_STD] = n > 1 && !(squares <= 0) ? sqrt(squares / (n - 1)) : 0;
  form[FORM_INVERSE] = 1 / (form[FORM_STD] + STD_OFFSET);
}

/* What is quantized: activations as they are. */
static inline float standardise(float w, const double *form, bool is_weight) {
  return is_weight ? (float)(((double)w - form[FORM_MEAN]) * form[FORM_INVERSE]) : w;
}

/* The integer of y; x is not NaN. */
static inline int quantize(float x, float alpha, const struct levels *levels, bool is_signed) {
  if (x < 0 && !is_signed) return 0;
  const int k = nearest(fabsf(x), alpha, levels);
  return x < 0 ? -k : k;
}

static double scale_of(const struct mq_quantizer_config *config, const double *form) {
  return form[FORM_ALPHA] / den_of(config);
}

static void forward(float *y, void *codes, const struct mq_quantizer_config *config, const double *form,
                    const float *x, int64_t n_rows, int64_t row_count) {
  struct levels levels;
  make_levels(&levels, config);
  const float alpha = (float)form[FORM_ALPHA], scale = (float)scale_of(config, form);
  const bool is_signed = config->scheme.is_signed, is_weight = config->is_weight;
  for (int64_t i = 0; i < n_rows * row_count; i++) {
    const float value = standardise(x[i], form, is_weight);
    const bool is_number = !isnan(value) && !isnan(alpha);
    const int k = is_number ? quantize(value, alpha, &levels, is_signed) : 0;
    if (y) y[i] = is_number ? scale * (float)k : NAN;
    if (codes && is_signed) ((int8_t *)codes)[i] = (int8_t)k;
    if (codes && !is_signed) ((uint8_t *)codes)[i] = (uint8_t)k;
  }
}

/* The gradient that goes through the clip, and the factor of g in dalpha. */
static inline float clip_gradient(double *slope, float g, float x, float alpha, const struct levels *levels,
                                  bool is_signed) {
  const bool is_below = x<(is_signed ? -alpha : 0), is_above = x> alpha;
  *slope = 0;
  if (is_above) *slope = 1;
  if (is_below && is_signed) *slope = -1;
  if (isnan(x) || isnan(alpha)) return NAN;
  if (is_above || is_below) return 0;
  *slope = (double)quantize(x, alpha, levels, is_signed) / levels->den - (double)x / (double)alpha;
  return g;
}

/* dx NULL: only sums, [0] of dalpha, [1] of G, [2] of G x. */
static void clip_rows(float *dx, bool adds, double sums[3], const struct mq_quantizer_config *config,
                      const double *form, const float *g, const float *x, int64_t n) {
  struct levels levels;
  make_levels(&levels, config);
  const float alpha = (float)form[FORM_ALPHA];
  const bool is_signed = config->scheme.is_signed, is_weight = config->is_weight;
  for (int64_t i = 0; i < n; i++) {
    const float value = standardise(x[i], form, is_weight);
    double slope;
    const float gradient = clip_gradient(&slope, g[i], value, alpha, &levels, is_signed);
    sums[0] += (double)g[i] * slope;
    sums[1] += (double)gradient;
    sums[2] += (double)gradient * (double)value;
    if (dx) dx[i] = (adds ? dx[i] : 0) + gradient;
  }
}

static void standardise_backward(float *dw, bool adds, const double sums[3],
                                 const struct mq_quantizer_config *config, const double *form, const float *g,
                                 const float *w, int64_t n) {
  const float alpha = (float)form[FORM_ALPHA], lowest = config->scheme.is_signed ? -alpha : 0;
  const double inverse = form[FORM_INVERSE], std = form[FORM_STD], mean = sums[1] / form[FORM_N];
  const double along = std > 0 ? sums[2] / ((form[FORM_N] - 1) * std) : 0;
  for (int64_t i = 0; i < n; i++) {
    const float x = standardise(w[i], form, true);
    const float gradient = x < lowest || x > alpha ? 0 : g[i];
    const float d = (float)(inverse * ((double)gradient - mean) - (double)x * along);
    dw[i] = adds ? dw[i] + d : d;
  }
}

static void backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                     const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count) {
  const int64_t n = n_rows * row_count;
  double own[3] = {0, 0, 0};
  clip_rows(config->is_weight ? NULL : dx, adds, own, config, form, g, x, n);
  if (config->is_weight) standardise_backward(dx, adds, own, config, form, g, x, n);
  sums[0] += own[0];
}

static void finish(float *gradients, const struct mq_quantizer_config *config, const float *parameters,
                   const double *form, const double *sums) {
  (void)config, (void)parameters, (void)form;
  gradients[0] = (float)sums[0];
}

static void project(float *parameters, const struct mq_quantizer_config *config) {
  (void)config;
  parameters[0] = safe_alpha(parameters[0]);
}

static bool get_grid(struct mq_qparams *out, const struct mq_quantizer_config *config, const double *form) {
  const int den = den_of(config);
  const bool is_signed = config->scheme.is_signed;
  if (den > (is_signed ? INT8_MAX : UINT8_MAX)) return false;
  mq_set_symmetric_grid(out, scale_of(config, form), is_signed ? -den : 0, den);
  return true;
}

/* Quantized weights lie on the grid already: plain fake quantization leaves them as they are. */
static bool freeze(float *frozen, struct mq_qparams *out, const struct mq_quantizer_config *config,
                   const double *form, const float *rows, int64_t n_rows, int64_t row_count) {
  forward(frozen, NULL, config, form, rows, n_rows, row_count);
  return get_grid(out, config, form);
}

static const struct mq_quantizer_parameter parameters_of_apot[] = {
    {.name = "alpha", .has_decay = true, .is_scale = true}};

const struct mq_quantizer_ops mq_quantizer_apot = {
    .version = MQ_QUANTIZER_VERSION,
    .bytes = sizeof(struct mq_quantizer_ops),
    .name = "apot",
    .describes = "additive powers of two: levels are sums of few powers of two, the clip is learned",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .w_observer = "minmax",
    .a_observer = "minmax",
    .is_academic = true,
    .is_uniform_at_ends_w = true,
    .is_uniform_at_ends_a = true,
    .n_parameters = 1,
    .parameters = parameters_of_apot,
    .check = check,
    .statistics_count = statistics_count,
    .form_count = form_count,
    .sum_count = sum_count,
    .init = init,
    .observe = observe,
    .merge = merge,
    .derive = derive,
    .forward = forward,
    .backward = backward,
    .finish = finish,
    .project = project,
    .grid = get_grid,
    .freeze = freeze,
};
