/* The table of steps: what each kind checks, keeps in the file, and does. */
#ifndef MQ_PROGRAM_OPS_H
#define MQ_PROGRAM_OPS_H

#include "program/number.h"
#include "program/text.h"

struct program_codec; /* file.h */

/* An image on its way through a program. */
struct program_frame {
  const struct mq_program *program;
  unsigned char *arena;
};

struct program_op {
  const char *name;
  uint32_t min_inputs, max_inputs;
  bool rounds; /* makes codes with the step's arithmetic */
  bool clips;  /* floats of its own */
  /* Shapes, types and parameters; never what constants hold. */
  mq_program_status (*check)(const struct mq_program *program, const struct mq_program_step *step,
                             struct mq_program_err *err);
  /* What constants hold. NULL: anything will do. */
  mq_program_status (*check_data)(const struct mq_program *program, const struct mq_program_step *step,
                                  struct mq_program_err *err);
  void (*fields)(struct program_codec *codec, struct mq_program_step *step); /* NULL: none of its own */
  /* The constants it borrows; on a step that was checked. NULL: none. */
  void (*constants)(struct program_codec *codec, const struct mq_program *program,
                    struct mq_program_step *step);
  /* Innermost operations of an image. NULL: one for each element. */
  uint64_t (*work)(const struct mq_program *program, const struct mq_program_step *step);
  void (*run)(const struct program_frame *frame, const struct mq_program_step *step);
};

extern const struct program_op program_op_quantize, program_op_dequantize, program_op_conv, program_op_linear,
    program_op_add, program_op_average, program_op_mean, program_op_table, program_op_max, program_op_concat,
    program_op_pad, program_op_slice, program_op_gather, program_op_transpose, program_op_reshape,
    program_op_affine, program_op_unary, program_op_binary, program_op_softmax, program_op_conv_float,
    program_op_linear_float;

const struct program_op *program_op_get(mq_step_kind kind); /* NULL: there is none */

/* ---- Shared by checks (check.c) ---------------------------------------------------------------------- */
static inline const struct mq_program_tensor *program_input(const struct mq_program *program,
                                                            const struct mq_program_step *step, uint32_t i) {
  return &program->tensors[step->inputs[i]];
}
static inline const struct mq_program_tensor *program_output(const struct mq_program *program,
                                                             const struct mq_program_step *step) {
  return &program->tensors[step->output];
}
static inline bool program_is_code(const struct mq_program_tensor *tensor) {
  return tensor->type == MQ_PROGRAM_S8 || tensor->type == MQ_PROGRAM_U8 || tensor->type == MQ_PROGRAM_S16;
}
static inline bool program_is_byte(const struct mq_program_tensor *tensor) {
  return tensor->type == MQ_PROGRAM_S8 || tensor->type == MQ_PROGRAM_U8;
}
static inline bool program_is_float(const struct mq_program_tensor *tensor) {
  return tensor->type == MQ_PROGRAM_F32;
}
static inline int64_t program_last_dim(const struct mq_program_tensor *tensor) {
  return tensor->rank > 0 ? tensor->dim[tensor->rank - 1] : 1;
}
/* Limits of a type's codes. */
int32_t program_type_min(mq_program_type type);
int32_t program_type_max(mq_program_type type);
bool program_same_shape(const struct mq_program_tensor *a, const struct mq_program_tensor *b);
/* Codes of x mean the same in y. */
bool program_same_codes(const struct mq_program_tensor *x, const struct mq_program_tensor *y);
/* Equal ranks, each dimension of x is y's or 1. */
bool program_broadcasts(const struct mq_program_tensor *x, const struct mq_program_tensor *y);
/* Everything but the tensors a step makes: see mq_program_finish. */
mq_program_status program_check_tensor(const struct mq_program *program, uint32_t tensor,
                                       struct mq_program_err *err);
mq_program_status program_check_step(const struct mq_program *program, const struct mq_program_step *step,
                                     struct mq_program_err *err);
/* Window of a pool or convolution: taps t of output o are o * stride - pad_begin + t * dilation. */
int64_t program_extent(const struct mq_program_window *window, int axis);
/* The taps [*first, *first + n) of the window that begins at `begin` that lie in [0, end): returns n. */
int64_t program_taps(int64_t *first, int64_t begin, int64_t end, int64_t kernel, int64_t dilation);
mq_program_status program_check_window(const struct mq_program *program, const struct mq_program_step *step,
                                       const struct mq_program_window *window, struct mq_program_err *err);

/* Product and sum that stay at the largest number instead of overflowing. */
uint64_t program_times(uint64_t a, uint64_t b);
uint64_t program_plus(uint64_t a, uint64_t b);

/* Places tensors in the arena by their lifetimes. */
mq_program_status program_plan(struct mq_program *program, struct mq_program_err *err);

/* ---- Shared by executing (run.c) --------------------------------------------------------------------- */
static inline const void *program_read(const struct program_frame *frame, uint32_t tensor) {
  const struct mq_program_tensor *t = &frame->program->tensors[tensor];
  return t->constant != NULL ? t->constant : frame->arena + t->offset;
}
static inline void *program_write_to(const struct program_frame *frame, const struct mq_program_step *step) {
  return frame->arena + frame->program->tensors[step->output].offset;
}
/* A code of a tensor's memory, and writing one. */
int32_t program_get_code(const void *codes, mq_program_type type, int64_t at);
void program_put_code(void *codes, mq_program_type type, int64_t at, int32_t code);
/* Copies n elements of `bytes` each. */
void program_copy(void *to, const void *from, size_t bytes);

/* A row-major walk over y's indices with the position in x, whose strides are given (0 along a broadcast
 * dimension, any for a move). */
struct program_walk {
  const struct mq_program_tensor *y;
  int64_t stride[MQ_PROGRAM_MAX_RANK], index[MQ_PROGRAM_MAX_RANK], at;
};
void program_walk_next(struct program_walk *walk);
/* Row-major strides of x's own dimensions, in elements. */
void program_strides(int64_t stride[MQ_PROGRAM_MAX_RANK], const struct mq_program_tensor *x);
struct program_walk program_walk_broadcast(const struct mq_program_tensor *y,
                                           const struct mq_program_tensor *x);

/* ---- Float functions (float_math.c) ------------------------------------------------------------------ */
float program_sigmoid(float x);
void program_softmax(float *y, const float *x, int64_t n); /* one row */

#endif
