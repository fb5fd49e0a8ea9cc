/* A target file's text into a struct mq_target. */
#ifndef MQ_TARGET_READ_H
#define MQ_TARGET_READ_H

#include "mqbench/target.h"

/* `file` is only for messages and mq_target.file. */
mq_status mq_target_parse(struct mq_target **target, const char *text, size_t n, const char *file,
                          struct mq_err *err) MQ_MUST_CHECK;
/* true and the fields of graph rule "graph1".."graph3"; false if there is none of that name. */
bool mq_point_rules_of(struct mq_point_rules *rules, const char *name);

#endif
