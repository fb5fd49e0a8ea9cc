/* The files of a bundle that come as JSON, read from their parsed form. */
#ifndef MQ_DEPLOY_READ_H
#define MQ_DEPLOY_READ_H

#include <jansson.h>

#include "mqbench/deploy.h"

/* model.onnx, quant.json and preprocess.json of a directory, without asking a manifest whether they belong
 * together. `bundle` is zeroed before; on failure the caller deinits it. */
mq_status deploy_read_parts(struct mq_bundle *bundle, const char *directory,
                            struct mq_err *err) MQ_MUST_CHECK;
/* quant.json: puts its points into bundle->prepared.graph, which is model.onnx as read, and into the table of
 * points; the target's name and form of biases. `directory` is for messages. */
mq_status deploy_read_quant(struct mq_bundle *bundle, const json_t *quant, const char *directory,
                            struct mq_err *err) MQ_MUST_CHECK;
/* preprocess.json; without `layout` the data was taken as it is. */
mq_status deploy_read_preprocess(struct mq_bundle *bundle, const json_t *preprocess, const char *directory,
                                 struct mq_err *err) MQ_MUST_CHECK;

#endif
