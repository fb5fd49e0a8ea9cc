/* Speed of convolutions in training and on integers, on one core, slices of 8 images, channels last: billions
 * of operations per second (2 per multiply-add), microseconds for packing. Usage: conv_bench [ISA [part of a
 * name]] */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kernel/conv_int.h"
#include "kernel/conv_train.h"

#define SLICE 8
#define MEASURE_SECONDS 0.1

struct shape_case {
  const char *name;
  int64_t inputs, outputs, groups, size, kernel, stride;
};

static const struct shape_case cases[] = {
    {"16 -> 16 at 32", 16, 16, 1, 32, 3, 1},
    {"32 -> 32 at 16", 32, 32, 1, 16, 3, 1},
    {"64 -> 64 at 8", 64, 64, 1, 8, 3, 1},
    {"3 -> 16 at 32", 3, 16, 1, 32, 3, 1},
    {"16 -> 32 at 32, stride 2", 16, 32, 1, 32, 3, 2},
    {"64 -> 64 at 56", 64, 64, 1, 56, 3, 1},
    {"512 -> 512 at 7", 512, 512, 1, 7, 3, 1},
    {"3 -> 64 at 224, 7x7 stride 2", 3, 64, 1, 224, 7, 2},
    {"1x1 384 -> 64 at 14", 384, 64, 1, 14, 1, 1},
    {"1x1 24 -> 144 at 56", 24, 144, 1, 56, 1, 1},
    {"Gemm 512 -> 1000", 512, 1000, 1, 1, 1, 1},
    {"groups of 8, 64 at 28", 64, 64, 8, 28, 3, 1},
    {"groups of 24, 120 at 28", 120, 120, 5, 28, 3, 1},
    {"depthwise 144 at 56", 144, 144, 144, 56, 3, 1},
    {"depthwise 144 at 56, stride 2", 144, 144, 144, 56, 3, 2},
    {"depthwise 32 at 112", 32, 32, 32, 112, 3, 1},
    {"depthwise 384 at 14", 384, 384, 384, 14, 3, 1},
    {"depthwise 960 at 7", 960, 960, 960, 7, 3, 1},
    {"depthwise 240 at 14, 5x5", 240, 240, 240, 14, 5, 1},
    {"depthwise 240 at 28, 5x5 stride 2", 240, 240, 240, 28, 5, 2},
};

static void *fill(int64_t n) {
  float *data = mq_alloc((size_t)n, sizeof *data);
  struct mq_rng rng;
  mq_rng_init(&rng, 1, MQ_RNG_TEST, 0, 0);
  for (int64_t i = 0; data != NULL && i < n; i++)
    data[i] = mq_rng_float(&rng) - 0.5f;
  return data;
}

/* All that a direction needs; a function runs one of them. */
struct runner {
  const struct mq_conv_train *train;
  const struct mq_conv_int *integer;
  float *x, *y, *w, *bias, *gradient;
  void *forward, *backward, *scratch;
};
typedef mq_status (*run_fn)(const struct runner *r, struct mq_err *err);

static mq_status run_pack(const struct runner *r, struct mq_err *err) {
  return mq_conv_train_pack(r->train, r->forward, r->backward, r->w, r->scratch, err);
}
static mq_status run_unpack(const struct runner *r, struct mq_err *err) {
  return mq_conv_train_unpack_gradient(r->train, r->w, false, r->gradient, r->scratch, err);
}
static mq_status run_forward(const struct runner *r, struct mq_err *err) {
  return mq_conv_train_forward(r->train, r->y, r->x, r->forward, r->bias, r->scratch, err);
}
static mq_status run_data(const struct runner *r, struct mq_err *err) {
  const struct mq_conv_backward data = {.dx = r->x, .packed_backward = r->backward, .dy = r->y};
  return mq_conv_train_backward(r->train, &data, r->scratch, err);
}
static mq_status run_weights(const struct runner *r, struct mq_err *err) {
  const struct mq_conv_backward weights = {.packed_gradient = r->gradient, .x = r->x, .dy = r->y};
  return mq_conv_train_backward(r->train, &weights, r->scratch, err);
}
static mq_status run_integer(const struct runner *r, struct mq_err *err) {
  return mq_conv_int_forward(r->integer, r->y, r->x, 0, r->forward, r->bias, r->bias, r->scratch, err);
}
static mq_status run_integer_pack(const struct runner *r, struct mq_err *err) {
  return mq_conv_int_pack(r->integer, r->forward, r->w, NULL, r->scratch, err);
}

/* Of this thread, the only one: other programs' turns on the core do not count. */
static double processor_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Seconds of one run: the best of many, which other processes disturb least. */
static double measure(const struct runner *r, run_fn run) {
  double best = INFINITY;
  struct mq_err err;
  const double begin = processor_seconds();
  for (double now = begin; now - begin < MEASURE_SECONDS;) {
    const double start = processor_seconds();
    if (run(r, &err) != MQ_OK) puts(err.message);
    now = processor_seconds();
    best = fmin(best, now - start);
  }
  return best;
}

static void free_buffers(const struct runner *r) {
  void *const blocks[] = {r->x, r->y, r->w, r->bias, r->gradient, r->forward, r->backward, r->scratch};
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
    mq_free(blocks[i]);
}

static void bench_train(const struct shape_case *c, const struct mq_conv_train_desc *desc,
                        double operations) {
  struct mq_err err;
  struct mq_conv_train *conv = NULL;
  if (mq_conv_train_create(&conv, desc, &err) != MQ_OK) {
    puts(err.message);
    return;
  }
  const struct mq_shape out = mq_conv_train_output_shape(conv);
  const struct mq_conv_train_sizes sizes = mq_conv_train_get_sizes(conv);
  struct runner r = {.train = conv,
                     .x = fill(mq_shape_count(&desc->input)),
                     .y = fill(mq_shape_count(&out)),
                     .w = fill(mq_shape_count(&desc->weights)),
                     .bias = fill(c->outputs),
                     .gradient = fill((int64_t)sizes.gradient_count),
                     .forward = mq_alloc(1, sizes.packed_forward_bytes),
                     .backward = mq_alloc(1, sizes.packed_backward_bytes),
                     .scratch = mq_alloc(1, sizes.run_scratch_bytes + sizes.pack_scratch_bytes + 1)};
  const double pack = measure(&r, run_pack), forward = measure(&r, run_forward);
  const double data = measure(&r, run_data), weights = measure(&r, run_weights);
  printf("%-34s %-4s forward %6.1f  data %6.1f  weights %6.1f  pack %7.1f us  unpack %7.1f us  %s, %s, %s\n",
         c->name, desc->backward == MQ_PRECISION_BF16 ? "bf16" : "f32", operations / forward,
         operations / data, operations / weights, pack * 1e6, measure(&r, run_unpack) * 1e6,
         mq_conv_train_implementation(conv, 0), mq_conv_train_implementation(conv, 1),
         mq_conv_train_implementation(conv, 2));
  free_buffers(&r);
  mq_conv_train_destroy(conv);
}

static void bench_integer(const struct shape_case *c, const struct mq_conv_train_desc *like, bool is_signed,
                          bool are_weights_signed, double operations) {
  struct mq_err err;
  struct mq_conv_int *conv = NULL;
  struct mq_conv_int_desc desc = {.input = like->input,
                                  .weights = like->weights,
                                  .groups = like->groups,
                                  .is_input_signed = is_signed,
                                  .x_bits = 8,
                                  .w_bits = 8,
                                  .are_weights_signed = are_weights_signed};
  for (int i = 0; i < 2; i++) {
    desc.stride[i] = like->stride[i];
    desc.dilation[i] = like->dilation[i];
    desc.pad_begin[i] = like->pad_begin[i];
    desc.pad_end[i] = like->pad_end[i];
  }
  if (mq_conv_int_create(&conv, &desc, &err) != MQ_OK) {
    puts(err.message);
    return;
  }
  const struct mq_shape out = mq_conv_int_output_shape(conv);
  struct runner r = {.integer = conv,
                     .x = fill(mq_shape_count(&desc.input)),
                     .y = fill(mq_shape_count(&out)),
                     .w = fill(mq_shape_count(&desc.weights)),
                     .bias = fill(c->outputs),
                     .forward = mq_alloc(1, mq_conv_int_packed_bytes(conv)),
                     .scratch = mq_alloc(1, mq_conv_int_scratch_bytes(conv) + 1)};
  const double pack = measure(&r, run_integer_pack);
  printf("%-34s %s%s forward %6.1f  pack %7.1f us  %d x %s\n", c->name, is_signed ? "s8" : "u8",
         are_weights_signed ? "s8" : "u8", operations / measure(&r, run_integer), pack * 1e6,
         mq_conv_int_digits(conv), mq_conv_int_implementation(conv));
  free_buffers(&r);
  mq_conv_int_destroy(conv);
}

static void bench_shape(const struct shape_case *c) {
  const int64_t pad = c->kernel / 2, size = (c->size - 1) / c->stride + 1, area = c->kernel * c->kernel;
  struct mq_conv_train_desc desc = {
      .input = {4, {SLICE, c->inputs, c->size, c->size}},
      .weights = {4, {c->outputs, c->inputs / c->groups, c->kernel, c->kernel}},
      .stride = {c->stride, c->stride},
      .dilation = {1, 1},
      .pad_begin = {pad, pad},
      .pad_end = {pad, pad},
      .groups = c->groups,
  };
  /* 10^9 operations */
  const double operations =
      2e-9 * (double)(SLICE * size * size * c->outputs * (c->inputs / c->groups) * area);
  bench_train(c, &desc, operations);
  desc.backward = MQ_PRECISION_BF16;
  if (mq_kernel_isa() >= MQ_ISA_AVX512_BF16) bench_train(c, &desc, operations);
  bench_integer(c, &desc, false, true, operations);
  bench_integer(c, &desc, true, true, operations);
  bench_integer(c, &desc, false, false, operations);
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
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (argc <= 2 || strstr(cases[i].name, argv[2]) != NULL) bench_shape(&cases[i]);
  return 0;
}
