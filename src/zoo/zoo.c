/* The list of architectures, and the checks of what is asked of them. */
#include "mqbench/zoo.h"

#include <inttypes.h>
#include <string.h>

#include "zoo/architectures.h"

#define MAX_IMAGE 4096
#define MAX_CLASSES 65536
#define MAX_WIDTH 4.0

/* Parameters and multiply-accumulates: docs/zoo.md names the sources. */
static const struct architecture {
  struct mq_zoo_arch arch;
  void (*build)(struct zoo_builder *b);
  bool is_small;
  int64_t least_image; /* the product of the strides: the last map has a whole pixel */
} architectures[] = {
    {{"resnet18", "ResNet-18", 224, 1000, 1, 11689512, 1814073344}, zoo_resnet18, false, 32},
    {{"resnet50", "ResNet-50, stride in the 3x3 (v1.5)", 224, 1000, 1, 25557032, 4089184256},
     zoo_resnet50,
     false,
     32},
    {{"mobilenet_v2", "MobileNetV2", 224, 1000, 1, 3504872, 300774272}, zoo_mobilenet_v2, false, 32},
    {{"efficientnet_lite0", "EfficientNet-Lite0: ReLU6, no squeeze-and-excitation", 224, 1000, 1, 4652008,
      385187552},
     zoo_efficientnet_lite0,
     false,
     32},
    {{"regnetx_600mf", "RegNetX-600MF: groups of 24 channels", 224, 1000, 1, 6196040, 600890112},
     zoo_regnetx_600mf,
     false,
     32},
    {{"resnet14_s32", "ResNet-14 of He et al.'s small-image form", 32, 10, 1, 0, 0}, zoo_resnet14, true, 4},
    {{"resnet20_s32", "ResNet-20 of He et al.'s small-image form", 32, 10, 1, 0, 0}, zoo_resnet20, true, 4},
    {{"resnet18_s32", "ResNet-18 for small images, a quarter as wide", 32, 10, 0.25, 0, 0},
     zoo_resnet18,
     true,
     8},
    {{"resnet50_s32", "ResNet-50 for small images, a quarter as wide", 32, 10, 0.25, 0, 0},
     zoo_resnet50,
     true,
     8},
    {{"mobilenet_v2_s32", "MobileNetV2 for small images, half as wide", 32, 10, 0.5, 0, 0},
     zoo_mobilenet_v2,
     true,
     8},
    {{"efficientnet_lite0_s32", "EfficientNet-Lite0 for small images, half as wide", 32, 10, 0.5, 0, 0},
     zoo_efficientnet_lite0,
     true,
     8},
    {{"regnetx_600mf_s32", "RegNetX-600MF for small images, half as wide", 32, 10, 0.5, 0, 0},
     zoo_regnetx_600mf,
     true,
     8},
};

#define N_ARCHITECTURES (sizeof architectures / sizeof architectures[0])

size_t mq_zoo_count(void) {
  return N_ARCHITECTURES;
}

const struct mq_zoo_arch *mq_zoo_at(size_t i) {
  return &architectures[i].arch;
}

static const struct architecture *find(const char *name) {
  for (size_t i = 0; i < N_ARCHITECTURES; i++) {
    if (strcmp(architectures[i].arch.name, name) == 0) {
      return &architectures[i];
    }
  }
  return NULL;
}

const struct mq_zoo_arch *mq_zoo_find(const char *name) {
  const struct architecture *found = find(name);
  return found ? &found->arch : NULL;
}

static mq_status fail_unknown(const char *name, struct mq_err *err) {
  char names[512] = "";
  size_t used = 0;
  for (size_t i = 0; i < N_ARCHITECTURES && used < sizeof names; i++) {
    used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                             architectures[i].arch.name);
  }
  return mq_fail(err, MQ_BAD_USAGE, "architecture '%s' is unknown, expected one of %s", name, names);
}

/* What is left open becomes the architecture's own. */
static mq_status settle(struct zoo_builder *b, const struct architecture *architecture,
                        const struct mq_zoo_options *options) {
  const struct mq_zoo_arch *arch = &architecture->arch;
  b->image = options->image ? options->image : arch->image;
  b->classes = options->classes ? options->classes : arch->classes;
  b->width = options->width != 0 ? options->width : arch->width;
  b->seed = options->seed;
  b->is_small = architecture->is_small;
  if (b->image < architecture->least_image || b->image > MAX_IMAGE) {
    return mq_fail(b->err, MQ_BAD_USAGE, "%s: image size %" PRId64 ", expected %" PRId64 " to %d pixels",
                   arch->name, b->image, architecture->least_image, MAX_IMAGE);
  }
  if (b->classes < 2 || b->classes > MAX_CLASSES) {
    return mq_fail(b->err, MQ_BAD_USAGE, "%s: %" PRId64 " classes, expected 2 to %d", arch->name, b->classes,
                   MAX_CLASSES);
  }
  if (!(b->width > 0 && b->width <= MAX_WIDTH)) {
    return mq_fail(b->err, MQ_BAD_USAGE, "%s: width factor %g, expected a number above 0 and up to %g",
                   arch->name, b->width, MAX_WIDTH);
  }
  return MQ_OK;
}

mq_status mq_zoo_build(struct mq_graph **graph, const char *name, const struct mq_zoo_options *options,
                       struct mq_err *err) {
  *graph = NULL;
  const struct architecture *architecture = find(name);
  if (!architecture) {
    return fail_unknown(name, err);
  }
  struct zoo_builder b = {.err = err};
  mq_status status = settle(&b, architecture, options ? options : &(struct mq_zoo_options){0});
  if (status == MQ_OK) {
    status = mq_graph_create(&b.graph, name, err);
  }
  if (status == MQ_OK) {
    architecture->build(&b);
    status = b.status;
  }
  if (status == MQ_OK) {
    status = mq_graph_infer(b.graph, true, err);
  }
  if (status == MQ_OK) {
    status = mq_graph_verify(b.graph, err);
  }
  if (status != MQ_OK) {
    mq_graph_destroy(b.graph);
    return status;
  }
  *graph = b.graph;
  return MQ_OK;
}
