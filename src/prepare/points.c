#include "prepare/points.h"

#include "target/override.h"
#include "target/roles.h"

/* A placement with everything decided. */
struct plan {
  const struct mq_placement *placement;
  struct mq_scheme scheme;
  int channel_axis;
  int64_t n_channels;
  bool is_at_end;
  struct mq_node *fake_quantize; /* once inserted */
  size_t point;
};

static bool same_scheme(const struct mq_scheme *a, const struct mq_scheme *b) {
  return a->bits == b->bits && a->is_signed == b->is_signed && a->is_narrow == b->is_narrow &&
         a->is_symmetric == b->is_symmetric && a->is_per_channel == b->is_per_channel &&
         a->is_sign_adaptive == b->is_sign_adaptive && a->scale_form == b->scale_form;
}

/* Tensors that a concat joins share their scale, so they need one scheme: the first one's, with the bits and
 * the sign that suit all of them. */
static void unify_shares(struct plan *plans, size_t n) {
  for (size_t i = 0; i < n; i++) {
    int share = plans[i].placement->share;
    bool is_first = share >= 0;
    for (size_t k = 0; k < i && is_first; k++)
      is_first = plans[k].placement->share != share;
    if (!is_first) continue;
    struct mq_scheme *scheme = &plans[i].scheme;
    for (size_t k = i + 1; k < n; k++) {
      if (plans[k].placement->share != share) continue;
      if (plans[k].scheme.bits > scheme->bits) scheme->bits = plans[k].scheme.bits;
      if (plans[k].scheme.is_signed && !scheme->is_signed) {
        scheme->is_signed = true;
        scheme->is_narrow = plans[k].scheme.is_narrow;
      }
    }
    for (size_t k = i + 1; k < n; k++) {
      if (plans[k].placement->share == share) plans[k].scheme = *scheme;
    }
  }
}

/* Does the target give the first or last layer's points bits of their own? */
static mq_status find_end(bool *is_at_end, const struct mq_target *target, const struct mq_graph *graph,
                          const struct mq_placement *placement, struct mq_err *err) {
  *is_at_end = false;
  for (size_t i = 0; i < target->n_overrides && !*is_at_end; i++) {
    const struct mq_scheme_override *o = &target->overrides[i];
    if (!(o->is_first_op || o->is_last_op) || o->bits <= 0) continue;
    mq_status status = mq_override_matches(is_at_end, o, graph, placement, err);
    if (status) return status;
  }
  return MQ_OK;
}

static mq_status make_plans(struct plan *plans, size_t *n_plans, const struct mq_target *target,
                            const struct mq_graph *graph, const struct mq_placement *placements, size_t n,
                            struct mq_err *err) {
  *n_plans = 0;
  for (size_t i = 0; i < n; i++) {
    struct plan plan = {.placement = &placements[i], .channel_axis = -1, .n_channels = 1};
    bool keep_float = false;
    mq_status status = mq_target_scheme(&plan.scheme, &keep_float, target, graph, &placements[i], err);
    if (status) return status;
    if (keep_float) continue;
    status = find_end(&plan.is_at_end, target, graph, &placements[i], err);
    if (status) return status;
    if (plan.scheme.is_per_channel) {
      plan.channel_axis = mq_weight_axis(placements[i].op);
      plan.n_channels = placements[i].value->constant->shape.dim[plan.channel_axis];
    }
    plans[(*n_plans)++] = plan;
  }
  unify_shares(plans, *n_plans);
  return MQ_OK;
}

/* ---- Insertion -------------------------------------------------------------------------------------- */

static void add_point(struct mq_prepared *prepared, struct plan *plan, const char *tensor) {
  const struct mq_placement *placement = plan->placement;
  plan->point = prepared->n_points++;
  prepared->points[plan->point] = (struct mq_point){
      .tensor = tensor,
      .reason = placement->reason,
      .kind = placement->is_weight ? MQ_POINT_WEIGHT : MQ_POINT_ACTIVATION,
      .scheme = plan->scheme,
      .n_channels = plan->n_channels,
      .channel_axis = plan->channel_axis,
      .share = placement->share,
      .is_at_end = plan->is_at_end,
  };
}

/* value -> FakeQuantize -> "<value>_fq"; nobody reads the output yet. */
static mq_status add_fake_quantize(struct mq_node **node, struct mq_graph *graph, struct mq_value *value,
                                   size_t point, struct mq_err *err) {
  struct mq_value *out = NULL;
  const char *name = mq_arena_printf(&graph->arena, "%s_fq", value->name);
  *node = NULL;
  if (!name) return mq_fail_memory(err, "a name");
  mq_status status = mq_graph_add_value(&out, graph, name, MQ_F32, &value->shape, err);
  if (!status) status = mq_graph_add_node(node, graph, MQ_OP_FakeQuantize, name, &value, 1, &out, 1, err);
  return status ? status : mq_node_set_int(graph, *node, "point", (int64_t)point, err);
}

static mq_status redirect(struct mq_graph *graph, struct mq_node *consumer, struct mq_value *from,
                          struct mq_value *to, struct mq_err *err) {
  for (int i = 0; i < consumer->n_inputs; i++) {
    mq_status status = consumer->inputs[i] == from ? mq_graph_set_input(graph, consumer, i, to, err) : MQ_OK;
    if (status) return status;
  }
  return MQ_OK;
}

static mq_status insert_activation(struct mq_prepared *prepared, struct plan *plan, struct mq_err *err) {
  struct mq_graph *graph = prepared->graph;
  struct mq_value *value = plan->placement->value;
  bool is_named_for_output = value->is_output && !value->is_input;
  add_point(prepared, plan, value->name);
  mq_status status = add_fake_quantize(&plan->fake_quantize, graph, value, plan->point, err);
  if (status) return status;
  struct mq_value *out = plan->fake_quantize->outputs[0];
  for (size_t i = 0; i < plan->placement->n_consumers && !status; i++) {
    status = redirect(graph, plan->placement->consumers[i], value, out, err);
  }
  if (!status && !plan->placement->consumers) {
    status = mq_graph_replace_uses(graph, value, out, plan->fake_quantize, err);
    /* the user reads outputs by name */
    if (!status && is_named_for_output) mq_graph_swap_names(graph, value, out);
  }
  return status;
}

/* A constant's point may serve another op that reads it with the same scheme along the same axis. */
static struct plan *find_twin(struct plan *plans, size_t i) {
  for (size_t k = 0; k < i; k++) {
    const struct plan *other = &plans[k];
    if (other->placement->is_weight && other->placement->value == plans[i].placement->value &&
        same_scheme(&other->scheme, &plans[i].scheme) && other->channel_axis == plans[i].channel_axis &&
        other->is_at_end == plans[i].is_at_end) {
      return &plans[k];
    }
  }
  return NULL;
}

static bool is_taken(const struct plan *plans, size_t i) {
  for (size_t k = 0; k < i; k++) {
    if (plans[k].placement->value == plans[i].placement->value) return true;
  }
  return false;
}

static mq_status insert_weight(struct mq_prepared *prepared, struct plan *plans, size_t i,
                               struct mq_rename_log *log, struct mq_err *err) {
  struct mq_graph *graph = prepared->graph;
  struct plan *plan = &plans[i], *twin = find_twin(plans, i);
  struct mq_value *value = plan->placement->value, *own = value;
  mq_status status = MQ_OK;
  if (twin) {
    plan->point = twin->point;
    plan->fake_quantize = twin->fake_quantize;
  } else {
    if (is_taken(plans, i)) {
      status = mq_graph_add_constant(&own, graph, value->name, value->constant, err);
      if (!status) status = mq_rename_log_add(log, value->name, own->name, err);
    }
    if (status) return status;
    add_point(prepared, plan, own->name);
    status = add_fake_quantize(&plan->fake_quantize, graph, own, plan->point, err);
  }
  if (status) return status;
  return mq_graph_set_input(graph, plan->placement->op, 1, plan->fake_quantize->outputs[0], err);
}

mq_status mq_points_insert(struct mq_prepared *prepared, const struct mq_target *target,
                           const struct mq_placement *placements, size_t n_placements,
                           struct mq_rename_log *log, struct mq_err *err) {
  size_t n = 0;
  struct plan *plans = mq_alloc(n_placements + 1, sizeof *plans);
  prepared->points = mq_alloc(n_placements + 1, sizeof *prepared->points);
  mq_status status = plans && prepared->points ? MQ_OK : mq_fail_memory(err, "points of a graph");
  if (!status) status = make_plans(plans, &n, target, prepared->graph, placements, n_placements, err);
  for (size_t i = 0; i < n && !status; i++) {
    status = plans[i].placement->is_weight ? insert_weight(prepared, plans, i, log, err)
                                           : insert_activation(prepared, &plans[i], err);
  }
  mq_free(plans);
  return status;
}
