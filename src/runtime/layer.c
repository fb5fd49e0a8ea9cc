#include "runtime/layer.h"

#include "runtime/quick.h"

/* ---- Which layers ------------------------------------------------------------------------------------ */
struct reach {
  int64_t top, side, bottom;
};

/* Pixels that windows want around the input. */
static struct reach find_reach(const struct runtime_layout *x, const struct mq_program_step *step) {
  const struct mq_program_window *w = &step->as.conv.window;
  const int64_t size[2] = {x->rows, x->columns};
  int64_t behind[2];
  for (int axis = 0; axis < 2; axis++) {
    const int64_t extent = program_extent(w, axis);
    const int64_t out = (size[axis] + w->pad_begin[axis] + w->pad_end[axis] - extent) / w->stride[axis] + 1;
    behind[axis] = (out - 1) * w->stride[axis] - w->pad_begin[axis] + extent - size[axis];
    if (behind[axis] < 0) behind[axis] = 0;
  }
  const int64_t before = w->pad_begin[1];
  return (struct reach){w->pad_begin[0], before > behind[1] ? before : behind[1], behind[0]};
}

/* Far from the ends of floats' exponents, so that no value is infinite or NaN. */
static bool is_moderate(float x) {
  return x >= 0x1p-40f && x <= 0x1p40f;
}

static bool has_moderate_scales(const struct mq_program *program, const struct mq_program_step *step) {
  const struct mq_program_tensor *y = program_output(program, step);
  bool is_right = is_moderate(y->scale);
  if (step->n_inputs > 1) is_right = is_right && is_moderate(program_input(program, step, 1)->scale);
  for (int64_t o = 0; o < program_last_dim(y) && is_right; o++) {
    const struct mq_program_channel *channel = &step->as.conv.channels[o];
    is_right = channel->factor < 0x1p20f && channel->offset < 0x1p50f && channel->offset > -0x1p50f;
  }
  return is_right;
}

bool runtime_layer_takes(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  const struct mq_program *program = runtime->program;
  const struct mq_program_tensor *x = program_input(program, step, 0), *y = program_output(program, step);
  if (step->kind != MQ_STEP_CONV && step->kind != MQ_STEP_LINEAR) return false;
  if (!program_is_byte(x) || !(program_is_byte(y) || program_is_float(y))) return false;
  if (step->n_inputs > 1 && !program_is_byte(program_input(program, step, 1))) return false;
  return step->arithmetic != MQ_ARITHMETIC_TRT || !program_is_byte(y) || has_moderate_scales(program, step);
}

bool runtime_layer_can(const struct mq_runtime *runtime, const struct mq_program_step *step) {
  if (!runtime_layer_takes(runtime, step) || step->as.conv.is_transposed) return false;
  const struct runtime_layout *layout = runtime_input(runtime, step, 0);
  const struct reach reach = find_reach(layout, step);
  const int64_t limit = 4;
  return reach.top + reach.bottom <= limit * layout->rows && reach.side <= limit * layout->columns;
}

static void raise_to(int64_t *value, int64_t least) {
  if (*value < least) *value = least;
}

void runtime_layer_reach(struct runtime_layout *x, const struct mq_program_step *step) {
  const struct reach reach = find_reach(x, step);
  raise_to(&x->top, reach.top);
  raise_to(&x->side, reach.side);
  raise_to(&x->bottom, reach.bottom);
}

/* ---- Parameters --------------------------------------------------------------------------------------- */
runtime_form runtime_form_of(const struct mq_program_step *step, bool is_float) {
  switch (step->arithmetic) {
    case MQ_ARITHMETIC_TFLITE:
      return step->kind == MQ_STEP_LINEAR ? RUNTIME_FIXED_ONCE : RUNTIME_FIXED;
    case MQ_ARITHMETIC_XNNPACK:
    case MQ_ARITHMETIC_ORT:
      return RUNTIME_SCALE;
    case MQ_ARITHMETIC_FBGEMM:
      return RUNTIME_BIASED;
    case MQ_ARITHMETIC_POT_SHIFT:
      return RUNTIME_SHIFT_UP;
    case MQ_ARITHMETIC_POT_SHIFT_EVEN:
      return RUNTIME_SHIFT_EVEN;
    case MQ_ARITHMETIC_TRT:
      return is_float ? RUNTIME_FLOAT_BIAS : RUNTIME_REAL;
    case MQ_ARITHMETIC_DEQUANT_F32:
    case MQ_ARITHMETIC_END:
      break;
  }
  return RUNTIME_FLOAT;
}

/* Arrays of n, in one block of memory. */
struct arrays {
  int32_t *add, *w_zero, *multiplier, *left, *right, *keep;
  float *factor, *bias;
};

static bool make_arrays(struct arrays *arrays, struct mq_runtime *runtime, int64_t n) {
  int32_t *ints = mq_arena_alloc(&runtime->arena, (size_t)n * 6, sizeof *ints);
  float *floats = mq_arena_alloc(&runtime->arena, (size_t)n * 2, sizeof *floats);
  if (ints == NULL || floats == NULL) return false;
  *arrays = (struct arrays){.add = ints,
                            .w_zero = ints + n,
                            .multiplier = ints + 2 * n,
                            .left = ints + 3 * n,
                            .right = ints + 4 * n,
                            .keep = ints + 5 * n,
                            .factor = floats,
                            .bias = floats + n};
  return true;
}

/* Shifts: positive is left in tflite_ref and right in pot_shift. A code of 16 bits is saturated by 15 places
 * to the left, and nothing is left of a sum shifted by 32 to the right. */
static void set_shifts(struct arrays *a, int64_t i, const struct mq_program_channel *channel,
                       runtime_form form) {
  const bool is_fixed = form == RUNTIME_FIXED || form == RUNTIME_FIXED_ONCE;
  const int32_t right = is_fixed ? -channel->shift : channel->shift;
  const int32_t most_left = is_fixed ? 31 : 15;
  a->left[i] = right < 0 ? (-right < most_left ? -right : most_left) : 0;
  a->right[i] = right > 0 ? (right < 31 ? right : 31) : 0;
  a->keep[i] = right > 31 ? 0 : -1;
}

/* The sum of products of codes as they are stored, sum x' w, becomes sum (x' - zx')(w - zw) by taking away
 * zx' sum (w - zw), here, and zw sum x', by box sums. n_weights: weights of an output channel. */
static void set_channel(struct arrays *a, int64_t i, const struct mq_program_channel *channel,
                        runtime_form form, int64_t sum, int64_t n_weights, int64_t x_zero) {
  const int64_t zeros = x_zero * (sum - n_weights * channel->w_zero_point);
  a->add[i] = (int32_t)(uint32_t)(uint64_t)(channel->bias - zeros); /* modulo 2^32 */
  a->w_zero[i] = channel->w_zero_point;
  a->multiplier[i] = channel->multiplier;
  a->factor[i] = channel->factor;
  a->bias[i] = channel->offset;
  set_shifts(a, i, channel, form);
}

/* trt_model's clip comes before the division by the scale, but division does not change an order: the clip's
 * ends are divided instead. */
static void set_float_range(struct runtime_finish *finish, const struct mq_program_step *step,
                            const struct mq_program_tensor *y) {
  finish->f_lo = (float)finish->lo;
  finish->f_hi = (float)finish->hi;
  if (finish->form != RUNTIME_REAL) return;
  finish->reciprocal = 1.0f / y->scale;
  const float u = step->clip_lo / y->scale, v = step->clip_hi / y->scale;
  const float from = program_clip(u, finish->f_lo, finish->f_hi);
  finish->f_hi = program_clip(v, finish->f_lo, finish->f_hi);
  finish->f_lo = from;
}

/* The range as codes are stored: rounding changes no order. */
static void set_quick(struct runtime_finish *finish, const struct mq_runtime *runtime,
                      const struct mq_program_step *step) {
  const bool is_real = finish->form == RUNTIME_REAL;
  finish->is_quick = runtime_is_quick(runtime, step);
  if (!finish->is_quick) return;
  finish->rest = runtime_reciprocal_rest(finish->scale);
  finish->least = (uint8_t)((is_real ? program_round_even(finish->f_lo) : finish->lo) + finish->zero);
  finish->most = (uint8_t)((is_real ? program_round_even(finish->f_hi) : finish->hi) + finish->zero);
}

mq_status runtime_finish_init(struct runtime_finish *finish, struct mq_runtime *runtime,
                              const struct mq_program_step *step, const int64_t *order, int64_t n,
                              const int64_t *sums, struct mq_err *err) {
  const struct mq_program_tensor *x = program_input(runtime->program, step, 0);
  const struct mq_program_tensor *y = program_output(runtime->program, step);
  const struct mq_program_conv *conv = &step->as.conv;
  const runtime_form form = runtime_form_of(step, program_is_float(y));
  const int64_t n_weights =
      (int64_t)conv->window.kernel[0] * conv->window.kernel[1] * (program_last_dim(x) / conv->groups);
  struct arrays a;
  bool has_w_zero = false;
  if (!make_arrays(&a, runtime, n)) return mq_fail_memory(err, "a layer's parameters");
  for (int64_t i = 0; i < n; i++) {
    if (order[i] < 0) continue;
    const struct mq_program_channel *channel = &conv->channels[order[i]];
    set_channel(&a, i, channel, form, sums[order[i]], n_weights, runtime_input(runtime, step, 0)->zero);
    has_w_zero = has_w_zero || channel->w_zero_point != 0;
  }
  *finish = (struct runtime_finish){.form = form,
                                    .add = a.add,
                                    .w_zero = has_w_zero ? a.w_zero : NULL,
                                    .multiplier = a.multiplier,
                                    .left = a.left,
                                    .right = a.right,
                                    .keep = a.keep,
                                    .factor = a.factor,
                                    .bias = a.bias,
                                    .lo = step->lo - y->zero_point,
                                    .hi = step->hi - y->zero_point,
                                    .zero = y->zero_point + runtime_output(runtime, step)->flip,
                                    .clip_lo = step->clip_lo,
                                    .clip_hi = step->clip_hi,
                                    .scale = y->scale};
  set_float_range(finish, step, y);
  if (step->n_inputs > 1) {
    const struct mq_program_tensor *shortcut = program_input(runtime->program, step, 1);
    finish->shortcut_scale = shortcut->scale;
    finish->shortcut_zero = shortcut->zero_point + runtime_input(runtime, step, 1)->flip;
  }
  set_quick(finish, runtime, step);
  return MQ_OK;
}
