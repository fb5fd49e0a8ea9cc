/* mqbench diff: what differs between two bundles. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/session.h"
#include "mqbench/deploy.h"

#define WORST_SHOWN 10

typedef enum diff_kind {
  DIFF_SCALE,
  DIFF_SCHEME,
  DIFF_ONLY_FIRST,
  DIFF_ONLY_SECOND
} diff_kind;

struct point_diff {
  const char *tensor;
  diff_kind kind;
  double scale_ratio;      /* largest of max(a/b, b/a) over channels; 1: equal */
  int64_t zero_point_step; /* largest difference */
};

struct diff {
  struct mq_bundle a, b;
  struct point_diff *items;
  size_t n, n_points;
};

static const struct mq_point *find_point(const struct mq_prepared *prepared, const struct mq_point *like) {
  for (size_t i = 0; i < prepared->n_points; i++) {
    if (prepared->points[i].kind == like->kind && !strcmp(prepared->points[i].tensor, like->tensor)) {
      return &prepared->points[i];
    }
  }
  return NULL;
}

/* False when the two are equal in every scale, zero point and range. */
static bool compare_points(struct point_diff *out, const struct mq_point *p, const struct mq_point *q) {
  const struct mq_qparams *a = &p->qparams, *b = &q->qparams;
  *out = (struct point_diff){.tensor = p->tensor, .kind = DIFF_SCALE, .scale_ratio = 1};
  if (a->n_channels != b->n_channels || a->quant_min != b->quant_min || a->quant_max != b->quant_max ||
      a->channel_axis != b->channel_axis) {
    out->kind = DIFF_SCHEME;
    out->scale_ratio = INFINITY;
    return true;
  }
  for (int64_t c = 0; c < a->n_channels; c++) {
    double ratio = (double)a->scale[c] / (double)b->scale[c];
    out->scale_ratio = fmax(out->scale_ratio, fmax(ratio, 1 / ratio));
    int64_t step = llabs((long long)a->zero_point[c] - b->zero_point[c]);
    out->zero_point_step = step > out->zero_point_step ? step : out->zero_point_step;
  }
  return out->scale_ratio != 1 || out->zero_point_step != 0;
}

static int worst_first(const void *x, const void *y) {
  const struct point_diff *a = x, *b = y;
  if (a->scale_ratio != b->scale_ratio) {
    return a->scale_ratio > b->scale_ratio ? -1 : 1;
  }
  if (a->zero_point_step != b->zero_point_step) {
    return a->zero_point_step > b->zero_point_step ? -1 : 1;
  }
  return strcmp(a->tensor, b->tensor);
}

static mq_status compare(struct diff *diff, struct mq_err *err) {
  const struct mq_prepared *a = &diff->a.prepared, *b = &diff->b.prepared;
  diff->items = mq_alloc(a->n_points + b->n_points + 1, sizeof *diff->items);
  if (!diff->items) {
    return mq_fail_memory(err, "differences");
  }
  diff->n_points = a->n_points;
  for (size_t i = 0; i < a->n_points; i++) {
    const struct mq_point *other = find_point(b, &a->points[i]);
    if (!other) {
      diff->items[diff->n++] = (struct point_diff){a->points[i].tensor, DIFF_ONLY_FIRST, INFINITY, 0};
    } else if (compare_points(&diff->items[diff->n], &a->points[i], other)) {
      diff->n++;
    }
  }
  for (size_t i = 0; i < b->n_points; i++) {
    if (!find_point(a, &b->points[i])) {
      diff->n_points++;
      diff->items[diff->n++] = (struct point_diff){b->points[i].tensor, DIFF_ONLY_SECOND, INFINITY, 0};
    }
  }
  qsort(diff->items, diff->n, sizeof *diff->items, worst_first);
  return MQ_OK;
}

static const char *describe(char text[128], const struct point_diff *item) {
  switch (item->kind) {
    case DIFF_ONLY_FIRST:
      return "only in the first";
    case DIFF_ONLY_SECOND:
      return "only in the second";
    case DIFF_SCHEME:
      return "another range or granularity";
    case DIFF_SCALE:
      break;
  }
  snprintf(text, 128, "scales differ by up to %.3g%%, zero points by up to %lld",
           100 * (item->scale_ratio - 1), (long long)item->zero_point_step);
  return text;
}

static mq_status print_json(const struct diff *diff, struct mq_err *err) {
  json_t *layers = json_array();
  for (size_t i = 0; i < diff->n; i++) {
    char text[128];
    json_array_append_new(
        layers,
        json_pack("{s:s, s:s, s:o, s:I}", "tensor", diff->items[i].tensor, "what",
                  describe(text, &diff->items[i]), "scale_ratio", cli_json_real(diff->items[i].scale_ratio),
                  "zero_point_difference", (json_int_t)diff->items[i].zero_point_step));
  }
  return cli_print_json(json_pack("{s:I, s:I, s:o, s:[o,o]}", "points", (json_int_t)diff->n_points,
                                  "different", (json_int_t)diff->n, "layers", layers, "top1",
                                  cli_json_real(diff->a.top1), cli_json_real(diff->b.top1)),
                        err);
}

static void print_text(const struct diff *diff) {
  printf("targets    %s, %s\n", diff->a.target, diff->b.target);
  if (isfinite(diff->a.top1) && isfinite(diff->b.top1)) {
    printf("top-1      %.2f%%, %.2f%%\n", 100 * diff->a.top1, 100 * diff->b.top1);
  }
  printf("points     %zu, of which %zu differ\n", diff->n_points, diff->n);
  for (size_t i = 0; i < diff->n && i < WORST_SHOWN; i++) {
    char text[128];
    printf("  %-40s %s\n", diff->items[i].tensor, describe(text, &diff->items[i]));
  }
  if (diff->n > WORST_SHOWN) {
    printf("  and %zu more; --json lists all\n", diff->n - WORST_SHOWN);
  }
}

mq_status cmd_diff(int argc, char **argv, struct mq_err *err) {
  struct cli_common common;
  struct diff diff = {0};
  bool is_help;
  mq_status status = cli_parse(&common, &is_help, cli_find_command("diff"), NULL, 0, 2, 2, argc, argv, err);
  if (status != MQ_OK || is_help) {
    return status;
  }
  status = mq_bundle_read(&diff.a, common.arguments.text[0], err);
  if (status == MQ_OK) {
    status = mq_bundle_read(&diff.b, common.arguments.text[1], err);
  }
  if (status == MQ_OK) {
    status = compare(&diff, err);
  }
  if (status == MQ_OK && common.is_json) {
    status = print_json(&diff, err);
  } else if (status == MQ_OK) {
    print_text(&diff);
  }
  if (status == MQ_OK && diff.n > 0) {
    status = mq_fail(err, MQ_NO, "%zu of %zu points differ", diff.n, diff.n_points);
  }
  mq_free(diff.items);
  mq_bundle_deinit(&diff.a);
  mq_bundle_deinit(&diff.b);
  return status;
}
