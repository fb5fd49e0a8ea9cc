/* Accuracy, ties, loss and logits, on a model that hands its input through: the data are the logits. */
#include <math.h>

#include "help_tune.h"
#include "tune/feed.h"

#define CLASSES 7

static void identity(struct net *net, int64_t classes) {
  net_begin(net, "identity");
  struct mq_shape shape = {.rank = 2, .dim = {MQ_DIM_BATCH, classes}};
  net_output(net, net_unary(net, MQ_OP_Identity, "identity", net_input(net, "input", shape)));
}

/* n x CLASSES logits with many ties. */
static void make_logits(float *x, int64_t *labels, int64_t n) {
  struct mq_rng rng;
  mq_rng_init(&rng, 5, MQ_RNG_TEST, 0, 0);
  for (int64_t i = 0; i < n * CLASSES; i++) {
    x[i] = (float)mq_rng_below(&rng, 9) / 2;
  }
  for (int64_t i = 0; i < n; i++) {
    labels[i] = mq_rng_below(&rng, CLASSES);
  }
  labels[0] = CLASSES - 1; /* so that the data have all classes */
}

static int64_t plain_rank(const float *x, int64_t label) {
  int64_t rank = 0;
  for (int64_t i = 0; i < CLASSES; i++) {
    rank += x[i] > x[label] || (x[i] == x[label] && i < label);
  }
  return rank;
}

static double plain_loss(const float *x, int64_t label) {
  double sum = 0;
  for (int64_t i = 0; i < CLASSES; i++) {
    sum += exp((double)x[i]);
  }
  return log(sum) - (double)x[label];
}

static void check_against_plain(const struct mq_evaluation *e, const float *x, const int64_t *labels,
                                int64_t n) {
  int64_t correct = 0, correct5 = 0;
  double loss = 0;
  for (int64_t i = 0; i < n; i++) {
    int64_t rank = plain_rank(&x[i * CLASSES], labels[i]);
    correct += rank == 0;
    correct5 += rank < 5;
    loss += plain_loss(&x[i * CLASSES], labels[i]);
    assert_int_equal((e->is_correct[i / 8] >> (i % 8)) & 1, rank == 0);
    assert_int_equal(plain_rank(&x[i * CLASSES], e->predicted[i]), 0);
  }
  assert_int_equal(e->n_images, n);
  assert_int_equal(e->n_labelled, n);
  assert_int_equal(e->correct, correct);
  assert_int_equal(e->correct5, correct5);
  assert_true(fabs(e->loss - loss / (double)n) < 1e-12);
  assert_true(e->is_finite);
}

static void test_plain_numbers(void **state) {
  (void)state;
  enum {
    n = 301
  };
  static float x[n * CLASSES];
  static int64_t labels[n];
  double losses[3];
  make_logits(x, labels, n);
  for (unsigned workers = 1; workers <= 3; workers++) {
    struct fixture f;
    struct net net;
    struct mq_err err = {0};
    struct mq_evaluation e;
    struct mq_evaluate_options options = {.slice_images = workers == 3 ? 5 : 0,
                                          .loader_threads = workers - 1};
    identity(&net, CLASSES);
    fixture_init(&f, &(struct mq_shape){.rank = 2, .dim = {n, CLASSES}}, x, labels, workers);
    assert_ok(mq_evaluate(&e, net.graph, f.data, &options, f.pool, &err));
    check_against_plain(&e, x, labels, n);
    losses[workers - 1] = e.loss;
    mq_evaluation_deinit(&e);
    fixture_deinit(&f);
    mq_graph_destroy(net.graph);
  }
  assert_memory_equal(&losses[0], &losses[1], sizeof losses[0]);
  assert_memory_equal(&losses[0], &losses[2], sizeof losses[0]);
}

static void test_not_finite(void **state) {
  (void)state;
  float x[3 * CLASSES] = {0};
  const int64_t labels[3] = {0, 1, CLASSES - 1};
  struct fixture f;
  struct net net;
  struct mq_err err = {0};
  struct mq_evaluation e;
  struct mq_evaluate_options options = {0};
  x[0] = 1;
  x[CLASSES + 1] = NAN;
  x[2 * CLASSES] = INFINITY;
  identity(&net, CLASSES);
  fixture_init(&f, &(struct mq_shape){.rank = 2, .dim = {3, CLASSES}}, x, labels, 1);
  assert_ok(mq_evaluate(&e, net.graph, f.data, &options, f.pool, &err));
  assert_false(e.is_finite);
  assert_int_equal(e.correct, 1);
  assert_int_equal(e.is_correct[0], 1);
  mq_evaluation_deinit(&e);
  fixture_deinit(&f);
  mq_graph_destroy(net.graph);
}

static void test_without_labels(void **state) {
  (void)state;
  const float x[2 * CLASSES] = {0, 1, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 5};
  struct fixture f;
  struct net net;
  struct mq_err err = {0};
  struct mq_evaluation e;
  struct mq_evaluate_options options = {0};
  identity(&net, CLASSES);
  fixture_init(&f, &(struct mq_shape){.rank = 2, .dim = {2, CLASSES}}, x, NULL, 1);
  assert_ok(mq_evaluate(&e, net.graph, f.data, &options, f.pool, &err));
  assert_int_equal(e.n_labelled, 0);
  assert_int_equal(e.correct, 0);
  assert_true(isnan(e.loss));
  assert_int_equal(e.predicted[0], 1);
  assert_int_equal(e.predicted[1], 0);
  mq_evaluation_deinit(&e);
  fixture_deinit(&f);
  mq_graph_destroy(net.graph);
}

static void test_predict(void **state) {
  (void)state;
  enum {
    n = 21
  };
  float x[n * CLASSES];
  int64_t labels[n];
  struct fixture f;
  struct net net;
  struct mq_err err = {0};
  struct mq_tensor logits;
  struct mq_evaluate_options options = {0};
  make_logits(x, labels, n);
  identity(&net, CLASSES);
  fixture_init(&f, &(struct mq_shape){.rank = 2, .dim = {n, CLASSES}}, x, labels, 2);
  assert_ok(mq_predict(&logits, net.graph, f.data, 13, &options, f.pool, &err));
  assert_int_equal(logits.shape.dim[0], 13);
  assert_memory_equal(logits.data, x, 13 * CLASSES * sizeof(float));
  mq_tensor_deinit(&logits);
  fixture_deinit(&f);
  mq_graph_destroy(net.graph);
}

/* The loss of these logits through a network of two nodes; OP_NONE: only one. */
static double loss_of(mq_op first, mq_op second, int64_t axis, const float *x, const int64_t *labels,
                      int64_t n) {
  struct fixture f;
  struct net net;
  struct mq_err err = {0};
  struct mq_evaluation e;
  struct mq_evaluate_options options = {0};
  struct mq_shape shape = {.rank = 2, .dim = {MQ_DIM_BATCH, CLASSES}};
  net_begin(&net, "ends in a softmax");
  struct mq_value *y = net_unary(&net, first, "first", net_input(&net, "input", shape));
  net_check(&net, mq_node_set_int(net.graph, y->producer, "axis", axis, &net.err));
  y = second == MQ_OP_NONE ? y : net_unary(&net, second, "second", y);
  net_output(&net, y);
  fixture_init(&f, &(struct mq_shape){.rank = 2, .dim = {n, CLASSES}}, x, labels, 1);
  assert_ok(mq_evaluate(&e, net.graph, f.data, &options, f.pool, &err));
  assert_true(e.is_finite);
  double loss = e.loss;
  mq_evaluation_deinit(&e);
  fixture_deinit(&f);
  mq_graph_destroy(net.graph);
  return loss;
}

/* A network's own softmax is not applied again: the loss is that of the logits before it. */
static void test_own_softmax(void **state) {
  (void)state;
  enum {
    n = 40
  };
  float x[n * CLASSES];
  int64_t labels[n];
  double expected = 0;
  make_logits(x, labels, n);
  for (int i = 0; i < n; i++) {
    expected += plain_loss(&x[i * CLASSES], labels[i]) / n;
  }
  const struct {
    mq_op first, second;
    int64_t axis;
  } forms[] = {{MQ_OP_Softmax, MQ_OP_NONE, 1},
               {MQ_OP_Softmax, MQ_OP_Identity, -1},
               {MQ_OP_LogSoftmax, MQ_OP_NONE, 1},
               {MQ_OP_LogSoftmax, MQ_OP_Identity, 1}};
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    double loss = loss_of(forms[i].first, forms[i].second, forms[i].axis, x, labels, n);
    if (fabs(loss - expected) > 1e-6) {
      fail_msg("form %zu: loss %.9g, expected %.9g", i, loss, expected);
    }
  }
}

/* A probability that float32 rounds to nothing still has a loss. */
static void test_vanished_probability(void **state) {
  (void)state;
  const float x[CLASSES] = {0, 0, 0, 300, 0, 0, 0};
  const int64_t label = CLASSES - 1;
  double loss = loss_of(MQ_OP_Softmax, MQ_OP_NONE, 1, x, &label, 1);
  assert_true(fabs(loss - 126 * log(2)) < 1e-9);
}

/* ---- Model and data that do not fit ------------------------------------------------------------- */
static void check_misfit(const char *part, struct mq_shape input, const int64_t *labels) {
  struct fixture f;
  struct net net;
  struct mq_err err = {0};
  const float x[2 * 3 * 6 * 6] = {0};
  net_begin(&net, "misfit");
  net_classify(&net, net_unary(&net, MQ_OP_Relu, "relu", net_input(&net, "input", input)));
  fixture_init(&f, &(struct mq_shape){.rank = 4, .dim = {2, 6, 6, 3}}, x, labels, 1);
  if (part) {
    assert_fails(MQ_BAD_INPUT, part, mq_check_model_data(net.graph, f.data, &err));
  } else {
    assert_ok(mq_check_model_data(net.graph, f.data, &err));
  }
  fixture_deinit(&f);
  mq_graph_destroy(net.graph);
}

static void test_misfits(void **state) {
  (void)state;
  const int64_t few[2] = {0, 4}, many[2] = {0, 10}, far[2] = {0, 99};
  check_misfit(NULL, net_shape(3, 6, 6), few);
  check_misfit(NULL, net_shape(3, 6, 6), NULL);
  check_misfit("crop=4 (with resize=) or size=4x4", net_shape(3, 4, 4), few);
  check_misfit("has 3 channels", net_shape(1, 6, 6), few);
  check_misfit("label_offset=-1", net_shape(3, 6, 6), many);
  check_misfit("has 100 classes", net_shape(3, 6, 6), far);
}

/* ---- The engine's speed ------------------------------------------------------------------------- */
static void test_alone_seconds(void **state) {
  (void)state;
  /* busy, slices, workers, cores -> wall */
  static const double cases[][5] = {
      {8, 4, 1, 2, 8},  {8, 4, 2, 2, 4},   {8, 4, 8, 2, 4}, /* more workers than cores are no faster */
      {8, 4, 64, 2, 4}, {8, 4, 2, 64, 4},  {8, 1, 8, 8, 8}, /* a slice is not shared */
      {9, 3, 2, 2, 6},  {8, 4, 64, 64, 2}, {0, 0, 2, 2, 0}, /* the last round is not full */
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const double *c = cases[i];
    double found = tune_alone_seconds(c[0], (size_t)c[1], (unsigned)c[2], (unsigned)c[3]);
    assert_true(fabs(found - c[4]) < 1e-12);
  }
}

static double measure_alone(const struct net *net, int64_t n, unsigned workers) {
  struct fixture f;
  struct mq_err err = {0};
  struct mq_evaluation e;
  struct mq_evaluate_options options = {0};
  fixture_init_random(&f, n, 3, 32, workers);
  assert_ok(mq_evaluate(&e, net->graph, f.data, &options, f.pool, &err));
  double seconds = e.engine_seconds;
  mq_evaluation_deinit(&e);
  fixture_deinit(&f);
  return seconds;
}

/* Workers that there are no cores or no slices for do not make the engine faster. */
static void test_speed_is_not_multiplied(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "speed");
  struct mq_value *x = net_input(&net, "input", net_shape(3, 32, 32));
  for (int i = 0; i < 4; i++) {
    char name[16];
    snprintf(name, sizeof name, "conv%d", i);
    x = net_conv(&net, x, name, i < 3 ? 32 : CLASSES, 3, 1, 1);
  }
  struct mq_value *mean = net_node(&net, MQ_OP_GlobalAveragePool, "mean", &x, 1, net_shape(CLASSES, 1, 1));
  net_output(&net, net_node(&net, MQ_OP_Flatten, "flat", &mean, 1,
                            (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, CLASSES}}));
  net_check(&net, mq_graph_sort(net.graph, &net.err));
  unsigned cores = mq_cores(), workers = 16 * cores;
  double one = measure_alone(&net, 64, 1);
  assert_true(measure_alone(&net, 64, workers) > one / (4 * cores));
  assert_true(measure_alone(&net, 8, workers) > measure_alone(&net, 8, 1) / 4);
  mq_graph_destroy(net.graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_plain_numbers),
      cmocka_unit_test(test_not_finite),
      cmocka_unit_test(test_without_labels),
      cmocka_unit_test(test_predict),
      cmocka_unit_test(test_own_softmax),
      cmocka_unit_test(test_vanished_probability),
      cmocka_unit_test(test_misfits),
      cmocka_unit_test(test_alone_seconds),
      cmocka_unit_test(test_speed_is_not_multiplied),
  };
  mq_log_set_level(MQ_LOG_QUIET);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
