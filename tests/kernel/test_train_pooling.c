/* Gradients of pools against plain loops and finite differences, every instruction set. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel/help_kernel.h"
#include "kernel/simd/pooling_backward.h"

struct pool_case {
  int64_t n, channels, height, width, kernel[2], stride[2], pad[4];
  bool ceil_mode;
  int64_t dilation;
};

static const struct pool_case cases[] = {
    {2, 16, 8, 8, {2, 2}, {2, 2}, {0, 0, 0, 0}, false, 1},
    {2, 64, 14, 14, {3, 3}, {2, 2}, {1, 1, 1, 1}, false, 1},
    {1, 70, 13, 13, {3, 3}, {2, 2}, {0, 0, 0, 0}, true, 1},
    {1, 3, 6, 6, {3, 3}, {2, 2}, {1, 1, 1, 1}, true, 1},
    {1, 5, 5, 5, {2, 2}, {2, 2}, {1, 1, 0, 0}, true, 1},
    {1, 1, 4, 4, {1, 1}, {3, 3}, {0, 0, 0, 0}, true, 1},
    {1, 33, 7, 9, {7, 9}, {1, 1}, {0, 0, 0, 0}, false, 1},
    {1, 4, 10, 10, {3, 3}, {1, 1}, {2, 2, 2, 2}, false, 2},
    {1, 2, 1, 1, {3, 3}, {1, 1}, {1, 1, 2, 2}, false, 1},
    {1, 17, 9, 8, {5, 3}, {3, 1}, {2, 0, 1, 2}, false, 1},
    {1, 2, 1, 1, {2, 1}, {1, 1}, {1, 0, 1, 0}, false, 2}, /* a window that steps over the image */
};

static struct mq_pooling_desc describe(const struct pool_case *c, mq_pooling_kind kind) {
  return (struct mq_pooling_desc){
      .kind = kind,
      .input = {4, {c->n, c->channels, c->height, c->width}},
      .kernel = {c->kernel[0], c->kernel[1]},
      .stride = {c->stride[0], c->stride[1]},
      .dilation = {c->dilation, c->dilation},
      .pad_begin = {c->pad[0], c->pad[1]},
      .pad_end = {c->pad[2], c->pad[3]},
      .ceil_mode = c->ceil_mode,
  };
}

/* One window of one channel: adds g's share to the inputs that made it, in float32. */
static void spread_plain(const struct mq_pooling_desc *d, float *dx, float g, const float *x, int64_t oh,
                         int64_t ow) {
  const int64_t channels = d->input.dim[1], size[] = {d->input.dim[2], d->input.dim[3]};
  int64_t best = -1, inside = 0, padded = 0;
  for (int pass = 0; pass < 2; pass++)
    for (int64_t kh = 0; kh < d->kernel[0]; kh++)
      for (int64_t kw = 0; kw < d->kernel[1]; kw++) {
        const int64_t ih = oh * d->stride[0] - d->pad_begin[0] + kh * d->dilation[0];
        const int64_t iw = ow * d->stride[1] - d->pad_begin[1] + kw * d->dilation[1];
        const int64_t at = (ih * size[1] + iw) * channels;
        const bool is_inside = ih >= 0 && iw >= 0 && ih < size[0] && iw < size[1];
        if (pass == 0) {
          padded += ih < size[0] + d->pad_end[0] && iw < size[1] + d->pad_end[1];
          inside += is_inside;
          if (is_inside && (best < 0 || x[at] > x[best])) best = at;
        } else if (is_inside && d->kind != MQ_POOLING_MAX) {
          dx[at] += g / (float)(d->kind == MQ_POOLING_AVERAGE ? inside : padded);
        } else if (is_inside && at == best) {
          dx[at] += g;
        }
      }
}

static void spread_all_plain(const struct mq_pooling_desc *d, const struct mq_shape *out, float *dx,
                             const float *dy, const float *x) {
  const int64_t channels = d->input.dim[1], image = channels * d->input.dim[2] * d->input.dim[3];
  for (int64_t i = 0; i < mq_shape_count(out); i++) {
    const int64_t c = i % channels, ow = i / channels % out->dim[3],
                  oh = i / channels / out->dim[3] % out->dim[2],
                  at = i / channels / out->dim[3] / out->dim[2] * image + c;
    spread_plain(d, dx + at, dy[i], x + at, oh, ow);
  }
}

static void check_case(const struct pool_case *c, mq_pooling_kind kind, bool adds) {
  struct mq_pooling *pooling = NULL;
  struct mq_err err = {0};
  char name[96];
  const struct mq_pooling_desc desc = describe(c, kind);
  snprintf(name, sizeof name, "pool %d of %lldx%lldx%lld", (int)kind, (long long)c->channels,
           (long long)c->height, (long long)c->width);
  if (mq_pooling_create(&pooling, &desc, &err) != MQ_OK) fail_msg("%s: %s", name, err.message);
  const struct mq_shape out = mq_pooling_output_shape(pooling);
  const int64_t n_in = mq_shape_count(&desc.input), n_out = mq_shape_count(&out);
  float *x = help_random(n_in, 1), *dy = help_random(n_out, 2), *dx = help_random(n_in, 3),
        *expected = help_random(n_in, 3);
  for (int64_t i = 0; i < n_in; i++)
    x[i] = floorf(x[i] * 4); /* many equal ones: the first takes all */
  if (!adds) memset(expected, 0, (size_t)n_in * sizeof *expected);
  spread_all_plain(&desc, &out, expected, dy, x);
  assert_int_equal(mq_pooling_backward_scratch_bytes(pooling), 0);
  assert_int_equal(mq_pooling_backward(pooling, dx, adds, dy, kind == MQ_POOLING_MAX ? x : NULL, NULL, &err),
                   MQ_OK);
  help_assert_same(dx, expected, n_in, name);
  mq_free(x);
  mq_free(dy);
  mq_free(dx);
  mq_free(expected);
  mq_pooling_destroy(pooling);
}

static void test_shapes(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (mq_pooling_kind kind = MQ_POOLING_MAX; kind <= MQ_POOLING_AVERAGE_WITH_PADDING; kind++)
      for (int adds = 0; adds < 2; adds++)
        check_case(&cases[i], kind, adds);
}

/* sum dy y(x), whose gradient backward gives. */
static double loss_of(const struct mq_pooling *pooling, const float *dy, const float *x, float *y,
                      int64_t n_out) {
  struct mq_err err = {0};
  double loss = 0;
  assert_int_equal(mq_pooling_forward(pooling, y, x, NULL, &err), MQ_OK);
  for (int64_t i = 0; i < n_out; i++)
    loss += (double)dy[i] * (double)y[i];
  return loss;
}

/* Values far enough from each other that a difference of 2^-9 does not change a maximum. */
static void test_finite_differences(void **state) {
  (void)state;
  const struct pool_case c = {1, 2, 6, 5, {3, 3}, {2, 2}, {1, 1, 1, 1}, false, 1};
  const int64_t n_in = 60;
  const float h = 0x1p-9f;
  for (mq_pooling_kind kind = MQ_POOLING_MAX; kind <= MQ_POOLING_AVERAGE_WITH_PADDING; kind++) {
    struct mq_pooling *pooling = NULL;
    struct mq_err err = {0};
    const struct mq_pooling_desc desc = describe(&c, kind);
    assert_int_equal(mq_pooling_create(&pooling, &desc, &err), MQ_OK);
    const struct mq_shape out = mq_pooling_output_shape(pooling);
    const int64_t n_out = mq_shape_count(&out);
    float x[60], dx[60], *dy = help_random(n_out, 2), *y = help_random(n_out, 3);
    for (int64_t i = 0; i < n_in; i++)
      x[i] = (float)(i * 37 % 61) / 16 - 2;
    assert_int_equal(mq_pooling_backward(pooling, dx, false, dy, x, NULL, &err), MQ_OK);
    for (int64_t i = 0; i < n_in; i++) {
      const float middle = x[i];
      x[i] = middle + h;
      const double above = loss_of(pooling, dy, x, y, n_out);
      x[i] = middle - h;
      const double below = loss_of(pooling, dy, x, y, n_out);
      x[i] = middle;
      assert_true(fabs((above - below) / (2 * (double)h) - (double)dx[i]) < 1e-3);
    }
    mq_free(dy);
    mq_free(y);
    mq_pooling_destroy(pooling);
  }
}

static void test_nan_takes_all(void **state) {
  (void)state;
  struct mq_pooling *pooling = NULL;
  struct mq_err err = {0};
  const struct mq_pooling_desc desc = {
      .input = {4, {1, 1, 2, 2}}, .kernel = {2, 2}, .stride = {1, 1}, .dilation = {1, 1}};
  assert_int_equal(mq_pooling_create(&pooling, &desc, &err), MQ_OK);
  for (int at = 0; at < 4; at++) {
    float x[] = {1, 2, 3, 4}, dx[4];
    const float dy = 5;
    x[at] = NAN;
    assert_int_equal(mq_pooling_backward(pooling, dx, false, &dy, x, NULL, &err), MQ_OK);
    for (int i = 0; i < 4; i++)
      assert_true(dx[i] == (i == at ? 5 : 0));
  }
  mq_pooling_destroy(pooling);
}

static void test_too_large(void **state) {
  (void)state;
  struct mq_pooling *pooling = NULL;
  struct mq_err err = {0};
  const struct mq_pooling_desc desc = {
      .input = {4, {1, 1, 65536, 65536}}, .kernel = {2, 2}, .stride = {2, 2}, .dilation = {1, 1}};
  float nothing = 0;
  assert_int_equal(mq_pooling_create(&pooling, &desc, &err), MQ_OK);
  assert_int_equal(mq_pooling_backward(pooling, &nothing, false, &nothing, &nothing, NULL, &err),
                   MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "an image of 4294967296 pixels"));
  mq_pooling_destroy(pooling);
}

static void test_global(void **state) {
  (void)state;
  const int64_t pixels = 37, channel_counts[] = {1, 3, 16, 50, 300};
  for (size_t k = 0; k < 10; k++) {
    const int64_t channels = channel_counts[k / 2], n = 2 * pixels * channels;
    const bool adds = k % 2 != 0;
    float *x = help_random(n, 1), *dy = help_random(2 * channels, 2), *dx = help_random(n, 3);
    float *average = help_random(n, 3), *max = help_random(n, 3);
    for (int64_t i = 0; i < n; i++)
      x[i] = floorf(x[i] * 16);
    for (int64_t i = 0; i < n; i++) {
      const int64_t c = i % channels, image = i / channels / pixels * pixels * channels;
      int64_t best = image + c;
      for (int64_t p = 1; p < pixels; p++)
        if (x[image + p * channels + c] > x[best]) best = image + p * channels + c;
      const float g = dy[i / channels / pixels * channels + c];
      average[i] = (adds ? average[i] : 0) + g / (float)pixels;
      max[i] = (adds ? max[i] : 0) + (best == i ? g : 0);
    }
    float *start = help_random(n, 3);
    mq_global_average_backward(dx, adds, dy, 2, pixels, channels);
    help_assert_same(dx, average, n, "global average");
    memcpy(dx, start, (size_t)n * sizeof *dx);
    mq_global_max_backward(dx, adds, dy, x, 2, pixels, channels);
    help_assert_same(dx, max, n, "global maximum");
    float *all[] = {x, dy, dx, average, max, start};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
      mq_free(all[i]);
  }
}

static int run_group(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_finite_differences),
                                     cmocka_unit_test(test_nan_takes_all), cmocka_unit_test(test_too_large),
                                     cmocka_unit_test(test_global)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
  return help_run_levels(run_group);
}
