/* Opens, creates and checks a store. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "store/schema.h"
#include "store/sql.h"

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

/* Readers open the file as writers do, because the last one to leave clears away what SQLite keeps beside it,
 * which a connection that may only read cannot; `query_only` keeps them from writing. */
static mq_status open_read_only(struct mq_store *store, struct mq_err *err) {
  if (!mq_file_exists(store->path)) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: no such file", store->path);
  }
  int code = sqlite3_open_v2(store->path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  if (code == SQLITE_OK && sqlite3_db_readonly(store->db, "main") == 1) { /* a write-protected file */
    int immutable = open_immutable(store);
    code = immutable == SQLITE_CANTOPEN ? SQLITE_OK : immutable; /* a log is pending: read it as well */
  }
  if (code == SQLITE_OK) {
    sqlite3_busy_timeout(store->db, MQ_SQL_BUSY_MS); /* another process may just make, or leave, the store */
    code = sqlite3_exec(store->db, "PRAGMA query_only = ON; SELECT count(*) FROM sqlite_schema", NULL, NULL,
                        NULL);
  }
  if ((code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_READONLY) {
    code = open_immutable(store);
  }
  if (code != SQLITE_OK) {
    return mq_sql_fail(err, store, "results store");
  }
  mq_status status = mq_sql_set_limits(store, err);
  return status == MQ_OK ? mq_schema_bring_up_copy(store, err) : status;
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
  status = mq_sql_set_limits(store, err);
  if (status == MQ_OK) {
    status = mq_schema_check(store, err); /* before anything of a foreign database is changed */
  }
  if (status == MQ_OK) {
    status = set_wal(store, err);
  }
  return status == MQ_OK ? mq_schema_bring_up(store, err) : status;
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
