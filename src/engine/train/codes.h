/* Fake quantization by way of integers: which values are kept as codes (uint8 or int8) on a grid s (q - z)
 * instead of floats, so that products are sums of integers. */
#ifndef MQ_ENGINE_TRAIN_CODES_H
#define MQ_ENGINE_TRAIN_CODES_H

#include "engine/train/training.h"

/* What a quantizer's codes are like, known before the first step. */
struct engine_code_kind {
  bool is_signed;
  int bits; /* that hold all codes */
  bool has_zero_point;
};

/* A value's codes. `grid`: n scales, then n zero points, doubles; n is 1 or the weight's output channels, and
 * a scale is NaN where the data or the parameters were not finite. */
struct engine_codes {
  struct engine_code_kind kind;
  int codes, grid; /* places; grid -1: the value has none */
  int64_t n_channels;
};

/* False: the point's values lie on no integer grid of 8 bits. */
mq_status engine_point_codes(bool *is_on_grid, struct engine_code_kind *kind, struct engine_compiler *c,
                             const struct mq_point *point, struct mq_err *err) MQ_MUST_CHECK;

/* Who reads a fake-quantized activation or weight, and how. */
struct engine_code_readers {
  bool are_products; /* one at least can take codes */
  bool has_others;   /* some reader wants floats */
  engine_layout layout;
};
mq_status engine_find_code_readers(struct engine_code_readers *readers, struct engine_compiler *c,
                                   const struct mq_node *node, bool is_weight,
                                   struct mq_err *err) MQ_MUST_CHECK;

/* NULL: the value has no codes. */
const struct engine_codes *engine_codes_of(const struct engine_compiler *c, const struct mq_value *value);
mq_status engine_note_codes(struct engine_compiler *c, const struct mq_value *value,
                            const struct engine_codes *codes, struct mq_err *err) MQ_MUST_CHECK;

#endif
