/* Weights whose output channels are not dimension 0: the same products written with channels first have the
 * same loss, the same gradients and the same gradients of the quantizer's parameters. */
#include <math.h>

#include "help_gradients.h"
#include "mqbench/kernel.h"

#define IN 5
#define OUT 13

/* How the product of x and weights is written; channels first is what the others are compared with. */
enum form {
  GEMM_CHANNELS_FIRST,
  GEMM_CHANNELS_LAST,
  MATMUL,
  CONV_TRANSPOSE /* one pixel, one tap */
};

struct linear {
  struct net net;
  struct mq_point points[3]; /* of x, of the weights, of what stays float */
  struct gradient_batch batch;
  struct gradient_session session;
};

static void init_point(struct mq_point *point, const char *method, bool is_per_channel, const float *rows) {
  struct mq_err err;
  bool is_weight = rows != NULL;
  const struct mq_scheme scheme = {
      .bits = 8, .is_signed = true, .is_symmetric = true, .is_per_channel = is_weight && is_per_channel};
  const struct mq_quantizer_ops *ops = mq_quantizer_find(method);
  *point = (struct mq_point){.tensor = is_weight ? "point_w" : "point_x",
                             .kind = is_weight ? MQ_POINT_WEIGHT : MQ_POINT_ACTIVATION,
                             .scheme = scheme,
                             .n_channels = scheme.is_per_channel ? OUT : 1,
                             .channel_axis = -1,
                             .share = -1,
                             .quantizer = ops};
  point->quantizer_config = (struct mq_quantizer_config){.scheme = scheme,
                                                         .is_weight = is_weight,
                                                         .n_channels = point->n_channels,
                                                         .n_rows = is_weight ? OUT : 0,
                                                         .n_elements = 1,
                                                         .option = (double)NAN};
  assert_ok(mq_qparams_init(&point->qparams, point->n_channels, -1, &err));
  point->qparams.quant_min = -128;
  point->qparams.quant_max = 127;
  point->qparams.is_signed = true;
  for (int64_t c = 0; c < point->n_channels; c++)
    point->qparams.scale[c] = 0.004f + 0.0005f * (float)c;
  point->parameters =
      mq_alloc(mq_quantizer_parameter_total(ops, &point->quantizer_config) + 1, sizeof(float));
  assert_ok(ops->init(point->parameters, &point->quantizer_config, &point->qparams, rows, OUT, IN, &err));
}

static struct mq_value *fake_quantize(struct net *net, const char *name, struct mq_value *x, int point) {
  struct mq_value *y = net_op1(net, MQ_OP_FakeQuantize, name, x);
  net_set_int(net, y, "point", point);
  return y;
}

/* Weights of OUT x IN values, transposed where the form wants it. */
static struct mq_value *weights(struct net *net, enum form form, const float *rows) {
  float values[OUT * IN];
  for (int i = 0; i < OUT * IN; i++)
    values[form == GEMM_CHANNELS_FIRST ? i : i % IN * OUT + i / IN] = rows[i];
  struct mq_shape shape = form == GEMM_CHANNELS_FIRST ? DIMS(OUT, IN) : DIMS(IN, OUT);
  if (form == CONV_TRANSPOSE) shape = DIMS(IN, OUT, 1, 1);
  struct mq_tensor tensor = mq_tensor_view(values, MQ_F32, &shape, NULL);
  struct mq_value *value;
  net_check(net, mq_graph_add_constant(&value, net->graph, "w", &tensor, &net->err));
  return value;
}

static void linear_init(struct linear *l, enum form form, const char *method, bool is_per_channel,
                        const float *rows) {
  struct net *net = &l->net;
  *l = (struct linear){0};
  net_begin(net, method);
  struct mq_value *x = net_data(net, "x", form == CONV_TRANSPOSE ? DIMS(IN, 1, 1) : DIMS(IN));
  net_set_int(net, mq_graph_find_value(net->graph, "x_shift_out"), "point", 2);
  struct mq_value *w = fake_quantize(net, "fq_w", weights(net, form, rows), 1);
  static const mq_op ops[] = {MQ_OP_Gemm, MQ_OP_Gemm, MQ_OP_MatMul, MQ_OP_ConvTranspose};
  struct mq_value *y = net_op2(net, ops[form], "product", fake_quantize(net, "fq_x", x, 0), w);
  if (form == GEMM_CHANNELS_FIRST) net_set_int(net, y, "transB", 1);
  net_output(net, net_op1(net, MQ_OP_Flatten, "logits", y));
  net_check(net, mq_graph_infer(net->graph, true, &net->err));
  init_point(&l->points[0], "lsq", false, NULL);
  init_point(&l->points[1], method, is_per_channel, rows);
  l->points[1].channel_axis = is_per_channel ? form != GEMM_CHANNELS_FIRST : -1;
  l->points[2] = (struct mq_point){.tensor = "none", .channel_axis = -1, .share = -1};
  gradient_batch_init(&l->batch, net->graph);
  const struct mq_trainer_options options = {.points = l->points, .n_points = 3};
  gradient_session_init(&l->session, &l->batch, &options, 2);
}

static void linear_deinit(struct linear *l) {
  gradient_session_deinit(&l->session);
  gradient_batch_deinit(&l->batch);
  for (int i = 0; i < 2; i++) {
    mq_qparams_deinit(&l->points[i].qparams);
    mq_free(l->points[i].parameters);
  }
  mq_graph_destroy(l->net.graph);
}

static void compare(const struct linear *a, const struct linear *b, const char *name, bool is_transposed,
                    const char *what) {
  size_t i = gradient_find(&a->session, name), count = mq_trainer_state_at(a->session.trainer, i).count;
  const float *ga = mq_trainer_gradient(a->session.trainer, i),
              *gb = mq_trainer_gradient(b->session.trainer, gradient_find(&b->session, name));
  double largest = 0;
  for (size_t k = 0; k < count; k++)
    largest = fmax(largest, fabs((double)ga[k]));
  for (size_t k = 0; k < count; k++) {
    size_t at = is_transposed ? k % IN * OUT + k / IN : k;
    if (!(fabs((double)ga[k] - (double)gb[at]) <= 1e-5 * largest))
      fail_msg("%s: gradient of %s[%zu] is %.9g, with channels first %.9g", what, name, at, (double)gb[at],
               (double)ga[k]);
  }
}

static void check_method(const char *method, bool is_per_channel) {
  static const char *const names[] = {"Gemm with channels last", "MatMul", "ConvTranspose"};
  struct linear first, other;
  struct mq_rng rng;
  float rows[OUT * IN];
  mq_rng_init(&rng, 21, MQ_RNG_TEST, 0, 0);
  for (int i = 0; i < OUT * IN; i++)
    rows[i] = 1.2f * mq_rng_float(&rng) - 0.7f;
  linear_init(&first, GEMM_CHANNELS_FIRST, method, is_per_channel, rows);
  for (int form = GEMM_CHANNELS_LAST; form <= CONV_TRANSPOSE; form++) {
    const char *what = names[form - GEMM_CHANNELS_LAST];
    linear_init(&other, (enum form)form, method, is_per_channel, rows);
    if (!(fabs(first.session.result.loss - other.session.result.loss) <= 1e-6))
      fail_msg("%s, %s: loss %.9g, with channels first %.9g", method, what, other.session.result.loss,
               first.session.result.loss);
    compare(&first, &other, "w", true, what);
    compare(&first, &other, "x_shift_weights", false, what);
    compare(&first, &other, "point_x", false, what);
    if (strcmp(method, "lsq") == 0) compare(&first, &other, "point_w", false, what);
    linear_deinit(&other);
  }
  linear_deinit(&first);
}

static void test_axes(void **state) {
  (void)state;
  static const char *const methods[] = {"lsq", "dorefa", "dsq"};
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
    for (int is_per_channel = 0; is_per_channel < 2; is_per_channel++)
      check_method(methods[i], is_per_channel == 1);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_axes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
