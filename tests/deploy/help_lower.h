/* Small networks calibrated by their own extrema, lowered, and run beside the simulation. */
#ifndef MQ_TESTS_HELP_LOWER_H
#define MQ_TESTS_HELP_LOWER_H

#include "common.h"
#include "mqbench/deploy.h"

#define LOWER_IMAGES 4

struct lowered {
  struct mq_graph *model; /* owned */
  struct mq_target *target;
  struct mq_prepared prepared;
  struct mq_tensor images; /* the network's input: row-major, LOWER_IMAGES of them */
};
/* Takes the model over; images uniform in [-1, 2). Scales: minmax of the float network over the images. */
void make_calibrated(struct lowered *lowered, struct mq_graph *model, const char *target, int w_bits,
                     int a_bits);
void make_calibrated_with(struct lowered *lowered, struct mq_graph *model, const char *target,
                          const struct mq_prepare_options *options);
void drop_calibrated(struct lowered *lowered);

/* What a program made of the images, beside what the simulation says of the same points. */
struct compared {
  size_t n_points;      /* tensors of codes in both */
  size_t n_missed;      /* points that the program has no tensor of */
  int64_t n, differing; /* elements of them */
  int32_t most;         /* steps that one differs by */
  double worst_output;  /* |program - simulation| of the network's output, over its scale or its largest */
  char tensor[128];     /* where `most` is */
};
void compare_program(struct compared *result, const struct lowered *lowered,
                     const struct mq_program *program);

/* The same with the exact simulation, which must differ by nothing. */
void compare_exact(struct compared *result, const struct lowered *lowered, const struct mq_program *program);

/* The tensor of that name after the program has run on image `image`: owned by the caller (free). */
void *run_for_tensor(const struct mq_program *program, const struct mq_tensor *images, int64_t image,
                     const char *name, const struct mq_program_tensor **tensor);

#endif
