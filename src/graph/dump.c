/* A graph as text for people and as a drawing for Graphviz. */
#include "graph/internal.h"

static void print_value(FILE *file, const struct mq_value *value) {
  char shape[200];
  fprintf(file, "%s:%s%s%s", value->name, value->constant ? "const " : "",
          value->dtype && value->dtype != MQ_F32 ? mq_dtype_get(value->dtype)->name : "",
          value->dtype && value->dtype != MQ_F32 ? " " : "");
  fputs(mq_shape_format(shape, sizeof shape, &value->shape), file);
}

static void print_list(FILE *file, struct mq_value *const *values, int n) {
  for (int i = 0; i < n; i++) {
    fputs(i ? ", " : "", file);
    if (values[i]) {
      print_value(file, values[i]);
    } else {
      fputs("-", file);
    }
  }
}

static void print_attr(FILE *file, const struct mq_attr *attr) {
  char shape[200];
  fprintf(file, " %s=", attr->name);
  switch (attr->kind) {
    case MQ_ATTR_INT:
      fprintf(file, "%lld", (long long)attr->as.i);
      break;
    case MQ_ATTR_FLOAT:
      fprintf(file, "%g", (double)attr->as.f);
      break;
    case MQ_ATTR_STRING:
      fputs(attr->as.s, file);
      break;
    case MQ_ATTR_INTS:
      for (size_t i = 0; i < attr->n; i++) {
        fprintf(file, "%s%lld", i ? "," : "", (long long)attr->as.ints[i]);
      }
      break;
    case MQ_ATTR_FLOATS:
      for (size_t i = 0; i < attr->n; i++) {
        fprintf(file, "%s%g", i ? "," : "", (double)attr->as.floats[i]);
      }
      break;
    case MQ_ATTR_TENSOR:
      fprintf(file, "%s", mq_shape_format(shape, sizeof shape, &attr->as.tensor->shape));
      break;
  }
}

void mq_graph_dump_text(FILE *file, const struct mq_graph *graph) {
  for (size_t i = 0; i < graph->n_inputs; i++) {
    fputs("input ", file);
    print_value(file, graph->inputs[i]);
    fputs("\n", file);
  }
  for (size_t i = 0; i < graph->n_nodes; i++) {
    const struct mq_node *node = graph->nodes[i];
    if (node->op == MQ_OP_NONE) {
      continue;
    }
    fprintf(file, "%s %s (", mq_op_get(node->op)->name, node->name);
    print_list(file, node->inputs, node->n_inputs);
    fputs(") -> ", file);
    print_list(file, node->outputs, node->n_outputs);
    for (size_t k = 0; k < node->n_attrs; k++) {
      print_attr(file, &node->attrs[k]);
    }
    fputs("\n", file);
  }
  for (size_t i = 0; i < graph->n_outputs; i++) {
    fputs("output ", file);
    print_value(file, graph->outputs[i]);
    fputs("\n", file);
  }
}

/* Inside a quoted string; names come from files. */
static void print_escaped(FILE *file, const char *text) {
  for (const char *p = text; *p; p++) {
    if (*p == '"' || *p == '\\') {
      fputc('\\', file);
    }
    fputc((unsigned char)*p < 0x20 ? '?' : *p, file);
  }
}

/* An ellipse for a graph input or output. */
static void print_end(FILE *file, const char *prefix, size_t i, const struct mq_value *value) {
  char shape[200];
  fprintf(file, "  %s%zu [shape=ellipse, label=\"", prefix, i);
  print_escaped(file, value->name);
  fprintf(file, "\\n%s\"];\n", mq_shape_format(shape, sizeof shape, &value->shape));
}

/* The label of the edge that carries `value`: its shape and the caller's note. */
static void print_edge_label(FILE *file, const struct mq_value *value, mq_graph_note_fn note, void *context) {
  char shape[200];
  const char *text = note ? note(context, value) : NULL;
  fprintf(file, " [label=\"%s", mq_shape_format(shape, sizeof shape, &value->shape));
  if (text) {
    fputs("\\n", file);
    print_escaped(file, text);
    fputs("\", color=red, fontcolor=red, penwidth=2", file);
  } else {
    fputs("\"", file);
  }
  fputs("];\n", file);
}

/* Where the value comes from, as a node of the drawing; false for constants. */
static bool print_source(FILE *file, const struct mq_value *value) {
  if (value->producer) {
    fprintf(file, "  n%zu", value->producer->index);
  } else if (value->is_input) {
    fprintf(file, "  v%zu", value->index);
  }
  return value->producer || value->is_input;
}

static void print_node(FILE *file, const struct mq_node *node, mq_graph_note_fn note, void *context) {
  fprintf(file, "  n%zu [label=\"%s\\n", node->index, mq_op_get(node->op)->name);
  print_escaped(file, node->name);
  for (int i = 0; i < node->n_inputs; i++) {
    const struct mq_value *constant = node->inputs[i];
    if (constant && constant->constant) {
      char shape[200];
      const char *text = note ? note(context, constant) : NULL;
      fprintf(file, "\\n%s", mq_shape_format(shape, sizeof shape, &constant->shape));
      if (text) {
        fputs(" ", file);
        print_escaped(file, text);
      }
    }
  }
  fputs("\"];\n", file);
  for (int i = 0; i < node->n_inputs; i++) {
    const struct mq_value *value = node->inputs[i];
    if (value && print_source(file, value)) {
      fprintf(file, " -> n%zu", node->index);
      print_edge_label(file, value, note, context);
    }
  }
}

void mq_graph_dump_dot(FILE *file, const struct mq_graph *graph, mq_graph_note_fn note, void *context) {
  fputs("digraph \"", file);
  print_escaped(file, graph->name);
  fputs("\" {\n  node [shape=box, fontname=\"sans-serif\"];\n", file);
  for (size_t i = 0; i < graph->n_inputs; i++) {
    print_end(file, "v", graph->inputs[i]->index, graph->inputs[i]);
  }
  for (size_t i = 0; i < graph->n_nodes; i++) {
    if (graph->nodes[i]->op != MQ_OP_NONE) {
      print_node(file, graph->nodes[i], note, context);
    }
  }
  for (size_t i = 0; i < graph->n_outputs; i++) {
    print_end(file, "o", i, graph->outputs[i]);
    if (print_source(file, graph->outputs[i])) {
      fprintf(file, " -> o%zu", i);
      print_edge_label(file, graph->outputs[i], note, context);
    }
  }
  fputs("}\n", file);
}
