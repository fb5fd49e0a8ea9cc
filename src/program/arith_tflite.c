/* tflite_ref: TensorFlow Lite's reference kernels. Multipliers are 32-bit fixed point; each product is
 * rounded twice: SRDHM half up, RDBP half away from zero; in linear layers once, half up.
 *   channel: multiplier, shift (left > 0), bias
 *   add:     multiplier, shift of a, b and y
 *   mean:    multiplier, shift with 1/n in the multiplier */
#include "program/arith.h"

#define ADD_SHIFT 20

/* m = multiplier / 2^31 * 2^shift, multiplier in [2^30, 2^31 - 1], for finite m > 0; both 0 for tiny m. */
static void quantize_multiplier(struct mq_program_scaling *scaling, double m) {
  int32_t shift;
  const double fraction = program_split(&shift, m);
  int64_t multiplier = (int64_t)(fraction * 0x1p31 + 0.5); /* exact before the rounding */
  if (multiplier == INT64_C(1) << 31) {
    multiplier /= 2;
    shift++;
  }
  if (shift < -31) multiplier = shift = 0;
  scaling->multiplier = (int32_t)multiplier;
  scaling->shift = shift;
}

/* Half of the product, high word, rounded; a == b == INT32_MIN cannot be: multipliers are not negative. */
static int32_t doubling_high_product(int32_t a, int32_t b) {
  return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* x / 2^exponent, half away from zero. */
static int32_t divide_by_power(int32_t x, int32_t exponent) {
  const int64_t mask = (INT64_C(1) << exponent) - 1, rest = x & mask, threshold = (mask >> 1) + (x < 0);
  return (x >> exponent) + (rest > threshold);
}

static int32_t multiply(int64_t x, const struct mq_program_scaling *scaling) {
  const int32_t left = scaling->shift > 0 ? scaling->shift : 0, right = left - scaling->shift;
  return divide_by_power(doubling_high_product((int32_t)(x * (INT64_C(1) << left)), scaling->multiplier),
                         right);
}

/* x * multiplier / 2^(31 - shift), half up; the product has 62 bits and a sign. */
static int64_t multiply_once(int64_t x, const struct mq_program_scaling *scaling) {
  const int32_t right = 31 - scaling->shift;
  return (x * scaling->multiplier + (INT64_C(1) << (right - 1))) >> right;
}

/* Whether x * 2^shift is an int32 for all x in [lo, hi]. */
static bool shift_fits(int32_t shift, int64_t lo, int64_t hi) {
  const int32_t left = shift > 0 ? shift : 0;
  return left <= 30 && lo >= -(INT64_C(1) << (31 - left)) && hi < INT64_C(1) << (31 - left);
}

/* m = sx sw / sy in double. */
static mq_program_status make_channel(struct mq_program_channel *channel,
                                      const struct mq_program_layer *layer, struct mq_program_err *err) {
  struct mq_program_scaling scaling = {0};
  const double m = (double)layer->x_scale * (double)layer->w_scale / (double)layer->y_scale;
  *channel = (struct mq_program_channel){.w_scale = layer->w_scale, .w_zero_point = layer->w_zero_point};
  if (!(m > 0 && m < 0x1p30))
    return program_fail(err, MQ_PROGRAM_INVALID, "multiplier %g, expected one in (0, 2^30)", m);
  quantize_multiplier(&scaling, m);
  channel->multiplier = scaling.multiplier;
  channel->shift = scaling.shift;
  return program_bias(&channel->bias, layer, err);
}

static bool fits(const struct mq_program_channel *channel, int64_t lo, int64_t hi) {
  return shift_fits(channel->shift, lo, hi);
}

static int32_t quantize(float x, const struct mq_program_output *y) {
  return program_clamp((int64_t)program_round_away(x / y->scale) + y->zero_point, y->lo, y->hi);
}

static int32_t requantize(int64_t acc, const struct mq_program_channel *channel, float shortcut,
                          const struct mq_program_output *y) {
  (void)shortcut;
  const struct mq_program_scaling scaling = {.multiplier = channel->multiplier, .shift = channel->shift};
  return program_clamp((int64_t)multiply(acc + channel->bias, &scaling) + y->zero_point, y->lo, y->hi);
}

static int32_t requantize_linear(int64_t acc, const struct mq_program_channel *channel, float shortcut,
                                 const struct mq_program_output *y) {
  (void)shortcut;
  const struct mq_program_scaling scaling = {.multiplier = channel->multiplier, .shift = channel->shift};
  return program_clamp(multiply_once(acc + channel->bias, &scaling) + y->zero_point, y->lo, y->hi);
}

/* T = 2 max(s1, s2); s1/T, s2/T and T/(2^20 sy), each in (0, 1). */
static mq_program_status make_add(struct mq_program_add *add, const struct mq_program_tensor *a,
                                  const struct mq_program_tensor *b, const struct mq_program_tensor *y,
                                  struct mq_program_err *err) {
  const double twice = 2.0 * (double)(a->scale > b->scale ? a->scale : b->scale);
  const double m = twice / ((double)(1 << ADD_SHIFT) * (double)y->scale);
  *add = (struct mq_program_add){.a_zero_point = a->zero_point, .b_zero_point = b->zero_point};
  if (a->type == MQ_PROGRAM_S16 || b->type == MQ_PROGRAM_S16)
    return program_fail(err, MQ_PROGRAM_INVALID, "an operand has 16 bits, expected 8 in tflite_ref");
  if (!(m > 0 && m < 1))
    return program_fail(err, MQ_PROGRAM_INVALID,
                        "operands' scales %g and %g are too large beside the output's %g: multiplier %g, "
                        "expected one in (0, 1)",
                        (double)a->scale, (double)b->scale, (double)y->scale, m);
  quantize_multiplier(&add->a, (double)a->scale / twice);
  quantize_multiplier(&add->b, (double)b->scale / twice);
  quantize_multiplier(&add->y, m);
  return MQ_PROGRAM_OK;
}

static int32_t add(int32_t a, int32_t b, const struct mq_program_add *add,
                   const struct mq_program_output *y) {
  const int64_t from_a = multiply((int64_t)(a - add->a_zero_point) * (1 << ADD_SHIFT), &add->a);
  const int64_t from_b = multiply((int64_t)(b - add->b_zero_point) * (1 << ADD_SHIFT), &add->b);
  return program_clamp((int64_t)multiply(from_a + from_b, &add->y) + y->zero_point, y->lo, y->hi);
}

mq_program_status program_make_kept_average(struct mq_program_mean *mean, const struct mq_program_tensor *x,
                                            const struct mq_program_tensor *y, int32_t n,
                                            struct mq_program_err *err) {
  *mean = (struct mq_program_mean){.x_zero_point = x->zero_point, .n = n};
  if (x->scale == y->scale && x->zero_point == y->zero_point) return MQ_PROGRAM_OK;
  return program_fail(
      err, MQ_PROGRAM_INVALID,
      "average pool from scale %g, zero point %lld to scale %g, zero point %lld: expected the "
      "same in tflite_ref and xnnpack",
      (double)x->scale, (long long)x->zero_point, (double)y->scale, (long long)y->zero_point);
}

int32_t program_kept_average(int64_t sum, const struct mq_program_mean *mean,
                             const struct mq_program_output *y) {
  const int64_t n = mean->n;
  return program_clamp(sum > 0 ? (sum + n / 2) / n : (sum - n / 2) / n, y->lo, y->hi);
}

/* k = min(floor(log2 n), 32, 31 + shift): the multiplier takes 1/n without losing bits. */
static mq_program_status make_mean(struct mq_program_mean *mean, const struct mq_program_tensor *x,
                                   const struct mq_program_tensor *y, int32_t n, struct mq_program_err *err) {
  const double m = (double)x->scale / (double)y->scale;
  int32_t k = 0;
  *mean = (struct mq_program_mean){.x_zero_point = x->zero_point, .n = n};
  if (!(m > 0 && m < 0x1p30))
    return program_fail(err, MQ_PROGRAM_INVALID, "multiplier %g, expected one in (0, 2^30)", m);
  quantize_multiplier(&mean->scaling, m);
  for (int32_t rest = n >> 1; rest != 0; rest >>= 1)
    k++;
  if (k > 31 + mean->scaling.shift) k = 31 + mean->scaling.shift;
  mean->scaling.multiplier = (int32_t)(((int64_t)mean->scaling.multiplier << k) / n);
  mean->scaling.shift -= k;
  const int64_t lo = ((int64_t)x->code_min - x->zero_point) * n,
                hi = ((int64_t)x->code_max - x->zero_point) * n;
  if (lo >= INT32_MIN && hi <= INT32_MAX && shift_fits(mean->scaling.shift, lo, hi)) return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID,
                      "the sum of %lld codes times the multiplier %g may leave 32 bits", (long long)n, m);
}

static int32_t mean_of(int64_t sum, const struct mq_program_mean *mean, const struct mq_program_output *y) {
  const int64_t centred = sum - (int64_t)mean->x_zero_point * mean->n;
  return program_clamp((int64_t)multiply(centred, &mean->scaling) + y->zero_point, y->lo, y->hi);
}

const struct mq_program_arithmetic program_arith_tflite = {
    .name = "tflite_ref",
    .describes = "TensorFlow Lite's reference kernels: fixed-point multipliers, rounded twice",
    .make_channel = make_channel,
    .fits = fits,
    .quantize = quantize,
    .requantize = requantize,
    .requantize_linear = requantize_linear,
    .make_add = make_add,
    .add = add,
    .make_average = program_make_kept_average,
    .average = program_kept_average,
    .make_mean = make_mean,
    .mean = mean_of,
};
