/* The targets' arithmetics on plain rows, for the exact simulation: how the sum of a layer, two codes, or the
 * sum of a pool's window becomes a code. The equations are those of docs/arithmetic.md, one file each; they
 * were written from that page alone, so that what integer programs compute (src/program) has something
 * independent to be compared with.
 *
 * Notation: real x, scale s, zero point z, code q: x = s (q - z). f(..): rounded to float32, which every
 * operation on floats here is; rne: rounded half to even. */
#ifndef MQ_QUANT_EXACT_H
#define MQ_QUANT_EXACT_H

#include "mqbench/quant.h"

/* A grid with the range its codes are clamped to: the bit-width's, or a fused activation's tighter one. */
struct mq_exact_grid {
  float scale;
  int32_t zero_point, lo, hi;
  float clip_lo, clip_hi; /* a fused activation on floats (clips_floats); otherwise infinite */
};

/* An output channel of a layer. */
struct mq_exact_layer {
  float x_scale, w_scale;
  float y_scale; /* 0: the output is float */
  float bias;    /* real */
  bool is_linear;
  bool is_per_tensor; /* one scale for all of the layer's weights */
  double largest_sum; /* no sum's magnitude is larger, the bias not counted */
};
/* What a layer's arithmetic makes of it once; each uses the fields it needs. */
struct mq_exact_channel {
  int64_t bias;       /* in steps of the sum */
  int32_t multiplier; /* Q31 */
  int shift;
  bool rounds_once; /* tflite_ref: the product of multiplier and sum */
  float factor, offset;
};

struct mq_exact_add {
  struct mq_exact_grid a, b;
  struct mq_exact_channel of_a, of_b, of_y;
};

/* make_*: MQ_BAD_INPUT where the arithmetic has no answer for these scales; the message says what was found.
 * The others answer for any sum within the bounds that hold for programs and any float (NaN: lo). */
struct mq_exact_arithmetic {
  const char *name;
  bool clips_floats; /* a fused activation is taken before the rounding, not on codes */
  mq_status (*make_channel)(struct mq_exact_channel *channel, const struct mq_exact_layer *layer,
                            struct mq_err *err);
  /* One pixel: n_channels sums (without the bias) to codes. NULL: layers answer floats, whatever follows. */
  void (*requantize)(int32_t *q, const int64_t *sum, int64_t n_channels,
                     const struct mq_exact_channel *channels, const struct mq_exact_grid *y);
  /* The same to floats, where the output is no point. Its channels were made with y_scale 0. */
  void (*dequantize)(float *y, const int64_t *sum, int64_t n_channels,
                     const struct mq_exact_channel *channels);
  /* Floats to codes: the input of a network, the way back from what is computed in floats. */
  void (*quantize)(int32_t *q, const float *x, int64_t n, const struct mq_exact_grid *y);
  /* NULL: adds are computed in floats. */
  mq_status (*make_add)(struct mq_exact_add *add, const struct mq_exact_grid *y, struct mq_err *err);
  void (*add)(int32_t *q, const int32_t *a, const int32_t *b, int64_t n, const struct mq_exact_add *add,
              const struct mq_exact_grid *y);
  /* Sums of n codes each, of n_channels channels. NULL: averages are computed in floats. `mean`: over all
   * pixels; otherwise over windows. */
  mq_status (*check_average)(const struct mq_exact_grid *x, const struct mq_exact_grid *y, int64_t n,
                             bool is_mean, struct mq_err *err);
  void (*average)(int32_t *q, const int64_t *sum, int64_t n_channels, int64_t n, bool is_mean,
                  const struct mq_exact_grid *x, const struct mq_exact_grid *y);
};

/* ---- What several of them share ----------------------------------------------------------------------- */
/* v in [lo, hi], NaN: lo. */
static inline float mq_exact_clamp(float v, float lo, float hi) {
  v = v > lo ? v : lo;
  return v < hi ? v : hi;
}

/* rne of |v| < 2^22: beyond 2^23 a float32 has no fraction left, and the addition rounds half to even. */
static inline int32_t mq_exact_rne(float v) {
  const float shifter = 12582912.0f;
  return (int32_t)((v + shifter) - shifter);
}

/* clamp(rne(v) + z): clamping v to whole numbers first changes nothing. */
static inline int32_t mq_exact_round(float v, const struct mq_exact_grid *y) {
  return mq_exact_rne(mq_exact_clamp(v, (float)(y->lo - y->zero_point), (float)(y->hi - y->zero_point))) +
         y->zero_point;
}

static inline int32_t mq_exact_saturate(int64_t q, const struct mq_exact_grid *y) {
  return (int32_t)(q < y->lo ? y->lo : q > y->hi ? y->hi : q);
}

/* Half away from zero. */
static inline int64_t mq_exact_divide_away(int64_t sum, int64_t n) {
  return (sum > 0 ? sum + n / 2 : sum - n / 2) / n;
}

/* rne((double)b / ((double)sx sw)), refused beyond 32 bits. */
mq_status mq_exact_bias(int64_t *bias, const struct mq_exact_layer *layer, struct mq_err *err) MQ_MUST_CHECK;
/* f(f(sum + bias) f(sx sw)): dequant_f32's, and any layer's whose output is no point. */
mq_status mq_exact_make_float_channel(struct mq_exact_channel *channel, const struct mq_exact_layer *layer,
                                      struct mq_err *err) MQ_MUST_CHECK;
void mq_exact_dequantize(float *y, const int64_t *sum, int64_t n_channels,
                         const struct mq_exact_channel *channels);
/* rne(f(x / s)) + z */
void mq_exact_quantize_by_division(int32_t *q, const float *x, int64_t n, const struct mq_exact_grid *y);
/* rne(f(x f(1 / s))) + z */
void mq_exact_quantize_by_product(int32_t *q, const float *x, int64_t n, const struct mq_exact_grid *y);
/* For check_average: of windows that keep scale and zero point. */
mq_status mq_exact_check_kept(const struct mq_exact_grid *x, const struct mq_exact_grid *y,
                              struct mq_err *err) MQ_MUST_CHECK;
/* For check_average: the sum of n codes within 32 bits, and anything else is fine. */
mq_status mq_exact_check_sum(const struct mq_exact_grid *x, int64_t n, struct mq_err *err) MQ_MUST_CHECK;

#endif
