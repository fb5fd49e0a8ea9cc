/* Networks of inverted residuals: MobileNetV2 (Sandler et al., arXiv 1801.04381, table 2; names as in
 * torchvision) and EfficientNet-Lite0 (EfficientNet-B0 of Tan and Le, arXiv 1905.11946, table 1, without
 * squeeze-and-excitation, with ReLU6; names as in timm). */
#include "zoo/architectures.h"

/* One row of the papers' tables. */
struct stage {
  int64_t expansion, channels;
  int n_blocks;
  int64_t stride, kernel, small_stride;
};

/* What the three convolutions of a block, their norms and activations are called. */
struct names {
  const char *expand[3], *depthwise[3], *project[2];
};

static struct zoo_tensor convolve(struct zoo_builder *b, struct zoo_tensor x, const char *block,
                                  const char *const names[3], const struct zoo_conv *conv) {
  x = zoo_convolve(b, x, zoo_name(b, "%s.%s", block, names[0]), conv);
  x = zoo_normalise(b, x, zoo_name(b, "%s.%s", block, names[1]));
  return zoo_relu6(b, x, zoo_name(b, "%s.%s", block, names[2]));
}

/* Expand (1x1; not where the expansion is 1), depthwise, project (1x1, linear). */
static struct zoo_tensor inverted_residual(struct zoo_builder *b, struct zoo_tensor x, const char *block,
                                           const struct names *names, const struct stage *stage,
                                           int64_t channels, int64_t stride) {
  int64_t wide = x.channels * stage->expansion;
  struct zoo_tensor y = x;
  if (stage->expansion > 1) {
    y = convolve(b, y, block, names->expand, &(struct zoo_conv){wide, 1, 1, 1});
  }
  y = convolve(b, y, block, names->depthwise, &(struct zoo_conv){wide, stage->kernel, stride, wide});
  y = zoo_convolve(b, y, zoo_name(b, "%s.%s", block, names->project[0]),
                   &(struct zoo_conv){channels, 1, 1, 1});
  y = zoo_normalise(b, y, zoo_name(b, "%s.%s", block, names->project[1]));
  bool has_shortcut = stride == 1 && x.channels == channels;
  return has_shortcut ? zoo_add(b, x, y, zoo_name(b, "%s.add", block)) : y;
}

/* Small images: the stem and the second stage keep the map's size, 32 pixels end at 4. */
static int64_t stride_of(const struct zoo_builder *b, const struct stage *stage, int block) {
  int64_t stride = b->is_small ? stage->small_stride : stage->stride;
  return block == 0 ? stride : 1;
}

/* The head shrinks with small variants only: at ImageNet size a thousand classes need it. */
void zoo_mobilenet_v2(struct zoo_builder *b) {
  static const struct stage stages[] = {{1, 16, 1, 1, 3, 1}, {6, 24, 2, 2, 3, 1}, {6, 32, 3, 2, 3, 2},
                                        {6, 64, 4, 2, 3, 2}, {6, 96, 3, 1, 3, 1}, {6, 160, 3, 2, 3, 2},
                                        {6, 320, 1, 1, 3, 1}};
  static const struct names first = {{0}, {"conv.0.0", "conv.0.1", "conv.0.2"}, {"conv.1", "conv.2"}};
  static const struct names others = {
      {"conv.0.0", "conv.0.1", "conv.0.2"}, {"conv.1.0", "conv.1.1", "conv.1.2"}, {"conv.2", "conv.3"}};
  static const char *const plain[] = {"0", "1", "2"};
  double head = b->is_small || b->width > 1 ? b->width : 1;
  const struct zoo_conv stem = {zoo_channels(32, b->width, 8), 3, b->is_small ? 1 : 2, 1};
  struct zoo_tensor x = convolve(b, zoo_input(b), "features.0", plain, &stem);
  int n = 1;
  for (size_t s = 0; s < sizeof stages / sizeof stages[0]; s++) {
    int64_t channels = zoo_channels((double)stages[s].channels, b->width, 8);
    for (int i = 0; i < stages[s].n_blocks; i++, n++) {
      x = inverted_residual(b, x, zoo_name(b, "features.%d", n), s ? &others : &first, &stages[s], channels,
                            stride_of(b, &stages[s], i));
    }
  }
  x = convolve(b, x, zoo_name(b, "features.%d", n), plain,
               &(struct zoo_conv){zoo_channels(1280, head, 8), 1, 1, 1});
  zoo_classify(b, x, "classifier.1", ZOO_CLASSIFIER_NORMAL);
}

/* The Lite family scales neither stem nor head. */
void zoo_efficientnet_lite0(struct zoo_builder *b) {
  static const struct stage stages[] = {{1, 16, 1, 1, 3, 1}, {6, 24, 2, 2, 3, 1},  {6, 40, 2, 2, 5, 2},
                                        {6, 80, 3, 2, 3, 2}, {6, 112, 3, 1, 5, 1}, {6, 192, 4, 2, 5, 2},
                                        {6, 320, 1, 1, 3, 1}};
  static const struct names first = {{0}, {"conv_dw", "bn1", "act1"}, {"conv_pw", "bn2"}};
  static const struct names others = {
      {"conv_pw", "bn1", "act1"}, {"conv_dw", "bn2", "act2"}, {"conv_pwl", "bn3"}};
  double ends = b->is_small ? b->width : 1;
  const struct zoo_conv stem = {zoo_channels(32, ends, 8), 3, b->is_small ? 1 : 2, 1},
                        head = {zoo_channels(1280, ends, 8), 1, 1, 1};
  struct zoo_tensor x = zoo_convolve(b, zoo_input(b), "conv_stem", &stem);
  x = zoo_relu6(b, zoo_normalise(b, x, "bn1"), "act1");
  for (int s = 0; s < (int)(sizeof stages / sizeof stages[0]); s++) {
    int64_t channels = zoo_channels((double)stages[s].channels, b->width, 8);
    for (int i = 0; i < stages[s].n_blocks; i++) {
      x = inverted_residual(b, x, zoo_name(b, "blocks.%d.%d", s, i), s ? &others : &first, &stages[s],
                            channels, stride_of(b, &stages[s], i));
    }
  }
  x = zoo_convolve(b, x, "conv_head", &head);
  x = zoo_relu6(b, zoo_normalise(b, x, "bn2"), "act2");
  zoo_classify(b, x, "classifier", ZOO_CLASSIFIER_NORMAL);
}
