/* Everything that speaks to oneDNN (2.6, C API) is in onednn*.c; this is what the rest of kernel/ sees. */
#ifndef MQ_KERNEL_ONEDNN_H
#define MQ_KERNEL_ONEDNN_H

#include "mqbench/kernel.h"

/* Caps the instruction set and creates the engine. Before any other call of the library. */
mq_status mq_onednn_start(mq_isa cap, struct mq_err *err) MQ_MUST_CHECK;
/* oneDNN partitions work by the OpenMP thread count of the thread that creates and runs a primitive: 1, but
 * for mq_kernel_use_threads_within. */
void mq_onednn_set_threads(void);

/* One primitive with its constant operands (packed weights, bias, per-channel vectors). Immutable; may run
 * in several threads at once, each with scratch memory of its own. */
struct mq_onednn_op;
void mq_onednn_destroy(struct mq_onednn_op *op);
size_t mq_onednn_scratch_bytes(const struct mq_onednn_op *op);
/* The library's name of the implementation it chose, such as "brgconv:avx512_core". */
const char *mq_onednn_implementation(const struct mq_onednn_op *op);
/* y = op(x, weights given at run time or NULL); with MQ_POST_ADD y holds the residual before. */
mq_status mq_onednn_run(const struct mq_onednn_op *op, float *y, const float *x, const float *weights,
                        void *scratch, struct mq_err *err) MQ_MUST_CHECK;

/* The desc is checked already; `output` is its output shape. */
mq_status mq_onednn_conv_create(struct mq_onednn_op **op, const struct mq_conv_desc *desc,
                                const struct mq_shape *output, struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_onednn_matmul_create(struct mq_onednn_op **op, const struct mq_matmul_desc *desc,
                                  struct mq_err *err) MQ_MUST_CHECK;

/* ---- One direction of a plain convolution, all operands given at run time ------------------------------ */
/* A plain (not transposed) convolution whose sizes are checked already; channels last; weights in the logical
 * order O x I/groups x KH x KW. pad_end may be negative: input that no window reaches. */
struct mq_onednn_geometry {
  struct mq_shape x, y; /* N C H W */
  int64_t kernel[2], stride[2], dilation[2], pad_begin[2], pad_end[2], groups;
};

typedef enum mq_onednn_pass {
  MQ_ONEDNN_FORWARD,          /* y = conv(x, w) + bias */
  MQ_ONEDNN_BACKWARD_DATA,    /* x from w and y */
  MQ_ONEDNN_BACKWARD_WEIGHTS, /* w from x and y */
} mq_onednn_pass;

typedef enum mq_onednn_numbers {
  MQ_ONEDNN_F32,
  MQ_ONEDNN_BF16, /* operands bfloat16, the result float32 */
  MQ_ONEDNN_INT8, /* uint8 x, int8 w, int32 y; forward without bias only */
} mq_onednn_numbers;

/* Forward in float32 takes a bias, other passes none. */
mq_status mq_onednn_pass_create(struct mq_onednn_op **op, const struct mq_onednn_geometry *geometry,
                                mq_onednn_pass pass, mq_onednn_numbers numbers,
                                struct mq_err *err) MQ_MUST_CHECK;
/* Bytes of the weights in the pass's own layout: at least those of the row-major weights. */
size_t mq_onednn_pass_weights_bytes(const struct mq_onednn_op *pass);
struct mq_onednn_operands {
  const void *x, *weights, *bias, *y; /* what the pass writes is not const underneath */
};
mq_status mq_onednn_pass_run(const struct mq_onednn_op *pass, const struct mq_onednn_operands *operands,
                             void *scratch, struct mq_err *err) MQ_MUST_CHECK;
/* Between row-major weights (of the pass's number type) and the pass's layout. mq_onednn_copy runs it. */
mq_status mq_onednn_pack_create(struct mq_onednn_op **op, const struct mq_onednn_op *pass,
                                struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_onednn_unpack_create(struct mq_onednn_op **op, const struct mq_onednn_op *pass,
                                  struct mq_err *err) MQ_MUST_CHECK;
mq_status mq_onednn_copy(const struct mq_onednn_op *copy, void *to, const void *from, void *scratch,
                         struct mq_err *err) MQ_MUST_CHECK;

#endif
