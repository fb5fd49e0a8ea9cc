/* Geometry of the charts of trainings, in units near one pixel. */
#include "report/curves.h"

#include <math.h>
#include <string.h>

#include "report/charts.h"
#include "report/scale.h"
#include "report/text.h"

/* A store may hold more points than a chart has pixels: every kth is drawn, and always the last. */
#define MAX_DRAWN 300
#define DOTS_BELOW 40
/* Of one chart: no training of ours comes near, and each tensor looks through all of them. */
#define MAX_RANGES 1000000

static void put_line_class(FILE *out, size_t algorithm) {
  fprintf(out, "class=\"line c%zu", mq_chart_colour(algorithm));
  if (mq_chart_shape(algorithm)) fprintf(out, " dash%zu", mq_chart_shape(algorithm));
  fputc('"', out);
}

static void put_key(FILE *out, size_t algorithm) {
  fputs("<svg class=\"swatch bar\" viewBox=\"0 0 18 8\"><path ", out);
  put_line_class(out, algorithm);
  fputs(" d=\"M1 4h16\"/></svg>", out);
}

static void put_line_name(FILE *out, const struct mq_training_line *line) {
  const struct mq_run *run = &line->run->run;
  if (mq_report_is_float(run)) {
    fputs("float", out);
    if (line->options) {
      fputs(" · ", out);
      mq_put_html(out, line->options);
    }
    fprintf(out, " · seed %lld", (long long)run->seed);
  } else {
    mq_chart_algorithm(out, run, line->options);
  }
}

/* ---- Curves ----------------------------------------------------------------------------------------- */

#define CURVE_WIDTH 380.0
#define CURVE_HEIGHT 240.0
#define CURVE_LEFT 46.0
#define CURVE_RIGHT 10.0
#define CURVE_TOP 12.0
#define CURVE_BOTTOM 40.0

struct curve_chart {
  const struct mq_training_group *group;
  const char *title;
  double (*value)(const struct mq_run_curve *point);
  bool is_fraction; /* of images: shown in percent */
  struct mq_scale x, y;
};

static double loss_of(const struct mq_run_curve *point) {
  return point->loss;
}
static double train_of(const struct mq_run_curve *point) {
  return 100 * point->train_top1;
}
static double test_of(const struct mq_run_curve *point) {
  return 100 * point->test_top1;
}

static const struct mq_run_history *history_of(const struct mq_training_line *line) {
  static const struct mq_run_history none;
  return line->run->run.history ? line->run->run.history : &none;
}

/* Training stopped because its loss or a parameter was not finite. */
static bool is_diverged(const struct mq_training_line *line) {
  const struct mq_run_history *history = history_of(line);
  return history->n_curve > 0 && isnan(history->curve[history->n_curve - 1].loss);
}

/* A run that diverges leaves the chart at its edge rather than pressing the others flat. */
static double limit_of(const struct mq_training_line *line) {
  return is_diverged(line) ? 2 * fmax(history_of(line)->curve[0].loss, 1) : INFINITY;
}

static bool fit_curves(struct curve_chart *chart) {
  chart->x = (struct mq_scale){.lo = 0, .hi = 0, .from = CURVE_LEFT, .to = CURVE_WIDTH - CURVE_RIGHT};
  chart->y = (struct mq_scale){
      .lo = INFINITY, .hi = -INFINITY, .from = CURVE_HEIGHT - CURVE_BOTTOM, .to = CURVE_TOP};
  for (size_t i = 0; i < chart->group->n; i++) {
    const struct mq_run_history *history = history_of(&chart->group->lines[i]);
    double limit = chart->is_fraction ? INFINITY : limit_of(&chart->group->lines[i]);
    for (size_t k = 0; k < history->n_curve; k++) {
      double value = chart->value(&history->curve[k]);
      mq_scale_take(&chart->x, history->curve[k].epoch);
      mq_scale_take(&chart->y, value > limit ? limit : value);
    }
  }
  if (chart->y.lo > chart->y.hi || !(chart->x.hi > 0)) {
    return false;
  }
  double pad =
      fmax((chart->y.hi - chart->y.lo) * 0.05, chart->is_fraction ? 0.5 : fabs(chart->y.hi) * 1e-3 + 1e-9);
  chart->y.lo = fmax(chart->y.lo - pad, 0);
  chart->y.hi = fmin(chart->y.hi + pad, chart->is_fraction ? 100 : INFINITY);
  mq_scale_round_out(&chart->y, 4);
  double last = chart->x.hi;
  mq_scale_round_out(&chart->x, 4);
  chart->x.hi = last; /* the curves fill the width; ticks stop before its end */
  return true;
}

static void draw_curve_axes(FILE *out, const struct curve_chart *chart) {
  const struct mq_scale *x = &chart->x, *y = &chart->y;
  int n_y = (int)lround((y->hi - y->lo) / y->step), n_x = (int)floor(x->hi / x->step + 1e-9);
  for (int i = 0; i <= n_y; i++) {
    double value = y->lo + i * y->step, at = mq_scale_place(y, value);
    fprintf(out, "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", i ? "grid" : "axis",
            CURVE_LEFT, CURVE_WIDTH - CURVE_RIGHT, at, at);
    fprintf(out, "<text class=\"end\" x=\"%.1f\" y=\"%.1f\">%.*f</text>\n", CURVE_LEFT - 7, at + 4,
            mq_scale_decimals(y->step), value);
  }
  for (int i = 0; i <= n_x; i++) {
    double value = i * x->step;
    fprintf(out, "<text class=\"mid\" x=\"%.1f\" y=\"%.1f\">%g</text>\n", mq_scale_place(x, value),
            y->from + 17, value);
  }
  fprintf(out, "<text class=\"end\" x=\"%.1f\" y=\"%.1f\">epochs</text>\n", CURVE_WIDTH - CURVE_RIGHT,
          y->from + 33);
}

static size_t stride_of(size_t n) {
  return n / MAX_DRAWN + 1;
}

struct pen {
  FILE *out;
  bool is_down;
  size_t n;
  double x, y; /* where it is */
};

static void move_to(struct pen *pen, double x, double y) {
  fprintf(pen->out, "%c%.1f %.1f", pen->is_down ? 'L' : 'M', x, y);
  pen->is_down = true;
  pen->n++;
  pen->x = x;
  pen->y = y;
}

static double within(const struct mq_scale *scale, double x) {
  return mq_scale_place(scale, fmin(fmax(x, scale->lo), scale->hi));
}

static void put_curve_tip(FILE *out, const struct curve_chart *chart, const struct mq_training_line *line) {
  const struct mq_run_history *history = history_of(line);
  double last = (double)NAN;
  for (size_t k = 0; k < history->n_curve; k++) {
    double value = chart->value(&history->curve[k]);
    last = isnan(value) ? last : value;
  }
  fputs("<title>", out);
  put_line_name(out, line);
  fprintf(out, ": %.4g at the end", last);
  if (!strcmp(line->run->run.status, "nc")) fputs(", not converged", out);
  fputs("</title>", out);
}

/* Values that are not there are passed over; a curve that ends early has a cross at its end. */
static void draw_curve(FILE *out, const struct curve_chart *chart, const struct mq_training_line *line) {
  const struct mq_run_history *history = history_of(line);
  size_t stride = stride_of(history->n_curve), colour = mq_chart_colour(line->algorithm), n_values = 0;
  struct pen pen = {.out = out};
  fputs("<g>", out);
  put_curve_tip(out, chart, line);
  fputs("<path ", out);
  put_line_class(out, line->algorithm);
  fputs(" d=\"", out);
  for (size_t k = 0; k < history->n_curve; k++) {
    const struct mq_run_curve *point = &history->curve[k];
    double value = chart->value(point);
    if (!isnan(value) && (n_values++ % stride == 0 || k + 1 == history->n_curve)) {
      move_to(&pen, mq_scale_place(&chart->x, point->epoch), within(&chart->y, value));
    }
  }
  fputs(pen.is_down ? "\"/>" : "M0 0\"/>", out);
  for (size_t k = 0; k < history->n_curve && pen.n < DOTS_BELOW; k++) {
    double value = chart->value(&history->curve[k]);
    if (isnan(value)) continue;
    fprintf(out, "<circle class=\"c%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.2\"/>", colour,
            mq_scale_place(&chart->x, history->curve[k].epoch), within(&chart->y, value));
  }
  if (pen.is_down && !strcmp(line->run->run.status, "nc")) {
    fprintf(out, "<path class=\"mark c%zu\" d=\"M%.1f %.1fl9 9m0 -9l-9 9\"/>", colour, pen.x - 4.5,
            pen.y - 4.5);
  }
  fputs("</g>\n", out);
}

static void put_curve_chart(FILE *out, struct curve_chart *chart) {
  fputs("<div><p class=\"axis-title\">", out);
  fputs(chart->title, out);
  fputs("</p>", out);
  if (fit_curves(chart)) {
    fprintf(out, "<svg role=\"img\" aria-label=\"%s\" viewBox=\"0 0 %.0f %.0f\">\n", chart->title,
            CURVE_WIDTH, CURVE_HEIGHT);
    draw_curve_axes(out, chart);
    for (size_t i = 0; i < chart->group->n; i++) {
      draw_curve(out, chart, &chart->group->lines[i]);
    }
    fputs("</svg>", out);
  } else {
    fputs("<p class=\"small\">Nothing was measured.</p>", out);
  }
  fputs("</div>\n", out);
}

void mq_curve_legend(FILE *out, const struct mq_training_group *group) {
  fputs("<p class=\"legend\">", out);
  for (size_t i = 0; i < group->n; i++) {
    fputs("<span class=\"key\">", out);
    put_key(out, group->lines[i].algorithm);
    put_line_name(out, &group->lines[i]);
    fputs("</span>", out);
  }
  fputs("</p>\n", out);
  if (group->n_left_out) {
    fprintf(out, "<p class=\"note\">%zu more trainings are not drawn.</p>\n", group->n_left_out);
  }
}

void mq_curve_charts(FILE *out, const struct mq_training_group *group) {
  struct curve_chart charts[] = {
      {.group = group, .title = "training loss", .value = loss_of},
      {.group = group, .title = "training accuracy, %", .value = train_of, .is_fraction = true},
      {.group = group, .title = "test accuracy, %", .value = test_of, .is_fraction = true},
  };
  mq_curve_legend(out, group);
  fputs("<div class=\"curves\">\n", out);
  for (size_t i = 0; i < sizeof charts / sizeof charts[0]; i++) {
    put_curve_chart(out, &charts[i]);
  }
  fputs("</div>\n", out);
}

/* ---- Clipping ranges over training ------------------------------------------------------------------ */

#define TENSOR_WIDTH 250.0
#define TENSOR_HEIGHT 96.0
#define TENSOR_LEFT 6.0
#define TENSOR_RIGHT 58.0
#define TENSOR_MARGIN 8.0

struct tensor_chart {
  const struct mq_training_group *group;
  const char *tensor, *kind;
  struct mq_scale x, y;
};

/* The records of one point, in order of steps: the next at or after *at; NULL at the end. */
static const struct mq_run_range *next_range(const struct mq_run_history *history, size_t *at,
                                             int64_t point) {
  for (; *at < history->n_ranges; ++*at) {
    if (history->ranges[*at].point == point) {
      return &history->ranges[(*at)++];
    }
  }
  return NULL;
}

/* -1: the run of this line has no such point. */
static int64_t point_of(const struct mq_training_line *line, const struct tensor_chart *chart) {
  const struct mq_run_point *point = mq_chart_find_point(line->run, chart->tensor, chart->kind);
  return point ? (int64_t)(point - line->run->points) : -1;
}

bool mq_curve_has_ranges(const struct mq_training_group *group) {
  bool has_some = false;
  size_t n_all = 0;
  for (size_t i = 0; i < group->n; i++) {
    const struct mq_run_history *history = history_of(&group->lines[i]);
    size_t n = history->n_ranges;
    n_all += n;
    has_some |= n > 0 && history->ranges[0].step != history->ranges[n - 1].step;
  }
  return has_some && n_all <= MAX_RANGES;
}

static void take_ranges(struct tensor_chart *chart, const struct mq_training_line *line) {
  const struct mq_run_range *range;
  int64_t point = point_of(line, chart);
  for (size_t at = 0; point >= 0 && (range = next_range(history_of(line), &at, point));) {
    if (isnan(range->lo) || isnan(range->hi)) continue;
    mq_scale_take(&chart->x, (double)range->step);
    mq_scale_take(&chart->y, range->lo);
    mq_scale_take(&chart->y, range->hi);
  }
}

static bool fit_tensor(struct tensor_chart *chart) {
  chart->x = (struct mq_scale){
      .lo = INFINITY, .hi = -INFINITY, .from = TENSOR_LEFT, .to = TENSOR_WIDTH - TENSOR_RIGHT};
  chart->y = (struct mq_scale){.from = TENSOR_HEIGHT - TENSOR_MARGIN, .to = TENSOR_MARGIN};
  for (int pass = 0; pass < 2 && !(chart->y.hi > chart->y.lo);
       pass++) { /* those that diverged: only if all did */
    for (size_t i = 0; i < chart->group->n; i++) {
      if (is_diverged(&chart->group->lines[i]) == (pass == 1)) {
        take_ranges(chart, &chart->group->lines[i]);
      }
    }
  }
  return chart->x.hi > chart->x.lo && chart->y.hi > chart->y.lo;
}

static void draw_ends(FILE *out, const struct tensor_chart *chart, const struct mq_training_line *line,
                      int64_t point, bool is_hi) {
  const struct mq_run_history *history = history_of(line);
  const struct mq_run_range *range;
  struct pen pen = {.out = out};
  size_t stride = stride_of(history->n_ranges / line->run->n_points), k = 0; /* each record has all points */
  fputs("<path ", out);
  put_line_class(out, line->algorithm);
  fputs(" d=\"", out);
  for (size_t at = 0; (range = next_range(history, &at, point));) {
    double value = is_hi ? range->hi : range->lo;
    if (!isnan(value) && k++ % stride == 0) {
      move_to(&pen, within(&chart->x, (double)range->step), within(&chart->y, value));
    }
  }
  fputs(pen.is_down ? "\"/>" : "M0 0\"/>", out);
}

static void put_range_tip(FILE *out, const struct mq_training_line *line, int64_t point) {
  const struct mq_run_history *history = history_of(line);
  const struct mq_run_range *range, *first = NULL, *last = NULL;
  for (size_t at = 0; (range = next_range(history, &at, point)); last = range) {
    first = first ? first : range;
  }
  fputs("<title>", out);
  put_line_name(out, line);
  if (first) {
    fprintf(out, ": %.4g to %.4g at step %lld, %.4g to %.4g at step %lld", first->lo, first->hi,
            (long long)first->step, last->lo, last->hi, (long long)last->step);
  }
  fputs("</title>", out);
}

static void put_tensor_chart(FILE *out, struct tensor_chart *chart) {
  double right = TENSOR_WIDTH - TENSOR_RIGHT, zero;
  fputs("<div><p class=\"axis-title\">", out);
  mq_put_short_name(out, chart->tensor);
  fprintf(out, "</p><svg role=\"img\" aria-label=\"clipping range\" viewBox=\"0 0 %.0f %.0f\">", TENSOR_WIDTH,
          TENSOR_HEIGHT);
  zero = mq_scale_place(&chart->y, 0);
  fprintf(out, "<line class=\"zero\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", TENSOR_LEFT, right,
          zero, zero);
  const double ends[] = {chart->y.lo, chart->y.hi};
  for (size_t i = 0; i < 2; i++) {
    double at = mq_scale_place(&chart->y, ends[i]);
    if (ends[i] != 0) {
      fprintf(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", TENSOR_LEFT,
              right, at, at);
    }
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\">%.3g</text>", right + 5, at + 4, ends[i]);
  }
  for (size_t i = 0; i < chart->group->n; i++) {
    const struct mq_training_line *line = &chart->group->lines[i];
    int64_t point = point_of(line, chart);
    if (point < 0) continue;
    fputs("<g>", out);
    put_range_tip(out, line, point);
    draw_ends(out, chart, line, point, false);
    draw_ends(out, chart, line, point, true);
    fputs("</g>", out);
  }
  fputs("</svg></div>\n", out);
}

void mq_curve_ranges(FILE *out, const struct mq_training_group *group, const char *kind) {
  const struct mq_report_run *most = group->lines[0].run;
  size_t n = 0, n_left_out = 0;
  for (size_t i = 1; i < group->n; i++) {
    most = group->lines[i].run->n_points > most->n_points ? group->lines[i].run : most;
  }
  for (size_t i = 0; i < most->n_points; i++) {
    struct tensor_chart chart = {.group = group, .tensor = most->points[i].tensor, .kind = kind};
    if (strcmp(most->points[i].kind, kind) != 0) continue;
    if (n == MQ_CURVE_MAX_TENSORS) {
      n_left_out++;
      continue;
    }
    if (!fit_tensor(&chart)) continue;
    if (n++ == 0) {
      fprintf(out, "<h3>%s</h3>\n<div class=\"tensors\">\n",
              !strcmp(kind, "weight") ? "Weights" : "Activations");
    }
    put_tensor_chart(out, &chart);
  }
  fputs(n ? "</div>\n" : "", out);
  if (n_left_out) {
    fprintf(out, "<p class=\"below\">%zu more tensors are not drawn.</p>\n", n_left_out);
  }
}
