/* The files of a report: CSV reads back, JSON parses, the page is well formed and nothing from a store is
 * markup. */
#include <jansson.h>

#include "base/file.h"
#include "report/help_report.h"

#define HOSTILE "<script>alert(1)</script>\"'&]]>, \"x\"\nnew | line"

static void write_all(struct help_report *help, const char *path, struct mq_report_result *result) {
  char directory[96];
  struct mq_err err = {0};
  snprintf(directory, sizeof directory, "%s/out", help->directory);
  unsigned formats = MQ_REPORT_HTML | MQ_REPORT_MD | MQ_REPORT_CSV | MQ_REPORT_JSON;
  if (mq_report_write(result, &path, 1, directory, formats, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
}

static const struct help_cell cells[] = {
    {.model = HOSTILE,
     .target = "snpe",
     .method = "ptq",
     .w_observer = HOSTILE,
     .a_observer = "mse",
     .bits = 8,
     .top1 = 0.88},
    {.model = HOSTILE,
     .target = "acl",
     .method = "ptq",
     .w_observer = HOSTILE,
     .a_observer = "mse",
     .bits = 8,
     .status = "failed",
     .message = HOSTILE},
    {.model = HOSTILE,
     .target = HOSTILE,
     .method = "ptq",
     .w_observer = HOSTILE,
     .a_observer = "mse",
     .bits = 4,
     .top1 = 0.1},
    {.model = HOSTILE,
     .target = "tvm",
     .method = "ptq",
     .w_observer = HOSTILE,
     .a_observer = "mse",
     .bits = 4,
     .status = "nc"},
};

/* A plain RFC 4180 reader: the next field into `field`; returns what ended it. */
static int read_field(char *field, size_t bytes, const char **at) {
  size_t n = 0;
  const char *c = *at;
  if (*c == '"') {
    for (c++; *c && (*c != '"' || c[1] == '"'); c++) {
      if (*c == '"') c++;
      assert_true(n + 1 < bytes);
      field[n++] = *c;
    }
    c++;
  } else {
    for (; *c && *c != ',' && *c != '\n'; c++) {
      assert_true(n + 1 < bytes);
      field[n++] = *c;
    }
  }
  field[n] = '\0';
  int end = *c;
  *at = c + (*c != '\0');
  return end;
}

static void test_csv_reads_back(void **state) {
  struct help_report *help = *state;
  struct mq_report_result result;
  char names[64][64], field[512];
  size_t n_columns = 0, n_rows = 0;
  write_all(help, help_report_put(help, "a.db", cells, 4), &result);
  assert_int_equal(result.rows, 4);
  char *text = help_report_read(help, "report.csv");
  const char *at = text;
  int end;
  do {
    end = read_field(names[n_columns++], sizeof names[0], &at);
  } while (end == ',');
  while (*at) {
    for (size_t c = 0; c < n_columns; c++) {
      end = read_field(field, sizeof field, &at);
      assert_int_equal(end, c + 1 < n_columns ? ',' : '\n');
      if (!strcmp(names[c], "model") || !strcmp(names[c], "w_observer")) assert_string_equal(field, HOSTILE);
      if (!strcmp(names[c], "message")) assert_string_equal(field, n_rows == 1 ? HOSTILE : "");
      if (!strcmp(names[c], "top1") && n_rows == 0) assert_true(strtod(field, NULL) == 0.88);
      if (!strcmp(names[c], "top1") && n_rows == 1) assert_string_equal(field, "");
      if (!strcmp(names[c], "w_bits")) assert_string_equal(field, n_rows < 2 ? "8" : "4");
    }
    n_rows++;
  }
  assert_int_equal(n_rows, 4);
  mq_free(text);
  mq_report_result_deinit(&result);
}

static void test_json(void **state) {
  struct help_report *help = *state;
  struct mq_report_result result;
  write_all(help, help_report_put(help, "a.db", cells, 4), &result);
  char *text = help_report_read(help, "report.json");
  json_error_t error;
  json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &error);
  assert_non_null(root);
  assert_int_equal(json_array_size(json_object_get(root, "runs")), 4);
  json_t *rows = json_object_get(root, "rows");
  assert_int_equal(json_array_size(rows), 2);
  json_t *settings = json_object_get(json_array_get(rows, 0), "settings");
  assert_true(json_real_value(json_object_get(json_object_get(settings, "snpe"), "mean")) == 0.88);
  assert_string_equal(json_string_value(json_object_get(json_object_get(settings, "acl"), "status")),
                      "failed");
  settings = json_object_get(json_array_get(rows, 1), "settings");
  assert_string_equal(json_string_value(json_object_get(json_object_get(settings, "tvm"), "status")), "nc");
  assert_non_null(json_object_get(settings, HOSTILE));
  json_decref(root);
  mq_free(text);
  mq_report_result_deinit(&result);
}

static void test_page(void **state) {
  struct help_report *help = *state;
  struct mq_report_result result;
  write_all(help, help_report_put(help, "a.db", cells, 4), &result);
  assert_int_equal(result.n_files, 4);
  char *text = help_report_read(help, "report.html");
  help_report_check_page(text);
  assert_int_equal(help_report_count(text, "<script"), 1); /* our own */
  assert_null(strstr(text, "alert(1)</script>"));
  assert_null(strstr(text, "src="));
  assert_null(strstr(text, "http"));
  assert_null(strstr(text, "url("));
  assert_non_null(strstr(text, "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;]]&gt;"));
  assert_non_null(strstr(text, ">NC<"));
  assert_non_null(strstr(text, ">failed<"));
  assert_non_null(strstr(text, "88.00"));
  mq_free(text);
  mq_report_result_deinit(&result);
}

static char *write_page(struct help_report *help, const char *name, const struct help_cell *rows, size_t n) {
  struct mq_report_result result;
  write_all(help, help_report_put(help, name, rows, n), &result);
  mq_report_result_deinit(&result);
  return help_report_read(help, "report.html");
}

/* What all rows share stands above the table; a model's float accuracy beside its name. */
static void test_page_has_no_needless_columns(void **state) {
  struct help_report *help = *state;
  const struct help_cell base = {.model = "net",
                                 .target = "snpe",
                                 .method = "ptq",
                                 .w_observer = "minmax",
                                 .a_observer = "mse",
                                 .options = "32 images",
                                 .bits = 8,
                                 .top1 = 0.5};
  struct help_cell rows[] = {base, base, base, base};
  rows[1].bits = 4;
  char *text = write_page(help, "two.db", rows, 2);
  help_report_check_page(text);
  assert_non_null(strstr(text, ">All rows: ptq, calibration w / a minmax / mse, 32 images<"));
  assert_non_null(strstr(text, "net <span class=\"float\">float 90.00</span>"));
  assert_null(strstr(text, ">method</th>"));
  assert_null(strstr(text, ">calibration w / a</th>"));
  assert_null(strstr(text, ">options</th>"));
  assert_null(strstr(text, ">float</th>"));
  assert_null(strstr(text, ">gap</th>")); /* no setting without hardware */
  mq_free(text);
  rows[1].method = "lsq";
  rows[2].w_observer = "kld";
  rows[3].options = "32 images, graph 2";
  text = write_page(help, "four.db", rows, 4);
  help_report_check_page(text);
  assert_non_null(strstr(text, ">All rows: 32 images<"));
  assert_non_null(strstr(text, ">method</th>"));
  assert_non_null(strstr(text, ">calibration w / a</th>"));
  assert_non_null(strstr(text, ">options</th>"));
  assert_non_null(strstr(text, "options\">graph 2</td>"));
  mq_free(text);
}

static void test_page_counts_in_words(void **state) {
  struct help_report *help = *state;
  struct help_cell rows[] = {
      {.model = "a", .target = "snpe", .method = "ptq", .bits = 8, .top1 = 0.5},
      {.model = "b", .target = "snpe", .method = "ptq", .bits = 8, .top1 = 0.5},
      {.model = "b", .target = "acl", .method = "ptq", .bits = 8, .top1 = 0.5},
  };
  char *text = write_page(help, "one.db", rows, 2);
  assert_non_null(strstr(text, ">in 1 setting<"));
  assert_non_null(strstr(text, ">2 models, 1 setting, 2 runs,"));
  mq_free(text);
  text = write_page(help, "two.db", rows, 3);
  assert_non_null(strstr(text, ">in 2 settings<"));
  mq_free(text);
}

static void test_empty_page(void **state) {
  struct help_report *help = *state;
  struct mq_report_result result;
  write_all(help, help_report_put(help, "a.db", NULL, 0), &result);
  assert_int_equal(result.rows, 0);
  char *text = help_report_read(help, "report.html");
  help_report_check_page(text);
  assert_non_null(strstr(text, "No results yet"));
  mq_free(text);
  mq_report_result_deinit(&result);
}

/* Every shape a store can have draws something finite. */
static void test_odd_shapes(void **state) {
  struct help_report *help = *state;
  struct mq_report_result result;
  struct help_cell odd[40];
  char names[40][16];
  for (int i = 0; i < 40; i++) { /* 20 settings, one accuracy, two models */
    snprintf(names[i], sizeof names[i], "setting%d", i % 20);
    odd[i] = (struct help_cell){.model = i < 20 ? "x" : "y",
                                .target = names[i],
                                .method = "ptq",
                                .w_observer = "minmax",
                                .a_observer = "minmax",
                                .bits = 8,
                                .top1 = 1};
  }
  write_all(help, help_report_put(help, "a.db", odd, 40), &result);
  char *text = help_report_read(help, "report.html");
  help_report_check_page(text);
  assert_null(strstr(text, "\"nan"));
  assert_null(strstr(text, "\"-nan"));
  assert_null(strstr(text, "\"inf"));
  mq_free(text);
  mq_report_result_deinit(&result);
}

/* More algorithms than colours have other shapes; more than marks is said. */
static void test_many_algorithms(void **state) {
  struct help_report *help = *state;
  struct mq_report_result result;
  struct help_cell many[40];
  char names[40][16], key[128];
  for (int i = 0; i < 40; i++) {
    snprintf(names[i], sizeof names[i], "observer%d", i);
    many[i] = (struct help_cell){.model = "net",
                                 .target = "snpe",
                                 .method = "ptq",
                                 .w_observer = names[i],
                                 .a_observer = "mse",
                                 .bits = 8,
                                 .top1 = 0.5};
  }
  write_all(help, help_report_put(help, "nine.db", many, 9), &result);
  char *text = help_report_read(help, "report.html");
  help_report_check_page(text);
  snprintf(key, sizeof key,
           "<circle class=\"c0\" cx=\"0.0\" cy=\"0.0\" r=\"5.0\"/></svg>ptq · observer0 / mse");
  assert_non_null(strstr(text, key));
  assert_non_null(
      strstr(text, "height=\"9.0\"/></svg>ptq · observer8 / mse")); /* a square of the same colour */
  assert_null(strstr(text, "marks come again"));
  assert_non_null(strstr(text, "1 more rows of the table are not drawn"));
  mq_free(text);
  mq_report_result_deinit(&result);
  write_all(help, help_report_put(help, "forty.db", many, 40), &result);
  text = help_report_read(help, "report.html");
  help_report_check_page(text);
  assert_non_null(strstr(text, "marks come again"));
  mq_free(text);
  mq_report_result_deinit(&result);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_csv_reads_back, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_json, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_page, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_page_has_no_needless_columns, help_report_setup,
                                      help_report_teardown),
      cmocka_unit_test_setup_teardown(test_page_counts_in_words, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_empty_page, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_many_algorithms, help_report_setup, help_report_teardown),
      cmocka_unit_test_setup_teardown(test_odd_shapes, help_report_setup, help_report_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
