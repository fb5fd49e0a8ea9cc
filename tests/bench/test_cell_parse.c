/* Cells read back from their canonical texts: the same text again, and nothing else is taken. */
#include <math.h>
#include <stdlib.h>

#include "bench/cell.h"
#include "bench/help_plan.h"
#include "bench/training.h"

static struct mq_arena arena;

static const struct mq_layer_override overrides[] = {
    {.layer = "conv1", .w_bits = 4},
    {.layer = "a layer=with\nline, \\x0a and \x01", .keep_float = true},
    {.layer = "stra\xc3\x9f"
              "e/=",
     .w_bits = 2,
     .a_bits = 16},
};

static struct mq_cell ptq_cell(void) {
  return (struct mq_cell){.model_path = "/a/n\\et=1.onnx",
                          .model_name = "n\tet",
                          .calib_data = "folder:/a b/=,preset=imagenet",
                          .eval_data = "fractal:split=test",
                          .target = "/t/my target.yaml",
                          .method = "ptq",
                          .variant = "published",
                          .w_observer = "minmax",
                          .a_observer = "quantile",
                          .w_parameter = NAN,
                          .a_parameter = 0.1,
                          .method_option = NAN,
                          .w_bits = 3,
                          .a_bits = 16,
                          .graph = 2,
                          .bn_fold = MQ_BN_FOLD_NONE,
                          .calibrates_bn = true,
                          .calib_images = 123456,
                          .calib_batch = 7,
                          .is_calib_first = true,
                          .slice_images = 4,
                          .seed = UINT64_MAX,
                          .isa = MQ_ISA_AVX512_VNNI,
                          .overrides = overrides,
                          .n_overrides = 3,
                          .is_strict = true};
}

static struct mq_cell training_cell(void) {
  struct mq_cell cell = ptq_cell();
  mq_training_defaults(&cell);
  cell.method = "lsq";
  cell.variant = NULL;
  cell.has_own_observers = true;
  cell.bn_fold = MQ_BN_FOLD_3;
  cell.augment = MQ_AUGMENTS_RESIZED_CROP;
  cell.train.epochs = 1.0 / 3;
  cell.train.batch = 96;
  cell.train.bn_groups = 3;
  cell.train.rate = 1e-7;
  cell.train.bias_decay = 0.25;
  cell.train.optimiser = MQ_OPTIMISER_ADAM;
  cell.train.is_nesterov = false;
  cell.train.precision = MQ_PRECISION_BF16;
  cell.train.ema = 0.999;
  return cell;
}

static const char *format(const struct mq_cell *cell) {
  const char *text = NULL;
  struct mq_err err = {0};
  assert_ok(mq_cell_format(&text, cell, &arena, &err));
  return mq_arena_strdup(&arena, text);
}

static struct mq_cell parse(const char *text) {
  struct mq_cell cell;
  struct mq_err err = {0};
  if (mq_cell_parse(&cell, text, &arena, &err) != MQ_OK) {
    fail_msg("%s\n%s", err.message, text);
  }
  return cell;
}

static void assert_same(const struct mq_cell *cell) {
  const char *text = format(cell);
  struct mq_cell again = parse(text);
  assert_string_equal(format(&again), text);
  assert_string_equal(again.model_path, cell->model_path);
  assert_string_equal(again.eval_data, cell->eval_data);
  assert_true(again.seed == cell->seed);
  assert_int_equal(again.isa, cell->isa);
  assert_int_equal(again.bn_fold, cell->bn_fold);
  assert_int_equal(again.slice_images, cell->slice_images);
}

static void test_float(void **state) {
  (void)state;
  struct mq_cell quantized = ptq_cell(), cell = mq_cell_float(&quantized);
  assert_same(&cell);
  struct mq_cell again = parse(format(&cell));
  assert_true(mq_cell_is_float(&again));
  assert_null(again.target);
  assert_null(again.calib_data);
  assert_null(again.w_observer);
}

static void test_ptq(void **state) {
  (void)state;
  struct mq_cell cell = ptq_cell();
  assert_same(&cell);
  struct mq_cell again = parse(format(&cell));
  assert_true(isnan(again.w_parameter));
  assert_true(again.a_parameter == 0.1);
  assert_true(again.is_calib_first && again.calibrates_bn && again.is_strict);
  assert_int_equal(again.n_overrides, 3);
  for (size_t i = 0; i < 3; i++) {
    assert_string_equal(again.overrides[i].layer, overrides[i].layer);
    assert_int_equal(again.overrides[i].w_bits, overrides[i].w_bits);
    assert_int_equal(again.overrides[i].a_bits, overrides[i].a_bits);
    assert_int_equal(again.overrides[i].keep_float, overrides[i].keep_float);
  }
}

static void test_training(void **state) {
  (void)state;
  struct mq_cell cell = training_cell();
  assert_same(&cell);
  struct mq_cell again = parse(format(&cell));
  assert_true(again.train.epochs == 1.0 / 3);
  assert_true(again.train.rate == 1e-7);
  assert_true(isnan(again.train.bn_decay));
  assert_true(again.train.bias_decay == 0.25);
  assert_int_equal(again.train.batch, 96);
  assert_int_equal(again.train.batch_per_gpu, 0);
  assert_int_equal(again.train.optimiser, MQ_OPTIMISER_ADAM);
  assert_int_equal(again.augment, MQ_AUGMENTS_RESIZED_CROP);
  assert_true(again.has_own_observers);
  for (size_t i = 0; i < mq_training_key_count(); i++) { /* every key, those of plans to come too */
    const struct mq_training_key *key = mq_training_key_at(i);
    double a = mq_training_get(&cell, key), b = mq_training_get(&again, key);
    assert_true(a == b || (isnan(a) && isnan(b)));
  }
}

/* A float network that is trained: of the zoo, without a file, or a model's. */
static void test_float_training(void **state) {
  (void)state;
  struct mq_cell cell = training_cell();
  cell.method = "float";
  cell.trains_float = true;
  cell.target = cell.w_observer = cell.a_observer = NULL;
  cell.a_parameter = (double)NAN;
  cell.overrides = NULL;
  cell.n_overrides = 0;
  cell.calib_images = cell.calib_batch = 0;
  cell.bn_fold = MQ_BN_FOLD_TARGET;
  assert_same(&cell);
  struct mq_cell again = parse(format(&cell));
  assert_true(again.trains_float && mq_cell_is_float(&again) && !again.arch);
  assert_int_equal(again.train.batch, 96);
  cell.arch = "resnet20";
  cell.arch_width = 0.25;
  cell.model_path = NULL;
  const char *text = format(&cell);
  again = parse(text);
  assert_string_equal(format(&again), text);
  assert_string_equal(again.arch, "resnet20");
  assert_true(again.arch_width == 0.25 && !again.model_path);
}

/* The text with one line's value replaced. */
static const char *with(const char *text, const char *key, const char *value) {
  char *line = mq_arena_printf(&arena, "\n%s=", key);
  const char *at = strstr(text, line);
  assert_non_null(at);
  const char *rest = strchr(at + 1, '\n');
  return mq_arena_printf(&arena, "%.*s\n%s=%s%s", (int)(at - text), text, key, value, rest);
}

static void assert_refused(const char *text, const char *says) {
  struct mq_cell cell;
  struct mq_err err = {0};
  assert_int_equal(mq_cell_parse(&cell, text, &arena, &err), MQ_BAD_INPUT);
  if (!strstr(err.message, says)) {
    fail_msg("\"%s\" does not say \"%s\"", err.message, says);
  }
  assert_null(strchr(err.message, '\n'));
}

static void test_hostile(void **state) {
  (void)state;
  const struct mq_cell cell = training_cell();
  const char *text = format(&cell);
  const char *const cases[][3] = {
      {"method", "magic", "a method of this version"},
      {"method", "", "a text"},
      {"variant", "secret", "published"},
      {"w_observer", "crystal", "an observer of this version"},
      {"w_observer", "", "lacks"},
      {"target", "", "lacks"},
      {"a_parameter", "nan", "a number"},
      {"a_parameter", "inf", "a number"},
      {"w_bits", "9", "expected 0 to 8"},
      {"w_bits", "4 ", "expected 0 to 8"},
      {"graph", "-1", "expected 0 to 3"},
      {"bn_fold", "17", "a strategy"},
      {"bn_calibration", "2", "expected 0 to 1"},
      {"calib_images", "0", "expected 1"},
      {"calib_images", "99999999999999999999", "expected 1"},
      {"calib_order", "last", "sampled or first"},
      {"slice_images", "0", "expected 1"},
      {"seed", "18446744073709551616", "a whole number"},
      {"seed", "-1", "not the one"},
      {"isa", "sse", "an instruction set"},
      {"training.batch", "0x0p+0", "expected 1"},
      {"training.batch", "0x1.8p+0", "expected 1"},
      {"training.batch", "0x1p+3", "multiple of"},
      {"training.batch", "", "expected 1"},
      {"training.batch", "0x1p+200", "expected 1"},
      {"training.lr", "-0x1p+0", "expected 1e-12"},
      {"training.nesterov", "0x1p+1", "expected 0 to 1"},
      {"training.optimiser", "lion", "a word of this version"},
      {"model", "\\x00", "escapes"},
      {"model", "a\\", "escapes"},
      {"model", "\\x4", "escapes"},
      {"model", "\\x41", "not the one"},
      {"override.keep_float", "yes", "expected 0 to 1"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_refused(with(text, cases[i][0], cases[i][1]), cases[i][2]);
  }
  assert_refused("", "expected \"model_name=\"");
  assert_refused(mq_arena_printf(&arena, "%sx=1\n", text), "not the one");
  assert_refused(mq_arena_printf(&arena, "%soverride.layer=x", text), "expected \"override");
}

/* Whatever is cut off, only whole overrides leave a cell. */
static void test_prefixes(void **state) {
  (void)state;
  const struct mq_cell cell = training_cell();
  const char *text = format(&cell);
  size_t n_taken = 0;
  for (size_t n = 0; n < strlen(text); n++) {
    struct mq_cell read;
    char *cut = mq_arena_printf(&arena, "%.*s", (int)n, text);
    mq_status status = mq_cell_parse(&read, cut, &arena, NULL);
    assert_true(status == MQ_OK || status == MQ_BAD_INPUT);
    n_taken += status == MQ_OK;
    if (status == MQ_OK) assert_string_equal(format(&read), cut);
  }
  assert_int_equal(n_taken, 3); /* none, one or two of the three */
}

static int start(void **state) {
  (void)state;
  mq_arena_init(&arena, 0);
  return 0;
}

static int end(void **state) {
  (void)state;
  mq_arena_deinit(&arena);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_float),          cmocka_unit_test(test_ptq),     cmocka_unit_test(test_training),
      cmocka_unit_test(test_float_training), cmocka_unit_test(test_hostile), cmocka_unit_test(test_prefixes),
  };
  return cmocka_run_group_tests(tests, start, end);
}
