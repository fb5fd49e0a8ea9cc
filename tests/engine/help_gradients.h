/* Gradients of a graph by the trainer against central differences of the same graph in double. */
#ifndef MQ_TESTS_HELP_GRADIENTS_H
#define MQ_TESTS_HELP_GRADIENTS_H

#include "help_graphs.h"
#include "mqbench/engine.h"

#define GRADIENT_IMAGES 8
#define GRADIENT_SLICE 2

/* ---- Building. Shapes of results are inferred. ----------------------------------------------- */
struct mq_shape dims(int rank, const int64_t *dim);
#define DIMS(...) \
  dims((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__})
/* A tensor of parameters: random in [lo, hi). */
struct mq_value *net_learned(struct net *net, const char *name, struct mq_shape shape, float lo, float hi);
/* A graph input of one image's shape (random in [-1, 1) for every image) plus learned numbers of that shape:
 * their gradients are those of the data, summed over the batch. */
struct mq_value *net_data(struct net *net, const char *name, struct mq_shape image);
struct mq_value *net_op(struct net *net, mq_op op, const char *name, struct mq_value *const *inputs,
                        int n_inputs);
struct mq_value *net_op1(struct net *net, mq_op op, const char *name, struct mq_value *x);
struct mq_value *net_op2(struct net *net, mq_op op, const char *name, struct mq_value *a, struct mq_value *b);
void net_set_int(struct net *net, struct mq_value *y, const char *name, int64_t i);
void net_set_float(struct net *net, struct mq_value *y, const char *name, float f);
void net_set_string(struct net *net, struct mq_value *y, const char *name, const char *text);
void net_set_ints(struct net *net, struct mq_value *y, const char *name, int n, const int64_t *ints);
#define SET_INTS(net, y, name, ...)                                                     \
  net_set_ints(net, y, name, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), \
               (const int64_t[]){__VA_ARGS__})
struct mq_value *net_int_list(struct net *net, const char *name, int n, const int64_t *ints);
#define INT_LIST(net, name, ...)                                                     \
  net_int_list(net, name, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), \
               (const int64_t[]){__VA_ARGS__})

/* ---- Running --------------------------------------------------------------------------------- */
/* A batch of random images and labels. */
struct gradient_batch {
  const struct mq_graph *graph;
  struct mq_tensor *inputs; /* float32, row-major, of all images */
  int64_t labels[GRADIENT_IMAGES], slice_images;
};
void gradient_batch_init(struct gradient_batch *batch, const struct mq_graph *graph);
void gradient_batch_deinit(struct gradient_batch *batch);
struct mq_trainer_job gradient_batch_job(struct gradient_batch *batch);

struct gradient_session {
  struct mq_pool *pool;
  struct mq_trainer *trainer;
  struct mq_trainer_result result;
  struct mq_err err;
};
/* batch and slice_images of the options are filled in; differentiated once. */
void gradient_session_init(struct gradient_session *session, struct gradient_batch *batch,
                           const struct mq_trainer_options *options, unsigned workers);
void gradient_session_deinit(struct gradient_session *session);
/* The variable's index; fails the test if there is none. */
size_t gradient_find(const struct gradient_session *session, const char *name);

/* What an operator's test builds: x is an operand made of data, y what the operator makes of it. */
struct gradient_case {
  struct mq_value *x, *y;
};
typedef void (*gradient_build_fn)(struct gradient_case *made, struct net *net, const void *parameters);
/* Flattens y into logits, once as the only reader of x, once with x among the logits too, so that gradients
 * of the data are added as well as written. Every element of every variable: |gradient - reference| <=
 * tolerance times the variable's largest reference gradient; the same bits with 1 and 2 workers. */
void check_gradients(const char *what, gradient_build_fn build, const void *parameters, double tolerance);
/* With statistics of batch normalisation in groups of the batch (1 or 2). */
void check_gradients_in_groups(const char *what, gradient_build_fn build, const void *parameters,
                               double tolerance, int64_t n_groups);

#endif
