/* Slices in step: between two segments the slices of a group reduce statistics per channel in tree order, and
 * the job answers what they apply. */
#include <math.h>
#include <string.h>

#include "engine/compile.h"

/* ---- Compilation -------------------------------------------------------------------------------- */
static mq_status forward_exchange(const struct engine_step *step, struct engine_frame *frame,
                                  struct mq_err *err) {
  (void)err;
  const struct engine_exchange *e = step->state;
  const struct mq_tensor *x = engine_input(step, frame, 0);
  int64_t n_rows = e->n_channels ? mq_shape_count(&x->shape) / e->n_channels : 0;
  mq_loop_affine(engine_output(step, frame, 0)->data, x->data, n_rows, e->n_channels, e->gain, e->shift,
                 -INFINITY, INFINITY);
  return MQ_OK;
}

static const struct engine_function exchange_function = {.forward = forward_exchange};

mq_status engine_emit_exchange(struct engine_compiler *c, const struct mq_node *node, int x, int y,
                               struct mq_err *err) {
  struct mq_engine *engine = c->engine;
  const struct mq_shape shape = engine_tensor(c, x)->shape;
  void *block;
  if (shape.rank < 2 || shape.dim[0] != c->images) {
    return engine_fail_unsupported(node, err, "statistics per channel need N x C x ...");
  }
  mq_status status = engine_alloc(&block, c, (size_t)shape.dim[1] + 1, 2 * sizeof(float), err);
  if (status != MQ_OK) {
    return status;
  }
  struct engine_exchange *e = &engine->exchanges[engine->n_exchanges++];
  *e = (struct engine_exchange){.step = (int)engine->n_steps,
                                .place = x,
                                .index = c->exchange_of[node->index] - 1,
                                .n_channels = shape.dim[1],
                                .gain = block};
  e->shift = e->gain + shape.dim[1];
  return engine_emit_simple(c, &exchange_function, e, &x, 1, y, err);
}

/* ---- Statistics --------------------------------------------------------------------------------- */
struct group_run {
  struct mq_engine *engine;
  const struct mq_engine_job *job;
  size_t group, first_slice, n_slices;
  int first_step, end_step; /* of the segment */
  bool is_first;            /* segment of the group */
  const struct engine_exchange *exchange;
  double *sums; /* per slice of the group: n_channels */
  const double *mean;
  size_t capacity; /* channels a slice's sums have room for */
};

static int64_t valid_rows(const struct group_run *run, size_t task, const struct mq_tensor *x) {
  const struct mq_engine_job *job = run->job;
  int64_t images = x->shape.dim[0], pixels = 1;
  for (int i = 2; i < x->shape.rank; i++) {
    pixels *= x->shape.dim[i];
  }
  return pixels * (job->count_valid ? job->count_valid(job->context, run->first_slice + task) : images);
}

/* sums[c] = sum of x (no mean yet) or of (x - mean[c])^2 over the slice's rows, in double, row after row. */
static mq_status sum_slice(void *context, size_t task, unsigned worker, struct mq_err *err) {
  (void)worker;
  (void)err;
  const struct group_run *run = context;
  const struct mq_tensor *x = &run->engine->frames[task].places[run->exchange->place];
  int64_t n = run->exchange->n_channels, rows = valid_rows(run, task, x);
  double *sums = run->sums + task * run->capacity;
  const float *row = x->data;
  memset(sums, 0, (size_t)n * sizeof *sums);
  for (int64_t r = 0; r < rows; r++, row += n) {
    for (int64_t i = 0; i < n && !run->mean; i++) {
      sums[i] += (double)row[i];
    }
    for (int64_t i = 0; i < n && run->mean; i++) {
      double d = (double)row[i] - run->mean[i];
      sums[i] += d * d;
    }
  }
  return MQ_OK;
}

/* result[c] = tree sum over the group's slices / count. */
static void reduce(double *result, const struct group_run *run, int64_t count) {
  int64_t n = run->exchange->n_channels;
  for (size_t step = 1; step < run->n_slices; step *= 2) {
    for (size_t s = 0; s + step < run->n_slices; s += 2 * step) {
      double *into = run->sums + s * run->capacity, *from = into + step * run->capacity;
      for (int64_t i = 0; i < n; i++) {
        into[i] += from[i];
      }
    }
  }
  for (int64_t i = 0; i < n; i++) {
    result[i] = count ? run->sums[i] / (double)count : 0;
  }
}

/* mean_and_variance: room for 2 x n_channels. */
static mq_status exchange(struct group_run *run, double *mean_and_variance, struct mq_err *err) {
  const struct engine_exchange *e = run->exchange;
  struct mq_channel_statistics s = {
      .n_channels = e->n_channels, .mean = mean_and_variance, .variance = mean_and_variance + e->n_channels};
  for (size_t i = 0; i < run->n_slices; i++) {
    s.count += valid_rows(run, i, &run->engine->frames[i].places[e->place]);
  }
  run->mean = NULL;
  mq_status status = mq_pool_run(run->engine->pool, run->n_slices, sum_slice, run, err);
  if (status == MQ_OK) {
    reduce(mean_and_variance, run, s.count);
    run->mean = s.mean;
    status = mq_pool_run(run->engine->pool, run->n_slices, sum_slice, run, err);
  }
  if (status == MQ_OK) {
    reduce(mean_and_variance + e->n_channels, run, s.count);
    status = run->job->exchange(run->job->context, run->group, e->index, &s, e->gain, e->shift, err);
  }
  return status;
}

/* ---- Segments ----------------------------------------------------------------------------------- */
static mq_status run_segment(void *context, size_t task, unsigned worker, struct mq_err *err) {
  const struct group_run *run = context;
  const struct mq_engine *engine = run->engine;
  const struct mq_engine_job *job = run->job;
  struct engine_frame *frame = &engine->frames[task];
  size_t slice = run->first_slice + task;
  mq_status status = MQ_OK;
  if (run->is_first) {
    status = job->fill(job->context, slice, worker, frame->inputs, err);
  }
  if (status == MQ_OK) {
    status = engine_run_steps(frame, engine, run->first_step, run->end_step, err);
  }
  if (status == MQ_OK && run->end_step == (int)engine->n_steps && job->take) {
    status = job->take(job->context, slice, worker, frame->outputs, err);
  }
  return status;
}

static mq_status run_group(struct group_run *run, double *mean_and_variance, struct mq_err *err) {
  struct mq_engine *engine = run->engine;
  run->first_step = 0;
  run->is_first = true;
  for (size_t i = 0; i < engine->n_exchanges; i++) {
    run->exchange = &engine->exchanges[i];
    run->end_step = run->exchange->step;
    mq_status status = mq_pool_run(engine->pool, run->n_slices, run_segment, run, err);
    if (status == MQ_OK) {
      status = exchange(run, mean_and_variance, err);
    }
    if (status != MQ_OK) {
      return status;
    }
    run->first_step = run->end_step;
    run->is_first = false;
  }
  run->end_step = (int)engine->n_steps;
  return mq_pool_run(engine->pool, run->n_slices, run_segment, run, err);
}

mq_status engine_run_groups(struct mq_engine *engine, const struct mq_engine_job *job, struct mq_err *err) {
  struct group_run run = {.engine = engine, .job = job};
  for (size_t i = 0; i < engine->n_exchanges; i++) {
    size_t n = (size_t)engine->exchanges[i].n_channels;
    run.capacity = n > run.capacity ? n : run.capacity;
  }
  run.sums = mq_alloc((engine->group_slices + 2) * run.capacity + 1, sizeof *run.sums);
  mq_status status = run.sums ? MQ_OK : mq_fail_memory(err, "statistics per channel");
  for (size_t first = 0; first < job->n_slices && status == MQ_OK; first += engine->group_slices) {
    size_t left = job->n_slices - first;
    run.group = first / engine->group_slices;
    run.first_slice = first;
    run.n_slices = left < engine->group_slices ? left : engine->group_slices;
    status = run_group(&run, run.sums + engine->group_slices * run.capacity, err);
  }
  mq_free(run.sums);
  return status;
}
