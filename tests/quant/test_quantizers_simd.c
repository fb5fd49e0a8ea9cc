/* The loops of clip and tanh: every instruction set against plain ones, bit for bit. */
#include <math.h>

#include "common.h"
#include "help_quant.h"
#include "quant/simd/clip.h"
#include "quant/simd/tanh.h"

#define N 1003 /* not a multiple of the lanes */
#define LANES 16

/* Lanes, added pairwise. */
static double add_lanes(double *lanes) {
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++)
      lanes[i] += lanes[i + width];
  return lanes[0];
}

static void fill_with_ends(float *x, float first, float last, uint64_t seed) {
  fill(x, N, GAUSSIAN, seed);
  const float special[] = {
      first, last, nextafterf(first, -9), nextafterf(last, 9), 0, -0.0f, 1e30f, -1e30f, INFINITY, -INFINITY};
  memcpy(x + 40, special, sizeof special);
}

static void clips_agree(void **state) {
  (void)state;
  const float first = -0.75f, last = 1.25f;
  float x[N], g[N], want[N], got[N];
  double above[LANES] = {0}, below[LANES] = {0};
  fill_with_ends(x, first, last, 1);
  fill(g, N, GAUSSIAN, 2);
  for (int i = 0; i < N; i++) {
    if (x[i] > last) above[i % LANES] += (double)g[i];
    if (x[i] < first) below[i % LANES] += (double)g[i];
    want[i] = x[i] < first || x[i] > last ? 0 : g[i];
  }
  double want_above = 1 + add_lanes(above), want_below = 2 + add_lanes(below);
  for (int level = 0; level <= (int)mq_simd_level_best(); level++) {
    const struct mq_simd_clip *table = mq_simd_clip_at((mq_simd_level)level);
    double got_above = 1, got_below = 2;
    table->backward(got, false, &got_above, &got_below, g, x, N, first, last);
    assert_memory_equal(got, want, sizeof got);
    assert_true(got_above == want_above && got_below == want_below);
    for (int i = 0; i < N; i++)
      got[i] = (float)i;
    table->backward(got, true, &got_above, &got_below, g, x, N, first, last);
    for (int i = 0; i < N; i++)
      assert_true(got[i] == (float)i + want[i]);
    memcpy(got, g, sizeof got); /* in place */
    table->backward(got, false, &got_above, &got_below, got, x, N, first, last);
    assert_memory_equal(got, want, sizeof got);
  }
}

static void tanhs_agree(void **state) {
  (void)state;
  const struct mq_tanh_run run = {
      .divisor = 0.875f, .factor = 0.75f, .scale = 0.1f, .first = -5.5f, .last = 4.5f};
  float w[N], g[N], want[N], want_gradient[N], got[N];
  double sums[LANES] = {0};
  fill_with_ends(w, 0x1p-12f, 20, 3);
  fill(g, N, GAUSSIAN, 4);
  for (int i = 0; i < N; i++) {
    float t = mq_tanhf(w[i]);
    want[i] = t / run.divisor * run.factor;
    float v = want[i] / run.scale, passed = v < run.first || v > run.last ? 0 : g[i];
    sums[i % LANES] += (double)passed * (double)want[i];
    want_gradient[i] = (float)((double)passed * ((1 - (double)t * (double)t) * (double)run.factor / 0.875));
  }
  double want_sum = add_lanes(sums);
  for (int level = 0; level <= (int)mq_simd_level_best(); level++) {
    const struct mq_simd_tanh *table = mq_simd_tanh_at((mq_simd_level)level);
    table->transform(got, w, N, &run);
    assert_memory_equal(got, want, sizeof got);
    assert_true(table->backward(got, false, g, w, N, &run) == want_sum);
    for (int i = 0; i < N; i++)
      assert_true(got[i] == want_gradient[i]); /* of either zero */
    for (int i = 0; i < N; i++)
      got[i] = 1;
    assert_true(table->backward(got, true, g, w, N, &run) == want_sum);
    for (int i = 0; i < N; i++)
      assert_true(fabsf(got[i] - (1 + want_gradient[i])) <= 2e-7f * (1 + fabsf(got[i])));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(clips_agree), cmocka_unit_test(tanhs_agree)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
