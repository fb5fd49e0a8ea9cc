/* A Q/DQ model as a bundle: what others quantized takes the same way as what was quantized here. */
#include <math.h>
#include <stdio.h>

#include "deploy/bundle_program.h"
#include "deploy/rules.h"
#include "mqbench/load.h"

static mq_status read_model(struct mq_bundle *bundle, const char *path, struct mq_err *err) {
  const struct mq_onnx_options options = {.takes_packed = true};
  struct mq_graph *graph = NULL;
  mq_status status = mq_onnx_read(&graph, path, &options, err);
  if (status == MQ_OK && !mq_is_qdq(graph)) {
    status =
        mq_fail(err, MQ_BAD_INPUT,
                "%s: found no QuantizeLinear or DequantizeLinear, expected a quantized model (Q/DQ)", path);
  }
  if (status == MQ_OK) {
    status = mq_prepare_qdq(&bundle->prepared, graph, err);
  }
  mq_graph_destroy(graph);
  return status;
}

/* A network without a program can still be simulated. */
static mq_status make_program(struct mq_bundle *bundle, const char *path, const struct mq_target *target,
                              struct mq_err *err) {
  struct mq_lowered lowered = {0};
  struct mq_err why = {0};
  mq_status status = mq_lower(&lowered, &bundle->prepared, target, &why);
  if (status == MQ_OK) {
    status = deploy_program_take(bundle, &lowered.program, path, err);
  } else if (status == MQ_BAD_INPUT) {
    snprintf(bundle->no_program, sizeof bundle->no_program, "%.255s", why.message);
    status = MQ_OK;
  } else {
    status = mq_fail(err, status, "%s", why.message);
  }
  mq_lowered_deinit(&lowered);
  return status;
}

mq_status mq_bundle_read_qdq(struct mq_bundle *bundle, const char *path, const char *target_name,
                             struct mq_err *err) {
  struct mq_target *target = NULL;
  *bundle = (struct mq_bundle){.float_top1 = (double)NAN, .top1 = (double)NAN};
  mq_status status = mq_target_load(&target, target_name ? target_name : MQ_QDQ_TARGET, err);
  if (status == MQ_OK) {
    status = read_model(bundle, path, err);
  }
  if (status == MQ_OK && target_name) {
    status = mq_prepare_fit_target(&bundle->prepared, target, err);
  }
  if (status == MQ_OK) {
    snprintf(bundle->target, sizeof bundle->target, "%s", target->name);
    bundle->bias = target->bias;
    deploy_take_rules(bundle, target);
    status = make_program(bundle, path, target, err);
  }
  mq_target_destroy(target);
  if (status != MQ_OK) {
    mq_bundle_deinit(bundle);
  }
  return status;
}
