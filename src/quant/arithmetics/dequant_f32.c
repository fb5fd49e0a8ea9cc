/* Layers answer floats; everything between them is float, and the next layer's input is rounded. */
#include "quant/exact.h"

const struct mq_exact_arithmetic mq_exact_dequant_f32 = {
    .name = "dequant_f32",
    .make_channel = mq_exact_make_float_channel,
    .dequantize = mq_exact_dequantize,
    .quantize = mq_exact_quantize_by_division,
};
