/* The integer program: what a quantized network is on a device. Steps in a flat list over numbered tensors.
 *
 * This header and src/program/ are freestanding C17: no other header of the project, no allocation, no libm,
 * no stdio, little endian. They are the definition (a reference executor written for reading), the file
 * format (docs/program.md) and the starting point for a port to a device.
 *
 *   lowering:  fill in struct mq_program -> mq_program_finish -> mq_program_file_bytes, mq_program_write
 *   running:   mq_program_memory_bytes, mq_program_load -> mq_program_run_reference, or an executor of your
 * own
 *
 * Notation: real x, scale s, zero point z, code q: x = s (q - z). f(..): rounded to float32. */
#ifndef MQBENCH_PROGRAM_H
#define MQBENCH_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mq_program_status {
  MQ_PROGRAM_OK,
  MQ_PROGRAM_INVALID, /* a file or a program that breaks a rule */
  MQ_PROGRAM_NO_ROOM, /* the caller's memory is too small */
} mq_program_status;

/* One line, no newline: which step, tensor or field, what was found, what was expected. May be NULL in every
 * call below. */
struct mq_program_err {
  char message[256];
};

#define MQ_PROGRAM_MAX_RANK 6
#define MQ_PROGRAM_MAX_ITEMS 8192                  /* tensors, and steps */
#define MQ_PROGRAM_MAX_DIM (1 << 24)               /* of a tensor, a window, a stride, a pad */
#define MQ_PROGRAM_MAX_ELEMENTS ((int64_t)1 << 28) /* of a tensor, and of weights */

/* ---- Tensors --------------------------------------------------------------------------------------------
 * Shapes are those of one image: the batch is no dimension. Every tensor is row-major. Images are [H][W][C],
 * vectors [C], tokens [L][C]. */
typedef enum mq_program_type {
  MQ_PROGRAM_S8 = 1,
  MQ_PROGRAM_U8,
  MQ_PROGRAM_S16,
  MQ_PROGRAM_S32, /* whole numbers without a scale; may only be moved */
  MQ_PROGRAM_F32,
} mq_program_type;

struct mq_program_tensor {
  const char *name; /* the user's name; "" for what only the program has */
  mq_program_type type;
  bool is_channels_last; /* the user's tensor has the last dimension first: C, H, W */
  int32_t rank;          /* 0..6 */
  int32_t dim[MQ_PROGRAM_MAX_RANK];
  /* s8, u8, s16: codes lie in [code_min, code_max], the bit-width's range, with zero_point inside. s32, f32:
   * all four are 0. */
  float scale;
  int32_t zero_point, code_min, code_max;
  const void
      *constant; /* elements, aligned to their size: no step makes it. NULL: an input or made by a step */
  /* By mq_program_finish: */
  uint32_t first_step, last_step; /* made there (an input or constant: 0) and last read there */
  size_t offset;                  /* in the arena */
  uint32_t next_in_arena;         /* private */
};

/* ---- Convolutions and linear layers ------------------------------------------------------------------ */
/* Of an output channel: made by the arithmetic's make_channel, checked by mq_program_finish. The fields a
 * formula does not use are 0. This is the layout in the file too: seven 32-bit words. */
struct mq_program_channel {
  float w_scale;
  int32_t w_zero_point; /* of the code as stored; [-128, 127] */
  int32_t bias;         /* added to the accumulator */
  int32_t multiplier, shift;
  float factor, offset; /* offset: a bias that is a float */
};

struct mq_program_window { /* [0] rows, [1] columns */
  int32_t kernel[2], stride[2], dilation[2], pad_begin[2], pad_end[2];
};

/* acc = sum (q - z)(w - w_zero_point) over the taps inside the image: padding contributes 0. */
struct mq_program_conv {
  struct mq_program_window window; /* linear: all ones, pads 0 */
  int32_t groups;
  bool is_transposed; /* output row = input row * stride + tap * dilation - pad_begin; pad_end is ONNX's less
                         the output padding, so it may be negative */
  bool is_per_tensor; /* the user's weights have one scale (some arithmetics differ in a rounding) */
  const char *w_name; /* the user's name of the weights */
  const int8_t *weights;                     /* [O][KH][KW][I / groups], transposed too; linear: [O][I] */
  const struct mq_program_channel *channels; /* O */
};

struct mq_program_conv_float {
  struct mq_program_window window; /* as above */
  int32_t groups;
  bool is_transposed;
  const char *w_name;
  const float *weights; /* as above */
  const float *bias;    /* O */
};

/* ---- Steps ------------------------------------------------------------------------------------------- */
typedef enum mq_step_kind {
  /* Between floats and codes. */
  MQ_STEP_QUANTIZE = 1, /* f32 -> codes: the arithmetic's quantize */
  MQ_STEP_DEQUANTIZE,   /* codes -> f32: f(f(q - z) * s) */
  /* On codes, with the arithmetic's requantization (a float output: the arithmetic's dequantize). */
  MQ_STEP_CONV, /* [H][W][I] -> [H'][W'][O]. A second input (trt_model only): the shortcut, codes of y's shape
                 */
  MQ_STEP_LINEAR,  /* [..][I] -> [..][O]; second input likewise */
  MQ_STEP_ADD,     /* a + b, broadcast: equal ranks, each dimension y's or 1 */
  MQ_STEP_AVERAGE, /* pool over windows: [H][W][C] -> [H'][W'][C]. f32: added in float32, then divided */
  MQ_STEP_MEAN,    /* over all but the last dimension: [H][W][C] -> [C] or [1][1][C]. f32: added in double */
  MQ_STEP_TABLE,   /* s8, u8 -> s8, u8, s16, f32: entries[q - least code of the type] */
  /* Moves of any type; codes keep scale, zero point and type. */
  MQ_STEP_MAX, /* pool over windows; not s32 */
  MQ_STEP_CONCAT,
  MQ_STEP_PAD,       /* with a constant; nowhere negative (that is a slice) */
  MQ_STEP_SLICE,     /* y[o] = x[start + o * step] along every axis; a split is several */
  MQ_STEP_GATHER,    /* y[o] = x[index[o]] along one axis; a nearest resize is one for H and one for W */
  MQ_STEP_TRANSPOSE, /* y's dimension i is x's dimension perm[i] */
  MQ_STEP_RESHAPE,   /* row-major, flatten and squeeze too; in [H][W][C] order, not the user's [C][H][W] */
  /* On f32: islands, and targets that leave floats between layers. */
  MQ_STEP_AFFINE,  /* f(f(x * gain[c]) + shift[c]), c: last dimension; then clip */
  MQ_STEP_UNARY,   /* see mq_program_unary */
  MQ_STEP_BINARY,  /* broadcast as MQ_STEP_ADD; then clip */
  MQ_STEP_SOFTMAX, /* over the last dimension */
  /* Layers that stay float: f(sum + bias), products added in double in the order of the weights, taps outside
   * the image left out; then clip. */
  MQ_STEP_CONV_FLOAT,   /* [H][W][I] -> [H'][W'][O] */
  MQ_STEP_LINEAR_FLOAT, /* [..][I] -> [..][O] */
  MQ_STEP_END,          /* one past the last */
} mq_step_kind;

typedef enum mq_program_unary { /* each operation rounded to float32, in the order written */
  MQ_PROGRAM_CLIP = 1,          /* min(max(x, clip_lo), clip_hi) */
  MQ_PROGRAM_SIGMOID,           /* 1 / (1 + exp(-x)), a fixed sequence of operations: float_math.c */
  MQ_PROGRAM_HARD_SIGMOID,      /* max(0, min(1, alpha x + beta)) */
  MQ_PROGRAM_HARD_SWISH,        /* x max(0, min(1, x/6 + 0.5)) */
  MQ_PROGRAM_LEAKY_RELU,        /* x >= 0 ? x : alpha x */
  MQ_PROGRAM_UNARY_END,
} mq_program_unary;

typedef enum mq_program_binary {
  MQ_PROGRAM_ADD = 1,
  MQ_PROGRAM_SUB,
  MQ_PROGRAM_MUL,
  MQ_PROGRAM_DIV,
  MQ_PROGRAM_PRELU, /* a >= 0 ? a : a b */
  MQ_PROGRAM_BINARY_END,
} mq_program_binary;

/* An arithmetic: how accumulators, sums and floats become codes. One file each, src/program/arith_*.c. */
typedef enum mq_arithmetic_kind {
  MQ_ARITHMETIC_TFLITE = 1,     /* tflite_ref */
  MQ_ARITHMETIC_XNNPACK,        /* xnnpack */
  MQ_ARITHMETIC_FBGEMM,         /* fbgemm */
  MQ_ARITHMETIC_ORT,            /* ort */
  MQ_ARITHMETIC_POT_SHIFT,      /* pot_shift, ties up */
  MQ_ARITHMETIC_POT_SHIFT_EVEN, /* pot_shift with half_even */
  MQ_ARITHMETIC_TRT,            /* trt_model */
  MQ_ARITHMETIC_DEQUANT_F32,    /* dequant_f32 */
  MQ_ARITHMETIC_END,
} mq_arithmetic_kind;

struct mq_program_step {
  mq_step_kind kind;
  mq_arithmetic_kind arithmetic; /* of steps that round: most often the program's. A layer whose output stays
                                    float in a program of codes takes DEQUANT_F32 */
  const char *name;              /* the user's node, for messages */
  uint32_t n_inputs;
  const uint32_t *inputs; /* tensors */
  uint32_t output;        /* a tensor that no other step makes */
  /* Quantize, conv, linear, add, average, mean with an output of codes: they are clamped here, which is
   * [code_min, code_max] of the output or, with a fused activation, a tighter range (mq_program_clamp).
   * Other steps: 0. */
  int32_t lo, hi;
  /* Activation on floats: trt_model (before its rounding: lo and hi are then the bit-width's), conv and
   * linear (and those on floats) with a float output, affine, binary, unary clip. -INFINITY and INFINITY:
   * none. Other steps: those.
   */
  float clip_lo, clip_hi;
  union {
    struct mq_program_conv conv; /* conv, linear */
    struct mq_program_conv_float conv_float;
    struct {
      struct mq_program_window window;
      bool counts_padding; /* average: what pads hold counts as 0, as far as the pads reach */
    } pool;                /* average, max: pads below the window's extent, every window touches the image */
    struct {
      const void *entries; /* 256 of the output's type */
    } table;
    struct {
      int32_t axis;
    } concat;
    struct {
      int32_t begin[MQ_PROGRAM_MAX_RANK]; /* y is larger by begin and the rest at the end */
      int32_t code;                       /* what is written into codes */
      float value;                        /* and into f32 */
    } pad;
    struct {
      int32_t start[MQ_PROGRAM_MAX_RANK], step[MQ_PROGRAM_MAX_RANK]; /* step: not 0 */
    } slice;
    struct {
      int32_t axis;
      const int32_t *index; /* y's dimension `axis` of them, each inside x */
    } gather;
    struct {
      int32_t perm[MQ_PROGRAM_MAX_RANK];
    } transpose;
    struct {
      const float *gain, *shift; /* last dimension of them */
    } affine;
    struct {
      mq_program_unary kind;
      float alpha, beta;
    } unary;
    struct {
      mq_program_binary kind;
    } binary;
  } as;
};

/* Plain data; everything pointed to is borrowed (from the file's bytes and the loader's memory, or from
 * whoever lowered). */
struct mq_program {
  const char *name, *target, *producer; /* of the model; the target's name; who wrote it, with version */
  mq_arithmetic_kind arithmetic;        /* the target's */
  uint32_t n_tensors, n_steps, n_inputs, n_outputs;
  struct mq_program_tensor *tensors;
  struct mq_program_step *steps;    /* in the order of execution */
  const uint32_t *inputs, *outputs; /* tensors; inputs are not constant and named once */
  /* By mq_program_finish: */
  size_t arena_bytes; /* for one image */
  uint64_t work;      /* innermost operations for one image, about */
};

/* Checks every rule of this header and fills in what is derived (lifetimes, arena, work). To be called once a
 * program is filled in; mq_program_load has done so. In particular: shapes follow from the steps; nothing is
 * read before it is made; every channel is what make_channel answers for its scales; and no accumulator can
 * overflow (mq_program_bound). */
mq_program_status mq_program_finish(struct mq_program *program, struct mq_program_err *err);

size_t mq_program_type_bytes(mq_program_type type);                     /* 0: no type */
int64_t mq_program_elements(const struct mq_program_tensor *tensor);    /* of one image */
size_t mq_program_tensor_bytes(const struct mq_program_tensor *tensor); /* of one image */
const char *mq_step_kind_name(mq_step_kind kind);                       /* "conv"; "?" if there is none */
/* Element `at` of a tensor's data as the number it stands for: f(f(q - z) * s); s32 and f32 as they are. */
float mq_program_value(const struct mq_program_tensor *tensor, const void *data, int64_t at);

/* Least and largest accumulator of an output channel, bias included, for every input in the tensor's range
 * and any subset of taps; weights: n codes of the channel. False where it, or the plain sum of code products
 * before zero points are corrected (inputs and weights as stored, or shifted to u8 and s8), or the sum
 * without the bias, may leave 32 bits; lo and hi are then those of the plain sum if that alone does not fit.
 * 16-bit inputs: 64-bit accumulators, false beyond 2^53. */
bool mq_program_bound(int64_t *lo, int64_t *hi, const struct mq_program_tensor *x, const int8_t *weights,
                      int64_t n, int32_t w_zero_point, int32_t bias);

/* [lo, hi] of a fused activation Clip(u, v) (ReLU: 0, INFINITY) on codes: lo = max(code_min, z +
 * round(f(u/s))), hi = min(code_max, z + round(f(v/s))), half away from zero. */
void mq_program_clamp(int32_t *lo, int32_t *hi, const struct mq_program_tensor *y, float u, float v);

/* ---- Arithmetics ------------------------------------------------------------------------------------- */
/* What lowering knows of an output channel. */
struct mq_program_layer {
  float x_scale, w_scale;
  float y_scale; /* 0: the output is float */
  int32_t w_zero_point;
  double bias; /* real */
  bool is_linear, is_per_tensor;
};
/* Where results go. */
struct mq_program_output {
  float scale;
  int32_t zero_point, lo, hi;
  float clip_lo, clip_hi;
};
/* Factors; each arithmetic's file says what it keeps in which field. */
struct mq_program_scaling {
  int32_t multiplier, shift;
  float factor, offset;
};
struct mq_program_add {
  struct mq_program_scaling a, b, y;
  int32_t a_zero_point, b_zero_point;
};
struct mq_program_mean {
  struct mq_program_scaling scaling;
  int32_t x_zero_point, n;
};

/* make_*: once, before running. MQ_PROGRAM_INVALID where the arithmetic has no answer for these scales (the
 * message begins with what is wrong; callers put the step before it). The others are total: any int64 within
 * the proven bounds, any float (NaN gives lo). A NULL function: the arithmetic has no such step on codes. */
struct mq_program_arithmetic {
  const char *name, *describes;
  bool has_float_bias; /* channel.offset; else channel.bias */
  mq_program_status (*make_channel)(struct mq_program_channel *channel, const struct mq_program_layer *layer,
                                    struct mq_program_err *err);
  /* True if nothing overflows for accumulators (bias included) in [lo, hi]. NULL: never does. */
  bool (*fits)(const struct mq_program_channel *channel, int64_t lo, int64_t hi);
  int32_t (*quantize)(float x, const struct mq_program_output *y);
  /* acc: the sum without the bias. shortcut: f(r * s_r), real; 0 where there is none. */
  int32_t (*requantize)(int64_t acc, const struct mq_program_channel *channel, float shortcut,
                        const struct mq_program_output *y);
  /* The same for linear layers; NULL: `requantize` does. */
  int32_t (*requantize_linear)(int64_t acc, const struct mq_program_channel *channel, float shortcut,
                               const struct mq_program_output *y);
  /* A float output, before the clip. */
  float (*dequantize)(int64_t acc, const struct mq_program_channel *channel);
  mq_program_status (*make_add)(struct mq_program_add *add, const struct mq_program_tensor *a,
                                const struct mq_program_tensor *b, const struct mq_program_tensor *y,
                                struct mq_program_err *err);
  int32_t (*add)(int32_t a, int32_t b, const struct mq_program_add *add, const struct mq_program_output *y);
  /* sum of n codes. average: windows (n may differ between windows); mean: global. */
  mq_program_status (*make_average)(struct mq_program_mean *mean, const struct mq_program_tensor *x,
                                    const struct mq_program_tensor *y, int32_t n, struct mq_program_err *err);
  int32_t (*average)(int64_t sum, const struct mq_program_mean *mean, const struct mq_program_output *y);
  mq_program_status (*make_mean)(struct mq_program_mean *mean, const struct mq_program_tensor *x,
                                 const struct mq_program_tensor *y, int32_t n, struct mq_program_err *err);
  int32_t (*mean)(int64_t sum, const struct mq_program_mean *mean, const struct mq_program_output *y);
};

const struct mq_program_arithmetic *mq_program_arithmetic_get(mq_arithmetic_kind kind); /* NULL: none */
/* "tflite_ref", "xnnpack", "fbgemm", "ort", "pot_shift", "pot_shift_even", "trt_model", "dequant_f32"; 0:
 * none */
mq_arithmetic_kind mq_program_arithmetic_find(const char *name);
struct mq_program_output mq_program_get_output(const struct mq_program *program,
                                               const struct mq_program_step *step);

/* ---- File -------------------------------------------------------------------------------------------- */
/* Bytes the file takes, and writing it. The program must be finished. The same program gives the same bytes.
 */
mq_program_status mq_program_file_bytes(size_t *bytes, const struct mq_program *program,
                                        struct mq_program_err *err);
mq_program_status mq_program_write(void *file, size_t file_bytes, const struct mq_program *program,
                                   struct mq_program_err *err);

/* The file's bytes must lie at an address divisible by 16 and outlive the program: weights, channels,
 * constants and names stay in them. `memory` (aligned likewise, mq_program_memory_bytes of it) takes
 * everything else and outlives the program too; *program is NULL on failure. Any bytes are safe to load:
 * whatever is accepted can be run. */
mq_program_status mq_program_memory_bytes(size_t *bytes, const void *file, size_t file_bytes,
                                          struct mq_program_err *err);
mq_program_status mq_program_load(struct mq_program **program, const void *file, size_t file_bytes,
                                  void *memory, size_t memory_bytes, struct mq_program_err *err);

/* ---- The reference executor -------------------------------------------------------------------------- */
/* Sees every tensor right after its step, and the inputs first. */
typedef void (*mq_program_see_fn)(void *context, const struct mq_program *program, uint32_t tensor,
                                  int64_t image, const void *data);

struct mq_program_run {
  const void *const *inputs; /* n_inputs: n_images x the tensor, contiguous, aligned to its elements */
  void *const *outputs;      /* n_outputs: likewise */
  int64_t n_images;
  void *arena; /* program->arena_bytes, aligned to 16; whatever was in it */
  size_t arena_bytes;
  mq_program_see_fn see; /* or NULL */
  void *context;
};
/* Image by image; codes of inputs outside [code_min, code_max] are MQ_PROGRAM_INVALID. */
mq_program_status mq_program_run_reference(const struct mq_program *program, const struct mq_program_run *run,
                                           struct mq_program_err *err);

#endif
