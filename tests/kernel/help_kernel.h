/* Shared by the tests of kernel/: random data, comparisons, the convolution cases. */
#ifndef MQ_TESTS_HELP_KERNEL_H
#define MQ_TESTS_HELP_KERNEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common.h"
#include "mqbench/kernel.h"

/* Runs a test group once for each of base, avx2 and native, in a process of its own since the instruction set
 * is fixed once; the number of failures. The group may ask mq_kernel_isa(). */
int help_run_levels(int (*run_group)(void));
/* The same for one cap; 0 or 1. A cap above what the CPU has gives what it has. */
int help_run_capped(mq_isa cap, int (*run_group)(void));
/* n floats in [-1, 1), a function of the seed; free with mq_free. */
float *help_random(int64_t n, uint64_t seed);
/* The same bits, except that all NaNs count as one. Prints the first difference. */
void help_assert_same(const float *a, const float *b, int64_t n, const char *what);
void help_assert_near(const float *a, const float *b, int64_t n, double tolerance, const char *what);
/* A row-major float32 tensor with random values; mq_tensor_deinit it. */
struct mq_tensor help_tensor(int rank, const int64_t *dim, uint64_t seed);

#endif
