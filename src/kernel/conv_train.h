/* A convolution being trained: what creation and runs share. */
#ifndef MQ_KERNEL_CONV_TRAIN_H
#define MQ_KERNEL_CONV_TRAIN_H

#include "kernel/conv_phases.h"
#include "kernel/depthwise_train.h"
#include "kernel/onednn.h"

struct mq_conv_train {
  struct mq_shape input, output;
  int64_t n_weights;
  bool is_transposed, is_bf16;
  /* Named after what they compute for this layer. A transposed convolution is the backward pass of a plain
   * one: x and y exchange their places in all three. */
  struct mq_depthwise_train *depthwise; /* our own loops; then none of the library's operations */
  struct mq_onednn_op *forward, *data, *weights;
  struct mq_conv_phases *phases; /* instead of `data` and `pack_backward` */
  struct mq_onednn_op *pack_forward, *pack_backward, *unpack;
  float *zeros; /* a bias that is none */
};

/* The implementations of forward, backward data, backward weights (tests, benchmarks); index 0 to 2. */
const char *mq_conv_train_implementation(const struct mq_conv_train *conv, int direction);

#endif
