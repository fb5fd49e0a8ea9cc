#include "help_lower.h"

#include <math.h>

#include "mqbench/engine.h"
#include "mqbench/kernel.h"

/* ---- The engine ---------------------------------------------------------------------------------------- */

struct watch {
  const struct lowered *lowered;
  const struct mq_value **taps;
  size_t *points; /* of each tap */
  size_t n_taps;
  struct mq_tensor *values; /* of each tap, logical order; owned */
  struct mq_tensor output;  /* owned */
};

static struct mq_shape whole(const struct mq_shape *shape) {
  return mq_shape_at_batch(shape, LOWER_IMAGES);
}

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  (void)slice;
  (void)worker;
  (void)err;
  mq_tensor_copy(&inputs[0], &((struct watch *)context)->lowered->images);
  return MQ_OK;
}

static mq_status see_tap(void *context, size_t slice, unsigned worker, size_t tap, int64_t first_image,
                         const struct mq_tensor *value, struct mq_err *err) {
  (void)slice;
  (void)worker;
  (void)err;
  struct mq_tensor to = ((struct watch *)context)->values[tap];
  to.shape.dim[0] = value->shape.dim[0];
  to.data = (float *)to.data + first_image * to.stride[0];
  mq_tensor_copy(&to, value);
  return MQ_OK;
}

static mq_status take(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                      struct mq_err *err) {
  (void)slice;
  (void)worker;
  (void)err;
  mq_tensor_copy(&((struct watch *)context)->output, &outputs[0]);
  return MQ_OK;
}

/* Before rounding; in the exact simulation what came of it. */
static void find_taps(struct watch *watch, bool is_exact) {
  const struct mq_prepared *p = &watch->lowered->prepared;
  struct mq_err err = {0};
  watch->taps = calloc(p->n_points + 1, sizeof *watch->taps);
  watch->points = calloc(p->n_points + 1, sizeof *watch->points);
  watch->values = calloc(p->n_points + 1, sizeof *watch->values);
  for (size_t i = 0; i < p->graph->n_nodes; i++) {
    const struct mq_node *node = p->graph->nodes[i];
    int64_t index = -1;
    if (node->op != MQ_OP_FakeQuantize) continue;
    assert_ok(mq_node_get_int(&index, node, "point", -1, &err));
    if (p->points[index].kind != MQ_POINT_ACTIVATION) continue;
    struct mq_shape shape = whole(&node->inputs[0]->shape);
    assert_ok(mq_tensor_init(&watch->values[watch->n_taps], MQ_F32, &shape, &err));
    watch->points[watch->n_taps] = (size_t)index;
    watch->taps[watch->n_taps++] = is_exact ? node->outputs[0] : node->inputs[0];
  }
}

/* exact NULL: in floats. */
static void run_engine(struct watch *watch, const struct lowered *lowered, bool simulates,
                       const struct mq_engine_exact *exact) {
  struct mq_err err = {0};
  struct mq_pool *pool;
  struct mq_engine *engine;
  const struct mq_graph *graph = lowered->prepared.graph;
  *watch = (struct watch){.lowered = lowered};
  find_taps(watch, exact != NULL);
  struct mq_shape shape = whole(&graph->outputs[0]->shape);
  assert_ok(mq_tensor_init(&watch->output, MQ_F32, &shape, &err));
  assert_ok(mq_kernel_start(MQ_ISA_NATIVE, &err));
  assert_ok(mq_pool_create(&pool, 1, mq_kernel_start_worker, &err));
  const struct mq_engine_options options = {.slice_images = LOWER_IMAGES,
                                            .simulates = simulates,
                                            .exact = exact,
                                            .points = lowered->prepared.points,
                                            .n_points = lowered->prepared.n_points,
                                            .taps = watch->taps,
                                            .n_taps = watch->n_taps};
  assert_ok(mq_engine_create(&engine, graph, &options, pool, &err));
  const struct mq_engine_job job = {
      .context = watch, .n_slices = 1, .fill = fill, .take = take, .tap = see_tap};
  assert_ok(mq_engine_run(engine, &job, &err));
  mq_engine_destroy(engine);
  mq_pool_destroy(pool);
}

static void drop_watch(struct watch *watch) {
  for (size_t i = 0; i < watch->n_taps; i++)
    mq_tensor_deinit(&watch->values[i]);
  mq_tensor_deinit(&watch->output);
  free(watch->values);
  free(watch->points);
  free(watch->taps);
}

/* ---- Calibration --------------------------------------------------------------------------------------- */

static void widen(struct mq_range *range, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    range->lo = fminf(range->lo, x[i]);
    range->hi = fmaxf(range->hi, x[i]);
  }
}

static void set_range(struct mq_point *point, const struct mq_range *ranges, const float *least) {
  struct mq_err err = {0};
  mq_qparams_deinit(&point->qparams);
  assert_ok(mq_qparams_init(&point->qparams, point->n_channels, point->channel_axis, &err));
  mq_qparams_from_range(&point->qparams, &point->scheme, ranges, least);
}

static void calibrate_activations(struct lowered *lowered) {
  struct watch watch;
  struct mq_prepared *p = &lowered->prepared;
  run_engine(&watch, lowered, false, NULL);
  for (size_t i = 0; i < p->n_points; i++) {
    struct mq_point *point = &p->points[i];
    struct mq_range range = {0};
    if (point->kind != MQ_POINT_ACTIVATION) continue;
    for (size_t t = 0; t < watch.n_taps; t++) {
      const struct mq_point *of = &p->points[watch.points[t]];
      if (of == point || (of->share >= 0 && of->share == point->share))
        widen(&range, watch.values[t].data, mq_shape_count(&watch.values[t].shape));
    }
    set_range(point, &range, NULL);
  }
  drop_watch(&watch);
}

static void calibrate_weights(struct lowered *lowered) {
  struct mq_prepared *p = &lowered->prepared;
  for (size_t i = 0; i < p->n_points; i++) {
    struct mq_point *point = &p->points[i];
    struct mq_range ranges[64] = {{0}};
    if (point->kind != MQ_POINT_WEIGHT) continue;
    const struct mq_value *value = mq_graph_find_value(p->graph, point->tensor);
    assert_non_null(value);
    int64_t inner = 1, n = mq_shape_count(&value->shape);
    for (int axis = point->channel_axis + 1; axis < value->shape.rank && point->channel_axis >= 0; axis++)
      inner *= value->shape.dim[axis];
    for (int64_t k = 0; k < n; k++) {
      int64_t c = point->channel_axis < 0 ? 0 : k / inner % point->n_channels;
      widen(&ranges[c], (const float *)value->constant->data + k, 1);
    }
    set_range(point, ranges, NULL);
  }
}

void make_calibrated(struct lowered *lowered, struct mq_graph *model, const char *target, int w_bits,
                     int a_bits) {
  const struct mq_prepare_options options = {.w_bits = w_bits, .a_bits = a_bits};
  make_calibrated_with(lowered, model, target, &options);
}

void make_calibrated_with(struct lowered *lowered, struct mq_graph *model, const char *target,
                          const struct mq_prepare_options *options) {
  struct mq_err err = {0};
  struct mq_rng rng;
  *lowered = (struct lowered){.model = model};
  assert_ok(mq_target_load(&lowered->target, target, &err));
  assert_ok(mq_prepare(&lowered->prepared, model, lowered->target, options, &err));
  struct mq_shape shape = whole(&model->inputs[0]->shape);
  assert_ok(mq_tensor_init(&lowered->images, MQ_F32, &shape, &err));
  mq_rng_init(&rng, 5, MQ_RNG_TEST, 0, 0);
  for (int64_t i = 0; i < mq_shape_count(&shape); i++)
    ((float *)lowered->images.data)[i] = 3 * mq_rng_float(&rng) - 1;
  calibrate_activations(lowered);
  calibrate_weights(lowered);
}

void drop_calibrated(struct lowered *lowered) {
  mq_tensor_deinit(&lowered->images);
  mq_prepared_deinit(&lowered->prepared);
  mq_target_destroy(lowered->target);
  mq_graph_destroy(lowered->model);
}

/* ---- The program --------------------------------------------------------------------------------------- */

static int32_t code_at(const struct mq_program_tensor *t, const void *data, int64_t i) {
  return t->type == MQ_PROGRAM_S8   ? ((const int8_t *)data)[i]
         : t->type == MQ_PROGRAM_U8 ? ((const uint8_t *)data)[i]
                                    : ((const int16_t *)data)[i];
}

/* Where the tensor has logical element i (of one image, user's order). */
static int64_t place_of(const struct mq_program_tensor *t, int64_t i) {
  if (!t->is_channels_last) return i;
  int64_t plane = (int64_t)t->dim[0] * t->dim[1];
  return i % plane * t->dim[2] + i / plane;
}

struct seen {
  const char *name;
  void *data;
  const struct mq_program_tensor *tensor;
  struct compared *result;
  const struct watch *watch;
  int64_t image; /* programs run on one at a time */
};

static void compare_tensor(struct compared *result, const struct mq_program_tensor *t, const void *data,
                           const struct mq_point *point, const float *simulated) {
  const struct mq_qparams *q = &point->qparams;
  int32_t offset = q->quant_min - t->code_min;
  for (int64_t i = 0; i < mq_program_elements(t); i++) {
    int32_t expected =
        mq_quantize_value(simulated[i], q->scale[0], q->zero_point[0], q->quant_min, q->quant_max);
    int32_t step = abs(code_at(t, data, place_of(t, i)) + offset - expected);
    result->n++;
    result->differing += step != 0;
    if (step > result->most) {
      result->most = step;
      snprintf(result->tensor, sizeof result->tensor, "%s", t->name);
    }
  }
}

static void see(void *context, const struct mq_program *program, uint32_t tensor, int64_t image,
                const void *data) {
  struct seen *seen = context;
  assert_int_equal(image, 0);
  const struct mq_program_tensor *t = &program->tensors[tensor];
  if (seen->name && strcmp(seen->name, t->name) == 0) {
    free(seen->data);
    seen->tensor = t;
    seen->data = malloc(mq_program_tensor_bytes(t));
    memcpy(seen->data, data, mq_program_tensor_bytes(t));
  }
  for (size_t i = 0; seen->watch && t->scale > 0 && i < seen->watch->n_taps; i++) {
    const struct mq_point *point = &seen->watch->lowered->prepared.points[seen->watch->points[i]];
    const struct mq_tensor *value = &seen->watch->values[i];
    if (strcmp(point->tensor, t->name) != 0) continue;
    seen->result->n_points += seen->image == 0;
    compare_tensor(seen->result, t, data, point, (const float *)value->data + seen->image * value->stride[0]);
  }
}

/* One image's input in the program's order. */
static void *make_input(const struct mq_program *program, const struct mq_tensor *images, int64_t image) {
  const struct mq_program_tensor *t = &program->tensors[program->inputs[0]];
  const float *from = (const float *)images->data + image * images->stride[0];
  float *to = malloc(mq_program_tensor_bytes(t));
  for (int64_t i = 0; i < mq_program_elements(t); i++)
    to[place_of(t, i)] = from[i];
  return to;
}

static void run_image(const struct mq_program *program, const struct mq_tensor *images, int64_t image,
                      void *output, struct seen *seen) {
  seen->image = image;
  struct mq_program_err why = {{0}};
  void *input = make_input(program, images, image), *arena = NULL;
  assert_int_equal(posix_memalign(&arena, 64, program->arena_bytes + 64), 0);
  const void *inputs[] = {input};
  void *outputs[] = {output};
  const struct mq_program_run job = {.inputs = inputs,
                                     .outputs = outputs,
                                     .n_images = 1,
                                     .arena = arena,
                                     .arena_bytes = program->arena_bytes,
                                     .see = see,
                                     .context = seen};
  if (mq_program_run_reference(program, &job, &why) != MQ_PROGRAM_OK) fail_msg("%s", why.message);
  free(arena);
  free(input);
}

void *run_for_tensor(const struct mq_program *program, const struct mq_tensor *images, int64_t image,
                     const char *name, const struct mq_program_tensor **tensor) {
  struct seen seen = {.name = name};
  void *output = malloc(mq_program_tensor_bytes(&program->tensors[program->outputs[0]]));
  run_image(program, images, image, output, &seen);
  free(output);
  if (!seen.data) fail_msg("no tensor '%s'", name);
  *tensor = seen.tensor;
  return seen.data;
}

/* In steps of the output's scale, or for a float output in 255ths of its largest value. */
static void compare_output(struct compared *result, const struct watch *watch,
                           const struct mq_program_tensor *y, const void *data, int64_t image) {
  const float *expected = (const float *)watch->output.data + image * watch->output.stride[0];
  double largest = 0;
  for (int64_t i = 0; i < mq_program_elements(y); i++)
    largest = fmax(largest, fabs((double)expected[i]));
  for (int64_t i = 0; i < mq_program_elements(y); i++) {
    bool is_float = y->type == MQ_PROGRAM_F32;
    double step = is_float ? largest / 255 : (double)y->scale;
    double value = is_float ? (double)((const float *)data)[place_of(y, i)]
                            : (double)(y->scale * (float)(code_at(y, data, place_of(y, i)) - y->zero_point));
    result->worst_output = fmax(result->worst_output, fabs(value - (double)expected[i]) / step);
  }
}

static void compare(struct compared *result, const struct lowered *lowered, const struct mq_program *program,
                    const struct mq_engine_exact *exact) {
  struct watch watch;
  const struct mq_program_tensor *y = &program->tensors[program->outputs[0]];
  void *output = malloc(mq_program_tensor_bytes(y));
  *result = (struct compared){0};
  run_engine(&watch, lowered, true, exact);
  struct seen seen = {.result = result, .watch = &watch};
  for (int64_t i = 0; i < LOWER_IMAGES; i++) {
    run_image(program, &lowered->images, i, output, &seen);
    compare_output(result, &watch, y, output, i);
  }
  result->n_missed = watch.n_taps - result->n_points;
  free(output);
  drop_watch(&watch);
}

void compare_program(struct compared *result, const struct lowered *lowered,
                     const struct mq_program *program) {
  compare(result, lowered, program, NULL);
}

void compare_exact(struct compared *result, const struct lowered *lowered, const struct mq_program *program) {
  const struct mq_target *target = lowered->target;
  const struct mq_node *islands[64];
  bool is_even = target->pot_half_even && strcmp(target->arithmetic, "pot_shift") == 0;
  const struct mq_engine_exact exact = {
      .arithmetic = mq_exact_arithmetic_find(is_even ? "pot_shift_even" : target->arithmetic),
      .averages_keep_scale = target->points.pool >= MQ_POOL_INPUT_SCALE,
      .means_keep_scale = target->points.pool == MQ_POOL_INPUT_SCALE_GLOBAL,
      .has_float_averages = target->points.pool == MQ_POOL_NONE,
      .float_nodes = islands,
      .n_float_nodes = lowered->prepared.n_islands};
  assert_non_null(exact.arithmetic);
  assert_true(exact.n_float_nodes <= sizeof islands / sizeof islands[0]);
  for (size_t i = 0; i < exact.n_float_nodes; i++)
    islands[i] = lowered->prepared.islands[i].node;
  compare(result, lowered, program, &exact);
}
