/* Engines where a target has no integer program: what is counted, and in which steps. */
#include <math.h>
#include <unistd.h>

#include "help_verify.h"
#include "mqbench/load.h"

#define IMAGES 5

static char scratch[512], data[800];

static struct mq_tensor copy_of(const struct mq_tensor *tensor) {
  struct mq_err err = {0};
  struct mq_tensor copy;
  assert_ok(mq_tensor_init(&copy, MQ_F32, &tensor->shape, &err));
  mq_tensor_copy(&copy, tensor);
  return copy;
}

static char *path_of(char path[700], const char *name) {
  snprintf(path, 700, "%s/%s", scratch, name);
  return path;
}

static int set_up(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_rng rng;
  struct mq_tensor images;
  char path[700];
  const struct mq_shape shape = {.rank = 4, .dim = {IMAGES, 3, 16, 16}};
  strcpy(scratch, make_test_directory());
  snprintf(data, sizeof data, "npy:%s", path_of(path, "x.npy"));
  mq_rng_init(&rng, 3, MQ_RNG_TEST, 0, 0);
  if (mq_tensor_init(&images, MQ_F32, &shape, &err) != MQ_OK) return 1;
  for (int64_t i = 0; i < mq_shape_count(&shape); i++)
    ((float *)images.data)[i] = 3 * mq_rng_float(&rng) - 1;
  mq_status status = mq_npy_write(path, &images, &err);
  mq_tensor_deinit(&images);
  if (symlink(MQ_TESTS_DIRECTORY "/verify/fake_adapter.py", path_of(path, "board")) != 0) return 1;
  setenv("MQBENCH_ADAPTERS", scratch, 1);
  return status == MQ_OK ? 0 : 1;
}

static int tear_down(void **state) {
  (void)state;
  remove_test_directory(scratch);
  return 0;
}

static void make_simulated(struct subject *s, const char *target) {
  struct mq_err err = {0};
  struct mq_graph *model;
  assert_ok(mq_onnx_read(&model, MQ_TESTS_DIRECTORY "/load/models/tiny_resnet_cifar.onnx", NULL, &err));
  begin_subject(s, model, target, 0, NULL, data, 2);
  calibrate_subject(s);
  s->bundle = (struct mq_bundle){.prepared = s->prepared};
  snprintf(s->bundle.target, sizeof s->bundle.target, "%s", target);
}

static void simulate(struct mq_verification *v, const struct subject *s, int64_t n_images) {
  struct mq_err err = {0};
  const struct mq_verify_options options = {.n_images = n_images};
  assert_ok(mq_verify_simulated(v, &s->prepared, s->data, &options, s->pool, &err));
}

/* The engine answers what `logits` holds. */
static void run_board(struct mq_engine_comparison *c, const struct subject *s,
                      const struct mq_verification *v, const struct mq_tensor *logits) {
  struct mq_err err = {0};
  char path[700];
  const struct mq_verify_engine_options options = {.name = "board", .target = s->target};
  assert_ok(mq_npy_write(path_of(path, "y.npy"), logits, &err));
  setenv("FAKE_ANSWER", path, 1);
  assert_ok(mq_verify_engine(c, &s->bundle, v, s->data, &options, s->pool, &err));
  unsetenv("FAKE_ANSWER");
  assert_null(c->skipped_reason);
  assert_int_equal(c->n_images, v->n_images);
  assert_int_equal(c->elements, mq_shape_count(&logits->shape));
  assert_false(c->is_twin);
}

static void outputs_are_the_simulation(void **state) {
  (void)state;
  struct subject s;
  struct mq_verification v;
  struct mq_tensor plain;
  struct mq_err err = {0};
  const struct mq_evaluate_options in_floats = {.label = NULL};
  make_simulated(&s, "openvino");
  simulate(&v, &s, 3);
  assert_int_equal(v.n_images, 3);
  assert_int_equal(v.n_outputs, 1);
  assert_ok(mq_predict(&plain, s.model, s.data, 3, &in_floats, s.pool, &err));
  double differences = 0, values = 0;
  for (int64_t i = 0; i < mq_shape_count(&plain.shape); i++) {
    const double a = mq_tensor_get_double(&v.outputs[0], i), b = mq_tensor_get_double(&plain, i);
    differences += (a - b) * (a - b);
    values += b * b;
  }
  assert_true(differences > 0); /* it is quantized */
  assert_true(differences < 0.01 * values);
  mq_tensor_deinit(&plain);
  mq_verification_deinit(&v);
  drop_subject(&s);
}

/* Other bits count; a step is a 127th of the image's largest value. */
static void floats_are_compared_in_bits(void **state) {
  (void)state;
  struct subject s;
  struct mq_verification v;
  struct mq_engine_comparison c;
  make_simulated(&s, "openvino");
  simulate(&v, &s, 0);
  float *logits = v.outputs[0].data, most = 0;
  const int64_t n = v.outputs[0].shape.dim[1];
  run_board(&c, &s, &v, &v.outputs[0]);
  assert_int_equal(c.mismatches, 0);
  assert_int_equal(c.n_agree, IMAGES);
  mq_engine_comparison_deinit(&c);
  struct mq_tensor other = copy_of(&v.outputs[0]);
  for (int64_t i = 0; i < n; i++)
    most = fmaxf(most, fabsf(logits[2 * n + i]));
  ((float *)other.data)[2 * n + 1] += 2 * most / 127;
  ((float *)other.data)[0] = nextafterf(logits[0], INFINITY);
  run_board(&c, &s, &v, &other);
  assert_int_equal(c.mismatches, 2);
  assert_true(fabs(c.max_step - 2) < 1e-3);
  mq_engine_comparison_deinit(&c);
  mq_tensor_deinit(&other);
  mq_verification_deinit(&v);
  drop_subject(&s);
}

/* Where the last output is a point, its scale is the step, and what lies on the same code is the same. */
static void codes_are_compared_as_codes(void **state) {
  (void)state;
  struct subject s;
  struct mq_verification v;
  struct mq_engine_comparison c;
  struct mq_tensor other;
  float scale = 0;
  make_simulated(&s, "ppl_cuda");
  simulate(&v, &s, 0);
  for (size_t i = 0; i < s.prepared.n_points; i++) {
    if (strcmp(s.prepared.points[i].tensor, "output") == 0) scale = s.prepared.points[i].qparams.scale[0];
  }
  assert_true(scale > 0);
  other = copy_of(&v.outputs[0]);
  ((float *)other.data)[1] += 3 * scale;
  ((float *)other.data)[2] += 0.1f * scale;
  run_board(&c, &s, &v, &other);
  assert_int_equal(c.mismatches, 1);
  assert_true(fabs(c.max_step - 3) < 1e-3);
  mq_engine_comparison_deinit(&c);
  mq_tensor_deinit(&other);
  mq_verification_deinit(&v);
  drop_subject(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(outputs_are_the_simulation),
                                     cmocka_unit_test(floats_are_compared_in_bits),
                                     cmocka_unit_test(codes_are_compared_as_codes)};
  if (system("python3 -c 'import json' 2>/dev/null") != 0) {
    printf("skipped: no python3\n");
    return 77;
  }
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
