/* Calibration: ranges against plain minima and maxima, shared points, int32 bias, the same bits for any
 * number of workers; BN calibration against plain statistics. */
#include <math.h>

#include "help_tune.h"

#define IMAGES 50

static void build(struct net *net, int which) {
  if (which == 0) {
    net_residual(net, true);
  } else if (which == 1) {
    net_inverted(net);
  } else {
    net_concats(net);
  }
}

static void calibrate(struct mq_prepared *prepared, struct fixture *f,
                      const struct mq_calibrate_options *options) {
  struct mq_err err = {0};
  struct mq_calibrate_result result;
  assert_ok(mq_calibrate(&result, prepared, f->data, options, f->pool, &err));
  assert_int_equal(result.n_images, options->n_indices);
  assert_true(result.seconds > 0);
}

static bool same_qparams(const struct mq_qparams *a, const struct mq_qparams *b) {
  size_t n = (size_t)a->n_channels;
  return a->n_channels == b->n_channels && a->quant_min == b->quant_min && a->quant_max == b->quant_max &&
         memcmp(a->scale, b->scale, n * sizeof *a->scale) == 0 &&
         memcmp(a->zero_point, b->zero_point, n * sizeof *a->zero_point) == 0;
}

static const struct mq_point *find_point(const struct mq_prepared *prepared, const char *tensor) {
  for (size_t i = 0; i < prepared->n_points; i++) {
    if (strcmp(prepared->points[i].tensor, tensor) == 0) {
      return &prepared->points[i];
    }
  }
  fail_msg("no point %s", tensor);
  return NULL;
}

/* ---- The same bits ------------------------------------------------------------------------------ */
static void check_workers(const struct net *net, const char *observer, int64_t n_images, unsigned workers) {
  struct fixture one, many;
  struct mq_prepared a, b;
  struct mq_calibrate_options options = fixture_calibration(fixture_indices, n_images);
  options.a_observer = observer;
  fixture_init_random(&one, IMAGES, 3, 8, 1);
  fixture_init_random(&many, IMAGES, 3, 8, workers);
  fixture_prepare(&a, net, "tensorrt", 0);
  fixture_prepare(&b, net, "tensorrt", 0);
  calibrate(&a, &one, &options);
  calibrate(&b, &many, &options);
  for (size_t k = 0; k < a.n_points; k++) {
    assert_true(a.points[k].qparams.n_channels > 0);
    if (!same_qparams(&a.points[k].qparams, &b.points[k].qparams)) {
      fail_msg("%s: %s differs with %u workers", observer, a.points[k].tensor, workers);
    }
  }
  mq_prepared_deinit(&a);
  mq_prepared_deinit(&b);
  fixture_deinit(&one);
  fixture_deinit(&many);
}

/* Batches of four slices: fewer and more workers than that, a last batch of one slice and of three. */
static void test_workers(void **state) {
  (void)state;
  static const struct {
    int64_t n_images;
    unsigned workers;
  } cases[] = {{50, 3}, {34, 3}, {34, 2}, {50, 8}};
  for (size_t o = 0; o < mq_observer_count(); o++) {
    for (int i = 0; i < 4; i++) {
      struct net net;
      build(&net, (int)(o + (size_t)i) % 3);
      check_workers(&net, mq_observer_at(o)->name, cases[i].n_images, cases[i].workers);
      mq_graph_destroy(net.graph);
    }
  }
}

/* ---- Ranges ------------------------------------------------------------------------------------- */
/* 8 bit symmetric narrow: s = max|x| / 127. The images beyond the calibrated ones must not matter. */
static void test_network_input(void **state) {
  (void)state;
  enum {
    n = 29
  }; /* no multiple of a slice: the padding must not be observed either */
  struct fixture f;
  struct net net;
  struct mq_prepared prepared;
  struct mq_err err = {0};
  struct mq_calibrate_options options = fixture_calibration(fixture_indices, n);
  float pixels[8 * 8 * 3], largest = 0;
  net_residual(&net, false);
  fixture_init_random(&f, IMAGES, 3, 8, 2);
  fixture_prepare(&prepared, &net, "tensorrt", 0);
  calibrate(&prepared, &f, &options);
  for (int64_t i = 0; i < n; i++) {
    assert_ok(mq_dataset_read(pixels, f.data, i, &err));
    for (int k = 0; k < 8 * 8 * 3; k++) {
      largest = fmaxf(largest, fabsf(pixels[k]));
    }
  }
  const struct mq_point *point = find_point(&prepared, "input");
  assert_true(point->qparams.scale[0] == largest / 127.0f);
  assert_int_equal(point->qparams.zero_point[0], 0);
  mq_prepared_deinit(&prepared);
  fixture_deinit(&f);
  mq_graph_destroy(net.graph);
}

static void test_weights_per_channel(void **state) {
  (void)state;
  struct fixture f;
  struct net net;
  struct mq_prepared prepared;
  struct mq_calibrate_options options = fixture_calibration(fixture_indices, 8);
  net_inverted(&net);
  fixture_init_random(&f, IMAGES, 3, 8, 2);
  fixture_prepare(&prepared, &net, "tensorrt", 0);
  calibrate(&prepared, &f, &options);
  size_t n_checked = 0;
  for (size_t i = 0; i < prepared.n_points; i++) {
    const struct mq_point *point = &prepared.points[i];
    const struct mq_value *value = mq_graph_find_value(prepared.graph, point->tensor);
    if (point->kind != MQ_POINT_WEIGHT || point->channel_axis != 0) {
      continue;
    }
    int64_t row = mq_shape_count(&value->shape) / point->n_channels;
    for (int64_t c = 0; c < point->n_channels; c++) {
      float largest = 0;
      for (int64_t k = 0; k < row; k++) {
        largest = fmaxf(largest, fabsf(((const float *)value->constant->data)[c * row + k]));
      }
      assert_true(point->qparams.scale[c] == largest / 127.0f);
    }
    n_checked++;
  }
  assert_true(n_checked >= 3);
  mq_prepared_deinit(&prepared);
  fixture_deinit(&f);
  mq_graph_destroy(net.graph);
}

/* Images so large that the engine runs a slice in chunks: all are observed, once, and only those that count.
 */
static void test_large_images(void **state) {
  (void)state;
  enum {
    n = 11,
    side = 224
  };
  struct fixture f;
  struct net net;
  struct mq_prepared prepared;
  struct mq_err err = {0};
  struct mq_calibrate_options options = fixture_calibration(fixture_indices, n);
  static float pixels[side * side * 3];
  float largest = 0;
  net_begin(&net, "large");
  struct mq_value *x =
      net_conv(&net, net_input(&net, "input", net_shape(3, side, side)), "conv", 16, 3, 1, 1);
  net_classify(&net, net_unary(&net, MQ_OP_Relu, "relu", x));
  fixture_init_random(&f, n, 3, side, 2);
  fixture_prepare(&prepared, &net, "tensorrt", 0);
  calibrate(&prepared, &f, &options);
  for (int64_t i = 0; i < n; i++) {
    assert_ok(mq_dataset_read(pixels, f.data, i, &err));
    for (int k = 0; k < side * side * 3; k++) {
      largest = fmaxf(largest, fabsf(pixels[k]));
    }
  }
  assert_true(find_point(&prepared, "input")->qparams.scale[0] == largest / 127.0f);
  mq_prepared_deinit(&prepared);
  fixture_deinit(&f);
  mq_graph_destroy(net.graph);
}

static void test_shared_points(void **state) {
  (void)state;
  struct fixture f;
  struct net net;
  struct mq_prepared prepared;
  struct mq_calibrate_options options = fixture_calibration(fixture_indices, IMAGES);
  net_concats(&net);
  fixture_init_random(&f, IMAGES, 3, 8, 2);
  fixture_prepare(&prepared, &net, "snpe", 0);
  calibrate(&prepared, &f, &options);
  size_t n_pairs = 0;
  for (size_t i = 0; i < prepared.n_points; i++) {
    for (size_t k = 0; k < i; k++) {
      if (prepared.points[i].share >= 0 && prepared.points[i].share == prepared.points[k].share) {
        assert_true(same_qparams(&prepared.points[i].qparams, &prepared.points[k].qparams));
        n_pairs++;
      }
    }
  }
  assert_true(n_pairs > 0);
  mq_prepared_deinit(&prepared);
  fixture_deinit(&f);
  mq_graph_destroy(net.graph);
}

/* A bias far above what 32 bits of s_x s_w can hold raises s_w; a float bias does not. */
static void test_int32_bias(void **state) {
  (void)state;
  for (int is_int32 = 0; is_int32 < 2; is_int32++) {
    struct fixture f;
    struct net net;
    struct mq_prepared prepared;
    struct mq_calibrate_options options = fixture_calibration(fixture_indices, 16);
    options.bias = is_int32 ? MQ_BIAS_INT32 : MQ_BIAS_FLOAT;
    net_residual(&net, false);
    struct mq_value *bias = mq_graph_find_value(net.graph, "fc.bias");
    ((float *)bias->constant->data)[3] = -1e9f;
    fixture_init_random(&f, IMAGES, 3, 8, 2);
    fixture_prepare(&prepared, &net, "snpe", 0);
    calibrate(&prepared, &f, &options);
    const struct mq_point *weight = find_point(&prepared, "fc.weight");
    const struct mq_point *input = find_point(&prepared, "pool_out");
    double least = 1e9 / (ldexp(1, 30) * (double)input->qparams.scale[0]);
    bool is_raised = fabs((double)weight->qparams.scale[0] / least - 1) < 1e-6;
    assert_int_equal(is_raised, is_int32);
    mq_prepared_deinit(&prepared);
    fixture_deinit(&f);
    mq_graph_destroy(net.graph);
  }
}

static void test_refusals(void **state) {
  (void)state;
  struct fixture f;
  struct net net;
  struct mq_prepared prepared;
  struct mq_err err = {0};
  struct mq_calibrate_result result;
  struct mq_calibrate_options options = fixture_calibration(fixture_indices, 8);
  net_residual(&net, false);
  fixture_init_random(&f, IMAGES, 3, 8, 1);
  fixture_prepare(&prepared, &net, "tensorrt", 0);
  options.a_observer = "nonsense";
  assert_fails(MQ_BAD_USAGE, "nonsense", mq_calibrate(&result, &prepared, f.data, &options, f.pool, &err));
  options.n_indices = 0;
  assert_fails(MQ_BAD_USAGE, "at least one",
               mq_calibrate(&result, &prepared, f.data, &options, f.pool, &err));
  mq_prepared_deinit(&prepared);
  fixture_deinit(&f);
  mq_graph_destroy(net.graph);
}

/* ---- BN calibration ----------------------------------------------------------------------------- */
/* Mean of the batches' means and unbiased variances of input channel c, batches of `batch` whole images. */
static void plain_statistics(double *mean, double *variance, struct fixture *f, int64_t n, int64_t batch,
                             int c) {
  struct mq_err err = {0};
  float pixels[8 * 8 * 3];
  *mean = *variance = 0;
  for (int64_t first = 0; first < n; first += batch) {
    double count = (double)batch * 64, sum[2] = {0, 0};
    for (int pass = 0; pass < 2; pass++) {
      for (int64_t i = first; i < first + batch; i++) {
        assert_ok(mq_dataset_read(pixels, f->data, i, &err));
        for (int k = c; k < 8 * 8 * 3; k += 3) {
          double x = (double)pixels[k];
          sum[pass] += pass == 0 ? x : (x - sum[0] / count) * (x - sum[0] / count);
        }
      }
    }
    *mean += sum[0] / count / (double)(n / batch);
    *variance += sum[1] / (count - 1) / (double)(n / batch);
  }
}

static void test_bn_kept(void **state) {
  (void)state;
  enum {
    n = 48
  }; /* of 50: the last partial batch of 16 is dropped */
  struct fixture f;
  struct net net;
  struct mq_prepared prepared;
  struct mq_err err = {0};
  struct mq_calibrate_options options = fixture_calibration(fixture_indices, IMAGES);
  options.batch = 16;
  net_begin(&net, "bn");
  net_classify(&net, net_bn(&net, net_input(&net, "input", net_shape(3, 8, 8)), "bn"));
  fixture_init_random(&f, IMAGES, 3, 8, 2);
  fixture_prepare(&prepared, &net, "academic", 0);
  assert_ok(mq_bn_calibrate(&prepared, f.data, &options, f.pool, &err));
  const struct mq_value *mean = mq_graph_find_value(prepared.graph, "bn.running_mean");
  const struct mq_value *variance = mq_graph_find_value(prepared.graph, "bn.running_var");
  for (int c = 0; c < 3; c++) {
    double plain_mean, plain_variance;
    plain_statistics(&plain_mean, &plain_variance, &f, n, 16, c);
    assert_true(fabs(mq_tensor_get_double(mean->constant, c) - plain_mean) < 1e-7);
    assert_true(fabs(mq_tensor_get_double(variance->constant, c) - plain_variance) < 1e-6);
  }
  mq_prepared_deinit(&prepared);
  fixture_deinit(&f);
  mq_graph_destroy(net.graph);
}

/* Mean and standard deviation of every column of N x C logits. */
static void column_statistics(double mean[], double deviation[], const struct mq_tensor *logits) {
  int64_t n = logits->shape.dim[0], classes = logits->shape.dim[1];
  for (int64_t c = 0; c < classes; c++) {
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) {
      sum += mq_tensor_get_double(logits, i * classes + c);
    }
    for (int64_t i = 0; i < n; i++) {
      double d = mq_tensor_get_double(logits, i * classes + c) - sum / (double)n;
      square += d * d;
    }
    mean[c] = sum / (double)n;
    deviation[c] = sqrt(square / (double)(n - 1));
  }
}

/* Two convolutions; the second one makes 1 x 1 pixels, so that its channels are the logits. */
static void build_two_layers(struct net *net) {
  net_begin(net, "two_layers");
  struct mq_value *x = net_conv(net, net_input(net, "input", net_shape(3, 8, 8)), "a", 6, 3, 2, 1);
  x = net_conv(net, net_unary(net, MQ_OP_Relu, "relu", x), "b", 5, 4, 1, 1);
  const int64_t pads[4] = {0};
  net_check(net, mq_node_set_ints(net->graph, x->producer, "pads", pads, 4, &net->err));
  x->shape = net_shape(5, 1, 1);
  net_output(net, x);
}

/* With 3-bit weights per channel the folded correction gives every channel its float mean and deviation back.
 */
static void test_bn_folded(void **state) {
  (void)state;
  enum {
    n = 48
  };
  struct fixture f;
  struct net net;
  struct mq_prepared prepared;
  struct mq_err err = {0};
  struct mq_tensor logits;
  struct mq_calibrate_options options = fixture_calibration(fixture_indices, n);
  struct mq_evaluate_options evaluate = {0};
  double mean[3][5], deviation[3][5], worst_before = 0;
  options.batch = n;
  build_two_layers(&net);
  fixture_init_random(&f, n, 3, 8, 2);
  fixture_prepare(&prepared, &net, "tensorrt", 3);
  assert_ok(mq_predict(&logits, net.graph, f.data, 0, &evaluate, f.pool, &err));
  column_statistics(mean[0], deviation[0], &logits);
  mq_tensor_deinit(&logits);
  calibrate(&prepared, &f, &options);
  evaluate.points = prepared.points;
  evaluate.n_points = prepared.n_points;
  for (int i = 1; i < 3; i++) {
    assert_ok(mq_predict(&logits, prepared.graph, f.data, 0, &evaluate, f.pool, &err));
    column_statistics(mean[i], deviation[i], &logits);
    mq_tensor_deinit(&logits);
    if (i == 1) {
      assert_ok(mq_bn_calibrate(&prepared, f.data, &options, f.pool, &err));
    }
  }
  for (int c = 0; c < 5; c++) {
    worst_before = fmax(worst_before, fabs(mean[1][c] - mean[0][c]));
    assert_true(fabs(mean[2][c] - mean[0][c]) < 0.02 * deviation[0][c]);
    assert_true(fabs(deviation[2][c] / deviation[0][c] - 1) < 0.05);
  }
  assert_true(worst_before > 0.01);
  mq_prepared_deinit(&prepared);
  fixture_deinit(&f);
  mq_graph_destroy(net.graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_workers),
      cmocka_unit_test(test_network_input),
      cmocka_unit_test(test_weights_per_channel),
      cmocka_unit_test(test_large_images),
      cmocka_unit_test(test_shared_points),
      cmocka_unit_test(test_int32_bias),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_bn_kept),
      cmocka_unit_test(test_bn_folded),
  };
  mq_log_set_level(MQ_LOG_QUIET);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
