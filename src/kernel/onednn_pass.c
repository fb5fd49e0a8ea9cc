/* Convolutions whose weights change: one primitive per direction, weights and gradients in its layout. */
#include <dnnl.h>

#include "kernel/onednn_internal.h"

struct pass_layout {
  dnnl_memory_desc_t x, y, weights, bias;
  dnnl_dims_t stride, dilation, pad_begin, pad_end;
};

struct pass_types {
  dnnl_data_type_t x, weights, y;
};

static struct pass_types pass_types(mq_onednn_pass pass, mq_onednn_numbers numbers) {
  if (numbers == MQ_ONEDNN_INT8) return (struct pass_types){dnnl_u8, dnnl_s8, dnnl_s32};
  struct pass_types types = {dnnl_f32, dnnl_f32, dnnl_f32};
  if (numbers == MQ_ONEDNN_F32) return types;
  if (pass != MQ_ONEDNN_FORWARD) types.y = dnnl_bf16;
  if (pass != MQ_ONEDNN_BACKWARD_DATA) types.x = dnnl_bf16;
  if (pass != MQ_ONEDNN_BACKWARD_WEIGHTS) types.weights = dnnl_bf16;
  return types;
}

/* (group,) O/groups, I/groups, KH, KW: both as they come and as the library likes them. */
static dnnl_status_t weights_layout(struct mq_onednn_op *op, struct pass_layout *layout,
                                    const struct mq_onednn_geometry *g, dnnl_data_type_t type) {
  /* One longer than the library wants, since the group dimension may be skipped. */
  const dnnl_dim_t dims[DNNL_MAX_NDIMS + 1] = {g->groups, g->y.dim[1] / g->groups, g->x.dim[1] / g->groups,
                                               g->kernel[0], g->kernel[1]};
  const int skip = g->groups == 1 ? 1 : 0;
  const dnnl_status_t status = dnnl_memory_desc_init_by_tag(&op->plain_weights, 5 - skip, dims + skip, type,
                                                            skip == 1 ? dnnl_oihw : dnnl_goihw);
  if (status != dnnl_success) return status;
  return dnnl_memory_desc_init_by_tag(&layout->weights, 5 - skip, dims + skip, type, dnnl_format_tag_any);
}

static dnnl_status_t activation_layout(dnnl_memory_desc_t *md, const struct mq_shape *shape,
                                       dnnl_data_type_t type) {
  const dnnl_dims_t dims = {shape->dim[0], shape->dim[1], shape->dim[2], shape->dim[3]};
  return dnnl_memory_desc_init_by_tag(md, 4, dims, type, dnnl_nhwc);
}

static mq_status pass_layout_init(struct pass_layout *layout, struct mq_onednn_op *op,
                                  const struct mq_onednn_geometry *g, const struct pass_types *types,
                                  struct mq_err *err) {
  const dnnl_dims_t channels = {g->y.dim[1]};
  dnnl_status_t status = weights_layout(op, layout, g, types->weights);
  if (status == dnnl_success) status = activation_layout(&layout->x, &g->x, types->x);
  if (status == dnnl_success) status = activation_layout(&layout->y, &g->y, types->y);
  if (status == dnnl_success)
    status = dnnl_memory_desc_init_by_tag(&layout->bias, 1, channels, dnnl_f32, dnnl_x);
  for (int i = 0; i < 2; i++) {
    layout->stride[i] = g->stride[i];
    layout->dilation[i] = g->dilation[i] - 1; /* the library counts the gaps */
    layout->pad_begin[i] = g->pad_begin[i];
    layout->pad_end[i] = g->pad_end[i];
  }
  return mq_onednn_check(status, "convolution layout", err);
}

static dnnl_status_t pass_desc_init(dnnl_convolution_desc_t *desc, const struct pass_layout *l,
                                    mq_onednn_pass pass, bool has_bias) {
  switch (pass) {
    case MQ_ONEDNN_BACKWARD_DATA:
      return dnnl_dilated_convolution_backward_data_desc_init(desc, dnnl_convolution_direct, &l->x,
                                                              &l->weights, &l->y, l->stride, l->dilation,
                                                              l->pad_begin, l->pad_end);
    case MQ_ONEDNN_BACKWARD_WEIGHTS:
      return dnnl_dilated_convolution_backward_weights_desc_init(desc, dnnl_convolution_direct, &l->x,
                                                                 &l->weights, NULL, &l->y, l->stride,
                                                                 l->dilation, l->pad_begin, l->pad_end);
    case MQ_ONEDNN_FORWARD:
      break;
  }
  return dnnl_dilated_convolution_forward_desc_init(desc, dnnl_forward_training, dnnl_convolution_direct,
                                                    &l->x, &l->weights, has_bias ? &l->bias : NULL, &l->y,
                                                    l->stride, l->dilation, l->pad_begin, l->pad_end);
}

static void set_roles(struct mq_onednn_op *op, mq_onednn_pass pass) {
  const bool is_forward = pass == MQ_ONEDNN_FORWARD, is_gradient = pass == MQ_ONEDNN_BACKWARD_WEIGHTS;
  op->x_argument = pass == MQ_ONEDNN_BACKWARD_DATA ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC;
  op->weights_argument = is_gradient ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS;
  op->y_argument = is_forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST;
}

mq_status mq_onednn_pass_create(struct mq_onednn_op **op, const struct mq_onednn_geometry *geometry,
                                mq_onednn_pass pass, mq_onednn_numbers numbers, struct mq_err *err) {
  struct pass_layout layout;
  dnnl_convolution_desc_t desc;
  dnnl_primitive_attr_t attributes = NULL;
  const struct pass_types types = pass_types(pass, numbers);
  *op = NULL;
  mq_onednn_set_threads();
  struct mq_onednn_op *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "convolution");
  set_roles(made, pass);
  mq_status status = pass_layout_init(&layout, made, geometry, &types, err);
  if (status == MQ_OK)
    status = mq_onednn_check(
        pass_desc_init(&desc, &layout, pass, pass == MQ_ONEDNN_FORWARD && numbers == MQ_ONEDNN_F32),
        "convolution_desc", err);
  if (status == MQ_OK)
    status = mq_onednn_attributes(&attributes, made, NULL, 0, 4, 1, geometry->y.dim[1], err);
  if (status == MQ_OK) status = mq_onednn_build(made, &desc, attributes, err);
  if (status == MQ_OK)
    made->packed_weights =
        *dnnl_primitive_desc_query_md(made->desc, dnnl_query_exec_arg_md, made->weights_argument);
  if (attributes != NULL) dnnl_primitive_attr_destroy(attributes);
  if (status != MQ_OK)
    mq_onednn_destroy(made);
  else
    *op = made;
  return status;
}

size_t mq_onednn_pass_weights_bytes(const struct mq_onednn_op *pass) {
  return dnnl_memory_desc_get_size(&pass->packed_weights);
}

mq_status mq_onednn_pass_run(const struct mq_onednn_op *pass, const struct mq_onednn_operands *operands,
                             void *scratch, struct mq_err *err) {
  const struct mq_onednn_argument arguments[] = {{pass->x_argument, operands->x},
                                                 {pass->weights_argument, operands->weights},
                                                 {DNNL_ARG_BIAS, operands->bias},
                                                 {pass->y_argument, operands->y}};
  return mq_onednn_execute(pass, arguments, 4, scratch, err);
}

static mq_status create_copy(struct mq_onednn_op **op, const dnnl_memory_desc_t *to,
                             const dnnl_memory_desc_t *from, struct mq_err *err) {
  *op = NULL;
  mq_onednn_set_threads();
  struct mq_onednn_op *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "reorder");
  const mq_status status = mq_onednn_build_reorder(made, to, from, err);
  if (status != MQ_OK)
    mq_onednn_destroy(made);
  else
    *op = made;
  return status;
}

mq_status mq_onednn_pack_create(struct mq_onednn_op **op, const struct mq_onednn_op *pass,
                                struct mq_err *err) {
  return create_copy(op, &pass->packed_weights, &pass->plain_weights, err);
}

mq_status mq_onednn_unpack_create(struct mq_onednn_op **op, const struct mq_onednn_op *pass,
                                  struct mq_err *err) {
  return create_copy(op, &pass->plain_weights, &pass->packed_weights, err);
}

mq_status mq_onednn_copy(const struct mq_onednn_op *copy, void *to, const void *from, void *scratch,
                         struct mq_err *err) {
  const struct mq_onednn_argument arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  return mq_onednn_execute(copy, arguments, 2, scratch, err);
}
