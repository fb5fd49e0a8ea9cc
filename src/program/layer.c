#include "program/layer.h"

struct program_layer program_layer_make(const struct mq_program *program, const struct mq_program_step *step,
                                        const struct mq_program_window *window, int32_t groups,
                                        bool is_transposed) {
  return (struct program_layer){.x = program_input(program, step, 0),
                                .y = program_output(program, step),
                                .window = window,
                                .groups = groups,
                                .is_transposed = is_transposed};
}

/* Output size along an axis; transposed: what the input's pixels reach. */
static int64_t output_size(const struct program_layer *layer, int axis) {
  const struct mq_program_window *w = layer->window;
  const int64_t in = layer->x->dim[axis], extent = program_extent(w, axis);
  const int64_t pads = (int64_t)w->pad_begin[axis] + w->pad_end[axis];
  if (layer->is_transposed) return (in - 1) * w->stride[axis] + extent - pads;
  return in + pads < extent ? 0 : (in + pads - extent) / w->stride[axis] + 1;
}

int64_t program_layer_row(const struct program_layer *layer) {
  const int32_t *kernel = layer->window->kernel;
  const uint64_t taps = program_times((uint64_t)kernel[0], (uint64_t)kernel[1]);
  const uint64_t inputs = (uint64_t)(program_last_dim(layer->x) / layer->groups);
  const uint64_t n = program_times(taps, inputs), most = (uint64_t)MQ_PROGRAM_MAX_ELEMENTS + 1;
  return (int64_t)(n < most ? n : most);
}

uint64_t program_layer_work(const struct program_layer *layer) {
  return program_times((uint64_t)mq_program_elements(layer->y), (uint64_t)program_layer_row(layer));
}

static mq_program_status check_weights(const struct program_layer *layer, const struct mq_program *program,
                                       const struct mq_program_step *step, struct mq_program_err *err) {
  const int64_t n = program_layer_row(layer), outputs = program_last_dim(layer->y);
  if (n <= MQ_PROGRAM_MAX_ELEMENTS / outputs) return MQ_PROGRAM_OK;
  return program_fail_step(err, program, step,
                           "%lld weights for each of %lld channels, expected at most 2^28", (long long)n,
                           (long long)outputs);
}

mq_program_status program_layer_check_conv(const struct program_layer *layer,
                                           const struct mq_program *program,
                                           const struct mq_program_step *step, struct mq_program_err *err) {
  const struct mq_program_tensor *x = layer->x, *y = layer->y;
  const mq_program_status status = program_check_window(program, step, layer->window, err);
  if (status != MQ_PROGRAM_OK) return status;
  if (x->rank != 3 || y->rank != 3)
    return program_fail_step(err, program, step, "ranks %lld and %lld, expected 3: H, W, C",
                             (long long)x->rank, (long long)y->rank);
  if (layer->groups < 1 || x->dim[2] % layer->groups != 0 || y->dim[2] % layer->groups != 0)
    return program_fail_step(err, program, step, "%lld groups of %lld and %lld channels, expected a divisor",
                             (long long)layer->groups, (long long)x->dim[2], (long long)y->dim[2]);
  for (int axis = 0; axis < 2; axis++) {
    const int64_t size = output_size(layer, axis), pad = layer->window->pad_end[axis];
    if (pad < 0 && !layer->is_transposed)
      return program_fail_step(err, program, step, "a pad of %lld, expected 0 or more", (long long)pad);
    if (size != y->dim[axis])
      return program_fail_step(err, program, step, "output size %lld, expected %lld", (long long)y->dim[axis],
                               (long long)size);
  }
  return check_weights(layer, program, step, err);
}

mq_program_status program_layer_check_linear(const struct program_layer *layer,
                                             const struct mq_program *program,
                                             const struct mq_program_step *step, struct mq_program_err *err) {
  const struct mq_program_tensor *x = layer->x, *y = layer->y;
  const struct mq_program_window *w = layer->window;
  bool is_plain = layer->groups == 1 && !layer->is_transposed;
  for (int axis = 0; axis < 2; axis++)
    is_plain = is_plain && w->kernel[axis] == 1 && w->stride[axis] == 1 && w->dilation[axis] == 1 &&
               w->pad_begin[axis] == 0 && w->pad_end[axis] == 0;
  if (!is_plain) return program_fail_step(err, program, step, "a window, expected one of 1 x 1 without pads");
  bool is_right = x->rank == y->rank && x->rank >= 1;
  for (int32_t i = 0; i + 1 < x->rank && is_right; i++)
    is_right = x->dim[i] == y->dim[i];
  if (is_right) return check_weights(layer, program, step, err);
  return program_fail_step(err, program, step, "expected shapes that differ in the last dimension at most");
}

int64_t program_layer_input(const struct program_layer *layer, int axis, int64_t o, int64_t t) {
  const struct mq_program_window *w = layer->window;
  int64_t at = o * w->stride[axis] - w->pad_begin[axis] + t * w->dilation[axis];
  if (layer->is_transposed) {
    const int64_t scaled = o + w->pad_begin[axis] - t * w->dilation[axis];
    at = scaled >= 0 && scaled % w->stride[axis] == 0 ? scaled / w->stride[axis] : -1;
  }
  return at >= 0 && at < layer->x->dim[axis] ? at : -1;
}
