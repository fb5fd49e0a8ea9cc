/* libyaml's events to a bounded tree. */
#include "base/yaml.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/file.h"

#define MAX_BYTES ((size_t)1 << 20)
#define MAX_DEPTH 64
#define MAX_NODES 100000

struct builder {
  struct mq_arena *arena;
  const char *file;
  yaml_document_t *document;
  size_t n_nodes;
  struct mq_err *err;
};

static mq_status fail_at(struct builder *b, size_t line, const char *what) {
  return mq_fail(b->err, MQ_BAD_INPUT, "%s:%zu: %s", b->file, line, what);
}

static mq_status build(struct mq_yaml_node **out, struct builder *b, int index, int depth);

static mq_status build_list(struct mq_yaml_node *node, struct builder *b, const yaml_node_t *source,
                            int depth) {
  node->kind = MQ_YAML_LIST;
  node->n = (size_t)(source->data.sequence.items.top - source->data.sequence.items.start);
  node->items = mq_arena_alloc(b->arena, node->n + 1, sizeof *node->items);
  if (!node->items) {
    return mq_fail_memory(b->err, b->file);
  }
  for (size_t i = 0; i < node->n; i++) {
    mq_status status = build(&node->items[i], b, source->data.sequence.items.start[i], depth + 1);
    if (status != MQ_OK) {
      return status;
    }
    node->items[i]->parent = node;
    node->items[i]->position = i;
  }
  return MQ_OK;
}

static mq_status build_map(struct mq_yaml_node *node, struct builder *b, const yaml_node_t *source,
                           int depth) {
  node->kind = MQ_YAML_MAP;
  node->n = (size_t)(source->data.mapping.pairs.top - source->data.mapping.pairs.start);
  node->items = mq_arena_alloc(b->arena, node->n + 1, sizeof *node->items);
  node->keys = mq_arena_alloc(b->arena, node->n + 1, sizeof *node->keys);
  if (!node->items || !node->keys) {
    return mq_fail_memory(b->err, b->file);
  }
  for (size_t i = 0; i < node->n; i++) {
    const yaml_node_pair_t *pair = &source->data.mapping.pairs.start[i];
    struct mq_yaml_node *key = NULL;
    mq_status status = build(&key, b, pair->key, depth + 1);
    if (status == MQ_OK && key->kind != MQ_YAML_SCALAR) {
      status = fail_at(b, (size_t)key->line, "key is a list or a map, expected a name");
    }
    if (status == MQ_OK) {
      status = build(&node->items[i], b, pair->value, depth + 1);
    }
    if (status != MQ_OK) {
      return status;
    }
    node->keys[i] = key->text;
    node->items[i]->parent = node;
    node->items[i]->key = key->text;
    node->items[i]->position = i;
    for (size_t j = 0; j < i; j++) {
      if (!strcmp(node->keys[j], key->text)) {
        return mq_fail(b->err, MQ_BAD_INPUT, "%s:%d: key '%.100s' is given twice", b->file, key->line,
                       key->text);
      }
    }
  }
  return MQ_OK;
}

static mq_status build_scalar(struct mq_yaml_node *node, struct builder *b, const yaml_node_t *source) {
  node->kind = MQ_YAML_SCALAR;
  node->is_quoted = source->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
  const char *text = (const char *)source->data.scalar.value;
  if (strlen(text) != source->data.scalar.length) {
    return fail_at(b, (size_t)node->line, "text contains a NUL character");
  }
  node->text = mq_arena_strdup(b->arena, text);
  return node->text ? MQ_OK : mq_fail_memory(b->err, b->file);
}

static mq_status build(struct mq_yaml_node **out, struct builder *b, int index, int depth) {
  const yaml_node_t *source = yaml_document_get_node(b->document, index);
  size_t line = source ? source->start_mark.line + 1 : 1;
  /* Aliases are expanded here, so both limits also bound loops and "billion laughs". */
  if (depth > MAX_DEPTH) {
    return fail_at(b, line, "nested deeper than 64 levels");
  }
  if (++b->n_nodes > MAX_NODES) {
    return fail_at(b, line, "more than 100000 nodes");
  }
  struct mq_yaml_node *node = mq_arena_alloc(b->arena, 1, sizeof *node);
  if (!node) {
    return mq_fail_memory(b->err, b->file);
  }
  node->file = b->file;
  node->line = (int)line;
  *out = node;
  switch (source ? source->type : YAML_NO_NODE) {
    case YAML_SCALAR_NODE:
      return build_scalar(node, b, source);
    case YAML_SEQUENCE_NODE:
      return build_list(node, b, source, depth);
    case YAML_MAPPING_NODE:
      return build_map(node, b, source, depth);
    default:
      return fail_at(b, line, "empty document");
  }
}

static mq_status parse_document(const struct mq_yaml_node **root, yaml_parser_t *parser, const char *file,
                                struct mq_arena *arena, struct mq_err *err) {
  yaml_document_t document, second;
  if (!yaml_parser_load(parser, &document)) {
    const char *problem = parser->problem ? parser->problem : "out of memory";
    size_t line = (parser->problem_mark.line ? parser->problem_mark.line : parser->context_mark.line) + 1;
    return mq_fail(err, MQ_BAD_INPUT, "%s:%zu: not YAML: %s", file, line, problem);
  }
  struct builder builder = {.arena = arena, .file = file, .document = &document, .err = err};
  struct mq_yaml_node *node = NULL;
  mq_status status = MQ_OK;
  if (!yaml_document_get_root_node(&document)) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s:1: empty document", file);
  } else {
    status = build(&node, &builder, 1, 0);
  }
  yaml_document_delete(&document);
  if (status == MQ_OK && yaml_parser_load(parser, &second)) {
    if (yaml_document_get_root_node(&second)) {
      status = mq_fail(err, MQ_BAD_INPUT, "%s: more than one document, expected one", file);
    }
    yaml_document_delete(&second);
  } else if (status == MQ_OK) {
    status = mq_fail(err, MQ_BAD_INPUT, "%s:%zu: not YAML: %s", file, parser->problem_mark.line + 1,
                     parser->problem ? parser->problem : "out of memory");
  }
  if (status == MQ_OK) {
    *root = node;
  }
  return status;
}

mq_status mq_yaml_parse(const struct mq_yaml_node **root, const char *text, size_t n, const char *file,
                        struct mq_arena *arena, struct mq_err *err) {
  *root = NULL;
  if (n > MAX_BYTES) {
    return mq_fail(err, MQ_BAD_INPUT, "%s: %zu bytes, expected at most %zu", file, n, MAX_BYTES);
  }
  const char *file_copy = mq_arena_strdup(arena, file);
  yaml_parser_t parser;
  if (!file_copy || !yaml_parser_initialize(&parser)) {
    return mq_fail_memory(err, file);
  }
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
  mq_status status = parse_document(root, &parser, file_copy, arena, err);
  yaml_parser_delete(&parser);
  return status;
}

mq_status mq_yaml_load(const struct mq_yaml_node **root, const char *path, struct mq_arena *arena,
                       struct mq_err *err) {
  *root = NULL;
  char *text = NULL;
  size_t n = 0;
  mq_status status = mq_file_read(&text, &n, path, MAX_BYTES, err);
  if (status == MQ_OK) {
    status = mq_yaml_parse(root, text, n, path, arena, err);
  }
  mq_free(text);
  return status;
}
