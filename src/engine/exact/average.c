/* Averages of codes, over windows and over all pixels. */
#include <string.h>

#include "engine/exact/exact.h"

struct average_state {
  const struct mq_exact_arithmetic *arithmetic;
  struct mq_exact_grid x, y;
  bool is_mean;
  struct mq_window window; /* over all pixels: one window that covers them */
  struct mq_shape in, out; /* N C H W, channels last in memory */
};

/* Taps behind the padding never count; those in it only where the pool says so. */
static bool tap_inside(int64_t *in, const struct average_state *s, int axis, int64_t out, int64_t tap,
                       bool *counts) {
  const struct mq_window *w = &s->window;
  *in = out * w->stride[axis] - w->pad_begin[axis] + tap * w->dilation[axis];
  bool is_inside = *in >= 0 && *in < s->in.dim[2 + axis];
  *counts = is_inside || (w->count_include_pad && *in < s->in.dim[2 + axis] + w->pad_end[axis]);
  return is_inside;
}

/* Sums of the codes of a window; what pads hold counts as 0, the code z. */
static int64_t sum_window(int64_t *sum, const struct average_state *s, const int32_t *codes, int64_t image,
                          int64_t oh, int64_t ow) {
  int64_t n_channels = s->in.dim[1], n = 0, ih, iw;
  bool counts_h, counts_w;
  memset(sum, 0, (size_t)n_channels * sizeof *sum);
  for (int64_t kh = 0; kh < s->window.kernel[0]; kh++) {
    for (int64_t kw = 0; kw < s->window.kernel[1]; kw++) {
      bool is_inside = tap_inside(&ih, s, 0, oh, kh, &counts_h);
      is_inside = tap_inside(&iw, s, 1, ow, kw, &counts_w) && is_inside;
      if (!counts_h || !counts_w) {
        continue;
      }
      n++;
      int64_t at = is_inside ? ((image * s->in.dim[2] + ih) * s->in.dim[3] + iw) * n_channels : 0;
      for (int64_t c = 0; c < n_channels; c++) {
        sum[c] += is_inside ? codes[at + c] : s->x.zero_point;
      }
    }
  }
  return n;
}

static mq_status forward_average(const struct engine_step *step, struct engine_frame *frame,
                                 struct mq_err *err) {
  (void)err;
  const struct average_state *s = step->state;
  float *y = engine_output(step, frame, 0)->data;
  int64_t n_x = mq_shape_count(&s->in), n_channels = s->in.dim[1];
  int64_t *sum = frame->scratch;
  int32_t *result = (int32_t *)(void *)(sum + n_channels), *codes = result + n_channels;
  exact_codes(codes, engine_input(step, frame, 0)->data, n_x, &s->x);
  for (int64_t image = 0; image < s->out.dim[0]; image++) {
    for (int64_t oh = 0; oh < s->out.dim[2]; oh++) {
      for (int64_t ow = 0; ow < s->out.dim[3]; ow++, y += n_channels) {
        int64_t n = sum_window(sum, s, codes, image, oh, ow);
        s->arithmetic->average(result, sum, n_channels, n, s->is_mean, &s->x, &s->y);
        exact_values(y, result, n_channels, &s->y);
      }
    }
  }
  return MQ_OK;
}

static const struct engine_function average_function = {.forward = forward_average};

static mq_status describe(struct average_state *s, struct engine_compiler *c, const struct exact_group *group,
                          struct mq_err *err) {
  struct mq_shape x = engine_shape(c, group->head->inputs[0]), y = engine_shape(c, group->output);
  if (x.rank != 3 && x.rank != 4) {
    return engine_fail_unsupported(group->head, err, "an average of rank %d, expected 3 or 4", x.rank);
  }
  s->in = exact_with_height(&x);
  if (!group->is_mean) {
    s->out = exact_with_height(&y);
    return mq_node_get_window(&s->window, group->head, err);
  }
  s->out = (struct mq_shape){.rank = 4, .dim = {s->in.dim[0], s->in.dim[1], 1, 1}};
  s->window = (struct mq_window){
      .kernel = {s->in.dim[2], s->in.dim[3]}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1};
  return MQ_OK;
}

static mq_status make_state(struct average_state *s, struct engine_compiler *c,
                            const struct exact_group *group, struct mq_err *err) {
  *s = (struct average_state){.arithmetic = c->exact->arithmetic, .is_mean = group->is_mean};
  mq_status status = describe(s, c, group, err);
  s->x = exact_grid(group->x[0]);
  s->y = exact_output_grid(c, group);
  int64_t taps = s->window.kernel[0] * s->window.kernel[1];
  return status == MQ_OK ? s->arithmetic->check_average(&s->x, &s->y, taps, s->is_mean, err) : status;
}

mq_status exact_compile_average(struct engine_compiler *c, const struct exact_group *group,
                                struct mq_err *err) {
  int x, y;
  void *block;
  struct mq_shape shape = engine_shape(c, group->output);
  int64_t stride[MQ_MAX_RANK];
  mq_stride_channels_last(stride, &shape);
  mq_status status = engine_alloc(&block, c, 1, sizeof(struct average_state), err);
  if (status == MQ_OK) {
    status = make_state(block, c, group, err);
  }
  if (status == MQ_OK) {
    status = engine_read_float(&x, c, group->head, 0, ENGINE_CHANNELS_LAST, err);
  }
  if (status == MQ_OK) {
    status = engine_new_place(&y, c, MQ_F32, &shape, stride, err);
  }
  if (status != MQ_OK) {
    return status;
  }
  engine_bind(c, group->output, y);
  const struct average_state *s = block;
  size_t n_channels = (size_t)s->in.dim[1];
  struct engine_step step = {.function = &average_function,
                             .state = s,
                             .inputs = &x,
                             .n_inputs = 1,
                             .outputs = &y,
                             .n_outputs = 1,
                             .scratch_bytes = n_channels * (sizeof(int64_t) + sizeof(int32_t)) +
                                              (size_t)mq_shape_count(&s->in) * sizeof(int32_t)};
  return engine_emit(c, &step, err);
}
