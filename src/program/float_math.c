/* Elementary functions as a fixed sequence of IEEE operations: the same bits everywhere. */
#include "program/ops.h"

/* e^x for x <= 0: 2^k e^r, r = x - k ln 2 in two parts, Taylor to r^7; within 1 unit in the last place.
 * Adding 1.5 * 2^23 rounds to a whole number. 2^k in two factors: subnormal results are rounded once. */
static float exp_of_negative(float x) {
  const float shifter = 0x1.8p23f;
  x = x < -104.0f ? -104.0f : x;
  const float k = (x * 0x1.715476p+0f + shifter) - shifter;
  const float hi = x - k * 0x1.62e4p-1f, lo = k * 0x1.7f7d1cp-20f, r = hi - lo, tail = (hi - r) - lo;
  float q = 1.0f / 5040;
  q = q * r + 1.0f / 720;
  q = q * r + 1.0f / 120;
  q = q * r + 1.0f / 24;
  q = q * r + 1.0f / 6;
  q = q * r + 0.5f;
  const float p = 1.0f + (r + (tail + r * r * q));
  const int32_t half = program_round_even(k * 0.5f), other = (int32_t)k - half;
  return p * program_power(half) * program_power(other);
}

/* e^x / (1 + e^x) where the exponential would overflow otherwise. */
float program_sigmoid(float x) {
  if (x != x) return x;
  const float e = exp_of_negative(x > 0.0f ? -x : x);
  return (x > 0.0f ? 1.0f : e) / (1.0f + e);
}

static double power_of_two(int32_t exponent) {
  return program_double_of((uint64_t)(exponent + 1023) << 52);
}

/* e^x for x <= 0 in double, Taylor to r^13; 2^k in two factors. */
static double exp_of_negative_double(double x) {
  const double shifter = 0x1.8p52;
  x = x < -746.0 ? -746.0 : x;
  const double k = (x * 0x1.71547652b82fep+0 + shifter) - shifter;
  const double hi = x - k * 0x1.62e42feep-1, lo = k * 0x1.a39ef35793c76p-33, r = hi - lo,
               tail = (hi - r) - lo;
  double q = 1.0 / 6227020800.0;
  for (int i = 12; i >= 2; i--) {
    static const double factorial[] = {1,    1,     2,      6,       24,       120,      720,
                                       5040, 40320, 362880, 3628800, 39916800, 479001600};
    q = q * r + 1.0 / factorial[i];
  }
  const double p = 1.0 + (r + (tail + r * r * q));
  const double rounded = (k * 0.5 + shifter) - shifter;
  const int32_t half = (int32_t)rounded, other = (int32_t)k - half;
  return p * power_of_two(half) * power_of_two(other);
}

/* A NaN anywhere is the answer. */
static float row_max(const float *x, int64_t n) {
  float max = x[0];
  for (int64_t i = 1; i < n; i++)
    max = x[i] > max || x[i] != x[i] ? x[i] : max;
  return max;
}

/* The exponentials are summed in double in 16 lanes, which are added pairwise. */
void program_softmax(float *y, const float *x, int64_t n) {
  const double max = (double)row_max(x, n);
  double lanes[16] = {0};
  for (int64_t i = 0; i < n; i++) {
    const double shifted = (double)x[i] - max;
    const double e = shifted != shifted ? shifted : exp_of_negative_double(shifted);
    lanes[i % 16] += e;
    y[i] = (float)e;
  }
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; i++)
      lanes[i] += lanes[i + width];
  for (int64_t i = 0; i < n; i++)
    y[i] = (float)((double)y[i] / lanes[0]);
}
