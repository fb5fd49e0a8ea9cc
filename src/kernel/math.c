#include <math.h>

#include "kernel/math_core.h"
#include "mqbench/kernel.h"

double mq_exp(double x) {
  return mq_exp_core(x);
}

float mq_expf(float x) {
  return (float)mq_exp_core((double)x);
}

/* x = 2^k m, sqrt(1/2) <= m < sqrt(2), for finite x > 0. */
static double split(double *k, double x) {
  const uint64_t sqrt_half = 0x3fe6a09e667f3bcd, mantissa = 0x000fffffffffffff;
  int64_t shift = 0;
  if (x < 0x1p-1022) {
    x *= 0x1p54;
    shift = -54;
  }
  /* Counting from sqrt(1/2) instead of 1 puts the step of the exponent there. */
  const uint64_t above = mq_bits_of(x) - sqrt_half;
  *k = (double)((int64_t)above >> 52) + (double)shift;
  return mq_double_of((above & mantissa) + sqrt_half);
}

/* log(m) = f - s (f - R), f = m - 1, s = f/(2 + f): log(1 + f) = 2 atanh(s) and 2 s = f - s f.
 * R = 2 (s^2/3 + s^4/5 + ...), s^2 <= 0.0295. `carry` is added before the last sum. */
static double log_mantissa(double m, double carry) {
  const double f = m - 1.0, s = f / (2.0 + f), z = s * s, half_square = 0.5 * f * f;
  double r = 2.0 / 23;
  r = r * z + 2.0 / 21;
  r = r * z + 2.0 / 19;
  r = r * z + 2.0 / 17;
  r = r * z + 2.0 / 15;
  r = r * z + 2.0 / 13;
  r = r * z + 2.0 / 11;
  r = r * z + 2.0 / 9;
  r = r * z + 2.0 / 7;
  r = r * z + 2.0 / 5;
  r = r * z + 2.0 / 3;
  return f - (half_square - (s * (half_square + r * z) + carry));
}

/* 0 -> -inf, negative -> NaN, inf and NaN go through; *is_special false: finite and positive. */
static double log_special(bool *is_special, double x) {
  *is_special = !(x > 0.0 && x <= 0x1.fffffffffffffp1023);
  if (x == 0.0) return -INFINITY;
  return x < 0.0 ? NAN : x;
}

/* Below 1 ulp. */
double mq_log(double x) {
  bool is_special;
  const double special = log_special(&is_special, x);
  if (is_special) return special;
  double k;
  const double m = split(&k, x);
  return k * MQ_LN2_HI + log_mantissa(m, k * MQ_LN2_LO);
}

float mq_logf(float x) {
  return (float)mq_log((double)x);
}

/* Exact for powers of two; within 2 ulp. */
double mq_log2(double x) {
  bool is_special;
  const double special = log_special(&is_special, x);
  if (is_special) return special;
  double k;
  const double m = split(&k, x);
  return k + log_mantissa(m, 0.0) * MQ_LOG2_E;
}

/* (e^2|x| - 1) / (e^2|x| + 1), and x - x^3/3 where that would cancel; in double, rounded once. */
float mq_tanhf(float x) {
  const double a = fabs((double)x);
  double t;
  if (a < 0x1p-12) {
    t = a - a * a * a / 3.0;
  } else {
    const double e = mq_exp_core(2.0 * (a > 20.0 ? 20.0 : a));
    t = (e - 1.0) / (e + 1.0);
  }
  return (float)copysign(t, (double)x);
}

/* x = k pi/2 + r + tail, |r| <= pi/4; returns k mod 4. pi/2 in three parts of 33, 33 and 53 bits: exact
 * products for |k| < 2^20. Larger x are first taken modulo the double nearest to 2 pi (fmod is exact, so
 * its bits are the same everywhere), which costs accuracy in proportion to x. */
static unsigned reduce(double *r, double *tail, double x) {
  const double part1 = 0x1.921fb544p+0, part2 = 0x1.0b4611a6p-34, part3 = 0x1.3198a2e037073p-69;
  const double two_over_pi = 0x1.45f306dc9c883p-1, two_pi = 0x1.921fb54442d18p+2;
  if (fabs(x) > 0x1p20) x = fmod(x, two_pi);
  const double shifted = x * two_over_pi + MQ_ROUND_SHIFTER, k = shifted - MQ_ROUND_SHIFTER;
  /* The first difference is exact; the second is not where it does not cancel: keep what it lost. */
  const double a = x - k * part1, b = k * part2, c = k * part3;
  const double high = a - b, lost = (a - high) - b;
  *r = high - (c - lost);
  *tail = (high - *r) - (c - lost);
  return (unsigned)(mq_bits_of(shifted) & 3);
}

static double sin_reduced(double r, double tail) {
  const double z = r * r;
  double q = 1.0 / 355687428096000.0;
  q = q * z - 1.0 / 1307674368000.0;
  q = q * z + 1.0 / 6227020800.0;
  q = q * z - 1.0 / 39916800.0;
  q = q * z + 1.0 / 362880.0;
  q = q * z - 1.0 / 5040.0;
  q = q * z + 1.0 / 120.0;
  q = q * z - 1.0 / 6.0;
  return r + (r * z * q + tail * (1.0 - 0.5 * z));
}

static double cos_reduced(double r, double tail) {
  const double z = r * r, half = 0.5 * z, w = 1.0 - half;
  double q = -1.0 / 6402373705728000.0;
  q = q * z + 1.0 / 20922789888000.0;
  q = q * z - 1.0 / 87178291200.0;
  q = q * z + 1.0 / 479001600.0;
  q = q * z - 1.0 / 3628800.0;
  q = q * z + 1.0 / 40320.0;
  q = q * z - 1.0 / 720.0;
  q = q * z + 1.0 / 24.0;
  return w + (((1.0 - w) - half) + (z * z * q - r * tail));
}

static double sin_of_quadrant(unsigned quadrant, double r, double tail) {
  const double v = quadrant & 1 ? cos_reduced(r, tail) : sin_reduced(r, tail);
  return quadrant & 2 ? -v : v;
}

/* Below 1 ulp for |x| <= 2^20; an absolute error of about |x| 2^-54 beyond. */
double mq_sin(double x) {
  if (!(fabs(x) <= 0x1.fffffffffffffp1023)) return NAN;
  if (fabs(x) < 0x1p-27) return x;
  double r, tail;
  const unsigned quadrant = reduce(&r, &tail, x);
  return sin_of_quadrant(quadrant, r, tail);
}

double mq_cos(double x) {
  if (!(fabs(x) <= 0x1.fffffffffffffp1023)) return NAN;
  double r, tail;
  const unsigned quadrant = reduce(&r, &tail, x);
  return sin_of_quadrant(quadrant + 1, r, tail);
}
