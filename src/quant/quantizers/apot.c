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
#include "quant/simd/apot.h"

enum {
  FORM_ALPHA,
  FORM_MEAN,    /* activations: 0 */
  FORM_INVERSE, /* 1/(std + 1e-5); activations: 1 */
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

/* ---- Levels ----
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
  int32_t nearest[2 * MAX_DEN + 1];
};

static int set_bits(const struct mq_quantizer_config *config) {
  return config->scheme.is_signed ? config->scheme.bits - 1 : config->scheme.bits;
}

static int den_of(const struct mq_quantizer_config *config) {
  const int bits = set_bits(config);
  return bits > MAX_SET_BITS ? (1 << bits) - 1 : sets[bits].den;
}

/* NULL where there are more than 6 bits: levels 0 .. den, the nearest one is j/2. */
static const int32_t *make_levels(struct levels *levels, const struct mq_quantizer_config *config) {
  const int bits = set_bits(config), den = den_of(config);
  if (bits > MAX_SET_BITS) return NULL;
  bool is_level[MAX_DEN + 1] = {false};
  const struct term_set *set = &sets[bits];
  for (int i = 0; i < 4 * 4 * 4; i++)
    is_level[set->term[0][i & 3] + set->term[1][i >> 2 & 3] + set->term[2][i >> 4]] = true;
  int level = 0, next = 1;
  for (int j = 0; j <= 2 * den; j++) {
    if (level < den && level + next < j) level = next++;
    while (next < den && !is_level[next])
      next++;
    levels->nearest[j] = level;
  }
  return levels->nearest;
}

/* ---- Tables ---- */

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
  form[FORM_INVERSE] = 1;
  if (!config->is_weight) return;
  assert(statistics);
  const double n = statistics[STATISTIC_N], mean = statistics[STATISTIC_SUM] / n;
  const double squares = statistics[STATISTIC_SQUARE] - mean * statistics[STATISTIC_SUM];
  form[FORM_N] = n;
  form[FORM_MEAN] = mean;
  form[FORM_STD] = n > 1 && !(squares <= 0) ? sqrt(squares / (n - 1)) : 0;
  form[FORM_INVERSE] = 1 / (form[FORM_STD] + STD_OFFSET);
}

static double scale_of(const struct mq_quantizer_config *config, const double *form) {
  return form[FORM_ALPHA] / den_of(config);
}

static struct mq_apot_run get_run(struct levels *levels, const struct mq_quantizer_config *config,
                                  const double *form) {
  const float alpha = (float)form[FORM_ALPHA];
  return (struct mq_apot_run){.mean = form[FORM_MEAN],
                              .inverse = form[FORM_INVERSE],
                              .alpha = alpha,
                              .lowest = config->scheme.is_signed ? -alpha : 0,
                              .scale = (float)scale_of(config, form),
                              .den = den_of(config),
                              .nearest = make_levels(levels, config)};
}

static void fill_nan(float *y, int64_t n) {
  for (int64_t i = 0; i < n && y; i++)
    y[i] = NAN;
}

static void forward(float *y, void *codes, const struct mq_quantizer_config *config, const double *form,
                    const float *x, int64_t n_rows, int64_t row_count) {
  struct levels levels;
  const struct mq_apot_run run = get_run(&levels, config, form);
  const int64_t n = n_rows * row_count;
  if (isnan(run.alpha))
    fill_nan(y, n);
  else
    mq_simd_apot_at(mq_simd_level_used())->forward(y, codes, x, n, &run);
}

static void backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                     const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count) {
  const struct mq_simd_apot *loops = mq_simd_apot_at(mq_simd_level_used());
  struct levels levels;
  const struct mq_apot_run run = get_run(&levels, config, form);
  const int64_t n = n_rows * row_count;
  double own[3] = {0, 0, 0};
  if (isnan(run.alpha)) {
    fill_nan(dx, n);
    return;
  }
  loops->backward(config->is_weight ? NULL : dx, adds, own, g, x, n, &run);
  if (config->is_weight) {
    const double n_values = form[FORM_N], std = form[FORM_STD];
    const double along = std > 0 ? own[2] / ((n_values - 1) * std) : 0;
    loops->standardise(dx, adds, g, x, n, &run, own[1] / n_values, along);
  }
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
