/* Scales that are powers of two, zero points 0: everything is a shift, ties up or half to even. */
#include <math.h>

#include "quant/exact.h"

/* log2 of a power of two */
static int exponent_of(float scale) {
  int exponent;
  (void)frexpf(scale, &exponent); /* 0.5 2^exponent */
  return exponent - 1;
}

/* v / 2^shift */
static int64_t shift_up(int64_t v, int shift) {
  return shift > 0 ? (v + (INT64_C(1) << (shift - 1))) >> shift : v * (INT64_C(1) << -shift);
}

static int64_t shift_even(int64_t v, int shift) {
  if (shift <= 0) {
    return v * (INT64_C(1) << -shift);
  }
  int64_t floor = v >> shift, rest = v - floor * (INT64_C(1) << shift), half = INT64_C(1) << (shift - 1);
  return floor + (rest > half || (rest == half && (floor & 1)));
}

/* ---- Layers ------------------------------------------------------------------------------------- */
static mq_status make_channel(struct mq_exact_channel *channel, const struct mq_exact_layer *layer,
                              struct mq_err *err) {
  if (layer->y_scale == 0) {
    return mq_exact_make_float_channel(channel, layer, err);
  }
  *channel = (struct mq_exact_channel){.shift = exponent_of(layer->y_scale) - exponent_of(layer->x_scale) -
                                                exponent_of(layer->w_scale)};
  mq_status status = mq_exact_bias(&channel->bias, layer, err);
  double largest = layer->largest_sum + fabs((double)channel->bias);
  if (status == MQ_OK && (channel->shift > 62 || !(ldexp(largest, -channel->shift) < 0x1p62))) {
    return mq_fail(err, MQ_BAD_INPUT, "a sum of up to %g shifted by %d, too far for 64 bits", largest,
                   channel->shift);
  }
  return status;
}

static void requantize_up(int32_t *q, const int64_t *sum, int64_t n_channels,
                          const struct mq_exact_channel *channels, const struct mq_exact_grid *y) {
  for (int64_t c = 0; c < n_channels; c++) {
    q[c] = mq_exact_saturate(shift_up(sum[c] + channels[c].bias, channels[c].shift), y);
  }
}

static void requantize_even(int32_t *q, const int64_t *sum, int64_t n_channels,
                            const struct mq_exact_channel *channels, const struct mq_exact_grid *y) {
  for (int64_t c = 0; c < n_channels; c++) {
    q[c] = mq_exact_saturate(shift_even(sum[c] + channels[c].bias, channels[c].shift), y);
  }
}

/* ---- Add: at the finest of the three scales ------------------------------------------------------- */
static mq_status make_add(struct mq_exact_add *add, const struct mq_exact_grid *y, struct mq_err *err) {
  int a = exponent_of(add->a.scale), b = exponent_of(add->b.scale), to = exponent_of(y->scale);
  int finest = a < b ? a : b;
  finest = finest < to ? finest : to;
  add->of_a = (struct mq_exact_channel){.shift = a - finest};
  add->of_b = (struct mq_exact_channel){.shift = b - finest};
  add->of_y = (struct mq_exact_channel){.shift = to - finest};
  int most = a > b ? a : b;
  if (most - finest > 40 || to - finest > 62) {
    return mq_fail(err, MQ_BAD_INPUT, "an add of scales %g and %g to %g, too far apart for 64 bits",
                   (double)add->a.scale, (double)add->b.scale, (double)y->scale);
  }
  return MQ_OK;
}

static int64_t sum_of(int32_t a, int32_t b, const struct mq_exact_add *add) {
  return a * (INT64_C(1) << add->of_a.shift) + b * (INT64_C(1) << add->of_b.shift);
}

static void add_up(int32_t *q, const int32_t *a, const int32_t *b, int64_t n, const struct mq_exact_add *add,
                   const struct mq_exact_grid *y) {
  for (int64_t i = 0; i < n; i++) {
    q[i] = mq_exact_saturate(shift_up(sum_of(a[i], b[i], add), add->of_y.shift), y);
  }
}

static void add_even(int32_t *q, const int32_t *a, const int32_t *b, int64_t n,
                     const struct mq_exact_add *add, const struct mq_exact_grid *y) {
  for (int64_t i = 0; i < n; i++) {
    q[i] = mq_exact_saturate(shift_even(sum_of(a[i], b[i], add), add->of_y.shift), y);
  }
}

/* ---- Averages: S << max(0, log2(sx / sy)) over n << max(0, log2(sy / sx)) --------------------------- */
static int64_t floor_quotient(int64_t a, int64_t b) {
  int64_t q = a / b;
  return q - (a % b < 0);
}

static int64_t divide_up(int64_t v, int64_t n) {
  return floor_quotient(2 * v + n, 2 * n);
}

static int64_t divide_even(int64_t v, int64_t n) {
  int64_t floor = floor_quotient(v, n), twice = 2 * (v - floor * n);
  return floor + (twice > n || (twice == n && (floor & 1)));
}

static mq_status check_average(const struct mq_exact_grid *x, const struct mq_exact_grid *y, int64_t n,
                               bool is_mean, struct mq_err *err) {
  (void)is_mean;
  int finer = exponent_of(x->scale) - exponent_of(y->scale);
  if (finer > 29 || finer < -29) {
    return mq_fail(err, MQ_BAD_INPUT, "an average from scale %g to %g, too far apart for 64 bits",
                   (double)x->scale, (double)y->scale);
  }
  return mq_exact_check_sum(x, n, err);
}

static void average(int32_t *q, const int64_t *sum, int64_t n_channels, int64_t n,
                    const struct mq_exact_grid *x, const struct mq_exact_grid *y,
                    int64_t (*divide)(int64_t v, int64_t n)) {
  int finer = exponent_of(x->scale) - exponent_of(y->scale);
  int64_t up = INT64_C(1) << (finer > 0 ? finer : 0), down = INT64_C(1) << (finer < 0 ? -finer : 0);
  for (int64_t c = 0; c < n_channels; c++) {
    q[c] = mq_exact_saturate(divide(sum[c] * up, n * down), y);
  }
}

static void average_up(int32_t *q, const int64_t *sum, int64_t n_channels, int64_t n, bool is_mean,
                       const struct mq_exact_grid *x, const struct mq_exact_grid *y) {
  (void)is_mean;
  average(q, sum, n_channels, n, x, y, divide_up);
}

static void average_even(int32_t *q, const int64_t *sum, int64_t n_channels, int64_t n, bool is_mean,
                         const struct mq_exact_grid *x, const struct mq_exact_grid *y) {
  (void)is_mean;
  average(q, sum, n_channels, n, x, y, divide_even);
}

const struct mq_exact_arithmetic mq_exact_pot_shift = {
    .name = "pot_shift",
    .make_channel = make_channel,
    .requantize = requantize_up,
    .dequantize = mq_exact_dequantize,
    .quantize = mq_exact_quantize_by_division,
    .make_add = make_add,
    .add = add_up,
    .check_average = check_average,
    .average = average_up,
};
const struct mq_exact_arithmetic mq_exact_pot_shift_even = {
    .name = "pot_shift_even",
    .make_channel = make_channel,
    .requantize = requantize_even,
    .dequantize = mq_exact_dequantize,
    .quantize = mq_exact_quantize_by_division,
    .make_add = make_add,
    .add = add_even,
    .check_average = check_average,
    .average = average_even,
};
