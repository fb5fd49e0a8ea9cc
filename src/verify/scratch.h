/* A directory of files for one exchange with another program. */
#ifndef MQ_VERIFY_SCRATCH_H
#define MQ_VERIFY_SCRATCH_H

#include "mqbench/base.h"

/* Under TMPDIR, else /tmp; only ours to read. *path is freed with mq_free. */
mq_status scratch_create(char **path, struct mq_err *err) MQ_MUST_CHECK;
/* Removes it with all that is in it; accepts NULL. Frees the path. */
void scratch_remove(char *path);

#endif
