/* Reads stores; shards of one plan, or the same store given twice, come together by identity. */
#include "report/rows.h"

#include <stdlib.h>
#include <string.h>

struct reading {
  struct mq_report_run *runs;
  size_t n, capacity;
};

bool mq_report_is_float(const struct mq_run *run) {
  return !strcmp(run->method, "float");
}

bool mq_report_same_text(const char *a, const char *b) {
  return a && b ? !strcmp(a, b) : a == b;
}

static mq_status append(struct reading *reading, const struct mq_report_run *run, struct mq_err *err) {
  if (reading->n == reading->capacity) {
    size_t capacity = reading->capacity ? 2 * reading->capacity : 256;
    void *grown = mq_realloc(reading->runs, capacity, sizeof *reading->runs);
    if (!grown) {
      return mq_fail_memory(err, "runs");
    }
    reading->runs = grown;
    reading->capacity = capacity;
  }
  reading->runs[reading->n++] = *run;
  return MQ_OK;
}

static mq_status read_store(struct reading *reading, struct mq_report_rows *rows, const char *path, size_t db,
                            bool with_points, struct mq_err *err) {
  struct mq_store *store = NULL;
  struct mq_run *runs = NULL;
  size_t n_runs = 0;
  mq_status status = mq_store_open(&store, path, true, err);
  if (status == MQ_OK) {
    status = mq_store_runs(&runs, &n_runs, store, &rows->arena, err);
  }
  for (size_t i = 0; i < n_runs && status == MQ_OK; i++) {
    struct mq_report_run run = {.run = runs[i], .db = db};
    if (!strcmp(runs[i].status, "stale")) {
      rows->n_stale++;
      continue;
    }
    if (with_points) {
      struct mq_run_point *points = NULL;
      status = mq_store_points(&points, &run.n_points, store, runs[i].id, &rows->arena, err);
      run.points = points;
    }
    if (status == MQ_OK) {
      status = append(reading, &run, err);
    }
  }
  mq_store_close(store);
  return status;
}

static int status_rank(const struct mq_run *run) {
  return !strcmp(run->status, "done") ? 0 : !strcmp(run->status, "nc") ? 1 : 2;
}

struct order {
  const struct mq_report_run *run;
  size_t position;
};

static int compare_orders(const void *a, const void *b) {
  const struct order *x = a, *y = b;
  int order = strcmp(x->run->run.identity, y->run->run.identity);
  if (order == 0) order = status_rank(&x->run->run) - status_rank(&y->run->run);
  return order ? order : (x->position > y->position) - (x->position < y->position);
}

/* Keeps the best run of each identity, in the order in which they were read. */
static mq_status keep_unique(struct mq_report_rows *rows, const struct reading *reading, struct mq_err *err) {
  size_t n = reading->n;
  struct order *orders = mq_alloc(n ? n : 1, sizeof *orders);
  bool *is_kept = mq_alloc(n ? n : 1, sizeof *is_kept);
  mq_status status = MQ_OK;
  rows->runs = mq_arena_alloc(&rows->arena, n ? n : 1, sizeof *rows->runs);
  if (!orders || !is_kept || !rows->runs) {
    status = mq_fail_memory(err, "runs");
    goto done;
  }
  for (size_t i = 0; i < n; i++) {
    orders[i] = (struct order){.run = &reading->runs[i], .position = i};
  }
  qsort(orders, n, sizeof *orders, compare_orders);
  for (size_t i = 0; i < n; i++) {
    is_kept[orders[i].position] =
        i == 0 || strcmp(orders[i].run->run.identity, orders[i - 1].run->run.identity) != 0;
  }
  for (size_t i = 0; i < n; i++) {
    if (is_kept[i]) {
      rows->runs[rows->n_runs++] = reading->runs[i];
    }
  }
done:
  mq_free(is_kept);
  mq_free(orders);
  return status;
}

mq_status mq_report_rows_read(struct mq_report_rows *rows, const char *const *db_paths, size_t n_dbs,
                              bool with_points, struct mq_err *err) {
  struct reading reading = {.runs = NULL};
  mq_status status = MQ_OK;
  memset(rows, 0, sizeof *rows);
  mq_arena_init(&rows->arena, 0);
  for (size_t i = 0; i < n_dbs && status == MQ_OK; i++) {
    status = read_store(&reading, rows, db_paths[i], i, with_points, err);
  }
  if (status == MQ_OK) {
    status = keep_unique(rows, &reading, err);
  }
  mq_free(reading.runs);
  if (status != MQ_OK) {
    mq_report_rows_deinit(rows);
  }
  return status;
}

void mq_report_rows_deinit(struct mq_report_rows *rows) {
  mq_arena_deinit(&rows->arena);
  rows->runs = NULL;
  rows->n_runs = 0;
}
