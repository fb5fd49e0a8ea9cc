/* The tables as Markdown, padded so that a terminal shows them as tables too. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/formats.h"
#include "report/group.h"
#include "report/text.h"

#define MQ_MAX_TEXT 512

/* A table of texts. Cells come row by row; the first row is the head. */
struct grid {
  char **cells;
  size_t n_columns, n_cells, capacity, n_text_columns; /* text columns: aligned left */
};

static void grid_deinit(struct grid *grid) {
  for (size_t i = 0; i < grid->n_cells; i++) {
    free(grid->cells[i]);
  }
  mq_free(grid->cells);
}

/* Takes what was written to `text` as the next cell. */
static mq_status grid_take(struct grid *grid, struct mq_text *text, struct mq_err *err) {
  mq_status status = mq_text_close(text, err);
  if (status == MQ_OK && grid->n_cells == grid->capacity) {
    size_t capacity = grid->capacity ? 2 * grid->capacity : 256;
    char **grown = mq_realloc(grid->cells, capacity, sizeof *grown);
    status = grown ? MQ_OK : mq_fail_memory(err, "table");
    grid->cells = grown ? grown : grid->cells;
    grid->capacity = grown ? capacity : grid->capacity;
  }
  if (status != MQ_OK) {
    mq_text_deinit(text);
    return status;
  }
  grid->cells[grid->n_cells++] = text->bytes;
  return MQ_OK;
}

static mq_status grid_text(struct grid *grid, const char *words, struct mq_err *err) {
  struct mq_text text;
  mq_status status = mq_text_open(&text, err);
  if (status == MQ_OK) {
    mq_put_markdown(text.stream, words);
    status = grid_take(grid, &text, err);
  }
  return status;
}

static mq_status grid_percent(struct grid *grid, double fraction, const char *mark, struct mq_err *err) {
  struct mq_text text;
  mq_status status = mq_text_open(&text, err);
  if (status == MQ_OK) {
    mq_put_percent(text.stream, fraction);
    fputs(mark, text.stream);
    status = grid_take(grid, &text, err);
  }
  return status;
}

static mq_status grid_cell(struct grid *grid, const struct mq_table_cell *cell, struct mq_err *err) {
  struct mq_text text;
  mq_status status = mq_text_open(&text, err);
  if (status == MQ_OK) {
    mq_put_cell(text.stream, cell);
    status = grid_take(grid, &text, err);
  }
  return status;
}

/* Characters of UTF-8 text: what a terminal shows side by side. */
static size_t width_of(const char *text) {
  size_t n = 0;
  for (; *text; text++) {
    n += ((unsigned char)*text & 0xc0) != 0x80;
  }
  return n;
}

static void put_repeated(FILE *out, char c, size_t n) {
  for (size_t i = 0; i < n; i++) {
    fputc(c, out);
  }
}

static void print_line(FILE *out, const struct grid *grid, size_t row, const size_t *widths) {
  for (size_t c = 0; c < grid->n_columns; c++) {
    const char *text = grid->cells[row * grid->n_columns + c];
    size_t pad = widths[c] - width_of(text);
    bool is_left = c < grid->n_text_columns;
    fputs("| ", out);
    put_repeated(out, ' ', is_left ? 0 : pad);
    fputs(text, out);
    put_repeated(out, ' ', is_left ? pad + 1 : 1);
  }
  fputs("|\n", out);
}

static mq_status grid_print(FILE *out, const struct grid *grid, struct mq_err *err) {
  size_t n_rows = grid->n_cells / grid->n_columns;
  size_t *widths = mq_alloc(grid->n_columns, sizeof *widths);
  if (!widths) {
    return mq_fail_memory(err, "table");
  }
  for (size_t c = 0; c < grid->n_columns; c++) {
    widths[c] = 3;
    for (size_t r = 0; r < n_rows; r++) {
      size_t width = width_of(grid->cells[r * grid->n_columns + c]);
      widths[c] = width > widths[c] ? width : widths[c];
    }
  }
  for (size_t r = 0; r < n_rows; r++) {
    print_line(out, grid, r, widths);
    for (size_t c = 0; c < grid->n_columns && r == 0; c++) {
      bool is_left = c < grid->n_text_columns;
      fputs("|", out);
      put_repeated(out, '-', widths[c] + (is_left ? 2 : 1));
      fputs(is_left ? "" : ":", out);
    }
    fputs(r == 0 ? "|\n" : "", out);
  }
  mq_free(widths);
  return MQ_OK;
}

/* ---- The main table --------------------------------------------------------------------------------- */

#define N_KEYS 5 /* model, bits, method, calibration, options */

/* Texts of those that have a column. */
static mq_status add_keys(struct grid *grid, const struct mq_table *table, const char *const texts[N_KEYS],
                          struct mq_err *err) {
  const bool has_column[N_KEYS] = {true, true, table->has_methods, table->has_observers, table->has_options};
  mq_status status = MQ_OK;
  for (size_t i = 0; i < N_KEYS && status == MQ_OK; i++) {
    status = has_column[i] ? grid_text(grid, texts[i], err) : MQ_OK;
  }
  return status;
}

/* hw_mean, hw_std, gap */
static size_t n_measures(const struct mq_table *table) {
  return table->n_hardware ? 2 + (size_t)table->has_gap : 0;
}

static mq_status add_heads(struct grid *grid, const struct mq_table *table, bool is_mean,
                           struct mq_err *err) {
  const char *const before[N_KEYS] = {is_mean ? "models" : "model", "bits", "method", "calibration w / a",
                                      "options"};
  const char *const after[] = {"hw_mean", "hw_std", "gap"};
  mq_status status = add_keys(grid, table, before, err);
  grid->n_text_columns = grid->n_cells;
  if (status == MQ_OK && !is_mean) {
    status = grid_text(grid, "float", err);
  }
  for (size_t t = 0; t < table->n_targets && status == MQ_OK; t++) {
    status = grid_text(grid, table->targets[t], err);
    if (status == MQ_OK && table->has_best[t] && !is_mean) {
      status = grid_text(grid, "best", err);
    }
  }
  for (size_t i = 0; i < n_measures(table) && status == MQ_OK && !is_mean; i++) {
    status = grid_text(grid, after[i], err);
  }
  grid->n_columns = grid->n_cells;
  return status;
}

static mq_status add_key(struct grid *grid, const struct mq_table *table, const char *model,
                         const struct mq_run *key, const char *options, struct mq_err *err) {
  char bits[32], method[MQ_MAX_TEXT], observers[MQ_MAX_TEXT];
  const char *const texts[N_KEYS] = {model, mq_table_bits(bits, key),
                                     mq_table_method(method, sizeof method, key),
                                     mq_table_observers(observers, sizeof observers, key), options};
  return add_keys(grid, table, texts, err);
}

static mq_status add_row(struct grid *grid, const struct mq_table *table, const struct mq_table_row *row,
                         struct mq_err *err) {
  mq_status status = add_key(grid, table, row->key->model, row->key, row->options, err);
  if (status == MQ_OK) {
    status = grid_percent(grid, row->float_top1, "", err);
  }
  for (size_t t = 0; t < table->n_targets && status == MQ_OK; t++) {
    status = grid_cell(grid, &row->cells[t], err);
    if (status == MQ_OK && table->has_best[t]) {
      status = grid_percent(grid, row->cells[t].best, "", err);
    }
  }
  const double measures[] = {row->hw_mean, row->hw_std, row->gap};
  bool is_partial = row->n_hardware > 0 && row->n_hardware < table->n_hardware;
  for (size_t i = 0; i < n_measures(table) && status == MQ_OK; i++) {
    status = grid_percent(grid, measures[i], is_partial && !isnan(measures[i]) ? "*" : "", err);
  }
  return status;
}

static mq_status write_main(FILE *out, const struct mq_table *table, struct mq_err *err) {
  struct grid grid = {.cells = NULL};
  bool has_partial = false, has_nc = false, has_best = false;
  mq_status status = add_heads(&grid, table, false, err);
  for (size_t i = 0; i < table->n_rows && status == MQ_OK; i++) {
    const struct mq_table_row *row = &table->rows[i];
    status = add_row(&grid, table, row, err);
    has_partial |= row->n_hardware > 0 && row->n_hardware < table->n_hardware;
    for (size_t t = 0; t < table->n_targets; t++) {
      has_nc |= row->cells[t].n_nc > 0;
      has_best |= table->has_best[t];
    }
  }
  if (status == MQ_OK && table->shared) {
    fputs("All rows: ", out);
    mq_put_markdown(out, table->shared);
    fputs(".\n\n", out);
  }
  if (status == MQ_OK) {
    status = grid_print(out, &grid, err);
  }
  if (status == MQ_OK && table->n_hardware) {
    fputs(
        "\nTop-1 in percent. hw_mean and hw_std: mean and standard deviation (by n) over the hardware "
        "settings",
        out);
    if (table->has_gap) {
      fputs("; gap: ", out);
      mq_put_markdown(out, table->targets[0]);
      fputs(" minus hw_mean", out);
    }
    fputs(".\n", out);
    if (has_nc) fputs("NC: not converged, counts as 0 in hw_mean and hw_std.\n", out);
    if (has_partial) fputs("*: not all hardware settings are in.\n", out);
  }
  if (status == MQ_OK && has_best) {
    fputs("best: the best accuracy while training, a look at the test data; all else is of its end.\n", out);
  }
  grid_deinit(&grid);
  return status;
}

static mq_status write_means(FILE *out, const struct mq_table *table, struct mq_err *err) {
  struct grid grid = {.cells = NULL};
  mq_status status = table->n_means ? add_heads(&grid, table, true, err) : MQ_OK;
  for (size_t i = 0; i < table->n_means && status == MQ_OK; i++) {
    char models[32];
    snprintf(models, sizeof models, "%zu", table->means[i].n_models);
    status = add_key(&grid, table, models, table->means[i].key, table->means[i].options, err);
    for (size_t t = 0; t < table->n_targets && status == MQ_OK; t++) {
      status = grid_percent(&grid, table->means[i].values[t], "", err);
    }
  }
  if (status == MQ_OK && table->n_means) {
    fputs("\nMean over the models (not converged counts 0):\n\n", out);
    status = grid_print(out, &grid, err);
  }
  grid_deinit(&grid);
  return status;
}

/* ---- Failures --------------------------------------------------------------------------------------- */

#define MAX_REASONS 20
#define MAX_NAMED 6 /* cells of one reason */

static void put_reason_key(FILE *out, const void *context, size_t i) {
  const struct mq_run *run = &((const struct mq_report_rows *)context)->runs[i].run;
  bool is_failed = !strcmp(run->status, "failed");
  mq_put_key_number(out, is_failed);
  mq_put_key(out, is_failed ? run->message : NULL);
}

static void put_word(FILE *out, const char *before, const char *word) {
  if (word && *word) {
    fputs(before, out);
    mq_put_markdown(out, word);
  }
}

/* "net, acl W4A4 ptq minmax / mse seed 3" */
static void put_failed_cell(FILE *out, const struct mq_run *run) {
  char bits[32], text[MQ_MAX_TEXT];
  mq_put_markdown(out, run->model);
  put_word(out, ", ", run->target);
  put_word(out, " ", mq_table_bits(bits, run));
  put_word(out, " ", mq_table_method(text, sizeof text, run));
  put_word(out, " ", mq_table_observers(text, sizeof text, run));
  put_word(out, " ", run->options);
  if (!mq_report_is_float(run)) fprintf(out, " seed %lld", (long long)run->seed);
}

/* Why cells failed: every reason with its cells. */
static mq_status write_failures(FILE *out, const struct mq_report_rows *rows, struct mq_err *err) {
  struct mq_arena arena;
  struct mq_groups reasons;
  mq_arena_init(&arena, 0);
  mq_status status = mq_group(&reasons, rows->n_runs, put_reason_key, rows, &arena, err);
  size_t n_reasons = 0, n_left_out = 0;
  for (size_t g = 0; status == MQ_OK && g < reasons.n; g++) {
    const struct mq_run *first = &rows->runs[reasons.first[g]].run;
    if (strcmp(first->status, "failed") != 0) continue;
    if (n_reasons == MAX_REASONS) {
      n_left_out++;
      continue;
    }
    fputs(n_reasons++ ? "- " : "\nFailed:\n\n- ", out);
    size_t n = 0;
    for (size_t i = reasons.first[g]; i < rows->n_runs; i++) {
      if (reasons.of[i] != g) continue;
      if (n < MAX_NAMED) {
        fputs(n ? "; " : "", out);
        put_failed_cell(out, &rows->runs[i].run);
      }
      n++;
    }
    if (n > MAX_NAMED) fprintf(out, "; %zu more (%zu cells)", n - MAX_NAMED, n);
    fputs(": ", out);
    mq_put_markdown(out, first->message ? first->message : "no reason recorded");
    fputc('\n', out);
  }
  if (n_left_out) fprintf(out, "- %zu more reasons are in the CSV file\n", n_left_out);
  mq_arena_deinit(&arena);
  return status;
}

mq_status mq_report_write_markdown(FILE *out, const struct mq_report *report, struct mq_err *err) {
  if (report->table.n_rows == 0) {
    fputs("No results yet: the store holds no finished runs.\n", out);
    return MQ_OK;
  }
  mq_status status = write_main(out, &report->table, err);
  if (status == MQ_OK) {
    status = write_means(out, &report->table, err);
  }
  if (status == MQ_OK) {
    status = write_failures(out, &report->rows, err);
  }
  if (report->rows.n_stale) {
    fprintf(out, "\n%zu stale runs (older code or other content) are left out.\n", report->rows.n_stale);
  }
  return status;
}
