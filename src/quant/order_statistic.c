#include "quant/order_statistic.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* An unsigned key in the order of the floats. */
static uint32_t key_of(float x, bool is_absolute) {
  uint32_t bits;
  if (is_absolute) x = fabsf(x);
  memcpy(&bits, &x, sizeof bits);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

static float value_of(uint32_t key) {
  uint32_t bits = key >> 31 ? key & 0x7fffffffu : ~key;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* One digit of a radix selection: among the keys that agree with *prefix under `mask`, narrows to the digit
 * that holds place *rank; *rank becomes the place within it. */
static void select_digit(uint32_t *prefix, uint32_t mask, int shift, int digit_bits, int64_t *rank,
                         const float *data, int64_t n, bool is_absolute) {
  int64_t count[1 << 11] = {0};
  uint32_t digit_mask = (1u << digit_bits) - 1, digit = 0;
  for (int64_t i = 0; i < n; i++) {
    uint32_t key = key_of(data[i], is_absolute);
    count[(key >> shift) & digit_mask] += (key & mask) == *prefix;
  }
  while (*rank >= count[digit])
    *rank -= count[digit++];
  *prefix |= digit << shift;
}

static float order_statistic(const float *data, int64_t n, int64_t rank, bool is_absolute) {
  uint32_t prefix = 0;
  select_digit(&prefix, 0, 21, 11, &rank, data, n, is_absolute);
  select_digit(&prefix, 0xffe00000u, 10, 11, &rank, data, n, is_absolute);
  select_digit(&prefix, 0xfffffc00u, 0, 10, &rank, data, n, is_absolute);
  return value_of(prefix);
}

/* The statistic after place `rank`, whose value is `at`. */
static float next_statistic(const float *data, int64_t n, int64_t rank, float at, bool is_absolute) {
  int64_t not_above = 0;
  float next = INFINITY;
  for (int64_t i = 0; i < n; i++) {
    float x = is_absolute ? fabsf(data[i]) : data[i];
    not_above += x <= at;
    if (x > at && x < next) next = x;
  }
  return not_above > rank + 1 ? at : next;
}

static double interpolate(double below, double above, double fraction) {
  return below + (above - below) * fraction;
}

double mq_quantile_of_data(const float *data, int64_t n, double q, bool is_absolute) {
  assert(n >= 1 && q >= 0 && q <= 1);
  double place = q * (double)(n - 1);
  int64_t rank = (int64_t)place;
  double fraction = place - (double)rank;
  float below = order_statistic(data, n, rank, is_absolute);
  if (fraction == 0) return below;
  return interpolate(below, next_statistic(data, n, rank, below, is_absolute), fraction);
}

/* Place `rank` among the values of a bin that begins at k w: in the middle of its share. */
static double place_in_bin(int64_t k, uint64_t rank, uint64_t count) {
  return (double)k + ((double)rank + 0.5) / (double)count;
}

static double find_upwards(const uint32_t *bins, const uint32_t *also, uint64_t rank) {
  for (int64_t k = 0; k < MQ_HISTOGRAM_BINS; k++) {
    uint64_t count = (uint64_t)bins[k] + (also ? also[k] : 0);
    if (rank < count) return place_in_bin(k, rank, count);
    rank -= count;
  }
  return INFINITY;
}

static uint64_t total_of(const uint32_t *bins) {
  uint64_t total = 0;
  for (int64_t k = 0; k < MQ_HISTOGRAM_BINS; k++)
    total += bins[k];
  return total;
}

/* In bin widths. */
static double statistic_of_histogram(const struct mq_histogram *histogram, uint64_t n_negative, uint64_t rank,
                                     bool is_absolute) {
  uint64_t n_zero = histogram->n_zero;
  if (is_absolute)
    return rank < n_zero ? 0 : find_upwards(histogram->positive, histogram->negative, rank - n_zero);
  if (rank < n_negative) return -find_upwards(histogram->negative, NULL, n_negative - 1 - rank);
  if (rank < n_negative + n_zero) return 0;
  return find_upwards(histogram->positive, NULL, rank - n_negative - n_zero);
}

double mq_quantile_of_histogram(const struct mq_histogram *histogram, double q, bool is_absolute, float min,
                                float max) {
  uint64_t n_negative = total_of(histogram->negative), n_positive = total_of(histogram->positive);
  uint64_t n = n_negative + n_positive + histogram->n_zero;
  assert(n >= 1 && q >= 0 && q <= 1);
  double place = q * (double)(n - 1), width = ldexp(1.0, histogram->exponent);
  uint64_t rank = (uint64_t)place;
  double fraction = place - (double)rank;
  double least = is_absolute ? 0 : min, most = is_absolute ? fmax(-(double)min, max) : max;
  double below = statistic_of_histogram(histogram, n_negative, rank, is_absolute) * width;
  below = fmin(fmax(below, least), most);
  if (fraction == 0) return below;
  double above = statistic_of_histogram(histogram, n_negative, rank + 1, is_absolute) * width;
  return interpolate(below, fmin(fmax(above, least), most), fraction);
}
