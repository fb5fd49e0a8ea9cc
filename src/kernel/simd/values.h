/* One value at a time: what the loops of several sources share. */
#ifndef MQ_KERNEL_SIMD_VALUES_H
#define MQ_KERNEL_SIMD_VALUES_H

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

#endif
