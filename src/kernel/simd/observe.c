#include "kernel/simd/observe.h"

#include <math.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "kernel/simd/values.h"

enum {
  LANES = 32
};

/* Pairwise over the lanes: always the same tree. */
static double add_lanes(const double lane[LANES]) {
  double sum[LANES];
  memcpy(sum, lane, sizeof sum);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int l = 0; l < half; l++)
      sum[l] += sum[l + half];
  return sum[0];
}

enum {
  BLOCK = 256
};

/* Scaling by a power of two is exact, or underflows to 0, which is the right bin. */
static inline int32_t slot_of(float v, float inverse_width, int j) {
  int32_t bin = (int32_t)(fabsf(v) * inverse_width);
  bin = v < 0 ? bin + MQ_TALLY_BINS : bin;
  return v == 0 ? 2 * MQ_TALLY_BINS + (j & (MQ_TALLY_ZERO_SLOTS - 1)) : bin;
}

/* Joins the extrema of a piece; false, with nothing joined, unless all of its magnitudes lie below limit. */
static bool join_extrema(float *min, float *max, const float *x, int64_t n, float limit) {
  float lo[LANES], hi[LANES];
  int32_t n_outside[LANES] = {0};
  for (int l = 0; l < LANES; l++)
    lo[l] = *min, hi[l] = *max;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int l = 0; l < LANES; l++) {
      float v = x[i + l];
      lo[l] = v < lo[l] ? v : lo[l];
      hi[l] = v > hi[l] ? v : hi[l];
      n_outside[l] += fabsf(v) < limit ? 0 : 1;
    }
  for (int l = 0; i + l < n; l++) {
    float v = x[i + l];
    lo[l] = v < lo[l] ? v : lo[l];
    hi[l] = v > hi[l] ? v : hi[l];
    n_outside[l] += fabsf(v) < limit ? 0 : 1;
  }
  for (int l = 1; l < LANES; l++) {
    lo[0] = lo[l] < lo[0] ? lo[l] : lo[0];
    hi[0] = hi[l] > hi[0] ? hi[l] : hi[0];
    n_outside[0] += n_outside[l];
  }
  if (n_outside[0] > 0) return false;
  *min = lo[0];
  *max = hi[0];
  return true;
}

#if defined(__AVX512F__)
struct extrema {
  __m512 lo, hi;
};

/* Slots of a block's values; zeros, which are many after a ReLU, are squeezed out and counted in one step.
 * Returns how many slots there are, and stores up to 15 more; -1, with nothing counted or joined, unless all
 * magnitudes lie below limit. */
static inline int list_slots(uint16_t *slot, uint16_t *zeros, struct extrema *extrema, const float *x,
                             float inverse_width, float limit) {
  const __m512 inverse = _mm512_set1_ps(inverse_width), zero = _mm512_setzero_ps();
  const __m512 most = _mm512_set1_ps(limit);
  const __m512i negative_bins = _mm512_set1_epi32(MQ_TALLY_BINS);
  struct extrema joined = *extrema;
  __mmask16 is_outside = 0;
  int n = 0;
  for (int j = 0; j < BLOCK; j += 16) {
    __m512 v = _mm512_loadu_ps(x + j), magnitude = _mm512_abs_ps(v);
    __mmask16 is_negative = _mm512_cmp_ps_mask(v, zero, _CMP_LT_OQ);
    __mmask16 is_nonzero = _mm512_cmp_ps_mask(v, zero, _CMP_NEQ_UQ);
    is_outside = _kor_mask16(is_outside, _mm512_cmp_ps_mask(magnitude, most, _CMP_NLT_UQ));
    joined.lo = _mm512_min_ps(joined.lo, v);
    joined.hi = _mm512_max_ps(joined.hi, v);
    __m512i bin = _mm512_cvttps_epi32(_mm512_mul_ps(magnitude, inverse));
    bin = _mm512_mask_add_epi32(bin, is_negative, bin, negative_bins);
    bin = _mm512_maskz_compress_epi32(is_nonzero, bin);
    _mm256_storeu_si256((__m256i *)(void *)(slot + n), _mm512_cvtepi32_epi16(bin));
    n += __builtin_popcount(is_nonzero);
  }
  if (is_outside) return -1;
  *extrema = joined;
  zeros[0] = (uint16_t)(zeros[0] + BLOCK - n);
  return n;
}
#else
struct extrema {
  float lo, hi;
};

static inline int list_slots(uint16_t *slot, uint16_t *zeros, struct extrema *extrema, const float *x,
                             float inverse_width, float limit) {
  (void)zeros;
  if (!join_extrema(&extrema->lo, &extrema->hi, x, BLOCK, limit)) return -1;
  for (int j = 0; j < BLOCK; j++)
    slot[j] = (uint16_t)slot_of(x[j], inverse_width, j);
  return BLOCK;
}
#endif

static inline struct extrema spread_extrema(float min, float max) {
#if defined(__AVX512F__)
  return (struct extrema){_mm512_set1_ps(min), _mm512_set1_ps(max)};
#else
  return (struct extrema){min, max};
#endif
}

static inline void gather_extrema(float *min, float *max, const struct extrema *extrema) {
#if defined(__AVX512F__)
  *min = _mm512_reduce_min_ps(extrema->lo);
  *max = _mm512_reduce_max_ps(extrema->hi);
#else
  *min = extrema->lo;
  *max = extrema->hi;
#endif
}

/* Four slots with one load: the counters keep the memory unit busy. */
static inline void count_slots(uint16_t *count, const uint16_t *slot, int n) {
  int j = 0;
  for (; j + 4 <= n; j += 4) {
    uint64_t four;
    memcpy(&four, slot + j, sizeof four);
    count[four & 0xffff]++;
    count[four >> 16 & 0xffff]++;
    count[four >> 32 & 0xffff]++;
    count[four >> 48]++;
  }
  for (; j < n; j++)
    count[slot[j]]++;
}

static int64_t tally(uint16_t *count, float *min, float *max, const float *x, int64_t n,
                     float inverse_width) {
  uint16_t slot[BLOCK + 16];
  struct extrema extrema = spread_extrema(*min, *max);
  float limit = MQ_TALLY_BINS / inverse_width;
  int64_t i = 0;
  int n_slots = 0;
  for (; i + BLOCK <= n && n_slots >= 0; i += n_slots >= 0 ? BLOCK : 0) {
    n_slots = list_slots(slot, count + 2 * MQ_TALLY_BINS, &extrema, x + i, inverse_width, limit);
    count_slots(count, slot, n_slots);
  }
  gather_extrema(min, max, &extrema);
  if (n_slots < 0 || !join_extrema(min, max, x + i, n - i, limit)) return i;
  for (int j = 0; i + j < n; j++)
    count[slot_of(x[i + j], inverse_width, j)]++;
  return n;
}

static void flush(uint32_t *restrict to, uint16_t *restrict from, int64_t n) {
  for (int64_t k = 0; k < n; k++)
    to[k] = mq_add_counts(to[k], from[k]);
  memset(from, 0, (size_t)n * sizeof *from);
}

static inline double square_of_error(float v, float scale, float lo, float hi) {
  double e = (double)(v - scale * mq_round_even(mq_clip_value(v / scale, lo, hi)));
  return e * e;
}

static double squared_error(const float *x, int64_t n, float scale, float lo, float hi) {
  double sum[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int l = 0; l < LANES; l++)
      sum[l] += square_of_error(x[i + l], scale, lo, hi);
  for (int l = 0; i + l < n; l++)
    sum[l] += square_of_error(x[i + l], scale, lo, hi);
  return add_lanes(sum);
}

static inline double area_at(const double *count, const double *area, double t, double end) {
  double inside = t < 0 ? 0 : t;
  inside = inside > end ? end : inside;
  int32_t i = (int32_t)inside;
  double f = inside - i;
  double quadratic = area[i] + f * (count[i] + 0.5 * f * (count[i + 1] - count[i]));
  double beyond = t - end;
  return quadratic + (beyond > 0 ? beyond : 0) * count[(int32_t)end];
}

enum {
  AREA_LANES = 8
};

#if defined(__AVX512F__)
/* area_at for eight points, with the same operations: the compiler would take the table apart by scalars. */
static inline __m512d eight_areas(const double *count, const double *area, __m512d t, __m512d end,
                                  __m512d all) {
  const __m512d zero = _mm512_setzero_pd(), half = _mm512_set1_pd(0.5);
  __m512d inside = _mm512_min_pd(_mm512_max_pd(t, zero), end);
  __m256i index = _mm512_cvttpd_epi32(inside);
  int32_t i[AREA_LANES];
  _mm256_storeu_si256((__m256i *)(void *)i, index);
  __m512d even = _mm512_castpd128_pd512(_mm_loadu_pd(count + i[0]));
  __m512d odd = _mm512_castpd128_pd512(_mm_loadu_pd(count + i[1]));
  even = _mm512_insertf64x2(even, _mm_loadu_pd(count + i[2]), 1);
  odd = _mm512_insertf64x2(odd, _mm_loadu_pd(count + i[3]), 1);
  even = _mm512_insertf64x2(even, _mm_loadu_pd(count + i[4]), 2);
  odd = _mm512_insertf64x2(odd, _mm_loadu_pd(count + i[5]), 2);
  even = _mm512_insertf64x2(even, _mm_loadu_pd(count + i[6]), 3);
  odd = _mm512_insertf64x2(odd, _mm_loadu_pd(count + i[7]), 3);
  __m512d here = _mm512_unpacklo_pd(even, odd), next = _mm512_unpackhi_pd(even, odd);
  __m512d base = _mm512_setr_pd(area[i[0]], area[i[1]], area[i[2]], area[i[3]], area[i[4]], area[i[5]],
                                area[i[6]], area[i[7]]);
  __m512d f = _mm512_sub_pd(inside, _mm512_cvtepi32_pd(index));
  __m512d slope = _mm512_mul_pd(_mm512_mul_pd(half, f), _mm512_sub_pd(next, here));
  __m512d quadratic = _mm512_add_pd(base, _mm512_mul_pd(f, _mm512_add_pd(here, slope)));
  __m512d beyond = _mm512_max_pd(_mm512_sub_pd(t, end), zero);
  return _mm512_add_pd(quadratic, _mm512_mul_pd(beyond, all));
}

/* The whole eights of the sum; returns how many points these are. */
static int64_t sum_eights(double sum[LANES], const double *count, const double *area, double first,
                          double step, double end, int64_t n) {
  __m512d total = _mm512_setzero_pd(), last = _mm512_set1_pd(end);
  __m512d all = _mm512_set1_pd(count[(int32_t)end]);
  __m256i place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  int64_t k = 0;
  for (; k + AREA_LANES <= n; k += AREA_LANES) {
    __m512d t = _mm512_mul_pd(_mm512_cvtepi32_pd(place), _mm512_set1_pd(step));
    t = _mm512_add_pd(_mm512_set1_pd(first), t);
    total = _mm512_add_pd(total, eight_areas(count, area, t, last, all));
    place = _mm256_add_epi32(place, _mm256_set1_epi32(AREA_LANES));
  }
  _mm512_storeu_pd(sum, total);
  return k;
}
#else
static int64_t sum_eights(double sum[LANES], const double *count, const double *area, double first,
                          double step, double end, int64_t n) {
  int64_t k = 0;
  for (; k + AREA_LANES <= n; k += AREA_LANES)
    for (int l = 0; l < AREA_LANES; l++)
      sum[l] += area_at(count, area, first + (double)(int32_t)(k + l) * step, end);
  return k;
}
#endif

static double sum_area(const double *count, const double *area, int64_t n_bins, double first, double step,
                       int64_t n) {
  double sum[LANES] = {0}, end = (double)n_bins;
  int64_t k = sum_eights(sum, count, area, first, step, end, n);
  for (int l = 0; k + l < n; l++)
    sum[l] += area_at(count, area, first + (double)(int32_t)(k + l) * step, end);
  return add_lanes(sum);
}

/* Divisions apart, in vectors: what depends on the bin before costs less than one of them. */
static void integrate(double *count, double *area, double *volume, const uint32_t *bins, int64_t step,
                      int64_t n) {
  enum {
    PART = 64
  };
  double in_bin[PART] = {0}, sixth[PART], c = count[0], a = area[0], v = volume[0];
  for (int64_t i = 0; i < n; i += PART) {
    int64_t n_part = n - i < PART ? n - i : PART;
    for (int64_t j = 0; j < n_part; j++)
      in_bin[j] = (double)bins[(i + j) * step];
    for (int64_t j = 0; j < PART; j++)
      sixth[j] = in_bin[j] / 6;
    for (int64_t j = 0; j < n_part; j++) {
      v += a + c / 2 + sixth[j];
      a += c + in_bin[j] / 2;
      c += in_bin[j];
      count[i + j + 1] = c;
      area[i + j + 1] = a;
      volume[i + j + 1] = v;
    }
  }
}

/* ln v = e ln 2 + 2 atanh((m - 1)/(m + 1)) with v = 2^e m, sqrt(1/2) <= m < sqrt(2), so |f| < 0.1716 and the
 * first dropped term is below 2^-57. Relative error below 4 ulp away from 1. */
static inline double ln(double v) {
  int64_t bits;
  memcpy(&bits, &v, sizeof bits);
  const int64_t root_half = 0x3fe6a09e667f3bcd;
  int64_t shifted = bits - root_half;
  int32_t e = (int32_t)(shifted >> 52);
  int64_t mantissa = bits - (shifted & ~0xfffffffffffff);
  double m;
  memcpy(&m, &mantissa, sizeof m);
  double f = (m - 1) / (m + 1), g = f * f;
  double series = 1.0 / 19;
  series = series * g + 1.0 / 17;
  series = series * g + 1.0 / 15;
  series = series * g + 1.0 / 13;
  series = series * g + 1.0 / 11;
  series = series * g + 1.0 / 9;
  series = series * g + 1.0 / 7;
  series = series * g + 1.0 / 5;
  series = series * g + 1.0 / 3;
  return (double)e * 0.693147180559945309417 + 2 * (f + f * (g * series));
}

static double sum_weighted_log(const double *weight, const double *value, int64_t n) {
  double sum[LANES] = {0};
  int64_t i = 0;
  for (; i + AREA_LANES <= n; i += AREA_LANES)
    for (int l = 0; l < AREA_LANES; l++)
      sum[l] += weight[i + l] * ln(value[i + l]);
  for (int l = 0; i + l < n; l++)
    sum[l] += weight[i + l] * ln(value[i + l]);
  return add_lanes(sum);
}

const struct mq_simd_observe MQ_SIMD_NAME(mq_simd_observe) = {
    .tally = tally,
    .flush = flush,
    .squared_error = squared_error,
    .integrate = integrate,
    .sum_area = sum_area,
    .sum_weighted_log = sum_weighted_log,
};
