/* mpirun -n 2 mqbench train and quantize: the files of one process, written once. */
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "help_program.h"
#include "mqbench/engine.h"

#define TRAIN "fractal:,images=256,size=16,classes=3,split=train"
#define EVAL "fractal:,images=60,size=16,classes=3,split=test"
#define OPTIONS "--data " TRAIN " --eval-data " EVAL " --batch 32 --epochs 2 --lr 0.05 --augment none"

static struct outcome o;

static int shell(const char *format, const char *ranks, const char *arguments) {
  char command[2100], inner[1500];
  snprintf(inner, sizeof inner, format, ranks, arguments);
  snprintf(command, sizeof command, "cd '%s' && %s >out.json 2>err.txt", scratch, inner);
  int status = system(command);
  return status == -1 ? -1 : status >> 8;
}

/* On what the last command left. */
static bool holds(const char *check) {
  char command[700];
  snprintf(command, sizeof command, "cd '%s' && %s", scratch, check);
  return system(command) == 0;
}

static bool same_files(const char *a, const char *b) {
  char command[1400];
  snprintf(command, sizeof command, "cmp -s '%s/%s' '%s/%s'", scratch, a, scratch, b);
  return system(command) == 0;
}

/* Few steps do not beat guessing for sure: done (0) or not converged (1). */
static void run_ranks(const char *ranks, const char *arguments) {
  int status = shell("mpirun --oversubscribe --bind-to none -n %s '" MQ_PROGRAM "' %s", ranks, arguments);
  if (status > 1) {
    assert_true(holds("cat err.txt >&2"));
    fail_msg("%s ranks: %s: status %d", ranks, arguments, status);
  }
}

static void ranks_write_the_files_of_one_process(void **state) {
  (void)state;
  run(&o, "train --arch resnet14_s32 --width 0.5 " OPTIONS " -o one.onnx -q");
  if (o.status > 1) fail_msg("%s", o.err);
  run_ranks("2", "train --arch resnet14_s32 --width 0.5 " OPTIONS " -o two.onnx --threads 1");
  assert_true(same_files("one.onnx", "two.onnx"));
  run_ranks("3", "train --arch resnet14_s32 --width 0.5 " OPTIONS " -o three.onnx --threads 1");
  assert_true(same_files("one.onnx", "three.onnx"));
}

static void ranks_quantize_together(void **state) {
  (void)state;
  run(&o, "quantize one.onnx --target tensorrt --method lsq --bits fc=8 " OPTIONS " -o q1 -q");
  if (o.status > 1) fail_msg("%s", o.err);
  run_ranks("2", "quantize one.onnx --target tensorrt --method lsq --bits fc=8 " OPTIONS
                 " -o q2 --threads 1 --json");
  assert_true(same_files("q1/quant.json", "q2/quant.json"));
  assert_true(same_files("q1/model.onnx", "q2/model.onnx"));
  assert_true(holds("test \"$(wc -l <out.json)\" = 1")); /* one answer */
}

/* Nothing but the grid's own times may differ. */
static void ranks_run_a_plan_together(void **state) {
  (void)state;
  char path[700];
  snprintf(path, sizeof path, "%s/plan.yaml", scratch);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(
      "name: ranks\nmodels: [one.onnx]\n"
      "data: {train: '" TRAIN "', eval: '" EVAL
      "'}\n"
      "grid: {target: [tensorrt, snpe], method: [float, ptq, lsq], bits: [4]}\n"
      "training: {epochs: 1, batch: 32, lr: 0.01, augment: none}\n",
      file);
  fclose(file);
  run(&o, "bench plan.yaml -o b1 -q");
  if (o.status > 1) fail_msg("%s", o.err);
  run_ranks("2", "bench plan.yaml -o b2 --threads 1 --json");
  assert_true(holds("test \"$(wc -l <out.json)\" = 1"));
  assert_true(holds("grep -q '\"done\":5' out.json"));
  assert_true(holds("for b in b1 b2; do '" MQ_PROGRAM
                    "' report $b/results.db -o $b-csv --format csv -q || exit 1;"
                    " done"));
  assert_true(
      holds("cut -d, -f1-12,36 b1-csv/*.csv >1.csv; cut -d, -f1-12,36 b2-csv/*.csv >2.csv; cmp 1.csv 2.csv"));
  run_ranks("2", "bench plan.yaml -o b2 --threads 1 --json"); /* all are there: nobody waits for anybody */
  assert_true(holds("grep -q '\"skipped\":5' out.json"));
}

static void other_commands_refuse_ranks(void **state) {
  (void)state;
  int status = shell("mpirun --oversubscribe --bind-to none -n %s '" MQ_PROGRAM "' %s", "2",
                     "eval one.onnx --data " EVAL);
  assert_int_equal(status, 2);
  assert_true(holds("grep -q 'only bench, quantize and train' err.txt"));
}

/* OpenMPI's own threads and leaks are not ours to judge. */
static bool can_run(void) {
#if defined(__SANITIZE_THREAD__)
  return false;
#else
  return mq_collective_has_mpi() && system("mpirun --version >/dev/null 2>&1") == 0;
#endif
}

int main(void) {
  if (!can_run()) {
    printf("skipped: no mpirun, built without MPI or for the thread sanitizer\n");
    return 77;
  }
  setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
  setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(ranks_write_the_files_of_one_process),
      cmocka_unit_test(ranks_quantize_together),
      cmocka_unit_test(ranks_run_a_plan_together),
      cmocka_unit_test(other_commands_refuse_ranks),
  };
  return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
