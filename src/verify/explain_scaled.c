/* What the arithmetics compute before they round to codes, as reals, and how exactly (docs/arithmetic.md). A
 * new one that is missing here has its multiplier taken for the exact one. */
#include <float.h>
#include <math.h>

#include "verify/explain.h"

#define U REALITY_ROUNDING

/* A product of whole numbers that is rounded to whole steps of 2^-right before its last rounding. */
static double double_rounding(int32_t shift) {
  return shift < 0 ? ldexp(1, shift - 1) : 0;
}

static bool is_exact(struct real real) {
  return !(real.slack > 0) && fabs(real.value) <= FLT_MAX;
}

double explain_steps(struct real real, float scale) {
  return is_exact(real) ? (double)((float)real.value / scale) : real.value / (double)scale;
}

static double steps_by_reciprocal(struct real real, float scale) {
  const float reciprocal = 1.0f / scale;
  return is_exact(real) ? (double)((float)real.value * reciprocal) : real.value * (double)reciprocal;
}

static struct explain_scaled scale_real(const struct reality *r, const struct mq_program_step *step,
                                        int64_t at) {
  const double y_scale = (double)r->program->tensors[step->output].scale;
  const struct real real = reality_layer(r, step, at);
  return (struct explain_scaled){.value = real.value / y_scale,
                                 .slack = real.slack / y_scale + 4 * U * fabs(real.value / y_scale)};
}

struct explain_scaled explain_layer(const struct reality *r, const struct mq_program_step *step, int64_t at) {
  const struct mq_program_tensor *y = &r->program->tensors[step->output];
  const int64_t outputs = y->rank > 0 ? y->dim[y->rank - 1] : 1;
  const struct mq_program_channel *c = &step->as.conv.channels[at % outputs];
  struct reality_sum sum;
  reality_layer_sum(&sum, r, step, at);
  const double acc = (double)sum.whole, biased = acc + c->bias, factor = (double)c->factor;
  switch (step->arithmetic) {
    case MQ_ARITHMETIC_TFLITE:
      return (struct explain_scaled){biased * ldexp((double)c->multiplier, c->shift - 31),
                                     double_rounding(c->shift), true};
    case MQ_ARITHMETIC_POT_SHIFT:
    case MQ_ARITHMETIC_POT_SHIFT_EVEN:
      return (struct explain_scaled){ldexp(biased, -c->shift), 0, true};
    case MQ_ARITHMETIC_XNNPACK:
    case MQ_ARITHMETIC_ORT:
      return (struct explain_scaled){biased * factor, 3 * U * fabs(biased * factor), false};
    case MQ_ARITHMETIC_FBGEMM:
      return (struct explain_scaled){(acc + (double)c->offset) * factor,
                                     4 * U * (fabs(acc) + fabs((double)c->offset)) * factor, false};
    default:
      return scale_real(r, step, at);
  }
}

/* An add's operands may be multiplied by factors of 20 bits; a mean's divisor is in its multiplier. */
static double slack_of(const struct mq_program *program, const struct mq_program_step *step) {
  const struct mq_program_tensor *y = &program->tensors[step->output];
  double ratios = 1, slack = 0;
  for (uint32_t i = 0; i < step->n_inputs; i++) {
    ratios += (double)program->tensors[step->inputs[i]].scale / (double)y->scale;
  }
  slack = ((double)y->code_max - (double)y->code_min + 1) * ratios * 0x1p-19;
  struct mq_program_mean mean;
  const struct mq_program_tensor *x = &program->tensors[step->inputs[0]];
  const struct mq_program_arithmetic *arithmetic = mq_program_arithmetic_get(step->arithmetic);
  const int64_t n = mq_program_elements(x) / (x->rank > 0 ? x->dim[x->rank - 1] : 1);
  if (step->kind == MQ_STEP_MEAN && step->arithmetic == MQ_ARITHMETIC_TFLITE &&
      arithmetic->make_mean(&mean, x, y, (int32_t)n, NULL) == MQ_PROGRAM_OK) {
    slack += double_rounding(mean.scaling.shift);
  }
  return slack;
}

struct explain_scaled explain_others(const struct mq_program *program, const struct mq_program_step *step,
                                     struct real real) {
  const float scale = program->tensors[step->output].scale;
  const double exact =
      step->kind == MQ_STEP_QUANTIZE ? explain_steps(real, scale) : real.value / (double)scale;
  struct explain_scaled y = {.value = exact, .slack = real.slack / (double)scale + 4 * U * fabs(exact)};
  if (step->kind == MQ_STEP_QUANTIZE) {
    bool has_reciprocal =
        step->arithmetic == MQ_ARITHMETIC_FBGEMM || step->arithmetic == MQ_ARITHMETIC_XNNPACK;
    y.value = has_reciprocal ? steps_by_reciprocal(real, scale) : exact;
  } else if (step->kind != MQ_STEP_TABLE) {
    y.slack += slack_of(program, step);
  }
  return y;
}
