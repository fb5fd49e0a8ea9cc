/* The residual block's program against plain integers written from the formulas: pot_shift and tflite_ref,
 * every code of every tensor, in the user's order of dimensions. */
#include <math.h>

#include "help_graphs.h"
#include "help_lower.h"

struct codes {
  int64_t channels, height, width;
  int32_t *q; /* [C][H][W] */
  float scale;
  int32_t zero, least, most;
};

static const struct mq_point *find_point(const struct lowered *lowered, const char *name) {
  for (size_t i = 0; i < lowered->prepared.n_points; i++)
    if (strcmp(lowered->prepared.points[i].tensor, name) == 0) return &lowered->prepared.points[i];
  fail_msg("no point %s", name);
  return NULL;
}

static struct codes begin(const struct lowered *lowered, const char *name, int64_t c, int64_t h, int64_t w) {
  const struct mq_qparams *q = &find_point(lowered, name)->qparams;
  return (struct codes){.channels = c,
                        .height = h,
                        .width = w,
                        .q = calloc((size_t)(c * h * w), sizeof(int32_t)),
                        .scale = q->scale[0],
                        .zero = q->zero_point[0],
                        .least = q->quant_min,
                        .most = q->quant_max};
}

static int32_t clamp(int64_t q, int32_t lo, int32_t hi) {
  return (int32_t)(q < lo ? lo : q > hi ? hi : q);
}

/* ---- The two arithmetics ------------------------------------------------------------------------------- */

static int64_t find_multiplier(int *shift, double m) {
  int64_t multiplier = (int64_t)round(frexp(m, shift) * 2147483648.0);
  if (multiplier == INT64_C(1) << 31) {
    multiplier /= 2;
    ++*shift;
  }
  return multiplier;
}

/* In TensorFlow Lite's linear layers the product is rounded once, halves up. */
static int64_t multiply_once(int64_t x, double m) {
  int shift = 0;
  int64_t product = x * find_multiplier(&shift, m), unit = INT64_C(1) << (31 - shift);
  int64_t rest = ((product % unit) + unit) % unit;
  return (product - rest) / unit + (2 * rest >= unit);
}

/* x * m as gemmlowp does it: a 31-bit multiplier, rounded at the high half and at the shift. */
static int64_t multiply(int64_t x, double m) {
  int shift = 0;
  int64_t multiplier = find_multiplier(&shift, m);
  int left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
  int64_t high = (x * (INT64_C(1) << left) * multiplier + (INT64_C(1) << 30)) >> 31;
  double exact = ldexp((double)high, -right); /* exact in double; halves go away from zero */
  return (int64_t)round(exact);
}

/* v / 2^k, halves up. */
static int64_t shift_up(int64_t v, int k) {
  return (int64_t)floor(ldexp((double)v, -k) + 0.5);
}

static int log2_of(double x) {
  int exponent;
  assert_true(frexp(x, &exponent) == 0.5);
  return exponent - 1;
}

static int64_t requantize(int64_t sum, double factor, bool is_pot) {
  return is_pot ? shift_up(sum, -log2_of(factor)) : multiply(sum, factor);
}

static int64_t add_codes(int64_t a, int64_t b, const struct codes *x, const struct codes *r,
                         const struct codes *y, bool is_pot) {
  if (is_pot) {
    double least = fmin(fmin((double)x->scale, (double)r->scale), (double)y->scale);
    int64_t sum = a * (int64_t)((double)x->scale / least) + b * (int64_t)((double)r->scale / least);
    return shift_up(sum, log2_of((double)y->scale / least));
  }
  double twice = 2 * fmax((double)x->scale, (double)r->scale);
  int64_t sum =
      multiply(a * (1 << 20), (double)x->scale / twice) + multiply(b * (1 << 20), (double)r->scale / twice);
  return multiply(sum, twice / (1048576.0 * (double)y->scale));
}

/* ---- Layers -------------------------------------------------------------------------------------------- */

static const struct mq_node *find_node(const struct lowered *lowered, const char *name) {
  const struct mq_graph *graph = lowered->prepared.graph;
  for (size_t i = 0; i < graph->n_nodes; i++)
    if (strcmp(graph->nodes[i]->name, name) == 0) return graph->nodes[i];
  fail_msg("no node %s", name);
  return NULL;
}

/* A convolution with its pads, or with a kernel as large as the image: a linear layer. */
static struct codes run_conv(const struct lowered *lowered, const struct codes *x, const char *node_name,
                             const char *output, int64_t kernel, bool has_relu, bool is_pot) {
  const struct mq_node *node = find_node(lowered, node_name);
  const struct mq_value *w = node->inputs[1]->producer->inputs[0];
  const struct mq_qparams *wq = &find_point(lowered, w->name)->qparams;
  const float *weights = w->constant->data, *bias = node->inputs[2]->constant->data;
  int64_t outputs = node->outputs[0]->shape.dim[1], pad = kernel / 2;
  struct codes y = begin(lowered, output, outputs, x->height, x->width);
  for (int64_t o = 0; o < outputs; o++)
    for (int64_t i = 0; i < x->height * x->width; i++) {
      double steps = (double)x->scale * (double)wq->scale[0];
      int64_t sum = (int64_t)nearbyint((double)bias[o] / steps);
      for (int64_t k = 0; k < x->channels * kernel * kernel; k++) {
        int64_t c = k / (kernel * kernel), h = i / x->width + k / kernel % kernel - pad,
                at = i % x->width + k % kernel - pad;
        if (h < 0 || h >= x->height || at < 0 || at >= x->width) continue;
        int32_t q = mq_quantize_value(weights[o * x->channels * kernel * kernel + k], wq->scale[0],
                                      wq->zero_point[0], wq->quant_min, wq->quant_max);
        sum += (int64_t)(q - wq->zero_point[0]) * (x->q[(c * x->height + h) * x->width + at] - x->zero);
      }
      double factor = steps / (double)y.scale;
      bool is_once = node->op == MQ_OP_Gemm && !is_pot;
      int64_t code = (is_once ? multiply_once(sum, factor) : requantize(sum, factor, is_pot)) + y.zero;
      y.q[o * x->height * x->width + i] =
          clamp(code, has_relu && y.zero > y.least ? y.zero : y.least, y.most);
    }
  return y;
}

static struct codes run_add(const struct lowered *lowered, const struct codes *a, const struct codes *b,
                            const char *output, bool is_pot) {
  struct codes y = begin(lowered, output, a->channels, a->height, a->width);
  for (int64_t i = 0; i < a->channels * a->height * a->width; i++) {
    int64_t code = add_codes(a->q[i] - a->zero, b->q[i] - b->zero, a, b, &y, is_pot) + y.zero;
    y.q[i] = clamp(code, y.zero > y.least ? y.zero : y.least, y.most);
  }
  return y;
}

/* n is a power of two here: TensorFlow Lite's multiplier loses nothing by it. */
static struct codes run_mean(const struct lowered *lowered, const struct codes *x, const char *output,
                             bool is_pot) {
  struct codes y = begin(lowered, output, x->channels, 1, 1);
  int64_t n = x->height * x->width;
  for (int64_t c = 0; c < x->channels; c++) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++)
      sum += x->q[c * n + i] - x->zero;
    y.q[c] = clamp(requantize(sum, (double)x->scale / (double)y.scale / (double)n, is_pot) + y.zero, y.least,
                   y.most);
  }
  return y;
}

static void expect(const struct lowered *lowered, const struct mq_program *program, const char *name,
                   const struct codes *expected) {
  const struct mq_program_tensor *t;
  void *data = run_for_tensor(program, &lowered->images, 1, name, &t);
  int64_t plane = expected->height * expected->width, n = expected->channels * plane;
  assert_int_equal(mq_program_elements(t), n);
  for (int64_t i = 0; i < n; i++) {
    int64_t at = t->rank == 3 ? i % plane * t->dim[2] + i / plane : i;
    int32_t q = t->type == MQ_PROGRAM_U8 ? ((uint8_t *)data)[at] : ((int8_t *)data)[at];
    if (q != expected->q[i])
      fail_msg("%s: element %d: found %d, expected %d", name, (int)i, q, expected->q[i]);
  }
  free(data);
}

static void check_block(const char *target, int bits, bool is_pot) {
  struct net net;
  struct lowered lowered;
  struct mq_lowered made;
  struct mq_err err = {0};
  net_residual(&net, false);
  net_check(&net, mq_graph_infer(net.graph, true, &net.err));
  make_calibrated(&lowered, net.graph, target, bits, bits);
  assert_ok(mq_lower(&made, &lowered.prepared, lowered.target, &err));
  struct codes x = begin(&lowered, "input", 3, 8, 8);
  for (int64_t i = 0; i < 3 * 8 * 8; i++) {
    float v = ((const float *)lowered.images.data)[lowered.images.stride[0] + i] / x.scale;
    x.q[i] = clamp((int64_t)(is_pot ? nearbyintf(v) : roundf(v)) + x.zero, x.least, x.most);
  }
  struct codes y[] = {run_conv(&lowered, &x, "conv0", "relu0_out", 3, true, is_pot), {0}, {0}, {0}, {0}, {0}};
  y[1] = run_conv(&lowered, &y[0], "conv1", "relu1_out", 3, true, is_pot);
  y[2] = run_conv(&lowered, &y[1], "conv2", "bn2_out", 3, false, is_pot);
  y[3] = run_add(&lowered, &y[2], &y[0], "relu2_out", is_pot);
  y[4] = run_mean(&lowered, &y[3], "pool_out", is_pot);
  y[5] = run_conv(&lowered, &y[4], "fc", "fc_out", 1, false, is_pot);
  static const char *const names[] = {"relu0_out", "relu1_out", "bn2_out", "relu2_out", "pool_out", "fc_out"};
  expect(&lowered, &made.program, "input", &x);
  for (int i = 0; i < 6; i++) {
    expect(&lowered, &made.program, names[i], &y[i]);
    free(y[i].q);
  }
  free(x.q);
  mq_lowered_deinit(&made);
  drop_calibrated(&lowered);
}

static void shifts(void **state) {
  (void)state;
  check_block("tvm", 8, true);
  check_block("tvm", 4, true);
}

static void fixed_point(void **state) {
  (void)state;
  check_block("snpe", 8, false);
  check_block("snpe", 4, false);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(shifts),
      cmocka_unit_test(fixed_point),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
