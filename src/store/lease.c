/* Leases: which process works on which cell. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/sql.h"

#define MQ_LEASE_TEXT 300

struct lease {
  char host[MQ_LEASE_TEXT], start[MQ_LEASE_TEXT];
  int64_t pid, renewed;
};

/* Reads at most `bytes` - 1 of a small file of /proc; "" if there is none. */
static void read_small(char *text, size_t bytes, const char *path) {
  size_t n = 0;
  FILE *file = fopen(path, "re");
  if (file) {
    n = fread(text, 1, bytes - 1, file);
    fclose(file);
  }
  text[n] = '\0';
  text[strcspn(text, "\n")] = '\0';
}

/* Boot and clock tick at which a process of this machine began; "" if it is gone. */
static void process_start(char start[MQ_LEASE_TEXT], int64_t pid) {
  char path[64], stat[1024], boot[64];
  snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
  read_small(stat, sizeof stat, path);
  read_small(boot, sizeof boot, "/proc/sys/kernel/random/boot_id");
  start[0] = '\0';
  char *field = strrchr(stat, ')'); /* the name before it may hold anything; then fields 3, 4, ... */
  for (int i = 2; field && i < 22; i++) {
    field = strchr(field + 1, ' ');
  }
  if (field) {
    snprintf(start, MQ_LEASE_TEXT, "%s:%lld", boot, strtoll(field, NULL, 10));
  }
}

static void describe_self(struct lease *self) {
  memset(self, 0, sizeof *self);
  if (gethostname(self->host, sizeof self->host - 1) != 0) {
    strcpy(self->host, "unknown");
  }
  self->pid = getpid();
  self->renewed = (int64_t)time(NULL);
  process_start(self->start, self->pid);
}

/* Does the holder of `held` still work? A process of this machine can be looked at; one of another has to
 * renew its lease. */
static bool is_alive(const struct lease *held, const struct lease *self) {
  if (strcmp(held->host, self->host) != 0) {
    return self->renewed - held->renewed <= MQ_STORE_LEASE_SECONDS;
  }
  char start[MQ_LEASE_TEXT];
  process_start(start, held->pid);
  return start[0] && !strcmp(start, held->start);
}

static bool is_own(const struct lease *held, const struct lease *self) {
  return held->pid == self->pid && !strcmp(held->host, self->host) && !strcmp(held->start, self->start);
}

static mq_status read_lease(bool *has_lease, struct lease *held, struct mq_store *store, const char *identity,
                            struct mq_err *err) {
  sqlite3_stmt *statement = NULL;
  *has_lease = false;
  mq_status status = mq_sql_prepare(
      &statement, store, "SELECT host, process_start, pid, renewed FROM leases WHERE identity = ?", err);
  if (status == MQ_OK) {
    sqlite3_bind_text(statement, 1, identity, -1, SQLITE_STATIC);
    status = mq_sql_step(has_lease, store, statement, err);
  }
  if (*has_lease) {
    const char *host = (const char *)sqlite3_column_text(statement, 0);
    const char *start = (const char *)sqlite3_column_text(statement, 1);
    snprintf(held->host, sizeof held->host, "%s", host ? host : "");
    snprintf(held->start, sizeof held->start, "%s", start ? start : "");
    held->pid = sqlite3_column_int64(statement, 2);
    held->renewed = sqlite3_column_int64(statement, 3);
  }
  sqlite3_finalize(statement);
  return status;
}

static mq_status write_lease(struct mq_store *store, const char *identity, const struct lease *self,
                             struct mq_err *err) {
  sqlite3_stmt *statement = NULL;
  mq_status status =
      mq_sql_prepare(&statement, store, "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)", err);
  if (status != MQ_OK) {
    return status;
  }
  sqlite3_bind_text(statement, 1, identity, -1, SQLITE_STATIC);
  sqlite3_bind_text(statement, 2, self->host, -1, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 3, self->pid);
  sqlite3_bind_text(statement, 4, self->start, -1, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 5, self->renewed);
  bool has_row = false;
  status = mq_sql_step(&has_row, store, statement, err);
  sqlite3_finalize(statement);
  return status;
}

mq_status mq_store_lease(bool *taken, struct mq_store *store, const char *identity, struct mq_err *err) {
  *taken = false;
  struct lease self, held = {.pid = 0};
  bool has_lease = false;
  describe_self(&self);
  mq_status status = mq_sql_exec(store, "BEGIN IMMEDIATE", err);
  if (status != MQ_OK) {
    return status;
  }
  status = read_lease(&has_lease, &held, store, identity, err);
  bool is_free = !has_lease || is_own(&held, &self) || !is_alive(&held, &self);
  if (status == MQ_OK && is_free) {
    status = write_lease(store, identity, &self, err);
  }
  status = mq_sql_end(store, status, err);
  *taken = status == MQ_OK && is_free;
  return status;
}

mq_status mq_store_release(struct mq_store *store, const char *identity, struct mq_err *err) {
  struct lease self;
  describe_self(&self);
  const char *texts[] = {identity, self.host, self.start};
  return mq_sql_run(store, "DELETE FROM leases WHERE identity = ? AND host = ? AND process_start = ?", texts,
                    3, err);
}
