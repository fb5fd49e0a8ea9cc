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

#if defined(__AVX512F__)
/* Slots of a block's values; zeros, which are many after a ReLU, are squeezed out and counted in one step.
 * Returns how many slots there are; stores up to 15 more. */
static inline int list_slots(uint16_t *slot, uint16_t *zeros, const float *x, float inverse_width) {
  const __m512 inverse = _mm512_set1_ps(inverse_width), zero = _mm512_setzero_ps();
  const __m512i negative_bins = _mm512_set1_epi32(MQ_TALLY_BINS);
  int n = 0;
  for (int j = 0; j < BLOCK; j += 16) {
    __m512 v = _mm512_loadu_ps(x + j);
    __mmask16 is_negative = _mm512_cmp_ps_mask(v, zero, _CMP_LT_OQ);
    __mmask16 is_nonzero = _mm512_cmp_ps_mask(v, zero, _CMP_NEQ_OQ);
    __m512i bin = _mm512_cvttps_epi32(_mm512_mul_ps(_mm512_abs_ps(v), inverse));
    bin = _mm512_mask_add_epi32(bin, is_negative, bin, negative_bins);
    bin = _mm512_maskz_compress_epi32(is_nonzero, bin);
    _mm256_storeu_si256((__m256i *)(void *)(slot + n), _mm512_cvtepi32_epi16(bin));
    n += __builtin_popcount(is_nonzero);
  }
  zeros[0] = (uint16_t)(zeros[0] + BLOCK - n);
  return n;
}
#else
static inline int list_slots(uint16_t *slot, uint16_t *zeros, const float *x, float inverse_width) {
  (void)zeros;
  for (int j = 0; j < BLOCK; j++)
    slot[j] = (uint16_t)slot_of(x[j], inverse_width, j);
  return BLOCK;
}
#endif

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

static void tally(uint16_t *count, const float *x, int64_t n, float inverse_width) {
  uint16_t slot[BLOCK + 16];
  int64_t i = 0;
  for (; i + BLOCK <= n; i += BLOCK) {
    int n_slots = list_slots(slot, count + 2 * MQ_TALLY_BINS, x + i, inverse_width);
    count_slots(count, slot, n_slots);
  }
  for (int j = 0; i + j < n; j++)
    count[slot_of(x[i + j], inverse_width, j)]++;
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

static double sum_area(const double *count, const double *area, int64_t n_bins, double first, double step,
                       int64_t n) {
  double sum[LANES] = {0}, end = (double)n_bins;
  int64_t k = 0;
  for (; k + AREA_LANES <= n; k += AREA_LANES)
    for (int l = 0; l < AREA_LANES; l++)
      sum[l] += area_at(count, area, first + (double)(int32_t)(k + l) * step, end);
  for (int l = 0; k + l < n; l++)
    sum[l] += area_at(count, area, first + (double)(int32_t)(k + l) * step, end);
  return add_lanes(sum);
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
    .sum_area = sum_area,
    .sum_weighted_log = sum_weighted_log,
};
