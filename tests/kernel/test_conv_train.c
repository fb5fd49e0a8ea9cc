/* Forward, backward and gradients of convolutions against one plain definition in double. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel/conv_train.h"
#include "kernel/help_kernel.h"

struct train_case {
  int64_t n, inputs, outputs, groups, height, width, kernel[2], stride[2], dilation[2], pad[4], output_pad[2];
  bool is_transposed;
};

#define DENSE .stride = {1, 1}, .dilation = {1, 1}
#define STRIDE(s) .stride = {s, s}, .dilation = {1, 1}
#define PAD(p) .pad = {p, p, p, p}
static const struct train_case cases[] = {
    {2, 3, 16, 1, 16, 16, {3, 3}, PAD(1), DENSE},
    {2, 16, 16, 1, 8, 8, {3, 3}, PAD(1), DENSE},
    {2, 16, 32, 1, 9, 10, {3, 3}, PAD(1), STRIDE(2)},
    {2, 16, 32, 1, 8, 8, {1, 1}, STRIDE(2)},
    {2, 40, 24, 1, 5, 5, {1, 1}, DENSE},
    {1, 3, 16, 1, 21, 21, {7, 7}, PAD(3), STRIDE(2)},
    {2, 3, 8, 1, 12, 12, {3, 3}, .pad = {0, 0, 1, 1}, STRIDE(2)}, /* TensorFlow's SAME */
    {2, 3, 16, 1, 13, 10, {3, 3}, PAD(1), STRIDE(2)},             /* few inputs and a stride: by phases */
    {1, 2, 9, 1, 12, 11, {4, 5}, .pad = {3, 1, 0, 2}, .stride = {3, 2}, .dilation = {1, 1}},
    {1, 1, 8, 1, 9, 9, {2, 2}, STRIDE(3)},
    {1, 4, 8, 1, 9, 12, {3, 3}, PAD(1), .stride = {1, 2}, .dilation = {1, 1}},
    {1, 8, 8, 1, 9, 9, {5, 3}, .pad = {0, 2, 3, 1}, DENSE},
    {1, 7, 5, 1, 5, 5, {3, 3}, PAD(1), DENSE},
    {1, 1, 1, 1, 1, 1, {1, 1}, DENSE},
    {3, 17, 23, 1, 6, 6, {3, 3}, PAD(1), DENSE},
    {1, 12, 12, 1, 11, 12, {3, 3}, .stride = {1, 1}, .dilation = {2, 3}, .pad = {2, 3, 2, 3}},
    {1, 16, 16, 1, 9, 9, {3, 3}, .stride = {2, 2}, .dilation = {2, 2}, PAD(2)},
    {2, 24, 24, 3, 7, 7, {3, 3}, PAD(1), DENSE}, /* groups of 8, 16, 24 and fewer channels */
    {1, 48, 48, 3, 7, 7, {3, 3}, PAD(1), STRIDE(2)},
    {1, 48, 48, 2, 7, 7, {3, 3}, PAD(1), DENSE},
    {2, 32, 32, 8, 5, 5, {3, 3}, PAD(1), DENSE},
    {1, 9, 6, 3, 8, 8, {3, 3}, .stride = {2, 1}, .dilation = {1, 1}, PAD(1)},
    {1, 10, 20, 5, 6, 6, {1, 1}, DENSE},
    {2, 32, 32, 32, 9, 9, {3, 3}, PAD(1), DENSE}, /* depthwise */
    {2, 21, 21, 21, 8, 9, {3, 3}, PAD(1), STRIDE(2)},
    {2, 144, 144, 144, 6, 7, {3, 3}, PAD(1), STRIDE(2)},
    {1, 40, 40, 40, 10, 9, {5, 5}, PAD(2), DENSE},
    {1, 40, 40, 40, 11, 10, {5, 5}, .pad = {1, 2, 2, 1}, STRIDE(2)},
    {1, 16, 16, 16, 11, 12, {3, 3}, .stride = {1, 1}, .dilation = {2, 2}, PAD(2)},
    {2, 16, 16, 16, 9, 9, {3, 3}, STRIDE(3)},
    {1, 33, 33, 33, 2, 3, {5, 5}, .pad = {4, 4, 3, 3}, DENSE},
    {1, 16, 16, 16, 3, 3, {3, 3}, PAD(3), DENSE}, /* windows that lie in the padding alone */
    {2, 3, 3, 3, 5, 5, {3, 3}, PAD(1), DENSE},
    {1, 6, 12, 6, 7, 7, {3, 3}, PAD(1), DENSE}, /* depth multiplier 2 */
    {1, 1, 6, 1, 12, 12, {5, 5}, PAD(2), DENSE},
    {2, 16, 16, 1, 1, 40, {1, 3}, .pad = {0, 1, 0, 1}, DENSE}, /* 1-D */
    {2, 12, 12, 12, 1, 33, {1, 7}, .pad = {0, 3, 0, 3}, DENSE},
    {1, 4, 4, 1, 2, 2, {5, 5}, PAD(4), DENSE}, /* padding wider than the input */
    {8, 64, 10, 1, 1, 1, {1, 1}, DENSE},       /* Gemm */
    {5, 130, 33, 1, 1, 1, {1, 1}, DENSE},
    {1, 16, 8, 1, 6, 6, {4, 4}, PAD(1), STRIDE(2), .is_transposed = true},
    {2, 5, 7, 1, 6, 5, {2, 2}, STRIDE(2), .is_transposed = true},
    {1, 8, 8, 1, 5, 5, {3, 3}, PAD(1), STRIDE(2), .output_pad = {1, 1}, .is_transposed = true},
    {1, 6, 8, 2, 5, 5, {3, 3}, .pad = {0, 1, 1, 0}, STRIDE(2), .is_transposed = true},
    {1, 6, 6, 6, 5, 5, {4, 4}, PAD(1), STRIDE(2), .is_transposed = true},
    {1, 8, 8, 8, 5, 5, {4, 4}, STRIDE(4), .output_pad = {1, 2}, .is_transposed = true},
    {1,
     4,
     4,
     1,
     1,
     9,
     {1, 4},
     .stride = {1, 2},
     .dilation = {1, 1},
     .pad = {0, 1, 0, 1},
     .is_transposed = true},
};

struct fixture {
  struct mq_conv_train_desc desc;
  struct mq_conv_train *conv;
  struct mq_conv_train_sizes sizes;
  struct mq_shape output;
  int64_t n_in, n_out, n_weights, outputs;
  float *x, *w, *dy, *bias;
  void *forward, *backward, *scratch;
  float *gradient;
  char name[200];
};

static void describe(struct fixture *f, const struct train_case *c, mq_precision precision) {
  snprintf(f->name, sizeof f->name,
           "%s%s %lldx%lldx%lldx%lld -> %lld, kernel %lldx%lld, stride %lldx%lld, groups %lld",
           precision == MQ_PRECISION_BF16 ? "bf16 " : "", c->is_transposed ? "transposed" : "",
           (long long)c->n, (long long)c->inputs, (long long)c->height, (long long)c->width,
           (long long)c->outputs, (long long)c->kernel[0], (long long)c->kernel[1], (long long)c->stride[0],
           (long long)c->stride[1], (long long)c->groups);
  f->desc = (struct mq_conv_train_desc){
      .input = {4, {c->n, c->inputs, c->height, c->width}},
      .weights = {4, {c->outputs, c->inputs / c->groups, c->kernel[0], c->kernel[1]}},
      .stride = {c->stride[0], c->stride[1]},
      .dilation = {c->dilation[0], c->dilation[1]},
      .pad_begin = {c->pad[0], c->pad[1]},
      .pad_end = {c->pad[2], c->pad[3]},
      .output_pad = {c->output_pad[0], c->output_pad[1]},
      .groups = c->groups,
      .is_transposed = c->is_transposed,
      .backward = precision,
  };
  if (c->is_transposed) {
    f->desc.weights.dim[0] = c->inputs;
    f->desc.weights.dim[1] = c->outputs / c->groups;
  }
}

static void fixture_init(struct fixture *f, const struct train_case *c, mq_precision precision) {
  struct mq_err err = {0};
  *f = (struct fixture){.outputs = c->outputs};
  describe(f, c, precision);
  if (mq_conv_train_create(&f->conv, &f->desc, &err) != MQ_OK) fail_msg("%s: %s", f->name, err.message);
  f->sizes = mq_conv_train_get_sizes(f->conv);
  f->output = mq_conv_train_output_shape(f->conv);
  f->n_in = mq_shape_count(&f->desc.input);
  f->n_out = mq_shape_count(&f->output);
  f->n_weights = mq_shape_count(&f->desc.weights);
  f->x = help_random(f->n_in, 1);
  f->w = help_random(f->n_weights, 2);
  f->dy = help_random(f->n_out, 3);
  f->bias = help_random(c->outputs, 4);
  f->forward = mq_alloc(1, f->sizes.packed_forward_bytes);
  f->backward = mq_alloc(1, f->sizes.packed_backward_bytes);
  f->gradient = mq_alloc(f->sizes.gradient_count, sizeof(float));
  const size_t run = f->sizes.run_scratch_bytes, pack = f->sizes.pack_scratch_bytes;
  f->scratch = mq_alloc(1, (run > pack ? run : pack) + 1);
  assert_true(f->forward != NULL && f->backward != NULL && f->gradient != NULL && f->scratch != NULL);
  assert_int_equal(mq_conv_train_pack(f->conv, f->forward, f->backward, f->w, f->scratch, &err), MQ_OK);
}

static void fixture_deinit(struct fixture *f) {
  mq_conv_train_destroy(f->conv);
  mq_free(f->x);
  mq_free(f->w);
  mq_free(f->dy);
  mq_free(f->bias);
  mq_free(f->forward);
  mq_free(f->backward);
  mq_free(f->gradient);
  mq_free(f->scratch);
}

/* ---- The definition ------------------------------------------------------------------------------------ */

typedef enum direction {
  FORWARD,
  DATA,
  WEIGHTS
} direction;

/* A sum and the sum of its terms' magnitudes, which its rounding errors are proportional to. */
struct sum {
  double value, magnitude;
};

static void add_product(struct sum *sum, double a, double b) {
  sum->value += a * b;
  sum->magnitude += fabs(a * b);
}

/* The output coordinate that input coordinate `in` (transposed) or the input coordinate that output
 * coordinate `out` meets through tap k lies on the other side; -1: outside. */
static int64_t meet(const struct mq_conv_train_desc *d, int axis, int64_t at, int64_t tap, int64_t limit) {
  const int64_t met = at * d->stride[axis] - d->pad_begin[axis] + tap * d->dilation[axis];
  return met >= 0 && met < limit ? met : -1;
}

/* Visits every product of the convolution once. Seen from the side that has the strides: the output of a
 * plain convolution ("near": y), the input of a transposed one ("near": x). */
static void visit_pixel(const struct fixture *f, struct sum *sums, direction way, const float *x,
                        const float *w, const float *dy, int64_t n, int64_t near_h, int64_t near_w) {
  const struct mq_conv_train_desc *d = &f->desc;
  const struct mq_shape *near = d->is_transposed ? &d->input : &f->output;
  const struct mq_shape *far = d->is_transposed ? &f->output : &d->input;
  const int64_t *k = d->weights.dim, near_group = near->dim[1] / d->groups;
  for (int64_t a = 0; a < near->dim[1]; a++)
    for (int64_t b = 0; b < k[1]; b++)
      for (int64_t tap = 0; tap < k[2] * k[3]; tap++) {
        const int64_t far_h = meet(d, 0, near_h, tap / k[3], far->dim[2]);
        const int64_t far_w = meet(d, 1, near_w, tap % k[3], far->dim[3]);
        if (far_h < 0 || far_w < 0) continue;
        const int64_t far_channel = a / near_group * k[1] + b;
        const int64_t near_at = ((n * near->dim[2] + near_h) * near->dim[3] + near_w) * near->dim[1] + a;
        const int64_t far_at = ((n * far->dim[2] + far_h) * far->dim[3] + far_w) * far->dim[1] + far_channel;
        const int64_t x_at = d->is_transposed ? near_at : far_at, y_at = d->is_transposed ? far_at : near_at;
        const int64_t w_at = (a * k[1] + b) * k[2] * k[3] + tap;
        if (way == FORWARD) add_product(&sums[y_at], (double)x[x_at], (double)w[w_at]);
        if (way == DATA) add_product(&sums[x_at], (double)dy[y_at], (double)w[w_at]);
        if (way == WEIGHTS) add_product(&sums[w_at], (double)x[x_at], (double)dy[y_at]);
      }
}

static struct sum *define(const struct fixture *f, direction way, const float *x, const float *w,
                          const float *dy) {
  const int64_t counts[] = {f->n_out, f->n_in, f->n_weights};
  const struct mq_shape *near = f->desc.is_transposed ? &f->desc.input : &f->output;
  struct sum *sums = mq_alloc((size_t)counts[way], sizeof *sums);
  assert_non_null(sums);
  for (int64_t n = 0; n < near->dim[0]; n++)
    for (int64_t h = 0; h < near->dim[2]; h++)
      for (int64_t v = 0; v < near->dim[3]; v++)
        visit_pixel(f, sums, way, x, w, dy, n, h, v);
  return sums;
}

static void assert_sums(const struct fixture *f, const float *actual, const struct sum *expected, int64_t n,
                        const char *what) {
  for (int64_t i = 0; i < n; i++) {
    const double tolerance = 6e-8 * (6 * expected[i].magnitude + 2);
    if (!(fabs((double)actual[i] - expected[i].value) <= tolerance))
      fail_msg("%s: %s: element %lld is %.9g, expected %.9g +- %g", f->name, what, (long long)i,
               (double)actual[i], expected[i].value, tolerance);
  }
}

/* As operands of the backward products; depthwise convolutions stay float32. */
static float *rounded(const struct fixture *f, const float *x, int64_t n) {
  const bool is_depthwise = strcmp(mq_conv_train_implementation(f->conv, 1), "depthwise") == 0;
  const struct mq_shape shape = {1, {n}};
  float *y = mq_alloc((size_t)n, sizeof *y);
  uint16_t *half = mq_alloc((size_t)n, sizeof *half);
  struct mq_tensor from = mq_tensor_view((void *)(uintptr_t)x, MQ_F32, &shape, NULL);
  struct mq_tensor to = mq_tensor_view(y, MQ_F32, &shape, NULL);
  struct mq_tensor middle = mq_tensor_view(half, MQ_BF16, &shape, NULL);
  if (f->desc.backward == MQ_PRECISION_BF16 && !is_depthwise) {
    mq_tensor_copy(&middle, &from);
    from = middle;
  }
  mq_tensor_copy(&to, &from);
  mq_free(half);
  return y;
}

/* ---- Tests --------------------------------------------------------------------------------------------- */

static void check_forward(const struct fixture *f, bool has_bias) {
  struct mq_err err = {0};
  float *y = help_random(f->n_out, 9); /* what was there before must not matter */
  struct sum *expected = define(f, FORWARD, f->x, f->w, f->dy);
  for (int64_t i = 0; i < f->n_out && has_bias; i++)
    add_product(&expected[i], (double)f->bias[i % f->outputs], 1);
  assert_int_equal(
      mq_conv_train_forward(f->conv, y, f->x, f->forward, has_bias ? f->bias : NULL, f->scratch, &err),
      MQ_OK);
  assert_sums(f, y, expected, f->n_out, "forward");
  mq_free(y);
  mq_free(expected);
}

static void check_backward_data(const struct fixture *f) {
  struct mq_err err = {0};
  float *dx = help_random(f->n_in, 9), *before = help_random(f->n_in, 10);
  float *w = rounded(f, f->w, f->n_weights), *dy = rounded(f, f->dy, f->n_out);
  struct sum *expected = define(f, DATA, f->x, w, dy);
  struct mq_conv_backward data = {.dx = dx, .packed_backward = f->backward, .dy = f->dy};
  assert_int_equal(mq_conv_train_backward(f->conv, &data, f->scratch, &err), MQ_OK);
  assert_sums(f, dx, expected, f->n_in, "backward data");
  float *sum = help_random(f->n_in, 10);
  data.dx = sum;
  data.adds = true;
  assert_int_equal(mq_conv_train_backward(f->conv, &data, f->scratch, &err), MQ_OK);
  for (int64_t i = 0; i < f->n_in; i++)
    before[i] += dx[i];
  help_assert_same(sum, before, f->n_in, f->name);
  mq_free(dx);
  mq_free(before);
  mq_free(sum);
  mq_free(w);
  mq_free(dy);
  mq_free(expected);
}

/* Both products of one call are those of two. */
static void check_backward_both(const struct fixture *f) {
  struct mq_err err = {0};
  float *dx = help_random(f->n_in, 9), *same = help_random(f->n_in, 10);
  float *first = help_random((int64_t)f->sizes.gradient_count, 11);
  struct mq_conv_backward data = {.dx = dx, .packed_backward = f->backward, .dy = f->dy};
  const struct mq_conv_backward weights = {.packed_gradient = first, .x = f->x, .dy = f->dy};
  assert_int_equal(mq_conv_train_backward(f->conv, &data, f->scratch, &err), MQ_OK);
  assert_int_equal(mq_conv_train_backward(f->conv, &weights, f->scratch, &err), MQ_OK);
  data.dx = same;
  data.packed_gradient = f->gradient;
  data.x = f->x;
  assert_int_equal(mq_conv_train_backward(f->conv, &data, f->scratch, &err), MQ_OK);
  help_assert_same(same, dx, f->n_in, f->name);
  help_assert_same(f->gradient, first, (int64_t)f->sizes.gradient_count, f->name);
  mq_free(dx);
  mq_free(same);
  mq_free(first);
}

static void check_backward_weights(const struct fixture *f) {
  struct mq_err err = {0};
  float *dw = help_random(f->n_weights, 9), *before = help_random(f->n_weights, 10),
        *sum = help_random(f->n_weights, 10);
  float *x = rounded(f, f->x, f->n_in), *dy = rounded(f, f->dy, f->n_out);
  struct sum *expected = define(f, WEIGHTS, x, f->w, dy);
  memset(f->gradient, 0xff, f->sizes.gradient_count * sizeof(float)); /* NaN: must all be written */
  const struct mq_conv_backward weights = {.packed_gradient = f->gradient, .x = f->x, .dy = f->dy};
  assert_int_equal(mq_conv_train_backward(f->conv, &weights, f->scratch, &err), MQ_OK);
  for (size_t i = 0; i < f->sizes.gradient_count; i++)
    if (!isfinite(f->gradient[i]))
      fail_msg("%s: packed gradient %zu of %zu", f->name, i, f->sizes.gradient_count);
  assert_int_equal(mq_conv_train_unpack_gradient(f->conv, dw, false, f->gradient, f->scratch, &err), MQ_OK);
  assert_sums(f, dw, expected, f->n_weights, "backward weights");
  assert_int_equal(mq_conv_train_unpack_gradient(f->conv, sum, true, f->gradient, f->scratch, &err), MQ_OK);
  for (int64_t i = 0; i < f->n_weights; i++)
    before[i] += dw[i];
  help_assert_same(sum, before, f->n_weights, f->name);
  mq_free(dw);
  mq_free(before);
  mq_free(sum);
  mq_free(x);
  mq_free(dy);
  mq_free(expected);
}

static void check_case(const struct train_case *c, mq_precision precision, bool has_bias) {
  struct fixture f;
  fixture_init(&f, c, precision);
  for (int i = 0; i < 3 && mq_kernel_isa() >= MQ_ISA_AVX2; i++)
    if (strstr(mq_conv_train_implementation(f.conv, i), "ref") != NULL)
      fail_msg("%s: direction %d falls back to %s", f.name, i, mq_conv_train_implementation(f.conv, i));
  check_forward(&f, has_bias);
  check_backward_data(&f);
  check_backward_weights(&f);
  check_backward_both(&f);
  fixture_deinit(&f);
}

static void test_cases(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (!test_leaves_out((int64_t)i)) check_case(&cases[i], MQ_PRECISION_F32, i % 3 != 2);
}

static void test_cases_bf16(void **state) {
  (void)state;
  if (mq_kernel_isa() < MQ_ISA_AVX512_BF16) skip();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (!test_leaves_out((int64_t)i)) check_case(&cases[i], MQ_PRECISION_BF16, i % 3 != 2);
}

static int64_t draw(struct mq_rng *rng, int64_t least, int64_t most) {
  return least + (int64_t)mq_rng_below(rng, (uint32_t)(most - least + 1));
}

static struct train_case random_case(struct mq_rng *rng) {
  const int64_t kind = draw(rng, 0, 3), multiplier = draw(rng, 1, 9);
  struct train_case c = {.n = draw(rng, 1, 3), .groups = kind == 0 ? draw(rng, 1, 20) : draw(rng, 1, 3)};
  c.inputs = c.groups * (kind == 0 ? 1 : multiplier);
  c.outputs = c.groups * (kind == 0 ? 1 : draw(rng, 1, 9));
  c.is_transposed = kind == 1;
  for (int i = 0; i < 2; i++) {
    c.kernel[i] = draw(rng, 1, 4);
    c.stride[i] = draw(rng, 1, 3);
    c.dilation[i] = draw(rng, 1, 2);
    c.pad[i] = draw(rng, 0, c.kernel[i] - 1);
    c.pad[2 + i] = draw(rng, 0, c.kernel[i] - 1);
    if (c.is_transposed) c.output_pad[i] = draw(rng, 0, c.stride[i] - 1);
  }
  c.height = draw(rng, 7, 10);
  c.width = draw(rng, 7, 10);
  return c;
}

static void test_random(void **state) {
  (void)state;
  struct mq_rng rng;
  mq_rng_init(&rng, 7, MQ_RNG_TEST, 1, 0);
  for (int i = 0; i < (int)test_effort(60); i++) {
    const struct train_case c = random_case(&rng);
    check_case(&c, MQ_PRECISION_F32, i % 2 == 0);
    if (mq_kernel_isa() >= MQ_ISA_AVX512_BF16) check_case(&c, MQ_PRECISION_BF16, i % 2 == 1);
  }
}

/* Either packed buffer may be left out. */
static void test_pack_one(void **state) {
  (void)state;
  struct fixture f;
  struct mq_err err = {0};
  fixture_init(&f, &cases[1], MQ_PRECISION_F32);
  float *other = help_random(f.n_weights, 20), *zero = mq_alloc((size_t)f.n_weights, sizeof *zero);
  memcpy(f.w, other, (size_t)f.n_weights * sizeof *other);
  assert_int_equal(mq_conv_train_pack(f.conv, f.forward, NULL, f.w, f.scratch, &err), MQ_OK);
  check_forward(&f, true);
  assert_int_equal(mq_conv_train_pack(f.conv, NULL, f.backward, f.w, f.scratch, &err), MQ_OK);
  check_backward_data(&f);
  assert_int_equal(mq_conv_train_pack(f.conv, NULL, f.backward, zero, f.scratch, &err), MQ_OK);
  check_forward(&f, true);
  mq_free(other);
  mq_free(zero);
  fixture_deinit(&f);
}

static void expect_refused(const struct mq_conv_train_desc *desc, const char *part) {
  struct mq_conv_train *conv = (struct mq_conv_train *)(uintptr_t)&conv;
  struct mq_err err = {0};
  assert_int_equal(mq_conv_train_create(&conv, desc, &err), MQ_BAD_INPUT);
  assert_null(conv);
  if (strstr(err.message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.message, part);
}

static void test_refusals(void **state) {
  (void)state;
  struct fixture f;
  fixture_init(&f, &cases[1], MQ_PRECISION_F32);
  struct mq_conv_train_desc d = f.desc;
  d.groups = 3;
  expect_refused(&d, "3 groups");
  d = f.desc;
  d.dilation[1] = 9;
  expect_refused(&d, "leaves no output");
  d = f.desc;
  d.backward = MQ_PRECISION_BF16;
  if (mq_kernel_isa() < MQ_ISA_AVX512_BF16) expect_refused(&d, "bfloat16");
  fixture_deinit(&f);
}

static int run_group(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cases),    cmocka_unit_test(test_cases_bf16), cmocka_unit_test(test_random),
      cmocka_unit_test(test_pack_one), cmocka_unit_test(test_refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
  return help_run_levels(run_group) + help_run_capped(MQ_ISA_AVX512, run_group);
}
