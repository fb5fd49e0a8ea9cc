/* Q/DQ models from anywhere: never crashes, and what is taken can be lowered or is refused. */
#include <stdlib.h>

#include "load/onnx.h"
#include "mqbench/deploy.h"

#define MEMORY_BYTES ((size_t)1 << 30)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct mq_target *load_target(const char *name) {
  struct mq_err err = {0};
  struct mq_target *target = NULL;
  if (mq_target_load(&target, name, &err) != MQ_OK) {
    fprintf(stderr, "%s\n", err.message);
    abort();
  }
  return target;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  static struct mq_target *own, *other; /* for the life of the process */
  const struct mq_onnx_options options = {.takes_packed = true};
  struct mq_err err = {0};
  struct mq_graph *graph = NULL, *floats = NULL;
  struct mq_prepared prepared = {0};
  struct mq_lowered lowered = {0};
  own = own ? own : load_target(MQ_QDQ_TARGET);
  other = other ? other : load_target("acl");
  mq_memory_set_limit(MEMORY_BYTES);
  if (mq_onnx_parse(&graph, bytes, n, "fuzz.onnx", NULL, &options, &err) != MQ_OK) {
    return 0;
  }
  if (mq_prepare_qdq(&prepared, graph, &err) == MQ_OK) {
    if (mq_lower(&lowered, &prepared, own, &err) == MQ_OK) {
      mq_lowered_deinit(&lowered);
    }
    if (mq_prepare_qdq_float(&floats, &prepared, &err) == MQ_OK) {
      mq_graph_destroy(floats);
    }
    if (mq_prepare_fit_target(&prepared, other, &err) == MQ_OK &&
        mq_lower(&lowered, &prepared, other, &err) == MQ_OK) {
      mq_lowered_deinit(&lowered);
    }
    mq_prepared_deinit(&prepared);
  }
  mq_graph_destroy(graph);
  return 0;
}
