#include "common.h"

static void arena_memory_is_zeroed_aligned_and_separate(void **state) {
  (void)state;
  struct mq_arena arena;
  mq_arena_init(&arena, 0);
  unsigned char *blocks[200];
  for (size_t i = 0; i < 200; i++) {
    size_t n = 1 + i * i;
    blocks[i] = mq_arena_alloc(&arena, n, 1);
    assert_non_null(blocks[i]);
    assert_int_equal((uintptr_t)blocks[i] % 64, 0);
    for (size_t j = 0; j < n; j++) {
      assert_int_equal(blocks[i][j], 0);
    }
    memset(blocks[i], (int)i + 1, n);
  }
  for (size_t i = 0; i < 200; i++) {
    for (size_t j = 0; j < 1 + i * i; j++) {
      assert_int_equal(blocks[i][j], (unsigned char)(i + 1));
    }
  }
  mq_arena_deinit(&arena);
}

static void arena_refuses_overflow_and_its_limit(void **state) {
  (void)state;
  struct mq_arena arena;
  mq_arena_init(&arena, 1000);
  assert_null(mq_arena_alloc(&arena, SIZE_MAX / 2, 4));
  assert_null(mq_arena_alloc(&arena, 2000, 1));
  assert_non_null(mq_arena_alloc(&arena, 500, 1));
  assert_null(mq_arena_alloc(&arena, 600, 1));
  mq_arena_deinit(&arena);
}

static void arena_prints(void **state) {
  (void)state;
  struct mq_arena arena;
  mq_arena_init(&arena, 0);
  assert_string_equal(mq_arena_printf(&arena, "%s/%d", "layer", 42), "layer/42");
  assert_string_equal(mq_arena_strdup(&arena, ""), "");
  mq_arena_deinit(&arena);
}

static void heap_is_counted_and_capped(void **state) {
  (void)state;
  size_t before = mq_memory_used();
  void *block = mq_alloc(1000, 10);
  assert_true(mq_memory_used() >= before + 10000);
  mq_memory_set_limit(mq_memory_used() + 100000);
  assert_null(mq_alloc(200000, 1));
  assert_null(mq_alloc(SIZE_MAX, 2));
  unsigned char *more = mq_alloc(50000, 1);
  assert_non_null(more);
  mq_memory_set_limit(0);
  mq_free(more);
  mq_free(block);
  mq_free(NULL);
  assert_int_equal(mq_memory_used(), before);
}

static void realloc_keeps_contents_and_zeroes_the_rest(void **state) {
  (void)state;
  char *block = mq_realloc(NULL, 10, 1);
  memcpy(block, "123456789", 10);
  block = mq_realloc(block, 1000, 1);
  assert_string_equal(block, "123456789");
  for (int i = 10; i < 1000; i++) {
    assert_int_equal(block[i], 0);
  }
  block = mq_realloc(block, 4, 1);
  assert_memory_equal(block, "1234", 4);
  mq_free(block);
}

static void messages_are_one_clean_line(void **state) {
  (void)state;
  struct mq_err err = {0};
  assert_int_equal(mq_fail(&err, MQ_BAD_INPUT, "node %s", "a\nb\033[2Jc"), MQ_BAD_INPUT);
  assert_string_equal(err.message, "node a?b?[2Jc");
  assert_int_equal(err.status, MQ_BAD_INPUT);
  assert_int_equal(mq_fail(NULL, MQ_FAILED, "nobody listens"), MQ_FAILED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arena_memory_is_zeroed_aligned_and_separate),
      cmocka_unit_test(arena_refuses_overflow_and_its_limit),
      cmocka_unit_test(arena_prints),
      cmocka_unit_test(heap_is_counted_and_capped),
      cmocka_unit_test(realloc_keeps_contents_and_zeroes_the_rest),
      cmocka_unit_test(messages_are_one_clean_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
