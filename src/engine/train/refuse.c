/* What cannot be trained through: steps without a backward pass between a variable and the loss. A value that
 * no variable has a share in (a mask, indices, the input itself) may be computed in any way. */
#include "engine/train/training.h"

struct refusal {
  const struct mq_engine *engine;
  const struct engine_training *training;
  bool *is_learned; /* by buffer: a variable is among the ancestors */
  bool *is_reached; /* by buffer: the loss depends on it */
};

static bool is_read(const struct engine_step *step, int input) {
  return input >= 32 || !(step->function->ignores >> input & 1);
}

static bool depends_on_variable(const struct refusal *r, int place) {
  const struct engine_place *p = &r->engine->places[place];
  return p->buffer >= 0 ? r->is_learned[p->buffer] : p->is_variable && p->gradient >= 0;
}

static bool has_learned_input(const struct refusal *r, const struct engine_step *step) {
  bool is_any = false;
  for (int i = 0; i < step->n_inputs; i++) {
    is_any = is_any || (is_read(step, i) && depends_on_variable(r, step->inputs[i]));
  }
  return is_any;
}

static void mark(bool *marks, const struct refusal *r, int place) {
  if (r->engine->places[place].buffer >= 0) {
    marks[r->engine->places[place].buffer] = true;
  }
}

static void find_learned(struct refusal *r) {
  size_t n = 0;
  for (size_t s = 0; s < r->engine->n_steps; s++) {
    const struct engine_step *step = &r->engine->steps[s];
    bool is_learned = has_learned_input(r, step);
    for (int i = 0; i < step->n_outputs && is_learned; i++) {
      mark(r->is_learned, r, step->outputs[i]);
    }
    for (; n < r->training->n_reductions && r->training->reductions[n].after_step == (int)s; n++) {
      if (depends_on_variable(r, r->training->reductions[n].from)) {
        mark(r->is_learned, r, r->training->reductions[n].to);
      }
    }
  }
}

static bool is_output_reached(const struct refusal *r, const struct engine_step *step) {
  bool is_any = false;
  for (int i = 0; i < step->n_outputs; i++) {
    int buffer = r->engine->places[step->outputs[i]].buffer;
    is_any = is_any || (buffer >= 0 && r->is_reached[buffer]);
  }
  return is_any;
}

/* A step with a backward pass passes gradients to the inputs that have one; what it does about others (codes
 * of a value that it reads too) is its own affair. */
static bool passes_to(const struct refusal *r, const struct engine_step *step, int input) {
  return is_read(step, input) && r->engine->places[step->inputs[input]].gradient >= 0;
}

/* From the loss on; stops at the first step that stands in the way. */
static const struct engine_step *find_obstacle(struct refusal *r) {
  const struct engine_training *t = r->training;
  size_t n = t->n_reductions;
  mark(r->is_reached, r, t->loss);
  for (size_t s = r->engine->n_steps; s-- > 0;) {
    const struct engine_step *step = &r->engine->steps[s];
    for (; n > 0 && t->reductions[n - 1].after_step == (int)s; n--) {
      if (r->is_reached[r->engine->places[t->reductions[n - 1].to].buffer]) {
        mark(r->is_reached, r, t->reductions[n - 1].from);
      }
    }
    if (!is_output_reached(r, step)) {
      continue;
    }
    if (!step->function->backward && has_learned_input(r, step)) {
      return step;
    }
    for (int i = 0; i < step->n_inputs; i++) {
      if (passes_to(r, step, i)) {
        mark(r->is_reached, r, step->inputs[i]);
      }
    }
  }
  return NULL;
}

mq_status engine_check_trainable(struct engine_compiler *c, struct mq_err *err) {
  size_t n = c->engine->n_buffers + 1;
  struct refusal r = {.engine = c->engine,
                      .training = c->training,
                      .is_learned = mq_arena_alloc(&c->arena, n, sizeof(bool)),
                      .is_reached = mq_arena_alloc(&c->arena, n, sizeof(bool))};
  if (!r.is_learned || !r.is_reached) {
    return mq_fail_memory(err, "training plan");
  }
  find_learned(&r);
  const struct engine_step *obstacle = find_obstacle(&r);
  return obstacle ? engine_fail_unsupported(obstacle->node, err,
                                            "has no gradient, and parameters before it are to learn")
                  : MQ_OK;
}
