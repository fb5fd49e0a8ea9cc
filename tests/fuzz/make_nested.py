#!/usr/bin/env python3
"""Write an ONNX file whose messages are nested DEPTH levels deep. Usage: make_nested.py FILE [DEPTH]

The nesting goes through a graph input's type: a sequence of sequences of sequences ..."""
import sys


def varint(n):
    out = bytearray()
    while n > 0x7f:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


depth, n, parts = int(sys.argv[2]) if len(sys.argv) > 2 else 100000, 0, []
# ModelProto.graph = 7, GraphProto.input = 11, ValueInfoProto.type = 2, then TypeProto.sequence_type = 4 and
# Sequence.elem_type = 1 in turn; innermost first, tags of wire type 2.
for field in [4 if i % 2 else 1 for i in range(depth)] + [2, 11, 7]:
    head = bytes([field << 3 | 2]) + varint(n)
    parts.append(head)
    n += len(head)
opset = b'\x42\x04\x0a\x00\x10\x0d'  # opset_import: domain "", version 13
open(sys.argv[1], 'wb').write(b'\x08\x08' + b''.join(reversed(parts)) + opset)
