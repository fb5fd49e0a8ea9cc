#include "base/yaml.h"

#include "common.h"

static struct mq_arena arena;

static int set_up(void **state) {
  (void)state;
  mq_arena_init(&arena, 0);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  mq_arena_deinit(&arena);
  return 0;
}

static mq_status parse(const struct mq_yaml_node **root, const char *text, struct mq_err *err) {
  return mq_yaml_parse(root, text, strlen(text), "plan.yaml", &arena, err);
}

static void values_are_typed(void **state) {
  (void)state;
  struct mq_err err;
  const struct mq_yaml_node *root, *child;
  assert_ok(
      parse(&root, "bits: 8\nname: snpe\nfold: yes\nlr: 1.0e-4\nlist: [1, a]\nnone: ~\nquoted: '8'\n", &err));
  int64_t bits;
  assert_ok(mq_yaml_get_int(&bits, mq_yaml_find(root, "bits"), 2, 8, &err));
  assert_int_equal(bits, 8);
  const char *text;
  assert_ok(mq_yaml_get_text(&text, mq_yaml_find(root, "name"), &err));
  assert_string_equal(text, "snpe");
  bool fold;
  assert_ok(mq_yaml_get_bool(&fold, mq_yaml_find(root, "fold"), &err));
  assert_true(fold);
  double lr;
  assert_ok(mq_yaml_get_double(&lr, mq_yaml_find(root, "lr"), &err));
  assert_true(lr == 1.0e-4);
  child = mq_yaml_find(root, "list");
  assert_int_equal(child->kind, MQ_YAML_LIST);
  assert_int_equal(child->n, 2);
  assert_int_equal(child->line, 5);
  assert_true(mq_yaml_is_null(mq_yaml_find(root, "none")));
  const char *const words[] = {"tvm", "snpe", NULL};
  int index;
  assert_ok(mq_yaml_get_choice(&index, mq_yaml_find(root, "name"), words, &err));
  assert_int_equal(index, 1);
  assert_null(mq_yaml_find(root, "absent"));
}

static void errors_name_file_line_found_and_expected(void **state) {
  (void)state;
  struct mq_err err;
  const struct mq_yaml_node *root, *child;
  assert_ok(parse(&root, "bits: eight\nlist: [1]\nquoted: '8'\nlarge: 99\nsyme: 1\n", &err));
  int64_t i;
  bool b;
  const char *text;
  assert_fails(MQ_BAD_INPUT, "plan.yaml:1: bits: found 'eight', expected a whole number from 2 to 8",
               mq_yaml_get_int(&i, mq_yaml_find(root, "bits"), 2, 8, &err));
  assert_fails(MQ_BAD_INPUT, "plan.yaml:2: list: found a list, expected text",
               mq_yaml_get_text(&text, mq_yaml_find(root, "list"), &err));
  assert_fails(MQ_BAD_INPUT, "plan.yaml:3: quoted: found '8'",
               mq_yaml_get_int(&i, mq_yaml_find(root, "quoted"), 2, 8, &err));
  assert_fails(MQ_BAD_INPUT, "plan.yaml:4: large: found '99'",
               mq_yaml_get_int(&i, mq_yaml_find(root, "large"), 2, 8, &err));
  assert_fails(MQ_BAD_INPUT, "true or false", mq_yaml_get_bool(&b, mq_yaml_find(root, "bits"), &err));
  assert_fails(MQ_BAD_INPUT, "key 'name' is missing", mq_yaml_require(&child, root, "name", &err));
  const char *const keys[] = {"bits", "list", "quoted", "large", "sym", NULL};
  assert_fails(MQ_BAD_INPUT, "plan.yaml:5: unknown key 'syme', did you mean 'sym'; expected one of: bits,",
               mq_yaml_check_keys(root, keys, &err));
}

/* A number deep inside is found by its key and the keys above it. */
static void errors_name_the_way_to_the_key(void **state) {
  (void)state;
  struct mq_err err;
  const struct mq_yaml_node *root, *at;
  int64_t i;
  double d;
  assert_ok(
      parse(&root, "grid:\n  - {bits: 8}\n  - {bits: [4, x]}\na: {b: {c: {d: {e: {f: {g: y}}}}}}\n", &err));
  at = mq_yaml_find(mq_yaml_find(root, "grid")->items[1], "bits")->items[1];
  assert_fails(MQ_BAD_INPUT, "plan.yaml:3: grid[1].bits[1]: found 'x', expected a whole number from 2 to 8",
               mq_yaml_get_int(&i, at, 2, 8, &err));
  at = mq_yaml_find(root, "a");
  for (const char *key = "bcdefg"; *key; key++) {
    at = mq_yaml_find(at, (const char[]){*key, 0});
  }
  assert_fails(MQ_BAD_INPUT, "plan.yaml:4: b.c.d.e.f.g: found 'y', expected a number", /* the last six */
               mq_yaml_get_double(&d, at, &err));
  assert_fails(MQ_BAD_INPUT, "plan.yaml:1: found a map, expected a number",
               mq_yaml_get_double(&d, root, &err));
}

static void malformed_documents_are_refused(void **state) {
  (void)state;
  struct mq_err err;
  const struct mq_yaml_node *root;
  assert_fails(MQ_BAD_INPUT, "plan.yaml:2: not YAML", parse(&root, "a: 1\n b: [2\n", &err));
  assert_fails(MQ_BAD_INPUT, "empty document", parse(&root, "", &err));
  assert_fails(MQ_BAD_INPUT, "given twice", parse(&root, "a: 1\na: 2\n", &err));
  assert_fails(MQ_BAD_INPUT, "more than one document", parse(&root, "a: 1\n---\nb: 2\n", &err));
  assert_fails(MQ_BAD_INPUT, "key is a list", parse(&root, "[1, 2]: 3\n", &err));
  assert_null(root);
}

static void bombs_are_refused(void **state) {
  (void)state;
  struct mq_err err;
  const struct mq_yaml_node *root;
  char text[2000] = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; i++) {
    char line[200];
    snprintf(line, sizeof line, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1,
             i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    strcat(text, line);
  }
  assert_fails(MQ_BAD_INPUT, "more than 100000 nodes", parse(&root, text, &err));
  assert_fails(MQ_BAD_INPUT, "nested deeper", parse(&root, "&a [*a]\n", &err));
  char deep[2001];
  memset(deep, '[', 2000);
  deep[2000] = 0;
  assert_int_equal(parse(&root, deep, &err), MQ_BAD_INPUT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(values_are_typed, set_up, tear_down),
      cmocka_unit_test_setup_teardown(errors_name_file_line_found_and_expected, set_up, tear_down),
      cmocka_unit_test_setup_teardown(errors_name_the_way_to_the_key, set_up, tear_down),
      cmocka_unit_test_setup_teardown(malformed_documents_are_refused, set_up, tear_down),
      cmocka_unit_test_setup_teardown(bombs_are_refused, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
