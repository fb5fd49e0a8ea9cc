#include "engine/train/tree.h"

struct engine_range engine_block_of(size_t n, int rank, int n_ranks) {
  size_t first = n * (size_t)rank / (size_t)n_ranks, end = n * ((size_t)rank + 1) / (size_t)n_ranks;
  return (struct engine_range){.first = first, .count = end - first};
}

struct plan {
  struct engine_tree *tree;
  struct engine_range leaves;
  size_t n;
  int n_ranks;
};

/* The node over leaves s to s + width - 1 (fewer at the end): does one rank own all of it? */
static bool has_node(const struct plan *p, int rank, size_t s, size_t width) {
  struct engine_range block = engine_block_of(p->n, rank, p->n_ranks);
  size_t end = s + width < p->leaves.count ? s + width : p->leaves.count;
  return p->leaves.first + s >= block.first && p->leaves.first + end <= block.first + block.count;
}

/* The largest subtrees of a rank's block, from left to right. */
static void find_roots(const struct plan *p, int rank) {
  struct engine_tree *tree = p->tree;
  size_t s = 0;
  tree->of_rank[rank].first = tree->n_roots;
  while (s < p->leaves.count && !has_node(p, rank, s, 1)) {
    s++;
  }
  while (s < p->leaves.count && has_node(p, rank, s, 1)) {
    size_t width = 1;
    while (width < p->leaves.count && s % (2 * width) == 0 && has_node(p, rank, s, 2 * width)) {
      width *= 2;
    }
    tree->roots[tree->n_roots++] = p->leaves.first + s;
    s += width;
  }
  tree->of_rank[rank].count = tree->n_roots - tree->of_rank[rank].first;
}

static size_t index_of_root(const struct engine_tree *tree, size_t frame) {
  size_t i = 0;
  while (tree->roots[i] != frame) {
    i++;
  }
  return i;
}

static int owner_of(const struct plan *p, size_t s, size_t width) {
  for (int rank = 0; rank < p->n_ranks; rank++) {
    if (has_node(p, rank, s, width)) {
      return rank;
    }
  }
  return -1;
}

mq_status engine_tree_init(struct engine_tree *tree, struct engine_range leaves, size_t n, int rank,
                           int n_ranks, struct mq_arena *arena, struct mq_err *err) {
  const struct plan plan = {.tree = tree, .leaves = leaves, .n = n, .n_ranks = n_ranks};
  *tree = (struct engine_tree){.own = mq_arena_alloc(arena, leaves.count + 1, sizeof *tree->own),
                               .rest = mq_arena_alloc(arena, leaves.count + 1, sizeof *tree->rest),
                               .roots = mq_arena_alloc(arena, leaves.count + 1, sizeof *tree->roots),
                               .of_rank = mq_arena_alloc(arena, (size_t)n_ranks, sizeof *tree->of_rank)};
  if (!tree->own || !tree->rest || !tree->roots || !tree->of_rank) {
    return mq_fail_memory(err, "reduction trees");
  }
  for (int r = 0; r < n_ranks; r++) {
    find_roots(&plan, r);
  }
  for (size_t step = 1; step < leaves.count; step *= 2) {
    for (size_t s = 0; s + step < leaves.count; s += 2 * step) {
      size_t into = leaves.first + s, from = into + step;
      int owner = owner_of(&plan, s, 2 * step);
      if (owner == rank) {
        tree->own[tree->n_own++] = (struct engine_join){.into = into, .from = from};
      } else if (owner < 0) {
        tree->rest[tree->n_rest++] =
            (struct engine_join){.into = index_of_root(tree, into), .from = index_of_root(tree, from)};
      }
    }
  }
  return MQ_OK;
}
