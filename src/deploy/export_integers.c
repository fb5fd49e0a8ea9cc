/* Constants as integers: weights on their grid, biases in steps of the accumulator. */
#include <inttypes.h>
#include <math.h>

#include "deploy/export.h"

struct mq_value *deploy_edit_quantized(struct deploy_edit *edit, const char *name,
                                       const struct mq_tensor *constant, const struct mq_qparams *q,
                                       mq_dtype dtype) {
  struct mq_tensor wide = {0}, ints = {0};
  struct mq_value *value = NULL;
  if (edit->status == MQ_OK) {
    edit->status = mq_tensor_init(&wide, MQ_I32, &constant->shape, edit->err);
  }
  if (edit->status == MQ_OK) {
    edit->status = mq_tensor_init(&ints, dtype, &constant->shape, edit->err);
  }
  if (edit->status == MQ_OK) {
    mq_quantize(&wide, constant, q);
    mq_tensor_copy(&ints, &wide);
    value = deploy_edit_constant(edit, name, dtype, &constant->shape, ints.data);
  }
  mq_tensor_deinit(&wide);
  mq_tensor_deinit(&ints);
  return value;
}

void deploy_quantize_bias(struct deploy_edit *edit, int32_t *out, float b, double scale,
                          const struct mq_node *layer) {
  double q = nearbyint((double)b / scale);
  if (edit->status != MQ_OK) {
    return;
  }
  if (!(fabs(q) < 2147483648.0)) {
    edit->status =
        mq_fail(edit->err, MQ_BAD_INPUT,
                "layer '%.200s': a bias of %.9g is %.0f times s_x s_w = %.9g, expected less than 2^31",
                layer->name, (double)b, q, scale);
    return;
  }
  *out = (int32_t)q;
}
