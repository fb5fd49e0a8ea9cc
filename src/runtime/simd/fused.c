#include "runtime/simd/fused.h"

#if defined(__AVX512BW__)
#include "runtime/simd/finish_pack.h"
#include "runtime/simd/quads.h"

/* The loop's constants. */
struct shape {
  runtime_form form;
  bool has_shortcut;
  int n_blocks, n_pixels; /* of a tile */
};

/* From 0: GCC keeps sums in memory that start from numbers it loads. */
MQ_ALWAYS_INLINE void clear_sums(__m512i *sums, struct shape s) {
  MQ_SIMD_UNROLL
  for (int p = 0; p < s.n_pixels; p++) {
    MQ_SIMD_UNROLL
    for (int b = 0; b < s.n_blocks; b++)
      sums[p * s.n_blocks + b] = _mm512_setzero_si512();
  }
}

/* Whole numbers in place of sums. */
MQ_ALWAYS_INLINE void round_sums(__m512i *sums, const struct runtime_finish *f, const struct runtime_tile *t,
                                 struct shape s) {
  struct block c;
  load_common(&c, f);
  MQ_SIMD_UNROLL
  for (int b = 0; b < s.n_blocks; b++) {
    load_channels(&c, f, s.form, false, t->channel + b * LANES);
    MQ_SIMD_UNROLL
    for (int p = 0; p < s.n_pixels; p++) {
      const unsigned char *shortcut = s.has_shortcut ? t->shortcut[p] + t->shortcut_first + b * LANES : NULL;
      const ints v = ints_add(c.add, INTS(sums[p * s.n_blocks + b]));
      sums[p * s.n_blocks + b] = whole_of(v, &c, s.form, shortcut).v;
    }
  }
}

/* 64 codes are those of 1, 2 or 4 pixels. */
MQ_ALWAYS_INLINE void store_codes(unsigned char *const *y, int64_t first, __m512i codes, __mmask64 mask,
                                  int n_blocks, int n_pixels) {
  if (n_blocks > 2) {
    _mm512_mask_storeu_epi8(y[0] + first, mask, codes);
  } else if (n_blocks == 2) {
    _mm256_mask_storeu_epi8(y[0] + first, (__mmask32)mask, _mm512_castsi512_si256(codes));
    if (n_pixels > 1)
      _mm256_mask_storeu_epi8(y[1] + first, (__mmask32)mask, _mm512_extracti64x4_epi64(codes, 1));
  } else {
    _mm_mask_storeu_epi8(y[0] + first, (__mmask16)mask, _mm512_castsi512_si128(codes));
    if (n_pixels > 1)
      _mm_mask_storeu_epi8(y[1] + first, (__mmask16)mask, _mm512_extracti32x4_epi32(codes, 1));
    if (n_pixels > 2)
      _mm_mask_storeu_epi8(y[2] + first, (__mmask16)mask, _mm512_extracti32x4_epi32(codes, 2));
    if (n_pixels > 3)
      _mm_mask_storeu_epi8(y[3] + first, (__mmask16)mask, _mm512_extracti32x4_epi32(codes, 3));
  }
}

RUNTIME_VNNI_TARGET MQ_ALWAYS_INLINE void fuse_tile(const struct runtime_dot_job *job,
                                                    const struct runtime_finish *f,
                                                    const struct runtime_tile *t, __mmask64 mask,
                                                    struct shape s) {
  const int beside = s.n_blocks > 2 ? 1 : 4 / s.n_blocks, n = s.n_blocks * s.n_pixels;
  __m512i sums[RUNTIME_MAX_SUMS];
  clear_sums(sums, s);
  add_quads(sums, job, s.n_blocks, s.n_pixels);
  round_sums(sums, f, t, s);
  const struct pack pack = load_pack(f);
  MQ_SIMD_UNROLL
  for (int p = 0; p < s.n_pixels; p += beside) {
    const int i = p * s.n_blocks, last = n - 1;
    const __m512i codes =
        pack_codes(INTS(sums[i]), INTS(sums[i + 1 < n ? i + 1 : last]), INTS(sums[i + 2 < n ? i + 2 : last]),
                   INTS(sums[i + 3 < n ? i + 3 : last]), &pack);
    store_codes(t->y + p, t->y_first, codes, mask, s.n_blocks, s.n_pixels - p);
  }
}

RUNTIME_VNNI_TARGET MQ_ALWAYS_INLINE void fuse(const struct runtime_dot_job *all,
                                               const struct runtime_finish *finish,
                                               const struct runtime_tile *tiles, struct shape s) {
  const struct runtime_finish f = *finish; /* stores to y cannot change them */
  struct runtime_dot_job job = *all;
  struct runtime_tile t = *tiles;
  const __mmask64 mask = first_bytes((s.n_blocks - 1) * LANES + t.n_last);
  for (int p = 0; p + s.n_pixels <= tiles->n_pixels; p += s.n_pixels) {
    fuse_tile(&job, &f, &t, mask, s);
    job.x += s.n_pixels;
    t.y += s.n_pixels;
    if (s.has_shortcut) t.shortcut += s.n_pixels;
  }
}

#define FUSED(name, form, has_shortcut, blocks, pixels)                                                  \
  RUNTIME_VNNI_TARGET static void name##_##blocks(                                                       \
      const struct runtime_dot_job *job, const struct runtime_finish *f, const struct runtime_tile *t) { \
    fuse(job, f, t, (struct shape){form, has_shortcut, blocks, pixels});                                 \
  }
#define ALL_FUSED(name, form, has_shortcut) \
  FUSED(name, form, has_shortcut, 1, 14)    \
  FUSED(name, form, has_shortcut, 2, 12)    \
  FUSED(name, form, has_shortcut, 3, 8)     \
  FUSED(name, form, has_shortcut, 4, 6)
#define ENTRIES(name) \
  { NULL, name##_1, name##_2, name##_3, name##_4 }
ALL_FUSED(real, RUNTIME_REAL, false)
ALL_FUSED(real_shortcut, RUNTIME_REAL, true)
ALL_FUSED(scale, RUNTIME_SCALE, false)
ALL_FUSED(biased, RUNTIME_BIASED, false)
ALL_FUSED(fixed, RUNTIME_FIXED, false)

static runtime_fused_fn find(const struct runtime_finish *finish, bool has_shortcut, int n_blocks) {
  static const runtime_fused_fn of_real[2][RUNTIME_MAX_BLOCKS + 1] = {ENTRIES(real), ENTRIES(real_shortcut)};
  static const runtime_fused_fn table[][RUNTIME_MAX_BLOCKS + 1] = {
      [RUNTIME_FIXED] = ENTRIES(fixed), [RUNTIME_SCALE] = ENTRIES(scale), [RUNTIME_BIASED] = ENTRIES(biased)};
  const runtime_form form = finish->form;
  if (!finish->is_quick || finish->w_zero != NULL) return NULL;
  if (form == RUNTIME_REAL) return of_real[has_shortcut][n_blocks];
  return form <= RUNTIME_BIASED ? table[form][n_blocks] : NULL;
}
#else
static runtime_fused_fn find(const struct runtime_finish *finish, bool has_shortcut, int n_blocks) {
  (void)finish;
  (void)has_shortcut;
  (void)n_blocks;
  return NULL;
}
#endif

const struct runtime_fused MQ_SIMD_NAME(runtime_fused) = {.find = find};
