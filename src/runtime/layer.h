/* What convolutions, depthwise convolutions and linear layers share: where sums go. */
#ifndef MQ_RUNTIME_LAYER_H
#define MQ_RUNTIME_LAYER_H

#include "runtime/internal.h"
#include "runtime/simd/finish.h"

/* An 8-bit input, an output of 8 bits or floats, an 8-bit shortcut. */
bool runtime_layer_takes(const struct mq_runtime *runtime, const struct mq_program_step *step);
/* That, no transposed convolution, and pads that do not blow up the input. */
bool runtime_layer_can(const struct mq_runtime *runtime, const struct mq_program_step *step);
void runtime_layer_reach(struct runtime_layout *x, const struct mq_program_step *step);
/* How a layer's sums become codes, or floats. */
runtime_form runtime_form_of(const struct mq_program_step *step, bool is_float);
/* `order`: for each of the n places of the parameters' arrays the output channel, or -1. sums[channel]: of
 * its weights, as stored. */
mq_status runtime_finish_init(struct runtime_finish *finish, struct mq_runtime *runtime,
                              const struct mq_program_step *step, const int64_t *order, int64_t n,
                              const int64_t *sums, struct mq_err *err);

#endif
