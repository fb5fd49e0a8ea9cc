/* Methods from outside, their options and variants, through the program: commands and plans. */
#include <unistd.h>

#include "base/file.h"
#include "help_program.h"
#include "mqbench/store.h"

#define TRAIN "fractal:,images=320,size=16,classes=3,split=train"
#define EVAL "fractal:,images=100,size=16,classes=3,split=test"
#define DATA "--target tensorrt --data " TRAIN " --eval-data " EVAL
#define BRIEF " --batch 32 --lr 0.005 --augment none --epochs 0.3"
#define EXAMPLE MQ_PLUGINS "/lsq_plain.so"

static struct outcome o;

static int make_network(void **state) {
  make_scratch(state);
  run(&o, "train --arch resnet14_s32 --width 0.5 --data " TRAIN " --eval-data " EVAL
          " --batch 32 --lr 0.1 --augment none --epochs 1 -o net.onnx -q");
  return o.status > 1;
}

static void quantizes_by_a_plugin(void **state) {
  (void)state;
  run(&o, "quantize net.onnx " DATA BRIEF " --plugin " EXAMPLE " --method lsq_plain -o bundle --json");
  if (o.status != 0) fail_msg("%s", o.err);
  json_t *made = parse_json(&o);
  assert_string_equal(json_string_value(json_object_get(made, "method")), "lsq_plain");
  run(&o, "eval bundle --data " EVAL " --json"); /* needs no plug-in any more */
  assert_int_equal(o.status, 0);
  json_t *read = parse_json(&o);
  assert_int_equal(json_integer_value(json_object_get(read, "correct")),
                   json_integer_value(json_object_get(made, "correct")));
  json_decref(read);
  json_decref(made);
}

static void other_spellings_are_kept_as_the_name(void **state) {
  (void)state;
  run(&o, "quantize net.onnx " DATA BRIEF " --method lsqplus -o bundle --json");
  if (o.status != 0) fail_msg("%s", o.err);
  json_t *made = parse_json(&o);
  assert_string_equal(json_string_value(json_object_get(made, "method")), "lsq_plus");
  json_decref(made);
}

static bool same_files(const char *a, const char *b) {
  char command[1400];
  snprintf(command, sizeof command, "cmp -s '%s/%s' '%s/%s'", scratch, a, scratch, b);
  return system(command) == 0;
}

/* Each reaches the training: other floats come out. */
static void options_and_variants_reach_the_method(void **state) {
  (void)state;
  static const char *const settings[] = {"", "--option 0.2", "--variant quantizer", "--variant bn_variance",
                                         "--variant published"};
  char file[5][40];
  for (int i = 0; i < 5; i++) {
    run(&o, "quantize net.onnx " DATA BRIEF " --w-bits 3 --a-bits 3 --method dsq %s -o dsq%d -q", settings[i],
        i);
    if (o.status != 0) fail_msg("%s: %s", settings[i], o.err);
    snprintf(file[i], sizeof file[i], "dsq%d/float.onnx", i);
    for (int k = 0; k < i; k++)
      if (same_files(file[i], file[k]))
        fail_msg("\"%s\" and \"%s\": the same bits", settings[i], settings[k]);
  }
}

/* But for the line that names the variant. */
static bool same_points(const char *a, const char *b) {
  char command[1600];
  snprintf(command, sizeof command,
           "cd '%s' && sed /observer_variant/d %s/quant.json > a.json && sed /observer_variant/d "
           "%s/quant.json > b.json && grep -q '\"scale\"' a.json && cmp -s a.json b.json",
           scratch, a, b);
  return system(command) == 0;
}

/* Alone, and of a method that trains nothing. */
static void parts_of_a_variant_act_alone(void **state) {
  (void)state;
  static const char *const settings[] = {"--a-observer mean_minmax",
                                         "--a-observer mean_minmax --variant observer",
                                         "--a-observer mean_minmax --variant published", "--a-observer kld",
                                         "--a-observer kld --variant observer"};
  for (int i = 0; i < 5; i++) {
    run(&o, "quantize net.onnx " DATA " %s -o ptq%d -q", settings[i], i);
    if (o.status != 0) fail_msg("%s: %s", settings[i], o.err);
  }
  assert_false(same_points("ptq0", "ptq1"));
  assert_true(same_points("ptq1", "ptq2"));
  assert_false(same_points("ptq3", "ptq4"));
  static const char *const folds[] = {"1", "2 --variant bn_fold", "2"};
  for (int i = 0; i < 3; i++) {
    run(&o, "quantize net.onnx " DATA BRIEF " --method lsq --bn-fold %s -o fold%d -q", folds[i], i);
    if (o.status != 0) fail_msg("%s: %s", folds[i], o.err);
  }
  assert_true(same_files("fold0/float.onnx", "fold1/float.onnx"));
  assert_false(same_files("fold0/float.onnx", "fold2/float.onnx"));
}

static void refusals_are_one_line(void **state) {
  (void)state;
  static const char *const cases[][3] = {
      {"--plugin missing.so --method mine", "3", "missing.so: no such file"},
      {"--plugin net.onnx --method mine", "3", "not loadable as a plug-in"},
      {"--plugin . --method mine", "3", "not loadable as a plug-in"},
      {"--plugin '' --method mine", "3", "no such file"},
      {"--plugin " MQ_PLUGINS "/other_version.so --method mine", "3", "interface version 2; expected 1"},
      {"--plugin " MQ_PLUGINS "/no_symbol.so --method mine", "3", "no symbol mq_plugin_quantizer"},
      {"--plugin " EXAMPLE " --method mine", "2", "--method mine: unknown"},
      {"--method lsq_plain", "2", "--method lsq_plain: unknown"},
      {"--method lsq --variant best", "2", "--variant best: expected published"},
      {"--method tqt --variant quantizer", "2", "--variant quantizer: method tqt"},
      {"--variant bn_fold", "2", "trains nothing; expected observer"},
      {"--method dsq --option 1", "2", "--option 1 of method dsq, expected a number above 0 and below 1"},
      {"--option 1", "2", "--option 1: method ptq has no option"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    run(&o, "quantize net.onnx " DATA " %s -o refused", cases[i][0]);
    const char *end = strchr(o.err, '\n');
    if (o.status != atoi(cases[i][1]) || !strstr(o.err, cases[i][2]) || !end || end[1])
      fail_msg("%s: status %d, \"%s\", expected %s and \"%s\"", cases[i][0], o.status, o.err, cases[i][1],
               cases[i][2]);
  }
}

static void write_plan(const char *name, const char *plugin, const char *method) {
  char path[700];
  snprintf(path, sizeof path, "%s/%s", scratch, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fprintf(file,
          "models: net.onnx\ndata: {train: \"%s\", eval: \"%s\"}\nplugins: [%s]\n"
          "grid: {target: tensorrt, method: %s}\n"
          "training: {epochs: 0.3, batch: 32, lr: 0.005, augment: none}\n",
          TRAIN, EVAL, plugin, method);
  fclose(file);
}

static struct mq_run only_run(const char *db, struct mq_arena *arena) {
  struct mq_store *store = NULL;
  struct mq_err err = {0};
  struct mq_run *runs = NULL;
  size_t n = 0;
  char path[700];
  snprintf(path, sizeof path, "%s/%s", scratch, db);
  assert_ok(mq_store_open(&store, path, true, &err));
  assert_ok(mq_store_runs(&runs, &n, store, arena, &err));
  mq_store_close(store);
  assert_int_equal(n, 1);
  return runs[0];
}

/* Another file of the same method is another run: what it holds is in the identity. */
static void plans_name_plugins(void **state) {
  (void)state;
  struct mq_arena arena;
  char command[1600];
  mq_arena_init(&arena, 0);
  snprintf(command, sizeof command, "cp '%s' '%s/mine.so' && (cat '%s'; echo) > '%s/longer.so'", EXAMPLE,
           scratch, EXAMPLE, scratch);
  assert_int_equal(system(command), 0);
  write_plan("plan.yaml", "mine.so", "{name: lsq_plain, variant: bn_variance}");
  write_plan("longer.yaml", "longer.so", "{name: lsq_plain, variant: bn_variance}");
  run(&o, "bench plan.yaml --plugin mine.so -o out -q");
  if (o.status != 0) fail_msg("%s", o.err);
  assert_non_null(strstr(o.out, "lsq_plain (published:bn_variance)"));
  run(&o, "bench longer.yaml --plugin mine.so -o out2 -q");
  assert_int_equal(o.status, 3); /* another content */
  run(&o, "bench longer.yaml --plugin longer.so -o out2 -q");
  if (o.status != 0) fail_msg("%s", o.err);
  struct mq_run a = only_run("out/results.db", &arena), b = only_run("out2/results.db", &arena);
  assert_string_equal(a.method, "lsq_plain");
  assert_string_equal(a.variant, "published:bn_variance");
  assert_string_equal(a.cell, b.cell);
  assert_string_not_equal(a.identity, b.identity);
  assert_true(a.correct == b.correct);
  run(&o, "reproduce out/results.db 1");
  assert_int_equal(o.status, 3); /* a store's text loads no code */
  run(&o, "reproduce out/results.db 1 --plugin mine.so");
  if (o.status != 0) fail_msg("%s", o.err);
  write_plan("lost.yaml", "lost.so", "lsq");
  run(&o, "bench lost.yaml -o out3");
  assert_int_equal(o.status, 3);
  assert_non_null(strstr(o.err, "lost.yaml:3: plugins: "));
  assert_non_null(strstr(o.err, "lost.so: no such file"));
  mq_arena_deinit(&arena);
}

/* A plan loads no code, whether it is to run or only to be listed. */
static void plans_load_nothing(void **state) {
  (void)state;
  char mark[700];
  static const char *const words[] = {"", " --dry-run"};
  snprintf(mark, sizeof mark, "%s/mark", scratch);
  setenv("MQ_TEST_MARK", mark, 1);
  write_plan("foreign.yaml", MQ_PLUGINS "/no_symbol.so", "lsq");
  for (int i = 0; i < 2; i++) {
    run(&o, "bench foreign.yaml -o out4%s", words[i]);
    assert_int_equal(o.status, 3);
    assert_non_null(strstr(o.err, "foreign.yaml:3: plugins: "));
    assert_non_null(strstr(o.err, "no_symbol.so is code that no --plugin names"));
    assert_false(mq_file_exists(mark));
  }
  run(&o, "bench foreign.yaml -o out4 --dry-run --plugin " MQ_PLUGINS "/no_symbol.so");
  assert_int_equal(o.status, 3);
  assert_true(mq_file_exists(mark)); /* asked for: so the mark works */
  write_plan("known.yaml", EXAMPLE, "lsq_plain");
  run(&o, "bench known.yaml -o out4 --dry-run --plugin " EXAMPLE);
  if (o.status != 0) fail_msg("%s", o.err);
  assert_non_null(strstr(o.out, "lsq_plain"));
  unsetenv("MQ_TEST_MARK");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quantizes_by_a_plugin),
      cmocka_unit_test(other_spellings_are_kept_as_the_name),
      cmocka_unit_test(options_and_variants_reach_the_method),
      cmocka_unit_test(parts_of_a_variant_act_alone),
      cmocka_unit_test(refusals_are_one_line),
      cmocka_unit_test(plans_load_nothing),
      cmocka_unit_test(plans_name_plugins),
  };
  return cmocka_run_group_tests(tests, make_network, drop_scratch);
}
