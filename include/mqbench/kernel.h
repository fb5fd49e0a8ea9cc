/* Kernels: functions on tensors that know no graph. oneDNN behind one wrapper, and vectorised loops beside
 * their plain references.
 *
 * A prepared kernel (mq_conv, mq_matmul, mq_pool) is immutable after creation and may run in any worker at
 * the same time; each run gets scratch memory of the kernel's size from its caller (64-byte aligned; may be
 * NULL where the size is 0). oneDNN runs with one thread per call. Activations are channels last, float32. */
#ifndef MQBENCH_KERNEL_H
#define MQBENCH_KERNEL_H

#include "mqbench/tensor.h"

/* ---- Instruction set ------------------------------------------------------------------------------------
 * The cap holds for oneDNN and for our own loops. Call once, before any other kernel function. */
typedef enum mq_isa {
  MQ_ISA_BASE, /* SSE2; never chosen by oneDNN's own cap below AVX2, used by loops on old CPUs */
  MQ_ISA_AVX2,
  MQ_ISA_AVX512,
  MQ_ISA_AVX512_VNNI,
  MQ_ISA_AVX512_BF16,
  MQ_ISA_AMX,
  MQ_ISA_NATIVE, /* as a request only */
} mq_isa;
mq_status mq_isa_parse(mq_isa *isa, const char *text, struct mq_err *err) MQ_MUST_CHECK;
const char *mq_isa_name(mq_isa isa);
/* Resolves the request against the CPU (a cap above what the CPU has gives what it has), tells oneDNN. */
mq_status mq_kernel_start(mq_isa cap, struct mq_err *err) MQ_MUST_CHECK;
mq_isa mq_kernel_isa(void);                   /* the resolved one */
const char *mq_kernel_cpu_name(void);         /* "AMD EPYC ..." from CPUID */
const char *mq_kernel_onednn_version(void);   /* "2.6.3" */
void mq_kernel_start_worker(unsigned worker); /* for mq_pool_create: one OpenMP thread here */
/* oneDNN's threads within one call, 1 unless said otherwise: for measuring how fast one image can be. To be
 * said before a kernel is created, in a process that runs kernels from one thread only. Sums are cut
 * differently then: float bits are no longer those that are promised. */
void mq_kernel_use_threads_within(unsigned n_threads);

/* ---- What may follow a convolution or matrix product, in order, fused ------------------------------------
 */
typedef enum mq_post_kind {
  MQ_POST_ADD = 1, /* + residual of the output's shape (at most one) */
  MQ_POST_AFFINE,  /* per output channel v * gain[c] + shift[c], unfused multiply then add */
  MQ_POST_CLIP,    /* min(max(v, lo), hi); hi may be +inf */
} mq_post_kind;

#define MQ_MAX_POSTS 4
struct mq_post {
  mq_post_kind kind;
  float lo, hi;
  const float *gain, *shift; /* copied at creation */
};

/* ---- Convolution ------------------------------------------------------------------------------------------
 */
struct mq_conv;
struct mq_conv_desc {
  struct mq_shape input; /* N C H W with a concrete N (a slice) */
  const struct mq_tensor
      *weights; /* float32 row-major O x I/groups x KH x KW; transposed: I x O/groups x KH x KW */
  const struct mq_tensor *bias;                                                    /* float32 O, or NULL */
  int64_t stride[2], dilation[2], pad_begin[2], pad_end[2], output_pad[2], groups; /* dilation 1 = dense */
  bool is_transposed;
  struct mq_post posts[MQ_MAX_POSTS];
  int n_posts;
};
/* Weights are packed here, once. */
mq_status mq_conv_create(struct mq_conv **conv, const struct mq_conv_desc *desc,
                         struct mq_err *err) MQ_MUST_CHECK;
void mq_conv_destroy(struct mq_conv *conv);
struct mq_shape mq_conv_output_shape(const struct mq_conv *conv);
size_t mq_conv_scratch_bytes(const struct mq_conv *conv);
/* y, x, residual: channels-last data; residual NULL without MQ_POST_ADD; y may be residual's memory. */
mq_status mq_conv_forward(const struct mq_conv *conv, float *y, const float *x, const float *residual,
                          void *scratch, struct mq_err *err) MQ_MUST_CHECK;
/* Plain loops in double, rounded once to float32; same arguments. */
mq_status mq_conv_forward_reference(const struct mq_conv_desc *desc, float *y, const float *x,
                                    const float *residual, struct mq_err *err) MQ_MUST_CHECK;

/* ---- Matrix product: y[m x n] = x[m x k] w, w as [k x n] or (transposed) [n x k] ------------------------
 * `batch` such products; x, w and y hold them one after the other. With batch 1 and constant weights a row's
 * bits do not depend on its place among the m. */
struct mq_matmul;
struct mq_matmul_desc {
  int64_t batch, m, k,
      n;                /* batch 1: plain; weights constant unless weights == NULL (then given at run time) */
  const float *weights; /* row-major; packed here */
  bool is_weight_transposed;
  bool is_input_transposed; /* x holds [k x m] */
  const float *bias;        /* n, or NULL; copied */
  struct mq_post posts[MQ_MAX_POSTS];
  int n_posts;
};
mq_status mq_matmul_create(struct mq_matmul **matmul, const struct mq_matmul_desc *desc,
                           struct mq_err *err) MQ_MUST_CHECK;
void mq_matmul_destroy(struct mq_matmul *matmul);
size_t mq_matmul_scratch_bytes(const struct mq_matmul *matmul);
mq_status mq_matmul_forward(const struct mq_matmul *matmul, float *y, const float *x, const float *w_or_null,
                            const float *residual, void *scratch, struct mq_err *err) MQ_MUST_CHECK;

/* ---- Pools, channels last ---------------------------------------------------------------------------------
 * Our own loops: the same bits for every instruction set. With ceil_mode a last window that would begin in
 * the end padding is dropped, and what lies behind the padding is never counted (as in PyTorch). */
typedef enum mq_pooling_kind {
  MQ_POOLING_MAX,
  MQ_POOLING_AVERAGE,
  MQ_POOLING_AVERAGE_WITH_PADDING
} mq_pooling_kind;
struct mq_pooling;
struct mq_pooling_desc {
  mq_pooling_kind kind;
  struct mq_shape input;
  int64_t kernel[2], stride[2], dilation[2], pad_begin[2], pad_end[2];
  bool ceil_mode;
};
mq_status mq_pooling_create(struct mq_pooling **pooling, const struct mq_pooling_desc *desc,
                            struct mq_err *err) MQ_MUST_CHECK;
void mq_pooling_destroy(struct mq_pooling *pooling);
struct mq_shape mq_pooling_output_shape(const struct mq_pooling *pooling);
size_t mq_pooling_scratch_bytes(const struct mq_pooling *pooling);
mq_status mq_pooling_forward(const struct mq_pooling *pooling, float *y, const float *x, void *scratch,
                             struct mq_err *err) MQ_MUST_CHECK;
/* Mean over H x W: y[N x C], summed in double pixel by pixel, rounded once; maximum likewise. */
void mq_global_average(float *y, const float *x, int64_t n, int64_t pixels, int64_t channels);
void mq_global_max(float *y, const float *x, int64_t n, int64_t pixels, int64_t channels);

/* ---- Elementwise loops: the same bits for every instruction set
 * -------------------------------------------------- */
/* Fake quantization, one scale: see quant.h; in place allowed. Exact for every x, infinities included; NaN
 * stays NaN. Whole numbers with |quant_min - zero_point| and |quant_max - zero_point| up to 2^22; scale > 0.
 */
struct mq_fake_quant {
  float scale, zero_point, quant_min, quant_max;
};
void mq_loop_fake_quantize(float *y, const float *x, int64_t n, const struct mq_fake_quant *fq);
/* Rows of n_channels: y[i, c] = x[i, c] * gain[c] + shift[c], then clip to [lo, hi]; in place allowed. */
void mq_loop_affine(float *y, const float *x, int64_t n_rows, int64_t n_channels, const float *gain,
                    const float *shift, float lo, float hi);
void mq_loop_add(float *y, const float *a, const float *b, int64_t n, float lo,
                 float hi); /* add, then clip */
void mq_loop_clip(float *y, const float *x, int64_t n, float lo, float hi);
typedef enum mq_unary {
  MQ_UNARY_SIGMOID,      /* 1 / (1 + exp(-x)), within 3 units in the last place */
  MQ_UNARY_HARD_SIGMOID, /* max(0, min(1, alpha x + beta)) */
  MQ_UNARY_HARD_SWISH,   /* x max(0, min(1, x/6 + 0.5)) */
  MQ_UNARY_LEAKY_RELU,   /* x >= 0 ? x : alpha x */
} mq_unary;
void mq_loop_unary(float *y, const float *x, int64_t n, mq_unary unary, float alpha, float beta);
typedef enum mq_binary {
  MQ_BINARY_ADD,
  MQ_BINARY_SUB,
  MQ_BINARY_MUL,
  MQ_BINARY_DIV,
  MQ_BINARY_PRELU
} mq_binary;
/* NumPy broadcasting over strided float32 tensors; y may be a or b's memory when shapes are equal. */
void mq_binary_forward(struct mq_tensor *y, const struct mq_tensor *a, const struct mq_tensor *b,
                       mq_binary binary);
/* Over the last axis of row-major rows (row_count >= 1), in double; in place allowed. */
void mq_softmax_rows(float *y, const float *x, int64_t n_rows, int64_t row_count, bool is_log);

/* Statistics for observers over contiguous data. */
void mq_loop_min_max(float *min, float *max, const float *x, int64_t n); /* NaN in: NaN out; n 0: inf, -inf */
/* Sums in a fixed number of lanes, in double. */
void mq_loop_moments(double *sum, double *sum_abs, double *sum_square, const float *x, int64_t n);

/* ---- Training: convolution with weights that change -------------------------------------------------------
 * Once per step the weights are packed (both directions), then slices run. Gradients of weights come in the
 * library's layout, are added over slices as plain floats, and are unpacked once. A Gemm is a convolution of
 * a 1 x 1 image. */
typedef enum mq_precision {
  MQ_PRECISION_F32,
  /* Operands of the backward products rounded half to even to bfloat16, sums in float32. Depthwise
   * convolutions stay float32: memory bounds them, not arithmetic. */
  MQ_PRECISION_BF16,
} mq_precision;

struct mq_conv_train;
struct mq_conv_train_desc {
  struct mq_shape input,
      weights; /* N C H W (N: a slice); O x I/groups x KH x KW, transposed: I x O/groups.. */
  int64_t stride[2], dilation[2], pad_begin[2], pad_end[2], output_pad[2], groups;
  bool is_transposed;
  mq_precision backward; /* bfloat16 where the CPU has it (mq_kernel_isa), else MQ_BAD_INPUT */
};
mq_status mq_conv_train_create(struct mq_conv_train **conv, const struct mq_conv_train_desc *desc,
                               struct mq_err *err) MQ_MUST_CHECK;
void mq_conv_train_destroy(struct mq_conv_train *conv);
struct mq_shape mq_conv_train_output_shape(const struct mq_conv_train *conv);
struct mq_conv_train_sizes {
  size_t packed_forward_bytes, packed_backward_bytes; /* of the weights */
  size_t gradient_count;                              /* floats of the packed gradient */
  size_t pack_scratch_bytes, run_scratch_bytes;
};
struct mq_conv_train_sizes mq_conv_train_get_sizes(const struct mq_conv_train *conv);
/* weights: row-major float32 as described. Either packed buffer may be NULL. */
mq_status mq_conv_train_pack(const struct mq_conv_train *conv, void *packed_forward, void *packed_backward,
                             const float *weights, void *scratch, struct mq_err *err) MQ_MUST_CHECK;
/* y = conv(x) + bias (NULL: none); channels last. */
mq_status mq_conv_train_forward(const struct mq_conv_train *conv, float *y, const float *x,
                                const void *packed_forward, const float *bias, void *scratch,
                                struct mq_err *err) MQ_MUST_CHECK;
/* An input x = scale (q - zero_point), kept as codes q (uint8, or int8) with a whole zero point of theirs. In
 * bfloat16 q - zero_point is the operand of the weights' gradient, which is exact, and the sums are
 * multiplied by the scale. */
struct mq_conv_codes {
  const void *codes;
  bool is_signed;
  float scale, zero_point;
};
/* Going backward from dy, the gradient at the output, which is rounded once for both products. */
struct mq_conv_backward {
  float *packed_gradient;            /* is written; NULL: not wanted */
  const float *x;                    /* for packed_gradient: the input, */
  const struct mq_conv_codes *codes; /* or its codes where this is not NULL */
  float *dx;                         /* is written (adds: added to); NULL: not wanted */
  bool adds;
  const void *packed_backward; /* for dx */
  const float *dy;
};
mq_status mq_conv_train_backward(const struct mq_conv_train *conv, const struct mq_conv_backward *backward,
                                 void *scratch, struct mq_err *err) MQ_MUST_CHECK;
/* dw (row-major, as the weights) is written (adds: added to). */
mq_status mq_conv_train_unpack_gradient(const struct mq_conv_train *conv, float *dw, bool adds,
                                        const float *packed_gradient, void *scratch,
                                        struct mq_err *err) MQ_MUST_CHECK;

/* ---- Convolution on integers: u8 or s8 times s8 or u8, exact on every CPU ---------------------------------
 *   y[o] = float(sum (x - zx)(w - zw[o])) * multiplier[o] + bias[o]
 * The sum is exact in int32 (that it fits is the caller's care; what is summed on the way may wrap around),
 * its conversion rounds half to even, multiplication and addition are rounded once each. Padding counts as
 * zx. Where the library would saturate or round (src/kernel/conv_int.h) weights are split so that it cannot;
 * zero points of weights are corrected by box sums of x. */
struct mq_conv_int;
struct mq_conv_int_desc {
  struct mq_shape input, weights; /* as mq_conv_train_desc */
  int64_t stride[2], dilation[2], pad_begin[2], pad_end[2], groups;
  bool is_input_signed;    /* codes of x are int8, else uint8 */
  int x_bits, w_bits;      /* 1 to 8: codes in [0, 2^bits) or [-2^(bits-1), 2^(bits-1)); fewer are faster */
  bool are_weights_signed; /* codes of w are int8, else uint8 */
  bool has_weight_zero_point, has_input_zero_point;
};
mq_status mq_conv_int_create(struct mq_conv_int **conv, const struct mq_conv_int_desc *desc,
                             struct mq_err *err) MQ_MUST_CHECK;
void mq_conv_int_destroy(struct mq_conv_int *conv);
struct mq_shape mq_conv_int_output_shape(const struct mq_conv_int *conv);
size_t mq_conv_int_packed_bytes(const struct mq_conv_int *conv);
size_t mq_conv_int_scratch_bytes(const struct mq_conv_int *conv); /* of pack and of forward */
/* codes: row-major as the weights; zero_point: per output channel, NULL where the desc says there is none. */
mq_status mq_conv_int_pack(const struct mq_conv_int *conv, void *packed, const void *codes,
                           const int32_t *zero_point, void *scratch, struct mq_err *err) MQ_MUST_CHECK;
/* zero_point: 0 where the desc says there is none. multiplier: one per output channel; bias NULL: none. */
mq_status mq_conv_int_forward(const struct mq_conv_int *conv, float *y, const void *x, int32_t zero_point,
                              const void *packed, const float *multiplier, const float *bias, void *scratch,
                              struct mq_err *err) MQ_MUST_CHECK;
/* The sums themselves (int32, channels last): what `exact` and the integer program are made of. */
mq_status mq_conv_int_sums(const struct mq_conv_int *conv, int32_t *y, const void *x, int32_t zero_point,
                           const void *packed, void *scratch, struct mq_err *err) MQ_MUST_CHECK;
/* Plain loops in int64. */
void mq_conv_int_reference(const struct mq_conv_int_desc *desc, int32_t *y, const void *x, int32_t zero_point,
                           const void *codes, const int32_t *w_zero_point);

/* ---- Training: loops, channels last; the same bits for every instruction set ------------------------------
 * `adds`: += the value, which is rounded to float32 first; otherwise =. The result may take the place of an
 * input of its size. Rows are n_channels long. */
/* sum[c] = sum of x, square[c] = sum of x^2 over the rows, in double, row after row. */
void mq_loop_channel_moments(double *sum, double *square, const float *x, int64_t n_rows, int64_t n_channels);
/* sum[c] = sum of g, product[c] = sum of g x (x NULL: not computed), likewise. */
void mq_loop_channel_products(double *sum, double *product, const float *g, const float *x, int64_t n_rows,
                              int64_t n_channels);
/* dx = (a[c] g + b[c] x) + d[c]: batch normalisation backward. */
void mq_loop_normalize_backward(float *dx, bool adds, const float *g, const float *x, int64_t n_rows,
                                int64_t n_channels, const float *a, const float *b, const float *d);
/* dx = g where lo < y < hi strictly (y: the result of the clip), else 0. */
void mq_loop_clip_backward(float *dx, bool adds, const float *g, const float *y, int64_t n, float lo,
                           float hi);
/* x: the input. Where the function has a corner: hard sigmoid and hard swish take the slope of the flat or
 * straight side, leaky ReLU alpha (as PyTorch). */
void mq_loop_unary_backward(float *dx, bool adds, const float *g, const float *x, int64_t n, mq_unary unary,
                            float alpha, float beta);
/* y += a x; y = a x + b y; each product and sum rounded. */
void mq_loop_axpy(float *y, float a, const float *x, int64_t n);
void mq_loop_axpby(float *y, float a, const float *x, float b, int64_t n);
/* y = (or +=) factor x, the product in double, then rounded. */
void mq_loop_scale(float *y, bool adds, const float *x, int64_t n, double factor);
/* The sum of a[i] b[i] in double: element i in lane i mod 16, lanes joined pairwise. */
double mq_loop_dot(const float *a, const float *b, int64_t n);
/* The gradient at one operand of mq_binary_forward (which: 0 a, 1 b), always added to d, which has the
 * operand's shape; all strided. Summed in double over broadcast dimensions in the order of g's memory (along
 * its innermost dimension in 16 lanes), then rounded and added. Operands that the gradient does not depend on
 * are not read: both of ADD and SUB; of MUL, of DIV at a and of PRELU at b the operand itself. PReLU's corner
 * has the slope of its negative side. */
void mq_binary_backward(struct mq_tensor *d, const struct mq_tensor *g, const struct mq_tensor *a,
                        const struct mq_tensor *b, mq_binary binary, int which);
/* dx of softmax (y: its result) or of log-softmax over rows; in double, sums in 16 lanes. */
void mq_softmax_rows_backward(float *dx, bool adds, const float *g, const float *y, int64_t n_rows,
                              int64_t row_count, bool is_log);
/* Cross entropy with label smoothing e: target[k] = (1 - e) [k = label] + e / n_classes. Per row: loss[r] (in
 * double), and dx = weight (softmax(x) - target), 0 where label < 0 (loss 0 too); is_correct[r]: the label's
 * logit is the first largest (label < 0, or NaN in the row: not). Any of the outputs may be NULL; dx may be
 * x.
 */
void mq_cross_entropy_rows(double *loss, float *dx, bool *is_correct, const float *x, const int64_t *labels,
                           int64_t n_rows, int64_t n_classes, double smoothing, double weight);
/* Pools: dx (not dy's or x's memory) is written (adds: added to), window after window in row-major order.
 * Maximum: the first largest of a window in row-major order takes all (NaN counts as largest). Average: x is
 * not read and may be NULL. */
mq_status mq_pooling_backward(const struct mq_pooling *pooling, float *dx, bool adds, const float *dy,
                              const float *x, void *scratch, struct mq_err *err) MQ_MUST_CHECK;
size_t mq_pooling_backward_scratch_bytes(const struct mq_pooling *pooling);
void mq_global_average_backward(float *dx, bool adds, const float *dy, int64_t n, int64_t pixels,
                                int64_t channels);
void mq_global_max_backward(float *dx, bool adds, const float *dy, const float *x, int64_t n, int64_t pixels,
                            int64_t channels);
/* Optimisers, per element in float32, in the order written (t: the step, from 1).
 *   SGD:  d = g + decay w; v = momentum v + d; w -= rate (nesterov ? d + momentum v : v)
 *   Adam: d = g + decay w; m = b1 m + (1-b1) d; u = b2 u + ((1-b2) d) d;
 *         w -= (rate (m / (1-b1^t))) / (sqrt(u / (1-b2^t)) + eps) */
struct mq_sgd {
  float rate, momentum, decay;
  bool is_nesterov;
};
void mq_loop_sgd(float *w, float *v, const float *g, int64_t n, const struct mq_sgd *sgd);
struct mq_adam {
  float rate, beta1, beta2, epsilon, decay;
  double correction1, correction2; /* 1 - b1^t, 1 - b2^t; rounded to float32 before use */
};
void mq_loop_adam(float *w, float *m, float *u, const float *g, int64_t n, const struct mq_adam *adam);

/* ---- Training: fused loops of quantization-aware training; the same bits for every instruction set --------
 */
/* The integers q of fake quantization as uint8 or (is_signed) int8: scale (q - zero_point) has the bits of
 * mq_loop_fake_quantize. The range must fit the type. True: no x is NaN; a NaN's code is quant_min, so that
 * a caller who wants to know of a diverged run asks here. */
bool mq_loop_quantize_codes(void *codes, bool is_signed, const float *x, int64_t n,
                            const struct mq_fake_quant *fq);
/* y = scale (q - zero_point). */
void mq_loop_dequantize_codes(float *y, const void *codes, bool is_signed, int64_t n, float scale,
                              float zero_point);
/* y = q - zero_point as bfloat16, exact: zero_point whole and |q - zero_point| <= 256. */
void mq_loop_center_codes_bf16(uint16_t *y, const void *codes, bool is_signed, int64_t n, float zero_point);
/* LSQ's backward pass. With v = x / scale (in float32), r = rne(v), lo = quant_min - zero_point, hi =
 * quant_max - zero_point, m = [lo <= v <= hi], or (mask_after_rounding) [lo <= r <= hi]:
 *   dx = g m, sums[0] += sum g (m ? r - v : v < lo ? lo : hi), sums[1] += -scale sum g (1 - m).
 * The sums are in double, element i in lane i mod 16, lanes added pairwise. |lo|, |hi| up to 2^21. A NaN in x
 * has m = 0 and makes sums[0] NaN. dx may be g. */
void mq_loop_lsq_backward(float *dx, bool adds, double sums[2], const float *g, const float *x, int64_t n,
                          const struct mq_fake_quant *fq, bool mask_after_rounding);

/* ---- Mathematics with a fixed sequence of operations: the same bits on every CPU
 * -------------------------------- */
/* Floats: computed in double, correctly rounded but for about one argument in 10^6. */
float mq_expf(float x);
float mq_logf(float x);
float mq_tanhf(float x);
/* Below 1 unit in the last place (sin and cos: for |x| <= 2^20; log2: below 2, exact for powers of two). */
double mq_exp(double x);
double mq_log(double x);
double mq_sin(double x);
double mq_cos(double x);
double mq_log2(double x);

#endif
