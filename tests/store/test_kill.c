/* A store survives SIGKILL at any moment; leases of the dead are free; two processes share one store. */
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <time.h>

#include "store/help_store.h"

/* Writes runs until killed and says the number of each on the pipe once it is committed. */
static void write_for_ever(const struct help_store *help, int round, int pipe_end) {
  struct mq_store *store = help_open(help);
  const float scales[64] = {1};
  const int32_t zeros[64] = {0};
  const struct mq_run_point points[2] = {
      {.tensor = "a", .kind = "weight", .bits = 8, .scale = scales, .zero_point = zeros, .n_channels = 64},
      {.tensor = "b", .kind = "weight", .bits = 8, .scale = scales, .zero_point = zeros, .n_channels = 64}};
  for (int i = 0;; i++) {
    char identity[32];
    bool taken = false;
    snprintf(identity, sizeof identity, "%d-%d", round, i);
    struct mq_run run = help_run(identity);
    if (mq_store_lease(&taken, store, identity, NULL) != MQ_OK || !taken) _exit(1);
    if (mq_store_put(store, &run, points, 2, NULL) != MQ_OK) _exit(2);
    if (write(pipe_end, &i, sizeof i) != sizeof i) _exit(3);
    if (mq_store_release(store, identity, NULL) != MQ_OK) _exit(4);
  }
}

static int64_t number(const struct help_store *help, const char *sql) {
  sqlite3 *db = NULL;
  sqlite3_stmt *statement = NULL;
  assert_int_equal(sqlite3_open(help->path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
  int64_t n = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  sqlite3_close(db);
  return n;
}

static void test_kill(void **state) {
  struct help_store *help = *state;
  int64_t committed = 0;
  for (int round = 0; round < 25; round++) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
      close(ends[0]);
      write_for_ever(help, round, ends[1]);
    }
    close(ends[1]);
    struct mq_rng rng;
    mq_rng_init(&rng, 7, MQ_RNG_TEST, (uint64_t)round, 0);
    /* some die while the file is still being made */
    nanosleep(&(struct timespec){.tv_nsec = (long)mq_rng_below(&rng, round < 8 ? 12000000 : 60000000)}, NULL);
    /* the last ones have committed at least once, however slow the machine */
    int how = 0, last = -1;
    if (round >= 20 && read(ends[0], &last, sizeof last) == sizeof last) {
      committed++;
    }
    kill(child, SIGKILL);
    waitpid(child, &how, 0);
    assert_true(WIFSIGNALED(how));
    while (read(ends[0], &last, sizeof last) == sizeof last) {
      committed++;
    }
    close(ends[0]);
    struct mq_store *store = help_open(help);
    struct mq_run *runs = NULL;
    size_t n = 0;
    assert_int_equal(mq_store_runs(&runs, &n, store, &help->arena, NULL), MQ_OK);
    /* nothing that was committed is missing; at most one run a round was committed but not yet said */
    assert_true((int64_t)n >= committed && (int64_t)n <= committed + round + 1);
    mq_store_close(store);
  }
  assert_true(committed > 0);
  assert_int_equal(number(help, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"),
                   1);
  assert_int_equal(number(help, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
  assert_int_equal(number(help,
                          "SELECT count(*) FROM runs WHERE (SELECT count(*) FROM points "
                          "WHERE run_id = runs.id) <> 2"),
                   0);
}

static void test_lease(void **state) {
  struct help_store *help = *state;
  struct mq_store *store = help_open(help);
  int ready[2];
  bool taken = false;
  assert_int_equal(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    struct mq_store *theirs = help_open(help);
    bool ok = mq_store_lease(&taken, theirs, "cell", NULL) == MQ_OK && taken;
    if (write(ready[1], &ok, 1) != 1) _exit(1);
    pause();
  }
  bool ok = false;
  assert_int_equal(read(ready[0], &ok, 1), 1);
  assert_true(ok);
  assert_int_equal(mq_store_lease(&taken, store, "cell", NULL), MQ_OK);
  assert_false(taken); /* a live process holds it */
  assert_int_equal(mq_store_lease(&taken, store, "other cell", NULL), MQ_OK);
  assert_true(taken);
  assert_int_equal(mq_store_lease(&taken, store, "other cell", NULL), MQ_OK);
  assert_true(taken);                                             /* renewed */
  assert_int_equal(mq_store_release(store, "cell", NULL), MQ_OK); /* not ours: stays */
  assert_int_equal(mq_store_lease(&taken, store, "cell", NULL), MQ_OK);
  assert_false(taken);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  assert_int_equal(mq_store_lease(&taken, store, "cell", NULL), MQ_OK);
  assert_true(taken); /* its holder is dead */
  assert_int_equal(mq_store_release(store, "cell", NULL), MQ_OK);
  close(ready[0]);
  close(ready[1]);
  mq_store_close(store);
}

static void test_lease_of_another_machine(void **state) {
  struct help_store *help = *state;
  struct mq_store *store = help_open(help);
  bool taken = true;
  help_sql(help,
           "INSERT INTO leases VALUES ('new', 'far.away', 1, 'x', strftime('%s', 'now')), "
           "('old', 'far.away', 1, 'x', strftime('%s', 'now') - 4000)");
  assert_int_equal(mq_store_lease(&taken, store, "new", NULL), MQ_OK);
  assert_false(taken);
  assert_int_equal(mq_store_lease(&taken, store, "old", NULL), MQ_OK);
  assert_true(taken);
  mq_store_close(store);
}

/* A process of this machine that lives keeps its lease however long it works without renewal. */
static void test_lease_of_a_long_run(void **state) {
  struct help_store *help = *state;
  struct mq_store *store = help_open(help);
  int ready[2];
  bool taken = true, ok = false;
  assert_int_equal(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    struct mq_store *theirs = help_open(help);
    ok = mq_store_lease(&taken, theirs, "cell", NULL) == MQ_OK && taken;
    if (write(ready[1], &ok, 1) != 1) _exit(1);
    pause();
  }
  assert_int_equal(read(ready[0], &ok, 1), 1);
  assert_true(ok);
  help_sql(help, "UPDATE leases SET renewed = renewed - 100000");
  assert_int_equal(mq_store_lease(&taken, store, "cell", NULL), MQ_OK);
  assert_false(taken);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  close(ready[0]);
  close(ready[1]);
  mq_store_close(store);
}

/* Several processes create and fill the same store at once. */
static void test_together(void **state) {
  struct help_store *help = *state;
  pid_t children[4];
  for (int c = 0; c < 4; c++) {
    children[c] = fork();
    if (children[c] == 0) {
      struct mq_store *store = NULL;
      if (mq_store_open(&store, help->path, false, NULL) != MQ_OK) _exit(1);
      for (int i = 0; i < 10; i++) {
        char identity[32];
        snprintf(identity, sizeof identity, "%d-%d", c, i);
        struct mq_run run = help_run(identity);
        if (mq_store_put(store, &run, NULL, 0, NULL) != MQ_OK) _exit(2);
      }
      mq_store_close(store);
      _exit(0);
    }
  }
  for (int c = 0; c < 4; c++) {
    int how = 0;
    waitpid(children[c], &how, 0);
    assert_true(WIFEXITED(how));
    assert_int_equal(WEXITSTATUS(how), 0);
  }
  assert_int_equal(number(help, "SELECT count(*) FROM run"), 40);
}

/* A process that makes or leaves the store has it to itself for a moment: a reader waits. */
static void test_reader_waits(void **state) {
  struct help_store *help = *state;
  mq_store_close(help_open(help));
  int ready[2];
  assert_int_equal(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    sqlite3 *db = NULL;
    sqlite3_open(help->path, &db);
    sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE", NULL, NULL, NULL);
    ssize_t n = write(ready[1], "x", 1);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    sqlite3_close(db);
    _exit(n == 1 ? 0 : 1);
  }
  char byte;
  int status = 1;
  assert_int_equal(read(ready[0], &byte, 1), 1);
  struct mq_store *store = NULL;
  struct mq_err err = {0};
  assert_ok(mq_store_open(&store, help->path, true, &err));
  mq_store_close(store);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  close(ready[0]);
  close(ready[1]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_kill, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_lease, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_lease_of_another_machine, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_lease_of_a_long_run, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_together, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_reader_waits, help_store_setup, help_store_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
