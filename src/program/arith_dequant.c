/* dequant_f32: integer convolutions between floats; everything else is a float step.
 *   channel: factor = f(sx sw), bias */
#include "program/arith.h"

static mq_program_status make_channel(struct mq_program_channel *channel,
                                      const struct mq_program_layer *layer, struct mq_program_err *err) {
  const float factor = layer->x_scale * layer->w_scale;
  *channel = (struct mq_program_channel){
      .w_scale = layer->w_scale, .w_zero_point = layer->w_zero_point, .factor = factor};
  if (!(factor > 0 && program_is_finite(factor)))
    return program_fail(err, MQ_PROGRAM_INVALID, "scale sx sw %g, expected a finite one above 0",
                        (double)factor);
  return program_bias(&channel->bias, layer, err);
}

static float dequantize(int64_t acc, const struct mq_program_channel *channel) {
  return (float)(acc + channel->bias) * channel->factor;
}

const struct mq_program_arithmetic program_arith_dequant = {
    .name = "dequant_f32",
    .describes = "integer convolutions between floats",
    .make_channel = make_channel,
    .quantize = program_quantize_even,
    .dequantize = dequantize,
};
