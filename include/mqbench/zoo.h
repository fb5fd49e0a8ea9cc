/* The architectures, built with the graph builder: no weights come from anywhere, they are drawn.
 *
 * Names: resnet18, resnet50, mobilenet_v2, efficientnet_lite0, regnetx_600mf at ImageNet size (224 pixels,
 * 1000 classes), and small-image variants NAME_s32 (32 pixels, 10 classes, gentler strides, a width factor),
 * among them resnet20_s32 and resnet14_s32 (He et al. 2015, section 4.2). docs/zoo.md lists them with the
 * sources of every figure. */
#ifndef MQBENCH_ZOO_H
#define MQBENCH_ZOO_H

#include "mqbench/graph.h"

struct mq_zoo_options {
  int64_t image;   /* pixels; 0: the architecture's own */
  int64_t classes; /* 0: the architecture's own */
  double width;    /* factor on channels, rounded to multiples of 8 (RegNetX: of its group width); 0: the
                    * architecture's own */
  uint64_t seed;   /* of the initial weights (He et al. 2015; the last BN of a residual branch starts at
                    * gamma 1) */
};

struct mq_zoo_arch {
  const char *name, *describes;
  int64_t image, classes;
  double width;
  int64_t parameters, macs; /* as published, of one image; 0 for the small variants */
};
size_t mq_zoo_count(void);
const struct mq_zoo_arch *mq_zoo_at(size_t i);
const struct mq_zoo_arch *mq_zoo_find(const char *name); /* NULL if there is none of that name */
/* Conv (no bias) + BatchNormalization + activation, as PyTorch exports them, with PyTorch's names: node
 * "layer1.0.conv1", its output of the same name, its weight "layer1.0.conv1.weight"; input "input", output
 * "logits". Shapes inferred, the batch free. A constant's numbers depend on the seed, its name and its shape
 * only. `options` may be NULL. MQ_BAD_USAGE for an unknown name (the message lists them) or a size that does
 * not work. */
mq_status mq_zoo_build(struct mq_graph **graph, const char *name, const struct mq_zoo_options *options,
                       struct mq_err *err) MQ_MUST_CHECK;

#endif
