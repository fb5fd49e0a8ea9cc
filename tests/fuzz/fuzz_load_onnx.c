/* ONNX from anywhere: never crashes, and what loads can be written and loads again. */
#include <stdlib.h>

#include "load/onnx.h"

#define MEMORY_BYTES ((size_t)1 << 30)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  struct mq_err err = {0};
  struct mq_graph *graph = NULL, *again = NULL;
  uint8_t *written = NULL;
  size_t n_written;
  mq_memory_set_limit(MEMORY_BYTES);
  if (mq_onnx_parse(&graph, bytes, n, "fuzz.onnx", NULL, NULL, &err) != MQ_OK) {
    return 0;
  }
  if (mq_onnx_format(&written, &n_written, graph, "fuzz.onnx", &err) == MQ_OK &&
      mq_onnx_parse(&again, written, n_written, "again.onnx", NULL, NULL, &err) == MQ_BAD_INPUT) {
    fprintf(stderr, "written model does not load: %s\n", err.message);
    abort();
  }
  mq_free(written);
  mq_graph_destroy(again);
  mq_graph_destroy(graph);
  return 0;
}
