#include "help_double.h"

#include <math.h>

/* ---- Arrays ---------------------------------------------------------------------------------- */
void plain_require(mq_status status, const struct mq_err *err) {
  if (status) fail_msg("status %d: %s", status, err->message);
}

static struct grid grid_of(const struct mq_shape *shape, int64_t batch) {
  struct mq_shape whole = mq_shape_at_batch(shape, batch);
  struct grid grid = {.rank = whole.rank, .count = 1};
  for (int i = 0; i < whole.rank; i++) {
    grid.dim[i] = whole.dim[i];
    grid.count *= whole.dim[i];
  }
  grid.v = mq_alloc((size_t)grid.count + 1, sizeof(double));
  assert_non_null(grid.v);
  return grid;
}

void grid_index(int64_t index[MQ_MAX_RANK], const struct grid *grid, int64_t i) {
  for (int d = grid->rank - 1; d >= 0; d--) {
    index[d] = i % grid->dim[d];
    i /= grid->dim[d];
  }
}

/* The index of the next element. */
static void advance(int64_t index[MQ_MAX_RANK], const struct grid *grid) {
  for (int d = grid->rank - 1; d >= 0 && ++index[d] == grid->dim[d]; d--)
    index[d] = 0;
}

int64_t grid_offset(const struct grid *grid, const int64_t index[MQ_MAX_RANK]) {
  int64_t offset = 0;
  for (int d = 0; d < grid->rank; d++)
    offset = offset * grid->dim[d] + index[d];
  return offset;
}

double grid_broadcast(const struct grid *grid, int whole_rank, const int64_t index[MQ_MAX_RANK]) {
  int64_t own[MQ_MAX_RANK];
  for (int d = 0; d < grid->rank; d++)
    own[d] = grid->dim[d] == 1 ? 0 : index[d + whole_rank - grid->rank];
  return grid->v[grid_offset(grid, own)];
}

void plain_init(struct plain *plain, const struct mq_graph *graph, int64_t batch) {
  *plain = (struct plain){.graph = graph, .batch = batch};
  plain->grids = mq_alloc(graph->n_values, sizeof *plain->grids);
  assert_non_null(plain->grids);
  for (size_t i = 0; i < graph->n_values; i++) {
    const struct mq_value *value = graph->values[i];
    plain->grids[i] = grid_of(&value->shape, batch);
    for (int64_t k = 0; value->constant && k < plain->grids[i].count; k++)
      plain->grids[i].v[k] = mq_tensor_get_double(value->constant, k);
  }
}

void plain_deinit(struct plain *plain) {
  for (size_t i = 0; i < plain->graph->n_values; i++)
    mq_free(plain->grids[i].v);
  mq_free(plain->grids);
}

struct grid *plain_grid(const struct plain *plain, const struct mq_value *value) {
  return &plain->grids[value->index];
}

struct grid *plain_input(const struct plain *plain, const struct mq_node *node, int i) {
  return i < node->n_inputs && node->inputs[i] ? plain_grid(plain, node->inputs[i]) : NULL;
}

struct grid *plain_output(const struct plain *plain, const struct mq_node *node, int i) {
  return plain_grid(plain, node->outputs[i]);
}

/* ---- Element by element ---------------------------------------------------------------------- */
static double float_of(const struct mq_node *node, const char *name, float fallback) {
  struct mq_err err;
  float f;
  plain_require(mq_node_get_float(&f, node, name, fallback, &err), &err);
  return (double)f;
}

static double limit(double x, double lo, double hi) {
  return x < lo ? lo : x > hi ? hi : x;
}

static double unary(const struct mq_node *node, double x) {
  struct mq_err err;
  float lo, hi;
  switch (node->op) {
    case MQ_OP_Relu:
    case MQ_OP_Clip:
      plain_require(mq_node_get_clip(&lo, &hi, node, &err), &err);
      return limit(x, (double)lo, (double)hi);
    case MQ_OP_Sigmoid:
      return 1 / (1 + exp(-x));
    case MQ_OP_HardSigmoid:
      return limit(float_of(node, "alpha", 0.2f) * x + float_of(node, "beta", 0.5f), 0, 1);
    case MQ_OP_HardSwish:
      return x * limit(x / 6 + 0.5, 0, 1);
    case MQ_OP_LeakyRelu:
      return x >= 0 ? x : float_of(node, "alpha", 0.01f) * x;
    default: /* the same elements in another shape */
      return x;
  }
}

static void run_unary(const struct plain *plain, const struct mq_node *node) {
  const struct grid *x = plain_input(plain, node, 0), *y = plain_output(plain, node, 0);
  assert_int_equal(x->count, y->count);
  for (int64_t i = 0; i < y->count; i++)
    y->v[i] = unary(node, x->v[i]);
}

static double binary(mq_op op, double a, double b) {
  switch (op) {
    case MQ_OP_Add:
      return a + b;
    case MQ_OP_Sub:
      return a - b;
    case MQ_OP_Mul:
      return a * b;
    case MQ_OP_Div:
      return a / b;
    default: /* PRelu */
      return a >= 0 ? a : a * b;
  }
}

static void run_binary(const struct plain *plain, const struct mq_node *node) {
  const struct grid *y = plain_output(plain, node, 0), *a = plain_input(plain, node, 0),
                    *b = plain_input(plain, node, 1);
  int64_t index[MQ_MAX_RANK] = {0};
  bool is_whole = a->count == y->count;
  for (int64_t i = 0; i < y->count; i++) {
    double left = is_whole ? a->v[i] : grid_broadcast(a, y->rank, index);
    y->v[i] = binary(node->op, left, grid_broadcast(b, y->rank, index));
    advance(index, y);
  }
}

static void run_expand(const struct plain *plain, const struct mq_node *node) {
  const struct grid *y = plain_output(plain, node, 0);
  int64_t index[MQ_MAX_RANK];
  for (int64_t i = 0; i < y->count; i++) {
    grid_index(index, y, i);
    y->v[i] = grid_broadcast(plain_input(plain, node, 0), y->rank, index);
  }
}

/* ---- Axes ------------------------------------------------------------------------------------ */
/* Rows over the axes first..last. */
static void run_softmax(const struct plain *plain, const struct mq_node *node) {
  const struct grid *x = plain_input(plain, node, 0), *y = plain_output(plain, node, 0);
  struct mq_err err;
  int first, last;
  int64_t row = 1, inner = 1;
  plain_require(mq_node_get_softmax(&first, &last, node, &err), &err);
  for (int d = first; d < x->rank; d++) {
    row *= d <= last ? x->dim[d] : 1;
    inner *= d > last ? x->dim[d] : 1;
  }
  for (int64_t i = 0; i < y->count; i++) {
    const double *begin = x->v + i / (row * inner) * row * inner + i % inner;
    double sum = 0;
    for (int64_t k = 0; k < row; k++)
      sum += exp(begin[k * inner] - x->v[i]);
    y->v[i] = node->op == MQ_OP_LogSoftmax ? -log(sum) : 1 / sum;
  }
}

static void run_reduce_mean(const struct plain *plain, const struct mq_node *node) {
  const struct grid *x = plain_input(plain, node, 0), *y = plain_output(plain, node, 0);
  int64_t axes[MQ_MAX_RANK], index[MQ_MAX_RANK];
  bool is_reduced[MQ_MAX_RANK] = {false};
  struct mq_err err;
  int n_axes;
  plain_require(mq_node_get_axes(axes, &n_axes, node, x->rank, &err), &err);
  for (int i = 0; i < n_axes; i++)
    is_reduced[axes[i]] = true;
  memset(y->v, 0, (size_t)y->count * sizeof *y->v);
  for (int64_t i = 0; i < x->count; i++) {
    int64_t at = 0;
    grid_index(index, x, i);
    for (int d = 0; d < x->rank; d++)
      at = is_reduced[d] ? at : at * x->dim[d] + index[d];
    y->v[at] += x->v[i] / ((double)x->count / (double)y->count);
  }
}

static void run_concat(const struct plain *plain, const struct mq_node *node) {
  const struct grid *y = plain_output(plain, node, 0);
  struct mq_err err;
  int axis;
  plain_require(mq_node_get_axis(&axis, node, 1, y->rank, &err), &err);
  int64_t start = 0;
  for (int k = 0; k < node->n_inputs; k++) {
    const struct grid *x = plain_input(plain, node, k);
    int64_t index[MQ_MAX_RANK] = {0}, at[MQ_MAX_RANK];
    for (int64_t i = 0; i < x->count; i++) {
      memcpy(at, index, sizeof at);
      at[axis] += start;
      y->v[grid_offset(y, at)] = x->v[i];
      advance(index, x);
    }
    start += x->dim[axis];
  }
}

static void run_split(const struct plain *plain, const struct mq_node *node) {
  const struct grid *x = plain_input(plain, node, 0);
  int64_t start = 0, index[MQ_MAX_RANK];
  const int64_t *parts;
  struct mq_err err;
  int axis;
  plain_require(mq_node_get_split(&axis, &parts, node, &err), &err);
  for (int k = 0; k < node->n_outputs; k++) {
    const struct grid *y = plain_output(plain, node, k);
    for (int64_t i = 0; i < y->count; i++) {
      grid_index(index, y, i);
      index[axis] += start;
      y->v[i] = x->v[grid_offset(x, index)];
    }
    start += parts[k];
  }
}

static void run_slice(const struct plain *plain, const struct mq_node *node) {
  const struct grid *x = plain_input(plain, node, 0), *y = plain_output(plain, node, 0);
  int64_t index[MQ_MAX_RANK];
  struct mq_slicing slicing;
  struct mq_err err;
  plain_require(mq_node_get_slicing(&slicing, node, &err), &err);
  for (int64_t i = 0; i < y->count; i++) {
    grid_index(index, y, i);
    for (int d = 0; d < y->rank; d++)
      index[d] = slicing.start[d] + index[d] * slicing.step[d];
    y->v[i] = x->v[grid_offset(x, index)];
  }
}

static void run_transpose(const struct plain *plain, const struct mq_node *node) {
  const struct grid *x = plain_input(plain, node, 0), *y = plain_output(plain, node, 0);
  int64_t index[MQ_MAX_RANK], from[MQ_MAX_RANK];
  int perm[MQ_MAX_RANK];
  struct mq_err err;
  plain_require(mq_node_get_perm(perm, node, &err), &err);
  for (int64_t i = 0; i < y->count; i++) {
    grid_index(index, y, i);
    for (int d = 0; d < y->rank; d++)
      from[perm[d]] = index[d];
    y->v[i] = x->v[grid_offset(x, from)];
  }
}

static void run_gather(const struct plain *plain, const struct mq_node *node) {
  const struct grid *x = plain_input(plain, node, 0), *indices = plain_input(plain, node, 1),
                    *y = plain_output(plain, node, 0);
  struct mq_err err;
  int axis;
  plain_require(mq_node_get_axis(&axis, node, 0, x->rank, &err), &err);
  int64_t outer = 1, inner = 1, size = x->dim[axis];
  for (int d = 0; d < x->rank; d++) {
    outer *= d < axis ? x->dim[d] : 1;
    inner *= d > axis ? x->dim[d] : 1;
  }
  for (int64_t o = 0; o < outer; o++)
    for (int64_t j = 0; j < indices->count; j++)
      for (int64_t i = 0; i < inner; i++) {
        int64_t at = (int64_t)indices->v[j];
        at += at < 0 ? size : 0;
        y->v[(o * indices->count + j) * inner + i] = x->v[(o * size + at) * inner + i];
      }
}

/* ---- The graph ------------------------------------------------------------------------------- */
static void run_node(const struct plain *plain, const struct mq_node *node) {
  switch (node->op) {
    case MQ_OP_Add:
    case MQ_OP_Sub:
    case MQ_OP_Mul:
    case MQ_OP_Div:
    case MQ_OP_PRelu:
      run_binary(plain, node);
      break;
    case MQ_OP_Expand:
      run_expand(plain, node);
      break;
    case MQ_OP_Softmax:
    case MQ_OP_LogSoftmax:
      run_softmax(plain, node);
      break;
    case MQ_OP_ReduceMean:
      run_reduce_mean(plain, node);
      break;
    case MQ_OP_Concat:
      run_concat(plain, node);
      break;
    case MQ_OP_Split:
      run_split(plain, node);
      break;
    case MQ_OP_Slice:
      run_slice(plain, node);
      break;
    case MQ_OP_Transpose:
      run_transpose(plain, node);
      break;
    case MQ_OP_Gather:
      run_gather(plain, node);
      break;
    default:
      if (!plain_run_window(plain, node) && !plain_run_fold(plain, node)) run_unary(plain, node);
      break;
  }
}

void plain_run(struct plain *plain) {
  for (size_t i = 0; i < plain->graph->n_nodes; i++)
    if (plain->graph->nodes[i]->op != MQ_OP_NONE) run_node(plain, plain->graph->nodes[i]);
}

double plain_loss(struct plain *plain, const int64_t *labels, double smoothing) {
  const struct grid *logits = plain_grid(plain, plain->graph->outputs[0]);
  int64_t n_classes = logits->count / plain->batch;
  double loss = 0;
  plain_run(plain);
  for (int64_t n = 0; n < plain->batch; n++) {
    const double *x = logits->v + n * n_classes;
    double largest = -INFINITY, sum = 0;
    for (int64_t k = 0; k < n_classes; k++)
      largest = fmax(largest, x[k]);
    for (int64_t k = 0; k < n_classes; k++)
      sum += exp(x[k] - largest);
    for (int64_t k = 0; k < n_classes; k++) {
      double target = (1 - smoothing) * (k == labels[n]) + smoothing / (double)n_classes;
      loss -= target * (x[k] - largest - log(sum));
    }
  }
  return loss / (double)plain->batch;
}
