/* Speed of the kernels on one core, slices of 8 images, channels last: billions of operations per second of
 * convolutions (2 per multiply-add), billions of bytes per second of loops. Usage: kernel_bench [ISA [part of
 * a name]] */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel/conv.h"

#define SLICE 8
#define MEASURE_SECONDS 0.15
#define N_LOOP ((int64_t)1 << 22)

struct shape_case {
  const char *name;
  int64_t inputs, outputs, groups, size, kernel, stride;
  mq_post_kind post; /* 0: none; CLIP: relu; ADD: residual, then relu */
};

static const struct shape_case cases[] = {
    {"16 -> 16 at 32", 16, 16, 1, 32, 3, 1, 0},
    {"16 -> 16 at 32, relu", 16, 16, 1, 32, 3, 1, MQ_POST_CLIP},
    {"16 -> 16 at 32, add, relu", 16, 16, 1, 32, 3, 1, MQ_POST_ADD},
    {"16 -> 16 at 32, affine", 16, 16, 1, 32, 3, 1, MQ_POST_AFFINE},
    {"32 -> 32 at 16", 32, 32, 1, 16, 3, 1, 0},
    {"64 -> 64 at 8", 64, 64, 1, 8, 3, 1, 0},
    {"3 -> 16 at 32", 3, 16, 1, 32, 3, 1, 0},
    {"16 -> 32 at 32, stride 2", 16, 32, 1, 32, 3, 2, 0},
    {"1x1 384 -> 64 at 14", 384, 64, 1, 14, 1, 1, 0},
    {"1x1 144 -> 24 at 56", 144, 24, 1, 56, 1, 1, 0},
    {"1x1 24 -> 144 at 56, relu", 24, 144, 1, 56, 1, 1, MQ_POST_CLIP},
    {"64 -> 64 at 56", 64, 64, 1, 56, 3, 1, 0},
    {"64 -> 64 at 56, add, relu", 64, 64, 1, 56, 3, 1, MQ_POST_ADD},
    {"512 -> 512 at 7", 512, 512, 1, 7, 3, 1, 0},
    {"3 -> 64 at 224, 7x7 stride 2", 3, 64, 1, 224, 7, 2, 0},
    {"depthwise 144 at 56", 144, 144, 144, 56, 3, 1, 0},
    {"depthwise 144 at 56, relu", 144, 144, 144, 56, 3, 1, MQ_POST_CLIP},
    {"depthwise 144 at 56, stride 2", 144, 144, 144, 56, 3, 2, 0},
    {"depthwise 32 at 112", 32, 32, 32, 112, 3, 1, 0},
    {"depthwise 384 at 14", 384, 384, 384, 14, 3, 1, 0},
    {"depthwise 960 at 7", 960, 960, 960, 7, 3, 1, 0},
    {"depthwise 240 at 14, 5x5", 240, 240, 240, 14, 5, 1, 0},
    {"grouped 128/32 at 28", 128, 128, 32, 28, 3, 1, 0},
};

static float *fill(int64_t n) {
  float *data = mq_alloc((size_t)n, sizeof *data);
  struct mq_rng rng;
  mq_rng_init(&rng, 1, MQ_RNG_TEST, 0, 0);
  for (int64_t i = 0; data != NULL && i < n; i++)
    data[i] = mq_rng_float(&rng) - 0.5f;
  return data;
}

struct runner {
  const struct mq_conv *conv;
  float *y, *x, *residual;
  void *scratch;
};

static void run_once(const struct runner *r) {
  struct mq_err err;
  if (mq_conv_forward(r->conv, r->y, r->x, r->residual, r->scratch, &err) != MQ_OK) puts(err.message);
}

/* Seconds of one run: the best of many, which other processes disturb least. */
static double measure(const struct runner *r) {
  double best = INFINITY;
  const double begin = mq_now();
  for (double now = begin; now - begin < MEASURE_SECONDS;) {
    const double start = mq_now();
    run_once(r);
    now = mq_now();
    best = fmin(best, now - start);
  }
  return best;
}

static void bench_conv(const struct shape_case *c) {
  struct mq_err err;
  struct mq_conv *conv = NULL;
  float *vector = fill(c->outputs);
  const struct mq_shape shape = {4, {c->outputs, c->inputs / c->groups, c->kernel, c->kernel}};
  float *w = fill(mq_shape_count(&shape));
  struct mq_tensor weights = mq_tensor_view(w, MQ_F32, &shape, NULL);
  struct mq_tensor bias = mq_tensor_view(vector, MQ_F32, &(struct mq_shape){1, {c->outputs}}, NULL);
  const int64_t pad = c->kernel / 2;
  struct mq_conv_desc desc = {.input = {4, {SLICE, c->inputs, c->size, c->size}},
                              .weights = &weights,
                              .bias = &bias,
                              .stride = {c->stride, c->stride},
                              .dilation = {1, 1},
                              .pad_begin = {pad, pad},
                              .pad_end = {pad, pad},
                              .groups = c->groups};
  const struct mq_post relu = {.kind = MQ_POST_CLIP, .lo = 0, .hi = INFINITY};
  if (c->post != 0)
    desc.posts[desc.n_posts++] =
        (struct mq_post){.kind = c->post, .lo = 0, .hi = INFINITY, .gain = vector, .shift = vector};
  if (c->post == MQ_POST_ADD) desc.posts[desc.n_posts++] = relu;
  if (mq_conv_create(&conv, &desc, &err) != MQ_OK) {
    puts(err.message);
    return;
  }
  const struct mq_shape out = mq_conv_output_shape(conv);
  const int64_t n_out = mq_shape_count(&out);
  struct runner r = {conv, fill(n_out), fill(mq_shape_count(&desc.input)),
                     c->post == MQ_POST_ADD ? fill(n_out) : NULL,
                     mq_alloc(1, mq_conv_scratch_bytes(conv) + 1)};
  const double operations = 2.0 * (double)(n_out * c->inputs / c->groups * c->kernel * c->kernel);
  const double seconds = measure(&r);
  printf("%-32s %8.1f GOP/s %9.1f us  %s\n", c->name, operations / seconds * 1e-9, seconds * 1e6,
         mq_conv_implementation(conv));
  mq_free(r.y);
  mq_free(r.x);
  mq_free(r.residual);
  mq_free(r.scratch);
  mq_free(vector);
  mq_free(w);
  mq_conv_destroy(conv);
}

typedef void (*loop_fn)(float *y, const float *x, int64_t n);
static void loop_fake_quantize(float *y, const float *x, int64_t n) {
  const struct mq_fake_quant fq = {.scale = 0.004f, .zero_point = 0, .quant_min = -128, .quant_max = 127};
  mq_loop_fake_quantize(y, x, n, &fq);
}
static void loop_clip(float *y, const float *x, int64_t n) {
  mq_loop_clip(y, x, n, 0, 1);
}
static void loop_sigmoid(float *y, const float *x, int64_t n) {
  mq_loop_unary(y, x, n, MQ_UNARY_SIGMOID, 0, 0);
}
static void loop_hard_swish(float *y, const float *x, int64_t n) {
  mq_loop_unary(y, x, n, MQ_UNARY_HARD_SWISH, 0, 0);
}
static void loop_softmax(float *y, const float *x, int64_t n) {
  mq_softmax_rows(y, x, n / 1024, 1024, false);
}
static void loop_min_max(float *y, const float *x, int64_t n) {
  mq_loop_min_max(y, y + 1, x, n);
}
static void loop_moments(float *y, const float *x, int64_t n) {
  double sum[3];
  mq_loop_moments(&sum[0], &sum[1], &sum[2], x, n);
  y[0] = (float)(sum[0] + sum[1] + sum[2]);
}
static void loop_global_average(float *y, const float *x, int64_t n) {
  mq_global_average(y, x, n / 8192, 64, 128);
}

static void moments_of(float *y, const float *x, int64_t n, int64_t n_channels) {
  double sum[2][512];
  mq_loop_channel_moments(sum[0], sum[1], x, n / n_channels, n_channels);
  y[0] = (float)(sum[0][0] + sum[1][0]);
}
static void loop_moments_16(float *y, const float *x, int64_t n) {
  moments_of(y, x, n, 16);
}
static void loop_moments_24(float *y, const float *x, int64_t n) {
  moments_of(y, x, n, 24);
}
static void loop_moments_512(float *y, const float *x, int64_t n) {
  moments_of(y, x, n, 512);
}
/* y also stands for a second operand: what it holds does not matter for the time. */
static void loop_products_64(float *y, const float *x, int64_t n) {
  double sum[2][64];
  mq_loop_channel_products(sum[0], sum[1], x, y, n / 64, 64);
  y[0] = (float)(sum[0][0] + sum[1][0]);
}
static void loop_normalize_64(float *y, const float *x, int64_t n) {
  mq_loop_normalize_backward(y, false, y, x, n / 64, 64, x, x + 64, x + 128);
}
static void loop_clip_backward(float *y, const float *x, int64_t n) {
  mq_loop_clip_backward(y, false, y, x, n, 0, INFINITY);
}
static void loop_axpy(float *y, const float *x, int64_t n) {
  mq_loop_axpy(y, 0.5f, x, n);
}
static void loop_sgd(float *y, const float *x, int64_t n) {
  const struct mq_sgd sgd = {.rate = 0.01f, .momentum = 0.9f, .decay = 1e-4f, .is_nesterov = true};
  mq_loop_sgd(y, y + n / 2, x, n / 2, &sgd);
}
static void loop_adam(float *y, const float *x, int64_t n) {
  const struct mq_adam adam = {.rate = 1e-3f,
                               .beta1 = 0.9f,
                               .beta2 = 0.999f,
                               .epsilon = 1e-8f,
                               .correction1 = 0.1,
                               .correction2 = 0.001};
  mq_loop_adam(y, y + n / 4, y + n / 2, x, n / 4, &adam);
}
static void loop_cross_entropy(float *y, const float *x, int64_t n) {
  int64_t labels[N_LOOP / 1000] = {0};
  mq_cross_entropy_rows(NULL, y, NULL, x, labels, n / 1000, 1000, 0.1, 1.0);
}
static const struct mq_fake_quant bits8 = {.scale = 0.004f, .quant_min = -128, .quant_max = 127};
static void loop_quantize_codes(float *y, const float *x, int64_t n) {
  mq_loop_quantize_codes(y, true, x, n, &bits8);
}
static void loop_dequantize_codes(float *y, const float *x, int64_t n) {
  mq_loop_dequantize_codes(y, x, true, n, 0.004f, 0);
}
static void loop_center_codes(float *y, const float *x, int64_t n) {
  mq_loop_center_codes_bf16((uint16_t *)(void *)y, x, false, n, 128);
}
static void loop_lsq_backward(float *y, const float *x, int64_t n) {
  double sums[2] = {0, 0};
  mq_loop_lsq_backward(y, false, sums, y, x, n, &bits8, false);
  y[0] += (float)(sums[0] + sums[1]);
}
static void loop_lsq_backward_rounded(float *y, const float *x, int64_t n) {
  double sums[2] = {0, 0};
  mq_loop_lsq_backward(y, false, sums, y, x, n, &bits8, true);
  y[0] += (float)(sums[0] + sums[1]);
}
static void loop_max_pool_backward(float *y, const float *x, int64_t n) {
  struct mq_pooling *pooling = NULL;
  struct mq_err err;
  const struct mq_pooling_desc desc = {.kind = MQ_POOLING_MAX,
                                       .input = {4, {n / 65536, 64, 32, 32}},
                                       .kernel = {3, 3},
                                       .stride = {2, 2},
                                       .dilation = {1, 1},
                                       .pad_begin = {1, 1},
                                       .pad_end = {1, 1}};
  if (mq_pooling_create(&pooling, &desc, &err) != MQ_OK ||
      mq_pooling_backward(pooling, y, false, x, x, NULL, &err) != MQ_OK)
    puts(err.message);
  mq_pooling_destroy(pooling);
}

/* In the second-level cache (64 Ki elements) and out of it. */
static const char *part = "";
static void bench_loop(const char *name, loop_fn loop, bool is_in_place) {
  if (strstr(name, part) == NULL) return;
  float *x = fill(N_LOOP), *y = fill(N_LOOP);
  const int64_t sizes[] = {65536, N_LOOP};
  printf("%-32s", name);
  for (int i = 0; i < 2; i++) {
    const int64_t n = sizes[i], n_passes = N_LOOP / n;
    double best = INFINITY;
    for (int repeat = 0; repeat < 5; repeat++) {
      const double start = mq_now();
      for (int64_t pass = 0; pass < n_passes; pass++)
        loop(is_in_place ? x : y, x, n);
      best = fmin(best, mq_now() - start);
    }
    printf(" %8.2f", (double)N_LOOP / best * 1e-9);
  }
  puts(" G elements/s (cached, streamed)");
  mq_free(x);
  mq_free(y);
}

int main(int argc, char **argv) {
  struct mq_err err;
  mq_isa isa = MQ_ISA_NATIVE;
  if ((argc > 1 && mq_isa_parse(&isa, argv[1], &err) != MQ_OK) || mq_kernel_start(isa, &err) != MQ_OK) {
    fprintf(stderr, "%s\n", err.message);
    return 2;
  }
  printf("%s, %s, oneDNN %s\n", mq_kernel_cpu_name(), mq_isa_name(mq_kernel_isa()),
         mq_kernel_onednn_version());
  if (argc > 2) part = argv[2];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (strstr(cases[i].name, part) != NULL) bench_conv(&cases[i]);
  bench_loop("fake quantize", loop_fake_quantize, false);
  bench_loop("fake quantize, in place", loop_fake_quantize, true);
  bench_loop("clip", loop_clip, false);
  bench_loop("sigmoid", loop_sigmoid, false);
  bench_loop("hard swish", loop_hard_swish, false);
  bench_loop("softmax, rows of 1024", loop_softmax, false);
  bench_loop("min, max", loop_min_max, false);
  bench_loop("moments", loop_moments, false);
  bench_loop("global average, 64 x 128", loop_global_average, false);
  bench_loop("channel moments, 16", loop_moments_16, false);
  bench_loop("channel moments, 24", loop_moments_24, false);
  bench_loop("channel moments, 512", loop_moments_512, false);
  bench_loop("channel products, 64", loop_products_64, false);
  bench_loop("normalize backward, 64, in place", loop_normalize_64, false);
  bench_loop("clip backward, in place", loop_clip_backward, false);
  bench_loop("axpy", loop_axpy, false);
  bench_loop("sgd (2 floats)", loop_sgd, false);
  bench_loop("adam (4 floats)", loop_adam, false);
  bench_loop("cross entropy, 1000 classes", loop_cross_entropy, false);
  bench_loop("max pool backward, 3x3, stride 2", loop_max_pool_backward, false);
  bench_loop("quantize to codes", loop_quantize_codes, false);
  bench_loop("dequantize codes", loop_dequantize_codes, false);
  bench_loop("center codes, bf16", loop_center_codes, false);
  bench_loop("lsq backward, in place", loop_lsq_backward, false);
  bench_loop("lsq backward, rounded mask", loop_lsq_backward_rounded, false);
  return 0;
}
