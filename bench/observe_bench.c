/* What calibration costs beside the forward, one core: 256 images through tensors of ResNet-20's shapes
 * (slices of 8, batches of 32), nanoseconds per observed value, and milliseconds for the weights.
 * Usage: observe_bench [ISA [part of a name]] */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mqbench/kernel.h"
#include "mqbench/quant.h"

enum {
  SLICE = 8,
  SLICES_PER_BATCH = 4,
  BATCHES = 8,
  MOST_POINTS = 32
};

static const struct {
  int64_t channels, pixels, n_points;
} stages[] = {{3, 1024, 1}, {16, 1024, 7}, {32, 256, 7}, {64, 64, 7}};

struct point {
  int64_t values; /* per image */
  const float *x; /* a slice */
  void *running, *batch, *slice;
};

struct times {
  double observe, merge, batch_end, answer;
};

/* Processor seconds: other programs do not count. */
static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Half Gaussian, as after a ReLU; every third point both signs. */
static float *make_data(int64_t n, bool is_signed, uint64_t seed) {
  float *data = mq_alloc((size_t)n, sizeof *data);
  struct mq_rng rng;
  mq_rng_init(&rng, seed, MQ_RNG_TEST, 0, 0);
  for (int64_t i = 0; data != NULL && i < n; i++) {
    double r = sqrt(-2 * log(1 - mq_rng_double(&rng))), v = r * cos(6.2831853 * mq_rng_double(&rng));
    data[i] = v > 0 || is_signed ? (float)v : 0;
  }
  return data;
}

static int make_points(struct point *points) {
  int n = 0;
  for (size_t s = 0; s < sizeof stages / sizeof *stages; s++)
    for (int64_t i = 0; i < stages[s].n_points; i++, n++) {
      points[n].values = stages[s].channels * stages[s].pixels;
      points[n].x = make_data(SLICE * points[n].values, n % 3 == 0, (uint64_t)n);
    }
  return n;
}

static void start_state(void *state, const struct mq_observer_ops *ops,
                        const struct mq_observer_config *config) {
  memset(state, 0, ops->state_bytes(config));
  ops->init(state, config);
}

/* The first slice of a batch goes into the batch's own state, the others are merged. */
static void run_batch(struct times *times, struct point *points, int n_points,
                      const struct mq_observer_ops *ops, const struct mq_observer_config *config,
                      bool is_first) {
  for (int s = 0; s < SLICES_PER_BATCH; s++)
    for (int i = 0; i < n_points; i++) {
      struct point *point = &points[i];
      void *state = s == 0 ? point->batch : point->slice;
      double t0 = now();
      start_state(state, ops, config);
      ops->observe(state, config, point->x, SLICE, point->values, point->values);
      double t1 = now();
      if (s > 0) ops->merge(point->batch, state, config);
      times->observe += t1 - t0;
      times->merge += now() - t1;
    }
  double t0 = now();
  for (int i = 0; i < n_points; i++)
    ops->batch_end(points[i].running, points[i].batch, config, is_first);
  times->batch_end += now() - t0;
}

static mq_status run_activations(struct point *points, int n_points, const struct mq_observer_ops *ops,
                                 const struct mq_scheme *scheme, struct mq_err *err) {
  struct mq_observer_config config = {
      .scheme = *scheme, .n_channels = 1, .parameter = (double)NAN, .parameter2 = (double)NAN};
  struct times times = {0};
  struct mq_qparams out = {0};
  int64_t values = 0;
  mq_status status = mq_qparams_init(&out, 1, -1, err);
  for (int i = 0; i < n_points; i++) {
    values += points[i].values;
    points[i].running = mq_alloc(1, ops->state_bytes(&config));
    points[i].batch = mq_alloc(1, ops->state_bytes(&config));
    points[i].slice = mq_alloc(1, ops->state_bytes(&config));
    start_state(points[i].running, ops, &config);
  }
  for (int b = 0; b < BATCHES; b++)
    run_batch(&times, points, n_points, ops, &config, b == 0);
  double t0 = now();
  for (int i = 0; i < n_points && status == MQ_OK; i++)
    status = ops->answer(&out, points[i].running, &config, NULL, points[i].values, NULL, err);
  times.answer = now() - t0;
  double per_value = 1e9 / ((double)values * SLICE * SLICES_PER_BATCH * BATCHES);
  printf("%-18s %2d bit %8.3f %8.3f %8.3f %8.3f ns/value   answer %6.2f ms\n", ops->name, scheme->bits,
         times.observe * per_value, times.merge * per_value, times.batch_end * per_value,
         (times.observe + times.merge + times.batch_end + times.answer) * per_value, times.answer * 1e3);
  for (int i = 0; i < n_points; i++) {
    mq_free(points[i].running);
    mq_free(points[i].batch);
    mq_free(points[i].slice);
  }
  mq_qparams_deinit(&out);
  return status;
}

/* 19 convolutions' weights, about 270,000. */
static mq_status run_weights(const struct mq_observer_ops *ops, bool is_per_channel, struct mq_err *err) {
  static const int64_t channels[] = {16, 32, 64};
  struct mq_scheme scheme = {.bits = 8, .is_signed = true, .is_symmetric = true};
  double seconds = 0;
  mq_status status = MQ_OK;
  for (int i = 0; i < 19 && status == MQ_OK; i++) {
    int64_t n = channels[i / 7 > 2 ? 2 : i / 7], row = n * 9;
    float *w = make_data(n * row, true, (uint64_t)i);
    struct mq_observer_config config = {.scheme = scheme,
                                        .is_weight = true,
                                        .n_channels = is_per_channel ? n : 1,
                                        .parameter = (double)NAN,
                                        .parameter2 = (double)NAN};
    struct mq_qparams out = {0};
    status = mq_qparams_init(&out, config.n_channels, is_per_channel ? 0 : -1, err);
    double t0 = now();
    if (status == MQ_OK)
      status = mq_observe_weights(&out, ops, &config, w, is_per_channel ? row : n * row, NULL, err);
    seconds += now() - t0;
    mq_qparams_deinit(&out);
    mq_free(w);
  }
  printf("%-18s weights, per %s: %.2f ms\n", ops->name, is_per_channel ? "channel" : "tensor", seconds * 1e3);
  return status;
}

int main(int argc, char **argv) {
  struct mq_err err = {0};
  mq_isa isa = MQ_ISA_NATIVE;
  mq_status status = argc > 1 ? mq_isa_parse(&isa, argv[1], &err) : MQ_OK;
  if (status == MQ_OK) status = mq_kernel_start(isa, &err);
  static struct point points[MOST_POINTS];
  int n_points = make_points(points);
  const struct mq_scheme schemes[] = {{.bits = 8}, {.bits = 4}, {.bits = 16}};
  printf("%s, %s: observe, merge, batch end, all\n", mq_kernel_cpu_name(), mq_isa_name(mq_kernel_isa()));
  for (size_t o = 0; o < mq_observer_count() && status == MQ_OK; o++) {
    const struct mq_observer_ops *ops = mq_observer_at(o);
    if (argc > 2 && !strstr(ops->name, argv[2])) continue;
    for (int s = 0; s < 3 && status == MQ_OK; s++)
      status = run_activations(points, n_points, ops, &schemes[s], &err);
    for (int per_channel = 0; per_channel < 2 && status == MQ_OK; per_channel++)
      status = run_weights(ops, per_channel, &err);
  }
  if (status != MQ_OK) fprintf(stderr, "%s\n", err.message);
  for (int i = 0; i < n_points; i++)
    mq_free((void *)(uintptr_t)points[i].x);
  return status;
}
