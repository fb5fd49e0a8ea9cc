/* Element types: traits, and conversion of one element. */
#include "tensor/element.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const struct mq_dtype_traits traits[MQ_DTYPE_COUNT] = {
    [MQ_F32] = {"float32", 4, true, true}, [MQ_F64] = {"float64", 8, true, true},
    [MQ_F16] = {"float16", 2, true, true}, [MQ_BF16] = {"bfloat16", 2, true, true},
    [MQ_I8] = {"int8", 1, false, true},    [MQ_U8] = {"uint8", 1, false, false},
    [MQ_I16] = {"int16", 2, false, true},  [MQ_U16] = {"uint16", 2, false, false},
    [MQ_I32] = {"int32", 4, false, true},  [MQ_U32] = {"uint32", 4, false, false},
    [MQ_I64] = {"int64", 8, false, true},  [MQ_U64] = {"uint64", 8, false, false},
    [MQ_BOOL] = {"bool", 1, false, false},
};

const struct mq_dtype_traits *mq_dtype_get(mq_dtype dtype) {
  assert(dtype > 0 && dtype < MQ_DTYPE_COUNT);
  return &traits[dtype];
}

static uint32_t float_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static float float_of_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

float mq_float_from_half(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 31u, mantissa = half & 0x3FFu;
  if (exponent == 31) {
    return float_of_bits(sign | 0x7F800000u | mantissa << 13);
  }
  if (exponent == 0) {
    float magnitude = (float)mantissa * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return float_of_bits(sign | (exponent + 112u) << 23 | mantissa << 13);
}

uint16_t mq_half_from_float(float x) {
  uint32_t bits = float_bits(x);
  uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
  bits &= 0x7FFFFFFFu;
  if (bits > 0x7F800000u) {
    return (uint16_t)(sign | 0x7E00u);
  }
  if (bits >= 0x477FF000u) { /* rounds to 65536 or beyond */
    return (uint16_t)(sign | 0x7C00u);
  }
  if (bits < 0x38800000u) { /* subnormal: multiples of 2^-24, rounded by the addition */
    float shifted = float_of_bits(bits) + 0.5f;
    return (uint16_t)(sign | (float_bits(shifted) - 0x3F000000u));
  }
  uint32_t rounded = bits + 0xFFFu + (bits >> 13 & 1u);
  return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

static float float_from_bfloat(uint16_t bfloat) {
  return float_of_bits((uint32_t)bfloat << 16);
}

static uint16_t bfloat_from_float(float x) {
  uint32_t bits = float_bits(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) {
    return (uint16_t)(bits >> 16 | 0x40u);
  }
  return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

double mq_element_double(mq_dtype dtype, const void *p) {
  switch (dtype) {
    case MQ_F32:
      return (double)*(const float *)p;
    case MQ_F64:
      return *(const double *)p;
    case MQ_F16:
      return (double)mq_float_from_half(*(const uint16_t *)p);
    case MQ_BF16:
      return (double)float_from_bfloat(*(const uint16_t *)p);
    case MQ_U64:
      return (double)*(const uint64_t *)p;
    default:
      return (double)mq_element_int(dtype, p);
  }
}

static int64_t saturate(double x, double least, double most) {
  if (isnan(x)) {
    return 0;
  }
  double rounded = rint(x);
  if (rounded < least) {
    rounded = least;
  }
  return rounded >= 0x1p63 || rounded > most ? (most >= 0x1p63 ? INT64_MAX : (int64_t)most)
                                             : (int64_t)rounded;
}

int64_t mq_element_int(mq_dtype dtype, const void *p) {
  switch (dtype) {
    case MQ_I8:
      return *(const int8_t *)p;
    case MQ_U8:
      return *(const uint8_t *)p;
    case MQ_I16:
      return *(const int16_t *)p;
    case MQ_U16:
      return *(const uint16_t *)p;
    case MQ_I32:
      return *(const int32_t *)p;
    case MQ_U32:
      return *(const uint32_t *)p;
    case MQ_I64:
      return *(const int64_t *)p;
    case MQ_U64: {
      uint64_t value = *(const uint64_t *)p;
      return value > INT64_MAX ? INT64_MAX : (int64_t)value;
    }
    case MQ_BOOL:
      return *(const uint8_t *)p != 0;
    default:
      return saturate(mq_element_double(dtype, p), -0x1p63, 0x1p63);
  }
}

static void set_float(mq_dtype dtype, void *p, double x) {
  switch (dtype) {
    case MQ_F32:
      *(float *)p = (float)x;
      break;
    case MQ_F64:
      *(double *)p = x;
      break;
    case MQ_F16:
      *(uint16_t *)p = mq_half_from_float((float)x);
      break;
    default:
      *(uint16_t *)p = bfloat_from_float((float)x);
      break;
  }
}

static int64_t clamp(int64_t i, int64_t least, int64_t most) {
  return i < least ? least : i > most ? most : i;
}

void mq_element_set_int(mq_dtype dtype, void *p, int64_t i) {
  switch (dtype) {
    case MQ_I8:
      *(int8_t *)p = (int8_t)clamp(i, INT8_MIN, INT8_MAX);
      break;
    case MQ_U8:
      *(uint8_t *)p = (uint8_t)clamp(i, 0, UINT8_MAX);
      break;
    case MQ_I16:
      *(int16_t *)p = (int16_t)clamp(i, INT16_MIN, INT16_MAX);
      break;
    case MQ_U16:
      *(uint16_t *)p = (uint16_t)clamp(i, 0, UINT16_MAX);
      break;
    case MQ_I32:
      *(int32_t *)p = (int32_t)clamp(i, INT32_MIN, INT32_MAX);
      break;
    case MQ_U32:
      *(uint32_t *)p = (uint32_t)clamp(i, 0, UINT32_MAX);
      break;
    case MQ_I64:
      *(int64_t *)p = i;
      break;
    case MQ_U64:
      *(uint64_t *)p = i < 0 ? 0 : (uint64_t)i;
      break;
    case MQ_BOOL:
      *(uint8_t *)p = i != 0;
      break;
    default:
      set_float(dtype, p, (double)i);
      break;
  }
}

void mq_element_convert(mq_dtype to_dtype, void *to, mq_dtype from_dtype, const void *from) {
  bool is_from_float = traits[from_dtype].is_float;
  if (traits[to_dtype].is_float) {
    set_float(to_dtype, to, mq_element_double(from_dtype, from));
  } else if (to_dtype == MQ_BOOL && is_from_float) {
    *(uint8_t *)to = mq_element_double(from_dtype, from) != 0;
  } else {
    mq_element_set_int(to_dtype, to, mq_element_int(from_dtype, from));
  }
}
