/* The scheme of a placement: the target's, then its overrides in order. */
#include "target/override.h"
#include "target/roles.h"

static void apply_fields(struct mq_scheme *scheme, const struct mq_scheme_override *o) {
  if (o->bits > 0) scheme->bits = (uint8_t)o->bits;
  if (o->max_bits > 0 && scheme->bits > o->max_bits) scheme->bits = (uint8_t)o->max_bits;
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

/* Overrides that are fine one by one may come to a scheme that is none. */
static mq_status check_sum(const struct mq_scheme *scheme, const char *tensor, const struct mq_target *target,
                           struct mq_err *err) {
  const char *field = scheme->is_sign_adaptive             ? "signed: adaptive"
                      : scheme->scale_form == MQ_SCALE_POT ? "scale: pot"
                                                           : NULL;
  if (field && !scheme->is_symmetric) {
    return mq_fail(
        err, MQ_BAD_INPUT,
        "%s: the overrides give tensor '%.200s' %s with symmetric: false, expected symmetric: true",
        target->file, tensor, field);
  }
  return MQ_OK;
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
  mq_status status = mq_scheme_check(scheme, placement->is_weight, placement->value->name, err);
  return status ? status : check_sum(scheme, placement->value->name, target, err);
}
