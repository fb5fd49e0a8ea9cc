/* A Q/DQ model of another tool beside the outputs that ONNX Runtime gave for it (quantize_elsewhere.py). */
#ifndef MQ_TESTS_HELP_QDQ_H
#define MQ_TESTS_HELP_QDQ_H

#include "common.h"
#include "mqbench/deploy.h"
#include "mqbench/verify.h"

struct qdq_difference {
  int64_t n_elements, n_differing; /* further apart than a thousandth of a step */
  double max_steps;                /* of the output's point; a float output: in units of 1 */
  int64_t n_images, n_same_class;
};

struct qdq_case {
  struct mq_bundle bundle;
  struct mq_dataset *data;
  struct mq_pool *pool;
  char folder[600], name[64];
};
/* FOLDER/NAME.onnx with the images of FOLDER/INPUT.npy; limit 0: all. Failures end the test. */
void qdq_open(struct qdq_case *c, const char *folder, const char *name, const char *input, int64_t limit);
void qdq_close(struct qdq_case *c);
/* The simulation beside NAME_float.npy, the program's reference beside NAME_int.npy. */
struct qdq_difference qdq_simulate(const struct qdq_case *c);
struct qdq_difference qdq_run_program(const struct qdq_case *c);

#endif
