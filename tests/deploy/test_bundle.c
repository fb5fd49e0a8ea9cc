/* What the library writes it reads: every target, every width; and who found the scales. */
#include "help_bundle.h"

#include <math.h>

#include "help_graphs.h"

static void assert_same_points(const struct mq_prepared *a, const struct mq_prepared *b) {
  assert_int_equal(a->n_points, b->n_points);
  for (size_t i = 0; i < a->n_points; i++) {
    const struct mq_point *p = &a->points[i], *q = &b->points[i];
    const struct mq_qparams *s = &p->qparams, *t = &q->qparams;
    assert_string_equal(p->tensor, q->tensor);
    assert_string_equal(p->reason, q->reason);
    assert_int_equal(p->kind, q->kind);
    assert_int_equal(p->scheme.bits, q->scheme.bits);
    assert_int_equal(p->scheme.is_symmetric, q->scheme.is_symmetric);
    assert_int_equal(p->scheme.scale_form, q->scheme.scale_form);
    assert_int_equal(p->scheme.is_per_channel, q->scheme.is_per_channel);
    assert_int_equal(s->is_signed, q->scheme.is_signed);
    assert_int_equal(s->is_signed, t->is_signed);
    assert_int_equal(s->quant_min, t->quant_min);
    assert_int_equal(s->quant_max, t->quant_max);
    assert_int_equal(s->channel_axis, t->channel_axis);
    assert_int_equal(s->n_channels, t->n_channels);
    assert_memory_equal(s->scale, t->scale, (size_t)s->n_channels * sizeof *s->scale);
    assert_memory_equal(s->zero_point, t->zero_point, (size_t)s->n_channels * sizeof *s->zero_point);
  }
}

static void check_round_trip(const struct made *made, const char *what) {
  struct mq_bundle bundle;
  struct mq_err err = {0};
  if (write_bundle(made, "trip", &err) != MQ_OK || read_bundle(&bundle, "trip", &err) != MQ_OK) {
    fail_msg("%s: %s", what, err.message);
  }
  assert_same_points(&made->prepared, &bundle.prepared);
  assert_string_equal(bundle.target, made->target->name);
  assert_true(bundle.has_preprocess && bundle.preprocess.is_bgr && !bundle.preprocess.is_nhwc);
  assert_int_equal(bundle.preprocess.resize, 9);
  assert_int_equal(bundle.preprocess.crop, 8);
  assert_true(bundle.preprocess.std[2] == 3 && bundle.preprocess.mean[0] == 0.1f);
  assert_true(bundle.float_top1 == 0.75 && isnan(bundle.top1));
  mq_bundle_deinit(&bundle);
}

static void every_target_and_width(void **state) {
  (void)state;
  static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  static const int a_bits[] = {2, 5, 8, 16};
  for (size_t i = 0; i < 6; i++) {
    for (size_t k = 0; k < 4; k++) {
      struct made made;
      char what[64];
      int w_bits = a_bits[k] > 8 ? 8 : 10 - a_bits[k];
      snprintf(what, sizeof what, "%s W%dA%d", targets[i], w_bits, a_bits[k]);
      make_prepared(&made, targets[i], w_bits, a_bits[k]);
      check_round_trip(&made, what);
      drop_prepared(&made);
    }
  }
}

/* The sign of the data is known at calibration only; a narrow range is a signed one. */
static void signs_that_adapt(void **state) {
  (void)state;
  struct made made;
  make_prepared(&made, "academic", 0, 0);
  size_t n_unsigned = 0;
  for (size_t i = 0; i < made.prepared.n_points; i++) {
    struct mq_point *point = &made.prepared.points[i];
    point->scheme.is_narrow = point->kind == MQ_POINT_ACTIVATION;
    n_unsigned += !point->qparams.is_signed;
    if (point->scheme.is_narrow && point->qparams.is_signed) {
      point->qparams.quant_min = -127;
    }
  }
  assert_true(n_unsigned > 0 && n_unsigned < made.prepared.n_points);
  check_round_trip(&made, "academic, narrow");
  drop_prepared(&made);
}

static void scales_at_their_limits(void **state) {
  (void)state;
  static const float scales[] = {1.17549435e-38f, 3.40282347e+38f, 0.1f, 1e-20f, 16777217.0f};
  for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
    struct made made;
    make_prepared(&made, "fbgemm", 0, 0);
    for (size_t k = 0; k < made.prepared.n_points; k++) {
      made.prepared.points[k].qparams.scale[0] = scales[i];
    }
    check_round_trip(&made, "limits");
    drop_prepared(&made);
  }
}

/* Learned grids need not use all integers of their bits. */
static void grids_that_end_elsewhere(void **state) {
  (void)state;
  struct made made;
  make_prepared(&made, "tensorrt", 4, 4);
  made.prepared.points[0].qparams.quant_min = -3;
  made.prepared.points[0].qparams.quant_max = 5;
  made.prepared.points[1].qparams.quant_min = -40;
  made.prepared.points[1].qparams.quant_max = 40;
  check_round_trip(&made, "ends");
  made.prepared.points[1].qparams.quant_max = 128; /* no int8 */
  struct mq_err err = {0};
  assert_int_equal(write_bundle(&made, "trip", &err), MQ_BAD_INPUT);
  assert_non_null(
      strstr(err.message, "quant_max: found 128, expected a whole number from 1 to 127 for a custom_range"));
  drop_prepared(&made);
}

static void observers_are_named(void **state) {
  (void)state;
  struct made made;
  struct mq_err err = {0};
  make_prepared(&made, "snpe", 0, 0);
  made.prepared.points[2].observer = "mse"; /* its own */
  assert_int_equal(made.prepared.points[2].kind, MQ_POINT_ACTIVATION);
  assert_ok(write_bundle(&made, "observers", &err));
  json_t *quant = load("observers", "quant.json");
  const json_t *points = json_object_get(quant, "points");
  assert_int_equal(json_array_size(points), made.prepared.n_points);
  for (size_t i = 0; i < json_array_size(points); i++) {
    const json_t *point = json_array_get(points, i),
                 *parameter = json_object_get(point, "observer_parameter");
    bool is_weight = made.prepared.points[i].kind == MQ_POINT_WEIGHT;
    assert_string_equal(json_string_value(json_object_get(point, "observer")), i == 2      ? "mse"
                                                                               : is_weight ? "minmax"
                                                                                           : "quantile");
    assert_true(i == 2 || is_weight ? json_is_null(parameter) : json_real_value(parameter) == 0.75);
    assert_true(json_is_null(json_object_get(point, "observer_variant")));
    assert_null(json_object_get(point, "custom_range"));
  }
  json_decref(quant);
  drop_prepared(&made);
}

/* A weight left on no grid is as it is in model.onnx; an activation needs its scale; nothing is no bundle. */
static void points_without_scales(void **state) {
  (void)state;
  struct made made;
  struct mq_err err = {0};
  make_prepared(&made, "snpe", 0, 0);
  size_t n = made.prepared.n_points;
  mq_qparams_deinit(&made.prepared.points[1].qparams);
  assert_ok(write_bundle(&made, "without", &err));
  struct mq_bundle bundle;
  assert_ok(read_bundle(&bundle, "without", &err));
  assert_int_equal(bundle.prepared.n_points, n - 1);
  mq_bundle_deinit(&bundle);
  mq_qparams_deinit(&made.prepared.points[0].qparams);
  assert_fails(MQ_BAD_INPUT, "tensor 'input' has no scale on a grid of integers, expected a method",
               write_bundle(&made, "without", &err));
  expect_read("without", NULL, "a refused bundle");
  drop_prepared(&made);
}

static void nothing_is_no_bundle(void **state) {
  (void)state;
  struct made made;
  struct mq_err err = {0};
  make_prepared(&made, "snpe", 0, 0);
  for (size_t i = 0; i < made.prepared.n_points; i++) {
    mq_qparams_deinit(&made.prepared.points[i].qparams);
  }
  made.prepared.n_points = 0;
  assert_fails(MQ_BAD_INPUT, "found no quantized tensor in residual_projection, expected at least one",
               write_bundle(&made, "nothing", &err));
  expect_read("nothing", "nothing: not a bundle: found no quant.json in it, expected a directory", "no file");
  drop_prepared(&made);
}

/* Every file but the manifest itself is the one that it was written for. */
static void files_of_other_bundles(void **state) {
  (void)state;
  static const char *const names[] = {"model.onnx", "float.onnx", "preprocess.json", "quant.json"};
  make_bundle("own", "snpe", 0, 0);
  expect_read("own", NULL, "nothing");
  for (size_t i = 0; i < 4; i++) {
    char command[1200], says[100];
    snprintf(command, sizeof command, "cd '%s' && cp own/%s kept && echo >> own/%s", scratch, names[i],
             names[i]);
    assert_int_equal(system(command), 0);
    snprintf(says, sizeof says, "own/%s: differs from the manifest's hash: the bundle is mixed or damaged",
             names[i]);
    expect_read("own", says, names[i]);
    snprintf(command, sizeof command, "cd '%s' && mv kept own/%s", scratch, names[i]);
    assert_int_equal(system(command), 0);
  }
}

/* ---- program.mqi --------------------------------------------------------------------------------------- */

static void a_program_for_every_target(void **state) {
  (void)state;
  static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  for (size_t i = 0; i < 6; i++) {
    struct mq_err err = {0};
    struct mq_bundle bundle;
    make_bundle("program", targets[i], 0, 0);
    assert_ok(read_bundle(&bundle, "program", &err));
    assert_non_null(bundle.program);
    assert_string_equal(bundle.program->target, targets[i]);
    assert_string_equal(bundle.no_program, "");
    mq_bundle_deinit(&bundle);
  }
}

/* model.onnx and quant.json say all that the program does: lowered once more from them it has the same bytes.
 */
static void a_program_is_made_of_the_other_files(void **state) {
  (void)state;
  struct made made;
  struct mq_err err = {0};
  struct mq_program_err why;
  struct mq_bundle bundle;
  struct mq_lowered again;
  make_prepared(&made, "snpe", 0, 0);
  assert_ok(write_bundle(&made, "again", &err));
  assert_ok(read_bundle(&bundle, "again", &err));
  assert_ok(mq_lower(&again, &bundle.prepared, made.target, &err));
  again.program.name = bundle.program->name; /* that of the model's file */
  size_t n = 0, n_again = 0;
  assert_int_equal(mq_program_file_bytes(&n, bundle.program, &why), MQ_PROGRAM_OK);
  assert_int_equal(mq_program_file_bytes(&n_again, &again.program, &why), MQ_PROGRAM_OK);
  assert_int_equal(n, n_again);
  void *bytes = mq_alloc(n, 1);
  assert_int_equal(mq_program_write(bytes, n, &again.program, &why), MQ_PROGRAM_OK);
  assert_memory_equal(bytes, bundle.program_file, n);
  mq_free(bytes);
  mq_lowered_deinit(&again);
  mq_bundle_deinit(&bundle);
  drop_prepared(&made);
}

static void spoil_program(const char *name, long at, int value) {
  char path[800];
  snprintf(path, sizeof path, "%s/%s/program.mqi", scratch, name);
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  assert_int_equal(fseek(file, at, SEEK_SET), 0);
  assert_int_equal(fputc(value, file), value);
  assert_int_equal(fclose(file), 0);
}

static void a_program_is_checked(void **state) {
  (void)state;
  make_bundle("spoilt", "snpe", 0, 0);
  spoil_program("spoilt", 8, 7);
  expect_read("spoilt", "program.mqi: differs from the manifest's hash", "another byte");
  reseal("spoilt");
  expect_read("spoilt", "program.mqi: ", "another byte and its hash");
}

/* An older program does not stay beside a new network. */
static void a_network_without_a_program(void **state) {
  (void)state;
  struct made made;
  struct mq_err err = {0};
  struct mq_bundle bundle;
  make_bundle("older", "snpe", 0, 0);
  make_prepared(&made, "snpe", 0, 0);
  made.target->arithmetic = NULL;
  assert_ok(write_bundle(&made, "older", &err));
  assert_ok(read_bundle(&bundle, "older", &err));
  assert_null(bundle.program);
  assert_non_null(strstr(bundle.no_program, "has no arithmetic"));
  mq_bundle_deinit(&bundle);
  drop_prepared(&made);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_program_for_every_target), cmocka_unit_test(a_program_is_made_of_the_other_files),
      cmocka_unit_test(a_program_is_checked),       cmocka_unit_test(a_network_without_a_program),
      cmocka_unit_test(every_target_and_width),     cmocka_unit_test(signs_that_adapt),
      cmocka_unit_test(scales_at_their_limits),     cmocka_unit_test(grids_that_end_elsewhere),
      cmocka_unit_test(observers_are_named),        cmocka_unit_test(points_without_scales),
      cmocka_unit_test(nothing_is_no_bundle),       cmocka_unit_test(files_of_other_bundles),
  };
  return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
