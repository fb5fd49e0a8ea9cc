/* Given draws: cuts, resizes and mirrors as Pillow does, colours as ColorJitter's tensor formulas do
 * (make_augment_golden.py), the same bits at every level of instructions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/augment.h"
#include "data/help_data.h"
#include "data/simd/colour.h"

/* What float32 sums of another order may differ by, far below the level of 1/255. */
#define COLOUR_TOLERANCE 4e-6

static void decode_photo(struct mq_image *photo) {
  size_t n;
  uint8_t *bytes = read_golden_bytes(&n, "photo.jpg");
  assert_int_equal(mq_image_decode(photo, bytes, n, false, "photo.jpg", NULL), MQ_OK);
  mq_free(bytes);
}

static void test_boxes_equal_pillow(void **state) {
  (void)state;
  struct mq_image photo;
  struct mq_tensor boxes, golden;
  decode_photo(&photo);
  read_golden(&boxes, "augment_boxes.npy");
  for (int64_t i = 0; i < boxes.shape.dim[0]; i++) {
    const int64_t *box = (const int64_t *)boxes.data + i * 7;
    const struct mq_augment_draw draw = {
        .top = box[0], .left = box[1], .height = box[2], .width = box[3], .is_flipped = box[4] != 0};
    uint8_t out[45 * 45 * 3];
    char name[64];
    memset(out, 0xaa, sizeof out);
    snprintf(name, sizeof name, "augment_box%lld.npy", (long long)i);
    read_golden(&golden, name);
    assert_int_equal(golden.shape.dim[0], box[5]);
    assert_int_equal(mq_augment_geometry(out, box + 5, &photo, &draw, NULL), MQ_OK);
    for (int64_t b = 0; b < box[5] * box[6] * 3; b++) {
      if (out[b] != ((const uint8_t *)golden.data)[b]) {
        fail_msg("%s: byte %lld is %d", name, (long long)b, out[b]);
      }
    }
    assert_int_equal(out[box[5] * box[6] * 3], 0xaa);
    mq_tensor_deinit(&golden);
  }
  mq_tensor_deinit(&boxes);
  mq_image_deinit(&photo);
}

static void test_padded_cut_equals_pillow(void **state) {
  (void)state;
  struct mq_image photo, middle;
  struct mq_tensor golden;
  uint8_t out[20 * 24 * 3];
  const int64_t size[2] = {20, 24};
  decode_photo(&photo);
  read_golden(&golden, "augment_pad.npy");
  assert_int_equal(mq_image_init(&middle, 20, 24, 3, "middle", NULL), MQ_OK);
  for (int64_t y = 0; y < 20; y++) {
    memcpy(middle.pixels + y * 24 * 3, photo.pixels + ((50 + y) * photo.width + 68) * 3, 24 * 3);
  }
  const struct mq_augment_draw draw = {
      .top = 7 - 4, .left = 1 - 4, .height = 20, .width = 24, .is_flipped = true};
  assert_int_equal(mq_augment_geometry(out, size, &middle, &draw, NULL), MQ_OK);
  assert_memory_equal(out, golden.data, sizeof out);
  mq_tensor_deinit(&golden);
  mq_image_deinit(&middle);
  mq_image_deinit(&photo);
}

/* Every place, also far outside, against the definition; 8-bit and float, 1, 3 and 5 channels. */
static void test_cuts_everywhere(void **state) {
  (void)state;
  enum {
    H = 5,
    W = 7,
    REACH = 9
  };
  const int64_t size[2] = {H, W};
  for (int channels = 1; channels <= 5; channels += 2) {
    struct mq_image image;
    float floats[H * W * 5], float_out[H * W * 5];
    uint8_t out[H * W * 5];
    assert_int_equal(mq_image_init(&image, H, W, channels, "image", NULL), MQ_OK);
    for (int i = 0; i < H * W * channels; i++) {
      image.pixels[i] = (uint8_t)(i + 1);
      floats[i] = (float)image.pixels[i];
    }
    for (int place = 0; place < 2 * (2 * REACH + 1) * (2 * REACH + 1); place++) {
      const int top = place / 2 % (2 * REACH + 1) - REACH, left = place / 2 / (2 * REACH + 1) - REACH;
      const struct mq_augment_draw draw = {
          .top = top, .left = left, .height = H, .width = W, .is_flipped = place % 2 == 1};
      assert_int_equal(mq_augment_geometry(out, size, &image, &draw, NULL), MQ_OK);
      mq_augment_floats(float_out, size, floats, size, channels, &draw);
      for (int i = 0; i < H * W * channels; i++) {
        const int c = i % channels, x = i / channels % W, y = top + i / channels / W;
        const int column = left + (draw.is_flipped ? W - 1 - x : x);
        const bool is_inside = y >= 0 && y < H && column >= 0 && column < W;
        const int expected = is_inside ? image.pixels[(y * W + column) * channels + c] : 0;
        assert_int_equal(out[i], expected);
        assert_true(float_out[i] == (float)expected);
      }
    }
    mq_image_deinit(&image);
  }
}

static struct mq_augment_draw colour_draw(const float *given) {
  struct mq_augment_draw draw = {.n_ops = 0};
  for (int i = 0; i < MQ_COLOUR_COUNT; i++) {
    draw.factor[i] = (double)given[i];
    if (given[4 + i] >= 0) {
      draw.order[draw.n_ops++] = (mq_colour_op)given[4 + i];
    }
  }
  return draw;
}

static void assert_close(const float *values, const float *expected, int64_t n, int64_t which) {
  for (int64_t i = 0; i < n; i++) {
    if (!(fabs((double)values[i] - (double)expected[i]) <= COLOUR_TOLERANCE)) {
      fail_msg("case %lld, value %lld is %.8g, expected %.8g", (long long)which, (long long)i,
               (double)values[i], (double)expected[i]);
    }
  }
}

static void test_colours_equal_formulas(void **state) {
  (void)state;
  enum {
    N = 20 * 17
  };
  struct mq_tensor in, cases, golden, golden_grey;
  struct mq_normalise plain;
  uint8_t first[N];
  float out[N * 3];
  mq_normalise_init(&plain, &(struct mq_preprocess){.std = {1, 1, 1}}, 3);
  read_golden(&in, "augment_colours_in.npy");
  read_golden(&cases, "augment_colours_cases.npy");
  read_golden(&golden, "augment_colours.npy");
  read_golden(&golden_grey, "augment_colours_grey.npy");
  assert_int_equal(mq_shape_count(&in.shape), N * 3);
  for (int64_t i = 0; i < N; i++) {
    first[i] = ((const uint8_t *)in.data)[3 * i];
  }
  for (int64_t i = 0; i < cases.shape.dim[0]; i++) {
    const struct mq_augment_draw draw = colour_draw((const float *)cases.data + i * 8);
    mq_augment_colours(out, in.data, N, 3, &draw, &plain);
    assert_close(out, (const float *)golden.data + i * N * 3, N * 3, i);
    mq_augment_colours(out, first, N, 1, &draw, &plain);
    assert_close(out, (const float *)golden_grey.data + i * N, N, i);
  }
  mq_tensor_deinit(&in);
  mq_tensor_deinit(&cases);
  mq_tensor_deinit(&golden);
  mq_tensor_deinit(&golden_grey);
}

/* Mean, std and the order of channels are those of images without colour operations. */
static void test_colours_normalise(void **state) {
  (void)state;
  enum {
    N = 300
  };
  uint8_t pixels[N * 3];
  float with[N * 3], without[N * 3];
  for (int i = 0; i < N * 3; i++) {
    pixels[i] = (uint8_t)(i * 37);
  }
  for (int is_bgr = 0; is_bgr < 2; is_bgr++) {
    struct mq_normalise normalise;
    const struct mq_preprocess p = {
        .mean = {0.485f, 0.456f, 0.406f}, .std = {0.229f, 0.224f, 0.225f}, .is_bgr = is_bgr == 1};
    for (int channels = 1; channels <= 3; channels += 2) {
      const struct mq_augment_draw same = {.n_ops = 1, .order = {MQ_COLOUR_BRIGHTNESS}, .factor = {1}};
      mq_normalise_init(&normalise, &p, channels);
      mq_augment_colours(with, pixels, N, channels, &same, &normalise);
      mq_normalise_apply(without, pixels, N, channels, &normalise);
      assert_memory_equal(with, without, (size_t)(N * channels) * sizeof *with);
    }
  }
}

static void run_all(float *out, struct mq_colour_block *block, const struct mq_simd_colour *simd,
                    const uint8_t *pixels, double *sum) {
  const int channel_of[3] = {2, 1, 0};
  const float mean[3] = {0.1f, 0.2f, 0.3f}, std[3] = {0.3f, 0.7f, 0.9f};
  simd->load(block, pixels);
  simd->turn_hue(block, 0.3f);
  simd->blend_grey(block, 1.3f, -0.3f);
  simd->turn_hue(block, -0.45f);
  simd->blend(block, 0.9f, 0.07f);
  *sum = simd->sum_grey(block);
  simd->store(out, block, channel_of, mean, std);
}

static void test_colour_levels(void **state) {
  (void)state;
  uint8_t pixels[MQ_COLOUR_BLOCK * 3];
  struct mq_rng rng;
  mq_rng_init(&rng, 1, MQ_RNG_TEST, 0, 0);
  for (size_t i = 0; i < sizeof pixels; i++) {
    pixels[i] = (uint8_t)mq_rng_u32(&rng);
  }
  for (int64_t n = 1; n <= MQ_COLOUR_BLOCK; n += 51) {
    for (int64_t channels = 1; channels <= 3; channels += 2) {
      struct mq_colour_block base = {.n = n, .n_channels = channels}, block = base;
      float expected[MQ_COLOUR_BLOCK * 3 + 1] = {0}, out[MQ_COLOUR_BLOCK * 3 + 1] = {0};
      double expected_sum, sum;
      run_all(expected, &base, mq_simd_colour_at(MQ_SIMD_BASE), pixels, &expected_sum);
      assert_true(expected[n * channels] == 0); /* nothing beyond */
      for (mq_simd_level level = MQ_SIMD_BASE; level <= mq_simd_level_best(); level++) {
        memset(&block.plane, 0, sizeof block.plane);
        run_all(out, &block, mq_simd_colour_at(level), pixels, &sum);
        assert_memory_equal(out, expected, sizeof out);
        assert_true(sum == expected_sum);
      }
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_boxes_equal_pillow), cmocka_unit_test(test_padded_cut_equals_pillow),
      cmocka_unit_test(test_cuts_everywhere),    cmocka_unit_test(test_colours_equal_formulas),
      cmocka_unit_test(test_colours_normalise),  cmocka_unit_test(test_colour_levels),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
