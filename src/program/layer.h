/* Shapes of convolutions and linear layers, on codes and on floats. */
#ifndef MQ_PROGRAM_LAYER_H
#define MQ_PROGRAM_LAYER_H

#include "program/ops.h"

struct program_layer {
  const struct mq_program_tensor *x, *y;
  const struct mq_program_window *window;
  int32_t groups;
  bool is_transposed;
};
struct program_layer program_layer_make(const struct mq_program *program, const struct mq_program_step *step,
                                        const struct mq_program_window *window, int32_t groups,
                                        bool is_transposed);
/* Window, groups, shapes and the number of weights. */
mq_program_status program_layer_check_conv(const struct program_layer *layer,
                                           const struct mq_program *program,
                                           const struct mq_program_step *step, struct mq_program_err *err);
mq_program_status program_layer_check_linear(const struct program_layer *layer,
                                             const struct mq_program *program,
                                             const struct mq_program_step *step, struct mq_program_err *err);
/* Weights of an output channel; of a layer whose groups are right. */
int64_t program_layer_row(const struct program_layer *layer);
uint64_t program_layer_work(const struct program_layer *layer);
/* The input pixel behind tap t of output o, along an axis; -1 where there is none. */
int64_t program_layer_input(const struct program_layer *layer, int axis, int64_t o, int64_t t);

#endif
