/* Plans from text, for the tests of bench. */
#ifndef TEST_BENCH_HELP_PLAN_H
#define TEST_BENCH_HELP_PLAN_H

#include <math.h>
#include <unistd.h>

#include "common.h"
#include "mqbench/bench.h"

/* Parses a plan that must be right; `file` stands in messages and for relative paths. */
struct mq_plan *help_plan(const char *text, const char *file);
/* Its labels (model target method w a observers seed), one a line, freed with free. */
char *help_plan_list(const struct mq_plan *plan);

#endif
