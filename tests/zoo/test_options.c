/* What may be asked of an architecture, what is refused, how its weights start, and that it survives a file.
 */
#include <math.h>

#include "help_zoo.h"
#include "mqbench/load.h"

static char *directory;

static const struct mq_tensor *constant(const struct mq_graph *graph, const char *name) {
  const struct mq_value *value = mq_graph_find_value(graph, name);
  if (!value || !value->constant) fail_msg("no constant %s", name);
  return value->constant;
}

static void the_list(void **state) {
  (void)state;
  static const char *const large[] = {"resnet18", "resnet50", "mobilenet_v2", "efficientnet_lite0",
                                      "regnetx_600mf"};
  for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
    char small[64];
    snprintf(small, sizeof small, "%s_s32", large[i]);
    const struct mq_zoo_arch *a = mq_zoo_find(large[i]), *b = mq_zoo_find(small);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->image, 224);
    assert_int_equal(a->classes, 1000);
    assert_int_equal(b->image, 32);
    assert_int_equal(b->classes, 10);
  }
  for (size_t i = 0; i < mq_zoo_count(); i++) {
    assert_ptr_equal(mq_zoo_find(mq_zoo_at(i)->name), mq_zoo_at(i));
    assert_true(strlen(mq_zoo_at(i)->describes) > 0);
  }
  assert_null(mq_zoo_find("resnet"));
}

static void what_is_refused(void **state) {
  (void)state;
  struct mq_err err = {0};
  static const struct {
    const char *part, *name;
    struct mq_zoo_options options;
  } cases[] = {
      {"image size 31, expected 32 to 4096", "resnet18", {.image = 31}},
      {"image size -5", "mobilenet_v2", {.image = -5}},
      {"image size 4097", "regnetx_600mf", {.image = 4097}},
      {"image size 7, expected 8 to", "regnetx_600mf_s32", {.image = 7}},
      {"image size 3, expected 4 to", "resnet20_s32", {.image = 3}},
      {"1 classes, expected 2 to 65536", "resnet18_s32", {.classes = 1}},
      {"-3 classes", "resnet18_s32", {.classes = -3}},
      {"9000000000 classes", "resnet18_s32", {.classes = 9000000000}},
      {"width factor -1", "resnet18_s32", {.width = -1}},
      {"width factor 4.5", "resnet18_s32", {.width = 4.5}},
      {"width factor nan", "resnet18_s32", {.width = NAN}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct mq_graph *graph = (struct mq_graph *)&err;
    assert_fails(MQ_BAD_USAGE, cases[i].part, mq_zoo_build(&graph, cases[i].name, &cases[i].options, &err));
    assert_non_null(strstr(err.message, cases[i].name));
    assert_null(graph);
  }
  struct mq_graph *graph = NULL;
  assert_fails(MQ_BAD_USAGE, "'resnet19'", mq_zoo_build(&graph, "resnet19", NULL, &err));
  for (size_t i = 0; i < mq_zoo_count(); i++)
    assert_non_null(strstr(err.message, mq_zoo_at(i)->name));
}

/* A cap on memory at any point of the building is a clean failure. */
static void exhausted_memory(void **state) {
  (void)state;
  struct mq_err err = {0};
  size_t before = mq_memory_used();
  size_t n_failed = 0;
  for (size_t limit = 1 << 16;; limit += test_is_light() ? 3000000 : 300000, n_failed++) {
    struct mq_graph *graph = NULL;
    mq_memory_set_limit(before + limit);
    mq_status status = mq_zoo_build(&graph, "mobilenet_v2_s32", NULL, &err);
    mq_memory_set_limit(0);
    mq_graph_destroy(graph);
    assert_int_equal(mq_memory_used(), before);
    if (status == MQ_OK) break;
    assert_int_equal(status, MQ_FAILED);
    assert_null(graph);
  }
  assert_true(n_failed >= (test_is_light() ? 1 : 5));
}

static void sizes_and_classes(void **state) {
  (void)state;
  for (size_t i = 0; i < mq_zoo_count(); i++) {
    if (test_leaves_out((int64_t)i)) continue;
    const struct mq_zoo_arch *arch = mq_zoo_at(i);
    /* Odd sizes round up at every stride. */
    int64_t image = arch->image == 224 ? 65 : 21;
    struct mq_graph *graph =
        zoo_build(arch->name, &(struct mq_zoo_options){.image = image, .classes = 3, .width = 0.25});
    assert_int_equal(graph->inputs[0]->shape.dim[0], MQ_DIM_BATCH);
    assert_int_equal(graph->inputs[0]->shape.dim[3], image);
    assert_int_equal(graph->outputs[0]->shape.dim[1], 3);
    assert_string_equal(graph->inputs[0]->name, "input");
    assert_string_equal(graph->outputs[0]->name, "logits");
    float *input = mq_alloc((size_t)(3 * image * image), sizeof *input);
    assert_non_null(input);
    for (int64_t k = 0; k < 3 * image * image; k++)
      input[k] = (float)zoo_uniform("input", k);
    double logits[3];
    zoo_forward(logits, graph, input, 1);
    for (int k = 0; k < 3; k++)
      if (!isfinite(logits[k])) fail_msg("%s: logit %g", arch->name, logits[k]);
    mq_free(input);
    mq_graph_destroy(graph);
  }
}

/* torchvision's mobilenet_v2(width_mult=W, num_classes=37): parameters, and channels of some layers. */
static void width_of_mobilenet(void **state) {
  (void)state;
  static const struct {
    double width;
    int64_t parameters, stem, block_3, block_17, head;
  } cases[] = {{0.35, 443525, 16, 8, 112, 1280},
               {0.5, 735077, 16, 16, 160, 1280},
               {0.75, 1402821, 24, 24, 240, 1280},
               {1.4, 4382117, 48, 32, 448, 1792}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    if (test_leaves_out((int64_t)i)) continue;
    struct mq_err err = {0};
    struct mq_graph_counts counts;
    struct mq_graph *graph = zoo_build(
        "mobilenet_v2", &(struct mq_zoo_options){.image = 64, .classes = 37, .width = cases[i].width});
    assert_ok(mq_graph_count(&counts, graph, &err));
    assert_int_equal(counts.parameters, cases[i].parameters);
    assert_int_equal(constant(graph, "features.0.0.weight")->shape.dim[0], cases[i].stem);
    assert_int_equal(constant(graph, "features.3.conv.2.weight")->shape.dim[0], cases[i].block_3);
    assert_int_equal(constant(graph, "features.17.conv.2.weight")->shape.dim[0], cases[i].block_17);
    assert_int_equal(constant(graph, "classifier.1.weight")->shape.dim[1], cases[i].head);
    mq_graph_destroy(graph);
  }
}

/* Stem and head of EfficientNet-Lite stay; timm counts 6,044,392 at 1.2. RegNetX keeps its four stages and
 * whole groups of 24 however narrow it gets. */
static void width_of_the_others(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph_counts counts;
  struct mq_graph *graph =
      zoo_build("efficientnet_lite0", &(struct mq_zoo_options){.image = 64, .width = 1.2});
  assert_ok(mq_graph_count(&counts, graph, &err));
  assert_int_equal(counts.parameters, 6044392);
  mq_graph_destroy(graph);
  graph = zoo_build("regnetx_600mf_s32", &(struct mq_zoo_options){.width = 0.25});
  static const struct {
    const char *name;
    int64_t channels;
  } cases[] = {{"s1.b1.conv1.conv.weight", 24},
               {"s2.b3.conv1.conv.weight", 24},
               {"s3.b5.conv1.conv.weight", 72},
               {"s4.b7.conv2.conv.weight", 144}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    assert_int_equal(constant(graph, cases[i].name)->shape.dim[0], cases[i].channels);
  assert_int_equal(constant(graph, "s4.b7.conv2.conv.weight")->shape.dim[1], 24);
  mq_graph_destroy(graph);
  graph = zoo_build("resnet50_s32", &(struct mq_zoo_options){.width = 0.5});
  assert_int_equal(constant(graph, "layer4.2.conv3.weight")->shape.dim[0], 1024);
  mq_graph_destroy(graph);
}

static void the_seed_makes_the_weights(void **state) {
  (void)state;
  struct mq_graph *graphs[] = {
      zoo_build("mobilenet_v2_s32", &(struct mq_zoo_options){.seed = 7}),
      zoo_build("mobilenet_v2_s32", &(struct mq_zoo_options){.seed = 7}),
      zoo_build("mobilenet_v2_s32", &(struct mq_zoo_options){.seed = 8}),
      zoo_build("mobilenet_v2_s32", &(struct mq_zoo_options){.seed = 7, .classes = 5, .image = 64})};
  char *texts[2] = {zoo_describe(graphs[0]), zoo_describe(graphs[1])};
  assert_string_equal(texts[0], texts[1]);
  const char *name = "features.2.conv.0.0.weight";
  const struct mq_tensor *weights[4];
  for (int i = 0; i < 4; i++)
    weights[i] = constant(graphs[i], name);
  size_t n = (size_t)mq_shape_count(&weights[0]->shape);
  const float *a = weights[0]->data, *b = weights[2]->data;
  size_t n_equal = 0;
  for (size_t i = 0; i < n; i++)
    n_equal += a[i] == b[i];
  assert_true(n_equal < n / 100);
  /* Other classes and another size leave the rest as it is. */
  assert_memory_equal(a, weights[3]->data, n * sizeof *a);
  /* Layers of one shape differ. */
  assert_memory_not_equal(constant(graphs[0], "features.8.conv.2.weight")->data,
                          constant(graphs[0], "features.9.conv.2.weight")->data, 64);
  for (int i = 0; i < 4; i++)
    mq_graph_destroy(graphs[i]);
  free(texts[0]);
  free(texts[1]);
}

/* The bits themselves, so that no compiler, CPU or change moves them unnoticed. */
static void golden_bits(void **state) {
  (void)state;
  struct mq_graph *graph = zoo_build("resnet18_s32", &(struct mq_zoo_options){.seed = 1});
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = 0; i < graph->n_values; i++) {
    const struct mq_tensor *tensor = graph->values[i]->constant;
    size_t n = tensor ? (size_t)mq_shape_count(&tensor->shape) : 0;
    for (size_t k = 0; k < n; k++) {
      uint32_t bits;
      memcpy(&bits, (const float *)tensor->data + k, sizeof bits);
      hash = (hash ^ bits) * 0x100000001b3;
    }
  }
  mq_graph_destroy(graph);
  if (hash != 0x38d1ed6a7aed704b) fail_msg("digest of the weights: %016llx", (unsigned long long)hash);
}

static int compare(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* Kolmogorov and Smirnov: sup |F_n - F| sqrt(n) above 1.95 has a probability of 0.1%; F(x) with `deviation`,
 * or uniform within it. */
static void check_distribution(const struct mq_tensor *tensor, double scale, bool is_uniform) {
  size_t n = (size_t)mq_shape_count(&tensor->shape);
  float *sorted = mq_alloc(n, sizeof *sorted);
  assert_non_null(sorted);
  memcpy(sorted, tensor->data, n * sizeof *sorted);
  qsort(sorted, n, sizeof *sorted, compare);
  double largest = 0;
  for (size_t i = 0; i < n; i++) {
    double x = (double)sorted[i] / scale;
    double f = is_uniform ? fmin(fmax(0.5 + 0.5 * x, 0), 1) : 0.5 * erfc(-x / sqrt(2.0));
    largest = fmax(largest, fmax(fabs(f - (double)i / (double)n), fabs(f - (double)(i + 1) / (double)n)));
  }
  if (!(largest * sqrt((double)n) < 1.95)) fail_msg("statistic %g", largest * sqrt((double)n));
  mq_free(sorted);
}

/* Beyond the ziggurat's last edge the normal distribution has 2 Q(3.442619855899) = 5.761e-4 of its weight.
 */
static void check_tail(const struct mq_tensor *tensor, double deviation) {
  int64_t n = mq_shape_count(&tensor->shape), n_tail = 0;
  for (int64_t i = 0; i < n; i++)
    n_tail += fabs((double)((const float *)tensor->data)[i]) > 3.442619855899 * deviation;
  double expected = (double)n * erfc(3.442619855899 / sqrt(2.0));
  assert_true(expected > 50);
  if (!(fabs((double)n_tail - expected) < 4 * sqrt(expected)))
    fail_msg("%lld in the tail, expected %g", (long long)n_tail, expected);
}

static void distributions(void **state) {
  (void)state;
  if (test_is_light()) skip(); /* their memory is that of the other tests */
  struct mq_graph *graph = zoo_build("resnet18_s32", &(struct mq_zoo_options){.classes = 1000});
  check_distribution(constant(graph, "conv1.weight"), sqrt(2.0 / (16 * 9)), false);
  check_distribution(constant(graph, "layer2.0.conv1.weight"), sqrt(2.0 / (32 * 9)), false);
  check_distribution(constant(graph, "layer4.1.conv2.weight"), sqrt(2.0 / (128 * 9)), false);
  check_tail(constant(graph, "layer4.1.conv2.weight"), sqrt(2.0 / (128 * 9)));
  check_distribution(constant(graph, "fc.weight"), 1 / sqrt(128.0), true);
  check_distribution(constant(graph, "fc.bias"), 1 / sqrt(128.0), true);
  mq_graph_destroy(graph);
  /* Depthwise: an input reaches 9 outputs; groups of 24: 9 times 24. */
  graph = zoo_build("mobilenet_v2_s32", NULL);
  check_distribution(constant(graph, "features.17.conv.1.0.weight"), sqrt(2.0 / 9), false);
  check_distribution(constant(graph, "classifier.1.weight"), 0.01, false);
  mq_graph_destroy(graph);
  graph = zoo_build("regnetx_600mf_s32", NULL);
  check_distribution(constant(graph, "s4.b1.conv2.conv.weight"), sqrt(2.0 / (24 * 9)), false);
  mq_graph_destroy(graph);
}

static void norms_start_as_identity(void **state) {
  (void)state;
  struct mq_err err = {0};
  struct mq_graph *graph = zoo_build("efficientnet_lite0_s32", NULL);
  static const float starts[] = {1, 0, 0, 1};
  size_t n_norms = 0;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    if (node->op != MQ_OP_BatchNormalization) continue;
    n_norms++;
    for (int k = 0; k < 4; k++) {
      const struct mq_tensor *tensor = node->inputs[k + 1]->constant;
      for (int64_t c = 0; c < tensor->shape.dim[0]; c++)
        assert_true(((const float *)tensor->data)[c] == starts[k]);
    }
    float epsilon, momentum;
    assert_ok(mq_node_get_float(&epsilon, node, "epsilon", 0, &err));
    assert_ok(mq_node_get_float(&momentum, node, "momentum", 0, &err));
    assert_true(epsilon == 1e-5f && momentum == 0.9f);
  }
  assert_int_equal(n_norms, 49);
  float low, high;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    if (graph->nodes[i]->op != MQ_OP_Clip) continue;
    assert_ok(mq_node_get_clip(&low, &high, graph->nodes[i], &err));
    assert_true(low == 0 && high == 6);
  }
  mq_graph_destroy(graph);
}

static size_t n_saved;

static void saved_and_loaded_the_same(void **state) {
  (void)state;
  struct mq_err err = {0};
  for (size_t i = 0; i < mq_zoo_count(); i++) {
    if (test_leaves_out((int64_t)i)) continue;
    const char *name = mq_zoo_at(i)->name;
    char path[700];
    n_saved++;
    snprintf(path, sizeof path, "%s/%s.onnx", directory, name);
    struct mq_graph *built = zoo_build(name, &(struct mq_zoo_options){.width = 0.25}), *loaded = NULL;
    assert_ok(mq_onnx_write(path, built, &err));
    assert_ok(mq_onnx_read(&loaded, path, NULL, &err));
    char *texts[] = {zoo_describe(built), zoo_describe(loaded)};
    assert_string_equal(texts[0], texts[1]);
    free(texts[0]);
    free(texts[1]);
    mq_graph_destroy(built);
    mq_graph_destroy(loaded);
  }
}

/* On what saved_and_loaded_the_same left. */
static void onnx_checker_accepts(void **state) {
  (void)state;
  if (system("/usr/bin/python3 -c 'import onnx.checker' 2>/dev/null") != 0) {
    print_message("skipped: python3-onnx is not installed\n");
    skip();
  }
  char command[1200];
  snprintf(command, sizeof command,
           "cd '%s' && /usr/bin/python3 -c 'import glob, onnx\n"
           "files = sorted(glob.glob(\"*.onnx\"))\n"
           "assert len(files) == %zu\n"
           "for f in files:\n"
           "    onnx.checker.check_model(onnx.load(f), full_check=True)\n'",
           directory, n_saved);
  assert_int_equal(system(command), 0);
}

static int make_directory(void **state) {
  (void)state;
  directory = make_test_directory();
  return 0;
}

static int remove_directory(void **state) {
  (void)state;
  remove_test_directory(directory);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_list),
      cmocka_unit_test(what_is_refused),
      cmocka_unit_test(exhausted_memory),
      cmocka_unit_test(sizes_and_classes),
      cmocka_unit_test(width_of_mobilenet),
      cmocka_unit_test(width_of_the_others),
      cmocka_unit_test(the_seed_makes_the_weights),
      cmocka_unit_test(golden_bits),
      cmocka_unit_test(distributions),
      cmocka_unit_test(norms_start_as_identity),
      cmocka_unit_test(saved_and_loaded_the_same),
      cmocka_unit_test(onnx_checker_accepts),
  };
  return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
