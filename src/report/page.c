/* The page below its table: charts, runs, where they ran. */
#include "report/page.h"

#include <math.h>
#include <string.h>

#include "report/charts.h"
#include "report/curves.h"
#include "report/group.h"
#include "report/text.h"

#define MAX_RUN_DETAILS 1000
#define MAX_RANGE_CHARTS 60
#define MAX_RANGE_RUNS 8
#define MAX_RANGE_CURVES 12

/* ---- Charts ----------------------------------------------------------------------------------------- */

#define MAX_LEGEND 200

/* One entry for each algorithm of the table, in the order of their numbers. */
static void put_legend(FILE *out, const struct mq_table *table) {
  size_t n_named = 0;
  fputs("<p class=\"legend\">", out);
  for (size_t i = 0; i < table->n_rows && n_named < MAX_LEGEND; i++) {
    const struct mq_table_row *row = &table->rows[i];
    if (row->algorithm != n_named || row->algorithm == table->n_algorithms) continue;
    n_named++;
    fputs("<span class=\"key\">", out);
    mq_chart_dot_key(out, row->algorithm);
    mq_chart_algorithm(out, row->key, row->options);
    fputs("</span>", out);
  }
  fputs("</p>\n", out);
  if (table->n_algorithms > n_named) {
    fprintf(out, "<p class=\"note\">%zu more are not named here; each dot names its own.</p>\n",
            table->n_algorithms - n_named);
  }
  if (table->n_algorithms > MQ_CHART_MARKS) {
    fprintf(out, "<p class=\"note\">There are %zu and %d different marks: some marks come again.</p>\n",
            table->n_algorithms, MQ_CHART_MARKS);
  }
}

void mq_page_put_accuracy_charts(FILE *out, const struct mq_table *table) {
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
    for (n = 1;
         first + n < table->n_rows && mq_table_same_group(&table->rows[first], &table->rows[first + n]);) {
      n++;
    }
    if (!mq_report_is_float(table->rows[first].key)) {
      mq_chart_accuracy(out, table, first, n);
    }
  }
  fputs("</div></section>\n", out);
}

/* The runs of one model in one setting that have points: the first seed of each row. */
struct range_runs {
  const char *model, *target;
  struct mq_chart_bar_run runs[MAX_RANGE_RUNS];
  size_t n, n_left_out;
};

static void collect_range_runs(struct range_runs *found, const struct mq_table *table, size_t first_row,
                               size_t target) {
  int most_bits = 0;
  *found = (struct range_runs){.model = table->rows[first_row].key->model, .target = table->targets[target]};
  for (size_t i = first_row; i < table->n_rows; i++) {
    const struct mq_table_row *row = &table->rows[i];
    if (!mq_table_same_model(row->key, table->rows[first_row].key)) break;
    const struct mq_table_cell *cell = &row->cells[target];
    if (cell->n_runs == 0 || cell->runs[0]->n_points == 0) continue;
    if (found->n == MAX_RANGE_RUNS) {
      found->n_left_out++;
      continue;
    }
    found->runs[found->n++] =
        (struct mq_chart_bar_run){.run = cell->runs[0], .options = row->options, .algorithm = row->algorithm};
    int bits = row->key->w_bits + row->key->a_bits;
    most_bits = bits > most_bits ? bits : most_bits;
  }
  for (size_t i = 0; i < found->n; i++) {
    const struct mq_run *run = &found->runs[i].run->run;
    found->runs[i].is_low = run->w_bits + run->a_bits < most_bits;
  }
}

static void put_range_details(FILE *out, const struct range_runs *found, bool is_open) {
  fprintf(out, "<details%s><summary><span class=\"what\"><b>", is_open ? " open=\"open\"" : "");
  mq_put_html(out, found->target);
  fputs("</b> <span>", out);
  mq_put_html(out, found->model);
  fputs("</span></span></summary><div class=\"chart-inside\"><p class=\"legend\">", out);
  for (size_t i = 0; i < found->n; i++) {
    char bits[32];
    fputs("<span class=\"key\">", out);
    mq_chart_bar_key(out, found->runs[i].algorithm, found->runs[i].is_low);
    fprintf(out, "%s ", mq_table_bits(bits, &found->runs[i].run->run));
    mq_chart_algorithm(out, &found->runs[i].run->run, found->runs[i].options);
    fputs("</span>", out);
  }
  fputs("</p>\n", out);
  if (found->n_left_out) {
    fprintf(out, "<p class=\"note\">%zu more rows of the table are not drawn.</p>\n", found->n_left_out);
  }
  mq_chart_ranges(out, found->runs, found->n, "weight");
  mq_chart_ranges(out, found->runs, found->n, "activation");
  fputs("</div></details>\n", out);
}

static void open_range_section(FILE *out) {
  fputs(
      "<section><h2>Clipping ranges</h2>\n<p class=\"note\">From the smallest to the largest value that each "
      "quantization point can represent; per channel: the widest ends over the channels.</p>\n"
      "<div class=\"card\">\n",
      out);
}

void mq_page_put_range_charts(FILE *out, const struct mq_table *table) {
  size_t n_charts = 0, n_left_out = 0;
  for (size_t i = 0; i < table->n_rows; i++) {
    if (i > 0 && mq_table_same_model(table->rows[i].key, table->rows[i - 1].key)) continue;
    for (size_t t = 0; t < table->n_targets; t++) {
      struct range_runs found;
      collect_range_runs(&found, table, i, t);
      if (found.n == 0) continue;
      if (n_charts == MAX_RANGE_CHARTS) {
        n_left_out++;
        continue;
      }
      if (n_charts == 0) {
        open_range_section(out);
      }
      put_range_details(out, &found, n_charts == 0);
      n_charts++;
    }
  }
  fputs(n_charts ? "</div>\n" : "", out);
  if (n_left_out) fprintf(out, "<p class=\"below\">%zu more charts are left out.</p>\n", n_left_out);
  fputs(n_charts ? "</section>\n" : "", out);
}

/* ---- Trainings -------------------------------------------------------------------------------------- */

static void put_group_summary(FILE *out, const struct mq_training_group *group, bool is_open) {
  const struct mq_run *run = &group->lines[0].run->run;
  char bits[32];
  fprintf(out, "<details%s><summary><span class=\"what\"><b>", is_open ? " open=\"open\"" : "");
  mq_put_html(out, group->target ? group->target : "float");
  fputs("</b> <span>", out);
  mq_put_html(out, group->model);
  if (group->target) fprintf(out, " %s", mq_table_bits(bits, run));
  fputs("</span></span></summary><div class=\"chart-inside\">", out);
}

void mq_page_put_curves(FILE *out, const struct mq_trainings *trainings) {
  if (trainings->n == 0) {
    return;
  }
  fputs(
      "<section><h2>Training</h2>\n<p class=\"note\">Loss and accuracy of training images are means since "
      "the "
      "point before; test accuracy is of the network as it would be deployed then. A curve that ends with a "
      "cross did not converge.</p>\n<div class=\"card\">\n",
      out);
  for (size_t i = 0; i < trainings->n; i++) {
    put_group_summary(out, &trainings->groups[i], i == 0);
    mq_curve_charts(out, &trainings->groups[i]);
    fputs("</div></details>\n", out);
  }
  fputs("</div>\n", out);
  if (trainings->n_left_out) {
    fprintf(out, "<p class=\"below\">%zu more groups of trainings are left out.</p>\n",
            trainings->n_left_out);
  }
  fputs("</section>\n", out);
}

void mq_page_put_range_curves(FILE *out, const struct mq_trainings *trainings) {
  size_t n = 0, n_left_out = trainings->n_left_out;
  for (size_t i = 0; i < trainings->n; i++) {
    const struct mq_training_group *group = &trainings->groups[i];
    if (!mq_curve_has_ranges(group)) continue;
    if (n == MAX_RANGE_CURVES) {
      n_left_out++;
      continue;
    }
    if (n == 0) {
      fputs(
          "<section><h2>Clipping ranges over training</h2>\n<p class=\"note\">Both ends of what each "
          "quantization point can represent, from the first to the last time the network was judged; per "
          "channel: the widest ends over the channels. Scales differ between the tensors.</p>\n"
          "<div class=\"card\">\n",
          out);
    }
    put_group_summary(out, group, n++ == 0);
    mq_curve_legend(out, group);
    mq_curve_ranges(out, group, "weight");
    mq_curve_ranges(out, group, "activation");
    fputs("</div></details>\n", out);
  }
  fputs(n ? "</div>\n" : "", out);
  if (n && n_left_out) {
    fprintf(out, "<p class=\"below\">%zu more groups of trainings are left out.</p>\n", n_left_out);
  }
  fputs(n ? "</section>\n" : "", out);
}

/* ---- Runs and environment --------------------------------------------------------------------------- */

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
  if (!isnan(run->best_top1)) {
    snprintf(text, sizeof text, "%.2f %%", 100 * run->best_top1);
    put_fact(out, "best while training", text);
  }
  put_number(out, "calibration", run->calib_seconds, "s");
  put_number(out, "training", run->train_seconds, "s");
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
  put_fact(out, "result", run->result_sha256);
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
    mq_chart_algorithm(out, run, run->options);
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

void mq_page_put_runs(FILE *out, const struct mq_report *report) {
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

static void put_place_key(FILE *out, const void *context, size_t i) {
  const struct mq_run *run = &((const struct mq_report_rows *)context)->runs[i].run;
  const char *const texts[] = {run->cpu, run->isa, run->onednn, run->version};
  for (size_t k = 0; k < 4; k++) {
    mq_put_key(out, texts[k]);
  }
}

static void put_place(FILE *out, const struct mq_run *run, size_t n_runs) {
  const char *const texts[] = {run->cpu, run->isa, run->onednn, run->version};
  fputs("<tr>", out);
  for (size_t k = 0; k < 4; k++) {
    fputs("<td class=\"text\">", out);
    mq_put_html(out, texts[k] ? texts[k] : "–");
    fputs("</td>", out);
  }
  fprintf(out, "<td>%zu</td></tr>\n", n_runs);
}

mq_status mq_page_put_environment(FILE *out, const struct mq_report *report, struct mq_err *err) {
  const struct mq_report_rows *rows = &report->rows;
  struct mq_arena arena;
  struct mq_groups places;
  size_t *n_runs = NULL;
  mq_arena_init(&arena, 0);
  mq_status status = mq_group(&places, rows->n_runs, put_place_key, rows, &arena, err);
  if (status == MQ_OK) {
    n_runs = mq_arena_alloc(&arena, places.n + 1, sizeof *n_runs);
    status = n_runs ? MQ_OK : mq_fail_memory(err, "report");
  }
  for (size_t i = 0; i < rows->n_runs && status == MQ_OK; i++) {
    n_runs[places.of[i]]++;
  }
  if (status == MQ_OK) {
    fputs(
        "<section><h2>Where it ran</h2>\n<p class=\"note\">Float results are the same bits for the same "
        "instruction set.</p>\n<div class=\"card scroll\"><table><thead><tr><th class=\"text\">processor</th>"
        "<th class=\"text\">instruction set</th><th class=\"text\">oneDNN</th><th class=\"text\">mqbench</th>"
        "<th>runs</th></tr></thead><tbody>\n",
        out);
    for (size_t p = 0; p < places.n; p++) {
      put_place(out, &rows->runs[places.first[p]].run, n_runs[p]);
    }
    fputs("</tbody></table></div></section>\n", out);
  }
  mq_arena_deinit(&arena);
  return status;
}
