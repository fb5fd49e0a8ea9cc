/* Trainings in the report: the second column, curves, ranges over training; and that the page stays of a
 * size. */
#include <jansson.h>

#include "base/file.h"
#include "report/help_report.h"

#define MAX_CURVE 100000

static struct mq_run_curve curve[MAX_CURVE];
static struct mq_run_range ranges[64];

/* n points from epoch 1 on: loss n, n - 1, ... 1 over n, test accuracy at every second. */
static struct mq_run_history make_history(size_t n, bool diverges) {
  for (size_t i = 0; i < n; i++) {
    curve[i] = (struct mq_run_curve){.step = 10 * (int64_t)(i + 1),
                                     .epoch = (double)(i + 1),
                                     .rate = 0.1,
                                     .loss = (double)(n - i) / (double)n,
                                     .train_top1 = 0.5,
                                     .test_top1 = i % 2 ? 0.75 : (double)NAN};
  }
  if (diverges) {
    curve[n - 2].loss = 1e15;
    curve[n - 1].loss = (double)NAN;
  }
  size_t n_ranges = 0;
  for (int64_t step = 1; step <= 4; step++) {
    for (int64_t point = 0; point < 2; point++) {
      double hi = (double)step * (point ? 2 : 1);
      ranges[n_ranges++] = (struct mq_run_range){.step = 10 * step, .point = point, .lo = -hi / 4, .hi = hi};
    }
  }
  return (struct mq_run_history){.curve = curve, .n_curve = n, .ranges = ranges, .n_ranges = n_ranges};
}

static struct mq_store *open_store(struct help_report *help, const char **path) {
  struct mq_store *store = NULL;
  struct mq_err err = {0};
  *path = mq_arena_printf(&help->arena, "%s/a.db", help->directory);
  assert_ok(mq_store_open(&store, *path, false, &err));
  return store;
}

static void put(struct mq_store *store, struct mq_run *run) {
  static const float scale = 0.5f;
  static const int32_t zero_point = 0;
  struct mq_err err = {0};
  const char *const tensors[] = {"conv1.weight", "relu<1>"}, *const kinds[] = {"weight", "activation"};
  struct mq_run_point points[2];
  for (size_t i = 0; i < 2; i++) {
    points[i] = (struct mq_run_point){.tensor = tensors[i],
                                      .kind = kinds[i],
                                      .bits = 4,
                                      .lo = -1,
                                      .hi = 1,
                                      .scale = &scale,
                                      .zero_point = &zero_point,
                                      .n_channels = 1};
  }
  assert_ok(mq_store_put(store, run, points, 2, &err));
}

static void put_training(struct help_report *help, struct mq_store *store, const struct help_cell *cell,
                         size_t n, double best) {
  const char *status = cell->status ? cell->status : "done";
  struct mq_run_history history = make_history(n, !strcmp(status, "nc"));
  struct mq_run run = help_report_run(help, cell);
  run.history = &history;
  run.best_top1 = best;
  run.train_seconds = 12.5;
  run.result_sha256 = "beef";
  put(store, &run);
}

static const struct help_cell lsq = {
    .model = "net", .target = "snpe", .method = "lsq", .w_observer = "norm", .bits = 4, .top1 = 0.8};
static const struct help_cell pact = {
    .model = "net", .target = "snpe", .method = "pact", .w_observer = "norm", .bits = 4, .status = "nc"};
static const struct help_cell ptq = {
    .model = "net", .target = "snpe", .method = "ptq", .w_observer = "norm", .bits = 4, .top1 = 0.6};

static char *write_page(struct help_report *help, const char *path) {
  struct mq_report_result result;
  struct mq_err err = {0};
  char directory[96];
  snprintf(directory, sizeof directory, "%s/out", help->directory);
  assert_ok(mq_report_write(&result, &path, 1, directory,
                            MQ_REPORT_HTML | MQ_REPORT_MD | MQ_REPORT_CSV | MQ_REPORT_JSON, &err));
  mq_report_result_deinit(&result);
  char *page = help_report_read(help, "report.html");
  help_report_check_page(page);
  return page;
}

static void test_without(void **state) {
  struct help_report *help = *state;
  char *page = write_page(help, help_report_put(help, "a.db", &ptq, 1));
  assert_null(strstr(page, "<h2>Training</h2>"));
  assert_null(strstr(page, "over training</h2>"));
  assert_null(strstr(page, ">best</th>"));
  char *text = help_report_read(help, "report.md");
  assert_null(strstr(text, "best"));
  mq_free(text);
  mq_free(page);
}

static void test_second_column(void **state) {
  struct help_report *help = *state;
  const char *path;
  struct mq_store *store = open_store(help, &path);
  struct help_cell other_seed = lsq;
  other_seed.seed = 1;
  put_training(help, store, &lsq, 4, 0.85);
  put_training(help, store, &other_seed, 4, 0.87);
  put_training(help, store, &pact, 4, 0.3);
  struct mq_run run = help_report_run(help, &ptq);
  put(store, &run);
  mq_store_close(store);
  char *page = write_page(help, path), *text = help_report_read(help, "report.md");
  assert_int_equal(help_report_count(page, ">best</th>"), 1);
  assert_non_null(strstr(page, "<td class=\"ever\">86.00</td>")); /* the mean of both seeds */
  assert_int_equal(help_report_count(page, "<td class=\"ever\">–</td>"), 2);
  assert_non_null(strstr(text, "|  best |"));
  assert_non_null(strstr(text, "80.00 ± 0.00 | 86.00 |"));
  mq_free(text);
  text = help_report_read(help, "report.csv");
  assert_non_null(strstr(text, ",best_top1,train_seconds,"));
  assert_int_equal(help_report_count(text, ",12.5,"), 3);
  assert_int_equal(help_report_count(text, ",beef\n"), 3);
  mq_free(text);
  text = help_report_read(help, "report.json");
  json_t *root = json_loads(text, 0, NULL), *runs = json_object_get(root, "runs");
  assert_true(json_real_value(json_object_get(json_array_get(runs, 0), "best_top1")) == 0.85);
  assert_true(json_real_value(json_object_get(json_array_get(runs, 0), "train_seconds")) == 12.5);
  assert_true(json_is_null(json_object_get(json_array_get(runs, 3), "train_seconds")));
  json_decref(root);
  mq_free(text);
  mq_free(page);
}

/* The text between the first `start` and the next `end`. */
static char *between(struct help_report *help, const char *page, const char *start, const char *end) {
  const char *at = strstr(page, start);
  assert_non_null(at);
  const char *stop = strstr(at, end);
  assert_non_null(stop);
  return mq_arena_printf(&help->arena, "%.*s", (int)(stop - at), at);
}

/* "M12.0 34.0L..." of the kth stroke: its points. */
static size_t read_path(double x[16], double y[16], const char *svg, size_t k) {
  const char *at = svg;
  for (size_t i = 0; i <= k; i++) {
    at = strstr(at, "<path class=\"line");
    assert_non_null(at);
    at++;
  }
  at = strstr(at, " d=\"") + 3;
  size_t n = 0;
  for (int used = 0; n < 16 && sscanf(at + 1, "%*[ML]%lf %lf%n", &x[n], &y[n], &used) == 2; n++) {
    at += used;
  }
  return n;
}

static void test_curves(void **state) {
  struct help_report *help = *state;
  const char *path;
  struct mq_store *store = open_store(help, &path);
  double x[16], y[16];
  put_training(help, store, &lsq, 4, 0.85);
  mq_store_close(store);
  char *page = write_page(help, path);
  char *section = between(help, page, "<h2>Training</h2>", "</section>");
  assert_int_equal(help_report_count(section, "<svg role"), 3);
  assert_null(strstr(section, "class=\"mark"));
  char *loss = between(help, section, "aria-label=\"training loss\"", "</svg>");
  assert_int_equal(read_path(x, y, loss, 0), 4);
  for (size_t i = 1; i < 4; i++) { /* equal steps to the right and down (the screen's y grows) */
    assert_true(fabs((x[i] - x[i - 1]) - (x[1] - x[0])) < 0.11 && x[1] > x[0]);
    assert_true(fabs((y[i] - y[i - 1]) - (y[1] - y[0])) < 0.11 && y[1] > y[0]);
  }
  assert_true(fabs(x[0] - (x[1] - x[0]) - 46) < 0.2); /* epoch 0 at the axis */
  char *test = between(help, section, "aria-label=\"test accuracy, %\"", "</svg>");
  assert_int_equal(read_path(x, y, test, 0), 2);
  assert_true(y[0] == y[1]);
  assert_non_null(strstr(test, ": 75 at the end"));
  mq_free(page);
}

/* A run that diverged: drawn up to there, without pressing the others flat. */
static void test_diverged(void **state) {
  struct help_report *help = *state;
  const char *path;
  struct mq_store *store = open_store(help, &path);
  double x[16], y[16], lowest = 0, highest = 1e9;
  put_training(help, store, &lsq, 8, 0.85);
  put_training(help, store, &pact, 6, (double)NAN);
  mq_store_close(store);
  char *page = write_page(help, path);
  char *loss = between(help, page, "aria-label=\"training loss\"", "</svg>");
  assert_int_equal(read_path(x, y, loss, 0), 8);
  for (size_t i = 0; i < 8; i++) {
    lowest = fmax(lowest, y[i]);
    highest = fmin(highest, y[i]);
  }
  assert_true(lowest - highest > 50); /* of about 190 */
  assert_int_equal(read_path(x, y, loss, 1), 5);
  assert_true(y[4] < y[3] && y[4] >= 0);
  assert_int_equal(help_report_count(loss, "class=\"mark"), 1);
  assert_non_null(strstr(loss, ", not converged"));
  mq_free(page);
}

static void test_ranges(void **state) {
  struct help_report *help = *state;
  const char *path;
  struct mq_store *store = open_store(help, &path);
  double x[16], y[16], z[16];
  put_training(help, store, &lsq, 4, 0.85);
  put_training(help, store, &pact, 4, 0.3);
  mq_store_close(store);
  char *page = write_page(help, path);
  char *section = between(help, page, "over training</h2>", "</section>");
  assert_int_equal(help_report_count(section, "<svg role"), 2); /* a weight and an activation */
  assert_non_null(strstr(section, "relu&lt;1&gt;"));
  char *svg = between(help, section, "conv1.weight", "</svg>");
  assert_int_equal(help_report_count(svg, "<path class=\"line"), 4); /* both ends of both runs */
  assert_non_null(strstr(svg, ": -0.25 to 1 at step 10, -1 to 4 at step 40"));
  assert_int_equal(read_path(x, y, svg, 0), 4);
  assert_int_equal(read_path(x, z, svg, 1), 4);
  for (size_t i = 1; i < 4; i++) { /* lo falls by 0.25, hi rises by 1 */
    double fall = y[i] - y[i - 1], rise = z[i - 1] - z[i];
    assert_true(fall > 0 && fabs(rise - 4 * fall) < 0.5);
  }
  mq_free(page);
}

/* Float networks that were trained stand together, by model. */
static void test_float(void **state) {
  struct help_report *help = *state;
  const char *path;
  struct mq_store *store = open_store(help, &path);
  const struct help_cell cells[] = {
      {.model = "net", .method = "float", .bits = 8, .top1 = 0.9},
      {.model = "net", .method = "float", .bits = 8, .top1 = 0.9, .seed = 1, .options = "lr 0.5"}};
  put_training(help, store, &cells[0], 4, 0.9);
  put_training(help, store, &cells[1], 4, 0.9);
  mq_store_close(store);
  char *page = write_page(help, path);
  char *section = between(help, page, "<h2>Training</h2>", "</section>");
  assert_int_equal(help_report_count(section, "<details"), 1);
  assert_non_null(strstr(section, "float · lr 0.5 · seed 1"));
  assert_int_equal(help_report_count(section, "<path class=\"line"), 2 + 3 * 2); /* legend, charts */
  mq_free(page);
}

/* Many methods, many models, very long curves: a part is drawn and the rest is counted. */
static void test_bounds(void **state) {
  struct help_report *help = *state;
  const char *path;
  struct mq_store *store = open_store(help, &path);
  for (int i = 0; i < 10; i++) {
    struct help_cell cell = lsq;
    cell.method = mq_arena_printf(&help->arena, "method%d", i);
    put_training(help, store, &cell, i ? 3 : MAX_CURVE, 0.85);
  }
  for (int i = 0; i < 30; i++) {
    struct help_cell cell = lsq;
    cell.model = mq_arena_printf(&help->arena, "net%d", i);
    put_training(help, store, &cell, 2, 0.85);
  }
  mq_store_close(store);
  char *page = write_page(help, path);
  char *section = between(help, page, "<h2>Training</h2>", "</section>");
  assert_int_equal(help_report_count(section, "<details"), 24);
  assert_non_null(strstr(section, ">2 more trainings are not drawn."));
  assert_non_null(strstr(section, ">7 more groups of trainings are left out."));
  assert_true(strlen(section) < 300000);
  section = between(help, page, "over training</h2>", "</section>");
  assert_int_equal(help_report_count(section, "<details"), 12);
  assert_non_null(strstr(section, ">19 more groups of trainings are left out."));
  mq_free(page);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_without, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_second_column, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_curves, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_diverged, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_ranges, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_float, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_bounds, help_report_setup, help_report_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
