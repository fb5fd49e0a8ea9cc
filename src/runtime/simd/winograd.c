#include "runtime/simd/winograd.h"

#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "kernel/simd/values.h"

#define WIDE RUNTIME_WINOGRAD_WIDE
#define BLOCK RUNTIME_BLOCK

/* ---- B: of codes -------------------------------------------------------------------------------------- */
/* One line of 6 numbers. */
MQ_ALWAYS_INLINE void transform_line(int16_t to[6], int d0, int d1, int d2, int d3, int d4, int d5) {
  const int even = d4 - 4 * d2, odd = d3 - 4 * d1, p = d4 - d2, q = d3 - d1;
  to[0] = (int16_t)(4 * (d0 - d2) + p);
  to[1] = (int16_t)(even + odd);
  to[2] = (int16_t)(even - odd);
  to[3] = (int16_t)(p + 2 * q);
  to[4] = (int16_t)(p - 2 * q);
  to[5] = (int16_t)(d5 - d3 - 4 * q);
}

static void transform_codes(int16_t *v, int64_t place_step, const unsigned char *x, int64_t row_bytes,
                            int64_t pixel_bytes) {
  _Alignas(64) int16_t columns[6][6][WIDE]; /* row, column */
  for (int j = 0; j < 6; j++, x += pixel_bytes) {
    MQ_SIMD_INDEPENDENT
    for (int c = 0; c < WIDE; c++) {
      int16_t line[6];
      transform_line(line, x[c], x[row_bytes + c], x[2 * row_bytes + c], x[3 * row_bytes + c],
                     x[4 * row_bytes + c], x[5 * row_bytes + c]);
      for (int i = 0; i < 6; i++)
        columns[i][j][c] = line[i];
    }
  }
  for (int i = 0; i < 6; i++, v += 6 * place_step) {
    int16_t(*d)[WIDE] = columns[i];
    MQ_SIMD_INDEPENDENT
    for (int c = 0; c < WIDE; c++) {
      int16_t line[6];
      transform_line(line, d[0][c], d[1][c], d[2][c], d[3][c], d[4][c], d[5][c]);
      for (int j = 0; j < 6; j++)
        v[j * place_step + c] = line[j];
    }
  }
}

/* ---- A: of sums --------------------------------------------------------------------------------------- */
/* One line of 6 sums to 4. */
MQ_ALWAYS_INLINE void line_of_sums(uint32_t *restrict to, int64_t to_step, const uint32_t *restrict m,
                                   int64_t m_step) {
  MQ_SIMD_INDEPENDENT
  for (int c = 0; c < BLOCK; c++) {
    const uint32_t m1 = m[m_step + c], m2 = m[2 * m_step + c], m3 = m[3 * m_step + c], m4 = m[4 * m_step + c];
    const uint32_t s1 = m1 + m2, d1 = m1 - m2, s2 = m3 + m4, d2 = m3 - m4;
    to[c] = m[c] + s2 - 4 * s1;
    to[to_step + c] = d2 - 2 * d1;
    to[2 * to_step + c] = s2 - s1;
    to[3 * to_step + c] = 2 * d2 - d1 + m[5 * m_step + c];
  }
}

static void transform_sums(int32_t *y, int64_t y_step, const int32_t *m, int64_t place_step) {
  static const int powers[4] = RUNTIME_WINOGRAD_POWERS;
  _Alignas(64) uint32_t rows[4][6][BLOCK], sums[4][BLOCK];
  for (int j = 0; j < 6; j++)
    line_of_sums(rows[0][j], 6 * BLOCK, (const uint32_t *)m + j * place_step, 6 * place_step);
  for (int i = 0; i < 4; i++) {
    line_of_sums(sums[0], BLOCK, rows[i][0], BLOCK);
    for (int j = 0; j < 4; j++) {
      MQ_SIMD_INDEPENDENT
      for (int c = 0; c < BLOCK; c++)
        y[(4 * i + j) * y_step + c] =
            (int32_t)(sums[j][c] * RUNTIME_WINOGRAD_INVERSE) >> (powers[i] + powers[j]);
    }
  }
}

/* ---- Products ----------------------------------------------------------------------------------------- */
#if defined(__AVX512BW__)
typedef __m512i vec;
#define VECTORS 1 /* of a block */
#define LANES 16
#define MAX_BLOCKS 4
#define LOAD(p) _mm512_loadu_si512(p)
#define STORE(p, v) _mm512_storeu_si512(p, v)
#define ZERO() _mm512_setzero_si512()
#define REPEAT(x) _mm512_set1_epi32(x)
#define MULTIPLY(sum, x, w) _mm512_add_epi32(sum, _mm512_madd_epi16(x, w))
#elif defined(__AVX2__)
typedef __m256i vec;
#define VECTORS 2
#define LANES 8
#define MAX_BLOCKS 1
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define ZERO() _mm256_setzero_si256()
#define REPEAT(x) _mm256_set1_epi32(x)
#define MULTIPLY(sum, x, w) _mm256_add_epi32(sum, _mm256_madd_epi16(x, w))
#endif

#if defined(VECTORS)
MQ_ALWAYS_INLINE int32_t pair_at(const int16_t *v) {
  int32_t pair;
  memcpy(&pair, v, sizeof pair);
  return pair;
}

#define TARGET
#define PRODUCT pairs
#include "runtime/simd/winograd_product.h"
#else
#define MAX_BLOCKS 1
/* As the others, for whatever the compiler makes of it. */
MQ_ALWAYS_INLINE void pairs(const struct runtime_winograd_product *job, int n_blocks, int n_tiles) {
  const int64_t n = 2 * job->n_pairs, width = n_blocks * BLOCK;
  for (int t = 0; t < n_tiles; t++) {
    uint32_t sums[MAX_BLOCKS * BLOCK] = {0};
    const int16_t *v = job->v + t * n, *u = job->u;
    for (int64_t k = 0; k < n; k += 2, u += 2 * width)
      for (int c = 0; c < width; c++)
        sums[c] += (uint32_t)(v[k] * u[2 * c] + v[k + 1] * u[2 * c + 1]);
    memcpy(job->m + t * width, sums, (size_t)width * sizeof *sums);
  }
}
#endif

#define PAIRS(blocks, tiles)                                                         \
  static void pairs_##blocks##_##tiles(const struct runtime_winograd_product *job) { \
    pairs(job, blocks, tiles);                                                       \
  }
#define PAIRS_ENTRY(blocks, tiles) [blocks][tiles] = pairs_##blocks##_##tiles,
#define ALL_TILES(of, blocks) \
  of(blocks, 1) of(blocks, 2) of(blocks, 3) of(blocks, 4) of(blocks, 5) of(blocks, 6)
#if MAX_BLOCKS == 4
#define ALL(of) ALL_TILES(of, 1) ALL_TILES(of, 2) ALL_TILES(of, 3) ALL_TILES(of, 4)
#else
#define ALL(of) ALL_TILES(of, 1)
#endif
ALL(PAIRS)

const struct runtime_winograd MQ_SIMD_NAME(runtime_winograd) = {.max_blocks = MAX_BLOCKS,
                                                                .transform_codes = transform_codes,
                                                                .transform_sums = transform_sums,
                                                                .multiply = {ALL(PAIRS_ENTRY)}};

#if defined(__AVX512BW__)
#define VNNI __attribute__((target("avx512vnni")))
#define TARGET VNNI
#define PRODUCT words
#define MULTIPLY(sum, x, w) _mm512_dpwssd_epi32(sum, x, w)
#include "runtime/simd/winograd_product.h"

#define WORDS(blocks, tiles)                                                              \
  VNNI static void words_##blocks##_##tiles(const struct runtime_winograd_product *job) { \
    words(job, blocks, tiles);                                                            \
  }
#define WORDS_ENTRY(blocks, tiles) [blocks][tiles] = words_##blocks##_##tiles,
ALL(WORDS)

const struct runtime_winograd *runtime_winograd_vnni(void) {
  static const struct runtime_winograd table = {.max_blocks = MAX_BLOCKS,
                                                .transform_codes = transform_codes,
                                                .transform_sums = transform_sums,
                                                .multiply = {ALL(WORDS_ENTRY)}};
  return &table;
}
#endif
