/* The trainer: a compiled graph with its frames, stepped batch by batch. */
#include <math.h>
#include <string.h>

#include "engine/train/optimiser.h"

struct mq_trainer {
  struct mq_engine *engine;
  struct engine_training training;
  struct engine_frames frames;
  struct engine_optimiser optimiser;
};

/* ---- Creation ----------------------------------------------------------------------------------- */
static mq_status check_options(const struct mq_trainer_options *o, int64_t slice, int64_t groups,
                               struct mq_err *err) {
  if (o->batch < 1 || o->batch % (slice * groups) != 0) {
    return mq_fail(err, MQ_BAD_USAGE,
                   "batch %lld, expected a multiple of %lld (slices of %lld images x bn_groups %lld)",
                   (long long)o->batch, (long long)(slice * groups), (long long)slice, (long long)groups);
  }
  if (o->batch_per_gpu < 0 || o->label_smoothing < 0 || o->label_smoothing >= 1) {
    return mq_fail(err, MQ_BAD_USAGE, "label_smoothing %g, expected 0 to below 1", o->label_smoothing);
  }
  return MQ_OK;
}

static mq_status create_engine(struct mq_trainer *trainer, const struct mq_graph *graph, int64_t slice,
                               struct mq_pool *pool, struct mq_err *err) {
  const struct mq_engine_options engine_options = {.slice_images = slice, .memory = MQ_MEMORY_BACKWARD};
  trainer->engine = mq_alloc(1, sizeof *trainer->engine);
  if (!trainer->engine) {
    return mq_fail_memory(err, "trainer");
  }
  trainer->engine->pool = pool;
  trainer->engine->training = &trainer->training;
  mq_arena_init(&trainer->engine->arena, 0);
  mq_status status = engine_compile(trainer->engine, graph, &engine_options, err);
  return status == MQ_OK ? engine_plan_memory(trainer->engine, err) : status;
}

mq_status mq_trainer_create(struct mq_trainer **trainer_out, const struct mq_graph *graph,
                            const struct mq_trainer_options *options, struct mq_pool *pool,
                            struct mq_err *err) {
  int64_t slice = options->slice_images > 0 ? options->slice_images : 8;
  int64_t groups = options->bn_groups > 0 ? options->bn_groups : 1;
  *trainer_out = NULL;
  mq_status status = check_options(options, slice, groups, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_trainer *trainer = mq_alloc(1, sizeof *trainer);
  if (!trainer) {
    return mq_fail_memory(err, "trainer");
  }
  trainer->training = (struct engine_training){
      .points = options->points,
      .n_points = options->points ? options->n_points : 0,
      .batch = options->batch,
      .n_groups = groups,
      .batch_per_gpu = options->batch_per_gpu > 0 ? options->batch_per_gpu : options->batch,
      .smoothing = options->label_smoothing,
      .has_float_forward = options->has_float_forward,
      .has_published_variance = options->has_published_variance,
      .backward = options->backward};
  status = create_engine(trainer, graph, slice, pool, err);
  if (status == MQ_OK) {
    status = engine_frames_init(&trainer->frames, trainer->engine, (size_t)(options->batch / slice),
                                (size_t)groups, options->collective, err);
  }
  if (status == MQ_OK && mq_collective_size(options->collective) > 1) {
    status = engine_check_ranks(&trainer->frames, err);
  }
  if (status == MQ_OK) {
    status = engine_optimiser_init(&trainer->optimiser, &trainer->frames, options, err);
  }
  if (status != MQ_OK) {
    mq_trainer_destroy(trainer);
    return status;
  }
  *trainer_out = trainer;
  return MQ_OK;
}

void mq_trainer_destroy(struct mq_trainer *trainer) {
  if (!trainer) {
    return;
  }
  struct engine_training *t = &trainer->training;
  engine_optimiser_deinit(&trainer->optimiser);
  engine_frames_deinit(&trainer->frames);
  mq_engine_destroy(trainer->engine);
  mq_free(t->variables);
  mq_free(t->gradients);
  mq_free(t->reductions);
  mq_free(t->phases);
  mq_free(t->zeroings);
  mq_free(t->learners);
  mq_free(trainer);
}

size_t mq_trainer_memory_bytes(const struct mq_trainer *trainer) {
  return engine_frames_bytes(&trainer->frames);
}

size_t mq_trainer_slices(const struct mq_trainer *trainer) {
  return trainer->frames.n[ENGINE_SLICE];
}

void mq_trainer_own_slices(size_t *first, size_t *count, const struct mq_trainer *trainer) {
  *first = trainer->frames.own[ENGINE_SLICE].first;
  *count = trainer->frames.own[ENGINE_SLICE].count;
}

/* ---- A step ------------------------------------------------------------------------------------- */
struct fill_run {
  struct mq_trainer *trainer;
  const struct mq_trainer_job *job;
};

static mq_status fill_slice(void *context, size_t task, unsigned worker, struct mq_err *err) {
  const struct fill_run *run = context;
  size_t slice = run->trainer->frames.own[ENGINE_SLICE].first + task;
  struct engine_frame *frame = &run->trainer->frames.at[ENGINE_SLICE][slice];
  return run->job->fill(run->job->context, slice, worker, frame->inputs, frame->labels, err);
}

static mq_status take_slice(void *context, size_t task, unsigned worker, struct mq_err *err) {
  const struct fill_run *run = context;
  size_t slice = run->trainer->frames.own[ENGINE_SLICE].first + task;
  const struct engine_frame *frame = &run->trainer->frames.at[ENGINE_SLICE][slice];
  return run->job->take(run->job->context, slice, worker, frame->outputs, err);
}

static mq_status forward(struct mq_trainer_result *result, struct mq_trainer *trainer,
                         const struct mq_trainer_job *job, bool is_training, struct mq_err *err) {
  struct mq_pool *pool = trainer->engine->pool;
  struct fill_run run = {.trainer = trainer, .job = job};
  size_t n_slices = trainer->frames.own[ENGINE_SLICE].count;
  mq_status status = mq_pool_run(pool, n_slices, fill_slice, &run, err);
  status =
      mq_collective_agree(trainer->frames.collective, status, err); /* nobody waits for who cannot go on */
  if (status == MQ_OK) {
    status = engine_phases_forward(&trainer->frames, is_training, err);
  }
  if (status == MQ_OK && job->take) {
    status = mq_pool_run(pool, n_slices, take_slice, &run, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  const double *sums = trainer->frames.at[ENGINE_BATCH][0].places[trainer->training.loss].data;
  *result = (struct mq_trainer_result){.loss = sums[0] / (double)trainer->training.batch,
                                       .correct = (int64_t)sums[1],
                                       .images = (int64_t)sums[2]};
  result->is_finite = isfinite(result->loss) != 0;
  return MQ_OK;
}

mq_status mq_trainer_evaluate(struct mq_trainer_result *result, struct mq_trainer *trainer,
                              const struct mq_trainer_job *job, struct mq_err *err) {
  return forward(result, trainer, job, false, err);
}

mq_status mq_trainer_differentiate(struct mq_trainer_result *result, struct mq_trainer *trainer,
                                   const struct mq_trainer_job *job, struct mq_err *err) {
  mq_status status = forward(result, trainer, job, true, err);
  return status == MQ_OK ? engine_phases_backward(&trainer->frames, err) : status;
}

/* What the methods themselves change: before the optimiser moves the parameters. */
static void update_quantizers(struct mq_trainer *trainer) {
  struct engine_frame *frame = &trainer->frames.at[ENGINE_BATCH][0];
  for (size_t i = 0; i < trainer->training.n_learners; i++) {
    const struct engine_learner *l = &trainer->training.learners[i];
    if (l->ops->update) {
      const double *statistics = l->statistics >= 0 ? frame->places[l->statistics].data : NULL;
      l->ops->update(frame->places[l->parameters].data, l->config, frame->places[l->form].data, statistics,
                     frame->gradients[l->form].data);
    }
  }
}

static void project_quantizers(struct mq_trainer *trainer) {
  struct engine_frame *frame = &trainer->frames.at[ENGINE_BATCH][0];
  for (size_t i = 0; i < trainer->training.n_learners; i++) {
    const struct engine_learner *l = &trainer->training.learners[i];
    if (l->ops->project) {
      l->ops->project(frame->places[l->parameters].data, l->config);
    }
  }
}

mq_status mq_trainer_step(struct mq_trainer_result *result, struct mq_trainer *trainer,
                          const struct mq_trainer_job *job, double rate, struct mq_err *err) {
  mq_status status = forward(result, trainer, job, true, err);
  if (status != MQ_OK || !result->is_finite) {
    return status;
  }
  status = engine_phases_backward(&trainer->frames, err);
  if (status != MQ_OK) {
    return status;
  }
  update_quantizers(trainer);
  status = engine_optimiser_step(&result->is_finite, &trainer->optimiser, rate, err);
  project_quantizers(trainer);
  return status;
}

/* ---- What it has learned ------------------------------------------------------------------------ */
size_t mq_trainer_state_count(const struct mq_trainer *trainer) {
  return trainer->training.n_variables + trainer->optimiser.n_states;
}

struct mq_trainer_state mq_trainer_state_at(const struct mq_trainer *trainer, size_t i) {
  if (i < trainer->training.n_variables) {
    const struct engine_variable *v = &trainer->training.variables[i];
    return (struct mq_trainer_state){
        .name = v->name, .values = v->data, .count = v->count, .is_variable = true};
  }
  return trainer->optimiser.states[i - trainer->training.n_variables];
}

const float *mq_trainer_gradient(const struct mq_trainer *trainer, size_t i) {
  const struct engine_variable *v = &trainer->training.variables[i];
  return trainer->frames.at[ENGINE_BATCH][0].gradients[v->place].data;
}

int64_t mq_trainer_steps(const struct mq_trainer *trainer) {
  return trainer->optimiser.n_steps;
}

void mq_trainer_set_steps(struct mq_trainer *trainer, int64_t steps) {
  trainer->optimiser.n_steps = steps;
}

mq_status mq_trainer_export(const struct mq_trainer *trainer, struct mq_graph *graph, struct mq_point *points,
                            struct mq_err *err) {
  const struct engine_training *t = &trainer->training;
  for (size_t i = 0; i < t->n_variables; i++) {
    const struct engine_variable *v = &t->variables[i];
    if (v->point) {
      memcpy(points[v->point - t->points].parameters, v->data, v->count * sizeof(float));
      continue;
    }
    const struct mq_value *value = mq_graph_find_value(graph, v->name);
    if (!value || !value->constant || (size_t)mq_shape_count(&value->shape) != v->count) {
      return mq_fail(err, MQ_BAD_USAGE, "%s: no constant '%s' of %zu elements to write to", graph->name,
                     v->name, v->count);
    }
    memcpy(value->constant->data, v->data, v->count * sizeof(float));
  }
  return MQ_OK;
}
