/* LQ-Net (Zhang et al., 1807.10029): levels are sums of a learned basis v of b reals (weights: one basis per
 * output channel; activations: one per tensor).
 *
 *   levels v . c over all codes c in {-1, 1}^b (weights, signed activations) or {0, 1}^b (unsigned ones);
 *   x takes a level only if it lies above the midpoint to the level below
 *   weights dx = g;  activations dx = g 1[lowest <= x <= highest] (unsigned: only the upper bound)
 *
 * v is learned by no gradient: after each training step, with B the N x b codes that were used,
 *   (B'B + 1e-4 I) v' = B'x + 1e-4 v,  v <- 0.9 v + 0.1 v'
 * B'B and B'x are this method's sums. */
#include <math.h>
#include <string.h>

#include "mqbench/kernel.h"
#include "quant/quantizers/academic.h"

enum {
  MAX_BITS = 8,
  MAX_LEVELS = 1 << MAX_BITS
};
#define RIDGE 1e-4
#define KEEP 0.9

static int64_t basis_count(const struct mq_quantizer_config *config) {
  return config->is_weight ? config->n_rows : 1;
}

static int bits_of(const struct mq_quantizer_config *config) {
  return config->scheme.bits;
}

/* Sums of one basis: B'B row by row, then B'x. */
static int64_t sums_per_basis(const struct mq_quantizer_config *config) {
  return (int64_t)bits_of(config) * (bits_of(config) + 1);
}

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  if (bits_of(config) > MAX_BITS)
    return mq_fail(err, MQ_BAD_INPUT, "%s: lqnet is defined for up to %d bits; found %d", what, MAX_BITS,
                   bits_of(config));
  return mq_quantizer_check_academic(&mq_quantizer_lqnet, config, what, err);
}

static size_t basis_values(const struct mq_quantizer_config *config) {
  return (size_t)basis_count(config) * (size_t)bits_of(config);
}

static size_t parameter_count(const struct mq_quantizer_config *config, int parameter) {
  (void)parameter;
  return basis_values(config);
}

static size_t sum_count(const struct mq_quantizer_config *config) {
  return (size_t)(basis_count(config) * sums_per_basis(config));
}

/* ---- Initial basis ---- */

/* v_i = 2^i unit. */
static void fill_basis(float *v, int bits, double unit) {
  for (int i = 0; i < bits; i++)
    v[i] = (float)ldexp(unit, i);
}

/* With N - 1. */
static double deviation(const float *row, int64_t n) {
  double sum, sum_abs, square;
  mq_loop_moments(&sum, &sum_abs, &square, row, n);
  const double squares = square - sum / (double)n * sum;
  return n > 1 && squares > 0 ? sqrt(squares / (double)(n - 1)) : 0;
}

/* Calibrated by another observer than its own: the levels of that observer's uniform grid. */
static double unit_of_range(const struct mq_quantizer_config *config, const struct mq_qparams *observed) {
  const int steps = (1 << bits_of(config)) - 1;
  return mq_observed_magnitude(config, observed) / steps;
}

/* Weights: 2^i 0.6745 sigma / 2^(b-1), sigma the channel's deviation. Activations: 2^i 1.349 sigma / (2^b -
 * 1), sigma = sqrt(2 mean x^2): the observer `rms` answers the root of the mean. */
static mq_status init(float *parameters, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)n_rows, (void)err;
  const int bits = bits_of(config);
  for (int64_t r = 0; r < basis_count(config); r++) {
    double unit = unit_of_range(config, observed);
    if (config->is_own_observer && config->is_weight)
      unit = 0.6745 * deviation(rows + r * row_count, row_count) / (1 << (bits - 1));
    else if (config->is_own_observer)
      unit = 1.349 * sqrt(2.0) * (double)observed->scale[0] / ((1 << bits) - 1);
    fill_basis(parameters + r * bits, bits, unit);
  }
  return MQ_OK;
}

/* ---- Levels ---- */

struct levels {
  int n;
  bool is_signed;
  double level[MAX_LEVELS];     /* ascending */
  double threshold[MAX_LEVELS]; /* [i]: between levels i and i + 1 */
  uint8_t code[MAX_LEVELS];     /* bit i: v_i is added (else subtracted, or left out) */
};

/* Levels sorted with their codes; equal ones by code. Each element of the basis merges the levels below with
 * those above it, both of which are sorted. */
static void make_levels(struct levels *levels, const struct mq_quantizer_config *config, const double *v) {
  levels->is_signed = config->scheme.is_signed;
  levels->n = 1;
  levels->level[0] = 0;
  levels->code[0] = 0;
  for (int b = 0; b < bits_of(config); b++) {
    double level[MAX_LEVELS / 2];
    uint8_t code[MAX_LEVELS / 2];
    const int n = levels->n;
    memcpy(level, levels->level, (size_t)n * sizeof *level);
    memcpy(code, levels->code, (size_t)n * sizeof *code);
    const double without = levels->is_signed ? -v[b] : 0;
    for (int k = 0, i = 0, j = 0; k < 2 * n; k++) {
      const bool takes_without = j == n || (i < n && level[i] + without <= level[j] + v[b]);
      const int from = takes_without ? i++ : j++;
      levels->level[k] = level[from] + (takes_without ? without : v[b]);
      levels->code[k] = (uint8_t)(code[from] | (takes_without ? 0 : 1 << b));
    }
    levels->n = 2 * n;
  }
  for (int i = 0; i + 1 < levels->n; i++)
    levels->threshold[i] = (levels->level[i] + levels->level[i + 1]) / 2;
}

/* How many thresholds lie below x; there are 2^b - 1. */
static inline int find_level(const struct levels *levels, double x) {
  int i = 0;
  for (int step = levels->n / 2; step > 0; step /= 2)
    if (x > levels->threshold[i + step - 1]) i += step;
  return i;
}

static void derive(double *form, const struct mq_quantizer_config *config, const float *parameters,
                   const double *statistics, const float *least_scale) {
  (void)statistics, (void)least_scale;
  for (size_t i = 0; i < basis_values(config); i++)
    form[i] = isfinite(parameters[i]) ? (double)parameters[i] : (double)NAN;
}

static void quantize_run(float *y, const float *x, int64_t n, const struct levels *levels) {
  for (int64_t i = 0; i < n; i++)
    y[i] = isnan(x[i]) ? x[i] : (float)levels->level[find_level(levels, (double)x[i])];
}

/* Rows of one basis: a weight's row, or all of an activation's. */
static int64_t rows_per_basis(const struct mq_quantizer_config *config, int64_t n_rows) {
  return config->is_weight ? 1 : n_rows;
}

static void forward(float *y, void *codes, const struct mq_quantizer_config *config, const double *form,
                    const float *x, int64_t n_rows, int64_t row_count) {
  (void)codes;
  if (!y) return;
  const int64_t n = rows_per_basis(config, n_rows) * row_count;
  for (int64_t i = 0; i < basis_count(config); i++) {
    struct levels levels;
    make_levels(&levels, config, form + i * bits_of(config));
    quantize_run(y + i * n, x + i * n, n, &levels);
  }
}

/* ---- Backward ---- */

/* Of each level: how many took it, and their sum. */
struct tally {
  double count[MAX_LEVELS], total[MAX_LEVELS];
};

static void backward_run(float *dx, bool adds, struct tally *tally, const struct levels *levels,
                         bool is_weight, const float *g, const float *x, int64_t n) {
  const double highest = is_weight ? (double)INFINITY : levels->level[levels->n - 1];
  const double lowest = is_weight || !levels->is_signed ? -(double)INFINITY : levels->level[0];
  for (int64_t i = 0; i < n; i++) {
    const double value = (double)x[i];
    const int level = find_level(levels, value);
    tally->count[level] += 1;
    tally->total[level] += value;
    dx[i] = (adds ? dx[i] : 0) + (value < lowest || value > highest ? 0 : g[i]);
  }
}

static void add_tally(double *sums, const struct tally *tally, const struct levels *levels, int bits) {
  for (int k = 0; k < levels->n; k++) {
    double c[MAX_BITS];
    for (int i = 0; i < bits; i++)
      c[i] = levels->code[k] >> i & 1 ? 1 : levels->is_signed ? -1 : 0;
    for (int i = 0; i < bits; i++) {
      for (int j = 0; j < bits; j++)
        sums[i * bits + j] += tally->count[k] * (c[i] * c[j]);
      sums[bits * bits + i] += tally->total[k] * c[i];
    }
  }
}

static void backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                     const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count) {
  const int64_t n = rows_per_basis(config, n_rows) * row_count;
  for (int64_t i = 0; i < basis_count(config); i++) {
    struct levels levels;
    struct tally tally = {0};
    make_levels(&levels, config, form + i * bits_of(config));
    backward_run(dx + i * n, adds, &tally, &levels, config->is_weight, g + i * n, x + i * n, n);
    add_tally(sums + i * sums_per_basis(config), &tally, &levels, bits_of(config));
  }
}

/* ---- The basis ---- */

/* a = l l' in place (lower triangle), n x n. False: not positive definite, or not finite. */
static bool factor(double *a, int n) {
  for (int j = 0; j < n; j++)
    for (int i = j; i < n; i++) {
      double rest = a[i * n + j];
      for (int k = 0; k < j; k++)
        rest -= a[i * n + k] * a[j * n + k];
      if (i == j && !(rest > 0 && isfinite(rest))) return false;
      a[i * n + j] = i == j ? sqrt(rest) : rest / a[j * n + j];
    }
  return true;
}

/* l l' x = b in place. */
static void solve(double *x, const double *l, int n) {
  for (int i = 0; i < n; i++) {
    for (int k = 0; k < i; k++)
      x[i] -= l[i * n + k] * x[k];
    x[i] /= l[i * n + i];
  }
  for (int i = n - 1; i >= 0; i--) {
    for (int k = i + 1; k < n; k++)
      x[i] -= l[k * n + i] * x[k];
    x[i] /= l[i * n + i];
  }
}

static void update_basis(float *v, const double *old, const double *sums, int bits) {
  double a[MAX_BITS * MAX_BITS], x[MAX_BITS];
  memcpy(a, sums, (size_t)(bits * bits) * sizeof *a);
  for (int i = 0; i < bits; i++) {
    a[i * bits + i] += RIDGE;
    x[i] = sums[bits * bits + i] + RIDGE * old[i];
  }
  if (!factor(a, bits)) return;
  solve(x, a, bits);
  for (int i = 0; i < bits; i++)
    v[i] = (float)(KEEP * old[i] + (1 - KEEP) * x[i]);
}

static void update(float *parameters, const struct mq_quantizer_config *config, const double *form,
                   const double *statistics, const double *sums) {
  (void)statistics;
  const int bits = bits_of(config);
  for (int64_t i = 0; i < basis_count(config); i++)
    update_basis(parameters + i * bits, form + i * bits, sums + i * sums_per_basis(config), bits);
}

static bool get_grid(struct mq_qparams *out, const struct mq_quantizer_config *config, const double *form) {
  (void)out, (void)config, (void)form;
  return false;
}

static bool freeze(float *frozen, struct mq_qparams *out, const struct mq_quantizer_config *config,
                   const double *form, const float *rows, int64_t n_rows, int64_t row_count) {
  (void)frozen, (void)out, (void)config, (void)form, (void)rows, (void)n_rows, (void)row_count;
  return false;
}

static const struct mq_quantizer_parameter parameters_of_lqnet[] = {{.name = "basis", .is_state = true}};

const struct mq_quantizer_ops mq_quantizer_lqnet = {
    .version = MQ_QUANTIZER_VERSION,
    .bytes = sizeof(struct mq_quantizer_ops),
    .name = "lqnet",
    .describes = "levels are sums of a basis that is fitted to the data by least squares",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .w_observer = "minmax",
    .a_observer = "rms",
    .is_academic = true,
    .is_uniform_at_ends_w = true,
    .is_uniform_at_ends_a = true,
    .n_parameters = 1,
    .parameters = parameters_of_lqnet,
    .check = check,
    .parameter_count = parameter_count,
    .form_count = basis_values,
    .sum_count = sum_count,
    .init = init,
    .derive = derive,
    .forward = forward,
    .backward = backward,
    .update = update,
    .grid = get_grid,
    .freeze = freeze,
};
