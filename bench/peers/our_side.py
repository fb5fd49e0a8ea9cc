"""What the comparisons of inference share: the network's bundle, its Q/DQ model, and our speed."""
import os
import subprocess
import sys

IMAGES = """
import sys, numpy
size = int(sys.argv[2])
numpy.save(sys.argv[1], numpy.random.default_rng(1).standard_normal((16, 3, size, size), numpy.float32))
"""


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit("%s: %s" % (os.path.basename(command[0]), (done.stderr.splitlines() or ["failed"])[-1]))
    return done.stdout


def prepare(build, python, network, target, directory):
    """The bundle and the Q/DQ model."""
    model, bundle = network, os.path.join(directory, os.path.basename(network) + ".bundle")
    if not os.path.exists(network):
        model = os.path.join(directory, network + ".onnx")
        call(os.path.join(build, "program_bench"), "--write", network, model)
    images = os.path.join(directory, "images.npy")
    call(python, "-c", IMAGES, images, "32" if "s32" in network or "cifar" in network else "224")
    mqbench, data = os.path.join(build, "mqbench"), "npy:" + images
    call(mqbench, "quantize", model, "--target", target, "--data", data, "--eval-data", data, "-o", bundle, "-q")
    stem = os.path.join(directory, os.path.basename(network) + "-qdq")
    call(mqbench, "export", bundle, "--format", "onnx_qdq", "-o", stem, "-q")
    return bundle, stem + ".onnx"


def ours(build, bundle, batch, threads, seconds, prefix=()):
    """Images per second."""
    line = call(*prefix, os.path.join(build, "program_bench"), bundle, "-", str(batch), str(threads), str(seconds))
    return float(line.split(" images/s")[0].split()[-1])
