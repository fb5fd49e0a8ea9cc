/* The small-image variants: their shapes, that they are the large ones with gentler strides, and that they
 * run. */
#include <math.h>
#include <stdio.h>

#include "help_zoo.h"
#include "mqbench/load.h"

struct place {
  const char *value; /* the last output of that size */
  int64_t channels, side;
};

/* From the papers' tables at the variant's width: channels times 1/4 or 1/2, to multiples of 8 (RegNetX: 24);
 * counts from these tables by 2 n_out + n_out n_in k^2 / groups for each convolution with its norm. */
static const struct expected {
  const char *name;
  const char *large; /* the same names, if there is one */
  int64_t parameters, macs;
  size_t other_windows; /* nodes whose kernel or stride differs from the large one's */
  struct place places[8];
} expected[] = {
    /* He et al., section 4.2: 0.27 million with the identity's zero padding (269,722), and 2,752 of two
     * projections with their norms. */
    {"resnet20_s32",
     NULL,
     269722 + 2752,
     40813184,
     0,
     {{"relu", 16, 32},
      {"layer1.2.relu_1", 16, 32},
      {"layer2.2.relu_1", 32, 16},
      {"layer3.2.relu_1", 64, 8}}},
    {"resnet14_s32",
     NULL,
     175258,
     26657408,
     0,
     {{"relu", 16, 32},
      {"layer1.1.relu_1", 16, 32},
      {"layer2.1.relu_1", 32, 16},
      {"layer3.1.relu_1", 64, 8}}},
    {"resnet18_s32",
     "resnet18",
     701466,
     35046656,
     1,
     {{"relu", 16, 32},
      {"layer1.1.relu_1", 16, 32},
      {"layer2.1.relu_1", 32, 16},
      {"layer3.1.relu_1", 64, 8},
      {"layer4.1.relu_1", 128, 4}}},
    {"resnet50_s32",
     "resnet50",
     1484186,
     81449984,
     1,
     {{"relu", 16, 32},
      {"layer1.2.relu_2", 64, 32},
      {"layer2.3.relu_2", 128, 16},
      {"layer3.5.relu_2", 256, 8},
      {"layer4.2.relu_2", 512, 4}}},
    {"mobilenet_v2_s32",
     "mobilenet_v2",
     590410,
     26324224,
     2,
     {{"features.1.conv.2", 8, 32},
      {"features.3.add", 16, 32},
      {"features.6.add", 16, 16},
      {"features.10.add", 32, 8},
      {"features.13.add", 48, 8},
      {"features.16.add", 80, 4},
      {"features.17.conv.3", 160, 4},
      {"features.18.2", 640, 4}}},
    {"efficientnet_lite0_s32",
     "efficientnet_lite0",
     914634,
     35603968,
     2,
     {{"blocks.0.0.bn2", 8, 32},
      {"blocks.1.1.add", 16, 32},
      {"blocks.2.1.add", 24, 16},
      {"blocks.3.2.add", 40, 8},
      {"blocks.4.2.add", 56, 8},
      {"blocks.5.3.add", 96, 4},
      {"blocks.6.0.bn3", 160, 4},
      {"act2", 640, 4}}},
    {"regnetx_600mf_s32",
     "regnetx_600mf",
     1710474,
     61365840,
     3,
     {{"stem.act", 16, 32},
      {"s1.b1.act3", 24, 32},
      {"s2.b3.act3", 48, 16},
      {"s3.b5.act3", 120, 8},
      {"s4.b7.act3", 264, 4}}},
};

#define N_EXPECTED (sizeof expected / sizeof expected[0])
#define FIRST_WITH_LARGE 2

static void counts_and_shapes(void **state) {
  (void)state;
  struct mq_err err = {0};
  for (size_t i = 0; i < N_EXPECTED; i++) {
    if (test_leaves_out((int64_t)i)) continue;
    const struct expected *e = &expected[i];
    struct mq_graph *graph = zoo_build(e->name, NULL);
    struct mq_graph_counts counts;
    assert_ok(mq_graph_count(&counts, graph, &err));
    assert_int_equal(counts.parameters, e->parameters);
    assert_int_equal(counts.macs, e->macs);
    for (size_t k = 0; k < 8 && e->places[k].value; k++) {
      const struct mq_value *value = mq_graph_find_value(graph, e->places[k].value);
      if (!value) fail_msg("%s: no value %s", e->name, e->places[k].value);
      assert_int_equal(value->shape.dim[0], MQ_DIM_BATCH);
      assert_int_equal(value->shape.dim[1], e->places[k].channels);
      assert_int_equal(value->shape.dim[2], e->places[k].side);
      assert_int_equal(value->shape.dim[3], e->places[k].side);
    }
    assert_int_equal(graph->outputs[0]->shape.dim[1], 10);
    mq_graph_destroy(graph);
  }
}

/* Node by node, apart from the pool; the large one at the small one's width. */
static void layers_are_those_of_the_large_form(void **state) {
  (void)state;
  struct mq_err err = {0};
  for (size_t i = 0; i < N_EXPECTED; i++) {
    if (!expected[i].large || test_leaves_out((int64_t)i - FIRST_WITH_LARGE)) continue;
    struct mq_graph *small = zoo_build(expected[i].name, NULL);
    struct mq_zoo_options options = {.classes = 10, .width = mq_zoo_find(expected[i].name)->width};
    struct mq_graph *large = zoo_build(expected[i].large, &options);
    size_t n_other = 0, k = 0;
    for (size_t n = 0; n < large->n_nodes; n++) {
      const struct mq_node *a = large->nodes[n], *b = small->nodes[k];
      if (a->op == MQ_OP_MaxPool) continue;
      assert_string_equal(a->name, b->name);
      assert_int_equal(a->op, b->op);
      if (a->op == MQ_OP_Conv) {
        struct mq_window v, w;
        assert_ok(mq_node_get_window(&v, a, &err));
        assert_ok(mq_node_get_window(&w, b, &err));
        assert_true((v.groups == 1) == (w.groups == 1));
        n_other += v.kernel[0] != w.kernel[0] || v.stride[0] != w.stride[0];
      }
      k++;
    }
    assert_int_equal(k, small->n_nodes);
    assert_int_equal(n_other, expected[i].other_windows);
    mq_graph_destroy(small);
    mq_graph_destroy(large);
  }
}

/* models/: with its numbers in their places, in order of the nodes, the answers are the same bits. */
static void is_the_committed_network(const char *file, const char *arch, double width) {
  enum {
    IMAGES = 2,
    PIXELS = 3 * 32 * 32
  };
  char path[512];
  struct mq_err err = {0};
  struct mq_graph *committed = NULL, *built = zoo_build(arch, &(struct mq_zoo_options){.width = width});
  snprintf(path, sizeof path, "%s/models/%s", MQ_SOURCE_DIRECTORY, file);
  assert_ok(mq_onnx_read(&committed, path, NULL, &err));
  assert_int_equal(committed->n_nodes, built->n_nodes);
  for (size_t n = 0; n < built->n_nodes; n++) {
    const struct mq_node *a = committed->nodes[n], *b = built->nodes[n];
    assert_int_equal(a->op, b->op);
    assert_int_equal(a->n_inputs, b->n_inputs);
    for (int i = 0; i < a->n_inputs; i++) {
      assert_true(mq_shape_equal(&a->inputs[i]->shape, &b->inputs[i]->shape));
      assert_int_equal(!a->inputs[i]->constant, !b->inputs[i]->constant);
      if (a->inputs[i]->constant) mq_tensor_copy(b->inputs[i]->constant, a->inputs[i]->constant);
    }
  }
  float *input = mq_alloc(IMAGES * PIXELS, sizeof *input);
  assert_non_null(input);
  for (int i = 0; i < IMAGES * PIXELS; i++)
    input[i] = (float)(4 * zoo_uniform("input", i) - 2);
  double logits[2][IMAGES * 10];
  zoo_forward(logits[0], committed, input, IMAGES);
  zoo_forward(logits[1], built, input, IMAGES);
  assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
  mq_free(input);
  mq_graph_destroy(committed);
  mq_graph_destroy(built);
}

/* Architectures and widths are those of plans/train_*.yaml. */
static void committed_networks_are_of_the_zoo(void **state) {
  (void)state;
  is_the_committed_network("resnet14_fractal.onnx", "resnet14_s32", 0);
  is_the_committed_network("resnet18_s32_fractal.onnx", "resnet18_s32", 0.125);
  is_the_committed_network("mobilenet_v2_s32_fractal.onnx", "mobilenet_v2_s32", 0.25);
  is_the_committed_network("efficientnet_lite0_s32_fractal.onnx", "efficientnet_lite0_s32", 0.25);
  is_the_committed_network("resnet50_s32_fractal.onnx", "resnet50_s32", 0.125);
  is_the_committed_network("regnetx_600mf_s32_fractal.onnx", "regnetx_600mf_s32", 0.125);
  is_the_committed_network("resnet18_s32_cifar10.onnx", "resnet18_s32", 0);
  is_the_committed_network("resnet20_s32_cifar10.onnx", "resnet20_s32", 0);
  is_the_committed_network("resnet50_s32_cifar10.onnx", "resnet50_s32", 0.125);
  is_the_committed_network("mobilenet_v2_s32_cifar10.onnx", "mobilenet_v2_s32", 0.375);
  is_the_committed_network("efficientnet_lite0_s32_cifar10.onnx", "efficientnet_lite0_s32", 0.25);
  is_the_committed_network("regnetx_600mf_s32_cifar10.onnx", "regnetx_600mf_s32", 0.125);
}

static void initial_activations_keep_their_size(void **state) {
  (void)state;
  for (size_t i = 0; i < N_EXPECTED; i++) {
    if (test_leaves_out((int64_t)i)) continue;
    struct mq_graph *graph = zoo_build(expected[i].name, NULL);
    double least, largest;
    zoo_activation_range(&least, &largest, graph);
    if (!(least > 1e-4 && largest < 1e4))
      fail_msg("%s: mean squares from %g to %g", expected[i].name, least, largest);
    mq_graph_destroy(graph);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(counts_and_shapes),
      cmocka_unit_test(layers_are_those_of_the_large_form),
      cmocka_unit_test(committed_networks_are_of_the_zoo),
      cmocka_unit_test(initial_activations_keep_their_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
