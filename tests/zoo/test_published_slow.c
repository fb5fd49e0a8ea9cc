/* The five architectures at ImageNet size against what is published and against their published
 * implementations in PyTorch (golden/, made by make_golden.py). Slow under valgrind. */
#include <math.h>

#include "help_zoo.h"

/* Counted by hand from the papers' tables. */
static const struct expected {
  const char *name;
  int64_t parameters, macs;
  size_t convs, relus, clips, adds, max_pools;
} expected[] = {
    /* He et al. 2015, table 1: 1 + 8 blocks x 2, and 3 projections. */
    {"resnet18", 11689512, 1814073344, 20, 17, 0, 8, 1},
    /* 1 + 16 blocks x 3, and 4 projections. */
    {"resnet50", 25557032, 4089184256, 53, 49, 0, 16, 1},
    /* Sandler et al. 2018, table 2: 1 + 2 + 16 blocks x 3 + 1; of 17 blocks 7 begin a row. */
    {"mobilenet_v2", 3504872, 300774272, 52, 0, 35, 10, 0},
    /* Tan and Le 2019, table 1: 1 + 2 + 15 blocks x 3 + 1; of 16 blocks 7 begin a row. */
    {"efficientnet_lite0", 4652008, 385187552, 49, 0, 33, 9, 0},
    /* Radosavovic et al. 2020, figure 15: 1 + 16 blocks x 3, and 4 projections. */
    {"regnetx_600mf", 6196040, 600890112, 53, 49, 0, 16, 0},
};

static void check_counts(const struct mq_graph *graph, const struct expected *e) {
  struct mq_err err = {0};
  struct mq_graph_counts counts;
  const struct mq_zoo_arch *arch = mq_zoo_find(e->name);
  assert_non_null(arch);
  assert_ok(mq_graph_verify(graph, &err));
  assert_ok(mq_graph_count(&counts, graph, &err));
  assert_int_equal(counts.parameters, e->parameters);
  assert_int_equal(counts.macs, e->macs);
  assert_int_equal(arch->parameters, e->parameters);
  assert_int_equal(arch->macs, e->macs);
  assert_int_equal(zoo_count_ops(graph, MQ_OP_Conv), e->convs);
  assert_int_equal(zoo_count_ops(graph, MQ_OP_BatchNormalization), e->convs);
  assert_int_equal(zoo_count_ops(graph, MQ_OP_Relu), e->relus);
  assert_int_equal(zoo_count_ops(graph, MQ_OP_Clip), e->clips);
  assert_int_equal(zoo_count_ops(graph, MQ_OP_Add), e->adds);
  assert_int_equal(zoo_count_ops(graph, MQ_OP_MaxPool), e->max_pools);
  assert_int_equal(zoo_count_ops(graph, MQ_OP_GlobalAveragePool), 1);
  assert_int_equal(zoo_count_ops(graph, MQ_OP_Gemm), 1);
  /* Flatten is the one op not counted above. */
  assert_int_equal(counts.nodes, 2 * e->convs + e->relus + e->clips + e->adds + e->max_pools + 3);
}

static void check_initial_activations(const struct mq_graph *graph) {
  double least, largest;
  zoo_activation_range(&least, &largest, graph);
  if (!(least > 1e-4 && largest < 1e4)) fail_msg("mean squares from %g to %g", least, largest);
}

/* make_golden.py's `fill`. */
static void fill_constant(struct mq_value *value) {
  const char *name = value->name;
  size_t length = strlen(name);
  bool is_weight = strcmp(name + length - strlen("weight"), "weight") == 0;
  bool is_around_one = strstr(name, "running_var") || (is_weight && value->shape.rank == 1);
  int64_t n = mq_shape_count(&value->shape), fan_in = n / value->shape.dim[0];
  for (int64_t i = 0; i < n; i++) {
    double u = zoo_uniform(name, i);
    double x = is_around_one            ? 0.5 + u
               : value->shape.rank == 1 ? 0.2 * (u - 0.5)
                                        : (u - 0.5) * sqrt(24.0 / (double)fan_in);
    ((float *)value->constant->data)[i] = (float)x;
  }
}

/* One line "name d0 d1 ...": that constant is there, of that shape; it is filled for the forward pass. */
static void check_parameter(const struct mq_graph *graph, char *line) {
  char *name = strtok(line, " \n");
  struct mq_value *value = mq_graph_find_value(graph, name);
  if (!value || !value->constant) fail_msg("no constant '%s'", name);
  int rank = 0;
  for (char *word; (word = strtok(NULL, " \n")); rank++) {
    if (rank >= value->shape.rank || value->shape.dim[rank] != atoll(word))
      fail_msg("%s: dimension %d is not %s", name, rank, word);
  }
  assert_int_equal(rank, value->shape.rank);
  fill_constant(value);
}

static void check_logits(const struct mq_graph *graph, char *line) {
  enum {
    SIDE = 224,
    CLASSES = 1000
  };
  float *input = mq_alloc(3 * SIDE * SIDE, sizeof *input);
  double *logits = mq_alloc(CLASSES, sizeof *logits);
  assert_non_null(input);
  assert_non_null(logits);
  for (int64_t i = 0; i < 3 * SIDE * SIDE; i++)
    input[i] = (float)(2 * zoo_uniform("input", i) - 1);
  zoo_forward(logits, graph, input, 1);
  double largest = 0, error = 0;
  strtok(line, " \n");
  int n = 0;
  for (char *word; (word = strtok(NULL, " \n")); n++) {
    double reference = strtod(word, NULL);
    largest = fmax(largest, fabs(reference));
    error = fmax(error, fabs(logits[n] - reference));
    if (!isfinite(logits[n])) fail_msg("logit %d is %g", n, logits[n]);
  }
  assert_int_equal(n, 32);
  /* Float32 against double, over 50 layers. */
  if (!(error <= 2e-5 * largest)) fail_msg("logits differ by %g of %g", error, largest);
  mq_free(logits);
  mq_free(input);
}

static void check_golden(const struct mq_graph *graph, const char *name) {
  char path[1024], line[2048];
  snprintf(path, sizeof path, "%s/zoo/golden/%s.txt", MQ_TESTS_DIRECTORY, name);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  size_t n_parameters = 0, n_constants = 0;
  while (fgets(line, sizeof line, file)) {
    if (strncmp(line, "logits ", 7) == 0) {
      check_logits(graph, line);
    } else {
      check_parameter(graph, line);
      n_parameters++;
    }
  }
  fclose(file);
  for (size_t i = 0; i < graph->n_values; i++)
    n_constants += graph->values[i]->constant && graph->values[i]->shape.rank > 0;
  assert_int_equal(n_parameters, n_constants);
}

static void check(void **state) {
  const struct expected *e = *state;
  struct mq_graph *graph = zoo_build(e->name, NULL);
  check_counts(graph, e);
  check_initial_activations(graph);
  check_golden(graph, e->name);
  mq_graph_destroy(graph);
}

int main(void) {
  struct CMUnitTest tests[sizeof expected / sizeof expected[0]];
  for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
    union {
      const struct expected *from;
      void *to;
    } state = {.from = &expected[i]};
    tests[i] = (struct CMUnitTest){expected[i].name, check, NULL, NULL, state.to};
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
