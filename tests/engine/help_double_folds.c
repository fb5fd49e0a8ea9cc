/* Batch normalisation taken apart (mqbench/ops.def). */
#include <math.h>

#include "help_double.h"

static int64_t int_of(const struct mq_node *node, const char *name, int64_t fallback) {
  struct mq_err err;
  int64_t i;
  plain_require(mq_node_get_int(&i, node, name, fallback, &err), &err);
  return i;
}

/* Of the whole batch; the running ones are not looked at. */
static void run_statistics(const struct plain *plain, const struct mq_node *node) {
  const struct grid *x = plain_input(plain, node, 0);
  double *mean = plain_output(plain, node, 0)->v, *variance = plain_output(plain, node, 1)->v;
  int64_t channels = x->dim[1], inner = x->count / x->dim[0] / channels;
  double count = (double)(x->count / channels);
  for (int64_t c = 0; c < channels; c++)
    mean[c] = variance[c] = 0;
  for (int64_t i = 0; i < x->count; i++)
    mean[i / inner % channels] += x->v[i] / count;
  for (int64_t i = 0; i < x->count; i++) {
    double d = x->v[i] - mean[i / inner % channels];
    variance[i / inner % channels] += d * d / count;
  }
}

static void run_factor(const struct plain *plain, const struct mq_node *node) {
  const struct grid *variance = plain_input(plain, node, 0), *gamma = plain_input(plain, node, 1),
                    *y = plain_output(plain, node, 0);
  struct mq_err err;
  float epsilon;
  plain_require(mq_node_get_float(&epsilon, node, "epsilon", 1e-5f, &err), &err);
  for (int64_t c = 0; c < y->count; c++) {
    y->v[c] = (gamma ? gamma->v[c] : 1) / sqrt(variance->v[c] + (double)epsilon);
    if (fabs(y->v[c]) < 1e-6) y->v[c] = y->v[c] < 0 ? -1e-6 : 1e-6;
  }
}

static void run_bias(const struct plain *plain, const struct mq_node *node) {
  const struct grid *beta = plain_input(plain, node, 0), *factor = plain_input(plain, node, 1),
                    *mean = plain_input(plain, node, 2), *bias = plain_input(plain, node, 3),
                    *y = plain_output(plain, node, 0);
  for (int64_t c = 0; c < y->count; c++)
    y->v[c] = beta->v[c] + factor->v[c] * ((bias ? bias->v[c] : 0) - mean->v[c]);
}

static void run_scale(const struct plain *plain, const struct mq_node *node) {
  const struct grid *x = plain_input(plain, node, 0), *factor = plain_input(plain, node, 1),
                    *shift = plain_input(plain, node, 2), *y = plain_output(plain, node, 0);
  int64_t axis = int_of(node, "axis", 1), n_groups = int_of(node, "groups", 1), index[MQ_MAX_RANK];
  bool divides = int_of(node, "divides", 0) != 0;
  for (int64_t i = 0; i < y->count; i++) {
    grid_index(index, x, i);
    int64_t group = n_groups > 1 ? index[0] / (x->dim[0] / n_groups) : 0;
    double f = factor->v[group * x->dim[axis] + index[axis]];
    y->v[i] = (divides ? x->v[i] / f : x->v[i] * f) + (shift ? shift->v[index[axis]] : 0);
  }
}

bool plain_run_fold(const struct plain *plain, const struct mq_node *node) {
  switch (node->op) {
    case MQ_OP_BatchStatistics:
      run_statistics(plain, node);
      return true;
    case MQ_OP_FoldFactor:
      run_factor(plain, node);
      return true;
    case MQ_OP_FoldBias:
      run_bias(plain, node);
      return true;
    case MQ_OP_ScaleChannels:
      run_scale(plain, node);
      return true;
    default:
      return false;
  }
}
