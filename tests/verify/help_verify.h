/* A small network with its points, its program and images, for verify. */
#ifndef MQ_TESTS_HELP_VERIFY_H
#define MQ_TESTS_HELP_VERIFY_H

#include "common.h"
#include "mqbench/verify.h"

struct subject {
  struct mq_graph *model; /* owned */
  struct mq_target *target;
  struct mq_prepared prepared;
  struct mq_lowered lowered;
  struct mq_bundle bundle; /* a view of the two above, not to be released */
  struct mq_exact_rules rules;
  struct mq_dataset *data;
  struct mq_pool *pool;
};
/* Prepares for the target and calibrates with minmax over the images of `data` ("npy:..."), then lowers.
 * Takes the model over. bits 0: the target's. */
void make_subject(struct subject *subject, struct mq_graph *model, const char *target, int bits,
                  const char *data, unsigned workers);
/* The same of a model whose points are set by hand: prepares and opens, the two below do
 * the rest. */
void begin_subject(struct subject *subject, struct mq_graph *model, const char *target, int bits,
                   const char *keep_float, const char *data, unsigned workers);
void calibrate_subject(struct subject *subject);
void lower_subject(struct subject *subject);
void drop_subject(struct subject *subject);

/* Fails the test if verify fails. */
void run_verify(struct mq_verification *result, const struct subject *subject, int64_t n_images);
/* A point's codes or an output. */
const struct mq_verified_tensor *find_tensor(const struct mq_verification *result, const char *name);
/* Sets scale and zero point of a point with one scale; the test fails if there is none of that name. */
void set_point(struct subject *subject, const char *tensor, float scale, int32_t zero_point);

#endif
