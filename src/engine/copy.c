/* Strided copies with long runs. */
#include <string.h>

#include "engine/compile.h"

/* Is dimension `inner` of both tensors continued by dimension `outer`? */
static bool can_join(const struct mq_tensor *to, const struct mq_tensor *from, int outer, int inner) {
  int64_t n = to->shape.dim[inner];
  return to->stride[outer] == n * to->stride[inner] && from->stride[outer] == n * from->stride[inner];
}

static void drop_dim(struct mq_tensor *tensor, int dim) {
  for (int i = dim; i + 1 < tensor->shape.rank; i++) {
    tensor->shape.dim[i] = tensor->shape.dim[i + 1];
    tensor->stride[i] = tensor->stride[i + 1];
  }
  tensor->shape.rank--;
}

void engine_copy(struct mq_tensor *to, const struct mq_tensor *from) {
  struct mq_tensor t = *to, f = *from;
  for (int i = t.shape.rank - 1; i >= 0; i--) {
    if (t.shape.dim[i] == 1) {
      drop_dim(&t, i);
      drop_dim(&f, i);
    }
  }
  for (int inner = t.shape.rank - 1; inner >= 0; inner--) {
    for (int outer = t.shape.rank - 1; outer >= 0; outer--) {
      if (outer != inner && can_join(&t, &f, outer, inner)) {
        t.shape.dim[inner] *= t.shape.dim[outer];
        f.shape.dim[inner] = t.shape.dim[inner];
        drop_dim(&t, outer);
        drop_dim(&f, outer);
        inner = t.shape.rank; /* start again: the joined run may be joined further */
        break;
      }
    }
  }
  mq_tensor_copy(&t, &f);
}

static mq_status forward_copy(const struct engine_step *step, struct engine_frame *frame,
                              struct mq_err *err) {
  (void)err;
  engine_copy(engine_output(step, frame, 0), engine_input(step, frame, 0));
  return MQ_OK;
}

static mq_status backward_copy(const struct engine_step *step, struct engine_frame *frame,
                               struct mq_err *err) {
  (void)err;
  engine_pass_gradient(engine_input_gradient(step, frame, 0), engine_output_gradient(step, frame, 0),
                       step->adds[0]);
  return MQ_OK;
}

const struct engine_function engine_copy_function = {.forward = forward_copy, .backward = backward_copy};

void engine_pass_gradient(struct mq_tensor *d, const struct mq_tensor *g, bool adds) {
  struct mq_tensor to = *d;
  bool is_repeated = false; /* of a view that shows an element several times: its gradients add up */
  for (int i = 0; i < to.shape.rank; i++) {
    if (to.stride[i] == 0 && to.shape.dim[i] > 1) {
      to.shape.dim[i] = 1;
      is_repeated = true;
    }
  }
  if (adds || is_repeated) {
    mq_binary_backward(&to, g, NULL, NULL, MQ_BINARY_ADD, 0);
  } else {
    engine_copy(&to, g);
  }
}

void engine_zero(const struct mq_tensor *dense) {
  memset(dense->data, 0, (size_t)mq_shape_count(&dense->shape) * mq_dtype_get(dense->dtype)->bytes);
}
