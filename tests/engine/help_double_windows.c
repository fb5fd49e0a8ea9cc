/* Windows, products, norms and resizing: what sums over something. */
#include <math.h>

#include "help_double.h"

/* An image array as N C H W; rank 3 has H 1. */
struct image {
  int64_t n, c, h, w;
  double *v;
};

static struct image image_of(const struct grid *grid) {
  struct image image = {grid->dim[0], grid->dim[1], 1, 1, grid->v};
  if (grid->rank == 4) image.h = grid->dim[2];
  if (grid->rank > 2) image.w = grid->dim[grid->rank - 1];
  return image;
}

static double *pixel(const struct image *image, int64_t n, int64_t c, int64_t h, int64_t w) {
  bool is_inside = h >= 0 && h < image->h && w >= 0 && w < image->w;
  return is_inside ? &image->v[((n * image->c + c) * image->h + h) * image->w + w] : NULL;
}

static struct mq_window window_of(const struct mq_node *node) {
  struct mq_window window;
  struct mq_err err;
  plain_require(mq_node_get_window(&window, node, &err), &err);
  return window;
}

static void fill_bias(const struct image *y, const struct grid *bias) {
  for (int64_t n = 0; n < y->n; n++)
    for (int64_t c = 0; c < y->c; c++)
      for (int64_t i = 0; i < y->h * y->w; i++)
        y->v[(n * y->c + c) * y->h * y->w + i] = bias ? bias->v[c] : 0;
}

/* y[o, oh, ow] += x[i, ih, iw] w[kh, kw], where one image is the other seen through the windows. */
struct tap {
  int64_t n, group, in, out, kh, kw; /* in, out: channels within the group */
};

static void add_tap(const struct image *x, const struct image *y, double w, const struct tap *t,
                    const struct mq_window *window, bool is_transposed) {
  /* The windows' positions count pixels of the outer image and lie in the inner one. */
  const struct image *outer = is_transposed ? x : y, *inner = is_transposed ? y : x;
  int64_t xc = t->group * (x->c / window->groups) + t->in, yc = t->group * (y->c / window->groups) + t->out;
  double *outer_plane = pixel(outer, t->n, is_transposed ? xc : yc, 0, 0);
  double *inner_plane = pixel(inner, t->n, is_transposed ? yc : xc, 0, 0);
  for (int64_t h = 0; h < outer->h; h++) {
    int64_t ih = h * window->stride[0] - window->pad_begin[0] + t->kh * window->dilation[0];
    for (int64_t v = 0; v < outer->w && ih >= 0 && ih < inner->h; v++) {
      int64_t iw = v * window->stride[1] - window->pad_begin[1] + t->kw * window->dilation[1];
      if (iw < 0 || iw >= inner->w) continue;
      double *a = &outer_plane[h * outer->w + v], *b = &inner_plane[ih * inner->w + iw];
      if (is_transposed)
        *b += *a * w;
      else
        *a += *b * w;
    }
  }
}

static void run_conv(const struct plain *plain, const struct mq_node *node) {
  const struct image x = image_of(plain_input(plain, node, 0)), y = image_of(plain_output(plain, node, 0));
  const double *w = plain_input(plain, node, 1)->v;
  struct mq_window window = window_of(node);
  bool is_transposed = node->op == MQ_OP_ConvTranspose;
  int64_t n_in = x.c / window.groups, n_out = y.c / window.groups;
  fill_bias(&y, plain_input(plain, node, 2));
  struct tap t;
  for (t.n = 0; t.n < x.n; t.n++)
    for (t.group = 0; t.group < window.groups; t.group++)
      for (t.in = 0; t.in < n_in; t.in++)
        for (t.out = 0; t.out < n_out; t.out++)
          for (t.kh = 0; t.kh < window.kernel[0]; t.kh++)
            for (t.kw = 0; t.kw < window.kernel[1]; t.kw++) {
              int64_t row = is_transposed ? (t.group * n_in + t.in) * n_out + t.out
                                          : (t.group * n_out + t.out) * n_in + t.in;
              add_tap(&x, &y, w[(row * window.kernel[0] + t.kh) * window.kernel[1] + t.kw], &t, &window,
                      is_transposed);
            }
}

/* ---- Pools ----------------------------------------------------------------------------------- */
/* A window's positions along one axis that count for an average with padding: in the image or its padding. */
static bool is_counted(const struct mq_window *window, int axis, int64_t i, int64_t size) {
  return window->count_include_pad ? i < size + window->pad_end[axis] : i >= 0 && i < size;
}

static double pool_at(const struct image *x, int64_t n, int64_t c, int64_t oh, int64_t ow,
                      const struct mq_window *window, bool is_max) {
  double sum = 0, largest = -INFINITY;
  int64_t count = 0;
  for (int64_t kh = 0; kh < window->kernel[0]; kh++)
    for (int64_t kw = 0; kw < window->kernel[1]; kw++) {
      int64_t h = oh * window->stride[0] - window->pad_begin[0] + kh * window->dilation[0];
      int64_t w = ow * window->stride[1] - window->pad_begin[1] + kw * window->dilation[1];
      const double *v = pixel(x, n, c, h, w);
      count += is_counted(window, 0, h, x->h) && is_counted(window, 1, w, x->w);
      sum += v ? *v : 0;
      largest = v ? fmax(largest, *v) : largest;
    }
  return is_max ? largest : sum / (double)count;
}

static void run_pool(const struct plain *plain, const struct mq_node *node) {
  const struct image x = image_of(plain_input(plain, node, 0)), y = image_of(plain_output(plain, node, 0));
  struct mq_window window;
  if (node->op == MQ_OP_GlobalAveragePool || node->op == MQ_OP_GlobalMaxPool)
    window = (struct mq_window){.kernel = {x.h, x.w}, .stride = {1, 1}, .dilation = {1, 1}};
  else
    window = window_of(node);
  bool is_max = node->op == MQ_OP_MaxPool || node->op == MQ_OP_GlobalMaxPool;
  for (int64_t n = 0; n < y.n; n++)
    for (int64_t c = 0; c < y.c; c++)
      for (int64_t h = 0; h < y.h; h++)
        for (int64_t w = 0; w < y.w; w++)
          *pixel(&y, n, c, h, w) = pool_at(&x, n, c, h, w, &window, is_max);
}

/* ---- Products -------------------------------------------------------------------------------- */
static void run_gemm(const struct plain *plain, const struct mq_node *node) {
  const struct grid *a = plain_input(plain, node, 0), *b = plain_input(plain, node, 1),
                    *bias = plain_input(plain, node, 2), *y = plain_output(plain, node, 0);
  struct mq_err err;
  float alpha, beta;
  int64_t is_a_transposed, is_b_transposed;
  plain_require(mq_node_get_float(&alpha, node, "alpha", 1, &err), &err);
  plain_require(mq_node_get_float(&beta, node, "beta", 1, &err), &err);
  plain_require(mq_node_get_int(&is_a_transposed, node, "transA", 0, &err), &err);
  plain_require(mq_node_get_int(&is_b_transposed, node, "transB", 0, &err), &err);
  int64_t m = y->dim[0], n = y->dim[1], n_inner = a->dim[is_a_transposed ? 0 : 1];
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      const int64_t index[MQ_MAX_RANK] = {i, j};
      double sum = 0;
      for (int64_t k = 0; k < n_inner; k++)
        sum += a->v[is_a_transposed ? k * m + i : i * n_inner + k] *
               b->v[is_b_transposed ? j * n_inner + k : k * n + j];
      y->v[i * n + j] = (double)alpha * sum + (bias ? (double)beta * grid_broadcast(bias, 2, index) : 0);
    }
}

/* A vector becomes a row on the left and a column on the right. */
static struct grid as_matrices(const struct grid *grid, int vector_axis) {
  struct grid matrices = *grid;
  if (grid->rank == 1) {
    matrices.rank = 2;
    matrices.dim[vector_axis] = grid->dim[0];
    matrices.dim[1 - vector_axis] = 1;
  }
  return matrices;
}

static void run_matmul(const struct plain *plain, const struct mq_node *node) {
  const struct grid a = as_matrices(plain_input(plain, node, 0), 1),
                    b = as_matrices(plain_input(plain, node, 1), 0), *y = plain_output(plain, node, 0);
  struct grid whole = {.rank = a.rank > b.rank ? a.rank : b.rank, .count = y->count};
  int last = whole.rank - 1;
  for (int d = 0; d < whole.rank; d++) {
    int64_t da = d + a.rank < whole.rank ? 1 : a.dim[d + a.rank - whole.rank];
    int64_t db = d + b.rank < whole.rank ? 1 : b.dim[d + b.rank - whole.rank];
    whole.dim[d] = d == last ? db : d == last - 1 ? da : da > db ? da : db;
  }
  for (int64_t i = 0; i < y->count; i++) {
    int64_t index[MQ_MAX_RANK], left[MQ_MAX_RANK], right[MQ_MAX_RANK];
    grid_index(index, &whole, i);
    memcpy(left, index, sizeof left);
    memcpy(right, index, sizeof right);
    y->v[i] = 0;
    for (int64_t k = 0; k < a.dim[a.rank - 1]; k++) {
      left[last] = right[last - 1] = k;
      y->v[i] += grid_broadcast(&a, whole.rank, left) * grid_broadcast(&b, whole.rank, right);
    }
  }
}

/* ---- Batch normalisation, by the batch's statistics ------------------------------------------ */
static void run_batch_norm(const struct plain *plain, const struct mq_node *node) {
  const struct grid *x = plain_input(plain, node, 0), *y = plain_output(plain, node, 0);
  const double *gamma = plain_input(plain, node, 1)->v, *beta = plain_input(plain, node, 2)->v;
  struct mq_err err;
  float epsilon;
  plain_require(mq_node_get_float(&epsilon, node, "epsilon", 1e-5f, &err), &err);
  int64_t channels = x->dim[1], inner = x->count / x->dim[0] / channels;
  for (int64_t c = 0; c < channels; c++) {
    double mean = 0, variance = 0, count = (double)(x->dim[0] * inner);
    for (int64_t i = 0; i < x->count; i++)
      mean += i / inner % channels == c ? x->v[i] / count : 0;
    for (int64_t i = 0; i < x->count; i++)
      variance += i / inner % channels == c ? (x->v[i] - mean) * (x->v[i] - mean) / count : 0;
    for (int64_t i = 0; i < x->count; i++)
      if (i / inner % channels == c)
        y->v[i] = gamma[c] * (x->v[i] - mean) / sqrt(variance + (double)epsilon) + beta[c];
  }
}

/* ---- Pad ------------------------------------------------------------------------------------- */
/* Walks back to the inside, one reflection, step round or border at a time. */
static int64_t pad_source(int64_t o, int64_t n, mq_pad_mode mode) {
  while (o < 0 || o >= n) {
    if (mode == MQ_PAD_EDGE) o = o < 0 ? 0 : n - 1;
    if (mode == MQ_PAD_WRAP) o += o < 0 ? n : -n;
    if (mode == MQ_PAD_REFLECT) o = o < 0 ? -o : 2 * (n - 1) - o;
  }
  return o;
}

static void run_pad(const struct plain *plain, const struct mq_node *node) {
  const struct grid *x = plain_input(plain, node, 0), *y = plain_output(plain, node, 0);
  struct mq_padding p;
  struct mq_err err;
  plain_require(mq_node_get_padding(&p, node, &err), &err);
  for (int64_t i = 0; i < y->count; i++) {
    int64_t index[MQ_MAX_RANK];
    bool is_inside = true;
    grid_index(index, y, i);
    for (int d = 0; d < y->rank; d++) {
      /* What negative pads cut off is not there for the other end either. */
      int64_t cut = p.begin[d] < 0 ? -p.begin[d] : 0, kept = x->dim[d] - cut - (p.end[d] < 0 ? -p.end[d] : 0);
      int64_t at = index[d] - p.begin[d] - cut;
      is_inside = is_inside && at >= 0 && at < kept;
      index[d] = cut + (p.mode == MQ_PAD_CONSTANT ? at : pad_source(at, kept, p.mode));
    }
    y->v[i] = p.mode == MQ_PAD_CONSTANT && !is_inside ? p.value : x->v[grid_offset(x, index)];
  }
}

/* ---- Resize: half_pixel, align_corners and asymmetric ---------------------------------------- */
static double resize_coordinate(const struct mq_resize *r, int axis, int64_t o, int64_t n_in) {
  double x = (double)o, n_out = (double)r->size[axis];
  if (r->coordinates == MQ_COORDINATES_ALIGN_CORNERS)
    return n_out > 1 ? x * ((double)n_in - 1) / (n_out - 1) : 0;
  if (r->coordinates == MQ_COORDINATES_ASYMMETRIC) return x / r->scale[axis];
  assert_int_equal(r->coordinates, MQ_COORDINATES_HALF_PIXEL);
  return (x + 0.5) / r->scale[axis] - 0.5;
}

/* The weight of input plane i at coordinate x. */
static double resize_weight(const struct mq_resize *r, double x, int64_t i) {
  double d = fabs(x - (double)i), a = (double)r->cubic_a;
  if (r->mode == MQ_RESIZE_LINEAR) return d < 1 ? 1 - d : 0;
  if (r->mode == MQ_RESIZE_CUBIC)
    return d <= 1  ? (a + 2) * d * d * d - (a + 3) * d * d + 1
           : d < 2 ? a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a
                   : 0;
  return (double)i == (r->nearest == MQ_NEAREST_FLOOR ? floor(x) : ceil(x - 0.5));
}

/* One axis after the other; planes outside are those of the border. */
static void resize_axis(struct grid *y, const struct grid *x, const struct mq_resize *r, int axis) {
  int64_t index[MQ_MAX_RANK], n = x->dim[axis];
  for (int64_t i = 0; i < y->count; i++) {
    grid_index(index, y, i);
    double at = resize_coordinate(r, axis, index[axis], n), sum = 0;
    for (int64_t k = -3; k < n + 3; k++) {
      index[axis] = k < 0 ? 0 : k >= n ? n - 1 : k;
      sum += resize_weight(r, at, k) * x->v[grid_offset(x, index)];
    }
    y->v[i] = sum;
  }
}

static void run_resize(const struct plain *plain, const struct mq_node *node) {
  const struct grid *x = plain_input(plain, node, 0), *y = plain_output(plain, node, 0);
  struct mq_resize r;
  struct mq_err err;
  plain_require(mq_node_get_resize(&r, node, &err), &err);
  struct grid now = *x;
  now.v = mq_alloc((size_t)x->count, sizeof(double));
  memcpy(now.v, x->v, (size_t)x->count * sizeof(double));
  for (int axis = 2; axis < x->rank; axis++) {
    struct grid next = now;
    next.dim[axis] = y->dim[axis];
    next.count = now.count / now.dim[axis] * next.dim[axis];
    next.v = mq_alloc((size_t)next.count, sizeof(double));
    resize_axis(&next, &now, &r, axis);
    mq_free(now.v);
    now = next;
  }
  memcpy(y->v, now.v, (size_t)y->count * sizeof(double));
  mq_free(now.v);
}

bool plain_run_window(const struct plain *plain, const struct mq_node *node) {
  switch (node->op) {
    case MQ_OP_Conv:
    case MQ_OP_ConvTranspose:
      run_conv(plain, node);
      return true;
    case MQ_OP_MaxPool:
    case MQ_OP_AveragePool:
    case MQ_OP_GlobalMaxPool:
    case MQ_OP_GlobalAveragePool:
      run_pool(plain, node);
      return true;
    case MQ_OP_Gemm:
      run_gemm(plain, node);
      return true;
    case MQ_OP_MatMul:
      run_matmul(plain, node);
      return true;
    case MQ_OP_BatchNormalization:
      run_batch_norm(plain, node);
      return true;
    case MQ_OP_Pad:
      run_pad(plain, node);
      return true;
    case MQ_OP_Resize:
      run_resize(plain, node);
      return true;
    default:
      return false;
  }
}
