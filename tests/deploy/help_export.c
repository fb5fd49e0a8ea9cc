#include "help_export.h"

#include <math.h>

#include "base/file.h"
#include "mqbench/load.h"

void export_bundle(struct exported *e, const char *format, const char *target, int w_bits, int a_bits,
                   void (*change)(struct mq_prepared *prepared)) {
  struct made made;
  struct mq_err err = {0};
  char path[1000];
  make_prepared(&made, target, w_bits, a_bits);
  if (change) {
    change(&made.prepared);
  }
  assert_ok(write_bundle(&made, "b", &err));
  drop_prepared(&made);
  assert_ok(read_bundle(&e->bundle, "b", &err));
  snprintf(e->stem, sizeof e->stem, "%s/out", scratch);
  if (mq_export(mq_exporter_find(format), e->stem, &e->bundle, &err) != MQ_OK) {
    fail_msg("%s as %s: %s", target, format, err.message);
  }
  snprintf(path, sizeof path, "%s.onnx", e->stem);
  if (mq_onnx_read(&e->model, path, NULL, NULL) != MQ_OK) {
    e->model = NULL;
  }
}

void drop_export(struct exported *e) {
  mq_graph_destroy(e->model);
  mq_bundle_deinit(&e->bundle);
}

char *read_exported(const struct exported *e, const char *suffix) {
  char path[1000], *bytes = NULL, *copy;
  size_t n;
  struct mq_err err = {0};
  snprintf(path, sizeof path, "%s%s", e->stem, suffix);
  assert_ok(mq_file_read(&bytes, &n, path, 1 << 24, &err));
  copy = strdup(bytes);
  mq_free(bytes);
  return copy;
}

json_t *load_exported(const struct exported *e, const char *suffix) {
  char *text = read_exported(e, suffix);
  json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
  assert_non_null(object);
  free(text);
  return object;
}

static int64_t channel_of(const struct mq_shape *shape, int axis, int64_t flat) {
  int64_t inner = 1;
  for (int i = axis + 1; axis >= 0 && i < shape->rank; i++) {
    inner *= shape->dim[i];
  }
  return axis < 0 ? 0 : flat / inner % shape->dim[axis];
}

void assert_same_integers(const struct exported *e, const struct mq_point *point, const float *scale,
                          const int32_t *zero, int32_t lo, int32_t hi) {
  const struct mq_value *value = mq_graph_find_value(e->model, point->tensor);
  const struct mq_qparams *q = &point->qparams;
  assert_non_null(value);
  assert_non_null(value->constant);
  const struct mq_value *before = mq_graph_find_value(e->bundle.prepared.graph, point->tensor);
  const float *w = value->constant->data, *w_before = before->constant->data;
  for (int64_t i = 0; i < mq_shape_count(&value->shape); i++) {
    int64_t c = channel_of(&value->shape, q->channel_axis, i);
    double ours = (double)rintf(w_before[i] / q->scale[c]) + q->zero_point[c] - q->quant_min;
    double theirs = fmin(fmax((double)rintf(w[i] / scale[c]) + zero[c], lo), hi) - zero[c] +
                    q->zero_point[c] - q->quant_min;
    if (ours != theirs) {
      fail_msg("%s[%lld]: %g is integer %g by the file's scales, expected %g", point->tensor, (long long)i,
               (double)w[i], theirs, ours);
    }
  }
}

static const struct mq_node *clip_behind(const struct mq_value *value) {
  for (size_t u = 0; u < value->n_uses; u++) {
    if (value->uses[u].node->op == MQ_OP_Clip && value->n_uses == 1) {
      return value->uses[u].node;
    }
  }
  return NULL;
}

void assert_clipped(const struct exported *e, const struct mq_point *point, bool is_clipped) {
  const struct mq_qparams *q = &point->qparams;
  const struct mq_value *value = mq_graph_find_value(e->model, point->tensor);
  const struct mq_node *clip = NULL;
  struct mq_err err = {0};
  float lo = 0, hi = 0;
  assert_non_null(value);
  clip = value->is_output ? value->producer : clip_behind(value);
  if (!is_clipped) {
    assert_true(!clip || clip->op != MQ_OP_Clip);
    return;
  }
  if (!clip || clip->op != MQ_OP_Clip) {
    fail_msg("'%s' is not clipped", point->tensor);
    return;
  }
  assert_ok(mq_node_get_clip(&lo, &hi, clip, &err));
  assert_true(lo == q->scale[0] * (float)(q->quant_min - q->zero_point[0]));
  assert_true(hi == q->scale[0] * (float)(q->quant_max - q->zero_point[0]));
}

const struct mq_point *find_point(const struct exported *e, const char *tensor) {
  for (size_t i = 0; i < e->bundle.prepared.n_points; i++) {
    if (!strcmp(e->bundle.prepared.points[i].tensor, tensor)) {
      return &e->bundle.prepared.points[i];
    }
  }
  return NULL;
}
