/* The walk over the sorted graph that turns nodes into steps. */
#include "engine/exact/exact.h"
#include "engine/train/training.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MQ_OP(name, min_inputs, max_inputs, n_outputs, kind) extern const struct engine_op engine_op_##name;
#include "mqbench/ops.def"
#undef MQ_OP

static const struct engine_op *const ops[MQ_OP_COUNT] = {
#define MQ_OP(name, min_inputs, max_inputs, n_outputs, kind) [MQ_OP_##name] = &engine_op_##name,
#include "mqbench/ops.def"
#undef MQ_OP
};

const struct engine_op *engine_op_get(mq_op op) {
  return ops[op];
}

mq_status engine_alloc(void **block, struct engine_compiler *c, size_t count, size_t bytes,
                       struct mq_err *err) {
  *block = mq_arena_alloc(&c->engine->arena, count, bytes);
  return *block ? MQ_OK : mq_fail_memory(err, "engine plan");
}

mq_status engine_fail_unsupported(const struct mq_node *node, struct mq_err *err, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return mq_fail(err, MQ_BAD_INPUT, "%s: node %s (%s): %s", node->graph->name, node->name,
                 mq_op_get(node->op)->name, text);
}

/* ---- Steps -------------------------------------------------------------------------------------- */
static void touch(struct mq_engine *engine, int place, int step) {
  int buffer = engine->places[place].buffer;
  if (buffer >= 0) {
    struct engine_buffer *b = &engine->buffers[buffer];
    b->first_step = step < b->first_step ? step : b->first_step;
    b->last_step = step > b->last_step ? step : b->last_step;
  }
}

static mq_status add_step(struct engine_compiler *c, const struct engine_step *step, struct mq_err *err) {
  struct mq_engine *engine = c->engine;
  if (engine->n_steps == engine->capacity_steps) {
    size_t capacity = engine->n_steps ? 2 * engine->n_steps : 64;
    void *grown = mq_realloc(engine->steps, capacity, sizeof *step);
    if (!grown) {
      return mq_fail_memory(err, "engine steps");
    }
    engine->steps = grown;
    engine->capacity_steps = capacity;
  }
  void *lists;
  size_t n = (size_t)(step->n_inputs + step->n_outputs);
  mq_status status = engine_alloc(&lists, c, n, sizeof(int), err);
  if (status != MQ_OK) {
    return status;
  }
  int *inputs = lists, *outputs = inputs + step->n_inputs;
  for (int i = 0; i < step->n_inputs; i++) {
    inputs[i] = step->inputs[i];
  }
  for (int i = 0; i < step->n_outputs; i++) { /* running statistics have none */
    outputs[i] = step->outputs[i];
  }
  for (size_t i = 0; i < n; i++) {
    touch(engine, inputs[i], (int)engine->n_steps);
  }
  struct engine_step *added = &engine->steps[engine->n_steps++];
  *added = *step;
  added->scope = c->scope;
  added->node = c->node;
  added->inputs = inputs;
  added->outputs = outputs;
  return MQ_OK;
}

mq_status engine_emit(struct engine_compiler *c, const struct engine_step *step, struct mq_err *err) {
  mq_status status = add_step(c, step, err);
  if (status != MQ_OK && step->release) {
    step->release((void *)(uintptr_t)step->state);
  }
  return status;
}

mq_status engine_emit_simple(struct engine_compiler *c, const struct engine_function *function,
                             const void *state, const int *inputs, int n_inputs, int output,
                             struct mq_err *err) {
  struct engine_step step = {.function = function,
                             .state = state,
                             .inputs = inputs,
                             .n_inputs = n_inputs,
                             .outputs = &output,
                             .n_outputs = 1};
  return engine_emit(c, &step, err);
}

/* ---- The walk ----------------------------------------------------------------------------------- */
static mq_status add_taps(struct engine_compiler *c, const struct mq_value *value, struct mq_err *err) {
  struct mq_engine *engine = c->engine;
  int place;
  mq_status status = engine_read(&place, c, value, ENGINE_ANY, err);
  for (size_t i = 0; i < c->options->n_taps && status == MQ_OK; i++) {
    if (c->options->taps[i] != value) {
      continue;
    }
    if (engine->n_taps == engine->capacity_taps) {
      size_t capacity = c->options->n_taps;
      engine->taps = mq_alloc(capacity, sizeof *engine->taps);
      if (!engine->taps) {
        return mq_fail_memory(err, "engine taps");
      }
      engine->capacity_taps = capacity;
    }
    int step = (int)engine->n_steps - 1;
    engine->taps[engine->n_taps++] = (struct engine_tap){.after_step = step, .tap = i, .place = place};
    touch(engine, place, step);
  }
  return status;
}

static mq_status finish_value(struct engine_compiler *c, const struct mq_value *value, struct mq_err *err);

static bool makes_constants(const struct engine_compiler *c, const struct mq_node *node) {
  for (int i = 0; i < node->n_outputs; i++) {
    if (node->outputs[i]) {
      return c->is_constant[node->outputs[i]->index];
    }
  }
  return false;
}

/* The value is made anew in its own place: nobody has read it yet. */
static mq_status exchange_output(struct engine_compiler *c, const struct mq_value *value,
                                 const struct mq_node *node, struct mq_err *err) {
  int x;
  mq_status status = engine_read(&x, c, value, ENGINE_CHANNELS_LAST, err);
  return status == MQ_OK ? engine_emit_exchange(c, node, x, x, err) : status;
}

/* A node belongs to the narrowest scope it reads. */
static engine_scope scope_of(const struct engine_compiler *c, const struct mq_node *node) {
  engine_scope scope = ENGINE_BATCH;
  for (int i = 0; i < node->n_inputs; i++) {
    int place = node->inputs[i] ? c->place_of[node->inputs[i]->index] : -1;
    if (place >= 0 && c->engine->places[place].scope < scope) {
      scope = c->engine->places[place].scope;
    }
  }
  return scope;
}

static mq_status compile_op(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  const struct engine_op *op = engine_op_get(node->op);
  bool is_taken = false;
  if (c->exact) {
    mq_status status = engine_exact_compile(&is_taken, c, node, err);
    if (status != MQ_OK || is_taken) {
      return status;
    }
  }
  return c->training && op->train ? op->train(c, node, err) : op->compile(c, node, err);
}

static mq_status compile_node(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  const struct mq_engine *engine = c->engine;
  size_t first_step = engine->n_steps, first_place = engine->n_places, first_buffer = engine->n_buffers;
  c->is_done[node->index] = true;
  c->node = node;
  c->scope = c->training ? scope_of(c, node) : ENGINE_SLICE;
  mq_status status = compile_op(c, node, err);
  if (status == MQ_OK && c->exchange_of[node->index] && node->op != MQ_OP_BatchNormalization) {
    status = exchange_output(c, node->outputs[0], node, err);
  }
  if (status == MQ_OK && makes_constants(c, node)) {
    status = engine_fold_steps(c, first_step, first_place, first_buffer, err);
  }
  return status;
}

/* Fake quantization of a value follows the step that made it while the slice is in cache. */
static mq_status finish_value(struct engine_compiler *c, const struct mq_value *value, struct mq_err *err) {
  mq_status status = MQ_OK;
  if (c->is_tapped[value->index]) {
    status = add_taps(c, value, err);
  }
  for (size_t u = 0; u < value->n_uses && status == MQ_OK; u++) {
    const struct mq_node *node = value->uses[u].node;
    if (node->op == MQ_OP_FakeQuantize && !c->is_done[node->index] && !c->chains[node->index]) {
      status = compile_node(c, node, err);
      if (status == MQ_OK) {
        status = finish_value(c, node->outputs[0], err);
      }
    }
  }
  return status;
}

static mq_status finish_outputs(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (int i = 0; i < node->n_outputs && status == MQ_OK; i++) {
    if (node->outputs[i] && c->place_of[node->outputs[i]->index] >= 0) {
      status = finish_value(c, node->outputs[i], err);
    }
  }
  return status;
}

static void mark_chain_done(struct engine_compiler *c, const struct engine_chain *chain) {
  for (size_t i = chain->head->index; i <= chain->tail->index; i++) {
    if (c->chains[i] == chain) {
      c->is_done[i] = true;
    }
  }
}

/* Kernels and attribute getters know no graph. */
static mq_status name_node(mq_status status, const struct mq_node *node, struct mq_err *err) {
  if (status != MQ_BAD_INPUT || !err || strstr(err->message, node->name)) {
    return status;
  }
  struct mq_err inner = *err;
  return engine_fail_unsupported(node, err, "%.400s", inner.message);
}

/* With a filter: only the nodes it names. */
static mq_status compile_nodes(struct engine_compiler *c, const bool *filter_or_null, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < c->graph->n_nodes && status == MQ_OK; i++) {
    const struct mq_node *node = c->graph->nodes[i];
    const struct engine_chain *chain = c->chains[i];
    if (node->op == MQ_OP_NONE || c->is_done[i] || (chain && chain->tail != node) ||
        (filter_or_null && !filter_or_null[i])) {
      continue;
    }
    if (chain) {
      mark_chain_done(c, chain);
    }
    status = compile_node(c, chain ? chain->head : node, err);
    if (status == MQ_OK) {
      status = finish_outputs(c, node, err);
    }
    status = name_node(status, chain ? chain->head : node, err);
  }
  return status;
}

/* A rank-4 input that is only transposed from N H W C lies row-major, so that the transpose is a view onto
 * channels last. */
static bool is_nhwc_input(const struct mq_value *value) {
  static const int expected[4] = {0, 3, 1, 2};
  bool is_nhwc = value->shape.rank == 4 && value->n_uses > 0;
  for (size_t u = 0; u < value->n_uses && is_nhwc; u++) {
    int perm[MQ_MAX_RANK];
    const struct mq_node *node = value->uses[u].node;
    is_nhwc = node->op == MQ_OP_Transpose && mq_node_get_perm(perm, node, NULL) == MQ_OK &&
              memcmp(perm, expected, sizeof expected) == 0;
  }
  return is_nhwc;
}

static mq_status compile_inputs(struct engine_compiler *c, struct mq_err *err) {
  struct mq_engine *engine = c->engine;
  const struct mq_graph *graph = c->graph;
  mq_status status = MQ_OK;
  c->scope = ENGINE_SLICE;
  for (size_t i = 0; i < graph->n_inputs && status == MQ_OK; i++) {
    const struct mq_value *value = graph->inputs[i];
    struct mq_shape shape = engine_shape(c, value);
    int64_t stride[MQ_MAX_RANK];
    mq_stride_row_major(stride, &shape);
    status = engine_new_place(&engine->inputs[i], c, value->dtype, &shape,
                              is_nhwc_input(value) ? stride : NULL, err);
    if (status == MQ_OK) {
      engine_bind(c, value, engine->inputs[i]);
      engine->buffers[engine->places[engine->inputs[i]].buffer].first_step = -1;
    }
  }
  for (size_t i = 0; i < graph->n_inputs && status == MQ_OK; i++) {
    status = finish_value(c, graph->inputs[i], err);
  }
  return status;
}

static mq_status compile_outputs(struct engine_compiler *c, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (size_t i = 0; i < c->graph->n_outputs && status == MQ_OK; i++) {
    status = engine_read(&c->engine->outputs[i], c, c->graph->outputs[i], ENGINE_ANY, err);
    if (status == MQ_OK) {
      touch(c->engine, c->engine->outputs[i], (int)c->engine->n_steps);
    }
  }
  return status;
}

static int batch_dim(const struct mq_value *value) {
  for (int i = 0; i < value->shape.rank; i++) {
    if (value->shape.dim[i] == MQ_DIM_BATCH) {
      return i;
    }
  }
  return -1;
}

static mq_status prepare_compiler(struct engine_compiler *c, struct mq_err *err) {
  const struct mq_graph *graph = c->graph;
  struct mq_engine *engine = c->engine;
  c->place_of = mq_arena_alloc(&c->arena, graph->n_values, sizeof *c->place_of);
  c->is_tapped = mq_arena_alloc(&c->arena, graph->n_values, sizeof *c->is_tapped);
  c->is_constant = mq_arena_alloc(&c->arena, graph->n_values, sizeof *c->is_constant);
  c->is_done = mq_arena_alloc(&c->arena, graph->n_nodes, sizeof *c->is_done);
  c->exchange_of = mq_arena_alloc(&c->arena, graph->n_nodes, sizeof *c->exchange_of);
  c->chains = mq_arena_alloc(&c->arena, graph->n_nodes, sizeof *c->chains);
  engine->inputs = mq_arena_alloc(&engine->arena, graph->n_inputs, 2 * sizeof(int));
  engine->outputs = mq_arena_alloc(&engine->arena, graph->n_outputs, 2 * sizeof(int));
  if (!c->place_of || !c->is_tapped || !c->is_constant || !c->is_done || !c->exchange_of || !c->chains ||
      !engine->inputs || !engine->outputs) {
    return mq_fail_memory(err, "engine compiler");
  }
  engine->exchanges = mq_arena_alloc(&engine->arena, c->options->n_exchanges, sizeof *engine->exchanges);
  if (!engine->exchanges && c->options->n_exchanges > 0) {
    return mq_fail_memory(err, "engine compiler");
  }
  for (size_t i = 0; i < c->options->n_exchanges; i++) {
    c->exchange_of[c->options->exchanges[i]->index] = i + 1;
  }
  engine->n_inputs = graph->n_inputs;
  engine->n_outputs = graph->n_outputs;
  engine->input_batch_dims = engine->inputs + graph->n_inputs;
  engine->output_batch_dims = engine->outputs + graph->n_outputs;
  for (size_t i = 0; i < graph->n_inputs; i++) {
    engine->input_batch_dims[i] = batch_dim(graph->inputs[i]);
  }
  for (size_t i = 0; i < graph->n_outputs; i++) {
    engine->output_batch_dims[i] = batch_dim(graph->outputs[i]);
  }
  for (size_t i = 0; i < graph->n_values; i++) {
    c->place_of[i] = -1;
  }
  for (size_t i = 0; i < c->options->n_taps; i++) {
    c->is_tapped[c->options->taps[i]->index] = true;
  }
  return MQ_OK;
}

/* ---- Chunks ------------------------------------------------------------------------------------- */
#define CHUNK_BYTES \
  (12 << 20) /* read and written by one step of a chunk: a small share of it is out of cache */
#define LEAST_CHUNK 2

static double node_bytes(const struct mq_value *const *values, int n) {
  double bytes = 0;
  for (int i = 0; i < n; i++) {
    if (values[i] && !values[i]->constant && mq_shape_has_batch(&values[i]->shape)) {
      struct mq_shape shape = mq_shape_at_batch(&values[i]->shape, 1);
      bytes += (double)mq_shape_count(&shape) * mq_dtype_get(values[i]->dtype)->bytes;
    }
  }
  return bytes;
}

/* What the hungriest node reads and writes for one image decides how many images run together. Depends on the
 * graph and the slice only, as bits must. */
static int64_t choose_chunk(const struct mq_graph *graph, const struct mq_engine_options *options,
                            int64_t slice_images) {
  double largest = 1;
  bool has_batch = false;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    double bytes = node_bytes((const struct mq_value *const *)node->inputs, node->n_inputs) +
                   node_bytes((const struct mq_value *const *)node->outputs, node->n_outputs);
    largest = bytes > largest ? bytes : largest;
    has_batch = has_batch || bytes > 0;
  }
  int64_t chunk = slice_images;
  if (!has_batch || options->n_exchanges > 0 || options->memory != MQ_MEMORY_FORWARD) {
    return chunk;
  }
  while (chunk > LEAST_CHUNK && (double)chunk * largest > CHUNK_BYTES) {
    for (chunk--; slice_images % chunk != 0;) {
      chunk--;
    }
  }
  return chunk;
}

/* ---- Training: what comes from parameters alone stands first ------------------------------------------- */
static bool is_of_batch(const struct engine_compiler *c, const bool *of_batch, const struct mq_value *value) {
  return !value || value->constant || c->is_constant[value->index] ||
         (value->producer && of_batch[value->producer->index]);
}

static mq_status compile_batch_nodes(struct engine_compiler *c, struct mq_err *err) {
  bool *of_batch = mq_arena_alloc(&c->arena, c->graph->n_nodes, sizeof *of_batch);
  if (!of_batch) {
    return mq_fail_memory(err, "engine compiler");
  }
  for (size_t i = 0; i < c->graph->n_nodes; i++) {
    const struct mq_node *node = c->graph->nodes[i];
    of_batch[i] = node->op != MQ_OP_NONE;
    for (int k = 0; k < node->n_inputs; k++) {
      of_batch[i] = of_batch[i] && is_of_batch(c, of_batch, node->inputs[k]);
    }
  }
  mq_status status = compile_nodes(c, of_batch, err);
  return status == MQ_OK ? engine_train_forms(c, err) : status;
}

static mq_status prepare_mode(struct engine_compiler *c, struct mq_err *err) {
  if (!c->training) {
    engine_find_constants(c);
    return c->options->exact ? engine_exact_plan(c, err) : engine_find_chains(c, err);
  }
  c->training->kind_of = mq_arena_alloc(&c->arena, c->graph->n_values, sizeof *c->training->kind_of);
  if (!c->training->kind_of) {
    return mq_fail_memory(err, "engine compiler");
  }
  engine_find_variables(c);
  engine_find_constants(c);
  return compile_batch_nodes(c, err);
}

static mq_status finish_training(struct engine_compiler *c, struct mq_err *err) {
  c->node = NULL;
  mq_status status = engine_compile_loss(c, err);
  if (status == MQ_OK) {
    status = engine_check_trainable(c, err);
  }
  return status == MQ_OK ? engine_plan_training(c, err) : status;
}

mq_status engine_compile(struct mq_engine *engine, const struct mq_graph *graph,
                         const struct mq_engine_options *options, struct mq_err *err) {
  engine->slice_images = options->slice_images > 0 ? options->slice_images : 8;
  engine->chunk_images = choose_chunk(graph, options, engine->slice_images);
  struct engine_compiler c = {
      .engine = engine, .graph = graph, .options = options, .images = engine->chunk_images};
  c.training = engine->training;
  mq_arena_init(&c.arena, 0);
  mq_status status = prepare_compiler(&c, err);
  if (status == MQ_OK) {
    status = prepare_mode(&c, err);
  }
  if (status == MQ_OK) {
    status = compile_inputs(&c, err);
  }
  if (status == MQ_OK) {
    status = compile_nodes(&c, NULL, err);
  }
  if (status == MQ_OK) {
    status = compile_outputs(&c, err);
  }
  if (status == MQ_OK && c.training) {
    status = finish_training(&c, err);
  }
  mq_arena_deinit(&c.arena);
  return status;
}
