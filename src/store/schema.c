/* Versions of the tables: how a store is made, checked and brought up to date. */
#include "store/schema.h"

#include <stdio.h>

#define MQ_STORE_APPLICATION 0x4d514245 /* "MQBE" in the database header: file(1) and we recognise it */

extern const unsigned char mq_store_schema[]; /* schema.sql */

/* Step k makes schema k + 1 from schema k. A new store takes all of them, an older one those it lacks, so
 * both end up with the same tables, word for word. Never change a step: append one. */
static const char *const steps[] = {
    (const char *)mq_store_schema,
    /* What the report must know of a target besides its name: whether it is a piece of hardware (0: a setting
     * nothing can be handed over for; NULL: no target, or unknown), and its place in the plan's list. Before,
     * the name told. */
    "ALTER TABLE runs ADD COLUMN is_hardware INTEGER;"
    "ALTER TABLE runs ADD COLUMN target_position INTEGER;"
    "UPDATE runs SET is_hardware = substr(target, 1, 8) <> 'academic' WHERE target IS NOT NULL;",
    /* Trainings: what came out, bit by bit, and what was recorded on the way. */
    "ALTER TABLE runs ADD COLUMN result_sha256 TEXT;"
    "ALTER TABLE runs ADD COLUMN best_top1 REAL;"
    "ALTER TABLE runs ADD COLUMN train_seconds REAL;"
    "CREATE TABLE curve ("
    " run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,"
    " step INTEGER NOT NULL,"
    " epoch REAL NOT NULL,"
    " rate REAL NOT NULL,"
    " loss REAL," /* NULL: not finite */
    " train_top1 REAL,"
    " test_top1 REAL," /* NULL: not measured here */
    " PRIMARY KEY (run_id, step)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE ranges ("
    " run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,"
    " step INTEGER NOT NULL,"
    " point INTEGER NOT NULL," /* position in points */
    " lo REAL,"
    " hi REAL,"
    " PRIMARY KEY (run_id, step, point)"
    ") STRICT, WITHOUT ROWID;",
};
#define MQ_STORE_SCHEMA ((int64_t)(sizeof steps / sizeof steps[0]))

static mq_status get_number(int64_t *number, struct mq_store *store, const char *sql, struct mq_err *err) {
  sqlite3_stmt *statement = NULL;
  bool has_row = false;
  *number = 0;
  mq_status status = mq_sql_prepare(&statement, store, sql, err);
  if (status == MQ_OK) {
    status = mq_sql_step(&has_row, store, statement, err);
  }
  if (has_row) {
    *number = sqlite3_column_int64(statement, 0);
  }
  sqlite3_finalize(statement);
  return status;
}

static mq_status run_steps(struct mq_store *store, int64_t from, int64_t to, struct mq_err *err) {
  mq_status status = MQ_OK;
  for (int64_t k = from; k < to && status == MQ_OK; k++) {
    status = mq_sql_exec(store, steps[k], err);
  }
  return status;
}

/* 0: an empty file. */
static mq_status get_version(int64_t *version, struct mq_store *store, struct mq_err *err) {
  int64_t n_objects = 0, application = 0;
  mq_status status = get_number(&n_objects, store, "SELECT count(*) FROM sqlite_schema", err);
  *version = 0;
  if (status != MQ_OK || n_objects == 0) {
    return status;
  }
  status = get_number(&application, store, "PRAGMA application_id", err);
  if (status == MQ_OK) {
    status = get_number(version, store, "PRAGMA user_version", err);
  }
  if (status == MQ_OK && application != MQ_STORE_APPLICATION) {
    status = mq_sql_bad(err, store, "a database, but not a results store of mqbench");
  }
  if (status == MQ_OK && (*version < 1 || *version > MQ_STORE_SCHEMA)) {
    status = mq_sql_bad(
        err, store,
        "results store of schema %lld, expected 1 to %lld: read it with the version of mqbench that wrote "
        "it, or choose another directory",
        (long long)*version, (long long)MQ_STORE_SCHEMA);
  }
  return status;
}

/* Every object of the schema must be in the file, word for word: a view or table that only looks alike could
 * answer anything. `expected` is an in-memory database that holds the schema. */
static mq_status compare(struct mq_store *store, struct mq_store *expected, struct mq_err *err) {
  sqlite3_stmt *ours = NULL, *theirs = NULL;
  bool has_row = true, is_same = true;
  mq_status status =
      mq_sql_prepare(&ours, expected, "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL", err);
  if (status == MQ_OK) {
    status = mq_sql_prepare(
        &theirs, store, "SELECT count(*) FROM sqlite_schema WHERE type = ?1 AND name = ?2 AND sql = ?3", err);
  }
  while (status == MQ_OK && has_row && is_same) {
    status = mq_sql_step(&has_row, expected, ours, err);
    if (status != MQ_OK || !has_row) break;
    bool is_found = false;
    sqlite3_reset(theirs);
    for (int i = 0; i < 3; i++) {
      sqlite3_bind_value(theirs, i + 1, sqlite3_column_value(ours, i));
    }
    status = mq_sql_step(&is_found, store, theirs, err);
    is_same = is_found && sqlite3_column_int(theirs, 0) == 1;
    if (status == MQ_OK && !is_same) {
      status = mq_sql_bad(err, store, "damaged results store: %s %s is missing or not as mqbench writes it",
                          sqlite3_column_text(ours, 0), sqlite3_column_text(ours, 1));
    }
  }
  sqlite3_finalize(ours);
  sqlite3_finalize(theirs);
  return status;
}

static mq_status check(int64_t *version, struct mq_store *store, struct mq_err *err) {
  mq_status status = get_version(version, store, err);
  if (status != MQ_OK || *version == 0) {
    return status;
  }
  struct mq_store expected = {.path = store->path};
  if (sqlite3_open(":memory:", &expected.db) != SQLITE_OK) {
    status = mq_fail_memory(err, "SQLite");
  } else {
    status = run_steps(&expected, 0, *version, err);
  }
  if (status == MQ_OK) {
    status = compare(store, &expected, err);
  }
  sqlite3_close(expected.db);
  return status;
}

mq_status mq_schema_check(struct mq_store *store, struct mq_err *err) {
  int64_t version = 0;
  return check(&version, store, err);
}

mq_status mq_schema_bring_up(struct mq_store *store, struct mq_err *err) {
  int64_t version = 0;
  mq_status status = get_version(&version, store, err);
  if (status != MQ_OK || version == MQ_STORE_SCHEMA) {
    return status;
  }
  status = mq_sql_exec(store, "BEGIN IMMEDIATE", err);
  if (status != MQ_OK) {
    return status;
  }
  status = check(&version, store, err); /* another process may have done so meanwhile */
  if (status == MQ_OK && version < MQ_STORE_SCHEMA) {
    char pragmas[128];
    snprintf(pragmas, sizeof pragmas, "PRAGMA user_version = %lld; PRAGMA application_id = %d;",
             (long long)MQ_STORE_SCHEMA, MQ_STORE_APPLICATION);
    status = run_steps(store, version, MQ_STORE_SCHEMA, err);
    if (status == MQ_OK) {
      status = mq_sql_exec(store, pragmas, err);
    }
  }
  return mq_sql_end(store, status, err);
}

/* The store's content in memory, in place of the file. */
static mq_status copy_to_memory(struct mq_store *store, struct mq_err *err) {
  struct mq_store copy = {.path = store->path};
  sqlite3_backup *backup = NULL;
  mq_status status = MQ_OK;
  if (sqlite3_open(":memory:", &copy.db) != SQLITE_OK ||
      !(backup = sqlite3_backup_init(copy.db, "main", store->db, "main"))) {
    status = mq_sql_fail(err, &copy, "results store");
  } else {
    int code = sqlite3_backup_step(backup, -1);
    sqlite3_backup_finish(backup);
    status = code == SQLITE_DONE ? MQ_OK : mq_sql_fail(err, &copy, "results store");
  }
  sqlite3_close(status == MQ_OK ? store->db : copy.db);
  store->db = status == MQ_OK ? copy.db : store->db;
  return status;
}

mq_status mq_schema_bring_up_copy(struct mq_store *store, struct mq_err *err) {
  int64_t version = 0;
  mq_status status = check(&version, store, err);
  if (status == MQ_OK && version == 0) {
    return mq_sql_bad(err, store, "an empty database, expected a results store");
  }
  if (status != MQ_OK || version == MQ_STORE_SCHEMA) {
    return status;
  }
  status = copy_to_memory(store, err);
  if (status == MQ_OK) {
    status = mq_sql_set_limits(store, err);
  }
  return status == MQ_OK ? mq_schema_bring_up(store, err) : status;
}
