#include <float.h>
#include <math.h>

#include "common.h"
#include "help_quant.h"

static const float special[] = {
    0,     -0.0f,        0.5f,      -0.5f,    1.5f,         2.5f,          -2.5f,
    1e30f, -1e30f,       FLT_MAX,   -FLT_MAX, FLT_TRUE_MIN, -FLT_TRUE_MIN, INFINITY,
    0.25f, -0.24999999f, -INFINITY, 127.5f,   128.5f,       -128.50002f};

static void values_follow_the_definition(void **state) {
  (void)state;
  struct mq_rng rng;
  mq_rng_init(&rng, 2, MQ_RNG_TEST, 0, 0);
  for (int i = 0; i < 200000; i++) {
    float scale = (float)exp2(20 * mq_rng_double(&rng) - 15);
    int32_t n = i & 1 ? 0 : -128, p = n + 255, z = i & 2 ? 0 : n + (int32_t)mq_rng_below(&rng, 256);
    float x = i % 4 ? scale * (float)(600 * mq_rng_double(&rng) - 300)
                    : special[mq_rng_below(&rng, sizeof special / sizeof *special)] * scale;
    /* the quotient of two floats, rounded to float first: then everything is exact */
    double q = fmin(fmax(rint((double)(x / scale)) + z, n), p);
    assert_int_equal(mq_quantize_value(x, scale, z, n, p), (int32_t)q);
    assert_true(mq_fake_quantize_value(x, scale, z, n, p) == scale * (float)(q - z));
  }
}

static void ties_go_to_even_by_a_true_division(void **state) {
  (void)state;
  assert_int_equal(mq_quantize_value(0.5f, 1, 0, -8, 7), 0);
  assert_int_equal(mq_quantize_value(1.5f, 1, 0, -8, 7), 2);
  assert_int_equal(mq_quantize_value(-2.5f, 1, 0, -8, 7), -2);
  assert_int_equal(mq_quantize_value(100, 1, 0, -8, 7), 7);
  assert_int_equal(mq_quantize_value(-1e38f, 1e-3f, 3, 0, 15), 0);
  int n_differences = 0; /* from multiplying with 1 / s */
  for (int k = 1; k < 2000; k++) {
    float scale = 1.0f / (float)k, x = 2.5f * scale;
    assert_int_equal(mq_quantize_value(x, scale, 0, -128, 127), (int32_t)rintf(x / scale));
    n_differences += rintf(x / scale) != rintf(x * (1 / scale));
  }
  assert_true(n_differences > 0);
}

static void nan_goes_through(void **state) {
  (void)state;
  assert_true(isnan(mq_fake_quantize_value(NAN, 0.1f, 3, 0, 15)));
  assert_int_equal(mq_quantize_value(NAN, 0.1f, 3, 0, 15), 3);
}

static void tensor_has_the_kernels_bits(void **state) {
  (void)state;
  enum {
    N = 1003
  };
  static float x[N], y[N], loop[N];
  struct mq_err err;
  struct mq_qparams q;
  assert_ok(mq_qparams_init(&q, 1, -1, &err));
  struct mq_scheme schemes[200];
  int n = list_schemes(schemes, false);
  struct mq_shape shape = {.rank = 1, .dim = {N}};
  for (int i = 0; i < n; i++) {
    fill(x, N, i % 2 ? GAUSSIAN : HEAVY, (uint64_t)i);
    for (size_t k = 0; k < sizeof special / sizeof *special; k++)
      x[k * 3] = special[k];
    x[100] = NAN;
    mq_qparams_from_range(&q, &schemes[i], &(struct mq_range){-1, 2}, NULL);
    struct mq_tensor tx = mq_tensor_view(x, MQ_F32, &shape, NULL),
                     ty = mq_tensor_view(y, MQ_F32, &shape, NULL);
    mq_fake_quantize(&ty, &tx, &q);
    struct mq_fake_quant fq = {q.scale[0], (float)q.zero_point[0], (float)q.quant_min, (float)q.quant_max};
    mq_loop_fake_quantize(loop, x, N, &fq);
    assert_memory_equal(y, loop, sizeof y);
    for (int k = 0; k < N; k++) {
      float value = mq_fake_quantize_value(x[k], q.scale[0], q.zero_point[0], q.quant_min, q.quant_max);
      if (isnan(value))
        assert_true(isnan(y[k]));
      else
        assert_memory_equal(&value, &y[k], sizeof value);
    }
  }
  mq_qparams_deinit(&q);
}

static void strides_and_channels_are_followed(void **state) {
  (void)state;
  enum {
    N = 2,
    C = 3,
    H = 4,
    W = 5,
    ALL = N * C * H * W
  };
  float x[ALL], y[ALL];
  int32_t q[ALL];
  fill(x, ALL, GAUSSIAN, 5);
  struct mq_shape shape = {.rank = 4, .dim = {N, C, H, W}};
  int64_t channels_last[MQ_MAX_RANK];
  mq_stride_channels_last(channels_last, &shape);
  struct mq_tensor tx = mq_tensor_view(x, MQ_F32, &shape, channels_last);
  struct mq_tensor ty = mq_tensor_view(y, MQ_F32, &shape, NULL), tq = mq_tensor_view(q, MQ_I32, &shape, NULL);
  struct mq_err err;
  for (int axis = -1; axis < 2; axis++) {
    int64_t n_channels = axis < 0 ? 1 : shape.dim[axis];
    struct mq_qparams params;
    assert_ok(mq_qparams_init(&params, n_channels, axis, &err));
    const struct mq_range range[3] = {{-1, 1}, {-2, 2}, {0, 3}};
    mq_qparams_from_range(&params, &(struct mq_scheme){.bits = 4}, range, NULL);
    for (int pass = 0; pass < 2; pass++) {
      const struct mq_tensor *from = pass ? &(struct mq_tensor){0} : &tx;
      struct mq_tensor row_major = mq_tensor_view(x, MQ_F32, &shape, NULL);
      if (pass) from = &row_major;
      mq_fake_quantize(&ty, from, &params);
      mq_quantize(&tq, from, &params);
      for (int64_t i = 0; i < ALL; i++) {
        int64_t w = i % W, h = i / W % H, c = i / (W * H) % C, b = i / (W * H * C);
        float v = pass ? x[i] : x[b * C * H * W + (h * W + w) * C + c];
        int64_t k = axis < 0 ? 0 : axis == 0 ? b : c;
        assert_int_equal(q[i], mq_quantize_value(v, params.scale[k], params.zero_point[k], 0, 15));
        assert_true(y[i] == mq_fake_quantize_value(v, params.scale[k], params.zero_point[k], 0, 15));
      }
    }
    mq_qparams_deinit(&params);
  }
}

static void empty_and_scalar_tensors(void **state) {
  (void)state;
  float x = 0.3f, y = 0;
  struct mq_err err;
  struct mq_qparams q;
  assert_ok(mq_qparams_init(&q, 1, -1, &err));
  mq_qparams_from_range(&q, &(struct mq_scheme){.bits = 8}, &(struct mq_range){0, 1}, NULL);
  struct mq_shape scalar = {0}, empty = {.rank = 2, .dim = {0, 3}};
  struct mq_tensor tx = mq_tensor_view(&x, MQ_F32, &scalar, NULL),
                   ty = mq_tensor_view(&y, MQ_F32, &scalar, NULL);
  mq_fake_quantize(&ty, &tx, &q);
  assert_true(y == mq_fake_quantize_value(x, q.scale[0], 0, 0, 255));
  tx = mq_tensor_view(&x, MQ_F32, &empty, NULL);
  ty = mq_tensor_view(&y, MQ_F32, &empty, NULL);
  mq_fake_quantize(&ty, &tx, &q);
  mq_qparams_deinit(&q);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_follow_the_definition),
      cmocka_unit_test(ties_go_to_even_by_a_true_division),
      cmocka_unit_test(nan_goes_through),
      cmocka_unit_test(tensor_has_the_kernels_bits),
      cmocka_unit_test(strides_and_channels_are_followed),
      cmocka_unit_test(empty_and_scalar_tensors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
