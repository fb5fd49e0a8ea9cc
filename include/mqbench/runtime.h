/* The fast executor of an integer program: the reference executor's bits in every tensor (mqbench/program.h),
 * at the speed of the CPU's 8-bit products. Weights are packed, memory is planned and every step is given its
 * loops when it is created; a run allocates nothing.
 *
 * Call mq_kernel_start before: the instruction set resolved there holds here. */
#ifndef MQBENCH_RUNTIME_H
#define MQBENCH_RUNTIME_H

#include "mqbench/base.h"
#include "mqbench/kernel.h"
#include "mqbench/program.h"

struct mq_runtime;

/* What the workers of a run share out among them. The bits are the same in every way. */
typedef enum mq_runtime_cut {
  MQ_RUNTIME_AUTO,   /* images where there are as many as workers, else parts of an image */
  MQ_RUNTIME_IMAGES, /* a worker takes whole images: the most images per second */
  MQ_RUNTIME_WITHIN, /* all workers take parts of one image after the other: the least delay */
} mq_runtime_cut;

struct mq_runtime_options {
  struct mq_pool *pool; /* borrowed; NULL: the calling thread alone */
  mq_runtime_cut cut;
  /* Weights are kept once, in their own size: without it convolutions 3x3 may take a quarter of the products
   * with 8 times the memory for weights. */
  bool saves_memory;
  bool has_cap; /* uses nothing above `cap`; else the instruction set of mq_kernel_start */
  mq_isa cap;
};

/* `program` must be finished (or loaded) and outlives the runtime. `options` may be NULL. Memory for the
 * tensors of one image is taken for each worker. */
mq_status mq_runtime_create(struct mq_runtime **runtime, const struct mq_program *program,
                            const struct mq_runtime_options *options, struct mq_err *err) MQ_MUST_CHECK;
void mq_runtime_destroy(struct mq_runtime *runtime); /* accepts NULL */
/* The same of a file, program.mqi of a bundle, whose program the runtime owns. MQ_BAD_INPUT: it is none. */
mq_status mq_runtime_open(struct mq_runtime **runtime, const char *path,
                          const struct mq_runtime_options *options, struct mq_err *err) MQ_MUST_CHECK;
const struct mq_program *mq_runtime_get_program(const struct mq_runtime *runtime);

/* As mq_program_run_reference; run->arena is not used and may be NULL. One run at a time. `see` is called
 * by one thread at a time, with the tensors of an image in the order of the program; images may interleave.
 * MQ_BAD_INPUT: a code of an input outside [code_min, code_max]. */
mq_status mq_runtime_run(struct mq_runtime *runtime, const struct mq_program_run *run,
                         struct mq_err *err) MQ_MUST_CHECK;

/* The same in the calling thread alone, in the memory of `worker` (below the pool's number of workers): for
 * whoever is a task of that pool. Workers may run at the same time. */
mq_status mq_runtime_run_worker(struct mq_runtime *runtime, unsigned worker, const struct mq_program_run *run,
                                struct mq_err *err) MQ_MUST_CHECK;

/* What was made of the program. */
struct mq_runtime_info {
  size_t weights_bytes;          /* packed, with tables */
  size_t worker_bytes;           /* tensors of an image and scratch memory, for each worker */
  uint32_t n_steps, n_reference; /* all, and those which are left to the reference executor's loops */
  const char *loops;             /* "base", "avx2", "avx512", "avx512_vnni" */
};
struct mq_runtime_info mq_runtime_get_info(const struct mq_runtime *runtime);

#endif
