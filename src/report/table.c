/* Groups runs into rows and columns. */
#include "report/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/stats.h"

/* Order of the paper's Table 7. */
static const char *const paper_targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};
#define N_PAPER_TARGETS (sizeof paper_targets / sizeof paper_targets[0])

/* ---- Keys ------------------------------------------------------------------------------------------- */

bool mq_table_same_bits(const struct mq_run *a, const struct mq_run *b) {
  return a->w_bits == b->w_bits && a->a_bits == b->a_bits;
}

bool mq_table_same_model(const struct mq_run *a, const struct mq_run *b) {
  return !strcmp(a->model, b->model) && mq_report_same_text(a->model_sha256, b->model_sha256) &&
         mq_report_same_text(a->eval_sha256, b->eval_sha256);
}

bool mq_table_same_algorithm(const struct mq_run *a, const struct mq_run *b) {
  return mq_table_same_bits(a, b) && !strcmp(a->method, b->method) &&
         mq_report_same_text(a->variant, b->variant) && mq_report_same_text(a->w_observer, b->w_observer) &&
         mq_report_same_text(a->a_observer, b->a_observer) && mq_report_same_text(a->options, b->options);
}

bool mq_table_same_group(const struct mq_table_row *a, const struct mq_table_row *b) {
  return mq_table_same_model(a->key, b->key) && mq_table_same_bits(a->key, b->key);
}

/* Runs that failed before their inputs could be read have no hashes: they belong where the names fit. */
static bool is_unread(const struct mq_run *a, const struct mq_run *b) {
  return !a->model_sha256 || !b->model_sha256;
}

static bool is_same_model(const struct mq_run *a, const struct mq_run *b) {
  return is_unread(a, b) ? !strcmp(a->model, b->model) : mq_table_same_model(a, b);
}

static bool is_same_target(const struct mq_run *a, const struct mq_run *b) {
  return !mq_report_same_text(a->target, b->target) ||
         mq_report_same_text(a->target_sha256, b->target_sha256);
}

/* What else tells experiments apart is in the options (labels.h). */
static bool is_same_row(const struct mq_run *a, const struct mq_run *b) {
  return is_same_model(a, b) && mq_table_same_algorithm(a, b) &&
         (is_unread(a, b) || (mq_report_same_text(a->data_sha256, b->data_sha256) && is_same_target(a, b)));
}

/* Whether a float run measured what the row's runs are compared with. */
static bool is_baseline(const struct mq_run *run, const struct mq_run *key) {
  return mq_table_same_model(run, key) &&
         (!run->float_identity || !key->float_identity || !strcmp(run->float_identity, key->float_identity));
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

/* ---- Columns ---------------------------------------------------------------------------------------- */

static size_t paper_rank(const char *target) {
  size_t i = 0;
  while (i < N_PAPER_TARGETS && strcmp(target, paper_targets[i]) != 0) {
    i++;
  }
  return i;
}

static int compare_targets(const void *a, const void *b) {
  const char *x = *(const char *const *)a, *y = *(const char *const *)b;
  size_t rank_x = paper_rank(x), rank_y = paper_rank(y);
  return rank_x != rank_y ? (rank_x > rank_y ? 1 : -1) : strcmp(x, y);
}

static mq_status collect_targets(struct mq_table *table, struct mq_report_rows *rows, struct mq_err *err) {
  size_t most = rows->n_runs ? rows->n_runs : 1;
  table->targets = mq_arena_alloc(&rows->arena, most, sizeof *table->targets);
  table->is_hardware = mq_arena_alloc(&rows->arena, most, sizeof *table->is_hardware);
  if (!table->targets || !table->is_hardware) {
    return mq_fail_memory(err, "table");
  }
  size_t n = 0;
  for (size_t i = 0; i < rows->n_runs; i++) {
    if (rows->runs[i].run.target && !mq_report_is_float(&rows->runs[i].run)) {
      table->targets[n++] = rows->runs[i].run.target;
    }
  }
  qsort(table->targets, n, sizeof *table->targets, compare_targets);
  for (size_t i = 0; i < n; i++) {
    if (i == 0 || strcmp(table->targets[i], table->targets[table->n_targets - 1]) != 0) {
      table->targets[table->n_targets++] = table->targets[i];
    }
  }
  for (size_t i = 0; i < table->n_targets; i++) {
    table->is_hardware[i] = strncmp(table->targets[i], "academic", 8) != 0;
    table->n_hardware += table->is_hardware[i];
  }
  return MQ_OK;
}

static size_t find_target(const struct mq_table *table, const char *target) {
  size_t i = 0;
  while (strcmp(table->targets[i], target) != 0) {
    i++;
  }
  return i;
}

/* ---- Rows ------------------------------------------------------------------------------------------- */

struct sorted_row {
  struct mq_table_row row;
  size_t model, appearance; /* first appearances */
};

static int compare_rows(const void *a, const void *b) {
  const struct sorted_row *x = a, *y = b;
  const struct mq_run *p = x->row.key, *q = y->row.key;
  if (x->model != y->model) return x->model > y->model ? 1 : -1;
  if (p->w_bits != q->w_bits) return p->w_bits < q->w_bits ? 1 : -1;
  if (p->a_bits != q->a_bits) return p->a_bits < q->a_bits ? 1 : -1;
  return (x->appearance > y->appearance) - (x->appearance < y->appearance);
}

/* A float run is a row of its own only where its model has no other. */
static bool needs_row(const struct mq_report_rows *rows, const struct mq_run *run) {
  if (!mq_report_is_float(run)) {
    return run->target != NULL;
  }
  for (size_t i = 0; i < rows->n_runs; i++) {
    const struct mq_run *other = &rows->runs[i].run;
    if (!mq_report_is_float(other) && is_same_model(other, run)) {
      return false;
    }
  }
  return true;
}

static size_t model_appearance(const struct mq_report_rows *rows, const struct mq_run *run) {
  size_t i = 0;
  while (strcmp(rows->runs[i].run.model, run->model) != 0) {
    i++;
  }
  return i;
}

static mq_status collect_rows(struct mq_table *table, struct mq_report_rows *rows, struct mq_err *err) {
  struct sorted_row *sorted = mq_alloc(rows->n_runs ? rows->n_runs : 1, sizeof *sorted);
  size_t n = 0;
  for (size_t i = 0; sorted && i < rows->n_runs; i++) {
    const struct mq_run *run = &rows->runs[i].run;
    bool is_new = needs_row(rows, run);
    for (size_t j = 0; j < n && is_new; j++) {
      is_new = !is_same_row(sorted[j].row.key, run);
    }
    if (is_new) {
      sorted[n++] =
          (struct sorted_row){.row = {.key = run}, .model = model_appearance(rows, run), .appearance = i};
    }
  }
  table->rows = sorted ? mq_arena_alloc(&rows->arena, n ? n : 1, sizeof *table->rows) : NULL;
  if (table->rows) {
    qsort(sorted, n, sizeof *sorted, compare_rows);
    for (size_t i = 0; i < n; i++) {
      table->rows[i] = sorted[i].row;
      table->has_options |= sorted[i].row.key->options != NULL;
    }
    table->n_rows = n;
  }
  mq_free(sorted);
  return table->rows ? MQ_OK : mq_fail_memory(err, "table");
}

/* ---- Cells ------------------------------------------------------------------------------------------ */

static int compare_seeds(const void *a, const void *b) {
  int64_t x = (*(const struct mq_report_run *const *)a)->run.seed;
  int64_t y = (*(const struct mq_report_run *const *)b)->run.seed;
  return (x > y) - (x < y);
}

static mq_status finish_cell(struct mq_table_cell *cell, struct mq_err *err) {
  double *x = mq_alloc(cell->n_runs ? cell->n_runs : 1, sizeof *x);
  if (!x) {
    return mq_fail_memory(err, "table");
  }
  qsort(cell->runs, cell->n_runs, sizeof *cell->runs, compare_seeds);
  size_t n = 0;
  for (size_t i = 0; i < cell->n_runs; i++) {
    const struct mq_run *run = &cell->runs[i]->run;
    bool is_done = !strcmp(run->status, "done");
    cell->n_done += is_done;
    cell->n_nc += !strcmp(run->status, "nc");
    cell->n_failed += !strcmp(run->status, "failed");
    if (is_done && !isnan(run->top1)) {
      x[n++] = run->top1;
    }
  }
  cell->mean = mq_stats_mean(x, n);
  cell->std = mq_stats_std_sample(x, n);
  size_t n_finished = n + cell->n_nc;
  cell->value = n_finished ? (n ? cell->mean * (double)n : 0) / (double)n_finished : (double)NAN;
  mq_free(x);
  return MQ_OK;
}

static mq_status fill_row(struct mq_table *table, struct mq_table_row *row, struct mq_report_rows *rows,
                          struct mq_err *err) {
  size_t n_targets = table->n_targets;
  row->float_top1 = (double)NAN;
  row->cells = mq_arena_alloc(&rows->arena, n_targets ? n_targets : 1, sizeof *row->cells);
  if (!row->cells) {
    return mq_fail_memory(err, "table");
  }
  for (int pass = 0; pass < 2; pass++) { /* count, then fill */
    for (size_t i = 0; i < rows->n_runs; i++) {
      const struct mq_run *run = &rows->runs[i].run;
      bool is_float = mq_report_is_float(run);
      if (is_float ? is_baseline(run, row->key) : is_same_row(row->key, run)) {
        row->float_top1 = isnan(row->float_top1) ? run->float_top1 : row->float_top1;
      }
      if (is_float || !run->target || !is_same_row(row->key, run)) continue;
      struct mq_table_cell *cell = &row->cells[find_target(table, run->target)];
      if (pass == 1) {
        cell->runs[cell->n_runs] = &rows->runs[i];
      }
      cell->n_runs++;
    }
    for (size_t t = 0; t < n_targets && pass == 0; t++) {
      size_t n = row->cells[t].n_runs;
      row->cells[t].runs = mq_arena_alloc(&rows->arena, n ? n : 1, sizeof *row->cells[t].runs);
      row->cells[t].n_runs = 0;
      if (!row->cells[t].runs) {
        return mq_fail_memory(err, "table");
      }
    }
  }
  mq_status status = MQ_OK;
  for (size_t t = 0; t < n_targets && status == MQ_OK; t++) {
    status = finish_cell(&row->cells[t], err);
  }
  return status;
}

/* hw_mean, hw_std and gap as in the paper's Table 7: not converged counts 0, hw_std divides by n. */
static mq_status measure_row(const struct mq_table *table, struct mq_table_row *row, struct mq_err *err) {
  double *x = mq_alloc(table->n_targets ? table->n_targets : 1, sizeof *x), academic = (double)NAN;
  if (!x) {
    return mq_fail_memory(err, "table");
  }
  for (size_t t = 0; t < table->n_targets; t++) {
    double value = row->cells[t].value;
    if (table->is_hardware[t] && !isnan(value)) {
      x[row->n_hardware++] = value;
    }
    if (!strcmp(table->targets[t], "academic")) {
      academic = value;
    }
  }
  row->hw_mean = mq_stats_mean(x, row->n_hardware);
  row->hw_std = mq_stats_std_population(x, row->n_hardware);
  row->gap = academic - row->hw_mean;
  mq_free(x);
  return MQ_OK;
}

/* ---- Over models ------------------------------------------------------------------------------------ */

static mq_status mean_over_models(struct mq_table *table, size_t first, struct mq_report_rows *rows,
                                  struct mq_err *err) {
  struct mq_table_mean *mean = &table->means[table->n_means];
  size_t n_targets = table->n_targets ? table->n_targets : 1;
  *mean = (struct mq_table_mean){.key = table->rows[first].key,
                                 .values = mq_arena_alloc(&rows->arena, n_targets, sizeof *mean->values)};
  double *x = mq_alloc(table->n_rows, sizeof *x);
  if (!mean->values || !x) {
    mq_free(x);
    return mq_fail_memory(err, "table");
  }
  for (size_t t = 0; t < table->n_targets; t++) {
    size_t n = 0;
    mean->n_models = 0;
    for (size_t i = first; i < table->n_rows; i++) {
      if (mq_table_same_algorithm(table->rows[i].key, mean->key)) {
        mean->n_models++;
        if (!isnan(table->rows[i].cells[t].value)) x[n++] = table->rows[i].cells[t].value;
      }
    }
    /* a mean over other models than its neighbours' would mislead */
    mean->values[t] = n == mean->n_models ? mq_stats_mean(x, n) : (double)NAN;
  }
  table->n_means += mean->n_models > 1;
  mq_free(x);
  return MQ_OK;
}

static mq_status collect_means(struct mq_table *table, struct mq_report_rows *rows, struct mq_err *err) {
  table->means = mq_arena_alloc(&rows->arena, table->n_rows + 1, sizeof *table->means);
  if (!table->means) {
    return mq_fail_memory(err, "table");
  }
  mq_status status = MQ_OK;
  for (size_t i = 0; i < table->n_rows && status == MQ_OK; i++) {
    bool is_first = !mq_report_is_float(table->rows[i].key);
    for (size_t j = 0; j < i && is_first; j++) {
      is_first = !mq_table_same_algorithm(table->rows[j].key, table->rows[i].key);
    }
    status = is_first ? mean_over_models(table, i, rows, err) : MQ_OK;
  }
  return status;
}

mq_status mq_table_build(struct mq_table *table, struct mq_report_rows *rows, struct mq_err *err) {
  memset(table, 0, sizeof *table);
  mq_status status = collect_targets(table, rows, err);
  if (status == MQ_OK) {
    status = collect_rows(table, rows, err);
  }
  for (size_t i = 0; i < table->n_rows && status == MQ_OK; i++) {
    status = fill_row(table, &table->rows[i], rows, err);
    if (status == MQ_OK) {
      status = measure_row(table, &table->rows[i], err);
    }
  }
  return status == MQ_OK ? collect_means(table, rows, err) : status;
}
