/* The fixed tree over the frames that a wider one is made of: ((0 + 1) + (2 + 3)) + ...
 *
 * Ranks own blocks of the slices. Each joins the subtrees that lie wholly in its block; where these end (the
 * roots: one per rank if the blocks are aligned powers of two, a few otherwise) goes to everybody, and
 * everybody joins the rest. So the sum is that of one process, for any number of ranks. */
#ifndef MQ_ENGINE_TRAIN_TREE_H
#define MQ_ENGINE_TRAIN_TREE_H

#include "mqbench/base.h"

struct engine_range {
  size_t first, count;
};

struct engine_join {
  size_t into, from;
};

struct engine_tree {
  struct engine_join *own;  /* what this rank joins, as frames, in order */
  struct engine_join *rest; /* what everybody joins, as indices of roots, in order */
  size_t n_own, n_rest;
  size_t *roots; /* frames, ascending, rank after rank; the sum ends up in the first */
  size_t n_roots;
  struct engine_range *of_rank; /* its roots, as indices */
};

/* The slices of a rank when n are cut into blocks. */
struct engine_range engine_block_of(size_t n, int rank, int n_ranks);
/* Over `leaves`, frames out of n that are cut into the ranks' blocks. */
mq_status engine_tree_init(struct engine_tree *tree, struct engine_range leaves, size_t n, int rank,
                           int n_ranks, struct mq_arena *arena, struct mq_err *err) MQ_MUST_CHECK;

#endif
