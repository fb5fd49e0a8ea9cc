"""Every target in every engine: nodes in integers, outputs that differ from the integer program's, the largest step.

    engines/bin/python bench/peers/pair_table.py build/release/mqbench SHARED [--targets snpe ...]
        [--engines tvm ...] [--every 10]

`engines` is the environment of adapters/install (MQBENCH_ENGINES), with Pillow besides; SHARED holds models/ and
cifar10jpeg/. ResNet-20 at 8 bit, calibrated with minmax on 256 images, every tenth image of CIFAR-10's test.tar: what
`mqbench verify --engine` finds, as a Markdown table. Targets without a program are held against the plain simulation.
Steps are those of the output's codes, of a float output 127ths of the image's largest value. The last column says
with letters where the arithmetics differ (docs/results.md explains them). Pairs that have no form in common, and engines
that are not there, are told under the table.
"""
import argparse
import json
import os
import subprocess
import tempfile

import numpy

from deploy_table import NETWORKS, cifar, run

TARGETS = ["academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm", "onnx_qdq", "onnx_qoperator", "openvino", "tflite",
           "xnnpack", "fbgemm_lib"]
# Whose targets have the engine's own arithmetic.
OWN = {"onnxruntime": ["onnx_qoperator", "onnx_qdq"], "fbgemm": ["fbgemm", "fbgemm_lib"], "tflite": ["xnnpack"],
       "tflite_ref": ["tflite"]}
ENGINES = ["onnxruntime", "openvino", "tflite", "tflite_ref", "fbgemm", "tvm"]


def make_bundle(options, target, directory):
    bundle = os.path.join(directory, target)
    name, _, train, _ = NETWORKS["resnet20"]
    run(options.program, "quantize", os.path.join(options.shared, "models", name), "--target", target, "--data",
        train % options.shared, "--eval-data", "npy:%s/x.npy,labels=%s/y.npy" % (directory, directory), "--calib",
        "256", "-o", bundle, "-q", "--json")
    return bundle


def verify(options, bundle, directory):
    engines = [word for engine in options.engines for word in ("--engine", engine)]
    done = subprocess.run([options.program, "verify", bundle, "--data", "npy:%s/x.npy" % directory, "--json", "-q"] +
                          engines, capture_output=True, text=True)
    if done.returncode > 1:  # 1: a twin differs, which the table shows
        raise SystemExit("%s: %s" % (bundle, done.stderr.strip()))
    return json.loads(done.stdout)


def letters(target, answer, engine):
    """s: beside the simulation, f: floats between codes, r: another requantization, add or average of codes."""
    nodes, integers = engine.get("nodes", 0), engine.get("integer_nodes", 0)
    found = ["s"] if not answer["program"] else []
    found += ["f"] if integers < nodes else []
    found += ["r"] if integers and target not in OWN.get(engine["name"], []) else []
    return " ".join(found) if engine["mismatches"] else ""


def print_target(options, target, directory, notes):
    answer = verify(options, make_bundle(options, target, directory), directory)
    for engine in answer["engines"]:
        if engine["skipped_reason"]:
            notes.setdefault((engine["name"], engine["skipped_reason"].split(": ")[0]), []).append(target)
            continue
        print("| %s | %s | %s | %d of %d | %s of %s | %.3g | %.1f%% | %s |" % (
            target, engine["name"], engine["format"], engine.get("integer_nodes", 0), engine.get("nodes", 0),
            format(engine["mismatches"], ","), format(engine["elements"], ","), engine["max_step_difference"],
            100 * engine["top1_agreement"], letters(target, answer, engine)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("shared")
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--engines", nargs="+", default=ENGINES)
    parser.add_argument("--every", type=int, default=10)
    options = parser.parse_args()
    notes = {}
    print("| target | engine | artefact | nodes in integers | outputs that differ | largest step | same class | |")
    print("|---|---|---|---:|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory() as directory:
        images, labels = cifar(options.shared, options.every)
        numpy.save(os.path.join(directory, "x.npy"), images)
        numpy.save(os.path.join(directory, "y.npy"), labels)
        for target in options.targets:
            print_target(options, target, directory, notes)
    print()
    for (engine, reason), targets in notes.items():
        print("- %s, %s: %s" % (engine, ", ".join(targets), reason))


if __name__ == "__main__":
    main()
