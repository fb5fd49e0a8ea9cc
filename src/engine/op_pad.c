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

static void copy_inside(struct mq_tensor *y, const struct mq_tensor *x, const struct mq_padding *p) {
  struct mq_tensor to = *y, from = *x;
  int64_t to_offset = 0, from_offset = 0;
  for (int i = 0; i < x->shape.rank; i++) {
    int64_t cut = p->begin[i] < 0 ? -p->begin[i] : 0, cut_end = p->end[i] < 0 ? -p->end[i] : 0;
    from.shape.dim[i] = x->shape.dim[i] - cut - cut_end;
    to.shape.dim[i] = from.shape.dim[i];
    from_offset += cut * x->stride[i];
    to_offset += (p->begin[i] > 0 ? p->begin[i] : 0) * y->stride[i];
  }
  from.data = element_at(x, from_offset);
  to.data = element_at(y, to_offset);
  engine_copy(&to, &from);
}

static mq_status forward_pad(const struct engine_step *step, struct engine_frame *frame, struct mq_err *err) {
  (void)err;
  const struct mq_padding *p = step->state;
  struct mq_tensor *y = engine_output(step, frame, 0);
  if (p->mode == MQ_PAD_CONSTANT) {
    fill_with(y, p->value);
  }
  copy_inside(y, engine_input(step, frame, 0), p);
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

static const struct engine_function pad_function = {.forward = forward_pad};

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
