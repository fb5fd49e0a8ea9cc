#include "help_tune.h"

#include <math.h>

#define CLASS_IMAGES 80
#define CLASS_SIDE 8

const int64_t fixture_indices[64] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                     16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
                                     32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
                                     48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

void fixture_init(struct fixture *fixture, const struct mq_shape *shape, const float *pixels,
                  const int64_t *labels, unsigned workers) {
  struct mq_err err = {0};
  char path[600], argument[1300];
  struct mq_data_spec spec;
  *fixture = (struct fixture){.directory = make_test_directory()};
  struct mq_tensor tensor = mq_tensor_view((void *)(uintptr_t)pixels, MQ_F32, shape, NULL);
  snprintf(path, sizeof path, "%s/x.npy", fixture->directory);
  snprintf(argument, sizeof argument, "npy:%s", path);
  assert_ok(mq_npy_write(path, &tensor, &err));
  if (labels) {
    struct mq_shape row = {.rank = 1, .dim = {shape->dim[0]}};
    tensor = mq_tensor_view((void *)(uintptr_t)labels, MQ_I64, &row, NULL);
    snprintf(path, sizeof path, "%s/y.npy", fixture->directory);
    assert_ok(mq_npy_write(path, &tensor, &err));
    size_t n = strlen(argument);
    snprintf(argument + n, sizeof argument - n, ",labels=%s", path);
  }
  assert_ok(mq_data_spec_parse(&spec, argument, &err));
  assert_ok(mq_dataset_open(&fixture->data, &spec, &err));
  mq_data_spec_deinit(&spec);
  assert_ok(mq_kernel_start(MQ_ISA_NATIVE, &err));
  assert_ok(mq_pool_create(&fixture->pool, workers, mq_kernel_start_worker, &err));
}

void fixture_init_random(struct fixture *fixture, int64_t n, int64_t channels, int64_t side,
                         unsigned workers) {
  struct mq_shape shape = {.rank = 4, .dim = {n, side, side, channels}};
  int64_t count = mq_shape_count(&shape);
  float *pixels = mq_alloc((size_t)count, sizeof *pixels);
  struct mq_rng rng;
  assert_non_null(pixels);
  mq_rng_init(&rng, 11, MQ_RNG_TEST, 0, 0);
  for (int64_t i = 0; i < count; i++) {
    pixels[i] = 2 * mq_rng_float(&rng) - 1;
  }
  fixture_init(fixture, &shape, pixels, NULL, workers);
  mq_free(pixels);
}

void fixture_init_classes(struct fixture *fixture, unsigned workers) {
  struct mq_shape shape = {.rank = 4, .dim = {CLASS_IMAGES, CLASS_SIDE, CLASS_SIDE, 3}};
  float *pixels = mq_alloc((size_t)mq_shape_count(&shape), sizeof *pixels);
  int64_t labels[CLASS_IMAGES];
  struct mq_rng rng;
  assert_non_null(pixels);
  mq_rng_init(&rng, 21, MQ_RNG_TEST, 0, 0);
  for (int64_t i = 0; i < CLASS_IMAGES; i++) {
    labels[i] = i % 10;
    for (int64_t k = 0; k < CLASS_SIDE * CLASS_SIDE * 3; k++) {
      bool is_top = k / 3 / CLASS_SIDE < CLASS_SIDE / 2;
      float signal = k % 3 == labels[i] % 3 ? 1 : 0;
      signal += (labels[i] / 3 == 1) == is_top ? 0.7f : -0.7f;
      signal += labels[i] / 3 >= 2 ? (k / 3 % 2 ? 0.5f : -0.5f) * (float)(labels[i] / 3 - 1) : 0;
      pixels[i * CLASS_SIDE * CLASS_SIDE * 3 + k] = signal + 0.4f * (mq_rng_float(&rng) - 0.5f);
    }
  }
  fixture_init(fixture, &shape, pixels, labels, workers);
  mq_free(pixels);
}

void fixture_deinit(struct fixture *fixture) {
  mq_dataset_close(fixture->data);
  mq_pool_destroy(fixture->pool);
  remove_test_directory(fixture->directory);
}

void fixture_prepare(struct mq_prepared *prepared, const struct net *net, const char *target, int w_bits) {
  struct mq_err err = {0};
  struct mq_target *loaded;
  struct mq_prepare_options options = {.w_bits = w_bits};
  char path[600];
  snprintf(path, sizeof path, MQ_SOURCE_DIRECTORY "/targets/%s.yaml", target);
  assert_ok(mq_target_load(&loaded, path, &err));
  assert_ok(mq_graph_sort(net->graph, &err));
  assert_ok(mq_prepare(prepared, net->graph, loaded, &options, &err));
  mq_target_destroy(loaded);
}

struct mq_calibrate_options fixture_calibration(const int64_t *indices, int64_t n) {
  return (struct mq_calibrate_options){
      .w_parameter = NAN, .a_parameter = NAN, .indices = indices, .n_indices = n};
}

uint64_t constants_bits(const struct mq_graph *graph) {
  uint64_t sum = 17;
  for (size_t i = 0; i < graph->n_values; i++) {
    const struct mq_tensor *constant = graph->values[i]->constant;
    if (!constant || constant->dtype != MQ_F32) continue;
    for (int64_t k = 0; k < mq_shape_count(&constant->shape); k++) {
      uint32_t bits;
      memcpy(&bits, (const float *)constant->data + k, sizeof bits);
      sum = sum * 6364136223846793005u + bits;
    }
  }
  return sum;
}
