/* A calibrated graph becomes an integer program: the walk, and the table of operators. */
#include "deploy/lower.h"

#include <string.h>

#include "base/file.h"

/* ---- Operators ----------------------------------------------------------------------------------------- */

#define MQ_OP(name, min_inputs, max_inputs, n_outputs, kind) extern const struct lower_op deploy_lower_##name;
#include "mqbench/ops.def"
#undef MQ_OP

static const struct lower_op *const ops[MQ_OP_COUNT] = {
#define MQ_OP(name, min_inputs, max_inputs, n_outputs, kind) [MQ_OP_##name] = &deploy_lower_##name,
#include "mqbench/ops.def"
#undef MQ_OP
};

const struct lower_op *lower_op_of(const struct mq_node *node) {
  static const struct lower_op none = {0};
  return ops[node->op] ? ops[node->op] : &none;
}

/* ---- Start and end ------------------------------------------------------------------------------------- */

static void find_arithmetic(struct lowering *l) {
  const char *name = l->target->arithmetic;
  if (!name) {
    lower_fail(l,
               "target %s has no arithmetic (export and simulation only), expected one with an integer "
               "program",
               l->target->name);
    return;
  }
  bool is_even = strcmp(name, "pot_shift") == 0 && l->target->pot_half_even;
  l->kind = is_even ? MQ_ARITHMETIC_POT_SHIFT_EVEN : mq_program_arithmetic_find(name);
  l->arithmetic = mq_program_arithmetic_get(l->kind);
  if (!l->arithmetic) {
    lower_fail(l, "target %s: arithmetic %s is none of an integer program", l->target->name, name);
  }
}

/* A tensor of codes has one scale; layers would have to add products of different ones. */
static void check_points(struct lowering *l) {
  for (size_t i = 0; i < l->prepared->n_points; i++) {
    const struct mq_point *point = &l->prepared->points[i];
    if (point->kind == MQ_POINT_ACTIVATION && point->qparams.n_channels > 1) {
      lower_fail(l,
                 "tensor '%s' has %lld scales along axis %d, and not only depthwise convolutions with one "
                 "zero point read it: an integer program has one scale for a tensor",
                 point->tensor, (long long)point->qparams.n_channels, point->qparams.channel_axis);
    }
  }
}

static void begin(struct lowering *l) {
  const struct mq_graph *graph = l->prepared->graph;
  l->values = lower_scratch(l, graph->n_values, sizeof *l->values);
  l->grids = lower_scratch(l, graph->n_values, sizeof *l->grids);
  l->chains = lower_scratch(l, graph->n_nodes, sizeof *l->chains);
  l->is_inner = lower_scratch(l, graph->n_nodes, sizeof *l->is_inner);
  if (l->status == MQ_OK) {
    memset(l->values, 0xff, graph->n_values * sizeof *l->values); /* LOWER_NONE */
  }
}

/* Images come channels last, unless the user's already are: then a transpose says so. */
static bool is_image(const struct mq_value *input) {
  bool is_only_turned = input->n_uses > 0;
  for (size_t i = 0; i < input->n_uses; i++) {
    is_only_turned = is_only_turned && input->uses[i].node->op == MQ_OP_Transpose;
  }
  return input->shape.rank == 4 && !is_only_turned;
}

static const uint32_t *make_inputs(struct lowering *l) {
  const struct mq_graph *graph = l->prepared->graph;
  uint32_t *inputs = lower_alloc(l, graph->n_inputs, sizeof *inputs);
  for (size_t i = 0; i < graph->n_inputs && l->status == MQ_OK; i++) {
    inputs[i] = lower_make(l, graph->inputs[i], NULL, is_image(graph->inputs[i]) ? LOWER_IMAGE : LOWER_PLAIN);
  }
  return inputs;
}

static const uint32_t *find_outputs(struct lowering *l) {
  const struct mq_graph *graph = l->prepared->graph;
  uint32_t *outputs = lower_alloc(l, graph->n_outputs, sizeof *outputs);
  for (size_t i = 0; i < graph->n_outputs && l->status == MQ_OK; i++) {
    const struct mq_value *y = graph->outputs[i];
    outputs[i] = lower_read(l, y, lower_grid_of(l, y) ? LOWER_CODES : LOWER_FLOATS, lower_form_of(l, y));
  }
  return outputs;
}

static void emit_nodes(struct lowering *l) {
  const struct mq_graph *graph = l->prepared->graph;
  for (size_t i = 0; i < graph->n_nodes && l->status == MQ_OK; i++) {
    const struct lower_chain *chain = l->chains[i];
    if (!chain || l->is_inner[i]) {
      continue;
    }
    l->node = chain->base;
    const struct lower_op *op = lower_op_of(l->node);
    if (op->emit) {
      op->emit(l, chain);
    } else {
      lower_fail(l, "an integer program has no such operator");
    }
  }
  l->node = NULL;
}

static void *keep(struct lowering *l, const void *items, uint32_t n, size_t bytes) {
  void *copy = lower_alloc(l, n, bytes);
  if (copy && n > 0) {
    memcpy(copy, items, n * bytes);
  }
  return copy;
}

static void fill_program(struct lowering *l, struct mq_program *program, const uint32_t *inputs,
                         const uint32_t *outputs) {
  const struct mq_graph *graph = l->prepared->graph;
  struct mq_program_err why = {{0}};
  /* The model's file without its folders: the same file gives the same program wherever it lies. */
  *program = (struct mq_program){.name = mq_arena_strdup(l->arena, mq_path_base(graph->name)),
                                 .target = mq_arena_strdup(l->arena, l->target->name),
                                 .producer = "mqbench " MQ_VERSION,
                                 .arithmetic = l->kind,
                                 .n_tensors = l->n_tensors,
                                 .n_steps = l->n_steps,
                                 .n_inputs = (uint32_t)graph->n_inputs,
                                 .n_outputs = (uint32_t)graph->n_outputs,
                                 .tensors = keep(l, l->tensors, l->n_tensors, sizeof *l->tensors),
                                 .steps = keep(l, l->steps, l->n_steps, sizeof *l->steps),
                                 .inputs = inputs,
                                 .outputs = outputs};
  if (l->status == MQ_OK && (!program->name || !program->target)) {
    l->status = mq_fail_memory(l->err, "an integer program");
  }
  if (l->status == MQ_OK && mq_program_finish(program, &why) != MQ_PROGRAM_OK) {
    lower_fail(l, "%s", why.message);
  }
}

mq_status mq_lower(struct mq_lowered *lowered, const struct mq_prepared *prepared,
                   const struct mq_target *target, struct mq_err *err) {
  struct lowering l = {.prepared = prepared, .target = target, .arena = &lowered->arena, .err = err};
  *lowered = (struct mq_lowered){0};
  mq_arena_init(&lowered->arena, 0);
  mq_arena_init(&l.scratch, 0);
  find_arithmetic(&l);
  check_points(&l);
  begin(&l);
  if (l.status == MQ_OK) {
    lower_find_chains(&l);
    const uint32_t *inputs = make_inputs(&l);
    emit_nodes(&l);
    const uint32_t *outputs = find_outputs(&l);
    fill_program(&l, &lowered->program, inputs, outputs);
  }
  mq_free(l.tensors);
  mq_free(l.steps);
  mq_arena_deinit(&l.scratch);
  if (l.status != MQ_OK) {
    mq_lowered_deinit(lowered);
  }
  return l.status;
}

void mq_lowered_deinit(struct mq_lowered *lowered) {
  mq_arena_deinit(&lowered->arena);
  *lowered = (struct mq_lowered){0};
}
