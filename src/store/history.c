#include "store/history.h"

#include <math.h>

/* ---- Writing ---------------------------------------------------------------------------------------- */
static mq_status step_and_reset(struct mq_store *store, sqlite3_stmt *statement, struct mq_err *err) {
  bool has_row = false;
  mq_status status = mq_sql_step(&has_row, store, statement, err);
  sqlite3_reset(statement);
  return status;
}

/* NULL stands for what is not finite. */
static void bind_real(sqlite3_stmt *statement, int i, double x) {
  isfinite(x) ? sqlite3_bind_double(statement, i, x) : sqlite3_bind_null(statement, i);
}

static mq_status insert_curve(struct mq_store *store, int64_t run_id, const struct mq_run_history *history,
                              struct mq_err *err) {
  sqlite3_stmt *statement = NULL;
  mq_status status = mq_sql_prepare(&statement, store, "INSERT INTO curve VALUES (?, ?, ?, ?, ?, ?, ?)", err);
  for (size_t i = 0; i < history->n_curve && status == MQ_OK; i++) {
    const struct mq_run_curve *p = &history->curve[i];
    const double numbers[] = {p->epoch, p->rate, p->loss, p->train_top1, p->test_top1};
    sqlite3_bind_int64(statement, 1, run_id);
    sqlite3_bind_int64(statement, 2, p->step);
    for (int k = 0; k < 5; k++)
      bind_real(statement, 3 + k, numbers[k]);
    status = step_and_reset(store, statement, err);
  }
  sqlite3_finalize(statement);
  return status;
}

static mq_status insert_ranges(struct mq_store *store, int64_t run_id, const struct mq_run_history *history,
                               struct mq_err *err) {
  sqlite3_stmt *statement = NULL;
  mq_status status = mq_sql_prepare(&statement, store, "INSERT INTO ranges VALUES (?, ?, ?, ?, ?)", err);
  for (size_t i = 0; i < history->n_ranges && status == MQ_OK; i++) {
    const struct mq_run_range *r = &history->ranges[i];
    sqlite3_bind_int64(statement, 1, run_id);
    sqlite3_bind_int64(statement, 2, r->step);
    sqlite3_bind_int64(statement, 3, r->point);
    bind_real(statement, 4, r->lo);
    bind_real(statement, 5, r->hi);
    status = step_and_reset(store, statement, err);
  }
  sqlite3_finalize(statement);
  return status;
}

mq_status mq_history_insert(struct mq_store *store, int64_t run_id, const struct mq_run_history *history,
                            struct mq_err *err) {
  mq_status status = insert_curve(store, run_id, history, err);
  return status == MQ_OK ? insert_ranges(store, run_id, history, err) : status;
}

/* ---- Reading ---------------------------------------------------------------------------------------- */
static double get_real(sqlite3_stmt *statement, int i) {
  return sqlite3_column_type(statement, i) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(statement, i);
}

static void read_curve(void *row, sqlite3_stmt *s) {
  *(struct mq_run_curve *)row = (struct mq_run_curve){.step = sqlite3_column_int64(s, 0),
                                                      .epoch = get_real(s, 1),
                                                      .rate = get_real(s, 2),
                                                      .loss = get_real(s, 3),
                                                      .train_top1 = get_real(s, 4),
                                                      .test_top1 = get_real(s, 5)};
}

static void read_range(void *row, sqlite3_stmt *s) {
  *(struct mq_run_range *)row = (struct mq_run_range){.step = sqlite3_column_int64(s, 0),
                                                      .point = sqlite3_column_int64(s, 1),
                                                      .lo = get_real(s, 2),
                                                      .hi = get_real(s, 3)};
}

/* NAN says that there is none. */
static bool is_bad_fraction(double x) {
  return x < 0 || x > 1;
}

static mq_status check_curve(const void *row, struct mq_store *store, int64_t run_id, size_t n_points,
                             struct mq_err *err) {
  const struct mq_run_curve *p = row;
  (void)n_points;
  if (p->step < 0 || !(p->epoch >= 0 && isfinite(p->epoch)) || !isfinite(p->rate) || isinf(p->loss)) {
    return mq_sql_bad(err, store, "run %lld: its curve has epoch %g, rate %g and loss %g at step %lld",
                      (long long)run_id, p->epoch, p->rate, p->loss, (long long)p->step);
  }
  if (is_bad_fraction(p->train_top1) || is_bad_fraction(p->test_top1)) {
    return mq_sql_bad(err, store, "run %lld: its curve has an accuracy of %g, expected 0 to 1",
                      (long long)run_id, is_bad_fraction(p->test_top1) ? p->test_top1 : p->train_top1);
  }
  return MQ_OK;
}

static mq_status check_range(const void *row, struct mq_store *store, int64_t run_id, size_t n_points,
                             struct mq_err *err) {
  const struct mq_run_range *r = row;
  if (r->point < 0 || (uint64_t)r->point >= n_points || r->step < 0) {
    return mq_sql_bad(err, store,
                      "run %lld: a range of point %lld at step %lld, expected one of its %zu points",
                      (long long)run_id, (long long)r->point, (long long)r->step, n_points);
  }
  if (isinf(r->lo) || isinf(r->hi)) {
    return mq_sql_bad(err, store, "run %lld: a range from %g to %g", (long long)run_id, r->lo, r->hi);
  }
  return MQ_OK;
}

struct query {
  const char *count, *rows;
  size_t bytes; /* of a row in memory */
  void (*read)(void *row, sqlite3_stmt *statement);
  mq_status (*check)(const void *row, struct mq_store *store, int64_t run_id, size_t n_points,
                     struct mq_err *err);
};

static mq_status read_rows(void **rows, size_t *n_rows, const struct query *query, struct mq_store *store,
                           int64_t run_id, size_t n_points, struct mq_arena *arena, struct mq_err *err) {
  sqlite3_stmt *statement = NULL;
  size_t n = 0;
  *n_rows = 0;
  mq_status status = mq_sql_count(&n, store, query->count, run_id, err);
  if (status == MQ_OK) {
    *rows = mq_arena_alloc(arena, n ? n : 1, query->bytes);
    status = *rows ? mq_sql_prepare(&statement, store, query->rows, err) : mq_fail_memory(err, "history");
  }
  if (status == MQ_OK) {
    sqlite3_bind_int64(statement, 1, run_id);
  }
  for (bool has_row = true; status == MQ_OK && *n_rows < n;) {
    status = mq_sql_step(&has_row, store, statement, err);
    if (status != MQ_OK || !has_row) break;
    void *row = (char *)*rows + (*n_rows)++ * query->bytes;
    query->read(row, statement);
    status = query->check(row, store, run_id, n_points, err);
  }
  sqlite3_finalize(statement);
  return status;
}

mq_status mq_store_history(struct mq_run_history *history, struct mq_store *store, int64_t run_id,
                           struct mq_arena *arena, struct mq_err *err) {
  static const struct query curve = {
      "SELECT count(*) FROM curve WHERE run_id = ?1",
      "SELECT step, epoch, rate, loss, train_top1, test_top1 FROM curve WHERE run_id = ?1 ORDER BY step",
      sizeof(struct mq_run_curve), read_curve, check_curve};
  static const struct query ranges = {
      "SELECT count(*) FROM ranges WHERE run_id = ?1",
      "SELECT step, point, lo, hi FROM ranges WHERE run_id = ?1 ORDER BY step, point",
      sizeof(struct mq_run_range), read_range, check_range};
  void *curve_rows = NULL, *range_rows = NULL;
  *history = (struct mq_run_history){.curve = NULL};
  mq_status status = mq_sql_exec(store, "BEGIN", err);
  if (status != MQ_OK) {
    return status;
  }
  size_t n_points = 0;
  status = mq_sql_count(&n_points, store, "SELECT count(*) FROM points WHERE run_id = ?1", run_id, err);
  if (status == MQ_OK) {
    status = read_rows(&curve_rows, &history->n_curve, &curve, store, run_id, n_points, arena, err);
  }
  if (status == MQ_OK) {
    status = read_rows(&range_rows, &history->n_ranges, &ranges, store, run_id, n_points, arena, err);
  }
  history->curve = curve_rows;
  history->ranges = range_rows;
  return mq_sql_end(store, status, err);
}
