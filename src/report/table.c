/* Groups runs into rows and columns. */
#include "report/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/columns.h"
#include "report/group.h"
#include "report/stats.h"

/* ---- Keys ------------------------------------------------------------------------------------------- */

bool mq_table_same_bits(const struct mq_run *a, const struct mq_run *b) {
  return a->w_bits == b->w_bits && a->a_bits == b->a_bits;
}

bool mq_table_same_model(const struct mq_run *a, const struct mq_run *b) {
  return !strcmp(a->model, b->model) && mq_report_same_text(a->model_sha256, b->model_sha256) &&
         mq_report_same_text(a->eval_sha256, b->eval_sha256);
}

bool mq_table_same_group(const struct mq_table_row *a, const struct mq_table_row *b) {
  return mq_table_same_model(a->key, b->key) && mq_table_same_bits(a->key, b->key);
}

char *mq_table_bits(char text[32], const struct mq_run *run) {
  text[0] = '\0';
  if (run->w_bits > 0) snprintf(text, 32, "W%d", run->w_bits);
  if (run->a_bits > 0) snprintf(text + strlen(text), 32 - strlen(text), "A%d", run->a_bits);
  return text;
}

char *mq_table_method(char *text, size_t bytes, const struct mq_run *run) {
  snprintf(text, bytes, "%s%s%s%s", run->method, run->variant ? " (" : "", run->variant ? run->variant : "",
           run->variant ? ")" : "");
  return text;
}

char *mq_table_observers(char *text, size_t bytes, const struct mq_run *run) {
  const char *w = run->w_observer ? run->w_observer : "", *a = run->a_observer ? run->a_observer : "";
  snprintf(text, bytes, "%s%s%s", w, *w || *a ? " / " : "", a);
  return text;
}

/* ---- Rows ------------------------------------------------------------------------------------------- */

#define NO_ROW SIZE_MAX

/* The table while it is made. Runs that failed before their inputs could be read have no hashes: they belong
 * where the names fit. What else tells experiments apart is in the options (labels.h). */
struct building {
  struct mq_table *table;
  struct mq_report_rows *rows;
  struct mq_groups same_row, same_name, same_content; /* of the runs: name of the model, its hashes too */
  size_t *row_of;                                     /* table row of each group of runs, or NO_ROW */
  size_t *column_of;                                  /* of each run, or MQ_NO_COLUMN */
};

static void put_algorithm(FILE *out, const struct mq_run *run) {
  mq_put_key(out, run->method);
  mq_put_key(out, run->variant);
  mq_put_key(out, run->w_observer);
  mq_put_key(out, run->a_observer);
  mq_put_key(out, run->options);
}

static void put_bits(FILE *out, const struct mq_run *run) {
  mq_put_key_number(out, run->w_bits);
  mq_put_key_number(out, run->a_bits);
}

static const struct mq_run *run_at(const void *rows, size_t i) {
  return &((const struct mq_report_rows *)rows)->runs[i].run;
}

static void put_row_key(FILE *out, const void *context, size_t i) {
  const struct mq_run *run = run_at(context, i);
  mq_put_key(out, run->model);
  put_bits(out, run);
  put_algorithm(out, run);
}

static void put_name_key(FILE *out, const void *context, size_t i) {
  mq_put_key(out, run_at(context, i)->model);
}

static void put_content_key(FILE *out, const void *context, size_t i) {
  const struct mq_run *run = run_at(context, i);
  mq_put_key(out, run->model);
  mq_put_key(out, run->model_sha256);
  mq_put_key(out, run->eval_sha256);
}

static mq_status group_runs(struct building *b, struct mq_err *err) {
  struct mq_arena *arena = &b->rows->arena;
  size_t n = b->rows->n_runs;
  mq_status status = mq_group(&b->same_row, n, put_row_key, b->rows, arena, err);
  if (status == MQ_OK) {
    status = mq_group(&b->same_name, n, put_name_key, b->rows, arena, err);
  }
  if (status == MQ_OK) {
    status = mq_group(&b->same_content, n, put_content_key, b->rows, arena, err);
  }
  return status;
}

/* Models with results of their own, for which a float run is only the baseline. */
struct quantized {
  bool *has_any, *has_unread; /* by name of the model */
  bool *has_content;          /* by content */
};

static bool is_baseline_only(const struct building *b, const struct quantized *quantized, size_t i) {
  size_t name = b->same_name.of[i];
  if (!run_at(b->rows, i)->model_sha256) {
    return quantized->has_any[name];
  }
  return quantized->has_unread[name] || quantized->has_content[b->same_content.of[i]];
}

/* is_shown: whether a group of runs gets a row. A float run does only where its model has no other. */
static mq_status choose_rows(bool *is_shown, const struct building *b, struct mq_err *err) {
  size_t n = b->rows->n_runs;
  bool *flags = mq_alloc(3 * n + 1, sizeof *flags);
  if (!flags) {
    return mq_fail_memory(err, "table");
  }
  const struct quantized quantized = {flags, flags + n, flags + 2 * n};
  for (size_t i = 0; i < n; i++) {
    const struct mq_run *run = run_at(b->rows, i);
    if (mq_report_is_float(run)) continue;
    quantized.has_any[b->same_name.of[i]] = true;
    quantized.has_unread[b->same_name.of[i]] |= !run->model_sha256;
    quantized.has_content[b->same_content.of[i]] = true;
  }
  for (size_t i = 0; i < n; i++) {
    const struct mq_run *run = run_at(b->rows, i);
    is_shown[b->same_row.of[i]] |=
        mq_report_is_float(run) ? !is_baseline_only(b, &quantized, i) : run->target != NULL;
  }
  mq_free(flags);
  return MQ_OK;
}

struct sorted_row {
  const struct mq_run *key;
  size_t group, name, content, appearance;
};

static int compare_sizes(size_t a, size_t b) {
  return (a > b) - (a < b);
}

static int compare_rows(const void *a, const void *b) {
  const struct sorted_row *x = a, *y = b;
  const struct mq_run *p = x->key, *q = y->key;
  if (x->name != y->name) return compare_sizes(x->name, y->name);
  if (x->content != y->content) return compare_sizes(x->content, y->content);
  if (p->w_bits != q->w_bits) return p->w_bits < q->w_bits ? 1 : -1;
  if (p->a_bits != q->a_bits) return p->a_bits < q->a_bits ? 1 : -1;
  return compare_sizes(x->appearance, y->appearance);
}

/* One entry for each group; what knows its content speaks for it. */
static void list_groups(struct sorted_row *sorted, const struct building *b) {
  for (size_t g = 0; g < b->same_row.n; g++) {
    sorted[g] = (struct sorted_row){.group = g, .appearance = b->same_row.first[g]};
  }
  for (size_t i = 0; i < b->rows->n_runs; i++) {
    struct sorted_row *row = &sorted[b->same_row.of[i]];
    const struct mq_run *run = run_at(b->rows, i);
    if (!row->key || (!row->key->model_sha256 && run->model_sha256)) {
      row->key = run;
      row->name = b->same_name.of[i];
      row->content = b->same_content.of[i];
    }
  }
}

static mq_status collect_rows(struct building *b, struct mq_err *err) {
  struct mq_table *table = b->table;
  size_t n_groups = b->same_row.n, n = n_groups ? n_groups : 1;
  struct sorted_row *sorted = mq_alloc(n, sizeof *sorted);
  bool *is_shown = mq_alloc(n, sizeof *is_shown);
  b->row_of = mq_arena_alloc(&b->rows->arena, n, sizeof *b->row_of);
  table->rows = mq_arena_alloc(&b->rows->arena, n, sizeof *table->rows);
  mq_status status = sorted && is_shown && b->row_of && table->rows ? choose_rows(is_shown, b, err)
                                                                    : mq_fail_memory(err, "table");
  if (status == MQ_OK) {
    list_groups(sorted, b);
    qsort(sorted, n_groups, sizeof *sorted, compare_rows);
  }
  for (size_t i = 0; i < n_groups && status == MQ_OK; i++) {
    bool is_row = is_shown[sorted[i].group];
    b->row_of[sorted[i].group] = is_row ? table->n_rows : NO_ROW;
    if (is_row) {
      table->rows[table->n_rows++].key = sorted[i].key;
    }
  }
  mq_free(is_shown);
  mq_free(sorted);
  return status;
}

static void put_row_algorithm(FILE *out, const void *context, size_t i) {
  const struct mq_run *key = ((const struct mq_table *)context)->rows[i].key;
  if (!mq_report_is_float(key)) put_algorithm(out, key);
}

static mq_status number_algorithms(struct mq_table *table, struct mq_report_rows *rows, struct mq_err *err) {
  struct mq_groups groups;
  mq_status status = mq_group(&groups, table->n_rows, put_row_algorithm, table, &rows->arena, err);
  size_t *number = status == MQ_OK ? mq_alloc(groups.n + 1, sizeof *number) : NULL;
  if (!number) {
    return status == MQ_OK ? mq_fail_memory(err, "table") : status;
  }
  for (size_t g = 0; g < groups.n; g++) {
    number[g] = mq_report_is_float(table->rows[groups.first[g]].key) ? NO_ROW : table->n_algorithms++;
  }
  for (size_t i = 0; i < table->n_rows; i++) {
    size_t n = number[groups.of[i]];
    table->rows[i].algorithm = n == NO_ROW ? table->n_algorithms : n;
  }
  mq_free(number);
  return MQ_OK;
}

/* ---- Cells ------------------------------------------------------------------------------------------ */

static int compare_seeds(const void *a, const void *b) {
  int64_t x = (*(const struct mq_report_run *const *)a)->run.seed;
  int64_t y = (*(const struct mq_report_run *const *)b)->run.seed;
  return (x > y) - (x < y);
}

static mq_status finish_cell(struct mq_table_cell *cell, struct mq_err *err) {
  double *x = mq_alloc(2 * cell->n_runs + 1, sizeof *x), *best = x ? x + cell->n_runs : NULL;
  if (!x) {
    return mq_fail_memory(err, "table");
  }
  qsort(cell->runs, cell->n_runs, sizeof *cell->runs, compare_seeds);
  size_t n = 0, n_best = 0;
  for (size_t i = 0; i < cell->n_runs; i++) {
    const struct mq_run *run = &cell->runs[i]->run;
    bool is_done = !strcmp(run->status, "done");
    cell->n_done += is_done;
    cell->n_nc += !strcmp(run->status, "nc");
    cell->n_failed += !strcmp(run->status, "failed");
    if (is_done && !isnan(run->top1)) {
      x[n++] = run->top1;
    }
    if (is_done && !isnan(run->best_top1)) {
      best[n_best++] = run->best_top1;
    }
  }
  cell->best = mq_stats_mean(best, n_best);
  cell->mean = mq_stats_mean(x, n);
  cell->std = mq_stats_std_sample(x, n);
  size_t n_finished = n + cell->n_nc;
  cell->value = n_finished ? (n ? cell->mean * (double)n : 0) / (double)n_finished : (double)NAN;
  mq_free(x);
  return MQ_OK;
}

/* The cell that a run counts in, or NULL. */
static struct mq_table_cell *cell_of(const struct building *b, size_t i) {
  size_t row = b->row_of[b->same_row.of[i]], column = b->column_of[i];
  return row == NO_ROW || column == MQ_NO_COLUMN ? NULL : &b->table->rows[row].cells[column];
}

static mq_status fill_cells(struct building *b, struct mq_err *err) {
  struct mq_table *table = b->table;
  struct mq_arena *arena = &b->rows->arena;
  size_t n_cells = table->n_rows * table->n_targets, n_runs = b->rows->n_runs;
  struct mq_table_cell *cells = mq_arena_alloc(arena, n_cells ? n_cells : 1, sizeof *cells), *cell;
  const struct mq_report_run **runs = mq_arena_alloc(arena, n_runs ? n_runs : 1, sizeof *runs);
  if (!cells || !runs) {
    return mq_fail_memory(err, "table");
  }
  for (size_t i = 0; i < table->n_rows; i++) {
    table->rows[i].cells = cells + i * table->n_targets;
  }
  for (size_t i = 0; i < n_runs; i++) {
    if ((cell = cell_of(b, i))) cell->n_runs++;
  }
  for (size_t c = 0; c < n_cells; c++) { /* every cell gets its part of `runs` */
    cells[c].runs = runs;
    runs += cells[c].n_runs;
    cells[c].n_runs = 0;
  }
  for (size_t i = 0; i < n_runs; i++) {
    if ((cell = cell_of(b, i))) cell->runs[cell->n_runs++] = &b->rows->runs[i];
  }
  mq_status status = MQ_OK;
  for (size_t c = 0; c < n_cells && status == MQ_OK; c++) {
    status = finish_cell(&cells[c], err);
    table->has_best[c % table->n_targets] |= !isnan(cells[c].best);
  }
  return status;
}

/* What the row's runs were compared with: as they recorded it, or else from a float run of the same content.
 */
static mq_status find_baselines(struct building *b, struct mq_err *err) {
  struct mq_table *table = b->table;
  size_t n = b->rows->n_runs;
  const struct mq_run **baseline = mq_alloc(n + 1, sizeof *baseline); /* by content */
  if (!baseline) {
    return mq_fail_memory(err, "table");
  }
  for (size_t i = 0; i < table->n_rows; i++) {
    table->rows[i].float_top1 = (double)NAN;
  }
  for (size_t i = 0; i < n; i++) {
    const struct mq_run *run = run_at(b->rows, i);
    size_t row = b->row_of[b->same_row.of[i]];
    if (mq_report_is_float(run) && !isnan(run->float_top1) && !baseline[b->same_content.of[i]]) {
      baseline[b->same_content.of[i]] = run;
    }
    if (row != NO_ROW && isnan(table->rows[row].float_top1)) {
      table->rows[row].float_top1 = run->float_top1;
    }
  }
  for (size_t i = 0; i < n; i++) {
    const struct mq_run *run = run_at(b->rows, i), *other = baseline[b->same_content.of[i]];
    size_t row = b->row_of[b->same_row.of[i]];
    bool fits = other && (!run->float_identity || !other->float_identity ||
                          !strcmp(run->float_identity, other->float_identity));
    if (row != NO_ROW && fits && isnan(table->rows[row].float_top1)) {
      table->rows[row].float_top1 = other->float_top1;
    }
  }
  mq_free(baseline);
  return MQ_OK;
}

/* hw_mean, hw_std and gap as in the paper's Table 7: not converged counts 0, hw_std divides by n. */
static mq_status measure_row(const struct mq_table *table, struct mq_table_row *row, struct mq_err *err) {
  double *x = mq_alloc(table->n_targets ? table->n_targets : 1, sizeof *x);
  if (!x) {
    return mq_fail_memory(err, "table");
  }
  for (size_t t = 0; t < table->n_targets; t++) {
    double value = row->cells[t].value;
    if (table->is_hardware[t] && !isnan(value)) {
      x[row->n_hardware++] = value;
    }
  }
  row->hw_mean = mq_stats_mean(x, row->n_hardware);
  row->hw_std = mq_stats_std_population(x, row->n_hardware);
  row->gap = table->has_gap ? row->cells[0].value - row->hw_mean : (double)NAN;
  mq_free(x);
  return MQ_OK;
}

/* ---- Over models ------------------------------------------------------------------------------------ */

static void put_mean_key(FILE *out, const void *context, size_t i) {
  const struct mq_run *key = ((const struct mq_table *)context)->rows[i].key;
  put_bits(out, key);
  put_algorithm(out, key);
}

/* Rows by what they are averaged over, in order of first appearance: rows[start[g]] up to start[g + 1]. */
struct mean_rows {
  struct mq_groups groups;
  size_t *start, *rows;
};

static mq_status sort_into_means(struct mean_rows *sorted, const struct mq_table *table,
                                 struct mq_arena *arena, struct mq_err *err) {
  mq_status status = mq_group(&sorted->groups, table->n_rows, put_mean_key, table, arena, err);
  if (status != MQ_OK) {
    return status;
  }
  size_t n_groups = sorted->groups.n;
  sorted->start = mq_arena_alloc(arena, n_groups + 2, sizeof *sorted->start);
  sorted->rows = mq_arena_alloc(arena, table->n_rows + 1, sizeof *sorted->rows);
  if (!sorted->start || !sorted->rows) {
    return mq_fail_memory(err, "table");
  }
  for (size_t i = 0; i < table->n_rows; i++) {
    sorted->start[sorted->groups.of[i] + 2]++;
  }
  for (size_t g = 2; g < n_groups + 2; g++) {
    sorted->start[g] += sorted->start[g - 1];
  }
  for (size_t i = 0; i < table->n_rows;
       i++) { /* moves each start behind its group: to where the next one is */
    sorted->rows[sorted->start[sorted->groups.of[i] + 1]++] = i;
  }
  return MQ_OK;
}

static mq_status mean_over_models(struct mq_table *table, const size_t *rows, size_t n_rows,
                                  struct mq_arena *arena, struct mq_err *err) {
  struct mq_table_mean *mean = &table->means[table->n_means];
  size_t n_targets = table->n_targets ? table->n_targets : 1;
  *mean = (struct mq_table_mean){.key = table->rows[rows[0]].key,
                                 .options = table->rows[rows[0]].options,
                                 .n_models = n_rows,
                                 .values = mq_arena_alloc(arena, n_targets, sizeof *mean->values)};
  double *x = mq_alloc(n_rows, sizeof *x);
  if (!mean->values || !x) {
    mq_free(x);
    return mq_fail_memory(err, "table");
  }
  for (size_t t = 0; t < table->n_targets; t++) {
    size_t n = 0;
    for (size_t i = 0; i < n_rows; i++) {
      double value = table->rows[rows[i]].cells[t].value;
      if (!isnan(value)) x[n++] = value;
    }
    /* a mean over other models than its neighbours' would mislead */
    mean->values[t] = n == n_rows ? mq_stats_mean(x, n) : (double)NAN;
  }
  table->n_means++;
  mq_free(x);
  return MQ_OK;
}

static mq_status collect_means(struct mq_table *table, struct mq_report_rows *rows, struct mq_err *err) {
  struct mean_rows sorted = {.start = NULL};
  table->means = mq_arena_alloc(&rows->arena, table->n_rows + 1, sizeof *table->means);
  mq_status status =
      table->means ? sort_into_means(&sorted, table, &rows->arena, err) : mq_fail_memory(err, "table");
  for (size_t g = 0; g < sorted.groups.n && status == MQ_OK; g++) {
    size_t n = sorted.start[g + 1] - sorted.start[g];
    const size_t *members = &sorted.rows[sorted.start[g]];
    if (n > 1 && !mq_report_is_float(table->rows[members[0]].key)) {
      status = mean_over_models(table, members, n, &rows->arena, err);
    }
  }
  return status;
}

mq_status mq_table_build(struct mq_table *table, struct mq_report_rows *rows, struct mq_err *err) {
  typedef mq_status (*step_fn)(struct building *, struct mq_err *);
  static const step_fn steps[] = {group_runs, collect_rows, fill_cells, find_baselines};
  struct building b = {.table = table, .rows = rows};
  memset(table, 0, sizeof *table);
  mq_status status = mq_columns_collect(table, &b.column_of, rows, err);
  for (size_t i = 0; i < sizeof steps / sizeof steps[0] && status == MQ_OK; i++) {
    status = steps[i](&b, err);
  }
  for (size_t i = 0; i < table->n_rows && status == MQ_OK; i++) {
    status = measure_row(table, &table->rows[i], err);
  }
  if (status == MQ_OK) {
    status = number_algorithms(table, rows, err);
  }
  if (status == MQ_OK) {
    status = mq_columns_share(table, &rows->arena, err);
  }
  return status == MQ_OK ? collect_means(table, rows, err) : status;
}
