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

/* The FakeQuantize on whose grid the value lies: it made the value, or the value is made of elements of what
 * it made (MaxPool, Flatten, Reshape, Identity). NULL: there is none. */
const struct mq_node *engine_grid_source(const struct mq_value *value);

/* ---- op_codes.c: the step that makes codes ---------------------------------------------------------- */
struct engine_quantizer {
  const struct mq_quantizer_ops *ops;
  struct mq_quantizer_config config;
  int64_t n_rows, row_count;
  int form; /* place; -1: none yet */
  /* Steps before it that it does itself, part by part: gain x + shift per channel, plus what lies like x at
   * another place, then a clip. */
  bool has_clip;
  float lo, hi;
  int64_t n_channels;    /* of gain and shift */
  bool is_in_place;      /* the gradient at x lies where that at the codes does */
  int gain, normalised;  /* places: gain and shift; what is not stored any more; -1: x comes as it is */
  int other, other_grid; /* places: what is added, -1: nothing; its grid if it is codes, -1: it is floats */
};
/* inputs {x, form[, other[, its grid]]}, outputs {codes, grid[, y]} */
extern const struct engine_function engine_codes_function;
/* inputs {x, form, gain and shift[, other[, its grid]]}: the gradient it leaves at its outputs is that of
 * gain x + shift.
 */
extern const struct engine_function engine_normalised_codes_function;
size_t engine_codes_scratch_bytes(const struct engine_quantizer *s);
/* Scales and zero points as they stand, into `grid` as engine_codes has it, and qparams, whose arrays lie in
 * `scratch`. */
mq_status engine_read_grid(double *grid, struct mq_qparams *qparams, const struct engine_quantizer *s,
                           const double *form, void *scratch, struct mq_err *err) MQ_MUST_CHECK;

/* ---- take_over.c --------------------------------------------------------------------------------- */
/* Takes over the last steps, a clip, an addition and a normalisation, whose results only this node reads. x:
 * the place that is read now, and the place to read. */
mq_status engine_take_over(int *x, struct engine_quantizer *s, struct engine_compiler *c,
                           const struct mq_node *node, struct mq_err *err) MQ_MUST_CHECK;

/* ---- op_recode.c: between codes and floats ---------------------------------------------------------- */
/* Codes of a value that lies at x as floats on the grid of another one's point: nothing is rounded any more,
 * and the gradient is x's. NULL: there is no such grid. */
mq_status engine_recode(const struct engine_codes **codes, struct engine_compiler *c,
                        const struct mq_value *value, int x, struct mq_err *err) MQ_MUST_CHECK;

/* Where `known` is the place of the value's codes, floats are made of them: `known` becomes their place. */
mq_status engine_decode(int *known, struct engine_compiler *c, const struct mq_value *value,
                        struct mq_err *err) MQ_MUST_CHECK;
/* inputs {codes, grid}, outputs {y} */
extern const struct engine_function engine_decode_function;
/* `count` floats of the codes from `at` on. */
void engine_decode_part(float *y, const struct mq_tensor *codes, int64_t at, int64_t count,
                        const double *grid);

#endif
