#include "prepare/overrides.h"

#include <stdio.h>
#include <string.h>

#include "base/spelling.h"
#include "target/override.h"
#include "target/roles.h"

/* The graph as it is quantized without the run's overrides: what names can mean. */
struct context {
  struct mq_graph *graph;
  const struct mq_graph *model;
  const char *target;
  struct mq_placement *placements;
  size_t n_placements;
  struct mq_node_role *roles; /* by node index */
};

static mq_status context_init(struct context *c, const struct mq_target *target, struct mq_graph *graph,
                              const struct mq_graph *model, struct mq_err *err) {
  struct mq_island *islands = NULL;
  size_t n_islands = 0;
  *c = (struct context){.graph = graph, .model = model, .target = target->name};
  mq_status status =
      mq_target_place(&c->placements, &c->n_placements, &islands, &n_islands, target, graph, err);
  if (status) return status;
  c->roles = mq_arena_alloc(&graph->arena, graph->n_nodes + 1, sizeof *c->roles);
  return c->roles ? mq_roles_assign(c->roles, target, graph, err) : mq_fail_memory(err, "layer overrides");
}

/* ---- Close names ------------------------------------------------------------------------------------ */

#define CLOSE_NAMES 5

struct close_names {
  const char *name[CLOSE_NAMES];
  size_t distance[CLOSE_NAMES], n;
};

/* Keeps the list sorted, the closest first; a name that contains the wanted one is as close as it gets. */
static void offer(struct close_names *close, const char *wanted, const char *name) {
  size_t distance = strstr(name, wanted) ? 0 : mq_edit_distance(wanted, name), i = close->n;
  for (size_t k = 0; k < close->n; k++) {
    if (!strcmp(close->name[k], name)) return;
  }
  if (i == CLOSE_NAMES) {
    if (distance >= close->distance[--i]) return;
  } else {
    close->n++;
  }
  for (; i > 0 && distance < close->distance[i - 1]; i--) {
    close->name[i] = close->name[i - 1];
    close->distance[i] = close->distance[i - 1];
  }
  close->name[i] = name;
  close->distance[i] = distance;
}

static mq_status fail_unmatched(const struct context *c, const char *layer, struct mq_err *err) {
  struct close_names close = {.n = 0};
  char list[700] = "";
  mq_quant_op op;
  for (size_t i = 0; i < c->graph->n_nodes; i++) {
    if (mq_is_layer(&op, c->graph->nodes[i])) offer(&close, layer, c->graph->nodes[i]->name);
  }
  for (size_t i = 0; i < c->n_placements; i++)
    offer(&close, layer, c->placements[i].value->name);
  for (size_t i = 0; i < close.n; i++) {
    size_t n = strlen(list);
    snprintf(list + n, sizeof list - n, "%s%.120s", i ? ", " : "", close.name[i]);
  }
  return mq_fail(err, MQ_BAD_USAGE,
                 "layer override '%.120s' matches no layer and no quantized tensor of %s under target %s; "
                 "close: %s",
                 layer, c->graph->name, c->target, list[0] ? list : "none");
}

/* ---- What a name means ------------------------------------------------------------------------------ */

static bool is_point(const struct context *c, const char *tensor) {
  for (size_t i = 0; i < c->n_placements; i++) {
    if (!strcmp(c->placements[i].value->name, tensor)) return true;
  }
  return false;
}

static const struct mq_node *find_layer(const struct mq_graph *graph, const char *name) {
  mq_quant_op op;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    if (!strcmp(node->name, name) && mq_is_layer(&op, node)) return node;
  }
  return NULL;
}

/* A name that tools gave to a node and to its output means the node. */
static bool names_float_op(const struct context *c, const char *name) {
  for (size_t i = 0; i < c->graph->n_nodes; i++) {
    const struct mq_node *node = c->graph->nodes[i];
    if (!strcmp(node->name, name)) {
      return mq_op_get(node->op)->kind == MQ_KIND_COMPUTE && c->roles[i].role == MQ_ROLE_FLOAT;
    }
  }
  return false;
}

/* Ops whose output is called by people as if it were their layer's. */
static bool belongs_to_layer(const struct mq_node *node) {
  return mq_op_get(node->op)->kind == MQ_KIND_ACTIVATION || node->op == MQ_OP_BatchNormalization ||
         node->op == MQ_OP_Identity || node->op == MQ_OP_Dropout || node->op == MQ_OP_Add;
}

/* The layer behind a tensor of the model that is no point: "conv1's output" before its BN was folded. */
static const char *layer_behind(const struct context *c, const char *tensor) {
  const struct mq_value *value = mq_graph_find_value(c->model, tensor);
  const struct mq_node *node = value ? value->producer : NULL;
  for (int i = 0; node && i < 8; i++) {
    if (find_layer(c->graph, node->name)) return node->name;
    if (!belongs_to_layer(node) || !node->inputs[0]) return NULL;
    node = node->inputs[node->inputs[0]->constant && node->n_inputs > 1 ? 1 : 0]->producer;
  }
  return NULL;
}

static mq_status matches_anything(bool *matches, const struct context *c, const struct mq_scheme_override *o,
                                  struct mq_err *err) {
  mq_status status = MQ_OK;
  *matches = false;
  for (size_t i = 0; i < c->n_placements && !*matches && !status; i++) {
    status = mq_override_matches(matches, o, c->graph, &c->placements[i], err);
  }
  for (size_t i = 0; i < c->graph->n_nodes && !*matches && o->keep_float == 1; i++) {
    const struct mq_node *node = c->graph->nodes[i];
    bool is_float_anyway = c->roles[i].role == MQ_ROLE_FLOAT;
    *matches =
        mq_op_get(node->op)->kind == MQ_KIND_COMPUTE && !is_float_anyway && mq_override_names_op(o, node);
  }
  return status;
}

/* A target may be written for many models, so one of its overrides for a class of ops may find none of them.
 * One that names a layer was written for this model. */
static mq_status check_target_overrides(const struct mq_target *target, const struct mq_graph *model,
                                        struct mq_graph *graph, struct mq_err *err) {
  struct mq_target plain = *target; /* as an override may hide what another one, or itself, matches */
  struct context c;
  bool names_layer = false;
  for (size_t i = 0; i < target->n_overrides; i++)
    names_layer |= target->overrides[i].layer != NULL;
  if (!names_layer) return MQ_OK;
  plain.n_overrides = 0;
  mq_status status = context_init(&c, &plain, graph, model, err);
  for (size_t i = 0; i < target->n_overrides && !status; i++) {
    bool matches = false;
    const struct mq_scheme_override *o = &target->overrides[i];
    if (o->layer) status = matches_anything(&matches, &c, o, err);
    if (o->layer && !status && !matches) status = fail_unmatched(&c, o->layer, err);
  }
  return status;
}

/* A name that matches nothing as it is may be a tensor that is no point: then its layer is meant. */
static mq_status resolve(struct mq_scheme_override *o, const struct context *c, struct mq_err *err) {
  char text[256];
  const char *wrong = mq_layer_pattern_check(text, sizeof text, o->layer);
  if (wrong) return mq_fail(err, MQ_BAD_USAGE, "layer override '%.120s': %s", o->layer, wrong);
  bool matches = false;
  mq_status status = matches_anything(&matches, c, o, err);
  if (status || matches) return status;
  if (o->bits > 8 && is_point(c, o->layer)) { /* activations alone may have so many, and it is none */
    return mq_fail(err, MQ_BAD_USAGE,
                   "bits of '%.120s': found %d, expected 2 to 8: it is a weight (activations: 2 to 8 or 16)",
                   o->layer, o->bits);
  }
  bool is_known = is_point(c, o->layer) || names_float_op(c, o->layer);
  const char *behind = is_known ? NULL : layer_behind(c, o->layer);
  if (!behind) return fail_unmatched(c, o->layer, err);
  o->layer = mq_arena_strdup(&c->graph->arena, behind);
  return o->layer ? MQ_OK : mq_fail_memory(err, "layer overrides");
}

/* ---- Conversion ------------------------------------------------------------------------------------- */

static mq_status check_bits(const struct mq_layer_override *o, struct mq_err *err) {
  if (!o->w_bits && !o->a_bits && !o->keep_float) {
    return mq_fail(err, MQ_BAD_USAGE, "layer override '%.120s' sets nothing, expected bits or keep_float",
                   o->layer);
  }
  bool is_w = o->w_bits == 0 || (o->w_bits >= 2 && o->w_bits <= 8);
  bool is_a = o->a_bits == 0 || (o->a_bits >= 2 && o->a_bits <= 8) || o->a_bits == 16;
  if (is_w && is_a) return MQ_OK;
  return mq_fail(err, MQ_BAD_USAGE, "layer override '%.120s': %d bits, expected 2 to 8%s", o->layer,
                 is_w ? o->a_bits : o->w_bits, is_w ? " or 16" : "");
}

/* One entry per thing it sets: at most three. */
static size_t convert(struct mq_scheme_override *out, const struct mq_layer_override *o) {
  size_t n = 0;
  if (o->w_bits) {
    out[n] = mq_override_blank(o->layer);
    out[n].is_for_weights = true;
    out[n++].bits = o->w_bits;
  }
  if (o->a_bits) {
    out[n] = mq_override_blank(o->layer);
    out[n].is_for_activations = true;
    out[n++].bits = o->a_bits;
  }
  if (o->keep_float) {
    out[n] = mq_override_blank(o->layer);
    out[n].is_for_weights = out[n].is_for_activations = true;
    out[n++].keep_float = 1;
  }
  return n;
}

/* w_bits and a_bits of one layer name: that one of the two has no point there is fine ("--bits x=4" of a
 * tensor), that neither has is not. */
static mq_status resolve_group(struct mq_scheme_override *group, size_t n, const struct context *c,
                               struct mq_err *err) {
  bool matches = false;
  for (size_t i = 0; i < n; i++) {
    bool one = false;
    mq_status status = matches_anything(&one, c, &group[i], err);
    if (status) return status;
    matches |= one;
  }
  for (size_t i = 0; i < n && !matches; i++) {
    mq_status status = resolve(&group[i], c, err);
    if (status) return status;
  }
  return MQ_OK;
}

mq_status mq_overrides_apply(struct mq_target *working, const struct mq_prepare_options *options,
                             struct mq_graph *graph, const struct mq_graph *model, struct mq_err *err) {
  mq_status status = check_target_overrides(working, model, graph, err);
  if (status || !options->n_overrides) return status;
  struct context c;
  size_t n = working->n_overrides;
  status = context_init(&c, working, graph, model, err);
  if (status) return status;
  struct mq_scheme_override *list = mq_arena_alloc(&graph->arena, n + 3 * options->n_overrides, sizeof *list);
  if (!list) return mq_fail_memory(err, "layer overrides");
  if (n) memcpy(list, working->overrides, n * sizeof *list);
  for (size_t i = 0; i < options->n_overrides && !status; i++) {
    status = check_bits(&options->overrides[i], err);
    size_t n_new = status ? 0 : convert(&list[n], &options->overrides[i]);
    if (!status) status = resolve_group(&list[n], n_new, &c, err);
    n += n_new;
  }
  working->overrides = list;
  working->n_overrides = n;
  return status;
}
