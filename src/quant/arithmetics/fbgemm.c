/* PyTorch's FBGEMM: the bias is a float in units of the sum, and averages keep scale and zero point. */
#include <math.h>

#include "quant/exact.h"

static mq_status make_channel(struct mq_exact_channel *channel, const struct mq_exact_layer *layer,
                              struct mq_err *err) {
  if (layer->y_scale == 0) {
    return mq_exact_make_float_channel(channel, layer, err);
  }
  float unit = layer->x_scale * layer->w_scale;
  float inverse = 1 / unit;
  *channel = (struct mq_exact_channel){
      .factor = unit / layer->y_scale,
      .offset = layer->is_per_tensor ? layer->bias * inverse : layer->bias / unit,
  };
  return MQ_OK;
}

static void requantize(int32_t *q, const int64_t *sum, int64_t n_channels,
                       const struct mq_exact_channel *channels, const struct mq_exact_grid *y) {
  for (int64_t c = 0; c < n_channels; c++) {
    q[c] = mq_exact_round(((float)sum[c] + channels[c].offset) * channels[c].factor, y);
  }
}

static mq_status make_add(struct mq_exact_add *add, const struct mq_exact_grid *y, struct mq_err *err) {
  (void)err;
  add->of_a =
      (struct mq_exact_channel){.factor = add->a.scale, .offset = add->a.scale * (float)-add->a.zero_point};
  add->of_b =
      (struct mq_exact_channel){.factor = add->b.scale, .offset = add->b.scale * (float)-add->b.zero_point};
  add->of_y = (struct mq_exact_channel){.factor = 1 / y->scale};
  return MQ_OK;
}

/* The engine's vector code, for all elements. */
static void add_codes(int32_t *q, const int32_t *a, const int32_t *b, int64_t n,
                      const struct mq_exact_add *add, const struct mq_exact_grid *y) {
  for (int64_t i = 0; i < n; i++) {
    float ra = fmaf(add->of_a.factor, (float)a[i], add->of_a.offset);
    float rb = fmaf(add->of_b.factor, (float)b[i], add->of_b.offset);
    q[i] = mq_exact_round((ra + rb) * add->of_y.factor, y);
  }
}

static mq_status check_average(const struct mq_exact_grid *x, const struct mq_exact_grid *y, int64_t n,
                               bool is_mean, struct mq_err *err) {
  (void)is_mean;
  if (x->scale != y->scale || x->zero_point != y->zero_point) {
    return mq_fail(err, MQ_BAD_INPUT, "an average from scale %g to %g, expected the same", (double)x->scale,
                   (double)y->scale);
  }
  return mq_exact_check_sum(x, n, err);
}

static void average(int32_t *q, const int64_t *sum, int64_t n_channels, int64_t n, bool is_mean,
                    const struct mq_exact_grid *x, const struct mq_exact_grid *y) {
  (void)is_mean;
  const float factor = 1 / (float)n;
  for (int64_t c = 0; c < n_channels; c++) {
    q[c] = mq_exact_round((float)(sum[c] - n * x->zero_point) * factor, y);
  }
}

const struct mq_exact_arithmetic mq_exact_fbgemm = {
    .name = "fbgemm",
    .make_channel = make_channel,
    .requantize = requantize,
    .dequantize = mq_exact_dequantize,
    .quantize = mq_exact_quantize_by_product,
    .make_add = make_add,
    .add = add_codes,
    .check_average = check_average,
    .average = average,
};
