/* Shared by onednn*.c only: the library's types must not spread. */
#ifndef MQ_KERNEL_ONEDNN_INTERNAL_H
#define MQ_KERNEL_ONEDNN_INTERNAL_H

#include <dnnl.h>

#include "kernel/onednn.h"

/* Weights, bias, gain and shift of every post-operation. */
#define MQ_ONEDNN_MAX_CONSTANTS (2 + 2 * MQ_MAX_POSTS)

/* An operand that is the same in every run. */
struct mq_onednn_constant {
  int argument; /* DNNL_ARG_... */
  float *data;
  dnnl_memory_t memory;
};

struct mq_onednn_op {
  dnnl_primitive_desc_t desc;
  dnnl_primitive_t primitive;
  struct mq_onednn_constant constants[MQ_ONEDNN_MAX_CONSTANTS];
  int n_constants;
  size_t scratch_bytes;
  const char *implementation;
  /* Of a pass of a convolution: which operand is which, and its weights as they lie row-major and packed. */
  int x_argument, weights_argument, y_argument;
  dnnl_memory_desc_t plain_weights, packed_weights;
};

/* MQ_FAILED "oneDNN <call>: <why>" unless success. */
mq_status mq_onednn_check(dnnl_status_t status, const char *call, struct mq_err *err) MQ_MUST_CHECK;

/* Attributes of a primitive whose output has `rank` dimensions: user scratchpad, posts in order; the
 * per-channel vectors of MQ_POST_AFFINE lie along `channel_axis` and become constants of `op`. */
mq_status mq_onednn_attributes(dnnl_primitive_attr_t *attributes, struct mq_onednn_op *op,
                               const struct mq_post *posts, int n_posts, int rank, int channel_axis,
                               int64_t n_channels, struct mq_err *err) MQ_MUST_CHECK;
/* From the operation's descriptor to the primitive. */
mq_status mq_onednn_build(struct mq_onednn_op *op, const_dnnl_op_desc_t desc,
                          dnnl_primitive_attr_t attributes, struct mq_err *err) MQ_MUST_CHECK;
/* The same with a reorder's layouts. */
mq_status mq_onednn_build_reorder(struct mq_onednn_op *op, const dnnl_memory_desc_t *to,
                                  const dnnl_memory_desc_t *from, struct mq_err *err) MQ_MUST_CHECK;

/* An operand of one run; NULL data: left out. */
struct mq_onednn_argument {
  int argument; /* DNNL_ARG_... */
  const void *data;
};
#define MQ_ONEDNN_MAX_ARGUMENTS 5
/* The arguments, the scratchpad (added here) and the operation's constants. */
mq_status mq_onednn_execute(const struct mq_onednn_op *op, const struct mq_onednn_argument *arguments,
                            int n_arguments, void *scratch, struct mq_err *err) MQ_MUST_CHECK;
/* Adds a constant in the layout `md`, reordered from `from_md` if they differ; copied. */
mq_status mq_onednn_add_constant(struct mq_onednn_op *op, int argument, const dnnl_memory_desc_t *md,
                                 const float *from, const dnnl_memory_desc_t *from_md,
                                 struct mq_err *err) MQ_MUST_CHECK;

#endif
