#include "help_qdq.h"

#include <math.h>

#include "mqbench/kernel.h"

void qdq_open(struct qdq_case *c, const char *folder, const char *name, const char *input, int64_t limit) {
  struct mq_err err = {0};
  struct mq_data_spec spec;
  char path[1200];
  *c = (struct qdq_case){0};
  snprintf(c->folder, sizeof c->folder, "%s", folder);
  snprintf(c->name, sizeof c->name, "%s", name);
  snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
  assert_ok(mq_bundle_read_qdq(&c->bundle, path, NULL, &err));
  int n = snprintf(path, sizeof path, "npy:%s/%s.npy", folder, input);
  if (limit > 0) snprintf(path + n, sizeof path - (size_t)n, ",limit=%d", (int)limit);
  assert_ok(mq_data_spec_parse(&spec, path, &err));
  assert_ok(mq_dataset_open(&c->data, &spec, &err));
  mq_data_spec_deinit(&spec);
  assert_ok(mq_kernel_start(MQ_ISA_NATIVE, &err));
  assert_ok(mq_pool_create(&c->pool, 2, mq_kernel_start_worker, &err));
}

void qdq_close(struct qdq_case *c) {
  mq_bundle_deinit(&c->bundle);
  mq_dataset_close(c->data);
  mq_pool_destroy(c->pool);
}

/* The scale of the network's output; 1 where it is float. */
static double find_step(const struct qdq_case *c) {
  struct mq_err err = {0};
  const struct mq_node *node = c->bundle.prepared.graph->outputs[0]->producer;
  int64_t index = -1;
  if (node->op != MQ_OP_FakeQuantize) return 1;
  assert_ok(mq_node_get_int(&index, node, "point", -1, &err));
  return (double)c->bundle.prepared.points[index].qparams.scale[0];
}

static int64_t best_of(const float *row, int64_t n) {
  int64_t best = 0;
  for (int64_t i = 1; i < n; i++)
    best = row[i] > row[best] ? i : best;
  return best;
}

static struct qdq_difference compare(const struct qdq_case *c, const struct mq_tensor *logits,
                                     const char *suffix) {
  struct mq_err err = {0};
  struct mq_tensor expected = {0};
  struct qdq_difference d = {.n_images = logits->shape.dim[0]};
  char path[1200];
  snprintf(path, sizeof path, "%s/%s_%s.npy", c->folder, c->name, suffix);
  assert_ok(mq_npy_read(&expected, path, &err));
  int64_t n = logits->shape.dim[1];
  assert_int_equal(expected.dtype, MQ_F32);
  assert_int_equal(expected.shape.dim[1], n);
  assert_true(expected.shape.dim[0] >= d.n_images);
  const float *a = logits->data, *b = expected.data;
  double step = find_step(c);
  for (int64_t i = 0; i < d.n_images * n; i++) {
    double steps = fabs((double)a[i] - (double)b[i]) / step;
    d.n_elements++;
    d.n_differing += !(steps < 1e-3);
    d.max_steps = fmax(d.max_steps, steps);
  }
  for (int64_t i = 0; i < d.n_images; i++)
    d.n_same_class += best_of(a + i * n, n) == best_of(b + i * n, n);
  mq_tensor_deinit(&expected);
  return d;
}

struct qdq_difference qdq_simulate(const struct qdq_case *c) {
  struct mq_err err = {0};
  struct mq_tensor logits = {0};
  const struct mq_prepared *prepared = &c->bundle.prepared;
  const struct mq_evaluate_options options = {.points = prepared->points, .n_points = prepared->n_points};
  assert_ok(mq_predict(&logits, prepared->graph, c->data, 0, &options, c->pool, &err));
  struct qdq_difference d = compare(c, &logits, "float");
  mq_tensor_deinit(&logits);
  return d;
}

struct qdq_difference qdq_run_program(const struct qdq_case *c) {
  struct mq_err err = {0};
  struct mq_tensor logits = {0};
  const struct mq_program_evaluate_options options = {.loader_threads = 2};
  if (!c->bundle.program) fail_msg("%s", c->bundle.no_program);
  assert_ok(mq_program_predict(&logits, c->bundle.program, c->bundle.prepared.graph, c->data, 0, &options,
                               c->pool, &err));
  struct qdq_difference d = compare(c, &logits, "int");
  mq_tensor_deinit(&logits);
  return d;
}
