/* ONNX Runtime on x86: float factors, rounded half to even. */
#include <math.h>

#include "quant/exact.h"

static mq_status make_channel(struct mq_exact_channel *channel, const struct mq_exact_layer *layer,
                              struct mq_err *err) {
  if (layer->y_scale == 0) {
    return mq_exact_make_float_channel(channel, layer, err);
  }
  *channel = (struct mq_exact_channel){.factor = layer->x_scale * layer->w_scale / layer->y_scale};
  return mq_exact_bias(&channel->bias, layer, err);
}

static void requantize(int32_t *q, const int64_t *sum, int64_t n_channels,
                       const struct mq_exact_channel *channels, const struct mq_exact_grid *y) {
  for (int64_t c = 0; c < n_channels; c++) {
    q[c] = mq_exact_round((float)(sum[c] + channels[c].bias) * channels[c].factor, y);
  }
}

/* a ra + (b rb + F), F = zy - (ra za + rb zb), each product fused with its addition: zy is inside the
 * rounding. */
static mq_status make_add(struct mq_exact_add *add, const struct mq_exact_grid *y, struct mq_err *err) {
  (void)err;
  float ra = add->a.scale / y->scale, rb = add->b.scale / y->scale;
  float zeros = fmaf(ra, (float)add->a.zero_point, rb * (float)add->b.zero_point);
  add->of_a = (struct mq_exact_channel){.factor = ra};
  add->of_b = (struct mq_exact_channel){.factor = rb};
  add->of_y = (struct mq_exact_channel){.offset = (float)y->zero_point - zeros};
  return MQ_OK;
}

static void add_codes(int32_t *q, const int32_t *a, const int32_t *b, int64_t n,
                      const struct mq_exact_add *add, const struct mq_exact_grid *y) {
  for (int64_t i = 0; i < n; i++) {
    float v = fmaf((float)a[i], add->of_a.factor, fmaf((float)b[i], add->of_b.factor, add->of_y.offset));
    q[i] = mq_exact_rne(mq_exact_clamp(v, (float)y->lo, (float)y->hi));
  }
}

static float average_factor(const struct mq_exact_grid *x, const struct mq_exact_grid *y, int64_t n) {
  return x->scale / (y->scale * (float)n);
}

static mq_status check_average(const struct mq_exact_grid *x, const struct mq_exact_grid *y, int64_t n,
                               bool is_mean, struct mq_err *err) {
  (void)is_mean;
  float factor = average_factor(x, y, n);
  if (!(factor >= 0x1p-32f && factor < 256)) {
    return mq_fail(err, MQ_BAD_INPUT, "an average's factor %g, expected from 2^-32 to below 256",
                   (double)factor);
  }
  return mq_exact_check_sum(x, n, err);
}

static void average(int32_t *q, const int64_t *sum, int64_t n_channels, int64_t n, bool is_mean,
                    const struct mq_exact_grid *x, const struct mq_exact_grid *y) {
  (void)is_mean;
  const float factor = average_factor(x, y, n);
  for (int64_t c = 0; c < n_channels; c++) {
    q[c] = mq_exact_round((float)(sum[c] - n * x->zero_point) * factor, y);
  }
}

const struct mq_exact_arithmetic mq_exact_ort = {
    .name = "ort",
    .make_channel = make_channel,
    .requantize = requantize,
    .dequantize = mq_exact_dequantize,
    .quantize = mq_exact_quantize_by_division,
    .make_add = make_add,
    .add = add_codes,
    .check_average = check_average,
    .average = average,
};
