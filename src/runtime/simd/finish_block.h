/* What becomes of 16 sums, in registers: for the loops that include it. */
#ifndef MQ_RUNTIME_SIMD_FINISH_BLOCK_H
#define MQ_RUNTIME_SIMD_FINISH_BLOCK_H

#include "runtime/simd/finish.h"
#include "runtime/simd/lanes.h"

_Static_assert(LANES == RUNTIME_BLOCK, "a block is what is finished at once");

/* Parameters of a block, in registers while its pixels pass. */
struct block {
  ints add, w_zero, multiplier, left, right, before, keep, mask;
  floats factor, bias;
  /* The same for all channels. */
  ints lo, hi, zero, shortcut_zero;
  floats f_lo, f_hi, scale, reciprocal, rest, shortcut_scale, clip_lo, clip_hi;
};

MQ_ALWAYS_INLINE bool is_fixed(runtime_form form) {
  return form == RUNTIME_FIXED || form == RUNTIME_FIXED_ONCE;
}
MQ_ALWAYS_INLINE bool is_shift(runtime_form form) {
  return form == RUNTIME_SHIFT_UP || form == RUNTIME_SHIFT_EVEN;
}
MQ_ALWAYS_INLINE bool is_to_float(runtime_form form) {
  return form == RUNTIME_FLOAT || form == RUNTIME_FLOAT_BIAS;
}
MQ_ALWAYS_INLINE bool has_bias(runtime_form form) {
  return form == RUNTIME_BIASED || form == RUNTIME_REAL || form == RUNTIME_FLOAT_BIAS;
}

MQ_ALWAYS_INLINE ints low_bits(ints n) {
  return ints_sub(ints_left(ints_all(1), n), ints_all(1));
}

MQ_ALWAYS_INLINE void load_channels(struct block *to, const struct runtime_finish *f, runtime_form form,
                                    bool has_box, int64_t at) {
  to->add = ints_load(f->add + at);
  if (has_box) to->w_zero = ints_load(f->w_zero + at);
  if (is_fixed(form) || is_shift(form)) {
    to->left = ints_load(f->left + at);
    to->right = ints_load(f->right + at);
  } else {
    to->factor = floats_load(f->factor + at);
  }
  if (is_fixed(form)) {
    to->multiplier = ints_load(f->multiplier + at);
    to->mask = low_bits(to->right);
  }
  if (is_shift(form)) {
    to->keep = ints_load(f->keep + at);
    to->before = ints_max(ints_sub(to->right, ints_all(1)), ints_all(0));
    to->mask = low_bits(to->before);
  }
  if (has_bias(form)) to->bias = floats_load(f->bias + at);
}

MQ_ALWAYS_INLINE void load_common(struct block *to, const struct runtime_finish *f) {
  to->lo = ints_all(f->lo);
  to->hi = ints_all(f->hi);
  to->zero = ints_all(f->zero);
  to->f_lo = floats_all(f->f_lo);
  to->f_hi = floats_all(f->f_hi);
  to->scale = floats_all(f->scale);
  to->reciprocal = floats_all(f->reciprocal);
  to->rest = floats_all(f->rest);
  to->shortcut_scale = floats_all(f->shortcut_scale);
  to->shortcut_zero = ints_all(f->shortcut_zero);
  to->clip_lo = floats_all(f->clip_lo);
  to->clip_hi = floats_all(f->clip_hi);
}

/* The high word of twice the product, rounded, then / 2^right half away from zero. */
MQ_ALWAYS_INLINE ints fixed_point(ints v, const struct block *c) {
  const ints high = ints_high_product(ints_left(v, c->left), c->multiplier, INT64_C(1) << 30);
  const ints rest = ints_and(high, c->mask), is_negative = ints_right(high, ints_all(31));
  const ints threshold = ints_sub(ints_right(c->mask, ints_all(1)), is_negative);
  return ints_sub(ints_right(high, c->right), ints_above(rest, threshold));
}

/* The product / 2^(31 + right), rounded once, half up: the high word rounded down, and its last bit that is
 * shifted away; without a shift to the right the product itself is rounded. */
MQ_ALWAYS_INLINE ints fixed_point_once(ints v, const struct block *c) {
  const ints x = ints_left(v, c->left), one = ints_all(1), zero = ints_all(0);
  const ints down = ints_high_product(x, c->multiplier, 0);
  const ints up = ints_and(ints_right(down, ints_max(ints_sub(c->right, one), zero)), one);
  const ints has_right = ints_above(c->right, zero);
  const ints shifted = ints_add(ints_right(down, c->right), up);
  const ints whole = ints_high_product(x, c->multiplier, INT64_C(1) << 30);
  return ints_add(whole, ints_and(ints_sub(shifted, whole), has_right));
}

/* As wide as any code: beyond, all are the same. */
#define WIDE 32768

/* v / 2^right, or v 2^left: one of them is 0, and left at most 15. before: right - 1, or 0. */
MQ_ALWAYS_INLINE ints shift(ints v, const struct block *c, bool is_even) {
  const ints one = ints_all(1), zero = ints_all(0);
  v = ints_and(v, c->keep);
  const ints whole = ints_right(v, c->right);
  ints up = ints_and(ints_right(v, c->before), ints_and(one, ints_above(c->right, zero)));
  if (is_even) {
    const ints is_more = ints_above(ints_and(v, c->mask), zero);
    up = ints_and(up, ints_or(is_more, whole));
  }
  return ints_left(ints_clamp(ints_add(whole, up), ints_all(-WIDE), ints_all(WIDE - 1)), c->left);
}

MQ_ALWAYS_INLINE floats float_value(ints v, const struct block *c, runtime_form form) {
  const floats x = floats_of(v);
  if (form == RUNTIME_BIASED) return floats_mul(floats_add(x, c->bias), c->factor);
  const floats scaled = floats_mul(x, c->factor);
  return has_bias(form) ? floats_add(scaled, c->bias) : scaled;
}

/* With the shortcut: NULL, or 16 codes. */
MQ_ALWAYS_INLINE floats real_value(ints v, const struct block *c, runtime_form form,
                                   const unsigned char *shortcut) {
  const floats x = float_value(v, c, form);
  if (shortcut == NULL) return x;
  const ints centred = ints_sub(ints_of_codes(shortcut), c->shortcut_zero);
  return floats_add(x, floats_mul(floats_of(centred), c->shortcut_scale));
}

/* 16 codes of a sum, less the zero point. */
MQ_ALWAYS_INLINE ints code_of(ints v, const struct block *c, runtime_form form,
                              const unsigned char *shortcut) {
  if (form == RUNTIME_FIXED) return ints_clamp(fixed_point(v, c), c->lo, c->hi);
  if (form == RUNTIME_FIXED_ONCE) return ints_clamp(fixed_point_once(v, c), c->lo, c->hi);
  if (is_shift(form)) return ints_clamp(shift(v, c, form == RUNTIME_SHIFT_EVEN), c->lo, c->hi);
  floats x = real_value(v, c, form, shortcut);
  if (form == RUNTIME_REAL) x = floats_divide_by(x, c->scale, c->reciprocal);
  return floats_round(floats_min(floats_max(x, c->f_lo), c->f_hi));
}

/* NaN stays NaN. */
MQ_ALWAYS_INLINE floats clip(floats x, const struct block *c) {
  return floats_min(c->clip_hi, floats_max(c->clip_lo, x));
}

/* A block of a pixel; the first n channels count. */
MQ_ALWAYS_INLINE void finish_block(unsigned char *y, ints v, const struct block *c,
                                   const unsigned char *shortcut, int n, runtime_form form) {
  if (is_to_float(form)) {
    float values[LANES];
    const floats x = clip(float_value(v, c, form), c);
    if (n == LANES) {
      floats_store((float *)(void *)y, x);
    } else {
      floats_store(values, x);
      memcpy(y, values, (size_t)n * sizeof *values);
    }
    return;
  }
  unsigned char codes[LANES] = {0};
  if (shortcut != NULL && n < LANES) {
    memcpy(codes, shortcut, (size_t)n);
    shortcut = codes;
  }
  const ints q = ints_add(code_of(v, c, form, shortcut), c->zero);
  if (n == LANES) {
    ints_to_codes(y, q);
  } else {
    ints_to_codes(codes, q);
    memcpy(y, codes, (size_t)n);
  }
}

#endif
