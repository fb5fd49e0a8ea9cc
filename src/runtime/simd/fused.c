#include "runtime/simd/fused.h"

#if defined(__AVX512BW__)
#include "runtime/simd/finish_block.h"
#include "runtime/simd/interleave.h"
#include "runtime/simd/quads.h"

RUNTIME_VNNI_TARGET MQ_ALWAYS_INLINE void fuse(const struct runtime_dot_job *job,
                                               const struct runtime_finish *f, const struct runtime_tile *t,
                                               runtime_form form, bool has_shortcut, int n_blocks,
                                               int n_pixels) {
  __m512i sums[RUNTIME_MAX_SUMS];
  struct block c;
  quad_sums(sums, job, n_blocks, n_pixels);
  load_common(&c, f);
  MQ_SIMD_UNROLL
  for (int b = 0; b < n_blocks; b++) {
    const int n = b == n_blocks - 1 ? t->n_last : LANES;
    load_channels(&c, f, form, false, t->channel + b * LANES);
    if (n == LANES) {
      MQ_SIMD_UNROLL
      for (int p = 0; p < n_pixels; p++)
        finish_block(t->y[p] + b * LANES, ints_add(INTS(sums[p * n_blocks + b]), c.add), &c,
                     has_shortcut ? t->shortcut[p] + b * LANES : NULL, LANES, form);
    } else {
      MQ_SIMD_UNROLL
      for (int p = 0; p < n_pixels; p++)
        finish_block(t->y[p] + b * LANES, ints_add(INTS(sums[p * n_blocks + b]), c.add), &c,
                     has_shortcut ? t->shortcut[p] + b * LANES : NULL, n, form);
    }
  }
}

#define FUSED(name, form, has_shortcut, blocks, pixels)                                                  \
  RUNTIME_VNNI_TARGET static void name##_##blocks(                                                       \
      const struct runtime_dot_job *job, const struct runtime_finish *f, const struct runtime_tile *t) { \
    fuse(job, f, t, form, has_shortcut, blocks, pixels);                                                 \
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

static runtime_fused_fn find(runtime_form form, bool has_shortcut, int n_blocks) {
  static const runtime_fused_fn of_real[2][RUNTIME_MAX_BLOCKS + 1] = {ENTRIES(real), ENTRIES(real_shortcut)};
  static const runtime_fused_fn table[][RUNTIME_MAX_BLOCKS + 1] = {
      [RUNTIME_FIXED] = ENTRIES(fixed), [RUNTIME_SCALE] = ENTRIES(scale), [RUNTIME_BIASED] = ENTRIES(biased)};
  if (form == RUNTIME_REAL) return of_real[has_shortcut][n_blocks];
  return form <= RUNTIME_BIASED ? table[form][n_blocks] : NULL;
}

/* ---- Depthwise --------------------------------------------------------------------------------------- */
#define QUADS 3

/* The 32 sums of a pixel, in the order of the channels. Weights stay in registers. */
RUNTIME_VNNI_TARGET MQ_ALWAYS_INLINE void depthwise_sums(ints sums[2], const unsigned char *x,
                                                         const int64_t *taps, const __m256i *weights) {
  __m256i acc[4], codes[4];
  MQ_SIMD_UNROLL
  for (int i = 0; i < 4; i++)
    acc[i] = _mm256_setzero_si256();
  MQ_SIMD_UNROLL
  for (int q = 0; q < QUADS; q++) {
    interleave(codes, x, taps + 4 * q);
    MQ_SIMD_UNROLL
    for (int i = 0; i < 4; i++)
      acc[i] = _mm256_dpbusd_epi32(acc[i], codes[i], weights[q * 4 + i]);
  }
  const __m256i a = _mm256_permute2x128_si256(acc[0], acc[1], 0x20);
  const __m256i b = _mm256_permute2x128_si256(acc[2], acc[3], 0x20);
  const __m256i c = _mm256_permute2x128_si256(acc[0], acc[1], 0x31);
  const __m256i d = _mm256_permute2x128_si256(acc[2], acc[3], 0x31);
  sums[0] = INTS(_mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1));
  sums[1] = INTS(_mm512_inserti64x4(_mm512_castsi256_si512(c), d, 1));
}

RUNTIME_VNNI_TARGET MQ_ALWAYS_INLINE void fuse_depthwise(const struct runtime_depthwise_job *job,
                                                         const struct runtime_finish *f,
                                                         const struct runtime_tile *t, runtime_form form,
                                                         int n_blocks) {
  struct block c[2];
  __m256i weights[4 * QUADS];
  int64_t taps[4 * QUADS];
  const unsigned char *x = job->x;
  MQ_SIMD_UNROLL
  for (int i = 0; i < 4 * QUADS; i++) {
    const bool is_there = i < 4 * job->n_quads;
    weights[i] = is_there ? load_32(job->weights + i * 32) : _mm256_setzero_si256();
    taps[i] = is_there ? job->taps[i] : 0;
  }
  for (int b = 0; b < n_blocks; b++) {
    load_common(&c[b], f);
    load_channels(&c[b], f, form, false, t->channel + b * LANES);
  }
  for (int p = 0; p < job->n_pixels; p++, x += job->step) {
    ints sums[2];
    depthwise_sums(sums, x, taps, weights);
    if (n_blocks == 2) finish_block(t->y[p], ints_add(sums[0], c[0].add), &c[0], NULL, LANES, form);
    const int last = n_blocks - 1;
    finish_block(t->y[p] + last * LANES, ints_add(sums[last], c[last].add), &c[last], NULL, t->n_last, form);
  }
}

#define DEPTHWISE(name, form)                                                                          \
  RUNTIME_VNNI_TARGET static void name(const struct runtime_depthwise_job *job,                        \
                                       const struct runtime_finish *f, const struct runtime_tile *t) { \
    if (t->n_blocks == 2)                                                                              \
      fuse_depthwise(job, f, t, form, 2);                                                              \
    else                                                                                               \
      fuse_depthwise(job, f, t, form, 1);                                                              \
  }
DEPTHWISE(depthwise_fixed, RUNTIME_FIXED)
DEPTHWISE(depthwise_scale, RUNTIME_SCALE)
DEPTHWISE(depthwise_biased, RUNTIME_BIASED)
DEPTHWISE(depthwise_real, RUNTIME_REAL)

static runtime_fused_depthwise_fn find_depthwise(runtime_form form, int64_t n_quads) {
  static const runtime_fused_depthwise_fn table[] = {[RUNTIME_FIXED] = depthwise_fixed,
                                                     [RUNTIME_SCALE] = depthwise_scale,
                                                     [RUNTIME_BIASED] = depthwise_biased};
  if (n_quads > QUADS) return NULL;
  if (form == RUNTIME_REAL) return depthwise_real;
  return form <= RUNTIME_BIASED ? table[form] : NULL;
}
#else
static runtime_fused_depthwise_fn find_depthwise(runtime_form form, int64_t n_quads) {
  (void)form;
  (void)n_quads;
  return NULL;
}

static runtime_fused_fn find(runtime_form form, bool has_shortcut, int n_blocks) {
  (void)form;
  (void)has_shortcut;
  (void)n_blocks;
  return NULL;
}
#endif

const struct runtime_fused MQ_SIMD_NAME(runtime_fused) = {.find = find, .find_depthwise = find_depthwise};
