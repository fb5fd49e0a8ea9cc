/* Layers in one form: a convolution in two dimensions, channels last in memory. One with one dimension has a
 * height of 1; a linear layer is one of 1 x 1 images, one for each row. */
#ifndef MQ_ENGINE_EXACT_GEOMETRY_H
#define MQ_ENGINE_EXACT_GEOMETRY_H

#include "engine/compile.h"

struct exact_geometry {
  struct mq_shape input, output;       /* N C H W */
  struct mq_shape weights;             /* O, I / groups, KH, KW */
  int64_t group_inputs, group_outputs; /* channels of a group */
  struct mq_window window;
  bool is_transposed;
};
bool exact_is_conv(const struct mq_node *layer);
/* `w`: the layer's weights; `output`: of its group, whose last dimensions are the layer's. */
mq_status exact_geometry_init(struct exact_geometry *g, const struct engine_compiler *c,
                              const struct mq_node *layer, const struct mq_tensor *w,
                              const struct mq_value *output, struct mq_err *err) MQ_MUST_CHECK;
/* Element (o, i, tap) of the weights in their own order. */
int64_t exact_weight_at(const struct exact_geometry *g, const struct mq_node *layer,
                        const struct mq_tensor *w, int64_t o, int64_t i, int64_t tap);
/* Where tap (kh, kw) of an output pixel, counted through N, H, W, reads the first channel of its pixel; -1:
 * outside the image. */
int64_t exact_tap_at(const struct exact_geometry *g, int64_t pixel, int64_t kh, int64_t kw);
/* A shape of rank 3 or 4 as N C H W. */
struct mq_shape exact_with_height(const struct mq_shape *shape);
/* A new place for the output, and the place of the layer's input. */
mq_status exact_layer_places(int *x, int *y, struct engine_compiler *c, const struct mq_node *layer,
                             const struct mq_value *output, struct mq_err *err) MQ_MUST_CHECK;

#endif
