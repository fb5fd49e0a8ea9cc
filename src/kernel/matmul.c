#include <assert.h>
#include <string.h>

#include "kernel/conv.h"
#include "kernel/onednn.h"
#include "kernel/posts.h"

#define MAX_EXTENT ((int64_t)1 << 30)

struct mq_matmul {
  size_t output_bytes;
  bool has_add, has_weights;
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
  status = mq_onednn_matmul_create(&made->op, desc, err);
  if (status != MQ_OK)
    mq_matmul_destroy(made);
  else
    *matmul = made;
  return status;
}

void mq_matmul_destroy(struct mq_matmul *matmul) {
  if (matmul == NULL) return;
  mq_onednn_destroy(matmul->op);
  mq_free(matmul);
}

size_t mq_matmul_scratch_bytes(const struct mq_matmul *matmul) {
  return mq_onednn_scratch_bytes(matmul->op);
}

const char *mq_matmul_implementation(const struct mq_matmul *matmul) {
  return mq_onednn_implementation(matmul->op);
}

mq_status mq_matmul_forward(const struct mq_matmul *matmul, float *y, const float *x, const float *w_or_null,
                            const float *residual, void *scratch, struct mq_err *err) {
  assert((residual != NULL) == matmul->has_add && (w_or_null == NULL) == matmul->has_weights);
  if (residual != NULL && residual != y) memcpy(y, residual, matmul->output_bytes);
  return mq_onednn_run(matmul->op, y, x, w_or_null, scratch, err);
}
