/* Plans: the grid and its order, exclusions, defaults, paths, and every kind of mistake with its line. */
#include "bench/help_plan.h"

#define HEAD "models: net.onnx\ndata: {train: \"fractal:\", eval: \"fractal:split=test\"}\n"

static void assert_cells(const char *text, const char *expected) {
  struct mq_plan *plan = help_plan(text, "/tmp/plan.yaml");
  char *list = help_plan_list(plan);
  assert_string_equal(list, expected);
  free(list);
  mq_plan_destroy(plan);
}

static void assert_refused(const char *text, const char *expected) {
  struct mq_plan *plan = NULL;
  struct mq_err err = {0};
  mq_status status = mq_plan_parse(&plan, text, strlen(text), "p.yaml", &err);
  if (status != MQ_BAD_INPUT || !strstr(err.message, expected)) {
    fail_msg("status %d \"%s\", expected \"%s\"", status, err.message, expected);
  }
  assert_null(plan);
}

static void test_grid_and_order(void **state) {
  (void)state;
  assert_cells(
      "models: [a.onnx, {path: b.onnx, name: second}]\n"
      "data: {train: \"fractal:\", eval: \"fractal:split=test\"}\n"
      "grid:\n"
      "  target: [snpe, acl]\n"
      "  method: [float, ptq]\n"
      "  bits: [8, {w: 4, a: 8}]\n"
      "  observer: [{w: minmax, a: mse}]\n",
      "a float\n"
      "a ptq snpe w8a8 minmax/mse seed 0\n"
      "a ptq acl w8a8 minmax/mse seed 0\n"
      "a ptq snpe w4a8 minmax/mse seed 0\n"
      "a ptq acl w4a8 minmax/mse seed 0\n"
      "second float\n"
      "second ptq snpe w8a8 minmax/mse seed 0\n"
      "second ptq acl w8a8 minmax/mse seed 0\n"
      "second ptq snpe w4a8 minmax/mse seed 0\n"
      "second ptq acl w4a8 minmax/mse seed 0\n");
}

/* A cell goes when every key of an item matches. */
static void test_exclusions(void **state) {
  (void)state;
  assert_cells(
      HEAD
      "grid: {target: [snpe, acl, tvm], method: [ptq], bits: [8, 4], observer: [minmax, mse], seed: [0, 1]}\n"
      "exclude:\n"
      "  - {target: acl}\n"
      "  - {bits: {w: 4}, observer: {a: minmax}}\n"
      "  - {target: [snpe, tvm], bits: 4, seed: 1}\n"
      "  - {model: net, target: tvm, bits: 8}\n",
      "net ptq snpe w8a8 minmax/minmax seed 0\n"
      "net ptq snpe w8a8 minmax/minmax seed 1\n"
      "net ptq snpe w8a8 mse/mse seed 0\n"
      "net ptq snpe w8a8 mse/mse seed 1\n"
      "net ptq snpe w4a4 mse/mse seed 0\n"
      "net ptq tvm w4a4 mse/mse seed 0\n");
  /* the float cell has no target and no bits: only model and method can take it out */
  assert_cells(HEAD "grid: {target: snpe, method: [float, ptq]}\nexclude: [{target: snpe}]\n", "net float\n");
  assert_cells(HEAD "grid: {target: snpe, method: [float, ptq]}\nexclude: [{method: float}]\n",
               "net ptq snpe w0a0 minmax/minmax seed 0\n");
}

static void test_variants(void **state) {
  (void)state;
  assert_cells(HEAD "grid: {target: snpe, method: [ptq, {name: ptq, variant: published}], bits: 8}\n",
               "net ptq snpe w8a8 minmax/minmax seed 0\n"
               "net ptq published snpe w8a8 minmax/minmax seed 0\n");
  assert_cells(HEAD
               "grid: {target: snpe, method: [ptq, {name: ptq, variant: published}], bits: 8}\n"
               "exclude: [{method: {name: ptq, variant: published}}]\n",
               "net ptq snpe w8a8 minmax/minmax seed 0\n");
}

static int count_cells(const char *text) {
  struct mq_plan *plan = help_plan(text, "/tmp/plan.yaml");
  int n = (int)plan->n_cells;
  mq_plan_destroy(plan);
  return n;
}

/* What a cell leaves to its target, and the same said aloud, is one cell: the first of them. */
static void test_cells_said_twice(void **state) {
  (void)state;
  /* academic keeps BN, the others fold */
  struct mq_plan *plan = help_plan(
      HEAD "grid: {target: [academic, snpe], method: ptq, bn_fold: [target, none, 0]}\n", "/tmp/plan.yaml");
  static const struct {
    const char *target;
    mq_bn_fold bn_fold;
    int position;
  } expected[] = {{"academic", MQ_BN_FOLD_TARGET, 0},
                  {"snpe", MQ_BN_FOLD_TARGET, 1},
                  {"snpe", MQ_BN_FOLD_NONE, 1},
                  {"academic", MQ_BN_FOLD_0, 0}};
  assert_int_equal(plan->n_cells, 4);
  for (size_t i = 0; i < 4; i++) {
    assert_string_equal(plan->cells[i].target, expected[i].target);
    assert_int_equal(plan->cells[i].bn_fold, expected[i].bn_fold);
    assert_int_equal(plan->cells[i].target_position, expected[i].position);
  }
  mq_plan_destroy(plan);
  /* bits that are the target's own */
  assert_cells(HEAD "grid: {target: snpe, method: ptq, bits: [{w: 4}, {w: 4, a: 8}, {a: 4}, {w: 8, a: 4}]}\n",
               "net ptq snpe w4a0 minmax/minmax seed 0\nnet ptq snpe w0a4 minmax/minmax seed 0\n");
  assert_cells(HEAD "grid: {target: snpe, method: ptq, observer: [minmax, {w: minmax}]}\n",
               "net ptq snpe w0a0 minmax/minmax seed 0\n");
  /* graph rules that are the target's own: 1 of academic, 3 of snpe (whose averages stay its own), 2 of none
   */
  assert_int_equal(
      count_cells(HEAD "grid: {target: [academic, snpe], method: ptq, graph: [target, 1, 2, 3]}\n"), 6);
  /* the first of two goes by an exclusion: the other stays */
  assert_int_equal(count_cells(HEAD "grid: {target: academic, method: ptq, bn_fold: [target, none]}\n"
                                    "exclude: [{bn_fold: target}]\n"),
                   1);
  /* seeds and models are other cells */
  assert_int_equal(
      count_cells("models: [a.onnx, b.onnx]\ndata: {train: \"fractal:\", eval: \"fractal:\"}\n"
                  "grid: {target: snpe, method: [float, ptq], seed: [0, 1], bits: [{w: 8}, 8]}\n"),
      6);
}

static void test_every_key(void **state) {
  (void)state;
  struct mq_plan *plan = help_plan(
      "name: all of it\n"
      "description: every key once\n"
      "models: net.onnx\n"
      "data: {train: \"fractal:\", eval: \"fractal:split=test\"}\n"
      "grid:\n"
      "  target: snpe\n"
      "  method: ptq\n"
      "  graph: 2\n"
      "  bn_fold: none\n"
      "  bn_calibration: true\n"
      "  observer: {w: {name: quantile, parameter: 0.75}, a: kld}\n"
      "  seed: 7\n"
      "calibration: {images: 64, batch: 16, order: first}\n"
      "overrides: [{layer: conv1, bits: {w: 8, a: 16}}, {layer: \"/head/.*/\", keep_float: true}]\n"
      "training: {slice_images: 4}\n"
      "isa: avx2\n"
      "strict: true\n",
      "/tmp/p.yaml");
  assert_string_equal(plan->name, "all of it");
  assert_string_equal(plan->description, "every key once");
  assert_int_equal(plan->cells[0].slice_images, 4);
  assert_int_equal(plan->isa, MQ_ISA_AVX2);
  assert_int_equal(plan->n_cells, 1);
  const struct mq_cell *cell = plan->cells;
  assert_string_equal(cell->plan, "all of it");
  assert_string_equal(cell->w_observer, "quantile");
  assert_string_equal(cell->a_observer, "kld");
  assert_true(cell->w_parameter == 0.75 && isnan(cell->a_parameter));
  assert_int_equal(cell->graph, 2);
  assert_int_equal(cell->bn_fold, MQ_BN_FOLD_NONE);
  assert_true(cell->calibrates_bn && cell->is_calib_first && cell->is_strict);
  assert_int_equal(cell->calib_images, 64);
  assert_int_equal(cell->calib_batch, 16);
  assert_int_equal(cell->seed, 7);
  assert_int_equal(cell->w_bits, 0);
  assert_int_equal(cell->n_overrides, 2);
  assert_int_equal(cell->overrides[0].a_bits, 16);
  assert_string_equal(cell->overrides[1].layer, "/head/.*/");
  assert_true(cell->overrides[1].keep_float);
  mq_plan_destroy(plan);
}

static void test_defaults(void **state) {
  (void)state;
  struct mq_plan *plan = help_plan(HEAD "grid: {target: snpe, method: ptq}\n", "/tmp/p.yaml");
  const struct mq_cell *cell = plan->cells;
  assert_string_equal(plan->name, "p.yaml");
  assert_null(plan->description);
  assert_int_equal(cell->calib_images, 256);
  assert_int_equal(cell->calib_batch, 32);
  assert_int_equal(cell->slice_images, 8);
  assert_int_equal(cell->isa, MQ_ISA_NATIVE);
  assert_true(isnan(cell->w_parameter) && isnan(cell->a_parameter));
  assert_false(cell->is_strict || cell->calibrates_bn || cell->is_calib_first);
  mq_plan_destroy(plan);
}

/* Paths start at the plan, wherever the process runs. */
static void test_paths(void **state) {
  (void)state;
  char directory[] = "/tmp/mqbench-plan-XXXXXX", file[64], expected[128], *real = NULL;
  assert_non_null(mkdtemp(directory));
  snprintf(file, sizeof file, "%s/p.yaml", directory);
  real = realpath(directory, NULL);
  struct mq_plan *plan = help_plan(
      "models: [./net.onnx, /abs/other.onnx]\n"
      "data: {train: \"tar:train-*.tar,preset=cifar\", eval: \"folder:test\"}\n"
      "grid: {target: snpe, method: ptq}\n",
      file);
  snprintf(expected, sizeof expected, "%s/net.onnx", real);
  assert_string_equal(plan->cells[0].model_path, expected);
  assert_string_equal(plan->cells[1].model_path, "/abs/other.onnx");
  snprintf(expected, sizeof expected, "tar:%s/train-*.tar", real);
  assert_memory_equal(plan->cells[0].calib_data, expected, strlen(expected));
  snprintf(expected, sizeof expected, "folder:%s/test", real);
  assert_memory_equal(plan->cells[0].eval_data, expected, strlen(expected));
  mq_plan_destroy(plan);
  free(real);
  rmdir(directory);
}

static void test_mistakes(void **state) {
  (void)state;
  const char *const cases[][2] = {
      {HEAD "grid: {target: snpe, method: ptq}\nnmae: x\n",
       "p.yaml:4: unknown key 'nmae', did you mean 'name'"},
      {HEAD "grid: {target: snpe, method: ptq}\ntraining: {epochs: -2}\n",
       "p.yaml:4: epochs: found -2, expected 0 to"},
      {HEAD "grid: {target: snpe, method: lsq}\ntraining: {batch: 100}\n",
       "p.yaml:3: batch 100, expected a multiple of 8 (slice_images 8 x bn_groups 1)"},
      {HEAD "grid: {target: snpe, method: lsq}\ntraining: {optimiser: lamb}\n",
       "p.yaml:4: training.optimiser"},
      {HEAD "grid: {target: snpe, method: lsq, lr: [0.1, 0.1]}\n",
       "p.yaml:3: lr: this value is listed twice"},
      {HEAD "grid: {target: snpe, method: ptq}\ntraining: {slice_images: 0}\n",
       "p.yaml:4: training.slice_images: found '0', expected a whole number from 1"},
      {HEAD "grid: {target: snpe, method: ptq}\ntraining: {slices: 8}\n", "p.yaml:4: unknown key 'slices'"},
      {HEAD "grid: {target: snpe, method: ptq}\ntraining: 8\n", "p.yaml:4: "},
      {HEAD "grid: {target: snpe, method: ptq}\ndescription: [a, b]\n", "p.yaml:4: "},
      {HEAD "grid: {target: snpe, method: ptq, colour: 1}\n", "p.yaml:3: grid: unknown key 'colour'"},
      {HEAD "grid:\n  target: snpe\n  method: [ptq, brecq]\n",
       "p.yaml:5: method 'brecq' is not in this version"},
      {HEAD "grid: {target: snpe, method: magic}\n", "p.yaml:3: unknown method 'magic'"},
      {HEAD "grid: {target: nowhere, method: ptq}\n", "p.yaml:3: "},
      {HEAD "grid: {target: snpe, method: ptq, bits: 9}\n",
       "p.yaml:3: grid.bits: found '9', expected a whole number from 2 to 8"},
      {HEAD "grid: {target: snpe, method: ptq, bits: {w: 8, a: 12}}\n",
       "p.yaml:3: grid.bits.a: found '12', expected a whole number from 2 to 8, or 16"},
      {HEAD "grid: {target: snpe, method: ptq, bits: {w: 8, b: 8}}\n", "p.yaml:3: unknown key 'b'"},
      {HEAD "grid: {target: snpe, method: ptq, bits: {w: 16}}\n",
       "p.yaml:3: grid.bits.w: found '16', expected a whole number from 2 to 8 for weights"},
      {HEAD "grid: {target: snpe, method: ptq, bits: {a: 17}}\n",
       "p.yaml:3: grid.bits.a: found '17', expected a whole number from 2 to 8, or 16, for activations"},
      {HEAD "grid: {target: snpe, method: ptq, bits: []}\n", "p.yaml:3: bits: found 0 values"},
      {HEAD "grid: {target: snpe, method: ptq, bits: [8, {w: 8, a: 8}]}\n",
       "p.yaml:3: bits: this value is listed twice"},
      {HEAD
       "grid: {target: snpe, method: ptq,\n  observer: {w: minmax, a: {name: quantile, parameter: 7}}}\n",
       "p.yaml:4: found parameter 7 of observer 'quantile', expected a number above 0.5 and below 1"},
      {HEAD
       "grid: {target: snpe, method: ptq,\n  observer: {w: minmax, a: {name: quantile, parameter: 0.5}}}\n",
       "p.yaml:4: found parameter 0.5 of"},
      {HEAD
       "grid: {target: snpe, method: ptq,\n  observer: {w: minmax, a: {name: quantile, parameter: 1}}}\n",
       "p.yaml:4: found parameter 1 of"},
      {HEAD
       "grid: {target: snpe, method: ptq,\n  observer: {w: minmax, a: {name: ema_minmax, parameter: 1}}}\n",
       "p.yaml:4: found parameter 1 of observer 'ema_minmax', expected a number from 0 and below 1"},
      {HEAD "grid: {target: snpe, method: ptq,\n  observer: {w: minmax, a: {name: mse, parameter: -0.1}}}\n",
       "p.yaml:4: found parameter -0.1 of"},
      {HEAD "grid: {target: snpe, method: ptq,\n  observer: {w: minmax, a: {name: meanstd, parameter: 0}}}\n",
       "p.yaml:4: found parameter 0 of observer 'meanstd', expected a number above 0 and up to 1e+06"},
      {HEAD "grid: {target: snpe, method: ptq,\n  observer: {w: minmax, a: {name: kld, parameter: 0.5}}}\n",
       "p.yaml:4: found parameter 0.5 of observer 'kld', expected a whole number from 0 and up to 1"},
      {HEAD
       "grid: {target: snpe, method: ptq,\n  observer: {w: minmax, a: {name: minmax, parameter: 0.5}}}\n",
       "p.yaml:4: found parameter 0.5, expected none: observer 'minmax' has no parameter"},
      {HEAD
       "grid: {target: snpe, method: ptq,\n  observer: {w: minmax, a: {name: quantile, parameter: .nan}}}\n",
       "p.yaml:4: grid.observer.a.parameter: found '.nan'"},
      {HEAD "grid: {target: snpe, method: ptq, observer: best}\n", "p.yaml:3: unknown observer 'best'"},
      {HEAD "grid: {target: snpe, method: ptq, seed: -1}\n", "p.yaml:3: grid.seed: found '-1'"},
      {HEAD "grid: {target: snpe, method: ptq, graph: 4}\n", "p.yaml:3: "},
      {HEAD "grid: {target: snpe, method: ptq, bn_fold: 4}\n",
       "p.yaml:3: bn_fold 4: expected target, none or 0 for method ptq"},
      {HEAD "grid: {method: ptq}\n", "p.yaml:3: grid: key 'target' is missing"},
      {HEAD "grid: {target: snpe}\n", "p.yaml:3: grid: key 'method' is missing"},
      {HEAD "grid: [1]\n", "p.yaml:3: grid: expected a map"},
      {HEAD, "key 'grid' is missing"},
      {"models: a.onnx\ngrid: {method: float}\n", "key 'data' is missing"},
      {"models: a.onnx\ndata: {train: \"fractal:\"}\ngrid: {method: float}\n", "key 'eval' is missing"},
      {"models: a.onnx\ndata: {eval: \"fractal:\"}\ngrid: {target: snpe, method: ptq}\n",
       "key 'train' is missing"},
      {"models: a.onnx\ndata: {eval: \"magic:x\"}\ngrid: {method: float}\n", "p.yaml:2: "},
      {"models: []\ndata: {eval: \"fractal:\"}\ngrid: {method: float}\n",
       "p.yaml:1: models: found an empty list"},
      {"models: [{arch: resnet99}]\ndata: {eval: \"fractal:\"}\ngrid: {method: float}\n",
       "unknown architecture 'resnet99'"},
      {"models: [x/a.onnx, y/a.onnx]\ndata: {eval: \"fractal:\"}\ngrid: {method: float}\n",
       "models: two are called 'a'"},
      {HEAD "grid: {target: snpe, method: ptq}\nexclude: [{}]\n", "p.yaml:4: exclude: "},
      {HEAD "grid: {target: snpe, method: ptq}\nexclude: [{method: ptq}]\n", "the exclusions leave no cell"},
      {HEAD "grid: {target: snpe, method: ptq}\ncalibration: {images: 0}\n",
       "p.yaml:4: calibration.images: found '0'"},
      {HEAD "grid: {target: snpe, method: ptq}\ncalibration: {order: random}\n", "p.yaml:4: "},
      {HEAD "grid: {target: snpe, method: ptq}\noverrides: [{layer: x}]\n",
       "p.yaml:4: override of 'x' changes nothing"},
      {HEAD "grid: {target: snpe, method: ptq}\noverrides: [{bits: 8}]\n", "key 'layer' is missing"},
      {HEAD "grid: {target: snpe, method: ptq}\noverrides: [{layer: '/(/', bits: 8}]\n",
       "p.yaml:4: layer '/(/' is no regular expression"},
      {HEAD "grid: {target: snpe, method: ptq}\nisa: z80\n", "p.yaml:4: "},
      {HEAD "grid: {target: snpe, method: ptq}\nstrict: maybe\n", "p.yaml:4: "},
      {HEAD "grid: {target: snpe, method: ptq, seed: [0\n", "p.yaml:"},
      {"", "p.yaml"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_refused(cases[i][0], cases[i][1]);
  }
}

static void test_files(void **state) {
  (void)state;
  struct mq_plan *plan = NULL;
  struct mq_err err = {0};
  assert_int_equal(mq_plan_load(&plan, "/nowhere/plan.yaml", &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "/nowhere/plan.yaml"));
  assert_null(plan);
}

int main(void) {
  mq_log_set_level(MQ_LOG_QUIET);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_grid_and_order), cmocka_unit_test(test_exclusions),
      cmocka_unit_test(test_variants),       cmocka_unit_test(test_cells_said_twice),
      cmocka_unit_test(test_every_key),      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_paths),          cmocka_unit_test(test_mistakes),
      cmocka_unit_test(test_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
