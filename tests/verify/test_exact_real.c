/* ResNet-20 on images of CIFAR-10: the exact simulation and the integer program name the same code for every
 * element of every point, and the same logits. MQ_TEST_IMAGES: how many (default 24); MQ_TEST_TARGET: one.
 */
#include <math.h>

#include "common.h"
#include "mqbench/deploy.h"
#include "mqbench/kernel.h"
#include "mqbench/load.h"
#include "mqbench/verify.h"

static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};

static struct mq_dataset *open_data(const char *file, int64_t limit) {
  struct mq_err err = {0};
  struct mq_data_spec spec;
  struct mq_dataset *data;
  char argument[1200];
  snprintf(argument, sizeof argument, "tar:%s,preset=cifar,limit=%d", shared_data(file), (int)limit);
  assert_ok(mq_data_spec_parse(&spec, argument, &err));
  assert_ok(mq_dataset_open(&data, &spec, &err));
  mq_data_spec_deinit(&spec);
  return data;
}

static struct mq_pool *make_pool(void) {
  struct mq_err err = {0};
  struct mq_pool *pool;
  assert_ok(mq_kernel_start(MQ_ISA_NATIVE, &err));
  assert_ok(mq_pool_create(&pool, 2, mq_kernel_start_worker, &err));
  return pool;
}

static void prepare(struct mq_prepared *prepared, struct mq_target *target, int bits, struct mq_pool *pool) {
  struct mq_err err = {0};
  struct mq_graph *model;
  struct mq_calibrate_result result;
  int64_t indices[64];
  struct mq_dataset *data = open_data("cifar10jpeg/train-0.tar", 64);
  for (int64_t i = 0; i < 64; i++)
    indices[i] = i;
  assert_ok(mq_onnx_read(&model, shared_data("models/resnet20_cifar10.onnx"), NULL, &err));
  const struct mq_prepare_options options = {.w_bits = bits, .a_bits = bits};
  assert_ok(mq_prepare(prepared, model, target, &options, &err));
  const struct mq_calibrate_options calibrate = {.w_parameter = (double)NAN,
                                                 .a_parameter = (double)NAN,
                                                 .indices = indices,
                                                 .n_indices = 64,
                                                 .bias = target->bias};
  assert_ok(mq_calibrate(&result, prepared, data, &calibrate, pool, &err));
  mq_graph_destroy(model);
  mq_dataset_close(data);
}

static struct mq_exact_rules rules_of(const struct mq_target *target, const struct mq_prepared *prepared) {
  return (struct mq_exact_rules){.arithmetic = target->arithmetic,
                                 .pot_half_even = target->pot_half_even,
                                 .pool = target->points.pool,
                                 .islands = prepared->islands,
                                 .n_islands = prepared->n_islands};
}

/* ---- Every code
 * -------------------------------------------------------------------------------------------- */

/* The exact simulation's codes less their zero points, of every tensor and image, by tensors of the program.
 */
struct book {
  const struct mq_program *program;
  int16_t **pages; /* [tensor][image * elements], in the program's order; NULL: no point */
  int64_t n_images;
  _Atomic int64_t n_seen, n_lost; /* points; those that the program has not */
  int64_t n_points, n, differing;
  char worst[128];
};

/* The program's tensor of codes with that name. */
static uint32_t find_tensor(const struct book *b, const char *name) {
  for (uint32_t t = 0; t < b->program->n_tensors; t++) {
    const struct mq_program_tensor *tensor = &b->program->tensors[t];
    if (tensor->scale > 0 && !tensor->constant && strcmp(tensor->name, name) == 0) return t;
  }
  return UINT32_MAX;
}

/* Where the program has logical element i of one image. */
static int64_t place_of(const struct mq_program_tensor *t, int64_t i) {
  if (!t->is_channels_last) return i;
  int64_t plane = (int64_t)t->dim[0] * t->dim[1];
  return i % plane * t->dim[2] + i / plane;
}

static mq_status note(void *context, const struct mq_seen *seen, unsigned worker, struct mq_err *err) {
  (void)worker;
  (void)err;
  struct book *b = context;
  uint32_t at = seen->point ? find_tensor(b, seen->tensor) : UINT32_MAX;
  b->n_seen += seen->point && seen->image == 0;
  if (at == UINT32_MAX || !b->pages[at]) {
    b->n_lost += seen->point && seen->image == 0;
    return MQ_OK;
  }
  const struct mq_program_tensor *t = &b->program->tensors[at];
  int16_t *page = b->pages[at] + seen->image * mq_program_elements(t);
  for (int64_t i = 0; i < mq_program_elements(t); i++)
    page[place_of(t, i)] =
        (int16_t)(((const int32_t *)seen->codes.data)[i] - seen->point->qparams.zero_point[0]);
  return MQ_OK;
}

static void compare(void *context, const struct mq_program *program, uint32_t tensor, int64_t image,
                    const void *data) {
  struct book *b = context;
  const struct mq_program_tensor *t = &program->tensors[tensor];
  if (!b->pages[tensor]) return;
  int64_t n = mq_program_elements(t);
  const int16_t *page = b->pages[tensor] + image * n;
  for (int64_t i = 0; i < n; i++) {
    int32_t code = t->type == MQ_PROGRAM_S8 ? ((const int8_t *)data)[i] : ((const uint8_t *)data)[i];
    if (code - t->zero_point != page[i]) {
      b->differing++;
      snprintf(b->worst, sizeof b->worst, "%s", t->name);
    }
  }
  b->n += n;
  b->n_points += image == 0;
}

static void run_program(struct book *b, const float *pixels) {
  struct mq_program_err why = {{0}};
  const struct mq_program_tensor *y = &b->program->tensors[b->program->outputs[0]];
  void *output = malloc((size_t)b->n_images * mq_program_tensor_bytes(y)), *arena = NULL;
  assert_int_equal(posix_memalign(&arena, 64, b->program->arena_bytes + 64), 0);
  const void *inputs[] = {pixels};
  void *outputs[] = {output};
  const struct mq_program_run job = {.inputs = inputs,
                                     .outputs = outputs,
                                     .n_images = b->n_images,
                                     .arena = arena,
                                     .arena_bytes = b->program->arena_bytes,
                                     .see = compare,
                                     .context = b};
  if (mq_program_run_reference(b->program, &job, &why) != MQ_PROGRAM_OK) fail_msg("%s", why.message);
  free(arena);
  free(output);
}

/* Images as the program takes them, H W C. */
static float *read_pixels(struct mq_dataset *data, int64_t n) {
  struct mq_err err = {0};
  float *pixels = calloc((size_t)n, 3 * 32 * 32 * sizeof(float));
  for (int64_t i = 0; i < n; i++)
    assert_ok(mq_dataset_read(&pixels[i * 3 * 32 * 32], data, i, &err));
  return pixels;
}

static void every_code(void **state) {
  (void)state;
  const char *wanted = getenv("MQ_TEST_IMAGES"), *only = getenv("MQ_TEST_TARGET");
  static const int bits[] = {0, 4};
  struct mq_pool *pool = make_pool();
  int64_t n = wanted ? atoi(wanted) : test_is_light() ? 2 : 24;
  struct mq_dataset *data = open_data("cifar10jpeg/test.tar", n);
  float *pixels = read_pixels(data, n);
  for (size_t t = 0; t < 2 * sizeof targets / sizeof targets[0]; t++) {
    struct mq_err err = {0};
    struct mq_lowered lowered;
    struct mq_prepared prepared;
    struct mq_target *target;
    if ((only && strcmp(only, targets[t / 2]) != 0) || test_leaves_out((int64_t)t)) continue;
    assert_ok(mq_target_load(&target, targets[t / 2], &err));
    prepare(&prepared, target, bits[t % 2], pool);
    assert_ok(mq_lower(&lowered, &prepared, target, &err));
    struct book b = {.program = &lowered.program, .n_images = bits[t % 2] ? (n + 4) / 5 : n};
    b.pages = calloc(b.program->n_tensors, sizeof *b.pages);
    for (size_t i = 0; i < prepared.n_points; i++) {
      uint32_t at = find_tensor(&b, prepared.points[i].tensor);
      if (at < UINT32_MAX)
        b.pages[at] =
            calloc((size_t)(b.n_images * mq_program_elements(&b.program->tensors[at])), sizeof(int16_t));
    }
    const struct mq_exact_rules rules = rules_of(target, &prepared);
    const struct mq_see_options options = {.points = prepared.points,
                                           .n_points = prepared.n_points,
                                           .exact = &rules,
                                           .n_images = b.n_images,
                                           .context = &b,
                                           .see = note};
    assert_ok(mq_simulate_and_see(prepared.graph, data, &options, pool, &err));
    run_program(&b, pixels);
    printf("%s, %d bits: %d points, %lld codes, %lld differ\n", target->name, bits[t % 2] ? bits[t % 2] : 8,
           (int)b.n_points, (long long)b.n, (long long)b.differing);
    if (b.differing > 0 || b.n_lost > 0 || b.n_points != b.n_seen || b.n_points < 20)
      fail_msg("%s: %lld codes differ (%s)", target->name, (long long)b.differing, b.worst);
    for (uint32_t i = 0; i < b.program->n_tensors; i++)
      free(b.pages[i]);
    free(b.pages);
    mq_lowered_deinit(&lowered);
    mq_prepared_deinit(&prepared);
    mq_target_destroy(target);
  }
  free(pixels);
  mq_dataset_close(data);
  mq_pool_destroy(pool);
}

/* ---- The logits -------------------------------------------------------------------------------------------
 */

static void every_logit(void **state) {
  (void)state;
  struct mq_pool *pool = make_pool();
  struct mq_dataset *data = open_data("cifar10jpeg/test.tar", 20);
  for (size_t t = 0; t < sizeof targets / sizeof targets[0]; t++) {
    struct mq_err err = {0};
    struct mq_lowered lowered;
    struct mq_prepared prepared;
    struct mq_target *target;
    struct mq_tensor exact, program;
    if (test_leaves_out((int64_t)t)) continue;
    assert_ok(mq_target_load(&target, targets[t], &err));
    prepare(&prepared, target, 0, pool);
    assert_ok(mq_lower(&lowered, &prepared, target, &err));
    const struct mq_exact_rules rules = rules_of(target, &prepared);
    const struct mq_evaluate_options simulate = {
        .points = prepared.points, .n_points = prepared.n_points, .exact = &rules};
    const struct mq_program_evaluate_options run = {.slice_images = 4};
    assert_ok(mq_predict(&exact, prepared.graph, data, 0, &simulate, pool, &err));
    assert_ok(mq_program_predict(&program, &lowered.program, prepared.graph, data, 0, &run, pool, &err));
    assert_memory_equal(exact.data, program.data, 20 * 10 * sizeof(float));
    mq_tensor_deinit(&exact);
    mq_tensor_deinit(&program);
    mq_lowered_deinit(&lowered);
    mq_prepared_deinit(&prepared);
    mq_target_destroy(target);
  }
  mq_dataset_close(data);
  mq_pool_destroy(pool);
}

int main(void) {
  if (!shared_data("models/resnet20_cifar10.onnx")) {
    printf("skipped: no shared data\n");
    return MQ_TEST_SKIPPED;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_code),
      cmocka_unit_test(every_logit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
