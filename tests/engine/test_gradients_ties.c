/* Gradients where differences say nothing: ties of a maximum, corners of a clip. Inputs have three values
 * only, so that nearly every window has a tie; the first largest in row-major order takes all. */
#include <math.h>

#include "help_gradients.h"
#include "mqbench/kernel.h"

#define CHANNELS 5
#define HEIGHT 6
#define WIDTH 7
#define IMAGE_COUNT (CHANNELS * HEIGHT * WIDTH)

/* x: the input, to which zeros are added that learn. */
static struct mq_value *tied_data(struct net *net) {
  struct mq_value *input = net_input(net, "input", net_shape(CHANNELS, HEIGHT, WIDTH));
  return net_op2(net, MQ_OP_Add, "x", input,
                 net_learned(net, "zero", DIMS(1, CHANNELS, HEIGHT, WIDTH), 0, 0));
}

/* Of -1, 0 and 1 with zero in the middle; one image is 0 everywhere. */
static void round_inputs(struct gradient_batch *batch) {
  float *x = batch->inputs[0].data;
  for (int64_t i = 0; i < GRADIENT_IMAGES * IMAGE_COUNT; i++)
    x[i] = i / IMAGE_COUNT == 3 ? 0 : rintf(1.4f * x[i]);
}

/* Which element of an image each logit is (-1: none that could get a gradient). */
typedef int64_t (*source_fn)(const float *image, int64_t logit);

static void check_sources(struct net *net, struct mq_value *y, source_fn source, int64_t n_logits) {
  const struct mq_trainer_options options = {0};
  struct gradient_batch batch;
  struct gradient_session s;
  double expected[IMAGE_COUNT] = {0};
  net_output(net, net_op1(net, MQ_OP_Flatten, "logits", y));
  net_check(net, mq_graph_infer(net->graph, true, &net->err));
  gradient_batch_init(&batch, net->graph);
  round_inputs(&batch);
  gradient_session_init(&s, &batch, &options, 2);
  for (int64_t n = 0; n < GRADIENT_IMAGES; n++) {
    const float *image = (const float *)batch.inputs[0].data + n * IMAGE_COUNT;
    double sum = 0;
    for (int64_t k = 0; k < n_logits; k++)
      sum += exp(source(image, k) < 0 ? 0 : (double)image[source(image, k)]);
    for (int64_t k = 0; k < n_logits; k++) {
      int64_t at = source(image, k);
      if (at >= 0) expected[at] += (exp((double)image[at]) / sum - (k == batch.labels[n])) / GRADIENT_IMAGES;
    }
  }
  const float *gradient = mq_trainer_gradient(s.trainer, gradient_find(&s, "zero_weights"));
  for (int i = 0; i < IMAGE_COUNT; i++)
    if (!(fabs((double)gradient[i] - expected[i]) <= 1e-7))
      fail_msg("element %d: gradient %.9g, expected %.9g", i, (double)gradient[i], expected[i]);
  gradient_session_deinit(&s);
  gradient_batch_deinit(&batch);
  mq_graph_destroy(net->graph);
}

/* Windows of 3 x 3, stride 2, one pixel of padding: 3 x 4 of them. */
static int64_t first_of_window(const float *image, int64_t logit) {
  int64_t ow = logit % 4, oh = logit / 4 % 3, c = logit / 12, best = -1;
  for (int64_t h = 2 * oh - 1; h <= 2 * oh + 1; h++)
    for (int64_t w = 2 * ow - 1; w <= 2 * ow + 1; w++) {
      int64_t at = (c * HEIGHT + h) * WIDTH + w;
      if (h >= 0 && h < HEIGHT && w >= 0 && w < WIDTH && (best < 0 || image[at] > image[best])) best = at;
    }
  return best;
}

static struct mq_value *max_pool(struct net *net, struct mq_value *x, bool has_indices) {
  const struct mq_shape unknown = {.rank = -1};
  struct mq_node *node;
  struct mq_value *outputs[2] = {net_value(net, "pool_out", unknown), NULL}, *where;
  if (has_indices) {
    net_check(net, mq_graph_add_value(&outputs[1], net->graph, "indices", MQ_I64, &unknown, &net->err));
    net_check(net, mq_graph_add_value(&where, net->graph, "where", MQ_I64, &unknown, &net->err));
    net_check(net, mq_graph_add_node(&node, net->graph, MQ_OP_Identity, "look", &outputs[1], 1, &where, 1,
                                     &net->err));
  }
  net_check(net, mq_graph_add_node(&node, net->graph, MQ_OP_MaxPool, "pool", &x, 1, outputs,
                                   has_indices ? 2 : 1, &net->err));
  SET_INTS(net, outputs[0], "kernel_shape", 3, 3);
  SET_INTS(net, outputs[0], "strides", 2, 2);
  SET_INTS(net, outputs[0], "pads", 1, 1, 1, 1);
  net_check(net, mq_graph_sort(net->graph, &net->err));
  return outputs[0];
}

static void test_max_pool(void **state) {
  (void)state;
  for (int has_indices = 0; has_indices < 2; has_indices++) {
    struct net net;
    net_begin(&net, "max_pool");
    struct mq_value *x = tied_data(&net);
    check_sources(&net, max_pool(&net, x, has_indices == 1), first_of_window, CHANNELS * 12);
  }
}

static int64_t first_of_image(const float *image, int64_t logit) {
  int64_t best = logit * HEIGHT * WIDTH;
  for (int64_t i = 0; i < HEIGHT * WIDTH; i++)
    if (image[logit * HEIGHT * WIDTH + i] > image[best]) best = logit * HEIGHT * WIDTH + i;
  return best;
}

static void test_global_max_pool(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "global_max_pool");
  check_sources(&net, net_op1(&net, MQ_OP_GlobalMaxPool, "pool", tied_data(&net)), first_of_image, CHANNELS);
}

/* At 0 a ReLU passes nothing. */
static int64_t positive(const float *image, int64_t logit) {
  return image[logit] > 0 ? logit : -1;
}

static void test_relu(void **state) {
  (void)state;
  struct net net;
  net_begin(&net, "relu");
  check_sources(&net, net_op1(&net, MQ_OP_Relu, "relu", tied_data(&net)), positive, IMAGE_COUNT);
}

int main(void) {
  struct mq_err err;
  if (mq_kernel_start(MQ_ISA_NATIVE, &err) != MQ_OK) return 1;
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_max_pool), cmocka_unit_test(test_global_max_pool),
                                     cmocka_unit_test(test_relu)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
