/* The page: figures first, then the table, charts, runs and where they ran. Well-formed as XML, so that any
 * parser can check it. */
#include <math.h>
#include <string.h>

#include "report/formats.h"
#include "report/page.h"
#include "report/text.h"

extern const unsigned char mq_report_css[], mq_report_js[]; /* page.css, page.js */

struct counts {
  size_t n_done, n_nc, n_failed, n_models;
  double seconds;
};

static struct counts count_runs(const struct mq_report *report) {
  struct counts counts = {.seconds = 0};
  for (size_t i = 0; i < report->rows.n_runs; i++) {
    const struct mq_run *run = &report->rows.runs[i].run;
    counts.n_done += !strcmp(run->status, "done");
    counts.n_nc += !strcmp(run->status, "nc");
    counts.n_failed += !strcmp(run->status, "failed");
    counts.seconds += isnan(run->seconds) ? 0 : run->seconds;
  }
  for (size_t i = 0; i < report->table.n_rows; i++) {
    counts.n_models +=
        i == 0 || strcmp(report->table.rows[i].key->model, report->table.rows[i - 1].key->model);
  }
  return counts;
}

/* ---- Head ------------------------------------------------------------------------------------------- */

/* The names of the plans, each once. */
static void put_plans(FILE *out, const struct mq_report *report) {
  size_t n = 0;
  for (size_t i = 0; i < report->rows.n_runs && n < 4; i++) {
    const char *plan = report->rows.runs[i].run.plan;
    bool is_new = plan != NULL;
    for (size_t j = 0; j < i && is_new; j++) {
      is_new = !mq_report_same_text(plan, report->rows.runs[j].run.plan);
    }
    if (is_new) {
      fputs(n++ ? ", " : "", out);
      mq_put_html(out, n == 4 ? "…" : plan);
    }
  }
  fputs(n ? "" : "Results", out);
}

static void put_head(FILE *out, const struct mq_report *report, const struct counts *counts) {
  const struct mq_table *table = &report->table;
  fputs(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>mqbench: ",
      out);
  put_plans(out, report);
  fprintf(out,
          "</title>\n<style>\n%s</style>\n</head>\n<body>\n<div class=\"page\">\n<header class=\"top\"><div>"
          "<p class=\"eyebrow\">mqbench report</p><h1>",
          (const char *)mq_report_css);
  put_plans(out, report);
  fputs("</h1>", out);
  if (table->n_rows) {
    fprintf(out, "<p class=\"lede\">%zu model%s, %zu setting%s, %zu run%s", counts->n_models,
            counts->n_models == 1 ? "" : "s", table->n_targets, table->n_targets == 1 ? "" : "s",
            report->rows.n_runs, report->rows.n_runs == 1 ? "" : "s");
    const char *started = report->rows.runs[0].run.started;
    if (started && strlen(started) >= 10) {
      char day[11] = "";
      memcpy(day, started, 10);
      fputs(", from ", out);
      mq_put_html(out, day);
    }
    fputs("</p>", out);
  }
  fputs("</div><button id=\"theme\" type=\"button\">Theme</button></header>\n<main>\n", out);
}

static void put_tile(FILE *out, const char *label, double percent, const char *sub_before, const char *sub) {
  fputs("<div class=\"tile\"><div class=\"label\">", out);
  mq_put_html(out, label);
  fputs("</div><div class=\"value\">", out);
  mq_put_percent(out, percent);
  fputs(" <small>%</small></div><div class=\"sub\">", out);
  mq_put_html(out, sub_before);
  mq_put_html(out, sub);
  fputs("</div></div>\n", out);
}

/* The row with the best mean over hardware among those of the bits of row `first`. */
static void put_best_tile(FILE *out, const struct mq_table *table, size_t first) {
  const struct mq_table_row *best = NULL;
  char label[64], bits[32], observers[256];
  for (size_t i = 0; i < table->n_rows; i++) {
    const struct mq_table_row *row = &table->rows[i];
    bool is_candidate = mq_table_same_bits(row->key, table->rows[first].key) && !isnan(row->hw_mean);
    if (is_candidate && (!best || row->hw_mean > best->hw_mean)) {
      best = row;
    }
  }
  if (best) {
    snprintf(label, sizeof label, "%s, mean over hardware", mq_table_bits(bits, best->key));
    put_tile(out, label, best->hw_mean, "best with ",
             mq_table_observers(observers, sizeof observers, best->key));
  }
}

/* Seconds below ten minutes, minutes below 100, then hours. */
static void put_time_tile(FILE *out, double seconds) {
  const char *unit = seconds < 600 ? "s" : seconds < 6000 ? "min" : "h";
  double value = seconds < 600 ? seconds : seconds < 6000 ? seconds / 60 : seconds / 3600;
  fprintf(
      out,
      "<div class=\"tile\"><div class=\"label\">Time</div><div class=\"value\">%.*f <small>%s</small></div>"
      "<div class=\"sub\">of all runs together</div></div>\n",
      seconds < 6000 ? 0 : 1, value, unit);
}

static void put_runs_tile(FILE *out, size_t n_runs, const struct counts *counts) {
  fprintf(
      out,
      "<section class=\"tiles\">\n<div class=\"tile\"><div class=\"label\">Runs</div><div class=\"value\">"
      "%zu</div><div class=\"sub\">",
      n_runs);
  if (counts->n_done == n_runs) {
    fputs("all done", out);
  } else {
    fprintf(out, "%zu done", counts->n_done);
    if (counts->n_nc) fprintf(out, ", %zu not converged", counts->n_nc);
    if (counts->n_failed) fprintf(out, ", %zu failed", counts->n_failed);
  }
  fputs("</div></div>\n", out);
}

static void put_tiles(FILE *out, const struct mq_report *report, const struct counts *counts) {
  const struct mq_table *table = &report->table;
  put_runs_tile(out, report->rows.n_runs, counts);
  if (counts->n_models == 1) {
    const struct mq_table_row *first = &table->rows[0], *last = &table->rows[table->n_rows - 1];
    put_tile(out, "Float", first->float_top1, "top-1 of ", first->key->model);
    put_best_tile(out, table, 0);
    if (!mq_table_same_bits(first->key, last->key)) {
      put_best_tile(out, table, table->n_rows - 1);
    }
  } else {
    fprintf(out,
            "<div class=\"tile\"><div class=\"label\">Models</div><div class=\"value\">%zu</div>"
            "<div class=\"sub\">in %zu setting%s</div></div>\n",
            counts->n_models, table->n_targets, table->n_targets == 1 ? "" : "s");
  }
  put_time_tile(out, counts->seconds);
  fputs("</section>\n", out);
}

/* ---- The table -------------------------------------------------------------------------------------- */

/* The best of each column among the rows of one model and bits. */
struct best {
  double value;
  size_t n; /* rows that have one: a row alone is not best of anything */
};

static void find_best(struct best *best, const struct mq_table *table, size_t first) {
  for (size_t t = 0; t < table->n_targets; t++) {
    best[t] = (struct best){.value = 0};
  }
  for (size_t i = first; i < table->n_rows && mq_table_same_group(&table->rows[i], &table->rows[first]);
       i++) {
    for (size_t t = 0; t < table->n_targets; t++) {
      double value = table->rows[i].cells[t].value;
      best[t].n += isnan(value) ? 0 : 1;
      best[t].value = value > best[t].value ? value : best[t].value;
    }
  }
}

static bool is_best(const struct mq_table_cell *cell, const struct best *best) {
  return best->n > 1 && cell->value > 0 && cell->value == best->value;
}

static const char *first_message(const struct mq_table_cell *cell) {
  for (size_t i = 0; i < cell->n_runs; i++) {
    if (cell->runs[i]->run.message) {
      return cell->runs[i]->run.message;
    }
  }
  return NULL;
}

/* How strongly a cell is shaded: nothing below half a point of loss, full at 37 points. */
static double shade(double loss) {
  return isnan(loss) || loss < 0.005 ? 0 : fmin(0.45, 1.2 * loss);
}

static void put_score(FILE *out, const struct mq_table_row *row, size_t target, const struct best *best) {
  const struct mq_table_cell *cell = &row->cells[target];
  const char *message = first_message(cell);
  double alpha = shade(row->float_top1 - cell->mean);
  fprintf(out, "<td class=\"score%s%s\"", target == 0 ? " edge" : "", is_best(cell, best) ? " best" : "");
  if (alpha > 0) fprintf(out, " style=\"--d:%.3f\"", alpha);
  if (message) {
    fputs(" title=\"", out);
    mq_put_html(out, message);
    fputc('"', out);
  }
  fputc('>', out);
  if (cell->n_runs && isnan(cell->mean)) {
    fprintf(out, "<span class=\"badge %s\">", cell->n_nc ? "nc" : cell->n_failed ? "failed" : "");
    mq_put_cell(out, cell);
    fputs("</span>", out);
  } else {
    mq_put_percent(out, cell->n_runs ? cell->mean : (double)NAN);
    if (!isnan(cell->std)) fprintf(out, " <span class=\"pm\">± %.2f</span>", 100 * cell->std);
    if (cell->n_nc) fprintf(out, " <span class=\"badge nc\">%zu NC</span>", cell->n_nc);
    if (cell->n_failed) fprintf(out, " <span class=\"badge failed\">%zu failed</span>", cell->n_failed);
  }
  fputs("</td>", out);
}

static void put_text_cell(FILE *out, const char *class_name, const char *text) {
  fprintf(out, "<td class=\"text%s\">", class_name);
  mq_put_html(out, text);
  fputs("</td>", out);
}

static void put_key_cells(FILE *out, const struct mq_table *table, const struct mq_run *key,
                          const char *options) {
  char text[256];
  put_text_cell(out, " bits", mq_table_bits(text, key));
  if (table->has_methods) put_text_cell(out, "", mq_table_method(text, sizeof text, key));
  if (table->has_observers) {
    put_text_cell(out, " calibration", mq_table_observers(text, sizeof text, key));
  }
  if (table->has_options) put_text_cell(out, " calibration options", options);
}

/* Does the float accuracy differ between rows of one model? Otherwise it stands once, beside the name. */
static bool has_floats(const struct mq_table *table) {
  for (size_t i = 1; i < table->n_rows; i++) {
    double a = table->rows[i - 1].float_top1, b = table->rows[i].float_top1;
    bool is_same = a == b || (isnan(a) && isnan(b));
    if (mq_table_same_model(table->rows[i].key, table->rows[i - 1].key) && !is_same) {
      return true;
    }
  }
  return false;
}

/* Columns of accuracies: one for each setting, and a second where methods train. */
static size_t count_scores(const struct mq_table *table) {
  size_t n = table->n_targets;
  for (size_t t = 0; t < table->n_targets; t++) {
    n += table->has_best[t];
  }
  return n;
}

static size_t count_columns(const struct mq_table *table) {
  size_t n_keys = 1 + (size_t)table->has_methods + (size_t)table->has_observers + (size_t)table->has_options;
  return n_keys + (size_t)has_floats(table) + count_scores(table) +
         (table->n_hardware ? 2 + (size_t)table->has_gap : 0);
}

static void put_measure(FILE *out, double x, bool is_first, bool is_partial) {
  fprintf(out, "<td%s>", is_first ? " class=\"edge\"" : "");
  mq_put_percent(out, x);
  fputs(is_partial && !isnan(x) ? "*</td>" : "</td>", out);
}

static void put_table_row(FILE *out, const struct mq_table *table, size_t i, bool is_with_float,
                          const struct best *best) {
  const struct mq_table_row *row = &table->rows[i];
  bool is_new_bits =
      i > 0 && mq_table_same_model(row->key, row[-1].key) && !mq_table_same_group(row, &row[-1]);
  bool is_partial = row->n_hardware < table->n_hardware;
  fprintf(out, "<tr%s>", is_new_bits ? " class=\"first\"" : "");
  put_key_cells(out, table, row->key, row->options);
  if (is_with_float) {
    fputs("<td class=\"float\">", out);
    mq_put_percent(out, row->float_top1);
    fputs("</td>", out);
  }
  for (size_t t = 0; t < table->n_targets; t++) {
    put_score(out, row, t, &best[t]);
    if (table->has_best[t]) {
      fputs("<td class=\"ever\">", out);
      mq_put_percent(out, row->cells[t].best);
      fputs("</td>", out);
    }
  }
  if (table->n_hardware) {
    put_measure(out, row->hw_mean, true, is_partial);
    put_measure(out, row->hw_std, false, is_partial);
    if (table->has_gap) put_measure(out, row->gap, false, is_partial);
  }
  fputs("</tr>\n", out);
}

/* "academic minus hw_mean" */
static void put_gap(FILE *out, const struct mq_table *table) {
  mq_put_html(out, table->targets[0]);
  fputs(" minus hw_mean", out);
}

static void put_table_head(FILE *out, const struct mq_table *table, bool is_mean) {
  if (table->shared) {
    fputs("<p class=\"shared\">All rows: ", out);
    mq_put_html(out, table->shared);
    fputs("</p>\n", out);
  }
  fprintf(out, "<div class=\"card scroll\"><table>\n<thead><tr><th class=\"text\">bits</th>%s%s%s%s",
          table->has_methods ? "<th class=\"text\">method</th>" : "",
          table->has_observers ? "<th class=\"text\">calibration w / a</th>" : "",
          table->has_options ? "<th class=\"text\">options</th>" : "",
          is_mean             ? "<th>models</th>"
          : has_floats(table) ? "<th>float</th>"
                              : "");
  for (size_t t = 0; t < table->n_targets; t++) {
    fprintf(out, "<th%s>", t ? "" : " class=\"edge\"");
    mq_put_html(out, table->targets[t]);
    fputs("</th>", out);
    if (table->has_best[t] && !is_mean) {
      fputs(
          "<th class=\"ever\" title=\"the best accuracy while training: a look at the test data\">best</th>",
          out);
    }
  }
  if (table->n_hardware && !is_mean) {
    fputs(
        "<th class=\"edge\" title=\"mean over the hardware settings\">hw_mean</th>"
        "<th title=\"standard deviation over the hardware settings, by n\">hw_std</th>",
        out);
    if (table->has_gap) {
      fputs("<th title=\"", out);
      put_gap(out, table);
      fputs("\">gap</th>", out);
    }
  }
  fputs("</tr></thead>\n", out);
}

static mq_status put_rows(FILE *out, const struct mq_table *table, struct mq_err *err) {
  struct best *best = mq_alloc(table->n_targets + 1, sizeof *best);
  bool is_with_float = has_floats(table);
  if (!best) {
    return mq_fail_memory(err, "report");
  }
  for (size_t i = 0; i < table->n_rows; i++) {
    const struct mq_table_row *row = &table->rows[i];
    if (i == 0 || !mq_table_same_group(row, &row[-1])) {
      find_best(best, table, i);
    }
    if (i == 0 || !mq_table_same_model(row->key, row[-1].key)) {
      fprintf(out, "%s<tbody><tr class=\"model\"><th colspan=\"%zu\">", i ? "</tbody>\n" : "",
              count_columns(table));
      mq_put_html(out, row->key->model);
      if (!is_with_float && !isnan(row->float_top1)) {
        fputs(" <span class=\"float\">float ", out);
        mq_put_percent(out, row->float_top1);
        fputs("</span>", out);
      }
      fputs("</th></tr>\n", out);
    }
    put_table_row(out, table, i, is_with_float, best);
  }
  mq_free(best);
  return MQ_OK;
}

static mq_status put_table(FILE *out, const struct mq_table *table, struct mq_err *err) {
  fputs("<section><h2>Accuracy by setting</h2>\n<p class=\"note\">Top-1 in percent.", out);
  if (table->n_hardware) {
    fputs(
        " <b>hw_mean</b> and <b>hw_std</b>: mean and standard deviation over the hardware settings, where a "
        "run that did not converge (NC) counts as 0.",
        out);
  }
  if (table->has_gap) {
    fputs(" <b>gap</b>: ", out);
    put_gap(out, table);
    fputc('.', out);
  }
  if (count_scores(table) > table->n_targets) {
    fputs(
        " Methods that train: at the end of training; <b>best</b> is the best while training, a look at the "
        "test data.",
        out);
  }
  fputs(" Several seeds: mean ± standard deviation.</p>\n", out);
  put_table_head(out, table, false);
  mq_status status = put_rows(out, table, err);
  bool has_partial = false;
  for (size_t i = 0; i < table->n_rows; i++) {
    has_partial |= table->rows[i].n_hardware < table->n_hardware;
  }
  fputs(
      "</tbody></table></div>\n<p class=\"below\"><span class=\"key\">loss against float <span "
      "class=\"ramp\"></span></span><span class=\"key\"><b style=\"color:var(--accent)\">best</b> of its "
      "model "
      "and bits</span>",
      out);
  fputs(has_partial ? "<span class=\"key\">* not all hardware settings are in</span>" : "", out);
  fputs("</p></section>\n", out);
  return status;
}

static void put_means(FILE *out, const struct mq_table *table) {
  if (!table->n_means) {
    return;
  }
  fputs(
      "<section><h2>Mean over models</h2>\n<p class=\"note\">How one algorithm does over all architectures "
      "in one "
      "setting; not converged counts as 0.</p>\n",
      out);
  put_table_head(out, table, true);
  fputs("<tbody>\n", out);
  for (size_t i = 0; i < table->n_means; i++) {
    fputs("<tr>", out);
    put_key_cells(out, table, table->means[i].key, table->means[i].options);
    fprintf(out, "<td>%zu</td>", table->means[i].n_models);
    for (size_t t = 0; t < table->n_targets; t++) {
      fprintf(out, "<td%s>", t ? "" : " class=\"edge\"");
      mq_put_percent(out, table->means[i].values[t]);
      fputs("</td>", out);
    }
    fputs("</tr>\n", out);
  }
  fputs("</tbody></table></div></section>\n", out);
}

mq_status mq_report_write_html(FILE *out, const struct mq_report *report, struct mq_err *err) {
  mq_status status = MQ_OK;
  struct counts counts = count_runs(report);
  put_head(out, report, &counts);
  if (report->table.n_rows == 0) {
    fputs(
        "<section class=\"tiles\"><div class=\"card empty\"><b>No results yet</b>The store holds no finished "
        "runs. "
        "mqbench bench fills it.</div></section>\n",
        out);
  } else {
    put_tiles(out, report, &counts);
    status = put_table(out, &report->table, err);
    put_means(out, &report->table);
    mq_page_put_accuracy_charts(out, &report->table);
    mq_page_put_curves(out, &report->trainings);
    mq_page_put_range_charts(out, &report->table);
    mq_page_put_range_curves(out, &report->trainings);
    mq_page_put_runs(out, report);
    if (status == MQ_OK) {
      status = mq_page_put_environment(out, report, err);
    }
  }
  fprintf(out, "</main>\n<footer>Written by mqbench %s", MQ_VERSION);
  if (report->rows.n_stale) {
    fprintf(out, "; %zu stale run%s (older code or other content) left out", report->rows.n_stale,
            report->rows.n_stale == 1 ? "" : "s");
  }
  fprintf(out, ".</footer>\n</div>\n<script>\n%s</script>\n</body>\n</html>\n", (const char *)mq_report_js);
  return status;
}
