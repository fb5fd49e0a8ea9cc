/* What `target check` answers, for people and as JSON. */
#ifndef MQ_CLI_TARGET_REPORT_H
#define MQ_CLI_TARGET_REPORT_H

#include <jansson.h>

#include "bench/target_check.h"

void cli_target_print(const struct mq_target_check *check);
json_t *cli_target_json(const struct mq_target_check *check);

#endif
