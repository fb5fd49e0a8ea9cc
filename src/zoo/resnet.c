/* He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", arXiv 1512.03385. Names and, for
 * ResNet-50, the stride in the 3x3 convolution ("v1.5") as in torchvision. */
#include "zoo/architectures.h"

struct resnet {
  int n_stages;
  int n_blocks[4];
  int64_t channels; /* of the first stage; every next one has twice as many */
  bool is_bottleneck;
};

/* 3x3, 3x3. */
static struct zoo_tensor basic_branch(struct zoo_builder *b, struct zoo_tensor x, const char *block,
                                      int64_t channels, int64_t stride) {
  x = zoo_convolve(b, x, zoo_name(b, "%s.conv1", block), &(struct zoo_conv){channels, 3, stride, 1});
  x = zoo_normalise(b, x, zoo_name(b, "%s.bn1", block));
  x = zoo_relu(b, x, zoo_name(b, "%s.relu", block));
  x = zoo_convolve(b, x, zoo_name(b, "%s.conv2", block), &(struct zoo_conv){channels, 3, 1, 1});
  return zoo_normalise(b, x, zoo_name(b, "%s.bn2", block));
}

/* 1x1, 3x3, 1x1 to four times as many channels. */
static struct zoo_tensor bottleneck_branch(struct zoo_builder *b, struct zoo_tensor x, const char *block,
                                           int64_t channels, int64_t stride) {
  static const char *const relus[] = {"relu", "relu_1"};
  const struct zoo_conv convs[] = {{channels, 1, 1, 1}, {channels, 3, stride, 1}, {4 * channels, 1, 1, 1}};
  for (int i = 0; i < 2; i++) {
    x = zoo_convolve(b, x, zoo_name(b, "%s.conv%d", block, i + 1), &convs[i]);
    x = zoo_normalise(b, x, zoo_name(b, "%s.bn%d", block, i + 1));
    x = zoo_relu(b, x, zoo_name(b, "%s.%s", block, relus[i]));
  }
  x = zoo_convolve(b, x, zoo_name(b, "%s.conv3", block), &convs[2]);
  return zoo_normalise_to_zero(b, x, zoo_name(b, "%s.bn3", block));
}

/* The shortcut is a 1x1 projection where the shape changes (the paper's option B), else the identity. */
static struct zoo_tensor residual(struct zoo_builder *b, struct zoo_tensor x, const char *block,
                                  const struct resnet *net, int64_t channels, int64_t stride) {
  struct zoo_tensor y = net->is_bottleneck ? bottleneck_branch(b, x, block, channels, stride)
                                           : basic_branch(b, x, block, channels, stride);
  if (stride != 1 || x.channels != y.channels) {
    x = zoo_convolve(b, x, zoo_name(b, "%s.downsample.0", block),
                     &(struct zoo_conv){y.channels, 1, stride, 1});
    x = zoo_normalise(b, x, zoo_name(b, "%s.downsample.1", block));
  }
  y = zoo_add(b, y, x, zoo_name(b, "%s.add", block));
  return zoo_relu(b, y, zoo_name(b, "%s.relu_%d", block, net->is_bottleneck ? 2 : 1));
}

/* Small images: a 3x3 stem, no pool; the map halves between the stages only. */
static void build(struct zoo_builder *b, const struct resnet *net) {
  int64_t channels = zoo_channels((double)net->channels, b->width, 8);
  const struct zoo_conv stem = {channels, b->is_small ? 3 : 7, b->is_small ? 1 : 2, 1};
  struct zoo_tensor x = zoo_convolve(b, zoo_input(b), "conv1", &stem);
  x = zoo_relu(b, zoo_normalise(b, x, "bn1"), "relu");
  if (!b->is_small) {
    x = zoo_max_pool(b, x, "maxpool");
  }
  for (int stage = 0; stage < net->n_stages; stage++, channels *= 2) {
    for (int i = 0; i < net->n_blocks[stage]; i++) {
      x = residual(b, x, zoo_name(b, "layer%d.%d", stage + 1, i), net, channels, stage && !i ? 2 : 1);
    }
  }
  zoo_classify(b, x, "fc", ZOO_CLASSIFIER_TORCH);
}

void zoo_resnet18(struct zoo_builder *b) {
  build(b, &(struct resnet){4, {2, 2, 2, 2}, 64, false});
}

void zoo_resnet50(struct zoo_builder *b) {
  build(b, &(struct resnet){4, {3, 4, 6, 3}, 64, true});
}

/* Section 4.2: three stages of n blocks, 16, 32, 64 channels; 6n + 2 layers. */
void zoo_resnet14(struct zoo_builder *b) {
  build(b, &(struct resnet){3, {2, 2, 2}, 16, false});
}

void zoo_resnet20(struct zoo_builder *b) {
  build(b, &(struct resnet){3, {3, 3, 3}, 16, false});
}
