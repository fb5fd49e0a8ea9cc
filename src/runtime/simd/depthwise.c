#include "runtime/simd/depthwise.h"

#include <string.h>

#if defined(__AVX2__)
#include "runtime/simd/interleave.h"
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define BLOCK RUNTIME_DEPTHWISE_BLOCK

static void correct(int32_t *acc, const int32_t *box, const int32_t *w_zero, int n_pixels) {
  for (int p = 0; p < n_pixels; p++, acc += BLOCK, box += BLOCK)
    for (int c = 0; c < BLOCK; c++)
      acc[c] = (int32_t)((uint32_t)acc[c] - (uint32_t)w_zero[c] * (uint32_t)box[c]);
}

#if defined(__AVX2__)
/* Four products of bytes and their sum, in pairs of 16-bit numbers. */
ALWAYS_INLINE __m256i dot_pairs(__m256i acc, __m256i x, __m256i w) {
  const __m256i low = _mm256_set1_epi32(0x00ff00ff);
  const __m256i even =
      _mm256_madd_epi16(_mm256_and_si256(x, low), _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8));
  return _mm256_add_epi32(acc, _mm256_add_epi32(even, odd));
}

/* Back into the order of the channels. */
ALWAYS_INLINE void store_sums(int32_t *acc, const __m256i sums[4]) {
  _mm256_store_si256((__m256i *)(void *)acc, _mm256_permute2x128_si256(sums[0], sums[1], 0x20));
  _mm256_store_si256((__m256i *)(void *)(acc + 8), _mm256_permute2x128_si256(sums[2], sums[3], 0x20));
  _mm256_store_si256((__m256i *)(void *)(acc + 16), _mm256_permute2x128_si256(sums[0], sums[1], 0x31));
  _mm256_store_si256((__m256i *)(void *)(acc + 24), _mm256_permute2x128_si256(sums[2], sums[3], 0x31));
}

/* DOT(acc, x, w) is the level's. n_quads: a constant where the loop is to be unrolled. */
#define DEFINE_SUMS(target, name, DOT)                                                               \
  target ALWAYS_INLINE void name##_quads(const struct runtime_depthwise_job *job, int64_t n_quads) { \
    const unsigned char *x = job->x;                                                                 \
    for (int p = 0; p < job->n_pixels; p++, x += job->step) {                                        \
      __m256i sums[4], codes[4];                                                                     \
      for (int i = 0; i < 4; i++)                                                                    \
        sums[i] = _mm256_setzero_si256();                                                            \
      for (int64_t q = 0; q < n_quads; q++) {                                                        \
        interleave(codes, x, job->taps + 4 * q);                                                     \
        for (int i = 0; i < 4; i++)                                                                  \
          sums[i] = DOT(sums[i], codes[i], load_32(job->weights + (q * 4 + i) * 32));                \
      }                                                                                              \
      store_sums(job->acc + p * BLOCK, sums);                                                        \
    }                                                                                                \
  }                                                                                                  \
  target static void name(const struct runtime_depthwise_job *job) {                                 \
    if (job->n_quads == 3)                                                                           \
      name##_quads(job, 3);                                                                          \
    else                                                                                             \
      name##_quads(job, job->n_quads);                                                               \
  }

DEFINE_SUMS(, sums_pairs, dot_pairs)
#else
static void sums_pairs(const struct runtime_depthwise_job *job) {
  for (int p = 0; p < job->n_pixels; p++) {
    int32_t *acc = job->acc + p * BLOCK;
    memset(acc, 0, BLOCK * sizeof *acc);
    for (int64_t t = 0; t < 4 * job->n_quads; t++) {
      const unsigned char *x = job->x + p * job->step + job->taps[t];
      const signed char *w = job->weights + t / 4 * 4 * BLOCK;
      for (int c = 0; c < BLOCK; c++)
        acc[c] += x[c] * w[runtime_depthwise_place(t % 4, c)];
    }
  }
}
#endif

const struct runtime_depthwise MQ_SIMD_NAME(runtime_depthwise) = {.sums = sums_pairs, .correct = correct};

#if defined(__AVX2__) && defined(__AVX512BW__)
#define VNNI __attribute__((target("avx512vnni")))
DEFINE_SUMS(VNNI, sums_vnni, _mm256_dpbusd_epi32)

const struct runtime_depthwise *runtime_depthwise_vnni(void) {
  static const struct runtime_depthwise table = {.sums = sums_vnni, .correct = correct};
  return &table;
}
#endif
