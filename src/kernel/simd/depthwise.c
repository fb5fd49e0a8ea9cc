/* Written with intrinsics: the accumulators of a tile must stay in registers, which compilers do not manage
 * for arrays of plain floats. A tile is TILE neighbouring output pixels (of one or two rows) by one vector of
 * channels; the last vector and the last tile of a row reach back over their neighbour, whose values come out
 * again. */
#include "kernel/simd/depthwise.h"

#include "kernel/simd/vector.h"

#define TILE MQ_SIMD_DEPTHWISE_TILE
#define FLOATS_PER_LINE 16
#define NOINLINE static __attribute__((noinline))
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Taps [first, last) of the output pixel whose window begins at input column `begin`. */
struct taps {
  int64_t begin, first, last;
};

static struct taps find_taps(const struct mq_simd_depthwise_rows *rows, int64_t ow) {
  const int64_t d = rows->dilation, begin = ow * rows->stride - rows->pad, end = rows->width_in - begin;
  struct taps taps = {begin, 0, rows->kernel};
  if (begin < 0) taps.first = (-begin + d - 1) / d;
  if ((rows->kernel - 1) * d >= end) taps.last = end > 0 ? (end - 1) / d + 1 : 0;
  if (taps.first > taps.last) taps.first = taps.last;
  return taps;
}

/* In step with what is computed: hardware does not follow this many streams. */
ALWAYS_INLINE void prefetch(const float *x, const float *y, int n_lines) {
  MQ_SIMD_UNROLL
  for (int i = 0; i < n_lines; i++) {
    __builtin_prefetch(x + i * FLOATS_PER_LINE, 0, 2);
    __builtin_prefetch(y + i * FLOATS_PER_LINE, 1, 2);
  }
}

/* ---- Any kernel: TILE whole windows -------------------------------------------------------------------- */

/* What the loops are unrolled for, constants where they are called; 0: as the rows say. */
struct form {
  int rows, kernel, stride;
};

/* TILE pixels, one vector of channels. With constants, windows that overlap share their loads. */
ALWAYS_INLINE void whole_vector(float *y, const struct mq_simd_depthwise_rows *rows, int64_t begin, int64_t c,
                                struct form form) {
  const int64_t channels = rows->channels;
  const int64_t tap_step = form.kernel != 0 ? channels : rows->dilation * channels;
  const int64_t pixel_step = (form.stride != 0 ? form.stride : rows->stride) * channels;
  const int64_t n_taps = form.kernel != 0 ? form.kernel : rows->kernel;
  const int n_rows = form.rows != 0 ? form.rows : rows->n_rows;
  mq_vec sum[TILE];
  for (int p = 0; p < TILE; p++)
    sum[p] = mq_load(rows->bias + c);
  for (int h = 0; h < n_rows; h++) {
    const float *x = rows->x[h] + begin * channels + c, *w = rows->weights[h] + c;
    for (int64_t k = 0; k < n_taps; k++) {
      const mq_vec weight = mq_load(w + k * channels);
      for (int p = 0; p < TILE; p++)
        sum[p] = mq_multiply_add(mq_load(x + k * tap_step + p * pixel_step), weight, sum[p]);
    }
  }
  for (int p = 0; p < TILE; p++)
    mq_store(y + p * rows->y_step + c, sum[p]);
}

ALWAYS_INLINE void whole_form(float *y, const struct mq_simd_depthwise_rows *rows, int64_t begin,
                              struct form form) {
  const int64_t channels = rows->channels, stride = form.stride != 0 ? form.stride : rows->stride;
  const float *next_x = rows->next_x + (y - rows->y) * stride, *next_y = rows->next_y + (y - rows->y);
  const bool has_next = rows->next_x != NULL;
  int64_t c = 0;
  for (; c + MQ_LANES <= channels; c += MQ_LANES) {
    if (has_next) prefetch(next_x + c * TILE, next_y + c * TILE, MQ_LANES * TILE / FLOATS_PER_LINE);
    whole_vector(y, rows, begin, c, form);
  }
  if (c < channels) whole_vector(y, rows, begin, channels - MQ_LANES, form);
}

NOINLINE void whole_tile_any(float *y, const struct mq_simd_depthwise_rows *rows, int64_t begin) {
  whole_form(y, rows, begin, (struct form){0, 0, 0});
}
NOINLINE void whole_tile_3x3_stride_2(float *y, const struct mq_simd_depthwise_rows *rows, int64_t begin) {
  whole_form(y, rows, begin, (struct form){3, 3, 2});
}

static void whole_tile(float *y, const struct mq_simd_depthwise_rows *rows, int64_t begin) {
  const bool is_3x3 = rows->n_rows == 3 && rows->kernel == 3 && rows->dilation == 1;
  (is_3x3 && rows->stride == 2 ? whole_tile_3x3_stride_2 : whole_tile_any)(y, rows, begin);
}

/* ---- One pixel whose window may hang over ----------------------------------------------------------------
 */

/* n vectors of channels at once, so that their sums do not wait for each other. */
ALWAYS_INLINE void pixel_vectors(float *y, const struct mq_simd_depthwise_rows *rows, struct taps taps,
                                 int64_t c, int n) {
  const int64_t channels = rows->channels;
  mq_vec sum[TILE];
  for (int i = 0; i < n; i++)
    sum[i] = mq_load(rows->bias + c + i * MQ_LANES);
  for (int h = 0; h < rows->n_rows; h++)
    for (int64_t k = taps.first; k < taps.last; k++) {
      const float *x = rows->x[h] + (taps.begin + k * rows->dilation) * channels + c;
      const float *w = rows->weights[h] + k * channels + c;
      for (int i = 0; i < n; i++)
        sum[i] = mq_multiply_add(mq_load(x + i * MQ_LANES), mq_load(w + i * MQ_LANES), sum[i]);
    }
  for (int i = 0; i < n; i++)
    mq_store(y + c + i * MQ_LANES, sum[i]);
}

/* Fewer channels than a vector has lanes. */
static void pixel_scalars(float *y, const struct mq_simd_depthwise_rows *rows, struct taps taps) {
  const int64_t channels = rows->channels;
  for (int64_t c = 0; c < channels; c++) {
    float sum = rows->bias[c];
    for (int h = 0; h < rows->n_rows; h++)
      for (int64_t k = taps.first; k < taps.last; k++)
        sum = mq_multiply_add_1(rows->x[h][(taps.begin + k * rows->dilation) * channels + c],
                                rows->weights[h][k * channels + c], sum);
    y[c] = sum;
  }
}

static void pixel(float *y, const struct mq_simd_depthwise_rows *rows, struct taps taps) {
  const int64_t channels = rows->channels;
  int64_t c = 0;
  if (channels < MQ_LANES) {
    pixel_scalars(y, rows, taps);
    return;
  }
  for (; c + TILE * MQ_LANES <= channels; c += TILE * MQ_LANES)
    pixel_vectors(y, rows, taps, c, TILE);
  for (; c + MQ_LANES <= channels; c += MQ_LANES)
    pixel_vectors(y, rows, taps, c, 1);
  if (c < channels) pixel_vectors(y, rows, taps, channels - MQ_LANES, 1);
}

static void any_row(const struct mq_simd_depthwise_rows *rows) {
  const int64_t reach = (TILE - 1) * rows->stride + (rows->kernel - 1) * rows->dilation;
  for (int64_t ow = 0; ow < rows->width_out;) {
    float *y = rows->y + ow * rows->y_step;
    const int64_t begin = ow * rows->stride - rows->pad;
    if (rows->channels >= MQ_LANES && begin >= 0 && begin + reach < rows->width_in &&
        ow + TILE <= rows->width_out) {
      whole_tile(y, rows, begin);
      ow += TILE;
    } else {
      pixel(y, rows, find_taps(rows, ow));
      ow++;
    }
  }
}

/* ---- 3x3, stride 1, pad 1: two output rows share their input ----------------------------------------------
 */

/* Which columns of the tile's input are padding; constants where they are used. */
struct edges {
  bool left, right;
};

/* Pointers of a run of tiles, at the tile's first output pixel: copies that stores to y cannot alias. */
struct tile_3x3 {
  const float *bias, *x[4], *weights[3];
  float *y[2];
};

/* Every input vector is loaded once and meets up to three pixels of up to two rows. The order of additions is
 * that of any_row. */
ALWAYS_INLINE void tile_3x3(const struct tile_3x3 *t, int64_t channels, int64_t c, struct edges edges,
                            int n_outputs) {
  mq_vec weights[9], sum[2][TILE];
  MQ_SIMD_UNROLL
  for (int k = 0; k < 9; k++)
    weights[k] = mq_load(t->weights[k / 3] + (k % 3) * channels + c);
  MQ_SIMD_UNROLL
  for (int i = 0; i < n_outputs * TILE; i++)
    sum[i / TILE][i % TILE] = mq_load(t->bias + c);
  MQ_SIMD_UNROLL
  for (int h = 0; h < 2 + n_outputs; h++) {
    MQ_SIMD_UNROLL
    for (int i = 0; i < TILE + 2; i++) {
      if ((edges.left && i == 0) || (edges.right && i == TILE + 1)) continue;
      const mq_vec v = mq_load(t->x[h] + (i - 1) * channels + c);
      /* Column i is tap k of pixel i - k, row h is row h - r of the window of output row r. */
      MQ_SIMD_UNROLL
      for (int j = 0; j < 3 * n_outputs; j++) {
        const int k = j % 3, r = j / 3, p = i - k;
        if (p >= 0 && p < TILE && h - r >= 0 && h - r < 3)
          sum[r][p] = mq_multiply_add(v, weights[(h - r) * 3 + k], sum[r][p]);
      }
    }
  }
  MQ_SIMD_UNROLL
  for (int i = 0; i < n_outputs * TILE; i++)
    mq_store(t->y[i / TILE] + (i % TILE) * channels + c, sum[i / TILE][i % TILE]);
}

/* TILE output pixels from ow, all channels. */
ALWAYS_INLINE void pixels_3x3(const struct mq_simd_depthwise_rows *rows, int64_t ow, struct edges edges,
                              int n_outputs) {
  const int64_t channels = rows->channels, at = ow * channels;
  struct tile_3x3 t = {.bias = rows->bias};
  for (int h = 0; h < 2 + n_outputs; h++)
    t.x[h] = rows->x[h] + at;
  for (int h = 0; h < 3; h++)
    t.weights[h] = rows->weights[h];
  for (int r = 0; r < n_outputs; r++)
    t.y[r] = rows->y + r * rows->width_out * channels + at;
  const float *next_x = rows->next_x + n_outputs * at, *next_y = rows->next_y + n_outputs * at;
  const bool has_next = rows->next_x != NULL;
  int64_t c = 0;
  for (; c + MQ_LANES <= channels; c += MQ_LANES) {
    if (has_next)
      prefetch(next_x + n_outputs * TILE * c, next_y + n_outputs * TILE * c,
               n_outputs * TILE * MQ_LANES / FLOATS_PER_LINE);
    tile_3x3(&t, channels, c, edges, n_outputs);
  }
  if (c < channels) tile_3x3(&t, channels, channels - MQ_LANES, edges, n_outputs);
}

NOINLINE void left_of_1(const struct mq_simd_depthwise_rows *rows, int64_t ow) {
  pixels_3x3(rows, ow, (struct edges){.left = true}, 1);
}
NOINLINE void middle_of_1(const struct mq_simd_depthwise_rows *rows, int64_t ow) {
  pixels_3x3(rows, ow, (struct edges){.left = false}, 1);
}
NOINLINE void right_of_1(const struct mq_simd_depthwise_rows *rows, int64_t ow) {
  pixels_3x3(rows, ow, (struct edges){.right = true}, 1);
}
NOINLINE void left_of_2(const struct mq_simd_depthwise_rows *rows, int64_t ow) {
  pixels_3x3(rows, ow, (struct edges){.left = true}, 2);
}
NOINLINE void middle_of_2(const struct mq_simd_depthwise_rows *rows, int64_t ow) {
  pixels_3x3(rows, ow, (struct edges){.left = false}, 2);
}
NOINLINE void right_of_2(const struct mq_simd_depthwise_rows *rows, int64_t ow) {
  pixels_3x3(rows, ow, (struct edges){.right = true}, 2);
}

static void rows_3x3(const struct mq_simd_depthwise_rows *rows) {
  const int64_t last = rows->width_out - TILE;
  const bool is_pair = rows->n_outputs == 2;
  (is_pair ? left_of_2 : left_of_1)(rows, 0);
  for (int64_t ow = TILE; ow < last; ow += TILE)
    (is_pair ? middle_of_2 : middle_of_1)(rows, ow);
  (is_pair ? right_of_2 : right_of_1)(rows, last);
}

static bool is_3x3(const struct mq_simd_depthwise_rows *rows) {
  return rows->n_rows == 3 && rows->kernel == 3 && rows->stride == 1 && rows->dilation == 1 &&
         rows->pad == 1 && rows->y_step == rows->channels && rows->width_in == rows->width_out &&
         rows->width_out > TILE && rows->channels >= MQ_LANES;
}

static void run_rows(const struct mq_simd_depthwise_rows *rows) {
  if (is_3x3(rows)) {
    rows_3x3(rows);
    return;
  }
  struct mq_simd_depthwise_rows one = *rows;
  for (int i = 0; i < rows->n_outputs; i++) {
    one.x = rows->x + i;
    one.y = rows->y + i * rows->width_out * rows->channels;
    any_row(&one);
  }
}

const struct mq_simd_depthwise MQ_SIMD_NAME(mq_simd_depthwise) = {.rows = run_rows};
