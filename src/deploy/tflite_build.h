/* Inside of the TFLite exporter: from an integer program to the tables of a file.
 *
 * A program's step becomes an operator or a few; each tensor of the program one of the file, with the batch
 * in front. Codes of 8 bits are int8; unsigned ones are written less 128, and so are their zero points. */
#ifndef MQ_DEPLOY_TFLITE_BUILD_H
#define MQ_DEPLOY_TFLITE_BUILD_H

#include <jansson.h>

#include "deploy/tflite_file.h"
#include "mqbench/deploy.h"

#define TFLITE_NO_TENSOR UINT32_MAX

struct tflite_build {
  const struct mq_program *program;
  const struct mq_graph *graph;       /* for names of biases */
  const struct mq_program_step *step; /* at hand, for messages; NULL: none */
  struct mq_arena arena;              /* of the tables */
  struct tflite_tensor *tensors;
  struct tflite_operator *operators, ignored; /* ignored: what is written to after a failure */
  uint32_t n_tensors, n_operators, room_tensors, room_operators;
  uint32_t *of;     /* by the program's tensor: the file's */
  json_t *names;    /* of the file's tensors, true, and of the user's that are still to come, false */
  size_t n_renamed; /* of suffixes that were numbered */
  struct mq_err *err;
  mq_status status; /* the first failure; calls after it do nothing */
};

/* The whole program. Tables are there until tflite_build_end, which answers how it went. */
void tflite_build_begin(struct tflite_build *build, const struct mq_program *program,
                        const struct mq_graph *graph, struct mq_err *err);
void tflite_build_steps(struct tflite_build *build);
void tflite_build_model(struct tflite_model *model, struct tflite_build *build);
mq_status tflite_build_end(struct tflite_build *build);

/* ---- Tables -------------------------------------------------------------------------------------------- */
/* "format tflite cannot express step 'conv1' (conv): ..." */
void tflite_fail(struct tflite_build *build, const char *format, ...) MQ_PRINTF(2, 3);
/* Zeroed, until the end. NULL after a failure. */
void *tflite_alloc(struct tflite_build *build, size_t count, size_t bytes);
/* `name` and `suffix`, and a number where that is taken; with the suffix "" a name of the user's. */
const char *tflite_name(struct tflite_build *build, const char *name, const char *suffix);
/* The file's tensor of the program's; made at its first use. */
uint32_t tflite_tensor_of(struct tflite_build *build, uint32_t tensor);
const struct tflite_tensor *tflite_tensor_at(const struct tflite_build *build, uint32_t tensor);
uint32_t tflite_input(struct tflite_build *build, uint32_t i); /* of the step */
uint32_t tflite_output(struct tflite_build *build);
/* One like tensor `like` of the file, made by an operator, with its name and a suffix. */
uint32_t tflite_tensor_like(struct tflite_build *build, uint32_t like, const char *suffix);
/* Constants. `data` is kept, not copied. */
uint32_t tflite_constant(struct tflite_build *build, const struct tflite_tensor *tensor);
uint32_t tflite_ints(struct tflite_build *build, const char *suffix, const int32_t *x, int rows, int columns);
uint32_t tflite_floats(struct tflite_build *build, const char *suffix, const float *x, int32_t n);
/* One code, as the file has it, with the scale of tensor `like`. */
uint32_t tflite_code_constant(struct tflite_build *build, const char *suffix, int32_t code, uint32_t like);
/* Valid until the next one is added; never NULL. */
struct tflite_operator *tflite_add(struct tflite_build *build, tflite_code code, const uint32_t *inputs,
                                   uint32_t n_inputs, uint32_t output);

/* ---- Codes --------------------------------------------------------------------------------------------- */
/* What the file's codes are below the program's: 128 where those are unsigned. */
int32_t tflite_code_offset(const struct mq_program_tensor *tensor);
/* The fused activation that keeps the step's codes in [lo, hi], for an operator that takes one; *output is
 * the tensor that the operator is to make. Where no activation says it, that is a tensor before the step's
 * output, and tflite_limit has to follow the operator. */
tflite_activation tflite_choose_activation(struct tflite_build *build, bool takes_one, uint32_t *output);
/* MAXIMUM and MINIMUM from `x` to the step's output, where `x` is another tensor. */
void tflite_limit(struct tflite_build *build, uint32_t x);

/* ---- Windows ------------------------------------------------------------------------------------------- */
/* How a window lies on its input: with one of the format's paddings, behind a pad of its own where neither
 * does it. */
struct tflite_place {
  tflite_padding padding;
  int32_t before[2], behind[2]; /* rows and columns to be added first; 0: none */
  bool has_pad;
};
void tflite_find_place(struct tflite_place *place, const struct mq_program_window *window,
                       const struct mq_program_tensor *x, const struct mq_program_tensor *y);
/* The step's input, padded with the file's code `code`, or with zero points (floats: 0) where `is_zero`. */
uint32_t tflite_pad_input(struct tflite_build *build, const struct tflite_place *place, bool is_zero,
                          int32_t code);

/* ---- Layers -------------------------------------------------------------------------------------------- */
/* [O][KH][KW] as [KH][KW][O], elements of `bytes`. */
const void *tflite_turn_depthwise(struct tflite_build *build, const void *weights, int32_t n_channels,
                                  int64_t taps, size_t bytes);
/* Of the layer with these weights: the user's name, or made from theirs. */
const char *tflite_name_bias(struct tflite_build *build, const char *w_name);
/* TRANSPOSE_CONV from the step's input to `output`, with a pad, and cut to its size, as the window says. */
void tflite_add_transposed(struct tflite_build *build, const struct mq_program_window *window,
                           uint32_t weights, uint32_t bias, uint32_t output);
/* The fused activation of a step on floats. */
tflite_activation tflite_float_activation(struct tflite_build *build);
/* MAXIMUM and MINIMUM from `x` to `y`, floats. */
void tflite_limit_floats(struct tflite_build *build, uint32_t x, uint32_t y, float lo, float hi);

/* ---- Steps --------------------------------------------------------------------------------------------- */
void tflite_emit_layer(struct tflite_build *build);
void tflite_emit_float_layer(struct tflite_build *build);
void tflite_emit_pool(struct tflite_build *build);
void tflite_emit_mean(struct tflite_build *build);
void tflite_emit_move(struct tflite_build *build);
void tflite_emit_float(struct tflite_build *build);

#endif
