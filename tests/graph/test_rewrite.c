/* Building, names, uses, removal, sorting, verification, cloning. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/help_graph.h"

static void test_names_become_unique(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value *a, *b, *c, *d, *e;
  help_ok(mq_graph_add_value(&a, graph, "x", MQ_F32, NULL, &err), &err);
  help_ok(mq_graph_add_value(&b, graph, "x_1", MQ_F32, NULL, &err), &err);
  help_ok(mq_graph_add_value(&c, graph, "x", MQ_F32, NULL, &err), &err);
  help_ok(mq_graph_add_value(&d, graph, "x", MQ_F32, NULL, &err), &err);
  help_ok(mq_graph_add_value(&e, graph, "", MQ_F32, NULL, &err), &err);
  assert_string_equal(c->name, "x_2");
  assert_string_equal(d->name, "x_3");
  assert_string_equal(e->name, "value");
  assert_ptr_equal(mq_graph_find_value(graph, "x_2"), c);
  assert_null(mq_graph_find_value(graph, "nobody"));
  help_ok(mq_graph_rename_value(graph, c, "y", &err), &err);
  assert_null(mq_graph_find_value(graph, "x_2"));
  assert_ptr_equal(mq_graph_find_value(graph, "y"), c);
  mq_graph_swap_names(graph, c, a);
  assert_string_equal(c->name, "x");
  assert_ptr_equal(mq_graph_find_value(graph, "y"), a);
  mq_graph_destroy(graph);
}

static void test_100k_equal_names(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value *value;
  for (int i = 0; i < 100000; i++) {
    help_ok(mq_graph_add_value(&value, graph, "same", MQ_F32, NULL, &err), &err);
  }
  assert_string_equal(value->name, "same_99999");
  mq_graph_destroy(graph);
}

static void test_replace_uses_and_outputs(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3));
  struct mq_value *a = help_node(graph, MQ_OP_Relu, IN(x));
  struct mq_value *b = help_node(graph, MQ_OP_Add, IN(a, a));
  help_ok(mq_graph_add_output(graph, a, &err), &err);
  help_ok(mq_graph_add_output(graph, b, &err), &err);
  struct mq_value *q = help_node(graph, MQ_OP_FakeQuantize, IN(a));
  help_ok(mq_graph_replace_uses(graph, a, q, q->producer, &err), &err);
  assert_int_equal(a->n_uses, 1);
  assert_int_equal(q->n_uses, 2);
  assert_ptr_equal(graph->outputs[0], q);
  assert_true(q->is_output && !a->is_output);
  help_ok(mq_graph_sort(graph, &err), &err);
  help_ok(mq_graph_verify(graph, &err), &err);
  assert_int_equal(q->producer->index, 1);
  mq_graph_destroy(graph);
}

static void test_remove_while_iterating(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3)), *y = x;
  for (int i = 0; i < 10; i++) {
    y = help_node(graph, i % 2 ? MQ_OP_Identity : MQ_OP_Relu, IN(y));
  }
  y = help_node(graph, MQ_OP_Sigmoid, IN(y));
  help_ok(mq_graph_add_output(graph, y, &err), &err);
  for (size_t i = 0; i < graph->n_nodes; i++) {
    struct mq_node *node = graph->nodes[i];
    if (node->op == MQ_OP_Identity) {
      help_ok(mq_graph_replace_uses(graph, node->outputs[0], node->inputs[0], NULL, &err), &err);
      mq_graph_remove_node(graph, node);
    }
  }
  help_ok(mq_graph_verify(graph, &err), &err);
  mq_graph_prune(graph);
  help_ok(mq_graph_verify(graph, &err), &err);
  assert_int_equal(graph->n_nodes, 6);
  assert_int_equal(graph->n_values, 7);
  mq_graph_destroy(graph);
}

static void test_prune_dead_chain(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3)), *y = x;
  for (int i = 0; i < 5; i++) {
    y = help_node(graph, MQ_OP_Add, IN(y, y));
  }
  struct mq_value *kept = help_node(graph, MQ_OP_Relu, IN(x));
  help_ok(mq_graph_add_output(graph, kept, &err), &err);
  help_weights(graph, DIMS(3));
  mq_graph_prune(graph);
  help_ok(mq_graph_verify(graph, &err), &err);
  assert_int_equal(graph->n_nodes, 1);
  assert_int_equal(graph->n_values, 2);
  assert_null(mq_graph_find_value(graph, "w"));
  mq_graph_destroy(graph);
}

static void test_cycle_is_named(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3));
  struct mq_value *a = help_node(graph, MQ_OP_Add, IN(x, x));
  struct mq_value *b = help_node(graph, MQ_OP_Relu, IN(a));
  help_ok(mq_graph_set_input(graph, a->producer, 1, b, &err), &err);
  assert_int_equal(mq_graph_sort(graph, &err), MQ_BAD_INPUT);
  assert_string_equal(err.message,
                      "g.onnx: node 'n' (Add): its output 'y' depends on itself: the graph has a cycle");
  /* A node that feeds itself. */
  help_ok(mq_graph_set_input(graph, a->producer, 1, a, &err), &err);
  assert_int_equal(mq_graph_infer(graph, true, &err), MQ_BAD_INPUT);
  mq_graph_destroy(graph);
}

static void test_sort_is_stable(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3));
  struct mq_value *a = help_node(graph, MQ_OP_Relu, IN(x)), *b = help_node(graph, MQ_OP_Sigmoid, IN(x));
  struct mq_value *c = help_node(graph, MQ_OP_Add, IN(b, a));
  struct mq_value *d = help_node(graph, MQ_OP_Relu, IN(x));
  help_ok(mq_graph_sort(graph, &err), &err);
  assert_int_equal(a->producer->index, 0);
  assert_int_equal(b->producer->index, 1);
  assert_int_equal(c->producer->index, 2);
  help_ok(mq_graph_set_input(graph, a->producer, 0, d, &err), &err);
  assert_int_equal(mq_graph_verify(graph, &err), MQ_BAD_INPUT);
  help_ok(mq_graph_sort(graph, &err), &err);
  help_ok(mq_graph_verify(graph, &err), &err);
  assert_int_equal(d->producer->index, 0);
  assert_int_equal(a->producer->index, 1);
  mq_graph_destroy(graph);
}

static void test_double_origin_is_refused(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_node *node;
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3));
  struct mq_value *a = help_node(graph, MQ_OP_Relu, IN(x));
  assert_int_equal(mq_graph_add_node(&node, graph, MQ_OP_Relu, "m", &x, 1, &a, 1, &err), MQ_BAD_INPUT);
  assert_string_equal(err.message, "g.onnx: node 'm' (Relu): output 'y' is produced already");
  assert_int_equal(mq_graph_add_node(&node, graph, MQ_OP_Relu, "m", &x, 1, &x, 1, &err), MQ_BAD_INPUT);
  assert_null(node);
  struct mq_value *twice;
  help_ok(mq_graph_add_value(&twice, graph, "twice", MQ_F32, NULL, &err), &err);
  struct mq_value *outputs[] = {twice, twice};
  assert_int_equal(mq_graph_add_node(&node, graph, MQ_OP_Split, "m", &x, 1, outputs, 2, &err), MQ_BAD_INPUT);
  assert_null(twice->producer);
  assert_int_equal(graph->n_nodes, 1);
  assert_int_equal(x->n_uses, 1);
  mq_graph_destroy(graph);
}

/* 100,000 nodes in reverse order: no recursion, linear time. */
static void test_long_chain(void **state) {
  (void)state;
  enum {
    LENGTH = 100000
  };
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value **values = mq_alloc(LENGTH + 1, sizeof *values);
  values[0] = help_input(graph, "x", DIMS(-1, 3));
  for (int i = 1; i <= LENGTH; i++) {
    help_ok(mq_graph_add_value(&values[i], graph, "v", (mq_dtype)0, NULL, &err), &err);
  }
  for (int i = LENGTH; i >= 1; i--) {
    struct mq_node *node;
    help_ok(mq_graph_add_node(&node, graph, i % 3 ? MQ_OP_Relu : MQ_OP_Identity, "", &values[i - 1], 1,
                              &values[i], 1, &err),
            &err);
  }
  help_expect(graph, values[LENGTH], DIMS(N, 3));
  struct mq_graph *copy;
  help_ok(mq_graph_clone(&copy, graph, &err), &err);
  mq_graph_destroy(graph);
  for (size_t i = 0; i < copy->n_nodes; i++) {
    struct mq_node *node = copy->nodes[i];
    if (node->op == MQ_OP_Identity) {
      help_ok(mq_graph_replace_uses(copy, node->outputs[0], node->inputs[0], NULL, &err), &err);
      mq_graph_remove_node(copy, node);
    }
  }
  mq_graph_prune(copy);
  help_ok(mq_graph_verify(copy, &err), &err);
  assert_int_equal(copy->n_nodes, LENGTH - LENGTH / 3);
  mq_free(values);
  mq_graph_destroy(copy);
}

/* Many uses of one value, taken away one at a time. */
static void test_many_uses(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3));
  for (int i = 0; i < 50000; i++) {
    help_node(graph, MQ_OP_Relu, IN(x));
  }
  assert_int_equal(x->n_uses, 50000);
  for (size_t i = 0; i < graph->n_nodes; i++) {
    mq_graph_remove_node(graph, graph->nodes[i]);
  }
  assert_int_equal(x->n_uses, 0);
  mq_graph_prune(graph);
  help_ok(mq_graph_verify(graph, &err), &err);
  assert_int_equal(graph->n_nodes, 0);
  mq_graph_destroy(graph);
}

static char *dump(const struct mq_graph *graph) {
  char *text = NULL;
  size_t bytes;
  FILE *file = open_memstream(&text, &bytes);
  assert_non_null(file);
  mq_graph_dump_text(file, graph);
  fclose(file);
  return text;
}

static void test_clone_is_independent(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(11), *copy;
  struct mq_err err;
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3, 8, 8));
  struct mq_value *w = help_weights(graph, DIMS(4, 3, 3, 3));
  struct mq_value *y = help_node(graph, MQ_OP_Conv, IN(x, w, NULL));
  help_set_ints(y, "pads", INTS(1, 1, 1, 1));
  help_set_string(y, "auto_pad", "NOTSET");
  help_set_int(y, "group", 1);
  struct mq_value *z = help_node(graph, MQ_OP_LeakyRelu, IN(y));
  help_set_float(z, "alpha", 0.25f);
  help_expect(graph, z, DIMS(N, 4, 8, 8));
  help_ok(mq_graph_clone(&copy, graph, &err), &err);
  help_ok(mq_graph_verify(copy, &err), &err);
  char *before = dump(graph), *after = dump(copy);
  assert_string_equal(before, after);
  assert_string_equal(before,
                      "input x:Nx3x8x8\n"
                      "Conv n (x:Nx3x8x8, w:const 4x3x3x3, -) -> y:Nx4x8x8 pads=1,1,1,1 auto_pad=NOTSET "
                      "group=1\n"
                      "LeakyRelu n_1 (y:Nx4x8x8) -> y_1:Nx4x8x8 alpha=0.25\n"
                      "output y_1:Nx4x8x8\n");
  assert_int_equal(copy->opset, 11);
  assert_ptr_not_equal(mq_graph_find_value(copy, "w")->constant->data, w->constant->data);
  mq_graph_destroy(graph);
  ((float *)mq_graph_find_value(copy, "w")->constant->data)[0] = 1;
  free(before);
  free(after);
  mq_graph_destroy(copy);
}

/* ---- Random rewrites, verified after every step ------------------------------------------------------- */

static struct mq_value *pick_value(struct mq_rng *rng, const struct mq_graph *graph) {
  return graph->values[mq_rng_below(rng, (uint32_t)graph->n_values)];
}

static struct mq_node *pick_node(struct mq_rng *rng, const struct mq_graph *graph) {
  return graph->n_nodes ? graph->nodes[mq_rng_below(rng, (uint32_t)graph->n_nodes)] : NULL;
}

/* The graph is kept acyclic and every value in use has an origin, as rewriters must. */
static void rewrite_once(struct mq_graph *graph, struct mq_rng *rng) {
  struct mq_err err;
  struct mq_node *node = pick_node(rng, graph);
  struct mq_value *value = pick_value(rng, graph);
  bool has_origin = value->producer || value->is_input || value->constant;
  switch (mq_rng_below(rng, 6)) {
    case 0:
    case 1:
      if (has_origin) {
        help_node(graph, MQ_OP_Add, IN(value, graph->values[0]));
      }
      break;
    case 2: /* bypass */
      if (node && node->op != MQ_OP_NONE) {
        help_ok(mq_graph_replace_uses(graph, node->outputs[0], node->inputs[0], NULL, &err), &err);
        mq_graph_remove_node(graph, node);
      }
      break;
    case 3:
      if (node && node->op != MQ_OP_NONE && has_origin &&
          (!value->producer || value->producer->index < node->index)) {
        help_ok(mq_graph_set_input(graph, node, (int)mq_rng_below(rng, 2), value, &err), &err);
      }
      break;
    case 4: /* insert behind a value */
      if (has_origin && !value->constant) {
        struct mq_value *q = help_node(graph, MQ_OP_Add, IN(value, graph->values[0]));
        help_ok(mq_graph_replace_uses(graph, value, q, q->producer, &err), &err);
        help_ok(mq_graph_sort(graph, &err), &err);
      }
      break;
    default:
      if (mq_rng_below(rng, 20) == 0) {
        mq_graph_prune(graph);
      }
      break;
  }
}

static void test_random_rewrites(void **state) {
  (void)state;
  struct mq_err err;
  for (uint64_t seed = 0; seed < 8; seed++) {
    struct mq_rng rng;
    mq_rng_init(&rng, seed, MQ_RNG_TEST, 0, 0);
    struct mq_graph *graph = help_create(13);
    struct mq_value *x = help_input(graph, "x", DIMS(-1, 3));
    struct mq_value *y = help_node(graph, MQ_OP_Add, IN(x, help_weights(graph, DIMS(3))));
    help_ok(mq_graph_add_output(graph, y, &err), &err);
    for (int step = 0; step < 400; step++) {
      rewrite_once(graph, &rng);
      help_ok(mq_graph_verify(graph, &err), &err);
    }
    help_ok(mq_graph_infer(graph, true, &err), &err);
    help_ok(mq_graph_verify(graph, &err), &err);
    mq_graph_prune(graph);
    help_ok(mq_graph_verify(graph, &err), &err);
    mq_graph_destroy(graph);
  }
}

static void test_dot(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_value *x = help_input(graph, "a\"b", DIMS(-1, 3));
  struct mq_value *y = help_node(graph, MQ_OP_Relu, IN(x));
  help_expect(graph, y, DIMS(N, 3));
  char *text = NULL;
  size_t bytes;
  FILE *file = open_memstream(&text, &bytes);
  mq_graph_dump_dot(file, graph, NULL, NULL);
  fclose(file);
  assert_non_null(strstr(text, "label=\"a\\\"b\\nNx3\""));
  assert_non_null(strstr(text, "v0 -> n0"));
  assert_non_null(strstr(text, "n0 -> o0"));
  free(text);
  mq_graph_destroy(graph);
}

static void test_verify_finds_damage(void **state) {
  (void)state;
  struct mq_graph *graph = help_create(13);
  struct mq_err err;
  struct mq_value *x = help_input(graph, "x", DIMS(-1, 3));
  struct mq_value *y = help_node(graph, MQ_OP_Relu, IN(x));
  help_expect(graph, y, DIMS(N, 3));
  y->producer_output = 1;
  assert_int_equal(mq_graph_verify(graph, &err), MQ_BAD_INPUT);
  y->producer_output = 0;
  x->n_uses = 0;
  assert_int_equal(mq_graph_verify(graph, &err), MQ_BAD_INPUT);
  x->n_uses = 1;
  y->shape.dim[1] = N;
  assert_int_equal(mq_graph_verify(graph, &err), MQ_BAD_INPUT);
  y->shape.dim[1] = 3;
  help_ok(mq_graph_verify(graph, &err), &err);
  mq_graph_destroy(graph);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names_become_unique),
      cmocka_unit_test(test_100k_equal_names),
      cmocka_unit_test(test_replace_uses_and_outputs),
      cmocka_unit_test(test_remove_while_iterating),
      cmocka_unit_test(test_prune_dead_chain),
      cmocka_unit_test(test_cycle_is_named),
      cmocka_unit_test(test_sort_is_stable),
      cmocka_unit_test(test_double_origin_is_refused),
      cmocka_unit_test(test_long_chain),
      cmocka_unit_test(test_many_uses),
      cmocka_unit_test(test_clone_is_independent),
      cmocka_unit_test(test_random_rewrites),
      cmocka_unit_test(test_dot),
      cmocka_unit_test(test_verify_finds_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
