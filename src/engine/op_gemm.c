/* Gemm and MatMul: constant weights are packed at compile time, computed ones are given at run time. */
#include "engine/train/training.h"

static void release_matmul(void *state) {
  mq_matmul_destroy(state);
}

/* inputs: x, then w if it is computed, then the residual if there is one. */
static mq_status forward_matmul(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  return mq_matmul_forward(
      step->state, engine_output(step, frame, 0)->data, engine_input(step, frame, 0)->data, NULL,
      step->n_inputs > 1 ? engine_input(step, frame, 1)->data : NULL, frame->scratch, err);
}

static const struct engine_function matmul_function = {.forward = forward_matmul};

static mq_status forward_matmul_computed(const struct engine_step *step, struct engine_frame *frame,
                                         struct mq_err *err) {
  return mq_matmul_forward(step->state, engine_output(step, frame, 0)->data,
                           engine_input(step, frame, 0)->data, engine_input(step, frame, 1)->data,
                           step->n_inputs > 2 ? engine_input(step, frame, 2)->data : NULL, frame->scratch,
                           err);
}

static const struct engine_function matmul_computed_function = {.forward = forward_matmul_computed};

/* A product about to be emitted: places and the kernel's description. */
struct product {
  struct mq_matmul_desc desc;
  int x, w, residual, y; /* w, residual: -1 if there is none */
};

static mq_status emit_product(struct engine_compiler *c, const struct product *p, struct mq_err *err) {
  struct mq_matmul *matmul;
  mq_status status = mq_matmul_create(&matmul, &p->desc, err);
  if (status != MQ_OK) {
    return status;
  }
  int inputs[3] = {p->x}, n_inputs = 1;
  if (p->w >= 0) {
    inputs[n_inputs++] = p->w;
  }
  if (p->residual >= 0) {
    inputs[n_inputs++] = p->residual;
  }
  struct engine_step step = {.function = p->w >= 0 ? &matmul_computed_function : &matmul_function,
                             .state = matmul,
                             .release = release_matmul,
                             .inputs = inputs,
                             .n_inputs = n_inputs,
                             .outputs = &p->y,
                             .n_outputs = 1,
                             .scratch_bytes = mq_matmul_scratch_bytes(matmul)};
  return engine_emit(c, &step, err);
}

static mq_status take_chain(struct product *p, struct engine_compiler *c, const struct engine_chain *chain,
                            struct mq_err *err) {
  for (int i = 0; i < chain->n_posts; i++) {
    p->desc.posts[p->desc.n_posts++] = chain->posts[i];
  }
  p->residual = -1;
  mq_status status = MQ_OK;
  if (chain->residual) {
    status = engine_read(&p->residual, c, chain->residual, ENGINE_ROW_MAJOR, err);
  }
  if (status == MQ_OK) {
    struct mq_shape shape = engine_shape(c, chain->output);
    int64_t stride[MQ_MAX_RANK];
    mq_stride_row_major(stride, &shape);
    status = engine_chain_output(&p->y, c, chain, p->x, p->residual, stride, err);
  }
  return status;
}

/* ---- Gemm: Y = alpha A' B' + beta C ------------------------------------------------------------- */
static mq_status get_attributes(struct engine_gemm *a, const struct mq_node *node, struct mq_err *err) {
  int64_t is_transposed[2] = {0};
  mq_status status = mq_node_get_float(&a->alpha, node, "alpha", 1, err);
  if (status == MQ_OK) {
    status = mq_node_get_float(&a->beta, node, "beta", 1, err);
  }
  if (status == MQ_OK) {
    status = mq_node_get_int(&is_transposed[0], node, "transA", 0, err);
  }
  if (status == MQ_OK) {
    status = mq_node_get_int(&is_transposed[1], node, "transB", 0, err);
  }
  a->is_a_transposed = is_transposed[0] != 0;
  a->is_b_transposed = is_transposed[1] != 0;
  return status;
}

mq_status engine_read_matrix(int *place, struct engine_compiler *c, const struct mq_node *node, int input,
                             bool is_transposed, struct mq_err *err) {
  mq_status status =
      engine_read_float(place, c, node, input, is_transposed ? ENGINE_ANY : ENGINE_ROW_MAJOR, err);
  if (status != MQ_OK || !is_transposed) {
    return status;
  }
  struct mq_tensor a = *engine_tensor(c, *place), view = a;
  for (int i = 0; i < 2; i++) {
    view.shape.dim[i] = a.shape.dim[1 - i];
    view.stride[i] = a.stride[1 - i];
  }
  status = engine_new_view(place, c, *place, &view, 0, err);
  return status == MQ_OK ? engine_arrange(place, c, *place, ENGINE_ROW_MAJOR, err) : status;
}

/* A copy of a constant times a factor; the tensor itself when the factor is 1. */
static mq_status scaled_constant(const float **scaled, struct engine_compiler *c,
                                 const struct mq_tensor *tensor, float factor, struct mq_err *err) {
  *scaled = tensor->data;
  if (factor == 1.0f) {
    return MQ_OK;
  }
  int64_t n = mq_shape_count(&tensor->shape);
  void *block;
  mq_status status = engine_alloc(&block, c, (size_t)n, sizeof(float), err);
  if (status != MQ_OK) {
    return status;
  }
  const float *from = tensor->data;
  float *to = block;
  for (int64_t i = 0; i < n; i++) {
    to[i] = factor * from[i];
  }
  *scaled = to;
  return MQ_OK;
}

static mq_status set_weights(struct product *p, struct engine_compiler *c, const struct mq_node *node,
                             const struct engine_gemm *a, struct mq_err *err) {
  const struct mq_tensor *b = engine_constant(c, node->inputs[1]);
  p->w = -1;
  if (b) {
    return scaled_constant(&p->desc.weights, c, b, a->alpha, err);
  }
  mq_status status = engine_read_float(&p->w, c, node, 1, ENGINE_ROW_MAJOR, err);
  void *block;
  if (status == MQ_OK && a->alpha != 1.0f) {
    status = engine_alloc(&block, c, (size_t)p->desc.n, 2 * sizeof(float), err);
    if (status == MQ_OK) {
      float *gain = block;
      for (int64_t i = 0; i < p->desc.n; i++) {
        gain[i] = a->alpha;
      }
      p->desc.posts[p->desc.n_posts++] =
          (struct mq_post){.kind = MQ_POST_AFFINE, .gain = gain, .shift = gain + p->desc.n};
    }
  }
  return status;
}

/* C as one row of n: the kernel's bias. *is_row false if it is anything else. */
static mq_status set_bias(bool *is_row, struct product *p, struct engine_compiler *c,
                          const struct mq_node *node, float beta, struct mq_err *err) {
  const struct mq_value *value = node->n_inputs > 2 ? node->inputs[2] : NULL;
  const struct mq_tensor *bias = value ? engine_constant(c, value) : NULL;
  *is_row = !value;
  if (!bias || p->desc.n_posts > 0) {
    return MQ_OK;
  }
  const struct mq_shape *shape = &bias->shape;
  int64_t count = mq_shape_count(shape), n = p->desc.n;
  bool is_one_row = shape->rank < 2 || (shape->rank == 2 && shape->dim[0] == 1);
  if (!is_one_row || (count != n && count != 1)) {
    return MQ_OK;
  }
  void *block;
  mq_status status = engine_alloc(&block, c, (size_t)n, sizeof(float), err);
  if (status != MQ_OK) {
    return status;
  }
  const float *from = bias->data;
  float *to = block;
  for (int64_t i = 0; i < n; i++) {
    to[i] = beta * from[count == 1 ? 0 : i];
  }
  p->desc.bias = to;
  *is_row = true;
  return MQ_OK;
}

static mq_status forward_scale(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  const float *x = engine_input(step, frame, 0)->data;
  float *y = engine_output(step, frame, 0)->data, factor = *(const float *)step->state;
  int64_t n = mq_shape_count(&engine_input(step, frame, 0)->shape);
  for (int64_t i = 0; i < n; i++) {
    y[i] = factor * x[i];
  }
  return MQ_OK;
}

static const struct engine_function scale_function = {.forward = forward_scale};

static mq_status forward_add_general(const struct engine_step *step, struct engine_frame *frame,
                                     struct mq_err *err) {
  (void)err;
  mq_binary_forward(engine_output(step, frame, 0), engine_input(step, frame, 0), engine_input(step, frame, 1),
                    MQ_BINARY_ADD);
  return MQ_OK;
}

static const struct engine_function add_general_function = {.forward = forward_add_general};

/* Y += beta C for a C that is no row of constants. */
static mq_status add_general_bias(struct engine_compiler *c, const struct mq_node *node, int y, float beta,
                                  struct mq_err *err) {
  int bias;
  mq_status status = engine_read_float(&bias, c, node, 2, ENGINE_DENSE, err);
  if (status == MQ_OK && beta != 1.0f) {
    struct mq_tensor like = *engine_tensor(c, bias);
    int scaled;
    void *factor;
    status = engine_new_place(&scaled, c, MQ_F32, &like.shape, like.stride, err);
    if (status == MQ_OK) {
      status = engine_alloc(&factor, c, 1, sizeof(float), err);
    }
    if (status == MQ_OK) {
      *(float *)factor = beta;
      status = engine_emit_simple(c, &scale_function, factor, &bias, 1, scaled, err);
    }
    bias = scaled;
  }
  int inputs[2] = {y, bias};
  return status == MQ_OK ? engine_emit_simple(c, &add_general_function, NULL, inputs, 2, y, err) : status;
}

static mq_status compile_gemm(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  struct engine_chain chain = engine_chain_get(c, node);
  struct engine_gemm a;
  struct product p = {.desc = {.batch = 1}};
  bool is_bias_row = true;
  mq_status status = get_attributes(&a, node, err);
  if (status == MQ_OK) {
    status = engine_read_matrix(&p.x, c, node, 0, a.is_a_transposed, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  p.desc.m = engine_tensor(c, p.x)->shape.dim[0];
  p.desc.k = engine_tensor(c, p.x)->shape.dim[1];
  p.desc.n = node->outputs[0]->shape.dim[1];
  p.desc.is_weight_transposed = a.is_b_transposed;
  status = set_weights(&p, c, node, &a, err);
  if (status == MQ_OK) {
    status = set_bias(&is_bias_row, &p, c, node, a.beta, err);
  }
  if (status == MQ_OK) {
    status = take_chain(&p, c, &chain, err);
  }
  if (status == MQ_OK) {
    status = emit_product(c, &p, err);
  }
  return status == MQ_OK && !is_bias_row ? add_general_bias(c, node, p.y, a.beta, err) : status;
}

/* ---- MatMul: NumPy's rules ---------------------------------------------------------------------- */
static mq_status compile_plain_product(struct engine_compiler *c, const struct mq_node *node,
                                       struct mq_err *err) {
  struct engine_chain chain = engine_chain_get(c, node);
  struct product p = {.desc = {.batch = 1}, .w = -1};
  mq_status status = engine_read_float(&p.x, c, node, 0, ENGINE_ROW_MAJOR, err);
  if (status != MQ_OK) {
    return status;
  }
  const struct mq_shape a = engine_tensor(c, p.x)->shape;
  const struct mq_tensor *w = engine_constant(c, node->inputs[1]);
  p.desc.k = a.dim[a.rank - 1];
  p.desc.m = p.desc.k ? mq_shape_count(&a) / p.desc.k : 0;
  p.desc.n = node->inputs[1]->shape.dim[1];
  if (w) {
    p.desc.weights = w->data;
  } else {
    status = engine_read_float(&p.w, c, node, 1, ENGINE_ROW_MAJOR, err);
  }
  if (status == MQ_OK) {
    status = take_chain(&p, c, &chain, err);
  }
  return status == MQ_OK ? emit_product(c, &p, err) : status;
}

/* An operand with the leading dimensions of `batch` (broadcast by stride 0, then made dense) and its own last
 * two. A vector becomes a row (left) or a column (right). */
static mq_status read_operand(int *place, struct engine_compiler *c, const struct mq_node *node, int input,
                              const struct mq_shape *batch, struct mq_err *err) {
  mq_status status = engine_read_float(place, c, node, input, ENGINE_ANY, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_tensor t = *engine_tensor(c, *place);
  if (t.shape.rank == 1) {
    int vector = input == 0 ? 1 : 0;
    int64_t n = t.shape.dim[0], stride = t.stride[0];
    t.shape.rank = 2;
    t.shape.dim[vector] = n;
    t.shape.dim[1 - vector] = 1;
    t.stride[vector] = stride;
    t.stride[1 - vector] = 1;
  }
  struct mq_tensor view = {.dtype = MQ_F32, .shape = *batch};
  view.shape.rank = batch->rank + 2;
  int lead = view.shape.rank - t.shape.rank;
  for (int i = 0; i < view.shape.rank; i++) {
    bool is_matrix = i >= batch->rank, is_absent = i < lead;
    view.shape.dim[i] = is_matrix ? t.shape.dim[i - lead] : batch->dim[i];
    view.stride[i] = is_absent || (!is_matrix && t.shape.dim[i - lead] == 1) ? 0 : t.stride[i - lead];
  }
  status = engine_new_view(place, c, *place, &view, 0, err);
  return status == MQ_OK ? engine_arrange(place, c, *place, ENGINE_ROW_MAJOR, err) : status;
}

static struct mq_shape leading(const struct mq_shape *shape) {
  struct mq_shape lead = *shape;
  lead.rank = shape->rank > 2 ? shape->rank - 2 : 0;
  return lead;
}

/* A matrix on the right is common to all rows on the left. */
static bool is_plain(const struct mq_node *node) {
  return node->inputs[1]->shape.rank == 2 && node->inputs[0]->shape.rank >= 1;
}

static mq_status read_plain_factors(int operands[2], struct mq_matmul_desc *desc, struct engine_compiler *c,
                                    const struct mq_node *node, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (int i = 0; i < 2 && status == MQ_OK; i++) {
    status = engine_read_float(&operands[i], c, node, i, ENGINE_ROW_MAJOR, err);
  }
  if (status == MQ_OK) {
    const struct mq_shape a = engine_tensor(c, operands[0])->shape;
    desc->batch = 1;
    desc->k = a.dim[a.rank - 1];
    desc->m = desc->k ? mq_shape_count(&a) / desc->k : 0;
    desc->n = engine_tensor(c, operands[1])->shape.dim[1];
  }
  return status;
}

mq_status engine_read_factors(int operands[2], struct mq_matmul_desc *desc, struct engine_compiler *c,
                              const struct mq_node *node, struct mq_err *err) {
  struct mq_shape a = engine_shape(c, node->inputs[0]), b = engine_shape(c, node->inputs[1]), batch;
  struct mq_shape a_lead = leading(&a), b_lead = leading(&b);
  if (is_plain(node)) {
    return read_plain_factors(operands, desc, c, node, err);
  }
  mq_status status = mq_shape_broadcast(&batch, &a_lead, &b_lead, node->name, err);
  for (int i = 0; i < 2 && status == MQ_OK; i++) {
    status = read_operand(&operands[i], c, node, i, &batch, err);
  }
  if (status == MQ_OK) {
    desc->batch = mq_shape_count(&batch);
    desc->m = a.rank > 1 ? a.dim[a.rank - 2] : 1;
    desc->k = a.dim[a.rank - 1];
    desc->n = b.rank > 1 ? b.dim[b.rank - 1] : 1;
  }
  return status;
}

static mq_status compile_batch_product(struct engine_compiler *c, const struct mq_node *node,
                                       struct mq_err *err) {
  struct product p = {.residual = -1};
  int operands[2];
  mq_status status = engine_read_factors(operands, &p.desc, c, node, err);
  if (status == MQ_OK) {
    struct mq_shape shape = engine_shape(c, node->outputs[0]);
    int64_t stride[MQ_MAX_RANK];
    mq_stride_row_major(stride, &shape);
    status = engine_new_output(&p.y, c, node, 0, stride, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  p.x = operands[0];
  p.w = operands[1];
  return emit_product(c, &p, err);
}

static mq_status compile_matmul(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  return is_plain(node) ? compile_plain_product(c, node, err) : compile_batch_product(c, node, err);
}

/* ---- Training: products with a matrix of parameters pack it once per step (train/op_conv.c) -------- */
static bool is_of_batch(const struct engine_compiler *c, const struct mq_value *value) {
  int place = c->place_of[value->index];
  return place < 0 || c->engine->places[place].scope == ENGINE_BATCH; /* not read yet: a constant */
}

static mq_status train_gemm(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  struct engine_gemm a;
  const struct mq_value *bias = node->n_inputs > 2 ? node->inputs[2] : NULL;
  mq_status status = get_attributes(&a, node, err);
  if (status != MQ_OK) {
    return status;
  }
  bool has_row = !bias || (is_of_batch(c, bias) && !mq_shape_has_batch(&bias->shape) &&
                           mq_shape_count(&bias->shape) == node->outputs[0]->shape.dim[1] &&
                           bias->shape.dim[bias->shape.rank - 1] == node->outputs[0]->shape.dim[1]);
  bool is_linear = a.alpha == 1.0f && a.beta == 1.0f && !a.is_a_transposed && has_row;
  return is_linear && is_of_batch(c, node->inputs[1]) ? engine_train_gemm(c, node, err)
                                                      : engine_train_general_gemm(c, node, &a, err);
}

static mq_status train_matmul(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  return is_plain(node) && is_of_batch(c, node->inputs[1]) ? engine_train_matmul(c, node, err)
                                                           : engine_train_general_matmul(c, node, err);
}

const struct engine_op engine_op_Gemm = {
    .compile = compile_gemm, .function = &matmul_function, .train = train_gemm};
const struct engine_op engine_op_MatMul = {
    .compile = compile_matmul, .function = &matmul_function, .train = train_matmul};
