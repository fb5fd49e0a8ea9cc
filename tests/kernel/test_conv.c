#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel/conv.h"
#include "kernel/help_kernel.h"

struct conv_case {
  int64_t n, inputs, outputs, groups, height, width, kernel[2], stride[2], dilation[2], pad[4], output_pad[2];
  bool is_transposed;
};

#define DENSE .stride = {1, 1}, .dilation = {1, 1}
static const struct conv_case cases[] = {
    {2, 3, 16, 1, 32, 32, {3, 3}, .pad = {1, 1, 1, 1}, DENSE},
    {3, 16, 16, 1, 12, 12, {3, 3}, .pad = {1, 1, 1, 1}, DENSE},
    {2, 64, 24, 1, 7, 7, {1, 1}, DENSE},
    {2, 16, 32, 1, 13, 11, {3, 3}, .stride = {2, 2}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}},
    {2, 16, 32, 1, 14, 14, {1, 1}, .stride = {2, 2}, .dilation = {1, 1}},
    {1, 3, 8, 1, 23, 23, {7, 7}, .stride = {2, 2}, .dilation = {1, 1}, .pad = {3, 3, 3, 3}},
    {2, 3, 8, 1, 16, 16, {3, 3}, .stride = {2, 2}, .dilation = {1, 1}, .pad = {0, 0, 1, 1}}, /* TensorFlow's
                                                                                                SAME */
    {1, 8, 8, 1, 9, 9, {5, 3}, .pad = {0, 2, 3, 1}, DENSE},
    {1, 7, 5, 1, 5, 5, {3, 3}, .pad = {1, 1, 1, 1}, DENSE},
    {1, 1, 1, 1, 1, 1, {1, 1}, DENSE},
    {2, 17, 23, 1, 6, 6, {3, 3}, .pad = {1, 1, 1, 1}, DENSE},
    {1, 12, 12, 1, 12, 12, {3, 3}, .stride = {1, 1}, .dilation = {2, 3}, .pad = {2, 3, 2, 3}},
    {2, 24, 24, 3, 9, 9, {3, 3}, .pad = {1, 1, 1, 1}, DENSE},
    {2, 32, 32, 8, 9, 9, {3, 3}, .pad = {1, 1, 1, 1}, DENSE},
    {1, 10, 20, 5, 6, 6, {1, 1}, DENSE},
    {1, 9, 6, 3, 8, 8, {3, 3}, .stride = {2, 1}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}},
    {2, 32, 32, 32, 14, 14, {3, 3}, .pad = {1, 1, 1, 1}, DENSE},
    {2, 21, 21, 21, 14, 15, {3, 3}, .stride = {2, 2}, .dilation = {1, 1}, .pad = {1, 1, 1, 1}},
    {1, 40, 40, 40, 10, 10, {5, 5}, .pad = {2, 2, 2, 2}, DENSE},
    {1, 40, 40, 40, 11, 10, {5, 5}, .stride = {2, 2}, .dilation = {1, 1}, .pad = {1, 2, 2, 1}},
    {1, 16, 16, 16, 12, 12, {3, 3}, .stride = {1, 1}, .dilation = {2, 2}, .pad = {2, 2, 2, 2}},
    {1, 6, 12, 6, 7, 7, {3, 3}, .pad = {1, 1, 1, 1}, DENSE}, /* depth multiplier 2 */
    {1, 1, 6, 1, 12, 12, {5, 5}, .pad = {2, 2, 2, 2}, DENSE},
    {2, 16, 16, 1, 1, 40, {1, 3}, .pad = {0, 1, 0, 1}, DENSE}, /* 1-D */
    {2, 12, 12, 12, 1, 33, {1, 7}, .pad = {0, 3, 0, 3}, DENSE},
    {1, 130, 70, 1, 4, 4, {3, 3}, .pad = {1, 1, 1, 1}, DENSE},
    {1, 4, 4, 1, 2, 2, {5, 5}, .pad = {4, 4, 4, 4}, DENSE}, /* padding wider than the input */
    {1, 33, 33, 33, 2, 3, {5, 5}, .pad = {4, 4, 3, 3}, DENSE},
    {1,
     16,
     8,
     1,
     6,
     6,
     {4, 4},
     .stride = {2, 2},
     .dilation = {1, 1},
     .pad = {1, 1, 1, 1},
     .is_transposed = true},
    {2, 5, 7, 1, 6, 5, {2, 2}, .stride = {2, 2}, .dilation = {1, 1}, .is_transposed = true},
    {1,
     8,
     8,
     1,
     5,
     5,
     {3, 3},
     .stride = {2, 2},
     .dilation = {1, 1},
     .pad = {1, 1, 1, 1},
     .output_pad = {1, 1},
     .is_transposed = true},
    {1,
     6,
     8,
     2,
     5,
     5,
     {3, 3},
     .stride = {2, 2},
     .dilation = {1, 1},
     .pad = {0, 1, 1, 0},
     .is_transposed = true},
    {1,
     6,
     6,
     6,
     5,
     5,
     {4, 4},
     .stride = {2, 2},
     .dilation = {1, 1},
     .pad = {1, 1, 1, 1},
     .is_transposed = true},
    {1,
     4,
     4,
     1,
     5,
     5,
     {3, 3},
     .stride = {3, 3},
     .dilation = {2, 2},
     .pad = {0, 0, 0, 0},
     .output_pad = {2, 2},
     .is_transposed = true},
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
  struct mq_tensor weights, bias;
  struct mq_conv_desc desc;
  struct mq_shape output;
  int64_t n_in, n_out, n_taps;
  float *x, *residual, *gain, *shift;
  char name[160];
};

static void fixture_init(struct fixture *f, const struct conv_case *c, bool has_bias) {
  const int64_t forward[] = {c->outputs, c->inputs / c->groups, c->kernel[0], c->kernel[1]};
  const int64_t transposed[] = {c->inputs, c->outputs / c->groups, c->kernel[0], c->kernel[1]};
  struct mq_err err = {0};
  *f = (struct fixture){.n_taps = c->inputs / c->groups * c->kernel[0] * c->kernel[1]};
  f->weights = help_tensor(4, c->is_transposed ? transposed : forward, 1);
  f->bias = help_tensor(1, &c->outputs, 2);
  f->desc = (struct mq_conv_desc){
      .input = {4, {c->n, c->inputs, c->height, c->width}},
      .weights = &f->weights,
      .bias = has_bias ? &f->bias : NULL,
      .stride = {c->stride[0], c->stride[1]},
      .dilation = {c->dilation[0], c->dilation[1]},
      .pad_begin = {c->pad[0], c->pad[1]},
      .pad_end = {c->pad[2], c->pad[3]},
      .output_pad = {c->output_pad[0], c->output_pad[1]},
      .groups = c->groups,
      .is_transposed = c->is_transposed,
  };
  assert_int_equal(mq_conv_check(&f->output, &f->desc, &err), MQ_OK);
  f->n_in = mq_shape_count(&f->desc.input);
  f->n_out = mq_shape_count(&f->output);
  f->x = help_random(f->n_in, 3);
  f->residual = help_random(f->n_out, 4);
  f->gain = help_random(c->outputs, 5);
  f->shift = help_random(c->outputs, 6);
  snprintf(f->name, sizeof f->name, "%s%lldx%lldx%lldx%lld -> %lld, kernel %lldx%lld, groups %lld",
           c->is_transposed ? "transposed " : "", (long long)c->n, (long long)c->inputs, (long long)c->height,
           (long long)c->width, (long long)c->outputs, (long long)c->kernel[0], (long long)c->kernel[1],
           (long long)c->groups);
}

static void fixture_deinit(struct fixture *f) {
  mq_tensor_deinit(&f->weights);
  mq_tensor_deinit(&f->bias);
  mq_free(f->x);
  mq_free(f->residual);
  mq_free(f->gain);
  mq_free(f->shift);
}

static struct mq_conv *create(const struct fixture *f) {
  struct mq_conv *conv = NULL;
  struct mq_err err = {0};
  if (mq_conv_create(&conv, &f->desc, &err) != MQ_OK) fail_msg("%s: %s", f->name, err.message);
  const struct mq_shape shape = mq_conv_output_shape(conv);
  assert_true(mq_shape_equal(&shape, &f->output));
  if (strstr(mq_conv_implementation(conv), "ref") != NULL)
    fail_msg("%s: falls back to %s", f->name, mq_conv_implementation(conv));
  return conv;
}

/* Runs once into a new buffer. */
static float *run_prepared(const struct fixture *f, const struct mq_conv *conv, const float *residual) {
  struct mq_err err = {0};
  void *scratch = mq_alloc(1, mq_conv_scratch_bytes(conv) + 1);
  float *y = help_random(f->n_out, 9); /* what was there before must not matter */
  assert_int_equal(mq_conv_forward(conv, y, f->x, residual, scratch, &err), MQ_OK);
  mq_free(scratch);
  return y;
}

static float *run(const struct fixture *f, const float *residual) {
  struct mq_conv *conv = create(f);
  float *y = run_prepared(f, conv, residual);
  mq_conv_destroy(conv);
  return y;
}

static void check(const struct fixture *f, const float *residual) {
  struct mq_err err = {0};
  float *expected = help_random(f->n_out, 10);
  assert_int_equal(mq_conv_forward_reference(&f->desc, expected, f->x, residual, &err), MQ_OK);
  float *y = run(f, residual);
  help_assert_near(y, expected, f->n_out, 1e-6 * sqrt((double)f->n_taps) + 1e-6, f->name);
  mq_free(y);
  mq_free(expected);
}

static void test_shapes(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct fixture f;
    fixture_init(&f, &cases[i], i % 3 != 2);
    check(&f, NULL);
    fixture_deinit(&f);
  }
}

static struct mq_post add_post(void) {
  return (struct mq_post){.kind = MQ_POST_ADD};
}
static struct mq_post clip_post(float lo, float hi) {
  return (struct mq_post){.kind = MQ_POST_CLIP, .lo = lo, .hi = hi};
}
static struct mq_post affine_post(const struct fixture *f) {
  return (struct mq_post){.kind = MQ_POST_AFFINE, .gain = f->gain, .shift = f->shift};
}

static bool has_add(const struct mq_conv_desc *desc) {
  for (int i = 0; i < desc->n_posts; i++)
    if (desc->posts[i].kind == MQ_POST_ADD) return true;
  return false;
}

static const size_t post_cases[] = {1, 2, 4, 9, 10, 12, 16, 17, 18, 21, 23, 30, 32};

/* Every order in which posts may come. */
static void test_posts(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof post_cases / sizeof *post_cases; i++) {
    struct fixture f;
    fixture_init(&f, &cases[post_cases[i]], true);
    const struct mq_post relu = clip_post(0, INFINITY), clip = clip_post(-0.25f, 0.5f), add = add_post(),
                         affine = affine_post(&f);
    const struct mq_post orders[][MQ_MAX_POSTS] = {{relu},
                                                   {clip},
                                                   {add, relu},
                                                   {relu, add},
                                                   {affine},
                                                   {affine, relu},
                                                   {clip, add, affine},
                                                   {add, clip, affine, relu},
                                                   {affine, add, affine, clip}};
    const int counts[] = {1, 1, 2, 2, 1, 2, 3, 4, 4};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
      memcpy(f.desc.posts, orders[k], sizeof f.desc.posts);
      f.desc.n_posts = counts[k];
      check(&f, has_add(&f.desc) ? f.residual : NULL);
    }
    fixture_deinit(&f);
  }
}

/* The residual's memory may be the output's. */
static void test_add_in_place(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof post_cases / sizeof *post_cases; i++) {
    struct fixture f;
    struct mq_conv *conv = NULL;
    struct mq_err err = {0};
    fixture_init(&f, &cases[post_cases[i]], true);
    f.desc.posts[0] = add_post();
    f.desc.posts[1] = clip_post(0, 6);
    f.desc.n_posts = 2;
    float *apart = run(&f, f.residual);
    assert_int_equal(mq_conv_create(&conv, &f.desc, &err), MQ_OK);
    void *scratch = mq_alloc(1, mq_conv_scratch_bytes(conv) + 1);
    assert_int_equal(mq_conv_forward(conv, f.residual, f.x, f.residual, scratch, &err), MQ_OK);
    help_assert_same(f.residual, apart, f.n_out, f.name);
    mq_free(scratch);
    mq_free(apart);
    mq_conv_destroy(conv);
    fixture_deinit(&f);
  }
}

/* An image's output has the same bits in every place of a slice, whatever the other images hold. */
static void test_position_in_slice(void **state) {
  (void)state;
  const int64_t places = 5;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct fixture f;
    struct conv_case c = cases[i];
    c.n = places;
    fixture_init(&f, &c, true);
    const int64_t image_in = f.n_in / places, image_out = f.n_out / places;
    float *first = NULL;
    struct mq_conv *conv = create(&f);
    for (int64_t place = 0; place < places; place += 2) {
      float *others = help_random(f.n_in, 100 + (uint64_t)place), *image = help_random(image_in, 7);
      memcpy(f.x, others, (size_t)f.n_in * sizeof(float));
      memcpy(f.x + place * image_in, image, (size_t)image_in * sizeof(float));
      float *y = run_prepared(&f, conv, NULL);
      memmove(y, y + place * image_out, (size_t)image_out * sizeof(float));
      if (first != NULL) help_assert_same(y, first, image_out, f.name);
      mq_free(first);
      first = y;
      mq_free(others);
      mq_free(image);
    }
    mq_free(first);
    mq_conv_destroy(conv);
    fixture_deinit(&f);
  }
}

struct shared_run {
  const struct mq_conv *conv;
  const float *x, *expected;
  int64_t n_out;
};

static mq_status run_shared(void *context, size_t task, unsigned worker, struct mq_err *err) {
  const struct shared_run *shared = context;
  (void)task;
  (void)worker;
  void *scratch = mq_alloc(1, mq_conv_scratch_bytes(shared->conv) + 1);
  float *y = mq_alloc((size_t)shared->n_out, sizeof *y);
  mq_status status = mq_conv_forward(shared->conv, y, shared->x, NULL, scratch, err);
  if (status == MQ_OK && memcmp(y, shared->expected, (size_t)shared->n_out * sizeof *y) != 0)
    status = mq_fail(err, MQ_NO, "another result in another worker");
  mq_free(scratch);
  mq_free(y);
  return status;
}

/* One prepared convolution, several workers at once, same bits. */
static void test_concurrent(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i += 2) {
    struct fixture f;
    struct mq_pool *pool = NULL;
    struct mq_conv *conv = NULL;
    struct mq_err err = {0};
    fixture_init(&f, &cases[i], true);
    float *expected = run(&f, NULL);
    assert_int_equal(mq_pool_create(&pool, 3, mq_kernel_start_worker, &err), MQ_OK);
    assert_int_equal(mq_conv_create(&conv, &f.desc, &err), MQ_OK);
    struct shared_run shared = {conv, f.x, expected, f.n_out};
    if (mq_pool_run(pool, 9, run_shared, &shared, &err) != MQ_OK) fail_msg("%s: %s", f.name, err.message);
    mq_conv_destroy(conv);
    mq_pool_destroy(pool);
    mq_free(expected);
    fixture_deinit(&f);
  }
}

static void expect_refused(const struct fixture *f, const struct mq_conv_desc *desc, const char *part) {
  struct mq_conv *conv = (struct mq_conv *)(uintptr_t)&conv;
  struct mq_err err = {0};
  (void)f;
  assert_int_equal(mq_conv_create(&conv, desc, &err), MQ_BAD_INPUT);
  assert_null(conv);
  if (strstr(err.message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.message, part);
}

static void test_refusals(void **state) {
  (void)state;
  struct fixture f;
  fixture_init(&f, &cases[1], true);
  struct mq_conv_desc d = f.desc;
  d.stride[0] = 0;
  expect_refused(&f, &d, "stride 0");
  d = f.desc;
  d.groups = 3;
  expect_refused(&f, &d, "3 groups");
  d = f.desc;
  d.input.dim[2] = d.input.dim[3] = 0;
  expect_refused(&f, &d, "input 0");
  d = f.desc;
  d.input.dim[2] = 1;
  d.pad_begin[0] = d.pad_end[0] = 0;
  expect_refused(&f, &d, "leaves no output");
  d = f.desc;
  d.pad_begin[1] = -1;
  expect_refused(&f, &d, "pads -1");
  d = f.desc;
  d.input.dim[0] = (int64_t)1 << 39;
  expect_refused(&f, &d, "elements");
  d = f.desc;
  d.n_posts = 1;
  d.posts[0] = clip_post(1, 0);
  expect_refused(&f, &d, "clip to [1, 0]");
  fixture_deinit(&f);
}

static int count_threads(void) {
  char line[256];
  int n_threads = 0;
  FILE *status = fopen("/proc/self/status", "r");
  assert_non_null(status);
  while (fgets(line, sizeof line, status) != NULL)
    sscanf(line, "Threads: %d", &n_threads);
  fclose(status);
  return n_threads;
}

/* The library must not start threads of its own: neither when it packs nor when it runs. */
static void test_one_thread(void **state) {
  (void)state;
  struct fixture f;
  const struct conv_case big = {8, 32, 32, 1, 14, 14, {3, 3}, DENSE, .pad = {1, 1, 1, 1}};
  const int before = count_threads(); /* a sanitizer may have one of its own */
  fixture_init(&f, &big, true);
  mq_free(run(&f, NULL));
  assert_int_equal(count_threads(), before);
  fixture_deinit(&f);
}

static int run_group(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_thread),
      cmocka_unit_test(test_shapes),
      cmocka_unit_test(test_posts),
      cmocka_unit_test(test_add_in_place),
      cmocka_unit_test(test_position_in_slice),
      cmocka_unit_test(test_concurrent),
      cmocka_unit_test(test_refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
  return help_run_levels(run_group);
}
