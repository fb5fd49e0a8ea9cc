/* JSON files: written whole and atomically, read with bounds. */
#ifndef MQ_DEPLOY_JSON_H
#define MQ_DEPLOY_JSON_H

#include <jansson.h>

#include "mqbench/base.h"

/* Two-space indentation, reals with nine significant digits (enough for float32 to come back). Releases
 * `object`; NULL is exhausted memory. */
mq_status deploy_json_write(const char *directory, const char *name, json_t *object,
                            struct mq_err *err) MQ_MUST_CHECK;
/* An object at the top; anything else is MQ_BAD_INPUT. */
mq_status deploy_json_read(json_t **object, const char *directory, const char *name,
                           struct mq_err *err) MQ_MUST_CHECK;
/* A real, or null when it is not finite. */
json_t *deploy_json_real(double x);

#endif
