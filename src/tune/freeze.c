/* From learned parameters to deployable points: scales, zero points, and weights such that plain fake
 * quantization gives what the method's forward gave. */
#include <math.h>
#include <string.h>

#include "tune/points.h"

struct freezing {
  struct mq_prepared *prepared;
  const struct mq_node **nodes; /* FakeQuantize by point */
  mq_bias_form bias;
};

/* A weight point's tensor as rows. */
struct weight_rows {
  struct mq_tensor *weights;
  const float *rows;
  float *owned, *result;
  int64_t n_rows, row_count;
  int axis;
};

static mq_status open_rows(struct weight_rows *w, const struct mq_point *point, const struct mq_node *node,
                           struct mq_err *err) {
  const struct mq_value *value = node->inputs[0];
  *w = (struct weight_rows){.weights = value->constant, .n_rows = point->quantizer_config.n_rows};
  w->axis = tune_row_axis(point, node);
  mq_status status =
      tune_weight_rows(&w->rows, &w->owned, &w->row_count, w->weights, w->n_rows, w->axis, err);
  if (status == MQ_OK) {
    w->result = mq_alloc((size_t)(w->n_rows * w->row_count) + 1, sizeof(float));
    status = w->result ? MQ_OK : mq_fail_memory(err, "weights");
  }
  return status;
}

static void close_rows(struct weight_rows *w) {
  mq_free(w->owned);
  mq_free(w->result);
}

/* The form in evaluation. */
static mq_status derive(double **form, const struct mq_point *point, const struct weight_rows *w,
                        const float *least, struct mq_err *err) {
  const struct mq_quantizer_ops *ops = point->quantizer;
  const struct mq_quantizer_config *config = &point->quantizer_config;
  size_t n_statistics =
      w && ops->statistics_count && !ops->freezes_weights ? ops->statistics_count(config) : 0;
  double *statistics = mq_alloc(n_statistics + 1, sizeof *statistics);
  *form = mq_alloc(ops->form_count(config) + 1, sizeof **form);
  if (!statistics || !*form) {
    mq_free(statistics);
    return mq_fail_memory(err, "a quantizer's form");
  }
  if (n_statistics > 0) {
    ops->observe(statistics, config, w->rows, w->n_rows, w->row_count);
  }
  ops->derive(*form, config, point->parameters, n_statistics > 0 ? statistics : NULL, least);
  mq_free(statistics);
  return MQ_OK;
}

static mq_status new_qparams(struct mq_qparams *q, const struct mq_point *point, struct mq_err *err) {
  mq_status status = mq_qparams_init(q, point->quantizer_config.n_channels, point->channel_axis, err);
  q->is_non_negative = point->qparams.is_non_negative;
  return status;
}

static void take(struct mq_point *point, struct mq_qparams *q, bool is_plain) {
  mq_qparams_deinit(&point->qparams);
  point->qparams = *q;
  *q = (struct mq_qparams){0};
  if (is_plain) {
    point->quantizer = NULL;
    mq_free(point->parameters);
    point->parameters = NULL;
  }
}

/* Frozen rows with scales; or, where a method has none, the quantized rows themselves: the point then does
 * nothing more. */
static mq_status freeze_weight(const struct freezing *f, size_t index, struct mq_err *err) {
  struct mq_point *point = &f->prepared->points[index];
  const struct mq_quantizer_ops *ops = point->quantizer;
  const struct mq_quantizer_config *config = &point->quantizer_config;
  struct weight_rows w;
  struct mq_qparams q = {0};
  double *form = NULL;
  float *least = NULL;
  mq_status status = open_rows(&w, point, f->nodes[index], err);
  if (status == MQ_OK) {
    status = tune_least_scales(&least, f->prepared, f->nodes[index], point, f->bias, err);
  }
  if (status == MQ_OK) {
    status = derive(&form, point, &w, least, err);
  }
  if (status == MQ_OK) {
    status = new_qparams(&q, point, err);
  }
  if (status == MQ_OK && !ops->freeze && ops->grid(&q, config, form)) {
    take(point, &q, true);
  } else if (status == MQ_OK) {
    bool is_plain = ops->freeze && ops->freeze(w.result, &q, config, form, w.rows, w.n_rows, w.row_count);
    if (!is_plain) {
      ops->forward(w.result, NULL, config, form, w.rows, w.n_rows, w.row_count);
      mq_qparams_deinit(&q);
    }
    tune_store_rows(w.weights, w.result, w.n_rows, w.axis);
    take(point, &q, true);
  }
  mq_qparams_deinit(&q);
  mq_free(form);
  mq_free(least);
  close_rows(&w);
  return status;
}

static mq_status freeze_activation(const struct freezing *f, size_t index, struct mq_err *err) {
  struct mq_point *point = &f->prepared->points[index];
  struct mq_qparams q = {0};
  double *form = NULL;
  mq_status status = derive(&form, point, NULL, NULL, err);
  if (status == MQ_OK) {
    status = new_qparams(&q, point, err);
  }
  if (status == MQ_OK && point->quantizer->grid(&q, &point->quantizer_config, form)) {
    take(point, &q, !point->quantizer->is_academic);
  }
  mq_qparams_deinit(&q);
  mq_free(form);
  return status;
}

mq_status mq_freeze_quantizers(struct mq_prepared *prepared, mq_bias_form bias, struct mq_err *err) {
  struct freezing f = {.prepared = prepared, .bias = bias};
  f.nodes = mq_alloc(prepared->n_points + 1, sizeof *f.nodes);
  mq_status status = f.nodes ? tune_find_nodes(f.nodes, prepared, err) : mq_fail_memory(err, "points");
  /* Activations first: an int32 bias needs their scales. */
  for (int is_weight = 0; is_weight < 2; is_weight++) {
    for (size_t i = 0; i < prepared->n_points && status == MQ_OK; i++) {
      const struct mq_point *point = &prepared->points[i];
      if (point->quantizer && point->quantizer_config.is_weight == (is_weight == 1)) {
        status = is_weight ? freeze_weight(&f, i, err) : freeze_activation(&f, i, err);
      }
    }
  }
  mq_free(f.nodes);
  return status;
}
