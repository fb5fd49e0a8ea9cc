/* Variants and methods' own numbers: texts, plans, what a method has, identities. */
#include "bench/variant.h"

#include "bench/cell.h"
#include "bench/help_plan.h"

#define HEAD "models: net.onnx\ndata: {train: \"fractal:\", eval: \"fractal:split=test\"}\n"

static void test_texts(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"published", "published"},
      {"observer", "published:observer"},
      {"bn_variance,observer", "published:observer+bn_variance"},
      {"published:observer+bn_variance", "published:observer+bn_variance"},
      {"bn_fold bn_fold", "published:bn_fold"},
      {"bn_variance,bn_fold,observer,quantizer", "published:quantizer+observer+bn_fold+bn_variance"},
      {"observer_eval,bn_variance,bn_fold,observer,quantizer", "published"},
      {"", NULL},
      {"published:", NULL},
      {"publishe", NULL},
      {"observers", NULL},
      {"observer,mean", NULL},
  };
  struct mq_arena arena;
  mq_arena_init(&arena, 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct mq_err err = {0};
    const char *variant = NULL;
    mq_status status = mq_variant_parse(&variant, cases[i][0], &arena, &err);
    if (!cases[i][1]) {
      assert_int_equal(status, MQ_BAD_USAGE);
      assert_null(variant);
      assert_non_null(strstr(err.message, "variant"));
      continue;
    }
    assert_ok(status);
    assert_string_equal(variant, cases[i][1]);
  }
  mq_arena_deinit(&arena);
}

static void test_parts(void **state) {
  (void)state;
  static const unsigned parts[] = {MQ_VARIANT_QUANTIZER, MQ_VARIANT_OBSERVER, MQ_VARIANT_BN_FOLD,
                                   MQ_VARIANT_BN_VARIANCE, MQ_VARIANT_OBSERVER_EVAL};
  for (size_t i = 0; i < 5; i++) {
    assert_false(mq_variant_has(NULL, parts[i]));
    assert_true(mq_variant_has("published", parts[i]));
    assert_int_equal(mq_variant_has("published:observer+bn_variance", parts[i]), i == 1 || i == 3);
  }
}

static void test_cells(void **state) {
  (void)state;
  struct mq_plan *plan =
      help_plan(HEAD
                "grid:\n"
                "  target: tensorrt\n"
                "  method: [lsqplus, {name: lsqplus, option: 1}, {name: dsq, option: 0.3},\n"
                "           {name: pact, variant: [bn_variance, quantizer]}, {name: lsq, variant: bn_fold}]\n"
                "exclude: [{method: {name: lsq_plus, option: 1}}]\n",
                "/tmp/plan.yaml");
  assert_int_equal(plan->n_cells, 4);
  assert_string_equal(plan->cells[0].method, "lsq_plus");
  assert_true(isnan(plan->cells[0].method_option));
  assert_null(plan->cells[0].variant);
  assert_string_equal(plan->cells[1].method, "dsq");
  assert_true(plan->cells[1].method_option == 0.3);
  assert_string_equal(plan->cells[2].variant, "published:quantizer+bn_variance");
  assert_string_equal(plan->cells[3].variant, "published:bn_fold");
  mq_plan_destroy(plan);
  /* a name alone excludes the method with whatever option and variant */
  plan = help_plan(HEAD
                   "grid: {target: snpe, method: [ptq, {name: dsq, option: 0.3, variant: quantizer}]}\n"
                   "exclude: [{method: dsq}]\n",
                   "/tmp/plan.yaml");
  assert_int_equal(plan->n_cells, 1);
  mq_plan_destroy(plan);
}

static void test_refusals(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"{name: lsq, variant: best}", "p.yaml:4: variant best: expected published, or some of"},
      {"{name: lsq, variant: []}", "variant: found an empty list"},
      {"{name: ptq, variant: bn_fold}", "method ptq trains nothing; expected observer"},
      {"{name: tqt, variant: quantizer}", "method tqt has no other form"},
      {"{name: lsq, variant: observer_eval}", "variant observer_eval: method lsq, expected pact or dorefa"},
      {"{name: float, variant: observer}", "method float has none"},
      {"{name: dsq, option: 1}", "option 1 of method dsq, expected a number above 0 and below 1"},
      {"{name: pact, option: 0.5}", "option 0.5 of method pact, expected a whole number from 0 and up to 1"},
      {"{name: lsq, option: 1}", "option 1: method lsq has no option"},
      {"{name: ptq, option: 1}", "option 1: method ptq has no option"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[600];
    struct mq_plan *plan = NULL;
    struct mq_err err = {0};
    snprintf(text, sizeof text, HEAD "grid: {target: tensorrt,\n  method: %s}\n", cases[i][0]);
    mq_status status = mq_plan_parse(&plan, text, strlen(text), "p.yaml", &err);
    if (status != MQ_BAD_INPUT || !strstr(err.message, cases[i][1])) {
      fail_msg("%s: status %d \"%s\", expected \"%s\"", cases[i][0], status, err.message, cases[i][1]);
    }
  }
}

/* Every one of these is another run, and is read back from its text as it was. */
static void test_identities(void **state) {
  (void)state;
  struct mq_plan *plan = help_plan(
      HEAD
      "grid:\n"
      "  target: tensorrt\n"
      "  method: [dsq, {name: dsq, option: 0.3}, {name: dsq, option: 0.4}, {name: dsq, variant: published},\n"
      "           {name: dsq, variant: quantizer}, {name: dsq, variant: [bn_fold, observer]}]\n",
      "/tmp/plan.yaml");
  const struct mq_cell_inputs inputs = {.model = "m"};
  char identities[6][65];
  assert_int_equal(plan->n_cells, 6);
  for (size_t i = 0; i < 6; i++) {
    struct mq_err err = {0};
    const char *text = NULL, *again = NULL, *options = NULL;
    struct mq_cell cell;
    assert_ok(mq_cell_identity(identities[i], &plan->cells[i], &inputs, &plan->arena, &err));
    for (size_t k = 0; k < i; k++)
      assert_string_not_equal(identities[i], identities[k]);
    assert_ok(mq_cell_format(&text, &plan->cells[i], &plan->arena, &err));
    if (mq_cell_parse(&cell, text, &plan->arena, &err)) fail_msg("%s", err.message);
    assert_ok(mq_cell_format(&again, &cell, &plan->arena, &err));
    assert_string_equal(again, text);
    assert_ok(mq_cell_options(&options, &plan->cells[i], &plan->arena, &err));
    assert_int_equal(options && strstr(options, "option 0.3"), i == 1);
  }
  mq_plan_destroy(plan);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_texts),    cmocka_unit_test(test_parts),      cmocka_unit_test(test_cells),
      cmocka_unit_test(test_refusals), cmocka_unit_test(test_identities),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
