/* What the float and the integer form of a product with changing weights share. */
#ifndef MQ_ENGINE_TRAIN_CONV_H
#define MQ_ENGINE_TRAIN_CONV_H

#include "engine/train/codes.h"

struct engine_conv {
  struct mq_conv_train *conv;
  struct mq_conv_train_sizes sizes;
  int64_t n_rows, n_channels;  /* of the output, for the bias */
  struct mq_conv_int *integer; /* the forward product of codes; NULL: in floats */
  bool is_input_signed;        /* codes */
  bool has_weight_zero_point;
  size_t zero_bytes;          /* of the weights' zero points, rounded */
  int64_t n_inputs, n_scales; /* elements of the slice's input; scales of the weights */
  size_t input_bytes;         /* of that input as floats */
};

/* Places of a product. Codes NULL: there are none; x_codes with x -1: no floats. */
struct engine_operands {
  int x, w, bias;
  const struct engine_codes *x_codes, *w_codes;
};

void engine_conv_release(void *state);
/* db = the sum of g over rows, in double; scratch: a double per channel. */
void engine_conv_backward_bias(const struct engine_conv *s, float *db, bool adds, const float *g,
                               struct engine_frame *frame);

/* ---- op_conv_codes.c ------------------------------------------------------------------------------- */
/* Makes s->integer where both operands have codes and the kernel is made for them. */
mq_status engine_conv_add_integer(struct engine_conv *s, const struct mq_conv_train_desc *desc,
                                  const struct engine_operands *operands, struct mq_err *err) MQ_MUST_CHECK;
/* inputs {codes of x, grid of x, packed forward, packed backward, grid of w[, bias]}, outputs {y} */
enum {
  CODES_X,
  CODES_X_GRID,
  CODES_FORWARD,
  CODES_BACKWARD,
  CODES_W_GRID,
  CODES_BIAS
};
extern const struct engine_function engine_conv_codes_function;
size_t engine_conv_codes_scratch_bytes(const struct engine_conv *s);

#endif
