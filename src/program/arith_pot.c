/* pot_shift: every scale is a power of two and every zero point 0, so that scaling is a shift. Ties go up
 * (pot_shift) or to even (pot_shift_even).
 *   channel: shift = log2(sy/(sx sw)), right where positive; bias
 *   add:     shift = log2(s/s0) of a and b, left; y.shift = log2(sy/s0), right; s0 the least scale
 *   mean:    shift = log2(sx/sy): positive left, negative right with the divisor */
#include "program/arith.h"

#define MAX_SHIFT 40

static bool is_power(float scale) {
  return (program_float_bits(scale) & 0x807fffff) == 0 && scale >= 0x1p-126f && program_is_finite(scale);
}

static bool is_power_point(const struct mq_program_tensor *tensor) {
  return is_power(tensor->scale) && tensor->zero_point == 0;
}

static mq_program_status fail_power(struct mq_program_err *err) {
  return program_fail(err, MQ_PROGRAM_INVALID,
                      "a scale is no power of two or a zero point is not 0, which pot_shift needs");
}

static mq_program_status fail_shift(struct mq_program_err *err, int32_t shift) {
  return program_fail(err, MQ_PROGRAM_INVALID, "scales differ by 2^%lld, expected at most 2^%lld either way",
                      (long long)shift, (long long)MAX_SHIFT);
}

static bool is_shift(int32_t shift) {
  return shift >= -MAX_SHIFT && shift <= MAX_SHIFT;
}

static mq_program_status make_channel(struct mq_program_channel *channel,
                                      const struct mq_program_layer *layer, struct mq_program_err *err) {
  *channel = (struct mq_program_channel){.w_scale = layer->w_scale, .w_zero_point = layer->w_zero_point};
  if (!is_power(layer->x_scale) || !is_power(layer->w_scale) || !is_power(layer->y_scale) ||
      layer->w_zero_point != 0)
    return fail_power(err);
  channel->shift =
      program_exponent(layer->y_scale) - program_exponent(layer->x_scale) - program_exponent(layer->w_scale);
  if (!is_shift(channel->shift)) return fail_shift(err, channel->shift);
  return program_bias(&channel->bias, layer, err);
}

/* A 64-bit shift to the left by at most MAX_SHIFT. */
static bool fits(const struct mq_program_channel *channel, int64_t lo, int64_t hi) {
  const int64_t limit = INT64_C(1) << (channel->shift < 0 ? 62 + channel->shift : 62);
  return lo > -limit && hi < limit;
}

/* v / 2^shift; v is below 2^62. */
static int64_t shift_half_up(int64_t v, int32_t shift) {
  return shift > 0 ? (v + (INT64_C(1) << (shift - 1))) >> shift : v * (INT64_C(1) << -shift);
}

static int64_t shift_half_even(int64_t v, int32_t shift) {
  if (shift <= 0) return v * (INT64_C(1) << -shift);
  const int64_t half = INT64_C(1) << (shift - 1), rest = v & (2 * half - 1), whole = v >> shift;
  return whole + (rest > half || (rest == half && whole % 2 != 0));
}

static int32_t clamp(int64_t q, const struct mq_program_output *y) {
  return program_clamp(q, y->lo, y->hi);
}

static int32_t requantize_up(int64_t acc, const struct mq_program_channel *channel, float shortcut,
                             const struct mq_program_output *y) {
  (void)shortcut;
  return clamp(shift_half_up(acc + channel->bias, channel->shift), y);
}

static int32_t requantize_even(int64_t acc, const struct mq_program_channel *channel, float shortcut,
                               const struct mq_program_output *y) {
  (void)shortcut;
  return clamp(shift_half_even(acc + channel->bias, channel->shift), y);
}

static mq_program_status make_add(struct mq_program_add *add, const struct mq_program_tensor *a,
                                  const struct mq_program_tensor *b, const struct mq_program_tensor *y,
                                  struct mq_program_err *err) {
  *add = (struct mq_program_add){0};
  if (!is_power_point(a) || !is_power_point(b) || !is_power_point(y)) return fail_power(err);
  const int32_t of_a = program_exponent(a->scale), of_b = program_exponent(b->scale);
  const int32_t of_y = program_exponent(y->scale);
  const int32_t of_ab = of_a < of_b ? of_a : of_b, least = of_ab < of_y ? of_ab : of_y;
  add->a.shift = of_a - least;
  add->b.shift = of_b - least;
  add->y.shift = of_y - least;
  if (!is_shift(add->a.shift)) return fail_shift(err, add->a.shift);
  if (!is_shift(add->b.shift)) return fail_shift(err, add->b.shift);
  return is_shift(add->y.shift) ? MQ_PROGRAM_OK : fail_shift(err, add->y.shift);
}

static int64_t add_aligned(int32_t a, int32_t b, const struct mq_program_add *add) {
  return a * (INT64_C(1) << add->a.shift) + b * (INT64_C(1) << add->b.shift);
}

static int32_t add_up(int32_t a, int32_t b, const struct mq_program_add *add,
                      const struct mq_program_output *y) {
  return clamp(shift_half_up(add_aligned(a, b, add), add->y.shift), y);
}

static int32_t add_even(int32_t a, int32_t b, const struct mq_program_add *add,
                        const struct mq_program_output *y) {
  return clamp(shift_half_even(add_aligned(a, b, add), add->y.shift), y);
}

static mq_program_status make_mean(struct mq_program_mean *mean, const struct mq_program_tensor *x,
                                   const struct mq_program_tensor *y, int32_t n, struct mq_program_err *err) {
  *mean = (struct mq_program_mean){.n = n};
  if (!is_power_point(x) || !is_power_point(y)) return fail_power(err);
  mean->scaling.shift = program_exponent(x->scale) - program_exponent(y->scale);
  const int32_t most = 14; /* |sum| < 2^(15 + 30); twice that and the divisor stay below 2^62 */
  if (mean->scaling.shift >= -most && mean->scaling.shift <= most) return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID, "scales differ by 2^%lld, expected at most 2^%lld either way",
                      (long long)mean->scaling.shift, (long long)most);
}

/* Numerator and divisor of the mean in the output's steps. */
static void make_fraction(int64_t *numerator, int64_t *divisor, int64_t sum,
                          const struct mq_program_mean *mean) {
  const int32_t shift = mean->scaling.shift;
  *numerator = sum * (INT64_C(1) << (shift > 0 ? shift : 0));
  *divisor = mean->n * (INT64_C(1) << (shift < 0 ? -shift : 0));
}

static int64_t divide_floor(int64_t *rest, int64_t numerator, int64_t divisor) {
  *rest = numerator % divisor;
  if (*rest < 0) *rest += divisor;
  return (numerator - *rest) / divisor;
}

static int32_t mean_up(int64_t sum, const struct mq_program_mean *mean, const struct mq_program_output *y) {
  int64_t numerator, divisor, rest;
  make_fraction(&numerator, &divisor, sum, mean);
  const int64_t whole = divide_floor(&rest, numerator, divisor);
  return clamp(whole + (2 * rest >= divisor), y);
}

static int32_t mean_even(int64_t sum, const struct mq_program_mean *mean, const struct mq_program_output *y) {
  int64_t numerator, divisor, rest;
  make_fraction(&numerator, &divisor, sum, mean);
  const int64_t whole = divide_floor(&rest, numerator, divisor);
  return clamp(whole + (2 * rest > divisor || (2 * rest == divisor && whole % 2 != 0)), y);
}

const struct mq_program_arithmetic program_arith_pot_shift = {
    .name = "pot_shift",
    .describes = "scales that are powers of two: shifts, ties up",
    .make_channel = make_channel,
    .fits = fits,
    .quantize = program_quantize_even,
    .requantize = requantize_up,
    .make_add = make_add,
    .add = add_up,
    .make_average = make_mean,
    .average = mean_up,
    .make_mean = make_mean,
    .mean = mean_up,
};

const struct mq_program_arithmetic program_arith_pot_shift_even = {
    .name = "pot_shift_even",
    .describes = "scales that are powers of two: shifts, ties to even",
    .make_channel = make_channel,
    .fits = fits,
    .quantize = program_quantize_even,
    .requantize = requantize_even,
    .make_add = make_add,
    .add = add_even,
    .make_average = make_mean,
    .average = mean_even,
    .make_mean = make_mean,
    .mean = mean_even,
};
