/* Pad: the inside is copied, then each axis's borders are made from what lies in the output already, so that
 * corners come out right; negative pads cut off. */
#include <string.h>

#include "engine/compile.h"

static void *element_at(const struct mq_tensor *tensor, int64_t offset) {
  return (char *)tensor->data + offset * (int64_t)mq_dtype_get(tensor->dtype)->bytes;
}

static void fill_with(struct mq_tensor *y, double value) {
  if (y->dtype == MQ_F32) { /* the output of a step is dense */
    float *to = y->data, filler = (float)value;
    int64_t n = mq_shape_count(&y->shape);
    for (int64_t i = 0; i < n; i++) {
      to[i] = filler;
    }
    return;
  }
  struct mq_tensor source = mq_tensor_view(&value, MQ_F64, &y->shape, NULL);
  memset(source.stride, 0, sizeof source.stride);
  mq_tensor_copy(y, &source);
}

/* Where output coordinate `o` along an axis gets its value from, in coordinates of the input; n > 0. */
static int64_t source_of(int64_t o, int64_t n, mq_pad_mode mode) {
  if (mode == MQ_PAD_EDGE) {
    return o < 0 ? 0 : o >= n ? n - 1 : o;
  }
  if (mode == MQ_PAD_WRAP) {
    return ((o % n) + n) % n;
  }
  int64_t period = n > 1 ? 2 * (n - 1) : 1; /* reflect: the border itself is not repeated */
  o = ((o % period) + period) % period;
  return o < n ? o : period - o;
}

static void copy_plane(const struct mq_tensor *y, int axis, int64_t to_index, int64_t from_index) {
  struct mq_tensor to = *y, from = *y;
  to.shape.dim[axis] = from.shape.dim[axis] = 1;
  to.data = element_at(y, to_index * y->stride[axis]);
  from.data = element_at(y, from_index * y->stride[axis]);
  engine_copy(&to, &from);
}

/* What x and y have in common. */
static void find_inside(struct mq_tensor *of_y, struct mq_tensor *of_x, const struct mq_tensor *y,
                        const struct mq_tensor *x, const struct mq_padding *p) {
  int64_t y_offset = 0, x_offset = 0;
  *of_y = *y;
  *of_x = *x;
  for (int i = 0; i < x->shape.rank; i++) {
    int64_t cut = p->begin[i] < 0 ? -p->begin[i] : 0, cut_end = p->end[i] < 0 ? -p->end[i] : 0;
    of_x->shape.dim[i] = x->shape.dim[i] - cut - cut_end;
    of_y->shape.dim[i] = of_x->shape.dim[i];
    x_offset += cut * x->stride[i];
    y_offset += (p->begin[i] > 0 ? p->begin[i] : 0) * y->stride[i];
  }
  of_x->data = element_at(x, x_offset);
  of_y->data = element_at(y, y_offset);
}

static mq_status forward_pad(const struct engine_step *step, struct engine_frame *frame, struct mq_err *err) {
  (void)err;
  const struct mq_padding *p = step->state;
  struct mq_tensor *y = engine_output(step, frame, 0);
  if (p->mode == MQ_PAD_CONSTANT) {
    fill_with(y, p->value);
  }
  struct mq_tensor to, from;
  find_inside(&to, &from, y, engine_input(step, frame, 0), p);
  engine_copy(&to, &from);
  for (int axis = 0; axis < p->rank && p->mode != MQ_PAD_CONSTANT; axis++) {
    int64_t begin = p->begin[axis] > 0 ? p->begin[axis] : 0, end = p->end[axis] > 0 ? p->end[axis] : 0;
    int64_t size = y->shape.dim[axis], n = size - begin - end;
    for (int64_t i = 0; i < size; i++) {
      if (i < begin || i >= begin + n) {
        copy_plane(y, axis, i, begin + source_of(i - begin, n, p->mode));
      }
    }
  }
  return MQ_OK;
}

/* Index `index` of the axis, all of the other dimensions. */
static struct mq_tensor plane_of(const struct mq_tensor *tensor, int axis, int64_t index) {
  struct mq_tensor plane = *tensor;
  plane.shape.dim[axis] = 1;
  plane.data = element_at(tensor, index * tensor->stride[axis]);
  return plane;
}

/* d: of the inside. Every element of y gives its gradient to the one it was copied from: plane by plane along
 * the axes from `axis` on that are padded, in the order of the output's indices. */
static void add_planes(const struct mq_tensor *d, const struct mq_tensor *g, const struct mq_padding *p,
                       int axis) {
  while (axis < p->rank && p->begin[axis] <= 0 && p->end[axis] <= 0) {
    axis++;
  }
  if (axis == p->rank) {
    struct mq_tensor to = *d;
    engine_pass_gradient(&to, g, true);
    return;
  }
  int64_t begin = p->begin[axis] > 0 ? p->begin[axis] : 0, n = d->shape.dim[axis];
  for (int64_t o = 0; o < g->shape.dim[axis]; o++) {
    bool is_inside = o >= begin && o < begin + n;
    int64_t origin = is_inside ? o - begin : source_of(o - begin, n, p->mode);
    struct mq_tensor to = plane_of(d, axis, origin), from = plane_of(g, axis, o);
    add_planes(&to, &from, p, axis + 1);
  }
}

static mq_status backward_pad(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  (void)err;
  const struct mq_padding *p = step->state;
  const struct mq_tensor *d = engine_input_gradient(step, frame, 0),
                         *g = engine_output_gradient(step, frame, 0);
  struct mq_tensor of_g, of_d;
  if (!step->adds[0]) { /* what was cut off has none */
    engine_zero(d);
  }
  find_inside(&of_g, &of_d, g, d, p);
  if (p->mode == MQ_PAD_CONSTANT) {
    engine_pass_gradient(&of_d, &of_g, true);
  } else {
    add_planes(&of_d, g, p, 0);
  }
  return MQ_OK;
}

static const struct engine_function pad_function = {.forward = forward_pad, .backward = backward_pad};

static mq_status compile_pad(struct engine_compiler *c, const struct mq_node *node, struct mq_err *err) {
  int x, y;
  void *block;
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct mq_padding), err);
  if (status == MQ_OK) {
    status = mq_node_get_padding(block, node, err);
  }
  if (status == MQ_OK) {
    status = engine_read(&x, c, node->inputs[0], ENGINE_ANY, err);
  }
  if (status == MQ_OK) {
    status = engine_new_output(&y, c, node, 0, NULL, err);
  }
  return status == MQ_OK ? engine_emit_simple(c, &pad_function, block, &x, 1, y, err) : status;
}

const struct engine_op engine_op_Pad = {.compile = compile_pad, .function = &pad_function};
