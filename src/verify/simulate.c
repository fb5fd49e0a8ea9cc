/* Simulations with a look at every point: the plain one as it runs, and with the program's own codes given to
 * everything that reads a point; the exact one. */
#include <math.h>
#include <string.h>

#include "verify/compare.h"
#include "verify/reality.h"

/* ---- The graph whose points are given ------------------------------------------------------------------ */

/* Whoever reads the point reads a graph input, on the same grid. */
static mq_status give_point(struct simulation *s, const struct verify_link *link, size_t index,
                            struct mq_err *err) {
  struct mq_value *value = mq_graph_find_value(s->given, link->value->name), *input = NULL, *given = NULL;
  struct mq_node *node = NULL;
  if (!value || value->n_uses == 0) {
    return MQ_OK; /* an output alone */
  }
  mq_status status = mq_graph_add_value(&input, s->given, value->name, MQ_F32, &value->shape, err);
  if (status == MQ_OK) {
    status = mq_graph_add_value(&given, s->given, value->name, MQ_F32, &value->shape, err);
  }
  if (status == MQ_OK) {
    status = mq_graph_add_input(s->given, input, err);
  }
  while (status == MQ_OK && value->n_uses > 0) {
    status = mq_graph_set_input(s->given, value->uses[0].node, value->uses[0].input, given, err);
  }
  if (status == MQ_OK) {
    status = mq_graph_add_node(&node, s->given, MQ_OP_FakeQuantize, value->name, &input, 1, &given, 1, err);
  }
  if (status == MQ_OK) {
    status = mq_node_copy_attrs(s->given, node, link->node, err);
  }
  s->link_of_input[s->given->n_inputs - 1] = index;
  return status;
}

static mq_status give_points(struct simulation *s, struct mq_err *err) {
  const struct verify_map *map = &s->compare->map;
  mq_status status = mq_graph_clone(&s->given, map->graph, err);
  s->link_of_input = mq_alloc(map->graph->n_inputs + map->n_links + 1, sizeof *s->link_of_input);
  if (status == MQ_OK && !s->link_of_input) {
    status = mq_fail_memory(err, "points");
  }
  for (size_t i = 0; i < map->n_links && status == MQ_OK; i++) {
    if (map->links[i].node) {
      status = give_point(s, &map->links[i], i, err);
    }
  }
  return status == MQ_OK ? mq_graph_sort(s->given, err) : status;
}

/* ---- What goes in -------------------------------------------------------------------------------------- */

static void fill_pixels(const struct simulation *s, size_t slot, struct mq_tensor *input) {
  const struct compare *c = s->compare;
  const struct mq_program_tensor *t = &c->program->tensors[c->program->inputs[0]];
  const struct verify_order order = verify_order_of(t, input);
  for (int64_t n = 0; n < c->feed.slice_images; n++) {
    verify_scatter((float *)input->data + n * input->stride[0], &order,
                   c->slots[slot].pixels + n * c->pixel_count);
  }
}

static void fill_codes(const struct simulation *s, size_t slot, unsigned worker, size_t link,
                       struct mq_tensor *input) {
  const struct compare *c = s->compare;
  const uint32_t tensor = c->map.links[link].tensor;
  const struct mq_program_tensor *t = &c->program->tensors[tensor];
  const struct verify_order order = verify_order_of(t, input);
  const int64_t count = mq_program_elements(t);
  float *row = c->rows + worker * c->row_count;
  for (int64_t n = 0; n < c->feed.slice_images; n++) {
    const void *codes = compare_made(c, slot, n, tensor);
    for (int64_t i = 0; i < count; i++) {
      row[i] = (float)(reality_code(codes, t->type, i) - t->zero_point) * t->scale;
    }
    verify_scatter((float *)input->data + n * input->stride[0], &order, row);
  }
}

static mq_status fill(void *context, size_t slot, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  const struct simulation *s = context;
  const size_t n_own = s->compare->map.graph->n_inputs;
  (void)err;
  fill_pixels(s, slot, &inputs[0]);
  for (size_t i = n_own; s->given && i < s->given->n_inputs; i++) {
    fill_codes(s, slot, worker, s->link_of_input[i], &inputs[i]);
  }
  return MQ_OK;
}

/* ---- What comes out ------------------------------------------------------------------------------------ */

/* Values on the grid become codes again, floats their bits. */
static void keep(int32_t *cells, const struct mq_program_tensor *t, const float *values) {
  const int64_t n = mq_program_elements(t);
  if (!reality_is_codes(t)) {
    memcpy(cells, values, (size_t)n * sizeof *values);
    return;
  }
  const float least = -0x1p24f, most = 0x1p24f;
  for (int64_t i = 0; i < n; i++) {
    cells[i] = (int32_t)fminf(fmaxf(rintf(values[i] / t->scale), least), most) + t->zero_point;
  }
}

static mq_status tap(void *context, size_t slot, unsigned worker, size_t link, int64_t first_image,
                     const struct mq_tensor *value, struct mq_err *err) {
  const struct simulation *s = context;
  const struct compare *c = s->compare;
  const struct verify_link *l = &c->map.links[link];
  const struct mq_program_tensor *t = &c->program->tensors[l->tensor];
  const struct verify_order order = verify_order_of(t, value);
  float *row = c->rows + worker * c->row_count;
  int32_t *cells = c->slots[slot].cells[s->run] + (size_t)first_image * (size_t)c->map.n_elements + l->offset;
  (void)err;
  for (int64_t n = 0; n < value->shape.dim[0]; n++) {
    verify_gather(row, &order, (const float *)value->data + n * value->stride[0]);
    keep(cells + (size_t)n * (size_t)c->map.n_elements, t, row);
  }
  return MQ_OK;
}

/* ---- All of it ----------------------------------------------------------------------------------------- */

static mq_status find_taps(struct simulation *s, const struct mq_graph *graph, struct mq_err *err) {
  const struct verify_map *map = &s->compare->map;
  s->taps = mq_alloc(map->n_links + 1, sizeof *s->taps);
  if (!s->taps) {
    return mq_fail_memory(err, "points");
  }
  for (size_t i = 0; i < map->n_links; i++) {
    s->taps[i] = mq_graph_find_value(graph, map->links[i].value->name);
    if (!s->taps[i]) {
      return mq_fail(err, MQ_FAILED, "%s: value '%s' is lost", graph->name, map->links[i].value->name);
    }
  }
  return MQ_OK;
}

static const struct mq_node *find_node(const struct mq_graph *graph, const char *name) {
  for (size_t i = 0; i < graph->n_nodes; i++) {
    if (strcmp(graph->nodes[i]->name, name) == 0) {
      return graph->nodes[i];
    }
  }
  return NULL;
}

/* The rules' islands are nodes of the graph that runs. */
static mq_status begin_exact(struct simulation *s, const struct mq_graph *graph, struct mq_err *err) {
  struct mq_exact_rules rules = *s->compare->exact;
  struct mq_island *islands = mq_alloc(rules.n_islands + 1, sizeof *islands);
  if (!islands) {
    return mq_fail_memory(err, "islands");
  }
  size_t n = 0;
  for (size_t i = 0; i < rules.n_islands; i++) {
    islands[n] = rules.islands[i];
    islands[n].node = s->given ? find_node(graph, rules.islands[i].node->name) : rules.islands[i].node;
    n += islands[n].node != NULL;
  }
  rules.islands = islands;
  rules.n_islands = n;
  mq_status status = tune_exact_init(&s->exact, &rules, err);
  mq_free(islands);
  return status;
}

mq_status simulation_create(struct simulation *s, struct compare *c, compare_run run, struct mq_err *err) {
  *s = (struct simulation){.compare = c, .run = run};
  const bool is_given = run == COMPARE_LOCAL || (run == COMPARE_EXACT && c->map.has_float_layers);
  mq_status status = is_given ? give_points(s, err) : MQ_OK;
  const struct mq_graph *graph = s->given ? s->given : c->prepared->graph;
  if (status == MQ_OK) {
    status = find_taps(s, graph, err);
  }
  if (status == MQ_OK && run == COMPARE_EXACT) {
    status = begin_exact(s, graph, err);
  }
  const struct mq_engine_options options = {.slice_images = c->feed.slice_images,
                                            .simulates = true,
                                            .points = c->prepared->points,
                                            .n_points = c->prepared->n_points,
                                            .exact = run == COMPARE_EXACT ? &s->exact.engine : NULL,
                                            .taps = s->taps,
                                            .n_taps = c->map.n_links};
  return status == MQ_OK ? mq_engine_create(&s->engine, graph, &options, c->pool, err) : status;
}

mq_status simulation_run(struct simulation *s, struct mq_err *err) {
  const struct mq_engine_job job = {.context = s, .n_slices = s->compare->n_slices, .fill = fill, .tap = tap};
  return mq_engine_run(s->engine, &job, err);
}

void simulation_destroy(struct simulation *s) {
  mq_engine_destroy(s->engine);
  tune_exact_deinit(&s->exact);
  mq_free(s->taps);
  mq_free(s->link_of_input);
  mq_graph_destroy(s->given);
  *s = (struct simulation){.compare = NULL};
}
