/* The exact simulation's arithmetics against the integer program's, function by function: random scales and
 * scales that are powers of two (where ties are common), sums and codes from the whole range and around every
 * tie and bound. */
#include <math.h>

#include "common.h"
#include "mqbench/program.h"
#include "quant/exact.h"

#define N_CASES 300
#define N_VALUES 400
#define N_CHANNELS 4
#define LARGEST_SUM (1 << 26)

struct pair {
  const struct mq_exact_arithmetic *exact;
  const struct mq_program_arithmetic *program;
};

static struct mq_rng rng;

static struct pair get_pair(int kind) {
  struct pair pair = {.program = mq_program_arithmetic_get((mq_arithmetic_kind)kind)};
  pair.exact = mq_exact_arithmetic_find(pair.program->name);
  assert_non_null(pair.exact);
  return pair;
}

static bool is_pot(const struct pair *pair) {
  return strncmp(pair->program->name, "pot", 3) == 0;
}

static bool has_zeros(const struct pair *pair) {
  return !is_pot(pair) && strcmp(pair->program->name, "trt_model") != 0;
}

/* Around `middle`, within a factor of 8 either way; half of them powers of two. */
static float draw_scale(const struct pair *pair, float middle) {
  float exponent = 6 * mq_rng_float(&rng) - 3;
  bool is_whole = is_pot(pair) || mq_rng_below(&rng, 2);
  return is_whole ? ldexpf(1, (int)lroundf(log2f(middle) + exponent)) : middle * exp2f(exponent);
}

static struct mq_exact_grid draw_grid(const struct pair *pair, float middle) {
  static const int32_t ranges[][2] = {{-128, 127}, {-127, 127}, {0, 255}, {0, 15}, {-8, 7}, {0, 3}, {-2, 1}};
  const int32_t *range = ranges[mq_rng_below(&rng, 7)];
  struct mq_exact_grid grid = {.scale = draw_scale(pair, middle),
                               .lo = range[0],
                               .hi = range[1],
                               .clip_lo = -INFINITY,
                               .clip_hi = INFINITY};
  if (has_zeros(pair))
    grid.zero_point = range[0] + (int32_t)mq_rng_below(&rng, (uint32_t)(range[1] - range[0] + 1));
  return grid;
}

static struct mq_program_output to_output(const struct mq_exact_grid *grid) {
  return (struct mq_program_output){.scale = grid->scale,
                                    .zero_point = grid->zero_point,
                                    .lo = grid->lo,
                                    .hi = grid->hi,
                                    .clip_lo = grid->clip_lo,
                                    .clip_hi = grid->clip_hi};
}

static struct mq_program_tensor to_tensor(const struct mq_exact_grid *grid) {
  return (struct mq_program_tensor){.name = "",
                                    .type = grid->lo < 0 ? MQ_PROGRAM_S8 : MQ_PROGRAM_U8,
                                    .scale = grid->scale,
                                    .zero_point = grid->zero_point,
                                    .code_min = grid->lo,
                                    .code_max = grid->hi};
}

/* A tighter range now and then, as activation functions make it. */
static void tighten(struct mq_exact_grid *grid, const struct pair *pair) {
  if (mq_rng_below(&rng, 2)) return;
  if (pair->exact->clips_floats) {
    grid->clip_lo = 0;
    grid->clip_hi = 6;
  } else {
    grid->lo = grid->zero_point;
  }
}

static void expect_code(int32_t exact, int32_t program, const struct pair *pair, const char *what, double x) {
  if (exact != program)
    fail_msg("%s, %s of %.9g: %d, the program has %d", pair->program->name, what, x, exact, program);
}

/* ---- Floats ------------------------------------------------------------------------------------------ */

static void quantizes(void **state) {
  (void)state;
  for (int kind = 1; kind < MQ_ARITHMETIC_END; kind++) {
    struct pair pair = get_pair(kind);
    for (int i = 0; i < N_CASES; i++) {
      struct mq_exact_grid grid = draw_grid(&pair, 0.05f);
      struct mq_program_output y = to_output(&grid);
      float x[N_VALUES];
      int32_t q[N_VALUES];
      for (int k = 0; k < N_VALUES; k++) { /* on codes, on ties, beside them, anywhere */
        float step = (float)mq_rng_below(&rng, 1200) * 0.5f - 300;
        float noise = (k & 1) ? 0 : (mq_rng_float(&rng) - 0.5f) * ((k & 2) ? 1e-6f : 1);
        x[k] = (step + noise) * grid.scale;
      }
      x[0] = NAN;
      x[1] = INFINITY;
      x[2] = -INFINITY;
      pair.exact->quantize(q, x, N_VALUES, &grid);
      for (int k = 0; k < N_VALUES; k++)
        expect_code(q[k], pair.program->quantize(x[k], &y), &pair, "code", (double)x[k]);
    }
  }
}

/* ---- Layers ------------------------------------------------------------------------------------------ */

static bool make_channels(struct mq_exact_channel *exact, struct mq_program_channel *program,
                          const struct pair *pair, const struct mq_exact_grid *y, bool is_linear) {
  struct mq_err err = {0};
  struct mq_program_err why = {{0}};
  float x_scale = draw_scale(pair, 0.03f);
  bool is_per_tensor = mq_rng_below(&rng, 2);
  for (int c = 0; c < N_CHANNELS; c++) {
    float bias = (mq_rng_float(&rng) - 0.5f) * 4;
    const struct mq_exact_layer layer = {.x_scale = x_scale,
                                         .w_scale = draw_scale(pair, 0.01f),
                                         .y_scale = y ? y->scale : 0,
                                         .bias = bias,
                                         .is_linear = is_linear,
                                         .is_per_tensor = is_per_tensor,
                                         .largest_sum = LARGEST_SUM};
    const struct mq_program_layer same = {.x_scale = x_scale,
                                          .w_scale = layer.w_scale,
                                          .y_scale = layer.y_scale,
                                          .bias = (double)bias,
                                          .is_linear = is_linear,
                                          .is_per_tensor = is_per_tensor};
    mq_status status = pair->exact->make_channel(&exact[c], &layer, &err);
    if (pair->program->make_channel(&program[c], &same, &why) != MQ_PROGRAM_OK || status != MQ_OK) {
      return false;
    }
  }
  return true;
}

static int64_t draw_sum(int k, const struct mq_exact_channel *channel) {
  int64_t any = (int64_t)mq_rng_u32(&rng) - (INT64_C(1) << 31);
  int64_t sum = k % 3 == 0 ? any / 64 : k % 3 == 1 ? any / 65536 : any >> 24;
  return k % 5 == 0 ? sum - channel->bias : sum; /* whole steps when scales are powers of two */
}

static int32_t requantize(const struct pair *pair, bool is_linear, int64_t sum,
                          const struct mq_program_channel *channel, const struct mq_program_output *y) {
  bool has_own = is_linear && pair->program->requantize_linear;
  return has_own ? pair->program->requantize_linear(sum, channel, 0, y)
                 : pair->program->requantize(sum, channel, 0, y);
}

static void requantizes(void **state) {
  (void)state;
  for (int kind = 1; kind < MQ_ARITHMETIC_END; kind++) {
    struct pair pair = get_pair(kind);
    int n_made = 0;
    for (int i = 0; i < N_CASES && pair.exact->requantize; i++) {
      struct mq_exact_grid grid = draw_grid(&pair, 0.05f);
      struct mq_exact_channel exact[N_CHANNELS];
      struct mq_program_channel program[N_CHANNELS];
      tighten(&grid, &pair);
      struct mq_program_output y = to_output(&grid);
      bool is_linear = i % 2;
      if (!make_channels(exact, program, &pair, &grid, is_linear)) continue;
      n_made++;
      for (int k = 0; k < N_VALUES / N_CHANNELS; k++) {
        int64_t sum[N_CHANNELS];
        int32_t q[N_CHANNELS];
        for (int c = 0; c < N_CHANNELS; c++)
          sum[c] = draw_sum(k, &exact[c]);
        pair.exact->requantize(q, sum, N_CHANNELS, exact, &grid);
        for (int c = 0; c < N_CHANNELS; c++)
          expect_code(q[c], requantize(&pair, is_linear, sum[c], &program[c], &y), &pair, "requantization",
                      (double)sum[c]);
      }
    }
    assert_true(!pair.exact->requantize || n_made > N_CASES / 2);
  }
}

/* trt_model's program rounds where the graph's next point does. */
static void dequantizes(void **state) {
  (void)state;
  for (int kind = 1; kind < MQ_ARITHMETIC_END; kind++) {
    struct pair pair = get_pair(kind), floats = get_pair(MQ_ARITHMETIC_DEQUANT_F32);
    bool is_own = kind == MQ_ARITHMETIC_TRT;
    floats = is_own ? pair : (struct pair){.exact = pair.exact, .program = floats.program};
    for (int i = 0; i < N_CASES; i++) {
      struct mq_exact_channel exact[N_CHANNELS];
      struct mq_program_channel program[N_CHANNELS];
      if (!make_channels(exact, program, &floats, NULL, i % 2)) continue;
      for (int k = 0; k < N_VALUES / N_CHANNELS; k++) {
        int64_t sum[N_CHANNELS];
        float y[N_CHANNELS];
        for (int c = 0; c < N_CHANNELS; c++)
          sum[c] = draw_sum(k, &exact[c]);
        pair.exact->dequantize(y, sum, N_CHANNELS, exact);
        for (int c = 0; c < N_CHANNELS; c++)
          if (y[c] != floats.program->dequantize(sum[c], &program[c]))
            fail_msg("%s, float of %lld", pair.program->name, (long long)sum[c]);
      }
    }
  }
}

/* ---- Adds: all pairs of codes ------------------------------------------------------------------------- */

static void compare_add(const struct pair *pair, const struct mq_exact_add *exact,
                        const struct mq_program_add *program, const struct mq_exact_grid *grid) {
  struct mq_program_output y = to_output(grid);
  for (int32_t a = exact->a.lo; a <= exact->a.hi; a++) {
    int32_t codes_a[256], codes_b[256], q[256], n = 0;
    for (int32_t b = exact->b.lo; b <= exact->b.hi; b++, n++) {
      codes_a[n] = a;
      codes_b[n] = b;
    }
    pair->exact->add(q, codes_a, codes_b, n, exact, grid);
    for (int32_t k = 0; k < n; k++)
      expect_code(q[k], pair->program->add(a, codes_b[k], program, &y), pair, "sum", (double)a);
  }
}

static void adds(void **state) {
  (void)state;
  for (int kind = 1; kind < MQ_ARITHMETIC_END; kind++) {
    struct pair pair = get_pair(kind);
    for (int i = 0; i < N_CASES && pair.exact->add; i++) {
      struct mq_err err = {0};
      struct mq_program_err why = {{0}};
      struct mq_exact_add exact = {.a = draw_grid(&pair, 0.05f), .b = draw_grid(&pair, 0.05f)};
      struct mq_exact_grid grid = draw_grid(&pair, 0.08f);
      struct mq_program_add program;
      struct mq_program_tensor a = to_tensor(&exact.a), b = to_tensor(&exact.b), y = to_tensor(&grid);
      tighten(&grid, &pair);
      mq_status status = pair.exact->make_add(&exact, &grid, &err);
      assert_int_equal(status == MQ_OK, pair.program->make_add(&program, &a, &b, &y, &why) == MQ_PROGRAM_OK);
      if (status == MQ_OK) compare_add(&pair, &exact, &program, &grid);
    }
  }
}

/* ---- Averages ------------------------------------------------------------------------------------------ */

static void compare_average(const struct pair *pair, const struct mq_program_mean *program, bool is_mean,
                            int64_t n, const struct mq_exact_grid *x, const struct mq_exact_grid *y) {
  struct mq_program_output out = to_output(y);
  int64_t sum[N_VALUES];
  int32_t q[N_VALUES];
  for (int k = 0; k < N_VALUES; k++)
    sum[k] = n * x->lo + mq_rng_below(&rng, (uint32_t)(n * (x->hi - x->lo) + 1));
  sum[0] = n * x->lo;
  sum[1] = n * x->hi;
  pair->exact->average(q, sum, N_VALUES, n, is_mean, x, y);
  for (int k = 0; k < N_VALUES; k++) {
    int32_t expected =
        is_mean ? pair->program->mean(sum[k], program, &out) : pair->program->average(sum[k], program, &out);
    expect_code(q[k], expected, pair, is_mean ? "mean" : "average", (double)sum[k]);
  }
}

static void averages(void **state) {
  (void)state;
  for (int kind = 1; kind < MQ_ARITHMETIC_END; kind++) {
    struct pair pair = get_pair(kind);
    int n_made = 0;
    for (int i = 0; i < N_CASES && pair.exact->average; i++) {
      struct mq_err err = {0};
      struct mq_program_err why = {{0}};
      struct mq_exact_grid x = draw_grid(&pair, 0.05f), y = i % 2 ? x : draw_grid(&pair, 0.05f);
      struct mq_program_mean program;
      struct mq_program_tensor from = to_tensor(&x), to = to_tensor(&y);
      bool is_mean = mq_rng_below(&rng, 2);
      int64_t n = 1 + mq_rng_below(&rng, i % 3 ? 64 : 3000);
      tighten(&y, &pair);
      mq_status status = pair.exact->check_average(&x, &y, n, is_mean, &err);
      mq_program_status other = is_mean ? pair.program->make_mean(&program, &from, &to, (int32_t)n, &why)
                                        : pair.program->make_average(&program, &from, &to, (int32_t)n, &why);
      assert_int_equal(status == MQ_OK, other == MQ_PROGRAM_OK);
      n_made += status == MQ_OK;
      if (status == MQ_OK) compare_average(&pair, &program, is_mean, n, &x, &y);
    }
    assert_true(!pair.exact->average || n_made > N_CASES / 3);
  }
}

int main(void) {
  mq_rng_init(&rng, 3, MQ_RNG_TEST, 0, 0);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quantizes), cmocka_unit_test(requantizes), cmocka_unit_test(dequantizes),
      cmocka_unit_test(adds),      cmocka_unit_test(averages),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
