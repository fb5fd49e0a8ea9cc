/* Depthwise convolution in training by our own loops: oneDNN 2.6 falls far behind what memory allows where
 * strides or larger kernels meet the backward passes. Weights and their gradient lie KH x KW x C. */
#ifndef MQ_KERNEL_DEPTHWISE_TRAIN_H
#define MQ_KERNEL_DEPTHWISE_TRAIN_H

#include "mqbench/kernel.h"

struct mq_depthwise_train;
/* desc as for mq_depthwise_can; its weights' data are not looked at. */
mq_status mq_depthwise_train_create(struct mq_depthwise_train **depthwise, const struct mq_conv_desc *desc,
                                    const struct mq_shape *output, struct mq_err *err) MQ_MUST_CHECK;
void mq_depthwise_train_destroy(struct mq_depthwise_train *depthwise);
/* Floats of packed weights in either direction, and of the packed gradient. */
int64_t mq_depthwise_train_count(const struct mq_depthwise_train *depthwise);
void mq_depthwise_train_pack(const struct mq_depthwise_train *depthwise, float *packed_forward,
                             float *packed_backward, const float *weights);
/* bias: C, never NULL. */
void mq_depthwise_train_forward(const struct mq_depthwise_train *depthwise, float *y, const float *x,
                                const float *packed_forward, const float *bias);
/* zeros: C. */
void mq_depthwise_train_backward_data(const struct mq_depthwise_train *depthwise, float *dx, const float *dy,
                                      const float *packed_backward, const float *zeros);
void mq_depthwise_train_backward_weights(const struct mq_depthwise_train *depthwise, float *packed_gradient,
                                         const float *x, const float *dy);
void mq_depthwise_train_unpack(const struct mq_depthwise_train *depthwise, float *dw, bool adds,
                               const float *packed_gradient);

#endif
