#include "runtime/simd/winograd_finish.h"

#include <stddef.h>

#include "runtime/simd/winograd.h"

#if defined(__AVX512BW__)
#include "runtime/simd/finish_pack.h"

/* As line_of_sums of winograd.c. */
MQ_ALWAYS_INLINE void line_of_sums(ints to[4], ints m0, ints m1, ints m2, ints m3, ints m4, ints m5) {
  const ints s1 = ints_add(m1, m2), d1 = ints_sub(m1, m2), s2 = ints_add(m3, m4), d2 = ints_sub(m3, m4);
  to[0] = ints_sub(ints_add(m0, s2), ints_left(s1, ints_all(2)));
  to[1] = ints_sub(d2, ints_add(d1, d1));
  to[2] = ints_sub(s2, s1);
  to[3] = ints_add(ints_sub(ints_add(d2, d2), d1), m5);
}

MQ_ALWAYS_INLINE void store_code(unsigned char *y, __m128i codes, int n) {
  if (n == LANES)
    _mm_storeu_si128((__m128i *)(void *)y, codes);
  else
    _mm_mask_storeu_epi8(y, (__mmask16)first_bytes(n), codes);
}

/* The codes of a row's 4 pixels. */
MQ_ALWAYS_INLINE void store_row(const struct runtime_winograd_outputs *job, unsigned char *y, __m512i codes) {
  const int n = job->n_channels;
  if (job->skip_columns < 1) store_code(y, _mm512_castsi512_si128(codes), n);
  if (job->skip_columns < 2) store_code(y + job->y_pixel, _mm512_extracti32x4_epi32(codes, 1), n);
  if (job->skip_columns < 3) store_code(y + 2 * job->y_pixel, _mm512_extracti32x4_epi32(codes, 2), n);
  store_code(y + 3 * job->y_pixel, _mm512_extracti32x4_epi32(codes, 3), n);
}

MQ_ALWAYS_INLINE void finish_outputs(const struct runtime_winograd_outputs *outputs,
                                     const struct runtime_finish *finish, runtime_form form,
                                     bool has_shortcut) {
  static const int powers[4] = RUNTIME_WINOGRAD_POWERS;
  const struct runtime_winograd_outputs job = *outputs; /* stores to y cannot change it */
  const struct pack pack = load_pack(finish);
  const ints inverse = ints_all((int32_t)RUNTIME_WINOGRAD_INVERSE);
  struct block c;
  ints rows[6][4];
  load_common(&c, finish);
  load_channels(&c, finish, form, false, job.channel);
  MQ_SIMD_UNROLL
  for (int j = 0; j < 6; j++) {
    const int32_t *m = job.m + j * job.place_step;
    const int64_t step = 6 * job.place_step;
    line_of_sums(rows[j], ints_load(m), ints_load(m + step), ints_load(m + 2 * step), ints_load(m + 3 * step),
                 ints_load(m + 4 * step), ints_load(m + 5 * step));
  }
  MQ_SIMD_UNROLL
  for (int i = 0; i < 4; i++) {
    ints v[4];
    line_of_sums(v, rows[0][i], rows[1][i], rows[2][i], rows[3][i], rows[4][i], rows[5][i]);
    MQ_SIMD_UNROLL
    for (int j = 0; j < 4; j++) {
      const ints sum = ints_right(ints_mul(v[j], inverse), ints_all(powers[i] + powers[j]));
      const unsigned char *shortcut =
          has_shortcut ? job.shortcut + i * job.shortcut_row + j * job.shortcut_pixel : NULL;
      v[j] = whole_of(ints_add(sum, c.add), &c, form, shortcut);
    }
    if (i >= job.skip_rows) store_row(&job, job.y + i * job.y_row, pack_codes(v[0], v[1], v[2], v[3], &pack));
  }
}

#define FINISH(name, form, has_shortcut)                                                              \
  static void name(const struct runtime_winograd_outputs *job, const struct runtime_finish *finish) { \
    finish_outputs(job, finish, form, has_shortcut);                                                  \
  }
FINISH(real, RUNTIME_REAL, false)
FINISH(real_shortcut, RUNTIME_REAL, true)
FINISH(scale, RUNTIME_SCALE, false)
FINISH(biased, RUNTIME_BIASED, false)
FINISH(fixed, RUNTIME_FIXED, false)

static runtime_winograd_finish_fn find(const struct runtime_finish *finish, bool has_shortcut) {
  if (!finish->is_quick || finish->w_zero != NULL) return NULL;
  switch (finish->form) {
    case RUNTIME_REAL:
      return has_shortcut ? real_shortcut : real;
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
#else
static runtime_winograd_finish_fn find(const struct runtime_finish *finish, bool has_shortcut) {
  (void)finish;
  (void)has_shortcut;
  return NULL;
}
#endif

const struct runtime_winograd_finisher MQ_SIMD_NAME(runtime_winograd_finisher) = {.find = find};
