/* The program as it is installed, PREFIX/bin and PREFIX/share: what it lists and how it names its files. */
#include <sys/wait.h>

#include "base/file.h"
#include "help_program.h"

static struct outcome o;

static int MQ_PRINTF(1, 2) shell(const char *format, ...) {
  char line[2048], command[4096];
  va_list list;
  va_start(list, format);
  vsnprintf(line, sizeof line, format, list);
  va_end(list);
  snprintf(command, sizeof command, "cd '%s' && { %s; } >out.txt 2>err.txt </dev/null", scratch, line);
  int status = system(command);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int set_up(void **state) {
  make_scratch(state);
  return shell("mkdir -p prefix/bin prefix/share/mqbench && cp '" MQ_PROGRAM
               "' prefix/bin/mqbench &&"
               "cp -r '" MQ_SOURCE_DIRECTORY "/targets' '" MQ_SOURCE_DIRECTORY "/plans' '" MQ_SOURCE_DIRECTORY
               "/models' prefix/share/mqbench/");
}

/* Runs the installed program from another folder, by a path with dots in it. */
static void run_installed(const char *arguments, int status) {
  char command[512];
  snprintf(command, sizeof command,
           "mkdir -p elsewhere && cd elsewhere && ../prefix/./bin/mqbench %s >../o 2>../e", arguments);
  int got = shell("%s", command);
  char *text = NULL;
  size_t n = 0;
  char path[600];
  const char *const names[] = {"o", "e"};
  char *const to[] = {o.out, o.err};
  const size_t room[] = {sizeof o.out, sizeof o.err};
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/%s", scratch, names[i]);
    assert_int_equal(mq_file_read(&text, &n, path, room[i] - 1, NULL), MQ_OK);
    memcpy(to[i], text, n + 1);
    mq_free(text);
  }
  if (got != status) {
    fail_msg("%s: status %d, expected %d: %s", arguments, got, status, o.err);
  }
}

static void files_are_named_by_clean_paths(void **state) {
  (void)state;
  char expected[700];
  run_installed("list models", 0);
  snprintf(expected, sizeof expected, "%s/prefix/share/mqbench/models/", scratch);
  assert_non_null(strstr(o.out, expected));
  assert_null(strstr(o.out, "/../"));
  assert_int_equal(shell("echo 'colour: red' >prefix/share/mqbench/targets/broken.yaml"), 0);
  run_installed("show " MODELS "/tiny_resnet_cifar.onnx --target broken", 3);
  snprintf(expected, sizeof expected, "%s/prefix/share/mqbench/targets/broken.yaml:1", scratch);
  assert_non_null(strstr(o.err, expected));
  assert_int_equal(shell("rm prefix/share/mqbench/targets/broken.yaml"), 0);
  assert_int_equal(shell("echo 'colour: red' >prefix/share/mqbench/plans/quick.yaml"), 0);
  run_installed("bench --dry-run", 3);
  snprintf(expected, sizeof expected, "mqbench: %s/prefix/share/mqbench/plans/quick.yaml:1", scratch);
  assert_non_null(strstr(o.err, expected));
}

static void every_item_of_a_list_is_described(void **state) {
  (void)state;
  const char *const subjects[] = {"targets", "methods", "observers", "models", "datasets", "plans"};
  for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
    run(&o, "list %s --json", subjects[i]);
    json_t *object = parse_json(&o), *item;
    size_t k;
    assert_true(json_array_size(json_object_get(object, "items")) > 0);
    json_array_foreach(json_object_get(object, "items"), k, item) {
      if (json_string_length(json_object_get(item, "describes")) < 10) {
        fail_msg("%s: %s is not described", subjects[i], json_string_value(json_object_get(item, "name")));
      }
    }
    json_decref(object);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(files_are_named_by_clean_paths),
      cmocka_unit_test(every_item_of_a_list_is_described),
  };
  return cmocka_run_group_tests(tests, set_up, drop_scratch);
}
