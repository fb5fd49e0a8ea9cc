/* Steps of the batch have one frame, so that slices give them nothing to share out. What shares no memory
 * runs side by side instead: the steps of a phase fall into lanes (about one per layer's weights), each of
 * which keeps its order. The largest lanes come first. */
#include <stdlib.h>

#include "engine/train/training.h"

struct lanes {
  const struct mq_engine *engine;
  const struct engine_phase *phase;
  int *leader;   /* by step of the phase: another one of its lane, or itself */
  int *buffer;   /* by buffer: a step that writes it; -1: none */
  int *gradient; /* by gradient: a step that answers it */
};

static int find(const struct lanes *l, int step) {
  while (l->leader[step] != step) {
    step = l->leader[step];
  }
  return step;
}

/* The earlier of the two leads. */
static void join(const struct lanes *l, int a, int b) {
  a = find(l, a);
  b = find(l, b);
  l->leader[a > b ? a : b] = a > b ? b : a;
}

static void join_by(const struct lanes *l, int *known, int step) {
  if (*known >= 0) {
    join(l, *known, step);
  } else {
    *known = step;
  }
}

static void join_outputs(const struct lanes *l, int at, const struct engine_step *step) {
  for (int i = 0; i < step->n_outputs; i++) {
    int buffer = l->engine->places[step->outputs[i]].buffer;
    if (buffer >= 0) {
      join_by(l, &l->buffer[buffer], at);
    }
  }
}

/* States (running statistics) have no gradient and are written by whoever reads them. */
static bool is_state(const struct engine_place *place) {
  return place->is_variable && place->gradient < 0;
}

static void join_inputs(const struct lanes *l, int at, const struct engine_step *step) {
  const struct engine_place *places = l->engine->places;
  for (int i = 0; i < step->n_inputs; i++) {
    const struct engine_place *place = &places[step->inputs[i]];
    if (place->buffer >= 0 && l->buffer[place->buffer] >= 0) {
      join(l, l->buffer[place->buffer], at);
    }
    if (place->gradient >= 0) {
      join_by(l, &l->gradient[place->gradient], at);
    }
    for (int s = 0; s < at && is_state(place); s++) {
      const struct engine_step *other = &l->engine->steps[l->phase->first_step + s];
      for (int k = 0; k < other->n_inputs; k++) {
        if (places[other->inputs[k]].tensor.data == place->tensor.data) {
          join(l, s, at);
        }
      }
    }
  }
}

/* ---- Order -------------------------------------------------------------------------------------- */
static double cost_of(const struct mq_engine *engine, const struct engine_step *step) {
  double bytes = 0;
  for (int i = 0; i < step->n_inputs + step->n_outputs; i++) {
    const struct mq_tensor *t =
        &engine->places[i < step->n_inputs ? step->inputs[i] : step->outputs[i - step->n_inputs]].tensor;
    bytes += (double)mq_shape_count(&t->shape) * mq_dtype_get(t->dtype)->bytes;
  }
  return bytes;
}

static int by_cost(const void *a, const void *b) {
  const struct engine_lane *x = a, *y = b;
  if (x->cost != y->cost) {
    return x->cost < y->cost ? 1 : -1;
  }
  return x->steps[0] - y->steps[0];
}

static void list_lanes(struct engine_phase *phase, const struct lanes *l, int *steps) {
  int n = phase->end_step - phase->first_step;
  for (int first = 0; first < n; first++) {
    if (l->leader[first] != first) {
      continue;
    }
    struct engine_lane *lane = &phase->lanes[phase->n_lanes++];
    *lane = (struct engine_lane){.steps = steps};
    for (int s = first; s < n; s++) {
      if (find(l, s) == first) {
        steps[lane->n_steps++] = phase->first_step + s;
        lane->cost += cost_of(l->engine, &l->engine->steps[phase->first_step + s]);
      }
    }
    steps += lane->n_steps;
  }
  qsort(phase->lanes, phase->n_lanes, sizeof *phase->lanes, by_cost);
}

static mq_status plan_phase(struct engine_phase *phase, struct lanes *l, struct engine_compiler *c,
                            struct mq_err *err) {
  int n = phase->end_step - phase->first_step;
  void *lanes, *steps = NULL;
  mq_status status = engine_alloc(&lanes, c, (size_t)n, sizeof *phase->lanes, err);
  if (status == MQ_OK) {
    status = engine_alloc(&steps, c, (size_t)n, sizeof(int), err);
  }
  if (status != MQ_OK) {
    return status;
  }
  phase->lanes = lanes;
  l->phase = phase;
  for (size_t i = 0; i < l->engine->n_buffers; i++) {
    l->buffer[i] = -1;
  }
  for (size_t i = 0; i < c->training->n_gradients; i++) {
    l->gradient[i] = -1;
  }
  for (int s = 0; s < n; s++) {
    l->leader[s] = s;
  }
  for (int s = 0; s < n; s++) {
    join_outputs(l, s, &l->engine->steps[phase->first_step + s]);
  }
  for (int s = 0; s < n; s++) {
    join_inputs(l, s, &l->engine->steps[phase->first_step + s]);
  }
  list_lanes(phase, l, steps);
  return MQ_OK;
}

mq_status engine_plan_lanes(struct engine_compiler *c, struct mq_err *err) {
  struct mq_engine *engine = c->engine;
  struct engine_training *t = c->training;
  struct lanes l = {.engine = engine};
  l.leader = mq_arena_alloc(&c->arena, engine->n_steps + 1, sizeof(int));
  l.buffer = mq_arena_alloc(&c->arena, engine->n_buffers + 1, sizeof(int));
  l.gradient = mq_arena_alloc(&c->arena, t->n_gradients + 1, sizeof(int));
  if (!l.leader || !l.buffer || !l.gradient) {
    return mq_fail_memory(err, "training plan");
  }
  mq_status status = MQ_OK;
  for (size_t i = 0; i < t->n_phases && status == MQ_OK; i++) {
    if (t->phases[i].scope == ENGINE_BATCH) {
      status = plan_phase(&t->phases[i], &l, c, err);
    }
  }
  return status;
}
