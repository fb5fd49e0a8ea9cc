/* Short forms of SQLite's calls, and how its errors read. */
#include "store/sql.h"

#include <stdio.h>
#include <string.h>

#define MQ_SQL_MAX_FIELD (64 << 20) /* bytes; no honest field comes near */

/* What a user's file can cause, as opposed to a full disk or a locked database. */
static bool is_damage(int code) {
  switch (code & 0xff) {
    case SQLITE_ERROR: /* our SQL is right: a table or column of the file is not */
    case SQLITE_CORRUPT:
    case SQLITE_FORMAT:
    case SQLITE_MISMATCH:
    case SQLITE_NOTADB:
    case SQLITE_TOOBIG:
      return true;
    default:
      return false;
  }
}

mq_status mq_sql_fail(struct mq_err *err, const struct mq_store *store, const char *doing) {
  int code = sqlite3_extended_errcode(store->db);
  return mq_fail(err, is_damage(code) ? MQ_BAD_INPUT : MQ_FAILED, "%s: %s: %s", store->path, doing,
                 sqlite3_errmsg(store->db));
}

mq_status mq_sql_bad(struct mq_err *err, const struct mq_store *store, const char *format, ...) {
  char what[MQ_ERR_MESSAGE_BYTES];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  return mq_fail(err, MQ_BAD_INPUT, "%s: %s", store->path, what);
}

mq_status mq_sql_set_limits(struct mq_store *store, struct mq_err *err) {
  sqlite3_limit(store->db, SQLITE_LIMIT_LENGTH, MQ_SQL_MAX_FIELD);
  sqlite3_busy_timeout(store->db, MQ_SQL_BUSY_MS);
  /* A store may come from anyone: nothing in its schema may run functions or touch the header. */
  sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  return mq_sql_exec(store, "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;", err);
}

mq_status mq_sql_exec(struct mq_store *store, const char *sql, struct mq_err *err) {
  if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
    return mq_sql_fail(err, store, "results store");
  }
  return MQ_OK;
}

mq_status mq_sql_prepare(sqlite3_stmt **statement, struct mq_store *store, const char *sql,
                         struct mq_err *err) {
  *statement = NULL;
  if (sqlite3_prepare_v2(store->db, sql, -1, statement, NULL) != SQLITE_OK) {
    return mq_sql_fail(err, store, "results store");
  }
  return MQ_OK;
}

mq_status mq_sql_step(bool *has_row, struct mq_store *store, sqlite3_stmt *statement, struct mq_err *err) {
  int code = sqlite3_step(statement);
  *has_row = code == SQLITE_ROW;
  if (code != SQLITE_ROW && code != SQLITE_DONE) {
    return mq_sql_fail(err, store, "results store");
  }
  return MQ_OK;
}

mq_status mq_sql_run(struct mq_store *store, const char *sql, const char *const *texts, int n_texts,
                     struct mq_err *err) {
  sqlite3_stmt *statement = NULL;
  mq_status status = mq_sql_prepare(&statement, store, sql, err);
  for (int i = 0; i < n_texts && status == MQ_OK; i++) {
    if (sqlite3_bind_text(statement, i + 1, texts[i], -1, SQLITE_STATIC) != SQLITE_OK) {
      status = mq_sql_fail(err, store, "cannot bind a parameter");
    }
  }
  for (bool has_row = true; status == MQ_OK && has_row;) {
    status = mq_sql_step(&has_row, store, statement, err);
  }
  sqlite3_finalize(statement);
  return status;
}

mq_status mq_sql_end(struct mq_store *store, mq_status status, struct mq_err *err) {
  if (status == MQ_OK) {
    status = mq_sql_exec(store, "COMMIT", err);
  }
  if (status != MQ_OK && !sqlite3_get_autocommit(store->db)) {
    sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
  }
  return status;
}

/* Bytes of the well-formed UTF-8 sequence at `s` (Unicode's table 3-7), 0 if there is none. */
static size_t sequence_bytes(const unsigned char *s, size_t left) {
  unsigned char lead = s[0];
  if (lead < 0x80) return 1;
  size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || n > left) return 0;
  unsigned char least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned char most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (s[1] < least || s[1] > most) return 0;
  for (size_t i = 2; i < n; i++) {
    if (s[i] < 0x80 || s[i] > 0xbf) return 0;
  }
  return n;
}

mq_status mq_sql_text(const char **text, sqlite3_stmt *statement, int column, struct mq_arena *arena,
                      struct mq_err *err) {
  *text = NULL;
  if (sqlite3_column_type(statement, column) == SQLITE_NULL) {
    return MQ_OK;
  }
  const unsigned char *from = sqlite3_column_text(statement, column);
  size_t n = (size_t)sqlite3_column_bytes(statement, column);
  unsigned char *to = from ? mq_arena_alloc(arena, n + 1, 1) : NULL;
  if (!to) {
    return mq_fail_memory(err, "text of a results store");
  }
  for (size_t i = 0; i < n;) {
    size_t bytes = sequence_bytes(from + i, n - i);
    bool is_control = bytes == 1 && (from[i] < 0x20 || from[i] == 0x7f) && from[i] != '\n';
    if (bytes == 0 || is_control) {
      to[i++] = '?';
      continue;
    }
    memcpy(to + i, from + i, bytes);
    i += bytes;
  }
  *text = (const char *)to;
  return MQ_OK;
}
