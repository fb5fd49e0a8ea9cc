/* Short ways to build small graphs and to look at what inference made of them. */
#ifndef MQ_TESTS_HELP_GRAPH_H
#define MQ_TESTS_HELP_GRAPH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mqbench/graph.h"

#define N MQ_DIM_BATCH
#define DIMS(...) ((struct mq_shape){.rank = COUNT(__VA_ARGS__), .dim = {__VA_ARGS__}})
#define COUNT(...) ((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define SCALAR ((struct mq_shape){.rank = 0})
/* Inputs of a node: values, NULL for absent ones. */
#define IN(...) ((struct mq_value *[]){__VA_ARGS__}), COUNT_VALUES(__VA_ARGS__)
#define COUNT_VALUES(...) ((int)(sizeof((struct mq_value *[]){__VA_ARGS__}) / sizeof(struct mq_value *)))
#define INTS(...) ((int64_t[]){__VA_ARGS__}), COUNT(__VA_ARGS__)

struct mq_graph *help_create(int opset);
struct mq_value *help_input(struct mq_graph *graph, const char *name, struct mq_shape shape);
struct mq_value *help_typed_input(struct mq_graph *graph, const char *name, mq_dtype dtype,
                                  struct mq_shape shape);
/* A float constant of zeros (0.5, 1.5, ... for `help_floats`). */
struct mq_value *help_weights(struct mq_graph *graph, struct mq_shape shape);
struct mq_value *help_floats(struct mq_graph *graph, const float *floats, struct mq_shape shape);
struct mq_value *help_ints(struct mq_graph *graph, const int64_t *ints, int n); /* 1-D int64 */
struct mq_value *help_int(struct mq_graph *graph, int64_t i);                   /* scalar int64 */
/* A node with one output; its output. */
struct mq_value *help_node(struct mq_graph *graph, mq_op op, struct mq_value **inputs, int n_inputs);
void help_set_ints(struct mq_value *output, const char *name, const int64_t *ints, int n);
void help_set_int(struct mq_value *output, const char *name, int64_t i);
void help_set_string(struct mq_value *output, const char *name, const char *s);
void help_set_float(struct mq_value *output, const char *name, float f);
/* Infers with `output` as the graph's output, verifies, and compares the shape; destroys nothing. */
void help_expect(struct mq_graph *graph, struct mq_value *output, struct mq_shape shape);
void help_expect_fixed(struct mq_graph *graph, struct mq_value *output, struct mq_shape shape);
/* Inference fails with MQ_BAD_INPUT and a message that contains `text`; destroys the graph. */
void help_expect_failure(struct mq_graph *graph, const char *text);
/* `value` was folded to these int64s. */
void help_expect_ints(const struct mq_value *value, const int64_t *ints, int n);
/* Unwraps a status that must be MQ_OK; prints the message otherwise. */
void help_ok(mq_status status, const struct mq_err *err);

#endif
