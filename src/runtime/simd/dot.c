#include "runtime/simd/dot.h"

#include <string.h>

#if defined(__AVX2__)
#include "runtime/simd/quads.h"
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* ---- Vectors: a block's 16 sums are VECTORS of them -------------------------------------------------- */
#if defined(__AVX512BW__)
typedef __m512i vec;
#define VECTORS 1
#define LANES 16
#define LOAD(p) _mm512_loadu_si512(p)
#define STORE(p, v) _mm512_storeu_si512(p, v)
#define ZERO() _mm512_setzero_si512()
#define REPEAT(x) _mm512_set1_epi32(x)
#define EVEN_BYTES(x) _mm512_and_si512(x, _mm512_set1_epi32(0x00ff00ff))
#define ODD_BYTES(x) _mm512_srli_epi16(x, 8)
#define EVEN_WEIGHTS(w) _mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8)
#define ODD_WEIGHTS(w) _mm512_srai_epi16(w, 8)
#define MULTIPLY_PAIRS(x, w) _mm512_madd_epi16(x, w)
#define ADD(a, b) _mm512_add_epi32(a, b)
#elif defined(__AVX2__)
typedef __m256i vec;
#define VECTORS 2
#define LANES 8
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define ZERO() _mm256_setzero_si256()
#define REPEAT(x) _mm256_set1_epi32(x)
#define EVEN_BYTES(x) _mm256_and_si256(x, _mm256_set1_epi32(0x00ff00ff))
#define ODD_BYTES(x) _mm256_srli_epi16(x, 8)
#define EVEN_WEIGHTS(w) _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8)
#define ODD_WEIGHTS(w) _mm256_srai_epi16(w, 8)
#define MULTIPLY_PAIRS(x, w) _mm256_madd_epi16(x, w)
#define ADD(a, b) _mm256_add_epi32(a, b)
#endif

#define MAX_SUMS (RUNTIME_MAX_TILE / 8)

#if defined(VECTORS)

/* Two loops each, so that compilers unroll them and keep the sums in registers. */
ALWAYS_INLINE void clear_sums(vec *sums, int width, int n_pixels) {
  MQ_SIMD_UNROLL
  for (int p = 0; p < n_pixels; p++) {
    MQ_SIMD_UNROLL
    for (int b = 0; b < width; b++)
      sums[p * width + b] = ZERO();
  }
}

ALWAYS_INLINE void store_sums(int32_t *acc, const vec *sums, int width, int n_pixels) {
  MQ_SIMD_UNROLL
  for (int p = 0; p < n_pixels; p++) {
    MQ_SIMD_UNROLL
    for (int b = 0; b < width; b++)
      STORE(acc + (p * width + b) * LANES, sums[p * width + b]);
  }
}

/* Bytes as pairs of 16-bit numbers: products of pairs are added without loss, whereas 8-bit ones saturate. */
ALWAYS_INLINE void dot_pairs(const struct runtime_dot_job *job, int n_blocks, int n_pixels) {
  const int width = n_blocks * VECTORS;
  vec sums[MAX_SUMS];
  const signed char *weights = job->weights;
  clear_sums(sums, width, n_pixels);
  for (int64_t s = 0; s < job->n_segments; s++) {
    const int64_t offset = job->first + job->segments[s];
    for (int64_t q = 0; q < job->n_quads; q++, weights += RUNTIME_BLOCK * 4) {
      vec even[RUNTIME_MAX_BLOCKS * VECTORS], odd[RUNTIME_MAX_BLOCKS * VECTORS];
      MQ_SIMD_UNROLL
      for (int b = 0; b < width; b++) {
        const vec w = LOAD(weights + b / VECTORS * job->block_bytes + b % VECTORS * LANES * 4);
        even[b] = EVEN_WEIGHTS(w);
        odd[b] = ODD_WEIGHTS(w);
      }
      MQ_SIMD_UNROLL
      for (int p = 0; p < n_pixels; p++) {
        const vec x = REPEAT(quad_at(job->x[p] + offset + 4 * q));
        const vec x_even = EVEN_BYTES(x), x_odd = ODD_BYTES(x);
        MQ_SIMD_UNROLL
        for (int b = 0; b < width; b++) {
          const vec both = ADD(MULTIPLY_PAIRS(x_even, even[b]), MULTIPLY_PAIRS(x_odd, odd[b]));
          sums[p * width + b] = ADD(sums[p * width + b], both);
        }
      }
    }
  }
  store_sums(job->acc, sums, width, n_pixels);
}
#else
ALWAYS_INLINE void dot_pairs(const struct runtime_dot_job *job, int n_blocks, int n_pixels) {
  const int width = n_blocks * RUNTIME_BLOCK;
  memset(job->acc, 0, (size_t)(n_pixels * width) * sizeof *job->acc);
  for (int b = 0; b < n_blocks; b++) {
    const signed char *w = job->weights + b * job->block_bytes;
    for (int64_t s = 0; s < job->n_segments; s++)
      for (int64_t k = 0; k < 4 * job->n_quads; k++, w += k % 4 == 0 ? RUNTIME_BLOCK * 4 - 3 : 1)
        for (int p = 0; p < n_pixels; p++) {
          const int32_t x = job->x[p][job->first + job->segments[s] + k];
          int32_t *acc = job->acc + p * width + b * RUNTIME_BLOCK;
          for (int c = 0; c < RUNTIME_BLOCK; c++)
            acc[c] += x * w[c * 4];
        }
  }
}
#endif

/* Every number of pixels has a function of its own: tails lose nothing. */
#define PAIRS(blocks, pixels)                                                \
  static void pairs_##blocks##_##pixels(const struct runtime_dot_job *job) { \
    dot_pairs(job, blocks, pixels);                                          \
  }
#define ALL_3(of, blocks) of(blocks, 1) of(blocks, 2) of(blocks, 3)
#define ALL_6(of, blocks) ALL_3(of, blocks) of(blocks, 4) of(blocks, 5) of(blocks, 6)
#define ALL_8(of, blocks) ALL_6(of, blocks) of(blocks, 7) of(blocks, 8)
#define ALL_10(of, blocks) ALL_8(of, blocks) of(blocks, 9) of(blocks, 10)
#define ALL_12(of, blocks) ALL_10(of, blocks) of(blocks, 11) of(blocks, 12)
#define ALL_14(of, blocks) ALL_12(of, blocks) of(blocks, 13) of(blocks, 14)
#define PAIRS_ENTRY(blocks, pixels) [blocks][pixels] = pairs_##blocks##_##pixels,

#if defined(__AVX512BW__)
ALL_14(PAIRS, 1)
ALL_10(PAIRS, 2)
const struct runtime_dot MQ_SIMD_NAME(runtime_dot) = {
    .max_blocks = 2, .pixels = {0, 14, 10}, .at = {ALL_14(PAIRS_ENTRY, 1) ALL_10(PAIRS_ENTRY, 2)}};
#else
ALL_3(PAIRS, 1)
const struct runtime_dot MQ_SIMD_NAME(runtime_dot) = {
    .max_blocks = 1, .pixels = {0, 3}, .at = {ALL_3(PAIRS_ENTRY, 1)}};
#endif

/* ---- VNNI: four products and their sum in one instruction -------------------------------------------- */
#if defined(__AVX512BW__)
#define VNNI RUNTIME_VNNI_TARGET

VNNI ALWAYS_INLINE void dot_quads(const struct runtime_dot_job *job, int n_blocks, int n_pixels) {
  vec sums[RUNTIME_MAX_SUMS];
  clear_sums(sums, n_blocks, n_pixels);
  add_quads(sums, job, n_blocks, n_pixels);
  store_sums(job->acc, sums, n_blocks, n_pixels);
}

#define QUADS(blocks, pixels)                                                     \
  VNNI static void quads_##blocks##_##pixels(const struct runtime_dot_job *job) { \
    dot_quads(job, blocks, pixels);                                               \
  }
#define QUADS_ENTRY(blocks, pixels) [blocks][pixels] = quads_##blocks##_##pixels,
ALL_14(QUADS, 1)
ALL_12(QUADS, 2)
ALL_8(QUADS, 3)
ALL_6(QUADS, 4)

const struct runtime_dot *runtime_dot_vnni(void) {
  static const struct runtime_dot table = {
      .max_blocks = 4,
      .pixels = {0, 14, 12, 8, 6},
      .at = {ALL_14(QUADS_ENTRY, 1) ALL_12(QUADS_ENTRY, 2) ALL_8(QUADS_ENTRY, 3) ALL_6(QUADS_ENTRY, 4)}};
  return &table;
}
#endif
