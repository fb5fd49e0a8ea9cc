#include "runtime/simd/finish_block.h"

MQ_ALWAYS_INLINE void finish_tile(const struct runtime_finish *f, const struct runtime_tile *t,
                                  runtime_form form, bool has_box, bool has_shortcut) {
  const int64_t step = t->acc_step;
  const size_t y_step = is_to_float(form) ? LANES * sizeof(float) : LANES;
  struct block c;
  load_common(&c, f);
  for (int b = 0; b < t->n_blocks; b++) {
    const int n = b == t->n_blocks - 1 ? t->n_last : LANES;
    load_channels(&c, f, form, has_box, t->channel + b * LANES);
    for (int p = 0; p < t->n_pixels; p++) {
      ints v = ints_add(ints_load(t->acc + p * step + b * LANES), c.add);
      if (has_box) v = ints_sub(v, ints_mul(c.w_zero, ints_all(t->box[p])));
      finish_block(t->y[p] + (size_t)b * y_step, v, &c, has_shortcut ? t->shortcut[p] + b * LANES : NULL, n,
                   form);
    }
  }
}

/* Each form's loops are compiled on their own. */
#define FORM(name, form)                                                           \
  static void name(const struct runtime_finish *f, const struct runtime_tile *t) { \
    if (f->w_zero != NULL)                                                         \
      finish_tile(f, t, form, true, false);                                        \
    else                                                                           \
      finish_tile(f, t, form, false, false);                                       \
  }
FORM(fixed, RUNTIME_FIXED)
FORM(fixed_once, RUNTIME_FIXED_ONCE)
FORM(scale, RUNTIME_SCALE)
FORM(biased, RUNTIME_BIASED)
FORM(shift_up, RUNTIME_SHIFT_UP)
FORM(shift_even, RUNTIME_SHIFT_EVEN)
FORM(to_float, RUNTIME_FLOAT)
FORM(to_float_bias, RUNTIME_FLOAT_BIAS)

static void real(const struct runtime_finish *f, const struct runtime_tile *t) {
  if (f->w_zero != NULL && t->shortcut != NULL)
    finish_tile(f, t, RUNTIME_REAL, true, true);
  else if (f->w_zero != NULL)
    finish_tile(f, t, RUNTIME_REAL, true, false);
  else if (t->shortcut != NULL)
    finish_tile(f, t, RUNTIME_REAL, false, true);
  else
    finish_tile(f, t, RUNTIME_REAL, false, false);
}

static void finish(const struct runtime_finish *f, const struct runtime_tile *tile) {
  static void (*const forms[])(const struct runtime_finish *, const struct runtime_tile *) = {
      [RUNTIME_FIXED] = fixed,   [RUNTIME_FIXED_ONCE] = fixed_once, [RUNTIME_SCALE] = scale,
      [RUNTIME_BIASED] = biased, [RUNTIME_SHIFT_UP] = shift_up,     [RUNTIME_SHIFT_EVEN] = shift_even,
      [RUNTIME_REAL] = real,     [RUNTIME_FLOAT] = to_float,        [RUNTIME_FLOAT_BIAS] = to_float_bias,
  };
  forms[f->form](f, tile);
}

const struct runtime_finisher MQ_SIMD_NAME(runtime_finisher) = {.finish = finish};
