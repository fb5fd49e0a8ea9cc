/* A program of somebody else: prints what an ONNX model takes and how many parameters it has. */
#include <stdio.h>

#include <mqbench/kernel.h>
#include <mqbench/load.h>

static void print_model(const struct mq_graph *graph, const struct mq_graph_counts *counts) {
  for (size_t i = 0; i < graph->n_inputs; i++) {
    char shape[128];
    printf("input %s %s\n", graph->inputs[i]->name,
           mq_shape_format(shape, sizeof shape, &graph->inputs[i]->shape));
  }
  printf("%lld parameters\n", (long long)counts->parameters);
}

int main(int argc, char **argv) {
  struct mq_err err = {0};
  struct mq_graph *graph = NULL;
  struct mq_graph_counts counts;
  if (argc != 2) {
    fprintf(stderr, "usage: example MODEL.onnx\n");
    return MQ_BAD_USAGE;
  }
  mq_status status = mq_kernel_start(MQ_ISA_NATIVE, &err);
  if (status == MQ_OK) {
    status = mq_onnx_read(&graph, argv[1], NULL, &err);
  }
  if (status == MQ_OK) {
    status = mq_graph_count(&counts, graph, &err);
  }
  if (status == MQ_OK) {
    print_model(graph, &counts);
  } else {
    fprintf(stderr, "example: %s\n", err.message);
  }
  mq_graph_destroy(graph);
  return (int)status;
}
