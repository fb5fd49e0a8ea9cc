#!/usr/bin/env python3
"""An adapter that misbehaves as FAKE_ADAPTER says; otherwise its output is the file FAKE_ANSWER, or twice its input."""
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

MODE = os.environ.get("FAKE_ADAPTER", "")
ANSWER = {"protocol": 1, "engine": "fake", "version": "1.2"}


def arguments():
    values = {}
    i = 1
    while i < len(sys.argv):
        key, _, value = sys.argv[i].partition("=")
        if not value:
            i += 1
            value = sys.argv[i]
        values.setdefault(key, []).append(value)
        i += 1
    return values


def read_npy(path):
    data = open(path, "rb").read()
    n = struct.unpack("<H", data[8:10])[0]
    header = eval(data[10:10 + n])
    return header["shape"], struct.unpack("<%df" % ((len(data) - 10 - n) // 4), data[10 + n:])


def write_npy(path, shape, values):
    header = repr({"descr": "<f4", "fortran_order": False, "shape": shape}) + "\n"
    open(path, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
                           + struct.pack("<%df" % len(values), *values))


def probe():
    answer = dict(ANSWER, available=True, formats=["onnx_qdq", "tflite"])
    if MODE == "missing":
        answer = dict(ANSWER, available=False, formats=["onnx_qdq"], reason="No module named 'engine'")
        del answer["version"]
    if MODE == "other_protocol":
        answer["protocol"] = 2
    if MODE == "no_formats":
        del answer["formats"]
    print("words" if MODE == "words" else json.dumps(answer))


def misbehave():
    if MODE == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if MODE == "status":
        sys.stderr.write("Traceback:\n  line 1\nRuntimeError: no such operator\n\n")
        sys.exit(7)
    if MODE == "silent":
        sys.exit(1)
    if MODE == "hang":
        child = subprocess.Popen(["sleep", "600"])
        open(os.environ["FAKE_PID"], "w").write(str(child.pid))
        time.sleep(600)
    if MODE == "chatter":
        while True:
            sys.stdout.write("x" * 65536)
    if MODE == "orphan":  # ends at once, its child keeps the pipes open
        subprocess.Popen(["sleep", "600"])
    if MODE == "noise":
        sys.stderr.write("warning\n" * 100000)


def run(args):
    shape, x = read_npy(args["--input"][0].partition("=")[2])
    directory = args["--output"][0]
    report = dict(ANSWER, outputs=[{"name": "y", "file": "y.npy"}], milliseconds=[1.5, 2],
                  nodes=[{"name": "conv1", "op": "QLinearConv", "is_integer": True},
                         {"name": "softmax", "op": "Softmax", "is_integer": False}],
                  arguments=sys.argv[1:])
    if MODE == "short":
        shape = (shape[0] - 1,) + tuple(shape[1:])
        x = x[:len(x) // (shape[0] + 1) * shape[0]]
    if MODE != "no_output":
        write_npy(os.path.join(directory, "y.npy"), tuple(shape), [2 * v for v in x])
    if os.environ.get("FAKE_ANSWER"):
        shutil.copy(os.environ["FAKE_ANSWER"], os.path.join(directory, "y.npy"))
    if MODE == "torn":
        os.truncate(os.path.join(directory, "y.npy"), 100)
    if MODE == "outside":
        report["outputs"][0]["file"] = "../../etc/passwd"
    if MODE == "bad_time":
        report["milliseconds"] = [-1]
    if MODE == "bad_node":
        report["nodes"] = [{"name": "conv1"}]
    if MODE == "no_outputs":
        report["outputs"] = []
    if MODE == "other_protocol":
        report["protocol"] = "1"
    if MODE == "no_report":
        return
    text = json.dumps(report)
    open(args["--report"][0], "w").write(text[:20] if MODE == "torn_report" else text)
    seen = os.environ.get("FAKE_SEEN")
    if seen:
        descriptors = sorted(int(d) for d in os.listdir("/proc/self/fd"))
        open(seen, "w").write(json.dumps({"arguments": sys.argv[1:], "directory": directory,
                                          "descriptors": descriptors[:-1],
                                          "stdin": os.readlink("/proc/self/fd/0")}))


if __name__ == "__main__":
    misbehave()
    if "--probe" in sys.argv:
        probe()
    else:
        run(arguments())
