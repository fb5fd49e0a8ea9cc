/* Bundles of a small network, made by the library, and their files changed by hand. */
#ifndef MQ_TESTS_HELP_BUNDLE_H
#define MQ_TESTS_HELP_BUNDLE_H

#include <jansson.h>

#include "common.h"
#include "mqbench/deploy.h"

/* A scratch directory for the whole file; set as cmocka's group setup and teardown. */
extern char scratch[512];
int make_scratch(void **state);
int drop_scratch(void **state);

/* A residual network prepared for a target, every point with scales of made-up ranges (of both signs, except
 * behind a Relu), which the caller destroys. */
struct made {
  struct mq_graph *model;
  struct mq_target *target;
  struct mq_prepared prepared;
};
void make_prepared(struct made *made, const char *target, int w_bits, int a_bits);
void drop_prepared(struct made *made);
/* Writes it to scratch/NAME with minmax and quantile 0.75 as its observers. */
mq_status write_bundle(const struct made *made, const char *name, struct mq_err *err);
/* All of it. */
void make_bundle(const char *name, const char *target, int w_bits, int a_bits);

/* scratch/NAME/FILE; `save` takes no reference. */
json_t *load(const char *name, const char *file);
void save(const json_t *object, const char *name, const char *file);
/* Makes the manifest agree with the files again. */
void reseal(const char *name);
mq_status read_bundle(struct mq_bundle *bundle, const char *name, struct mq_err *err);
/* Reading scratch/NAME fails with one line that contains `says` (NULL: it succeeds). */
void expect_read(const char *name, const char *says, const char *after);

#endif
