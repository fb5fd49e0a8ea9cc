/* What becomes of 64 sums at AVX-512, for quick layers (runtime_finish.is_quick): as finish_block.h has it,
 * but clamped and moved to the zero point as bytes, all at once. Rounding changes no order, so that it may
 * come before the clamp. */
#ifndef MQ_RUNTIME_SIMD_FINISH_PACK_H
#define MQ_RUNTIME_SIMD_FINISH_PACK_H

#include "runtime/simd/finish_block.h"
#include "runtime/simd/pack.h"

#if defined(__AVX512BW__)
MQ_ALWAYS_INLINE struct pack load_pack(const struct runtime_finish *f) {
  return make_pack(f->zero, f->least, f->most);
}

MQ_ALWAYS_INLINE bool is_packed(runtime_form form) {
  return is_fixed(form) || form == RUNTIME_SCALE || form == RUNTIME_BIASED || form == RUNTIME_REAL;
}

/* v / scale, as far as rounding it to an integer tells: v reciprocal + v rest is it to one part in 2^47. The
 * floats nearest to the two differ only where v / scale is that near to the middle m of two floats, and their
 * integers only where m lies beside k + 1/2. Then v is the float nearest to m scale: few enough for
 * test_finish.c to try them for every scale. None differs. */
MQ_ALWAYS_INLINE floats divide_for_rounding(floats v, const struct block *c) {
  return floats_fma(v, c->reciprocal, floats_mul(v, c->rest));
}

/* 16 whole numbers, still to be clamped and moved. Those of floats too large for an integer become the least
 * of all, which is why is_quick excludes them. */
MQ_ALWAYS_INLINE ints whole_of(ints v, const struct block *c, runtime_form form,
                               const unsigned char *shortcut) {
  if (form == RUNTIME_FIXED) return fixed_point(v, c);
  if (form == RUNTIME_FIXED_ONCE) return fixed_point_once(v, c);
  floats x = real_value(v, c, form, shortcut);
  return floats_round(form == RUNTIME_REAL ? divide_for_rounding(x, c) : x);
}

/* The first n of 64, 32, 16 bytes. */
MQ_ALWAYS_INLINE __mmask64 first_bytes(int64_t n) {
  return n < 64 ? (UINT64_C(1) << n) - 1 : ~UINT64_C(0);
}
#endif

#endif
