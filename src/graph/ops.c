/* The table of operators, expanded from ops.def. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph/internal.h"

static const struct mq_op_traits traits[MQ_OP_COUNT] = {
    [MQ_OP_NONE] = {"None", 0, 0, 0, MQ_KIND_OTHER},
#define MQ_OP(name, min_inputs, max_inputs, n_outputs, kind) \
  [MQ_OP_##name] = {#name, min_inputs, max_inputs, n_outputs, MQ_KIND_##kind},
#include "mqbench/ops.def"
#undef MQ_OP
};

const struct mq_op_traits *mq_op_get(mq_op op) {
  assert((int)op >= 0 && op < MQ_OP_COUNT);
  return &traits[op];
}

bool mq_op_is_onnx(mq_op op) {
  return op < MQ_OP_FakeQuantize;
}

mq_op mq_op_find(const char *name) {
  for (int op = 1; op < MQ_OP_COUNT; op++) {
    if (strcmp(traits[op].name, name) == 0) {
      return (mq_op)op;
    }
  }
  return MQ_OP_NONE;
}

mq_status graph_fail(struct mq_err *err, const struct mq_node *node, const char *format, ...) {
  char text[768];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const char *graph = node->graph->name;
  return mq_fail(err, MQ_BAD_INPUT, "%s%snode '%.100s' (%s): %s", graph, *graph ? ": " : "", node->name,
                 mq_op_get(node->op)->name, text);
}
