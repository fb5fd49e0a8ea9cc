/* Pools over windows and over everything. */
#include <math.h>
#include <string.h>

#include "engine/compile.h"

static void release_pooling(void *state) {
  mq_pooling_destroy(state);
}

static mq_status forward_pool(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  return mq_pooling_forward(step->state, engine_output(step, frame, 0)->data,
                            engine_input(step, frame, 0)->data, frame->scratch, err);
}

static mq_status backward_pool(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  return mq_pooling_backward(step->state, engine_input_gradient(step, frame, 0)->data, step->adds[0],
                             engine_output_gradient(step, frame, 0)->data, engine_input(step, frame, 0)->data,
                             frame->scratch, err);
}

static const struct engine_function average_function = {.forward = forward_pool, .backward = backward_pool};
static const struct engine_function maximum_function = {
    .forward = forward_pool, .backward = backward_pool, .keeps_inputs = true};

static struct mq_shape with_height(const struct mq_shape *shape) {
  if (shape->rank == 4) {
    return *shape;
  }
  return (struct mq_shape){.rank = 4, .dim = {shape->dim[0], shape->dim[1], 1, shape->dim[2]}};
}

static mq_status create_pooling(struct mq_pooling **pooling, const struct mq_node *node,
                                const struct mq_window *window, const struct mq_shape *input,
                                struct mq_err *err) {
  struct mq_pooling_desc desc = {.kind = MQ_POOLING_MAX, .input = with_height(input)};
  if (node->op == MQ_OP_AveragePool) {
    desc.kind = window->count_include_pad ? MQ_POOLING_AVERAGE_WITH_PADDING : MQ_POOLING_AVERAGE;
  }
  memcpy(desc.kernel, window->kernel, sizeof desc.kernel);
  memcpy(desc.stride, window->stride, sizeof desc.stride);
  memcpy(desc.dilation, window->dilation, sizeof desc.dilation);
  memcpy(desc.pad_begin, window->pad_begin, sizeof desc.pad_begin);
  memcpy(desc.pad_end, window->pad_end, sizeof desc.pad_end);
  desc.ceil_mode = window->ceil_mode;
  return mq_pooling_create(pooling, &desc, err);
}

static mq_status compile_window_pool(struct engine_compiler *c, const struct mq_node *node,
                                     const struct mq_window *window, struct mq_err *err) {
  struct mq_pooling *pooling;
  int x, y;
  mq_status status = engine_read_float(&x, c, node, 0, ENGINE_CHANNELS_LAST, err);
  if (status == MQ_OK) {
    status = create_pooling(&pooling, node, window, &engine_tensor(c, x)->shape, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct mq_shape shape = engine_shape(c, node->outputs[0]), made = mq_pooling_output_shape(pooling);
  struct mq_shape expected = with_height(&shape);
  int64_t stride[MQ_MAX_RANK];
  mq_stride_channels_last(stride, &shape);
  status = mq_shape_equal(&made, &expected)
               ? engine_new_output(&y, c, node, 0, stride, err)
               : engine_fail_unsupported(node, err, "the kernel's output shape differs from the graph's");
  if (status != MQ_OK) {
    mq_pooling_destroy(pooling);
    return status;
  }
  size_t forward_bytes = mq_pooling_scratch_bytes(pooling);
  size_t backward_bytes = c->training ? mq_pooling_backward_scratch_bytes(pooling) : 0;
  struct engine_step step = {
      .function = engine_op_get(node->op)->function,
      .state = pooling,
      .release = release_pooling,
      .inputs = &x,
      .n_inputs = 1,
      .outputs = &y,
      .n_outputs = 1,
      .scratch_bytes = forward_bytes > backward_bytes ? forward_bytes : backward_bytes};
  return engine_emit(c, &step, err);
}

static mq_status compile_average_pool(struct engine_compiler *c, const struct mq_node *node,
                                      struct mq_err *err) {
  struct mq_window window;
  mq_status status = mq_node_get_window(&window, node, err);
  return status == MQ_OK ? compile_window_pool(c, node, &window, err) : status;
}

const struct engine_op engine_op_AveragePool = {.compile = compile_average_pool,
                                                .function = &average_function};

/* ---- MaxPool with its second output: where each maximum was, as an index into the flattened input ---- */
struct argmax_state {
  struct mq_window window;
  bool is_column_major; /* storage_order 1: H runs faster than W in the index */
};

/* The first maximum in row order wins. Shapes with a height; x row-major. */
static void max_with_index(float *y, int64_t *index, const float *x, const struct mq_shape *in, int64_t plane,
                           int64_t oh, int64_t ow, const struct argmax_state *s) {
  const struct mq_window *w = &s->window;
  int64_t height = in->dim[2], width = in->dim[3], first = plane * height * width;
  *y = -INFINITY;
  *index = first;
  for (int64_t kh = 0; kh < w->kernel[0]; kh++) {
    for (int64_t kw = 0; kw < w->kernel[1]; kw++) {
      int64_t ih = oh * w->stride[0] - w->pad_begin[0] + kh * w->dilation[0];
      int64_t iw = ow * w->stride[1] - w->pad_begin[1] + kw * w->dilation[1];
      if (ih < 0 || ih >= height || iw < 0 || iw >= width || x[first + ih * width + iw] <= *y) {
        continue;
      }
      *y = x[first + ih * width + iw];
      *index = first + (s->is_column_major ? iw * height + ih : ih * width + iw);
    }
  }
}

static mq_status forward_argmax(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct mq_tensor *x = engine_input(step, frame, 0), *y = engine_output(step, frame, 0);
  struct mq_shape in = with_height(&x->shape), out = with_height(&y->shape);
  float *values = y->data;
  int64_t *indices = engine_output(step, frame, 1)->data, at = 0;
  for (int64_t plane = 0; plane < out.dim[0] * out.dim[1]; plane++) {
    for (int64_t oh = 0; oh < out.dim[2]; oh++) {
      for (int64_t ow = 0; ow < out.dim[3]; ow++, at++) {
        max_with_index(&values[at], &indices[at], x->data, &in, plane, oh, ow, step->state);
      }
    }
  }
  return MQ_OK;
}

static mq_status backward_argmax(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  (void)err;
  const struct argmax_state *s = step->state;
  const struct mq_tensor *d = engine_input_gradient(step, frame, 0);
  const struct mq_tensor *gradient = engine_output_gradient(step, frame, 0);
  struct mq_shape in = with_height(&d->shape);
  const int64_t *indices = engine_output(step, frame, 1)->data;
  const float *g = gradient->data;
  float *dx = d->data;
  int64_t n = mq_shape_count(&gradient->shape), height = in.dim[2], width = in.dim[3];
  if (!step->adds[0]) {
    engine_zero(d);
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t plane = indices[i] / (height * width), pixel = indices[i] % (height * width);
    if (s->is_column_major) {
      pixel = pixel % height * width + pixel / height;
    }
    dx[plane * height * width + pixel] += g[i];
  }
  return MQ_OK;
}

static const struct engine_function argmax_function = {
    .forward = forward_argmax, .backward = backward_argmax, .keeps_outputs = true};

static mq_status compile_argmax(struct engine_compiler *c, const struct mq_node *node,
                                const struct mq_window *window, struct mq_err *err) {
  int x, outputs[2];
  int64_t stride[MQ_MAX_RANK], storage_order;
  void *block;
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  mq_stride_row_major(stride, &shape);
  mq_status status = mq_node_get_int(&storage_order, node, "storage_order", 0, err);
  if (status == MQ_OK) {
    status = engine_read_float(&x, c, node, 0, ENGINE_ROW_MAJOR, err);
  }
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, 1, sizeof(struct argmax_state), err);
  }
  for (int i = 0; i < 2 && status == MQ_OK; i++) {
    status = engine_new_output(&outputs[i], c, node, i, stride, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct argmax_state *state = block;
  *state = (struct argmax_state){.window = *window, .is_column_major = storage_order != 0};
  struct engine_step step = {.function = &argmax_function,
                             .state = state,
                             .inputs = &x,
                             .n_inputs = 1,
                             .outputs = outputs,
                             .n_outputs = 2};
  return engine_emit(c, &step, err);
}

static mq_status compile_max_pool(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  struct mq_window window;
  mq_status status = mq_node_get_window(&window, node, err);
  if (status != MQ_OK) {
    return status;
  }
  const struct mq_value *index = node->n_outputs > 1 ? node->outputs[1] : NULL;
  bool is_index_used = index && (index->n_uses > 0 || index->is_output);
  return is_index_used ? compile_argmax(c, node, &window, err) : compile_window_pool(c, node, &window, err);
}

const struct engine_op engine_op_MaxPool = {.compile = compile_max_pool, .function = &maximum_function};

/* ---- Global pools ------------------------------------------------------------------------------- */
static int64_t pixels_of(const struct mq_tensor *x) {
  int64_t pixels = 1;
  for (int i = 2; i < x->shape.rank; i++) {
    pixels *= x->shape.dim[i];
  }
  return pixels;
}

static mq_status forward_global_average(const struct engine_step *step, struct engine_frame *frame,
                                        struct mq_err *err) {
  (void)err;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  mq_global_average(engine_output(step, frame, 0)->data, x->data, x->shape.dim[0], pixels_of(x),
                    x->shape.dim[1]);
  return MQ_OK;
}

static mq_status backward_global_average(const struct engine_step *step, struct engine_frame *frame,
                                         struct mq_err *err) {
  (void)err;
  const struct mq_tensor *dx = engine_input_gradient(step, frame, 0);
  mq_global_average_backward(dx->data, step->adds[0], engine_output_gradient(step, frame, 0)->data,
                             dx->shape.dim[0], pixels_of(dx), dx->shape.dim[1]);
  return MQ_OK;
}

static const struct engine_function global_average_function = {.forward = forward_global_average,
                                                               .backward = backward_global_average};

static mq_status forward_global_max(const struct engine_step *step, struct engine_frame *frame,
                                    struct mq_err *err) {
  (void)err;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  mq_global_max(engine_output(step, frame, 0)->data, x->data, x->shape.dim[0], pixels_of(x), x->shape.dim[1]);
  return MQ_OK;
}

static mq_status backward_global_max(const struct engine_step *step, struct engine_frame *frame,
                                     struct mq_err *err) {
  (void)err;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  mq_global_max_backward(engine_input_gradient(step, frame, 0)->data, step->adds[0],
                         engine_output_gradient(step, frame, 0)->data, x->data, x->shape.dim[0], pixels_of(x),
                         x->shape.dim[1]);
  return MQ_OK;
}

static const struct engine_function global_max_function = {
    .forward = forward_global_max, .backward = backward_global_max, .keeps_inputs = true};

static mq_status compile_global_pool(struct engine_compiler *c, const struct mq_node *node,
                                     const struct engine_function *function, struct mq_err *err) {
  int x, y;
  int64_t stride[MQ_MAX_RANK];
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  mq_stride_row_major(stride, &shape); /* of N x C (x 1 x 1): one row per image */
  mq_status status = engine_read_float(&x, c, node, 0, ENGINE_CHANNELS_LAST, err);
  if (status == MQ_OK) {
    status = engine_new_output(&y, c, node, 0, stride, err);
  }
  return status == MQ_OK ? engine_emit_simple(c, function, NULL, &x, 1, y, err) : status;
}

mq_status engine_compile_mean_of_pixels(struct engine_compiler *c, const struct mq_node *node,
                                        struct mq_err *err) {
  return compile_global_pool(c, node, &global_average_function, err);
}

static mq_status compile_global_max(struct engine_compiler *c, const struct mq_node *node,
                                    struct mq_err *err) {
  return compile_global_pool(c, node, &global_max_function, err);
}

const struct engine_op engine_op_GlobalAveragePool = {.compile = engine_compile_mean_of_pixels,
                                                      .function = &global_average_function};
const struct engine_op engine_op_GlobalMaxPool = {.compile = compile_global_max,
                                                  .function = &global_max_function};
