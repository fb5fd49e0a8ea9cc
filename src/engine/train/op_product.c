/* Products whose right operand is no matrix of parameters, and Gemm with everything it may have:
 *   y = x w over a batch of matrices;   dx = g w',   dw = x' g
 * Operands that are broadcast, transposed or vectors are copied into that form first; the copies' own
 * backward passes bring the gradients back. */
#include "engine/train/training.h"

/* ---- y = x w --------------------------------------------------------------------------------- */
struct product_state {
  struct mq_matmul *forward, *backward_x, *backward_w;
  int64_t x_count, w_count;
};

static mq_status forward_product(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  const struct product_state *s = step->state;
  return mq_matmul_forward(s->forward, engine_output(step, frame, 0)->data,
                           engine_input(step, frame, 0)->data, engine_input(step, frame, 1)->data, NULL,
                           frame->scratch, err);
}

static int64_t on_cache_lines(int64_t count) {
  return (count + 15) / 16 * 16;
}

/* The product a b into d, or (adds) by way of the scratch memory's beginning onto it. */
static mq_status multiply(float *d, bool adds, int64_t count, const struct mq_matmul *matmul, const float *a,
                          const float *b, float *scratch, struct mq_err *err) {
  float *own = adds ? scratch : d;
  mq_status status =
      mq_matmul_forward(matmul, own, a, b, NULL, scratch + (adds ? on_cache_lines(count) : 0), err);
  if (status == MQ_OK && adds) {
    mq_loop_axpy(d, 1, own, count);
  }
  return status;
}

static mq_status backward_product(const struct engine_step *step, struct engine_frame *frame,
                                  struct mq_err *err) {
  const struct product_state *s = step->state;
  const float *g = engine_output_gradient(step, frame, 0)->data;
  float *dx = engine_input_gradient(step, frame, 0)->data, *dw = engine_input_gradient(step, frame, 1)->data;
  mq_status status = MQ_OK;
  if (dx) {
    status = multiply(dx, step->adds[0], s->x_count, s->backward_x, g, engine_input(step, frame, 1)->data,
                      frame->scratch, err);
  }
  if (dw && status == MQ_OK) {
    status = multiply(dw, step->adds[1], s->w_count, s->backward_w, engine_input(step, frame, 0)->data, g,
                      frame->scratch, err);
  }
  return status;
}

static const struct engine_function product_function = {
    .forward = forward_product, .backward = backward_product, .keeps_inputs = true};

static void release_product(void *state) {
  struct product_state *s = state;
  mq_matmul_destroy(s->forward);
  mq_matmul_destroy(s->backward_x);
  mq_matmul_destroy(s->backward_w);
  s->forward = s->backward_x = s->backward_w = NULL;
}

static mq_status create_products(struct product_state *s, const struct mq_matmul_desc *desc,
                                 struct mq_err *err) {
  const struct mq_matmul_desc of_x = {
      .batch = desc->batch, .m = desc->m, .k = desc->n, .n = desc->k, .is_weight_transposed = true};
  const struct mq_matmul_desc of_w = {
      .batch = desc->batch, .m = desc->k, .k = desc->m, .n = desc->n, .is_input_transposed = true};
  mq_status status = mq_matmul_create(&s->forward, desc, err);
  if (status == MQ_OK) {
    status = mq_matmul_create(&s->backward_x, &of_x, err);
  }
  if (status == MQ_OK) {
    status = mq_matmul_create(&s->backward_w, &of_w, err);
  }
  s->x_count = desc->batch * desc->m * desc->k;
  s->w_count = desc->batch * desc->k * desc->n;
  return status;
}

/* Where an added gradient lies before it is added, then the kernel's own: both on cache lines. */
static size_t scratch_bytes(const struct product_state *s) {
  const struct mq_matmul *const kernels[3] = {s->forward, s->backward_x, s->backward_w};
  size_t largest = 0, count = (size_t)on_cache_lines(s->x_count > s->w_count ? s->x_count : s->w_count);
  for (int i = 0; i < 3; i++) {
    size_t bytes = mq_matmul_scratch_bytes(kernels[i]);
    largest = bytes > largest ? bytes : largest;
  }
  return count * sizeof(float) + largest;
}

/* x and w lie row-major. */
static mq_status emit_product(struct engine_compiler *c, const struct mq_matmul_desc *desc, int x, int w,
                              int y, struct mq_err *err) {
  void *block;
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct product_state), err);
  if (status != MQ_OK) {
    return status;
  }
  struct product_state *s = block;
  status = create_products(s, desc, err);
  if (status != MQ_OK) {
    release_product(s);
    return status;
  }
  const int inputs[2] = {x, w};
  struct engine_step step = {.function = &product_function,
                             .state = s,
                             .release = release_product,
                             .inputs = inputs,
                             .n_inputs = 2,
                             .outputs = &y,
                             .n_outputs = 1,
                             .scratch_bytes = scratch_bytes(s)};
  return engine_emit(c, &step, err);
}

/* ---- y = factor x ---------------------------------------------------------------------------- */
static mq_status forward_scale(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  const float *from = x->data, factor = *(const float *)step->state;
  float *to = engine_output(step, frame, 0)->data;
  int64_t n = mq_shape_count(&x->shape);
  for (int64_t i = 0; i < n; i++) {
    to[i] = factor * from[i];
  }
  return MQ_OK;
}

static mq_status backward_scale(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  struct mq_tensor *d = engine_input_gradient(step, frame, 0);
  if (!step->adds[0]) {
    engine_zero(d);
  }
  mq_loop_axpy(d->data, *(const float *)step->state, engine_output_gradient(step, frame, 0)->data,
               mq_shape_count(&d->shape));
  return MQ_OK;
}

static const struct engine_function scale_function = {.forward = forward_scale, .backward = backward_scale};

/* Replaces the place by one with its values times the factor. */
static mq_status emit_scale(int *place, struct engine_compiler *c, float factor, struct mq_err *err) {
  struct mq_tensor like = *engine_tensor(c, *place);
  void *state;
  int x = *place;
  if (factor == 1.0f) {
    return MQ_OK;
  }
  mq_status status = engine_alloc(&state, c, 1, sizeof factor, err);
  if (status == MQ_OK) {
    status = engine_new_place(place, c, MQ_F32, &like.shape, like.stride, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  *(float *)state = factor;
  return engine_emit_simple(c, &scale_function, state, &x, 1, *place, err);
}

/* ---- y = x + bias, broadcast ----------------------------------------------------------------- */
static mq_status forward_add(const struct engine_step *step, struct engine_frame *frame, struct mq_err *err) {
  (void)err;
  mq_binary_forward(engine_output(step, frame, 0), engine_input(step, frame, 0), engine_input(step, frame, 1),
                    MQ_BINARY_ADD);
  return MQ_OK;
}

static mq_status backward_add(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  (void)err;
  for (int i = 0; i < 2; i++) {
    struct mq_tensor *d = engine_input_gradient(step, frame, i);
    if (d->data && !step->adds[i]) {
      engine_zero(d);
    }
    if (d->data) {
      mq_binary_backward(d, engine_output_gradient(step, frame, 0), NULL, NULL, MQ_BINARY_ADD, i);
    }
  }
  return MQ_OK;
}

static const struct engine_function add_function = {.forward = forward_add, .backward = backward_add};

/* ---- Gemm: y = alpha A' B' + beta C ---------------------------------------------------------- */
static mq_status add_bias(int *y, struct engine_compiler *c, const struct mq_node *node, float beta,
                          struct mq_err *err) {
  int inputs[2] = {*y};
  if (node->n_inputs < 3 || !node->inputs[2]) {
    return MQ_OK;
  }
  struct mq_tensor like = *engine_tensor(c, *y);
  mq_status status = engine_read_float(&inputs[1], c, node, 2, ENGINE_DENSE, err);
  if (status == MQ_OK) {
    status = emit_scale(&inputs[1], c, beta, err);
  }
  if (status == MQ_OK) {
    status = engine_new_place(y, c, MQ_F32, &like.shape, like.stride, err);
  }
  return status == MQ_OK ? engine_emit_simple(c, &add_function, NULL, inputs, 2, *y, err) : status;
}

mq_status engine_train_general_gemm(struct engine_compiler *c, const struct mq_node *node,
                                    const struct engine_gemm *gemm, struct mq_err *err) {
  int x, w, y;
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  mq_status status = engine_read_matrix(&x, c, node, 0, gemm->is_a_transposed, err);
  if (status == MQ_OK) {
    status = engine_read_matrix(&w, c, node, 1, gemm->is_b_transposed, err);
  }
  if (status == MQ_OK) {
    status = engine_new_place(&y, c, MQ_F32, &shape, NULL, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  const struct mq_matmul_desc desc = {
      .batch = 1, .m = shape.dim[0], .k = engine_tensor(c, x)->shape.dim[1], .n = shape.dim[1]};
  status = emit_product(c, &desc, x, w, y, err);
  if (status == MQ_OK) {
    status = emit_scale(&y, c, gemm->alpha, err);
  }
  if (status == MQ_OK) {
    status = add_bias(&y, c, node, gemm->beta, err);
  }
  if (status == MQ_OK) {
    engine_bind(c, node->outputs[0], y);
  }
  return status;
}

/* ---- MatMul ---------------------------------------------------------------------------------- */
mq_status engine_train_general_matmul(struct engine_compiler *c, const struct mq_node *node,
                                      struct mq_err *err) {
  int operands[2], y;
  struct mq_matmul_desc desc = {0};
  struct mq_shape shape = engine_shape(c, node->outputs[0]);
  int64_t stride[MQ_MAX_RANK];
  mq_stride_row_major(stride, &shape);
  mq_status status = engine_read_factors(operands, &desc, c, node, err);
  if (status == MQ_OK) {
    status = engine_new_output(&y, c, node, 0, stride, err);
  }
  return status == MQ_OK ? emit_product(c, &desc, operands[0], operands[1], y, err) : status;
}
