/* The grid on a small network: what is recorded, what is skipped, what fails, what becomes stale, shards. */
#include <sqlite3.h>

#include "base/file.h"
#include "bench/help_grid.h"

#define PLAN                                       \
  "name: small\nmodels: net.onnx\n" HELP_GRID_DATA \
  "grid: {target: [academic, snpe], method: [float, ptq], bits: [8, 4], seed: [0, 1]}\n"

static void run(struct mq_bench_result *result, struct help_grid *grid, const char *text, int shard) {
  struct mq_err err = {0};
  if (help_grid_run(result, grid, text, shard, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
}

static int64_t count_bits(const struct mq_run *run) {
  int64_t n = 0;
  for (int64_t i = 0; i < run->images; i++) {
    n += run->is_correct[i / 8] >> i % 8 & 1;
  }
  return n;
}

static void test_records_and_skips(void **state) {
  struct help_grid *grid = *state;
  struct mq_bench_result result;
  size_t n = 0, again = 0;
  help_grid_model(grid, "net.onnx", 1);
  run(&result, grid, PLAN, 0);
  assert_int_equal(result.cells, 9);
  assert_int_equal(result.done, 9);
  assert_int_equal(result.failed + result.skipped + result.nc, 0);
  struct mq_run *runs = help_grid_runs(&n, grid, "results.db");
  assert_int_equal(n, 9);
  for (size_t i = 0; i < n; i++) {
    const struct mq_run *r = &runs[i];
    assert_string_equal(r->status, "done");
    assert_string_equal(r->plan, "small");
    assert_string_equal(r->model, "net");
    assert_int_equal(r->images, 64);
    assert_int_equal(count_bits(r), r->correct);
    assert_true(r->top1 == (double)r->correct / 64);
    assert_int_equal(r->float_correct, runs[0].correct); /* the float run comes first */
    assert_non_null(r->cpu);
    assert_int_equal(strlen(r->identity), 64);
    assert_int_equal(strlen(r->model_sha256), 64);
    assert_true(r->seconds >= 0);
  }
  assert_string_equal(runs[0].method, "float");
  assert_null(runs[0].target);
  assert_string_equal(runs[1].target, "academic");
  assert_int_equal(runs[0].is_hardware, -1); /* no target */
  assert_int_equal(runs[0].target_position, -1);
  assert_int_equal(runs[1].is_hardware, 0);
  assert_int_equal(runs[1].target_position, 0);
  assert_string_equal(runs[8].target, "snpe");
  assert_int_equal(runs[8].is_hardware, 1);
  assert_int_equal(runs[8].target_position, 1);
  assert_int_equal(runs[1].w_bits, 8);
  assert_int_equal(runs[8].w_bits, 4);
  assert_int_equal(runs[8].seed, 1);
  run(&result, grid, PLAN, 0);
  assert_int_equal(result.skipped, 9);
  assert_int_equal(result.done, 0);
  help_grid_runs(&again, grid, "results.db");
  assert_int_equal(again, 9);
}

/* A larger plan over the same directory runs what is new. */
static void test_grows(void **state) {
  struct help_grid *grid = *state;
  struct mq_bench_result result;
  help_grid_model(grid, "net.onnx", 1);
  run(&result, grid, "models: net.onnx\n" HELP_GRID_DATA "grid: {target: snpe, method: ptq}\n", 0);
  assert_int_equal(result.done, 1);
  run(&result, grid,
      "name: other\nmodels: net.onnx\n" HELP_GRID_DATA "grid: {target: [acl, snpe], method: ptq}\n", 0);
  assert_int_equal(result.done, 1);
  assert_int_equal(result.skipped, 1);
}

/* Slices are part of the plan and of a run's identity, also of the float model's. */
static void test_slices_tell_runs_apart(void **state) {
  struct help_grid *grid = *state;
  struct mq_bench_result result;
  size_t n = 0;
  help_grid_model(grid, "net.onnx", 1);
  run(&result, grid, "models: net.onnx\n" HELP_GRID_DATA "grid: {target: snpe, method: [float, ptq]}\n", 0);
  run(&result, grid,
      "models: net.onnx\n" HELP_GRID_DATA
      "grid: {target: snpe, method: [float, ptq]}\ntraining: {slice_images: 4}\n",
      0);
  assert_int_equal(result.done, 2);
  assert_int_equal(result.skipped, 0);
  struct mq_run *runs = help_grid_runs(&n, grid, "results.db");
  assert_int_equal(n, 4);
  assert_string_equal(runs[2].options, "slices of 4");
  assert_string_equal(runs[3].options, "32 images, slices of 4");
  assert_non_null(strstr(runs[3].cell, "\nslice_images=4\n"));
  assert_string_equal(runs[3].float_identity, runs[2].identity);
  assert_string_not_equal(runs[2].identity, runs[0].identity);
}

static void test_other_content_is_stale(void **state) {
  struct help_grid *grid = *state;
  struct mq_bench_result result;
  size_t n = 0;
  const char *plan = "models: net.onnx\n" HELP_GRID_DATA "grid: {target: snpe, method: ptq}\n";
  help_grid_model(grid, "net.onnx", 1);
  run(&result, grid, plan, 0);
  help_grid_model(grid, "net.onnx", 2);
  run(&result, grid, plan, 0);
  assert_int_equal(result.done, 1);
  struct mq_run *runs = help_grid_runs(&n, grid, "results.db");
  assert_int_equal(n, 2);
  assert_string_equal(runs[0].status, "stale");
  assert_string_equal(runs[1].status, "done");
}

/* A model that cannot be read fails its own cells and no others; a later run tries them again. */
static void test_failed_cells(void **state) {
  struct help_grid *grid = *state;
  struct mq_bench_result result;
  char path[128];
  size_t n = 0, n_failed = 0, n_done = 0;
  const char *plan = "models: [broken.onnx, empty.onnx, net.onnx]\n" HELP_GRID_DATA
                     "grid: {target: [snpe, acl], method: ptq}\n";
  help_grid_model(grid, "net.onnx", 1);
  snprintf(path, sizeof path, "%s/broken.onnx", grid->directory);
  assert_int_equal(mq_file_write(path, "no model at all", 15, NULL), MQ_OK);
  snprintf(path, sizeof path, "%s/empty.onnx", grid->directory);
  assert_int_equal(mq_file_write(path, "", 0, NULL), MQ_OK);
  for (int pass = 0; pass < 2; pass++) {
    run(&result, grid, plan, 0);
    assert_int_equal(result.failed, 4);
    assert_int_equal(result.done, pass == 0 ? 2 : 0);
    assert_int_equal(result.skipped, pass == 0 ? 0 : 2);
  }
  struct mq_run *runs = help_grid_runs(&n, grid, "results.db");
  for (size_t i = 0; i < n; i++) {
    bool is_failed = !strcmp(runs[i].status, "failed");
    n_failed += is_failed;
    n_done += !strcmp(runs[i].status, "done");
    if (is_failed) {
      assert_true(strstr(runs[i].message, "broken.onnx") || strstr(runs[i].message, "empty.onnx"));
    }
  }
  assert_int_equal(n_failed, 4);
  assert_int_equal(n_done, 2);
  help_grid_model(grid, "empty.onnx", 3);
  run(&result, grid, plan, 0);
  assert_int_equal(result.failed, 2);
  assert_int_equal(result.done, 2);
}

/* Whatever file the plan names must be there: otherwise an error at once, with its place in the plan, and no
 * failed rows. */
static void test_missing_files(void **state) {
  struct help_grid *grid = *state;
  static const struct {
    const char *plan, *says;
  } cases[] = {
      {"models: net.onnx\ndata:\n  train: \"fractal:size=8\"\n  eval: \"tar:nowhere.tar\"\n"
       "grid: {target: snpe, method: ptq}\n",
       "/plan.yaml:4: data.eval: "},
      {"models: net.onnx\ndata:\n  train: \"tar:nowhere.tar\"\n  eval: \"fractal:size=8\"\n"
       "grid: {target: snpe, method: ptq}\n",
       "/plan.yaml:3: data.train: "},
      {"models:\n- net.onnx\n- {path: nowhere.onnx, name: gone}\n" HELP_GRID_DATA
       "grid: {target: snpe, method: [float, ptq]}\n",
       "/plan.yaml:3: models: "},
  };
  char store[128];
  help_grid_model(grid, "net.onnx", 1);
  snprintf(store, sizeof store, "%s/out/results.db", grid->directory);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct mq_bench_result result;
    struct mq_err err = {0};
    assert_int_equal(help_grid_run(&result, grid, cases[i].plan, 0, &err), MQ_BAD_INPUT);
    if (!strstr(err.message, cases[i].says) || !strstr(err.message, "nowhere.")) {
      fail_msg("'%s' does not say '%s'", err.message, cases[i].says);
    }
    assert_false(mq_file_exists(store));
  }
  /* data that no cell takes are not looked for */
  struct mq_bench_result result;
  run(&result, grid,
      "models: net.onnx\ndata: {train: \"tar:nowhere.tar\", eval: \"fractal:classes=10,images=9,size=8\"}\n"
      "grid: {method: float}\n",
      0);
  assert_int_equal(result.done, 1);
}

static int compare_identities(const void *a, const void *b) {
  return strcmp(((const struct mq_run *)a)->identity, ((const struct mq_run *)b)->identity);
}

/* Two shards are the plan, run by run; a plan of several processes gives the same numbers as one. */
static void test_shards(void **state) {
  struct help_grid *grid = *state;
  struct mq_bench_result result;
  size_t n[3];
  help_grid_model(grid, "net.onnx", 1);
  run(&result, grid, PLAN, 0);
  run(&result, grid, PLAN, 1);
  assert_int_equal(result.cells, 5);
  run(&result, grid, PLAN, 2);
  assert_int_equal(result.cells, 4);
  struct mq_run *whole = help_grid_runs(&n[0], grid, "results.db");
  struct mq_run *first = help_grid_runs(&n[1], grid, "results.1-of-2.db");
  struct mq_run *second = help_grid_runs(&n[2], grid, "results.2-of-2.db");
  assert_int_equal(n[1] + n[2], n[0]);
  struct mq_run together[9];
  memcpy(together, first, n[1] * sizeof *first);
  memcpy(together + n[1], second, n[2] * sizeof *second);
  qsort(whole, n[0], sizeof *whole, compare_identities);
  qsort(together, n[0], sizeof *together, compare_identities);
  for (size_t i = 0; i < n[0]; i++) {
    assert_string_equal(together[i].identity, whole[i].identity);
    assert_int_equal(together[i].correct, whole[i].correct);
    assert_true(together[i].loss == whole[i].loss);
    assert_memory_equal(together[i].is_correct, whole[i].is_correct, 8);
  }
}

static void test_list(void **state) {
  struct help_grid *grid = *state;
  struct mq_bench_line *lines = NULL;
  size_t n = 0;
  struct mq_bench_options options = {.directory = grid->directory};
  struct mq_plan *plan = help_plan(PLAN, "/nowhere/plan.yaml");
  assert_int_equal(mq_bench_list(&lines, &n, plan, &options, &grid->arena, NULL), MQ_OK);
  assert_int_equal(n, 9);
  assert_string_equal(lines[0].label, "net float");
  assert_string_equal(lines[8].label, "net snpe ptq w4a4 minmax/minmax seed 1, 32 images");
  options.shard = options.n_shards = 2;
  assert_int_equal(mq_bench_list(&lines, &n, plan, &options, &grid->arena, NULL), MQ_OK);
  assert_int_equal(n, 4);
  assert_int_equal(lines[3].number, 8);
  char *path = mq_bench_store_path(&options);
  assert_false(mq_file_exists(path));
  mq_free(path);
  mq_plan_destroy(plan);
}

/* The lease of a cell is renewed while the cell runs: here at every sign of progress. A trigger counts how
 * often it is written; without renewal that is once. */
static void test_lease_is_renewed(void **state) {
  struct help_grid *grid = *state;
  struct mq_bench_result result;
  char path[160];
  sqlite3 *db = NULL;
  sqlite3_stmt *statement = NULL;
  struct mq_store *store = NULL;
  help_grid_model(grid, "net.onnx", 1);
  snprintf(path, sizeof path, "%s/out/results.db", grid->directory);
  assert_int_equal(mq_store_open(&store, path, false, NULL), MQ_OK);
  mq_store_close(store);
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db,
                                "CREATE TABLE taken (identity TEXT);"
                                "CREATE TRIGGER note AFTER INSERT ON leases BEGIN "
                                "INSERT INTO taken VALUES (new.identity); END",
                                NULL, NULL, NULL),
                   SQLITE_OK);
  grid->renew_seconds = 1e-9;
  run(&result, grid, "models: net.onnx\n" HELP_GRID_DATA "grid: {target: [snpe, acl], method: ptq}\n", 0);
  assert_int_equal(result.done, 2);
  const char *sql =
      "SELECT min(n), (SELECT count(*) FROM leases) FROM (SELECT count(*) AS n FROM taken GROUP BY identity)";
  assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
  assert_true(sqlite3_column_int(statement, 0) > 2);
  assert_int_equal(sqlite3_column_int(statement, 1), 0); /* and given back */
  sqlite3_finalize(statement);
  sqlite3_close(db);
}

/* A trial on its own: points with their ranges, float accuracy, a bundle. */
static void test_trial(void **state) {
  struct help_grid *grid = *state;
  char file[128], bundle[128];
  struct mq_err err = {0};
  struct mq_pool *pool = NULL;
  struct mq_trial_result trial;
  help_grid_model(grid, "net.onnx", 1);
  snprintf(file, sizeof file, "%s/plan.yaml", grid->directory);
  snprintf(bundle, sizeof bundle, "%s/bundle", grid->directory);
  struct mq_plan *plan = help_plan("models: net.onnx\n" HELP_GRID_DATA
                                   "grid: {target: tensorrt, method: ptq, bits: {w: 4, a: 8}}\n",
                                   file);
  assert_int_equal(mq_pool_create(&pool, 2, mq_kernel_start_worker, &err), MQ_OK);
  const struct mq_trial_options options = {.pool = pool, .bundle = bundle};
  if (mq_trial_run(&trial, plan->cells, &options, &grid->arena, &err) != MQ_OK || trial.failure != MQ_OK) {
    fail_msg("%s", trial.run.message ? trial.run.message : err.message);
  }
  assert_string_equal(trial.run.target, "tensorrt");
  assert_true(trial.n_points >= 5);
  for (size_t i = 0; i < trial.n_points; i++) {
    const struct mq_run_point *point = &trial.points[i];
    assert_int_equal(point->bits, !strcmp(point->kind, "weight") ? 4 : 8);
    assert_true(point->n_channels >= 1 && point->lo <= 0 && point->hi > 0);
    double hi = 0; /* symmetric: p s of the widest channel */
    for (int64_t c = 0; c < point->n_channels; c++) {
      assert_int_equal(point->zero_point[c], 0);
      hi = fmax(hi, (point->bits == 4 ? 7 : 127) * (double)point->scale[c]);
    }
    assert_true(fabs(point->hi - hi) <= 1e-12 * hi);
  }
  assert_true(mq_file_is_directory(bundle));
  mq_pool_destroy(pool);
  mq_plan_destroy(plan);
}

int main(void) {
  mq_log_set_level(MQ_LOG_QUIET);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_records_and_skips, help_grid_setup, help_grid_teardown),
      cmocka_unit_test_setup_teardown(test_grows, help_grid_setup, help_grid_teardown),
      cmocka_unit_test_setup_teardown(test_slices_tell_runs_apart, help_grid_setup, help_grid_teardown),
      cmocka_unit_test_setup_teardown(test_other_content_is_stale, help_grid_setup, help_grid_teardown),
      cmocka_unit_test_setup_teardown(test_failed_cells, help_grid_setup, help_grid_teardown),
      cmocka_unit_test_setup_teardown(test_missing_files, help_grid_setup, help_grid_teardown),
      cmocka_unit_test_setup_teardown(test_shards, help_grid_setup, help_grid_teardown),
      cmocka_unit_test_setup_teardown(test_list, help_grid_setup, help_grid_teardown),
      cmocka_unit_test_setup_teardown(test_lease_is_renewed, help_grid_setup, help_grid_teardown),
      cmocka_unit_test_setup_teardown(test_trial, help_grid_setup, help_grid_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
