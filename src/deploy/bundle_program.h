/* program.mqi of a bundle. */
#ifndef MQ_DEPLOY_BUNDLE_PROGRAM_H
#define MQ_DEPLOY_BUNDLE_PROGRAM_H

#include <jansson.h>

#include "mqbench/deploy.h"

#define DEPLOY_PROGRAM "program.mqi"

/* Lowers and writes DIRECTORY/program.mqi. Where there is no program for this network and target there is no
 * file. `record` is what the manifest says: how large it is, or why it was left out; the caller's. */
mq_status deploy_program_write(json_t **record, const char *directory,
                               const struct mq_bundle_contents *contents, struct mq_err *err) MQ_MUST_CHECK;
/* Loads and checks it. */
mq_status deploy_program_read(struct mq_bundle *bundle, const char *directory,
                              struct mq_err *err) MQ_MUST_CHECK;
/* The program of a bundle that was read otherwise: a copy. `what` stands in messages. */
mq_status deploy_program_take(struct mq_bundle *bundle, const struct mq_program *program, const char *what,
                              struct mq_err *err) MQ_MUST_CHECK;

#endif
