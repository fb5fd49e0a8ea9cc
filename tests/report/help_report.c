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
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", help->directory);
  int failed = system(command);
  mq_arena_deinit(&help->arena);
  free(help);
  return failed;
}

struct mq_run help_report_run(struct help_report *help, const struct help_cell *cell) {
  bool is_float = !strcmp(cell->method, "float");
  const char *status = cell->status ? cell->status : "done";
  bool is_done = !strcmp(status, "done");
  return (struct mq_run){
      .identity =
          mq_arena_printf(&help->arena, "id-%s-%s-%s-%d-%s-%s-%s-%s-%s-%s-%lld", cell->model,
                          cell->target ? cell->target : "", cell->method, cell->bits,
                          cell->w_observer ? cell->w_observer : "", cell->options ? cell->options : "",
                          cell->eval ? cell->eval : "", cell->data ? cell->data : "",
                          cell->target_sha256 ? cell->target_sha256 : "", cell->cell ? cell->cell : "",
                          (long long)cell->seed),
      .cell = cell->cell ? cell->cell : "model_name=net\n",
      .plan = "made up",
      .model = cell->model,
      .target = cell->target,
      .method = cell->method,
      .w_observer = cell->w_observer,
      .a_observer = cell->a_observer,
      .options = cell->options,
      .model_sha256 = cell->model,
      .data_sha256 = is_float     ? NULL
                     : cell->data ? cell->data
                                  : "data",
      .eval_sha256 = cell->eval ? cell->eval : "eval",
      .target_sha256 = cell->target_sha256,
      .w_bits = is_float ? -1 : cell->bits,
      .a_bits = is_float ? -1 : cell->bits,
      .seed = cell->seed,
      .status = status,
      .message = cell->message,
      .float_top1 = is_done ? 0.9 : NAN,
      .float_correct = is_done ? 900 : -1,
      .top1 = is_done ? cell->top1 : NAN,
      .top5 = NAN,
      .loss = NAN,
      .correct = is_done ? llround(1000 * cell->top1) : -1,
      .images = 1000,
      .seconds = 1.25,
      .calib_seconds = 0.5,
      .eval_seconds = 0.75,
      .version = "0.1.0",
      .cpu = "some CPU",
      .isa = "avx2",
      .onednn = "2.6.3",
      .started = "2026-01-02T03:04:05Z",
  };
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
