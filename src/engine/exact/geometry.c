#include "engine/exact/geometry.h"

bool exact_is_conv(const struct mq_node *layer) {
  return layer->op == MQ_OP_Conv || layer->op == MQ_OP_ConvTranspose;
}

struct mq_shape exact_with_height(const struct mq_shape *shape) {
  if (shape->rank == 4) {
    return *shape;
  }
  return (struct mq_shape){.rank = 4, .dim = {shape->dim[0], shape->dim[1], 1, shape->dim[2]}};
}

static struct mq_shape rows_of(const struct mq_shape *shape) {
  int64_t n = shape->dim[shape->rank - 1];
  return (struct mq_shape){.rank = 4, .dim = {n ? mq_shape_count(shape) / n : 0, n, 1, 1}};
}

static struct mq_shape weight_form(const struct exact_geometry *g, const struct mq_node *layer,
                                   const struct mq_tensor *w) {
  const struct mq_shape *s = &w->shape;
  int64_t outputs = g->output.dim[1];
  if (!exact_is_conv(layer)) {
    return (struct mq_shape){.rank = 4, .dim = {outputs, mq_shape_count(s) / outputs, 1, 1}};
  }
  int64_t inputs = g->is_transposed ? s->dim[0] / g->window.groups : s->dim[1];
  int64_t height = s->rank == 4 ? s->dim[2] : 1;
  return (struct mq_shape){.rank = 4, .dim = {outputs, inputs, height, s->dim[s->rank - 1]}};
}

mq_status exact_geometry_init(struct exact_geometry *g, const struct engine_compiler *c,
                              const struct mq_node *layer, const struct mq_tensor *w,
                              const struct mq_value *output, struct mq_err *err) {
  struct mq_shape x = engine_shape(c, layer->inputs[0]), y = engine_shape(c, output);
  bool is_conv = exact_is_conv(layer);
  *g = (struct exact_geometry){
      .input = is_conv ? exact_with_height(&x) : rows_of(&x),
      .output = is_conv ? exact_with_height(&y) : rows_of(&y),
      .window = {.stride = {1, 1}, .dilation = {1, 1}, .kernel = {1, 1}, .groups = 1},
      .is_transposed = layer->op == MQ_OP_ConvTranspose,
  };
  mq_status status = is_conv ? mq_node_get_window(&g->window, layer, err) : MQ_OK;
  if (status == MQ_OK) {
    g->weights = weight_form(g, layer, w);
    g->group_inputs = g->weights.dim[1];
    g->group_outputs = g->weights.dim[0] / g->window.groups;
  }
  return status;
}

int64_t exact_weight_at(const struct exact_geometry *g, const struct mq_node *layer,
                        const struct mq_tensor *w, int64_t o, int64_t i, int64_t tap) {
  int64_t is_transposed = 0, taps = g->weights.dim[2] * g->weights.dim[3];
  switch (layer->op) {
    case MQ_OP_Conv:
      return (o * g->group_inputs + i) * taps + tap;
    case MQ_OP_ConvTranspose: { /* I, O / groups, KH, KW */
      int64_t outputs = w->shape.dim[1], group = o / outputs;
      return ((group * g->group_inputs + i) * outputs + o % outputs) * taps + tap;
    }
    case MQ_OP_Gemm:
      if (mq_node_get_int(&is_transposed, layer, "transB", 0, NULL) == MQ_OK && is_transposed) {
        return o * g->group_inputs + i;
      }
      return i * g->weights.dim[0] + o;
    default:
      return i * g->weights.dim[0] + o;
  }
}

/* The coordinate along one axis; -1: none. */
static int64_t input_at(const struct exact_geometry *g, int axis, int64_t out, int64_t tap) {
  const struct mq_window *w = &g->window;
  int64_t in = out * w->stride[axis] - w->pad_begin[axis] + tap * w->dilation[axis];
  if (g->is_transposed) { /* out = in * stride - pad + tap * dilation */
    in = out + w->pad_begin[axis] - tap * w->dilation[axis];
    if (in < 0 || in % w->stride[axis] != 0) {
      return -1;
    }
    in /= w->stride[axis];
  }
  return in >= 0 && in < g->input.dim[2 + axis] ? in : -1;
}

int64_t exact_tap_at(const struct exact_geometry *g, int64_t pixel, int64_t kh, int64_t kw) {
  const struct mq_shape *in = &g->input, *out = &g->output;
  int64_t row = pixel / out->dim[3], image = row / out->dim[2];
  int64_t ih = input_at(g, 0, row % out->dim[2], kh), iw = input_at(g, 1, pixel % out->dim[3], kw);
  return ih < 0 || iw < 0 ? -1 : ((image * in->dim[2] + ih) * in->dim[3] + iw) * in->dim[1];
}

mq_status exact_layer_places(int *x, int *y, struct engine_compiler *c, const struct mq_node *layer,
                             const struct mq_value *output, struct mq_err *err) {
  struct mq_shape shape = engine_shape(c, output);
  int64_t stride[MQ_MAX_RANK];
  if (exact_is_conv(layer)) {
    mq_stride_channels_last(stride, &shape);
  } else {
    mq_stride_row_major(stride, &shape);
  }
  mq_status status =
      engine_read_float(x, c, layer, 0, exact_is_conv(layer) ? ENGINE_CHANNELS_LAST : ENGINE_ROW_MAJOR, err);
  return status == MQ_OK ? engine_new_place(y, c, MQ_F32, &shape, stride, err) : status;
}
