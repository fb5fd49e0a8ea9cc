/* Training steps through whole networks: gradients against central differences of the loss, and the same bits
 * for any number of workers. */
#include <math.h>

#include "help_graphs.h"
#include "mqbench/engine.h"
#include "mqbench/kernel.h"

#define IMAGES 8
#define SLICE 2

struct batch {
  uint64_t seed;
};

/* Image i of the batch is a function of its index. */
static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs, int64_t *labels,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  const struct batch *batch = context;
  int64_t n = mq_shape_count(&inputs[0].shape);
  struct mq_rng rng;
  mq_rng_init(&rng, batch->seed, MQ_RNG_TEST, slice, 1);
  for (int64_t i = 0; i < n; i++)
    ((float *)inputs[0].data)[i] = 2 * mq_rng_float(&rng) - 1;
  for (int64_t i = 0; i < SLICE; i++)
    labels[i] = (int64_t)mq_rng_below(&rng, 10);
  return MQ_OK;
}

static struct batch the_batch = {.seed = 5};
static const struct mq_trainer_job job = {.context = &the_batch, .fill = fill};

struct session {
  struct mq_pool *pool;
  struct mq_trainer *trainer;
  struct mq_err err;
};

static void check(struct session *s, mq_status status) {
  if (status) fail_msg("status %d: %s", status, s->err.message);
}

static void begin(struct session *s, const struct mq_graph *graph, unsigned workers,
                  const struct mq_trainer_options *changes) {
  struct mq_trainer_options options = changes ? *changes : (struct mq_trainer_options){0};
  options.batch = IMAGES;
  options.slice_images = SLICE;
  *s = (struct session){0};
  check(s, mq_pool_create(&s->pool, workers, mq_kernel_start_worker, &s->err));
  check(s, mq_trainer_create(&s->trainer, graph, &options, s->pool, &s->err));
}

static void end(struct session *s) {
  mq_trainer_destroy(s->trainer);
  mq_pool_destroy(s->pool);
}

static void infer(struct net *net) {
  net_check(net, mq_graph_infer(net->graph, true, &net->err));
}

static double loss_of(struct session *s) {
  struct mq_trainer_result result;
  check(s, mq_trainer_differentiate(&result, s->trainer, &job, &s->err));
  return result.loss;
}

/* Every variable's gradient along a random direction, against (loss(w + h d) - loss(w - h d)) / 2h. */
static void check_directions(struct session *s, double tolerance) {
  double base = loss_of(s);
  assert_true(isfinite(base));
  size_t n = mq_trainer_state_count(s->trainer);
  for (size_t i = 0; i < n; i++) {
    struct mq_trainer_state state = mq_trainer_state_at(s->trainer, i);
    const float *gradient = state.is_variable ? mq_trainer_gradient(s->trainer, i) : NULL;
    if (!gradient) continue;
    loss_of(s);
    float *kept = mq_alloc(state.count, sizeof *kept), *direction = mq_alloc(state.count, sizeof *kept);
    struct mq_rng rng;
    double slope = 0, h = 1e-4;
    mq_rng_init(&rng, 3, MQ_RNG_TEST, i, 2);
    for (size_t k = 0; k < state.count; k++) {
      kept[k] = state.values[k];
      direction[k] = mq_rng_u32(&rng) & 1 ? 1 : -1;
      slope += (double)direction[k] * (double)gradient[k];
    }
    double loss[2];
    for (int side = 0; side < 2; side++) {
      for (size_t k = 0; k < state.count; k++)
        state.values[k] = kept[k] + (float)((side ? h : -h) * (double)direction[k]);
      loss[side] = loss_of(s);
    }
    memcpy(state.values, kept, state.count * sizeof *kept);
    double expected = (loss[1] - loss[0]) / (2 * h);
    if (fabs(slope - expected) > tolerance * (1 + fabs(expected)))
      fail_msg("%s: gradient %g along a direction, differences say %g", state.name, slope, expected);
    mq_free(kept);
    mq_free(direction);
  }
}

static void check_network(struct net *net, double tolerance) {
  struct session s;
  infer(net);
  begin(&s, net->graph, 2, NULL);
  check_directions(&s, tolerance);
  end(&s);
  mq_graph_destroy(net->graph);
}

static void test_residual(void **state) {
  (void)state;
  struct net net;
  net_residual(&net, true);
  check_network(&net, 0.02);
}

static void test_inverted(void **state) {
  (void)state;
  struct net net;
  net_inverted(&net);
  check_network(&net, 0.02);
}

static void test_concats(void **state) {
  (void)state;
  struct net net;
  net_concats(&net);
  check_network(&net, 0.02);
}

static void test_squeeze_excite(void **state) {
  (void)state;
  struct net net;
  net_squeeze_excite(&net);
  check_network(&net, 0.02);
}

static void test_same_bits(void **state) {
  (void)state;
  struct net net;
  net_residual(&net, true);
  infer(&net);
  struct session s[4];
  static const unsigned workers[4] = {1, 2, 3, 8};
  const struct mq_trainer_options options = {
      .momentum = 0.9, .is_nesterov = true, .weight_decay = 1e-4, .bn_decay = NAN, .label_smoothing = 0.1};
  for (int i = 0; i < 4; i++) {
    begin(&s[i], net.graph, workers[i], &options);
    for (int step = 0; step < 3; step++) {
      struct mq_trainer_result result;
      check(&s[i], mq_trainer_step(&result, s[i].trainer, &job, 0.05, &s[i].err));
      assert_true(result.is_finite);
    }
    for (size_t k = 0; k < mq_trainer_state_count(s[i].trainer); k++) {
      struct mq_trainer_state a = mq_trainer_state_at(s[0].trainer, k),
                              b = mq_trainer_state_at(s[i].trainer, k);
      assert_memory_equal(a.values, b.values, a.count * sizeof(float));
    }
  }
  for (int i = 0; i < 4; i++)
    end(&s[i]);
  mq_graph_destroy(net.graph);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_residual),       cmocka_unit_test(test_inverted),  cmocka_unit_test(test_concats),
      cmocka_unit_test(test_squeeze_excite), cmocka_unit_test(test_same_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
