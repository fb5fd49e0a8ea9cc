#include "runtime/quick.h"

#include <math.h>

/* The largest value of an output channel before it is rounded, in steps of the output, if its sum is the
 * largest 32-bit integer. */
static double find_most(const struct mq_program *program, const struct mq_program_step *step, int64_t o) {
  const struct mq_program_channel *channel = &step->as.conv.channels[o];
  const double sum = 0x1p31, factor = (double)channel->factor, offset = fabs((double)channel->offset);
  if (step->arithmetic == MQ_ARITHMETIC_FBGEMM) return (sum + offset) * factor;
  if (step->arithmetic != MQ_ARITHMETIC_TRT) return sum * factor;
  const double shortcut = step->n_inputs > 1 ? 256 * (double)program_input(program, step, 1)->scale : 0;
  return (sum * factor + offset + shortcut) / (double)program_output(program, step)->scale;
}

static bool fits_integers(const struct mq_program *program, const struct mq_program_step *step) {
  const double limit = 0x1p30; /* leaves room for roundings */
  bool fits = true;
  for (int64_t o = 0; o < program_last_dim(program_output(program, step)) && fits; o++)
    fits = find_most(program, step, o) < limit;
  return fits;
}

bool runtime_is_quick(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  if (!program_is_byte(program_output(runtime->program, step))) return false;
  switch (step->arithmetic) {
    case MQ_ARITHMETIC_TFLITE: /* is in integers throughout */
      return true;
    case MQ_ARITHMETIC_XNNPACK:
    case MQ_ARITHMETIC_ORT:
    case MQ_ARITHMETIC_FBGEMM:
    case MQ_ARITHMETIC_TRT:
      return fits_integers(runtime->program, step);
    default:
      return false;
  }
}
