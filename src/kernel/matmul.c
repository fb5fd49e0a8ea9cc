#include <assert.h>
#include <string.h>

#include "kernel/conv.h"
#include "kernel/onednn.h"
#include "kernel/posts.h"

#define MAX_EXTENT ((int64_t)1 << 30)

struct mq_matmul {
  size_t output_bytes;
  bool has_add, has_weights;
  /* One of the two. A product with constant weights is a 1x1 convolution: there the order of additions is the
   * same in every row, while oneDNN's matrix product without AVX-512 treats the last rows of a block
   * otherwise, so that an image's result would depend on its place in the slice. */
  struct mq_conv *conv;
  struct mq_onednn_op *op;
};

static mq_status check(const struct mq_matmul_desc *desc, struct mq_err *err) {
  const int64_t extents[] = {desc->batch, desc->m, desc->k, desc->n};
  for (int i = 0; i < 4; i++)
    if (extents[i] < 1 || extents[i] > MAX_EXTENT)
      return mq_fail(err, MQ_BAD_INPUT,
                     "matrix product of %lld x [%lld x %lld] and [%lld x %lld]: sizes must be 1 to %lld",
                     (long long)desc->batch, (long long)desc->m, (long long)desc->k, (long long)desc->k,
                     (long long)desc->n, (long long)MAX_EXTENT);
  const struct mq_shape operands[] = {{.rank = 3, .dim = {desc->batch, desc->m, desc->k}},
                                      {.rank = 3, .dim = {desc->batch, desc->k, desc->n}},
                                      {.rank = 3, .dim = {desc->batch, desc->m, desc->n}}};
  for (int i = 0; i < 3; i++) {
    int64_t n_elements;
    const mq_status status = mq_shape_elements(&n_elements, &operands[i], "matrix product", err);
    if (status != MQ_OK) return status;
  }
  return mq_posts_check(desc->posts, desc->n_posts, "matrix product", err);
}

/* Rows become pixels of one image: x is 1 x k x 1 x m, the weights n x k x 1 x 1. */
static mq_status create_conv(struct mq_matmul *matmul, const struct mq_matmul_desc *desc,
                             struct mq_err *err) {
  const struct mq_shape shape = {.rank = 4, .dim = {desc->n, desc->k, 1, 1}};
  const struct mq_shape bias_shape = {.rank = 1, .dim = {desc->n}};
  const int64_t transposed[MQ_MAX_RANK] = {1, desc->n, 1, 1};
  struct mq_tensor weights = {0};
  mq_status status = mq_tensor_init(&weights, MQ_F32, &shape, err);
  if (status != MQ_OK) return status;
  /* The tensor functions take views as mutable; these are only read. */
  const struct mq_tensor given = mq_tensor_view((void *)(uintptr_t)desc->weights, MQ_F32, &shape,
                                                desc->is_weight_transposed ? NULL : transposed);
  const struct mq_tensor bias = mq_tensor_view((void *)(uintptr_t)desc->bias, MQ_F32, &bias_shape, NULL);
  mq_tensor_copy(&weights, &given);
  struct mq_conv_desc conv = {
      .input = {.rank = 4, .dim = {1, desc->k, 1, desc->m}},
      .weights = &weights,
      .bias = desc->bias != NULL ? &bias : NULL,
      .stride = {1, 1},
      .dilation = {1, 1},
      .groups = 1,
      .n_posts = desc->n_posts,
  };
  memcpy(conv.posts, desc->posts, sizeof conv.posts);
  status = mq_conv_create(&matmul->conv, &conv, err);
  mq_tensor_deinit(&weights);
  return status;
}

mq_status mq_matmul_create(struct mq_matmul **matmul, const struct mq_matmul_desc *desc, struct mq_err *err) {
  *matmul = NULL;
  mq_status status = check(desc, err);
  if (status != MQ_OK) return status;
  struct mq_matmul *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "matrix product");
  made->output_bytes = (size_t)(desc->batch * desc->m * desc->n) * sizeof(float);
  for (int i = 0; i < desc->n_posts; i++)
    made->has_add |= desc->posts[i].kind == MQ_POST_ADD;
  made->has_weights = desc->weights != NULL;
  bool is_conv = made->has_weights && desc->batch == 1 && !desc->is_input_transposed;
  status = is_conv ? create_conv(made, desc, err) : mq_onednn_matmul_create(&made->op, desc, err);
  if (status != MQ_OK)
    mq_matmul_destroy(made);
  else
    *matmul = made;
  return status;
}

void mq_matmul_destroy(struct mq_matmul *matmul) {
  if (matmul == NULL) return;
  mq_conv_destroy(matmul->conv);
  mq_onednn_destroy(matmul->op);
  mq_free(matmul);
}

size_t mq_matmul_scratch_bytes(const struct mq_matmul *matmul) {
  return matmul->conv != NULL ? mq_conv_scratch_bytes(matmul->conv) : mq_onednn_scratch_bytes(matmul->op);
}

const char *mq_matmul_implementation(const struct mq_matmul *matmul) {
  return matmul->conv != NULL ? mq_conv_implementation(matmul->conv) : mq_onednn_implementation(matmul->op);
}

mq_status mq_matmul_forward(const struct mq_matmul *matmul, float *y, const float *x, const float *w_or_null,
                            const float *residual, void *scratch, struct mq_err *err) {
  assert((residual != NULL) == matmul->has_add && (w_or_null == NULL) == matmul->has_weights);
  if (matmul->conv != NULL) return mq_conv_forward(matmul->conv, y, x, residual, scratch, err);
  if (residual != NULL && residual != y) memcpy(y, residual, matmul->output_bytes);
  return mq_onednn_run(matmul->op, y, x, w_or_null, scratch, err);
}
