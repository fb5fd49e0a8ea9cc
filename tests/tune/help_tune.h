/* Data sets and models for the tests of tune/. Any failure ends the test. */
#ifndef MQ_TESTS_HELP_TUNE_H
#define MQ_TESTS_HELP_TUNE_H

#include "help_graphs.h"
#include "mqbench/kernel.h"
#include "mqbench/tune.h"

struct fixture {
  char *directory;
  struct mq_dataset *data;
  struct mq_pool *pool;
  struct mq_err err;
};

/* A data set of float arrays: `pixels` of the given shape (N x H x W x C or N x F), labels NULL for none. */
void fixture_init(struct fixture *fixture, const struct mq_shape *shape, const float *pixels,
                  const int64_t *labels, unsigned workers);
/* n images of channels x side x side, uniform in [-1, 1). */
void fixture_init_random(struct fixture *fixture, int64_t n, int64_t channels, int64_t side,
                         unsigned workers);
/* 80 images of 3 x 8 x 8 in ten classes, told apart by colour and by which half is brighter, in noise. */
void fixture_init_classes(struct fixture *fixture, unsigned workers);
void fixture_deinit(struct fixture *fixture);
/* The network made ready for a target of the project's own folder. */
void fixture_prepare(struct mq_prepared *prepared, const struct net *net, const char *target, int w_bits);
/* Options that calibrate with minmax over the first n images. */
struct mq_calibrate_options fixture_calibration(const int64_t *indices, int64_t n);
extern const int64_t fixture_indices[64]; /* 0, 1, 2, ... */
/* A number that tells whether two graphs' float constants are the same bits. */
uint64_t constants_bits(const struct mq_graph *graph);

#endif
