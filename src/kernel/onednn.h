/* Everything that speaks to oneDNN (2.6, C API) is in onednn*.c; this is what the rest of kernel/ sees. */
#ifndef MQ_KERNEL_ONEDNN_H
#define MQ_KERNEL_ONEDNN_H

#include "mqbench/kernel.h"

/* Caps the instruction set and creates the engine. Before any other call of the library. */
mq_status mq_onednn_start(mq_isa cap, struct mq_err *err) MQ_MUST_CHECK;
/* oneDNN partitions work by the OpenMP thread count of the thread that creates and runs a primitive: 1. */
void mq_onednn_use_one_thread(void);

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

#endif
