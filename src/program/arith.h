/* What the arithmetics' files share. */
#ifndef MQ_PROGRAM_ARITH_H
#define MQ_PROGRAM_ARITH_H

#include "program/number.h"
#include "program/text.h"

extern const struct mq_program_arithmetic program_arith_tflite, program_arith_xnnpack, program_arith_fbgemm,
    program_arith_ort, program_arith_pot_shift, program_arith_pot_shift_even, program_arith_trt,
    program_arith_dequant;

/* bias_i32 = rne(b / (sx sw)) in double; the product of two floats is exact there. */
mq_program_status program_bias(int32_t *bias, const struct mq_program_layer *layer,
                               struct mq_program_err *err);

/* TensorFlow Lite's average of windows, scale and zero point kept: half away from zero, of the codes
 * themselves. */
mq_program_status program_make_kept_average(struct mq_program_mean *mean, const struct mq_program_tensor *x,
                                            const struct mq_program_tensor *y, int32_t n,
                                            struct mq_program_err *err);
int32_t program_kept_average(int64_t sum, const struct mq_program_mean *mean,
                             const struct mq_program_output *y);

/* v = f(f(acc) factor), clamped to the output's codes less the zero point, rounded half to even. */
int32_t program_round_output(float v, const struct mq_program_output *y);

/* rne(clamp(f(x/s), lo - z, hi - z)) + z: a true division, half to even. */
int32_t program_quantize_even(float x, const struct mq_program_output *y);

#endif
