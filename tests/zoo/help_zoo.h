/* What the zoo's tests share: building, counting, forward passes. Any failure ends the test. */
#ifndef MQ_TESTS_HELP_ZOO_H
#define MQ_TESTS_HELP_ZOO_H

#include "common.h"
#include "mqbench/engine.h"
#include "mqbench/zoo.h"

struct mq_graph *zoo_build(const char *name, const struct mq_zoo_options *options);
size_t zoo_count_ops(const struct mq_graph *graph, mq_op op);
/* Output c of image n is logits[n * classes + c]. The input lies N C H W. */
void zoo_forward(double *logits, const struct mq_graph *graph, const float *input, int64_t n_images);
/* Mean square of the outputs of every Relu, Clip and Add over one image of noise of variance 1: the least and
 * the largest. */
void zoo_activation_range(double *least, double *largest, const struct mq_graph *graph);
/* n numbers in [0, 1) from a hash of name and index: make_golden.py's `uniform`. */
double zoo_uniform(const char *name, int64_t i);
/* The graph's text form and a digest of every constant in it, to be freed. */
char *zoo_describe(const struct mq_graph *graph);

#endif
