/* Which steps before it a quantizer's step takes over, while the graph becomes steps: they are dropped, and
 * op_codes.c makes their results part by part. */
#include "engine/train/codes.h"

static const struct engine_step *last_step(const struct engine_compiler *c) {
  return c->engine->n_steps > 0 ? &c->engine->steps[c->engine->n_steps - 1] : NULL;
}

/* The node that makes the value, whose step was emitted last and whose result at `place` has one reader. */
static const struct mq_node *last_before(const struct engine_compiler *c, const struct mq_value *value,
                                         int place) {
  const struct engine_step *last = last_step(c);
  bool is_only = value->producer && value->n_uses == 1 && !value->is_output;
  return is_only && last && last->scope == ENGINE_SLICE && last->n_outputs == 1 && last->outputs[0] == place
             ? value->producer
             : NULL;
}

/* Its result is not stored. */
static int drop_last(struct engine_compiler *c) {
  const struct engine_step *last = &c->engine->steps[--c->engine->n_steps];
  c->engine->buffers[c->engine->places[last->outputs[0]].buffer].bytes = 0;
  return last->inputs[0];
}

/* Does nobody else add to the gradient of what is read now? Then it may take the place of the codes'. */
static bool is_only_reader(const struct engine_compiler *c, const struct mq_value *value, int x) {
  const struct engine_place *places = c->engine->places;
  size_t n_sharing = 0; /* views of one value share its gradient */
  for (size_t i = 0; i < c->engine->n_places; i++) {
    n_sharing += places[i].gradient == places[x].gradient;
  }
  return value->producer && value->n_uses == 1 && !value->is_output && n_sharing == 1;
}

/* The normalisation's sums go backward over that same memory. */
static void share_gradient_of_sums(struct engine_compiler *c, int normalised) {
  for (size_t i = c->engine->n_steps; i-- > 0;) {
    struct engine_step *step = &c->engine->steps[i];
    if (step->n_outputs == 2 && step->outputs[1] == normalised && step->function == &engine_sums_function) {
      step->function = &engine_sums_in_place_function;
      return;
    }
  }
}

/* Of a value at place x, which is to be read next: value and x become what is read instead. */
static mq_status take_clip(const struct mq_value **value, int *x, struct engine_quantizer *s,
                           struct engine_compiler *c, struct mq_err *err) {
  const struct mq_node *before = last_before(c, *value, *x);
  if (!before || (before->op != MQ_OP_Relu && before->op != MQ_OP_Clip) ||
      last_step(c)->function != engine_op_get(before->op)->function) {
    return MQ_OK;
  }
  s->has_clip = true;
  *x = drop_last(c);
  *value = before->inputs[0];
  return mq_node_get_clip(&s->lo, &s->hi, before, err);
}

/* Floats that were just made of codes for this sum alone: the codes are read instead. */
static bool take_codes(struct engine_quantizer *s, struct engine_compiler *c, const struct mq_node *add,
                       const int operands[2], const struct mq_value **value, int *x) {
  const struct engine_step *last = last_step(c);
  for (int i = 0; i < 2; i++) {
    if (last->function == &engine_decode_function && last->outputs[0] == operands[i]) {
      s->other = last->inputs[0];
      s->other_grid = last->inputs[1];
      drop_last(c);
      engine_bind(c, add->inputs[i], s->other);
      *x = operands[1 - i];
      *value = add->inputs[1 - i];
      return true;
    }
  }
  return false;
}

static void take_sum(const struct mq_value **value, int *x, struct engine_quantizer *s,
                     struct engine_compiler *c) {
  const struct mq_node *before = last_before(c, *value, *x);
  if (!before || last_step(c)->function != &engine_add_function || before->inputs[0] == before->inputs[1]) {
    return;
  }
  const int operands[2] = {last_step(c)->inputs[0], last_step(c)->inputs[1]};
  drop_last(c);
  if (take_codes(s, c, before, operands, value, x)) {
    return;
  }
  int own = 0; /* the operand to go on with: what was made last, or else what nobody else reads */
  for (int i = 0; i < 2; i++) {
    own = is_only_reader(c, before->inputs[i], operands[i]) ? i : own;
  }
  for (int i = 0; i < 2; i++) {
    own = last_before(c, before->inputs[i], operands[i]) ? i : own;
  }
  *x = operands[own];
  *value = before->inputs[own];
  s->other = operands[1 - own];
}

static void take_normalisation(const struct mq_value **value, int *x, struct engine_quantizer *s,
                               struct engine_compiler *c) {
  const struct mq_node *before = last_before(c, *value, *x);
  if (!before || last_step(c)->function != &engine_normalise_function) {
    return;
  }
  s->normalised = *x;
  s->gain = last_step(c)->inputs[1];
  s->n_channels = engine_tensor(c, *x)->shape.dim[1];
  *x = drop_last(c);
  *value = before->inputs[0];
}

mq_status engine_take_over(int *x, struct engine_quantizer *s, struct engine_compiler *c,
                           const struct mq_node *node, struct mq_err *err) {
  const struct mq_value *value = node->inputs[0];
  mq_status status = take_clip(&value, x, s, c, err);
  if (status != MQ_OK) {
    return status;
  }
  take_sum(&value, x, s, c);
  take_normalisation(&value, x, s, c);
  s->is_in_place = value != node->inputs[0] && is_only_reader(c, value, *x);
  if (s->is_in_place && s->normalised >= 0) {
    share_gradient_of_sums(c, s->normalised);
  }
  return MQ_OK;
}
