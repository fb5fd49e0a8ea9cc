#include "target/override.h"

#include <regex.h>
#include <string.h>

#include "target/roles.h"

struct mq_scheme_override mq_override_blank(const char *layer) {
  return (struct mq_scheme_override){.layer = layer,
                                     .op = -1,
                                     .bits = -1,
                                     .max_bits = -1,
                                     .is_signed = -1,
                                     .is_symmetric = -1,
                                     .is_narrow = -1,
                                     .is_per_channel = -1,
                                     .scale_form = -1,
                                     .keep_float = -1};
}

/* ---- Names ------------------------------------------------------------------------------------------ */

/* "/a.*b/" -> "a.*b" compiled; a node's own name may begin with a slash, but does not end with one. */
static bool is_expression(const char *layer) {
  size_t n = strlen(layer);
  return n >= 2 && layer[0] == '/' && layer[n - 1] == '/';
}

static int compile(regex_t *expression, const char *layer) {
  char text[256];
  size_t n = strlen(layer) - 2;
  if (n >= sizeof text) return REG_ESPACE;
  memcpy(text, layer + 1, n);
  text[n] = 0;
  return regcomp(expression, text, REG_EXTENDED | REG_NOSUB);
}

/* Counted repetitions and back references make regcomp and regexec take memory and time without bound; and
 * regcomp compiles x+ as xx*, so that every + around another doubles what is inside. */
static bool is_costly(const char *layer) {
  enum {
    MOST_PLUSES = 8
  };
  int n_pluses = 0;
  for (const char *c = layer; *c; c++) {
    if (*c == '{' || (*c == '\\' && c[1] >= '1' && c[1] <= '9')) return true;
    if (*c == '+' && ++n_pluses > MOST_PLUSES) return true;
  }
  return false;
}

const char *mq_layer_pattern_check(char *text, size_t text_bytes, const char *layer) {
  regex_t expression;
  if (!is_expression(layer)) return NULL;
  if (is_costly(layer)) return "expressions may not have {m,n}, back references or more than 8 +";
  int code = compile(&expression, layer);
  if (!code) {
    regfree(&expression);
    return NULL;
  }
  regerror(code, NULL, text, text_bytes);
  return text;
}

static bool matches_name(const char *layer, const char *name) {
  if (!strcmp(layer, name)) return true;
  regex_t expression;
  if (!is_expression(layer) || is_costly(layer) || compile(&expression, layer)) return false;
  bool is_match = regexec(&expression, name, 0, NULL, 0) == 0;
  regfree(&expression);
  return is_match;
}

/* PyTorch calls the node "/layer1/conv1/Conv" and its weights "layer1.conv1.weight": people say
 * "layer1.conv1". */
static bool is_weight_stem(const char *layer, const struct mq_node *node) {
  mq_quant_op op;
  if (!mq_is_layer(&op, node)) return false;
  const char *weight = node->inputs[1]->name;
  size_t n = strlen(layer);
  return !strncmp(weight, layer, n) && !strcmp(weight + n, ".weight");
}

bool mq_override_names_op(const struct mq_scheme_override *o, const struct mq_node *node) {
  return o->layer && (matches_name(o->layer, node->name) || is_weight_stem(o->layer, node));
}

bool mq_override_names_tensor(const struct mq_scheme_override *o, const struct mq_value *value) {
  return o->layer && matches_name(o->layer, value->name);
}

/* ---- Ops -------------------------------------------------------------------------------------------- */

static const struct mq_node *end_layer(const struct mq_graph *graph, bool is_last) {
  mq_quant_op op;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[is_last ? graph->n_nodes - 1 - i : i];
    if (mq_is_layer(&op, node)) return node;
  }
  return NULL;
}

/* A convolution whose groups have one input channel each. */
static bool is_depthwise(const struct mq_node *node) {
  mq_quant_op op;
  int64_t groups = 1;
  return node->op == MQ_OP_Conv && mq_is_layer(&op, node) &&
         mq_node_get_int(&groups, node, "group", 1, NULL) == MQ_OK && groups > 1 &&
         node->inputs[1]->shape.dim[1] == 1;
}

/* Class, first and last; true for an override that asks for none of them. */
static bool is_of_class(const struct mq_scheme_override *o, const struct mq_graph *graph,
                        const struct mq_node *node) {
  mq_quant_op op;
  bool has_op = mq_quant_op_of(&op, node);
  if (o->op >= 0 && !(has_op && (int)op == o->op)) return false;
  if (o->is_depthwise && !is_depthwise(node)) return false;
  if (o->is_first_op && end_layer(graph, false) != node) return false;
  return !o->is_last_op || end_layer(graph, true) == node;
}

static bool asks_for_class(const struct mq_scheme_override *o) {
  return o->op >= 0 || o->is_first_op || o->is_last_op || o->is_depthwise;
}

static bool matches_op(const struct mq_scheme_override *o, const struct mq_graph *graph,
                       const struct mq_node *node) {
  return is_of_class(o, graph, node) && (!o->layer || mq_override_names_op(o, node));
}

bool mq_override_keeps_op_float(const struct mq_target *target, const struct mq_graph *graph,
                                const struct mq_node *node) {
  bool is_kept = false;
  for (size_t i = 0; i < target->n_overrides; i++) {
    const struct mq_scheme_override *o = &target->overrides[i];
    if (o->keep_float < 0 || !o->is_for_weights || !o->is_for_activations) continue;
    if ((o->layer || asks_for_class(o)) && matches_op(o, graph, node)) is_kept = o->keep_float;
  }
  return is_kept;
}

/* ---- Activations: who reads a point ----------------------------------------------------------------- */

struct walk {
  const struct mq_value **stack;
  bool *is_seen; /* by node index */
  size_t n;
};

static void push_outputs(struct walk *walk, const struct mq_node *node) {
  if (walk->is_seen[node->index]) return;
  walk->is_seen[node->index] = true;
  for (int i = 0; i < node->n_outputs; i++) {
    if (node->outputs[i] && node->outputs[i]->n_uses) walk->stack[walk->n++] = node->outputs[i];
  }
}

static bool is_consumer(const struct mq_placement *placement, const struct mq_node *node) {
  if (!placement->consumers) return true;
  for (size_t i = 0; i < placement->n_consumers; i++) {
    if (placement->consumers[i] == node) return true;
  }
  return false;
}

/* A quantized op that reads the point, through ops that only move values, and that the override means. */
static bool has_reader(struct walk *walk, const struct mq_scheme_override *o, const struct mq_graph *graph,
                       const struct mq_placement *placement) {
  walk->stack[walk->n++] = placement->value;
  while (walk->n) {
    const struct mq_value *value = walk->stack[--walk->n];
    for (size_t i = 0; i < value->n_uses; i++) {
      const struct mq_node *node = value->uses[i].node;
      mq_quant_op op;
      if (value == placement->value && !is_consumer(placement, node)) continue;
      if (mq_quant_op_of(&op, node)) {
        if (matches_op(o, graph, node)) return true;
      } else if (mq_moves_values(node) || node->op == MQ_OP_Concat) {
        push_outputs(walk, node);
      }
    }
  }
  return false;
}

static mq_status is_read_by(bool *matches, const struct mq_scheme_override *o, const struct mq_graph *graph,
                            const struct mq_placement *placement, struct mq_err *err) {
  struct walk walk = {.stack = mq_alloc(graph->n_values + 1, sizeof *walk.stack),
                      .is_seen = mq_alloc(graph->n_nodes + 1, sizeof *walk.is_seen)};
  mq_status status = MQ_OK;
  if (walk.stack && walk.is_seen) {
    *matches = has_reader(&walk, o, graph, placement);
  } else {
    status = mq_fail_memory(err, "overrides of a target");
  }
  mq_free(walk.is_seen);
  mq_free(walk.stack);
  return status;
}

/* Made by an activation function with a lower bound of 0 or more, seen through ops that move values. */
static bool is_after_relu(const struct mq_value *value) {
  const struct mq_node *node = value->producer;
  float lo = 0, hi = 0;
  while (node && mq_op_get(node->op)->kind == MQ_KIND_PASSTHROUGH && mq_moves_values(node)) {
    if (node->op == MQ_OP_Pad) break;
    node = node->inputs[0]->producer;
  }
  return node && mq_op_get(node->op)->kind == MQ_KIND_ACTIVATION && !mq_node_get_clip(&lo, &hi, node, NULL) &&
         lo >= 0;
}

mq_status mq_override_matches(bool *matches, const struct mq_scheme_override *o, const struct mq_graph *graph,
                              const struct mq_placement *placement, struct mq_err *err) {
  *matches = false;
  if (placement->is_weight ? !o->is_for_weights : !o->is_for_activations) return MQ_OK;
  if (!placement->is_weight && o->is_after_relu && !is_after_relu(placement->value)) return MQ_OK;
  bool names_tensor = mq_override_names_tensor(o, placement->value);
  if (placement->is_weight) {
    *matches = is_of_class(o, graph, placement->op) &&
               (!o->layer || names_tensor || mq_override_names_op(o, placement->op));
    return MQ_OK;
  }
  if (names_tensor && !asks_for_class(o)) {
    *matches = true;
    return MQ_OK;
  }
  if (!o->layer && !asks_for_class(o)) {
    *matches = true;
    return MQ_OK;
  }
  return is_read_by(matches, o, graph, placement, err);
}
