#include "deploy/rules.h"

#include <stdio.h>
#include <string.h>

#include "deploy/field.h"

static const char *const pool_words[] = {[MQ_POOL_NONE] = "none",
                                         [MQ_POOL_OUTPUT] = "output",
                                         [MQ_POOL_INPUT_SCALE] = "input_scale",
                                         [MQ_POOL_INPUT_SCALE_GLOBAL] = "input_scale_global",
                                         NULL};

/* Of other operators the graph alone says that they are computed in floats. */
static bool is_sum_or_average(const struct mq_node *node) {
  return node->op == MQ_OP_Add || node->op == MQ_OP_AveragePool || node->op == MQ_OP_GlobalAveragePool ||
         node->op == MQ_OP_ReduceMean;
}

void deploy_write_rules(json_t *quant, const struct mq_bundle_contents *contents) {
  const struct mq_prepared *prepared = contents->prepared;
  json_t *nodes = json_array();
  for (size_t i = 0; i < prepared->n_islands; i++) {
    if (is_sum_or_average(prepared->islands[i].node)) {
      json_array_append_new(nodes, json_string(prepared->islands[i].node->name));
    }
  }
  json_object_set_new(quant, "half_even", json_boolean(contents->target->pot_half_even));
  json_object_set_new(quant, "pool", json_string(pool_words[contents->target->points.pool]));
  json_object_set_new(quant, "float_nodes", nodes);
}

void deploy_take_rules(struct mq_bundle *bundle, const struct mq_target *target) {
  snprintf(bundle->arithmetic, sizeof bundle->arithmetic, "%s", target->arithmetic ? target->arithmetic : "");
  bundle->has_rules = true;
  bundle->pot_half_even = target->pot_half_even;
  bundle->pool = target->points.pool;
}

static const struct mq_node *find_node(const struct mq_graph *graph, const char *name) {
  for (size_t i = 0; name && i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    if (node->op != MQ_OP_NONE && is_sum_or_average(node) && !strcmp(node->name, name)) {
      return node;
    }
  }
  return NULL;
}

static mq_status read_float_nodes(struct mq_bundle *bundle, const json_t *quant, const struct deploy_at *at) {
  struct mq_prepared *prepared = &bundle->prepared;
  const json_t *list = NULL;
  mq_status status = deploy_get_list(&list, at, quant, "float_nodes", SIZE_MAX, "names of nodes");
  size_t n = json_array_size(list);
  if (status != MQ_OK) {
    return status;
  }
  prepared->islands = mq_arena_alloc(&prepared->graph->arena, n + 1, sizeof *prepared->islands);
  if (!prepared->islands) {
    return mq_fail_memory(at->err, at->directory);
  }
  for (size_t i = 0; i < n; i++) {
    const struct mq_node *node = find_node(prepared->graph, json_string_value(json_array_get(list, i)));
    if (!node) {
      return deploy_fail_item(at, "float_nodes", list, i, "an add or an average of model.onnx");
    }
    prepared->islands[prepared->n_islands++] = (struct mq_island){.node = node, .reason = ""};
  }
  return MQ_OK;
}

mq_status deploy_read_rules(struct mq_bundle *bundle, const json_t *quant, const char *directory,
                            struct mq_err *err) {
  const struct deploy_at at = {.directory = directory, .name = "quant.json", .err = err};
  const char *arithmetic = json_string_value(json_object_get(quant, "arithmetic"));
  int pool = 0;
  bundle->has_rules = deploy_has(quant, "pool");
  if (arithmetic && strcmp(arithmetic, "none") != 0) {
    snprintf(bundle->arithmetic, sizeof bundle->arithmetic, "%s", arithmetic);
  }
  if (!bundle->has_rules) {
    return MQ_OK;
  }
  mq_status status = deploy_get_choice(&pool, &at, quant, "pool", pool_words);
  if (status == MQ_OK) {
    status = deploy_get_bool(&bundle->pot_half_even, &at, quant, "half_even");
  }
  bundle->pool = (mq_pool_rule)pool;
  return status == MQ_OK ? read_float_nodes(bundle, quant, &at) : status;
}
