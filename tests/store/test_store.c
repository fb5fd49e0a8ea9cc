/* What is put comes back; what counts as finished; what becomes stale; artefacts; the view. */
#include <sqlite3.h>
#include <sys/stat.h>

#include "base/file.h"
#include "store/help_store.h"

static void assert_same_text(const char *a, const char *b) {
  if (a && b) {
    assert_string_equal(a, b);
  } else {
    assert_ptr_equal(a, b);
  }
}

static void test_round_trip(void **state) {
  struct help_store *help = *state;
  struct mq_err err = {0};
  struct mq_store *store = help_open(help);
  const float scales[2] = {0.125f, 3.5e-7f};
  const int32_t zeros[2] = {-3, 0};
  const struct mq_run_point points[2] = {
      {.tensor = "conv1.weight",
       .kind = "weight",
       .bits = 4,
       .lo = -1,
       .hi = 0.875,
       .scale = scales,
       .zero_point = zeros,
       .n_channels = 2},
      {.tensor = "relu",
       .kind = "activation",
       .bits = 8,
       .lo = 0,
       .hi = 6.375,
       .scale = scales,
       .zero_point = zeros,
       .n_channels = 1},
  };
  struct mq_run run = help_run("id-1"), found;
  assert_int_equal(mq_store_put(store, &run, points, 2, &err), MQ_OK);
  assert_true(run.id > 0);
  mq_store_close(store);

  store = help_open(help);
  bool is_found = false;
  assert_int_equal(mq_store_find(&is_found, &found, store, "id-1", &help->arena, &err), MQ_OK);
  assert_true(is_found);
  assert_int_equal(found.id, run.id);
  const char *expected[] = {
      run.identity, run.cell,           run.plan,        run.model,        run.target,       run.method,
      run.variant,  run.w_observer,     run.a_observer,  run.options,      run.model_sha256, run.eval_sha256,
      run.status,   run.message,        run.cpu,         run.isa,          run.onednn,       run.started,
      run.version,  run.float_identity, run.data_sha256, run.target_sha256};
  const char *got[] = {found.identity,    found.cell,         found.plan,         found.model,
                       found.target,      found.method,       found.variant,      found.w_observer,
                       found.a_observer,  found.options,      found.model_sha256, found.eval_sha256,
                       found.status,      found.message,      found.cpu,          found.isa,
                       found.onednn,      found.started,      found.version,      found.float_identity,
                       found.data_sha256, found.target_sha256};
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
    assert_same_text(got[i], expected[i]);
  }
  assert_int_equal(found.w_bits, 4);
  assert_int_equal(found.a_bits, 8);
  assert_int_equal(found.seed, 3);
  assert_int_equal(found.is_hardware, 1);
  assert_int_equal(found.target_position, 4);
  assert_true(found.top1 == 0.66 && found.loss == 1.25 && found.seconds == 1.5 && found.float_top1 == 0.75);
  assert_true(isnan(found.top5));
  assert_int_equal(found.images, HELP_IMAGES);
  assert_memory_equal(found.is_correct, help_bits, sizeof help_bits);

  struct mq_run_point *back = NULL;
  size_t n = 0;
  assert_int_equal(mq_store_points(&back, &n, store, run.id, &help->arena, &err), MQ_OK);
  assert_int_equal(n, 2);
  assert_string_equal(back[0].tensor, "conv1.weight");
  assert_string_equal(back[1].kind, "activation");
  assert_true(back[0].lo == -1 && back[0].hi == 0.875 && back[1].hi == 6.375);
  assert_int_equal(back[0].n_channels, 2);
  assert_memory_equal(back[0].scale, scales, sizeof scales);
  assert_memory_equal(back[0].zero_point, zeros, sizeof zeros);
  mq_store_close(store);
}

static void test_missing_values_are_null(void **state) {
  struct help_store *help = *state;
  struct mq_err err = {0};
  struct mq_store *store = help_open(help);
  struct mq_run run = {.identity = "f",
                       .cell = "c",
                       .model = "m",
                       .method = "float",
                       .status = "failed",
                       .message = "no such file",
                       .w_bits = -1,
                       .a_bits = -1,
                       .float_top1 = NAN,
                       .top1 = NAN,
                       .top5 = NAN,
                       .loss = NAN,
                       .float_correct = -1,
                       .correct = -1,
                       .images = -1,
                       .seconds = NAN,
                       .calib_seconds = NAN,
                       .eval_seconds = NAN};
  assert_int_equal(mq_store_put(store, &run, NULL, 0, &err), MQ_OK);
  struct mq_run *runs = NULL;
  size_t n = 0;
  assert_int_equal(mq_store_runs(&runs, &n, store, &help->arena, &err), MQ_OK);
  assert_int_equal(n, 1);
  assert_null(runs[0].target);
  assert_int_equal(runs[0].w_bits, -1);
  assert_int_equal(runs[0].images, -1);
  assert_true(isnan(runs[0].top1) && isnan(runs[0].seconds));
  assert_null(runs[0].is_correct);
  mq_store_close(store);
  help_sql(help,
           "CREATE TEMP TABLE t (x INTEGER NOT NULL CHECK (x = 1));"
           "INSERT INTO t SELECT count(*) FROM runs WHERE w_bits IS NULL AND images IS NULL AND top1 IS NULL "
           "AND is_correct IS NULL AND target IS NULL");
}

static size_t count_runs(struct mq_store *store, struct mq_arena *arena) {
  struct mq_run *runs = NULL;
  size_t n = 0;
  assert_int_equal(mq_store_runs(&runs, &n, store, arena, NULL), MQ_OK);
  return n;
}

static void test_failed_is_replaced_done_stays(void **state) {
  struct help_store *help = *state;
  struct mq_err err = {0};
  struct mq_store *store = help_open(help);
  struct mq_run run = help_run("id");
  bool found = true;
  run.status = "failed";
  assert_int_equal(mq_store_put(store, &run, NULL, 0, &err), MQ_OK);
  assert_int_equal(mq_store_find(&found, &run, store, "id", &help->arena, &err), MQ_OK);
  assert_false(found);

  struct mq_run second = help_run("id"), third = help_run("id");
  assert_int_equal(mq_store_put(store, &second, NULL, 0, &err), MQ_OK);
  third.correct = 1;
  assert_int_equal(mq_store_put(store, &third, NULL, 0, &err), MQ_OK);
  assert_int_equal(third.id, second.id);
  assert_int_equal(count_runs(store, &help->arena), 1);
  assert_int_equal(mq_store_find(&found, &run, store, "id", &help->arena, &err), MQ_OK);
  assert_true(found);
  assert_int_equal(run.correct, 66);
  mq_store_close(store);
}

static void test_stale(void **state) {
  struct help_store *help = *state;
  struct mq_err err = {0};
  struct mq_store *store = help_open(help);
  struct mq_run old = help_run("old"), other = help_run("other"), now = help_run("now"), *runs = NULL;
  other.cell = "another cell";
  size_t n = 0;
  bool found = true;
  assert_int_equal(mq_store_put(store, &old, NULL, 0, &err), MQ_OK);
  assert_int_equal(mq_store_put(store, &other, NULL, 0, &err), MQ_OK);
  assert_int_equal(mq_store_mark_stale(store, now.cell, "now", &err), MQ_OK);
  assert_int_equal(mq_store_put(store, &now, NULL, 0, &err), MQ_OK);
  assert_int_equal(mq_store_runs(&runs, &n, store, &help->arena, &err), MQ_OK);
  assert_int_equal(n, 3);
  assert_string_equal(runs[0].status, "stale");
  assert_string_equal(runs[1].status, "done");
  assert_string_equal(runs[2].status, "done");
  assert_int_equal(mq_store_find(&found, &old, store, "old", &help->arena, &err), MQ_OK);
  assert_false(found);
  mq_store_close(store);
}

static void test_float_baseline(void **state) {
  struct help_store *help = *state;
  struct mq_err err = {0};
  struct mq_store *store = help_open(help);
  struct mq_run run = help_run("id"), found = {0};
  bool is_found = true;
  assert_int_equal(mq_store_find_float(&is_found, &found, store, "float-1", &err), MQ_OK);
  assert_false(is_found);
  assert_int_equal(mq_store_put(store, &run, NULL, 0, &err), MQ_OK);
  assert_int_equal(mq_store_find_float(&is_found, &found, store, "float-1", &err), MQ_OK);
  assert_true(is_found);
  assert_true(found.float_top1 == 0.75);
  assert_int_equal(found.float_correct, 75);
  assert_int_equal(found.images, HELP_IMAGES);
  mq_store_close(store);
}

static void test_artefacts(void **state) {
  struct help_store *help = *state;
  struct mq_err err = {0};
  struct mq_store *store = help_open(help);
  struct mq_run run = help_run("id");
  char file[128], object[192], hex[65];
  snprintf(file, sizeof file, "%s/log.txt", help->directory);
  assert_int_equal(mq_file_write(file, "a log\n", 6, &err), MQ_OK);
  assert_int_equal(mq_store_put(store, &run, NULL, 0, &err), MQ_OK);
  assert_int_equal(mq_store_put_artefact(store, run.id, "log", file, &err), MQ_OK);
  assert_int_equal(mq_store_put_artefact(store, run.id, "log again", file, &err), MQ_OK);
  mq_sha256_bytes(hex, "a log\n", 6);
  snprintf(object, sizeof object, "%s/objects/%s", help->directory, hex);
  struct stat info;
  assert_int_equal(stat(object, &info), 0);
  assert_int_equal(info.st_size, 6);
  /* a run that is not there, a file that is not there */
  assert_int_not_equal(mq_store_put_artefact(store, run.id + 1, "log", file, &err), MQ_OK);
  assert_int_equal(mq_store_put_artefact(store, run.id, "x", "/nowhere/at/all", &err), MQ_BAD_INPUT);
  mq_store_close(store);
}

/* The contract with other programs: these columns, in this order. */
static void test_view(void **state) {
  struct help_store *help = *state;
  struct mq_store *store = help_open(help);
  struct mq_run run = help_run("id");
  assert_int_equal(mq_store_put(store, &run, NULL, 0, NULL), MQ_OK);
  mq_store_close(store);
  sqlite3 *db = NULL;
  sqlite3_stmt *statement = NULL;
  assert_int_equal(sqlite3_open(help->path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_prepare_v2(db, "SELECT * FROM run", -1, &statement, NULL), SQLITE_OK);
  const char *names[] = {"id",     "model",  "target",     "method",     "variant",
                         "w_bits", "a_bits", "w_observer", "a_observer", "seed",
                         "status", "top1",   "correct",    "images",     "seconds"};
  const char *values[] = {"1",   "net", "snpe", "ptq",  NULL, "4",   "8",  "minmax",
                          "mse", "3",   "done", "0.66", "66", "100", "1.5"};
  assert_int_equal(sqlite3_column_count(statement), 15);
  assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
  for (int i = 0; i < 15; i++) {
    assert_string_equal(sqlite3_column_name(statement, i), names[i]);
    assert_same_text((const char *)sqlite3_column_text(statement, i), values[i]);
  }
  sqlite3_finalize(statement);
  sqlite3_close(db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_round_trip, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_missing_values_are_null, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_failed_is_replaced_done_stays, help_store_setup,
                                      help_store_teardown),
      cmocka_unit_test_setup_teardown(test_stale, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_float_baseline, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_artefacts, help_store_setup, help_store_teardown),
      cmocka_unit_test_setup_teardown(test_view, help_store_setup, help_store_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
