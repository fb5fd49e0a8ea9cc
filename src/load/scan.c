/* Iterative walk over protobuf's wire format: tag (field number, wire type), then a varint, 4 or 8 bytes, or
 * a length and that many bytes, which may be a message again
 * (https://protobuf.dev/programming-guides/encoding/). */
#include "load/scan.h"

struct frame {
  const ProtobufCMessageDescriptor *descriptor;
  size_t end;
  uint64_t seen; /* singular message fields met, by position in the descriptor modulo 64 */
};

struct scan {
  const uint8_t *bytes;
  size_t at, n_messages, n_fields;
  int depth; /* frames in use */
  struct frame frames[MQ_ONNX_MAX_DEPTH];
  const char *name;
};

static mq_status fail_at(const struct scan *scan, const char *problem, struct mq_err *err) {
  const struct frame *frame = &scan->frames[scan->depth - 1];
  return mq_fail(err, MQ_BAD_INPUT, "%s: not an ONNX file or damaged: %s at byte %zu (in %s)", scan->name,
                 problem, scan->at, frame->descriptor->short_name);
}

static mq_status read_varint(uint64_t *value, struct scan *scan, struct mq_err *err) {
  size_t end = scan->frames[scan->depth - 1].end;
  *value = 0;
  for (unsigned shift = 0; shift <= 63; shift += 7) {
    if (scan->at == end) {
      return fail_at(scan, "the message ends within a number", err);
    }
    uint8_t byte = scan->bytes[scan->at++];
    *value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) {
      return MQ_OK;
    }
  }
  return fail_at(scan, "a number has more than 10 bytes", err);
}

static mq_status skip(struct scan *scan, uint64_t n, struct mq_err *err) {
  if (n > scan->frames[scan->depth - 1].end - scan->at) {
    return fail_at(scan, "a field is longer than the message it is in", err);
  }
  scan->at += (size_t)n;
  return MQ_OK;
}

static mq_status enter(struct scan *scan, const ProtobufCFieldDescriptor *field, uint64_t n,
                       struct mq_err *err) {
  struct frame *frame = &scan->frames[scan->depth - 1];
  if (n > frame->end - scan->at) {
    return fail_at(scan, "a message is longer than the one it is in", err);
  }
  if (scan->depth == MQ_ONNX_MAX_DEPTH) {
    return fail_at(scan, "messages are nested more than 64 deep", err);
  }
  if (++scan->n_messages > MQ_ONNX_MAX_MESSAGES) {
    return fail_at(scan, "more than 1000000 messages", err);
  }
  if (field->label != PROTOBUF_C_LABEL_REPEATED) {
    uint64_t bit = UINT64_C(1) << ((size_t)(field - frame->descriptor->fields) % 64);
    if (frame->seen & bit) {
      return fail_at(scan, "a single field is given twice", err);
    }
    frame->seen |= bit;
  }
  scan->frames[scan->depth++] = (struct frame){.descriptor = field->descriptor, .end = scan->at + (size_t)n};
  return MQ_OK;
}

static mq_status scan_field(struct scan *scan, struct mq_err *err) {
  uint64_t tag, n;
  mq_status status = read_varint(&tag, scan, err);
  if (status != MQ_OK) {
    return status;
  }
  if (tag > UINT32_MAX || tag >> 3 == 0) {
    return fail_at(scan, "no such field number", err);
  }
  if (++scan->n_fields > MQ_ONNX_MAX_FIELDS) {
    return fail_at(scan, "more than 16000000 fields", err);
  }
  switch (tag & 7) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
      return read_varint(&n, scan, err);
    case PROTOBUF_C_WIRE_TYPE_64BIT:
      return skip(scan, 8, err);
    case PROTOBUF_C_WIRE_TYPE_32BIT:
      return skip(scan, 4, err);
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
      break;
    default:
      return fail_at(scan, "a group or unknown wire type", err);
  }
  if ((status = read_varint(&n, scan, err)) != MQ_OK) {
    return status;
  }
  const ProtobufCFieldDescriptor *field =
      protobuf_c_message_descriptor_get_field(scan->frames[scan->depth - 1].descriptor, (unsigned)(tag >> 3));
  bool is_message = field && field->type == PROTOBUF_C_TYPE_MESSAGE;
  return is_message ? enter(scan, field, n, err) : skip(scan, n, err);
}

mq_status mq_onnx_scan(const uint8_t *bytes, size_t n, const ProtobufCMessageDescriptor *descriptor,
                       const char *name, struct mq_err *err) {
  struct scan scan = {.bytes = bytes, .name = name, .depth = 1};
  scan.frames[0] = (struct frame){.descriptor = descriptor, .end = n};
  while (scan.depth > 0) {
    if (scan.at == scan.frames[scan.depth - 1].end) {
      scan.depth--;
      continue;
    }
    mq_status status = scan_field(&scan, err);
    if (status != MQ_OK) {
      return status;
    }
  }
  return MQ_OK;
}
