/* Softmax, LogSoftmax and ReduceMean: what runs over axes. */
#include <string.h>

#include "engine/compile.h"

/* ---- Softmax: the normalised axes are viewed last ----------------------------------------------- */
struct softmax_state {
  int64_t n_rows, row_count;
  bool is_log;
};

static mq_status forward_softmax(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  (void)err;
  const struct softmax_state *s = step->state;
  mq_softmax_rows(engine_output(step, frame, 0)->data, engine_input(step, frame, 0)->data, s->n_rows,
                  s->row_count, s->is_log);
  return MQ_OK;
}

static mq_status backward_softmax(const struct engine_step *step, struct engine_frame *frame,
                                  struct mq_err *err) {
  (void)err;
  const struct softmax_state *s = step->state;
  mq_softmax_rows_backward(engine_input_gradient(step, frame, 0)->data, step->adds[0],
                           engine_output_gradient(step, frame, 0)->data, engine_output(step, frame, 0)->data,
                           s->n_rows, s->row_count, s->is_log);
  return MQ_OK;
}

static const struct engine_function softmax_function = {
    .forward = forward_softmax, .backward = backward_softmax, .keeps_outputs = true};

/* Axes first..last behind the others. */
static void axes_last(int perm[MQ_MAX_RANK], int rank, int first, int last) {
  int n = 0;
  for (int i = 0; i < rank; i++) {
    if (i < first || i > last) {
      perm[n++] = i;
    }
  }
  for (int i = first; i <= last; i++) {
    perm[n++] = i;
  }
}

static mq_status read_permuted(int *place, struct engine_compiler *c, const struct mq_node *node,
                               const int perm[MQ_MAX_RANK], struct mq_err *err) {
  mq_status status = engine_read_float(place, c, node, 0, ENGINE_ANY, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_tensor from = *engine_tensor(c, *place), view = from;
  for (int i = 0; i < from.shape.rank; i++) {
    view.shape.dim[i] = from.shape.dim[perm[i]];
    view.stride[i] = from.stride[perm[i]];
  }
  status = engine_new_view(place, c, *place, &view, 0, err);
  return status == MQ_OK ? engine_arrange(place, c, *place, ENGINE_ROW_MAJOR, err) : status;
}

static mq_status bind_unpermuted(struct engine_compiler *c, const struct mq_value *value, int place,
                                 const int perm[MQ_MAX_RANK], struct mq_err *err) {
  struct mq_tensor from = *engine_tensor(c, place), view = from;
  int y;
  for (int i = 0; i < from.shape.rank; i++) {
    view.shape.dim[perm[i]] = from.shape.dim[i];
    view.stride[perm[i]] = from.stride[i];
  }
  mq_status status = engine_new_view(&y, c, place, &view, 0, err);
  if (status == MQ_OK) {
    engine_bind(c, value, y);
  }
  return status;
}

static mq_status compile_softmax(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int first, last, x, y, perm[MQ_MAX_RANK];
  void *block;
  struct mq_shape shape = engine_shape(c, node->inputs[0]);
  mq_status status = mq_node_get_softmax(&first, &last, node, err);
  if (status == MQ_OK) {
    axes_last(perm, shape.rank, first, last);
    status = read_permuted(&x, c, node, perm, err);
  }
  if (status == MQ_OK) {
    struct mq_tensor like = *engine_tensor(c, x);
    int64_t stride[MQ_MAX_RANK];
    mq_stride_row_major(stride, &like.shape);
    status = engine_new_place(&y, c, MQ_F32, &like.shape, stride, err);
  }
  if (status == MQ_OK) {
    status = engine_alloc(&block, c, 1, sizeof(struct softmax_state), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  struct softmax_state *state = block;
  *state = (struct softmax_state){.row_count = 1, .is_log = node->op == MQ_OP_LogSoftmax};
  for (int i = first; i <= last; i++) {
    state->row_count *= shape.dim[i];
  }
  state->n_rows = state->row_count ? mq_shape_count(&shape) / state->row_count : 0;
  status = engine_emit_simple(c, &softmax_function, state, &x, 1, y, err);
  return status == MQ_OK ? bind_unpermuted(c, node->outputs[0], y, perm, err) : status;
}

const struct engine_op engine_op_Softmax = {.compile = compile_softmax, .function = &softmax_function};
const struct engine_op engine_op_LogSoftmax = {.compile = compile_softmax, .function = &softmax_function};

/* ---- ReduceMean --------------------------------------------------------------------------------- */
struct reduce_state {
  int n_axes;
  int64_t axes[MQ_MAX_RANK];
  bool is_reduced[MQ_MAX_RANK];
  bool keeps_dims;
};

/* Advances a position over the chosen dimensions, last one fastest; false when it starts anew. */
static bool advance(int64_t position[MQ_MAX_RANK], const struct mq_shape *shape, const bool *is_chosen,
                    bool chosen) {
  for (int i = shape->rank - 1; i >= 0; i--) {
    if (is_chosen[i] != chosen) {
      continue;
    }
    if (++position[i] < shape->dim[i]) {
      return true;
    }
    position[i] = 0;
  }
  return false;
}

static int64_t offset_of(const int64_t position[MQ_MAX_RANK], const struct mq_tensor *x) {
  int64_t offset = 0;
  for (int i = 0; i < x->shape.rank; i++) {
    offset += position[i] * x->stride[i];
  }
  return offset;
}

/* Sums in double, in the order of the input's indices; rounded once. y is row-major. */
static mq_status forward_reduce_mean(const struct engine_step *step, struct engine_frame *frame,
                                     struct mq_err *err) {
  (void)err;
  const struct reduce_state *s = step->state;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  float *y = engine_output(step, frame, 0)->data;
  int64_t position[MQ_MAX_RANK] = {0}, count = 1,
          n_out = mq_shape_count(&engine_output(step, frame, 0)->shape);
  for (int i = 0; i < s->n_axes; i++) {
    count *= x->shape.dim[s->axes[i]];
  }
  for (int64_t o = 0; o < n_out; o++) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
      sum += (double)((const float *)x->data)[offset_of(position, x)];
      advance(position, &x->shape, s->is_reduced, true);
    }
    y[o] = (float)(sum / (double)count);
    advance(position, &x->shape, s->is_reduced, false);
  }
  return MQ_OK;
}

/* dx = g / count, spread over what was reduced. */
static mq_status backward_reduce_mean(const struct engine_step *step, struct engine_frame *frame,
                                      struct mq_err *err) {
  (void)err;
  const struct reduce_state *s = step->state;
  const struct mq_tensor *dx = engine_input_gradient(step, frame, 0);
  const struct mq_tensor *gradient = engine_output_gradient(step, frame, 0);
  const float *g = gradient->data;
  int64_t position[MQ_MAX_RANK] = {0}, count = 1, n_out = mq_shape_count(&gradient->shape);
  for (int i = 0; i < s->n_axes; i++) {
    count *= dx->shape.dim[s->axes[i]];
  }
  for (int64_t o = 0; o < n_out; o++) {
    float share = g[o] / (float)count;
    for (int64_t i = 0; i < count; i++) {
      float *d = (float *)dx->data + offset_of(position, dx);
      *d = (step->adds[0] ? *d : 0) + share;
      advance(position, &dx->shape, s->is_reduced, true);
    }
    advance(position, &dx->shape, s->is_reduced, false);
  }
  return MQ_OK;
}

static const struct engine_function reduce_mean_function = {.forward = forward_reduce_mean,
                                                            .backward = backward_reduce_mean};

static bool is_over_pixels(const struct reduce_state *s, int rank) {
  bool is_over = (rank == 3 || rank == 4) && s->n_axes == rank - 2;
  for (int i = 2; i < rank && is_over; i++) {
    is_over = s->is_reduced[i];
  }
  return is_over;
}

static mq_status compile_reduce_mean(struct engine_compiler *c, const struct mq_node *node,
                                     struct mq_err *err) {
  void *block;
  int x, y, rank = node->inputs[0]->shape.rank;
  int64_t stride[MQ_MAX_RANK];
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  mq_stride_row_major(stride, &shape);
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct reduce_state), err);
  if (status != MQ_OK) {
    return status;
  }
  struct reduce_state *state = block;
  status = mq_node_get_axes(state->axes, &state->n_axes, node, rank, err);
  for (int i = 0; i < state->n_axes && status == MQ_OK; i++) {
    state->is_reduced[state->axes[i]] = true;
  }
  if (status == MQ_OK && is_over_pixels(state, rank)) {
    return engine_compile_mean_of_pixels(c, node, err);
  }
  if (status == MQ_OK) {
    status = engine_read_float(&x, c, node, 0, ENGINE_ANY, err);
  }
  if (status == MQ_OK) {
    status = engine_new_output(&y, c, node, 0, stride, err);
  }
  return status == MQ_OK ? engine_emit_simple(c, &reduce_mean_function, state, &x, 1, y, err) : status;
}

const struct engine_op engine_op_ReduceMean = {.compile = compile_reduce_mean,
                                               .function = &reduce_mean_function};
