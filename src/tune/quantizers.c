/* Quantizers of points: which one, with which initial parameters. */
#include <math.h>
#include <string.h>

#include "tune/points.h"

static const struct mq_quantizer_ops *choose(const struct mq_point *point, const struct mq_method *method) {
  const struct mq_quantizer_ops *ops = method->quantizer;
  bool is_weight = point->kind == MQ_POINT_WEIGHT;
  if (is_weight && ops->w_quantizer) {
    ops = mq_quantizer_find(ops->w_quantizer);
  }
  bool is_uniform =
      is_weight ? method->quantizer->is_uniform_at_ends_w : method->quantizer->is_uniform_at_ends_a;
  return point->is_at_end && is_uniform ? mq_quantizer_find("minmax") : ops;
}

static struct mq_quantizer_config configure(const struct mq_point *point, const struct mq_method *method) {
  struct mq_quantizer_config config = {.scheme = point->scheme,
                                       .is_weight = point->kind == MQ_POINT_WEIGHT,
                                       .is_non_negative = point->qparams.is_non_negative,
                                       .is_published = method->is_published,
                                       .n_channels = point->qparams.n_channels,
                                       .is_own_observer = method->is_own_observer,
                                       .option = method->option};
  config.scheme.is_signed = point->qparams.is_signed;
  config.scheme.is_sign_adaptive = false;
  return config;
}

static mq_status init_parameters(struct mq_point *point, const struct mq_node *node, struct mq_err *err) {
  const struct mq_quantizer_ops *ops = point->quantizer;
  struct mq_quantizer_config *config = &point->quantizer_config;
  const struct mq_tensor *weights = config->is_weight ? tune_constant_behind(node->inputs[0]) : NULL;
  const float *rows = NULL;
  float *owned = NULL;
  int64_t row_count = 0;
  mq_status status = MQ_OK;
  if (config->is_weight && !weights) {
    return mq_fail(err, MQ_BAD_INPUT, "tensor %s: weights are computed, expected a constant", point->tensor);
  }
  if (weights) {
    int axis = tune_row_axis(point, node);
    config->n_rows = weights->shape.rank > 0 ? weights->shape.dim[axis] : 1;
    status = tune_weight_rows(&rows, &owned, &row_count, weights, config->n_rows, axis, err);
    config->n_elements = (double)(config->n_channels > 1 ? row_count : row_count * config->n_rows);
  }
  if (status == MQ_OK) {
    status = ops->check(config, point->tensor, err);
  }
  if (status == MQ_OK) {
    mq_free(point->parameters);
    point->parameters = mq_alloc(mq_quantizer_parameter_total(ops, config) + 1, sizeof(float));
    status = point->parameters ? MQ_OK : mq_fail_memory(err, "a quantizer's parameters");
  }
  if (status == MQ_OK) {
    status = ops->init(point->parameters, config, &point->qparams, rows, config->n_rows, row_count, err);
  }
  mq_free(owned);
  return status;
}

mq_status mq_assign_quantizers(struct mq_prepared *prepared, const struct mq_method *method,
                               struct mq_err *err) {
  const struct mq_node **nodes = mq_alloc(prepared->n_points + 1, sizeof *nodes);
  mq_status status = nodes ? tune_find_nodes(nodes, prepared, err) : mq_fail_memory(err, "points");
  for (size_t i = 0; i < prepared->n_points && status == MQ_OK; i++) {
    struct mq_point *point = &prepared->points[i];
    if (point->qparams.n_channels == 0 || !nodes[i] || point->kind == MQ_POINT_BIAS) {
      continue;
    }
    point->quantizer = choose(point, method);
    point->quantizer_config = configure(point, method);
    if (point->quantizer != method->quantizer && point->is_at_end) {
      point->quantizer_config.option = NAN; /* is the method's own */
    }
    status = init_parameters(point, nodes[i], err);
  }
  mq_free(nodes);
  return status;
}

mq_status mq_copy_quantizers(struct mq_prepared *to, const struct mq_prepared *from, struct mq_err *err) {
  if (to->n_points != from->n_points) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %zu points, expected %zu as in the deployed form", to->graph->name,
                   to->n_points, from->n_points);
  }
  mq_status status = MQ_OK;
  for (size_t i = 0; i < to->n_points && status == MQ_OK; i++) {
    struct mq_point *a = &to->points[i];
    const struct mq_point *b = &from->points[i];
    if (strcmp(a->tensor, b->tensor) != 0 || a->kind != b->kind) {
      return mq_fail(err, MQ_BAD_INPUT, "%s: point %zu is %s, expected %s as in the deployed form",
                     to->graph->name, i, a->tensor, b->tensor);
    }
    a->quantizer = b->quantizer;
    a->quantizer_config = b->quantizer_config;
    mq_qparams_deinit(&a->qparams);
    if (b->qparams.n_channels > 0) {
      status = mq_qparams_copy(&a->qparams, &b->qparams, err);
    }
    mq_free(a->parameters);
    a->parameters = NULL;
    if (b->parameters && status == MQ_OK) {
      size_t n = mq_quantizer_parameter_total(b->quantizer, &b->quantizer_config);
      a->parameters = mq_alloc(n + 1, sizeof(float));
      if (!a->parameters) {
        return mq_fail_memory(err, "a quantizer's parameters");
      }
      memcpy(a->parameters, b->parameters, n * sizeof(float));
    }
  }
  return status;
}
