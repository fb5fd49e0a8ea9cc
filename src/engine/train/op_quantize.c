/* FakeQuantize in training, by the point's quantizer:
 *   observe   (x's scope)  x -> statistics                            reduced over the batch
 *   derive    (batch)      parameters[, statistics] -> form
 *   quantize  (x's scope)  x, form -> y, or codes and their grid (codes.h), or both
 * The gradient of the form are the quantizer's sums, from which derive's backward makes those of the
 * parameters. */
#include <string.h>

#include "engine/train/codes.h"

static size_t count_of(size_t (*count)(const struct mq_quantizer_config *config),
                       const struct mq_quantizer_config *config) {
  return count ? count(config) : 0;
}

/* Statistics in evaluation too: of weights, unless the method keeps the last ones of training. */
static bool keeps_looking(const struct engine_quantizer *s) {
  return s->config.is_weight && !s->ops->freezes_weights;
}

/* ---- observe: inputs {x}, outputs {statistics} ----------------------------------------------------- */
static mq_status forward_observe(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  (void)err;
  const struct engine_quantizer *s = step->state;
  struct mq_tensor *statistics = engine_output(step, frame, 0);
  memset(statistics->data, 0, (size_t)mq_shape_count(&statistics->shape) * sizeof(double));
  if (frame->is_training || keeps_looking(s)) {
    s->ops->observe(statistics->data, &s->config, engine_input(step, frame, 0)->data, s->n_rows,
                    s->row_count);
  }
  return MQ_OK;
}

static const struct engine_function observe_function = {.forward = forward_observe};

static void merge_statistics(void *into, const void *from, const void *state) {
  const struct engine_quantizer *s = state;
  s->ops->merge(into, from, &s->config);
}

/* ---- derive: inputs {parameters[, statistics]}, outputs {form} -------------------------------------- */
static mq_status forward_derive(const struct engine_step *step, struct engine_frame *frame,
                                struct mq_err *err) {
  (void)err;
  const struct engine_quantizer *s = step->state;
  static const double none = 0;
  const double *statistics = step->n_inputs > 1 ? engine_input(step, frame, 1)->data : &none;
  /* Its memory was another step's before. */
  memset(engine_output(step, frame, 0)->data, 0, s->ops->form_count(&s->config) * sizeof(double));
  s->ops->derive(engine_output(step, frame, 0)->data, &s->config, engine_input(step, frame, 0)->data,
                 frame->is_training || keeps_looking(s) ? statistics : NULL, NULL);
  return MQ_OK;
}

static mq_status backward_derive(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  (void)err;
  const struct engine_quantizer *s = step->state;
  struct mq_tensor *gradient = engine_input_gradient(step, frame, 0);
  memset(gradient->data, 0, (size_t)mq_shape_count(&gradient->shape) * sizeof(float));
  if (s->ops->finish) {
    s->ops->finish(gradient->data, &s->config, engine_input(step, frame, 0)->data,
                   engine_output(step, frame, 0)->data, engine_output_gradient(step, frame, 0)->data);
  }
  return MQ_OK;
}

static const struct engine_function derive_function = {.forward = forward_derive,
                                                       .backward = backward_derive,
                                                       .keeps_inputs = true,
                                                       .keeps_outputs = true,
                                                       .ignores = 1u << 1};

/* ---- quantize: inputs {x, form}, outputs {y} --------------------------------------------------------- */
static mq_status forward_quantize(const struct engine_step *step, struct engine_frame *frame,
                                  struct mq_err *err) {
  (void)err;
  const struct engine_quantizer *s = step->state;
  s->ops->forward(engine_output(step, frame, 0)->data, NULL, &s->config, engine_input(step, frame, 1)->data,
                  engine_input(step, frame, 0)->data, s->n_rows, s->row_count);
  return MQ_OK;
}

static mq_status backward_quantize(const struct engine_step *step, struct engine_frame *frame,
                                   struct mq_err *err) {
  (void)err;
  const struct engine_quantizer *s = step->state;
  struct mq_tensor *sums = engine_input_gradient(step, frame, 1);
  float *dx = engine_input_gradient(step, frame, 0)->data;
  bool is_wanted = dx != NULL;
  if (!step->adds[1]) {
    memset(sums->data, 0, (size_t)mq_shape_count(&sums->shape) * sizeof(double));
  }
  s->ops->backward(is_wanted ? dx : frame->scratch, is_wanted && step->adds[0], sums->data, &s->config,
                   engine_input(step, frame, 1)->data, engine_output_gradient(step, frame, 0)->data,
                   engine_input(step, frame, 0)->data, s->n_rows, s->row_count);
  return MQ_OK;
}

static const struct engine_function quantize_function = {
    .forward = forward_quantize, .backward = backward_quantize, .keeps_inputs = true};

/* ---- Compilation ----------------------------------------------------------------------------------- */
static mq_status new_doubles(int *place, struct engine_compiler *c, size_t count, struct mq_err *err) {
  const struct mq_shape shape = {.rank = 1, .dim = {(int64_t)count}};
  return engine_new_place(place, c, MQ_F64, &shape, NULL, err);
}

static mq_status create_state(struct engine_quantizer **state, struct engine_compiler *c,
                              const struct mq_point *point, const struct mq_shape *shape,
                              struct mq_err *err) {
  void *block;
  mq_status status = engine_alloc(&block, c, 1, sizeof **state, err);
  if (status != MQ_OK) {
    return status;
  }
  struct engine_quantizer *s = block;
  int64_t count = mq_shape_count(shape);
  *s = (struct engine_quantizer){.ops = point->quantizer, .config = point->quantizer_config, .form = -1};
  s->n_rows = shape->dim[0];
  s->row_count = s->n_rows ? count / s->n_rows : 0;
  s->config.n_rows = s->config.is_weight ? s->n_rows : 0;
  s->config.n_elements = s->config.is_weight ? (double)(s->config.n_channels > 1 ? s->row_count : count)
                                             : (double)s->row_count * (double)c->training->batch_per_gpu;
  *state = s;
  return MQ_OK;
}

/* The place of the statistics of the whole batch; -1 for methods without. */
static mq_status emit_statistics(int *place, struct engine_compiler *c, const struct engine_quantizer *s,
                                 int x, struct mq_err *err) {
  size_t count = count_of(s->ops->statistics_count, &s->config);
  int share;
  *place = -1;
  if (count == 0) {
    return MQ_OK;
  }
  mq_status status = new_doubles(&share, c, count, err);
  if (status == MQ_OK) {
    status = engine_emit_simple(c, &observe_function, s, &x, 1, share, err);
  }
  if (status != MQ_OK || c->scope == ENGINE_BATCH) {
    *place = share;
    return status;
  }
  c->scope = ENGINE_BATCH;
  status = new_doubles(place, c, count, err);
  if (status != MQ_OK) {
    return status;
  }
  const struct engine_reduction reduction = {
      .from = share, .to = *place, .merge = merge_statistics, .state = s};
  return engine_add_reduction(c, &reduction, err);
}

static mq_status add_learner(struct engine_compiler *c, const struct engine_quantizer *s,
                             const struct engine_learner *learner, struct mq_err *err) {
  struct engine_training *t = c->training;
  void *array = t->learners;
  mq_status status = engine_reserve(&array, &t->capacity_learners, t->n_learners, sizeof *learner, err);
  t->learners = array;
  if (status == MQ_OK) {
    t->learners[t->n_learners] = *learner;
    t->learners[t->n_learners].ops = s->ops;
    t->learners[t->n_learners++].config = &s->config;
  }
  return status;
}

/* The form of a point, from its parameters; x as rows. */
static mq_status emit_form(int *form, struct engine_compiler *c, struct mq_point *point,
                           const struct engine_quantizer *s, int x, struct mq_err *err) {
  engine_scope scope = c->scope;
  int inputs[2];
  const struct mq_shape shape = {.rank = 1,
                                 .dim = {(int64_t)mq_quantizer_parameter_total(s->ops, &s->config)}};
  const struct engine_variable variable = {.kind = ENGINE_QUANTIZER, .name = point->tensor, .point = point};
  mq_status status = engine_new_variable(&inputs[0], c, &variable, &shape, point->parameters, err);
  if (status == MQ_OK) {
    status = emit_statistics(&inputs[1], c, s, x, err);
  }
  c->scope = ENGINE_BATCH;
  if (status == MQ_OK) {
    status = new_doubles(form, c, s->ops->form_count(&s->config), err);
  }
  if (status == MQ_OK) {
    status = engine_set_gradient(c, *form, MQ_F64, (int64_t)count_of(s->ops->sum_count, &s->config) + 1, err);
  }
  if (status == MQ_OK) {
    struct engine_learner learner = {.parameters = inputs[0], .statistics = inputs[1], .form = *form};
    status = add_learner(c, s, &learner, err);
  }
  if (status == MQ_OK) {
    status = engine_emit_simple(c, &derive_function, s, inputs, inputs[1] >= 0 ? 2 : 1, *form, err);
  }
  c->scope = scope;
  return status;
}

/* Output channels of the weights this value is. */
static int row_axis(const struct mq_node *node, const struct mq_point *point) {
  if (point->channel_axis >= 0) {
    return point->channel_axis;
  }
  const struct mq_value *y = node->outputs[0];
  const struct mq_node *reader = y->n_uses > 0 ? y->uses[0].node : NULL;
  int64_t is_transposed = 1;
  if (reader && reader->op == MQ_OP_Gemm &&
      mq_node_get_int(&is_transposed, reader, "transB", 0, NULL) != MQ_OK) {
    return 0;
  }
  bool is_second = reader && (reader->op == MQ_OP_ConvTranspose || reader->op == MQ_OP_MatMul ||
                              (reader->op == MQ_OP_Gemm && !is_transposed));
  return is_second && y->shape.rank > 1 ? 1 : 0;
}

/* The place with two dimensions exchanged (a view). */
static mq_status swap_dims(int *swapped, struct engine_compiler *c, int place, int axis, struct mq_err *err) {
  struct mq_tensor from = *engine_tensor(c, place), view = from;
  view.shape.dim[0] = from.shape.dim[axis];
  view.stride[0] = from.stride[axis];
  view.shape.dim[axis] = from.shape.dim[0];
  view.stride[axis] = from.stride[0];
  return engine_new_view(swapped, c, place, &view, 0, err);
}

static mq_status read_rows(int *x, struct engine_compiler *c, const struct mq_node *node,
                           engine_layout layout, int axis, struct mq_err *err) {
  mq_status status = engine_read_float(x, c, node, 0, layout, err);
  if (status == MQ_OK && axis > 0) {
    status = swap_dims(x, c, *x, axis, err);
    if (status == MQ_OK) {
      status = engine_arrange(x, c, *x, ENGINE_ROW_MAJOR, err);
    }
  }
  return status;
}

/* How a point's values are handed on. */
struct handover {
  bool has_codes, has_floats;
  struct engine_code_kind kind;
};

static mq_status choose_handover(struct handover *handover, engine_layout *layout, struct engine_compiler *c,
                                 const struct mq_node *node, const struct mq_point *point,
                                 struct mq_err *err) {
  bool is_weight = point->quantizer_config.is_weight;
  struct engine_code_readers readers;
  *handover = (struct handover){.has_floats = true};
  if (c->training->has_float_forward) {
    return MQ_OK;
  }
  mq_status status = engine_find_code_readers(&readers, c, node, is_weight, err);
  if (status == MQ_OK && readers.are_products) {
    status = engine_point_codes(&handover->has_codes, &handover->kind, c, point, err);
    handover->has_floats = is_weight || readers.has_others;
    *layout = is_weight ? *layout : readers.layout;
  }
  return status;
}

/* The outputs of a point's step: {y}, or {codes, grid[, y]}. Codes and floats have one gradient. */
static mq_status new_outputs(int outputs[3], int *n_outputs, struct engine_compiler *c,
                             const struct engine_quantizer *s, const struct handover *handover, int x,
                             struct mq_err *err) {
  struct mq_tensor like = *engine_tensor(c, x);
  mq_status status = MQ_OK;
  *n_outputs = 0;
  if (handover->has_codes) {
    mq_dtype dtype = handover->kind.is_signed ? MQ_I8 : MQ_U8;
    status = engine_new_place(&outputs[0], c, dtype, &like.shape, like.stride, err);
    if (status == MQ_OK) {
      status = engine_add_gradient(c, outputs[0], err);
    }
    if (status == MQ_OK) {
      status = new_doubles(&outputs[1], c, 2 * (size_t)s->config.n_channels, err);
    }
    *n_outputs = 2;
  }
  if (status == MQ_OK && handover->has_floats) {
    int *y = &outputs[(*n_outputs)++];
    status = engine_new_place(y, c, MQ_F32, &like.shape, like.stride, err);
    if (status == MQ_OK && handover->has_codes) {
      c->engine->places[*y].gradient = c->engine->places[outputs[0]].gradient;
    }
  }
  return status;
}

static mq_status emit_quantize(struct engine_compiler *c, const struct mq_node *node,
                               struct engine_quantizer *s, const struct handover *handover, int x, int axis,
                               struct mq_err *err) {
  int outputs[3], n_outputs, n_inputs = 2, inputs[5] = {x, s->form};
  mq_status status = new_outputs(outputs, &n_outputs, c, s, handover, x, err);
  if (status != MQ_OK) {
    return status;
  }
  const int others[3] = {s->gain, s->other, s->other_grid};
  for (int i = 0; i < 3; i++) {
    if (others[i] >= 0) {
      inputs[n_inputs++] = others[i];
    }
  }
  size_t bytes = (size_t)(s->n_rows * s->row_count) * sizeof(float);
  struct engine_step step = {.function = &quantize_function,
                             .state = s,
                             .inputs = inputs,
                             .n_inputs = n_inputs,
                             .outputs = outputs,
                             .n_outputs = n_outputs,
                             .scratch_bytes = bytes};
  if (handover->has_codes) {
    step.function = s->gain >= 0 ? &engine_normalised_codes_function : &engine_codes_function;
    step.scratch_bytes = engine_codes_scratch_bytes(s);
  }
  status = engine_emit(c, &step, err);
  int y = handover->has_floats ? outputs[n_outputs - 1] : outputs[0];
  if (status == MQ_OK && handover->has_codes) {
    const struct engine_codes codes = {
        .kind = handover->kind, .codes = outputs[0], .grid = outputs[1], .n_channels = s->config.n_channels};
    status = engine_note_codes(c, node->outputs[0], &codes, err);
  }
  if (status == MQ_OK && s->normalised >= 0) { /* what its own step would have written there */
    c->engine->places[s->normalised].gradient = c->engine->places[outputs[0]].gradient;
  }
  if (status == MQ_OK && s->is_in_place) {
    c->engine->places[x].gradient = c->engine->places[outputs[0]].gradient;
  }
  if (status == MQ_OK && axis > 0) {
    status = swap_dims(&y, c, y, axis, err);
  }
  if (status == MQ_OK) {
    engine_bind(c, node->outputs[0], y);
  }
  return status;
}

static struct mq_point *point_of(const struct engine_compiler *c, const struct mq_node *node) {
  int64_t index;
  bool is_point = mq_node_get_int(&index, node, "point", -1, NULL) == MQ_OK && index >= 0 &&
                  (size_t)index < c->training->n_points;
  struct mq_point *point = is_point ? &c->training->points[index] : NULL;
  return point && point->quantizer ? point : NULL;
}

/* The form of what is no weight and looks at no data depends on parameters alone: derived before the slices
 * begin, it does not make them wait for each other. */
mq_status engine_train_forms(struct engine_compiler *c, struct mq_err *err) {
  void *block = mq_arena_alloc(&c->arena, c->graph->n_nodes + 1, sizeof *c->training->quantizer_of);
  mq_status status = block ? MQ_OK : mq_fail_memory(err, "engine compiler");
  c->training->quantizer_of = block;
  for (size_t i = 0; i < c->graph->n_nodes && status == MQ_OK; i++) {
    const struct mq_node *node = c->graph->nodes[i];
    struct mq_point *point = node->op == MQ_OP_FakeQuantize && !c->is_done[i] ? point_of(c, node) : NULL;
    if (!point || point->quantizer_config.is_weight ||
        count_of(point->quantizer->statistics_count, &point->quantizer_config) > 0) {
      continue;
    }
    struct mq_shape shape = engine_shape(c, node->inputs[0]);
    struct engine_quantizer **s = &c->training->quantizer_of[i];
    c->scope = ENGINE_BATCH;
    status = create_state(s, c, point, &shape, err);
    if (status == MQ_OK) {
      status = emit_form(&(*s)->form, c, point, *s, -1, err);
    }
  }
  return status;
}

mq_status engine_train_fake_quantize(struct engine_compiler *c, const struct mq_node *node,
                                     struct mq_err *err) {
  int x;
  struct handover handover;
  struct mq_point *point = point_of(c, node);
  if (!point) {
    mq_status status = engine_read_float(&x, c, node, 0, ENGINE_ANY, err);
    engine_bind(c, node->outputs[0], status == MQ_OK ? x : -1);
    return status;
  }
  bool is_weight = point->quantizer_config.is_weight;
  int axis = is_weight ? row_axis(node, point) : 0;
  engine_layout layout = is_weight && axis == 0 ? ENGINE_ROW_MAJOR : ENGINE_DENSE;
  struct engine_quantizer *state = c->training->quantizer_of ? c->training->quantizer_of[node->index] : NULL;
  mq_status status = choose_handover(&handover, &layout, c, node, point, err);
  if (status == MQ_OK) {
    status = read_rows(&x, c, node, layout, axis, err);
  }
  if (status == MQ_OK && !state) {
    const struct mq_shape shape = engine_tensor(c, x)->shape;
    status = create_state(&state, c, point, &shape, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  if (c->training->quantizer_of) {
    c->training->quantizer_of[node->index] = state; /* for whom else lies on its grid */
  }
  engine_scope scope = c->scope;
  state->gain = state->normalised = state->other = state->other_grid = -1;
  if (state->form < 0) {
    status = emit_form(&state->form, c, point, state, x, err);
    c->scope = scope;
  } else if (handover.has_codes) {
    status = engine_take_over(&x, state, c, node, err);
  }
  return status == MQ_OK ? emit_quantize(c, node, state, &handover, x, axis, err) : status;
}
