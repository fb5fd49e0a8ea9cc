/* Runs and their points. One table says which field of struct mq_run lies in which column. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "store/history.h"
#include "store/sql.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "blobs of the store are little endian");

typedef enum column_kind {
  COLUMN_TEXT,
  COLUMN_INT,   /* -1: NULL */
  COLUMN_INT64, /* -1: NULL */
  COLUMN_REAL,  /* NAN: NULL */
  COLUMN_BITS,  /* one bit per image */
} column_kind;

struct column {
  const char *name;
  column_kind kind;
  size_t offset;
};

#define COLUMN(kind, field) \
  { #field, COLUMN_##kind, offsetof(struct mq_run, field) }
static const struct column columns[] = {
    COLUMN(TEXT, identity),      COLUMN(TEXT, float_identity),
    COLUMN(TEXT, cell),          COLUMN(TEXT, plan),
    COLUMN(TEXT, model),         COLUMN(TEXT, target),
    COLUMN(TEXT, method),        COLUMN(TEXT, variant),
    COLUMN(TEXT, options),       COLUMN(INT, w_bits),
    COLUMN(INT, a_bits),         COLUMN(TEXT, w_observer),
    COLUMN(TEXT, a_observer),    COLUMN(INT64, seed),
    COLUMN(TEXT, model_sha256),  COLUMN(TEXT, data_sha256),
    COLUMN(TEXT, eval_sha256),   COLUMN(TEXT, target_sha256),
    COLUMN(TEXT, status),        COLUMN(TEXT, message),
    COLUMN(REAL, float_top1),    COLUMN(INT64, float_correct),
    COLUMN(REAL, top1),          COLUMN(REAL, top5),
    COLUMN(REAL, loss),          COLUMN(INT64, correct),
    COLUMN(INT64, images),       COLUMN(BITS, is_correct),
    COLUMN(REAL, seconds),       COLUMN(REAL, calib_seconds),
    COLUMN(REAL, eval_seconds),  COLUMN(TEXT, version),
    COLUMN(TEXT, cpu),           COLUMN(TEXT, isa),
    COLUMN(TEXT, onednn),        COLUMN(TEXT, started),
    COLUMN(INT, is_hardware),    COLUMN(INT, target_position),
    COLUMN(TEXT, result_sha256), COLUMN(REAL, best_top1),
    COLUMN(REAL, train_seconds),
};
#undef COLUMN
#define N_COLUMNS (sizeof columns / sizeof columns[0])
#define SQL_BYTES 2048

/* "a, b, c" or, with `prefix`, "?, ?, ?" for every column. */
static void append_columns(char *sql, bool as_parameters) {
  for (size_t i = 0; i < N_COLUMNS; i++) {
    size_t used = strlen(sql);
    snprintf(sql + used, SQL_BYTES - used, "%s%s", i ? ", " : "", as_parameters ? "?" : columns[i].name);
  }
}

/* Column 0 is the id. */
static mq_status prepare_select(sqlite3_stmt **statement, struct mq_store *store, const char *condition,
                                struct mq_err *err) {
  char sql[SQL_BYTES] = "SELECT id, ";
  append_columns(sql, false);
  size_t used = strlen(sql);
  snprintf(sql + used, sizeof sql - used, " FROM runs %s", condition);
  return mq_sql_prepare(statement, store, sql, err);
}

static int bind_column(sqlite3_stmt *statement, int i, const struct mq_run *run,
                       const struct column *column) {
  const void *field = (const char *)run + column->offset;
  int64_t number = -1;
  switch (column->kind) {
    case COLUMN_TEXT:
      return sqlite3_bind_text(statement, i, *(const char *const *)field, -1, SQLITE_STATIC);
    case COLUMN_REAL: /* SQLite stores NaN as NULL */
      return sqlite3_bind_double(statement, i, *(const double *)field);
    case COLUMN_BITS:
      return run->is_correct ? sqlite3_bind_blob64(statement, i, run->is_correct,
                                                   (sqlite3_uint64)(run->images + 7) / 8, SQLITE_STATIC)
                             : sqlite3_bind_null(statement, i);
    case COLUMN_INT:
      number = *(const int *)field;
      break;
    case COLUMN_INT64:
      number = *(const int64_t *)field;
      break;
  }
  return number == -1 ? sqlite3_bind_null(statement, i) : sqlite3_bind_int64(statement, i, number);
}

/* ---- Writing ---------------------------------------------------------------------------------------- */

static mq_status insert_run(struct mq_store *store, struct mq_run *run, struct mq_err *err) {
  char sql[SQL_BYTES] = "INSERT INTO runs (";
  append_columns(sql, false);
  strcat(sql, ") VALUES (");
  append_columns(sql, true);
  strcat(sql, ")");
  sqlite3_stmt *statement = NULL;
  mq_status status = mq_sql_prepare(&statement, store, sql, err);
  for (size_t i = 0; i < N_COLUMNS && status == MQ_OK; i++) {
    if (bind_column(statement, (int)i + 1, run, &columns[i]) != SQLITE_OK) {
      status = mq_sql_fail(err, store, columns[i].name);
    }
  }
  bool has_row = false;
  if (status == MQ_OK) {
    status = mq_sql_step(&has_row, store, statement, err);
  }
  sqlite3_finalize(statement);
  run->id = sqlite3_last_insert_rowid(store->db);
  return status;
}

static mq_status insert_points(struct mq_store *store, int64_t run_id, const struct mq_run_point *points,
                               size_t n_points, struct mq_err *err) {
  sqlite3_stmt *statement = NULL;
  mq_status status =
      mq_sql_prepare(&statement, store, "INSERT INTO points VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", err);
  for (size_t i = 0; i < n_points && status == MQ_OK; i++) {
    const struct mq_run_point *point = &points[i];
    sqlite3_uint64 bytes = (sqlite3_uint64)point->n_channels * 4;
    sqlite3_bind_int64(statement, 1, run_id);
    sqlite3_bind_int64(statement, 2, (int64_t)i);
    sqlite3_bind_text(statement, 3, point->tensor, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 4, point->kind, -1, SQLITE_STATIC);
    sqlite3_bind_int(statement, 5, point->bits);
    sqlite3_bind_double(statement, 6, point->lo);
    sqlite3_bind_double(statement, 7, point->hi);
    sqlite3_bind_int64(statement, 8, point->n_channels);
    sqlite3_bind_blob64(statement, 9, point->scale ? (const void *)point->scale : "", bytes, SQLITE_STATIC);
    sqlite3_bind_blob64(statement, 10, point->zero_point ? (const void *)point->zero_point : "", bytes,
                        SQLITE_STATIC);
    bool has_row = false;
    status = mq_sql_step(&has_row, store, statement, err);
    sqlite3_reset(statement);
  }
  sqlite3_finalize(statement);
  return status;
}

/* *id of the run that counts for this identity, 0 if there is none. */
static mq_status find_finished(int64_t *id, struct mq_store *store, const char *identity,
                               struct mq_err *err) {
  sqlite3_stmt *statement = NULL;
  bool has_row = false;
  *id = 0;
  mq_status status = mq_sql_prepare(
      &statement, store, "SELECT id FROM runs WHERE identity = ? AND status IN ('done', 'nc')", err);
  if (status == MQ_OK) {
    sqlite3_bind_text(statement, 1, identity, -1, SQLITE_STATIC);
    status = mq_sql_step(&has_row, store, statement, err);
  }
  if (has_row) {
    *id = sqlite3_column_int64(statement, 0);
  }
  sqlite3_finalize(statement);
  return status;
}

mq_status mq_store_put(struct mq_store *store, struct mq_run *run, const struct mq_run_point *points,
                       size_t n_points, struct mq_err *err) {
  assert(run->identity && run->cell && run->model && run->method && run->status);
  mq_status status = mq_sql_exec(store, "BEGIN IMMEDIATE", err);
  if (status != MQ_OK) {
    return status;
  }
  status = find_finished(&run->id, store, run->identity, err);
  if (status == MQ_OK && run->id == 0) {
    status = mq_sql_run(store, "DELETE FROM runs WHERE identity = ? AND status = 'failed'", &run->identity, 1,
                        err);
    if (status == MQ_OK) {
      status = insert_run(store, run, err);
    }
    if (status == MQ_OK) {
      status = insert_points(store, run->id, points, n_points, err);
    }
    if (status == MQ_OK && run->history) {
      status = mq_history_insert(store, run->id, run->history, err);
    }
  }
  return mq_sql_end(store, status, err);
}

mq_status mq_store_mark_stale(struct mq_store *store, const char *cell, const char *identity_now,
                              struct mq_err *err) {
  const char *texts[] = {cell, identity_now};
  return mq_sql_run(store,
                    "UPDATE runs SET status = 'stale' WHERE cell = ? AND identity <> ? AND status <> 'stale'",
                    texts, 2, err);
}

/* ---- Reading: whatever the file says is checked ----------------------------------------------------- */

static mq_status read_bits(struct mq_run *run, sqlite3_stmt *statement, int column, struct mq_arena *arena,
                           struct mq_err *err) {
  size_t n = (size_t)sqlite3_column_bytes(statement, column);
  uint8_t *bits = mq_arena_alloc(arena, n ? n : 1, 1);
  if (!bits) {
    return mq_fail_memory(err, "outcomes of a run");
  }
  if (n) {
    memcpy(bits, sqlite3_column_blob(statement, column), n);
  }
  run->is_correct = bits;
  return MQ_OK;
}

static mq_status read_column(struct mq_run *run, const struct column *column, sqlite3_stmt *statement, int i,
                             struct mq_arena *arena, struct mq_err *err) {
  void *field = (char *)run + column->offset;
  bool is_null = sqlite3_column_type(statement, i) == SQLITE_NULL;
  switch (column->kind) {
    case COLUMN_TEXT:
      return mq_sql_text(field, statement, i, arena, err);
    case COLUMN_REAL:
      *(double *)field = is_null ? (double)NAN : sqlite3_column_double(statement, i);
      break;
    case COLUMN_INT:
      *(int *)field = is_null ? -1 : sqlite3_column_int(statement, i);
      break;
    case COLUMN_INT64:
      *(int64_t *)field = is_null ? -1 : sqlite3_column_int64(statement, i);
      break;
    case COLUMN_BITS:
      return is_null ? MQ_OK : read_bits(run, statement, i, arena, err);
  }
  return MQ_OK;
}

static bool is_status(const char *text) {
  return !strcmp(text, "done") || !strcmp(text, "failed") || !strcmp(text, "nc") || !strcmp(text, "stale");
}

static mq_status check_run(const struct mq_run *run, const struct mq_store *store, int64_t bits_bytes,
                           struct mq_err *err) {
  long long id = (long long)run->id;
  if (!run->identity || !run->cell || !run->model || !run->method || !run->status) {
    return mq_sql_bad(err, store, "run %lld lacks its identity, cell, model, method or status", id);
  }
  if (!is_status(run->status)) {
    return mq_sql_bad(err, store, "run %lld has status \"%.20s\", expected done, failed, nc or stale", id,
                      run->status);
  }
  if (run->images < -1 || run->correct < -1 || run->correct > run->images || run->float_correct < -1) {
    return mq_sql_bad(err, store, "run %lld says %lld correct of %lld images", id, (long long)run->correct,
                      (long long)run->images);
  }
  if (run->is_correct && (run->images < 0 || bits_bytes != run->images / 8 + (run->images % 8 > 0))) {
    return mq_sql_bad(err, store,
                      "run %lld: is_correct has %lld bytes, expected one bit for each of %lld images", id,
                      (long long)bits_bytes, (long long)run->images);
  }
  if (run->is_hardware < -1 || run->is_hardware > 1 || run->target_position < -1) {
    return mq_sql_bad(err, store,
                      "run %lld has is_hardware %d and target_position %d, expected 0 or 1, and 0 up", id,
                      run->is_hardware, run->target_position);
  }
  const double fractions[] = {run->float_top1, run->top1, run->top5, run->best_top1};
  for (size_t i = 0; i < 4; i++) {
    if (fractions[i] < 0 || fractions[i] > 1) {
      return mq_sql_bad(err, store, "run %lld has an accuracy of %g, expected 0 to 1", id, fractions[i]);
    }
  }
  return MQ_OK;
}

static mq_status read_run(struct mq_run *run, struct mq_store *store, sqlite3_stmt *statement,
                          struct mq_arena *arena, struct mq_err *err) {
  memset(run, 0, sizeof *run);
  run->id = sqlite3_column_int64(statement, 0);
  int64_t bits_bytes = 0;
  mq_status status = MQ_OK;
  for (size_t i = 0; i < N_COLUMNS && status == MQ_OK; i++) {
    status = read_column(run, &columns[i], statement, (int)i + 1, arena, err);
    if (columns[i].kind == COLUMN_BITS) {
      bits_bytes = sqlite3_column_bytes(statement, (int)i + 1);
    }
  }
  return status == MQ_OK ? check_run(run, store, bits_bytes, err) : status;
}

mq_status mq_store_find(bool *found, struct mq_run *run, struct mq_store *store, const char *identity,
                        struct mq_arena *arena, struct mq_err *err) {
  sqlite3_stmt *statement = NULL;
  *found = false;
  mq_status status =
      prepare_select(&statement, store, "WHERE identity = ? AND status IN ('done', 'nc')", err);
  if (status == MQ_OK) {
    sqlite3_bind_text(statement, 1, identity, -1, SQLITE_STATIC);
    status = mq_sql_step(found, store, statement, err);
  }
  if (*found && status == MQ_OK) {
    status = read_run(run, store, statement, arena, err);
  }
  sqlite3_finalize(statement);
  *found = *found && status == MQ_OK;
  return status;
}

mq_status mq_store_find_float(bool *found, struct mq_run *run, struct mq_store *store,
                              const char *float_identity, struct mq_err *err) {
  sqlite3_stmt *statement = NULL;
  *found = false;
  mq_status status =
      mq_sql_prepare(&statement, store,
                     "SELECT float_top1, float_correct, images FROM runs WHERE float_identity = ? "
                     "AND status IN ('done', 'nc') AND float_correct IS NOT NULL LIMIT 1",
                     err);
  if (status == MQ_OK) {
    sqlite3_bind_text(statement, 1, float_identity, -1, SQLITE_STATIC);
    status = mq_sql_step(found, store, statement, err);
  }
  if (*found && status == MQ_OK) {
    run->float_top1 = sqlite3_column_double(statement, 0);
    run->float_correct = sqlite3_column_int64(statement, 1);
    run->images = sqlite3_column_int64(statement, 2);
  }
  sqlite3_finalize(statement);
  return status;
}

mq_status mq_sql_count(size_t *n, struct mq_store *store, const char *sql, int64_t parameter,
                       struct mq_err *err) {
  sqlite3_stmt *statement = NULL;
  bool has_row = false;
  *n = 0;
  mq_status status = mq_sql_prepare(&statement, store, sql, err);
  if (status == MQ_OK) {
    sqlite3_bind_int64(statement, 1, parameter);
    status = mq_sql_step(&has_row, store, statement, err);
  }
  if (has_row) {
    *n = (size_t)sqlite3_column_int64(statement, 0);
  }
  sqlite3_finalize(statement);
  return status;
}

mq_status mq_store_runs(struct mq_run **runs, size_t *n_runs, struct mq_store *store, struct mq_arena *arena,
                        struct mq_err *err) {
  *runs = NULL;
  *n_runs = 0;
  sqlite3_stmt *statement = NULL;
  size_t n = 0;
  mq_status status = mq_sql_exec(store, "BEGIN", err); /* count and rows from the same moment */
  if (status != MQ_OK) {
    return status;
  }
  status = mq_sql_count(&n, store, "SELECT count(*) FROM runs WHERE ?1 = ?1", 0, err);
  if (status == MQ_OK) {
    *runs = mq_arena_alloc(arena, n ? n : 1, sizeof **runs);
    status = *runs ? prepare_select(&statement, store, "ORDER BY id", err) : mq_fail_memory(err, "runs");
  }
  for (bool has_row = true; status == MQ_OK && *n_runs < n;) {
    status = mq_sql_step(&has_row, store, statement, err);
    if (status != MQ_OK || !has_row) break;
    status = read_run(&(*runs)[*n_runs], store, statement, arena, err);
    *n_runs += status == MQ_OK;
  }
  sqlite3_finalize(statement);
  return mq_sql_end(store, status, err);
}

static mq_status read_words(const void **words, sqlite3_stmt *statement, int column, struct mq_arena *arena,
                            struct mq_err *err) {
  size_t n = (size_t)sqlite3_column_bytes(statement, column);
  void *copy = mq_arena_alloc(arena, n ? n : 1, 1);
  if (!copy) {
    return mq_fail_memory(err, "scales of a run");
  }
  if (n) {
    memcpy(copy, sqlite3_column_blob(statement, column), n);
  }
  *words = copy;
  return MQ_OK;
}

static mq_status read_point(struct mq_run_point *point, struct mq_store *store, sqlite3_stmt *statement,
                            struct mq_arena *arena, struct mq_err *err) {
  mq_status status = mq_sql_text(&point->tensor, statement, 0, arena, err);
  if (status == MQ_OK) {
    status = mq_sql_text(&point->kind, statement, 1, arena, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  point->bits = sqlite3_column_int(statement, 2);
  point->lo =
      sqlite3_column_type(statement, 3) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(statement, 3);
  point->hi =
      sqlite3_column_type(statement, 4) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(statement, 4);
  point->n_channels = sqlite3_column_int64(statement, 5);
  int64_t scale_bytes = sqlite3_column_bytes(statement, 6), zero_bytes = sqlite3_column_bytes(statement, 7);
  if (!point->tensor || !point->kind) {
    return mq_sql_bad(err, store, "a point lacks its tensor or kind");
  }
  if (point->n_channels < 0 || point->n_channels > MQ_SQL_MAX_CHANNELS ||
      scale_bytes != 4 * point->n_channels || zero_bytes != scale_bytes) {
    return mq_sql_bad(
        err, store,
        "point \"%.100s\" has %lld bytes of scales and %lld of zero points, expected 4 for each of "
        "%lld channels",
        point->tensor, (long long)scale_bytes, (long long)zero_bytes, (long long)point->n_channels);
  }
  const void *scale = NULL, *zero_point = NULL;
  status = read_words(&scale, statement, 6, arena, err);
  if (status == MQ_OK) {
    status = read_words(&zero_point, statement, 7, arena, err);
  }
  point->scale = scale;
  point->zero_point = zero_point;
  return status;
}

mq_status mq_store_points(struct mq_run_point **points, size_t *n_points, struct mq_store *store,
                          int64_t run_id, struct mq_arena *arena, struct mq_err *err) {
  *points = NULL;
  *n_points = 0;
  sqlite3_stmt *statement = NULL;
  size_t n = 0;
  mq_status status = mq_sql_exec(store, "BEGIN", err);
  if (status != MQ_OK) {
    return status;
  }
  status = mq_sql_count(&n, store, "SELECT count(*) FROM points WHERE run_id = ?", run_id, err);
  if (status == MQ_OK) {
    *points = mq_arena_alloc(arena, n ? n : 1, sizeof **points);
    status = *points ? mq_sql_prepare(
                           &statement, store,
                           "SELECT tensor, kind, bits, lo, hi, n_channels, scale, zero_point FROM points "
                           "WHERE run_id = ? ORDER BY position",
                           err)
                     : mq_fail_memory(err, "points");
  }
  if (status == MQ_OK) {
    sqlite3_bind_int64(statement, 1, run_id);
  }
  for (bool has_row = true; status == MQ_OK && *n_points < n;) {
    status = mq_sql_step(&has_row, store, statement, err);
    if (status != MQ_OK || !has_row) break;
    status = read_point(&(*points)[*n_points], store, statement, arena, err);
    *n_points += status == MQ_OK;
  }
  sqlite3_finalize(statement);
  return mq_sql_end(store, status, err);
}
