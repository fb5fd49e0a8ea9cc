/* The fixed tree, cut among ranks: every way of cutting gives the expression that one process computes. */
#include "engine/train/tree.h"

#include "common.h"

#define LEAVES 37
#define RANKS 9
#define TEXT 400

/* ((a b)(c d))...: what the tree is by definition, as a text of parentheses. */
static void describe(char text[TEXT], size_t first, size_t count) {
  char left[TEXT], right[TEXT];
  size_t half = 1;
  if (count == 1) {
    snprintf(text, TEXT, "%zu", first);
    return;
  }
  while (2 * half < count)
    half *= 2;
  describe(left, first, half);
  describe(right, first + half, count - half);
  assert_true((size_t)snprintf(text, TEXT, "(%s %s)", left, right) < TEXT);
}

static void join(char into[TEXT], const char from[TEXT]) {
  char joined[2 * TEXT + 8];
  assert_true((size_t)snprintf(joined, sizeof joined, "(%s %s)", into, from) < TEXT);
  memcpy(into, joined, strlen(joined) + 1);
}

/* Leaves first .. first + count - 1 of n, which n_ranks share: each joins its own, the roots are collected.
 */
static void check_cut(struct engine_range leaves, size_t n, int n_ranks) {
  char expected[TEXT], frames[LEAVES][TEXT], roots[LEAVES][TEXT];
  struct mq_arena arena;
  struct mq_err err;
  struct engine_tree tree = {.n_rest = 0};
  describe(expected, leaves.first, leaves.count);
  mq_arena_init(&arena, 0);
  for (int rank = 0; rank < n_ranks; rank++) {
    struct engine_range block = engine_block_of(n, rank, n_ranks);
    for (size_t i = 0; i < n; i++)
      snprintf(frames[i], TEXT, "%s%zu", i < block.first || i >= block.first + block.count ? "foreign " : "",
               i);
    assert_ok(engine_tree_init(&tree, leaves, n, rank, n_ranks, &arena, &err));
    for (size_t i = 0; i < tree.n_own; i++)
      join(frames[tree.own[i].into], frames[tree.own[i].from]);
    for (size_t i = 0; i < tree.of_rank[rank].count; i++) {
      size_t root = tree.of_rank[rank].first + i;
      memcpy(roots[root], frames[tree.roots[root]], TEXT);
    }
  }
  for (size_t i = 0; i < tree.n_rest; i++)
    join(roots[tree.rest[i].into], roots[tree.rest[i].from]);
  assert_string_equal(roots[0], expected);
  assert_int_equal(tree.roots[0], leaves.first);
  mq_arena_deinit(&arena);
}

static void every_cut_is_the_same_tree(void **state) {
  (void)state;
  for (size_t n = 1; n <= LEAVES; n++)
    for (int n_ranks = 1; n_ranks <= RANKS; n_ranks++)
      check_cut((struct engine_range){0, n}, n, n_ranks);
}

static void groups_are_cut_anywhere(void **state) {
  (void)state;
  for (size_t per = 1; per <= 9; per++)
    for (size_t group = 0; group < 4; group++)
      for (int n_ranks = 1; n_ranks <= RANKS; n_ranks++)
        check_cut((struct engine_range){group * per, per}, 4 * per, n_ranks);
}

/* Blocks that are aligned powers of two send one share each. */
static void aligned_blocks_send_one_share(void **state) {
  (void)state;
  struct mq_arena arena;
  struct mq_err err;
  struct engine_tree tree;
  mq_arena_init(&arena, 0);
  for (int n_ranks = 1; n_ranks <= 16; n_ranks *= 2) {
    assert_ok(engine_tree_init(&tree, (struct engine_range){0, 16}, 16, 0, n_ranks, &arena, &err));
    assert_int_equal(tree.n_roots, n_ranks);
    assert_int_equal(tree.n_own, 16 / n_ranks - 1);
    assert_int_equal(tree.n_rest, n_ranks - 1);
  }
  mq_arena_deinit(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_cut_is_the_same_tree),
                                     cmocka_unit_test(groups_are_cut_anywhere),
                                     cmocka_unit_test(aligned_blocks_send_one_share)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
