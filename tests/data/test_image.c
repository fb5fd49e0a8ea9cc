/* Decoding and geometry against Pillow's results (make_golden.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/help_data.h"
#include "data/simd/resample.h"
#include "data/transform.h"

static const char *const images[] = {
    "rgb420.jpg", "rgb444.jpg", "rgb422.jpg", "progressive.jpg", "grey.jpg",    "cmyk.jpg",  "exif1.jpg",
    "exif2.jpg",  "exif3.jpg",  "exif4.jpg",  "exif5.jpg",       "exif6.jpg",   "exif7.jpg", "exif8.jpg",
    "rgb.png",    "rgba.png",   "grey8.png",  "grey_alpha.png",  "palette.png", "rgb16.png", "grey1.png",
    "grey2.png",  "grey4.png",  "grey16.png", "interlaced.png"};

static void assert_equals_golden(const char *name, const uint8_t *pixels, int64_t h, int64_t w, int64_t c) {
  struct mq_tensor golden;
  read_golden(&golden, name);
  assert_int_equal(golden.dtype, MQ_U8);
  assert_int_equal(golden.shape.dim[0], h);
  assert_int_equal(golden.shape.dim[1], w);
  const uint8_t *expected = golden.data;
  for (int64_t i = 0; i < h * w * c; i++) {
    if (pixels[i] != expected[i]) {
      fail_msg("%s: byte %lld (row %lld) is %d, expected %d", name, (long long)i, (long long)(i / w / c),
               pixels[i], expected[i]);
    }
  }
  mq_tensor_deinit(&golden);
}

static void decode_golden(struct mq_image *image, const char *name, bool ignores_exif) {
  struct mq_err err = {0};
  size_t n;
  uint8_t *bytes = read_golden_bytes(&n, name);
  if (mq_image_decode(image, bytes, n, ignores_exif, name, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
  mq_free(bytes);
}

static void test_decoding_equals_pillow(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) {
    char name[64];
    struct mq_image image;
    decode_golden(&image, images[i], false);
    assert_false(image.is_damaged);
    snprintf(name, sizeof name, "%.*s.npy", (int)(strchr(images[i], '.') - images[i]), images[i]);
    assert_equals_golden(name, image.pixels, image.height, image.width, image.channels);
    int64_t size[2];
    size_t n;
    uint8_t *bytes = read_golden_bytes(&n, images[i]);
    assert_int_equal(mq_image_peek(size, bytes, n, false, "x", NULL), MQ_OK);
    assert_int_equal(size[0], image.height);
    assert_int_equal(size[1], image.width);
    mq_free(bytes);
    mq_image_deinit(&image);
  }
}

static void test_exif_can_be_ignored(void **state) {
  (void)state;
  struct mq_image plain, ignored;
  decode_golden(&plain, "exif1.jpg", true);
  decode_golden(&ignored, "exif6.jpg", true);
  assert_int_equal(ignored.height, 16);
  assert_memory_equal(plain.pixels, ignored.pixels, 16 * 24 * 3);
  mq_image_deinit(&plain);
  mq_image_deinit(&ignored);
}

/* Cut anywhere, a file either fails with its name in the message or is decoded as far as it goes. */
static void check_truncation(const char *name) {
  struct mq_image whole;
  decode_golden(&whole, name, false);
  size_t n;
  uint8_t *bytes = read_golden_bytes(&n, name);
  int n_decoded = 0;
  for (size_t cut = 0; cut < n; cut += 7) {
    struct mq_err err = {0};
    struct mq_image image;
    mq_status status = mq_image_decode(&image, bytes, cut, false, name, &err);
    if (status == MQ_OK) {
      n_decoded++;
      assert_true(image.is_damaged ||
                  memcmp(image.pixels, whole.pixels, (size_t)(whole.height * whole.width * 3)) == 0);
    } else {
      assert_int_equal(status, MQ_BAD_INPUT);
      assert_non_null(strstr(err.message, name));
      assert_null(image.pixels);
    }
    mq_image_deinit(&image);
  }
  assert_true(n_decoded > 10);
  struct mq_image half;
  assert_int_equal(mq_image_decode(&half, bytes, n * 3 / 4, false, name, NULL), MQ_OK);
  assert_true(half.is_damaged);
  assert_memory_equal(half.pixels, whole.pixels,
                      (size_t)(whole.width * 3 * 8)); /* the first rows are there */
  mq_image_deinit(&half);
  mq_image_deinit(&whole);
  mq_free(bytes);
}

static void test_truncated_images(void **state) {
  (void)state;
  check_truncation("rgb420.jpg");
  check_truncation("rgb.png");
}

static void test_hostile_images(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_image image;
  size_t n;
  uint8_t *bytes = read_golden_bytes(&n, "rgb.png");
  memcpy(bytes + 16, "\x7f\xff\xff\xff\x7f\xff\xff\xff", 8); /* IHDR: 2^31 - 1 squared */
  assert_int_equal(mq_image_decode(&image, bytes, n, false, "huge.png", &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "huge.png"));
  mq_free(bytes);
  bytes = read_golden_bytes(&n, "rgb420.jpg");
  for (size_t i = 0; i + 9 < n; i++) {
    if (bytes[i] == 0xff && bytes[i + 1] == 0xc0) { /* SOF0: 65500 x 65500 */
      memcpy(bytes + i + 5, "\xff\xdc\xff\xdc", 4);
    }
  }
  assert_int_equal(mq_image_decode(&image, bytes, n, false, "huge.jpg", &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "65500 x 65500"));
  mq_free(bytes);
  assert_int_equal(mq_image_decode(&image, (const uint8_t *)"GIF89a", 6, false, "a.gif", &err), MQ_BAD_INPUT);
  assert_non_null(strstr(err.message, "47 49 46 38"));
  assert_int_equal(mq_image_decode(&image, NULL, 0, false, "none", &err), MQ_BAD_INPUT);
}

struct geometry_case {
  const char *golden;
  struct mq_preprocess preprocess;
};

static const struct geometry_case cases[] = {
    {"resize_short64.npy", {.resize = 64}},
    {"resize_short64_crop56.npy", {.resize = 64, .crop = 56}},
    {"resize_short64_crop57.npy", {.resize = 64, .crop = 57}},
    {"resize_40x52.npy", {.size = {40, 52}}},
    {"resize_up_crop.npy", {.size = {251, 333}, .crop = 60}},
    {"resize_narrow.npy", {.size = {120, 7}}},
    {"resize_none_crop130.npy", {.crop = 130}},
    {"resize_short20_crop31.npy", {.resize = 20, .crop = 31}},
};

static void test_geometry_equals_pillow(void **state) {
  (void)state;
  struct mq_image photo;
  decode_golden(&photo, "photo.jpg", false);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    int64_t size[2];
    mq_transform_size(size, &cases[i].preprocess, photo.height, photo.width);
    uint8_t *out = mq_alloc((size_t)(size[0] * size[1]), 3);
    memset(out, 0xaa, (size_t)(size[0] * size[1] * 3));
    assert_int_equal(mq_transform_geometry(out, &photo, &cases[i].preprocess, NULL), MQ_OK);
    assert_equals_golden(cases[i].golden, out, size[0], size[1], 3);
    mq_free(out);
  }
  mq_image_deinit(&photo);
}

/* One channel gives what each of three equal channels gives. */
static void test_grey_resize(void **state) {
  (void)state;
  struct mq_image colour, grey;
  decode_golden(&colour, "grey.jpg", false);
  assert_int_equal(mq_image_init(&grey, colour.height, colour.width, 1, "grey", NULL), MQ_OK);
  for (int64_t i = 0; i < grey.height * grey.width; i++) {
    grey.pixels[i] = colour.pixels[3 * i];
  }
  const struct mq_preprocess p = {.size = {17, 90}};
  uint8_t of_colour[17 * 90 * 3], of_grey[17 * 90];
  assert_int_equal(mq_transform_geometry(of_colour, &colour, &p, NULL), MQ_OK);
  assert_int_equal(mq_transform_geometry(of_grey, &grey, &p, NULL), MQ_OK);
  for (int i = 0; i < 17 * 90; i++) {
    assert_int_equal(of_grey[i], of_colour[3 * i + 1]);
  }
  mq_image_deinit(&colour);
  mq_image_deinit(&grey);
}

/* Every instruction set, against plain loops. */
static void test_resample_levels(void **state) {
  (void)state;
  enum {
    N = 203,
    TAPS = 5
  };
  uint8_t rows[TAPS * (N + 64)] = {0}, expected[N], out[N + 64];
  int32_t weights[TAPS];
  struct mq_rng rng;
  mq_rng_init(&rng, 1, MQ_RNG_TEST, 0, 0);
  for (size_t i = 0; i < sizeof rows; i++) {
    rows[i] = mq_rng_u32(&rng) & 1 ? 255 : (uint8_t)mq_rng_u32(&rng);
  }
  for (int t = 0; t < TAPS; t++) {
    weights[t] = (int32_t)mq_rng_below(&rng, (1 << MQ_RESAMPLE_BITS) / 2); /* sums beyond 1 clip */
  }
  const struct mq_taps taps = {0, TAPS, weights};
  for (int i = 0; i < N; i++) {
    int64_t sum = 1 << (MQ_RESAMPLE_BITS - 1);
    for (int t = 0; t < TAPS; t++) {
      sum += (int64_t)rows[t * (N + 64) + i] * weights[t];
    }
    sum >>= MQ_RESAMPLE_BITS;
    expected[i] = (uint8_t)(sum > 255 ? 255 : sum);
  }
  for (mq_simd_level level = MQ_SIMD_BASE; level <= mq_simd_level_best(); level++) {
    memset(out, 0, sizeof out);
    mq_simd_resample_at(level)->down(out, rows, N + 64, &taps, N);
    assert_memory_equal(out, expected, N);
    assert_int_equal(out[N], 0);
    for (int channels = 1; channels <= 3; channels += 2) {
      struct mq_taps across[9];
      for (int i = 0; i < 9; i++) {
        across[i] = (struct mq_taps){i * 3, TAPS, weights};
      }
      mq_simd_resample_at(level)->across(out, rows, across, 9, channels);
      for (int i = 0; i < 9 * channels; i++) {
        int64_t sum = 1 << (MQ_RESAMPLE_BITS - 1);
        for (int t = 0; t < TAPS; t++) {
          sum += (int64_t)rows[(i / channels * 3 + t) * channels + i % channels] * weights[t];
        }
        sum >>= MQ_RESAMPLE_BITS;
        assert_int_equal(out[i], sum > 255 ? 255 : sum);
      }
    }
  }
}

static void test_normalise(void **state) {
  (void)state;
  char *path = golden_path("");
  char argument[512];
  struct mq_tensor golden;
  read_golden(&golden, "normalised.npy");
  char *folder = make_folder();
  write_file(folder, "one.txt", "photo.jpg 0\n", 12);
  snprintf(argument, sizeof argument, "folder:%s,list=%s/one.txt,preset=imagenet,resize=64,crop=56", path,
           folder);
  struct mq_dataset *dataset = open_data(argument);
  float *pixels = mq_alloc(56 * 56 * 3, sizeof *pixels);
  assert_int_equal(mq_dataset_read(pixels, dataset, 0, NULL), MQ_OK);
  assert_memory_equal(pixels, golden.data, 56 * 56 * 3 * sizeof *pixels);
  mq_dataset_close(dataset);
  snprintf(argument, sizeof argument,
           "folder:%s,list=%s/one.txt,preset=imagenet,resize=64,crop=56,channels=bgr", path, folder);
  dataset = open_data(argument);
  assert_int_equal(mq_dataset_read(pixels, dataset, 0, NULL), MQ_OK);
  for (int i = 0; i < 56 * 56 * 3; i++) {
    assert_true(pixels[i] == ((float *)golden.data)[i / 3 * 3 + 2 - i % 3]);
  }
  mq_dataset_close(dataset);
  mq_free(pixels);
  mq_tensor_deinit(&golden);
  remove_folder(folder);
  mq_free(path);
}

static void test_png_round_trip(void **state) {
  (void)state;
  struct mq_image image, back;
  decode_golden(&image, "rgb444.jpg", false);
  uint8_t *png = NULL;
  size_t n = 0;
  assert_int_equal(mq_image_encode_png(&png, &n, &image, NULL), MQ_OK);
  assert_int_equal(mq_image_decode(&back, png, n, false, "png", NULL), MQ_OK);
  assert_int_equal(back.width, image.width);
  assert_memory_equal(back.pixels, image.pixels, (size_t)(image.height * image.width * 3));
  mq_free(png);
  mq_image_deinit(&image);
  mq_image_deinit(&back);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_decoding_equals_pillow), cmocka_unit_test(test_exif_can_be_ignored),
      cmocka_unit_test(test_truncated_images),       cmocka_unit_test(test_hostile_images),
      cmocka_unit_test(test_geometry_equals_pillow), cmocka_unit_test(test_grey_resize),
      cmocka_unit_test(test_resample_levels),        cmocka_unit_test(test_normalise),
      cmocka_unit_test(test_png_round_trip),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
