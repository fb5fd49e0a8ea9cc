/* Attributes: setters that copy into the arena, getters that say what they expected. */
#include <string.h>

#include "graph/internal.h"

/* Far more than any operator has: lookup is linear. */
#define MAX_ATTRS 256

static const char *kind_name(mq_attr_kind kind) {
  static const char *const names[] = {[MQ_ATTR_INT] = "an int",
                                      [MQ_ATTR_FLOAT] = "a float",
                                      [MQ_ATTR_STRING] = "a string",
                                      [MQ_ATTR_INTS] = "a list of ints",
                                      [MQ_ATTR_FLOATS] = "a list of floats",
                                      [MQ_ATTR_TENSOR] = "a tensor"};
  return names[kind];
}

const struct mq_attr *mq_node_find_attr(const struct mq_node *node, const char *name) {
  for (size_t i = 0; i < node->n_attrs; i++) {
    if (strcmp(node->attrs[i].name, name) == 0) {
      return &node->attrs[i];
    }
  }
  return NULL;
}

void mq_node_remove_attr(struct mq_node *node, const char *name) {
  const struct mq_attr *found = mq_node_find_attr(node, name);
  if (found) {
    size_t i = (size_t)(found - node->attrs);
    memmove(node->attrs + i, node->attrs + i + 1, (node->n_attrs - i - 1) * sizeof *node->attrs);
    node->n_attrs--;
  }
}

/* Replaces the attribute of that name or appends one. */
static mq_status put(struct mq_graph *graph, struct mq_node *node, struct mq_attr attr, struct mq_err *err) {
  const struct mq_attr *found = mq_node_find_attr(node, attr.name);
  if (found) {
    attr.name = found->name;
    node->attrs[found - node->attrs] = attr;
    return MQ_OK;
  }
  if (node->n_attrs >= MAX_ATTRS) {
    return graph_fail(err, node, "more than %d attributes", MAX_ATTRS);
  }
  attr.name = mq_arena_strdup(&graph->arena, attr.name);
  if (!attr.name || !graph_append(&graph->arena, &node->attrs, &node->n_attrs, sizeof attr, &attr)) {
    return mq_fail_memory(err, "attribute of a node");
  }
  return MQ_OK;
}

static void *copy_array(struct mq_graph *graph, const void *items, size_t n, size_t bytes) {
  void *copy = mq_arena_alloc(&graph->arena, n, bytes);
  if (copy && n) {
    memcpy(copy, items, n * bytes);
  }
  return copy;
}

mq_status mq_node_set_int(struct mq_graph *graph, struct mq_node *node, const char *name, int64_t i,
                          struct mq_err *err) {
  return put(graph, node, (struct mq_attr){.name = name, .kind = MQ_ATTR_INT, .as.i = i}, err);
}

mq_status mq_node_set_float(struct mq_graph *graph, struct mq_node *node, const char *name, float f,
                            struct mq_err *err) {
  return put(graph, node, (struct mq_attr){.name = name, .kind = MQ_ATTR_FLOAT, .as.f = f}, err);
}

mq_status mq_node_set_string(struct mq_graph *graph, struct mq_node *node, const char *name, const char *s,
                             struct mq_err *err) {
  const char *copy = mq_arena_strdup(&graph->arena, s);
  if (!copy) {
    return mq_fail_memory(err, "attribute of a node");
  }
  return put(graph, node, (struct mq_attr){.name = name, .kind = MQ_ATTR_STRING, .as.s = copy}, err);
}

mq_status mq_node_set_ints(struct mq_graph *graph, struct mq_node *node, const char *name,
                           const int64_t *ints, size_t n, struct mq_err *err) {
  const int64_t *copy = copy_array(graph, ints, n, sizeof *ints);
  if (!copy) {
    return mq_fail_memory(err, "attribute of a node");
  }
  return put(graph, node, (struct mq_attr){.name = name, .kind = MQ_ATTR_INTS, .n = n, .as.ints = copy}, err);
}

mq_status mq_node_set_floats(struct mq_graph *graph, struct mq_node *node, const char *name,
                             const float *floats, size_t n, struct mq_err *err) {
  const float *copy = copy_array(graph, floats, n, sizeof *floats);
  if (!copy) {
    return mq_fail_memory(err, "attribute of a node");
  }
  return put(graph, node, (struct mq_attr){.name = name, .kind = MQ_ATTR_FLOATS, .n = n, .as.floats = copy},
             err);
}

mq_status mq_node_set_tensor(struct mq_graph *graph, struct mq_node *node, const char *name,
                             const struct mq_tensor *tensor, struct mq_err *err) {
  struct mq_tensor *copy;
  mq_status status = graph_copy_tensor(&copy, &graph->arena, tensor, err);
  if (status != MQ_OK) {
    return status;
  }
  return put(graph, node, (struct mq_attr){.name = name, .kind = MQ_ATTR_TENSOR, .as.tensor = copy}, err);
}

/* *attr NULL if absent; another kind than expected is an error. */
static mq_status find_kind(const struct mq_attr **attr, const struct mq_node *node, const char *name,
                           mq_attr_kind kind, struct mq_err *err) {
  *attr = mq_node_find_attr(node, name);
  if (*attr && (*attr)->kind != kind) {
    return graph_fail(err, node, "attribute '%s' is %s, expected %s", name, kind_name((*attr)->kind),
                      kind_name(kind));
  }
  return MQ_OK;
}

mq_status mq_node_get_int(int64_t *i, const struct mq_node *node, const char *name, int64_t fallback,
                          struct mq_err *err) {
  const struct mq_attr *attr;
  mq_status status = find_kind(&attr, node, name, MQ_ATTR_INT, err);
  *i = status == MQ_OK && attr ? attr->as.i : fallback;
  return status;
}

mq_status mq_node_get_float(float *f, const struct mq_node *node, const char *name, float fallback,
                            struct mq_err *err) {
  const struct mq_attr *attr;
  mq_status status = find_kind(&attr, node, name, MQ_ATTR_FLOAT, err);
  *f = status == MQ_OK && attr ? attr->as.f : fallback;
  return status;
}

mq_status mq_node_get_string(const char **s, const struct mq_node *node, const char *name,
                             const char *fallback, struct mq_err *err) {
  const struct mq_attr *attr;
  mq_status status = find_kind(&attr, node, name, MQ_ATTR_STRING, err);
  *s = status == MQ_OK && attr ? attr->as.s : fallback;
  return status;
}

mq_status mq_node_get_ints(const int64_t **ints, size_t *n, const struct mq_node *node, const char *name,
                           struct mq_err *err) {
  const struct mq_attr *attr;
  mq_status status = find_kind(&attr, node, name, MQ_ATTR_INTS, err);
  bool is_there = status == MQ_OK && attr;
  *ints = is_there ? attr->as.ints : NULL;
  *n = is_there ? attr->n : 0;
  return status;
}

mq_status mq_node_get_floats(const float **floats, size_t *n, const struct mq_node *node, const char *name,
                             struct mq_err *err) {
  const struct mq_attr *attr;
  mq_status status = find_kind(&attr, node, name, MQ_ATTR_FLOATS, err);
  bool is_there = status == MQ_OK && attr;
  *floats = is_there ? attr->as.floats : NULL;
  *n = is_there ? attr->n : 0;
  return status;
}

mq_status mq_node_get_tensor(const struct mq_tensor **tensor, const struct mq_node *node, const char *name,
                             struct mq_err *err) {
  const struct mq_attr *attr;
  mq_status status = find_kind(&attr, node, name, MQ_ATTR_TENSOR, err);
  *tensor = status == MQ_OK && attr ? attr->as.tensor : NULL;
  return status;
}
