#include "store/help_store.h"

#include <sqlite3.h>

const uint8_t help_bits[(HELP_IMAGES + 7) / 8] = {0xb6, 0x6d, 0xdb, 0xb6, 0x6d, 0xdb, 0xb6,
                                                  0x6d, 0xdb, 0xb6, 0x6d, 0xdb, 0x06};

int help_store_setup(void **state) {
  struct help_store *help = calloc(1, sizeof *help);
  strcpy(help->directory, "/tmp/mqbench-store-XXXXXX");
  assert_non_null(mkdtemp(help->directory));
  snprintf(help->path, sizeof help->path, "%s/results.db", help->directory);
  mq_arena_init(&help->arena, 0);
  *state = help;
  return 0;
}

int help_store_teardown(void **state) {
  struct help_store *help = *state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", help->directory);
  int failed = system(command);
  mq_arena_deinit(&help->arena);
  free(help);
  return failed;
}

struct mq_run help_run(const char *identity) {
  return (struct mq_run){
      .identity = identity,
      .float_identity = "float-1",
      .cell = "model_name=net\ntarget=snpe\nseed=3\n",
      .plan = "small",
      .model = "net",
      .target = "snpe",
      .method = "ptq",
      .w_observer = "minmax",
      .a_observer = "mse",
      .options = "graph 2",
      .model_sha256 = "aa",
      .data_sha256 = "bb",
      .eval_sha256 = "cc",
      .target_sha256 = "dd",
      .w_bits = 4,
      .a_bits = 8,
      .seed = 3,
      .status = "done",
      .float_top1 = 0.75,
      .top1 = 0.66,
      .top5 = NAN,
      .loss = 1.25,
      .float_correct = 75,
      .correct = 66,
      .images = HELP_IMAGES,
      .is_correct = help_bits,
      .seconds = 1.5,
      .calib_seconds = 0.5,
      .eval_seconds = 1,
      .version = "0.1.0",
      .cpu = "some CPU",
      .isa = "avx2",
      .onednn = "2.6.3",
      .started = "2026-01-02T03:04:05Z",
  };
}

struct mq_store *help_open(const struct help_store *help) {
  struct mq_store *store = NULL;
  struct mq_err err = {0};
  if (mq_store_open(&store, help->path, false, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
  return store;
}

void help_sql(const struct help_store *help, const char *sql) {
  sqlite3 *db = NULL;
  assert_int_equal(sqlite3_open(help->path, &db), SQLITE_OK);
  char *message = NULL;
  if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
    fail_msg("%s: %s", sql, message);
  }
  sqlite3_close(db);
}
