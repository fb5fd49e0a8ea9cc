#include "help_tflite.h"

#include <math.h>

#include "base/file.h"

/* ---- FlatBuffers --------------------------------------------------------------------------------------- */

static const uint8_t *look(const struct flat_file *f, uint64_t at, uint64_t n) {
  if (at + n > f->n) {
    fail_msg("the file has %zu bytes, expected %llu from %llu", f->n, (unsigned long long)n,
             (unsigned long long)at);
  }
  return (const uint8_t *)f->bytes + at;
}

static uint32_t u32_at(const struct flat_file *f, uint32_t at) {
  uint32_t v;
  memcpy(&v, look(f, at, 4), 4);
  return v;
}

static uint16_t u16_at(const struct flat_file *f, uint32_t at) {
  uint16_t v;
  memcpy(&v, look(f, at, 2), 2);
  return v;
}

/* Position of a field's data; 0: not there. */
static uint32_t field(const struct flat_file *f, uint32_t table, int id) {
  uint32_t vtable = table - u32_at(f, table);
  uint32_t slot = 4 + 2 * (uint32_t)id;
  uint32_t offset = slot < u16_at(f, vtable) ? u16_at(f, vtable + slot) : 0;
  return offset ? table + offset : 0;
}

/* What a field points to; 0: not there. */
static uint32_t target(const struct flat_file *f, uint32_t table, int id) {
  uint32_t at = field(f, table, id);
  return at ? at + u32_at(f, at) : 0;
}

static uint32_t length(const struct flat_file *f, uint32_t vector) {
  return vector ? u32_at(f, vector) : 0;
}

static uint32_t item(const struct flat_file *f, uint32_t vector, uint32_t i) {
  uint32_t at = vector + 4 + 4 * i;
  return at + u32_at(f, at);
}

static int32_t number(const struct flat_file *f, uint32_t table, int id, bool byte, int32_t without) {
  uint32_t at = field(f, table, id);
  return !at ? without : byte ? *(const int8_t *)look(f, at, 1) : (int32_t)u32_at(f, at);
}

static int read_ints(const struct flat_file *f, uint32_t vector, int32_t *to, int most) {
  int n = (int)length(f, vector);
  assert_in_range(n, 0, most);
  if (n > 0) memcpy(to, look(f, vector + 4, 4 * (uint64_t)n), 4 * (size_t)n);
  return n;
}

/* ---- The format's tables ------------------------------------------------------------------------------- */

static void read_tensor(struct flat_file *f, struct flat_tensor *t, uint32_t table, uint32_t buffers) {
  int32_t signature[FLAT_MAX_RANK] = {0};
  uint32_t name = target(f, table, 3), q = target(f, table, 4),
           buffer = (uint32_t)number(f, table, 2, false, 0);
  t->rank = read_ints(f, target(f, table, 0), t->shape, FLAT_MAX_RANK);
  t->type = number(f, table, 1, true, 0);
  read_ints(f, target(f, table, 7), signature, FLAT_MAX_RANK);
  t->first_of_signature = signature[0];
  snprintf(t->name, sizeof t->name, "%s", (const char *)look(f, name + 4, length(f, name) + 1));
  assert_true(buffer < length(f, buffers));
  uint32_t data = buffer ? target(f, item(f, buffers, buffer), 0) : 0;
  if (data) {
    t->bytes = length(f, data);
    t->data = look(f, data + 4, t->bytes);
    assert_int_equal((data + 4) % 16, 0);
  }
  if (!q) return;
  uint32_t scales = target(f, q, 2), zeros = target(f, q, 3);
  t->n_scales = read_ints(f, scales, (int32_t *)t->scale, 64);
  assert_int_equal(length(f, zeros), t->n_scales);
  memcpy(&t->zero_point, look(f, zeros + 4, 8), 8);
  t->quantized_dimension = number(f, q, 6, false, 0);
}

static void read_operator(struct flat_file *f, struct flat_operator *op, uint32_t table, uint32_t codes) {
  uint32_t index = (uint32_t)number(f, table, 0, false, 0);
  assert_true(index < length(f, codes));
  uint32_t code = item(f, codes, index);
  op->code = number(f, code, 3, false, 0);
  op->version = number(f, code, 2, false, 1);
  assert_int_equal(number(f, code, 0, true, 0), op->code); /* all are below 127 */
  op->n_inputs = read_ints(f, target(f, table, 1), op->inputs, FLAT_MAX_INPUTS);
  assert_int_equal(read_ints(f, target(f, table, 2), &op->output, 1), 1);
  op->options_type = (uint8_t)number(f, table, 3, true, 0);
  op->options = target(f, table, 4);
}

void flat_open(struct flat_file *f, const char *path) {
  struct mq_err err = {0};
  memset(f, 0, sizeof *f);
  assert_ok(mq_file_read(&f->bytes, &f->n, path, 1 << 26, &err));
  assert_memory_equal(look(f, 4, 4), "TFL3", 4);
  uint32_t model = u32_at(f, 0), buffers = target(f, model, 4), graphs = target(f, model, 2);
  assert_int_equal(number(f, model, 0, false, 0), 3);
  assert_int_equal(length(f, graphs), 1);
  assert_int_equal(length(f, target(f, item(f, buffers, 0), 0)), 0);
  uint32_t graph = item(f, graphs, 0), tensors = target(f, graph, 0), operators = target(f, graph, 3);
  f->n_tensors = (int)length(f, tensors);
  f->n_operators = (int)length(f, operators);
  assert_in_range(f->n_tensors, 1, FLAT_MAX_ITEMS);
  assert_in_range(f->n_operators, 1, FLAT_MAX_ITEMS);
  for (int i = 0; i < f->n_tensors; i++)
    read_tensor(f, &f->tensor[i], item(f, tensors, (uint32_t)i), buffers);
  for (int i = 0; i < f->n_operators; i++)
    read_operator(f, &f->op[i], item(f, operators, (uint32_t)i), target(f, model, 1));
  f->n_inputs = read_ints(f, target(f, graph, 1), f->inputs, 4);
  f->n_outputs = read_ints(f, target(f, graph, 2), f->outputs, 4);
}

void flat_close(struct flat_file *f) {
  for (int i = 0; i < f->n_tensors; i++)
    free(f->tensor[i].value);
  mq_free(f->bytes);
}

struct flat_tensor *flat_find(struct flat_file *f, const char *name) {
  for (int i = 0; i < f->n_tensors; i++)
    if (strcmp(f->tensor[i].name, name) == 0) return &f->tensor[i];
  return NULL;
}

const struct flat_operator *flat_maker(const struct flat_file *f, const char *name) {
  for (int i = 0; i < f->n_operators; i++)
    if (strcmp(f->tensor[f->op[i].output].name, name) == 0) return &f->op[i];
  fail_msg("nothing makes '%s'", name);
  return NULL;
}

int32_t flat_option(const struct flat_file *f, const struct flat_operator *op, int id, bool byte,
                    int32_t without) {
  return op->options ? number(f, op->options, id, byte, without) : without;
}

int64_t flat_count(const struct flat_tensor *t) {
  int64_t n = 1;
  for (int i = 0; i < t->rank; i++)
    n *= t->shape[i];
  return n;
}

/* ---- Arithmetic ---------------------------------------------------------------------------------------- */

static int64_t find_multiplier(double m, int *shift) {
  int64_t q = (int64_t)round(frexp(m, shift) * 0x1p31);
  if (q == INT64_C(1) << 31) {
    q /= 2;
    ++*shift;
  }
  return q;
}

/* x q / 2^31 2^shift: rounded at the high word half up and at the shift half away from zero, or once. */
static double multiply_by(double x, int64_t q, int shift, bool once) {
  int64_t v = (int64_t)x;
  if (once) return (double)((v * q + (INT64_C(1) << (30 - shift))) >> (31 - shift));
  int64_t high = (v * (INT64_C(1) << (shift > 0 ? shift : 0)) * q + (INT64_C(1) << 30)) >> 31;
  return round(ldexp((double)high, shift < 0 ? shift : 0));
}

static double multiply(double x, double m, bool once) {
  int shift = 0;
  int64_t q = find_multiplier(m, &shift);
  return multiply_by(x, q, shift, once);
}

static double clamp(double v, double lo, double hi) {
  return v < lo ? lo : v > hi ? hi : v;
}

/* Into int8, within the fused activation's range. */
static double saturate(const struct flat_tensor *y, double q, int activation) {
  double z = (double)y->zero_point, s = (double)y->scale[0], lo = -128, hi = 127;
  if (activation == 1 || activation == 3) lo = fmax(lo, z);
  if (activation == 3) hi = fmin(hi, z + (double)roundf(6 / (float)s));
  if (activation == 2) {
    lo = fmax(lo, z + (double)roundf(-1 / (float)s));
    hi = fmin(hi, z + (double)roundf(1 / (float)s));
  }
  return clamp(q, lo, hi);
}

/* As a float, within the fused activation's range. */
static double limit(double v, int activation) {
  double rounded = (double)(float)v;
  return activation == 2   ? clamp(rounded, -1, 1)
         : activation == 0 ? rounded
                           : clamp(rounded, 0, activation == 3 ? 6 : INFINITY);
}

/* ---- Windows ------------------------------------------------------------------------------------------- */

struct window {
  int32_t kernel[2], stride[2], dilation[2], before[2];
};

static void place(struct window *w, int padding, const struct flat_tensor *x, const struct flat_tensor *y) {
  for (int a = 0; a < 2; a++) {
    int32_t extent = (w->kernel[a] - 1) * w->dilation[a] + 1, in = x->shape[1 + a];
    int32_t same = (in + w->stride[a] - 1) / w->stride[a], valid = (in - extent) / w->stride[a] + 1;
    int32_t needed = (same - 1) * w->stride[a] + extent - in;
    assert_int_equal(y->shape[1 + a], padding == 0 ? same : valid);
    w->before[a] = padding == 0 && needed > 0 ? needed / 2 : 0;
  }
}

/* Element (pixel of output i, tap) of channel c; NULL outside. */
static const double *tap_at(const struct window *w, const struct flat_tensor *x, const struct flat_tensor *y,
                            int64_t pixel, int tap, int32_t c) {
  int64_t row =
      pixel / y->shape[2] * w->stride[0] - w->before[0] + (int64_t)(tap / w->kernel[1]) * w->dilation[0];
  int64_t column =
      pixel % y->shape[2] * w->stride[1] - w->before[1] + (int64_t)(tap % w->kernel[1]) * w->dilation[1];
  bool is_inside = row >= 0 && row < x->shape[1] && column >= 0 && column < x->shape[2];
  return is_inside ? &x->value[(row * x->shape[2] + column) * x->shape[3] + c] : NULL;
}

/* Of integers, or of floats, which are rounded once. */
static double finish_sum(const struct flat_tensor *x, const struct flat_tensor *w,
                         const struct flat_tensor *y, int64_t o, double sum, int activation, bool once) {
  if (y->n_scales == 0) return limit(sum, activation);
  double s = (double)w->scale[w->n_scales > 1 ? o : 0];
  double q = multiply(sum, (double)x->scale[0] * s / (double)y->scale[0], once);
  return saturate(y, q + (double)y->zero_point, activation);
}

static void run_conv(struct flat_file *f, const struct flat_operator *op, bool is_depthwise) {
  const struct flat_tensor *x = &f->tensor[op->inputs[0]], *w = &f->tensor[op->inputs[1]],
                           *b = &f->tensor[op->inputs[2]];
  struct flat_tensor *y = &f->tensor[op->output];
  int first = is_depthwise ? 1 : 0, activation = flat_option(f, op, 3 + first, true, 0);
  struct window window = {{w->shape[1], w->shape[2]},
                          {flat_option(f, op, 2, false, 0), flat_option(f, op, 1, false, 0)},
                          {flat_option(f, op, 5 + first, false, 1), flat_option(f, op, 4 + first, false, 1)},
                          {0, 0}};
  place(&window, flat_option(f, op, 0, true, 0), x, y);
  int32_t outputs = y->shape[3], inputs = is_depthwise ? 1 : w->shape[3], groups = x->shape[3] / inputs;
  for (int64_t i = 0; i < flat_count(y); i++) {
    int32_t o = (int32_t)(i % outputs), taps = window.kernel[0] * window.kernel[1];
    double sum = 0;
    for (int t = 0; t < taps; t++)
      for (int32_t c = 0; c < inputs; c++) {
        const double *q = tap_at(&window, x, y, i / outputs, t, o / (outputs / groups) * inputs + c);
        double weight = is_depthwise ? w->value[t * outputs + o] : w->value[(o * taps + t) * inputs + c];
        sum += q ? (*q - (double)x->zero_point) * weight : 0;
      }
    y->value[i] = finish_sum(x, w, y, o, sum + b->value[o], activation, false);
  }
}

/* Every input pixel gives to the outputs that its window covers; the shape comes as a tensor. */
static void run_transposed(struct flat_file *f, const struct flat_operator *op) {
  const struct flat_tensor *shape = &f->tensor[op->inputs[0]], *w = &f->tensor[op->inputs[1]],
                           *x = &f->tensor[op->inputs[2]], *b = &f->tensor[op->inputs[3]];
  struct flat_tensor *y = &f->tensor[op->output];
  int stride[2] = {flat_option(f, op, 2, false, 0), flat_option(f, op, 1, false, 0)}, before[2];
  assert_int_equal(flat_option(f, op, 3, true, 0), 0);
  for (int i = 0; i < 4; i++)
    assert_true(shape->value[i] == y->shape[i]);
  for (int a = 0; a < 2; a++) {
    int out = y->shape[1 + a], k = w->shape[1 + a];
    int same = ((out + stride[a] - 1) / stride[a] - 1) * stride[a] + k - out;
    before[a] = flat_option(f, op, 0, true, 0) == 0 && same > 0 ? same / 2 : 0;
  }
  int64_t outputs = y->shape[3], inputs = x->shape[3], n_pixels = flat_count(y) / outputs;
  double *sums = calloc((size_t)flat_count(y), sizeof *sums);
  for (int64_t i = 0; i < flat_count(x) / inputs; i++)
    for (int t = 0; t < w->shape[1] * w->shape[2]; t++) {
      int64_t row = i / x->shape[2] * stride[0] - before[0] + t / w->shape[2];
      int64_t column = i % x->shape[2] * stride[1] - before[1] + t % w->shape[2];
      if (row < 0 || row >= y->shape[1] || column < 0 || column >= y->shape[2]) continue;
      for (int64_t o = 0; o < outputs; o++)
        for (int64_t c = 0; c < inputs; c++)
          sums[(row * y->shape[2] + column) * outputs + o] +=
              (x->value[i * inputs + c] - (double)x->zero_point) *
              w->value[(o * w->shape[1] * w->shape[2] + t) * inputs + c];
    }
  for (int64_t i = 0; i < n_pixels * outputs; i++)
    y->value[i] = finish_sum(x, w, y, i % outputs, sums[i] + b->value[i % outputs], 0, false);
  free(sums);
}

/* ADD 0, MUL 18, PRELU 54 of floats. */
static void run_floats(struct flat_file *f, const struct flat_operator *op) {
  const struct flat_tensor *a = &f->tensor[op->inputs[0]], *b = &f->tensor[op->inputs[1]];
  struct flat_tensor *y = &f->tensor[op->output];
  int64_t n_b = flat_count(b);
  assert_int_equal(flat_count(a), flat_count(y));
  for (int64_t i = 0; i < flat_count(y); i++) {
    double u = a->value[i], v = b->value[i % n_b];
    y->value[i] = op->code == 54   ? u >= 0 ? u : limit(u * v, 0)
                    : op->code == 18 ? limit(u * v, flat_option(f, op, 0, true, 0))
                                   : limit(u + v, flat_option(f, op, 0, true, 0));
  }
}

static void run_linear(struct flat_file *f, const struct flat_operator *op) {
  const struct flat_tensor *x = &f->tensor[op->inputs[0]], *w = &f->tensor[op->inputs[1]],
                           *b = &f->tensor[op->inputs[2]];
  struct flat_tensor *y = &f->tensor[op->output];
  int32_t inputs = w->shape[1], outputs = w->shape[0];
  for (int64_t i = 0; i < flat_count(y); i++) {
    int64_t o = i % outputs;
    double sum = 0;
    for (int32_t c = 0; c < inputs; c++)
      sum += (x->value[i / outputs * inputs + c] - (double)x->zero_point) * w->value[o * inputs + c];
    y->value[i] = finish_sum(x, w, y, o, sum + b->value[o], flat_option(f, op, 0, true, 0), true);
  }
}

static void run_pool(struct flat_file *f, const struct flat_operator *op, bool is_average) {
  const struct flat_tensor *x = &f->tensor[op->inputs[0]];
  struct flat_tensor *y = &f->tensor[op->output];
  struct window window = {{flat_option(f, op, 4, false, 0), flat_option(f, op, 3, false, 0)},
                          {flat_option(f, op, 2, false, 0), flat_option(f, op, 1, false, 0)},
                          {1, 1},
                          {0, 0}};
  place(&window, flat_option(f, op, 0, true, 0), x, y);
  assert_true(x->scale[0] == y->scale[0] && x->zero_point == y->zero_point);
  for (int64_t i = 0; i < flat_count(y); i++) {
    double sum = 0, most = -128, n = 0;
    for (int t = 0; t < window.kernel[0] * window.kernel[1]; t++) {
      const double *q = tap_at(&window, x, y, i / y->shape[3], t, (int32_t)(i % y->shape[3]));
      sum += q ? *q : 0;
      most = q ? fmax(most, *q) : most;
      n += q ? 1 : 0;
    }
    y->value[i] = is_average ? saturate(y, round(sum / n), flat_option(f, op, 5, true, 0)) : most;
  }
}

/* Over all dimensions but the first and the last. */
static void run_mean(struct flat_file *f, const struct flat_operator *op) {
  const struct flat_tensor *x = &f->tensor[op->inputs[0]], *axes = &f->tensor[op->inputs[1]];
  struct flat_tensor *y = &f->tensor[op->output];
  int64_t channels = x->shape[x->rank - 1], n = flat_count(x) / channels;
  int bits = 0, shift = 0;
  assert_int_equal(flat_count(axes), x->rank - 2);
  assert_int_equal(flat_option(f, op, 0, true, 0), 0);
  assert_int_equal(flat_count(y), channels);
  for (int i = 0; i < x->rank - 2; i++)
    assert_true(axes->value[i] == i + 1);
  int64_t multiplier = find_multiplier((double)x->scale[0] / (double)y->scale[0], &shift);
  while (n >> (bits + 1))
    bits++;
  multiplier = (multiplier << bits) / n;
  for (int64_t c = 0; c < channels; c++) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
      sum += x->value[i * channels + c] - (double)x->zero_point;
    double q = multiply_by(sum, multiplier, shift - bits, false);
    y->value[c] = clamp(q + (double)y->zero_point, -128, 127);
  }
}

static void run_add(struct flat_file *f, const struct flat_operator *op) {
  const struct flat_tensor *a = &f->tensor[op->inputs[0]], *b = &f->tensor[op->inputs[1]];
  struct flat_tensor *y = &f->tensor[op->output];
  double twice = 2 * fmax((double)a->scale[0], (double)b->scale[0]);
  int64_t n_a = flat_count(a), n_b = flat_count(b);
  for (int64_t i = 0; i < flat_count(y); i++) {
    double left = (a->value[i % n_a] - (double)a->zero_point) * 0x1p20,
           right = (b->value[i % n_b] - (double)b->zero_point) * 0x1p20;
    double sum = multiply(left, (double)a->scale[0] / twice, false) +
                 multiply(right, (double)b->scale[0] / twice, false);
    double q = multiply(sum, twice / (0x1p20 * (double)y->scale[0]), false);
    y->value[i] = saturate(y, q + (double)y->zero_point, flat_option(f, op, 0, true, 0));
  }
}

/* ---- Moves --------------------------------------------------------------------------------------------- */

/* y[index] = x[origin + index * step along each axis], axes of x taken in the order of `perm`; outside:
 * `other`. */
static void copy_by(const struct flat_tensor *x, struct flat_tensor *y, const double *origin,
                    const double *step, const double *perm, double other) {
  int64_t stride[FLAT_MAX_RANK] = {0}, n = 1;
  for (int i = x->rank; i-- > 0; n *= x->shape[i])
    stride[i] = n;
  for (int64_t i = 0; i < flat_count(y); i++) {
    int64_t rest = i, at = 0;
    bool is_inside = true;
    for (int k = y->rank; k-- > 0; rest /= y->shape[k]) {
      int axis = perm ? (int)perm[k] : k;
      int64_t from = (int64_t)(origin ? origin[k] : 0) + rest % y->shape[k] * (int64_t)(step ? step[k] : 1);
      is_inside = is_inside && from >= 0 && from < x->shape[axis];
      at += from * stride[axis];
    }
    y->value[i] = is_inside ? x->value[at] : other;
  }
}

static void run_pad(struct flat_file *f, const struct flat_operator *op) {
  const struct flat_tensor *x = &f->tensor[op->inputs[0]], *pads = &f->tensor[op->inputs[1]];
  struct flat_tensor *y = &f->tensor[op->output];
  double origin[FLAT_MAX_RANK];
  for (int i = 0; i < x->rank; i++) {
    origin[i] = -pads->value[2 * i];
    assert_true(x->shape[i] + pads->value[2 * i] + pads->value[2 * i + 1] == y->shape[i]);
  }
  copy_by(x, y, origin, NULL, NULL,
          op->code == 60 ? f->tensor[op->inputs[2]].value[0] : (double)x->zero_point);
}

static void run_slice(struct flat_file *f, const struct flat_operator *op) {
  const struct flat_tensor *x = &f->tensor[op->inputs[0]], *step = &f->tensor[op->inputs[3]];
  const double *begin = f->tensor[op->inputs[1]].value, *end = f->tensor[op->inputs[2]].value;
  struct flat_tensor *y = &f->tensor[op->output];
  int mask = flat_option(f, op, 1, false, 0);
  for (int i = 1; i < x->rank; i++) {
    double to = mask & (1 << i) ? step->value[i] > 0 ? x->shape[i] : -1 : end[i];
    assert_true(ceil((to - begin[i]) / step->value[i]) == y->shape[i]);
  }
  copy_by(x, y, begin, step->value, NULL, 0);
}

static void run_concat(struct flat_file *f, const struct flat_operator *op) {
  struct flat_tensor *y = &f->tensor[op->output];
  int axis = flat_option(f, op, 0, false, 0);
  int64_t inner = 1, at = 0, whole;
  for (int i = axis + 1; i < y->rank; i++)
    inner *= y->shape[i];
  whole = inner * y->shape[axis];
  for (int k = 0; k < op->n_inputs; k++) {
    const struct flat_tensor *x = &f->tensor[op->inputs[k]];
    int64_t part = inner * x->shape[axis];
    for (int64_t i = 0; i < flat_count(x); i++)
      y->value[i / part * whole + at + i % part] = x->value[i];
    at += part;
  }
  assert_int_equal(at, whole);
}

static void run_each(struct flat_file *f, const struct flat_operator *op) {
  const struct flat_tensor *x = &f->tensor[op->inputs[0]];
  const double *other = op->n_inputs > 1 ? f->tensor[op->inputs[1]].value : NULL;
  struct flat_tensor *y = &f->tensor[op->output];
  float s = op->code == 6 ? x->scale[0] : y->scale[0];
  for (int64_t i = 0; i < flat_count(y); i++) {
    double v = x->value[i];
    y->value[i] = op->code == 114  ? clamp((double)roundf((float)v / s) + (double)y->zero_point, -128, 127)
                  : op->code == 6  ? (double)((float)(v - (double)x->zero_point) * s)
                  : op->code == 55 ? fmax(v, other[0])
                  : op->code == 57 ? fmin(v, other[0])
                                   : v;
  }
}

/* ---- The walk ------------------------------------------------------------------------------------------ */

static void load_constant(struct flat_tensor *t) {
  t->value = calloc((size_t)flat_count(t), sizeof *t->value);
  if (!t->data) return;
  assert_int_equal(t->bytes, flat_count(t) * (t->type == FLAT_INT8 ? 1 : 4));
  for (int64_t i = 0; i < flat_count(t); i++) {
    float x;
    int32_t q;
    memcpy(&x, t->data + (t->type == FLAT_INT8 ? 0 : 4 * i), 4 * (t->bytes >= 4));
    memcpy(&q, t->data + (t->type == FLAT_INT8 ? 0 : 4 * i), 4 * (t->bytes >= 4));
    t->value[i] = t->type == FLAT_INT8    ? (double)((const int8_t *)t->data)[i]
                  : t->type == FLAT_INT32 ? q
                                          : (double)x;
  }
}

static void run_operator(struct flat_file *f, const struct flat_operator *op) {
  struct flat_tensor *x = &f->tensor[op->inputs[0]], *y = &f->tensor[op->output];
  switch (op->code) {
    case 0:
    case 18:
    case 54:
      (y->n_scales == 0 ? run_floats : run_add)(f, op);
      break;
    case 67:
      run_transposed(f, op);
      break;
    case 77:
      for (int i = 0; i < x->rank; i++)
        y->value[i] = x->shape[i];
      break;
    case 1:
    case 17:
      run_pool(f, op, op->code == 1);
      break;
    case 2:
      run_concat(f, op);
      break;
    case 3:
    case 4:
      run_conv(f, op, op->code == 4);
      break;
    case 9:
      run_linear(f, op);
      break;
    case 22:
    case 6:
    case 55:
    case 57:
    case 114:
      run_each(f, op);
      break;
    case 34:
    case 60:
      run_pad(f, op);
      break;
    case 39:
      copy_by(x, y, NULL, NULL, f->tensor[op->inputs[1]].value, 0);
      break;
    case 40:
      run_mean(f, op);
      break;
    case 45:
      run_slice(f, op);
      break;
    default:
      fail_msg("operator %d is not one that this test runs", op->code);
  }
}

void flat_run(struct flat_file *f, const float *input) {
  for (int i = 0; i < f->n_tensors; i++) {
    free(f->tensor[i].value);
    load_constant(&f->tensor[i]);
  }
  struct flat_tensor *x = &f->tensor[f->inputs[0]];
  for (int64_t i = 0; i < flat_count(x); i++)
    x->value[i] = (double)input[i];
  for (int i = 0; i < f->n_operators; i++)
    run_operator(f, &f->op[i]);
}
