/* Artefacts: files kept under the hash of their content, so that equal ones are kept once. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "store/sql.h"

/* DIR/objects/<sha256>; mq_free. */
static char *object_path(const struct mq_store *store, const char *sha256) {
  char relative[80];
  snprintf(relative, sizeof relative, "objects/%s", sha256);
  char *directory = mq_path_directory(store->path);
  char *path = directory ? mq_path_join(directory, relative) : NULL;
  mq_free(directory);
  return path;
}

/* The copy is in place (written, synced, renamed) before a row names it. */
static mq_status keep_object(const struct mq_store *store, const char *sha256, const uint8_t *bytes, size_t n,
                             struct mq_err *err) {
  char *path = object_path(store, sha256);
  char *directory = path ? mq_path_directory(path) : NULL;
  mq_status status = directory ? MQ_OK : mq_fail_memory(err, "artefact");
  if (status == MQ_OK && !mq_file_exists(path)) {
    status = mq_file_make_directories(directory, err);
    if (status == MQ_OK) {
      status = mq_file_write(path, bytes ? bytes : (const uint8_t *)"", n, err);
    }
  }
  mq_free(directory);
  mq_free(path);
  return status;
}

mq_status mq_store_put_artefact(struct mq_store *store, int64_t run_id, const char *name, const char *path,
                                struct mq_err *err) {
  const uint8_t *bytes = NULL;
  size_t n = 0;
  char sha256[65];
  sqlite3_stmt *statement = NULL;
  mq_status status = mq_file_map(&bytes, &n, path, err);
  if (status != MQ_OK) {
    return status;
  }
  mq_sha256_bytes(sha256, bytes ? bytes : (const uint8_t *)"", n);
  status = keep_object(store, sha256, bytes, n, err);
  if (status == MQ_OK) {
    status = mq_sql_prepare(&statement, store, "INSERT OR REPLACE INTO artefacts VALUES (?, ?, ?, ?)", err);
  }
  if (status == MQ_OK) {
    sqlite3_bind_int64(statement, 1, run_id);
    sqlite3_bind_text(statement, 2, name, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, sha256, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 4, (int64_t)n);
    bool has_row = false;
    status = mq_sql_step(&has_row, store, statement, err);
  }
  sqlite3_finalize(statement);
  mq_file_unmap(bytes, n);
  return status;
}
