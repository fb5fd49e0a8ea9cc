/* Files that are no store, damaged stores, stores that were tampered with: one line, MQ_BAD_INPUT. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "store/help_store.h"

static void assert_refused(const struct help_store *help, const char *expected) {
  for (int read_only = 0; read_only < 2; read_only++) {
    struct mq_store *store = NULL;
    struct mq_err err = {0};
    assert_int_equal(mq_store_open(&store, help->path, read_only, &err), MQ_BAD_INPUT);
    assert_null(store);
    assert_non_null(strstr(err.message, help->path));
    if (!strstr(err.message, expected)) {
      fail_msg("\"%s\" does not say \"%s\"", err.message, expected);
    }
  }
}

static void put_one(const struct help_store *help) {
  struct mq_store *store = help_open(help);
  struct mq_run run = help_run("id");
  const float scale = 1;
  const int32_t zero = 0;
  const struct mq_run_point point = {.tensor = "t",
                                     .kind = "weight",
                                     .bits = 8,
                                     .lo = -1,
                                     .hi = 1,
                                     .scale = &scale,
                                     .zero_point = &zero,
                                     .n_channels = 1};
  assert_int_equal(mq_store_put(store, &run, &point, 1, NULL), MQ_OK);
  mq_store_close(store);
}

static void test_not_a_database(void **state) {
  struct help_store *help = *state;
  char text[8192];
  memset(text, 'x', sizeof text);
  assert_int_equal(mq_file_write(help->path, text, sizeof text, NULL), MQ_OK);
  assert_refused(help, "file is not a database");
}

static void test_foreign_database(void **state) {
  struct help_store *help = *state;
  help_sql(help, "CREATE TABLE cookies (id INTEGER)");
  assert_refused(help, "not a results store");
}

static void test_other_schema(void **state) {
  struct help_store *help = *state;
  put_one(help);
  help_sql(help, "PRAGMA user_version = 99");
  assert_refused(help, "schema 99, expected 1 to");
}

static void test_missing(void **state) {
  struct help_store *help = *state;
  struct mq_store *store = NULL;
  struct mq_err err = {0};
  assert_int_equal(mq_store_open(&store, help->path, true, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "no such file"));
  assert_int_equal(mq_store_open(&store, help->directory, true, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "directory"));
  assert_false(mq_file_exists(help->path));
}

/* Whoever opens a pipe waits for somebody at its other end: the alarm ends a test that does. */
static void test_pipes(void **state) {
  struct help_store *help = *state;
  char log[600];
  alarm(10);
  assert_int_equal(mkfifo(help->path, 0600), 0);
  assert_refused(help, "is a device or pipe, expected a results store");
  assert_int_equal(unlink(help->path), 0);
  put_one(help);
  snprintf(log, sizeof log, "%s-wal", help->path);
  unlink(log);
  assert_int_equal(mkfifo(log, 0600), 0);
  assert_refused(help, "is a device or pipe, expected a results store");
  assert_int_equal(unlink(log), 0);
  alarm(0);
}

/* A view that only looks like ours. */
static void test_changed_schema(void **state) {
  struct help_store *help = *state;
  put_one(help);
  help_sql(help, "DROP VIEW run; CREATE VIEW run AS SELECT 1 AS id");
  assert_refused(help, "view run");
}

static mq_status read_everything(const struct help_store *help, struct mq_err *err) {
  struct mq_store *store = NULL;
  struct mq_arena arena;
  mq_arena_init(&arena, 0);
  struct mq_run *runs = NULL;
  struct mq_run_point *points = NULL;
  size_t n_runs = 0, n_points = 0;
  mq_status status = mq_store_open(&store, help->path, true, err);
  if (status == MQ_OK) {
    status = mq_store_runs(&runs, &n_runs, store, &arena, err);
  }
  for (size_t i = 0; i < n_runs && status == MQ_OK; i++) {
    status = mq_store_points(&points, &n_points, store, runs[i].id, &arena, err);
  }
  mq_store_close(store);
  mq_arena_deinit(&arena);
  return status;
}

static void test_impossible_values(void **state) {
  struct help_store *help = *state;
  const char *const changes[][2] = {
      {"UPDATE runs SET is_correct = x'00'", "one bit for each of 100 images"},
      {"UPDATE runs SET images = 9223372036854775807", "one bit for each"},
      {"UPDATE runs SET correct = 101", "101 correct of 100"},
      {"UPDATE runs SET top1 = 1e9", "accuracy"},
      {"UPDATE runs SET is_hardware = 7", "is_hardware 7"},
      {"UPDATE runs SET target_position = -2", "target_position -2"},
      {"PRAGMA ignore_check_constraints = 1; UPDATE runs SET status = '<b>'", "status"},
      {"UPDATE points SET scale = x'0000'", "bytes of scales"},
      {"UPDATE points SET n_channels = -1", "bytes of scales"},
      {"UPDATE points SET n_channels = 4611686018427387905", "bytes of scales"},
  };
  for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
    struct mq_err err = {0};
    unlink(help->path);
    put_one(help);
    help_sql(help, changes[i][0]);
    assert_int_equal(read_everything(help, &err), MQ_BAD_INPUT);
    if (!strstr(err.message, changes[i][1])) {
      fail_msg("\"%s\" does not say \"%s\"", err.message, changes[i][1]);
    }
  }
}

/* Text from a store reaches terminals and pages. */
static void test_text_is_cleaned(void **state) {
  struct help_store *help = *state;
  put_one(help);
  help_sql(
      help,
      "UPDATE runs SET model = CAST(x'61ff1b5b33316d' AS TEXT), plan = CAST(x'c3a4eda080e282ac' AS TEXT)");
  struct mq_store *store = help_open(help);
  struct mq_run *runs = NULL;
  size_t n = 0;
  assert_int_equal(mq_store_runs(&runs, &n, store, &help->arena, NULL), MQ_OK);
  assert_string_equal(runs[0].model, "a??[31m");
  assert_string_equal(runs[0].plan, "\xc3\xa4???\xe2\x82\xac");
  mq_store_close(store);
}

/* Any byte of a store may be wrong: an error or an answer, never a crash. */
static void test_flipped_bytes(void **state) {
  struct help_store *help = *state;
  put_one(help);
  char *good = NULL;
  size_t n = 0;
  int refused = 0;
  assert_int_equal(mq_file_read(&good, &n, help->path, 1 << 24, NULL), MQ_OK);
  for (uint32_t i = 0; i < 150; i++) {
    struct mq_rng rng;
    mq_rng_init(&rng, 1, MQ_RNG_TEST, i, 0);
    char *bad = malloc(n);
    memcpy(bad, good, n);
    for (int k = 0; k < 8; k++) {
      bad[mq_rng_below(&rng, (uint32_t)n)] ^= (char)(1u << mq_rng_below(&rng, 8));
    }
    size_t kept = i % 3 == 0 ? mq_rng_below(&rng, (uint32_t)n) : n;
    FILE *file = fopen(help->path, "wb"); /* no sync: this is a test of reading */
    assert_int_equal(fwrite(bad, 1, kept, file), kept);
    fclose(file);
    free(bad);
    struct mq_err err = {0};
    mq_status status = read_everything(help, &err);
    assert_true(status == MQ_OK || status == MQ_BAD_INPUT);
    refused += status != MQ_OK;
  }
  assert_true(refused > 20);
  mq_free(good);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_not_a_database, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_foreign_database, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_other_schema, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_pipes, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_missing, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_changed_schema, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_impossible_values, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_text_is_cleaned, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_flipped_bytes, help_store_setup, help_store_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
