/* The fast executor beside the reference: every element of every tensor of every image. */
#ifndef HELP_RUNTIME_H
#define HELP_RUNTIME_H

#include "common.h"
#include "mqbench/runtime.h"

/* Runs both and fails the test, naming `what`, where a bit differs. Random inputs (floats in [-4, 4), ends of
 * the range among codes), at every level that this CPU has, with 1, 2 and 4 workers, in every cut, for 1, 3
 * and 8 images; `is_brief`: 3 images, and each level with one of these only. */
void runtime_compare_all(const char *what, const struct mq_program *program, bool is_brief);

#endif
