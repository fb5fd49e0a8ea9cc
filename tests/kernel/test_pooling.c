#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel/help_kernel.h"
#include "kernel/simd/pooling.h"

struct pool_case {
  int64_t n, channels, height, width, kernel[2], stride[2], pad[4];
  bool ceil_mode;
  int64_t dilation, out_height, out_width;
};

static const struct pool_case cases[] = {
    {2, 16, 8, 8, {2, 2}, {2, 2}, {0, 0, 0, 0}, false, 1, 4, 4},
    {2, 64, 112 / 8, 14, {3, 3}, {2, 2}, {1, 1, 1, 1}, false, 1, 7, 7},
    {1, 70, 13, 13, {3, 3}, {2, 2}, {0, 0, 0, 0}, true, 1, 6, 6},
    {1, 3, 6, 6, {3, 3}, {2, 2}, {0, 0, 0, 0}, true, 1, 3, 3},
    {1, 3, 6, 6, {3, 3}, {2, 2}, {1, 1, 1, 1}, true, 1, 4, 4},
    {1, 5, 5, 5, {2, 2}, {2, 2}, {1, 1, 0, 0}, true, 1, 3, 3},
    {1, 1, 4, 4, {1, 1}, {3, 3}, {0, 0, 0, 0}, true, 1, 2, 2}, /* not a third window behind the input */
    {1, 130, 7, 9, {7, 9}, {1, 1}, {0, 0, 0, 0}, false, 1, 1, 1},
    {1, 4, 10, 10, {3, 3}, {1, 1}, {2, 2, 2, 2}, false, 2, 10, 10},
    {1, 8, 1, 32, {1, 3}, {1, 2}, {0, 1, 0, 1}, false, 1, 1, 16}, /* 1-D */
    {1, 2, 1, 1, {3, 3}, {1, 1}, {1, 1, 2, 2}, false, 1, 2, 2},
    {1, 17, 9, 8, {5, 3}, {3, 1}, {2, 0, 1, 2}, false, 1, 3, 8},
};

static double pool_pixel(const struct mq_pooling_desc *d, const float *x, int64_t n, int64_t c, int64_t oh,
                         int64_t ow) {
  const int64_t channels = d->input.dim[1], size[] = {d->input.dim[2], d->input.dim[3]};
  double max = -INFINITY, sum = 0, inside = 0, padded = 0;
  for (int64_t kh = 0; kh < d->kernel[0]; kh++)
    for (int64_t kw = 0; kw < d->kernel[1]; kw++) {
      const int64_t ih = oh * d->stride[0] - d->pad_begin[0] + kh * d->dilation[0];
      const int64_t iw = ow * d->stride[1] - d->pad_begin[1] + kw * d->dilation[1];
      if (ih < size[0] + d->pad_end[0] && iw < size[1] + d->pad_end[1]) padded++;
      if (ih < 0 || iw < 0 || ih >= size[0] || iw >= size[1]) continue;
      const double v = (double)x[((n * size[0] + ih) * size[1] + iw) * channels + c];
      max = fmax(max, v);
      sum += v;
      inside++;
    }
  if (d->kind == MQ_POOLING_MAX) return max;
  return sum / (d->kind == MQ_POOLING_AVERAGE ? inside : padded);
}

static void check_case(const struct pool_case *c, mq_pooling_kind kind) {
  struct mq_pooling *pooling = NULL;
  struct mq_err err = {0};
  char name[96];
  const struct mq_pooling_desc desc = {
      .kind = kind,
      .input = {4, {c->n, c->channels, c->height, c->width}},
      .kernel = {c->kernel[0], c->kernel[1]},
      .stride = {c->stride[0], c->stride[1]},
      .dilation = {c->dilation, c->dilation},
      .pad_begin = {c->pad[0], c->pad[1]},
      .pad_end = {c->pad[2], c->pad[3]},
      .ceil_mode = c->ceil_mode,
  };
  snprintf(name, sizeof name, "pool %d of %lldx%lldx%lld", (int)kind, (long long)c->channels,
           (long long)c->height, (long long)c->width);
  if (mq_pooling_create(&pooling, &desc, &err) != MQ_OK) fail_msg("%s: %s", name, err.message);
  const struct mq_shape out = mq_pooling_output_shape(pooling);
  assert_int_equal(out.dim[2], c->out_height);
  assert_int_equal(out.dim[3], c->out_width);
  const int64_t n_out = mq_shape_count(&out);
  float *x = help_random(mq_shape_count(&desc.input), 1), *y = help_random(n_out, 2),
        *expected = help_random(n_out, 3);
  for (int64_t i = 0; i < n_out; i++)
    expected[i] = (float)pool_pixel(&desc, x, i / (out.dim[1] * out.dim[2] * out.dim[3]), i % out.dim[1],
                                    i / (out.dim[1] * out.dim[3]) % out.dim[2], i / out.dim[1] % out.dim[3]);
  void *scratch = mq_alloc(1, mq_pooling_scratch_bytes(pooling) + 1);
  assert_int_equal(mq_pooling_forward(pooling, y, x, scratch, &err), MQ_OK);
  help_assert_near(y, expected, n_out, kind == MQ_POOLING_MAX ? 0 : 1e-6, name);
  mq_free(scratch);
  mq_free(x);
  mq_free(y);
  mq_free(expected);
  mq_pooling_destroy(pooling);
}

static void test_shapes(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (mq_pooling_kind kind = MQ_POOLING_MAX; kind <= MQ_POOLING_AVERAGE_WITH_PADDING; kind++)
      check_case(&cases[i], kind);
}

/* Dilation steps over the one input row: no element at all. */
static void test_empty_window(void **state) {
  (void)state;
  struct mq_err err = {0};
  for (mq_pooling_kind kind = MQ_POOLING_MAX; kind <= MQ_POOLING_AVERAGE; kind++) {
    struct mq_pooling *pooling = NULL;
    const struct mq_pooling_desc desc = {.kind = kind,
                                         .input = {4, {1, 1, 1, 1}},
                                         .kernel = {2, 1},
                                         .stride = {1, 1},
                                         .dilation = {2, 1},
                                         .pad_begin = {1, 0},
                                         .pad_end = {1, 0}};
    const float x = 3;
    float y = 7;
    assert_int_equal(mq_pooling_create(&pooling, &desc, &err), MQ_OK);
    assert_int_equal(mq_pooling_forward(pooling, &y, &x, NULL, &err), MQ_OK);
    assert_true(y == (kind == MQ_POOLING_MAX ? -INFINITY : 0));
    mq_pooling_destroy(pooling);
  }
}

static void test_nan(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_pooling *pooling = NULL;
  const struct mq_pooling_desc desc = {
      .input = {4, {1, 1, 2, 2}}, .kernel = {2, 2}, .stride = {1, 1}, .dilation = {1, 1}};
  for (int at = 0; at < 4; at++) {
    float x[] = {1, 2, 3, 4}, y = 0;
    x[at] = NAN;
    assert_int_equal(mq_pooling_create(&pooling, &desc, &err), MQ_OK);
    assert_int_equal(mq_pooling_forward(pooling, &y, x, NULL, &err), MQ_OK);
    assert_true(isnan(y));
    mq_pooling_destroy(pooling);
  }
}

static void test_levels(void **state) {
  (void)state;
  const int64_t channels = 201, width = 6;
  float *x = help_random(width * width * channels, 1), base[201], y[201];
  const struct mq_simd_window window = {x, 3, 4, width * channels, channels};
  for (mq_simd_level level = 0; level <= mq_simd_level_best(); level++) {
    mq_simd_pooling_at(MQ_SIMD_BASE)->average(base, &window, channels, 11);
    mq_simd_pooling_at(level)->average(y, &window, channels, 11);
    help_assert_same(y, base, channels, "average");
    mq_simd_pooling_at(MQ_SIMD_BASE)->max(base, &window, channels);
    mq_simd_pooling_at(level)->max(y, &window, channels);
    help_assert_same(y, base, channels, "maximum");
  }
  mq_free(x);
}

static void test_refusals(void **state) {
  (void)state;
  struct mq_pooling *pooling = NULL;
  struct mq_err err = {0};
  struct mq_pooling_desc desc = {
      .input = {4, {1, 1, 2, 2}}, .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}};
  assert_int_equal(mq_pooling_create(&pooling, &desc, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "a window of 3 over input 2"));
  desc.stride[1] = 0;
  desc.kernel[0] = desc.kernel[1] = 1;
  assert_int_equal(mq_pooling_create(&pooling, &desc, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "pool width"));
  assert_null(pooling);
}

static int run_group(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_empty_window),
                                     cmocka_unit_test(test_nan), cmocka_unit_test(test_levels),
                                     cmocka_unit_test(test_refusals)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
  return help_run_levels(run_group);
}
