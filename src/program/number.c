#include "program/number.h"

/* The product of two floats is exact in double. Its sum with c is rounded to odd (the last bit set where
 * anything was lost), which keeps the second rounding, to 24 bits, right: 53 >= 24 + 2. */
float program_fma(float a, float b, float c) {
  const double product = (double)a * (double)b, other = (double)c;
  const double sum = product + other;
  const double part = sum - product;
  const double lost = (product - (sum - part)) + (other - part); /* exact: Knuth's two-sum */
  uint64_t bits = program_double_bits(sum);
  if ((lost > 0 || lost < 0) && (bits & 1) == 0) bits += (lost > 0) == (sum > 0) ? (uint64_t)1 : (uint64_t)-1;
  return (float)program_double_of(bits);
}

bool program_round_double(int32_t *whole, double x) {
  *whole = 0;
  const double limit = 2147483648.0; /* 2^31 */
  if (!(x > -limit && x < limit)) return false;
  int64_t n = (int64_t)x;
  const double rest = x - (double)n;
  if (rest > 0.5 || (rest == 0.5 && n % 2 != 0)) n++;
  if (rest < -0.5 || (rest == -0.5 && n % 2 != 0)) n--;
  if (n > INT32_MAX || n <= INT32_MIN) return false;
  *whole = (int32_t)n;
  return true;
}

double program_split(int32_t *exponent, double x) {
  int32_t shift = 0;
  if (x < 0x1p-1022) {
    x *= 0x1p54;
    shift = -54;
  }
  const uint64_t bits = program_double_bits(x), exponent_bits = (uint64_t)0x7ff << 52;
  *exponent = (int32_t)(bits >> 52) - 1022 + shift;
  return program_double_of((bits & ~exponent_bits) | (uint64_t)1022 << 52);
}
