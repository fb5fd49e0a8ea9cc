/* train and quantize --method through the program: what comes out, that it is the same bits however it came
 * about, and that an interrupted run goes on. */
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "help_program.h"

#define TRAIN "fractal:,images=640,size=16,classes=3,split=train"
#define EVAL "fractal:,images=100,size=16,classes=3,split=test"
#define ARCH \
  "--arch resnet14_s32 --width 0.5 --data " TRAIN " --eval-data " EVAL " --batch 32 --lr 0.1 --augment none"
#define LSQ                                              \
  "--target tensorrt --data " TRAIN " --eval-data " EVAL \
  " --method lsq --batch 32 --lr 0.005 --augment "       \
  "none"

static struct outcome o;

static const char *text(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static bool same_files(const char *a, const char *b) {
  char command[1400];
  snprintf(command, sizeof command, "cmp -s '%s/%s' '%s/%s'", scratch, a, scratch, b);
  return system(command) == 0;
}

/* Few steps do not beat guessing for sure: done (0) or not converged (1). */
static void run_training(const char *arguments) {
  run(&o, "%s", arguments);
  if (o.status > 1) fail_msg("%s: %s", arguments, o.err);
}

static void trains_a_network_that_evaluates_to_what_it_says(void **state) {
  (void)state;
  run(&o, "train " ARCH " --epochs 8 -o net.onnx --json");
  if (o.status != 0) fail_msg("%s", o.err);
  json_t *made = parse_json(&o);
  assert_string_equal(text(made, "status"), "done");
  assert_true(json_real_value(json_object_get(made, "top1")) > 0.5);
  assert_true(json_real_value(json_object_get(made, "images_per_second")) > 0);
  run(&o, "eval net.onnx --data " EVAL " --json");
  assert_int_equal(o.status, 0);
  json_t *read = parse_json(&o);
  assert_int_equal(json_integer_value(json_object_get(read, "correct")),
                   json_integer_value(json_object_get(made, "correct")));
  json_decref(read);
  json_decref(made);
}

static void threads_and_the_way_do_not_change_the_bits(void **state) {
  (void)state;
  run_training("train " ARCH " --epochs 1 -o t1.onnx --threads 1 -q");
  run_training("train " ARCH " --epochs 1 -o t3.onnx --threads 3 -q");
  assert_true(same_files("t1.onnx", "t3.onnx"));
  run_training("train " ARCH " --epochs 1 -o s1.onnx --seed 1 -q");
  assert_false(same_files("t1.onnx", "s1.onnx"));
}

/* Ctrl-C once there is a checkpoint in `directory` (or the command has ended). */
static void interrupt(const char *directory, const char *arguments) {
  char command[2000], look[900];
  int how = 0;
  snprintf(command, sizeof command, "cd '%s' && exec '" MQ_PROGRAM "' %s -q", scratch, arguments);
  snprintf(look, sizeof look, "ls '%s/%s'/*.checkpoint >/dev/null 2>&1", scratch, directory);
  pid_t child = fork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
  }
  for (int i = 0; i < 3000; i++) {
    if (system(look) == 0 || waitpid(child, &how, WNOHANG) == child) break;
    usleep(2000);
  }
  kill(child, SIGINT);
  waitpid(child, &how, 0);
}

static void an_interrupted_training_goes_on(void **state) {
  (void)state;
  char directory[700];
  run_training("train " ARCH " --epochs 3 -o whole.onnx -q");
  interrupt("part.onnx.checkpoints", "train " ARCH " --epochs 3 -o part.onnx");
  run_training("train " ARCH " --epochs 3 -o part.onnx -q");
  assert_true(same_files("whole.onnx", "part.onnx"));
  snprintf(directory, sizeof directory, "%s/part.onnx.checkpoints", scratch);
  assert_false(mq_file_exists(directory)); /* nothing stays behind */
}

/* A cell that the disk is too small for has failed, and the next attempt goes on from its last checkpoint. */
static void a_full_disk_loses_no_checkpoint(void **state) {
  (void)state;
  char command[2000], path[700];
  snprintf(path, sizeof path, "%s/plan.yaml", scratch);
  FILE *plan = fopen(path, "w");
  assert_non_null(plan);
  fputs(
      "name: full\nmodels: [{arch: resnet14_s32}]\n"
      "data: {train: \"" TRAIN "\", eval: \"" EVAL
      "\"}\ngrid: {method: [float]}\n"
      "training: {epochs: 3, batch: 32, augment: none}\n",
      plan);
  assert_int_equal(fclose(plan), 0);
  interrupt("full/checkpoints", "bench plan.yaml -o full");
  snprintf(command, sizeof command,
           "cd '%s' && trap '' XFSZ && ulimit -f 800 && '" MQ_PROGRAM
           "' bench plan.yaml -o full -q >/dev/null 2>&1",
           scratch);
  assert_int_not_equal(system(command), 0);
  snprintf(command, sizeof command, "ls '%s'/full/checkpoints/*.checkpoint >/dev/null 2>&1", scratch);
  assert_int_equal(system(command), 0);
  run(&o, "bench plan.yaml -o full");
  assert_int_equal(o.status, 0);
  assert_non_null(strstr(o.err, "going on after step"));
}

static void quantizes_by_training(void **state) {
  (void)state;
  run(&o, "quantize net.onnx " LSQ " --w-bits 4 --a-bits 4 --epochs 1 -o bundle --json");
  if (o.status != 0) fail_msg("%s", o.err);
  json_t *made = parse_json(&o);
  assert_string_equal(text(made, "method"), "lsq");
  assert_true(json_real_value(json_object_get(made, "train_seconds")) > 0);
  assert_int_equal(strlen(text(made, "result_sha256")), 64);
  assert_true(json_real_value(json_object_get(made, "top1")) > 0.45);
  run(&o, "eval bundle --data " EVAL " --json");
  assert_int_equal(o.status, 0);
  json_t *read = parse_json(&o);
  assert_int_equal(json_integer_value(json_object_get(read, "correct")),
                   json_integer_value(json_object_get(made, "correct")));
  json_decref(read);
  json_decref(made);
  assert_false(same_files("net.onnx", "bundle/float.onnx")); /* trained floats */
}

static void every_folding_strategy_is_deployed(void **state) {
  (void)state;
  const char *const folds[] = {"none", "0", "1", "2", "3", "4"};
  for (size_t i = 0; i < 6; i++) {
    if (test_leaves_out((int64_t)i + 6)) continue;
    run(&o, "quantize net.onnx " LSQ " --epochs 0.2 --bn-fold %s -o fold%s --json", folds[i], folds[i]);
    if (o.status != 0) fail_msg("--bn-fold %s: %s", folds[i], o.err);
    json_t *made = parse_json(&o);
    assert_true(json_real_value(json_object_get(made, "top1")) > 0.45);
    json_decref(made);
  }
}

/* Methods on no integer grid have no bundle; schemes that a method is not defined for are told. */
static void refusals_say_what_to_do(void **state) {
  (void)state;
  const char *const cases[][3] = {
      {"quantize net.onnx --target academic --data " TRAIN " --method nnie --epochs 99999", "2",
       "mqbench bench"},
      {"quantize net.onnx --target tensorrt --data " TRAIN " --method apot --epochs 0.1", "3", "apot"},
      {"quantize net.onnx --target snpe --data " TRAIN " --epochs 1", "2", "ptq trains nothing"},
      {"quantize net.onnx --target snpe --data " TRAIN " --bn-fold 4", "2", "bn_fold 4"},
      {"quantize net.onnx " LSQ " --set speed=9", "2", "speed"},
      {"quantize net.onnx " LSQ " --set ema", "2", "KEY=VALUE"},
      {"quantize net.onnx " LSQ " --epochs many", "2", "epochs many"},
      {"quantize net.onnx " LSQ " --batch 12", "2", "multiple of 8"},
      {"train --data " TRAIN, "2", "--arch or --model"},
      {"train --arch vgg99 --data " TRAIN, "2", "mqbench list models"},
      {"train --model missing.onnx --data " TRAIN, "3", "missing.onnx"},
      {"train " ARCH " --batch 800", "3", "640 images"},
      {"train " ARCH " --bn-fold 2", "2", "--bn-fold"},
      {"train " ARCH " --set bn_fold=2", "2", "bn_fold"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    run(&o, "%s -o refused", cases[i][0]);
    if (o.status != atoi(cases[i][1]) || !strstr(o.err, cases[i][2]))
      fail_msg("%s: status %d, \"%s\", expected %s and \"%s\"", cases[i][0], o.status, o.err, cases[i][1],
               cases[i][2]);
  }
}

/* A loss that is not finite is an answer, not an accident. */
static void divergence_is_not_converged(void **state) {
  (void)state;
  run(&o, "train --model net.onnx --data " TRAIN " --eval-data " EVAL
          " --batch 32 --epochs 2 --lr 1e9 --set warmup_epochs=0 -o lost.onnx --json");
  assert_int_equal(o.status, 1);
  json_t *made = parse_json(&o);
  assert_string_equal(text(made, "status"), "nc");
  assert_true(json_is_null(json_object_get(made, "model")));
  json_decref(made);
  run(&o, "quantize net.onnx " LSQ " --epochs 2 --lr 1e9 --set warmup_epochs=0 -o lost --json");
  assert_int_equal(o.status, 1);
  made = parse_json(&o);
  assert_string_equal(text(made, "status"), "nc");
  assert_true(json_is_null(json_object_get(made, "bundle")));
  json_decref(made);
  assert_non_null(strstr(o.err, "not converged: the loss or a parameter was not finite"));
  assert_int_not_equal(access("lost", F_OK), 0);
  assert_int_not_equal(access("lost.checkpoints", F_OK), 0);
}

/* Codes of 16 bits take no part in products on integers, but are a grid like any other. */
static void activations_of_16_bits_are_handed_over(void **state) {
  (void)state;
  run(&o, "quantize net.onnx " LSQ " --a-bits 16 --epochs 0.2 -o wide --json");
  if (o.status != 0) fail_msg("%s", o.err);
  json_t *made = parse_json(&o);
  run(&o, "eval wide --data " EVAL " --json");
  assert_int_equal(o.status, 0);
  json_t *read = parse_json(&o);
  assert_int_equal(json_integer_value(json_object_get(read, "correct")),
                   json_integer_value(json_object_get(made, "correct")));
  json_decref(read);
  json_decref(made);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(trains_a_network_that_evaluates_to_what_it_says),
      cmocka_unit_test(threads_and_the_way_do_not_change_the_bits),
      cmocka_unit_test(an_interrupted_training_goes_on),
      cmocka_unit_test(a_full_disk_loses_no_checkpoint),
      cmocka_unit_test(quantizes_by_training),
      cmocka_unit_test(every_folding_strategy_is_deployed),
      cmocka_unit_test(refusals_say_what_to_do),
      cmocka_unit_test(divergence_is_not_converged),
      cmocka_unit_test(activations_of_16_bits_are_handed_over),
  };
  return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
