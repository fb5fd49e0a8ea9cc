/* xnnpack: one float factor per channel, half to even; adds in fixed point with one shift.
 *   channel: factor = f(f(sx sw)/sy), bias
 *   add:     multiplier of a and b, y.shift; y.multiplier: the bias of both zero points and the rounding
 *   mean:    factor k, offset z'
 * XNNPACK's delegate takes no average of windows of codes: TensorFlow Lite computes it. */
#include "program/arith.h"

static mq_program_status make_channel(struct mq_program_channel *channel,
                                      const struct mq_program_layer *layer, struct mq_program_err *err) {
  const float factor = (layer->x_scale * layer->w_scale) / layer->y_scale;
  *channel = (struct mq_program_channel){
      .w_scale = layer->w_scale, .w_zero_point = layer->w_zero_point, .factor = factor};
  if (!(factor > 0 && factor < 256))
    return program_fail(err, MQ_PROGRAM_INVALID,
                        "scale ratio sx sw/sy %g, expected one in (0, 256) in xnnpack", (double)factor);
  return program_bias(&channel->bias, layer, err);
}

/* A product with the reciprocal, clamped before it is rounded. */
static int32_t quantize(float x, const struct mq_program_output *y) {
  return program_round_output(x * (1.0f / y->scale), y);
}

static int32_t requantize(int64_t acc, const struct mq_program_channel *channel, float shortcut,
                          const struct mq_program_output *y) {
  (void)shortcut;
  return program_round_output((float)(acc + channel->bias) * channel->factor, y);
}

static bool is_ratio(float ratio) {
  return ratio >= 0x1p-10f && ratio < 256;
}

/* ra = f(sa/sy), rb likewise; the larger becomes a multiplier of 21 bits: shift = 20 - floor(log2 max). */
static mq_program_status make_add(struct mq_program_add *add, const struct mq_program_tensor *a,
                                  const struct mq_program_tensor *b, const struct mq_program_tensor *y,
                                  struct mq_program_err *err) {
  const float ra = a->scale / y->scale, rb = b->scale / y->scale;
  *add = (struct mq_program_add){.a_zero_point = a->zero_point, .b_zero_point = b->zero_point};
  if (!is_ratio(ra) || !is_ratio(rb))
    return program_fail(err, MQ_PROGRAM_INVALID,
                        "scales of the operands over the output's: %g and %g, expected within [2^-10, 2^8)",
                        (double)ra, (double)rb);
  if (a->type == MQ_PROGRAM_S16 || b->type == MQ_PROGRAM_S16)
    return program_fail(err, MQ_PROGRAM_INVALID, "an operand has 16 bits, expected 8 in xnnpack");
  const int32_t shift = 20 - program_exponent(ra > rb ? ra : rb);
  add->a.multiplier = program_round_even(ra * program_power(shift));
  add->b.multiplier = program_round_even(rb * program_power(shift));
  add->y.shift = shift;
  add->y.multiplier =
      (1 << (shift - 1)) - add->a.multiplier * a->zero_point - add->b.multiplier * b->zero_point;
  return MQ_PROGRAM_OK;
}

static int32_t add(int32_t a, int32_t b, const struct mq_program_add *add,
                   const struct mq_program_output *y) {
  const int64_t sum =
      (int64_t)add->y.multiplier + (int64_t)a * add->a.multiplier + (int64_t)b * add->b.multiplier;
  return program_clamp((sum >> add->y.shift) + y->zero_point, y->lo, y->hi);
}

static mq_program_status make_mean(struct mq_program_mean *mean, const struct mq_program_tensor *x,
                                   const struct mq_program_tensor *y, int32_t n, struct mq_program_err *err) {
  const float k = (x->scale / y->scale) * (1.0f / (float)n);
  const float zeros = (float)((int64_t)n * x->zero_point) * k;
  *mean = (struct mq_program_mean){.x_zero_point = x->zero_point,
                                   .n = n,
                                   .scaling = {.factor = k, .offset = (float)y->zero_point - zeros}};
  if (k > 0 && k < 256) return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID, "scale ratio sx/(sy n) %g, expected one in (0, 256)",
                      (double)k);
}

/* The zero point is inside what is rounded. */
static int32_t mean_of(int64_t sum, const struct mq_program_mean *mean, const struct mq_program_output *y) {
  const float scaled = (float)sum * mean->scaling.factor;
  return program_clamp(program_round_even(scaled + mean->scaling.offset), y->lo, y->hi);
}

const struct mq_program_arithmetic program_arith_xnnpack = {
    .name = "xnnpack",
    .describes = "XNNPACK: one float factor, half to even; adds in fixed point",
    .make_channel = make_channel,
    .quantize = quantize,
    .requantize = requantize,
    .make_add = make_add,
    .add = add,
    .make_average = program_make_kept_average,
    .average = program_kept_average,
    .make_mean = make_mean,
    .mean = mean_of,
};
