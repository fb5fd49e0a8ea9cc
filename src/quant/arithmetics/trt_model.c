/* A model of TensorRT: layers and adds go on in floats, and the point behind them rounds. */
#include "quant/exact.h"

static mq_status make_channel(struct mq_exact_channel *channel, const struct mq_exact_layer *layer,
                              struct mq_err *err) {
  (void)err;
  *channel = (struct mq_exact_channel){.factor = layer->x_scale * layer->w_scale, .offset = layer->bias};
  return MQ_OK;
}

static void dequantize(float *y, const int64_t *sum, int64_t n_channels,
                       const struct mq_exact_channel *channels) {
  for (int64_t c = 0; c < n_channels; c++) {
    y[c] = (float)sum[c] * channels[c].factor + channels[c].offset;
  }
}

static mq_status check_average(const struct mq_exact_grid *x, const struct mq_exact_grid *y, int64_t n,
                               bool is_mean, struct mq_err *err) {
  (void)is_mean;
  (void)y;
  return mq_exact_check_sum(x, n, err);
}

static void average(int32_t *q, const int64_t *sum, int64_t n_channels, int64_t n, bool is_mean,
                    const struct mq_exact_grid *x, const struct mq_exact_grid *y) {
  (void)is_mean;
  const float factor = x->scale / (float)n;
  for (int64_t c = 0; c < n_channels; c++) {
    float v = mq_exact_clamp((float)sum[c] * factor, y->clip_lo, y->clip_hi);
    q[c] = mq_exact_round(v / y->scale, y);
  }
}

const struct mq_exact_arithmetic mq_exact_trt_model = {
    .name = "trt_model",
    .clips_floats = true,
    .make_channel = make_channel,
    .dequantize = dequantize,
    .quantize = mq_exact_quantize_by_division,
    .check_average = check_average,
    .average = average,
};
