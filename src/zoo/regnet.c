/* RegNetX-600MF: Radosavovic et al., "Designing Network Design Spaces", arXiv 2003.13678. Names as in timm.
 */
#include <math.h>

#include "mqbench/kernel.h"
#include "zoo/architectures.h"

#define DEPTH 16
#define GROUP_WIDTH 24

/* Widths of the blocks (section 3.3): u_j = w_0 + w_a j becomes the nearest w_0 w_m^s with a whole s (nearest
 * in the logarithm), rounded to a multiple of 8. Blocks of equal width are a stage. */
static void block_widths(int64_t widths[DEPTH]) {
  const double w_0 = 48, w_a = 36.97, w_m = 2.24;
  for (int j = 0; j < DEPTH; j++) {
    double s = floor(mq_log((w_0 + w_a * j) / w_0) / mq_log(w_m) + 0.5);
    widths[j] = 8 * (int64_t)floor(w_0 * mq_exp(s * mq_log(w_m)) / 8 + 0.5);
  }
}

/* Whole groups, as every 3x3 needs them: the nearest number, at least one. */
static int64_t whole_groups(int64_t width, double factor) {
  int64_t groups = (int64_t)floor((double)width * factor / GROUP_WIDTH + 0.5);
  return GROUP_WIDTH * (groups < 1 ? 1 : groups);
}

static struct zoo_tensor convolve(struct zoo_builder *b, struct zoo_tensor x, const char *name,
                                  const struct zoo_conv *conv) {
  x = zoo_convolve(b, x, zoo_name(b, "%s.conv", name), conv);
  return zoo_normalise(b, x, zoo_name(b, "%s.bn", name));
}

/* The X block: 1x1, 3x3 in groups, 1x1, all of the same width. */
static struct zoo_tensor residual(struct zoo_builder *b, struct zoo_tensor x, const char *block,
                                  int64_t width, int64_t stride) {
  const struct zoo_conv convs[] = {
      {width, 1, 1, 1}, {width, 3, stride, width / GROUP_WIDTH}, {width, 1, 1, 1}};
  struct zoo_tensor y = x;
  for (int i = 0; i < 2; i++) {
    const char *name = zoo_name(b, "%s.conv%d", block, i + 1);
    y = zoo_relu(b, convolve(b, y, name, &convs[i]), zoo_name(b, "%s.act", name));
  }
  y = zoo_convolve(b, y, zoo_name(b, "%s.conv3.conv", block), &convs[2]);
  y = zoo_normalise_to_zero(b, y, zoo_name(b, "%s.conv3.bn", block));
  if (stride != 1 || x.channels != width) {
    x = convolve(b, x, zoo_name(b, "%s.downsample", block), &(struct zoo_conv){width, 1, stride, 1});
  }
  y = zoo_add(b, y, x, zoo_name(b, "%s.add", block));
  return zoo_relu(b, y, zoo_name(b, "%s.act3", block));
}

/* A stage halves the map with its first block. Small images: stem and first stage keep the map's size. */
void zoo_regnetx_600mf(struct zoo_builder *b) {
  int64_t widths[DEPTH];
  block_widths(widths);
  const struct zoo_conv stem = {zoo_channels(32, b->width, 8), 3, b->is_small ? 1 : 2, 1};
  struct zoo_tensor x = zoo_relu(b, convolve(b, zoo_input(b), "stem", &stem), "stem.act");
  int stage = 0, in_stage = 0;
  for (int j = 0; j < DEPTH; j++) {
    bool is_first = j == 0 || widths[j] != widths[j - 1];
    stage += is_first;
    in_stage = is_first ? 1 : in_stage + 1;
    int64_t stride = is_first && !(b->is_small && stage == 1) ? 2 : 1;
    x = residual(b, x, zoo_name(b, "s%d.b%d", stage, in_stage), whole_groups(widths[j], b->width), stride);
  }
  zoo_classify(b, x, "head.fc", ZOO_CLASSIFIER_NORMAL);
}
