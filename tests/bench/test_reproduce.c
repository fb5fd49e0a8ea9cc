/* Stored runs again: the same bits, and every number that was changed in the store is named. */
#include <sqlite3.h>
#include <unistd.h>

#include "bench/cell.h"
#include "bench/help_grid.h"

struct fixture {
  struct help_grid *grid;
  struct mq_pool *pool;
  char path[160];
};

static struct fixture f;

/* Run 1 trains, run 2 does not, run 3 is float, run 4 diverges. */
static int setup(void **state) {
  void *grid = NULL;
  help_grid_setup(&grid);
  f.grid = grid;
  struct mq_bench_result result;
  struct mq_err err = {0};
  help_grid_model(f.grid, "net.onnx", 1);
  assert_ok(help_grid_run(&result, f.grid,
                          "models: [net.onnx]\n" HELP_GRID_DATA
                          "grid: {target: [snpe], method: [lsq, ptq, float], bits: [{w: 4, a: 4}]}\n"
                          "training: {epochs: 2, batch: 16, evaluate_epochs: 0.5}\n",
                          0, &err));
  assert_int_equal(result.failed, 0);
  assert_ok(help_grid_run(&result, f.grid,
                          "models: [net.onnx]\n" HELP_GRID_DATA
                          "grid: {target: [snpe], method: [lsq], bits: [{w: 4, a: 4}]}\n"
                          "training: {epochs: 2, batch: 16, lr: 1.0e+9, warmup_epochs: 0}\n",
                          0, &err));
  assert_int_equal(result.failed, 0);
  assert_ok(mq_pool_create(&f.pool, 1, mq_kernel_start_worker, &err)); /* the grid had two threads */
  snprintf(f.path, sizeof f.path, "%s/out/results.db", f.grid->directory);
  *state = NULL;
  return 0;
}

static int teardown(void **state) {
  (void)state;
  void *grid = f.grid;
  mq_pool_destroy(f.pool);
  return help_grid_teardown(&grid);
}

static void sql(const char *text) {
  sqlite3 *db = NULL;
  char *message = NULL;
  assert_int_equal(sqlite3_open(f.path, &db), SQLITE_OK);
  if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK) {
    fail_msg("%s: %s", text, message);
  }
  sqlite3_close(db);
}

static mq_status reproduce(struct mq_reproduction *result, const char *name, struct mq_err *err) {
  struct mq_store *store = NULL;
  struct mq_run run;
  assert_int_equal(mq_store_open(&store, f.path, true, err), MQ_OK);
  mq_status status = mq_reproduce_find(&run, store, name, &f.grid->arena, err);
  if (status == MQ_OK) {
    status = mq_reproduce(result, store, &run, f.pool, &f.grid->arena, err);
  }
  mq_store_close(store);
  return status;
}

static struct mq_reproduction reproduced(const char *name) {
  struct mq_reproduction result;
  struct mq_err err = {0};
  if (reproduce(&result, name, &err) != MQ_OK) {
    fail_msg("run %s: %s", name, err.message);
  }
  return result;
}

static void test_identical(void **state) {
  (void)state;
  const char *const names[] = {"1", "2", "3", "4"};
  size_t compared[4];
  for (size_t i = 0; i < 4; i++) {
    struct mq_reproduction result = reproduced(names[i]);
    assert_null(result.why_not);
    if (result.n_all) {
      fail_msg("run %s: %s differs", names[i], result.differences[0].what);
    }
    compared[i] = result.n_compared;
  }
  assert_true(compared[2] > 70);                /* outcomes of 64 images */
  assert_true(compared[1] > compared[2] + 50);  /* and points */
  assert_true(compared[0] > compared[1] + 100); /* and curve and ranges */
}

/* One number changed, the run again, and the number as it was. */
static void assert_named(const char *change, const char *back, const char *run, const char *what) {
  sql(change);
  struct mq_reproduction result = reproduced(run);
  sql(back);
  assert_null(result.why_not);
  if (result.n_all != 1 || strcmp(result.differences[0].what, what) != 0) {
    fail_msg("%s: %zu differences, first %s", change, result.n_all,
             result.n_all ? result.differences[0].what : "none");
  }
}

static void test_changed_numbers(void **state) {
  (void)state;
  const char *const columns[] = {"float_top1", "top1", "top5", "loss", "best_top1"};
  for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
    char change[256];
    snprintf(change, sizeof change,
             "CREATE TABLE kept AS SELECT %s AS x FROM runs WHERE id = 1;"
             "UPDATE runs SET %s = %s * 0.99999999999 + 1e-14 WHERE id = 1",
             columns[i], columns[i], columns[i]);
    char back[256];
    snprintf(back, sizeof back, "UPDATE runs SET %s = (SELECT x FROM kept) WHERE id = 1; DROP TABLE kept",
             columns[i]);
    assert_named(change, back, "1", columns[i]);
  }
  assert_named("UPDATE runs SET correct = correct + 1 WHERE id = 2",
               "UPDATE runs SET correct = correct - 1 WHERE id = 2", "2", "correct");
  assert_named("UPDATE runs SET float_correct = float_correct + 1 WHERE id = 2",
               "UPDATE runs SET float_correct = float_correct - 1 WHERE id = 2", "2", "float_correct");
  assert_named("UPDATE runs SET result_sha256 = 'x' || result_sha256 WHERE id = 2",
               "UPDATE runs SET result_sha256 = substr(result_sha256, 2) WHERE id = 2", "2", "result_sha256");
}

static void test_changed_history(void **state) {
  (void)state;
  assert_named("UPDATE curve SET loss = loss + 1 WHERE run_id = 1 AND step = 3",
               "UPDATE curve SET loss = loss - 1 WHERE run_id = 1 AND step = 3", "1", "curve[2].loss");
  assert_named("UPDATE curve SET test_top1 = test_top1 + 0.0078125 WHERE run_id = 1 AND step = 8",
               "UPDATE curve SET test_top1 = test_top1 - 0.0078125 WHERE run_id = 1 AND step = 8", "1",
               "curve[7].test_top1");
  assert_named("UPDATE ranges SET hi = hi * 2 WHERE run_id = 1 AND step = 8 AND point = 2",
               "UPDATE ranges SET hi = hi / 2 WHERE run_id = 1 AND step = 8 AND point = 2", "1",
               "range of point 2 at step 8: hi");
  sql("CREATE TABLE kept AS SELECT * FROM curve WHERE run_id = 4 AND step = 2;"
      "DELETE FROM curve WHERE run_id = 4 AND step = 2");
  struct mq_reproduction result = reproduced("4");
  sql("INSERT INTO curve SELECT * FROM kept; DROP TABLE kept");
  assert_int_equal(result.n_all, 1);
  assert_string_equal(result.differences[0].what, "curve");
  assert_true(result.differences[0].stored_count == result.differences[0].now_count - 1);
}

/* The least bit of one scale, one zero point, one outcome. */
static void test_changed_points(void **state) {
  (void)state;
  sql("CREATE TABLE kept AS SELECT position, scale, zero_point FROM points WHERE run_id = 2;"
      "UPDATE points SET scale = CAST(x'01' || substr(scale, 2) AS BLOB) WHERE run_id = 2 AND position = 1;"
      "UPDATE points SET zero_point = CAST(x'7f' || substr(zero_point, 2) AS BLOB) WHERE run_id = 2 AND "
      "position "
      "= 2");
  struct mq_reproduction result = reproduced("2");
  sql("UPDATE points SET scale = (SELECT scale FROM kept k WHERE k.position = points.position), zero_point ="
      " (SELECT zero_point FROM kept k WHERE k.position = points.position) WHERE run_id = 2; DROP TABLE "
      "kept");
  assert_int_equal(result.n_all, 2);
  assert_non_null(strstr(result.differences[0].what, ": scale[0]"));
  assert_true(result.differences[0].stored_real != result.differences[0].now_real);
  assert_non_null(strstr(result.differences[1].what, ": zero_point[0]"));
  assert_int_equal(result.differences[1].stored_count & 0xff, 0x7f);
  sql("UPDATE runs SET is_correct = CAST(x'00' || substr(is_correct, 2) AS BLOB) WHERE id = 3");
  result = reproduced("3");
  assert_true(result.n_all > 0 && result.n_all <= 8);
  assert_non_null(strstr(result.differences[0].what, "is_correct["));
  sql("DELETE FROM points WHERE run_id = 2 AND position = 0");
  result = reproduced("2");
  assert_int_equal(result.n_all, 1);
  assert_string_equal(result.differences[0].what, "points");
}

static void test_finding(void **state) {
  (void)state;
  struct mq_store *store = NULL;
  struct mq_run *runs = NULL, run;
  struct mq_err err = {0};
  size_t n = 0;
  assert_ok(mq_store_open(&store, f.path, true, &err));
  assert_ok(mq_store_runs(&runs, &n, store, &f.grid->arena, &err));
  assert_int_equal(n, 4);
  for (size_t i = 0; i < n; i++) {
    assert_ok(mq_reproduce_find(&run, store, runs[i].identity, &f.grid->arena, &err));
    assert_int_equal(run.id, runs[i].id);
    char *start = mq_arena_printf(&f.grid->arena, "%.12s", runs[i].identity);
    assert_ok(mq_reproduce_find(&run, store, start, &f.grid->arena, &err));
    assert_int_equal(run.id, runs[i].id);
  }
  mq_store_close(store);
  sql("UPDATE runs SET identity = 'abc' || id");
  assert_ok(mq_store_open(&store, f.path, true, &err));
  assert_int_equal(mq_reproduce_find(&run, store, "ab", &f.grid->arena, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "4 runs begin so"));
  assert_ok(mq_reproduce_find(&run, store, "abc3", &f.grid->arena, &err));
  assert_int_equal(run.id, 3);
  const char *const wrong[] = {"", "5", "x", "-1", "abc33", "99999999999999999999"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    assert_int_equal(mq_reproduce_find(&run, store, wrong[i], &f.grid->arena, &err), MQ_BAD_INPUT);
    assert_non_null(strstr(err.message, "not in the store of 4 runs"));
  }
  mq_store_close(store);
}

static void assert_not_comparable(const char *change, const char *says) {
  sql("CREATE TABLE kept AS SELECT * FROM runs WHERE id = 2");
  sql(change);
  struct mq_reproduction result = reproduced("2");
  sql("DELETE FROM runs WHERE id = 2; INSERT INTO runs SELECT * FROM kept; DROP TABLE kept");
  assert_int_equal(result.n_compared, 0);
  if (!result.why_not || !strstr(result.why_not, says)) {
    fail_msg("\"%s\" does not say \"%s\"", result.why_not ? result.why_not : "", says);
  }
}

static void test_not_comparable(void **state) {
  (void)state;
  assert_not_comparable("UPDATE runs SET version = '0.0.1' WHERE id = 2",
                        "version: the run has 0.0.1, now it is");
  assert_not_comparable("UPDATE runs SET version = NULL WHERE id = 2", "version: the run has none");
  assert_not_comparable("UPDATE runs SET isa = 'quantum' WHERE id = 2",
                        "instruction set: the run has quantum");
  assert_not_comparable("UPDATE runs SET onednn = '1.0' WHERE id = 2", "oneDNN: the run has 1.0");
  assert_not_comparable("UPDATE runs SET model_sha256 = 'aa' WHERE id = 2",
                        "content of the model: the run has aa");
  assert_not_comparable("UPDATE runs SET data_sha256 = 'aa' WHERE id = 2", "content of the calibration data");
  assert_not_comparable("UPDATE runs SET eval_sha256 = 'aa' WHERE id = 2", "content of the evaluation data");
  assert_not_comparable("UPDATE runs SET target_sha256 = 'aa' WHERE id = 2", "content of the target");
  assert_not_comparable("UPDATE runs SET identity = 'aa' WHERE id = 2", "identity (revisions");
}

static void assert_refused(const char *run, const char *says) {
  struct mq_reproduction result;
  struct mq_err err = {0};
  assert_int_equal(reproduce(&result, run, &err), MQ_BAD_INPUT);
  if (!strstr(err.message, says)) {
    fail_msg("\"%s\" does not say \"%s\"", err.message, says);
  }
}

/* Last: the store and the model are not good for anything afterwards. */
static void test_refused(void **state) {
  (void)state;
  char model[128];
  sql("UPDATE runs SET status = 'failed', message = 'no luck' WHERE id = 1");
  assert_refused("1", "run 1 failed and recorded nothing to compare: no luck");
  sql("UPDATE runs SET cell = replace(cell, 'w_bits=4', 'w_bits=400') WHERE id = 2");
  assert_refused("2", "run 2: line 12 of a cell: w_bits=400, expected 0 to 8");
  sql("UPDATE runs SET cell = 'nonsense' WHERE id = 2");
  assert_refused("2", "expected \"model_name=\"");
  sql("UPDATE curve SET train_top1 = 7 WHERE run_id = 4");
  assert_refused("4", "accuracy of 7");
  snprintf(model, sizeof model, "%s/net.onnx", f.grid->directory);
  assert_int_equal(unlink(model), 0);
  assert_refused("3", model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_identical),       cmocka_unit_test(test_changed_numbers),
      cmocka_unit_test(test_changed_history), cmocka_unit_test(test_not_comparable),
      cmocka_unit_test(test_changed_points),  cmocka_unit_test(test_finding),
      cmocka_unit_test(test_refused),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
