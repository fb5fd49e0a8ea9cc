/* The scheme of a placement: the target's, then its overrides in order. */
#include "target/override.h"
#include "target/roles.h"

static void apply_fields(struct mq_scheme *scheme, const struct mq_scheme_override *o) {
  if (o->bits > 0) scheme->bits = (uint8_t)o->bits;
  if (o->is_signed >= 0) {
    scheme->is_signed = o->is_signed;
    scheme->is_sign_adaptive = false;
    if (!scheme->is_signed) scheme->is_narrow = false;
  }
  if (o->is_narrow >= 0) scheme->is_narrow = o->is_narrow;
  if (o->is_symmetric >= 0) scheme->is_symmetric = o->is_symmetric;
  if (o->is_per_channel >= 0) scheme->is_per_channel = o->is_per_channel;
  if (o->scale_form >= 0) scheme->scale_form = (mq_scale_form)o->scale_form;
}

/* An override for both roles keeps ops float; of points it drops only those it names by tensor. */
static bool drops_point(const struct mq_scheme_override *o, const struct mq_placement *placement) {
  if (!o->is_for_weights || !o->is_for_activations) return true;
  return o->layer && mq_override_names_tensor(o, placement->value);
}

mq_status mq_target_scheme(struct mq_scheme *scheme, bool *keep_float, const struct mq_target *target,
                           const struct mq_graph *graph, const struct mq_placement *placement,
                           struct mq_err *err) {
  *scheme = placement->is_weight ? target->weights : target->activations;
  *keep_float = false;
  for (size_t i = 0; i < target->n_overrides; i++) {
    const struct mq_scheme_override *o = &target->overrides[i];
    bool matches = false;
    mq_status status = mq_override_matches(&matches, o, graph, placement, err);
    if (status) return status;
    if (!matches) continue;
    apply_fields(scheme, o);
    if (o->keep_float >= 0 && drops_point(o, placement)) *keep_float = o->keep_float;
  }
  if (placement->is_weight && mq_weight_axis(placement->op) < 0) scheme->is_per_channel = false;
  return mq_scheme_check(scheme, placement->is_weight, placement->value->name, err);
}
