/* Sums of a tile with VNNI: four products and their sum in one instruction. */
#ifndef MQ_RUNTIME_SIMD_QUADS_H
#define MQ_RUNTIME_SIMD_QUADS_H

#include <immintrin.h>
#include <string.h>

#include "kernel/simd/values.h"
#include "runtime/simd/dot.h"

#define RUNTIME_VNNI_TARGET __attribute__((target("avx512vnni")))
#define RUNTIME_MAX_SUMS (RUNTIME_MAX_TILE / RUNTIME_BLOCK)

MQ_ALWAYS_INLINE int32_t quad_at(const unsigned char *x) {
  int32_t quad;
  memcpy(&quad, x, sizeof quad);
  return quad;
}

#if defined(__AVX512BW__)
/* From sums[p, b] on. */
RUNTIME_VNNI_TARGET MQ_ALWAYS_INLINE void add_quads(__m512i *sums, const struct runtime_dot_job *job,
                                                    int n_blocks, int n_pixels) {
  const signed char *weights = job->weights;
  const int64_t block_bytes = job->block_bytes, n_quads = job->n_quads;
  for (int64_t s = 0; s < job->n_segments; s++) {
    const int64_t offset = job->first + job->segments[s];
    const unsigned char *x[RUNTIME_MAX_PIXELS];
    MQ_SIMD_UNROLL
    for (int p = 0; p < n_pixels; p++)
      x[p] = job->x[p] + offset;
    for (int64_t q = 0; q < n_quads; q++, weights += RUNTIME_BLOCK * 4) {
      __m512i w[RUNTIME_MAX_BLOCKS];
      MQ_SIMD_UNROLL
      for (int b = 0; b < n_blocks; b++)
        w[b] = _mm512_loadu_si512(weights + b * block_bytes);
      MQ_SIMD_UNROLL
      for (int p = 0; p < n_pixels; p++) {
        const __m512i quad = _mm512_set1_epi32(quad_at(x[p] + 4 * q));
        MQ_SIMD_UNROLL
        for (int b = 0; b < n_blocks; b++)
          sums[p * n_blocks + b] = _mm512_dpbusd_epi32(sums[p * n_blocks + b], quad, w[b]);
      }
    }
  }
}

#endif

#endif
