#include "help_zoo.h"

#include <math.h>

#include "mqbench/kernel.h"

struct mq_graph *zoo_build(const char *name, const struct mq_zoo_options *options) {
  struct mq_err err = {0};
  struct mq_graph *graph = NULL;
  assert_ok(mq_zoo_build(&graph, name, options, &err));
  assert_non_null(graph);
  return graph;
}

size_t zoo_count_ops(const struct mq_graph *graph, mq_op op) {
  size_t n = 0;
  for (size_t i = 0; i < graph->n_nodes; i++)
    n += graph->nodes[i]->op == op;
  return n;
}

struct forward {
  const float *input;
  double *logits;
  double least, largest;
};

static mq_status fill(void *context, size_t slice, unsigned worker, struct mq_tensor *inputs,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  const struct forward *forward = context;
  int64_t count = mq_shape_count(&inputs[0].shape);
  union {
    const float *from;
    void *to;
  } data = {.from = forward->input + (int64_t)slice * count};
  struct mq_tensor from = mq_tensor_view(data.to, MQ_F32, &inputs[0].shape, NULL);
  mq_tensor_copy(&inputs[0], &from);
  return MQ_OK;
}

static mq_status take(void *context, size_t slice, unsigned worker, const struct mq_tensor *outputs,
                      struct mq_err *err) {
  (void)worker;
  (void)err;
  const struct forward *forward = context;
  int64_t classes = outputs[0].shape.dim[1];
  for (int64_t i = 0; forward->logits && i < classes; i++)
    forward->logits[(int64_t)slice * classes + i] = mq_tensor_get_double(&outputs[0], i);
  return MQ_OK;
}

static mq_status tap(void *context, size_t slice, unsigned worker, size_t which, int64_t first_image,
                     const struct mq_tensor *value, struct mq_err *err) {
  (void)slice;
  (void)worker;
  (void)which;
  (void)first_image;
  (void)err;
  struct forward *forward = context;
  int64_t n = mq_shape_count(&value->shape);
  double sum = 0;
  for (int64_t i = 0; i < n; i++)
    sum += pow(mq_tensor_get_double(value, i), 2);
  /* A NaN stays. */
  forward->least = !(sum / (double)n >= forward->least) ? sum / (double)n : forward->least;
  forward->largest = !(sum / (double)n <= forward->largest) ? sum / (double)n : forward->largest;
  return MQ_OK;
}

static void run(struct forward *forward, const struct mq_graph *graph, int64_t n_images,
                const struct mq_value *const *taps, size_t n_taps) {
  struct mq_err err = {0};
  struct mq_pool *pool = NULL;
  struct mq_engine *engine = NULL;
  struct mq_engine_options options = {.slice_images = 1, .taps = taps, .n_taps = n_taps};
  struct mq_engine_job job = {.context = forward, .n_slices = (size_t)n_images, .fill = fill, .take = take};
  job.tap = n_taps ? tap : NULL;
  assert_ok(mq_kernel_start(MQ_ISA_NATIVE, &err));
  assert_ok(mq_pool_create(&pool, 1, mq_kernel_start_worker, &err));
  assert_ok(mq_engine_create(&engine, graph, &options, pool, &err));
  assert_ok(mq_engine_run(engine, &job, &err));
  mq_engine_destroy(engine);
  mq_pool_destroy(pool);
}

void zoo_forward(double *logits, const struct mq_graph *graph, const float *input, int64_t n_images) {
  run(&(struct forward){.input = input, .logits = logits}, graph, n_images, NULL, 0);
}

void zoo_activation_range(double *least, double *largest, const struct mq_graph *graph) {
  const struct mq_value *taps[256];
  size_t n = 0;
  for (size_t i = 0; i < graph->n_nodes; i++) {
    mq_op op = graph->nodes[i]->op;
    if (op == MQ_OP_Relu || op == MQ_OP_Clip || op == MQ_OP_Add) {
      assert_true(n < 256);
      taps[n++] = graph->nodes[i]->outputs[0];
    }
  }
  struct mq_shape shape = mq_shape_at_batch(&graph->inputs[0]->shape, 1);
  int64_t count = mq_shape_count(&shape);
  float *input = mq_alloc((size_t)count, sizeof *input);
  assert_non_null(input);
  for (int64_t i = 0; i < count; i++)
    input[i] = (float)(sqrt(12.0) * (zoo_uniform("noise", i) - 0.5));
  struct forward forward = {.input = input, .least = INFINITY, .largest = 0};
  run(&forward, graph, 1, taps, n);
  *least = forward.least;
  *largest = forward.largest;
  mq_free(input);
}

double zoo_uniform(const char *name, int64_t i) {
  uint32_t hash = 2166136261u;
  for (; *name; name++)
    hash = (hash ^ (unsigned char)*name) * 16777619u;
  hash += (uint32_t)i * 2654435761u;
  hash ^= hash >> 15;
  hash *= 2246822519u;
  hash ^= hash >> 13;
  return hash * 0x1p-32;
}

char *zoo_describe(const struct mq_graph *graph) {
  char *text = NULL;
  size_t bytes;
  FILE *file = open_memstream(&text, &bytes);
  assert_non_null(file);
  mq_graph_dump_text(file, graph);
  for (size_t i = 0; i < graph->n_nodes; i++) {
    for (int k = 0; k < graph->nodes[i]->n_inputs; k++) {
      const struct mq_value *value = graph->nodes[i]->inputs[k];
      if (!value->constant) continue;
      const unsigned char *data = value->constant->data;
      size_t n = (size_t)mq_shape_count(&value->shape) * mq_dtype_get(value->dtype)->bytes;
      uint64_t hash = 0xcbf29ce484222325;
      for (size_t at = 0; at < n; at++)
        hash = (hash ^ data[at]) * 0x100000001b3;
      fprintf(file, "%s %016llx\n", value->name, (unsigned long long)hash);
    }
  }
  fclose(file);
  return text;
}
