/* ort: ONNX Runtime on x86.
 *   channel: factor = f(f(sx sw)/sy), bias
 *   add:     factor = f(s/sy) of a and b; y.offset = the three zero points in one
 *   mean:    factor = f(sx / f(sy f(n))) */
#include "program/arith.h"

static mq_program_status make_channel(struct mq_program_channel *channel,
                                      const struct mq_program_layer *layer, struct mq_program_err *err) {
  const float factor = (layer->x_scale * layer->w_scale) / layer->y_scale;
  *channel = (struct mq_program_channel){
      .w_scale = layer->w_scale, .w_zero_point = layer->w_zero_point, .factor = factor};
  if (!(factor > 0 && program_is_finite(factor)))
    return program_fail(err, MQ_PROGRAM_INVALID, "scale ratio sx sw/sy %g, expected a finite one above 0",
                        (double)factor);
  return program_bias(&channel->bias, layer, err);
}

static int32_t requantize(int64_t acc, const struct mq_program_channel *channel, float shortcut,
                          const struct mq_program_output *y) {
  (void)shortcut;
  return program_round_output((float)(acc + channel->bias) * channel->factor, y);
}

static mq_program_status make_add(struct mq_program_add *add, const struct mq_program_tensor *a,
                                  const struct mq_program_tensor *b, const struct mq_program_tensor *y,
                                  struct mq_program_err *err) {
  const float ra = a->scale / y->scale, rb = b->scale / y->scale;
  const float from_b = rb * (float)b->zero_point, zeros = program_fma(ra, (float)a->zero_point, from_b);
  *add = (struct mq_program_add){
      .a_zero_point = a->zero_point,
      .b_zero_point = b->zero_point,
      .a = {.factor = ra},
      .b = {.factor = rb},
      .y = {.offset = (float)y->zero_point - zeros},
  };
  if (program_is_finite(ra) && program_is_finite(rb) && program_is_finite(add->y.offset))
    return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID,
                      "scales of the operands over the output's: %g and %g, expected finite ones", (double)ra,
                      (double)rb);
}

/* The zero point is inside what is rounded. */
static int32_t add(int32_t a, int32_t b, const struct mq_program_add *add,
                   const struct mq_program_output *y) {
  const float v = program_fma((float)a, add->a.factor, program_fma((float)b, add->b.factor, add->y.offset));
  return program_clamp(program_round_even(v), y->lo, y->hi);
}

static mq_program_status make_mean(struct mq_program_mean *mean, const struct mq_program_tensor *x,
                                   const struct mq_program_tensor *y, int32_t n, struct mq_program_err *err) {
  const float k = x->scale / (y->scale * (float)n);
  *mean = (struct mq_program_mean){.x_zero_point = x->zero_point, .n = n, .scaling = {.factor = k}};
  if (k >= 0x1p-32f && k < 256) return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID, "scale ratio sx/(sy n) %g, expected one in [2^-32, 256)",
                      (double)k);
}

static int32_t mean_of(int64_t sum, const struct mq_program_mean *mean, const struct mq_program_output *y) {
  const float centred = (float)(sum - (int64_t)mean->n * mean->x_zero_point);
  return program_clamp((int64_t)program_round_even(centred * mean->scaling.factor) + y->zero_point, y->lo,
                       y->hi);
}

const struct mq_program_arithmetic program_arith_ort = {
    .name = "ort",
    .describes = "ONNX Runtime on x86: one float factor, half to even",
    .make_channel = make_channel,
    .quantize = program_quantize_even,
    .requantize = requantize,
    .make_add = make_add,
    .add = add,
    .make_average = make_mean,
    .average = mean_of,
    .make_mean = make_mean,
    .mean = mean_of,
};
