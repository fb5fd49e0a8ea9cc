/* Augmented images of every kind of data set, kept in memory or not, in any number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "data/augment.h"
#include "data/dataset.h"
#include "data/help_data.h"

static char argument[1024];

static const char *arg(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(argument, sizeof argument, format, arguments);
  va_end(arguments);
  return argument;
}

static void read_view(float *pixels, struct mq_dataset *dataset, int64_t index,
                      const struct mq_augment *augment, uint64_t epoch) {
  struct mq_err err = {0};
  if (mq_dataset_read_augmented(pixels, dataset, index, augment, 3, epoch, &err) != MQ_OK) {
    fail_msg("%s", err.message);
  }
}

/* ---- Every kind -----------------------------------------------------------------------------------------
 */

/* What evaluation sees, moved and mirrored as drawn; black, which mean and std turn into `black`, outside. */
static void check_views(struct mq_dataset *dataset, const float *black) {
  const int64_t *dim = mq_dataset_get_info(dataset)->image.dim, c = dim[0], h = dim[1], w = dim[2];
  const struct mq_augment augment = {.flips = true, .pad = 3};
  float *whole = mq_alloc((size_t)(h * w * c), sizeof *whole), *view = mq_alloc((size_t)(h * w * c), 4);
  int64_t n_moved = 0;
  for (int64_t i = 0; i < mq_dataset_get_info(dataset)->n_images; i++) {
    assert_int_equal(mq_dataset_read(whole, dataset, i, NULL), MQ_OK);
    for (uint64_t epoch = 0; epoch < 4; epoch++) {
      struct mq_augment_draw draw;
      mq_augment_draw(&draw, &augment, &dim[1], &dim[1], 3, epoch, i);
      n_moved += draw.top != 0 || draw.left != 0;
      read_view(view, dataset, i, &augment, epoch);
      for (int64_t k = 0; k < h * w * c; k++) {
        const int64_t x = k / c % w, y = draw.top + k / c / w;
        const int64_t column = draw.left + (draw.is_flipped ? w - 1 - x : x);
        const bool is_inside = y >= 0 && y < h && column >= 0 && column < w;
        const float expected = is_inside ? whole[(y * w + column) * c + k % c] : black[k % c];
        assert_true(view[k] == expected);
      }
    }
  }
  assert_true(n_moved > 0);
  mq_free(whole);
  mq_free(view);
}

static void check_argument(const char *text, const float *black) {
  struct mq_dataset *dataset = open_data(text);
  check_views(dataset, black);
  mq_dataset_close(dataset);
}

static void write_bytes(const char *folder, const char *name, const uint8_t *head, size_t n_head, size_t n) {
  uint8_t *bytes = mq_alloc(n_head + n, 1);
  memcpy(bytes, head, n_head);
  for (size_t i = 0; i < n; i++) {
    bytes[n_head + i] = (uint8_t)(i * 31 + i / 97);
  }
  write_file(folder, name, bytes, n_head + n);
  mq_free(bytes);
}

static void write_npy(const char *folder, const char *name, mq_dtype dtype, const struct mq_shape *shape) {
  struct mq_tensor tensor = {0};
  char *path = mq_path_join(folder, name);
  assert_int_equal(mq_tensor_init(&tensor, dtype, shape, NULL), MQ_OK);
  for (int64_t i = 0; i < mq_shape_count(shape); i++) {
    if (dtype == MQ_F32) {
      ((float *)tensor.data)[i] = (float)i * 0.25f + 1;
    } else {
      ((uint8_t *)tensor.data)[i] = (uint8_t)(i * 7);
    }
  }
  assert_int_equal(mq_npy_write(path, &tensor, NULL), MQ_OK);
  mq_tensor_deinit(&tensor);
  mq_free(path);
}

static void test_kinds(void **state) {
  (void)state;
  char *folder = make_folder();
  const float zero[8] = {0}, centred[3] = {-2, -2, -2}; /* (0 - 0.5) / 0.25 */
  const uint8_t idx[16] = {0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 11}, label[1] = {4};
  write_bytes(folder, "cifar/data_batch_1.bin", label, 1, 3072);
  write_bytes(folder, "images-idx3-ubyte", idx, 16, 5 * 9 * 11);
  write_npy(folder, "bytes.npy", MQ_U8, &(struct mq_shape){.rank = 4, .dim = {4, 3, 8, 9}});
  write_npy(folder, "floats.npy", MQ_F32, &(struct mq_shape){.rank = 4, .dim = {3, 3, 9, 8}});
  write_npy(folder, "features.npy", MQ_F32, &(struct mq_shape){.rank = 2, .dim = {3, 5}});
  check_argument(arg("cifar10:%s/cifar", folder), zero);
  check_argument(arg("cifar10:%s/cifar,size=20,mean=0.5,std=0.25,channels=bgr", folder), centred);
  check_argument(arg("idx:%s/images-idx3-ubyte,mean=0.5,std=0.25", folder), centred);
  check_argument(arg("npy:%s/bytes.npy,mean=0.5,std=0.25", folder), centred);
  check_argument(arg("npy:%s/floats.npy", folder), zero);
  check_argument(arg("npy:%s/features.npy", folder), zero);
  check_argument("fractal:images=6,size=16", centred);
  char *golden = golden_path("");
  write_file(folder, "list.txt", "rgb.png\nexif6.jpg\ngrey2.png\n", 28);
  check_argument(arg("folder:%s,list=%s/list.txt,resize=20,crop=18", golden, folder), zero);
  check_argument(arg("folder:%s,list=%s/list.txt,size=12,cache=%s/cache", golden, folder, folder), zero);
  struct mq_dataset *fractal = open_data("fractal:images=5,size=16");
  char *tar = mq_path_join(folder, "x.tar");
  assert_int_equal(mq_dataset_write_tar(tar, fractal, NULL), MQ_OK);
  mq_dataset_close(fractal);
  check_argument(arg("tar:%s,memory=0", tar), zero);
  check_argument(arg("tar:%s", tar), zero);
  mq_free(tar);
  mq_free(golden);
  remove_folder(folder);
}

/* A resized crop is taken from the file's image, not from what evaluation sees. */
static void test_resized_crop_sees_all(void **state) {
  (void)state;
  char *golden = golden_path(""), *folder = make_folder();
  const struct mq_augment augment = {.flips = true, .resized_crop = true, .brightness = 0.3, .hue = 0.1};
  float view[24 * 24 * 3], expected[24 * 24 * 3];
  uint8_t bytes[24 * 24 * 3];
  const int64_t size[2] = {24, 24};
  struct mq_image photo;
  size_t n;
  uint8_t *jpeg = read_golden_bytes(&n, "photo.jpg");
  assert_int_equal(mq_image_decode(&photo, jpeg, n, false, "photo.jpg", NULL), MQ_OK);
  mq_free(jpeg);
  write_file(folder, "list.txt", "photo.jpg\n", 10);
  for (int is_cached = 0; is_cached < 2; is_cached++) {
    struct mq_dataset *dataset =
        open_data(arg("folder:%s,list=%s/list.txt,preset=imagenet,resize=30,crop=24%s%s", golden, folder,
                      is_cached ? ",cache=" : "", is_cached ? folder : ""));
    for (uint64_t epoch = 0; epoch < 10; epoch++) {
      struct mq_augment_draw draw;
      mq_augment_draw(&draw, &augment, (int64_t[2]){photo.height, photo.width}, size, 3, epoch, 0);
      assert_int_equal(mq_augment_geometry(bytes, size, &photo, &draw, NULL), MQ_OK);
      mq_augment_colours(expected, bytes, 24 * 24, 3, &draw, &dataset->normalise);
      read_view(view, dataset, 0, &augment, epoch);
      assert_memory_equal(view, expected, sizeof view);
    }
    mq_dataset_close(dataset);
  }
  mq_image_deinit(&photo);
  remove_folder(folder);
  mq_free(golden);
}

static void test_defaults(void **state) {
  (void)state;
  struct mq_dataset *small = open_data("fractal:images=2,size=64"),
                    *large = open_data("fractal:images=2,size=65");
  const struct mq_augment of_small = mq_augment_default(small), of_large = mq_augment_default(large);
  assert_true(of_small.flips && of_small.pad == 4 && !of_small.resized_crop && of_small.hue == 0);
  assert_true(of_large.flips && of_large.pad == 0 && of_large.resized_crop);
  assert_true(of_large.brightness == 0.2 && of_large.contrast == 0.2 && of_large.saturation == 0.2);
  assert_true(of_large.hue == 0.1);
  mq_dataset_close(small);
  mq_dataset_close(large);
  char *folder = make_folder();
  write_npy(folder, "f.npy", MQ_F32, &(struct mq_shape){.rank = 2, .dim = {3, 5}});
  struct mq_dataset *features = open_data(arg("npy:%s/f.npy", folder));
  const struct mq_augment none = mq_augment_default(features), wrong = {.hue = 0.1};
  float pixels[5];
  struct mq_err err = {0};
  assert_true(!none.flips && none.pad == 0 && !none.resized_crop);
  assert_int_equal(mq_dataset_read_augmented(pixels, features, 0, &wrong, 0, 0, &err), MQ_BAD_USAGE);
  struct mq_loader *loader = NULL;
  const struct mq_loader_options options = {.slice_images = 2, .augment = &wrong};
  assert_int_equal(mq_loader_create(&loader, features, &options, &err), MQ_BAD_USAGE);
  assert_null(loader);
  mq_dataset_close(features);
  remove_folder(folder);
}

/* ---- Images kept in memory ------------------------------------------------------------------------------
 */

#define N_FILES 40
#define SIDE 16
#define COUNT (SIDE * SIDE * 3)

static void write_files(const char *folder) {
  size_t n;
  uint8_t *jpeg = read_golden_bytes(&n, "photo.jpg"); /* 120 x 161: 57,960 bytes decoded */
  for (int i = 0; i < N_FILES; i++) {
    char name[64];
    snprintf(name, sizeof name, "photos/a/%02d.jpg", i);
    write_file(folder, name, jpeg, i == 7 ? n / 2 : n);
  }
  mq_free(jpeg);
}

/* How many images can still be read when their files are gone. */
static int count_kept(struct mq_dataset *dataset, const char *folder, const struct mq_augment *augment) {
  float pixels[COUNT];
  int n_kept = 0;
  for (int i = 0; i < N_FILES; i++) {
    char path[1024];
    snprintf(path, sizeof path, "%s/photos/a/%02d.jpg", folder, i);
    unlink(path);
  }
  for (int64_t i = 0; i < N_FILES; i++) {
    n_kept += (augment ? mq_dataset_read_augmented(pixels, dataset, i, augment, 3, 1, NULL)
                       : mq_dataset_read(pixels, dataset, i, NULL)) == MQ_OK;
  }
  return n_kept;
}

static int count_after(const char *folder, const char *keys, const struct mq_augment *augment, int n_epochs) {
  float *pixels = mq_alloc(COUNT, sizeof *pixels);
  write_files(folder);
  const size_t before = mq_memory_used();
  struct mq_dataset *dataset = open_data(arg("folder:%s/photos,resize=20,crop=%d%s", folder, SIDE, keys));
  const size_t opened = mq_memory_used();
  for (int epoch = 0; epoch < n_epochs; epoch++) {
    for (int64_t i = 0; i < N_FILES; i++) {
      if (augment) {
        read_view(pixels, dataset, i, augment, (uint64_t)epoch);
      } else {
        assert_int_equal(mq_dataset_read(pixels, dataset, i, NULL), MQ_OK);
      }
    }
  }
  assert_true(mq_memory_used() <= opened + (1 << 20) + 4096);
  assert_int_equal(mq_dataset_damaged(dataset), n_epochs ? 1 : 0);
  const int n_kept = count_kept(dataset, folder, augment);
  mq_dataset_close(dataset);
  assert_int_equal(mq_memory_used(), before);
  mq_free(pixels);
  return n_kept;
}

static void test_kept_images(void **state) {
  (void)state;
  char *folder = make_folder();
  const struct mq_augment cut = {.pad = 4}, resized = {.resized_crop = true};
  assert_int_equal(count_after(folder, ",memory=1", &cut, 1), N_FILES); /* after resize and crop */
  assert_int_equal(count_after(folder, ",memory=0", &cut, 1), 0);
  assert_int_equal(count_after(folder, ",memory=1", &resized, 1),
                   (1 << 20) / (120 * 161 * 3));                  /* what fits */
  assert_int_equal(count_after(folder, ",memory=1", NULL, 1), 0); /* read once: as in evaluation */
  assert_int_equal(count_after(folder, ",memory=1", NULL, 2), N_FILES);
  assert_int_equal(count_after(folder, "", &cut, 1), N_FILES); /* also without the key */
  remove_folder(folder);
}

/* ---- Loader ---------------------------------------------------------------------------------------------
 */

static void load_epoch(float *all, struct mq_dataset *dataset, const struct mq_augment *augment,
                       unsigned n_threads, uint64_t epoch) {
  const int64_t n = mq_dataset_get_info(dataset)->n_images;
  int64_t *order = NULL;
  assert_int_equal(mq_dataset_shuffle(&order, dataset, 3, epoch, NULL), MQ_OK);
  const struct mq_loader_options options = {.indices = order,
                                            .n_indices = n,
                                            .slice_images = 8,
                                            .n_threads = n_threads,
                                            .augment = augment,
                                            .seed = 3,
                                            .epoch = epoch};
  struct mq_loader *loader = NULL;
  assert_int_equal(mq_loader_create(&loader, dataset, &options, NULL), MQ_OK);
  for (int64_t s = 0; s < mq_loader_slices(loader); s++) {
    struct mq_slice slice;
    assert_int_equal(mq_loader_take(&slice, loader, s, NULL), MQ_OK);
    assert_memory_equal(slice.indices, order + s * 8, (size_t)slice.n_valid * sizeof *order);
    memcpy(all + s * 8 * COUNT, slice.pixels, (size_t)slice.n_valid * COUNT * sizeof *all);
    mq_loader_give_back(loader, s);
  }
  mq_loader_destroy(loader);
  mq_free(order);
}

/* Three epochs in 0, 1 and 4 threads, with and without memory, are those of single reads. */
static void test_same_bits_in_any_threads(void **state) {
  (void)state;
  enum {
    N = 61
  };
  const struct mq_augment augments[] = {{.flips = true, .pad = 4},
                                        {.flips = true,
                                         .resized_crop = true,
                                         .brightness = 0.2,
                                         .contrast = 0.2,
                                         .saturation = 0.2,
                                         .hue = 0.1}};
  float *expected = mq_alloc(3 * N * COUNT, sizeof *expected), *all = mq_alloc(N * COUNT, sizeof *all);
  const size_t bytes = N * COUNT * sizeof *all;
  for (int a = 0; a < 2; a++) {
    struct mq_dataset *dataset = open_data("fractal:images=61,size=16,memory=0");
    for (int epoch = 0; epoch < 3; epoch++) {
      int64_t *order = NULL;
      assert_int_equal(mq_dataset_shuffle(&order, dataset, 3, (uint64_t)epoch, NULL), MQ_OK);
      for (int64_t i = 0; i < N; i++) {
        read_view(expected + (epoch * N + i) * COUNT, dataset, order[i], &augments[a], (uint64_t)epoch);
      }
      mq_free(order);
    }
    assert_memory_not_equal(expected, expected + N * COUNT, bytes);
    mq_dataset_close(dataset);
    for (int t = 0; t < 6; t++) {
      dataset = open_data(t % 2 ? "fractal:images=61,size=16" : "fractal:images=61,size=16,memory=0");
      for (int epoch = 0; epoch < 3; epoch++) {
        load_epoch(all, dataset, &augments[a], (unsigned[3]){0, 1, 4}[t / 2], (uint64_t)epoch);
        assert_memory_equal(all, expected + epoch * N * COUNT, bytes);
      }
      mq_dataset_close(dataset);
    }
  }
  mq_free(expected);
  mq_free(all);
}

/* The next epoch's loader works while the last one's slices are still held. */
static void test_loaders_overlap(void **state) {
  (void)state;
  struct mq_dataset *dataset = open_data("fractal:images=24,size=16");
  struct mq_augment augment = {.pad = 4};
  struct mq_loader *loaders[2];
  struct mq_slice slices[2];
  float view[COUNT];
  for (uint64_t epoch = 0; epoch < 2; epoch++) {
    const struct mq_loader_options options = {
        .slice_images = 8, .n_threads = 2, .augment = &augment, .seed = 3, .epoch = epoch};
    assert_int_equal(mq_loader_create(&loaders[epoch], dataset, &options, NULL), MQ_OK);
    assert_int_equal(mq_loader_take(&slices[epoch], loaders[epoch], 0, NULL), MQ_OK);
  }
  const struct mq_augment same = augment;
  augment.pad = 0; /* the loaders have their own copy */
  mq_loader_destroy(loaders[0]);
  for (int64_t s = 0; s < 3; s++) {
    if (s > 0) {
      assert_int_equal(mq_loader_take(&slices[1], loaders[1], s, NULL), MQ_OK);
    }
    for (int64_t i = 0; i < 8; i++) {
      read_view(view, dataset, s * 8 + i, &same, 1);
      assert_memory_equal(view, slices[1].pixels + i * COUNT, sizeof view);
    }
    mq_loader_give_back(loaders[1], s);
  }
  mq_loader_destroy(loaders[1]);
  mq_dataset_close(dataset);
  assert_int_equal(mq_memory_used(), 0);
}

int main(void) {
  mq_log_set_level(MQ_LOG_QUIET);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_kinds),
      cmocka_unit_test(test_resized_crop_sees_all),
      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_kept_images),
      cmocka_unit_test(test_same_bits_in_any_threads),
      cmocka_unit_test(test_loaders_overlap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
