/* External data: files beside the model that hold its weights. Never outside the model's own folder. */
#ifndef MQ_LOAD_EXTERNAL_H
#define MQ_LOAD_EXTERNAL_H

#include <onnx.pb-c.h>

#include "mqbench/base.h"

struct mq_onnx_mapped {
  struct mq_onnx_mapped *next;
  char *location;
  const uint8_t *bytes;
  size_t n;
};

/* The external files of one model, mapped once each. Zero-initialised but for the borrowed names. */
struct mq_onnx_external {
  const char *name;      /* the model, for messages */
  const char *directory; /* NULL: external data is refused */
  struct mq_onnx_mapped *files;
};
void mq_onnx_external_deinit(struct mq_onnx_external *external);

/* The bytes of a tensor stored outside, borrowed until deinit; `n_expected` is its size by dtype and shape,
 * `what` names file and tensor. */
mq_status mq_onnx_external_get(const uint8_t **bytes, struct mq_onnx_external *external,
                               const Onnx__TensorProto *tensor, size_t n_expected, const char *what,
                               struct mq_err *err) MQ_MUST_CHECK;

#endif
