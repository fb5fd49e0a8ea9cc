/* Which of an engine's formats a bundle is exported in. */
#ifndef MQ_VERIFY_FORMAT_H
#define MQ_VERIFY_FORMAT_H

#include "mqbench/verify.h"

/* formats: as in struct mq_adapter_info. */
bool verify_reads_format(const char *formats, const char *name);
/* The first in the engine's order that the target (NULL: not known) names and that has a form for the bundle,
 * else the first that has one. NULL, with the last one's reason in `why`: none. */
const struct mq_exporter *verify_choose_format(const char *formats, const struct mq_bundle *bundle,
                                               const struct mq_target *target, struct mq_err *why);

#endif
