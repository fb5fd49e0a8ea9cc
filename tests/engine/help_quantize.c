#include "help_quantize.h"

#include <math.h>

#define IN 5
#define OUT 13
#define HEIGHT 5
#define WIDTH 6
#define OUT_HEIGHT 3 /* kernel 3, stride 2, one pixel of padding */
#define OUT_WIDTH 3
#define KERNEL 3
#define STRIDE 2

const struct quantize_case quantize_cases[] = {
    {"lsq", 8, false, false, false, NAN, false},     {"lsq", 4, false, true, false, NAN, false},
    {"lsq", 8, true, true, false, NAN, false},       {"lsq", 8, false, false, true, NAN, false},
    {"lsq_plus", 8, true, false, false, NAN, false}, {"lsq_plus", 4, true, true, false, 1, false},
    {"pact", 4, false, false, false, NAN, false},    {"pact", 8, true, true, false, NAN, false},
    {"dorefa", 4, false, false, false, NAN, false},  {"dorefa", 8, false, true, false, NAN, false},
    {"tqt", 8, false, false, true, NAN, false},      {"tqt", 4, false, true, true, NAN, false},
    {"dsq", 4, false, false, false, NAN, false},     {"dsq", 8, true, true, false, NAN, false},
    {"qil", 4, false, false, false, NAN, false},     {"apot", 4, false, false, false, NAN, false},
    {"apot", 6, false, false, false, NAN, false},    {"lqnet", 3, false, false, false, NAN, false},
    {"nnie", 8, false, false, false, NAN, false},    {"minmax", 8, true, true, false, NAN, false},
    {"lsq", 4, false, true, false, NAN, true},       {"pact", 4, false, false, false, NAN, true},
    {"dorefa", 4, false, true, false, NAN, true},    {"dsq", 4, false, false, false, NAN, true},
    {"qil", 4, false, false, false, NAN, true},
};
const size_t n_quantize_cases = sizeof quantize_cases / sizeof *quantize_cases;

static void *take(int64_t n, size_t bytes) {
  void *memory = mq_alloc((size_t)n + 1, bytes);
  assert_non_null(memory);
  return memory;
}

/* ---- A quantizer at a tensor ----------------------------------------------------------------- */
static size_t count_of(size_t (*count)(const struct mq_quantizer_config *config), const struct stage *s) {
  return count ? count(&s->config) : 0;
}

static void observe(struct mq_qparams *out, const struct stage *s, const struct mq_scheme *scheme,
                    const float *x) {
  const struct mq_quantizer_config *config = &s->config;
  struct mq_err err;
  const struct mq_observer_ops *observer =
      mq_observer_find(config->is_weight ? s->ops->w_observer : s->ops->a_observer);
  const struct mq_observer_config observing = {.scheme = *scheme,
                                               .is_weight = config->is_weight,
                                               .is_published = config->is_published,
                                               .n_channels = config->n_channels,
                                               .parameter = (double)NAN,
                                               .parameter2 = (double)NAN};
  assert_ok(mq_qparams_init(out, config->n_channels, -1, &err));
  if (config->is_weight) {
    int64_t count = s->n_rows * s->row_count / config->n_channels;
    assert_ok(mq_observe_weights(out, observer, &observing, x, count, NULL, &err));
    return;
  }
  void *state = take(1, observer->state_bytes(&observing)),
       *running = take(1, observer->state_bytes(&observing));
  observer->init(state, &observing);
  observer->init(running, &observing);
  observer->observe(state, &observing, x, s->n_rows, s->row_count, s->row_count);
  observer->batch_end(running, state, &observing, true);
  assert_ok(observer->answer(out, running, &observing, NULL, 0, NULL, &err));
  mq_free(state);
  mq_free(running);
}

static struct mq_scheme scheme_of(const struct quantize_case *c, bool is_weight) {
  return (struct mq_scheme){.bits = (uint8_t)c->bits,
                            .is_signed = is_weight || !c->is_affine,
                            .is_symmetric = is_weight || !c->is_affine,
                            .is_per_channel = is_weight && c->is_per_channel,
                            .is_sign_adaptive = !is_weight && !c->is_affine,
                            .scale_form = c->is_power_of_two ? MQ_SCALE_POT : MQ_SCALE_FLOAT};
}

static void stage_allocate(struct stage *s) {
  s->n_parameters = mq_quantizer_parameter_total(s->ops, &s->config);
  s->parameters = take((int64_t)s->n_parameters, sizeof(float));
  s->gradients = take((int64_t)s->n_parameters, sizeof(float));
  s->form = take((int64_t)s->ops->form_count(&s->config), sizeof(double));
  s->statistics = take((int64_t)count_of(s->ops->statistics_count, s), sizeof(double));
  s->sums = take((int64_t)count_of(s->ops->sum_count, s), sizeof(double));
}

/* The scheme's sign adapted to the data, initial parameters from the observer; the point likewise. */
static void stage_start(struct stage *s, struct mq_point *point, const float *x) {
  const struct mq_scheme scheme = s->config.scheme;
  struct mq_err err;
  *point = (struct mq_point){.kind = s->config.is_weight ? MQ_POINT_WEIGHT : MQ_POINT_ACTIVATION,
                             .scheme = scheme,
                             .n_channels = s->config.n_channels,
                             .channel_axis = scheme.is_per_channel ? 0 : -1,
                             .share = -1,
                             .quantizer = s->ops};
  observe(&point->qparams, s, &scheme, x);
  s->config.is_non_negative = point->qparams.is_non_negative;
  s->config.scheme.is_signed = point->qparams.is_signed;
  s->config.scheme.is_sign_adaptive = false;
  assert_ok(s->ops->check(&s->config, s->ops->name, &err));
  stage_allocate(s);
  assert_ok(s->ops->init(s->parameters, &s->config, &point->qparams, s->config.is_weight ? x : NULL,
                         s->n_rows, s->row_count, &err));
  point->quantizer_config = s->config;
  point->parameters = take((int64_t)s->n_parameters, sizeof(float));
  memcpy(point->parameters, s->parameters, s->n_parameters * sizeof(float));
}

static void stage_init(struct stage *s, struct mq_point *point, const struct quantize_case *c, bool is_weight,
                       const float *x, int64_t n_rows, int64_t row_count) {
  const struct mq_quantizer_ops *ops = mq_quantizer_find(c->method);
  *s = (struct stage){.ops = is_weight && ops->w_quantizer ? mq_quantizer_find(ops->w_quantizer) : ops,
                      .n_rows = n_rows,
                      .row_count = row_count,
                      .rows_per_slice = is_weight ? n_rows : GRADIENT_SLICE};
  s->config = (struct mq_quantizer_config){.scheme = scheme_of(c, is_weight),
                                           .is_weight = is_weight,
                                           .n_rows = is_weight ? n_rows : 0,
                                           .option = c->option,
                                           .is_published = c->is_published,
                                           .is_own_observer = true};
  s->config.n_channels = s->config.scheme.is_per_channel ? n_rows : 1;
  s->config.n_elements = (double)(n_rows * row_count / s->config.n_channels);
  stage_start(s, point, x);
}

static void stage_deinit(struct stage *s, struct mq_point *point) {
  mq_qparams_deinit(&point->qparams);
  mq_free(point->parameters);
  mq_free(s->parameters);
  mq_free(s->gradients);
  mq_free(s->form);
  mq_free(s->statistics);
  mq_free(s->sums);
}

/* ((0 + 1) + (2 + 3)): the shares of slices, count doubles each, end in the first. */
typedef void (*join_fn)(const struct stage *s, double *into, const double *from);

static void join_slices(const struct stage *s, double *shares, size_t count, join_fn join) {
  int64_t n = s->n_rows / s->rows_per_slice;
  for (int64_t step = 1; step < n; step *= 2)
    for (int64_t i = 0; i + step < n; i += 2 * step)
      join(s, shares + (size_t)i * count, shares + (size_t)(i + step) * count);
}

static void join_statistics(const struct stage *s, double *into, const double *from) {
  s->ops->merge(into, from, &s->config);
}

static void join_sums(const struct stage *s, double *into, const double *from) {
  for (size_t i = 0; i < count_of(s->ops->sum_count, s); i++)
    into[i] += from[i];
}

static void stage_derive(struct stage *s, const float *x, bool is_training) {
  size_t count = count_of(s->ops->statistics_count, s);
  bool looks = is_training || (s->config.is_weight && !s->ops->freezes_weights);
  double *shares = take(s->n_rows / s->rows_per_slice * (int64_t)count, sizeof *shares);
  for (int64_t r = 0; r < s->n_rows && looks && count > 0; r += s->rows_per_slice)
    s->ops->observe(shares + (size_t)(r / s->rows_per_slice) * count, &s->config, x + r * s->row_count,
                    s->rows_per_slice, s->row_count);
  if (looks && count > 0) join_slices(s, shares, count, join_statistics);
  memcpy(s->statistics, shares, count * sizeof *shares);
  memset(s->form, 0, s->ops->form_count(&s->config) * sizeof(double));
  s->ops->derive(s->form, &s->config, s->parameters, looks ? s->statistics : NULL, NULL);
  mq_free(shares);
}

static void stage_forward(float *y, const struct stage *s, const float *x) {
  s->ops->forward(y, NULL, &s->config, s->form, x, s->n_rows, s->row_count);
}

static void stage_backward(float *dx, struct stage *s, const float *g, const float *x) {
  size_t count = count_of(s->ops->sum_count, s);
  double *shares = take(s->n_rows / s->rows_per_slice * (int64_t)(count + 1), sizeof *shares);
  for (int64_t r = 0; r < s->n_rows; r += s->rows_per_slice) {
    int64_t at = r * s->row_count;
    s->ops->backward(dx + at, false, shares + (size_t)(r / s->rows_per_slice) * count, &s->config, s->form,
                     g + at, x + at, s->rows_per_slice, s->row_count);
  }
  join_slices(s, shares, count, join_sums);
  memcpy(s->sums, shares, count * sizeof *shares);
  mq_free(shares);
  if (s->ops->finish) s->ops->finish(s->gradients, &s->config, s->parameters, s->form, s->sums);
}

/* ---- The convolution ------------------------------------------------------------------------- */
/* What is done for every product x w that y is a sum of. */
typedef void (*product_fn)(double *sums, const struct quantize_net *q, int64_t y, int64_t x, int64_t w);

static void for_products(double *sums, const struct quantize_net *q, product_fn function) {
  for (int64_t y = 0; y < q->n_y; y++) {
    int64_t ow = y % OUT_WIDTH, oh = y / OUT_WIDTH % OUT_HEIGHT, o = y / (OUT_WIDTH * OUT_HEIGHT) % OUT;
    int64_t n = y / (OUT_WIDTH * OUT_HEIGHT * OUT);
    for (int64_t w = 0; w < IN * KERNEL * KERNEL; w++) {
      int64_t iw = ow * STRIDE - 1 + w % KERNEL, ih = oh * STRIDE - 1 + w / KERNEL % KERNEL;
      if (ih >= 0 && ih < HEIGHT && iw >= 0 && iw < WIDTH)
        function(sums, q, y, ((n * IN + w / (KERNEL * KERNEL)) * HEIGHT + ih) * WIDTH + iw,
                 o * IN * KERNEL * KERNEL + w);
    }
  }
}

static void add_to_y(double *sums, const struct quantize_net *q, int64_t y, int64_t x, int64_t w) {
  sums[y] += (double)q->xq[x] * (double)q->wq[w];
}

static void add_to_x(double *sums, const struct quantize_net *q, int64_t y, int64_t x, int64_t w) {
  sums[x] += (double)q->g_z[y] * (double)q->wq[w];
}

static void add_to_w(double *sums, const struct quantize_net *q, int64_t y, int64_t x, int64_t w) {
  sums[w] += (double)q->g_z[y] * (double)q->xq[x];
}

static int64_t channel_of(int64_t y) {
  return y / (OUT_WIDTH * OUT_HEIGHT) % OUT;
}

/* Rounded to float once. */
static void sum_products(float *to, int64_t n, const struct quantize_net *q, product_fn function,
                         const float *bias) {
  double *sums = take(n, sizeof *sums);
  for_products(sums, q, function);
  for (int64_t i = 0; i < n; i++)
    to[i] = (float)(sums[i] + (bias ? (double)bias[channel_of(i)] : 0));
  mq_free(sums);
}

/* ---- Batch normalisation ---- */
#define EPSILON 1e-3f

struct channel {
  double mean, deviation, count; /* of z; deviation with epsilon */
};

static struct channel look_at(const struct quantize_net *q, int64_t c) {
  struct channel channel = {.count = (double)(q->n_y / OUT)};
  double square = 0;
  for (int64_t i = 0; i < q->n_y; i++)
    channel.mean += channel_of(i) == c ? (double)q->z[i] / channel.count : 0;
  for (int64_t i = 0; i < q->n_y; i++) {
    double d = (double)q->z[i] - channel.mean;
    square += channel_of(i) == c ? d * d / channel.count : 0;
  }
  channel.deviation = sqrt(square + (double)EPSILON);
  return channel;
}

static void normalise(struct quantize_net *q) {
  for (int64_t c = 0; c < OUT; c++) {
    struct channel channel = look_at(q, c);
    for (int64_t i = 0; i < q->n_y; i++)
      if (channel_of(i) == c)
        q->a[i] = (float)((double)q->gamma[c] * ((double)q->z[i] - channel.mean) / channel.deviation +
                          (double)q->b[c]);
  }
}

/* With h = (z - mean) / deviation: dz = gamma / deviation (g - mean of g - h mean of g h). */
static void normalise_backward(struct quantize_net *q) {
  for (int64_t c = 0; c < OUT; c++) {
    struct channel channel = look_at(q, c);
    double sum = 0, product = 0;
    for (int64_t i = 0; i < q->n_y; i++)
      if (channel_of(i) == c) {
        sum += (double)q->g_a[i];
        product += (double)q->g_a[i] * ((double)q->z[i] - channel.mean) / channel.deviation;
      }
    q->g_b[c] = (float)sum;
    q->g_gamma[c] = (float)product;
    for (int64_t i = 0; i < q->n_y; i++)
      if (channel_of(i) == c) {
        double h = ((double)q->z[i] - channel.mean) / channel.deviation;
        q->g_z[i] = (float)((double)q->gamma[c] / channel.deviation *
                            ((double)q->g_a[i] - (sum + h * product) / channel.count));
      }
  }
}

/* ---- The network ----------------------------------------------------------------------------- */
static void forward_to_r(struct quantize_net *q, bool is_training) {
  stage_derive(&q->stages[POINT_X], q->x, is_training);
  stage_forward(q->xq, &q->stages[POINT_X], q->x);
  stage_derive(&q->stages[POINT_W], q->w, is_training);
  stage_forward(q->wq, &q->stages[POINT_W], q->w);
  sum_products(q->z, q->n_y, q, add_to_y, q->has_norm ? NULL : q->b);
  memcpy(q->a, q->z, (size_t)q->n_y * sizeof *q->a);
  if (q->has_norm) normalise(q);
  for (int64_t i = 0; i < q->n_y; i++)
    q->r[i] = q->a[i] < 0 ? 0 : q->a[i];
}

/* Cross entropy's gradient and value. */
static void find_loss(struct quantize_net *q) {
  int64_t n_classes = q->n_y / GRADIENT_IMAGES;
  q->loss = 0;
  for (int64_t n = 0; n < GRADIENT_IMAGES; n++) {
    const float *y = q->y + n * n_classes;
    double sum = 0;
    for (int64_t k = 0; k < n_classes; k++)
      sum += exp((double)y[k]);
    for (int64_t k = 0; k < n_classes; k++)
      q->g_y[n * n_classes + k] =
          (float)((exp((double)y[k]) / sum - (k == q->batch.labels[n])) / GRADIENT_IMAGES);
    q->loss -= ((double)y[q->batch.labels[n]] - log(sum)) / GRADIENT_IMAGES;
  }
}

void quantize_net_forward(struct quantize_net *q, bool is_training) {
  forward_to_r(q, is_training);
  stage_derive(&q->stages[POINT_R], q->r, is_training);
  stage_forward(q->y, &q->stages[POINT_R], q->r);
  find_loss(q);
}

void quantize_net_backward(struct quantize_net *q) {
  int64_t image = q->n_x / GRADIENT_IMAGES;
  stage_backward(q->g_r, &q->stages[POINT_R], q->g_y, q->r);
  memset(q->g_b, 0, (size_t)q->n_b * sizeof *q->g_b);
  for (int64_t i = 0; i < q->n_y; i++) {
    q->g_z[i] = q->g_a[i] = q->a[i] > 0 ? q->g_r[i] : 0;
    q->g_b[channel_of(i)] += q->g_a[i];
  }
  if (q->has_norm) normalise_backward(q);
  sum_products(q->g_xq, q->n_x, q, add_to_x, NULL);
  sum_products(q->g_wq, q->n_w, q, add_to_w, NULL);
  stage_backward(q->g_w, &q->stages[POINT_W], q->g_wq, q->w);
  stage_backward(q->g_x, &q->stages[POINT_X], q->g_xq, q->x);
  memset(q->g_shift, 0, (size_t)image * sizeof *q->g_shift);
  for (int64_t i = 0; i < q->n_x; i++)
    q->g_shift[i % image] += q->g_x[i];
}

void quantize_net_update(struct quantize_net *q) {
  for (int i = 0; i < N_POINTS; i++) {
    struct stage *s = &q->stages[i];
    if (s->ops->update) s->ops->update(s->parameters, &s->config, s->form, s->statistics, s->sums);
    if (s->ops->project) s->ops->project(s->parameters, &s->config);
  }
}

static struct mq_value *fake_quantize(struct net *net, const char *name, struct mq_value *x, int point) {
  struct mq_value *y = net_op1(net, MQ_OP_FakeQuantize, name, x);
  net_set_int(net, y, "point", point);
  return y;
}

static struct mq_value *batch_norm(struct net *net, struct mq_value *z) {
  struct mq_value *inputs[] = {
      z, net_vector(net, "gamma", OUT, 0.5f, 1.5f), net_vector(net, "b", OUT, -0.5f, 1),
      net_vector(net, "running_mean", OUT, -0.1f, 0.1f), net_vector(net, "running_var", OUT, 0.8f, 1.2f)};
  struct mq_value *y = net_op(net, MQ_OP_BatchNormalization, "bn", inputs, 5);
  net_set_float(net, y, "epsilon", EPSILON);
  return y;
}

static void build(struct net *net, bool has_norm) {
  net_begin(net, "quantized");
  struct mq_value *w = net_constant(net, "w", DIMS(OUT, IN, KERNEL, KERNEL), -0.6f, 0.5f);
  struct mq_value *inputs[3] = {
      fake_quantize(net, "fq_x", net_data(net, "x", DIMS(IN, HEIGHT, WIDTH)), POINT_X),
      fake_quantize(net, "fq_w", w, POINT_W), NULL};
  if (!has_norm) inputs[2] = net_vector(net, "b", OUT, -0.5f, 1);
  struct mq_value *z = net_op(net, MQ_OP_Conv, "conv", inputs, has_norm ? 2 : 3);
  SET_INTS(net, z, "strides", STRIDE, STRIDE);
  SET_INTS(net, z, "pads", 1, 1, 1, 1);
  if (has_norm) z = batch_norm(net, z);
  struct mq_value *y = fake_quantize(net, "fq_r", net_op1(net, MQ_OP_Relu, "relu", z), POINT_R);
  net_output(net, net_op1(net, MQ_OP_Flatten, "logits", y));
  net_set_int(net, mq_graph_find_value(net->graph, "x_shift_out"), "point", POINT_NONE);
  net_check(net, mq_graph_infer(net->graph, true, &net->err));
}

static void allocate(struct quantize_net *q) {
  float **const of_x[] = {&q->x, &q->xq, &q->g_xq, &q->g_x, &q->g_shift},
                **const of_w[] = {&q->wq, &q->g_wq, &q->g_w},
                **const of_y[] = {&q->z, &q->r, &q->y, &q->g_y, &q->g_r, &q->g_z, &q->a, &q->g_a};
  q->n_b = OUT;
  q->n_w = OUT * IN * KERNEL * KERNEL;
  q->n_x = GRADIENT_IMAGES * IN * HEIGHT * WIDTH;
  q->n_y = GRADIENT_IMAGES * OUT * OUT_HEIGHT * OUT_WIDTH;
  for (size_t i = 0; i < sizeof of_x / sizeof *of_x; i++)
    *of_x[i] = take(q->n_x, sizeof(float));
  for (size_t i = 0; i < sizeof of_w / sizeof *of_w; i++)
    *of_w[i] = take(q->n_w, sizeof(float));
  for (size_t i = 0; i < sizeof of_y / sizeof *of_y; i++)
    *of_y[i] = take(q->n_y, sizeof(float));
  q->g_b = take(q->n_b, sizeof(float));
  q->g_gamma = take(q->n_b, sizeof(float));
}

void quantize_net_init(struct quantize_net *q, const struct quantize_case *c, bool has_norm) {
  static const char *const names[N_GRAPH_POINTS] = {"point_x", "point_w", "point_r", "none"};
  *q = (struct quantize_net){.has_norm = has_norm};
  build(&q->net, has_norm);
  allocate(q);
  gradient_batch_init(&q->batch, q->net.graph);
  int64_t image = q->n_x / GRADIENT_IMAGES;
  const float *shift = mq_graph_find_value(q->net.graph, "x_shift_weights")->constant->data;
  for (int64_t i = 0; i < q->n_x; i++)
    q->x[i] = ((const float *)q->batch.inputs[0].data)[i] + shift[i % image];
  q->w = mq_graph_find_value(q->net.graph, "w")->constant->data;
  q->b = mq_graph_find_value(q->net.graph, "b")->constant->data;
  if (has_norm) q->gamma = mq_graph_find_value(q->net.graph, "gamma")->constant->data;
  stage_init(&q->stages[POINT_X], &q->points[POINT_X], c, false, q->x, GRADIENT_IMAGES, image);
  stage_init(&q->stages[POINT_W], &q->points[POINT_W], c, true, q->w, OUT, IN * KERNEL * KERNEL);
  forward_to_r(q, true);
  /* Calibrated on somewhat smaller values: the largest must not lie on the end of the range, where one unit
   * in the last place of the convolution decides. */
  for (int64_t i = 0; i < q->n_y; i++)
    q->y[i] = 0.93f * q->r[i];
  stage_init(&q->stages[POINT_R], &q->points[POINT_R], c, false, q->y, GRADIENT_IMAGES,
             q->n_y / GRADIENT_IMAGES);
  for (int i = 0; i < N_GRAPH_POINTS; i++)
    q->points[i].tensor = names[i];
}

void quantize_net_deinit(struct quantize_net *q) {
  float *const all[] = {q->x, q->xq, q->g_xq, q->g_x, q->g_shift, q->wq,  q->g_wq, q->g_w, q->z,
                        q->r, q->y,  q->g_y,  q->g_r, q->g_z,     q->g_b, q->a,    q->g_a, q->g_gamma};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    mq_free(all[i]);
  for (int i = 0; i < N_POINTS; i++)
    stage_deinit(&q->stages[i], &q->points[i]);
  gradient_batch_deinit(&q->batch);
  mq_graph_destroy(q->net.graph);
}

struct mq_trainer_options quantize_net_options(struct quantize_net *q) {
  return (struct mq_trainer_options){.points = q->points, .n_points = N_GRAPH_POINTS};
}
