/* Inside of mq_verify: a few slices of images at a time go through everything that is compared. */
#ifndef MQ_VERIFY_COMPARE_H
#define MQ_VERIFY_COMPARE_H

#include <stdatomic.h>

#include "mqbench/verify.h"
#include "tune/exact.h"
#include "tune/feed.h"
#include "verify/map.h"

typedef enum compare_run {
  COMPARE_WHOLE, /* the simulation as it is */
  COMPARE_LOCAL, /* each step given the program's own inputs */
  COMPARE_EXACT, /* in the target's own arithmetic; with layers that stay float also step by step */
  COMPARE_RUNS
} compare_run;

/* A slice's images, one behind the other. */
struct compare_slot {
  float *pixels;                /* in the order of the program's input */
  unsigned char *made;          /* the program's tensors: map.made_bytes each */
  int32_t *cells[COMPARE_RUNS]; /* map.n_elements each: codes, or the bits of floats */
};

struct compare_fast {
  int64_t elements, mismatches;
};

struct compare {
  const struct mq_prepared *prepared;
  const struct mq_program *program;
  struct mq_arena arena;
  struct verify_map map;
  struct tune_feed feed;
  struct mq_pool *pool;
  struct compare_slot *slots;
  size_t n_slots;                     /* slices at a time */
  size_t first_slice, n_slices;       /* of the block at hand */
  int64_t pixel_count;                /* of an image */
  const struct mq_exact_rules *exact; /* NULL: not compared */
  struct mq_runtime *runtime;
  unsigned char *arenas; /* of the reference executor and its outputs, one for each worker */
  size_t arena_bytes;
  void **outputs; /* for each worker: where the executors write the program's outputs */
  float *rows;    /* for each worker: the largest tensor's elements */
  size_t row_count;
  struct mq_differences *differences; /* [worker][link][run] */
  struct compare_fast *fast_counts;   /* [worker][tensor] */
  const void **pointers;              /* for each worker: 2 x n_tensors */
  _Atomic int64_t n_agree;
  atomic_bool has_odd_pixels;
  struct mq_verification *result;
};

static inline int64_t compare_valid(const struct compare *c, size_t slot) {
  return tune_feed_valid(&c->feed, c->first_slice + slot);
}
static inline const unsigned char *compare_made(const struct compare *c, size_t slot, int64_t image,
                                                uint32_t tensor) {
  return c->slots[slot].made + (size_t)image * c->map.made_bytes + c->map.made_offset[tensor];
}

/* ---- The fast executor (fast.c) ------------------------------------------------------------------------ */
/* A pool task for each slice of the block; the reference has run already. */
mq_status compare_run_fast(void *context, size_t slot, unsigned worker, struct mq_err *err);

/* ---- The simulation (simulate.c) ----------------------------------------------------------------------- */
struct simulation {
  struct compare *compare;
  compare_run run;
  struct mq_graph *given;       /* step by step: the graph whose points read graph inputs */
  struct tune_exact exact;      /* EXACT */
  size_t *link_of_input;        /* step by step: by graph input behind the network's own: its link */
  const struct mq_value **taps; /* by link */
  struct mq_engine *engine;
};
mq_status simulation_create(struct simulation *simulation, struct compare *compare, compare_run run,
                            struct mq_err *err) MQ_MUST_CHECK;
/* The block's slices; the program has run already. */
mq_status simulation_run(struct simulation *simulation, struct mq_err *err) MQ_MUST_CHECK;
void simulation_destroy(struct simulation *simulation); /* accepts a zeroed one */

/* ---- Counting (count.c) -------------------------------------------------------------------------------- */
/* A pool task for each image of the block. */
mq_status compare_count(void *context, size_t task, unsigned worker, struct mq_err *err);

#endif
