/* The page: figures first, then the table, charts, runs and where they ran. Well-formed as XML, so that any
 * parser can check it. */
#include <math.h>
#include <string.h>

#include "report/charts.h"
#include "report/formats.h"
#include "report/text.h"

#define MAX_RUN_DETAILS 1000
#define MAX_RANGE_CHARTS 60
#define MAX_RANGE_RUNS 8

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

/* ---- Head -------------------------------------------------------------------------------------------------
 */

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

static void put_tiles(FILE *out, const struct mq_report *report, const struct counts *counts) {
  const struct mq_table *table = &report->table;
  fprintf(
      out,
      "<section class=\"tiles\">\n<div class=\"tile\"><div class=\"label\">Runs</div><div class=\"value\">"
      "%zu</div><div class=\"sub\">%zu done, %zu not converged, %zu failed</div></div>\n",
      report->rows.n_runs, counts->n_done, counts->n_nc, counts->n_failed);
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
            "<div class=\"sub\">in %zu settings</div></div>\n",
            counts->n_models, table->n_targets);
  }
  fprintf(
      out,
      "<div class=\"tile\"><div class=\"label\">Time</div><div class=\"value\">%.*f <small>%s</small></div>"
      "<div class=\"sub\">of all runs together</div></div>\n</section>\n",
      counts->seconds < 6000 ? 0 : 1,
      counts->seconds < 600    ? counts->seconds
      : counts->seconds < 6000 ? counts->seconds / 60
                               : counts->seconds / 3600,
      counts->seconds < 600    ? "s"
      : counts->seconds < 6000 ? "min"
                               : "h");
}

/* ---- The table --------------------------------------------------------------------------------------------
 */

static bool is_same_group(const struct mq_table_row *a, const struct mq_table_row *b) {
  return mq_table_same_model(a->key, b->key) && mq_table_same_bits(a->key, b->key);
}

/* Best of its column among the rows of the same model and bits, where there is something to compare with. */
static bool is_best(const struct mq_table *table, size_t row, size_t target) {
  double value = table->rows[row].cells[target].value;
  size_t n_rivals = 0;
  for (size_t i = 0; i < table->n_rows; i++) {
    double other = table->rows[i].cells[target].value;
    if (i == row || isnan(other) || !is_same_group(&table->rows[i], &table->rows[row])) continue;
    if (other > value) return false;
    n_rivals++;
  }
  return n_rivals > 0 && value > 0;
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

static void put_score(FILE *out, const struct mq_table *table, size_t row, size_t target) {
  const struct mq_table_cell *cell = &table->rows[row].cells[target];
  const char *message = first_message(cell);
  double alpha = shade(table->rows[row].float_top1 - cell->mean);
  fprintf(out, "<td class=\"score%s%s\"", target == 0 ? " edge" : "",
          is_best(table, row, target) ? " best" : "");
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

static void put_key_cells(FILE *out, const struct mq_table *table, const struct mq_run *key) {
  char bits[32], method[256], observers[256];
  fprintf(out, "<td class=\"text bits\">%s</td><td class=\"text\">", mq_table_bits(bits, key));
  mq_put_html(out, mq_table_method(method, sizeof method, key));
  fputs("</td><td class=\"text calibration\">", out);
  mq_put_html(out, mq_table_observers(observers, sizeof observers, key));
  fputs("</td>", out);
  if (table->has_options) {
    fputs("<td class=\"text calibration\">", out);
    mq_put_html(out, key->options);
    fputs("</td>", out);
  }
}

static void put_measure(FILE *out, double x, bool is_first, bool is_partial) {
  fprintf(out, "<td%s>", is_first ? " class=\"edge\"" : "");
  mq_put_percent(out, x);
  fputs(is_partial && !isnan(x) ? "*</td>" : "</td>", out);
}

static void put_table_row(FILE *out, const struct mq_table *table, size_t i) {
  const struct mq_table_row *row = &table->rows[i];
  bool is_new_bits = i > 0 && mq_table_same_model(row->key, row[-1].key) && !is_same_group(row, &row[-1]);
  bool is_partial = row->n_hardware < table->n_hardware;
  fprintf(out, "<tr%s>", is_new_bits ? " class=\"first\"" : "");
  put_key_cells(out, table, row->key);
  fputs("<td class=\"float\">", out);
  mq_put_percent(out, row->float_top1);
  fputs("</td>", out);
  for (size_t t = 0; t < table->n_targets; t++) {
    put_score(out, table, i, t);
  }
  if (table->n_hardware) {
    put_measure(out, row->hw_mean, true, is_partial);
    put_measure(out, row->hw_std, false, is_partial);
    put_measure(out, row->gap, false, is_partial);
  }
  fputs("</tr>\n", out);
}

static void put_table_head(FILE *out, const struct mq_table *table, bool is_mean) {
  fprintf(
      out,
      "<div class=\"card scroll\"><table>\n<thead><tr><th class=\"text\">bits</th><th class=\"text\">method"
      "</th><th class=\"text\">calibration w / a</th>%s%s",
      table->has_options ? "<th class=\"text\">options</th>" : "",
      is_mean ? "<th>models</th>" : "<th>float</th>");
  for (size_t t = 0; t < table->n_targets; t++) {
    fprintf(out, "<th%s>", t ? "" : " class=\"edge\"");
    mq_put_html(out, table->targets[t]);
    fputs("</th>", out);
  }
  if (table->n_hardware && !is_mean) {
    fputs(
        "<th class=\"edge\" title=\"mean over the hardware settings\">hw_mean</th>"
        "<th title=\"standard deviation over the hardware settings, by n\">hw_std</th>"
        "<th title=\"academic minus hw_mean\">gap</th>",
        out);
  }
  fputs("</tr></thead>\n", out);
}

static void put_table(FILE *out, const struct mq_table *table) {
  fputs(
      "<section><h2>Accuracy by setting</h2>\n<p class=\"note\">Top-1 in percent. <b>hw_mean</b> and "
      "<b>hw_std</b>: "
      "mean and standard deviation over the hardware settings, where a run that did not converge (NC) counts "
      "as 0. "
      "<b>gap</b>: academic minus hw_mean. Several seeds: mean ± standard deviation.</p>\n",
      out);
  put_table_head(out, table, false);
  bool has_partial = false;
  for (size_t i = 0; i < table->n_rows; i++) {
    const struct mq_table_row *row = &table->rows[i];
    if (i == 0 || !mq_table_same_model(row->key, row[-1].key)) {
      fprintf(out, "%s<tbody><tr class=\"model\"><th colspan=\"%zu\">", i ? "</tbody>\n" : "",
              4 + (size_t)table->has_options + table->n_targets + (table->n_hardware ? 3 : 0));
      mq_put_html(out, row->key->model);
      fputs("</th></tr>\n", out);
    }
    put_table_row(out, table, i);
    has_partial |= row->n_hardware < table->n_hardware;
  }
  fputs(
      "</tbody></table></div>\n<p class=\"below\"><span class=\"key\">loss against float <span "
      "class=\"ramp\"></span>"
      "</span><span class=\"key\"><b style=\"color:var(--accent)\">best</b> of its model and bits</span>",
      out);
  fputs(has_partial ? "<span class=\"key\">* not all hardware settings are in</span>" : "", out);
  fputs("</p></section>\n", out);
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
    put_key_cells(out, table, table->means[i].key);
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

/* ---- Charts -----------------------------------------------------------------------------------------------
 */

/* One entry for each algorithm of the table, in the order of their colours. */
static void put_legend(FILE *out, const struct mq_table *table) {
  fputs("<p class=\"legend\">", out);
  bool is_named[MQ_CHART_COLOURS] = {false};
  for (size_t i = 0; i < table->n_rows; i++) {
    size_t colour = mq_chart_colour(table, table->rows[i].key);
    if (mq_report_is_float(table->rows[i].key) || is_named[colour]) continue;
    is_named[colour] = true;
    fprintf(out, "<span class=\"key\"><span class=\"swatch c%zu\"></span>", colour);
    mq_chart_algorithm(out, table->rows[i].key);
    fputs("</span>", out);
  }
  fputs("</p>\n", out);
}

static void put_accuracy_charts(FILE *out, const struct mq_table *table) {
  if (table->n_targets == 0) {
    return;
  }
  fputs(
      "<section><h2>Settings side by side</h2>\n<p class=\"note\">Each dot is one row of the table; the "
      "dashed line is "
      "the float model. Scales differ between the charts. A cross on the axis: not converged, or "
      "failed.</p>\n",
      out);
  put_legend(out, table);
  fputs("<div class=\"charts\">\n", out);
  for (size_t first = 0, n; first < table->n_rows; first += n) {
    for (n = 1; first + n < table->n_rows && is_same_group(&table->rows[first], &table->rows[first + n]);) {
      n++;
    }
    if (!mq_report_is_float(table->rows[first].key)) {
      mq_chart_accuracy(out, table, first, n);
    }
  }
  fputs("</div></section>\n", out);
}

/* The runs of one model in one setting that have points: the first seed of each row. */
static size_t collect_range_runs(struct mq_chart_bar_run runs[MAX_RANGE_RUNS], const struct mq_table *table,
                                 size_t first_row, size_t target) {
  size_t n = 0;
  int most_bits = 0;
  for (size_t i = first_row; i < table->n_rows; i++) {
    const struct mq_table_row *row = &table->rows[i];
    if (!mq_table_same_model(row->key, table->rows[first_row].key)) break;
    const struct mq_table_cell *cell = &row->cells[target];
    if (n == MAX_RANGE_RUNS || cell->n_runs == 0 || cell->runs[0]->n_points == 0) continue;
    runs[n++] = (struct mq_chart_bar_run){.run = cell->runs[0], .colour = mq_chart_colour(table, row->key)};
    most_bits =
        row->key->w_bits + row->key->a_bits > most_bits ? row->key->w_bits + row->key->a_bits : most_bits;
  }
  for (size_t i = 0; i < n; i++) {
    runs[i].is_low = runs[i].run->run.w_bits + runs[i].run->run.a_bits < most_bits;
  }
  return n;
}

static void put_range_details(FILE *out, const struct mq_table *table, size_t row, size_t target,
                              const struct mq_chart_bar_run *runs, size_t n_runs, bool is_open) {
  fprintf(out, "<details%s><summary><span class=\"what\"><b>", is_open ? " open=\"open\"" : "");
  mq_put_html(out, table->targets[target]);
  fputs("</b> <span>", out);
  mq_put_html(out, table->rows[row].key->model);
  fputs("</span></span></summary><div class=\"chart-inside\"><p class=\"legend\">", out);
  for (size_t i = 0; i < n_runs; i++) {
    char bits[32];
    fprintf(out, "<span class=\"key\"><span class=\"swatch bar c%zu%s\"></span>%s ", runs[i].colour,
            runs[i].is_low ? " low" : "", mq_table_bits(bits, &runs[i].run->run));
    mq_chart_algorithm(out, &runs[i].run->run);
    fputs("</span>", out);
  }
  fputs("</p>\n", out);
  mq_chart_ranges(out, runs, n_runs, "weight");
  mq_chart_ranges(out, runs, n_runs, "activation");
  fputs("</div></details>\n", out);
}

static void put_range_charts(FILE *out, const struct mq_table *table) {
  size_t n_charts = 0, n_left_out = 0;
  for (size_t i = 0; i < table->n_rows; i++) {
    if (i > 0 && mq_table_same_model(table->rows[i].key, table->rows[i - 1].key)) continue;
    for (size_t t = 0; t < table->n_targets; t++) {
      struct mq_chart_bar_run runs[MAX_RANGE_RUNS];
      size_t n = collect_range_runs(runs, table, i, t);
      if (n == 0) continue;
      if (n_charts == MAX_RANGE_CHARTS) {
        n_left_out++;
        continue;
      }
      if (n_charts == 0) {
        fputs(
            "<section><h2>Clipping ranges</h2>\n<p class=\"note\">From the smallest to the largest value "
            "that each "
            "quantization point can represent; per channel: the widest ends over the channels.</p>\n"
            "<div class=\"card\">\n",
            out);
      }
      put_range_details(out, table, i, t, runs, n, n_charts == 0);
      n_charts++;
    }
  }
  fputs(n_charts ? "</div>\n" : "", out);
  if (n_left_out) fprintf(out, "<p class=\"below\">%zu more charts are left out.</p>\n", n_left_out);
  fputs(n_charts ? "</section>\n" : "", out);
}

/* ---- Runs and environment ---------------------------------------------------------------------------------
 */

static void put_fact(FILE *out, const char *name, const char *value) {
  if (value) {
    fprintf(out, "<dt>%s</dt><dd>", name);
    mq_put_html(out, value);
    fputs("</dd>", out);
  }
}

static void put_number(FILE *out, const char *name, double value, const char *format) {
  if (!isnan(value)) {
    char text[64];
    snprintf(text, sizeof text, strcmp(format, "s") ? "%.4f" : "%.2f s", value);
    put_fact(out, name, text);
  }
}

static void put_run_facts(FILE *out, const struct mq_report_run *report_run) {
  const struct mq_run *run = &report_run->run;
  char text[64];
  fputs("<dl>", out);
  if (run->correct >= 0) {
    snprintf(text, sizeof text, "%lld of %lld", (long long)run->correct, (long long)run->images);
    put_fact(out, "correct", text);
  }
  if (run->float_correct >= 0) {
    snprintf(text, sizeof text, "%lld", (long long)run->float_correct);
    put_fact(out, "float", text);
  }
  put_number(out, "top-5", run->top5, "");
  put_number(out, "loss", run->loss, "");
  put_number(out, "calibration", run->calib_seconds, "s");
  put_number(out, "evaluation", run->eval_seconds, "s");
  if (report_run->n_points) {
    snprintf(text, sizeof text, "%zu", report_run->n_points);
    put_fact(out, "points", text);
  }
  put_fact(out, "started", run->started);
  put_fact(out, "machine", run->cpu);
  put_fact(out, "instructions", run->isa);
  put_fact(out, "model", run->model_sha256);
  put_fact(out, "evaluated on", run->eval_sha256);
  put_fact(out, "identity", run->identity);
  fputs("</dl>", out);
}

static void put_run(FILE *out, const struct mq_report_run *report_run) {
  const struct mq_run *run = &report_run->run;
  char bits[32], seconds[32] = "";
  fprintf(out, "<details><summary><span class=\"badge %s\">%s</span><span class=\"what\"><b>", run->status,
          run->status);
  mq_put_html(out, run->target ? run->target : run->method);
  fputs("</b> <span>", out);
  mq_put_html(out, run->model);
  if (!mq_report_is_float(run)) {
    fprintf(out, " · %s · ", mq_table_bits(bits, run));
    mq_chart_algorithm(out, run);
    fprintf(out, " · seed %lld", (long long)run->seed);
  }
  fputs("</span></span><span class=\"num main\">", out);
  mq_put_percent(out, run->top1);
  if (!isnan(run->seconds)) snprintf(seconds, sizeof seconds, "%.1f s", run->seconds);
  fprintf(out, "</span><span class=\"num\">%s</span></summary><div class=\"inside\"><div>", seconds);
  if (run->message) {
    fputs("<p class=\"message\">", out);
    mq_put_html(out, run->message);
    fputs("</p>", out);
  }
  put_run_facts(out, report_run);
  fputs("</div><pre>", out);
  mq_put_html(out, run->cell);
  fputs("</pre></div></details>\n", out);
}

static void put_runs(FILE *out, const struct mq_report *report) {
  const struct mq_report_rows *rows = &report->rows;
  fputs(
      "<section><h2>Runs</h2>\n<p class=\"note\">Every run with its cell: what it takes to run it "
      "again.</p>\n"
      "<div class=\"card\">\n",
      out);
  for (size_t i = 0; i < rows->n_runs && i < MAX_RUN_DETAILS; i++) {
    put_run(out, &rows->runs[i]);
  }
  fputs("</div>\n", out);
  if (rows->n_runs > MAX_RUN_DETAILS) {
    fprintf(out, "<p class=\"below\">%zu more runs are in the CSV file.</p>\n",
            rows->n_runs - MAX_RUN_DETAILS);
  }
  fputs("</section>\n", out);
}

static bool is_same_place(const struct mq_run *a, const struct mq_run *b) {
  return mq_report_same_text(a->cpu, b->cpu) && mq_report_same_text(a->isa, b->isa) &&
         mq_report_same_text(a->onednn, b->onednn) && mq_report_same_text(a->version, b->version);
}

static void put_environment(FILE *out, const struct mq_report *report) {
  const struct mq_report_rows *rows = &report->rows;
  fputs(
      "<section><h2>Where it ran</h2>\n<p class=\"note\">Float results are the same bits for the same "
      "instruction "
      "set.</p>\n<div class=\"card scroll\"><table><thead><tr><th class=\"text\">processor</th><th "
      "class=\"text\">"
      "instruction set</th><th class=\"text\">oneDNN</th><th "
      "class=\"text\">mqbench</th><th>runs</th></tr></thead>"
      "<tbody>\n",
      out);
  for (size_t i = 0; i < rows->n_runs; i++) {
    const struct mq_run *run = &rows->runs[i].run;
    size_t n = 0, first = i;
    for (size_t j = 0; j < rows->n_runs; j++) {
      if (is_same_place(run, &rows->runs[j].run)) {
        first = j < first ? j : first;
        n++;
      }
    }
    if (first < i) continue;
    const char *const texts[] = {run->cpu, run->isa, run->onednn, run->version};
    fputs("<tr>", out);
    for (size_t k = 0; k < 4; k++) {
      fputs("<td class=\"text\">", out);
      mq_put_html(out, texts[k] ? texts[k] : "–");
      fputs("</td>", out);
    }
    fprintf(out, "<td>%zu</td></tr>\n", n);
  }
  fputs("</tbody></table></div></section>\n", out);
}

mq_status mq_report_write_html(FILE *out, const struct mq_report *report, struct mq_err *err) {
  (void)err;
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
    put_table(out, &report->table);
    put_means(out, &report->table);
    put_accuracy_charts(out, &report->table);
    put_range_charts(out, &report->table);
    put_runs(out, report);
    put_environment(out, report);
  }
  fprintf(out, "</main>\n<footer>Written by mqbench %s", MQ_VERSION);
  if (report->rows.n_stale) {
    fprintf(out, "; %zu stale run%s (older code or other content) left out", report->rows.n_stale,
            report->rows.n_stale == 1 ? "" : "s");
  }
  fprintf(out, ".</footer>\n</div>\n<script>\n%s</script>\n</body>\n</html>\n", (const char *)mq_report_js);
  return MQ_OK;
}
