#include "runtime/simd/fused.h"

#if defined(__AVX512BW__)
#include "runtime/simd/finish_block.h"
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
#else
static runtime_fused_fn find(runtime_form form, bool has_shortcut, int n_blocks) {
  (void)form;
  (void)has_shortcut;
  (void)n_blocks;
  return NULL;
}
#endif

const struct runtime_fused MQ_SIMD_NAME(runtime_fused) = {.find = find};
