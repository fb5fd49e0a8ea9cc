/* mqbench reproduce: what it answers, how, and what it refuses. */
#include <sqlite3.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/help_program.h"

static struct outcome o;

static void write_text(const char *name, const char *text) {
  char path[700];
  struct mq_err err = {0};
  snprintf(path, sizeof path, "%s/%s", scratch, name);
  assert_ok(mq_file_write(path, text, strlen(text), &err));
}

/* Run 1 is quantized, run 2 float. */
static int set_up(void **state) {
  make_scratch(state);
  write_images(20);
  char command[2048];
  snprintf(command, sizeof command, "cp '%s/tiny_resnet_cifar.onnx' '%s/m.onnx'", MODELS, scratch);
  assert_int_equal(system(command), 0);
  write_text("plan.yaml",
             "models: [m.onnx]\ndata: {train: \"npy:x.npy,labels=y.npy\", eval: \"npy:x.npy,labels=y.npy\"}\n"
             "calibration: {images: 16}\n"
             "grid: {target: [tensorrt], method: [ptq, float], bits: [{w: 8, a: 8}]}\n");
  run(&o, "bench plan.yaml -o out -q");
  if (o.status != 0) fail_msg("%s", o.err);
  return 0;
}

static void sql(const char *text) {
  char path[700], *message = NULL;
  sqlite3 *db = NULL;
  snprintf(path, sizeof path, "%s/out/results.db", scratch);
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK) {
    fail_msg("%s: %s", text, message);
  }
  sqlite3_close(db);
}

static bool flag(const json_t *object, const char *name) {
  const json_t *value = json_object_get(object, name);
  assert_true(json_is_boolean(value));
  return json_is_true(value);
}

static void the_same_bits_are_said_so(void **state) {
  (void)state;
  for (int id = 1; id <= 2; id++) {
    run(&o, "reproduce out/results.db %d --json --threads %d", id, id);
    assert_int_equal(o.status, 0);
    json_t *object = parse_json(&o);
    assert_true(flag(object, "identical") && flag(object, "comparable"));
    assert_true(json_is_null(json_object_get(object, "reason")));
    assert_int_equal(json_array_size(json_object_get(object, "differences")), 0);
    assert_true(json_integer_value(json_object_get(object, "compared")) > 30);
    const char *identity = json_string_value(json_object_get(object, "identity"));
    assert_int_equal(strlen(identity), 64);
    run(&o, "reproduce out/results.db %.10s -q", identity);
    assert_int_equal(o.status, 0);
    assert_string_equal(o.err, "");
    assert_non_null(strstr(o.out, "all are the same bits"));
    json_decref(object);
  }
}

static void a_changed_number_is_named(void **state) {
  (void)state;
  sql("UPDATE runs SET loss = loss * 1.0000001, correct = correct + 1 WHERE id = 1");
  run(&o, "reproduce out/results.db 1 -q --json");
  assert_int_equal(o.status, 1);
  json_t *object = parse_json(&o), *list = json_object_get(object, "differences");
  assert_true(!flag(object, "identical") && flag(object, "comparable"));
  assert_int_equal(json_array_size(list), 2);
  json_t *loss = json_array_get(list, 0), *correct = json_array_get(list, 1);
  assert_string_equal(json_string_value(json_object_get(loss, "what")), "loss");
  double stored = json_real_value(json_object_get(loss, "stored"));
  double now = json_real_value(json_object_get(loss, "now"));
  assert_true(stored != now && stored / now > 1.00000009 && stored / now < 1.00000011);
  assert_string_equal(json_string_value(json_object_get(correct, "what")), "correct");
  assert_int_equal(json_integer_value(json_object_get(correct, "stored")),
                   json_integer_value(json_object_get(correct, "now")) + 1);
  json_decref(object);
  run(&o, "reproduce out/results.db 1 -q");
  assert_int_equal(o.status, 1);
  assert_non_null(strstr(o.out, "  correct: stored "));
  assert_non_null(strstr(o.err, "mqbench: 2 of "));
  sql("UPDATE runs SET correct = correct - 1 WHERE id = 1");
}

static void what_cannot_be_compared_is_not_run(void **state) {
  (void)state;
  sql("UPDATE runs SET isa = 'amx9' WHERE id = 2");
  run(&o, "reproduce out/results.db 2 --json");
  assert_int_equal(o.status, 1);
  json_t *object = parse_json(&o);
  assert_true(!flag(object, "identical") && !flag(object, "comparable"));
  assert_non_null(strstr(json_string_value(json_object_get(object, "reason")), "instruction set"));
  assert_int_equal(json_integer_value(json_object_get(object, "compared")), 0);
  json_decref(object);
  run(&o, "reproduce out/results.db 2 -q");
  assert_int_equal(o.status, 1);
  assert_non_null(strstr(o.out, "not comparable: instruction set: the run has amx9"));
}

static void assert_refused(int status, const char *says) {
  if (o.status != status || !strstr(o.err, says)) {
    fail_msg("status %d, '%s' does not say '%s'", o.status, o.err, says);
  }
}

static void what_is_no_run_is_refused(void **state) {
  (void)state;
  run(&o, "reproduce out/results.db 7 --json");
  assert_refused(3, "out/results.db: run 7: not in the store of 2 runs");
  json_t *object = parse_json(&o);
  assert_int_equal(json_integer_value(json_object_get(object, "status")), 3);
  json_decref(object);
  run(&o, "reproduce out/results.db");
  assert_refused(2, "reproduce");
  run(&o, "reproduce none.db 1");
  assert_refused(3, "none.db: no such file");
  write_text("foreign.db",
             "SQLite format 2, or so, and long enough to be a header of a file of a hundred bytes and "
             "some more");
  run(&o, "reproduce foreign.db 1");
  assert_refused(3, "foreign.db");
  sql("UPDATE runs SET cell = replace(cell, 'method=ptq', 'method=guess') WHERE id = 1");
  run(&o, "reproduce out/results.db 1");
  assert_refused(3, "run 1: line 6 of a cell: method=guess");
  sql("UPDATE runs SET cell = replace(cell, 'method=guess', 'method=ptq') WHERE id = 1");
  char path[700];
  snprintf(path, sizeof path, "%s/m.onnx", scratch);
  assert_int_equal(unlink(path), 0);
  run(&o, "reproduce out/results.db 1");
  assert_refused(3, "m.onnx");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_same_bits_are_said_so),
      cmocka_unit_test(a_changed_number_is_named),
      cmocka_unit_test(what_cannot_be_compared_is_not_run),
      cmocka_unit_test(what_is_no_run_is_refused),
  };
  return cmocka_run_group_tests(tests, set_up, drop_scratch);
}
