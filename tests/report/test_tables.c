/* Tables: exact text, seeds, not converged and failed cells, several stores, several models. */
#include "report/help_report.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct help_cell six_settings[] = {
    {.model = "net",
     .target = "fbgemm",
     .method = "ptq",
     .w_observer = "minmax",
     .a_observer = "mse",
     .bits = 8,
     .top1 = 0.88},
    {.model = "net",
     .target = "academic",
     .method = "ptq",
     .w_observer = "minmax",
     .a_observer = "mse",
     .bits = 8,
     .top1 = 0.895},
    {.model = "net",
     .target = "tensorrt",
     .method = "ptq",
     .w_observer = "minmax",
     .a_observer = "mse",
     .bits = 8,
     .top1 = 0.89},
    {.model = "net",
     .target = "snpe",
     .method = "ptq",
     .w_observer = "minmax",
     .a_observer = "mse",
     .bits = 8,
     .top1 = 0.87},
    {.model = "net",
     .target = "acl",
     .method = "ptq",
     .w_observer = "minmax",
     .a_observer = "mse",
     .bits = 8,
     .top1 = 0.86},
    {.model = "net",
     .target = "tvm",
     .method = "ptq",
     .w_observer = "minmax",
     .a_observer = "mse",
     .bits = 8,
     .top1 = 0.85},
};

static void assert_table(const char *const *paths, size_t n, const char *expected) {
  char *text = NULL;
  struct mq_err err = {0};
  if (mq_report_table(&text, paths, n, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
  assert_string_equal(text, expected);
  mq_free(text);
}

static void test_paper_form(void **state) {
  struct help_report *help = *state;
  const char *path = help_report_put(help, "a.db", six_settings, COUNT(six_settings));
  assert_table(
      &path, 1,
      "All rows: ptq, calibration w / a minmax / mse.\n\n"
      "| model | bits | float | academic | tensorrt |   acl |   tvm |  snpe | fbgemm | hw_mean | hw_std |  "
      "gap "
      "|\n"
      "|-------|------|------:|---------:|---------:|------:|------:|------:|-------:|--------:|-------:|----"
      "-:"
      "|\n"
      "| net   | W8A8 | 90.00 |    89.50 |    89.00 | 86.00 | 85.00 | 87.00 |  88.00 |   87.00 |   1.41 | "
      "2.50 "
      "|\n"
      "\n"
      "Top-1 in percent. hw_mean and hw_std: mean and standard deviation (by n) over the hardware settings; "
      "gap: academic minus hw_mean.\n");
}

/* Which settings are hardware, and their order, is in the runs: names mean nothing. */
static void test_settings_are_known_by_their_properties(void **state) {
  struct help_report *help = *state;
  struct help_cell cells[4];
  const struct help_cell base = {.model = "net", .method = "ptq", .bits = 8};
  for (int i = 0; i < 4; i++) {
    cells[i] = base;
  }
  cells[0].target = "zeta";
  cells[0].position = 1;
  cells[0].top1 = 0.8;
  cells[1].target = "academical"; /* hardware in spite of its name */
  cells[1].position = 3;
  cells[1].top1 = 0.7;
  cells[2].target = "paper";
  cells[2].position = 4;
  cells[2].is_no_hardware = true;
  cells[2].top1 = 0.85;
  cells[3].target = "alpha";
  cells[3].position = 2;
  cells[3].top1 = 0.6;
  const char *path = help_report_put(help, "a.db", cells, 4);
  assert_table(
      &path, 1,
      "All rows: ptq.\n\n"
      "| model | bits | float | paper |  zeta | alpha | academical | hw_mean | hw_std |   gap |\n"
      "|-------|------|------:|------:|------:|------:|-----------:|--------:|-------:|------:|\n"
      "| net   | W8A8 | 90.00 | 85.00 | 80.00 | 60.00 |      70.00 |   70.00 |   8.16 | 15.00 |\n"
      "\n"
      "Top-1 in percent. hw_mean and hw_std: mean and standard deviation (by n) over the hardware settings; "
      "gap: paper minus hw_mean.\n");
}

/* What all rows share stands above the table, what only some have stays in its column. */
static void test_shared_options_take_no_column(void **state) {
  struct help_report *help = *state;
  const struct help_cell base = {.model = "net",
                                 .target = "snpe",
                                 .method = "ptq",
                                 .w_observer = "minmax",
                                 .a_observer = "minmax",
                                 .bits = 8,
                                 .top1 = 0.5};
  struct help_cell cells[] = {base, base, base};
  cells[0].options = "graph 2, 32 images, slices of 4";
  cells[1].options = "bn fold none, 32 images, slices of 4";
  cells[2].options = "132 images, 32 images, slices of 4"; /* a part is shared as a whole only */
  const char *path = help_report_put(help, "a.db", cells, 3);
  assert_table(&path, 1,
               "All rows: ptq, calibration w / a minmax / minmax, 32 images, slices of 4.\n\n"
               "| model | bits | options      | float |  snpe | hw_mean | hw_std |\n"
               "|-------|------|--------------|------:|------:|--------:|-------:|\n"
               "| net   | W8A8 | graph 2      | 90.00 | 50.00 |   50.00 |   0.00 |\n"
               "| net   | W8A8 | bn fold none | 90.00 | 50.00 |   50.00 |   0.00 |\n"
               "| net   | W8A8 | 132 images   | 90.00 | 50.00 |   50.00 |   0.00 |\n"
               "\nTop-1 in percent. hw_mean and hw_std: mean and standard deviation (by n) over the hardware "
               "settings.\n");
}

/* Two shards of one plan, one of them given twice, are one table. */
static void test_shards(void **state) {
  struct help_report *help = *state;
  const char *whole = help_report_put(help, "whole.db", six_settings, 6), *shards[3];
  shards[0] = help_report_put(help, "results.1-of-2.db", six_settings, 3);
  shards[1] = help_report_put(help, "results.2-of-2.db", six_settings + 3, 3);
  shards[2] = shards[0];
  char *expected = NULL;
  assert_int_equal(mq_report_table(&expected, &whole, 1, NULL), MQ_OK);
  assert_table(shards, 3, expected);
  mq_free(expected);
}

/* Of a failed and a done run of one cell the done one counts, whichever store comes first. */
static void test_done_beats_failed(void **state) {
  struct help_report *help = *state;
  struct help_cell failed = six_settings[0];
  failed.status = "failed";
  const char *paths[] = {help_report_put(help, "failed.db", &failed, 1),
                         help_report_put(help, "done.db", six_settings, 6)};
  char *expected = NULL;
  assert_int_equal(mq_report_table(&expected, &paths[1], 1, NULL), MQ_OK);
  assert_non_null(strstr(expected, "88.00"));
  assert_table(paths, 2, expected);
  mq_free(expected);
}

static void test_seeds_nc_and_failed(void **state) {
  struct help_report *help = *state;
  const double top1[] = {0.801, 0.809, 0.795};
  struct help_cell cells[8];
  size_t n = 0;
  for (int64_t seed = 0; seed < 3; seed++) {
    cells[n++] = (struct help_cell){.model = "net",
                                    .target = "snpe",
                                    .method = "ptq",
                                    .w_observer = "minmax",
                                    .a_observer = "minmax",
                                    .bits = 4,
                                    .seed = seed,
                                    .top1 = top1[seed]};
  }
  cells[n] = cells[0];
  cells[n].target = "tvm";
  cells[n++].status = "nc";
  cells[n] = cells[0];
  cells[n].target = "acl";
  cells[n].message = "conv1: weights hold a NaN | at 3";
  cells[n++].status = "failed";
  cells[n] = cells[0];
  cells[n++].target = "openvino"; /* not of the paper: after its settings */
  cells[n] = cells[n - 1];
  cells[n].seed = 1;
  cells[n++].status = "nc";
  const char *path = help_report_put(help, "a.db", cells, n);
  /* plain computation: mean and n - 1 deviation of the seeds; NC counts 0 in openvino's and tvm's values */
  double mean = (80.1 + 80.9 + 79.5) / 3;
  double std = sqrt((pow(80.1 - mean, 2) + pow(80.9 - mean, 2) + pow(79.5 - mean, 2)) / 2);
  double values[] = {mean, 0, 80.1 / 2}, hw_mean = (values[0] + values[1] + values[2]) / 3, sum = 0;
  for (int i = 0; i < 3; i++) {
    sum += pow(values[i] - hw_mean, 2);
  }
  char expected[2048];
  snprintf(expected, sizeof expected,
           "All rows: ptq, calibration w / a minmax / minmax.\n\n"
           "| model | bits | float |    acl | tvm |         snpe |       openvino | hw_mean | hw_std |\n"
           "|-------|------|------:|-------:|----:|-------------:|---------------:|--------:|-------:|\n"
           "| net   | W4A4 | 90.00 | failed |  NC | %.2f ± %.2f | 80.10 (1/2 NC) |  %.2f* | %.2f* |\n"
           "\nTop-1 in percent. hw_mean and hw_std: mean and standard deviation (by n) over the hardware "
           "settings.\n"
           "NC: not converged, counts as 0 in hw_mean and hw_std.\n"
           "*: not all hardware settings are in.\n"
           "\nFailed:\n\n- net, acl W4A4 ptq minmax / minmax seed 0: conv1: weights hold a NaN \\| at 3\n",
           mean, std, hw_mean, sqrt(sum / 3));
  assert_table(&path, 1, expected);
}

/* Every failed cell is named under its reason; many are counted. */
static void test_failures_are_listed(void **state) {
  struct help_report *help = *state;
  struct help_cell cells[12];
  char *text = NULL;
  for (int i = 0; i < 12; i++) {
    cells[i] = (struct help_cell){.model = "net",
                                  .target = i % 2 ? "acl" : "tvm",
                                  .method = "ptq",
                                  .w_observer = "minmax",
                                  .a_observer = "mse",
                                  .bits = i < 3 ? 4 : 8,
                                  .seed = i,
                                  .status = "failed",
                                  .message = i < 3 ? "no scale" : "no memory"};
  }
  const char *path = help_report_put(help, "a.db", cells, COUNT(cells));
  assert_int_equal(mq_report_table(&text, &path, 1, NULL), MQ_OK);
  const char *failures = strstr(text, "Failed:");
  assert_non_null(failures);
  assert_string_equal(
      failures,
      "Failed:\n\n"
      "- net, tvm W4A4 ptq minmax / mse seed 0; net, acl W4A4 ptq minmax / mse seed 1; net, tvm "
      "W4A4 ptq minmax / mse seed 2: no scale\n"
      "- net, acl W8A8 ptq minmax / mse seed 3; net, tvm W8A8 ptq minmax / mse seed 4; net, acl "
      "W8A8 ptq minmax / mse seed 5; net, tvm W8A8 ptq minmax / mse seed 6; net, acl W8A8 ptq "
      "minmax / mse seed 7; net, tvm W8A8 ptq minmax / mse seed 8; 3 more (9 cells): no "
      "memory\n");
  mq_free(text);
}

/* Labels are as long as it takes to tell a run from every other, and say what differs first. */
static void test_labels_among_many(void **state) {
  struct help_report *help = *state;
  enum {
    n = 300
  };
  static struct help_cell cells[n];
  static char hashes[n][16], evals[n][16];
  char *text = NULL, row[128];
  for (int i = 0; i < n; i++) {
    snprintf(hashes[i], sizeof hashes[i], "%05x%07x", i % 3 ? 0xaaaaa : 0xbbbbb, i);
    snprintf(evals[i], sizeof evals[i], "e%09d", i % 2);
    cells[i] = (struct help_cell){.model = "net",
                                  .target = "snpe",
                                  .method = "ptq",
                                  .w_observer = "minmax",
                                  .a_observer = "minmax",
                                  .bits = 8,
                                  .data = hashes[(i * 7) % n],
                                  .eval = evals[(i * 7) % n],
                                  .top1 = 0.5};
  }
  const char *path = help_report_put(help, "a.db", cells, n);
  assert_int_equal(mq_report_table(&text, &path, 1, NULL), MQ_OK);
  for (int i = 0; i < n; i++) { /* plain: against every other one */
    size_t longest = 6;
    for (int j = 0; j < n; j++) {
      size_t length = 0;
      if (j == i || i % 2 != j % 2) continue;
      while (hashes[i][length] == hashes[j][length]) {
        length++;
      }
      longest = length + 1 > longest ? length + 1 : longest;
    }
    snprintf(row, sizeof row, "eval data %.12s, data %.*s ", evals[i], (int)longest, hashes[i]);
    if (!strstr(text, row)) {
      fail_msg("no row '%s'", row);
    }
  }
  mq_free(text);
}

static void test_rows_are_ordered_and_kept_apart(void **state) {
  struct help_report *help = *state;
  const struct help_cell cells[] = {
      {.model = "b",
       .target = "snpe",
       .method = "ptq",
       .w_observer = "minmax",
       .a_observer = "minmax",
       .bits = 4,
       .top1 = 0.5},
      {.model = "b",
       .target = "snpe",
       .method = "ptq",
       .w_observer = "mse",
       .a_observer = "mse",
       .bits = 4,
       .top1 = 0.6},
      {.model = "b",
       .target = "snpe",
       .method = "ptq",
       .w_observer = "minmax",
       .a_observer = "minmax",
       .bits = 8,
       .top1 = 0.7},
      {.model = "a",
       .target = "snpe",
       .method = "ptq",
       .w_observer = "minmax",
       .a_observer = "minmax",
       .bits = 8,
       .top1 = 0.8},
      {.model = "a",
       .target = "snpe",
       .method = "ptq",
       .w_observer = "minmax",
       .a_observer = "minmax",
       .bits = 8,
       .options = "graph 2",
       .top1 = 0.81},
      {.model = "a", .method = "float", .top1 = 0.9},
  };
  const char *path = help_report_put(help, "a.db", cells, COUNT(cells));
  assert_table(&path, 1,
               "All rows: ptq.\n\n"
               "| model | bits | calibration w / a | options | float |  snpe | hw_mean | hw_std |\n"
               "|-------|------|-------------------|---------|------:|------:|--------:|-------:|\n"
               "| b     | W8A8 | minmax / minmax   |         | 90.00 | 70.00 |   70.00 |   0.00 |\n"
               "| b     | W4A4 | minmax / minmax   |         | 90.00 | 50.00 |   50.00 |   0.00 |\n"
               "| b     | W4A4 | mse / mse         |         | 90.00 | 60.00 |   60.00 |   0.00 |\n"
               "| a     | W8A8 | minmax / minmax   |         | 90.00 | 80.00 |   80.00 |   0.00 |\n"
               "| a     | W8A8 | minmax / minmax   | graph 2 | 90.00 | 81.00 |   81.00 |   0.00 |\n"
               "\nTop-1 in percent. hw_mean and hw_std: mean and standard deviation (by n) over the hardware "
               "settings.\n"
               "\nMean over the models (not converged counts 0):\n\n"
               "| models | bits | calibration w / a | options |  snpe |\n"
               "|--------|------|-------------------|---------|------:|\n"
               "| 2      | W8A8 | minmax / minmax   |         | 75.00 |\n");
}

/* Other content or settings under the same names is another experiment, not another seed. */
static void test_only_seeds_are_averaged(void **state) {
  struct help_report *help = *state;
  const struct help_cell base = {.model = "net",
                                 .target = "snpe",
                                 .method = "ptq",
                                 .w_observer = "minmax",
                                 .a_observer = "minmax",
                                 .bits = 8,
                                 .eval = "e1e1e1e1",
                                 .data = "d1d1d1d1",
                                 .target_sha256 = "a1a1a1a1",
                                 .cell = "model=/a\ncalib_data=tar:/a,preset=cifar\nseed=0\n"};
  const struct {
    const char *eval, *data, *target, *cell, *first, *second;
  } cases[] = {
      {"e2e2e2e2", NULL, NULL, NULL, "eval data e1e1e1", "eval data e2e2e2"},
      {NULL, "d1d1d1d2", NULL, NULL, "data d1d1d1d1", "data d1d1d1d2"},
      {NULL, NULL, "a2a2a2a2", NULL, "target a1a1a1", "target a2a2a2"},
      {NULL, NULL, NULL, "model=/b\ncalib_data=tar:/b,preset=cifar\nseed=1\nstrict=1\n", "settings ",
       "settings "},
      {NULL, NULL, NULL, "model=/b\ncalib_data=tar:/b,preset=other\nseed=1\n", "settings ", "settings "},
      {NULL, NULL, NULL, "model=/b\ncalib_data=tar:/b,preset=cifar\nseed=1\n", NULL, NULL},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    struct help_cell cells[] = {base, base};
    char name[16], *text = NULL;
    cells[0].top1 = 0.6;
    cells[1].top1 = 0.8;
    cells[1].seed = 1;
    cells[1].eval = cases[i].eval ? cases[i].eval : base.eval;
    cells[1].data = cases[i].data ? cases[i].data : base.data;
    cells[1].target_sha256 = cases[i].target ? cases[i].target : base.target_sha256;
    cells[1].cell = cases[i].cell ? cases[i].cell : base.cell;
    snprintf(name, sizeof name, "%zu.db", i);
    const char *path = help_report_put(help, name, cells, 2);
    assert_int_equal(mq_report_table(&text, &path, 1, NULL), MQ_OK);
    assert_true((strstr(text, "70.00 ±") != NULL) == (cases[i].first == NULL));
    if (cases[i].first) {
      assert_non_null(strstr(text, cases[i].first));
      assert_non_null(strstr(text, cases[i].second));
      assert_true(strstr(text, " 60.00 |") && strstr(text, " 80.00 |"));
    }
    mq_free(text);
  }
}

static void test_float_alone(void **state) {
  struct help_report *help = *state;
  const struct help_cell cell = {.model = "net", .method = "float", .top1 = 0.9};
  const char *path = help_report_put(help, "a.db", &cell, 1);
  assert_table(&path, 1,
               "All rows: float.\n\n"
               "| model | bits | float |\n"
               "|-------|------|------:|\n"
               "| net   |      | 90.00 |\n");
}

static void test_empty(void **state) {
  struct help_report *help = *state;
  const char *path = help_report_put(help, "a.db", NULL, 0);
  assert_table(&path, 1, "No results yet: the store holds no finished runs.\n");
}

/* hw_mean and hw_std of the paper's own Table 7, ResNet-18 and ResNet-50 with PACT (two settings NC). */
static void test_published_measures(void **state) {
  struct help_report *help = *state;
  const struct {
    const char *target;
    double lsq, pact;
  } published[] = {{"academic", 70.7, 76.3}, {"tensorrt", 69.3, 76.3}, {"acl", 70.2, 76.1},
                   {"tvm", 67.7, 0},         {"snpe", 69.7, 0},        {"fbgemm", 69.8, 76.6}};
  struct help_cell cells[12];
  for (size_t i = 0; i < 6; i++) {
    cells[i] = (struct help_cell){.model = "resnet18",
                                  .target = published[i].target,
                                  .method = "lsq",
                                  .bits = 4,
                                  .top1 = published[i].lsq / 100};
    cells[6 + i] = (struct help_cell){.model = "resnet50",
                                      .target = published[i].target,
                                      .method = "pact",
                                      .bits = 4,
                                      .top1 = published[i].pact / 100,
                                      .status = published[i].pact > 0 ? "done" : "nc"};
  }
  const char *path = help_report_put(help, "a.db", cells, 12);
  char *text = NULL;
  assert_int_equal(mq_report_table(&text, &path, 1, NULL), MQ_OK);
  assert_non_null(strstr(text, "|   69.34 |   0.87 |  1.36 |"));
  assert_non_null(strstr(text, "|   45.80 |  37.40 | 30.50 |"));
  mq_free(text);
}

static void test_bad_stores(void **state) {
  struct help_report *help = *state;
  struct mq_report_result result;
  struct mq_err err = {0};
  char *text = NULL;
  const char *paths[] = {help_report_put(help, "a.db", six_settings, 6), "/nowhere/results.db"};
  assert_int_equal(mq_report_table(&text, paths, 2, &err), MQ_BAD_INPUT);
  assert_null(text);
  assert_non_null(strstr(err.message, "/nowhere/results.db"));
  assert_int_equal(mq_report_write(&result, paths, 2, help->directory, MQ_REPORT_MD, &err), MQ_BAD_INPUT);
  mq_report_result_deinit(&result);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_paper_form, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_settings_are_known_by_their_properties, help_report_setup,
                                      help_report_teardown),
      cmocka_unit_test_setup_teardown(test_shared_options_take_no_column, help_report_setup,
                                      help_report_teardown),
      cmocka_unit_test_setup_teardown(test_shards, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_done_beats_failed, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_seeds_nc_and_failed, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_failures_are_listed, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_labels_among_many, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_rows_are_ordered_and_kept_apart, help_report_setup,
                                      help_report_teardown),
      cmocka_unit_test_setup_teardown(test_only_seeds_are_averaged, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_float_alone, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_empty, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_published_measures, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_bad_stores, help_report_setup, help_report_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
