#include "kernel/simd/elementwise.h"

/* NaN goes through: both comparisons are false. */
static inline float clip_value(float v, float lo, float hi) {
  v = v < lo ? lo : v;
  return v > hi ? hi : v;
}

/* Half to even, for |v| <= 2^22: at 1.5 * 2^23 the spacing of floats is 1, so the addition does the rounding.
 * -0 becomes +0, as it does when the result passes through an integer. */
static inline float round_even(float v) {
  const float shifter = 12582912.0f;
  return (v + shifter) - shifter;
}

/* y = s (clip(rne(x / s) + z, n, p) - z). Clipping to the integers n - z and p - z before rounding is the
 * same (rne is monotone and keeps integers) and bounds what is rounded, so huge and infinite x are covered.
 */
static void fake_quantize(float *y, const float *x, int64_t n, const struct mq_fake_quant *fq) {
  const float scale = fq->scale, lo = fq->quant_min - fq->zero_point, hi = fq->quant_max - fq->zero_point;
  for (int64_t i = 0; i < n; i++)
    y[i] = scale * round_even(clip_value(x[i] / scale, lo, hi));
}

static void affine(float *y, const float *x, int64_t n_rows, int64_t n_channels, const float *gain,
                   const float *shift, float lo, float hi) {
  for (int64_t r = 0; r < n_rows; r++, y += n_channels, x += n_channels)
    for (int64_t c = 0; c < n_channels; c++)
      y[c] = clip_value(x[c] * gain[c] + shift[c], lo, hi);
}

static void add(float *y, const float *a, const float *b, int64_t n, float lo, float hi) {
  for (int64_t i = 0; i < n; i++)
    y[i] = clip_value(a[i] + b[i], lo, hi);
}

static void clip(float *y, const float *x, int64_t n, float lo, float hi) {
  for (int64_t i = 0; i < n; i++)
    y[i] = clip_value(x[i], lo, hi);
}

const struct mq_simd_elementwise MQ_SIMD_NAME(mq_simd_elementwise) = {
    .fake_quantize = fake_quantize,
    .affine = affine,
    .add = add,
    .clip = clip,
};
