#include "runtime/simd/columns.h"

#if defined(__AVX512BW__)
#include "runtime/simd/finish_pack.h"
#include "runtime/simd/quads.h"

#define MOST RUNTIME_COLUMNS_MAX_KERNEL

/* The loop's constants. */
struct shape {
  runtime_form form;
  int kernel, stride;
  bool has_two_rows;
};

MQ_ALWAYS_INLINE int quads_of(struct shape s) {
  return (s.kernel + 3) / 4;
}
/* Outputs whose windows have a column in common. */
MQ_ALWAYS_INLINE int outputs_of(struct shape s) {
  return (s.kernel - 1) / s.stride + 1;
}

/* Whether the weights fit into registers. */
MQ_ALWAYS_INLINE bool is_kept(struct shape s) {
  return s.kernel <= 3;
}

/* A row of the window: 64 channels, or 32 and 32 of another row. */
MQ_ALWAYS_INLINE __m512i load_row(const unsigned char *const x[2], int64_t at, struct shape s) {
  if (!s.has_two_rows) return _mm512_loadu_si512(x[0] + at);
  const __m256i first = _mm256_loadu_si256((const __m256i *)(const void *)(x[0] + at));
  const __m256i second = _mm256_loadu_si256((const __m256i *)(const void *)(x[1] + at));
  return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}

/* Rows [first, first + n) side by side; behind the last, whose weights are 0, any. */
MQ_ALWAYS_INLINE void interleave_rows(__m512i to[4], const unsigned char *const x[2], int64_t at,
                                      int64_t tap_row, int first, int n, struct shape s) {
  __m512i rows[4];
  MQ_SIMD_UNROLL
  for (int r = 0; r < 4; r++)
    rows[r] = r < n ? load_row(x, at + (first + r) * tap_row, s) : rows[n - 1];
  const __m512i low01 = _mm512_unpacklo_epi8(rows[0], rows[1]);
  const __m512i high01 = _mm512_unpackhi_epi8(rows[0], rows[1]);
  const __m512i low23 = n > 2 ? _mm512_unpacklo_epi8(rows[2], rows[3]) : low01;
  const __m512i high23 = n > 2 ? _mm512_unpackhi_epi8(rows[2], rows[3]) : high01;
  to[0] = _mm512_unpacklo_epi16(low01, low23);
  to[1] = _mm512_unpackhi_epi16(low01, low23);
  to[2] = _mm512_unpacklo_epi16(high01, high23);
  to[3] = _mm512_unpackhi_epi16(high01, high23);
}

/* Adds column `column` of the first output's window to the sums of all that it belongs to. */
RUNTIME_VNNI_TARGET MQ_ALWAYS_INLINE void add_column(__m512i sums[MOST][4],
                                                     const struct runtime_columns_job *job,
                                                     const __m512i *kept, const unsigned char *const x[2],
                                                     int column, struct shape s) {
  MQ_SIMD_UNROLL
  for (int q = 0; q < quads_of(s); q++) {
    __m512i codes[4];
    const int left = s.kernel - 4 * q;
    interleave_rows(codes, x, column * job->x_pixel, job->tap_row, 4 * q, left < 4 ? left : 4, s);
    MQ_SIMD_UNROLL
    for (int o = 0; o < outputs_of(s); o++) {
      const int tap = column - o * s.stride;
      if (tap < 0) continue;
      const int place = (tap * quads_of(s) + q) * 4;
      MQ_SIMD_UNROLL
      for (int i = 0; i < 4; i++) {
        const __m512i w = is_kept(s) ? kept[place + i] : _mm512_loadu_si512(job->weights + (place + i) * 64);
        sums[o][i] = _mm512_dpbusd_epi32(sums[o][i], codes[i], w);
      }
    }
  }
}

MQ_ALWAYS_INLINE void start(__m512i sums[4], const int32_t *add) {
  MQ_SIMD_UNROLL
  for (int i = 0; i < 4; i++)
    sums[i] = _mm512_loadu_si512(add + i * LANES);
}

MQ_ALWAYS_INLINE void store(unsigned char *const y[2], __m512i codes, __mmask64 mask, struct shape s) {
  if (!s.has_two_rows) {
    _mm512_mask_storeu_epi8(y[0], mask, codes);
    return;
  }
  _mm256_mask_storeu_epi8(y[0], (__mmask32)mask, _mm512_castsi512_si256(codes));
  _mm256_mask_storeu_epi8(y[1], (__mmask32)mask, _mm512_extracti64x4_epi64(codes, 1));
}

MQ_ALWAYS_INLINE __m512i finish_sums(const __m512i sums[4], const struct runtime_finish *f,
                                     const struct pack *pack, struct block *c, int64_t channel,
                                     struct shape s) {
  ints whole[4];
  MQ_SIMD_UNROLL
  for (int i = 0; i < 4; i++) {
    load_channels(c, f, s.form, false, channel + i * LANES);
    whole[i] = whole_of(INTS(sums[i]), c, s.form, NULL);
  }
  return pack_interleaved(whole[0], whole[1], whole[2], whole[3], pack);
}

RUNTIME_VNNI_TARGET MQ_ALWAYS_INLINE void run_row(const struct runtime_columns_job *to_do,
                                                  const struct runtime_finish *finish, struct shape s) {
  struct runtime_columns_job job = *to_do; /* stores to y cannot change them */
  const struct runtime_finish f = *finish;
  const unsigned char *x[2] = {job.x[0], job.x[1]};
  unsigned char *y[2] = {job.y[0], job.y[1]};
  const int32_t *add = f.add + job.channel;
  const struct pack pack = load_pack(&f);
  const __mmask64 mask = first_bytes(job.n_channels);
  const int last = outputs_of(s) - 1;
  __m512i sums[MOST][4], kept[3 * 4];
  struct block c;
  MQ_SIMD_UNROLL
  for (int i = 0; i < 3 * 4; i++)
    kept[i] = _mm512_loadu_si512(job.weights + i * 64);
  load_common(&c, &f);
  MQ_SIMD_UNROLL
  for (int o = 0; o <= last; o++)
    start(sums[o], add);
  MQ_SIMD_UNROLL
  for (int column = 0; column < s.kernel - s.stride; column++)
    add_column(sums, &job, kept, x, column, s);
  for (int64_t p = 0; p < job.n_pixels; p++) {
    if (!is_kept(s)) __asm__("" : "+r"(job.weights)); /* else GCC loads them once, to store and load them */
    MQ_SIMD_UNROLL
    for (int column = s.kernel - s.stride; column < s.kernel; column++)
      add_column(sums, &job, kept, x, column, s);
    store(y, finish_sums(sums[0], &f, &pack, &c, job.channel, s), mask, s);
    MQ_SIMD_UNROLL
    for (int o = 0; o < last; o++)
      memcpy(sums[o], sums[o + 1], sizeof sums[o]);
    start(sums[last], add);
    for (int r = 0; r < 2; r++) {
      x[r] += s.stride * job.x_pixel;
      y[r] += job.y_pixel;
    }
  }
}

#define ROW(form, kernel, stride, rows)                                              \
  RUNTIME_VNNI_TARGET static void row_##form##_##kernel##_##stride##_##rows(         \
      const struct runtime_columns_job *job, const struct runtime_finish *finish) {  \
    run_row(job, finish, (struct shape){RUNTIME_##form, kernel, stride, rows == 2}); \
  }
#define ALL_ROWS(form) \
  ROW(form, 3, 1, 1)   \
  ROW(form, 3, 1, 2)   \
  ROW(form, 3, 2, 1)   \
  ROW(form, 3, 2, 2) ROW(form, 5, 1, 1) ROW(form, 5, 1, 2) ROW(form, 5, 2, 1) ROW(form, 5, 2, 2)
#define STRIDES(form, kernel)                                       \
  {                                                                 \
    {row_##form##_##kernel##_1_1, row_##form##_##kernel##_1_2},     \
        {row_##form##_##kernel##_2_1, row_##form##_##kernel##_2_2}, \
  }
#define ENTRIES(form) \
  { STRIDES(form, 3), STRIDES(form, 5) }
ALL_ROWS(FIXED)
ALL_ROWS(SCALE)
ALL_ROWS(BIASED)
ALL_ROWS(REAL)

static runtime_columns_fn find(runtime_form form, int64_t kernel, int64_t stride, bool has_two_rows) {
  static const runtime_columns_fn table[RUNTIME_REAL + 1][2][2][2] = {
      [RUNTIME_FIXED] = ENTRIES(FIXED),
      [RUNTIME_SCALE] = ENTRIES(SCALE),
      [RUNTIME_BIASED] = ENTRIES(BIASED),
      [RUNTIME_REAL] = ENTRIES(REAL),
  };
  if (form > RUNTIME_REAL || (kernel != 3 && kernel != 5) || (stride != 1 && stride != 2)) return NULL;
  return table[form][kernel == 5][stride - 1][has_two_rows];
}
#else
static runtime_columns_fn find(runtime_form form, int64_t kernel, int64_t stride, bool has_two_rows) {
  (void)form;
  (void)kernel;
  (void)stride;
  (void)has_two_rows;
  return NULL;
}
#endif

const struct runtime_columns MQ_SIMD_NAME(runtime_columns) = {.find = find};
