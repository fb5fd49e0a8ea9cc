/* Golden lists: every point of five blocks under the paper's six targets, checked by hand against the graph
 * rules. MQ_GOLDEN_WRITE=1 writes them anew. */
#include "help_graphs.h"
#include "mqbench/prepare.h"

static const char *const targets[] = {"academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"};

static void print_scheme(FILE *file, const struct mq_point *point) {
  char text[128];
  fprintf(file, "%s", mq_scheme_format(text, sizeof text, &point->scheme));
  if (point->channel_axis >= 0)
    fprintf(file, ", axis %d of %lld", point->channel_axis, (long long)point->n_channels);
}

static void print_prepared(FILE *file, const char *target, const struct mq_prepared *prepared) {
  fprintf(file, "== %s: %zu points, %zu islands\n", target, prepared->n_points, prepared->n_islands);
  for (size_t i = 0; i < prepared->n_points; i++) {
    const struct mq_point *point = &prepared->points[i];
    fprintf(file, "%-10s %-18s | ", point->kind == MQ_POINT_WEIGHT ? "weight" : "activation", point->tensor);
    print_scheme(file, point);
    fprintf(file, " | ");
    if (point->share >= 0) fprintf(file, "share %d: ", point->share);
    fprintf(file, "%s\n", point->reason);
  }
  for (size_t i = 0; i < prepared->n_islands; i++) {
    const struct mq_island *island = &prepared->islands[i];
    fprintf(file, "island     %-18s | %s%s\n", island->node->name, island->reason,
            island->is_tolerated ? " (tolerated)" : "");
  }
}

static void print_renames(FILE *file, const struct mq_prepared *prepared) {
  for (size_t i = 0; i < prepared->n_renames; i++) {
    const struct mq_rename *rename = &prepared->renames[i];
    fprintf(file, "renamed    %-18s | %s\n", rename->from, rename->to ? rename->to : "vanished");
  }
}

static void print_net(FILE *file, const struct net *net) {
  struct mq_err err;
  for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
    struct mq_target *target = NULL;
    struct mq_prepared prepared;
    struct mq_prepare_options options = {0};
    assert_ok(mq_target_load(&target, targets[i], &err));
    assert_ok(mq_prepare(&prepared, net->graph, target, &options, &err));
    print_prepared(file, targets[i], &prepared);
    if (i == 1) print_renames(file, &prepared);
    mq_prepared_deinit(&prepared);
    mq_target_destroy(target);
  }
}

static char *read_all(const char *path) {
  FILE *file = fopen(path, "r");
  if (!file) return NULL;
  static char text[65536];
  text[fread(text, 1, sizeof text - 1, file)] = 0;
  fclose(file);
  return text;
}

/* The first line that differs says more than the whole text. */
static void compare_lines(const char *path, const char *expected, const char *found) {
  int line = 1;
  while (*expected && *expected == *found) {
    line += *expected == '\n';
    expected++;
    found++;
  }
  if (*expected != *found) {
    fail_msg("%s:%d: expected '%.*s', found '%.*s'", path, line, (int)strcspn(expected, "\n"), expected,
             (int)strcspn(found, "\n"), found);
  }
}

static void check_net(struct net *net) {
  char path[512], *found = NULL;
  size_t n = 0;
  snprintf(path, sizeof path, "%s/prepare/golden/%s.txt", MQ_TESTS_DIRECTORY, net->graph->name);
  bool writes = getenv("MQ_GOLDEN_WRITE") != NULL;
  FILE *file = writes ? fopen(path, "w") : open_memstream(&found, &n);
  assert_non_null(file);
  print_net(file, net);
  assert_int_equal(fclose(file), 0);
  if (!writes) {
    const char *expected = read_all(path);
    assert_non_null(expected);
    compare_lines(path, expected, found);
  }
  free(found);
  mq_graph_destroy(net->graph);
}

static void residual_block(void **state) {
  (void)state;
  struct net net;
  net_residual(&net, false);
  check_net(&net);
}

static void residual_block_with_projection(void **state) {
  (void)state;
  struct net net;
  net_residual(&net, true);
  check_net(&net);
}

static void inverted_residual_blocks(void **state) {
  (void)state;
  struct net net;
  net_inverted(&net);
  check_net(&net);
}

static void concat_blocks(void **state) {
  (void)state;
  struct net net;
  net_concats(&net);
  check_net(&net);
}

static void squeeze_excite_block(void **state) {
  (void)state;
  struct net net;
  net_squeeze_excite(&net);
  check_net(&net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(residual_block),           cmocka_unit_test(residual_block_with_projection),
      cmocka_unit_test(inverted_residual_blocks), cmocka_unit_test(concat_blocks),
      cmocka_unit_test(squeeze_excite_block),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
