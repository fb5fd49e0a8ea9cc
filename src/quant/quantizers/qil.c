/* QIL (Jung et al., 1808.05779): an interval of magnitudes with centre C and distance D is mapped to [0, 1],
 * below it everything is pruned, above it clipped; gamma stays 1 and the result is not scaled back.
 *
 *   v  = 0.5 |x|/D - 0.5 C/D + 0.5,  t = clip(v, 0, 1) sign(x),  y = rne(t P)/P
 *   P  = 2^(b-1) - 1 for weights and signed activations, 2^b - 1 for unsigned ones (negative t: 0)
 *   r  = 1[0 < v < 1],  k = 1/sqrt(N p),  p = 2^(b-1) - 1
 *   dx = g r 0.5/D
 *   dC = -k sum g r sign(x) 0.5/D
 *   dD = -k sum g r sign(x) 0.5 (|x| - C)/D^2
 *
 * Before each training forward C and D become min(|.|, max|x|/2 of the batch), D at least eps.
 * `published`: unsigned activations are neither clipped nor masked (v = t, r = 1, any integer comes out). */
#include <float.h>
#include <math.h>

#include "mqbench/kernel.h"
#include "quant/quantizers/academic.h"
#include "quant/simd/qil.h"

enum {
  CENTER,
  DISTANCE,
  FORM_SLOPE,  /* 0.5/D */
  FORM_OFFSET, /* 0.5 - 0.5 C/D */
  FORM_COUNT,
};
enum {
  SUM_SIGN,     /* sum g r sign(x); as the loops write them */
  SUM_POSITION, /* sum g r sign(x) (|x| - C) */
  SUM_COUNT
};

static int32_t steps_of(const struct mq_quantizer_config *config) {
  const int bits = config->scheme.is_signed ? config->scheme.bits - 1 : config->scheme.bits;
  return ((int32_t)1 << bits) - 1;
}

static bool is_clipped(const struct mq_quantizer_config *config) {
  return config->scheme.is_signed || !config->is_published;
}

static struct mq_qil_run get_run(const struct mq_quantizer_config *config, const double *form) {
  const int32_t steps = steps_of(config);
  return (struct mq_qil_run){.slope = (float)form[FORM_SLOPE],
                             .offset = (float)form[FORM_OFFSET],
                             .center = (float)form[CENTER],
                             .steps = (float)steps,
                             .scale = (float)(1.0 / steps),
                             .lowest = config->scheme.is_signed ? -(float)steps : 0,
                             .is_clipped = is_clipped(config)};
}

static mq_status check(const struct mq_quantizer_config *config, const char *what, struct mq_err *err) {
  return mq_quantizer_check_academic(&mq_quantizer_qil, config, what, err);
}

static size_t statistics_count(const struct mq_quantizer_config *config) {
  (void)config;
  return 1;
}

static size_t form_count(const struct mq_quantizer_config *config) {
  (void)config;
  return FORM_COUNT;
}

static size_t sum_count(const struct mq_quantizer_config *config) {
  (void)config;
  return SUM_COUNT;
}

static mq_status init(float *parameters, const struct mq_quantizer_config *config,
                      const struct mq_qparams *observed, const float *rows, int64_t n_rows, int64_t row_count,
                      struct mq_err *err) {
  (void)rows, (void)n_rows, (void)row_count, (void)err;
  const double half = mq_observed_magnitude(config, observed) / 2;
  parameters[CENTER] = (float)half;
  parameters[DISTANCE] = fmaxf((float)half, FLT_EPSILON);
  return MQ_OK;
}

/* max|x|. */
static void observe(double *statistics, const struct mq_quantizer_config *config, const float *x,
                    int64_t n_rows, int64_t row_count) {
  (void)config;
  float min, max;
  mq_loop_min_max(&min, &max, x, n_rows * row_count);
  statistics[0] = fmax(statistics[0], (double)fmaxf(-min, max));
}

static void merge(double *into, const double *from, const struct mq_quantizer_config *config) {
  (void)config;
  into[0] = fmax(into[0], from[0]);
}

static void derive(double *form, const struct mq_quantizer_config *config, const float *parameters,
                   const double *statistics, const float *least_scale) {
  (void)config, (void)least_scale; /* no scale of x, and a float bias */
  float center = parameters[CENTER], distance = parameters[DISTANCE];
  if (!isfinite(center) || !isfinite(distance)) {
    center = distance = NAN;
  } else if (statistics) {
    const float most = (float)(statistics[0] * 0.5);
    center = fminf(fabsf(center), most);
    distance = fmaxf(fminf(fabsf(distance), most), FLT_EPSILON);
  } else if (distance == 0) {
    distance = FLT_EPSILON; /* as stored, but nothing is divided by 0 */
  }
  form[CENTER] = (double)center;
  form[DISTANCE] = (double)distance;
  form[FORM_SLOPE] = 0.5 / (double)distance;
  form[FORM_OFFSET] = 0.5 - 0.5 * (double)center / (double)distance;
}

/* Any integer comes out, so there are no codes. */
static void forward_open(float *y, const float *x, int64_t n, const struct mq_qil_run *run) {
  for (int64_t i = 0; i < n; i++)
    y[i] = run->scale * rintf((x[i] * run->slope + run->offset) * run->steps);
}

static void forward(float *y, void *codes, const struct mq_quantizer_config *config, const double *form,
                    const float *x, int64_t n_rows, int64_t row_count) {
  const struct mq_qil_run run = get_run(config, form);
  const int64_t n = n_rows * row_count;
  if (run.is_clipped)
    mq_simd_qil_at(mq_simd_level_used())->forward(y, codes, x, n, &run);
  else if (y)
    forward_open(y, x, n, &run);
}

static void backward(float *dx, bool adds, double *sums, const struct mq_quantizer_config *config,
                     const double *form, const float *g, const float *x, int64_t n_rows, int64_t row_count) {
  const struct mq_qil_run run = get_run(config, form);
  mq_simd_qil_at(mq_simd_level_used())->backward(dx, adds, sums, g, x, n_rows * row_count, &run);
}

static void finish(float *gradients, const struct mq_quantizer_config *config, const float *parameters,
                   const double *form, const double *sums) {
  (void)parameters;
  const double p = (double)(((int32_t)1 << (config->scheme.bits - 1)) - 1);
  const double k = 1 / sqrt(config->n_elements * p), slope = form[FORM_SLOPE];
  gradients[CENTER] = (float)(-k * slope * sums[SUM_SIGN]);
  gradients[DISTANCE] = (float)(-k * slope / form[DISTANCE] * sums[SUM_POSITION]);
}

/* What the forward used is what the optimiser steps from. */
static void update(float *parameters, const struct mq_quantizer_config *config, const double *form,
                   const double *statistics, const double *sums) {
  (void)config, (void)statistics, (void)sums;
  parameters[CENTER] = (float)form[CENTER];
  parameters[DISTANCE] = (float)form[DISTANCE];
}

static bool get_grid(struct mq_qparams *out, const struct mq_quantizer_config *config, const double *form) {
  (void)form;
  const int32_t steps = steps_of(config);
  if (config->scheme.bits > 8 || !is_clipped(config)) return false;
  mq_set_symmetric_grid(out, 1.0 / steps, config->scheme.is_signed ? -steps : 0, steps);
  return true;
}

/* Quantized weights lie on the grid already: plain fake quantization leaves them as they are. */
static bool freeze(float *frozen, struct mq_qparams *out, const struct mq_quantizer_config *config,
                   const double *form, const float *rows, int64_t n_rows, int64_t row_count) {
  forward(frozen, NULL, config, form, rows, n_rows, row_count);
  return get_grid(out, config, form);
}

static const struct mq_quantizer_parameter parameters_of_qil[] = {
    {.name = "center", .has_decay = true, .is_scale = true},
    {.name = "distance", .has_decay = true, .is_scale = true},
};

const struct mq_quantizer_ops mq_quantizer_qil = {
    .version = MQ_QUANTIZER_VERSION,
    .bytes = sizeof(struct mq_quantizer_ops),
    .name = "qil",
    .describes = "quantization interval learning: a learned interval of magnitudes, pruned below it",
    .revision = 1,
    .is_for_weights = true,
    .is_for_activations = true,
    .w_observer = "minmax",
    .a_observer = "minmax",
    .has_published = true,
    .is_academic = true,
    .is_uniform_at_ends_w = true,
    .is_uniform_at_ends_a = true,
    .freezes_weights = true,
    .n_parameters = 2,
    .parameters = parameters_of_qil,
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
    .update = update,
    .grid = get_grid,
    .freeze = freeze,
};
