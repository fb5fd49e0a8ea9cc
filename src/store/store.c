/* Opens, creates and checks a store. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "store/sql.h"

#define MQ_STORE_SCHEMA 1
#define MQ_STORE_APPLICATION 0x4d514245 /* "MQBE" in the database header: file(1) and we recognise it */
#define MQ_STORE_BUSY_MS 20000
#define MQ_STORE_MAX_FIELD (64 << 20) /* bytes; no honest field comes near */

extern const unsigned char mq_store_schema[]; /* schema.sql */

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

static mq_status set_limits(struct mq_store *store, struct mq_err *err) {
  sqlite3_limit(store->db, SQLITE_LIMIT_LENGTH, MQ_STORE_MAX_FIELD);
  sqlite3_busy_timeout(store->db, MQ_STORE_BUSY_MS);
  /* A store may come from anyone: nothing in its schema may run functions or touch the header. */
  sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_db_config(store->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  return mq_sql_exec(store, "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;", err);
}

/* The switch to WAL needs the file alone for a moment and does not wait by itself. */
static mq_status set_wal(struct mq_store *store, struct mq_err *err) {
  for (int attempt = 0;; attempt++) {
    int code = sqlite3_exec(store->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    if (code == SQLITE_OK) {
      return MQ_OK;
    }
    if (code != SQLITE_BUSY || attempt == 200) {
      return mq_sql_fail(err, store, "results store");
    }
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
  }
}

/* Fills an empty file, unless another process did so meanwhile. */
static mq_status create_schema(struct mq_store *store, struct mq_err *err) {
  mq_status status = mq_sql_exec(store, "BEGIN IMMEDIATE", err);
  int64_t n_objects = 0;
  if (status == MQ_OK) {
    status = get_number(&n_objects, store, "SELECT count(*) FROM sqlite_schema", err);
  }
  if (status == MQ_OK && n_objects == 0) {
    char pragmas[128];
    snprintf(pragmas, sizeof pragmas, "PRAGMA user_version = %d; PRAGMA application_id = %d;",
             MQ_STORE_SCHEMA, MQ_STORE_APPLICATION);
    status = mq_sql_exec(store, (const char *)mq_store_schema, err);
    if (status == MQ_OK) {
      status = mq_sql_exec(store, pragmas, err);
    }
  }
  return mq_sql_end(store, status, err);
}

static mq_status check_version(struct mq_store *store, struct mq_err *err) {
  int64_t application = 0, version = 0;
  mq_status status = get_number(&application, store, "PRAGMA application_id", err);
  if (status == MQ_OK) {
    status = get_number(&version, store, "PRAGMA user_version", err);
  }
  if (status != MQ_OK) {
    return status;
  }
  if (application != MQ_STORE_APPLICATION) {
    return mq_sql_bad(err, store, "a database, but not a results store of mqbench");
  }
  if (version != MQ_STORE_SCHEMA) {
    return mq_sql_bad(
        err, store,
        "results store of schema %lld, expected %d: read it with the version of mqbench that wrote "
        "it, or choose another directory",
        (long long)version, MQ_STORE_SCHEMA);
  }
  return MQ_OK;
}

/* Every object of schema.sql must be in the file, word for word: a view or table that only looks alike could
 * answer anything. `expected` is an in-memory database that holds the schema. */
static mq_status compare_schema(struct mq_store *store, struct mq_store *expected, struct mq_err *err) {
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

static mq_status check_schema(struct mq_store *store, struct mq_err *err) {
  mq_status status = check_version(store, err);
  if (status != MQ_OK) {
    return status;
  }
  struct mq_store expected = {.path = store->path};
  if (sqlite3_open(":memory:", &expected.db) != SQLITE_OK) {
    status = mq_fail_memory(err, "SQLite");
  } else {
    status = mq_sql_exec(&expected, (const char *)mq_store_schema, err);
  }
  if (status == MQ_OK) {
    status = compare_schema(store, &expected, err);
  }
  sqlite3_close(expected.db);
  return status;
}

/* A store in a folder that cannot be written has no place for SQLite's shared memory: when nothing is
 * pending in a log the file can be read as it is. */
static int open_immutable(struct mq_store *store) {
  char *log = sqlite3_mprintf("%s-wal", store->path);
  bool is_pending = !log || mq_file_exists(log);
  sqlite3_free(log);
  if (is_pending) {
    return SQLITE_CANTOPEN;
  }
  sqlite3_str *uri = sqlite3_str_new(NULL);
  sqlite3_str_appendall(uri, "file:");
  for (const char *c = store->path; *c; c++) {
    sqlite3_str_appendf(uri, strchr("%?#", *c) ? "%%%02X" : "%c", (unsigned char)*c);
  }
  sqlite3_str_appendall(uri, "?immutable=1");
  char *text = sqlite3_str_finish(uri);
  int code = SQLITE_NOMEM;
  if (text) {
    sqlite3_close(store->db);
    code =
        sqlite3_open_v2(text, &store->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
  }
  sqlite3_free(text);
  return code;
}

/* SQLite opens the file and those beside it before it looks what they are: a pipe would make it wait for
 * ever. */
static mq_status check_regular(const struct mq_store *store, struct mq_err *err) {
  static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    char *path = sqlite3_mprintf("%s%s", store->path, suffixes[i]);
    if (!path) {
      return mq_fail_memory(err, store->path);
    }
    struct stat info;
    mq_status status = MQ_OK;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
      status = mq_fail(err, MQ_BAD_INPUT, "%s: is a %s, expected a results store (results.db)", path,
                       S_ISDIR(info.st_mode) ? "directory" : "device or pipe");
    }
    sqlite3_free(path);
    if (status != MQ_OK) {
      return status;
    }
  }
  return MQ_OK;
}

static mq_status open_read_only(struct mq_store *store, struct mq_err *err) {
  if (!mq_file_exists(store->path)) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: no such file", store->path);
  }
  int code = sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
  if (code == SQLITE_OK) {
    sqlite3_busy_timeout(store->db,
                         MQ_STORE_BUSY_MS); /* another process may just make, or leave, the store */
    code = sqlite3_exec(store->db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);
  }
  if ((code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_READONLY) {
    code = open_immutable(store);
  }
  if (code != SQLITE_OK) {
    return mq_sql_fail(err, store, "results store");
  }
  return set_limits(store, err);
}

static mq_status open_for_writing(struct mq_store *store, struct mq_err *err) {
  char *directory = mq_path_directory(store->path);
  mq_status status = directory ? mq_file_make_directories(directory, err) : mq_fail_memory(err, store->path);
  mq_free(directory);
  if (status != MQ_OK) {
    return status;
  }
  if (sqlite3_open_v2(store->path, &store->db,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
    return mq_sql_fail(err, store, "results store");
  }
  int64_t n_objects = 0;
  status = set_limits(store, err);
  if (status == MQ_OK) {
    status = get_number(&n_objects, store, "SELECT count(*) FROM sqlite_schema", err);
  }
  if (status == MQ_OK && n_objects > 0) {
    status = check_version(store, err); /* before anything of a foreign database is changed */
  }
  if (status == MQ_OK) {
    status = set_wal(store, err);
  }
  if (status == MQ_OK && n_objects == 0) {
    status = create_schema(store, err);
  }
  return status;
}

mq_status mq_store_open(struct mq_store **out, const char *path, bool is_read_only, struct mq_err *err) {
  *out = NULL;
  struct mq_store *store = mq_alloc(1, sizeof *store);
  if (!store) {
    return mq_fail_memory(err, path);
  }
  mq_status status = MQ_OK;
  store->path = mq_alloc(strlen(path) + 1, 1);
  if (!store->path) {
    status = mq_fail_memory(err, path);
    goto done;
  }
  strcpy(store->path, path);
  status = check_regular(store, err);
  if (status == MQ_OK) {
    status = is_read_only ? open_read_only(store, err) : open_for_writing(store, err);
  }
  if (status == MQ_OK) {
    status = check_schema(store, err);
  }
done:
  if (status != MQ_OK) {
    mq_store_close(store);
    return status;
  }
  *out = store;
  return MQ_OK;
}

void mq_store_close(struct mq_store *store) {
  if (store) {
    sqlite3_close(store->db);
    mq_free(store->path);
    mq_free(store);
  }
}
