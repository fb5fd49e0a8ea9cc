/* A cell's canonical text and identity: equal cells agree, everything that matters differs. */
#include "bench/cell.h"

#include "bench/help_plan.h"

static struct mq_cell make_cell(void) {
  return (struct mq_cell){.plan = "p",
                          .model_path = "/a/net.onnx",
                          .model_name = "net",
                          .calib_data = "fractal:",
                          .eval_data = "fractal:split=test",
                          .target = "snpe",
                          .method = "ptq",
                          .w_observer = "minmax",
                          .a_observer = "mse",
                          .w_parameter = NAN,
                          .a_parameter = NAN,
                          .method_option = NAN,
                          .w_bits = 8,
                          .a_bits = 8,
                          .calib_images = 256,
                          .calib_batch = 32,
                          .slice_images = 8,
                          .isa = MQ_ISA_NATIVE};
}

static const struct mq_cell_inputs inputs = {
    .model = "m", .weights = "w", .calib = "c", .eval = "e", .target = "t"};

static void identify(char hex[65], const struct mq_cell *cell, const struct mq_cell_inputs *of) {
  struct mq_arena arena;
  struct mq_err err = {0};
  mq_arena_init(&arena, 0);
  if (mq_cell_identity(hex, cell, of, &arena, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
  mq_arena_deinit(&arena);
}

static void test_text(void **state) {
  (void)state;
  struct mq_arena arena;
  const char *text = NULL;
  struct mq_cell cell = make_cell();
  const struct mq_layer_override override = {.layer = "conv1", .w_bits = 4};
  cell.model_name = "a\nseed=5\\";
  cell.a_parameter = 0.1;
  cell.overrides = &override;
  cell.n_overrides = 1;
  mq_arena_init(&arena, 0);
  assert_int_equal(mq_cell_format(&text, &cell, &arena, NULL), MQ_OK);
  assert_string_equal(
      text,
      "model_name=a\\x0aseed=5\\x5c\nmodel=/a/net.onnx\ncalib_data=fractal:\n"
      "eval_data=fractal:split=test\ntarget=snpe\nmethod=ptq\nvariant=\nw_observer=minmax\n"
      "w_parameter=\na_observer=mse\na_parameter=0x1.999999999999ap-4\nw_bits=8\na_bits=8\ngraph=0\n"
      "bn_fold=target\nbn_calibration=0\ncalib_images=256\ncalib_batch=32\ncalib_order=sampled\n"
      "slice_images=8\nseed=0\nisa=native\nstrict=0\noverride.layer=conv1\noverride.w_bits=4\n"
      "override.a_bits=0\noverride.keep_float=0\n");
  mq_arena_deinit(&arena);
}

/* Where files lie and what the plan is called do not matter. */
static void test_what_does_not_matter(void **state) {
  (void)state;
  char a[65], b[65];
  struct mq_cell cell = make_cell(), moved = make_cell();
  cell.calib_data = "tar:/a/train-*.tar,preset=cifar";
  moved.calib_data = "tar:/b/train-*.tar,preset=cifar";
  moved.model_path = "/b/net.onnx";
  moved.plan = "another";
  identify(a, &cell, &inputs);
  identify(b, &moved, &inputs);
  assert_string_equal(a, b);
}

static void test_what_matters(void **state) {
  (void)state;
  const struct mq_layer_override override = {.layer = "conv1", .keep_float = true};
  struct mq_cell cells[22];
  struct mq_cell_inputs contents[22];
  char identities[22][65];
  size_t n = 0;
  for (; n < 22; n++) {
    cells[n] = make_cell();
    contents[n] = inputs;
  }
  n = 1;
  cells[n++].model_name = "other";
  cells[n++].calib_data = "fractal:classes=5";
  cells[n++].eval_data = "fractal:split=train";
  cells[n++].target = "acl";
  cells[n++].variant = "published";
  cells[n++].w_observer = "mse";
  cells[n++].a_observer = "minmax";
  cells[n++].w_parameter = 0.5;
  cells[n++].w_bits = 4;
  cells[n++].a_bits = 4;
  cells[n++].graph = 1;
  cells[n++].bn_fold = MQ_BN_FOLD_NONE;
  cells[n++].calibrates_bn = true;
  cells[n++].calib_images = 64;
  cells[n++].is_calib_first = true;
  cells[n++].seed = 1;
  cells[n++].isa = MQ_ISA_AVX2;
  cells[n].overrides = &override;
  cells[n++].n_overrides = 1;
  contents[n++].model[0] = 'x';
  contents[n++].weights[0] = 'x';
  contents[n++].target[0] = 'x';
  assert_int_equal(n, 22);
  for (size_t i = 0; i < n; i++) {
    identify(identities[i], &cells[i], &contents[i]);
    for (size_t j = 0; j < i; j++) {
      if (!strcmp(identities[i], identities[j])) {
        fail_msg("cells %zu and %zu have the same identity", j, i);
      }
    }
  }
}

/* One float accuracy for all cells of a model and its data. */
static void test_float_cell(void **state) {
  (void)state;
  char a[65], b[65];
  struct mq_cell one = make_cell(), other = make_cell();
  other.target = "acl";
  other.seed = 3;
  other.w_bits = 2;
  other.calib_data = "fractal:classes=3";
  other.calibrates_bn = true;
  struct mq_cell x = mq_cell_float(&one), y = mq_cell_float(&other);
  assert_true(mq_cell_is_float(&x));
  identify(a, &x, &inputs);
  identify(b, &y, &inputs);
  assert_string_equal(a, b);
}

static void test_labels(void **state) {
  (void)state;
  struct mq_arena arena;
  const char *text = NULL;
  struct mq_cell cell = make_cell(), plain = mq_cell_float(&cell);
  mq_arena_init(&arena, 0);
  assert_int_equal(mq_cell_label(&text, &cell, &arena, NULL), MQ_OK);
  assert_string_equal(text, "net snpe ptq w8a8 minmax/mse seed 0");
  assert_int_equal(mq_cell_options(&text, &cell, &arena, NULL), MQ_OK);
  assert_null(text);
  cell.graph = 2;
  cell.calib_images = 64;
  assert_int_equal(mq_cell_options(&text, &cell, &arena, NULL), MQ_OK);
  assert_string_equal(text, "graph 2, 64 images");
  const struct mq_layer_override overrides[] = {{.layer = "c3", .w_bits = 8, .a_bits = 8},
                                                {.layer = "c1", .keep_float = true},
                                                {.layer = "c\n2", .w_bits = 4}};
  cell.overrides = overrides;
  cell.n_overrides = 3;
  cell.is_strict = true;
  cell.a_parameter = 0.99999991;
  assert_int_equal(mq_cell_options(&text, &cell, &arena, NULL), MQ_OK);
  assert_string_equal(text,
                      "graph 2, activations' parameter 0.99999991, 64 images, c3=w8a8, c1 float, c\\x0a2=w4, "
                      "strict");
  struct mq_cell open = make_cell();
  open.w_bits = open.a_bits = 0;
  assert_int_equal(mq_cell_label(&text, &open, &arena, NULL), MQ_OK);
  assert_string_equal(text, "net snpe ptq w8a8 minmax/mse seed 0"); /* the target's */
  open.w_bits = 4;
  assert_int_equal(mq_cell_label(&text, &open, &arena, NULL), MQ_OK);
  assert_string_equal(text, "net snpe ptq w4a8 minmax/mse seed 0");
  assert_int_equal(mq_cell_label(&text, &plain, &arena, NULL), MQ_OK);
  assert_string_equal(text, "net float");
  mq_arena_deinit(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_text),         cmocka_unit_test(test_what_does_not_matter),
      cmocka_unit_test(test_what_matters), cmocka_unit_test(test_float_cell),
      cmocka_unit_test(test_labels),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
