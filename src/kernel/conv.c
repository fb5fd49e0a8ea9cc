#include "kernel/conv.h"

#include <assert.h>
#include <string.h>

#include "kernel/onednn.h"

struct mq_conv {
  struct mq_shape output;
  size_t output_bytes;
  bool has_add;
  struct mq_onednn_op *op;
};

mq_status mq_conv_create(struct mq_conv **conv, const struct mq_conv_desc *desc, struct mq_err *err) {
  struct mq_shape output;
  *conv = NULL;
  mq_status status = mq_conv_check(&output, desc, err);
  if (status != MQ_OK) return status;
  struct mq_conv *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "convolution");
  made->output = output;
  made->output_bytes = (size_t)mq_shape_count(&output) * sizeof(float);
  made->has_add = mq_posts_have_add(desc->posts, desc->n_posts);
  status = mq_onednn_conv_create(&made->op, desc, &output, err);
  if (status != MQ_OK)
    mq_conv_destroy(made);
  else
    *conv = made;
  return status;
}

void mq_conv_destroy(struct mq_conv *conv) {
  if (conv == NULL) return;
  mq_onednn_destroy(conv->op);
  mq_free(conv);
}

struct mq_shape mq_conv_output_shape(const struct mq_conv *conv) {
  return conv->output;
}

size_t mq_conv_scratch_bytes(const struct mq_conv *conv) {
  return mq_onednn_scratch_bytes(conv->op);
}

const char *mq_conv_implementation(const struct mq_conv *conv) {
  return mq_onednn_implementation(conv->op);
}

mq_status mq_conv_forward(const struct mq_conv *conv, float *y, const float *x, const float *residual,
                          void *scratch, struct mq_err *err) {
  assert((residual != NULL) == conv->has_add);
  /* The library's addition in place beats its operand read from elsewhere (another, slower kernel), copy
   * included. */
  if (residual != NULL && residual != y) memcpy(y, residual, conv->output_bytes);
  return mq_onednn_run(conv->op, y, x, NULL, scratch, err);
}
