#include "kernel/conv.h"

#include <assert.h>
#include <string.h>

#include "kernel/depthwise.h"
#include "kernel/onednn.h"
#include "kernel/posts.h"

struct mq_conv {
  struct mq_shape output;
  size_t output_bytes;
  bool has_add;
  /* Either our own loops (op NULL), or the library: with the posts fused, or (posts.n_posts > 0) bare and
   * followed by the posts as loops. */
  struct mq_depthwise *depthwise;
  struct mq_onednn_op *op;
  struct mq_posts posts;
};

/* The library's general code: correct, but some hundred times slower with posts. */
static bool is_slow(const struct mq_onednn_op *op) {
  const char *name = mq_onednn_implementation(op);
  return strstr(name, "ref") != NULL || strstr(name, "gemm:") != NULL;
}

static mq_status create_op(struct mq_conv *conv, const struct mq_conv_desc *desc, struct mq_err *err) {
  const mq_status status = mq_onednn_conv_create(&conv->op, desc, &conv->output, err);
  if (desc->n_posts == 0 || (status == MQ_OK && !is_slow(conv->op))) return status;
  struct mq_conv_desc bare = *desc;
  bare.n_posts = 0;
  mq_onednn_destroy(conv->op);
  const mq_status bare_status = mq_onednn_conv_create(&conv->op, &bare, &conv->output, err);
  if (bare_status != MQ_OK) return bare_status;
  return mq_posts_init(&conv->posts, desc->posts, desc->n_posts, conv->output.dim[1], err);
}

static bool has_add(const struct mq_conv_desc *desc) {
  for (int i = 0; i < desc->n_posts; i++)
    if (desc->posts[i].kind == MQ_POST_ADD) return true;
  return false;
}

mq_status mq_conv_create(struct mq_conv **conv, const struct mq_conv_desc *desc, struct mq_err *err) {
  struct mq_shape output;
  *conv = NULL;
  mq_status status = mq_conv_check(&output, desc, err);
  if (status != MQ_OK) return status;
  struct mq_conv *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "convolution");
  made->output = output;
  made->output_bytes = (size_t)mq_shape_count(&output) * sizeof(float);
  made->has_add = has_add(desc);
  status = mq_depthwise_can(desc) ? mq_depthwise_create(&made->depthwise, desc, &output, err)
                                  : create_op(made, desc, err);
  if (status != MQ_OK)
    mq_conv_destroy(made);
  else
    *conv = made;
  return status;
}

void mq_conv_destroy(struct mq_conv *conv) {
  if (conv == NULL) return;
  mq_depthwise_destroy(conv->depthwise);
  mq_onednn_destroy(conv->op);
  mq_posts_deinit(&conv->posts);
  mq_free(conv);
}

struct mq_shape mq_conv_output_shape(const struct mq_conv *conv) {
  return conv->output;
}

/* With separate posts and an addition: room for the sums first, since the output may hold the residual. */
static size_t sums_bytes(const struct mq_conv *conv) {
  return conv->posts.has_add ? (conv->output_bytes + 63) / 64 * 64 : 0;
}

size_t mq_conv_scratch_bytes(const struct mq_conv *conv) {
  if (conv->depthwise != NULL) return mq_depthwise_scratch_bytes(conv->depthwise);
  return sums_bytes(conv) + mq_onednn_scratch_bytes(conv->op);
}

const char *mq_conv_implementation(const struct mq_conv *conv) {
  return conv->depthwise != NULL ? "depthwise" : mq_onednn_implementation(conv->op);
}

static mq_status run_separate(const struct mq_conv *conv, float *y, const float *x, const float *residual,
                              void *scratch, struct mq_err *err) {
  float *sums = residual == y ? scratch : y;
  char *op_scratch = scratch;
  const mq_status status = mq_onednn_run(conv->op, sums, x, NULL, op_scratch + sums_bytes(conv), err);
  if (status != MQ_OK) return status;
  const int64_t channels = conv->output.dim[1];
  mq_posts_apply(&conv->posts, y, sums, residual, mq_shape_count(&conv->output) / channels, channels);
  return MQ_OK;
}

mq_status mq_conv_forward(const struct mq_conv *conv, float *y, const float *x, const float *residual,
                          void *scratch, struct mq_err *err) {
  assert((residual != NULL) == conv->has_add);
  if (conv->depthwise != NULL) {
    mq_depthwise_run(conv->depthwise, y, x, residual, scratch);
    return MQ_OK;
  }
  if (conv->posts.n_posts > 0) return run_separate(conv, y, x, residual, scratch, err);
  /* The library adds in place; its addition of another tensor selects an older, slower kernel, so that even a
   * copy is faster. */
  if (residual != NULL && residual != y) memcpy(y, residual, conv->output_bytes);
  return mq_onednn_run(conv->op, y, x, NULL, scratch, err);
}
