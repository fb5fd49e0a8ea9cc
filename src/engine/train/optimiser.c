#include "engine/train/optimiser.h"

#include <math.h>

#define CHUNK 65536 /* floats that a task moves */
#define PIECE 4096  /* looked at while they are in the nearest cache */

/* ---- Creation ----------------------------------------------------------------------------------- */
static double or_weights(double decay, const struct mq_trainer_options *o) {
  return isnan(decay) ? o->weight_decay : decay;
}

static double decay_of(const struct engine_variable *v, const struct mq_quantizer_parameter *parameter,
                       const struct mq_trainer_options *o) {
  switch (v->kind) {
    case ENGINE_WEIGHT:
      return o->weight_decay;
    case ENGINE_BIAS:
      return or_weights(o->bias_decay, o);
    case ENGINE_BATCH_NORM:
      return or_weights(o->bn_decay, o);
    case ENGINE_QUANTIZER:
      if (parameter->is_scale && !isnan(o->scale_decay)) {
        return o->scale_decay;
      }
      return parameter->has_decay ? or_weights(o->quantizer_decay, o) : 0;
    case ENGINE_STATE:
      break;
  }
  return 0;
}

static mq_status add_state(struct engine_optimiser *optimiser, float **values, const char *name,
                           const char *part, const char *moment, size_t count, struct mq_err *err) {
  struct mq_trainer_state *state = &optimiser->states[optimiser->n_states++];
  *values = mq_arena_alloc(&optimiser->arena, count + 1, sizeof(float));
  *state = (struct mq_trainer_state){.values = *values, .count = count};
  state->name =
      mq_arena_printf(&optimiser->arena, "%s%s%s/%s", name, part ? "/" : "", part ? part : "", moment);
  return *values && state->name ? MQ_OK : mq_fail_memory(err, "optimiser");
}

static mq_status add_mover(struct engine_optimiser *optimiser, const struct engine_variable *v,
                           const struct mq_quantizer_parameter *parameter, size_t first, size_t count,
                           struct mq_err *err) {
  const struct mq_trainer_options *o = &optimiser->options;
  const float *gradient = optimiser->frames->at[ENGINE_BATCH][0].gradients[v->place].data;
  if (!gradient || count == 0) {
    return MQ_OK; /* nothing depends on it */
  }
  struct engine_mover *mover = &optimiser->movers[optimiser->n_movers++];
  *mover = (struct engine_mover){.values = v->data + first,
                                 .gradient = gradient + first,
                                 .count = count,
                                 .decay = decay_of(v, parameter, o),
                                 .adam_rate = parameter ? parameter->adam_rate : 0};
  bool is_adam = o->optimiser == MQ_OPTIMISER_ADAM || mover->adam_rate > 0;
  const char *part = parameter ? parameter->name : NULL;
  mq_status status =
      add_state(optimiser, &mover->first, v->name, part, is_adam ? "m" : "momentum", count, err);
  if (status == MQ_OK && is_adam) {
    status = add_state(optimiser, &mover->second, v->name, part, "v", count, err);
  }
  return status;
}

static mq_status add_quantizer(struct engine_optimiser *optimiser, const struct engine_variable *v,
                               struct mq_err *err) {
  const struct mq_quantizer_ops *ops = v->point->quantizer;
  const struct mq_quantizer_config *config = NULL;
  const struct engine_training *t = optimiser->frames->engine->training;
  for (size_t i = 0; i < t->n_learners; i++) {
    config = t->learners[i].parameters == v->place ? t->learners[i].config : config;
  }
  mq_status status = MQ_OK;
  for (int i = 0; i < ops->n_parameters && status == MQ_OK; i++) {
    size_t first = mq_quantizer_parameter_offset(ops, config, i);
    size_t end = i + 1 < ops->n_parameters ? mq_quantizer_parameter_offset(ops, config, i + 1) : v->count;
    if (!ops->parameters[i].is_state) {
      status = add_mover(optimiser, v, &ops->parameters[i], first, end - first, err);
    }
  }
  return status;
}

mq_status engine_optimiser_init(struct engine_optimiser *optimiser, struct engine_frames *frames,
                                const struct mq_trainer_options *options, struct mq_err *err) {
  const struct engine_training *t = frames->engine->training;
  *optimiser = (struct engine_optimiser){.frames = frames, .options = *options};
  mq_arena_init(&optimiser->arena, 0);
  size_t n = t->n_variables;
  for (size_t i = 0; i < t->n_variables; i++) {
    n += t->variables[i].point ? (size_t)t->variables[i].point->quantizer->n_parameters : 0;
  }
  optimiser->movers = mq_arena_alloc(&optimiser->arena, n + 1, sizeof *optimiser->movers);
  optimiser->states = mq_arena_alloc(&optimiser->arena, 2 * n + 1, sizeof *optimiser->states);
  mq_status status = optimiser->movers && optimiser->states ? MQ_OK : mq_fail_memory(err, "optimiser");
  for (size_t i = 0; i < t->n_variables && status == MQ_OK; i++) {
    const struct engine_variable *v = &t->variables[i];
    if (v->kind == ENGINE_QUANTIZER) {
      status = add_quantizer(optimiser, v, err);
    } else if (v->kind != ENGINE_STATE) {
      status = add_mover(optimiser, v, NULL, 0, v->count, err);
    }
  }
  return status;
}

void engine_optimiser_deinit(struct engine_optimiser *optimiser) {
  mq_arena_deinit(&optimiser->arena);
}

/* ---- A step ------------------------------------------------------------------------------------- */
struct move_run {
  const struct engine_optimiser *optimiser;
  double rate;
  _Atomic bool is_lost; /* something became NaN or infinite: what, does not depend on the order */
};

static void move(const struct engine_mover *m, const struct move_run *run, size_t first, size_t n) {
  const struct mq_trainer_options *o = &run->optimiser->options;
  int64_t count = (int64_t)n;
  if (!m->second) {
    const struct mq_sgd sgd = {.rate = (float)run->rate,
                               .momentum = (float)o->momentum,
                               .decay = (float)m->decay,
                               .is_nesterov = o->is_nesterov};
    mq_loop_sgd(m->values + first, m->first + first, m->gradient + first, count, &sgd);
    return;
  }
  bool is_own = m->adam_rate > 0;
  double beta1 = is_own ? 0.9 : o->momentum;
  double beta2 = is_own || o->beta2 == 0 ? 0.999 : o->beta2;
  struct mq_adam adam = {.rate = (float)(is_own ? m->adam_rate : run->rate),
                         .beta1 = (float)beta1,
                         .beta2 = (float)beta2,
                         .epsilon = 1e-8f,
                         .decay = is_own ? 0 : (float)m->decay,
                         .correction1 = 1,
                         .correction2 = 1};
  double t = (double)(run->optimiser->n_steps + 1);
  adam.correction1 = 1 - mq_exp(t * mq_log(beta1));
  adam.correction2 = 1 - mq_exp(t * mq_log(beta2));
  mq_loop_adam(m->values + first, m->first + first, m->second + first, m->gradient + first, count, &adam);
}

static bool is_finite(const float *values, size_t n) {
  float min, max;
  mq_loop_min_max(&min, &max, values, (int64_t)n);
  return isfinite(min) && isfinite(max);
}

/* A gradient that is not finite makes its parameter so. */
static void move_and_check(const struct engine_mover *m, struct move_run *run, size_t first, size_t n) {
  for (size_t end = first + n; first < end; first += PIECE) {
    size_t n_piece = end - first < PIECE ? end - first : PIECE;
    move(m, run, first, n_piece);
    if (!is_finite(m->values + first, n_piece)) run->is_lost = true;
  }
}

static mq_status move_chunk(void *context, size_t task, unsigned worker, struct mq_err *err) {
  (void)worker;
  (void)err;
  struct move_run *run = context;
  for (size_t i = 0; i < run->optimiser->n_movers; i++) {
    const struct engine_mover *m = &run->optimiser->movers[i];
    size_t n_chunks = (m->count + CHUNK - 1) / CHUNK;
    if (task < n_chunks) {
      size_t first = task * CHUNK, left = m->count - first;
      move_and_check(m, run, first, left < CHUNK ? left : CHUNK);
      return MQ_OK;
    }
    task -= n_chunks;
  }
  return MQ_OK;
}

mq_status engine_optimiser_step(bool *is_finite_out, struct engine_optimiser *optimiser, double rate,
                                struct mq_err *err) {
  struct move_run run = {.optimiser = optimiser, .rate = rate};
  size_t n_chunks = 0;
  for (size_t i = 0; i < optimiser->n_movers; i++) {
    n_chunks += (optimiser->movers[i].count + CHUNK - 1) / CHUNK;
  }
  mq_status status = mq_pool_run(optimiser->frames->engine->pool, n_chunks, move_chunk, &run, err);
  optimiser->n_steps += status == MQ_OK;
  *is_finite_out = !run.is_lost;
  return status;
}
