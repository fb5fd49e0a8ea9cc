/* mqbench show: what a model is, and where a target quantizes it. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/commands.h"
#include "cli/overrides.h"
#include "cli/session.h"
#include "mqbench/deploy.h"
#include "mqbench/load.h"

struct show_run {
  struct cli_common common;
  const char *target_name;
  bool is_dot;
  int64_t w_bits, a_bits;
  struct cli_texts bits, keep_float;
  struct mq_pool *pool;
  struct mq_graph *model;
  struct mq_target *target;
  struct mq_bundle bundle;
  struct mq_prepared own; /* prepared here */
  const struct mq_prepared *prepared;
};

static const char *kind_name(mq_point_kind kind) {
  return kind == MQ_POINT_WEIGHT ? "weight" : kind == MQ_POINT_BIAS ? "bias" : "activation";
}

static const struct mq_point *find_point(const struct mq_prepared *prepared, const char *tensor) {
  for (size_t i = 0; prepared && i < prepared->n_points; i++) {
    if (!strcmp(prepared->points[i].tensor, tensor)) {
      return &prepared->points[i];
    }
  }
  return NULL;
}

static const char *note_point(void *context, const struct mq_value *value) {
  static char text[128];
  const struct mq_point *point = find_point(context, value->name);
  return point ? mq_scheme_format(text, sizeof text, &point->scheme) : NULL;
}

static void print_points(const struct mq_prepared *prepared) {
  printf("\n%zu quantization points\n", prepared->n_points);
  for (size_t i = 0; i < prepared->n_points; i++) {
    const struct mq_point *point = &prepared->points[i];
    char scheme[128];
    printf("  %-10s %-40s %s\n", kind_name(point->kind), point->tensor,
           mq_scheme_format(scheme, sizeof scheme, &point->scheme));
    printf("             %s%s\n", point->reason, point->share >= 0 ? " (shares its scale)" : "");
    if (point->qparams.n_channels == 1) {
      printf("             scale %.9g, zero point %d\n", (double)point->qparams.scale[0],
             point->qparams.zero_point[0]);
    }
  }
  printf("\n%zu float islands\n", prepared->n_islands);
  for (size_t i = 0; i < prepared->n_islands; i++) {
    const struct mq_island *island = &prepared->islands[i];
    printf("  %s %s: %s\n", mq_op_get(island->node->op)->name, island->node->name, island->reason);
  }
}

static json_t *points_json(const struct mq_prepared *prepared) {
  json_t *points = json_array();
  for (size_t i = 0; prepared && i < prepared->n_points; i++) {
    const struct mq_point *point = &prepared->points[i];
    char scheme[128];
    json_array_append_new(points, json_pack("{s:s, s:s, s:i, s:s, s:s, s:i}", "tensor", point->tensor, "kind",
                                            kind_name(point->kind), "bits", (int)point->scheme.bits, "scheme",
                                            mq_scheme_format(scheme, sizeof scheme, &point->scheme), "reason",
                                            point->reason, "share", point->share));
  }
  return points;
}

static json_t *islands_json(const struct mq_prepared *prepared) {
  json_t *islands = json_array();
  for (size_t i = 0; prepared && i < prepared->n_islands; i++) {
    const struct mq_island *island = &prepared->islands[i];
    json_array_append_new(islands, json_pack("{s:s, s:s, s:s}", "node", island->node->name, "op",
                                             mq_op_get(island->node->op)->name, "reason", island->reason));
  }
  return islands;
}

static mq_status print_result(const struct show_run *run, const struct mq_graph *graph, struct mq_err *err) {
  struct mq_graph_counts counts;
  mq_status status = mq_graph_count(&counts, run->model, err);
  if (status != MQ_OK) {
    return status;
  }
  if (run->common.is_json) {
    return cli_print_json(
        json_pack("{s:I, s:I, s:I, s:o, s:o}", "nodes", (json_int_t)counts.nodes, "parameters",
                  (json_int_t)counts.parameters, "macs", (json_int_t)counts.macs, "points",
                  points_json(run->prepared), "islands", islands_json(run->prepared)),
        err);
  }
  if (run->is_dot) {
    mq_graph_dump_dot(stdout, graph, note_point, (void *)(uintptr_t)run->prepared);
    return MQ_OK;
  }
  mq_graph_dump_text(stdout, graph);
  printf("\n%lld nodes, %lld parameters, %lld multiply-accumulates an image\n", (long long)counts.nodes,
         (long long)counts.parameters, (long long)counts.macs);
  if (run->prepared) {
    print_points(run->prepared);
  }
  return MQ_OK;
}

static mq_status prepare(struct show_run *run, struct mq_err *err) {
  struct cli_overrides *overrides = mq_alloc(1, sizeof *overrides);
  if (!overrides) {
    return mq_fail_memory(err, "overrides");
  }
  mq_status status = cli_check_a_bits(run->a_bits, err);
  if (status == MQ_OK) {
    status = mq_target_load(&run->target, run->target_name, err);
  }
  if (status == MQ_OK) {
    status = cli_parse_overrides(overrides, &run->bits, &run->keep_float, err);
  }
  struct mq_prepare_options options = {.w_bits = (int)run->w_bits,
                                       .a_bits = (int)run->a_bits,
                                       .overrides = overrides->item,
                                       .n_overrides = overrides->n,
                                       .is_strict = run->common.is_strict};
  if (status == MQ_OK) {
    status = mq_prepare(&run->own, run->model, run->target, &options, err);
  }
  run->prepared = &run->own;
  mq_free(overrides);
  return status;
}

/* Its points are its own; a target says whose types and arithmetic. */
static mq_status show_qdq(struct show_run *run, const char *path, struct mq_err *err) {
  if (run->w_bits || run->a_bits || run->bits.n || run->keep_float.n) {
    return mq_fail(err, MQ_BAD_USAGE,
                   "--w-bits, --a-bits, --bits and --keep-float say how a target quantizes, but %s is "
                   "quantized already (Q/DQ)",
                   path);
  }
  mq_status status = mq_bundle_read_qdq(&run->bundle, path, run->target_name, err);
  run->prepared = &run->bundle.prepared;
  mq_graph_destroy(run->model);
  run->model = NULL;
  return status == MQ_OK ? mq_graph_clone(&run->model, run->prepared->graph, err) : status;
}

static mq_status run_show(struct show_run *run, struct mq_err *err) {
  const char *path = run->common.arguments.text[0];
  mq_status status = cli_session_start(&run->pool, &run->common, err);
  if (status != MQ_OK) {
    return status;
  }
  if (mq_file_is_directory(path)) {
    status = mq_bundle_read(&run->bundle, path, err);
    run->prepared = &run->bundle.prepared;
    if (status == MQ_OK && run->target_name) {
      return mq_fail(err, MQ_BAD_USAGE, "--target goes with a model; the bundle %s was made for %s", path,
                     run->bundle.target);
    }
    return status == MQ_OK ? mq_graph_clone(&run->model, run->prepared->graph, err) : status;
  }
  bool has_points_only = run->w_bits || run->a_bits || run->bits.n || run->keep_float.n;
  if (!run->target_name && has_points_only) {
    return mq_fail(err, MQ_BAD_USAGE,
                   "--w-bits, --a-bits, --bits and --keep-float say how a target quantizes: add --target T");
  }
  const struct mq_onnx_options options = {.takes_packed = true};
  status = mq_onnx_read(&run->model, path, &options, err);
  if (status == MQ_OK && mq_is_qdq(run->model)) {
    return show_qdq(run, path, err);
  }
  return status == MQ_OK && run->target_name ? prepare(run, err) : status;
}

mq_status cmd_show(int argc, char **argv, struct mq_err *err) {
  struct show_run run = {0};
  const struct cli_option options[] = {
      {"--target", 0, CLI_TEXT, &run.target_name, "T", "show the points of this target (name or YAML file)",
       0, 0},
      {"--dot", 0, CLI_FLAG, &run.is_dot, NULL, "draw the graph with its points as Graphviz input", 0, 0},
      {"--w-bits", 0, CLI_INT, &run.w_bits, "B", "bits of weights (default: the target's)", 2, 8},
      {"--a-bits", 0, CLI_INT, &run.a_bits, "B", "bits of activations: 2 to 8, or 16 (default: the target's)",
       2, 16},
      {"--bits", 0, CLI_TEXTS, &run.bits, "NAME=B",
       "bits of one layer or tensor: weights 2 to 8, activations also 16", 0, 0},
      {"--keep-float", 0, CLI_TEXTS, &run.keep_float, "NAME", "a layer that stays float", 0, 0},
  };
  bool is_help;
  mq_status status = cli_parse(&run.common, &is_help, cli_find_command("show"), options,
                               sizeof options / sizeof options[0], 1, 1, argc, argv, err);
  if (status == MQ_OK && !is_help) {
    status = run_show(&run, err);
    if (status == MQ_OK) {
      status = print_result(&run, run.prepared ? run.prepared->graph : run.model, err);
    }
  }
  mq_prepared_deinit(&run.own);
  mq_bundle_deinit(&run.bundle);
  mq_target_destroy(run.target);
  mq_graph_destroy(run.model);
  mq_pool_destroy(run.pool);
  return status;
}
