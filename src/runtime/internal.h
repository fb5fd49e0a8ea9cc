/* How a program is held for running: tensors in memory, steps with their loops, workers. */
#ifndef MQ_RUNTIME_INTERNAL_H
#define MQ_RUNTIME_INTERNAL_H

#include <stdatomic.h>

#include "mqbench/runtime.h"
#include "program/ops.h"
#include "runtime/simd.h"

/* A tensor of one image in memory: [rows][columns][channels], whatever its rank: the last dimension, the one
 * before, and all others.
 *
 * 8-bit codes are stored as u8, those of s8 with 128 added (`flip`), so that every product is u8 x s8. Around
 * the pixels lie as many pads as any reader's windows reach, filled with the zero point (stored likewise):
 * then no loop has to look for the border. The pads to the right of a row are those to the left of the next:
 *
 *   top rows of pads, [side pads][row 0] ... [side pads][last row][side pads], bottom rows of pads */
struct runtime_layout {
  bool is_bytes; /* 8-bit codes */
  uint8_t flip;  /* 128 for s8 */
  uint8_t zero;  /* what pads hold */
  bool is_lent;  /* an input that is read where the caller has it, and has no memory */
  int64_t element_bytes, rows, columns, channels;
  int64_t top, side, bottom;
  int64_t pixel_bytes, row_bytes; /* from pixel to pixel, row to row */
  int64_t origin, bytes;          /* the first pixel; all, with room to read a little too far */
  size_t offset;                  /* of the memory in a worker's */
};

/* Memory of one worker. `data`: each tensor's first pixel. */
struct runtime_frame {
  const struct mq_runtime *runtime;
  unsigned char **data;
  unsigned char *scratch; /* runtime->scratch_bytes */
};

struct runtime_step {
  const struct mq_program_step *step;
  const struct runtime_op *op;
  void *own; /* of the op; in the runtime's arena */
  /* Parts that workers may take: any of [0, n_units), but not fewer than `grain` at a time. */
  int64_t n_units, grain;
};

/* What a kind of step does. */
struct runtime_op {
  const char *name;
  bool (*can)(const struct mq_runtime *runtime, const struct mq_program_step *step);
  /* Pads it wants around its first input. NULL: none. */
  void (*reach)(struct runtime_layout *x, const struct mq_program_step *step);
  /* Fills in own, n_units and grain (they are NULL, 1 and 1), and raises runtime->scratch_bytes. NULL:
   * nothing to do. */
  mq_status (*prepare)(struct runtime_step *step, struct mq_runtime *runtime, struct mq_err *err);
  void (*run)(const struct runtime_step *step, const struct runtime_frame *frame, int64_t first,
              int64_t last);
};
extern const struct runtime_op runtime_op_reference;
/* The op for a step: the first that can. */
const struct runtime_op *runtime_op_find(const struct mq_runtime *runtime,
                                         const struct mq_program_step *step);

/* Progress of a step whose parts are shared out. */
struct runtime_share {
  _Alignas(64) atomic_int_fast64_t next; /* part to take */
  atomic_int_fast64_t finished;
  atomic_bool is_done;
};

struct mq_runtime {
  const struct mq_program *program;
  void *file; /* owned: what the program lies in; NULL: whoever created this owns it */
  struct mq_pool *pool;
  mq_runtime_cut cut;
  unsigned n_workers;
  runtime_level level;
  bool saves_memory;
  struct mq_arena arena; /* everything but the workers' memory */
  struct runtime_layout *layouts;
  struct runtime_step *steps;
  uint32_t n_reference;
  size_t tensors_bytes, scratch_bytes, plain_bytes; /* plain_bytes: of the largest tensor as callers see it */
  struct runtime_frame *frames;                     /* one for each worker */
  unsigned char **plain;                            /* likewise: a tensor as callers see it */
  unsigned char *memory;
  size_t worker_bytes;
  struct runtime_share *shares; /* one for each step */
  atomic_flag is_seeing;
};

/* ---- Tensors (layout.c, plan.c) ---------------------------------------------------------------------- */
struct runtime_layout runtime_layout_of(const struct mq_program_tensor *tensor);
/* After pads have been asked for: sizes. */
void runtime_layout_finish(struct runtime_layout *layout);
static inline unsigned char *runtime_pixel(const struct runtime_layout *layout, unsigned char *data,
                                           int64_t row, int64_t column) {
  return data + row * layout->row_bytes + column * layout->pixel_bytes;
}
/* Stored as callers see it: no pads, and no flip. */
bool runtime_is_plain(const struct runtime_layout *layout);
/* Between memory and a plain tensor. */
void runtime_store(const struct runtime_layout *layout, unsigned char *data, const void *plain);
void runtime_fetch(const struct runtime_layout *layout, void *plain, const unsigned char *data);
/* Fills the pads beside rows [first, last), above the first row and below the last. */
void runtime_fill_pads(const struct runtime_layout *layout, unsigned char *data, int64_t first, int64_t last);
/* Offsets by lifetimes: runtime->tensors_bytes. */
mq_status runtime_plan(struct mq_runtime *runtime, struct mq_err *err);

static inline const struct runtime_layout *runtime_input(const struct mq_runtime *runtime,
                                                         const struct mq_program_step *step, uint32_t i) {
  return &runtime->layouts[step->inputs[i]];
}
static inline const struct runtime_layout *runtime_output(const struct mq_runtime *runtime,
                                                          const struct mq_program_step *step) {
  return &runtime->layouts[step->output];
}
static inline void runtime_want_scratch(struct mq_runtime *runtime, size_t bytes) {
  if (runtime->scratch_bytes < bytes) runtime->scratch_bytes = bytes;
}
static inline size_t runtime_round(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

#endif
