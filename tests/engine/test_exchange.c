/* Statistics over groups of slices: against plain sums in double, and the same bits for any number of
 * workers. */
#include <math.h>

#include "help_graphs.h"
#include "mqbench/engine.h"
#include "mqbench/kernel.h"

#define IMAGES 14 /* slices of 4 in groups of 2: the last slice has 2 images, and 2 that do not count */
#define SLICE 4
#define CHANNELS 3
#define PIXELS 25

struct recorded {
  float images[IMAGES][PIXELS][CHANNELS]; /* channels last */
  double mean[8][CHANNELS], variance[8][CHANNELS];
  int64_t count[8];
  size_t n_groups;
  float output[IMAGES][PIXELS][CHANNELS];
};

static int64_t count_valid(void *context, size_t slice) {
  (void)context;
  int64_t left = IMAGES - (int64_t)slice * SLICE;
  return left < SLICE ? left : SLICE;
}

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  struct recorded *r = context;
  assert_true(mq_tensor_is_channels_last(&inputs[0]));
  memset(inputs[0].data, 0, SLICE * sizeof r->images[0]);
  memcpy(inputs[0].data, r->images[slice * SLICE], (size_t)count_valid(r, slice) * sizeof r->images[0]);
  return MQ_OK;
}

static mq_status take(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  struct recorded *r = context;
  assert_true(mq_tensor_is_channels_last(&outputs[0]));
  memcpy(r->output[slice * SLICE], outputs[0].data, (size_t)count_valid(r, slice) * sizeof r->images[0]);
  return MQ_OK;
}

/* Normalises the group to mean 1 and variance 4. */
static mq_status exchange(void *context, size_t group, size_t index,
                          const struct mq_channel_statistics *statistics, float *gain, float *shift,
                          struct mq_err *err) {
  (void)err;
  struct recorded *r = context;
  assert_int_equal(index, 0);
  assert_int_equal(statistics->n_channels, CHANNELS);
  for (int c = 0; c < CHANNELS; c++) {
    r->mean[group][c] = statistics->mean[c];
    r->variance[group][c] = statistics->variance[c];
    gain[c] = (float)(2 / sqrt(statistics->variance[c]));
    shift[c] = (float)(1 - 2 / sqrt(statistics->variance[c]) * statistics->mean[c]);
  }
  r->count[group] = statistics->count;
  r->n_groups = group + 1;
  return MQ_OK;
}

static void run(struct recorded *r, const struct mq_graph *graph, const struct mq_node *node,
                unsigned workers) {
  struct mq_err err = {0};
  struct mq_pool *pool;
  struct mq_engine *engine;
  struct mq_rng rng;
  memset(r, 0, sizeof *r);
  mq_rng_init(&rng, 3, MQ_RNG_TEST, 0, 0);
  for (size_t i = 0; i < sizeof r->images / sizeof(float); i++) {
    ((float *)r->images)[i] = 5 * mq_rng_float(&rng) - 1;
  }
  struct mq_engine_options options = {
      .slice_images = SLICE, .exchanges = &node, .n_exchanges = 1, .group_slices = 2};
  struct mq_engine_job job = {.context = r,
                              .n_slices = (IMAGES + SLICE - 1) / SLICE,
                              .fill = fill,
                              .take = take,
                              .exchange = exchange,
                              .count_valid = count_valid};
  assert_ok(mq_pool_create(&pool, workers, mq_kernel_start_worker, &err));
  assert_ok(mq_engine_create(&engine, graph, &options, pool, &err));
  assert_ok(mq_engine_run(engine, &job, &err));
  assert_true(mq_engine_busy_seconds(engine) > 0);
  mq_engine_destroy(engine);
  mq_pool_destroy(pool);
}

/* Of relu(images): what the batch normalisation behind a Relu sees. */
static void check_group(const struct recorded *r, size_t group, int channel) {
  size_t first = group * 2 * SLICE, end = first + 2 * SLICE < IMAGES ? first + 2 * SLICE : IMAGES;
  double sum = 0, square = 0, n = (double)((end - first) * PIXELS);
  for (int pass = 0; pass < 2; pass++) {
    for (size_t i = first; i < end; i++) {
      for (int p = 0; p < PIXELS; p++) {
        double x = (double)fmaxf(r->images[i][p][channel], 0);
        sum += pass == 0 ? x : 0;
        square += pass == 1 ? (x - sum / n) * (x - sum / n) : 0;
      }
    }
  }
  assert_int_equal(r->count[group], (int64_t)n);
  assert_true(fabs(r->mean[group][channel] - sum / n) < 1e-12);
  assert_true(fabs(r->variance[group][channel] - square / n) < 1e-12);
  for (size_t i = first; i < end; i++) {
    for (int p = 0; p < PIXELS; p++) {
      double x = (double)fmaxf(r->images[i][p][channel], 0);
      double expected = 1 + 2 * (x - sum / n) / sqrt(square / n);
      assert_true(fabs((double)r->output[i][p][channel] - expected) < 1e-5);
    }
  }
}

static void check_graph(const struct mq_graph *graph, const struct mq_node *node) {
  static struct recorded one, other;
  run(&one, graph, node, 1);
  assert_int_equal(one.n_groups, 2);
  for (size_t group = 0; group < 2; group++) {
    for (int c = 0; c < CHANNELS; c++) {
      check_group(&one, group, c);
    }
  }
  run(&other, graph, node, 3);
  assert_memory_equal(one.mean, other.mean, sizeof one.mean);
  assert_memory_equal(one.variance, other.variance, sizeof one.variance);
  assert_memory_equal(one.output, other.output, sizeof one.output);
}

static void test_batch_normalisation(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "bn");
  struct mq_value *x = net_unary(&net, MQ_OP_Relu, "relu", net_input(&net, "input", net_shape(3, 5, 5)));
  struct mq_value *y = net_bn(&net, x, "bn");
  net_output(&net, y);
  check_graph(net.graph, y->producer);
  mq_graph_destroy(net.graph);
}

static void test_any_node(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "any");
  struct mq_value *y = net_unary(&net, MQ_OP_Relu, "relu", net_input(&net, "input", net_shape(3, 5, 5)));
  net_output(&net, y);
  check_graph(net.graph, y->producer);
  mq_graph_destroy(net.graph);
}

static int start(void **state) {
  (void)state;
  return mq_kernel_start(MQ_ISA_NATIVE, NULL) == MQ_OK ? 0 : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_batch_normalisation),
      cmocka_unit_test(test_any_node),
  };
  return cmocka_run_group_tests(tests, start, NULL);
}
