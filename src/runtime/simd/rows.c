#include "runtime/simd/rows.h"

#include <stddef.h>

#if defined(__AVX512BW__)
#include "runtime/simd/finish_pack.h"
#include "runtime/simd/quads.h"

#define MOST 16 /* pixels of a tile */

/* Four pixels share a pointer: the processor adds no more than a register and its double. */
RUNTIME_VNNI_TARGET MQ_ALWAYS_INLINE void add_quads_of_row(__m512i *sums, const struct runtime_dot_job *job,
                                                           const struct runtime_row *row, int n_blocks,
                                                           int n_pixels) {
  const signed char *weights = job->weights;
  const int64_t block_bytes = job->block_bytes, n_quads = job->n_quads, step = row->x_step;
  for (int64_t s = 0; s < job->n_segments; s++) {
    const unsigned char *x[MOST / 4];
    MQ_SIMD_UNROLL
    for (int p = 0; p < n_pixels; p += 4)
      x[p / 4] = row->x + job->segments[s] + p * step;
    for (int64_t q = 0; q < n_quads; q++, weights += RUNTIME_BLOCK * 4) {
      __m512i w[RUNTIME_MAX_BLOCKS];
      MQ_SIMD_UNROLL
      for (int b = 0; b < n_blocks; b++)
        w[b] = _mm512_loadu_si512(weights + b * block_bytes);
      MQ_SIMD_UNROLL
      for (int p = 0; p < n_pixels; p++) {
        const __m512i quad = _mm512_set1_epi32(quad_at(x[p / 4] + p % 4 * step));
        MQ_SIMD_UNROLL
        for (int b = 0; b < n_blocks; b++)
          sums[p * n_blocks + b] = _mm512_dpbusd_epi32(sums[p * n_blocks + b], quad, w[b]);
      }
      MQ_SIMD_UNROLL
      for (int p = 0; p < n_pixels; p += 4)
        x[p / 4] += 4;
    }
  }
}

/* Whole numbers in place of sums. */
MQ_ALWAYS_INLINE void round_sums(__m512i *sums, const struct runtime_finish *f, const struct runtime_row *row,
                                 runtime_form form, bool has_shortcut, int n_blocks, int n_pixels) {
  struct block c;
  load_common(&c, f);
  MQ_SIMD_UNROLL
  for (int b = 0; b < n_blocks; b++) {
    load_channels(&c, f, form, false, row->channel + b * LANES);
    MQ_SIMD_UNROLL
    for (int p = 0; p < n_pixels; p++) {
      const unsigned char *shortcut =
          has_shortcut ? row->shortcut + p * row->shortcut_step + b * LANES : NULL;
      sums[p * n_blocks + b] = whole_of(ints_add(c.add, INTS(sums[p * n_blocks + b])), &c, form, shortcut).v;
    }
  }
}

/* 64 codes are those of 2 or 4 pixels, of which n_pixels count. */
MQ_ALWAYS_INLINE void store_codes(unsigned char *y, int64_t step, __m512i codes, __mmask64 mask, int n_blocks,
                                  int n_pixels) {
  if (n_blocks == 2) {
    _mm256_mask_storeu_epi8(y, (__mmask32)mask, _mm512_castsi512_si256(codes));
    if (n_pixels > 1) _mm256_mask_storeu_epi8(y + step, (__mmask32)mask, _mm512_extracti64x4_epi64(codes, 1));
  } else {
    _mm_mask_storeu_epi8(y, (__mmask16)mask, _mm512_castsi512_si128(codes));
    if (n_pixels > 1) _mm_mask_storeu_epi8(y + step, (__mmask16)mask, _mm512_extracti32x4_epi32(codes, 1));
    if (n_pixels > 2)
      _mm_mask_storeu_epi8(y + 2 * step, (__mmask16)mask, _mm512_extracti32x4_epi32(codes, 2));
    if (n_pixels > 3)
      _mm_mask_storeu_epi8(y + 3 * step, (__mmask16)mask, _mm512_extracti32x4_epi32(codes, 3));
  }
}

RUNTIME_VNNI_TARGET MQ_ALWAYS_INLINE void run_row(const struct runtime_dot_job *job,
                                                  const struct runtime_finish *finish,
                                                  const struct runtime_row *tile, runtime_form form,
                                                  bool has_shortcut, int n_blocks, int n_pixels) {
  const struct runtime_finish f = *finish; /* stores to y cannot change them */
  const struct runtime_row row = *tile;
  const int beside = 4 / n_blocks, last = n_blocks * n_pixels - 1;
  const __mmask64 mask = first_bytes((n_blocks - 1) * LANES + row.n_last);
  __m512i sums[MOST * 2];
  MQ_SIMD_UNROLL
  for (int p = 0; p < n_pixels; p++) {
    MQ_SIMD_UNROLL
    for (int b = 0; b < n_blocks; b++)
      sums[p * n_blocks + b] = _mm512_setzero_si512();
  }
  add_quads_of_row(sums, job, &row, n_blocks, n_pixels);
  round_sums(sums, &f, &row, form, has_shortcut, n_blocks, n_pixels);
  const struct pack pack = load_pack(&f);
  MQ_SIMD_UNROLL
  for (int p = 0; p < n_pixels; p += beside) {
    const int i = p * n_blocks;
    const __m512i codes =
        pack_codes(INTS(sums[i]), INTS(sums[i + 1 < last ? i + 1 : last]),
                   INTS(sums[i + 2 < last ? i + 2 : last]), INTS(sums[i + 3 < last ? i + 3 : last]), &pack);
    store_codes(row.y + p * row.y_step, row.y_step, codes, mask, n_blocks, n_pixels - p);
  }
}

/* Tiles that leave registers for weights and codes, and divide the widths that are common. Panels of more
 * blocks have so few pixels to a tile that addresses fit registers anyway: there fused.h's tiles are faster.
 */
#define ALL(of, name, form, has_shortcut)                                                                    \
  of(name, form, has_shortcut, 1, 16) of(name, form, has_shortcut, 1, 14) of(name, form, has_shortcut, 1, 8) \
      of(name, form, has_shortcut, 2, 14) of(name, form, has_shortcut, 2, 8)
#define ROW(name, form, has_shortcut, blocks, pixels)                                                     \
  RUNTIME_VNNI_TARGET static void name##_##blocks##_##pixels(                                             \
      const struct runtime_dot_job *job, const struct runtime_finish *f, const struct runtime_row *row) { \
    run_row(job, f, row, form, has_shortcut, blocks, pixels);                                             \
  }
#define ENTRY(name, form, has_shortcut, blocks, pixels) {blocks, pixels, name##_##blocks##_##pixels},
ALL(ROW, real, RUNTIME_REAL, false)
ALL(ROW, real_shortcut, RUNTIME_REAL, true)
ALL(ROW, scale, RUNTIME_SCALE, false)
ALL(ROW, biased, RUNTIME_BIASED, false)
ALL(ROW, fixed, RUNTIME_FIXED, false)

struct entry {
  int n_blocks, n_pixels;
  runtime_row_fn run;
};
#define N_SIZES 5

static const struct entry *entries_of(runtime_form form, bool has_shortcut) {
  static const struct entry real[N_SIZES] = {ALL(ENTRY, real, , )},
                            shortcut[N_SIZES] = {ALL(ENTRY, real_shortcut, , )},
                            scale[N_SIZES] = {ALL(ENTRY, scale, , )},
                            biased[N_SIZES] = {ALL(ENTRY, biased, , )},
                            fixed[N_SIZES] = {ALL(ENTRY, fixed, , )};
  switch (form) {
    case RUNTIME_REAL:
      return has_shortcut ? shortcut : real;
    case RUNTIME_SCALE:
      return scale;
    case RUNTIME_BIASED:
      return biased;
    case RUNTIME_FIXED:
      return fixed;
    default:
      return NULL;
  }
}

static struct runtime_row_loop find(const struct runtime_finish *finish, bool has_shortcut, int n_blocks,
                                    int64_t width) {
  const struct entry *entries = entries_of(finish->form, has_shortcut);
  if (entries == NULL || !finish->is_quick || finish->w_zero != NULL) return (struct runtime_row_loop){0};
  for (int i = 0; i < N_SIZES; i++)
    if (entries[i].n_blocks == n_blocks && width % entries[i].n_pixels == 0)
      return (struct runtime_row_loop){entries[i].n_pixels, entries[i].run};
  return (struct runtime_row_loop){0};
}
#else
static struct runtime_row_loop find(const struct runtime_finish *finish, bool has_shortcut, int n_blocks,
                                    int64_t width) {
  (void)finish;
  (void)has_shortcut;
  (void)n_blocks;
  (void)width;
  return (struct runtime_row_loop){0};
}
#endif

const struct runtime_rows MQ_SIMD_NAME(runtime_rows) = {.find = find};
