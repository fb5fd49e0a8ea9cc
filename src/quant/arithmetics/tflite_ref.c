/* TensorFlow Lite's reference kernels: fixed-point multipliers, two roundings, ties away from zero; one, half
 * up, in linear layers. */
#include <math.h>

#include "quant/exact.h"

/* m = Q 2^(shift - 31), Q in [2^30, 2^31) or 0. */
static void quantize_multiplier(int32_t *multiplier, int *shift, double m) {
  double fraction = frexp(m, shift);
  int64_t q = (int64_t)round(fraction * 0x1p31);
  if (q == INT64_C(1) << 31) {
    q /= 2;
    ++*shift;
  }
  if (*shift < -31) {
    q = 0;
    *shift = 0;
  }
  *multiplier = (int32_t)q;
}

/* (x << max(shift, 0)) Q / 2^31 half up, then / 2^max(-shift, 0) half away from zero. */
static int64_t multiply(int64_t x, int32_t multiplier, int shift) {
  int64_t high = ((x * (INT64_C(1) << (shift > 0 ? shift : 0))) * multiplier + (INT64_C(1) << 30)) >> 31;
  if (shift >= 0) {
    return high;
  }
  int64_t mask = (INT64_C(1) << -shift) - 1, rest = high & mask, threshold = (mask >> 1) + (high < 0);
  return (high >> -shift) + (rest > threshold);
}

/* x Q / 2^(31 - shift) half up. */
static int64_t multiply_once(int64_t x, int32_t multiplier, int shift) {
  return (x * multiplier + (INT64_C(1) << (30 - shift))) >> (31 - shift);
}

/* Everything that is multiplied must have 32 bits. */
static mq_status check_range(double largest, int shift, struct mq_err *err) {
  double shifted = ldexp(largest, shift > 0 ? shift : 0);
  return shifted < 0x1p31 ? MQ_OK
                          : mq_fail(err, MQ_BAD_INPUT,
                                    "sums up to %g before they are multiplied, expected "
                                    "below 2^31",
                                    shifted);
}

static mq_status make_channel(struct mq_exact_channel *channel, const struct mq_exact_layer *layer,
                              struct mq_err *err) {
  if (layer->y_scale == 0) {
    return mq_exact_make_float_channel(channel, layer, err);
  }
  double m = (double)layer->x_scale * (double)layer->w_scale / (double)layer->y_scale;
  *channel = (struct mq_exact_channel){.rounds_once = layer->is_linear};
  quantize_multiplier(&channel->multiplier, &channel->shift, m);
  if (channel->shift > 30) {
    return mq_fail(err, MQ_BAD_INPUT, "multiplier %g, expected below 2^30", m);
  }
  mq_status status = mq_exact_bias(&channel->bias, layer, err);
  double largest = layer->largest_sum + fabs((double)channel->bias);
  return status == MQ_OK ? check_range(largest, channel->shift, err) : status;
}

static void requantize(int32_t *q, const int64_t *sum, int64_t n_channels,
                       const struct mq_exact_channel *channels, const struct mq_exact_grid *y) {
  for (int64_t c = 0; c < n_channels; c++) {
    int64_t v = sum[c] + channels[c].bias;
    int64_t scaled = channels[c].rounds_once ? multiply_once(v, channels[c].multiplier, channels[c].shift)
                                             : multiply(v, channels[c].multiplier, channels[c].shift);
    q[c] = mq_exact_saturate(scaled + y->zero_point, y);
  }
}

/* Half away from zero. */
static void quantize(int32_t *q, const float *x, int64_t n, const struct mq_exact_grid *y) {
  const float lo = (float)(y->lo - y->zero_point), hi = (float)(y->hi - y->zero_point);
  for (int64_t i = 0; i < n; i++) {
    q[i] = (int32_t)roundf(mq_exact_clamp(x[i] / y->scale, lo, hi)) + y->zero_point;
  }
}

/* ---- Add: both operands with 20 bits more, at twice the larger scale ---------------------------- */
#define ADD_SHIFT 20

static mq_status make_factor(struct mq_exact_channel *factor, double m, struct mq_err *err) {
  *factor = (struct mq_exact_channel){0};
  if (!(m > 0 && m < 1)) {
    return mq_fail(err, MQ_BAD_INPUT, "an add's factor of %g, expected above 0 and below 1", m);
  }
  quantize_multiplier(&factor->multiplier, &factor->shift, m);
  return MQ_OK;
}

static bool is_8_bit(const struct mq_exact_grid *grid) {
  return grid->lo - grid->zero_point >= -255 && grid->hi - grid->zero_point <= 255;
}

static mq_status make_add(struct mq_exact_add *add, const struct mq_exact_grid *y, struct mq_err *err) {
  double a = (double)add->a.scale, b = (double)add->b.scale, twice = 2 * (a > b ? a : b);
  if (!is_8_bit(&add->a) || !is_8_bit(&add->b)) {
    return mq_fail(err, MQ_BAD_INPUT, "an add of codes of more than 8 bits");
  }
  mq_status status = make_factor(&add->of_a, a / twice, err);
  if (status == MQ_OK) {
    status = make_factor(&add->of_b, b / twice, err);
  }
  return status == MQ_OK ? make_factor(&add->of_y, twice / (0x1p20 * (double)y->scale), err) : status;
}

static void add_codes(int32_t *q, const int32_t *a, const int32_t *b, int64_t n,
                      const struct mq_exact_add *add, const struct mq_exact_grid *y) {
  for (int64_t i = 0; i < n; i++) {
    int64_t ra = (int64_t)(a[i] - add->a.zero_point) * (1 << ADD_SHIFT);
    int64_t rb = (int64_t)(b[i] - add->b.zero_point) * (1 << ADD_SHIFT);
    int64_t sum = multiply(ra, add->of_a.multiplier, add->of_a.shift) +
                  multiply(rb, add->of_b.multiplier, add->of_b.shift);
    q[i] = mq_exact_saturate(multiply(sum, add->of_y.multiplier, add->of_y.shift) + y->zero_point, y);
  }
}

/* ---- Averages ----------------------------------------------------------------------------------- */
/* The multiplier of sx / sy with 1 / n in it: as many bits as fit are added first. */
static void divide_multiplier(int32_t *multiplier, int *shift, double m, int64_t n) {
  quantize_multiplier(multiplier, shift, m);
  int bits = 0; /* 63 - leading zeros: the highest bit of n */
  while (n >> (bits + 1)) {
    bits++;
  }
  bits = bits < 32 ? bits : 32;
  bits = bits < 31 + *shift ? bits : 31 + *shift;
  *multiplier = (int32_t)(((int64_t)*multiplier << bits) / n);
  *shift -= bits;
}

static mq_status check_average(const struct mq_exact_grid *x, const struct mq_exact_grid *y, int64_t n,
                               bool is_mean, struct mq_err *err) {
  int32_t multiplier;
  int shift;
  mq_status status = mq_exact_check_sum(x, n, err);
  if (status == MQ_OK && is_mean) {
    divide_multiplier(&multiplier, &shift, (double)x->scale / (double)y->scale, n);
    return check_range((double)n * (double)(x->hi - x->lo), shift, err);
  }
  return status == MQ_OK ? mq_exact_check_kept(x, y, err) : status;
}

static void average(int32_t *q, const int64_t *sum, int64_t n_channels, int64_t n, bool is_mean,
                    const struct mq_exact_grid *x, const struct mq_exact_grid *y) {
  int32_t multiplier = 0;
  int shift = 0;
  if (is_mean) {
    divide_multiplier(&multiplier, &shift, (double)x->scale / (double)y->scale, n);
  }
  for (int64_t c = 0; c < n_channels; c++) {
    int64_t v = is_mean ? multiply(sum[c] - n * x->zero_point, multiplier, shift) + y->zero_point
                        : mq_exact_divide_away(sum[c], n);
    q[c] = mq_exact_saturate(v, y);
  }
}

const struct mq_exact_arithmetic mq_exact_tflite_ref = {
    .name = "tflite_ref",
    .make_channel = make_channel,
    .requantize = requantize,
    .dequantize = mq_exact_dequantize,
    .quantize = quantize,
    .make_add = make_add,
    .add = add_codes,
    .check_average = check_average,
    .average = average,
};
