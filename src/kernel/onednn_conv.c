#include <dnnl.h>

#include "kernel/onednn_internal.h"

/* Layouts of one convolution; weights have rank 4, or 5 with a leading group dimension. */
struct conv_layout {
  dnnl_memory_desc_t x, y, bias;
  dnnl_memory_desc_t weights;      /* as the library likes them */
  dnnl_memory_desc_t user_weights; /* as they came */
  dnnl_dims_t stride, dilation, pad_begin, pad_end;
};

/* Logical order of the library: (group,) O/groups, I/groups, KH, KW. Forward weights lie like that; those of
 * a transposed convolution have I and O exchanged in memory. */
static mq_status weights_layout(struct conv_layout *layout, const struct mq_conv_desc *desc,
                                struct mq_err *err) {
  const int64_t *w = desc->weights->shape.dim, groups = desc->groups, area = w[2] * w[3];
  const int64_t outputs = desc->is_transposed ? w[1] : w[0] / groups;
  const int64_t inputs = desc->is_transposed ? w[0] / groups : w[1];
  /* One longer than the library wants, since the group dimension may be skipped. */
  const dnnl_dim_t dims[DNNL_MAX_NDIMS + 1] = {groups, outputs, inputs, w[2], w[3]};
  const int64_t output_stride = desc->is_transposed ? area : inputs * area;
  const int64_t input_stride = desc->is_transposed ? outputs * area : area;
  const dnnl_dim_t strides[DNNL_MAX_NDIMS + 1] = {outputs * inputs * area, output_stride, input_stride, w[3],
                                                  1};
  const int skip = groups == 1 ? 1 : 0, rank = 5 - skip;
  const mq_status status = mq_onednn_check(
      dnnl_memory_desc_init_by_strides(&layout->user_weights, rank, dims + skip, dnnl_f32, strides + skip),
      "weights_desc", err);
  if (status != MQ_OK) return status;
  return mq_onednn_check(
      dnnl_memory_desc_init_by_tag(&layout->weights, rank, dims + skip, dnnl_f32, dnnl_format_tag_any),
      "weights_desc", err);
}

static mq_status activation_layout(dnnl_memory_desc_t *md, const struct mq_shape *shape, struct mq_err *err) {
  const dnnl_dims_t dims = {shape->dim[0], shape->dim[1], shape->dim[2], shape->dim[3]};
  return mq_onednn_check(dnnl_memory_desc_init_by_tag(md, 4, dims, dnnl_f32, dnnl_nhwc), "activation_desc",
                         err);
}

static mq_status conv_layout_init(struct conv_layout *layout, const struct mq_conv_desc *desc,
                                  const struct mq_shape *output, struct mq_err *err) {
  const dnnl_dims_t channels = {output->dim[1]};
  mq_status status = weights_layout(layout, desc, err);
  if (status == MQ_OK) status = activation_layout(&layout->x, &desc->input, err);
  if (status == MQ_OK) status = activation_layout(&layout->y, output, err);
  if (status == MQ_OK)
    status = mq_onednn_check(dnnl_memory_desc_init_by_tag(&layout->bias, 1, channels, dnnl_f32, dnnl_x),
                             "bias_desc", err);
  for (int i = 0; i < 2; i++) {
    layout->stride[i] = desc->stride[i];
    layout->dilation[i] = desc->dilation[i] - 1; /* the library counts the gaps */
    layout->pad_begin[i] = desc->pad_begin[i];
    layout->pad_end[i] = desc->pad_end[i] - (desc->is_transposed ? desc->output_pad[i] : 0);
  }
  return status;
}

static mq_status build_forward(struct mq_onednn_op *op, const struct conv_layout *layout, bool has_bias,
                               dnnl_primitive_attr_t attributes, struct mq_err *err) {
  dnnl_convolution_desc_t desc;
  const mq_status status =
      mq_onednn_check(dnnl_dilated_convolution_forward_desc_init(
                          &desc, dnnl_forward_inference, dnnl_convolution_direct, &layout->x,
                          &layout->weights, has_bias ? &layout->bias : NULL, &layout->y, layout->stride,
                          layout->dilation, layout->pad_begin, layout->pad_end),
                      "convolution_desc", err);
  return status != MQ_OK ? status : mq_onednn_build(op, &desc, attributes, err);
}

static mq_status build_transposed(struct mq_onednn_op *op, const struct conv_layout *layout, bool has_bias,
                                  dnnl_primitive_attr_t attributes, struct mq_err *err) {
  dnnl_deconvolution_desc_t desc;
  const mq_status status =
      mq_onednn_check(dnnl_dilated_deconvolution_forward_desc_init(
                          &desc, dnnl_forward_inference, dnnl_deconvolution_direct, &layout->x,
                          &layout->weights, has_bias ? &layout->bias : NULL, &layout->y, layout->stride,
                          layout->dilation, layout->pad_begin, layout->pad_end),
                      "deconvolution_desc", err);
  return status != MQ_OK ? status : mq_onednn_build(op, &desc, attributes, err);
}

mq_status mq_onednn_conv_create(struct mq_onednn_op **op, const struct mq_conv_desc *desc,
                                const struct mq_shape *output, struct mq_err *err) {
  struct conv_layout layout;
  dnnl_primitive_attr_t attributes = NULL;
  const bool has_bias = desc->bias != NULL;
  *op = NULL;
  mq_onednn_set_threads();
  struct mq_onednn_op *made = mq_alloc(1, sizeof *made);
  if (made == NULL) return mq_fail_memory(err, "convolution");
  mq_status status = conv_layout_init(&layout, desc, output, err);
  if (status == MQ_OK)
    status = mq_onednn_attributes(&attributes, made, desc->posts, desc->n_posts, 4, 1, output->dim[1], err);
  if (status == MQ_OK)
    status = desc->is_transposed ? build_transposed(made, &layout, has_bias, attributes, err)
                                 : build_forward(made, &layout, has_bias, attributes, err);
  if (status == MQ_OK)
    status = mq_onednn_add_constant(made, DNNL_ARG_WEIGHTS,
                                    dnnl_primitive_desc_query_md(made->desc, dnnl_query_weights_md, 0),
                                    desc->weights->data, &layout.user_weights, err);
  if (status == MQ_OK && has_bias)
    status = mq_onednn_add_constant(made, DNNL_ARG_BIAS, &layout.bias, desc->bias->data, &layout.bias, err);
  if (attributes != NULL) dnnl_primitive_attr_destroy(attributes);
  if (status != MQ_OK)
    mq_onednn_destroy(made);
  else
    *op = made;
  return status;
}
