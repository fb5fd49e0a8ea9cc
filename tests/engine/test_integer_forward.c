/* Training's products on integers: the sums are exact on every instruction set, values and gradients are
 * those of the float path within rounding, numbers that are not finite are not lost, and the number of
 * workers changes no bit. */
#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#include "help_graphs.h"
#include "mqbench/engine.h"
#include "mqbench/kernel.h"

#define IMAGES 8
#define SLICE 2
#define MAX_POINTS 32

struct session {
  struct net *net;
  struct mq_point points[MAX_POINTS];
  size_t n_points;
  struct mq_pool *pool;
  struct mq_trainer *trainer;
  struct mq_err err;
  float poison;  /* added to the first value of the batch */
  float *second; /* the second output of all slices, if wanted */
  size_t second_count;
};

static void check(struct session *s, mq_status status) {
  if (status) fail_msg("status %d: %s", status, s->err.message);
}

/* ---- Points ------------------------------------------------------------------------------------------- */
static struct mq_value *insert(struct net *net, struct mq_value *value, struct mq_node *reader, int input,
                               size_t point) {
  char name[200];
  struct mq_node *node;
  snprintf(name, sizeof name, "%s_fq%zu", value->name, point);
  struct mq_value *out = net_value(net, name, value->shape);
  net_check(net,
            mq_graph_add_node(&node, net->graph, MQ_OP_FakeQuantize, name, &value, 1, &out, 1, &net->err));
  net_check(net, mq_node_set_int(net->graph, node, "point", (int64_t)point, &net->err));
  if (reader)
    net_check(net, mq_graph_set_input(net->graph, reader, input, out, &net->err));
  else
    net_check(net, mq_graph_replace_uses(net->graph, value, out, node, &net->err));
  return out;
}

struct setting {
  const char *method;
  struct mq_scheme weights, activations;
  float nudge; /* by which ranges differ, so that no value lies on the edge between two codes */
};

static void add_point(struct session *s, const struct setting *setting, const struct mq_value *value,
                      bool is_weight, int axis) {
  struct mq_point *point = &s->points[s->n_points++];
  assert_true(s->n_points <= MAX_POINTS);
  const struct mq_quantizer_ops *ops = mq_quantizer_find(setting->method);
  if (is_weight && ops->w_quantizer) ops = mq_quantizer_find(ops->w_quantizer);
  *point = (struct mq_point){.tensor = value->name,
                             .reason = "test",
                             .kind = is_weight ? MQ_POINT_WEIGHT : MQ_POINT_ACTIVATION,
                             .scheme = is_weight ? setting->weights : setting->activations,
                             .channel_axis = -1,
                             .share = -1,
                             .quantizer = ops};
  bool is_per_channel = is_weight && point->scheme.is_per_channel;
  int64_t n_rows = is_weight ? value->shape.dim[axis] : 1;
  point->n_channels = is_per_channel ? n_rows : 1;
  if (is_per_channel) point->channel_axis = axis;
  struct mq_quantizer_config config = {.scheme = point->scheme,
                                       .is_weight = is_weight,
                                       .n_channels = point->n_channels,
                                       .n_rows = is_weight ? n_rows : 0,
                                       .n_elements = 100,
                                       .option = (double)NAN};
  point->quantizer_config = config;
  struct mq_range range[64]; /* all different: products of equal scales lie on edges between codes */
  struct mq_qparams observed;
  for (int64_t i = 0; i < point->n_channels; i++)
    range[i] =
        (struct mq_range){.lo = -1.0f - 0.01f * (float)i, .hi = 1.5f + setting->nudge * (float)s->n_points};
  check(s, mq_qparams_init(&observed, point->n_channels, point->channel_axis, &s->err));
  mq_qparams_from_range(&observed, &point->scheme, range, NULL);
  check(s, ops->check(&config, value->name, &s->err));
  point->parameters = mq_alloc(mq_quantizer_parameter_total(ops, &config) + 1, sizeof(float));
  const float *rows = is_weight ? value->constant->data : NULL;
  int64_t row_count = is_weight ? mq_shape_count(&value->shape) / n_rows : 0;
  check(s, ops->init(point->parameters, &config, &observed, rows, n_rows, row_count, &s->err));
  mq_qparams_deinit(&observed);
}

/* A point behind every input of a product (before the pool that selects it), for all its readers, and behind
 * every weight. */
static void quantize(struct session *s, const struct setting *setting) {
  struct mq_graph *graph = s->net->graph;
  size_t n_nodes = graph->n_nodes;
  for (size_t i = 0; i < n_nodes; i++) {
    struct mq_node *node = graph->nodes[i];
    if (node->op != MQ_OP_Conv && node->op != MQ_OP_Gemm && node->op != MQ_OP_MatMul) continue;
    struct mq_value *x = node->inputs[0], *w = node->inputs[1];
    if (x->producer && x->producer->op == MQ_OP_MaxPool) x = x->producer->inputs[0];
    if (!x->producer || x->producer->op != MQ_OP_FakeQuantize) {
      insert(s->net, x, NULL, 0, s->n_points);
      add_point(s, setting, x, false, 0);
    }
    insert(s->net, w, node, 1, s->n_points);
    add_point(s, setting, w, true, node->op == MQ_OP_MatMul ? 1 : 0);
  }
  net_check(s->net, mq_graph_sort(graph, &s->net->err));
  net_check(s->net, mq_graph_infer(graph, true, &s->net->err));
}

/* ---- A batch ------------------------------------------------------------------------------------------ */
static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs, int64_t *labels,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  const struct session *s = context;
  int64_t n = mq_shape_count(&inputs[0].shape);
  struct mq_rng rng;
  mq_rng_init(&rng, 7, MQ_RNG_TEST, slice, 1);
  for (int64_t i = 0; i < n; i++)
    ((float *)inputs[0].data)[i] = 4 * mq_rng_float(&rng) - 2;
  if (slice == 0) ((float *)inputs[0].data)[3] += s->poison;
  for (int64_t i = 0; i < SLICE; i++)
    labels[i] = (int64_t)mq_rng_below(&rng, 10);
  return MQ_OK;
}

static mq_status take(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  struct session *s = context;
  if (!s->second) return MQ_OK;
  size_t n = (size_t)mq_shape_count(&outputs[1].shape);
  assert_true((slice + 1) * n <= s->second_count);
  memcpy(s->second + slice * n, outputs[1].data, n * sizeof(float));
  return MQ_OK;
}

static mq_precision backward = MQ_PRECISION_F32;

static void begin(struct session *s, struct net *net, const struct setting *setting, unsigned workers,
                  bool has_float_forward) {
  *s = (struct session){.net = net};
  quantize(s, setting);
  const struct mq_trainer_options options = {.batch = IMAGES,
                                             .slice_images = SLICE,
                                             .points = s->points,
                                             .n_points = s->n_points,
                                             .momentum = 0.9,
                                             .weight_decay = 1e-4,
                                             .backward = backward,
                                             .has_float_forward = has_float_forward};
  check(s, mq_pool_create(&s->pool, workers, mq_kernel_start_worker, &s->err));
  check(s, mq_trainer_create(&s->trainer, net->graph, &options, s->pool, &s->err));
}

static void end(struct session *s) {
  mq_trainer_destroy(s->trainer);
  mq_pool_destroy(s->pool);
  for (size_t i = 0; i < s->n_points; i++)
    mq_free(s->points[i].parameters);
  mq_graph_destroy(s->net->graph);
}

static struct mq_trainer_result differentiate(struct session *s) {
  const struct mq_trainer_job job = {.context = s, .fill = fill, .take = take};
  struct mq_trainer_result result;
  check(s, mq_trainer_differentiate(&result, s->trainer, &job, &s->err));
  return result;
}

/* ---- Networks ----------------------------------------------------------------------------------------- */
static void small(struct net *net) {
  net_residual(net, true);
}

static void plain_residual(struct net *net) {
  net_residual(net, false);
}

/* The fc is x W: rows of its weights are columns of W. The bias keeps sums that are 0 off the corner of Relu,
 * where floats are a little beside it. */
static void matmul(struct net *net) {
  net_begin(net, "matmul");
  struct mq_value *x = net_conv(net, net_input(net, "input", net_shape(3, 8, 8)), "conv", 8, 3, 2, 1);
  net_check(
      net, mq_graph_set_input(net->graph, x->producer, 2, net_vector(net, "conv.bias", 8, -1, 1), &net->err));
  x = net_flatten(net, net_global_pool(net, net_unary(net, MQ_OP_Relu, "relu", x), "pool"), "flatten");
  struct mq_value *inputs[] = {
      x, net_constant(net, "fc.weight", (struct mq_shape){.rank = 2, .dim = {8, 10}}, -1, 1)};
  net_output(net, net_node(net, MQ_OP_MatMul, "fc", inputs, 2,
                           (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, 10}}));
}

/* What the second convolution reads lies on a grid that was made before the pool; the sum reads it as floats.
 */
static void pooled(struct net *net) {
  net_begin(net, "pooled");
  struct mq_value *x = net_conv(net, net_input(net, "input", net_shape(3, 8, 8)), "stem", 8, 3, 1, 1);
  net_check(
      net, mq_graph_set_input(net->graph, x->producer, 2, net_vector(net, "stem.bias", 8, -1, 1), &net->err));
  x = net_unary(net, MQ_OP_Relu, "relu", x);
  x = net_node(net, MQ_OP_MaxPool, "max", &x, 1, net_shape(8, 4, 4));
  net_check(net,
            mq_node_set_ints(net->graph, x->producer, "kernel_shape", (const int64_t[]){2, 2}, 2, &net->err));
  net_check(net, mq_node_set_ints(net->graph, x->producer, "strides", (const int64_t[]){2, 2}, 2, &net->err));
  struct mq_value *inputs[] = {net_conv(net, x, "conv", 8, 3, 1, 1), x};
  x = net_node(net, MQ_OP_Add, "add", inputs, 2, net_shape(8, 4, 4));
  x = net_flatten(net, net_global_pool(net, x, "pool"), "flatten");
  struct mq_value *last[] = {
      x, net_constant(net, "fc.weight", (struct mq_shape){.rank = 2, .dim = {8, 10}}, -1, 1)};
  net_output(net, net_node(net, MQ_OP_MatMul, "fc", last, 2,
                           (struct mq_shape){.rank = 2, .dim = {MQ_DIM_BATCH, 10}}));
}

/* Grouped, depthwise and pointwise layers, and a clip at 6. */
static void inverted(struct net *net) {
  net_inverted(net);
}

/* ---- Against the float path --------------------------------------------------------------------------- */
static const struct mq_scheme
    s8 = {.bits = 8, .is_signed = true, .is_symmetric = true},
    s8_narrow = {.bits = 8, .is_signed = true, .is_narrow = true, .is_symmetric = true},
    s8_channel = {.bits = 8, .is_signed = true, .is_symmetric = true, .is_per_channel = true},
    u8 = {.bits = 8}, s4 = {.bits = 4, .is_signed = true, .is_symmetric = true},
    u4 = {.bits = 4, .is_symmetric = true}, u8_channel = {.bits = 8, .is_per_channel = true};

/* Codes decide by x / s: where the forward's last bits differ, a value on the edge between two codes may go
 * the other way. None does in these networks, so what remains is rounding of sums. */
#define TOLERANCE 2e-5

/* Floats are rounded to 8 bits before bfloat16's products; codes need not be. */
static double gradient_tolerance(void) {
  return backward == MQ_PRECISION_BF16 ? 0.03 : 10 * TOLERANCE;
}

static void compare(void (*build)(struct net *net), const struct setting *setting, bool is_on_grid) {
  struct net nets[2];
  struct session s[2];
  struct mq_trainer_result results[2];
  for (int i = 0; i < 2; i++) {
    build(&nets[i]);
    begin(&s[i], &nets[i], setting, 2, i == 1);
    results[i] = differentiate(&s[i]);
  }
  size_t bytes = mq_trainer_memory_bytes(s[0].trainer), float_bytes = mq_trainer_memory_bytes(s[1].trainer);
  bool keeps_floats = build == pooled; /* beside the codes: they need not be smaller */
  if (!keeps_floats && (is_on_grid ? bytes >= float_bytes : bytes != float_bytes))
    fail_msg("%s: %zu bytes with codes, %zu without", setting->method, bytes, float_bytes);
  assert_true(isfinite(results[0].loss));
  if (fabs(results[0].loss - results[1].loss) > TOLERANCE * (1 + fabs(results[1].loss)))
    fail_msg("%s of %s, weights of %d bits: loss %.9g, floats say %.9g", setting->method, nets[0].graph->name,
             setting->weights.bits, results[0].loss, results[1].loss);
  for (size_t i = 0; i < mq_trainer_state_count(s[0].trainer); i++) {
    struct mq_trainer_state state = mq_trainer_state_at(s[0].trainer, i);
    const float *a = state.is_variable ? mq_trainer_gradient(s[0].trainer, i) : NULL;
    const float *b = state.is_variable ? mq_trainer_gradient(s[1].trainer, i) : NULL;
    double largest = 1e-3, error = 0;
    for (size_t k = 0; a && k < state.count; k++) {
      largest = fmax(largest, fabs((double)b[k]));
      error = fmax(error, fabs((double)a[k] - (double)b[k]));
    }
    if (!(error <= gradient_tolerance() * largest))
      fail_msg("%s: gradient of %s is %g off, its largest is %g", setting->method, state.name, error,
               largest);
  }
  end(&s[0]);
  end(&s[1]);
}

static void test_schemes(void **state) {
  (void)state;
  const struct setting settings[] = {{"lsq", s8_channel, s8_narrow, 0.0171f},
                                     {"lsq", s8, u8, 0.0171f},
                                     {"lsq", u8_channel, u8, 0.0171f},
                                     {"lsq", s4, u4, 0.0171f}};
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
    compare(small, &settings[i], true);
    compare(plain_residual, &settings[i], true);
    compare(matmul, &settings[i], true);
    compare(pooled, &settings[i], true);
    compare(inverted, &settings[i], true);
  }
}

static void test_methods(void **state) {
  (void)state;
  static const char *const on_grid[] = {"pact", "dorefa", "dsq", "qil", "tqt", "lsq_plus", "minmax"};
  for (size_t i = 0; i < sizeof on_grid / sizeof *on_grid; i++) {
    const struct setting setting = {on_grid[i], s8, s8, 0.0137f};
    compare(small, &setting, true);
  }
  const struct setting apot = {"apot", s4, s4, 0.0171f};
  compare(small, &apot, true);
}

static void test_bf16(void **state) {
  (void)state;
  if (mq_kernel_isa() < MQ_ISA_AVX512_BF16) return;
  const struct setting settings[] = {{"lsq", s8_channel, s8_narrow, 0.0171f}, {"lsq", s8, u8, 0.0171f}};
  backward = MQ_PRECISION_BF16;
  for (size_t i = 0; i < 2; i++) {
    compare(small, &settings[i], true);
    compare(inverted, &settings[i], true);
  }
  backward = MQ_PRECISION_F32;
}

/* LQ-Net and NNIE have levels of their own; LSQ+ has a real offset. */
static void test_floats(void **state) {
  (void)state;
  const struct setting nnie = {"nnie", s8, s8, 0.0171f},
                       lqnet = {"lqnet",
                                {.bits = 3, .is_signed = true, .is_symmetric = true},
                                {.bits = 3, .is_symmetric = true},
                                0.0171f},
                       lsq_plus = {"lsq_plus", s8, u8, 0.0171f};
  compare(small, &nnie, false);
  compare(small, &lqnet, false);
  compare(small, &lsq_plus, false);
}

/* ---- Exact sums --------------------------------------------------------------------------------------- */
#define CHANNELS 5
#define SIZE 6

/* Two outputs: the classifier's, and the convolution itself. */
static void conv_alone(struct net *net) {
  net_begin(net, "alone");
  struct mq_value *x = net_input(net, "input", net_shape(CHANNELS, SIZE, SIZE));
  struct mq_value *y = net_conv(net, x, "conv", 10, 3, 1, 1);
  net_output(net, net_flatten(net, net_global_pool(net, y, "pool"), "flatten"));
  net_output(net, y);
}

static struct mq_trainer_state state_of(const struct session *s, const char *name) {
  for (size_t i = 0; i < mq_trainer_state_count(s->trainer); i++) {
    struct mq_trainer_state state = mq_trainer_state_at(s->trainer, i);
    if (strcmp(state.name, name) == 0) return state;
  }
  fail_msg("no variable %s", name);
  return (struct mq_trainer_state){0};
}

/* The pixel's sum in 64 bits, then float(sum) * (s_x * s_w). x: the batch's values, channels last. */
static float expected_at(const float *x, const float *w, const struct mq_qparams *qx,
                         const struct mq_qparams *qw, const int64_t at[4]) {
  int64_t sum = 0, c = at[1], sw = qw->n_channels > 1 ? c : 0;
  for (int64_t i = 0; i < CHANNELS; i++)
    for (int64_t kh = 0; kh < 3; kh++)
      for (int64_t kw = 0; kw < 3; kw++) {
        int64_t h = at[2] + kh - 1, v = at[3] + kw - 1;
        if (h < 0 || v < 0 || h >= SIZE || v >= SIZE) continue;
        float xv = x[((at[0] * SIZE + h) * SIZE + v) * CHANNELS + i];
        float wv = w[((c * CHANNELS + i) * 3 + kh) * 3 + kw];
        int64_t a = mq_quantize_value(xv, qx->scale[0], qx->zero_point[0], qx->quant_min, qx->quant_max);
        int64_t b = mq_quantize_value(wv, qw->scale[sw], qw->zero_point[sw], qw->quant_min, qw->quant_max);
        sum += (a - qx->zero_point[0]) * (b - qw->zero_point[sw]);
      }
  return (float)sum * (qx->scale[0] * qw->scale[sw]);
}

/* The grid that parameters as they stand come to. */
static void grid_of(struct mq_qparams *grid, struct session *s, size_t point) {
  const struct mq_point *p = &s->points[point];
  double form[512] = {0};
  assert_true(p->quantizer->form_count(&p->quantizer_config) <= 512);
  check(s, mq_qparams_init(grid, p->n_channels, -1, &s->err));
  p->quantizer->derive(form, &p->quantizer_config, p->parameters, form, NULL);
  assert_true(p->quantizer->grid(grid, &p->quantizer_config, form));
}

static void run_alone(float *y, const struct setting *setting) {
  struct net net;
  struct session s;
  conv_alone(&net);
  begin(&s, &net, setting, 2, false);
  s.second = y;
  s.second_count = (size_t)IMAGES * 10 * SIZE * SIZE;
  differentiate(&s);
  end(&s);
}

static void check_exact(const struct setting *setting) {
  static float y[IMAGES * 10 * SIZE * SIZE], x[IMAGES * CHANNELS * SIZE * SIZE];
  struct net net;
  struct session s;
  struct mq_qparams qx, qw;
  run_alone(y, setting);
  conv_alone(&net);
  begin(&s, &net, setting, 1, false);
  grid_of(&qx, &s, 0);
  grid_of(&qw, &s, 1);
  const float *w = state_of(&s, "conv.weight").values;
  int64_t labels[SLICE], per_slice = SLICE * CHANNELS * SIZE * SIZE;
  for (size_t i = 0; i < IMAGES / SLICE; i++) {
    const struct mq_shape shape = {.rank = 1, .dim = {per_slice}};
    struct mq_tensor part = mq_tensor_view(x + (int64_t)i * per_slice, MQ_F32, &shape, NULL);
    check(&s, fill(&s, i, 0, &part, labels, &s.err));
  }
  for (int64_t i = 0; i < IMAGES * 10 * SIZE * SIZE; i++) {
    const int64_t at[4] = {i / (10 * SIZE * SIZE), i % 10, i / 10 / SIZE % SIZE, i / 10 % SIZE};
    float expected = expected_at(x, w, &qx, &qw, at);
    if (y[i] != expected)
      fail_msg("value %lld is %.9g, expected %.9g", (long long)i, (double)y[i], (double)expected);
  }
  mq_qparams_deinit(&qx);
  mq_qparams_deinit(&qw);
  end(&s);
}

static void test_exact(void **state) {
  (void)state;
  const struct setting settings[] = {
      {"lsq", s8_channel, s8_narrow, 0.0171f}, {"lsq", u8_channel, u8, 0.0171f}, {"lsq", s8, u8, 0.0171f}};
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
    check_exact(&settings[i]);
}

/* ---- Capped instruction sets: each in a process of its own, started before this one's kernels ---------- */
static const mq_isa caps[] = {MQ_ISA_BASE, MQ_ISA_AVX2, MQ_ISA_AVX512, MQ_ISA_NATIVE};
#define N_CAPS (sizeof caps / sizeof *caps)
static float capped[N_CAPS][IMAGES * 10 * SIZE * SIZE];
static const struct setting asymmetric = {"lsq", {.bits = 8, .is_per_channel = true}, {.bits = 8}, 0.0171f};

static bool receive(int from, char *into, size_t bytes) {
  while (bytes > 0) {
    ssize_t n = read(from, into, bytes);
    if (n <= 0) return false;
    into += n;
    bytes -= (size_t)n;
  }
  return true;
}

static bool run_capped(float *y, size_t bytes, mq_isa cap) {
  int ends[2];
  if (pipe(ends) != 0) return false;
  pid_t child = fork();
  if (child == 0) {
    struct mq_err err;
    if (mq_kernel_start(cap, &err) != MQ_OK) _exit(1);
    run_alone(y, &asymmetric);
    _exit(write(ends[1], y, bytes) == (ssize_t)bytes ? 0 : 1);
  }
  close(ends[1]);
  bool is_received = child > 0 && receive(ends[0], (char *)y, bytes);
  close(ends[0]);
  int status = 1;
  return child > 0 && waitpid(child, &status, 0) == child && status == 0 && is_received;
}

static void test_caps(void **state) {
  (void)state;
  for (size_t i = 1; i < N_CAPS; i++)
    assert_memory_equal(capped[0], capped[i], sizeof capped[0]);
}

/* ---- What is not finite ------------------------------------------------------------------------------- */
static void test_not_finite(void **state) {
  (void)state;
  const struct setting setting = {"lsq", s8_channel, s8, 0.0171f};
  static const char *const variables[] = {"", "conv1.weight", "relu0_out"};
  for (size_t i = 0; i < 3; i++) {
    struct net net;
    struct session s;
    small(&net);
    begin(&s, &net, &setting, 2, false);
    assert_true(differentiate(&s).is_finite);
    if (i == 0)
      s.poison = NAN;
    else
      state_of(&s, variables[i]).values[0] = NAN;
    assert_false(differentiate(&s).is_finite);
    end(&s);
  }
}

/* ---- The number of workers ---------------------------------------------------------------------------- */
static void test_same_bits(void **state) {
  (void)state;
  const struct setting setting = {"lsq", s8_channel, s8, 0.0171f};
  struct net nets[3];
  struct session s[3];
  for (int i = 0; i < 3; i++) {
    small(&nets[i]);
    begin(&s[i], &nets[i], &setting, (unsigned)i + 1, false);
    const struct mq_trainer_job job = {.context = &s[i], .fill = fill};
    for (int step = 0; step < 3; step++) {
      struct mq_trainer_result result;
      check(&s[i], mq_trainer_step(&result, s[i].trainer, &job, 0.01, &s[i].err));
      assert_true(result.is_finite);
    }
    for (size_t k = 0; k < mq_trainer_state_count(s[i].trainer); k++) {
      struct mq_trainer_state a = mq_trainer_state_at(s[0].trainer, k),
                              b = mq_trainer_state_at(s[i].trainer, k);
      assert_memory_equal(a.values, b.values, a.count * sizeof(float));
    }
  }
  for (int i = 0; i < 3; i++)
    end(&s[i]);
}

int main(void) {
  struct mq_err err;
  for (size_t i = 0; i < N_CAPS; i++)
    if (!run_capped(capped[i], sizeof capped[i], caps[i])) return 1;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_schemes),   cmocka_unit_test(test_methods), cmocka_unit_test(test_floats),
      cmocka_unit_test(test_exact),     cmocka_unit_test(test_caps),    cmocka_unit_test(test_not_finite),
      cmocka_unit_test(test_same_bits), cmocka_unit_test(test_bf16),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
