/* Elementary functions as a fixed sequence of IEEE operations: no libm, no fused multiply-add, no branch in
 * what is vectorised, so that scalar code and every instruction set give the same bits. */
#ifndef MQ_KERNEL_MATH_CORE_H
#define MQ_KERNEL_MATH_CORE_H

#include <stdint.h>
#include <string.h>

#define MQ_LOG2_E 0x1.71547652b82fep+0
/* ln 2 in two parts; the first has 32 bits, so that its product with an exponent is exact. */
#define MQ_LN2_HI 0x1.62e42feep-1
#define MQ_LN2_LO 0x1.a39ef35793c76p-33
/* Adding 1.5 * 2^52 rounds to an integer, whose two's complement then stands in the low bits. */
#define MQ_ROUND_SHIFTER 0x1.8p52

static inline uint64_t mq_bits_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline double mq_double_of(uint64_t bits) {
  double x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* 2^k from k + MQ_ROUND_SHIFTER, -1022 <= k <= 1023. */
static inline double mq_power_of_two(double shifted) {
  return mq_double_of((mq_bits_of(shifted) + 1023) << 52);
}

/* e^x = 2^k e^r, k = rne(x / ln 2), |r| <= ln(2)/2. Taylor to r^13 (the rest is below 2^-57 of the result);
 * `tail` is what r lost when it was rounded. 2^k in two factors: subnormal results are rounded once.
 * Below 1 ulp; the ends are 0 and infinity; NaN goes through. */
static inline double mq_exp_core(double x) {
  x = x < -746.0 ? -746.0 : x;
  x = x > 710.0 ? 710.0 : x;
  const double k = (x * MQ_LOG2_E + MQ_ROUND_SHIFTER) - MQ_ROUND_SHIFTER;
  const double hi = x - k * MQ_LN2_HI, lo = k * MQ_LN2_LO, r = hi - lo, tail = (hi - r) - lo;
  double q = 1.0 / 6227020800.0;
  q = q * r + 1.0 / 479001600.0;
  q = q * r + 1.0 / 39916800.0;
  q = q * r + 1.0 / 3628800.0;
  q = q * r + 1.0 / 362880.0;
  q = q * r + 1.0 / 40320.0;
  q = q * r + 1.0 / 5040.0;
  q = q * r + 1.0 / 720.0;
  q = q * r + 1.0 / 120.0;
  q = q * r + 1.0 / 24.0;
  q = q * r + 1.0 / 6.0;
  q = q * r + 0.5;
  const double p = 1.0 + (r + (tail + r * r * q));
  const double half = k * 0.5 + MQ_ROUND_SHIFTER, other = (k - (half - MQ_ROUND_SHIFTER)) + MQ_ROUND_SHIFTER;
  return p * mq_power_of_two(half) * mq_power_of_two(other);
}

#endif
