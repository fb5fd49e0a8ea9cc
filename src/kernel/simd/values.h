/* One value at a time: what the loops of several sources share. */
#ifndef MQ_KERNEL_SIMD_VALUES_H
#define MQ_KERNEL_SIMD_VALUES_H

#include <stdint.h>
#include <string.h>

/* For functions whose arguments are to become constants, or that would not be vectorised as a call. */
#define MQ_ALWAYS_INLINE static inline __attribute__((always_inline))

/* NaN goes through: both comparisons are false. */
static inline float mq_clip_value(float v, float lo, float hi) {
  v = v < lo ? lo : v;
  return v > hi ? hi : v;
}

/* Half to even, for |v| <= 2^22: at 1.5 * 2^23 the spacing of floats is 1, so the addition does the rounding.
 * -0 becomes +0, as it does when the result passes through an integer. */
static inline float mq_round_even(float v) {
  const float shifter = 12582912.0f;
  return (v + shifter) - shifter;
}

/* 2^k from k + 1.5 * 2^23, -126 <= k <= 127. */
static inline float mq_power_of_two_float(float shifted) {
  uint32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127) << 23;
  float power;
  memcpy(&power, &bits, sizeof power);
  return power;
}

/* e^x for x <= 0, in float: 2^k e^r with Taylor to r^7 (the rest is below 2^-27), within 1 ulp. */
static inline float mq_exp_of_negative(float x) {
  const float shifter = 12582912.0f;
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
  const float half = k * 0.5f + shifter, other = (k - (half - shifter)) + shifter;
  return p * mq_power_of_two_float(half) * mq_power_of_two_float(other);
}

/* Pairwise over n = 2^k lanes, which it uses up: always the same tree. */
MQ_ALWAYS_INLINE double mq_add_lanes(double *lanes, int n) {
  for (int width = n / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++)
      lanes[i] += lanes[i + width];
  return lanes[0];
}

#endif
