/* A grid survives kills and interruptions, and two processes share one. Every grid runs in a child, so that
 * no child inherits threads. */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "bench/help_grid.h"

#define PLAN                                                                                              \
  "name: small\nmodels: net.onnx\n" HELP_GRID_DATA                                                        \
  "grid: {target: [academic, acl, snpe, fbgemm], method: [float, ptq], bits: [8, 4], observer: [minmax, " \
  "mse]}\n"
#define N_CELLS 17

static pid_t start(const struct help_grid *grid) {
  pid_t child = fork();
  if (child == 0) {
    struct mq_bench_result result;
    mq_status status = help_grid_run(&result, grid, PLAN, 0, NULL);
    _exit(status == MQ_OK ? 0 : (int)status);
  }
  return child;
}

static void assert_ends_well(pid_t child) {
  int how = 0;
  waitpid(child, &how, 0);
  assert_true(WIFEXITED(how));
  assert_int_equal(WEXITSTATUS(how), 0);
}

/* "identity correct loss" of every run, sorted: what must not depend on how the grid came about. */
static int compare_lines(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *outcome(struct help_grid *grid) {
  size_t n = 0;
  struct mq_run *runs = help_grid_runs(&n, grid, "results.db");
  char **lines = mq_arena_alloc(&grid->arena, n + 1, sizeof *lines), *all = mq_arena_strdup(&grid->arena, "");
  for (size_t i = 0; i < n; i++) {
    assert_string_equal(runs[i].status, "done");
    lines[i] =
        mq_arena_printf(&grid->arena, "%s %d %a", runs[i].identity, (int)runs[i].correct, runs[i].loss);
  }
  qsort(lines, n, sizeof *lines, compare_lines);
  for (size_t i = 0; i < n; i++) {
    all = mq_arena_printf(&grid->arena, "%s%s\n", all, lines[i]);
  }
  assert_int_equal(n, N_CELLS);
  return all;
}

static void clear(const struct help_grid *grid) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s/out'", grid->directory);
  assert_int_equal(system(command), 0);
}

static void wait_a_moment(uint32_t i, uint32_t most_ms) {
  struct mq_rng rng;
  mq_rng_init(&rng, 3, MQ_RNG_TEST, i, 0);
  nanosleep(&(struct timespec){.tv_nsec = 1000000L * mq_rng_below(&rng, most_ms)}, NULL);
}

static void test_kills(void **state) {
  struct help_grid *grid = *state;
  help_grid_model(grid, "net.onnx", 1);
  assert_ends_well(start(grid));
  char *expected = outcome(grid);
  clear(grid);
  for (uint32_t i = 0; i < 8; i++) {
    pid_t child = start(grid);
    wait_a_moment(i, 150);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  assert_ends_well(start(grid));
  assert_string_equal(outcome(grid), expected);
}

static void on_alarm(int signal) {
  (void)signal;
  mq_cancel();
}

/* Ctrl-C: status 130, what is finished is kept, the same command goes on. */
static void test_interruption(void **state) {
  struct help_grid *grid = *state;
  help_grid_model(grid, "net.onnx", 1);
  for (uint32_t i = 0; i < 12; i++) {
    pid_t child = fork();
    if (child == 0) {
      struct mq_bench_result result;
      struct mq_err err = {0};
      signal(SIGALRM, on_alarm);
      ualarm(2000 + 8000 * i, 0);
      mq_status status = help_grid_run(&result, grid, PLAN, 0, &err);
      _exit(status == MQ_OK || (status == MQ_CANCELLED && strstr(err.message, "interrupted")) ? 0 : 1);
    }
    assert_ends_well(child);
  }
  assert_ends_well(start(grid));
  outcome(grid);
}

static void test_two_processes(void **state) {
  struct help_grid *grid = *state;
  help_grid_model(grid, "net.onnx", 1);
  pid_t a = start(grid), b = start(grid);
  assert_ends_well(a);
  assert_ends_well(b);
  outcome(grid);
}

int main(void) {
  mq_log_set_level(MQ_LOG_QUIET);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_kills, help_grid_setup, help_grid_teardown),
      cmocka_unit_test_setup_teardown(test_interruption, help_grid_setup, help_grid_teardown),
      cmocka_unit_test_setup_teardown(test_two_processes, help_grid_setup, help_grid_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
