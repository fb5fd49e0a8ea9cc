#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel/conv.h"
#include "kernel/help_kernel.h"

struct matmul_case {
  int64_t batch, m, k, n;
  bool is_transposed, is_constant, has_bias, is_input_transposed;
};

static const struct matmul_case cases[] = {
    {1, 8, 512, 1000, true, true, true, false},  {1, 8, 64, 10, true, true, true, false},
    {1, 1, 2048, 10, true, true, true, false},   {1, 8, 64, 10, false, true, true, false},
    {1, 3, 7, 5, false, true, false, false},     {1, 1, 1, 1, false, true, false, false},
    {1, 17, 33, 65, true, true, false, false},   {4, 9, 16, 11, false, false, false, false},
    {4, 9, 16, 11, true, false, true, false},    {2, 5, 6, 7, false, true, true, false},
    {1, 16, 48, 16, false, false, false, false}, {12, 50, 32, 50, true, false, false, false},
    {4, 9, 16, 11, false, false, false, true},   {1, 7, 3, 5, true, false, true, true},
    {3, 33, 8, 17, false, false, false, true},   {1, 6, 5, 4, false, true, false, true},
};

struct fixture {
  struct mq_matmul_desc desc;
  float *x, *w, *bias, *residual, *gain, *shift;
  int64_t n_out;
  char name[96];
};

static void fixture_init(struct fixture *f, const struct matmul_case *c) {
  *f = (struct fixture){.n_out = c->batch * c->m * c->n};
  f->x = help_random(c->batch * c->m * c->k, 1);
  f->w = help_random(c->batch * c->k * c->n, 2);
  f->bias = help_random(c->n, 3);
  f->residual = help_random(f->n_out, 4);
  f->gain = help_random(c->n, 5);
  f->shift = help_random(c->n, 6);
  f->desc = (struct mq_matmul_desc){
      .batch = c->batch,
      .m = c->m,
      .k = c->k,
      .n = c->n,
      .weights = c->is_constant ? f->w : NULL,
      .is_weight_transposed = c->is_transposed,
      .is_input_transposed = c->is_input_transposed,
      .bias = c->has_bias ? f->bias : NULL,
  };
  snprintf(f->name, sizeof f->name, "%lld x [%lld x %lld x %lld]", (long long)c->batch, (long long)c->m,
           (long long)c->k, (long long)c->n);
}

static void fixture_deinit(struct fixture *f) {
  mq_free(f->x);
  mq_free(f->w);
  mq_free(f->bias);
  mq_free(f->residual);
  mq_free(f->gain);
  mq_free(f->shift);
}

static float *run(const struct fixture *f, const float *residual) {
  struct mq_matmul *matmul = NULL;
  struct mq_err err = {0};
  if (mq_matmul_create(&matmul, &f->desc, &err) != MQ_OK) fail_msg("%s: %s", f->name, err.message);
  if (strstr(mq_matmul_implementation(matmul), "ref") != NULL)
    fail_msg("%s: falls back to %s", f->name, mq_matmul_implementation(matmul));
  void *scratch = mq_alloc(1, mq_matmul_scratch_bytes(matmul) + 1);
  float *y = help_random(f->n_out, 9);
  assert_int_equal(
      mq_matmul_forward(matmul, y, f->x, f->desc.weights == NULL ? f->w : NULL, residual, scratch, &err),
      MQ_OK);
  mq_free(scratch);
  mq_matmul_destroy(matmul);
  return y;
}

static double element(const struct fixture *f, int64_t b, int64_t i, int64_t j, const float *residual) {
  const struct mq_matmul_desc *d = &f->desc;
  double v = d->bias != NULL ? (double)d->bias[j] : 0;
  const float *w = f->w + b * d->k * d->n;
  for (int64_t k = 0; k < d->k; k++)
    v += (double)f->x[d->is_input_transposed ? (b * d->k + k) * d->m + i : (b * d->m + i) * d->k + k] *
         (double)(d->is_weight_transposed ? w[j * d->k + k] : w[k * d->n + j]);
  for (int p = 0; p < d->n_posts; p++) {
    const struct mq_post *post = &d->posts[p];
    if (post->kind == MQ_POST_ADD) v += (double)residual[(b * d->m + i) * d->n + j];
    if (post->kind == MQ_POST_AFFINE) v = v * (double)post->gain[j] + (double)post->shift[j];
    if (post->kind == MQ_POST_CLIP) v = fmin(fmax(v, (double)post->lo), (double)post->hi);
  }
  return v;
}

static void check(const struct fixture *f, const float *residual) {
  const struct mq_matmul_desc *d = &f->desc;
  float *y = run(f, residual);
  float *expected = help_random(f->n_out, 7);
  for (int64_t i = 0; i < f->n_out; i++)
    expected[i] = (float)element(f, i / (d->m * d->n), i / d->n % d->m, i % d->n, residual);
  help_assert_near(y, expected, f->n_out, 2e-6 * sqrt((double)d->k) + 1e-6, f->name);
  mq_free(y);
  mq_free(expected);
}

static void test_shapes(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct fixture f;
    fixture_init(&f, &cases[i]);
    check(&f, NULL);
    fixture_deinit(&f);
  }
}

static void test_posts(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct fixture f;
    fixture_init(&f, &cases[i]);
    f.desc.posts[0] = (struct mq_post){.kind = MQ_POST_CLIP, .lo = 0, .hi = INFINITY};
    f.desc.n_posts = 1;
    check(&f, NULL);
    f.desc.posts[1] = (struct mq_post){.kind = MQ_POST_AFFINE, .gain = f.gain, .shift = f.shift};
    f.desc.n_posts = 2;
    check(&f, NULL);
    f.desc.posts[0] = (struct mq_post){.kind = MQ_POST_ADD};
    f.desc.posts[2] = (struct mq_post){.kind = MQ_POST_CLIP, .lo = -0.5f, .hi = 1.5f};
    f.desc.n_posts = 3;
    check(&f, f.residual);
    fixture_deinit(&f);
  }
}

/* With constant weights a row's result has the same bits in every row of the slice; otherwise that of a
 * matrix in every place of the batch. */
static void test_position(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct fixture f;
    fixture_init(&f, &cases[i]);
    const int64_t m = f.desc.m, k = f.desc.k, n = f.desc.n;
    const bool is_by_row = cases[i].is_constant && f.desc.batch == 1 && !f.desc.is_input_transposed;
    const int64_t n_places = is_by_row ? m : f.desc.batch, x_step = is_by_row ? k : m * k;
    const int64_t y_step = is_by_row ? n : m * n;
    for (int64_t place = 1; place < n_places; place++) {
      memcpy(f.x + place * x_step, f.x, (size_t)x_step * sizeof *f.x);
      if (!is_by_row) memcpy(f.w + place * k * n, f.w, (size_t)(k * n) * sizeof *f.w);
    }
    float *y = run(&f, NULL);
    for (int64_t place = 1; place < n_places; place++)
      help_assert_same(y + place * y_step, y, y_step, f.name);
    mq_free(y);
    fixture_deinit(&f);
  }
}

static void test_refusal(void **state) {
  (void)state;
  struct mq_matmul *matmul = NULL;
  struct mq_err err = {0};
  const struct mq_matmul_desc desc = {.batch = 1, .m = 8, .k = 0, .n = 4};
  assert_int_equal(mq_matmul_create(&matmul, &desc, &err), MQ_BAD_INPUT);
  assert_null(matmul);
  assert_non_null(strstr(err.message, "[8 x 0]"));
}

static int run_group(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_posts),
                                     cmocka_unit_test(test_position), cmocka_unit_test(test_refusal)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
  return help_run_levels(run_group);
}
