#include "runtime/simd/points.h"

#include "runtime/simd/pack.h"

/* ---- Quantize ---------------------------------------------------------------------------------------- */
/* Where half to even went towards zero from a tie, one further. */
MQ_ALWAYS_INLINE ints round_away(floats x) {
  const ints r = floats_round(x);
  const floats rest = floats_sub(x, floats_of(r));
  const ints up = ints_and(floats_equal(rest, floats_all(0.5f)), ints_above(r, ints_all(-1)));
  const ints down = ints_and(floats_equal(rest, floats_all(-0.5f)), ints_above(ints_all(1), r));
  return ints_sub(r, ints_sub(up, down));
}

MQ_ALWAYS_INLINE ints quantize_16(floats x, const struct runtime_quantize *q, runtime_rounding rounding) {
  const floats scaled = rounding == RUNTIME_TIMES_EVEN ? floats_mul(x, floats_all(1.0f / q->scale))
                                                       : floats_div(x, floats_all(q->scale));
  const floats v = floats_min(floats_max(scaled, floats_all(q->lo)), floats_all(q->hi));
  return ints_add(rounding == RUNTIME_DIVIDE_AWAY ? round_away(v) : floats_round(v), ints_all(q->zero));
}

MQ_ALWAYS_INLINE void quantize_as(unsigned char *y, const float *x, int64_t n,
                                  const struct runtime_quantize *quantize, runtime_rounding rounding) {
  const struct runtime_quantize q = *quantize; /* stores to y cannot change it */
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    ints_to_codes(y + i, quantize_16(floats_load(x + i), &q, rounding));
  if (i < n) {
    float few[LANES] = {0};
    unsigned char codes[LANES];
    memcpy(few, x + i, (size_t)(n - i) * sizeof *few);
    ints_to_codes(codes, quantize_16(floats_load(few), &q, rounding));
    memcpy(y + i, codes, (size_t)(n - i));
  }
}

static void quantize(unsigned char *y, const float *x, int64_t n, const struct runtime_quantize *q) {
  if (q->rounding == RUNTIME_DIVIDE_EVEN)
    quantize_as(y, x, n, q, RUNTIME_DIVIDE_EVEN);
  else if (q->rounding == RUNTIME_DIVIDE_AWAY)
    quantize_as(y, x, n, q, RUNTIME_DIVIDE_AWAY);
  else
    quantize_as(y, x, n, q, RUNTIME_TIMES_EVEN);
}

static void dequantize(float *y, const unsigned char *x, int64_t n, int32_t zero, float scale) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = (float)((int32_t)x[i] - zero) * scale;
}

/* ---- Sums of two ------------------------------------------------------------------------------------- */
/* round(v multiplier / 2^31 / 2^right): rounded twice, the second half away from zero. */
MQ_ALWAYS_INLINE ints fixed_point(ints v, int32_t multiplier, int32_t right) {
  const int32_t bits = (int32_t)((UINT32_C(1) << right) - 1);
  const ints high = ints_high_product(v, ints_all(multiplier), INT64_C(1) << 30);
  const ints rest = ints_and(high, ints_all(bits)), is_negative = ints_right(high, ints_all(31));
  const ints threshold = ints_sub(ints_all(bits >> 1), is_negative);
  return ints_sub(ints_right(high, ints_all(right)), ints_above(rest, threshold));
}

/* v / 2^right; right below 32. */
MQ_ALWAYS_INLINE ints shift_right(ints v, int32_t right, bool is_even) {
  if (right == 0) return v;
  const ints one = ints_all(1), whole = ints_right(v, ints_all(right));
  ints up = ints_and(ints_right(v, ints_all(right - 1)), one);
  if (is_even) {
    const ints below = ints_and(v, ints_all((int32_t)((UINT32_C(1) << (right - 1)) - 1)));
    up = ints_and(up, ints_or(ints_above(below, ints_all(0)), whole));
  }
  return ints_add(whole, up);
}

MQ_ALWAYS_INLINE ints add_fixed(ints a, ints b, const struct runtime_add *p) {
  const ints twenty = ints_all(20); /* the operands' places behind the point */
  const ints from_a = ints_left(ints_sub(a, ints_all(p->a_zero)), twenty);
  const ints from_b = ints_left(ints_sub(b, ints_all(p->b_zero)), twenty);
  return fixed_point(ints_add(fixed_point(from_a, p->a_multiplier, p->a_shift),
                              fixed_point(from_b, p->b_multiplier, p->b_shift)),
                     p->y_multiplier, p->y_shift);
}

MQ_ALWAYS_INLINE ints add_shift_down(ints a, ints b, const struct runtime_add *p) {
  const ints from_a = ints_mul(ints_sub(a, ints_all(p->a_zero)), ints_all(p->a_multiplier));
  const ints from_b = ints_mul(ints_sub(b, ints_all(p->b_zero)), ints_all(p->b_multiplier));
  return ints_right(ints_add(ints_add(from_a, from_b), ints_all(p->y_multiplier)), ints_all(p->y_shift));
}

MQ_ALWAYS_INLINE ints add_shifted(ints a, ints b, const struct runtime_add *p, bool is_even) {
  const ints from_a = ints_left(ints_sub(a, ints_all(p->a_zero)), ints_all(p->a_shift));
  const ints from_b = ints_left(ints_sub(b, ints_all(p->b_zero)), ints_all(p->b_shift));
  return shift_right(ints_add(from_a, from_b), p->y_shift, is_even);
}

MQ_ALWAYS_INLINE floats add_real(floats a, floats b, const struct runtime_add *p, runtime_add_form form) {
  const floats fa = floats_all(p->a_factor), fb = floats_all(p->b_factor);
  if (form == RUNTIME_ADD_FUSED) return floats_fma(a, fa, floats_fma(b, fb, floats_all(p->y_offset)));
  if (form == RUNTIME_ADD_BIASED) {
    const floats from_a = floats_fma(fa, a, floats_all(p->a_offset));
    const floats from_b = floats_fma(fb, b, floats_all(p->b_offset));
    return floats_mul(floats_add(from_a, from_b), floats_all(p->y_factor));
  }
  const floats sum = floats_add(floats_mul(a, fa), floats_mul(b, fb));
  return floats_divide_by(sum, floats_all(p->scale), floats_all(p->reciprocal));
}

MQ_ALWAYS_INLINE bool is_real(runtime_add_form form) {
  return form == RUNTIME_ADD_FUSED || form == RUNTIME_ADD_BIASED || form == RUNTIME_ADD_REAL;
}

MQ_ALWAYS_INLINE floats real_of(ints a, ints b, const struct runtime_add *p, runtime_add_form form) {
  return add_real(floats_of(ints_sub(a, ints_all(p->a_zero))), floats_of(ints_sub(b, ints_all(p->b_zero))), p,
                  form);
}

MQ_ALWAYS_INLINE ints whole_of(ints a, ints b, const struct runtime_add *p, runtime_add_form form) {
  if (form == RUNTIME_ADD_FIXED) return add_fixed(a, b, p);
  if (form == RUNTIME_ADD_SHIFT_DOWN) return add_shift_down(a, b, p);
  if (is_real(form)) return floats_round(real_of(a, b, p, form));
  return add_shifted(a, b, p, form == RUNTIME_ADD_EVEN);
}

MQ_ALWAYS_INLINE ints add_16(ints a, ints b, const struct runtime_add *p, runtime_add_form form) {
  const ints zero = ints_all(p->zero);
  if (!is_real(form))
    return ints_add(ints_clamp(whole_of(a, b, p, form), ints_all(p->lo), ints_all(p->hi)), zero);
  const floats v = floats_min(floats_max(real_of(a, b, p, form), floats_all(p->f_lo)), floats_all(p->f_hi));
  return ints_add(floats_round(v), zero);
}

/* As many codes as 64 at a time reach. Rounding changes no order: it may come before the clamp. */
MQ_ALWAYS_INLINE int64_t add_64s(unsigned char *y, const unsigned char *a, const unsigned char *b, int64_t n,
                                 const struct runtime_add *p, runtime_add_form form) {
  int64_t i = 0;
#if defined(__AVX512BW__)
  const struct pack pack = make_pack(p->zero, p->least, p->most);
  for (; p->is_quick && i + 4 * LANES <= n; i += 4 * LANES) {
    ints v[4];
    MQ_SIMD_UNROLL
    for (int k = 0; k < 4; k++)
      v[k] = whole_of(ints_of_codes(a + i + k * LANES), ints_of_codes(b + i + k * LANES), p, form);
    _mm512_storeu_si512(y + i, pack_codes(v[0], v[1], v[2], v[3], &pack));
  }
#else
  (void)y;
  (void)a;
  (void)b;
  (void)n;
  (void)p;
  (void)form;
#endif
  return i;
}

MQ_ALWAYS_INLINE void add_as(unsigned char *y, const unsigned char *a, const unsigned char *b, int64_t n,
                             const struct runtime_add *add, runtime_add_form form) {
  const struct runtime_add p = *add; /* stores to y cannot change it */
  int64_t i = add_64s(y, a, b, n, &p, form);
  for (; i + LANES <= n; i += LANES)
    ints_to_codes(y + i, add_16(ints_of_codes(a + i), ints_of_codes(b + i), &p, form));
  if (i < n) {
    unsigned char few[2][LANES] = {{0}};
    memcpy(few[0], a + i, (size_t)(n - i));
    memcpy(few[1], b + i, (size_t)(n - i));
    ints_to_codes(few[0], add_16(ints_of_codes(few[0]), ints_of_codes(few[1]), &p, form));
    memcpy(y + i, few[0], (size_t)(n - i));
  }
}

#define FORM(name, form)                                                                        \
  static void name(unsigned char *y, const unsigned char *a, const unsigned char *b, int64_t n, \
                   const struct runtime_add *p) {                                               \
    add_as(y, a, b, n, p, form);                                                                \
  }
FORM(add_form_fixed, RUNTIME_ADD_FIXED)
FORM(add_form_shift_down, RUNTIME_ADD_SHIFT_DOWN)
FORM(add_form_biased, RUNTIME_ADD_BIASED)
FORM(add_form_fused, RUNTIME_ADD_FUSED)
FORM(add_form_up, RUNTIME_ADD_UP)
FORM(add_form_even, RUNTIME_ADD_EVEN)
FORM(add_form_real, RUNTIME_ADD_REAL)

static void add(unsigned char *y, const unsigned char *a, const unsigned char *b, int64_t n,
                const struct runtime_add *p) {
  static void (*const forms[])(unsigned char *, const unsigned char *, const unsigned char *, int64_t,
                               const struct runtime_add *) = {
      [RUNTIME_ADD_FIXED] = add_form_fixed,   [RUNTIME_ADD_SHIFT_DOWN] = add_form_shift_down,
      [RUNTIME_ADD_BIASED] = add_form_biased, [RUNTIME_ADD_FUSED] = add_form_fused,
      [RUNTIME_ADD_UP] = add_form_up,         [RUNTIME_ADD_EVEN] = add_form_even,
      [RUNTIME_ADD_REAL] = add_form_real,
  };
  forms[p->form](y, a, b, n, p);
}

/* ---- Pools and tables -------------------------------------------------------------------------------- */
static void sum_pixels(int32_t *sums, const unsigned char *x, int64_t n, int64_t step, int64_t channels) {
  int64_t c = 0;
  for (; c + LANES <= channels; c += LANES) {
    ints sum = ints_load(sums + c);
    for (int64_t p = 0; p < n; p++)
      sum = ints_add(sum, ints_of_codes(x + p * step + c));
    ints_store(sums + c, sum);
  }
  for (; c < channels; c++)
    for (int64_t p = 0; p < n; p++)
      sums[c] += x[p * step + c];
}

static void max(unsigned char *y, const unsigned char *x, int64_t n) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = y[i] > x[i] ? y[i] : x[i];
}

static void look_up(unsigned char *y, const unsigned char *x, int64_t n, const unsigned char *entries) {
  for (int64_t i = 0; i < n; i++)
    y[i] = entries[x[i]];
}

/* ---- Floats ------------------------------------------------------------------------------------------ */
static void affine(float *y, const float *x, const float *gain, const float *shift, int64_t n, float lo,
                   float hi) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++) {
    const float scaled = x[i] * gain[i];
    y[i] = mq_clip_value(scaled + shift[i], lo, hi);
  }
}

static void add_floats(float *y, const float *a, const float *b, int64_t n, float lo, float hi) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = mq_clip_value(a[i] + b[i], lo, hi);
}

static void clip(float *y, const float *x, int64_t n, float lo, float hi) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = mq_clip_value(x[i], lo, hi);
}

const struct runtime_points MQ_SIMD_NAME(runtime_points) = {.quantize = quantize,
                                                            .dequantize = dequantize,
                                                            .add = add,
                                                            .sum_pixels = sum_pixels,
                                                            .max = max,
                                                            .look_up = look_up,
                                                            .affine = affine,
                                                            .add_floats = add_floats,
                                                            .clip = clip};
