/* Which gradients flow, where they lie, and who writes them first. */
#include "engine/train/training.h"

/* ---- Gradients of places ------------------------------------------------------------------------ */
static mq_status add_gradient(struct engine_compiler *c, int place, const struct engine_gradient *gradient,
                              struct mq_err *err) {
  struct engine_training *t = c->training;
  void *array = t->gradients;
  mq_status status = engine_reserve(&array, &t->capacity_gradients, t->n_gradients, sizeof *gradient, err);
  t->gradients = array;
  if (status != MQ_OK) {
    return status;
  }
  struct engine_gradient *added = &t->gradients[t->n_gradients];
  *added = *gradient;
  added->owner = c->engine->places[place].scope;
  for (int i = 0; i < ENGINE_SCOPE_COUNT; i++) {
    added->buffer[i] = -1;
  }
  c->engine->places[place].gradient = (int)t->n_gradients++;
  return MQ_OK;
}

mq_status engine_add_gradient(struct engine_compiler *c, int place, struct mq_err *err) {
  struct engine_gradient gradient = {
      .dtype = MQ_F32, .count = mq_shape_count(&engine_tensor(c, place)->shape), .is_like_value = true};
  return add_gradient(c, place, &gradient, err);
}

mq_status engine_set_gradient(struct engine_compiler *c, int place, mq_dtype dtype, int64_t count,
                              struct mq_err *err) {
  struct engine_gradient gradient = {.dtype = dtype, .count = count};
  return add_gradient(c, place, &gradient, err);
}

mq_status engine_add_reduction(struct engine_compiler *c, const struct engine_reduction *reduction,
                               struct mq_err *err) {
  struct engine_training *t = c->training;
  void *array = t->reductions;
  mq_status status = engine_reserve(&array, &t->capacity_reductions, t->n_reductions, sizeof *reduction, err);
  t->reductions = array;
  if (status == MQ_OK) {
    t->reductions[t->n_reductions] = *reduction;
    t->reductions[t->n_reductions++].after_step = (int)c->engine->n_steps - 1;
  }
  return status;
}

/* ---- The plan ----------------------------------------------------------------------------------- */
struct planner {
  struct mq_engine *engine;
  struct engine_training *training;
  struct engine_compiler *c;
  bool *is_reached; /* by gradient: something depends on the value */
  bool *is_fresh;   /* by gradient and scope: nothing was written yet */
};

static struct engine_gradient *gradient_of(const struct planner *p, int place) {
  int i = p->engine->places[place].gradient;
  return i < 0 ? NULL : &p->training->gradients[i];
}

static bool is_wanted(const struct planner *p, const struct engine_step *step, int input) {
  bool is_ignored = input < 32 && (step->function->ignores >> input & 1);
  const struct engine_gradient *g = gradient_of(p, step->inputs[input]);
  return !is_ignored && g && g->is_wanted;
}

/* A value wants a gradient when a variable is among its ancestors. */
static void find_wanted(struct planner *p) {
  struct engine_training *t = p->training;
  for (size_t i = 0; i < t->n_variables; i++) {
    struct engine_gradient *g = gradient_of(p, t->variables[i].place);
    if (g) {
      g->is_wanted = true;
    }
  }
  size_t r = 0;
  for (size_t s = 0; s < p->engine->n_steps; s++) {
    const struct engine_step *step = &p->engine->steps[s];
    bool is_any = false;
    for (int i = 0; i < step->n_inputs && step->function->backward; i++) {
      is_any = is_any || is_wanted(p, step, i);
    }
    for (int i = 0; i < step->n_outputs && is_any; i++) {
      struct engine_gradient *g = gradient_of(p, step->outputs[i]);
      if (g) {
        g->is_wanted = true;
      }
    }
    for (; r < t->n_reductions && t->reductions[r].after_step == (int)s; r++) {
      struct engine_gradient *from = gradient_of(p, t->reductions[r].from);
      struct engine_gradient *to = gradient_of(p, t->reductions[r].to);
      if (from && to) {
        to->is_wanted = from->is_wanted;
      }
    }
  }
}

static bool *reached(const struct planner *p, int place) {
  int i = p->engine->places[place].gradient;
  return i < 0 ? NULL : &p->is_reached[i];
}

/* From the loss backward: the steps between it and the variables. */
static void find_backward(struct planner *p) {
  struct engine_training *t = p->training;
  p->is_reached[p->engine->places[t->loss].gradient] = true;
  size_t r = t->n_reductions;
  for (size_t s = p->engine->n_steps; s-- > 0;) {
    struct engine_step *step = &p->engine->steps[s];
    for (; r > 0 && t->reductions[r - 1].after_step == (int)s; r--) {
      bool *to = reached(p, t->reductions[r - 1].to), *from = reached(p, t->reductions[r - 1].from);
      if (to && from && *to) {
        *from = true;
      }
    }
    bool is_below = false;
    for (int i = 0; i < step->n_outputs && step->function->backward; i++) {
      const bool *output = reached(p, step->outputs[i]);
      is_below = is_below || (output && *output);
    }
    for (int i = 0; i < step->n_inputs && is_below; i++) {
      if (is_wanted(p, step, i)) {
        step->is_backward = true;
        *reached(p, step->inputs[i]) = true;
      }
    }
  }
}

/* ---- Phases ------------------------------------------------------------------------------------- */
static mq_status cut_phases(struct planner *p, struct mq_err *err) {
  struct engine_training *t = p->training;
  for (size_t s = 0; s < p->engine->n_steps; s++) {
    engine_scope scope = p->engine->steps[s].scope;
    if (t->n_phases > 0 && t->phases[t->n_phases - 1].scope == scope) {
      t->phases[t->n_phases - 1].end_step = (int)s + 1;
      continue;
    }
    void *array = t->phases;
    mq_status status = engine_reserve(&array, &t->capacity_phases, t->n_phases, sizeof *t->phases, err);
    t->phases = array;
    if (status != MQ_OK) {
      return status;
    }
    t->phases[t->n_phases++] =
        (struct engine_phase){.scope = scope, .first_step = (int)s, .end_step = (int)s + 1};
  }
  return MQ_OK;
}

/* ---- Shares of gradients ------------------------------------------------------------------------ */
static void extend(struct engine_buffer *buffer, int time) {
  buffer->first_step = time < buffer->first_step ? time : buffer->first_step;
  buffer->last_step = time > buffer->last_step ? time : buffer->last_step;
}

/* The share's buffer exists and lives at `time`. */
static mq_status touch_share(struct planner *p, struct engine_gradient *g, engine_scope scope, int time,
                             struct mq_err *err) {
  struct mq_engine *engine = p->engine;
  if (g->buffer[scope] >= 0) {
    extend(&engine->buffers[g->buffer[scope]], time);
    return MQ_OK;
  }
  void *array = engine->buffers;
  mq_status status =
      engine_reserve(&array, &engine->capacity_buffers, engine->n_buffers, sizeof *engine->buffers, err);
  engine->buffers = array;
  if (status != MQ_OK) {
    return status;
  }
  g->buffer[scope] = (int)engine->n_buffers;
  engine->buffers[engine->n_buffers++] =
      (struct engine_buffer){.bytes = (size_t)g->count * mq_dtype_get(g->dtype)->bytes,
                             .first_step = time,
                             .last_step = time,
                             .scope = scope};
  return MQ_OK;
}

static mq_status add_zeroing(struct planner *p, int step, int gradient, engine_scope scope,
                             struct mq_err *err) {
  struct engine_training *t = p->training;
  void *array = t->zeroings;
  mq_status status = engine_reserve(&array, &t->capacity_zeroings, t->n_zeroings, sizeof *t->zeroings, err);
  t->zeroings = array;
  if (status == MQ_OK) {
    t->zeroings[t->n_zeroings++] =
        (struct engine_zeroing){.step = step, .gradient = gradient, .scope = scope};
  }
  return status;
}

/* Does a write to the place's gradient write all of the buffer's? */
static bool covers(const struct planner *p, int place, const struct engine_gradient *g) {
  const struct mq_tensor *tensor = &p->engine->places[place].tensor;
  return !g->is_like_value || (mq_shape_count(&tensor->shape) == g->count && engine_is_dense(tensor));
}

static bool *fresh(const struct planner *p, int gradient, engine_scope scope) {
  return &p->is_fresh[gradient * ENGINE_SCOPE_COUNT + (int)scope];
}

/* Input i of a step going backward: the first writer writes, later ones add. */
static mq_status plan_input(struct planner *p, struct engine_step *step, int index, int i,
                            struct mq_err *err) {
  int place = step->inputs[i], gradient = p->engine->places[place].gradient;
  struct engine_gradient *g = &p->training->gradients[gradient];
  bool *is_fresh = fresh(p, gradient, step->scope);
  mq_status status = touch_share(p, g, step->scope, 2 * (int)p->engine->n_steps - 1 - index, err);
  step->adds[i] = !*is_fresh;
  if (status == MQ_OK && *is_fresh && !covers(p, place, g)) {
    step->adds[i] = true;
    status = add_zeroing(p, index, gradient, step->scope, err);
  }
  *is_fresh = false;
  return status;
}

/* The share a place's reader going backward looks at: that of the reduction's result for reduced places,
 * unless the result is a constant to the gradient (running statistics). */
static int read_gradient(const struct planner *p, int place) {
  int gradient = p->engine->places[place].gradient;
  for (size_t r = 0; r < p->training->n_reductions; r++) {
    int reduced = p->engine->places[p->training->reductions[r].to].gradient;
    if (p->training->reductions[r].from == place && reduced >= 0) {
      gradient = reduced;
    }
  }
  return gradient;
}

static mq_status plan_step(struct planner *p, int index, struct mq_err *err) {
  struct engine_step *step = &p->engine->steps[index];
  int time = 2 * (int)p->engine->n_steps - 1 - index;
  void *adds;
  mq_status status = engine_alloc(&adds, p->c, (size_t)step->n_inputs + 1, sizeof(bool), err);
  step->adds = adds;
  for (int i = 0; i < step->n_outputs && status == MQ_OK; i++) {
    int gradient = read_gradient(p, step->outputs[i]);
    if (gradient >= 0 && p->is_reached[gradient]) {
      struct engine_gradient *g = &p->training->gradients[gradient];
      status = touch_share(p, g, g->owner, time, err);
    }
  }
  for (int i = 0; i < step->n_inputs && status == MQ_OK; i++) {
    if (is_wanted(p, step, i)) {
      status = plan_input(p, step, index, i, err);
    }
    int buffer = p->engine->places[step->inputs[i]].buffer;
    if (buffer >= 0 && step->function->keeps_inputs) {
      extend(&p->engine->buffers[buffer], time);
    }
  }
  for (int i = 0; i < step->n_outputs && status == MQ_OK; i++) {
    int buffer = p->engine->places[step->outputs[i]].buffer;
    if (buffer >= 0 && step->function->keeps_outputs) {
      extend(&p->engine->buffers[buffer], time);
    }
  }
  return status;
}

/* After the phase: what its frames wrote to gradients of wider scopes is gathered there. */
static mq_status plan_gatherings(struct planner *p, struct engine_phase *phase, struct mq_err *err) {
  struct engine_training *t = p->training;
  int end = 2 * (int)p->engine->n_steps - 1 - phase->first_step;
  void *block;
  mq_status status = engine_alloc(&block, p->c, t->n_gradients, sizeof *phase->gatherings, err);
  phase->gatherings = block;
  for (size_t i = 0; i < t->n_gradients && status == MQ_OK; i++) {
    struct engine_gradient *g = &t->gradients[i];
    if (g->owner <= phase->scope || *fresh(p, (int)i, phase->scope)) {
      continue;
    }
    phase->gatherings[phase->n_gatherings++] = (struct engine_gathering){
        .gradient = (int)i, .from = phase->scope, .adds = !*fresh(p, (int)i, g->owner)};
    *fresh(p, (int)i, g->owner) = false;
    *fresh(p, (int)i, phase->scope) = true;
    status = touch_share(p, g, phase->scope, end, err);
    if (status == MQ_OK) {
      status = touch_share(p, g, g->owner, end, err);
    }
  }
  return status;
}

static mq_status plan_phases(struct planner *p, struct mq_err *err) {
  struct engine_training *t = p->training;
  mq_status status = MQ_OK;
  for (size_t i = t->n_phases; i-- > 0 && status == MQ_OK;) {
    struct engine_phase *phase = &t->phases[i];
    for (int s = phase->end_step; s-- > phase->first_step && status == MQ_OK;) {
      status = p->engine->steps[s].is_backward ? plan_step(p, s, err) : MQ_OK;
    }
    if (status == MQ_OK) {
      status = plan_gatherings(p, phase, err);
    }
  }
  return status;
}

/* ---- Lifetimes ---------------------------------------------------------------------------------- */
static int phase_at(const struct engine_training *t, int step) {
  for (size_t i = 0; i < t->n_phases; i++) {
    if (step < t->phases[i].end_step) {
      return (int)i;
    }
  }
  return (int)t->n_phases - 1;
}

/* A time rounded to the beginning or the end of its phase. */
static int round_time(const struct planner *p, int time, bool is_end) {
  int n = (int)p->engine->n_steps, step = time < n ? time : 2 * n - 1 - time;
  if (time < 0 || time >= 2 * n) {
    return time;
  }
  const struct engine_phase *phase = &p->training->phases[phase_at(p->training, step)];
  bool takes_last = is_end == (time < n);
  int edge = takes_last ? phase->end_step - 1 : phase->first_step;
  return time < n ? edge : 2 * n - 1 - edge;
}

/* What a quantizer's own update looks at, after everything. */
static void keep_learners(struct planner *p) {
  const struct engine_training *t = p->training;
  struct mq_engine *engine = p->engine;
  for (size_t i = 0; i < t->n_learners; i++) {
    const struct engine_gradient *sums = gradient_of(p, t->learners[i].form);
    const int places[2] = {t->learners[i].form, t->learners[i].statistics};
    for (int k = 0; k < 2; k++) {
      if (places[k] >= 0 && engine->places[places[k]].buffer >= 0) {
        extend(&engine->buffers[engine->places[places[k]].buffer], 2 * (int)engine->n_steps);
      }
    }
    if (sums && sums->buffer[sums->owner] >= 0) {
      extend(&engine->buffers[sums->buffer[sums->owner]], 2 * (int)engine->n_steps);
    }
  }
}

/* Reductions run when a phase has ended; the batch's steps of a phase run side by side; variables' gradients
 * live until the optimiser has seen them. */
static void round_lifetimes(struct planner *p) {
  struct engine_training *t = p->training;
  struct mq_engine *engine = p->engine;
  for (size_t r = 0; r < t->n_reductions; r++) {
    int end = round_time(p, t->reductions[r].after_step, true);
    const int places[2] = {t->reductions[r].from, t->reductions[r].to};
    for (int i = 0; i < 2; i++) {
      if (engine->places[places[i]].buffer >= 0) {
        extend(&engine->buffers[engine->places[places[i]].buffer], end);
      }
    }
  }
  for (size_t i = 0; i < t->n_variables; i++) {
    const struct engine_gradient *g = gradient_of(p, t->variables[i].place);
    if (g && g->buffer[g->owner] >= 0) {
      extend(&engine->buffers[g->buffer[g->owner]], 2 * (int)engine->n_steps);
    }
  }
  keep_learners(p);
  for (size_t i = 0; i < engine->n_buffers; i++) {
    struct engine_buffer *buffer = &engine->buffers[i];
    if (buffer->scope == ENGINE_BATCH) {
      buffer->first_step = round_time(p, buffer->first_step, false);
      buffer->last_step = round_time(p, buffer->last_step, true);
    }
  }
}

mq_status engine_plan_training(struct engine_compiler *c, struct mq_err *err) {
  struct planner p = {.engine = c->engine, .training = c->training, .c = c};
  p.is_reached = mq_arena_alloc(&c->arena, c->training->n_gradients, sizeof(bool));
  p.is_fresh = mq_arena_alloc(&c->arena, c->training->n_gradients, ENGINE_SCOPE_COUNT * sizeof(bool));
  if (!p.is_reached || !p.is_fresh) {
    return mq_fail_memory(err, "training plan");
  }
  for (size_t i = 0; i < c->training->n_gradients * ENGINE_SCOPE_COUNT; i++) {
    p.is_fresh[i] = true;
  }
  find_wanted(&p);
  find_backward(&p);
  mq_status status = cut_phases(&p, err);
  if (status == MQ_OK) {
    status = engine_plan_lanes(c, err);
  }
  if (status == MQ_OK) {
    status = plan_phases(&p, err);
  }
  if (status == MQ_OK) {
    round_lifetimes(&p);
  }
  return status;
}
