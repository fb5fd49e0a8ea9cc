/* Small programs made by hand, with random constants. */
#ifndef HELP_PROGRAM_H
#define HELP_PROGRAM_H

#include <math.h>

#include "common.h"
#include "mqbench/program.h"

#define HELP_MAX 64

struct help {
  struct mq_program program;
  struct mq_program_tensor tensors[HELP_MAX];
  struct mq_program_step steps[HELP_MAX];
  uint32_t lists[HELP_MAX][4], inputs[HELP_MAX], outputs[HELP_MAX];
  void *memory[4 * HELP_MAX]; /* freed by help_end */
  int n_memory;
  uint64_t seed;
  struct mq_program_err err;
};

void help_begin(struct help *help, uint64_t seed);
void help_end(struct help *help);
uint32_t help_random(struct help *help, uint32_t below);
float help_uniform(struct help *help, float from, float to);
void *help_alloc(struct help *help, size_t bytes);

/* Tensors; `dims` is a list that ends with 0. */
uint32_t help_codes(struct help *help, mq_program_type type, const int32_t *dims, float scale,
                    int32_t zero_point);
uint32_t help_floats(struct help *help, const int32_t *dims);
#define DIMS(...) ((const int32_t[]){__VA_ARGS__, 0})
uint32_t help_input(struct help *help, uint32_t tensor);
void help_output(struct help *help, uint32_t tensor);
/* Random contents for a tensor that becomes a constant, and for an array of its size. */
void *help_fill(struct help *help, uint32_t tensor);

/* A step with the output's range and no clip; inputs end with -1. */
struct mq_program_step *help_step(struct help *help, mq_step_kind kind, mq_arithmetic_kind arithmetic,
                                  uint32_t output, const int *inputs);
#define INPUTS(...) ((const int[]){__VA_ARGS__, -1})
/* Window of a conv or linear that is all ones, one group, random weights and channels made by the arithmetic.
 * Call it when the step's window and groups are set. */
void help_layer(struct help *help, struct mq_program_step *step, float w_scale, bool has_zero_points);
/* Likewise random weights and biases of a layer on floats. */
void help_layer_float(struct help *help, struct mq_program_step *step);
struct mq_program_window help_window(int32_t kernel, int32_t stride, int32_t pad);
int32_t help_code_at(const struct mq_program_tensor *tensor, const void *data, int64_t at);

/* A program with every kind of step, arithmetic TRT where it must be, else `kind`. Finished. */
void help_everything(struct help *help, mq_arithmetic_kind kind);

/* The file's bytes, aligned; help_alloc'ed. */
unsigned char *help_write(struct help *help, size_t *bytes);
mq_program_status help_load(struct mq_program **program, struct help *help, const void *file, size_t bytes);

/* Runs the program on random inputs and keeps a copy of every tensor of every image: tensors[image *
 * n_tensors + t]. */
struct help_values {
  const struct mq_program *program;
  void **tensors;
  void *outputs[HELP_MAX];
  int64_t n_images;
};
void help_run(struct help_values *values, struct help *help, const struct mq_program *program,
              int64_t n_images);

#endif
