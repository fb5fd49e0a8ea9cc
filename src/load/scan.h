/* A look over a protobuf message before it is unpacked: protobuf-c recurses and allocates as the bytes tell
 * it to, so nesting, counts and lengths are checked first, iteratively and without allocating. */
#ifndef MQ_LOAD_SCAN_H
#define MQ_LOAD_SCAN_H

#include <protobuf-c/protobuf-c.h>

#include "mqbench/base.h"

#define MQ_ONNX_MAX_DEPTH 64
#define MQ_ONNX_MAX_MESSAGES 1000000 /* networks have some 10,000 to 100,000 */
#define MQ_ONNX_MAX_FIELDS 16000000

/* Walks `bytes` as a message of type `descriptor`. Every length must lie within its message, no group or
 * reserved wire type may occur, no singular submessage may come twice (protobuf would merge them, at
 * quadratic cost), and the three limits above hold. `name` is the file, for the message. */
mq_status mq_onnx_scan(const uint8_t *bytes, size_t n, const ProtobufCMessageDescriptor *descriptor,
                       const char *name, struct mq_err *err) MQ_MUST_CHECK;

#endif
