/* Integer convolutions against the plain definition: every integer equal, whatever the instruction set. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernel/conv_int.h"
#include "kernel/help_kernel.h"

struct int_case {
  int64_t n, inputs, outputs, groups, height, width, kernel[2], stride[2], dilation[2], pad[4];
};

#define DENSE .stride = {1, 1}, .dilation = {1, 1}
#define STRIDE(s) .stride = {s, s}, .dilation = {1, 1}
#define PAD(p) .pad = {p, p, p, p}
static const struct int_case cases[] = {
    {2, 3, 16, 1, 16, 16, {3, 3}, PAD(1), DENSE},
    {2, 16, 16, 1, 8, 8, {3, 3}, PAD(1), DENSE},
    {1, 64, 64, 1, 6, 5, {3, 3}, PAD(1), DENSE},
    {2, 16, 32, 1, 9, 10, {3, 3}, PAD(1), STRIDE(2)},
    {2, 40, 24, 1, 5, 5, {1, 1}, DENSE},
    {2, 16, 32, 1, 8, 8, {1, 1}, STRIDE(2)},
    {1, 3, 16, 1, 21, 21, {7, 7}, PAD(3), STRIDE(2)},
    {2, 3, 8, 1, 12, 12, {3, 3}, .pad = {0, 0, 1, 1}, STRIDE(2)},
    {1, 7, 5, 1, 9, 9, {5, 3}, .pad = {0, 2, 3, 1}, DENSE},
    {1, 1, 1, 1, 1, 1, {1, 1}, DENSE},
    {1, 1, 1, 1, 4, 4, {3, 3}, PAD(1), DENSE},
    {3, 17, 23, 1, 6, 6, {3, 3}, PAD(1), DENSE},
    {1, 12, 12, 1, 11, 12, {3, 3}, .stride = {1, 1}, .dilation = {2, 3}, .pad = {2, 3, 2, 3}},
    {2, 24, 24, 3, 7, 7, {3, 3}, PAD(1), DENSE}, /* groups of 8, 16, 24 and fewer channels */
    {1, 48, 48, 3, 7, 7, {3, 3}, PAD(1), STRIDE(2)},
    {1, 48, 48, 2, 7, 7, {3, 3}, PAD(1), DENSE},
    {2, 32, 32, 8, 5, 5, {3, 3}, PAD(1), DENSE},
    {1, 9, 6, 3, 8, 8, {3, 3}, .stride = {2, 1}, .dilation = {1, 1}, PAD(1)},
    {1, 10, 20, 5, 6, 6, {1, 1}, DENSE},
    {2, 32, 32, 32, 9, 9, {3, 3}, PAD(1), DENSE}, /* depthwise */
    {2, 21, 21, 21, 8, 9, {3, 3}, PAD(1), STRIDE(2)},
    {1, 40, 40, 40, 11, 10, {5, 5}, .pad = {1, 2, 2, 1}, STRIDE(2)},
    {2, 3, 3, 3, 5, 5, {3, 3}, PAD(1), DENSE},
    {1, 6, 12, 6, 7, 7, {3, 3}, PAD(1), DENSE}, /* depth multiplier 2 */
    {2, 16, 16, 1, 1, 40, {1, 3}, .pad = {0, 1, 0, 1}, DENSE},
    {1, 4, 4, 1, 2, 2, {5, 5}, PAD(4), DENSE}, /* padding wider than the input */
    {1, 16, 16, 16, 3, 3, {3, 3}, PAD(3), DENSE},
    {8, 64, 10, 1, 1, 1, {1, 1}, DENSE},          /* Gemm */
    {1, 120, 20, 1, 4, 4, {3, 3}, PAD(1), DENSE}, /* sums beyond 2^24 */
    {1, 530, 7, 1, 3, 3, {1, 1}, DENSE},
    {1, 240, 16, 2, 3, 3, {3, 3}, PAD(1), DENSE},
};

struct codes {
  bool is_input_signed, are_weights_signed, has_input_zero_point, has_weight_zero_point;
  int x_bits, w_bits;
};
static const struct codes code_cases[] = {
    {false, true, false, false, 8, 8}, {true, true, false, false, 8, 8},  {false, true, true, false, 8, 8},
    {true, true, true, false, 8, 8},   {false, false, true, true, 8, 8},  {true, false, false, false, 8, 8},
    {false, true, true, true, 8, 8},   {false, true, false, false, 4, 4}, {true, true, false, false, 4, 4},
    {false, false, true, true, 4, 4},  {false, true, true, false, 8, 4},  {true, false, true, true, 3, 5},
    {false, true, false, false, 2, 2},
};

typedef enum filling {
  RANDOM,   /* all codes */
  EXTREME,  /* the largest magnitudes of one sign */
  SWINGING, /* random among the two ends of the range */
  LARGE,    /* the largest magnitudes and their neighbours: long sums whose last bits differ */
} filling;

struct fixture {
  struct mq_conv_int_desc desc;
  struct mq_conv_int *conv;
  struct mq_shape output;
  int64_t n_in, n_out, n_weights;
  void *x, *w, *packed, *scratch;
  int32_t x_zero_point, *w_zero_point;
  char name[240];
};

static void describe(struct fixture *f, const struct int_case *c, const struct codes *k, filling how) {
  snprintf(f->name, sizeof f->name,
           "%lldx%lldx%lldx%lld -> %lld, kernel %lldx%lld, stride %lld, groups %lld, x %c%d%s, w %c%d%s, "
           "filling %d",
           (long long)c->n, (long long)c->inputs, (long long)c->height, (long long)c->width,
           (long long)c->outputs, (long long)c->kernel[0], (long long)c->kernel[1], (long long)c->stride[0],
           (long long)c->groups, k->is_input_signed ? 's' : 'u', k->x_bits,
           k->has_input_zero_point ? "z" : "", k->are_weights_signed ? 's' : 'u', k->w_bits,
           k->has_weight_zero_point ? "z" : "", (int)how);
  f->desc = (struct mq_conv_int_desc){
      .input = {4, {c->n, c->inputs, c->height, c->width}},
      .weights = {4, {c->outputs, c->inputs / c->groups, c->kernel[0], c->kernel[1]}},
      .stride = {c->stride[0], c->stride[1]},
      .dilation = {c->dilation[0], c->dilation[1]},
      .pad_begin = {c->pad[0], c->pad[1]},
      .pad_end = {c->pad[2], c->pad[3]},
      .groups = c->groups,
      .is_input_signed = k->is_input_signed,
      .x_bits = k->x_bits,
      .w_bits = k->w_bits,
      .are_weights_signed = k->are_weights_signed,
      .has_weight_zero_point = k->has_weight_zero_point,
      .has_input_zero_point = k->has_input_zero_point,
  };
}

static int64_t draw(struct mq_rng *rng, int64_t least, int64_t most) {
  return least + (int64_t)mq_rng_below(rng, (uint32_t)(most - least + 1));
}

static int code_min(int bits, bool is_signed) {
  return is_signed ? -(1 << (bits - 1)) : 0;
}
static int code_max(int bits, bool is_signed) {
  return code_min(bits, is_signed) + (1 << bits) - 1;
}

/* Bytes that are read as int8 or uint8. `end`: which end of the range EXTREME takes. */
static uint8_t *fill(struct mq_rng *rng, int64_t n, int bits, bool is_signed, filling how, bool is_end_max) {
  const int least = code_min(bits, is_signed), most = code_max(bits, is_signed);
  uint8_t *codes = mq_alloc((size_t)n, 1);
  assert_non_null(codes);
  for (int64_t i = 0; i < n; i++) {
    int64_t code = how == RANDOM ? draw(rng, least, most) : is_end_max ? most : least;
    if (how == SWINGING) code = draw(rng, 0, 1) == 0 ? least : most;
    if (how == LARGE) code += is_end_max ? -draw(rng, 0, 1) : draw(rng, 0, 1);
    codes[i] = (uint8_t)code;
  }
  return codes;
}

static void fixture_init(struct fixture *f, const struct int_case *c, const struct codes *k, filling how,
                         uint64_t seed) {
  struct mq_rng rng;
  struct mq_err err = {0};
  mq_rng_init(&rng, 11, MQ_RNG_TEST, seed, 0);
  *f = (struct fixture){0};
  describe(f, c, k, how);
  if (mq_conv_int_create(&f->conv, &f->desc, &err) != MQ_OK) fail_msg("%s: %s", f->name, err.message);
  f->output = mq_conv_int_output_shape(f->conv);
  f->n_in = mq_shape_count(&f->desc.input);
  f->n_out = mq_shape_count(&f->output);
  f->n_weights = mq_shape_count(&f->desc.weights);
  /* 255 times -128: unsigned x is largest at its maximum, signed x and all weights at their minimum. */
  f->x = fill(&rng, f->n_in, k->x_bits, k->is_input_signed, how, !k->is_input_signed);
  f->w = fill(&rng, f->n_weights, k->w_bits, k->are_weights_signed, how, false);
  if (k->has_input_zero_point)
    f->x_zero_point =
        (int32_t)draw(&rng, code_min(k->x_bits, k->is_input_signed), code_max(k->x_bits, k->is_input_signed));
  if (k->has_weight_zero_point) f->w_zero_point = mq_alloc((size_t)c->outputs, sizeof(int32_t));
  for (int64_t i = 0; i < c->outputs && k->has_weight_zero_point; i++)
    f->w_zero_point[i] = (int32_t)draw(&rng, code_min(k->w_bits, k->are_weights_signed),
                                       code_max(k->w_bits, k->are_weights_signed));
  f->packed = mq_alloc(1, mq_conv_int_packed_bytes(f->conv));
  f->scratch = mq_alloc(1, mq_conv_int_scratch_bytes(f->conv) + 1);
  assert_true(f->packed != NULL && f->scratch != NULL);
  assert_int_equal(mq_conv_int_pack(f->conv, f->packed, f->w, f->w_zero_point, f->scratch, &err), MQ_OK);
}

static void fixture_deinit(struct fixture *f) {
  mq_conv_int_destroy(f->conv);
  mq_free(f->x);
  mq_free(f->w);
  mq_free(f->w_zero_point);
  mq_free(f->packed);
  mq_free(f->scratch);
}

static void check_sums(const struct fixture *f, const int32_t *expected) {
  struct mq_err err = {0};
  int32_t *sums = (int32_t *)(void *)help_random(f->n_out, 9);
  assert_int_equal(mq_conv_int_sums(f->conv, sums, f->x, f->x_zero_point, f->packed, f->scratch, &err),
                   MQ_OK);
  for (int64_t i = 0; i < f->n_out; i++)
    if (sums[i] != expected[i])
      fail_msg("%s: sum %lld is %d, expected %d (%s, %d digits)", f->name, (long long)i, sums[i], expected[i],
               mq_conv_int_implementation(f->conv), mq_conv_int_digits(f->conv));
  mq_free(sums);
}

static void check_forward(const struct fixture *f, const int32_t *expected, bool has_bias) {
  struct mq_err err = {0};
  const int64_t channels = f->output.dim[1];
  float *multiplier = help_random(channels, 5), *bias = help_random(channels, 6);
  float *y = help_random(f->n_out, 9), *wanted = help_random(f->n_out, 9);
  for (int64_t i = 0; i < f->n_out; i++) {
    wanted[i] = (float)expected[i] * multiplier[i % channels];
    if (has_bias) wanted[i] += bias[i % channels];
  }
  assert_int_equal(mq_conv_int_forward(f->conv, y, f->x, f->x_zero_point, f->packed, multiplier,
                                       has_bias ? bias : NULL, f->scratch, &err),
                   MQ_OK);
  help_assert_same(y, wanted, f->n_out, f->name);
  mq_free(multiplier);
  mq_free(bias);
  mq_free(y);
  mq_free(wanted);
}

static void check_case(const struct int_case *c, const struct codes *k, filling how, uint64_t seed) {
  struct fixture f;
  fixture_init(&f, c, k, how, seed);
  int32_t *expected = mq_alloc((size_t)f.n_out, sizeof *expected);
  assert_non_null(expected);
  mq_conv_int_reference(&f.desc, expected, f.x, f.x_zero_point, f.w, f.w_zero_point);
  const int64_t group_inputs = c->inputs / c->groups, group_outputs = c->outputs / c->groups;
  const bool is_usual = c->groups == 1 || (group_inputs % 8 == 0 && group_outputs % 8 == 0) ||
                        (group_inputs == 1 && c->inputs == c->outputs && c->kernel[0] < 20);
  if (mq_kernel_isa() >= MQ_ISA_AVX2 && is_usual && strstr(mq_conv_int_implementation(f.conv), "ref") != NULL)
    fail_msg("%s: falls back to %s", f.name, mq_conv_int_implementation(f.conv));
  check_sums(&f, expected);
  check_forward(&f, expected, seed % 3 != 2);
  mq_free(expected);
  fixture_deinit(&f);
}

static void check_filling(filling how) {
  const size_t n_codes = sizeof code_cases / sizeof *code_cases;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (size_t k = 0; k < n_codes; k++)
      if ((i + k) % 3 == (size_t)how % 3 && !test_leaves_out((int64_t)(i * n_codes + k) / 3))
        check_case(&cases[i], &code_cases[k], how, i * n_codes + k);
}

static void test_random_codes(void **state) {
  (void)state;
  check_filling(RANDOM);
}
static void test_extreme_codes(void **state) {
  (void)state;
  check_filling(EXTREME);
}
static void test_swinging_codes(void **state) {
  (void)state;
  check_filling(SWINGING);
}

static struct int_case random_case(struct mq_rng *rng) {
  const bool is_depthwise = draw(rng, 0, 2) == 0;
  struct int_case c = {.n = draw(rng, 1, 3), .groups = is_depthwise ? draw(rng, 2, 40) : draw(rng, 1, 4)};
  c.inputs = c.groups * (is_depthwise ? 1 : draw(rng, 1, 12));
  c.outputs = c.groups * (is_depthwise ? 1 : draw(rng, 1, 12));
  for (int i = 0; i < 2; i++) {
    c.kernel[i] = draw(rng, 1, 4);
    c.stride[i] = draw(rng, 1, 3);
    c.dilation[i] = draw(rng, 1, 2);
    c.pad[i] = draw(rng, 0, 4);
    c.pad[2 + i] = draw(rng, 0, 4);
  }
  c.height = draw(rng, 7, 10);
  c.width = draw(rng, 7, 10);
  return c;
}

static void test_random_shapes(void **state) {
  (void)state;
  struct mq_rng rng;
  mq_rng_init(&rng, 8, MQ_RNG_TEST, 1, 0);
  for (uint64_t i = 0; i < (uint64_t)test_effort(100); i++) {
    const struct int_case c = random_case(&rng);
    check_case(&c, &code_cases[i % (sizeof code_cases / sizeof *code_cases)], (filling)(i / 2 % 3), i);
  }
}

/* So many products that every number of digits is needed somewhere. */
static void test_long_sums(void **state) {
  (void)state;
  const int64_t inputs[] = {500, 600, 8200, 8300, 9601, 32800, 33000, 65000};
  for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
    for (int how = RANDOM; how <= LARGE; how++) {
      if (test_leaves_out((int64_t)i * 4 + how)) continue;
      const struct int_case c = {3, inputs[i], 5, 1, 1, 1, {1, 1}, DENSE};
      check_case(&c, &code_cases[0], (filling)how, i);
      check_case(&c, &code_cases[3], (filling)how, i);
      check_case(&c, &code_cases[10], (filling)how, i);
    }
  /* Groups, which the library computes by other kernels. */
  const struct int_case grouped = {1, 16, 16, 2, 9, 9, {9, 9}, PAD(4), DENSE};
  const struct int_case depthwise = {1, 16, 16, 16, 26, 26, {25, 25}, PAD(12), DENSE};
  for (size_t k = 0; k < (size_t)test_effort(4); k++) {
    check_case(&grouped, &code_cases[k], LARGE, k);
    check_case(&depthwise, &code_cases[k], LARGE, k);
  }
}

/* Slices too large for the cache are taken in parts. */
static void test_large_slices(void **state) {
  (void)state;
  const struct int_case plain = {2, 3, 96, 1, 20, 40, {3, 3}, PAD(1), DENSE};
  const struct int_case depthwise = {3, 64, 64, 64, 45, 45, {3, 3}, PAD(1), DENSE};
  for (size_t k = 0; k < (size_t)test_effort(5); k++) {
    check_case(&plain, &code_cases[k], RANDOM, k);
    check_case(&depthwise, &code_cases[k], RANDOM, k);
  }
}

/* The digits are what the limits ask for, no more. */
static void test_digits(void **state) {
  (void)state;
  struct fixture f;
  const bool has_vnni = mq_kernel_isa() >= MQ_ISA_AVX512_VNNI;
  fixture_init(&f, &cases[1], &code_cases[0], RANDOM, 1); /* 8 bits */
  assert_int_equal(mq_conv_int_digits(f.conv), has_vnni ? 1 : 2);
  fixture_deinit(&f);
  fixture_init(&f, &cases[1], &code_cases[7], RANDOM, 1); /* 4 bits */
  assert_int_equal(mq_conv_int_digits(f.conv), 1);
  fixture_deinit(&f);
  fixture_init(&f, &cases[19], &code_cases[0], RANDOM, 1); /* depthwise */
  assert_int_equal(mq_conv_int_digits(f.conv), 1);
  fixture_deinit(&f);
}

static void test_refusals(void **state) {
  (void)state;
  struct fixture f;
  struct mq_err err = {0};
  struct mq_conv_int *conv = (struct mq_conv_int *)(uintptr_t)&conv;
  fixture_init(&f, &cases[1], &code_cases[0], RANDOM, 1);
  struct mq_conv_int_desc d = f.desc;
  d.x_bits = 9;
  assert_int_equal(mq_conv_int_create(&conv, &d, &err), MQ_BAD_INPUT);
  assert_null(conv);
  assert_non_null(strstr(err.message, "9 bits"));
  d = f.desc;
  d.groups = 3;
  assert_int_equal(mq_conv_int_create(&conv, &d, &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "3 groups"));
  fixture_deinit(&f);
}

static int run_group(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random_codes),   cmocka_unit_test(test_extreme_codes),
      cmocka_unit_test(test_swinging_codes), cmocka_unit_test(test_random_shapes),
      cmocka_unit_test(test_long_sums),      cmocka_unit_test(test_large_slices),
      cmocka_unit_test(test_digits),         cmocka_unit_test(test_refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
  return help_run_levels(run_group) + help_run_capped(MQ_ISA_AVX512, run_group) +
         help_run_capped(MQ_ISA_AVX512_VNNI, run_group);
}
