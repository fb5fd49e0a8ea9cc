#include <dnnl.h>

#include "kernel/onednn_internal.h"

/* Row-major [batch x rows x columns], or the same memory read transposed. */
static dnnl_status_t matrix_layout(dnnl_memory_desc_t *md, int64_t batch, int64_t rows, int64_t columns,
                                   bool is_transposed) {
  const dnnl_dims_t dims = {batch, rows, columns};
  const dnnl_dims_t strides = {rows * columns, is_transposed ? 1 : columns, is_transposed ? rows : 1};
  return dnnl_memory_desc_init_by_strides(md, 3, dims, dnnl_f32, strides);
}

struct matmul_layout {
  dnnl_memory_desc_t x, y, weights, bias;
};

static mq_status matmul_layout_init(struct matmul_layout *layout, const struct mq_matmul_desc *desc,
                                    struct mq_err *err) {
  dnnl_status_t status = matrix_layout(&layout->x, desc->batch, desc->m, desc->k, desc->is_input_transposed);
  if (status == dnnl_success) status = matrix_layout(&layout->y, desc->batch, desc->m, desc->n, false);
  if (status == dnnl_success)
    status = matrix_layout(&layout->weights, desc->batch, desc->k, desc->n, desc->is_weight_transposed);
  if (status == dnnl_success) status = matrix_layout(&layout->bias, 1, 1, desc->n, false);
  return mq_onednn_check(status, "matrix_desc", err);
}

static mq_status build(struct mq_onednn_op *op, const struct mq_matmul_desc *desc,
                       const struct matmul_layout *layout, dnnl_primitive_attr_t attributes,
                       struct mq_err *err) {
  dnnl_matmul_desc_t matmul;
  dnnl_memory_desc_t weights = layout->weights;
  const dnnl_dims_t dims = {desc->batch, desc->k, desc->n};
  mq_status status = MQ_OK;
  if (desc->weights != NULL) /* constant: in the layout that the library likes best */
    status = mq_onednn_check(dnnl_memory_desc_init_by_tag(&weights, 3, dims, dnnl_f32, dnnl_format_tag_any),
                             "weights_desc", err);
  if (status == MQ_OK)
    status = mq_onednn_check(dnnl_matmul_desc_init(&matmul, &layout->x, &weights,
                                                   desc->bias != NULL ? &layout->bias : NULL, &layout->y),
                             "matmul_desc", err);
  return status != MQ_OK ? status : mq_onednn_build(op, &matmul, attributes, err);
}

mq_status mq_onednn_matmul_create(struct mq_onednn_op **op, const struct mq_matmul_desc *desc,
                                  struct mq_err *err) {
  struct matmul_layout layout;
  dnnl_primitive_attr_t attributes = NULL;
  *op = NULL;
  mq_onednn_set_threads();
  struct mq_onednn_op *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "matrix product");
  mq_status status = matmul_layout_init(&layout, desc, err);
  if (status == MQ_OK)
    status = mq_onednn_attributes(&attributes, made, desc->posts, desc->n_posts, 3, 2, desc->n, err);
  if (status == MQ_OK) status = build(made, desc, &layout, attributes, err);
  if (status == MQ_OK && desc->weights != NULL)
    status = mq_onednn_add_constant(made, DNNL_ARG_WEIGHTS,
                                    dnnl_primitive_desc_query_md(made->desc, dnnl_query_weights_md, 0),
                                    desc->weights, &layout.weights, err);
  if (status == MQ_OK && desc->bias != NULL)
    status = mq_onednn_add_constant(made, DNNL_ARG_BIAS, &layout.bias, desc->bias, &layout.bias, err);
  if (attributes != NULL) dnnl_primitive_attr_destroy(attributes);
  if (status != MQ_OK)
    mq_onednn_destroy(made);
  else
    *op = made;
  return status;
}
