/* Parameters of Resize, opsets 10 to 19. */
#include <math.h>
#include <string.h>

#include "graph/internal.h"

static mq_status read_choice(int *choice, const struct mq_node *node, const char *name,
                             const char *const *names, int fallback, struct mq_err *err) {
  const char *text;
  mq_status status = mq_node_get_string(&text, node, name, names[fallback], err);
  *choice = fallback;
  if (status != MQ_OK) {
    return status;
  }
  for (int i = 0; names[i]; i++) {
    if (strcmp(text, names[i]) == 0) {
      *choice = i;
      return MQ_OK;
    }
  }
  return graph_fail(err, node, "%s is '%.40s', which is not known", name, text);
}

static mq_status read_modes(struct mq_resize *resize, const struct mq_node *node, bool is_opset_10,
                            struct mq_err *err) {
  static const char *const modes[] = {"nearest", "linear", "cubic", NULL};
  static const char *const coordinates[] = {
      "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
      "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize", NULL};
  static const char *const nearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL};
  int mode, coordinate = 0, rounding = 0;
  mq_status status = read_choice(&mode, node, "mode", modes, 0, err);
  if (status == MQ_OK) {
    status = read_choice(&coordinate, node, "coordinate_transformation_mode", coordinates,
                         is_opset_10 ? MQ_COORDINATES_ASYMMETRIC : 0, err);
  }
  if (status == MQ_OK) {
    status = read_choice(&rounding, node, "nearest_mode", nearest, is_opset_10 ? MQ_NEAREST_FLOOR : 0, err);
  }
  resize->mode = (mq_resize_mode)mode;
  resize->coordinates = (mq_resize_coordinates)coordinate;
  resize->nearest = (mq_resize_nearest)rounding;
  return status;
}

static mq_status read_numbers(struct mq_resize *resize, const struct mq_node *node, struct mq_err *err) {
  int64_t exclude = 0, antialias = 0;
  mq_status status = mq_node_get_float(&resize->cubic_a, node, "cubic_coeff_a", -0.75f, err);
  if (status == MQ_OK) {
    status = mq_node_get_float(&resize->extrapolation_value, node, "extrapolation_value", 0, err);
  }
  if (status == MQ_OK) {
    status = mq_node_get_int(&exclude, node, "exclude_outside", 0, err);
  }
  if (status == MQ_OK) {
    status = mq_node_get_int(&antialias, node, "antialias", 0, err);
  }
  resize->exclude_outside = exclude != 0;
  resize->antialias = antialias != 0;
  return status;
}

/* The axes that scales, sizes and roi speak of, in the order given (opset 18), default all. */
struct axes {
  int n, axis[MQ_MAX_RANK];
};

static mq_status read_axes(struct axes *axes, const struct mq_node *node, int rank, struct mq_err *err) {
  const int64_t *given;
  size_t n;
  mq_status status = mq_node_get_ints(&given, &n, node, "axes", err);
  if (status != MQ_OK) {
    return status;
  }
  if (n > (size_t)rank) {
    return graph_fail(err, node, "%zu axes for %d dimensions", n, rank);
  }
  axes->n = n ? (int)n : rank;
  unsigned seen = 0;
  for (int i = 0; i < axes->n && status == MQ_OK; i++) {
    status = graph_normal_axis(&axes->axis[i], node, n ? given[i] : i, rank, false, err);
    if (status == MQ_OK && (seen >> axes->axis[i] & 1)) {
      status = graph_fail(err, node, "axis %d is named twice", axes->axis[i]);
    }
    seen |= 1u << axes->axis[i];
  }
  return status;
}

/* A float constant with `n` elements; *is_given false if absent or empty. */
static mq_status read_floats(double *values, bool *is_given, const struct mq_node *node, int input, int n,
                             const char *what, struct mq_err *err) {
  *is_given = false;
  if (!graph_has_input(node, input)) {
    return MQ_OK;
  }
  const struct mq_tensor *tensor;
  mq_status status = graph_get_constant(&tensor, node, input, err);
  if (status != MQ_OK) {
    return status;
  }
  int64_t count = mq_shape_count(&tensor->shape);
  if (count == 0) {
    return MQ_OK;
  }
  if (count != n) {
    return graph_fail(err, node, "%lld %s, expected %d", (long long)count, what, n);
  }
  for (int i = 0; i < n; i++) {
    values[i] = mq_tensor_get_double(tensor, i);
  }
  *is_given = true;
  return MQ_OK;
}

static mq_status apply_scales(struct mq_resize *resize, const struct mq_node *node, const struct axes *axes,
                              const double *scales, struct mq_err *err) {
  const struct mq_shape *shape = &node->inputs[0]->shape;
  for (int i = 0; i < axes->n; i++) {
    int axis = axes->axis[i];
    if (!(scales[i] > 0) || scales[i] > 1e9 || (shape->dim[axis] == MQ_DIM_BATCH && scales[i] != 1)) {
      return graph_fail(err, node, "scale %g along axis %d%s", scales[i], axis,
                        shape->dim[axis] == MQ_DIM_BATCH ? ", which is the batch" : "");
    }
    if (shape->dim[axis] == MQ_DIM_BATCH) {
      continue;
    }
    /* In float32, as exporters and runtimes compute it: 10 x 0.7 is 7. */
    float in = (float)shape->dim[axis];
    if (resize->coordinates == MQ_COORDINATES_TF_CROP_AND_RESIZE) {
      in *= (float)resize->roi_end[axis] - (float)resize->roi_start[axis];
    }
    double out = floor((double)(in * (float)scales[i]));
    if (!(out >= 0) || out > (double)MQ_MAX_ELEMENTS) {
      return graph_fail(err, node, "the output's size along axis %d is %g", axis, out);
    }
    resize->scale[axis] = scales[i];
    resize->size[axis] = (int64_t)out;
  }
  return MQ_OK;
}

static bool is_whole_batch(const struct mq_node *node, int64_t dim, int64_t size) {
  return dim == MQ_DIM_BATCH && (size == MQ_DIM_BATCH || size == 1 || size == node->graph->file_batch);
}

static mq_status apply_sizes(struct mq_resize *resize, const struct mq_node *node, const struct axes *axes,
                             const int64_t *sizes, struct mq_err *err) {
  const struct mq_shape *shape = &node->inputs[0]->shape;
  for (int i = 0; i < axes->n; i++) {
    int axis = axes->axis[i];
    int64_t dim = shape->dim[axis];
    if (is_whole_batch(node, dim, sizes[i])) {
      continue;
    }
    if (dim < 1 || sizes[i] < 1 || sizes[i] > MQ_MAX_ELEMENTS) {
      return graph_fail(err, node, "size %lld along axis %d cannot be reached", (long long)sizes[i], axis);
    }
    resize->size[axis] = sizes[i];
    resize->scale[axis] = (double)sizes[i] / (double)dim;
  }
  return MQ_OK;
}

/* not_larger, not_smaller: one scale for all axes, sizes rounded (opset 18). */
static mq_status keep_aspect_ratio(struct mq_resize *resize, const struct mq_node *node,
                                   const struct axes *axes, struct mq_err *err) {
  static const char *const policies[] = {"stretch", "not_larger", "not_smaller", NULL};
  int policy;
  mq_status status = read_choice(&policy, node, "keep_aspect_ratio_policy", policies, 0, err);
  if (status != MQ_OK || policy == 0) {
    return status;
  }
  double scale = 0;
  for (int i = 0; i < axes->n; i++) {
    double s = resize->scale[axes->axis[i]];
    bool is_taken = i == 0 || (policy == 1 ? s < scale : s > scale);
    scale = is_taken ? s : scale;
  }
  for (int i = 0; i < axes->n; i++) {
    int axis = axes->axis[i];
    int64_t dim = node->inputs[0]->shape.dim[axis];
    if (dim == MQ_DIM_BATCH) {
      return graph_fail(err, node, "keeps the aspect ratio over the batch");
    }
    resize->scale[axis] = scale;
    resize->size[axis] = (int64_t)floor(scale * (double)dim + 0.5);
  }
  return MQ_OK;
}

static mq_status read_roi(struct mq_resize *resize, const struct mq_node *node, const struct axes *axes,
                          struct mq_err *err) {
  double roi[2 * MQ_MAX_RANK];
  bool is_given;
  if (resize->coordinates != MQ_COORDINATES_TF_CROP_AND_RESIZE) {
    return MQ_OK;
  }
  mq_status status = read_floats(roi, &is_given, node, 1, 2 * axes->n, "roi entries", err);
  if (status == MQ_OK && !is_given) {
    return graph_fail(err, node, "tf_crop_and_resize without roi");
  }
  for (int i = 0; status == MQ_OK && i < axes->n; i++) {
    resize->roi_start[axes->axis[i]] = roi[i];
    resize->roi_end[axes->axis[i]] = roi[axes->n + i];
  }
  return status;
}

static mq_status apply(struct mq_resize *resize, const struct mq_node *node, int scales_input,
                       const struct axes *axes, struct mq_err *err) {
  double scales[MQ_MAX_RANK];
  bool is_given;
  mq_status status = read_floats(scales, &is_given, node, scales_input, axes->n, "scales", err);
  if (status != MQ_OK) {
    return status;
  }
  if (is_given) {
    return apply_scales(resize, node, axes, scales, err);
  }
  if (!graph_has_input(node, 3)) {
    return graph_fail(err, node, "neither scales nor sizes");
  }
  const int64_t *sizes;
  size_t n;
  status = mq_node_get_constant_ints(&sizes, &n, node, 3, err);
  if (status == MQ_OK && n != (size_t)axes->n) {
    return graph_fail(err, node, "%zu sizes, expected %d", n, axes->n);
  }
  if (status == MQ_OK) {
    status = apply_sizes(resize, node, axes, sizes, err);
  }
  return status == MQ_OK ? keep_aspect_ratio(resize, node, axes, err) : status;
}

mq_status mq_node_get_resize(struct mq_resize *resize, const struct mq_node *node, struct mq_err *err) {
  const struct mq_shape *shape = &node->inputs[0]->shape;
  *resize = (struct mq_resize){.rank = shape->rank};
  for (int i = 0; i < shape->rank; i++) {
    resize->size[i] = shape->dim[i];
    resize->scale[i] = 1;
    resize->roi_end[i] = 1;
  }
  /* X, scales in opset 10; X, roi, scales, sizes since. */
  bool is_opset_10 = node->n_inputs == 2;
  struct axes axes = {0};
  mq_status status = read_modes(resize, node, is_opset_10, err);
  if (status == MQ_OK) {
    status = read_numbers(resize, node, err);
  }
  if (status == MQ_OK) {
    status = read_axes(&axes, node, shape->rank, err);
  }
  if (status == MQ_OK) {
    status = read_roi(resize, node, &axes, err);
  }
  return status == MQ_OK ? apply(resize, node, is_opset_10 ? 1 : 2, &axes, err) : status;
}

/* ---- Coordinates and weights, as ONNX defines them ---------------------------------------------------- */
static double original_coordinate(const struct mq_resize *r, int axis, int64_t o, int64_t n_in) {
  double scale = r->scale[axis], x = (double)o, in = (double)n_in, out = scale * in;
  double start = r->roi_start[axis], end = r->roi_end[axis];
  switch (r->coordinates) {
    case MQ_COORDINATES_HALF_PIXEL:
      return (x + 0.5) / scale - 0.5;
    case MQ_COORDINATES_HALF_PIXEL_SYMMETRIC:
      return in / 2 * (1 - (double)r->size[axis] / out) + (x + 0.5) / scale - 0.5;
    case MQ_COORDINATES_PYTORCH_HALF_PIXEL:
      return r->size[axis] > 1 ? (x + 0.5) / scale - 0.5 : 0;
    case MQ_COORDINATES_ALIGN_CORNERS:
      return r->size[axis] > 1 ? x * (in - 1) / (out - 1) : 0;
    case MQ_COORDINATES_ASYMMETRIC:
      return x / scale;
    case MQ_COORDINATES_TF_HALF_PIXEL_FOR_NN:
      return (x + 0.5) / scale;
    case MQ_COORDINATES_TF_CROP_AND_RESIZE:
      return r->size[axis] > 1 ? start * (in - 1) + x * (end - start) * (in - 1) / (double)(r->size[axis] - 1)
                               : 0.5 * (start + end) * (in - 1);
  }
  return x;
}

static double nearest(double x, mq_resize_nearest mode) {
  switch (mode) {
    case MQ_NEAREST_ROUND_PREFER_FLOOR:
      return ceil(x - 0.5);
    case MQ_NEAREST_ROUND_PREFER_CEIL:
      return floor(x + 0.5);
    case MQ_NEAREST_FLOOR:
      return floor(x);
    case MQ_NEAREST_CEIL:
      return ceil(x);
  }
  return x;
}

/* Keys' cubic kernel with parameter a, or the triangle. */
static double kernel_at(const struct mq_resize *r, double d) {
  double a = (double)r->cubic_a;
  d = fabs(d);
  if (r->mode == MQ_RESIZE_LINEAR) {
    return d < 1 ? 1 - d : 0;
  }
  if (d <= 1) {
    return ((a + 2) * d - (a + 3)) * d * d + 1;
  }
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

/* With antialias the kernel is stretched when the image shrinks. */
static double kernel_scale(const struct mq_resize *r, int axis) {
  return r->antialias && r->scale[axis] < 1 ? r->scale[axis] : 1;
}

static int64_t first_tap(const struct mq_resize *r, int axis) {
  double radius = r->mode == MQ_RESIZE_CUBIC ? 2 : 1;
  return (int64_t)floor(-radius / kernel_scale(r, axis)) + 1;
}

static int64_t clamp_index(int64_t i, int64_t n) {
  return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static void set_taps(int64_t *index, float *weight, const struct mq_resize *r, int axis, double x,
                     int64_t n_in) {
  if (r->mode == MQ_RESIZE_NEAREST) {
    *index = clamp_index((int64_t)nearest(x, r->nearest), n_in);
    *weight = 1;
    return;
  }
  int64_t first = first_tap(r, axis), n_taps = 2 - 2 * first, base = (int64_t)floor(x);
  double ratio = x - floor(x), sum = 0, stretch = kernel_scale(r, axis);
  for (int pass = 0; pass < 2; pass++) { /* the sum first, then the normalised weights */
    for (int64_t t = 0; t < n_taps; t++) {
      int64_t i = base + first + t;
      bool is_excluded = r->exclude_outside && (i < 0 || i >= n_in);
      double w = is_excluded ? 0 : kernel_at(r, ((double)(first + t) - ratio) * stretch);
      if (pass == 0) {
        sum += w;
      } else {
        index[t] = clamp_index(i, n_in);
        weight[t] = (float)(w / sum);
      }
    }
  }
}

int64_t mq_resize_n_taps(const struct mq_resize *r, int axis) {
  return r->mode == MQ_RESIZE_NEAREST ? 1 : 2 - 2 * first_tap(r, axis);
}

double mq_resize_taps(int64_t *index, float *weight, const struct mq_resize *r, int axis, int64_t o,
                      int64_t n_in) {
  double x = original_coordinate(r, axis, o, n_in);
  set_taps(index, weight, r, axis, x, n_in);
  return x;
}
