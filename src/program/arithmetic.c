/* The table of arithmetics, and what most of them share. */
#include "program/arith.h"

static const struct mq_program_arithmetic *const table[MQ_ARITHMETIC_END] = {
    [MQ_ARITHMETIC_TFLITE] = &program_arith_tflite,
    [MQ_ARITHMETIC_XNNPACK] = &program_arith_xnnpack,
    [MQ_ARITHMETIC_FBGEMM] = &program_arith_fbgemm,
    [MQ_ARITHMETIC_ORT] = &program_arith_ort,
    [MQ_ARITHMETIC_POT_SHIFT] = &program_arith_pot_shift,
    [MQ_ARITHMETIC_POT_SHIFT_EVEN] = &program_arith_pot_shift_even,
    [MQ_ARITHMETIC_TRT] = &program_arith_trt,
    [MQ_ARITHMETIC_DEQUANT_F32] = &program_arith_dequant,
};

const struct mq_program_arithmetic *mq_program_arithmetic_get(mq_arithmetic_kind kind) {
  return (unsigned)kind < MQ_ARITHMETIC_END ? table[kind] : NULL;
}

static bool is_same(const char *a, const char *b) {
  while (*a != '\0' && *a == *b)
    a++, b++;
  return *a == *b;
}

mq_arithmetic_kind mq_program_arithmetic_find(const char *name) {
  for (int kind = 1; kind < MQ_ARITHMETIC_END; kind++)
    if (is_same(table[kind]->name, name)) return (mq_arithmetic_kind)kind;
  return (mq_arithmetic_kind)0;
}

struct mq_program_output mq_program_get_output(const struct mq_program *program,
                                               const struct mq_program_step *step) {
  const struct mq_program_tensor *y = &program->tensors[step->output];
  return (struct mq_program_output){.scale = y->scale,
                                    .zero_point = y->zero_point,
                                    .lo = step->lo,
                                    .hi = step->hi,
                                    .clip_lo = step->clip_lo,
                                    .clip_hi = step->clip_hi};
}

void mq_program_clamp(int32_t *lo, int32_t *hi, const struct mq_program_tensor *y, float u, float v) {
  const int64_t from = (int64_t)y->zero_point + program_round_away(u / y->scale);
  const int64_t to = (int64_t)y->zero_point + program_round_away(v / y->scale);
  *lo = program_clamp(from, y->code_min, y->code_max);
  *hi = program_clamp(to, y->code_min, y->code_max);
}

mq_program_status program_bias(int32_t *bias, const struct mq_program_layer *layer,
                               struct mq_program_err *err) {
  const double codes = layer->bias / ((double)layer->x_scale * (double)layer->w_scale);
  if (program_round_double(bias, codes)) return MQ_PROGRAM_OK;
  return program_fail(err, MQ_PROGRAM_INVALID,
                      "bias %g is %g steps of the accumulator (scales %g and %g), expected less than 2^31",
                      layer->bias, codes, (double)layer->x_scale, (double)layer->w_scale);
}

int32_t program_round_output(float v, const struct mq_program_output *y) {
  v = program_clip(v, (float)(y->lo - y->zero_point), (float)(y->hi - y->zero_point));
  return program_round_even(v) + y->zero_point;
}

int32_t program_quantize_even(float x, const struct mq_program_output *y) {
  return program_round_output(x / y->scale, y);
}
