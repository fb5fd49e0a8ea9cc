/* Runs of values at quantization points, sums and pools: the formulas of src/program/arith_*.c. Codes are as
 * stored (internal.h); bounds are those of the codes less the zero point, `zero` is added to what was
 * rounded. Results may take the place of an operand. */
#ifndef MQ_RUNTIME_SIMD_POINTS_H
#define MQ_RUNTIME_SIMD_POINTS_H

#include "runtime/simd.h"

typedef enum runtime_rounding {
  RUNTIME_DIVIDE_EVEN, /* rne(clamp(x / scale)) */
  RUNTIME_DIVIDE_AWAY, /* round(clamp(x / scale)), half away from zero */
  RUNTIME_TIMES_EVEN,  /* rne(clamp(x f(1 / scale))) */
} runtime_rounding;

struct runtime_quantize {
  runtime_rounding rounding;
  float scale, lo, hi;
  int32_t zero;
};

typedef enum runtime_add_form {
  RUNTIME_ADD_FIXED = 1,  /* tflite_ref */
  RUNTIME_ADD_SHIFT_DOWN, /* xnnpack: (a ma + b mb + rounding) >> shift */
  RUNTIME_ADD_BIASED,     /* fbgemm */
  RUNTIME_ADD_FUSED,      /* ort: the zero point is inside what is rounded */
  RUNTIME_ADD_UP,         /* pot_shift */
  RUNTIME_ADD_EVEN,       /* pot_shift_even */
  RUNTIME_ADD_REAL,       /* trt_model */
} runtime_add_form;

struct runtime_add {
  runtime_add_form form;
  int32_t a_zero, b_zero, zero; /* taken from the codes as stored; added to what was rounded */
  int32_t a_multiplier, b_multiplier, y_multiplier;
  int32_t a_shift, b_shift, y_shift; /* to the right; pot_shift: of a and b to the left */
  float a_factor, b_factor, a_offset, b_offset, y_factor, y_offset;
  int32_t lo, hi;
  float f_lo, f_hi, scale, reciprocal; /* as in runtime_finish */
  bool is_quick;       /* sums fit 32-bit integers before they are clamped, whatever the codes */
  uint8_t least, most; /* of the codes as stored */
};

struct runtime_points {
  void (*quantize)(unsigned char *y, const float *x, int64_t n, const struct runtime_quantize *q);
  /* f(f(q - zero) scale) */
  void (*dequantize)(float *y, const unsigned char *x, int64_t n, int32_t zero, float scale);
  void (*add)(unsigned char *y, const unsigned char *a, const unsigned char *b, int64_t n,
              const struct runtime_add *add);
  /* sums[c] += x[p step + c] over n pixels. */
  void (*sum_pixels)(int32_t *sums, const unsigned char *x, int64_t n, int64_t step, int64_t channels);
  /* y[c] = the larger of y[c], x[c]. */
  void (*max)(unsigned char *y, const unsigned char *x, int64_t n);
  void (*look_up)(unsigned char *y, const unsigned char *x, int64_t n, const unsigned char *entries);
  /* f(f(x gain[c]) + shift[c]) and f(a + b), then clip (NaN stays NaN). */
  void (*affine)(float *y, const float *x, const float *gain, const float *shift, int64_t n, float lo,
                 float hi);
  void (*add_floats)(float *y, const float *a, const float *b, int64_t n, float lo, float hi);
  void (*clip)(float *y, const float *x, int64_t n, float lo, float hi);
};
MQ_SIMD_DECLARE(runtime_points)

#endif
