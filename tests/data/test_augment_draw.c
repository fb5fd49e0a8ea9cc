/* What is drawn: distributions, the fallback of images that are too narrow, keys, what is refused. Seeds are
 * fixed, so a test passes always or never; thresholds are those of one false alarm in a thousand or rarer. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/augment.h"
#include "data/help_data.h"

#define N 8000
/* Kolmogorov-Smirnov at 0.001: 1.95 / sqrt(N). */
#define KS_LIMIT (1.95 / 89.4)

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* Sorts. */
static void assert_uniform(double *values, double from, double to, const char *what) {
  double most = 0;
  qsort(values, N, sizeof *values, compare);
  assert_true(values[0] >= from && values[N - 1] <= to);
  for (int i = 0; i < N; i++) {
    const double unit = (values[i] - from) / (to - from);
    most = fmax(most, fmax(fabs(unit - (double)i / N), fabs(unit - (double)(i + 1) / N)));
  }
  if (most > KS_LIMIT) {
    fail_msg("%s: distance %g from uniform, at most %g", what, most, KS_LIMIT);
  }
}

/* Normal approximation of chi-square at 0.001. */
static void assert_even(const int *counts, int n_cells, const char *what) {
  double total = 0, chi = 0;
  for (int i = 0; i < n_cells; i++) {
    total += counts[i];
  }
  for (int i = 0; i < n_cells; i++) {
    const double expected = total / n_cells;
    chi += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  const double freedom = n_cells - 1, limit = freedom + 3.1 * sqrt(2 * freedom) + 6;
  if (chi > limit) {
    fail_msg("%s: chi-square %g, at most %g", what, chi, limit);
  }
}

static struct mq_augment_draw draw_one(const struct mq_augment *augment, int64_t h, int64_t w, uint64_t epoch,
                                       int64_t index) {
  struct mq_augment_draw draw;
  const int64_t from[2] = {h, w}, to[2] = {augment->resized_crop ? 32 : h, augment->resized_crop ? 32 : w};
  mq_augment_draw(&draw, augment, from, to, 5, epoch, index);
  return draw;
}

static void assert_same_draw(const struct mq_augment_draw *a, const struct mq_augment_draw *b) {
  assert_true(a->top == b->top && a->left == b->left && a->height == b->height && a->width == b->width);
  assert_true(a->is_flipped == b->is_flipped && a->n_ops == b->n_ops);
  assert_memory_equal(a->order, b->order, sizeof a->order);
  assert_memory_equal(a->factor, b->factor, sizeof a->factor);
}

static void test_small_images(void **state) {
  (void)state;
  const struct mq_augment augment = {.flips = true, .pad = 4};
  int places[81 * 2] = {0}, flips[2] = {0}, pairs[4] = {0}, was_flipped = 0;
  for (int i = 0; i < 2 * N; i++) {
    const struct mq_augment_draw draw = draw_one(&augment, 32, 28, (uint64_t)(i / 1000), i % 1000);
    assert_true(draw.top >= -4 && draw.top <= 4 && draw.left >= -4 && draw.left <= 4);
    assert_true(draw.height == 32 && draw.width == 28 && draw.n_ops == 0);
    places[((draw.top + 4) * 9 + draw.left + 4) * 2 + draw.is_flipped]++;
    flips[draw.is_flipped]++;
    pairs[was_flipped * 2 + draw.is_flipped]++; /* neighbours do not go together */
    was_flipped = draw.is_flipped;
  }
  assert_even(places, 162, "places");
  assert_even(flips, 2, "flips");
  assert_even(pairs, 4, "pairs of flips");
  const struct mq_augment none = {.pad = 0};
  for (int i = 0; i < 100; i++) {
    const struct mq_augment_draw draw = draw_one(&none, 32, 28, 0, i);
    assert_true(draw.top == 0 && draw.left == 0 && !draw.is_flipped && draw.n_ops == 0);
  }
}

/* In a square no rectangle up to half of its area and 3/4 to 4/3 wide is refused, so both are uniform. */
static void test_resized_crop(void **state) {
  (void)state;
  enum {
    SIDE = 20000
  };
  const struct mq_augment augment = {.resized_crop = true, .area = {0.08, 0.5}};
  static double areas[N], aspects[N], tops[N], lefts[N];
  for (int i = 0; i < N; i++) {
    const struct mq_augment_draw draw = draw_one(&augment, SIDE, SIDE, 3, i);
    assert_true(draw.top >= 0 && draw.left >= 0 && draw.top + draw.height <= SIDE);
    assert_true(draw.left + draw.width <= SIDE);
    areas[i] = (double)(draw.height * draw.width) / SIDE / SIDE;
    aspects[i] = log((double)draw.width / (double)draw.height);
    tops[i] = (double)draw.top / (double)(SIDE - draw.height);
    lefts[i] = (double)draw.left / (double)(SIDE - draw.width);
  }
  assert_uniform(areas, 0.0799, 0.5001, "area");
  assert_uniform(aspects, log(3.0 / 4) - 1e-3, log(4.0 / 3) + 1e-3, "log aspect");
  assert_uniform(tops, 0, 1, "top");
  assert_uniform(lefts, 0, 1, "left");
}

/* Area and aspect given as zeros are torchvision's; every rectangle lies within the image. */
static void test_resized_crop_defaults(void **state) {
  (void)state;
  const struct mq_augment augment = {.resized_crop = true},
                          same = {.resized_crop = true, .area = {0.08, 1}, .ratio = {3.0 / 4, 4.0 / 3}};
  double least = 1, most = 0;
  for (int i = 0; i < N; i++) {
    const struct mq_augment_draw draw = draw_one(&augment, 375, 500, 0, i),
                                 other = draw_one(&same, 375, 500, 0, i);
    assert_same_draw(&draw, &other);
    const double area = (double)(draw.height * draw.width) / 375 / 500;
    const double aspect = (double)draw.width / (double)draw.height;
    assert_true(draw.top >= 0 && draw.top + draw.height <= 375);
    assert_true(draw.left >= 0 && draw.left + draw.width <= 500);
    assert_true(aspect > 0.74 && aspect < 1.35);
    least = area < least ? area : least;
    most = area > most ? area : most;
  }
  assert_true(least > 0.079 && least < 0.09 && most > 0.97);
}

/* No try can fit: the middle, as wide or as narrow as the range allows. */
static void test_fallback(void **state) {
  (void)state;
  const struct mq_augment augment = {.resized_crop = true, .area = {0.9, 1}};
  for (int i = 0; i < 50; i++) {
    const struct mq_augment_draw wide = draw_one(&augment, 12, 1000, 0, i);
    assert_true(wide.height == 12 && wide.width == 16 && wide.top == 0 && wide.left == 492);
    const struct mq_augment_draw narrow = draw_one(&augment, 1001, 12, 0, i);
    assert_true(narrow.height == 16 && narrow.width == 12 && narrow.top == 492 && narrow.left == 0);
  }
  const struct mq_augment tiny = {.resized_crop = true, .area = {0.01, 0.02}};
  const struct mq_augment_draw pixel = draw_one(&tiny, 1, 1, 0, 0);
  assert_true(pixel.height == 1 && pixel.width == 1 && pixel.top == 0 && pixel.left == 0);
  const struct mq_augment flat = {.resized_crop = true, .area = {1, 1}, .ratio = {1000, 1000}};
  const struct mq_augment_draw line = draw_one(&flat, 5, 65535, 0, 0); /* 5 x 5000: no area of 1 */
  assert_true(line.height == 5 && line.width == 5000 && line.left == (65535 - 5000) / 2);
  const struct mq_augment_draw column = draw_one(&flat, 400, 3, 0, 0); /* 0.003 high is no height */
  assert_true(column.height == 1 && column.width == 3 && column.top == 199);
}

static void test_colours(void **state) {
  (void)state;
  const struct mq_augment augment = {.brightness = 0.2, .contrast = 0.3, .saturation = 1.5, .hue = 0.1};
  static double factors[4][N];
  int orders[256] = {0}, permutations[24], n_permutations = 0;
  for (int i = 0; i < N; i++) {
    const struct mq_augment_draw draw = draw_one(&augment, 32, 32, 0, i);
    assert_int_equal(draw.n_ops, 4);
    int code = 0, seen = 0;
    for (int o = 0; o < 4; o++) {
      factors[o][i] = draw.factor[o];
      code = code * 4 + (int)draw.order[o];
      seen |= 1 << draw.order[o];
    }
    assert_int_equal(seen, 15);
    orders[code]++;
  }
  for (int code = 0; code < 256; code++) {
    if (orders[code]) {
      assert_true(n_permutations < 24);
      permutations[n_permutations++] = orders[code];
    }
  }
  assert_int_equal(n_permutations, 24);
  assert_even(permutations, 24, "orders");
  assert_uniform(factors[MQ_COLOUR_BRIGHTNESS], 0.8, 1.2, "brightness");
  assert_uniform(factors[MQ_COLOUR_CONTRAST], 0.7, 1.3, "contrast");
  assert_uniform(factors[MQ_COLOUR_SATURATION], 0, 2.5, "saturation"); /* not below 0 */
  assert_uniform(factors[MQ_COLOUR_HUE], -0.1, 0.1, "hue");
  const struct mq_augment two = {.contrast = 0.2, .hue = 0.5};
  int first[2] = {0};
  for (int i = 0; i < 1000; i++) {
    const struct mq_augment_draw draw = draw_one(&two, 32, 32, 0, i);
    assert_int_equal(draw.n_ops, 2);
    assert_true(draw.order[0] + draw.order[1] == MQ_COLOUR_CONTRAST + MQ_COLOUR_HUE);
    first[draw.order[0] == MQ_COLOUR_HUE]++;
  }
  assert_even(first, 2, "first of two");
}

/* A draw is a function of seed, epoch and image. */
static void test_keys(void **state) {
  (void)state;
  const struct mq_augment augment = {.flips = true, .resized_crop = true, .brightness = 0.2};
  const int64_t from[2] = {300, 400}, to[2] = {224, 224};
  struct mq_augment_draw draws[2][2][2][2];
  for (int i = 0; i < 16; i++) { /* the second round does what the first one did */
    struct mq_augment_draw draw;
    mq_augment_draw(&draw, &augment, from, to, (uint64_t)(i & 1), (uint64_t)(i >> 1 & 1), i >> 2 & 1);
    struct mq_augment_draw *at = &draws[0][i & 1][i >> 1 & 1][i >> 2 & 1];
    if (i < 8) {
      *at = draw;
    } else {
      assert_same_draw(at, &draw);
    }
  }
  const struct mq_augment_draw *all = &draws[0][0][0][0];
  for (int i = 0; i < 8; i++) {
    for (int j = 0; j < i; j++) {
      assert_true(all[i].factor[0] != all[j].factor[0] && all[i].top != all[j].top);
    }
  }
}

static void test_shuffle(void **state) {
  (void)state;
  struct mq_dataset *dataset = open_data("fractal:images=7,size=8");
  int counts[49] = {0};
  for (uint64_t epoch = 0; epoch < 3000; epoch++) {
    int64_t *order = NULL, *again = NULL;
    int seen = 0;
    assert_int_equal(mq_dataset_shuffle(&order, dataset, 9, epoch, NULL), MQ_OK);
    for (int i = 0; i < 7; i++) {
      seen |= 1 << order[i];
      counts[i * 7 + order[i]]++;
    }
    assert_int_equal(seen, 127);
    assert_int_equal(mq_dataset_shuffle(&again, dataset, 9, epoch, NULL), MQ_OK);
    assert_memory_equal(order, again, 7 * sizeof *order);
    mq_free(order);
    mq_free(again);
  }
  assert_even(counts, 49, "place of an image");
  mq_dataset_close(dataset);
}

static void test_refused(void **state) {
  (void)state;
  const struct {
    struct mq_augment augment;
    const char *part;
  } wrong[] = {
      {{.pad = -1}, "pad -1"},
      {{.pad = 70000}, "pad 70000"},
      {{.pad = 4, .resized_crop = true}, "both pad 4 and resized_crop"},
      {{.area = {0, 0.5}}, "area from 0 to 0.5"},
      {{.area = {0.5, 1.5}}, "area from 0.5 to 1.5"},
      {{.area = {0.5, (double)NAN}}, "area from 0.5 to nan"},
      {{.ratio = {2, 1}}, "ratio from 2 to 1"},
      {{.ratio = {1, (double)INFINITY}}, "ratio from 1 to inf"},
      {{.brightness = -0.1}, "brightness -0.1"},
      {{.contrast = (double)NAN}, "contrast nan"},
      {{.saturation = 1e9}, "saturation 1e+09"},
      {{.hue = 0.51}, "hue 0.51"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    struct mq_err err = {0};
    assert_int_equal(mq_augment_check(&wrong[i].augment, false, &err), MQ_BAD_USAGE);
    assert_non_null(strstr(err.message, wrong[i].part));
  }
  const struct mq_augment colours = {.hue = 0.1}, resized = {.resized_crop = true}, cut = {.pad = 4};
  assert_int_equal(mq_augment_check(&colours, false, NULL), MQ_OK);
  assert_int_equal(mq_augment_check(&colours, true, NULL), MQ_BAD_USAGE);
  assert_int_equal(mq_augment_check(&resized, true, NULL), MQ_BAD_USAGE);
  assert_int_equal(mq_augment_check(&cut, true, NULL), MQ_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_small_images),
      cmocka_unit_test(test_resized_crop),
      cmocka_unit_test(test_resized_crop_defaults),
      cmocka_unit_test(test_fallback),
      cmocka_unit_test(test_colours),
      cmocka_unit_test(test_keys),
      cmocka_unit_test(test_shuffle),
      cmocka_unit_test(test_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
