/* Layers that stay float, in real numbers. */
#include <math.h>

#include "verify/reality.h"

struct sum {
  struct real real;
  double magnitude; /* sum of absolute values */
  int64_t terms;
};

static int64_t channels_of(const struct mq_program_tensor *t) {
  return t->rank > 0 ? t->dim[t->rank - 1] : 1;
}

static void add_products(struct sum *sum, const struct reality *r, uint32_t tensor, int64_t first,
                         const float *weights, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const struct real x = reality_of(r, tensor, first + i);
    const double w = (double)weights[i], product = x.value * w;
    sum->real.value += product;
    sum->real.slack += x.slack * fabs(w);
    sum->magnitude += fabs(product);
  }
  sum->terms += n;
}

/* The input row or column under tap t of output o; negative or too large: outside. */
static int64_t input_at(const struct mq_program_conv_float *conv, int axis, int64_t o, int64_t t) {
  const struct mq_program_window *w = &conv->window;
  if (!conv->is_transposed) {
    return o * w->stride[axis] - w->pad_begin[axis] + t * w->dilation[axis];
  }
  const int64_t reached = o + w->pad_begin[axis] - t * w->dilation[axis];
  return reached % w->stride[axis] == 0 ? reached / w->stride[axis] : -1;
}

static void add_window(struct sum *sum, const struct reality *r, const struct mq_program_step *step,
                       int64_t at) {
  const struct mq_program_conv_float *conv = &step->as.conv_float;
  const struct mq_program_tensor *x = &r->program->tensors[step->inputs[0]],
                                 *y = &r->program->tensors[step->output];
  const int64_t o = at % y->dim[2], row = at / y->dim[2] / y->dim[1], column = at / y->dim[2] % y->dim[1];
  const int64_t inputs = x->dim[2] / conv->groups, group = o / (y->dim[2] / conv->groups);
  const int32_t *kernel = conv->window.kernel;
  const float *weights = conv->weights + o * kernel[0] * kernel[1] * inputs;
  for (int64_t kh = 0; kh < kernel[0]; kh++) {
    const int64_t h = input_at(conv, 0, row, kh);
    for (int64_t kw = 0; kw < kernel[1]; kw++, weights += inputs) {
      const int64_t w = input_at(conv, 1, column, kw);
      if (h >= 0 && h < x->dim[0] && w >= 0 && w < x->dim[1]) {
        add_products(sum, r, step->inputs[0], (h * x->dim[1] + w) * x->dim[2] + group * inputs, weights,
                     inputs);
      }
    }
  }
}

struct real reality_layer_float(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct mq_program_conv_float *conv = &step->as.conv_float;
  const struct mq_program_tensor *x = &r->program->tensors[step->inputs[0]],
                                 *y = &r->program->tensors[step->output];
  const int64_t outputs = channels_of(y), o = at % outputs;
  const double bias = (double)conv->bias[o];
  struct sum sum = {.terms = 0};
  if (step->kind == MQ_STEP_LINEAR_FLOAT) {
    const int64_t n = channels_of(x);
    add_products(&sum, r, step->inputs[0], at / outputs * n, conv->weights + o * n, n);
  } else {
    add_window(&sum, r, step, at);
  }
  sum.real.value += bias;
  sum.real.slack += (double)(sum.terms + 8) * REALITY_ROUNDING * (sum.magnitude + fabs(bias));
  sum.real.value = fmin(fmax(sum.real.value, (double)step->clip_lo), (double)step->clip_hi);
  return sum.real;
}
