/* Rounding and exact helpers without libm. Floats are IEEE 754 single and double, evaluated in their own
 * precision, and products are not fused into sums (-ffp-contract=off). */
#ifndef MQ_PROGRAM_NUMBER_H
#define MQ_PROGRAM_NUMBER_H

#include <float.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(FLT_EVAL_METHOD == 0, "floats must be evaluated in their own precision");
_Static_assert(sizeof(float) == 4 && sizeof(double) == 8, "floats must be IEEE 754 single and double");

#define PROGRAM_INFINITY (__builtin_inff())

static inline uint32_t program_float_bits(float x) {
  const union {
    float x;
    uint32_t bits;
  } both = {.x = x};
  return both.bits;
}

static inline float program_float_of(uint32_t bits) {
  const union {
    uint32_t bits;
    float x;
  } both = {.bits = bits};
  return both.x;
}

static inline uint64_t program_double_bits(double x) {
  const union {
    double x;
    uint64_t bits;
  } both = {.x = x};
  return both.bits;
}

static inline double program_double_of(uint64_t bits) {
  const union {
    uint64_t bits;
    double x;
  } both = {.bits = bits};
  return both.x;
}

static inline bool program_is_finite(float x) {
  return (program_float_bits(x) & 0x7f800000) != 0x7f800000;
}

/* NaN stays NaN. */
static inline float program_clip_float(float x, float lo, float hi) {
  x = x < lo ? lo : x;
  return x > hi ? hi : x;
}

/* NaN gives lo: before a float becomes a code. */
static inline float program_clip(float x, float lo, float hi) {
  return x > lo ? (x < hi ? x : hi) : lo;
}

static inline int32_t program_clamp(int64_t q, int32_t lo, int32_t hi) {
  return q < lo ? lo : q > hi ? hi : (int32_t)q;
}

/* Whole numbers beyond this are all the same to a code: they are clamped. */
#define PROGRAM_ROUND_LIMIT 0x1p30f

/* Half to even; |x| beyond the limit gives the limit, NaN -limit. The integer part of a float is exact. */
static inline int32_t program_round_even(float x) {
  x = program_clip(x, -PROGRAM_ROUND_LIMIT, PROGRAM_ROUND_LIMIT);
  const int32_t whole = (int32_t)x;
  const float rest = x - (float)whole;
  if (rest > 0.5f || (rest == 0.5f && whole % 2 != 0)) return whole + 1;
  if (rest < -0.5f || (rest == -0.5f && whole % 2 != 0)) return whole - 1;
  return whole;
}

/* Half away from zero; limits as above. */
static inline int32_t program_round_away(float x) {
  x = program_clip(x, -PROGRAM_ROUND_LIMIT, PROGRAM_ROUND_LIMIT);
  const int32_t whole = (int32_t)x;
  const float rest = x - (float)whole;
  return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

/* floor(log2 x) of a positive normal x. */
static inline int32_t program_exponent(float x) {
  return (int32_t)(program_float_bits(x) >> 23 & 0xff) - 127;
}

/* 2^exponent, -126..127. */
static inline float program_power(int32_t exponent) {
  return program_float_of((uint32_t)(exponent + 127) << 23);
}

/* fmaf: a b + c rounded once. */
float program_fma(float a, float b, float c);
/* Half to even; false if |x| is not below 2^31. */
bool program_round_double(int32_t *whole, double x);
/* x = fraction * 2^exponent, fraction in [1/2, 1), for finite x > 0. */
double program_split(int32_t *exponent, double x);

#endif
