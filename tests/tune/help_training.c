#include "help_training.h"

#include <math.h>

#define N_SLICES (LESSON_IMAGES / LESSON_SLICE)

static void fill_images(struct mq_tensor *x, size_t slice) {
  const struct mq_shape *s = &x->shape;
  struct mq_rng rng;
  mq_rng_init(&rng, 5, MQ_RNG_TEST, slice, 1);
  int64_t inner = s->rank == 4 ? s->dim[2] * s->dim[3] : 1, n = mq_shape_count(s);
  for (int64_t i = 0; i < n; i++) { /* i counts row-major; go by the strides */
    int64_t at = i / (inner * s->dim[1]) * x->stride[0] + i / inner % s->dim[1] * x->stride[1];
    if (s->rank == 4) at += i % inner / s->dim[3] * x->stride[2] + i % s->dim[3] * x->stride[3];
    ((float *)x->data)[at] = 2 * mq_rng_float(&rng) - 1;
  }
}

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs, int64_t *labels,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  const struct lesson *lesson = context;
  struct mq_rng rng;
  fill_images(&inputs[0], slice);
  mq_rng_init(&rng, 6, MQ_RNG_TEST, slice, 2);
  for (int64_t i = 0; i < LESSON_SLICE; i++)
    labels[i] = (int64_t)mq_rng_below(&rng, (uint32_t)lesson->n_classes);
  return MQ_OK;
}

static void keep_logits(float *logits, int64_t n_classes, size_t slice, const struct mq_tensor *output) {
  for (int64_t i = 0; i < LESSON_SLICE * n_classes; i++) {
    int64_t at = i / n_classes * output->stride[0] + i % n_classes * output->stride[1];
    logits[(int64_t)slice * LESSON_SLICE * n_classes + i] = ((const float *)output->data)[at];
  }
}

static mq_status take(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  struct lesson *lesson = context;
  keep_logits(lesson->logits, lesson->n_classes, slice, &outputs[0]);
  return MQ_OK;
}

void lesson_begin(struct lesson *lesson, const struct mq_graph *graph, struct mq_point *points,
                  size_t n_points, const struct mq_trainer_options *changes) {
  struct mq_err err = {0};
  struct mq_trainer_options options = {.momentum = 0.9};
  if (changes) options = *changes;
  options.batch = LESSON_IMAGES;
  options.slice_images = LESSON_SLICE;
  options.points = points;
  options.n_points = n_points;
  *lesson = (struct lesson){.n_classes = graph->outputs[0]->shape.dim[1]};
  assert_true(lesson->n_classes <= LESSON_CLASSES);
  assert_ok(mq_kernel_start(MQ_ISA_NATIVE, &err));
  assert_ok(mq_pool_create(&lesson->pool, 2, mq_kernel_start_worker, &err));
  assert_ok(mq_trainer_create(&lesson->trainer, graph, &options, lesson->pool, &err));
}

void lesson_end(struct lesson *lesson) {
  mq_trainer_destroy(lesson->trainer);
  mq_pool_destroy(lesson->pool);
}

double lesson_step(struct lesson *lesson, double rate) {
  const struct mq_trainer_job job = {.context = lesson, .fill = fill, .take = take};
  struct mq_trainer_result result;
  struct mq_err err = {0};
  assert_ok(mq_trainer_step(&result, lesson->trainer, &job, rate, &err));
  assert_true(result.is_finite);
  return result.loss;
}

double lesson_differentiate(struct lesson *lesson) {
  const struct mq_trainer_job job = {.context = lesson, .fill = fill, .take = take};
  struct mq_trainer_result result;
  struct mq_err err = {0};
  assert_ok(mq_trainer_differentiate(&result, lesson->trainer, &job, &err));
  return result.loss;
}

double lesson_evaluate(struct lesson *lesson) {
  const struct mq_trainer_job job = {.context = lesson, .fill = fill, .take = take};
  struct mq_trainer_result result;
  struct mq_err err = {0};
  assert_ok(mq_trainer_evaluate(&result, lesson->trainer, &job, &err));
  return result.loss;
}

/* ---- The inference engine ---------------------------------------------------------------------------- */
struct inference {
  float *logits;
  int64_t n_classes;
};

static mq_status fill_inference(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                                struct mq_err *err) {
  (void)context;
  (void)worker;
  (void)err;
  fill_images(&inputs[0], slice);
  return MQ_OK;
}

static mq_status take_inference(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                                struct mq_err *err) {
  (void)worker;
  (void)err;
  struct inference *inference = context;
  keep_logits(inference->logits, inference->n_classes, slice, &outputs[0]);
  return MQ_OK;
}

void infer_lesson(float *logits, const struct mq_graph *graph, const struct mq_point *points,
                  size_t n_points) {
  struct inference inference = {.logits = logits, .n_classes = graph->outputs[0]->shape.dim[1]};
  const struct mq_engine_options options = {
      .slice_images = LESSON_SLICE, .simulates = points != NULL, .points = points, .n_points = n_points};
  const struct mq_engine_job job = {
      .context = &inference, .n_slices = N_SLICES, .fill = fill_inference, .take = take_inference};
  struct mq_err err = {0};
  struct mq_pool *pool;
  struct mq_engine *engine;
  assert_ok(mq_pool_create(&pool, 2, mq_kernel_start_worker, &err));
  assert_ok(mq_engine_create(&engine, graph, &options, pool, &err));
  assert_ok(mq_engine_run(engine, &job, &err));
  mq_engine_destroy(engine);
  mq_pool_destroy(pool);
}

void lesson_images(float *images, const struct mq_graph *graph) {
  struct mq_shape shape = mq_shape_at_batch(&graph->inputs[0]->shape, LESSON_SLICE);
  int64_t n = mq_shape_count(&shape);
  for (size_t slice = 0; slice < N_SLICES; slice++) {
    struct mq_tensor x = mq_tensor_view(images + (int64_t)slice * n, MQ_F32, &shape, NULL);
    fill_images(&x, slice);
  }
}

void check_logits(const float *a, const float *b, int64_t n_classes, bool has_codes) {
  int n_apart = 0;
  double scale = 0;
  for (int64_t i = 0; i < LESSON_IMAGES * n_classes; i++) {
    assert_true(isfinite(a[i]) && isfinite(b[i]));
    scale = fmax(scale, fabs((double)b[i]));
  }
  for (int64_t n = 0; n < LESSON_IMAGES; n++) {
    double apart = 0;
    for (int64_t i = n * n_classes; i < (n + 1) * n_classes; i++)
      apart = fmax(apart, fabs((double)a[i] - (double)b[i]) / scale);
    n_apart += apart > 1e-5;
    assert_true(apart < 0.05);
  }
  if (n_apart > (has_codes ? 2 : 0)) fail_msg("%d images with other logits", n_apart);
}

/* ---- Gradients --------------------------------------------------------------------------------------- */
static double slope_along(struct lesson *lesson, const struct mq_trainer_state *state, const float *direction,
                          double h) {
  double loss[2];
  float *kept = mq_alloc(state->count, sizeof *kept);
  assert_non_null(kept);
  memcpy(kept, state->values, state->count * sizeof *kept);
  for (int side = 0; side < 2; side++) {
    for (size_t k = 0; k < state->count; k++)
      state->values[k] = kept[k] + (float)((side ? h : -h) * (double)direction[k]);
    loss[side] = lesson_differentiate(lesson);
  }
  memcpy(state->values, kept, state->count * sizeof *kept);
  mq_free(kept);
  return (loss[1] - loss[0]) / (2 * h);
}

/* The smaller step is for a kink (of a Relu) within reach of the larger one. */
static void check_slope(struct lesson *lesson, const struct mq_trainer_state *state, const float *direction,
                        double slope, double tolerance) {
  static const double steps[2] = {1e-4, 2e-5};
  double expected = 0;
  for (int i = 0; i < 2; i++) {
    expected = slope_along(lesson, state, direction, steps[i]);
    if (fabs(slope - expected) <= tolerance * (1 + fabs(expected))) return;
  }
  fail_msg("%s: gradient %g along a direction, differences say %g", state->name, slope, expected);
}

void check_directions(struct lesson *lesson, double tolerance) {
  for (size_t i = 0; i < mq_trainer_state_count(lesson->trainer); i++) {
    lesson_differentiate(lesson);
    struct mq_trainer_state state = mq_trainer_state_at(lesson->trainer, i);
    const float *gradient = state.is_variable ? mq_trainer_gradient(lesson->trainer, i) : NULL;
    if (!gradient || test_leaves_out((int64_t)i)) continue;
    float *direction = mq_alloc(state.count, sizeof *direction);
    struct mq_rng rng;
    double slope = 0;
    mq_rng_init(&rng, 3, MQ_RNG_TEST, i, 2);
    assert_non_null(direction);
    for (size_t k = 0; k < state.count; k++) {
      direction[k] = mq_rng_u32(&rng) & 1 ? 1 : -1;
      slope += (double)direction[k] * (double)gradient[k];
    }
    check_slope(lesson, &state, direction, slope, tolerance);
    mq_free(direction);
  }
}
