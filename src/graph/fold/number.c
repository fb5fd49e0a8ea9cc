/* Folding of arithmetic on constants: int64 for integers, double rounded once for floats, and the batch as an
 * opaque element. */
#include <math.h>
#include <string.h>

#include "graph/fold/fold.h"

static void *at(const struct mq_tensor *tensor, int64_t offset) {
  return (char *)tensor->data + offset * (int64_t)mq_dtype_get(tensor->dtype)->bytes;
}

/* A view of one element. */
static struct mq_tensor element(const struct mq_tensor *tensor, int64_t offset) {
  struct mq_shape scalar = {.rank = 0};
  return mq_tensor_view(at(tensor, offset), tensor->dtype, &scalar, NULL);
}

struct graph_number graph_load(const struct mq_tensor *tensor, int64_t offset) {
  struct mq_tensor one = element(tensor, offset);
  struct graph_number x = {.is_float = mq_dtype_get(tensor->dtype)->is_float};
  if (x.is_float) {
    x.d = mq_tensor_get_double(&one, 0);
    x.is_batch = x.d == (double)MQ_DIM_BATCH;
  } else {
    x.i = mq_tensor_get_int(&one, 0);
    x.is_batch = x.i == (tensor->dtype == MQ_I32 ? (int64_t)INT32_MIN : MQ_DIM_BATCH);
  }
  return x;
}

/* Integers wrap around; the number is of the tensor's kind. */
void graph_store(struct mq_tensor *tensor, int64_t offset, struct graph_number x) {
  void *p = at(tensor, offset);
  size_t bytes = mq_dtype_get(tensor->dtype)->bytes;
  if (mq_dtype_get(tensor->dtype)->is_float) {
    double d = x.is_batch ? (double)MQ_DIM_BATCH : x.d;
    struct mq_shape scalar = {.rank = 0};
    struct mq_tensor from = mq_tensor_view(&d, MQ_F64, &scalar, NULL), to = element(tensor, offset);
    mq_tensor_copy(&to, &from);
    return;
  }
  int64_t i = !x.is_batch ? x.i : tensor->dtype == MQ_I32 ? INT32_MIN : MQ_DIM_BATCH;
  if (tensor->dtype == MQ_BOOL) {
    i = x.is_batch || x.i != 0;
  }
  memcpy(p, &i, bytes); /* little endian: the low bytes come first */
}

static struct graph_number of_int(int64_t i) {
  return (struct graph_number){.i = i};
}

/* Walks over `shape` keeping element offsets of n tensors; false at the end. */
struct cursor {
  int64_t index[MQ_MAX_RANK], offset[3];
};

static bool advance(struct cursor *cursor, const struct mq_shape *shape, int64_t stride[][MQ_MAX_RANK],
                    int n) {
  for (int d = shape->rank - 1; d >= 0; d--) {
    bool is_inside = ++cursor->index[d] < shape->dim[d];
    for (int k = 0; k < n; k++) {
      cursor->offset[k] += is_inside ? stride[k][d] : -(shape->dim[d] - 1) * stride[k][d];
    }
    if (is_inside) {
      return true;
    }
    cursor->index[d] = 0;
  }
  return false;
}

/* ---- Arithmetic --------------------------------------------------------------------------------------- */

/* What can be said about an unknown number of images, at least 1. False: nothing. */
static bool combine_batch(struct graph_number *y, mq_op op, struct graph_number a, struct graph_number b) {
  bool is_both = a.is_batch && b.is_batch;
  struct graph_number other = a.is_batch ? b : a;
  double x = other.is_float ? other.d : (double)other.i;
  *y = (struct graph_number){.is_float = a.is_float};
  y->is_batch = true; /* the result, unless said otherwise below */
  switch (op) {
    case MQ_OP_Add:
      return !is_both && x == 0;
    case MQ_OP_Sub:
      y->is_batch = !is_both;
      return is_both || (a.is_batch && x == 0);
    case MQ_OP_Mul:
      y->is_batch = x != 0;
      return !is_both && (x == 1 || x == 0);
    case MQ_OP_Div:
      y->is_batch = !is_both;
      y->i = 1;
      y->d = 1;
      return is_both || (a.is_batch && x == 1);
    case MQ_OP_Mod:
      y->is_batch = false;
      return is_both || (a.is_batch && x == 1);
    case MQ_OP_Max:
      return is_both || x <= 1;
    case MQ_OP_Min:
      return is_both;
    case MQ_OP_Equal:
      *y = of_int(is_both);
      return is_both || x <= 0;
    case MQ_OP_Less:
      *y = of_int(!is_both && b.is_batch);
      return is_both || (a.is_batch ? x <= 1 : x <= 0);
    case MQ_OP_Greater:
      *y = of_int(!is_both && a.is_batch);
      return is_both || (a.is_batch ? x <= 0 : x <= 1);
    default:
      return false;
  }
}

static int64_t floor_mod(int64_t a, int64_t b, bool has_sign_of_a) {
  int64_t r = b == -1 ? 0 : a % b;
  return !has_sign_of_a && r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

/* False: division by zero. */
static bool combine_ints(struct graph_number *y, mq_op op, int64_t a, int64_t b, bool is_fmod) {
  uint64_t ua = (uint64_t)a, ub = (uint64_t)b;
  int64_t i = 0;
  switch (op) {
    case MQ_OP_Add:
      i = (int64_t)(ua + ub);
      break;
    case MQ_OP_Sub:
      i = (int64_t)(ua - ub);
      break;
    case MQ_OP_Mul:
      i = (int64_t)(ua * ub);
      break;
    case MQ_OP_Div:
      i = b == 0 ? 0 : b == -1 ? (int64_t)(0 - ua) : a / b;
      break;
    case MQ_OP_Mod:
      i = b == 0 ? 0 : floor_mod(a, b, is_fmod);
      break;
    case MQ_OP_Max:
      i = a > b ? a : b;
      break;
    case MQ_OP_Min:
      i = a < b ? a : b;
      break;
    case MQ_OP_Equal:
      i = a == b;
      break;
    case MQ_OP_Less:
      i = a < b;
      break;
    case MQ_OP_Greater:
      i = a > b;
      break;
    case MQ_OP_And:
      i = a && b;
      break;
    case MQ_OP_Or:
      i = a || b;
      break;
    case MQ_OP_Xor:
      i = !a != !b;
      break;
    default:
      break;
  }
  *y = of_int(i);
  return b != 0 || (op != MQ_OP_Div && op != MQ_OP_Mod);
}

static void combine_floats(struct graph_number *y, mq_op op, double a, double b) {
  *y = (struct graph_number){.is_float = true};
  switch (op) {
    case MQ_OP_Add:
      y->d = a + b;
      break;
    case MQ_OP_Sub:
      y->d = a - b;
      break;
    case MQ_OP_Mul:
      y->d = a * b;
      break;
    case MQ_OP_Div:
      y->d = a / b;
      break;
    case MQ_OP_Mod:
      y->d = fmod(a, b);
      break;
    case MQ_OP_Max:
      y->d = isnan(a) || a > b ? a : b;
      break;
    case MQ_OP_Min:
      y->d = isnan(a) || a < b ? a : b;
      break;
    case MQ_OP_Equal:
      *y = of_int(a == b);
      break;
    case MQ_OP_Less:
      *y = of_int(a < b);
      break;
    case MQ_OP_Greater:
      *y = of_int(a > b);
      break;
    default:
      break;
  }
}

static mq_status combine(struct graph_number *y, const struct mq_node *node, bool is_fmod,
                         struct graph_number a, struct graph_number b, struct mq_err *err) {
  if (a.is_batch || b.is_batch) {
    return combine_batch(y, node->op, a, b)
               ? MQ_OK
               : graph_fail(
                     err, node,
                     "computes with the batch size, which is not fixed; expected that it is only moved");
  }
  if (a.is_float) {
    combine_floats(y, node->op, a.d, b.d);
    return MQ_OK;
  }
  return combine_ints(y, node->op, a.i, b.i, is_fmod) ? MQ_OK : graph_fail(err, node, "divides by zero");
}

/* out = out op b, or a op b for the first pair; out may be a. */
static mq_status fold_pair(struct mq_node *node, const struct mq_tensor *a, const struct mq_tensor *b,
                           bool is_fmod, struct mq_err *err) {
  struct mq_tensor *out = graph_out(node, 0);
  int64_t stride[2][MQ_MAX_RANK] = {{0}}, n = mq_shape_count(&out->shape);
  graph_broadcast_strides(stride[0], a, &out->shape);
  graph_broadcast_strides(stride[1], b, &out->shape);
  struct cursor cursor = {{0}, {0}};
  mq_status status = MQ_OK;
  for (int64_t i = 0; i < n && status == MQ_OK; i++) {
    struct graph_number y;
    status =
        combine(&y, node, is_fmod, graph_load(a, cursor.offset[0]), graph_load(b, cursor.offset[1]), err);
    if (status == MQ_OK) {
      graph_store(out, i, y);
      advance(&cursor, &out->shape, stride, 2);
    }
  }
  return status;
}

mq_status graph_fold_binary(struct mq_node *node, struct mq_err *err) {
  struct mq_tensor *out = graph_out(node, 0);
  int64_t is_fmod = 0;
  mq_status status = node->op == MQ_OP_Mod ? mq_node_get_int(&is_fmod, node, "fmod", 0, err) : MQ_OK;
  if (status != MQ_OK || !out) {
    return status;
  }
  if (node->n_inputs == 1) { /* Max, Min */
    mq_tensor_copy(out, graph_in(node, 0));
    return MQ_OK;
  }
  status = fold_pair(node, graph_in(node, 0), graph_in(node, 1), is_fmod != 0, err);
  for (int i = 2; i < node->n_inputs && status == MQ_OK; i++) {
    status = fold_pair(node, out, graph_in(node, i), is_fmod != 0, err);
  }
  return status;
}

mq_status graph_fold_where(struct mq_node *node, struct mq_err *err) {
  (void)err;
  struct mq_tensor *out = graph_out(node, 0);
  if (!out) {
    return MQ_OK;
  }
  int64_t stride[3][MQ_MAX_RANK] = {{0}}, n = mq_shape_count(&out->shape);
  for (int k = 0; k < 3; k++) {
    graph_broadcast_strides(stride[k], graph_in(node, k), &out->shape);
  }
  struct cursor cursor = {{0}, {0}};
  for (int64_t i = 0; i < n; i++) {
    struct graph_number condition = graph_load(graph_in(node, 0), cursor.offset[0]);
    bool is_first = condition.is_float ? condition.d != 0 : condition.i != 0;
    int k = is_first ? 1 : 2;
    graph_store(out, i, graph_load(graph_in(node, k), cursor.offset[k]));
    advance(&cursor, &out->shape, stride, 3);
  }
  return MQ_OK;
}

/* ---- One input ---------------------------------------------------------------------------------------- */

mq_status graph_fold_unary(struct mq_node *node, struct mq_err *err) {
  const struct mq_tensor *in = graph_in(node, 0);
  struct mq_tensor *out = graph_out(node, 0);
  int64_t n = out ? mq_shape_count(&out->shape) : 0;
  for (int64_t i = 0; i < n; i++) {
    struct graph_number x = graph_load(in, i);
    switch (node->op) {
      case MQ_OP_Not:
        x = of_int(x.i == 0);
        break;
      case MQ_OP_Neg:
        if (x.is_batch) {
          return graph_fail(err, node, "computes with the batch size, which is not fixed");
        }
        x.d = -x.d;
        x.i = (int64_t)(0 - (uint64_t)x.i);
        break;
      case MQ_OP_Floor:
        x.d = floor(x.d);
        break;
      default: /* Ceil */
        x.d = ceil(x.d);
        break;
    }
    graph_store(out, i, x);
  }
  return MQ_OK;
}

/* Float to integer drops the fraction and saturates (what lies outside is undefined in ONNX); integers keep
 * their low bits. */
static struct graph_number convert(struct graph_number x, mq_dtype to) {
  bool to_float = mq_dtype_get(to)->is_float;
  if (to == MQ_BOOL) {
    return of_int(x.is_batch || (x.is_float ? x.d != 0 : x.i != 0));
  }
  if (x.is_float && !to_float) {
    bool is_inside = x.d > -0x1p63 && x.d < 0x1p63;
    x.i = is_inside ? (int64_t)x.d : x.d > 0 ? INT64_MAX : isnan(x.d) ? 0 : INT64_MIN;
  } else if (!x.is_float && to_float) {
    x.d = (double)x.i;
  }
  x.is_float = to_float;
  return x;
}

mq_status graph_fold_cast(struct mq_node *node, struct mq_err *err) {
  const struct mq_tensor *in = graph_in(node, 0);
  struct mq_tensor *out = graph_out(node, 0);
  int64_t n = out ? mq_shape_count(&out->shape) : 0;
  for (int64_t i = 0; i < n; i++) {
    struct graph_number x = graph_load(in, i);
    bool is_narrow = mq_dtype_get(out->dtype)->bytes < 4 && out->dtype != MQ_BOOL;
    if (x.is_batch && is_narrow && !x.is_float) {
      return graph_fail(err, node, "casts the batch size to %s", mq_dtype_get(out->dtype)->name);
    }
    graph_store(out, i, convert(x, out->dtype));
  }
  return MQ_OK;
}

mq_status graph_fold_range(struct mq_node *node, struct mq_err *err) {
  (void)err;
  struct mq_tensor *out = graph_out(node, 0);
  int64_t n = out ? mq_shape_count(&out->shape) : 0;
  struct graph_number start = graph_load(graph_in(node, 0), 0), delta = graph_load(graph_in(node, 2), 0);
  for (int64_t i = 0; i < n; i++) {
    struct graph_number x = start;
    x.d = start.d + (double)i * delta.d;
    x.i = start.i + i * delta.i;
    graph_store(out, i, x);
  }
  return MQ_OK;
}

/* Products along the axes, in the order of the input's elements. */
mq_status graph_fold_reduce_prod(struct mq_node *node, struct mq_err *err) {
  const struct mq_tensor *in = graph_in(node, 0);
  struct mq_tensor *out = graph_out(node, 0);
  int64_t axes[MQ_MAX_RANK], stride[1][MQ_MAX_RANK] = {{0}}, step = 1;
  int n_axes;
  mq_status status = mq_node_get_axes(axes, &n_axes, node, in->shape.rank, err);
  if (status != MQ_OK || !out) {
    return status;
  }
  for (int i = in->shape.rank - 1, next = n_axes - 1; i >= 0; i--) {
    bool is_reduced = next >= 0 && axes[next] == i;
    next -= is_reduced;
    stride[0][i] = is_reduced ? 0 : step;
    step *= is_reduced ? 1 : in->shape.dim[i];
  }
  for (int64_t i = 0; i < mq_shape_count(&out->shape); i++) {
    graph_store(out, i,
                (struct graph_number){.is_float = mq_dtype_get(out->dtype)->is_float, .d = 1, .i = 1});
  }
  struct mq_node product = *node;
  product.op = MQ_OP_Mul;
  struct cursor cursor = {{0}, {0}};
  for (int64_t i = 0; i < mq_shape_count(&in->shape) && status == MQ_OK; i++) {
    struct graph_number y;
    status = combine(&y, &product, false, graph_load(out, cursor.offset[0]), graph_load(in, i), err);
    if (status == MQ_OK) {
      graph_store(out, cursor.offset[0], y);
      advance(&cursor, &in->shape, stride, 1);
    }
  }
  return status;
}

/* A number alone: f(f(q - z) s). Its scale is one number too, or inference has refused it. */
mq_status graph_fold_dequantize(struct mq_node *node, struct mq_err *err) {
  int64_t zero_point = node->n_inputs > 2 && node->inputs[2] ? mq_tensor_get_int(graph_in(node, 2), 0) : 0;
  float difference = (float)(mq_tensor_get_int(graph_in(node, 0), 0) - zero_point);
  (void)err;
  *(float *)graph_out(node, 0)->data = difference * (float)mq_tensor_get_double(graph_in(node, 1), 0);
  return MQ_OK;
}
