/* From sums to what is kept of them: each arithmetic's requantization (src/program/arith_*.c), 16 channels at
 * a time, with the same bits. */
#ifndef MQ_RUNTIME_SIMD_FINISH_H
#define MQ_RUNTIME_SIMD_FINISH_H

#include "runtime/simd/dot.h"

/* v: the sum with what is added to it as an integer. */
typedef enum runtime_form {
  RUNTIME_FIXED = 1,  /* tflite_ref: round(v multiplier / 2^31 2^shift), rounded twice */
  RUNTIME_FIXED_ONCE, /* tflite_ref's linear layers: rounded once, half up */
  RUNTIME_SCALE,      /* xnnpack, ort: rne(f(v) factor) */
  RUNTIME_BIASED,     /* fbgemm: rne((f(v) + bias) factor) */
  RUNTIME_SHIFT_UP,   /* pot_shift: v / 2^shift, ties up */
  RUNTIME_SHIFT_EVEN, /* pot_shift_even */
  RUNTIME_REAL,       /* trt_model: rne(clip((f(v) factor + bias + shortcut) / scale)) */
  RUNTIME_FLOAT,      /* dequant_f32, to floats: clip(f(v) factor) */
  RUNTIME_FLOAT_BIAS, /* trt_model, to floats: clip(f(v) factor + bias) */
} runtime_form;

/* Of a layer; arrays have an element for each channel of each block, 16 to a block. */
struct runtime_finish {
  runtime_form form;
  const int32_t *add;    /* to the sums: zero points, and the bias where it is an integer */
  const int32_t *w_zero; /* NULL: all 0; else w_zero box[p] is subtracted */
  const int32_t *multiplier, *left, *right; /* shifts, 0 or more; right above 31: `keep` is 0, else -1 */
  const int32_t *keep;
  const float *factor, *bias;
  int32_t lo, hi, zero;    /* a code is clamp(.., lo, hi) + zero: lo and hi are less the zero point */
  float f_lo, f_hi;        /* the same, of floats before they are rounded: with the activation's clip */
  float scale, reciprocal; /* of the output; f(1 / scale) */
  float clip_lo, clip_hi;  /* of floats that stay */
  float shortcut_scale;
  int32_t shortcut_zero;
  /* Codes are of 8 bits, and values fit 32-bit integers before they are clamped (quick.c). */
  bool is_quick;
  float rest;          /* f(1 / scale - reciprocal) */
  uint8_t least, most; /* of the codes as stored */
};

/* A tile: pixels x blocks of 16 sums, of which the last block's first `n_last` channels count. */
struct runtime_tile {
  int n_pixels, n_blocks, n_last;
  int64_t acc_step;                     /* from pixel to pixel: at least 16 n_blocks */
  int64_t channel;                      /* the first, in the arrays of the layer */
  const int32_t *acc, *box;             /* box: of each pixel, where w_zero is */
  unsigned char *const *y;              /* of each pixel; results go from y_first (bytes) on */
  const unsigned char *const *shortcut; /* likewise, 8-bit, from shortcut_first on; NULL: none */
  int64_t y_first, shortcut_first;
};

struct runtime_finisher {
  void (*finish)(const struct runtime_finish *finish, const struct runtime_tile *tile);
};
MQ_SIMD_DECLARE(runtime_finisher)

#endif
