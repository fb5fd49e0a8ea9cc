/* XNNPACK: float requantization, rounded half to even; adds in fixed point, rounded half up. */
#include <math.h>

#include "quant/exact.h"

static mq_status make_channel(struct mq_exact_channel *channel, const struct mq_exact_layer *layer,
                              struct mq_err *err) {
  if (layer->y_scale == 0) {
    return mq_exact_make_float_channel(channel, layer, err);
  }
  *channel = (struct mq_exact_channel){.factor = layer->x_scale * layer->w_scale / layer->y_scale};
  if (!(channel->factor < 256)) {
    return mq_fail(err, MQ_BAD_INPUT, "requantization factor %g, expected below 256",
                   (double)channel->factor);
  }
  return mq_exact_bias(&channel->bias, layer, err);
}

static void requantize(int32_t *q, const int64_t *sum, int64_t n_channels,
                       const struct mq_exact_channel *channels, const struct mq_exact_grid *y) {
  for (int64_t c = 0; c < n_channels; c++) {
    q[c] = mq_exact_round((float)(sum[c] + channels[c].bias) * channels[c].factor, y);
  }
}

/* ---- Add: factors ra = sa / sy, rb = sb / sy with 20 bits behind the larger one's first ----------- */
static mq_status make_add(struct mq_exact_add *add, const struct mq_exact_grid *y, struct mq_err *err) {
  float ra = add->a.scale / y->scale, rb = add->b.scale / y->scale, least = ra < rb ? ra : rb;
  float most = ra < rb ? rb : ra;
  if (!(least >= 0x1p-10f && most < 0x1p8f)) {
    return mq_fail(err, MQ_BAD_INPUT, "an add's factors %g and %g, expected from 2^-10 to below 256",
                   (double)ra, (double)rb);
  }
  int exponent;
  (void)frexpf(most, &exponent); /* most in [2^(exponent - 1), 2^exponent) */
  int shift = 20 - (exponent - 1);
  add->of_a = (struct mq_exact_channel){.multiplier = (int32_t)rint(ldexp((double)ra, shift))};
  add->of_b = (struct mq_exact_channel){.multiplier = (int32_t)rint(ldexp((double)rb, shift))};
  add->of_y = (struct mq_exact_channel){.shift = shift};
  add->of_y.bias = (INT64_C(1) << (shift - 1)) - (int64_t)add->of_a.multiplier * add->a.zero_point -
                   (int64_t)add->of_b.multiplier * add->b.zero_point;
  return MQ_OK;
}

static void add_codes(int32_t *q, const int32_t *a, const int32_t *b, int64_t n,
                      const struct mq_exact_add *add, const struct mq_exact_grid *y) {
  for (int64_t i = 0; i < n; i++) {
    int64_t v = add->of_y.bias + (int64_t)a[i] * add->of_a.multiplier + (int64_t)b[i] * add->of_b.multiplier;
    q[i] = mq_exact_saturate((v >> add->of_y.shift) + y->zero_point, y);
  }
}

/* ---- Averages ----------------------------------------------------------------------------------- */
/* Windows are TensorFlow Lite's own: its delegate leaves them to it. */
static mq_status check_average(const struct mq_exact_grid *x, const struct mq_exact_grid *y, int64_t n,
                               bool is_mean, struct mq_err *err) {
  mq_status status = mq_exact_check_sum(x, n, err);
  return status == MQ_OK && !is_mean ? mq_exact_check_kept(x, y, err) : status;
}

/* Over everything: the zero points in one float. */
static void average(int32_t *q, const int64_t *sum, int64_t n_channels, int64_t n, bool is_mean,
                    const struct mq_exact_grid *x, const struct mq_exact_grid *y) {
  const float factor = (x->scale / y->scale) * (1 / (float)n);
  const float zero = (float)y->zero_point - (float)(n * x->zero_point) * factor;
  for (int64_t c = 0; c < n_channels; c++) {
    float v = (float)sum[c] * factor + zero;
    q[c] = is_mean ? mq_exact_rne(mq_exact_clamp(v, (float)y->lo, (float)y->hi))
                   : mq_exact_saturate(mq_exact_divide_away(sum[c], n), y);
  }
}

const struct mq_exact_arithmetic mq_exact_xnnpack = {
    .name = "xnnpack",
    .make_channel = make_channel,
    .requantize = requantize,
    .dequantize = mq_exact_dequantize,
    .quantize = mq_exact_quantize_by_product,
    .make_add = make_add,
    .add = add_codes,
    .check_average = check_average,
    .average = average,
};
