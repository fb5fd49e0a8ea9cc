/* Float steps have the bits of the engine's kernels: what a simulation computes between points is what the
 * program computes there. */
#include "mqbench/kernel.h"
#include "program/help_program.h"
#include "program/ops.h"

#define N 1003

static void fill(struct help *help, float *x) {
  const float special[] = {0, -0.0f, 1e-40f, -1e-40f, 3e38f, -3e38f, INFINITY, -INFINITY, 88, -104, -105};
  for (int i = 0; i < N; i++)
    x[i] = i < 11 ? special[i] : help_uniform(help, -1, 1) * ldexpf(1, (int)help_random(help, 8));
}

/* One step on N floats; the result is help_alloc'ed. */
static float *run(struct help *help, mq_step_kind kind, mq_program_unary unary, const float *x,
                  const int32_t *in, const int32_t *out) {
  const uint32_t from = help_input(help, help_floats(help, in)), to = help_floats(help, out);
  struct mq_program_step *step = help_step(help, kind, 0, to, INPUTS((int)from));
  if (kind == MQ_STEP_UNARY) {
    step->as.unary.kind = unary;
    step->as.unary.alpha = 0.2f;
    step->as.unary.beta = 0.5f;
  } else if (kind == MQ_STEP_AVERAGE || kind == MQ_STEP_MAX) {
    step->as.pool.window = help_window(3, 2, 1);
    step->as.pool.counts_padding = unary != 0;
  }
  help_output(help, to);
  if (mq_program_finish(&help->program, &help->err) != MQ_PROGRAM_OK) fail_msg("%s", help->err.message);
  float *y = help_alloc(help, mq_program_tensor_bytes(&help->tensors[to]));
  const struct mq_program_run arguments = {.inputs = (const void *const[]){x},
                                           .outputs = (void *const[]){y},
                                           .n_images = 1,
                                           .arena = help_alloc(help, help->program.arena_bytes),
                                           .arena_bytes = help->program.arena_bytes};
  assert_int_equal(mq_program_run_reference(&help->program, &arguments, NULL), MQ_PROGRAM_OK);
  return y;
}

static void test_unary(void **state) {
  (void)state;
  static const struct {
    mq_program_unary ours;
    mq_unary theirs;
  } pairs[] = {{MQ_PROGRAM_SIGMOID, MQ_UNARY_SIGMOID},
               {MQ_PROGRAM_HARD_SIGMOID, MQ_UNARY_HARD_SIGMOID},
               {MQ_PROGRAM_HARD_SWISH, MQ_UNARY_HARD_SWISH},
               {MQ_PROGRAM_LEAKY_RELU, MQ_UNARY_LEAKY_RELU}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    struct help help;
    float x[N], expected[N];
    help_begin(&help, i);
    fill(&help, x);
    if (pairs[i].ours == MQ_PROGRAM_HARD_SWISH) x[6] = x[7] = 1; /* -inf times 0 */
    mq_loop_unary(expected, x, N, pairs[i].theirs, 0.2f, 0.5f);
    assert_memory_equal(run(&help, MQ_STEP_UNARY, pairs[i].ours, x, DIMS(N), DIMS(N)), expected,
                        sizeof expected);
    help_end(&help);
  }
}

static void test_softmax(void **state) {
  (void)state;
  for (int32_t n = 1; n < 40; n += 3) {
    struct help help;
    float x[N], expected[N];
    help_begin(&help, (uint64_t)n);
    for (int i = 0; i < N; i++)
      x[i] = help_uniform(&help, -30, 60);
    mq_softmax_rows(expected, x, 2, n, false);
    assert_memory_equal(run(&help, MQ_STEP_SOFTMAX, 0, x, DIMS(2, n), DIMS(2, n)), expected,
                        2 * (size_t)n * sizeof *x);
    help_end(&help);
  }
}

static void test_pools(void **state) {
  (void)state;
  static const mq_pooling_kind kinds[] = {MQ_POOLING_AVERAGE, MQ_POOLING_AVERAGE_WITH_PADDING,
                                          MQ_POOLING_MAX};
  for (int i = 0; i < 3; i++) {
    struct help help;
    struct mq_pooling *pooling;
    struct mq_err err;
    float x[N], expected[5 * 4 * 7];
    const struct mq_pooling_desc desc = {.kind = kinds[i],
                                         .input = {.rank = 4, .dim = {1, 7, 9, 8}},
                                         .kernel = {3, 3},
                                         .stride = {2, 2},
                                         .dilation = {1, 1},
                                         .pad_begin = {1, 1},
                                         .pad_end = {1, 1}};
    help_begin(&help, 9);
    fill(&help, x);
    assert_ok(mq_pooling_create(&pooling, &desc, &err));
    assert_ok(mq_pooling_forward(pooling, expected, x + 11, NULL, &err));
    const float *y = run(&help, i == 2 ? MQ_STEP_MAX : MQ_STEP_AVERAGE, (mq_program_unary)(i == 1), x + 11,
                         DIMS(9, 8, 7), DIMS(5, 4, 7));
    assert_memory_equal(y, expected, sizeof expected);
    mq_pooling_destroy(pooling);
    help_end(&help);
  }
}

static void test_mean(void **state) {
  (void)state;
  struct help help;
  float x[N], expected[17];
  help_begin(&help, 2);
  fill(&help, x);
  mq_global_average(expected, x + 11, 1, 49, 17);
  assert_memory_equal(run(&help, MQ_STEP_MEAN, 0, x + 11, DIMS(7, 7, 17), DIMS(17)), expected,
                      sizeof expected);
  help_end(&help);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unary),
      cmocka_unit_test(test_softmax),
      cmocka_unit_test(test_pools),
      cmocka_unit_test(test_mean),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
