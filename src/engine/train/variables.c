/* What learns, and what keeps running statistics: constants of the graph whose memory changes. */
#include <string.h>

#include "engine/train/training.h"

/* ---- Roles -------------------------------------------------------------------------------------- */
static void mark(struct engine_compiler *c, const struct mq_node *node, int input,
                 engine_variable_kind kind) {
  const struct mq_value *value = input < node->n_inputs ? node->inputs[input] : NULL;
  if (value && value->constant && value->dtype == MQ_F32) {
    c->training->kind_of[value->index] = (uint8_t)(kind + 1);
  }
}

/* x W + b as some exporters write a linear layer: MatMul, then Add of a row. */
static void mark_added_bias(struct engine_compiler *c, const struct mq_node *node) {
  for (int i = 0; i < 2; i++) {
    const struct mq_value *other = node->inputs[1 - i];
    if (other->producer && other->producer->op == MQ_OP_MatMul && node->inputs[i]->shape.rank == 1) {
      mark(c, node, i, ENGINE_BIAS);
    }
  }
}

static void mark_roles(struct engine_compiler *c, const struct mq_node *node) {
  switch (node->op) {
    case MQ_OP_Conv:
    case MQ_OP_ConvTranspose:
    case MQ_OP_Gemm:
      mark(c, node, 1, ENGINE_WEIGHT);
      mark(c, node, 2, ENGINE_BIAS);
      break;
    case MQ_OP_MatMul:
      for (int i = 0; i < 2; i++) {
        if (node->inputs[i]->shape.rank >= 2) {
          mark(c, node, i, ENGINE_WEIGHT);
        }
      }
      break;
    case MQ_OP_FakeQuantize:
    case MQ_OP_PRelu:
      mark(c, node, node->op == MQ_OP_PRelu ? 1 : 0, ENGINE_WEIGHT);
      break;
    case MQ_OP_ScaleChannels:
      mark(c, node, 0, ENGINE_WEIGHT);
      mark(c, node, 2, ENGINE_BIAS);
      break;
    case MQ_OP_BatchNormalization:
      mark(c, node, 1, ENGINE_BATCH_NORM);
      mark(c, node, 2, ENGINE_BATCH_NORM);
      mark(c, node, 3, ENGINE_STATE);
      mark(c, node, 4, ENGINE_STATE);
      break;
    case MQ_OP_BatchStatistics:
      mark(c, node, 1, ENGINE_STATE);
      mark(c, node, 2, ENGINE_STATE);
      break;
    case MQ_OP_FoldFactor:
      mark(c, node, 1, ENGINE_BATCH_NORM);
      break;
    case MQ_OP_FoldBias:
      mark(c, node, 0, ENGINE_BATCH_NORM);
      mark(c, node, 3, ENGINE_BIAS);
      break;
    case MQ_OP_Add:
      mark_added_bias(c, node);
      break;
    default:
      break;
  }
}

/* A frozen graph's running statistics (folding strategy 1) are read by FoldFactor and FoldBias only: they
 * stay constants. */
void engine_find_variables(struct engine_compiler *c) {
  for (size_t i = 0; i < c->graph->n_nodes; i++) {
    if (c->graph->nodes[i]->op != MQ_OP_NONE) {
      mark_roles(c, c->graph->nodes[i]);
    }
  }
}

/* ---- Places ------------------------------------------------------------------------------------- */
mq_status engine_new_variable(int *place, struct engine_compiler *c, const struct engine_variable *variable,
                              const struct mq_shape *shape, const float *from, struct mq_err *err) {
  struct engine_training *t = c->training;
  void *block, *array = t->variables;
  size_t count = (size_t)mq_shape_count(shape);
  mq_status status = engine_alloc(&block, c, count + 1, sizeof(float), err);
  if (status == MQ_OK) {
    status = engine_reserve(&array, &t->capacity_variables, t->n_variables, sizeof *variable, err);
    t->variables = array;
  }
  if (status != MQ_OK) {
    return status;
  }
  memcpy(block, from, count * sizeof(float));
  struct mq_tensor tensor = mq_tensor_view(block, MQ_F32, shape, NULL);
  status = engine_new_constant(place, c, &tensor, err);
  if (status != MQ_OK) {
    return status;
  }
  c->engine->places[*place].is_variable = true;
  struct engine_variable *added = &t->variables[t->n_variables++];
  *added = *variable;
  added->name = mq_arena_strdup(&c->engine->arena, variable->name);
  added->data = block;
  added->count = count;
  added->place = *place;
  if (!added->name) {
    return mq_fail_memory(err, "engine plan");
  }
  return variable->kind == ENGINE_STATE ? MQ_OK : engine_add_gradient(c, *place, err);
}

mq_status engine_read_variable(int *place, struct engine_compiler *c, const struct mq_value *value,
                               struct mq_err *err) {
  const struct engine_variable variable = {
      .kind = (engine_variable_kind)(c->training->kind_of[value->index] - 1),
      .name = value->name,
      .value = value};
  return engine_new_variable(place, c, &variable, &value->shape, value->constant->data, err);
}
