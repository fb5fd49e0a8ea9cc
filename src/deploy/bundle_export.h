/* The `export` folder of a bundle. */
#ifndef MQ_DEPLOY_BUNDLE_EXPORT_H
#define MQ_DEPLOY_BUNDLE_EXPORT_H

#include <jansson.h>

#include "mqbench/deploy.h"

/* Writes the target's artefacts into DIRECTORY/export, from the files of the bundle that lie in `directory`.
 * *record: for each format {"files": {name: SHA-256}} or {"skipped": why}; a format that cannot express the
 * bundle is skipped with a warning. */
mq_status deploy_exports_write(json_t **record, const char *directory, const struct mq_target *target,
                               struct mq_err *err) MQ_MUST_CHECK;
/* Removes what any format may have left in DIRECTORY/export, and the folder if it is empty then. */
mq_status deploy_exports_remove(const char *directory, struct mq_err *err) MQ_MUST_CHECK;
/* Moves the files from FROM/export to TO/export, where older ones are removed first. */
mq_status deploy_exports_move(const char *to, const char *from, struct mq_err *err) MQ_MUST_CHECK;

#endif
