/* NNIE: the logarithmic 8-bit format of HiSilicon's accelerator, 16 steps an octave below the largest
 * magnitude, which calibration fixes (no parameter is learned).
 *
 *   z  = rne(16 log2 max) - 127
 *   y  = sign(x) 2^((clip(rne(16 log2|x|) - z, lo, 127) + z)/16),  lo = 0 for x > 0, 1 for x < 0
 *   y  = 0 where -2^((z - 15)/16) <= x <= 2^((z - 16)/16)
 *   dx = g
 *
 * rne(16 log2|x|) comes from comparisons with the mantissas where it steps: exact, and no logarithm. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/quantizers/academic.h"

enum {
  FORM_HAS_RANGE, /* 0: the largest magnitude is 0; NaN: it is not finite */
  FORM_OFFSET,    /* z */
  FORM_COUNT
};
enum {
  STEPS = 16, /* an octave */
  CODES = 128
};

/* 2^(i/16). */
static const double root[STEPS] = {
    0x1.0000000000000p+0, 0x1.0b5586cf9890fp+0, 0x1.172b83c7d517bp+0, 0x1.2387a6e756238p+0,
    0x1.306fe0a31b715p+0, 0x1.3dea64c123422p+0, 0x1.4bfdad5362a27p+0, 0x1.5ab07dd485429p+0,
    0x1.6a09e667f3bcdp+0, 0x1.7a11473eb0187p+0, 0x1.8ace5422aa0dbp+0, 0x1.9c49182a3f090p+0,
    0x1.ae89f995ad3adp+0, 0x1.c199bdd85529cp+0, 0x1.d5818dcfba487p+0, 0x1.ea4afa2a490dap+0};
/* The 23 bits of the last float's mantissa below 2^((i + 1/2)/16), which is irrational: no float is a tie. */
static const int32_t last_below[STEPS] = {0x02cd86, 0x08980e, 0x0ea439, 0x14f4ef, 0x1b8d39, 0x227043,
                                          0x29a15a, 0x3123f5, 0x38fbaf, 0x412c4c, 0x49b9bd, 0x52a81d,
                                          0x5bfbb7, 0x65b906, 0x6fe4b9, 0x7a83b2};

/* rne(16 log2 x) of x > 0; infinity: 2048. Without branches, which would be taken at random. */
static int round_log(float x) {
  const bool is_subnormal = x < FLT_MIN;
  const float normal = is_subnormal ? x * 0x1p24f : x;
  int32_t bits;
  memcpy(&bits, &normal, sizeof bits);
  const int32_t mantissa = bits & 0x7fffff;
  int i = 0;
  for (int step = STEPS / 2; step > 0; step /= 2)
    i += mantissa > last_below[i + step - 1] ? step : 0;
  i += mantissa > last_below[STEPS - 1];
  return STEPS * ((bits >> 23) - (is_subnormal ? 127 + 24 : 127)) + i;
}

/* 2^(k/16). */
static double power(int k) {
  const int i = ((k % STEPS) + STEPS) % STEPS;
  return ldexp(root[i], (k - i) / STEPS);
}

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  if (config->scheme.bits != 8)
    return mq_fail(err, MQ_BAD_INPUT, "%s: nnie is a format of 8 bits; found %d", what, config->scheme.bits);
  return mq_quantizer_check_academic(&mq_quantizer_nnie, config, what, err);
}

static size_t form_count(const struct mq_quantizer_config *config) {
  (void)config;
  return FORM_COUNT;
}

static mq_status init(float *parameters, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)rows, (void)n_rows, (void)row_count, (void)err;
  parameters[0] = (float)mq_observed_magnitude(config, observed);
  return MQ_OK;
}

static void derive(double *form, const struct mq_quantizer_config *config, const float *parameters,
                   const double *statistics, const float *least_scale) {
  (void)config, (void)statistics, (void)least_scale;
  const bool has_range = parameters[0] != 0;
  form[FORM_HAS_RANGE] = isfinite(parameters[0]) ? has_range : (double)NAN;
  form[FORM_OFFSET] = has_range ? round_log(fabsf(parameters[0])) - (CODES - 1) : 0;
}

struct grid {
  int offset;
  double zero_lo, zero_hi; /* between them, ends included, x is 0 */
  float magnitude[CODES];
};

static void make_grid(struct grid *grid, const double *form) {
  grid->offset = (int)form[FORM_OFFSET];
  grid->zero_lo = -power(grid->offset - STEPS + 1);
  grid->zero_hi = power(grid->offset - STEPS);
  for (int code = 0; code < CODES; code++)
    grid->magnitude[code] = (float)power(grid->offset + code);
}

static float quantize(float x, const struct grid *grid) {
  const int lo = x > 0 ? 0 : 1;
  int code = round_log(fabsf(x)) - grid->offset;
  code = code < lo ? lo : code;
  code = code > CODES - 1 ? CODES - 1 : code;
  const float magnitude = grid->magnitude[code], y = x > 0 ? magnitude : -magnitude;
  const bool is_zero = ((double)x >= grid->zero_lo) & ((double)x <= grid->zero_hi);
  const float value = is_zero ? 0 : y;
  return isnan(x) ? x : value;
}

static void forward(float *y, void *codes, const struct mq_quantizer_config *config, const double *form,
                    const float *x, int64_t n_rows, int64_t row_count) {
  (void)codes, (void)config;
  if (!y) return;
  const int64_t n = n_rows * row_count;
  if (form[FORM_HAS_RANGE] != 1) { /* all zeros, or all NaN */
    for (int64_t i = 0; i < n; i++)
      y[i] = (float)form[FORM_HAS_RANGE];
    return;
  }
  struct grid grid;
  make_grid(&grid, form);
  for (int64_t i = 0; i < n; i++)
    y[i] = quantize(x[i], &grid);
}

static void backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                     const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count) {
  (void)sums, (void)config, (void)form, (void)x;
  for (int64_t i = 0; i < n_rows * row_count; i++)
    dx[i] = adds ? dx[i] + g[i] : g[i];
}

/* The range is calibrated, once. */
static void update(float *parameters, const struct mq_quantizer_config *config, const double *form,
                   const double *statistics, const double *sums) {
  (void)parameters, (void)config, (void)form, (void)statistics, (void)sums;
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

static const struct mq_quantizer_parameter parameters_of_nnie[] = {{.name = "max", .is_state = true}};

const struct mq_quantizer_ops mq_quantizer_nnie = {
    .version = MQ_QUANTIZER_VERSION,
    .bytes = sizeof(struct mq_quantizer_ops),
    .name = "nnie",
    .describes = "HiSilicon's logarithmic 8-bit format, 16 steps an octave below the calibrated maximum",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .w_observer = "minmax",
    .a_observer = "ema_minmax",
    .is_academic = true,
    .n_parameters = 1,
    .parameters = parameters_of_nnie,
    .check = check,
    .form_count = form_count,
    .init = init,
    .derive = derive,
    .forward = forward,
    .backward = backward,
    .update = update,
    .grid = get_grid,
    .freeze = freeze,
};
