/* fbgemm: PyTorch's FBGEMM. The bias is a float in steps of the accumulator.
 *   channel: factor = f(f(sx sw)/sy), offset = the bias over f(sx sw)
 *   add:     factor = s and offset = f(s * -z) of a and b; y.factor = f(1/sy)
 *   mean:    factor = f(1/n); scale and zero point stay the input's */
#include "program/arith.h"

/* Per channel a division; per tensor a product with the reciprocal (the library's vector code). */
static mq_program_status make_channel(struct mq_program_channel *channel,
                                      const struct mq_program_layer *layer, struct mq_program_err *err) {
  const float steps = layer->x_scale * layer->w_scale, bias = (float)layer->bias;
  *channel =
      (struct mq_program_channel){.w_scale = layer->w_scale,
                                  .w_zero_point = layer->w_zero_point,
                                  .factor = steps / layer->y_scale,
                                  .offset = layer->is_per_tensor ? bias * (1.0f / steps) : bias / steps};
  if (channel->factor > 0 && program_is_finite(channel->factor) && program_is_finite(channel->offset))
    return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID, "scale ratio sx sw/sy %g and bias %g, expected finite ones",
                      (double)channel->factor, (double)channel->offset);
}

static int32_t round_to_code(float v, const struct mq_program_output *y) {
  return program_clamp((int64_t)program_round_even(v) + y->zero_point, y->lo, y->hi);
}

static int32_t quantize(float x, const struct mq_program_output *y) {
  return round_to_code(x * (1.0f / y->scale), y);
}

static int32_t requantize(int64_t acc, const struct mq_program_channel *channel, float shortcut,
                          const struct mq_program_output *y) {
  (void)shortcut;
  const float biased = (float)acc + channel->offset;
  return round_to_code(biased * channel->factor, y);
}

static mq_program_status make_add(struct mq_program_add *add, const struct mq_program_tensor *a,
                                  const struct mq_program_tensor *b, const struct mq_program_tensor *y,
                                  struct mq_program_err *err) {
  (void)err;
  *add = (struct mq_program_add){
      .a_zero_point = a->zero_point,
      .b_zero_point = b->zero_point,
      .a = {.factor = a->scale, .offset = a->scale * (float)-a->zero_point},
      .b = {.factor = b->scale, .offset = b->scale * (float)-b->zero_point},
      .y = {.factor = 1.0f / y->scale},
  };
  return MQ_PROGRAM_OK;
}

static int32_t add(int32_t a, int32_t b, const struct mq_program_add *add,
                   const struct mq_program_output *y) {
  const float from_a = program_fma(add->a.factor, (float)a, add->a.offset);
  const float from_b = program_fma(add->b.factor, (float)b, add->b.offset);
  const float sum = from_a + from_b;
  return round_to_code(sum * add->y.factor, y);
}

static mq_program_status make_mean(struct mq_program_mean *mean, const struct mq_program_tensor *x,
                                   const struct mq_program_tensor *y, int32_t n, struct mq_program_err *err) {
  *mean =
      (struct mq_program_mean){.x_zero_point = x->zero_point, .n = n, .scaling = {.factor = 1.0f / (float)n}};
  if (x->scale == y->scale && x->zero_point == y->zero_point) return MQ_PROGRAM_OK;
  return program_fail(
      err, MQ_PROGRAM_INVALID,
      "average from scale %g, zero point %lld to scale %g, zero point %lld: expected the same "
      "in fbgemm",
      (double)x->scale, (long long)x->zero_point, (double)y->scale, (long long)y->zero_point);
}

static int32_t mean_of(int64_t sum, const struct mq_program_mean *mean, const struct mq_program_output *y) {
  return round_to_code((float)(sum - (int64_t)mean->n * mean->x_zero_point) * mean->scaling.factor, y);
}

const struct mq_program_arithmetic program_arith_fbgemm = {
    .name = "fbgemm",
    .describes = "PyTorch's FBGEMM: float bias and factor, half to even",
    .has_float_bias = true,
    .make_channel = make_channel,
    .quantize = quantize,
    .requantize = requantize,
    .make_add = make_add,
    .add = add,
    .make_average = make_mean,
    .average = mean_of,
    .make_mean = make_mean,
    .mean = mean_of,
};
