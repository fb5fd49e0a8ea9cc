#include "runtime/simd/finish_pack.h"

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
      const unsigned char *shortcut = has_shortcut ? t->shortcut[p] + t->shortcut_first + b * LANES : NULL;
      finish_block(t->y[p] + t->y_first + (size_t)b * y_step, v, &c, shortcut, n, form);
    }
  }
}

#if defined(__AVX512BW__)
/* Blocks from `first` on, 4 or as many as there are. */
MQ_ALWAYS_INLINE __m512i pack_blocks(const struct runtime_finish *f, const struct runtime_tile *t, int p,
                                     int first, const struct pack *pack, struct block *c, runtime_form form,
                                     bool has_box, bool has_shortcut) {
  ints whole[4];
  MQ_SIMD_UNROLL
  for (int i = 0; i < 4; i++) {
    const int at = (first + i) * LANES;
    whole[i] = ints_all(0);
    if (first + i >= t->n_blocks) continue;
    load_channels(c, f, form, has_box, t->channel + at);
    ints v = ints_add(ints_load(t->acc + p * t->acc_step + at), c->add);
    if (has_box) v = ints_sub(v, ints_mul(c->w_zero, ints_all(t->box[p])));
    whole[i] = whole_of(v, c, form, has_shortcut ? t->shortcut[p] + t->shortcut_first + at : NULL);
  }
  return pack_codes(whole[0], whole[1], whole[2], whole[3], pack);
}

MQ_ALWAYS_INLINE void pack_tile(const struct runtime_finish *finish, const struct runtime_tile *tile,
                                runtime_form form, bool has_box, bool has_shortcut) {
  const struct runtime_finish f = *finish; /* stores to y cannot change them */
  const struct runtime_tile t = *tile;
  const int n_channels = (t.n_blocks - 1) * LANES + t.n_last;
  const struct pack pack = load_pack(&f);
  struct block c;
  load_common(&c, &f);
  for (int p = 0; p < t.n_pixels; p++)
    for (int b = 0; b < t.n_blocks; b += 4)
      _mm512_mask_storeu_epi8(t.y[p] + t.y_first + b * LANES, first_bytes(n_channels - b * LANES),
                              pack_blocks(&f, &t, p, b, &pack, &c, form, has_box, has_shortcut));
}
#else
MQ_ALWAYS_INLINE bool is_packed(runtime_form form) {
  (void)form;
  return false;
}
#define pack_tile finish_tile
#endif

MQ_ALWAYS_INLINE void finish_as(const struct runtime_finish *f, const struct runtime_tile *t,
                                runtime_form form, bool has_box, bool has_shortcut) {
  if (is_packed(form) && f->is_quick)
    pack_tile(f, t, form, has_box, has_shortcut);
  else
    finish_tile(f, t, form, has_box, has_shortcut);
}

/* Each form's loops are compiled on their own. */
#define FORM(name, form)                                                           \
  static void name(const struct runtime_finish *f, const struct runtime_tile *t) { \
    if (f->w_zero != NULL)                                                         \
      finish_as(f, t, form, true, false);                                          \
    else                                                                           \
      finish_as(f, t, form, false, false);                                         \
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
    finish_as(f, t, RUNTIME_REAL, true, true);
  else if (f->w_zero != NULL)
    finish_as(f, t, RUNTIME_REAL, true, false);
  else if (t->shortcut != NULL)
    finish_as(f, t, RUNTIME_REAL, false, true);
  else
    finish_as(f, t, RUNTIME_REAL, false, false);
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
