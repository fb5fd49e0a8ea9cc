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
  remove_test_directory(help->directory);
  mq_arena_deinit(&help->arena);
  free(help);
  return 0;
}

struct mq_run help_run(const char *identity) {
  struct mq_run run = made_up_run(identity);
  assert_int_equal(run.images, HELP_IMAGES);
  run.is_correct = help_bits;
  return run;
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
