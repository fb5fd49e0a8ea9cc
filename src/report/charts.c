/* The charts' geometry, in units that come out near one pixel on a laptop. */
#include "report/charts.h"

#include <math.h>
#include <string.h>

#include "report/scale.h"
#include "report/text.h"

/* ---- Marks and names -------------------------------------------------------------------------------- */

#define N_COLOURS 8 /* c0 to c7 of page.css */
#define N_SHAPES 4

size_t mq_chart_colour(size_t algorithm) {
  return algorithm % N_COLOURS;
}

size_t mq_chart_shape(size_t algorithm) {
  return algorithm / N_COLOURS % N_SHAPES;
}

/* Circle, square, diamond, triangle, of about the same area. */
static void put_dot(FILE *out, size_t algorithm, double x, double y, double r) {
  size_t colour = mq_chart_colour(algorithm);
  switch (mq_chart_shape(algorithm)) {
    case 0:
      fprintf(out, "<circle class=\"c%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>", colour, x, y, r);
      break;
    case 1:
      fprintf(out, "<rect class=\"c%zu\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", colour,
              x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r);
      break;
    case 2:
      fprintf(out, "<path class=\"c%zu\" d=\"M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz\"/>", colour, x,
              y - 1.25 * r, 1.25 * r, 1.25 * r, -1.25 * r, 1.25 * r, -1.25 * r, -1.25 * r);
      break;
    default:
      fprintf(out, "<path class=\"c%zu\" d=\"M%.1f %.1fl%.1f %.1fh%.1fz\"/>", colour, x, y - 1.2 * r, 1.3 * r,
              2.2 * r, -2.6 * r);
  }
}

void mq_chart_dot_key(FILE *out, size_t algorithm) {
  fputs("<svg class=\"swatch\" viewBox=\"-7 -7 14 14\">", out);
  put_dot(out, algorithm, 0, 0, 5);
  fputs("</svg>", out);
}

/* Bars of further shapes are outlines of three kinds. */
static void put_bar_class(FILE *out, size_t algorithm, bool is_low) {
  fprintf(out, "class=\"c%zu", mq_chart_colour(algorithm));
  if (mq_chart_shape(algorithm)) fprintf(out, " outline%zu", mq_chart_shape(algorithm));
  fputs(is_low ? " low\"" : "\"", out);
}

void mq_chart_bar_key(FILE *out, size_t algorithm, bool is_low) {
  fputs("<svg class=\"swatch bar\" viewBox=\"0 0 18 8\"><rect ", out);
  put_bar_class(out, algorithm, is_low);
  fputs(" x=\"1\" y=\"1\" width=\"16\" height=\"6\" rx=\"1.5\"/></svg>", out);
}

void mq_chart_algorithm(FILE *out, const struct mq_run *run, const char *options) {
  char method[256], observers[256];
  mq_put_html(out, mq_table_method(method, sizeof method, run));
  fputs(" · ", out);
  mq_put_html(out, mq_table_observers(observers, sizeof observers, run));
  if (options) {
    fputs(" · ", out);
    mq_put_html(out, options);
  }
}

/* ---- Accuracy --------------------------------------------------------------------------------------- */

struct accuracy_chart {
  const struct mq_table *table;
  const struct mq_table_row *rows;
  size_t n_rows;
  double width, height, left, right, top, bottom; /* margins inside width x height */
  struct mq_scale y;                              /* percent */
  double band, offset;                            /* of one setting; between dots within it */
  bool is_slanted;
};

static void fit_accuracy(struct accuracy_chart *chart) {
  struct mq_scale *y = &chart->y;
  *y = (struct mq_scale){.lo = 100, .hi = 0, .from = chart->height - chart->bottom, .to = chart->top};
  bool has_value = false;
  for (size_t i = 0; i < chart->n_rows; i++) {
    mq_scale_take(y, 100 * chart->rows[i].float_top1);
    for (size_t t = 0; t < chart->table->n_targets; t++) {
      const struct mq_table_cell *cell = &chart->rows[i].cells[t];
      double std = isnan(cell->std) ? 0 : cell->std;
      mq_scale_take(y, 100 * (cell->mean - std));
      mq_scale_take(y, 100 * (cell->mean + std));
      has_value |= !isnan(cell->mean);
    }
  }
  if (!has_value && y->lo > y->hi) {
    y->lo = 0;
    y->hi = 100;
  }
  double pad = fmax((y->hi - y->lo) * 0.06, 0.15);
  y->lo = fmax(y->lo - pad, 0);
  y->hi = fmin(y->hi + pad, 100);
  mq_scale_round_out(y, 5);
}

static void draw_accuracy_axes(FILE *out, const struct accuracy_chart *chart) {
  const struct mq_scale *y = &chart->y;
  double right = chart->width - chart->right;
  for (size_t t = 1; t < chart->table->n_targets; t += 2) {
    fprintf(out, "<rect class=\"band\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
            chart->left + (double)t * chart->band, chart->top, chart->band, y->from - chart->top);
  }
  int n_ticks = (int)lround((y->hi - y->lo) / y->step);
  for (int i = 0; i <= n_ticks; i++) {
    double value = y->lo + i * y->step, at = mq_scale_place(y, value);
    fprintf(out, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", i ? "grid" : "axis",
            chart->left, right, at, at);
    fprintf(out, "<text class=\"end\" x=\"%.1f\" y=\"%.1f\">%.*f</text>\n", chart->left - 8, at + 4,
            mq_scale_decimals(y->step), value);
  }
  for (size_t t = 0; t < chart->table->n_targets; t++) {
    double x = chart->left + ((double)t + 0.5) * chart->band, at = y->from + 20;
    if (chart->is_slanted) {
      fprintf(out, "<text class=\"name end\" transform=\"translate(%.1f %.1f) rotate(-32)\">", x + 6, at - 4);
    } else {
      fprintf(out, "<text class=\"name mid\" x=\"%.1f\" y=\"%.1f\">", x, at);
    }
    mq_put_html(out, chart->table->targets[t]);
    fputs("</text>\n", out);
  }
}

static void draw_float(FILE *out, const struct accuracy_chart *chart) {
  double top1 = 100 * chart->rows[0].float_top1;
  if (isnan(top1)) {
    return;
  }
  double at = mq_scale_place(&chart->y, top1), right = chart->width - chart->right;
  fprintf(out, "<line class=\"float\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", chart->left, right,
          at, at);
  fprintf(out, "<text x=\"%.1f\" y=\"%.1f\">float</text><text x=\"%.1f\" y=\"%.1f\">%.2f</text>\n", right + 7,
          at - 2, right + 7, at + 12, top1);
}

static void put_tip(FILE *out, const struct accuracy_chart *chart, const struct mq_table_row *row,
                    size_t target) {
  fputs("<title>", out);
  mq_put_html(out, chart->table->targets[target]);
  fputs(", ", out);
  mq_chart_algorithm(out, row->key, row->options);
  fputs(": ", out);
  mq_put_cell(out, &row->cells[target]);
  fputs("</title>", out);
}

static void draw_dot(FILE *out, const struct accuracy_chart *chart, size_t row, size_t target) {
  const struct mq_table_cell *cell = &chart->rows[row].cells[target];
  const struct mq_scale *y = &chart->y;
  size_t algorithm = chart->rows[row].algorithm, colour = mq_chart_colour(algorithm);
  double x = chart->left + ((double)target + 0.5) * chart->band +
             ((double)row - ((double)chart->n_rows - 1) / 2) * chart->offset;
  if (cell->n_runs == 0) {
    return;
  }
  fputs("<g>", out);
  put_tip(out, chart, &chart->rows[row], target);
  if (!isnan(cell->mean)) {
    double at = mq_scale_place(y, 100 * cell->mean);
    fprintf(out, "<line class=\"stem c%zu\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", colour, x, x,
            at, y->from);
    if (!isnan(cell->std)) {
      fprintf(out, "<line class=\"whisker c%zu\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", colour,
              x, x, mq_scale_place(y, 100 * (cell->mean - cell->std)),
              mq_scale_place(y, 100 * (cell->mean + cell->std)));
    }
    put_dot(out, algorithm, x, at, chart->offset < 9 ? 3.5 : 5);
  } else { /* not converged or failed: a cross on the axis */
    fprintf(out, "<path class=\"mark c%zu\" d=\"M%.1f %.1fl8 8m0 -8l-8 8\"/>", colour, x - 4, y->from - 12);
  }
  fputs("</g>\n", out);
}

void mq_chart_accuracy(FILE *out, const struct mq_table *table, size_t first, size_t n) {
  size_t n_targets = table->n_targets;
  bool is_wide = n_targets > 8 || n * n_targets > 60;
  struct accuracy_chart chart = {.table = table,
                                 .rows = &table->rows[first],
                                 .n_rows = n,
                                 .width = is_wide ? 1150 : 560,
                                 .height = 300,
                                 .left = 46,
                                 .right = 50,
                                 .top = 18,
                                 .bottom = 34};
  size_t longest = 0;
  for (size_t t = 0; t < n_targets; t++) {
    longest = strlen(table->targets[t]) > longest ? strlen(table->targets[t]) : longest;
  }
  chart.band = (chart.width - chart.left - chart.right) / (double)(n_targets ? n_targets : 1);
  chart.offset = fmin(18, chart.band * 0.72 / (double)n);
  chart.is_slanted = (double)longest * 7 > chart.band;
  if (chart.is_slanted) {
    chart.bottom = fmin(34 + (double)longest * 3.6, 110);
    chart.height += chart.bottom - 34;
  }
  fit_accuracy(&chart);
  char bits[32];
  fprintf(out, "<figure class=\"card%s\"><figcaption>", is_wide ? " wide" : "");
  mq_put_html(out, table->rows[first].key->model);
  fprintf(out, " %s <span>top-1, %%</span></figcaption>\n", mq_table_bits(bits, table->rows[first].key));
  fprintf(out, "<svg role=\"img\" aria-label=\"accuracy by setting\" viewBox=\"0 0 %.0f %.0f\">\n",
          chart.width, chart.height);
  draw_accuracy_axes(out, &chart);
  draw_float(out, &chart);
  for (size_t t = 0; t < n_targets; t++) {
    for (size_t row = 0; row < n; row++) {
      draw_dot(out, &chart, row, t);
    }
  }
  fputs("</svg></figure>\n", out);
}

/* ---- Clipping ranges -------------------------------------------------------------------------------- */

#define RANGE_WIDTH 1150.0
#define RANGE_LEFT 290.0
#define RANGE_RIGHT 24.0
#define RANGE_TOP 24.0
const struct mq_run_point *mq_chart_find_point(const struct mq_report_run *run, const char *tensor,
                                               const char *kind) {
  for (size_t i = 0; i < run->n_points; i++) {
    if (!strcmp(run->points[i].tensor, tensor) && !strcmp(run->points[i].kind, kind)) {
      return &run->points[i];
    }
  }
  return NULL;
}

struct range_chart {
  const struct mq_chart_bar_run *runs;
  size_t n_runs;
  const char *kind;
  const struct mq_run_point *points[MQ_CHART_MAX_TENSORS]; /* one for each tensor, of the run that has most */
  size_t n_points, n_left_out;
  struct mq_scale x;
  double row, height;
};

static void collect_points(struct range_chart *chart) {
  const struct mq_report_run *most = chart->runs[0].run;
  for (size_t r = 1; r < chart->n_runs; r++) {
    most = chart->runs[r].run->n_points > most->n_points ? chart->runs[r].run : most;
  }
  for (size_t i = 0; i < most->n_points; i++) {
    if (strcmp(most->points[i].kind, chart->kind) != 0) continue;
    if (chart->n_points == MQ_CHART_MAX_TENSORS) {
      chart->n_left_out++;
    } else {
      chart->points[chart->n_points++] = &most->points[i];
    }
  }
}

static bool is_drawable(const struct mq_run_point *point) {
  return point && isfinite(point->lo) && isfinite(point->hi) && point->lo <= point->hi;
}

static void fit_ranges(struct range_chart *chart) {
  chart->x = (struct mq_scale){.from = RANGE_LEFT, .to = RANGE_WIDTH - RANGE_RIGHT};
  for (size_t i = 0; i < chart->n_points; i++) {
    for (size_t r = 0; r < chart->n_runs; r++) {
      const struct mq_run_point *point =
          mq_chart_find_point(chart->runs[r].run, chart->points[i]->tensor, chart->kind);
      if (is_drawable(point)) {
        mq_scale_take(&chart->x, point->lo);
        mq_scale_take(&chart->x, point->hi);
      }
    }
  }
  if (!(chart->x.hi > chart->x.lo)) {
    chart->x.lo = -1;
    chart->x.hi = 1;
  }
  mq_scale_round_out(&chart->x, 8);
}

static void draw_range_axes(FILE *out, const struct range_chart *chart) {
  const struct mq_scale *x = &chart->x;
  int n_ticks = (int)lround((x->hi - x->lo) / x->step);
  double bottom = chart->height - 6;
  for (size_t i = 1; i < chart->n_points; i += 2) {
    fprintf(out, "<rect class=\"band\" x=\"0\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
            RANGE_TOP + (double)i * chart->row, RANGE_WIDTH, chart->row);
  }
  for (int i = 0; i <= n_ticks; i++) {
    double value = x->lo + i * x->step, at = mq_scale_place(x, value);
    bool is_zero = fabs(value) < x->step / 2;
    fprintf(out, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
            is_zero ? "zero" : "grid", at, at, RANGE_TOP - 4, bottom);
    fprintf(out, "<text class=\"mid\" x=\"%.1f\" y=\"%.1f\">%g</text>\n", at, RANGE_TOP - 10,
            is_zero ? 0 : value);
  }
}

static void draw_bars(FILE *out, const struct range_chart *chart, size_t i) {
  double top = RANGE_TOP + (double)i * chart->row;
  double thickness = fmin(7, (chart->row - 4) / (double)chart->n_runs - 1);
  double first = top + (chart->row - (thickness + 1) * (double)chart->n_runs) / 2;
  const char *tensor = chart->points[i]->tensor;
  fprintf(out, "<text class=\"tensor end\" x=\"%.1f\" y=\"%.1f\"><title>", RANGE_LEFT - 12,
          top + chart->row / 2 + 4);
  mq_put_html(out, tensor);
  fputs("</title>", out);
  mq_put_short_name(out, tensor);
  fputs("</text>\n", out);
  for (size_t r = 0; r < chart->n_runs; r++) {
    const struct mq_run_point *point = mq_chart_find_point(chart->runs[r].run, tensor, chart->kind);
    if (!is_drawable(point)) continue;
    double lo = mq_scale_place(&chart->x, point->lo), hi = mq_scale_place(&chart->x, point->hi);
    fputs("<rect ", out);
    put_bar_class(out, chart->runs[r].algorithm, chart->runs[r].is_low);
    fprintf(out, " x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"1.5\"><title>", lo,
            first + (double)r * (thickness + 1), fmax(hi - lo, 1), thickness);
    mq_chart_algorithm(out, &chart->runs[r].run->run, chart->runs[r].options);
    fprintf(out, ", %d bit: %.4g to %.4g", point->bits, point->lo, point->hi);
    if (point->n_channels > 1) fprintf(out, " over %lld channels", (long long)point->n_channels);
    fputs("</title></rect>\n", out);
  }
}

void mq_chart_ranges(FILE *out, const struct mq_chart_bar_run *runs, size_t n_runs, const char *kind) {
  struct range_chart chart = {.runs = runs, .n_runs = n_runs, .kind = kind};
  collect_points(&chart);
  if (chart.n_points == 0) {
    return;
  }
  fit_ranges(&chart);
  chart.row = fmax(17, 5 * (double)n_runs + 6);
  chart.height = RANGE_TOP + (double)chart.n_points * chart.row + 8;
  fprintf(out, "<h3>%s</h3>\n<svg role=\"img\" aria-label=\"clipping ranges\" viewBox=\"0 0 %.0f %.0f\">\n",
          !strcmp(kind, "weight") ? "Weights" : "Activations", RANGE_WIDTH, chart.height);
  draw_range_axes(out, &chart);
  for (size_t i = 0; i < chart.n_points; i++) {
    draw_bars(out, &chart, i);
  }
  fputs("</svg>\n", out);
  if (chart.n_left_out) {
    fprintf(out, "<p class=\"below\">%zu more tensors are not drawn.</p>\n", chart.n_left_out);
  }
}
