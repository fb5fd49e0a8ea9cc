/* Depthwise convolution by our own loops: channels last, oneDNN 2.6 reaches about half of what memory allows.
 */
#ifndef MQ_KERNEL_DEPTHWISE_H
#define MQ_KERNEL_DEPTHWISE_H

#include "kernel/posts.h"
#include "mqbench/kernel.h"

/* Rows of a window, which are gathered on the stack. */
#define MQ_DEPTHWISE_MAX_HEIGHT 16

struct mq_depthwise;
bool mq_depthwise_can(const struct mq_conv_desc *desc);
/* The desc is checked already and mq_depthwise_can do it; `output` is its output shape. */
mq_status mq_depthwise_create(struct mq_depthwise **depthwise, const struct mq_conv_desc *desc,
                              const struct mq_shape *output, struct mq_err *err) MQ_MUST_CHECK;
/* The same without weights of its own and without posts, for mq_depthwise_convolve; desc->weights->data is
 * not looked at. */
mq_status mq_depthwise_create_bare(struct mq_depthwise **depthwise, const struct mq_conv_desc *desc,
                                   const struct mq_shape *output, struct mq_err *err) MQ_MUST_CHECK;
void mq_depthwise_destroy(struct mq_depthwise *depthwise);
size_t mq_depthwise_scratch_bytes(const struct mq_depthwise *depthwise);
void mq_depthwise_run(const struct mq_depthwise *depthwise, float *y, const float *x, const float *residual,
                      void *scratch);
/* weights: KH x KW x C; bias: C. */
void mq_depthwise_convolve(const struct mq_depthwise *depthwise, float *y, const float *x,
                           const float *weights, const float *bias);

#endif
