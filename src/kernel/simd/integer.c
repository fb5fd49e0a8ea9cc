#include "kernel/simd/integer.h"

#include <string.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* Channels handled together: their parameters stay in registers while the pixels pass. */
#define BLOCK 16
/* Pixels whose sums stay in the first-level cache while blocks of channels take their turns. */
#define TILE 32

/* What a loop is made for, constants where they are used. */
struct form {
  int width;       /* channels of a block */
  bool has_parts;  /* more than one */
  bool has_box;    /* one per pixel and group */
  bool is_box_row; /* one per pixel and channel: groups of one channel */
  bool is_float;
};

/* Channels [c, c + width), all in group g, of pixels [first, last). */
ALWAYS_INLINE void finish_block(const struct mq_simd_integer_sums *s, int64_t first, int64_t last, int64_t g,
                                int64_t c, struct form form) {
  const int64_t channels = s->channels, per_group = channels / s->groups;
  const int n_parts = form.has_parts ? s->n_parts : 1;
  uint32_t shift[BLOCK], zero_point[BLOCK];
  float multiplier[BLOCK], bias[BLOCK];
  for (int i = 0; i < form.width; i++) {
    shift[i] = s->shift != NULL ? (uint32_t)s->shift[c + i] : 0;
    zero_point[i] = form.has_box ? (uint32_t)s->zero_point[c + i] : 0;
    multiplier[i] = form.is_float ? s->multiplier[c + i] : 0;
    bias[i] = form.is_float && s->bias != NULL ? s->bias[c + i] : -0.0f; /* changes nothing */
  }
  const uint32_t base = (uint32_t)s->base;
  for (int64_t p = first; p < last; p++) {
    const int32_t *part = s->parts + (p * channels + g * per_group) * n_parts + (c - g * per_group);
    const int32_t *box = form.has_box ? s->box + p * s->groups + (form.is_box_row ? c : g) : NULL;
    uint32_t sum[BLOCK];
    const int32_t *top = part + (n_parts - 1) * per_group;
    for (int i = 0; i < form.width; i++)
      sum[i] = (uint32_t)top[i];
    for (int k = n_parts - 2; k >= 0; k--)
      for (int i = 0; i < form.width; i++)
        sum[i] = sum[i] * base + (uint32_t)part[k * per_group + i];
    for (int i = 0; i < form.width; i++) {
      sum[i] += shift[i];
      if (form.has_box) sum[i] -= zero_point[i] * (uint32_t)box[form.is_box_row ? i : 0];
    }
    for (int i = 0; i < form.width; i++) {
      if (form.is_float)
        s->y[p * channels + c + i] = (float)(int32_t)sum[i] * multiplier[i] + bias[i];
      else
        s->sums[p * channels + c + i] = (int32_t)sum[i];
    }
  }
}

/* Channels [begin, end) of group g in blocks of constant widths. */
ALWAYS_INLINE void finish_channels(const struct mq_simd_integer_sums *s, int64_t first, int64_t last,
                                   int64_t g, int64_t begin, int64_t end, struct form form) {
  int64_t c = begin;
  form.width = BLOCK;
  for (; c + BLOCK <= end; c += BLOCK)
    finish_block(s, first, last, g, c, form);
  form.width = BLOCK / 2;
  for (; c + BLOCK / 2 <= end; c += BLOCK / 2)
    finish_block(s, first, last, g, c, form);
  form.width = 1;
  for (; c < end; c++)
    finish_block(s, first, last, g, c, form);
}

ALWAYS_INLINE void finish_form(const struct mq_simd_integer_sums *s, struct form form) {
  const bool is_flat = !form.has_parts && (!form.has_box || form.is_box_row);
  const int64_t n_groups = is_flat ? 1 : s->groups, per_group = s->channels / n_groups;
  for (int64_t first = 0; first < s->n_pixels; first += TILE) {
    const int64_t last = first + TILE < s->n_pixels ? first + TILE : s->n_pixels;
    for (int64_t g = 0; g < n_groups; g++)
      finish_channels(s, first, last, g, g * per_group, (g + 1) * per_group, form);
  }
}

/* The form's flags become constants one by one, so that each combination gets loops of its own. */
ALWAYS_INLINE void finish_box(const struct mq_simd_integer_sums *s, struct form form) {
  if (s->box == NULL)
    finish_form(s, (struct form){.has_parts = form.has_parts, .is_float = form.is_float});
  else if (s->groups == s->channels && !form.has_parts)
    finish_form(s, (struct form){.has_box = true, .is_box_row = true, .is_float = form.is_float});
  else
    finish_form(s, (struct form){.has_parts = form.has_parts, .has_box = true, .is_float = form.is_float});
}

ALWAYS_INLINE void finish_parts(const struct mq_simd_integer_sums *s, struct form form) {
  if (s->n_parts > 1)
    finish_box(s, (struct form){.has_parts = true, .is_float = form.is_float});
  else
    finish_box(s, (struct form){.has_parts = false, .is_float = form.is_float});
}

static void finish(const struct mq_simd_integer_sums *s) {
  if (s->y != NULL)
    finish_parts(s, (struct form){.is_float = true});
  else
    finish_parts(s, (struct form){.is_float = false});
}

static void shift_bytes(uint8_t *y, const uint8_t *x, int64_t n, int offset) {
  const uint8_t add = (uint8_t)offset;
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] = (uint8_t)(x[i] + add);
}

#if defined(__x86_64__)
/* Every x86-64 adds up 16 bytes in one instruction, which compilers do not find. */
static inline int32_t row_sum(const uint8_t *x, int64_t n) {
  const __m128i zero = _mm_setzero_si128();
  __m128i sums = zero;
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    sums = _mm_add_epi64(sums, _mm_sad_epu8(_mm_loadu_si128((const __m128i *)(const void *)(x + i)), zero));
  for (; i + 8 <= n; i += 8)
    sums = _mm_add_epi64(sums, _mm_sad_epu8(_mm_loadl_epi64((const __m128i *)(const void *)(x + i)), zero));
  int32_t sum = _mm_cvtsi128_si32(_mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums)));
  for (; i < n; i++)
    sum += x[i];
  return sum;
}
#else
static inline int32_t row_sum(const uint8_t *x, int64_t n) {
  int32_t sum = 0;
  for (int64_t i = 0; i < n; i++)
    sum += x[i];
  return sum;
}
#endif

static void row_sums(int32_t *sums, const uint8_t *x, int64_t n_rows, int64_t n) {
  if (n == 1) {
    MQ_SIMD_INDEPENDENT
    for (int64_t r = 0; r < n_rows; r++)
      sums[r] = x[r];
    return;
  }
  for (int64_t r = 0; r < n_rows; r++)
    sums[r] = row_sum(x + r * n, n);
}

static void add(int32_t *y, const int32_t *x, int64_t n) {
  MQ_SIMD_INDEPENDENT
  for (int64_t i = 0; i < n; i++)
    y[i] += x[i];
}

static void split(int8_t *digits, int64_t step, const int8_t *w, int64_t n, int n_parts, int base) {
  const int16_t half = (int16_t)(base / 2), mask = (int16_t)(base - 1);
  for (int k = 0; k < n_parts; k++) {
    int8_t *digit = digits + k * step;
    const bool is_last = k == n_parts - 1;
    MQ_SIMD_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
      /* What the lower digits left: they begin again for each digit, so that no copy of the rest is kept. */
      int16_t rest = w[i], least = 0;
      for (int j = 0; j <= k; j++) {
        least = (int16_t)(((rest + half) & mask) - half);
        if (j < k) rest = (int16_t)((rest - least) / base);
      }
      digit[i] = (int8_t)(is_last ? rest : least);
    }
  }
}

/* As many whole rows of taps as fit are added up side by side; their lanes meet at the end. */
#define TAP_LANES 256

static void tap_sums(int32_t *sums, const int8_t *w, int64_t n_inputs, int64_t n_taps) {
  int32_t lanes[TAP_LANES];
  const int64_t rows = n_taps <= TAP_LANES ? TAP_LANES / n_taps : 1, period = rows * n_taps;
  int64_t i = 0;
  memset(sums, 0, (size_t)n_taps * sizeof *sums);
  if (n_taps <= TAP_LANES && n_inputs >= 2 * rows) {
    memset(lanes, 0, sizeof lanes);
    for (; i + rows <= n_inputs; i += rows)
      for (int64_t j = 0; j < period; j++)
        lanes[j] += w[i * n_taps + j];
    for (int64_t j = 0; j < period; j += n_taps)
      for (int64_t t = 0; t < n_taps; t++)
        sums[t] += lanes[j + t];
  }
  for (; i < n_inputs; i++)
    for (int64_t t = 0; t < n_taps; t++)
      sums[t] += w[i * n_taps + t];
}

const struct mq_simd_integer MQ_SIMD_NAME(mq_simd_integer) = {.finish = finish,
                                                              .shift_bytes = shift_bytes,
                                                              .row_sums = row_sums,
                                                              .add = add,
                                                              .split = split,
                                                              .tap_sums = tap_sums};
