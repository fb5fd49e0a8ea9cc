#include <assert.h>
#include <math.h>

#include "mqbench/kernel.h"
#include "quant/qparams.h"
#include "quant/quantizers/quantizers.h"

mq_status mq_quantizer_check_kind(const struct mq_quantizer_ops *quantizer,
                                  const struct mq_quantizer_config *config, const char *what,
                                  struct mq_err *err) {
  if (config->is_weight ? !quantizer->is_for_weights : !quantizer->is_for_activations)
    return mq_fail(err, MQ_BAD_INPUT, "%s: %s does not quantize %s", what, quantizer->name,
                   config->is_weight ? "weights" : "activations");
  return mq_scheme_check(&config->scheme, config->is_weight, what, err);
}

mq_status mq_quantizer_check_symmetric(const struct mq_quantizer_ops *quantizer,
                                       const struct mq_quantizer_config *config, const char *what,
                                       struct mq_err *err) {
  if (config->scheme.is_symmetric) return mq_quantizer_check_kind(quantizer, config, what, err);
  char scheme[96];
  return mq_fail(err, MQ_BAD_INPUT, "%s: %s is not defined for %s; expected a symmetric scheme", what,
                 quantizer->name, mq_scheme_format(scheme, sizeof scheme, &config->scheme));
}

bool mq_quantizer_has_option(const struct mq_quantizer_config *config) {
  return !isnan(config->option) && config->option != 0;
}

double mq_quantizer_gradient_scale(const struct mq_quantizer_config *config) {
  int32_t p = mq_scheme_norm_max(&config->scheme, !config->scheme.is_signed);
  assert(config->n_elements > 0);
  return 1 / sqrt(config->n_elements * (double)p);
}

float mq_quantizer_safe_scale(float scale) {
  scale = fabsf(scale);
  return scale < MQ_LEAST_PARAMETER ? MQ_LEAST_PARAMETER : scale;
}

void mq_quantizer_moments(double *mean, double *std, const struct mq_quantizer_config *config, int64_t c,
                          const float *rows, int64_t n_rows, int64_t row_count) {
  int64_t n = config->n_channels > 1 ? row_count : n_rows * row_count;
  double sum, sum_abs, sum_square;
  mq_loop_moments(&sum, &sum_abs, &sum_square, rows + (config->n_channels > 1 ? c * row_count : 0), n);
  *mean = sum / (double)n;
  double squares = fmax(sum_square - *mean * sum, 0);
  *std = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

/* ---- Form ---- */
size_t mq_uniform_form_count(const struct mq_quantizer_config *config) {
  size_t n = (size_t)config->n_channels;
  return (sizeof(struct mq_uniform) + n * sizeof(struct mq_uniform_channel)) / sizeof(double);
}

struct mq_uniform_rule mq_uniform_rule(const struct mq_quantizer_config *config, const float *least_scale) {
  return (struct mq_uniform_rule){
      .scheme = &config->scheme, .is_non_negative = config->is_non_negative, .least_scale = least_scale};
}

static void set_channel(struct mq_uniform *uniform, int64_t c, const struct mq_qparams *qparams,
                        bool is_finite) {
  uniform->quant_min = qparams->quant_min;
  uniform->quant_max = qparams->quant_max;
  uniform->channel[c].scale = is_finite ? (double)qparams->scale[0] : (double)NAN;
  uniform->channel[c].zero_point = qparams->zero_point[0];
  uniform->channel[c].slope = 1;
}

void mq_uniform_set_scale(struct mq_uniform *uniform, const struct mq_uniform_rule *rule, int64_t c,
                          float scale, float zero_point) {
  int32_t z = 0;
  float s = 1;
  struct mq_qparams qparams = {.n_channels = 1, .channel_axis = -1, .scale = &s, .zero_point = &z};
  const float *least = rule->least_scale ? rule->least_scale + c : NULL;
  mq_qparams_from_scale(&qparams, rule->scheme, &scale, &zero_point, rule->is_non_negative, least);
  bool is_finite = isfinite(scale) && isfinite(zero_point);
  set_channel(uniform, c, &qparams, is_finite);
  if (rule->scheme->scale_form == MQ_SCALE_POT && is_finite && scale > 0)
    uniform->channel[c].slope = (double)mq_scale_to_pot(scale) / (double)scale;
}

/* The scale before it becomes a power of two. */
static float plain_scale(const struct mq_uniform_rule *rule, struct mq_range range) {
  struct mq_scheme plain = *rule->scheme;
  plain.scale_form = MQ_SCALE_FLOAT;
  int32_t z = 0;
  float s = 1;
  struct mq_qparams qparams = {.n_channels = 1, .channel_axis = -1, .scale = &s, .zero_point = &z};
  mq_qparams_from_observed(&qparams, &plain, &range, rule->is_non_negative, NULL);
  return s;
}

void mq_uniform_set_range(struct mq_uniform *uniform, const struct mq_uniform_rule *rule, int64_t c, float lo,
                          float hi) {
  int32_t z = 0;
  float s = 1;
  struct mq_qparams qparams = {.n_channels = 1, .channel_axis = -1, .scale = &s, .zero_point = &z};
  struct mq_range range = {lo, hi};
  const float *least = rule->least_scale ? rule->least_scale + c : NULL;
  bool is_finite = isfinite(lo) && isfinite(hi);
  if (!is_finite) range = (struct mq_range){0, 0};
  mq_qparams_from_observed(&qparams, rule->scheme, &range, rule->is_non_negative, least);
  set_channel(uniform, c, &qparams, is_finite);
  if (rule->scheme->scale_form == MQ_SCALE_POT) {
    float plain = plain_scale(rule, range);
    uniform->channel[c].slope = (double)mq_scale_to_pot(plain) / (double)plain;
  }
}

void mq_uniform_mask_before(struct mq_uniform *uniform, int64_t c) {
  struct mq_uniform_channel *channel = &uniform->channel[c];
  uniform->is_masked_after = 0;
  channel->lo = uniform->quant_min - channel->zero_point;
  channel->hi = uniform->quant_max - channel->zero_point;
}

/* The float farthest from 0 on `side` (1 or -1) of `bound` that rounds to it: half a step away where the tie
 * goes to the bound, that is where it is even. */
static double last_that_rounds(double bound, int side) {
  double tie = bound + 0.5 * side;
  return fmod(bound, 2) == 0 ? tie : (double)nextafterf((float)tie, (float)bound);
}

void mq_uniform_mask_after(struct mq_uniform *uniform, int64_t c) {
  struct mq_uniform_channel *channel = &uniform->channel[c];
  uniform->is_masked_after = 1;
  channel->lo = last_that_rounds(uniform->quant_min - channel->zero_point, -1);
  channel->hi = last_that_rounds(uniform->quant_max - channel->zero_point, 1);
}

/* ---- Forward ---- */
#define CHUNK 2048 /* values that stay in the first cache while two loops go over them */

static struct mq_fake_quant fake_quant_of(const struct mq_uniform *uniform, int64_t c) {
  return (struct mq_fake_quant){.scale = (float)uniform->channel[c].scale,
                                .zero_point = (float)uniform->channel[c].zero_point,
                                .quant_min = (float)uniform->quant_min,
                                .quant_max = (float)uniform->quant_max};
}

static void subtract(float *to, const float *x, int64_t n, float offset) {
  for (int64_t i = 0; i < n; i++)
    to[i] = x[i] - offset;
}

/* Between two grids: values only. */
static void forward_with_offset(float *y, const struct mq_fake_quant *fq, float offset, const float *x,
                                int64_t n) {
  subtract(y, x, n, offset);
  mq_loop_fake_quantize(y, y, n, fq);
  subtract(y, y, n, -offset);
}

void mq_uniform_forward_run(float *y, uint8_t *codes, const struct mq_uniform *uniform, int64_t c,
                            const float *x, int64_t n) {
  const struct mq_fake_quant fq = fake_quant_of(uniform, c);
  for (int64_t i = 0; i < n; i += CHUNK) {
    int64_t count = n - i < CHUNK ? n - i : CHUNK;
    if (codes) mq_loop_quantize_codes(codes + i, uniform->quant_min < 0, x + i, count, &fq);
    if (y && uniform->offset != 0)
      forward_with_offset(y + i, &fq, (float)uniform->offset, x + i, count);
    else if (y)
      mq_loop_fake_quantize(y + i, x + i, count, &fq);
  }
}

/* One scale: all rows are one run. */
static void join_rows(int64_t *n_rows, int64_t *row_count, const struct mq_quantizer_config *config) {
  if (config->n_channels > 1) return;
  *row_count *= *n_rows;
  *n_rows = 1;
}

void mq_uniform_forward(float *y, void *codes, const struct mq_quantizer_config *config, const double *form,
                        const float *x, int64_t n_rows, int64_t row_count) {
  const struct mq_uniform *uniform = mq_uniform_of_const(form);
  join_rows(&n_rows, &row_count, config);
  for (int64_t r = 0; r < n_rows; r++) {
    int64_t at = r * row_count;
    mq_uniform_forward_run(y ? y + at : NULL, codes ? (uint8_t *)codes + at : NULL, uniform, r, x + at,
                           row_count);
  }
}

bool mq_uniform_grid(struct mq_qparams *out, const struct mq_quantizer_config *config, const double *form) {
  const struct mq_uniform *uniform = mq_uniform_of_const(form);
  assert(out->n_channels == config->n_channels);
  out->quant_min = (int32_t)uniform->quant_min;
  out->quant_max = (int32_t)uniform->quant_max;
  out->is_signed = config->scheme.is_signed;
  for (int64_t c = 0; c < config->n_channels; c++) {
    out->scale[c] = (float)uniform->channel[c].scale;
    out->zero_point[c] = (int32_t)uniform->channel[c].zero_point;
  }
  return uniform->offset == 0;
}

/* ---- Backward ---- */
size_t mq_uniform_sum_count(const struct mq_quantizer_config *config) {
  return MQ_N_SUMS * (size_t)config->n_channels;
}

static void backward_run(float *dx, bool adds, double *sums, const struct mq_uniform *uniform, int64_t c,
                         const float *g, const float *x, int64_t n) {
  const struct mq_fake_quant fq = fake_quant_of(uniform, c);
  bool is_after = uniform->is_masked_after != 0;
  if (uniform->offset == 0) {
    mq_loop_lsq_backward(dx, adds, sums, g, x, n, &fq, is_after);
    return;
  }
  float shifted[CHUNK];
  for (int64_t i = 0; i < n; i += CHUNK) {
    int64_t count = n - i < CHUNK ? n - i : CHUNK;
    subtract(shifted, x + i, count, (float)uniform->offset);
    mq_loop_lsq_backward(dx + i, adds, sums, g + i, shifted, count, &fq, is_after);
  }
}

void mq_uniform_backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                         const double *form, const float *g, const float *x, int64_t n_rows,
                         int64_t row_count) {
  const struct mq_uniform *uniform = mq_uniform_of_const(form);
  double unwanted[MQ_N_SUMS] = {0};
  join_rows(&n_rows, &row_count, config);
  for (int64_t r = 0; r < n_rows; r++) {
    int64_t at = r * row_count;
    backward_run(dx + at, adds, sums ? sums + MQ_N_SUMS * r : unwanted, uniform, r, g + at, x + at,
                 row_count);
  }
}

/* ---- Extrema: a count, the largest -x, the largest x ---- */
#define N_EXTREMA 3

size_t mq_extrema_count(const struct mq_quantizer_config *config) {
  return N_EXTREMA * (size_t)config->n_channels;
}

static double larger(double a, double b) { /* NaN wins */
  return a > b || isnan(a) ? a : b;
}

static void join(double *into, const double *from) {
  if (from[0] == 0) return;
  into[1] = into[0] == 0 ? from[1] : larger(into[1], from[1]);
  into[2] = into[0] == 0 ? from[2] : larger(into[2], from[2]);
  into[0] += from[0];
}

void mq_extrema_observe(double *statistics, const struct mq_quantizer_config *config, const float *x,
                        int64_t n_rows, int64_t row_count) {
  if (row_count == 0) return;
  join_rows(&n_rows, &row_count, config);
  for (int64_t r = 0; r < n_rows; r++) {
    float min, max;
    mq_loop_min_max(&min, &max, x + r * row_count, row_count);
    const double seen[N_EXTREMA] = {(double)row_count, -(double)min, (double)max};
    join(statistics + N_EXTREMA * r, seen);
  }
}

void mq_extrema_merge(double *into, const double *from, const struct mq_quantizer_config *config) {
  for (int64_t c = 0; c < config->n_channels; c++)
    join(into + N_EXTREMA * c, from + N_EXTREMA * c);
}

struct mq_range mq_extrema_range(const double *statistics, int64_t c) {
  const double *channel = statistics + N_EXTREMA * c;
  assert(channel[0] > 0);
  return (struct mq_range){(float)-channel[1], (float)channel[2]};
}
