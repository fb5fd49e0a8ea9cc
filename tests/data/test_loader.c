/* Slices: the same whatever the threads, out of order, in the middle of work, with failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/help_data.h"

#define COUNT (32 * 32 * 3)

static struct mq_loader *make_loader(struct mq_dataset *dataset, unsigned n_threads, int64_t ahead) {
  const struct mq_loader_options options = {.slice_images = 8, .n_threads = n_threads, .ahead = ahead};
  struct mq_loader *loader = NULL;
  assert_int_equal(mq_loader_create(&loader, dataset, &options, NULL), MQ_OK);
  return loader;
}

static void test_slices(void **state) {
  (void)state;
  struct mq_dataset *dataset = open_data("fractal:images=61");
  float *expected = mq_alloc(61 * COUNT, sizeof *expected), zeros[COUNT] = {0};
  for (int64_t i = 0; i < 61; i++) {
    assert_int_equal(mq_dataset_read(expected + i * COUNT, dataset, i, NULL), MQ_OK);
  }
  for (unsigned n_threads = 0; n_threads < 4; n_threads++) {
    for (int64_t ahead = 0; ahead < 3; ahead++) {
      struct mq_loader *loader = make_loader(dataset, n_threads, ahead);
      assert_int_equal(mq_loader_slices(loader), 8);
      for (int64_t s = 0; s < 8; s++) {
        struct mq_slice slice;
        assert_int_equal(mq_loader_take(&slice, loader, s, NULL), MQ_OK);
        assert_int_equal(slice.n_valid, s < 7 ? 8 : 5);
        assert_memory_equal(slice.pixels, expected + s * 8 * COUNT, (size_t)slice.n_valid * sizeof zeros);
        for (int64_t i = 0; i < 8; i++) {
          assert_int_equal(slice.indices[i], i < slice.n_valid ? s * 8 + i : -1);
          assert_int_equal(slice.labels[i], i < slice.n_valid ? (s * 8 + i) % 10 : -1);
        }
        for (int64_t i = slice.n_valid; i < 8; i++) {
          assert_memory_equal(slice.pixels + i * COUNT, zeros, sizeof zeros);
        }
        mq_loader_give_back(loader, s);
      }
      mq_loader_destroy(loader);
    }
  }
  mq_free(expected);
  mq_dataset_close(dataset);
}

static void test_chosen_indices(void **state) {
  (void)state;
  struct mq_dataset *dataset = open_data("fractal:images=40");
  const int64_t indices[] = {39, 3, 3, 17};
  const struct mq_loader_options options = {
      .indices = indices, .n_indices = 4, .slice_images = 3, .n_threads = 2};
  struct mq_loader *loader = NULL;
  assert_int_equal(mq_loader_create(&loader, dataset, &options, NULL), MQ_OK);
  struct mq_slice first, second;
  assert_int_equal(mq_loader_take(&first, loader, 0, NULL), MQ_OK);
  assert_int_equal(mq_loader_take(&second, loader, 1, NULL), MQ_OK); /* two held at once */
  assert_memory_equal(first.indices, indices, sizeof indices - sizeof indices[0]);
  assert_memory_equal(first.pixels + COUNT, first.pixels + 2 * COUNT, COUNT * sizeof(float));
  assert_int_equal(second.indices[0], 17);
  assert_int_equal(second.n_valid, 1);
  mq_loader_give_back(loader, 1);
  mq_loader_give_back(loader, 0);
  mq_loader_destroy(loader);
  mq_dataset_close(dataset);
}

struct consumer {
  struct mq_loader *loader;
  double sums[40];
};

static mq_status consume(void *context, size_t task, unsigned worker, struct mq_err *err) {
  (void)worker;
  struct consumer *consumer = context;
  struct mq_slice slice;
  mq_status status = mq_loader_take(&slice, consumer->loader, (int64_t)task, err);
  if (status != MQ_OK) {
    return status;
  }
  for (int64_t i = 0; i < 8 * 16 * 16 * 3; i++) {
    consumer->sums[task] += (double)slice.pixels[i];
  }
  mq_loader_give_back(consumer->loader, (int64_t)task);
  return MQ_OK;
}

/* More consumers than slices ahead: they wait for one another, not forever. */
static void test_many_consumers(void **state) {
  (void)state;
  struct mq_dataset *dataset = open_data("fractal:images=320,size=16");
  struct consumer consumers[2] = {0};
  struct mq_pool *pool = NULL;
  assert_int_equal(mq_pool_create(&pool, 5, NULL, NULL), MQ_OK);
  for (unsigned i = 0; i < 2; i++) {
    const struct mq_loader_options options = {.slice_images = 8, .n_threads = 2 * i, .ahead = 1};
    assert_int_equal(mq_loader_create(&consumers[i].loader, dataset, &options, NULL), MQ_OK);
    assert_int_equal(mq_loader_slices(consumers[i].loader), 40);
    assert_int_equal(mq_pool_run(pool, 40, consume, &consumers[i], NULL), MQ_OK);
    mq_loader_destroy(consumers[i].loader);
  }
  assert_memory_equal(consumers[0].sums, consumers[1].sums, sizeof consumers[0].sums);
  mq_pool_destroy(pool);
  mq_dataset_close(dataset);
}

static void test_stops_in_the_middle(void **state) {
  (void)state;
  struct mq_dataset *dataset = open_data("fractal:images=400");
  for (unsigned n_threads = 0; n_threads < 4; n_threads++) {
    struct mq_loader *loader = make_loader(dataset, n_threads, 0);
    struct mq_slice slice;
    assert_int_equal(mq_loader_take(&slice, loader, 0, NULL), MQ_OK);
    mq_loader_destroy(loader); /* one slice taken, others ready or on their way */
  }
  mq_loader_destroy(NULL);
  mq_dataset_close(dataset);
  assert_int_equal(mq_memory_used(), 0);
}

static void test_failing_image_is_named(void **state) {
  (void)state;
  char *folder = make_folder(), name[64], argument[512];
  size_t n;
  uint8_t *jpeg = read_golden_bytes(&n, "exif1.jpg");
  for (int i = 0; i < 100; i++) {
    snprintf(name, sizeof name, "a/%03d.jpg", i);
    write_file(folder, name, i == 60 ? (const void *)"\xff\xd8\xff" : jpeg, i == 60 ? 3 : n);
  }
  mq_free(jpeg);
  snprintf(argument, sizeof argument, "folder:%s,crop=16", folder);
  struct mq_dataset *dataset = open_data(argument);
  for (unsigned n_threads = 0; n_threads < 3; n_threads++) {
    struct mq_loader *loader = make_loader(dataset, n_threads, 0);
    struct mq_err err = {0};
    struct mq_slice slice;
    for (int64_t s = 0; s < 13; s++) {
      const mq_status status = mq_loader_take(&slice, loader, s, &err);
      if (s < 7) {
        assert_int_equal(status, MQ_OK);
        mq_loader_give_back(loader, s);
        continue;
      }
      assert_int_equal(status, MQ_BAD_INPUT);
      assert_non_null(strstr(err.message, "a/060.jpg"));
      assert_null(slice.pixels);
      if (n_threads == 0) {
        break;
      }
    }
    mq_loader_destroy(loader);
  }
  mq_dataset_close(dataset);
  remove_folder(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_slices),
      cmocka_unit_test(test_chosen_indices),
      cmocka_unit_test(test_many_consumers),
      cmocka_unit_test(test_stops_in_the_middle),
      cmocka_unit_test(test_failing_image_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
