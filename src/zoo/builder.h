/* Layers as functions, so that an architecture reads as the list of its layers.
 *
 * The first failure stays in `status`; every later call does nothing and answers a tensor without a value.
 * Strings that calls take must live as long as the graph: literals or zoo_name's. */
#ifndef MQ_ZOO_BUILDER_H
#define MQ_ZOO_BUILDER_H

#include "mqbench/graph.h"

struct zoo_builder {
  struct mq_graph *graph;
  int64_t image, classes;
  double width;
  bool is_small; /* 32 pixels: gentler strides, stem and head take part in the width factor */
  uint64_t seed;
  struct mq_value *clip_bounds[2]; /* 0 and 6, once a relu6 needs them */
  mq_status status;
  struct mq_err *err;
};

/* What flows from layer to layer. */
struct zoo_tensor {
  struct mq_value *value;
  int64_t channels;
};

struct zoo_conv {
  int64_t channels, kernel, stride; /* padded by kernel / 2 on every side */
  int64_t groups;                   /* 0: 1 */
};

/* How the classifier's weights start. */
typedef enum zoo_classifier {
  ZOO_CLASSIFIER_TORCH,  /* PyTorch's default: weight and bias uniform within 1 / sqrt(inputs) */
  ZOO_CLASSIFIER_NORMAL, /* normal with deviation 0.01, bias 0 */
} zoo_classifier;

const char *zoo_name(struct zoo_builder *b, const char *format, ...) MQ_PRINTF(2, 3);
/* channels * factor as a multiple of `divisor`: the nearest, but not below 90% of it and at least one. */
int64_t zoo_channels(double channels, double factor, int64_t divisor);

struct zoo_tensor zoo_input(struct zoo_builder *b);
/* Without bias. */
struct zoo_tensor zoo_convolve(struct zoo_builder *b, struct zoo_tensor x, const char *name,
                               const struct zoo_conv *conv);
struct zoo_tensor zoo_normalise(struct zoo_builder *b, struct zoo_tensor x, const char *name);
/* At the end of a deep residual branch: gamma starts as 0, so that the block starts as its shortcut (Goyal et
 * al., "Accurate, Large Minibatch SGD", arXiv 1706.02677, section 5.1). */
struct zoo_tensor zoo_normalise_to_zero(struct zoo_builder *b, struct zoo_tensor x, const char *name);
struct zoo_tensor zoo_relu(struct zoo_builder *b, struct zoo_tensor x, const char *name);
struct zoo_tensor zoo_relu6(struct zoo_builder *b, struct zoo_tensor x, const char *name);
struct zoo_tensor zoo_add(struct zoo_builder *b, struct zoo_tensor x, struct zoo_tensor y, const char *name);
/* 3x3, stride 2, padding 1. */
struct zoo_tensor zoo_max_pool(struct zoo_builder *b, struct zoo_tensor x, const char *name);
/* Global average, then a linear layer `name`, whose output is the graph's: "logits". */
void zoo_classify(struct zoo_builder *b, struct zoo_tensor x, const char *name, zoo_classifier how);

#endif
