#include "report/help_report.h"

#include "base/file.h"

int help_report_setup(void **state) {
  struct help_report *help = calloc(1, sizeof *help);
  strcpy(help->directory, "/tmp/mqbench-report-XXXXXX");
  assert_non_null(mkdtemp(help->directory));
  mq_arena_init(&help->arena, 0);
  *state = help;
  return 0;
}

int help_report_teardown(void **state) {
  struct help_report *help = *state;
  remove_test_directory(help->directory);
  mq_arena_deinit(&help->arena);
  free(help);
  return 0;
}

static const char *or_empty(const char *text) {
  return text ? text : "";
}

static int position_of(const struct help_cell *cell) {
  static const char *const paper[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
  if (cell->position || !cell->target) {
    return cell->position - 1;
  }
  for (int i = 0; i < 6; i++) {
    if (!strcmp(cell->target, paper[i])) return i;
  }
  return -1;
}

struct mq_run help_report_run(struct help_report *help, const struct help_cell *cell) {
  bool is_float = !strcmp(cell->method, "float");
  struct mq_run run = made_up_run(mq_arena_printf(
      &help->arena, "id-%s-%s-%s-%d-%s-%s-%s-%s-%s-%s-%lld", cell->model, or_empty(cell->target),
      cell->method, cell->bits, or_empty(cell->w_observer), or_empty(cell->options), or_empty(cell->eval),
      or_empty(cell->data), or_empty(cell->target_sha256), or_empty(cell->cell), (long long)cell->seed));
  run.float_identity = NULL;
  run.cell = cell->cell ? cell->cell : "model_name=net\n";
  run.model = run.model_sha256 = cell->model;
  run.target = cell->target;
  run.is_hardware = cell->target ? !cell->is_no_hardware && strcmp(cell->target, "academic") != 0 : -1;
  run.target_position = position_of(cell);
  run.method = cell->method;
  run.w_observer = cell->w_observer;
  run.a_observer = cell->a_observer;
  run.options = cell->options;
  run.data_sha256 = is_float ? NULL : cell->data ? cell->data : "data";
  run.eval_sha256 = cell->eval ? cell->eval : "eval";
  run.target_sha256 = cell->target_sha256;
  run.w_bits = run.a_bits = is_float ? -1 : cell->bits;
  run.seed = cell->seed;
  run.status = cell->status ? cell->status : "done";
  run.message = cell->message;
  run.images = 1000;
  run.float_top1 = 0.9;
  run.float_correct = 900;
  run.top1 = cell->top1;
  run.correct = llround(1000 * cell->top1);
  run.loss = NAN;
  if (strcmp(run.status, "done") != 0) {
    run.float_top1 = run.top1 = NAN;
    run.float_correct = run.correct = -1;
  }
  return run;
}

const char *help_report_put(struct help_report *help, const char *name, const struct help_cell *cells,
                            size_t n) {
  const char *path = mq_arena_printf(&help->arena, "%s/%s", help->directory, name);
  struct mq_store *store = NULL;
  struct mq_err err = {0};
  const float scale = 0.05f;
  const int32_t zero_point = 0;
  if (mq_store_open(&store, path, false, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
  for (size_t i = 0; i < n; i++) {
    struct mq_run run = help_report_run(help, &cells[i]);
    const struct mq_run_point points[] = {
        {.tensor = "conv1.weight",
         .kind = "weight",
         .bits = cells[i].bits,
         .lo = -0.5,
         .hi = 0.25,
         .scale = &scale,
         .zero_point = &zero_point,
         .n_channels = 1},
        {.tensor = "relu1",
         .kind = "activation",
         .bits = cells[i].bits,
         .lo = 0,
         .hi = 3,
         .scale = &scale,
         .zero_point = &zero_point,
         .n_channels = 1},
    };
    size_t n_points = cells[i].target ? 2 : 0;
    if (mq_store_put(store, &run, points, n_points, &err) != MQ_OK) {
      fail_msg("%s", err.message);
    }
  }
  mq_store_close(store);
  return path;
}

char *help_report_read(struct help_report *help, const char *name) {
  char path[128], *text = NULL;
  size_t n = 0;
  snprintf(path, sizeof path, "%s/out/%s", help->directory, name);
  assert_int_equal(mq_file_read(&text, &n, path, 1 << 26, NULL), MQ_OK);
  assert_int_equal(strlen(text), n);
  return text;
}

/* Names of open tags on a stack. */
void help_report_check_page(const char *text) {
  char stack[64][16];
  size_t depth = 0, n_tags = 0;
  const char *c = strstr(text, "<html");
  assert_non_null(c);
  while (*c) {
    if (*c == '&') {
      size_t n = 1 + strcspn(c + 1, ";<& ");
      assert_true(c[n] == ';' && n <= 6);
    }
    if (*c != '<') {
      c++;
      continue;
    }
    bool is_close = c[1] == '/';
    const char *name = c + 1 + is_close;
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
    assert_true(n > 0 && n < 16);
    for (c = name + n; *c != '>';) { /* attributes */
      assert_true(*c != '\0' && *c != '<');
      if (*c == '"') {
        c++;
        c += strcspn(c, "\"<");
        assert_int_equal(*c, '"');
      }
      c++;
    }
    bool is_empty = c[-1] == '/';
    if (is_close) {
      assert_true(depth > 0);
      depth--;
      if (strlen(stack[depth]) != n || strncmp(stack[depth], name, n) != 0) {
        fail_msg("</%.*s> closes <%s>", (int)n, name, stack[depth]);
      }
    } else if (!is_empty) {
      assert_true(depth < 64);
      snprintf(stack[depth++], 16, "%.*s", (int)n, name);
    }
    n_tags++;
    c++;
    if (depth == 0) break;
  }
  assert_int_equal(depth, 0);
  assert_true(n_tags > 20);
}

size_t help_report_count(const char *text, const char *what) {
  size_t n = 0;
  for (const char *c = text; (c = strstr(c, what)); c++) {
    n++;
  }
  return n;
}
