/* Steps that move values: codes keep their meaning. */
#include "program/file.h"

static mq_program_status check_kept(const struct mq_program *program, const struct mq_program_step *step,
                                    struct mq_program_err *err) {
  for (uint32_t i = 0; i < step->n_inputs; i++)
    if (!program_same_codes(program_input(program, step, i), program_output(program, step)))
      return program_fail_step(
          err, program, step,
          "input %lld: expected the output's type, scale and zero point, and no wider codes", (long long)i);
  return MQ_PROGRAM_OK;
}

static mq_program_status check_ranks(const struct mq_program *program, const struct mq_program_step *step,
                                     struct mq_program_err *err) {
  const struct mq_program_tensor *x = program_input(program, step, 0), *y = program_output(program, step);
  if (x->rank != y->rank)
    return program_fail_step(err, program, step, "ranks %lld and %lld, expected the same", (long long)x->rank,
                             (long long)y->rank);
  return check_kept(program, step, err);
}

static size_t element_bytes(const struct program_frame *frame, const struct mq_program_step *step) {
  return mq_program_type_bytes(program_output(frame->program, step)->type);
}

/* y[i] = x[walk]: a walk over y's indices with strides of x's own. */
static void copy_walk(const struct program_frame *frame, const struct mq_program_step *step,
                      struct program_walk *walk) {
  const size_t bytes = element_bytes(frame, step);
  const unsigned char *from = program_read(frame, step->inputs[0]);
  unsigned char *to = program_write_to(frame, step);
  for (int64_t i = 0, n = mq_program_elements(walk->y); i < n; i++, program_walk_next(walk))
    program_copy(to + (size_t)i * bytes, from + (size_t)walk->at * bytes, bytes);
}

static void list_fields(struct program_codec *codec, int32_t list[MQ_PROGRAM_MAX_RANK]) {
  for (int i = 0; i < MQ_PROGRAM_MAX_RANK; i++)
    program_field(codec, &list[i]);
}

/* Elements behind an axis, and before it. */
static int64_t inner_count(const struct mq_program_tensor *t, int32_t axis) {
  int64_t n = 1;
  for (int32_t i = axis + 1; i < t->rank; i++)
    n *= t->dim[i];
  return n;
}
static int64_t outer_count(const struct mq_program_tensor *t, int32_t axis) {
  int64_t n = 1;
  for (int32_t i = 0; i < axis; i++)
    n *= t->dim[i];
  return n;
}

/* Shapes may differ along `axis` only. */
static mq_program_status check_axis(const struct mq_program *program, const struct mq_program_step *step,
                                    int32_t axis, uint32_t input, struct mq_program_err *err) {
  const struct mq_program_tensor *x = program_input(program, step, input), *y = program_output(program, step);
  bool is_right = axis >= 0 && axis < y->rank && x->rank == y->rank;
  for (int32_t i = 0; i < y->rank && is_right; i++)
    is_right = i == axis || x->dim[i] == y->dim[i];
  if (is_right) return MQ_PROGRAM_OK;
  return program_fail_step(err, program, step,
                           "input %lld: expected the output's shape but for the axis (%lld) of its %lld",
                           (long long)input, (long long)axis, (long long)y->rank);
}

/* ---- Concat ------------------------------------------------------------------------------------------ */
static mq_program_status check_concat(const struct mq_program *program, const struct mq_program_step *step,
                                      struct mq_program_err *err) {
  const struct mq_program_tensor *y = program_output(program, step);
  const int32_t axis = step->as.concat.axis;
  mq_program_status status = check_kept(program, step, err);
  int64_t sum = 0;
  for (uint32_t i = 0; i < step->n_inputs && status == MQ_PROGRAM_OK; i++) {
    status = check_axis(program, step, axis, i, err);
    if (status == MQ_PROGRAM_OK) sum += program_input(program, step, i)->dim[axis];
  }
  if (status != MQ_PROGRAM_OK || sum == y->dim[axis]) return status;
  return program_fail_step(err, program, step, "inputs are %lld long together, expected %lld", (long long)sum,
                           (long long)y->dim[axis]);
}

static void concat_fields(struct program_codec *codec, struct mq_program_step *step) {
  program_field(codec, &step->as.concat.axis);
}

static void run_concat(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *y = program_output(frame->program, step);
  const int32_t axis = step->as.concat.axis;
  const size_t run_bytes = (size_t)inner_count(y, axis) * element_bytes(frame, step);
  unsigned char *to = program_write_to(frame, step);
  for (int64_t outer = 0, n = outer_count(y, axis); outer < n; outer++)
    for (uint32_t i = 0; i < step->n_inputs; i++) {
      const size_t bytes = (size_t)program_input(frame->program, step, i)->dim[axis] * run_bytes;
      const unsigned char *from = program_read(frame, step->inputs[i]);
      program_copy(to, from + (size_t)outer * bytes, bytes);
      to += bytes;
    }
}

const struct program_op program_op_concat = {
    .name = "concat",
    .min_inputs = 1,
    .max_inputs = MQ_PROGRAM_MAX_ITEMS,
    .check = check_concat,
    .fields = concat_fields,
    .run = run_concat,
};

/* ---- Pad --------------------------------------------------------------------------------------------- */
static mq_program_status check_pad(const struct mq_program *program, const struct mq_program_step *step,
                                   struct mq_program_err *err) {
  const struct mq_program_tensor *x = program_input(program, step, 0), *y = program_output(program, step);
  const mq_program_status status = check_ranks(program, step, err);
  if (status != MQ_PROGRAM_OK) return status;
  for (int32_t i = 0; i < MQ_PROGRAM_MAX_RANK; i++) {
    const int32_t begin = step->as.pad.begin[i], most = i < y->rank ? y->dim[i] - x->dim[i] : 0;
    if (begin < 0 || begin > most)
      return program_fail_step(err, program, step, "%lld elements before axis %lld, expected 0 to %lld",
                               (long long)begin, (long long)i, (long long)most);
  }
  const int32_t code = step->as.pad.code;
  const bool is_code = program_is_code(y);
  if ((is_code ? code >= y->code_min && code <= y->code_max : y->type == MQ_PROGRAM_S32 || code == 0) &&
      (program_is_float(y) || program_float_bits(step->as.pad.value) == 0))
    return MQ_PROGRAM_OK;
  return program_fail_step(err, program, step,
                           "pads hold code %lld and value %g, expected one of the output's", (long long)code,
                           (double)step->as.pad.value);
}

static void pad_fields(struct program_codec *codec, struct mq_program_step *step) {
  list_fields(codec, step->as.pad.begin);
  program_field(codec, &step->as.pad.code);
  program_field_float(codec, &step->as.pad.value);
}

static void put_pad(const struct mq_program_step *step, mq_program_type type, void *to, int64_t at) {
  if (type == MQ_PROGRAM_F32)
    ((float *)to)[at] = step->as.pad.value;
  else if (type == MQ_PROGRAM_S32)
    ((int32_t *)to)[at] = step->as.pad.code;
  else
    program_put_code(to, type, at, step->as.pad.code);
}

static bool is_inside(const struct program_walk *walk, const struct mq_program_tensor *x,
                      const int32_t *begin) {
  bool is_in = true;
  for (int32_t i = 0; i < x->rank; i++)
    is_in = is_in && walk->index[i] >= begin[i] && walk->index[i] - begin[i] < x->dim[i];
  return is_in;
}

static void run_pad(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *x = program_input(frame->program, step, 0);
  const struct mq_program_tensor *y = program_output(frame->program, step);
  const size_t bytes = element_bytes(frame, step);
  const unsigned char *from = program_read(frame, step->inputs[0]);
  unsigned char *to = program_write_to(frame, step);
  struct program_walk walk = {.y = y};
  program_strides(walk.stride, x);
  for (int32_t i = 0; i < x->rank; i++)
    walk.at -= step->as.pad.begin[i] * walk.stride[i];
  for (int64_t i = 0, n = mq_program_elements(y); i < n; i++, program_walk_next(&walk))
    if (is_inside(&walk, x, step->as.pad.begin))
      program_copy(to + (size_t)i * bytes, from + (size_t)walk.at * bytes, bytes);
    else
      put_pad(step, y->type, to, i);
}

const struct program_op program_op_pad = {
    .name = "pad",
    .min_inputs = 1,
    .max_inputs = 1,
    .check = check_pad,
    .fields = pad_fields,
    .run = run_pad,
};

/* ---- Slice ------------------------------------------------------------------------------------------- */
static mq_program_status check_slice(const struct mq_program *program, const struct mq_program_step *step,
                                     struct mq_program_err *err) {
  const struct mq_program_tensor *x = program_input(program, step, 0), *y = program_output(program, step);
  const mq_program_status status = check_ranks(program, step, err);
  if (status != MQ_PROGRAM_OK) return status;
  for (int32_t i = 0; i < MQ_PROGRAM_MAX_RANK; i++) {
    const int64_t start = step->as.slice.start[i], stride = step->as.slice.step[i];
    const int64_t dim = i < x->rank ? x->dim[i] : 1,
                  last = start + stride * ((i < y->rank ? y->dim[i] : 1) - 1);
    const bool is_used = i < x->rank;
    if (is_used ? stride == 0 || start < 0 || start >= dim || last < 0 || last >= dim
                : start != 0 || stride != 1)
      return program_fail_step(
          err, program, step, "axis %lld: from %lld to %lld by %lld, expected indices below %lld",
          (long long)i, (long long)start, (long long)last, (long long)stride, (long long)dim);
  }
  return MQ_PROGRAM_OK;
}

static void slice_fields(struct program_codec *codec, struct mq_program_step *step) {
  list_fields(codec, step->as.slice.start);
  list_fields(codec, step->as.slice.step);
}

static void run_slice(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *x = program_input(frame->program, step, 0);
  struct program_walk walk = {.y = program_output(frame->program, step)};
  program_strides(walk.stride, x);
  for (int32_t i = 0; i < x->rank; i++) {
    walk.at += step->as.slice.start[i] * walk.stride[i];
    walk.stride[i] *= step->as.slice.step[i];
  }
  copy_walk(frame, step, &walk);
}

const struct program_op program_op_slice = {
    .name = "slice",
    .min_inputs = 1,
    .max_inputs = 1,
    .check = check_slice,
    .fields = slice_fields,
    .run = run_slice,
};

/* ---- Gather ------------------------------------------------------------------------------------------ */
static mq_program_status check_gather(const struct mq_program *program, const struct mq_program_step *step,
                                      struct mq_program_err *err) {
  const mq_program_status status = check_kept(program, step, err);
  return status == MQ_PROGRAM_OK ? check_axis(program, step, step->as.gather.axis, 0, err) : status;
}

static mq_program_status check_index(const struct mq_program *program, const struct mq_program_step *step,
                                     struct mq_program_err *err) {
  const int32_t axis = step->as.gather.axis, dim = program_input(program, step, 0)->dim[axis];
  for (int32_t i = 0; i < program_output(program, step)->dim[axis]; i++)
    if (step->as.gather.index[i] < 0 || step->as.gather.index[i] >= dim)
      return program_fail_step(err, program, step, "index %lld is %lld, expected 0 to %lld", (long long)i,
                               (long long)step->as.gather.index[i], (long long)dim - 1);
  return MQ_PROGRAM_OK;
}

static void gather_fields(struct program_codec *codec, struct mq_program_step *step) {
  program_field(codec, &step->as.gather.axis);
}

static void gather_constants(struct program_codec *codec, const struct mq_program *program,
                             struct mq_program_step *step) {
  const int32_t n = program_output(program, step)->dim[step->as.gather.axis];
  step->as.gather.index = program_field_constant(codec, step->as.gather.index, n, sizeof(int32_t));
}

static void run_gather(const struct program_frame *frame, const struct mq_program_step *step) {
  const struct mq_program_tensor *x = program_input(frame->program, step, 0);
  const struct mq_program_tensor *y = program_output(frame->program, step);
  const int32_t axis = step->as.gather.axis;
  const size_t bytes = (size_t)inner_count(y, axis) * element_bytes(frame, step);
  const unsigned char *from = program_read(frame, step->inputs[0]);
  unsigned char *to = program_write_to(frame, step);
  for (int64_t outer = 0, n = outer_count(y, axis); outer < n; outer++)
    for (int32_t i = 0; i < y->dim[axis]; i++, to += bytes) {
      const int64_t at = outer * x->dim[axis] + step->as.gather.index[i];
      program_copy(to, from + (size_t)at * bytes, bytes);
    }
}

const struct program_op program_op_gather = {
    .name = "gather",
    .min_inputs = 1,
    .max_inputs = 1,
    .check = check_gather,
    .check_data = check_index,
    .fields = gather_fields,
    .constants = gather_constants,
    .run = run_gather,
};

/* ---- Transpose --------------------------------------------------------------------------------------- */
static mq_program_status check_transpose(const struct mq_program *program, const struct mq_program_step *step,
                                         struct mq_program_err *err) {
  const struct mq_program_tensor *x = program_input(program, step, 0), *y = program_output(program, step);
  const mq_program_status status = check_ranks(program, step, err);
  uint32_t seen = 0;
  if (status != MQ_PROGRAM_OK) return status;
  for (int32_t i = 0; i < MQ_PROGRAM_MAX_RANK; i++) {
    const int32_t from = step->as.transpose.perm[i];
    const bool is_right =
        i < y->rank ? from >= 0 && from < x->rank && (seen >> from & 1) == 0 && y->dim[i] == x->dim[from]
                    : from == 0;
    if (!is_right)
      return program_fail_step(
          err, program, step,
          "dimension %lld is the input's %lld: expected a permutation, and zeros behind it", (long long)i,
          (long long)from);
    if (i < y->rank) seen |= (uint32_t)1 << from;
  }
  return MQ_PROGRAM_OK;
}

static void transpose_fields(struct program_codec *codec, struct mq_program_step *step) {
  list_fields(codec, step->as.transpose.perm);
}

static void run_transpose(const struct program_frame *frame, const struct mq_program_step *step) {
  int64_t stride[MQ_PROGRAM_MAX_RANK];
  struct program_walk walk = {.y = program_output(frame->program, step)};
  program_strides(stride, program_input(frame->program, step, 0));
  for (int32_t i = 0; i < walk.y->rank; i++)
    walk.stride[i] = stride[step->as.transpose.perm[i]];
  copy_walk(frame, step, &walk);
}

const struct program_op program_op_transpose = {
    .name = "transpose",
    .min_inputs = 1,
    .max_inputs = 1,
    .check = check_transpose,
    .fields = transpose_fields,
    .run = run_transpose,
};

/* ---- Reshape ----------------------------------------------------------------------------------------- */
static mq_program_status check_reshape(const struct mq_program *program, const struct mq_program_step *step,
                                       struct mq_program_err *err) {
  const int64_t n = mq_program_elements(program_input(program, step, 0));
  const int64_t expected = mq_program_elements(program_output(program, step));
  if (n == expected) return check_kept(program, step, err);
  return program_fail_step(err, program, step, "%lld elements become %lld, expected as many", (long long)n,
                           (long long)expected);
}

static void run_reshape(const struct program_frame *frame, const struct mq_program_step *step) {
  program_copy(program_write_to(frame, step), program_read(frame, step->inputs[0]),
               mq_program_tensor_bytes(program_output(frame->program, step)));
}

const struct program_op program_op_reshape = {
    .name = "reshape",
    .min_inputs = 1,
    .max_inputs = 1,
    .check = check_reshape,
    .run = run_reshape,
};
