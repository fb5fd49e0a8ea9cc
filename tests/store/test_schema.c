/* Older stores are read and brought up to date; nothing stays beside a store that was left in order. */
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "store/help_store.h"

extern const unsigned char mq_store_schema[]; /* what schema 1 was */

static int64_t number(const struct help_store *help, const char *sql) {
  sqlite3 *db = NULL;
  sqlite3_stmt *statement = NULL;
  assert_int_equal(sqlite3_open(help->path, &db), SQLITE_OK);
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) {
    fail_msg("%s: %s", sql, sqlite3_errmsg(db));
  }
  assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
  int64_t n = sqlite3_column_int64(statement, 0);
  sqlite3_finalize(statement);
  sqlite3_close(db);
  return n;
}

/* A store as schema 1 wrote it: a float run, one without hardware, one with. */
static void write_schema_1(const struct help_store *help) {
  help_sql(help, "PRAGMA journal_mode = WAL");
  help_sql(help, (const char *)mq_store_schema);
  help_sql(help,
           "INSERT INTO runs (identity, cell, model, target, method, seed, status, top1) VALUES"
           "('a', 'a', 'net', NULL, 'float', 0, 'done', 0.75),"
           "('b', 'b', 'net', 'academic', 'ptq', 0, 'done', 0.5),"
           "('c', 'c', 'net', 'snpe', 'ptq', 0, 'done', 0.25);"
           "INSERT INTO points VALUES (3, 0, 't', 'weight', 8, -1, 1, 1, x'0000803f', x'00000000');"
           "PRAGMA user_version = 1; PRAGMA application_id = 1297171013");
}

static void assert_three_runs(struct help_store *help, struct mq_store *store) {
  static const int is_hardware[] = {-1, 0, 1};
  struct mq_run *runs = NULL;
  struct mq_run_point *points = NULL;
  size_t n = 0, n_points = 0;
  assert_int_equal(mq_store_runs(&runs, &n, store, &help->arena, NULL), MQ_OK);
  assert_int_equal(n, 3);
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(runs[i].is_hardware, is_hardware[i]);
    assert_int_equal(runs[i].target_position, -1);
    assert_true(runs[i].top1 == 0.75 - 0.25 * (double)i);
  }
  assert_int_equal(mq_store_points(&points, &n_points, store, 3, &help->arena, NULL), MQ_OK);
  assert_int_equal(n_points, 1);
  assert_true(points[0].scale[0] == 1.0f);
}

static void test_readers_leave_an_older_store_alone(void **state) {
  struct help_store *help = *state;
  struct mq_store *store = NULL;
  struct mq_err err = {0};
  char before[65], after[65];
  write_schema_1(help);
  assert_ok(mq_sha256_file(before, help->path, &err));
  assert_ok(mq_store_open(&store, help->path, true, &err));
  assert_three_runs(help, store);
  mq_store_close(store);
  assert_ok(mq_sha256_file(after, help->path, &err));
  assert_string_equal(before, after);
}

static void test_writers_bring_it_up_to_date(void **state) {
  struct help_store *help = *state;
  write_schema_1(help);
  struct mq_store *store = help_open(help);
  assert_three_runs(help, store);
  struct mq_run run = help_run("d"), found;
  bool is_found = false;
  assert_int_equal(mq_store_put(store, &run, NULL, 0, NULL), MQ_OK);
  mq_store_close(store);
  assert_true(number(help, "PRAGMA user_version") > 1);
  assert_int_equal(number(help, "SELECT count(*) FROM run"), 4);
  store = help_open(help); /* its tables are word for word what a new store has */
  assert_int_equal(mq_store_find(&is_found, &found, store, "d", &help->arena, NULL), MQ_OK);
  assert_true(is_found);
  assert_int_equal(found.is_hardware, 1);
  assert_int_equal(found.target_position, 4);
  mq_store_close(store);
}

/* What only looks like an older store is not touched. */
static void test_tampered_older_store(void **state) {
  struct help_store *help = *state;
  struct mq_err err = {0};
  write_schema_1(help);
  help_sql(help, "DROP VIEW run; CREATE VIEW run AS SELECT 1 AS id");
  for (int read_only = 0; read_only < 2; read_only++) {
    struct mq_store *store = NULL;
    assert_int_equal(mq_store_open(&store, help->path, read_only, &err), MQ_BAD_INPUT);
    assert_non_null(strstr(err.message, "view run"));
  }
  assert_int_equal(number(help, "PRAGMA user_version"), 1);
}

static void assert_alone(const struct help_store *help) {
  static const char *const suffixes[] = {"-wal", "-shm", "-journal"};
  for (size_t i = 0; i < 3; i++) {
    char path[128];
    snprintf(path, sizeof path, "%s%s", help->path, suffixes[i]);
    if (mq_file_exists(path)) {
      fail_msg("%s was left behind", path);
    }
  }
}

static struct mq_store *open_to_read(const struct help_store *help) {
  struct mq_store *store = NULL;
  struct mq_err err = {0};
  assert_ok(mq_store_open(&store, help->path, true, &err));
  return store;
}

static void test_nothing_is_left_behind(void **state) {
  struct help_store *help = *state;
  struct mq_store *writer = help_open(help), *other = help_open(help);
  struct mq_run run = help_run("id"), *runs = NULL;
  size_t n = 0;
  assert_int_equal(mq_store_put(writer, &run, NULL, 0, NULL), MQ_OK);
  mq_store_close(other);
  mq_store_close(writer);
  assert_alone(help);
  struct mq_store *reader = open_to_read(help);
  assert_int_equal(mq_store_runs(&runs, &n, reader, &help->arena, NULL), MQ_OK);
  assert_int_equal(n, 1);
  mq_store_close(reader);
  assert_alone(help);
  /* the reader leaves last: it puts away what the writer wrote */
  writer = help_open(help);
  reader = open_to_read(help);
  run = help_run("second");
  assert_int_equal(mq_store_put(writer, &run, NULL, 0, NULL), MQ_OK);
  mq_store_close(writer);
  mq_store_close(reader);
  assert_alone(help);
  assert_int_equal(number(help, "SELECT count(*) FROM runs"), 2);
  /* a file that is write-protected (for all but root) */
  assert_int_equal(chmod(help->path, 0444), 0);
  reader = open_to_read(help);
  assert_int_equal(mq_store_runs(&runs, &n, reader, &help->arena, NULL), MQ_OK);
  assert_int_equal(n, 2);
  mq_store_close(reader);
  assert_alone(help);
}

/* What a killed writer had committed is read, and the next one to close the store clears up. */
static void test_after_a_kill(void **state) {
  struct help_store *help = *state;
  int ends[2], how = 0;
  char done = 0;
  assert_int_equal(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    struct mq_store *store = help_open(help);
    struct mq_run run = help_run("id");
    done = mq_store_put(store, &run, NULL, 0, NULL) == MQ_OK;
    if (write(ends[1], &done, 1) != 1) _exit(1);
    pause();
  }
  assert_int_equal(read(ends[0], &done, 1), 1);
  assert_true(done);
  kill(child, SIGKILL);
  waitpid(child, &how, 0);
  struct mq_store *reader = open_to_read(help);
  struct mq_run *runs = NULL;
  size_t n = 0;
  assert_int_equal(mq_store_runs(&runs, &n, reader, &help->arena, NULL), MQ_OK);
  assert_int_equal(n, 1);
  mq_store_close(reader);
  assert_alone(help);
}

/* A reader does not write, although it could. */
static void test_readers_do_not_write(void **state) {
  struct help_store *help = *state;
  mq_store_close(help_open(help));
  struct mq_store *reader = open_to_read(help);
  struct mq_run run = help_run("id");
  assert_int_not_equal(mq_store_put(reader, &run, NULL, 0, NULL), MQ_OK);
  mq_store_close(reader);
  assert_int_equal(number(help, "SELECT count(*) FROM runs"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_readers_leave_an_older_store_alone, help_store_setup,
                                      help_store_teardown),
      cmocka_unit_test_setup_teardown(test_writers_bring_it_up_to_date, help_store_setup,
                                      help_store_teardown),
      cmocka_unit_test_setup_teardown(test_tampered_older_store, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_nothing_is_left_behind, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_after_a_kill, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_readers_do_not_write, help_store_setup, help_store_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
