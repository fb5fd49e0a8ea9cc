/* The registry of arithmetics, and what several of them share. */
#include "quant/exact.h"

#include <math.h>
#include <string.h>

extern const struct mq_exact_arithmetic mq_exact_tflite_ref, mq_exact_xnnpack, mq_exact_fbgemm, mq_exact_ort,
    mq_exact_pot_shift, mq_exact_pot_shift_even, mq_exact_trt_model, mq_exact_dequant_f32;

static const struct mq_exact_arithmetic *const arithmetics[] = {
    &mq_exact_tflite_ref, &mq_exact_xnnpack,        &mq_exact_fbgemm,    &mq_exact_ort,
    &mq_exact_pot_shift,  &mq_exact_pot_shift_even, &mq_exact_trt_model, &mq_exact_dequant_f32,
};

const struct mq_exact_arithmetic *mq_exact_arithmetic_find(const char *name) {
  for (size_t i = 0; name && i < sizeof arithmetics / sizeof arithmetics[0]; i++) {
    if (!strcmp(arithmetics[i]->name, name)) {
      return arithmetics[i];
    }
  }
  return NULL;
}

/* ---- Layers ------------------------------------------------------------------------------------- */
mq_status mq_exact_bias(int64_t *bias, const struct mq_exact_layer *layer, struct mq_err *err) {
  double steps = rint((double)layer->bias / ((double)layer->x_scale * (double)layer->w_scale));
  if (!(fabs(steps) < 0x1p31)) {
    return mq_fail(err, MQ_BAD_INPUT, "bias %g is %g steps of the accumulator, expected below 2^31",
                   (double)layer->bias, steps);
  }
  *bias = (int64_t)steps;
  return MQ_OK;
}

mq_status mq_exact_make_float_channel(struct mq_exact_channel *channel, const struct mq_exact_layer *layer,
                                      struct mq_err *err) {
  *channel = (struct mq_exact_channel){.factor = layer->x_scale * layer->w_scale};
  return mq_exact_bias(&channel->bias, layer, err);
}

void mq_exact_dequantize(float *y, const int64_t *sum, int64_t n_channels,
                         const struct mq_exact_channel *channels) {
  for (int64_t c = 0; c < n_channels; c++) {
    y[c] = (float)(sum[c] + channels[c].bias) * channels[c].factor;
  }
}

/* ---- Input -------------------------------------------------------------------------------------- */
void mq_exact_quantize_by_division(int32_t *q, const float *x, int64_t n, const struct mq_exact_grid *y) {
  for (int64_t i = 0; i < n; i++) {
    q[i] = mq_exact_round(x[i] / y->scale, y);
  }
}

void mq_exact_quantize_by_product(int32_t *q, const float *x, int64_t n, const struct mq_exact_grid *y) {
  const float factor = 1 / y->scale;
  for (int64_t i = 0; i < n; i++) {
    q[i] = mq_exact_round(x[i] * factor, y);
  }
}

/* ---- Averages ----------------------------------------------------------------------------------- */
mq_status mq_exact_check_kept(const struct mq_exact_grid *x, const struct mq_exact_grid *y,
                              struct mq_err *err) {
  if (x->scale == y->scale && x->zero_point == y->zero_point) {
    return MQ_OK;
  }
  return mq_fail(err, MQ_BAD_INPUT, "an average of windows from scale %g to %g, expected the same",
                 (double)x->scale, (double)y->scale);
}

mq_status mq_exact_check_sum(const struct mq_exact_grid *x, int64_t n, struct mq_err *err) {
  int64_t least = (int64_t)x->lo - x->zero_point, most = (int64_t)x->hi - x->zero_point;
  int64_t largest = -least > most ? -least : most;
  int64_t code = x->hi > -(int64_t)x->lo ? x->hi : -(int64_t)x->lo;
  if (n > INT32_MAX / (code > largest ? code : largest)) {
    return mq_fail(err, MQ_BAD_INPUT, "an average over %lld codes, whose sum may leave 32 bits",
                   (long long)n);
  }
  return MQ_OK;
}
