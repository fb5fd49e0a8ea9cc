/* trt_model: our model of TensorRT (its exact arithmetic is not public). The accumulator becomes a float;
 * bias, shortcut and activation are added there; one rounding at the end. channel: factor = f(sx sw), offset
 * = the bias add:     factor = s of a and b mean:    factor = f(sx/n) */
#include "program/arith.h"

static mq_program_status make_channel(struct mq_program_channel *channel,
                                      const struct mq_program_layer *layer, struct mq_program_err *err) {
  *channel = (struct mq_program_channel){.w_scale = layer->w_scale,
                                         .w_zero_point = layer->w_zero_point,
                                         .factor = layer->x_scale * layer->w_scale,
                                         .offset = (float)layer->bias};
  if (channel->factor > 0 && program_is_finite(channel->factor) && program_is_finite(channel->offset))
    return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID,
                      "scale sx sw %g and bias %g, expected finite ones, scale above 0",
                      (double)channel->factor, (double)channel->offset);
}

/* v: real. */
static int32_t finish(float v, const struct mq_program_output *y) {
  v = program_clip_float(v, y->clip_lo, y->clip_hi);
  return program_round_output(v / y->scale, y);
}

static float dequantize(int64_t acc, const struct mq_program_channel *channel) {
  const float v = (float)acc * channel->factor;
  return v + channel->offset;
}

static int32_t requantize(int64_t acc, const struct mq_program_channel *channel, float shortcut,
                          const struct mq_program_output *y) {
  return finish(dequantize(acc, channel) + shortcut, y);
}

static mq_program_status make_add(struct mq_program_add *add, const struct mq_program_tensor *a,
                                  const struct mq_program_tensor *b, const struct mq_program_tensor *y,
                                  struct mq_program_err *err) {
  (void)y;
  (void)err;
  *add = (struct mq_program_add){.a_zero_point = a->zero_point,
                                 .b_zero_point = b->zero_point,
                                 .a = {.factor = a->scale},
                                 .b = {.factor = b->scale}};
  return MQ_PROGRAM_OK;
}

static int32_t add(int32_t a, int32_t b, const struct mq_program_add *add,
                   const struct mq_program_output *y) {
  const float from_a = (float)(a - add->a_zero_point) * add->a.factor;
  const float from_b = (float)(b - add->b_zero_point) * add->b.factor;
  return finish(from_a + from_b, y);
}

static mq_program_status make_mean(struct mq_program_mean *mean, const struct mq_program_tensor *x,
                                   const struct mq_program_tensor *y, int32_t n, struct mq_program_err *err) {
  (void)y;
  (void)err;
  *mean = (struct mq_program_mean){
      .x_zero_point = x->zero_point, .n = n, .scaling = {.factor = x->scale / (float)n}};
  return MQ_PROGRAM_OK;
}

static int32_t mean_of(int64_t sum, const struct mq_program_mean *mean, const struct mq_program_output *y) {
  return finish((float)(sum - (int64_t)mean->n * mean->x_zero_point) * mean->scaling.factor, y);
}

const struct mq_program_arithmetic program_arith_trt = {
    .name = "trt_model",
    .describes = "a model of TensorRT: bias, shortcut and activation in float, one rounding",
    .has_float_bias = true,
    .make_channel = make_channel,
    .quantize = program_quantize_even,
    .requantize = requantize,
    .dequantize = dequantize,
    .make_add = make_add,
    .add = add,
    .make_average = make_mean,
    .average = mean_of,
    .make_mean = make_mean,
    .mean = mean_of,
};
