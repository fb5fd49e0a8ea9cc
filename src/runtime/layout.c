/* Tensors in memory. */
#include <string.h>

#include "runtime/internal.h"

/* Loops may read whole vectors where fewer bytes are left, and products read four codes at a time. */
#define SLACK 128

struct runtime_layout runtime_layout_of(const struct mq_program_tensor *t) {
  struct runtime_layout layout = {
      .is_bytes = t->type == MQ_PROGRAM_S8 || t->type == MQ_PROGRAM_U8,
      .flip = t->type == MQ_PROGRAM_S8 ? 128 : 0,
      .element_bytes = (int64_t)mq_program_type_bytes(t->type),
      .rows = 1,
      .columns = 1,
      .channels = 1,
  };
  layout.zero = (uint8_t)(t->zero_point + layout.flip);
  for (int32_t i = 0; i < t->rank; i++) {
    int64_t *dim = i == t->rank - 1 ? &layout.channels : i == t->rank - 2 ? &layout.columns : &layout.rows;
    *dim *= t->dim[i];
  }
  runtime_layout_finish(&layout);
  return layout;
}

void runtime_layout_finish(struct runtime_layout *l) {
  l->pixel_bytes = l->channels * l->element_bytes;
  l->row_bytes = (l->columns + l->side) * l->pixel_bytes;
  l->origin = l->top * l->row_bytes + l->side * l->pixel_bytes;
  l->bytes = (int64_t)runtime_round((size_t)(l->origin + (l->rows + l->bottom) * l->row_bytes + SLACK));
}

bool runtime_is_plain(const struct runtime_layout *layout) {
  return layout->flip == 0 && layout->side == 0;
}

/* y = x + 128 modulo 256. */
static void flip(unsigned char *y, const unsigned char *x, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    y[i] = x[i] ^ 128;
}

/* Rows follow each other without pads between them. */
static void copy_rows(unsigned char *to, int64_t to_step, const unsigned char *from, int64_t from_step,
                      const struct runtime_layout *layout) {
  const int64_t n = layout->columns * layout->pixel_bytes;
  const bool is_whole = to_step == n && from_step == n;
  const int64_t rows = is_whole ? 1 : layout->rows, bytes = is_whole ? layout->rows * n : n;
  for (int64_t r = 0; r < rows; r++, to += to_step, from += from_step)
    if (layout->flip != 0)
      flip(to, from, bytes);
    else
      memcpy(to, from, (size_t)bytes);
}

void runtime_store(const struct runtime_layout *layout, unsigned char *data, const void *plain) {
  copy_rows(data, layout->row_bytes, plain, layout->columns * layout->pixel_bytes, layout);
}

void runtime_fetch(const struct runtime_layout *layout, void *plain, const unsigned char *data) {
  copy_rows(plain, layout->columns * layout->pixel_bytes, data, layout->row_bytes, layout);
}

void runtime_fill_pads(const struct runtime_layout *l, unsigned char *data, int64_t first, int64_t last) {
  const int64_t side = l->side * l->pixel_bytes;
  if (first == 0 && l->top > 0)
    memset(data - side - l->top * l->row_bytes, l->zero, (size_t)(l->top * l->row_bytes));
  if (side > 0)
    for (int64_t row = first; row < last; row++)
      memset(data + row * l->row_bytes - side, l->zero, (size_t)side);
  if (last == l->rows && l->bottom * l->row_bytes + side > 0)
    memset(data + l->rows * l->row_bytes - side, l->zero, (size_t)(l->bottom * l->row_bytes + side));
}
