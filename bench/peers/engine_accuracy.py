"""Top-1 of exports in real engines beside the simulation's, target by target.

    engines/bin/python bench/peers/engine_accuracy.py build/release/mqbench MODEL.onnx CIFAR_TARS [ENGINE...]

`engines` is the environment of adapters/install, with Pillow besides. CIFAR_TARS holds test.tar and train-0.tar, one
folder per class; every tenth image of test.tar, in the order of names, is measured (1,000 of 10,000).
"""
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile

import numpy
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
ADAPTERS = os.path.join(HERE, "..", "..", "adapters")
TARGETS = ["academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"]
FORMATS = {"onnxruntime": "onnx_qdq", "openvino": "openvino", "fbgemm": "onnx_qdq", "tvm": "onnx_qdq"}
MEAN, STD = [numpy.array(v, numpy.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]


def read_images(path):
    with tarfile.open(path) as tar:
        names = sorted(name for name in tar.getnames() if name.endswith((".jpg", ".png")))
        classes = sorted({name.split("/")[-2] for name in names})
        images, labels = [], []
        for name in names[::10]:
            pixels = Image.open(io.BytesIO(tar.extractfile(name).read())).convert("RGB")
            scaled = numpy.asarray(pixels, numpy.float32) / numpy.float32(255)
            images.append(((scaled - MEAN) / STD).transpose(2, 0, 1))
            labels.append(classes.index(name.split("/")[-2]))
    return numpy.stack(images), numpy.array(labels)


def run_engine(engine, model, directory):
    report = os.path.join(directory, "report.json")
    subprocess.run([os.path.join(ADAPTERS, engine), "--model", model, "--input", "input=%s/x.npy" % directory,
                    "--output", directory, "--report", report, "--batch", "50", "--threads", "2"], check=True)
    with open(report) as file:
        answer = json.load(file)
    integers = sum(node["is_integer"] for node in answer["nodes"])
    return numpy.load(os.path.join(directory, answer["outputs"][0]["file"])), integers, len(answer["nodes"])


def main(program, model, tars, *engines):
    directory = tempfile.mkdtemp()
    images, labels = read_images(os.path.join(tars, "test.tar"))
    numpy.save(os.path.join(directory, "x.npy"), images)
    numpy.save(os.path.join(directory, "y.npy"), labels)
    data = "npy:%s/x.npy,labels=%s/y.npy" % (directory, directory)
    for target in TARGETS:
        bundle = os.path.join(directory, target)
        subprocess.run([program, "quantize", model, "--target", target, "--data",
                        "tar:%s/train-0.tar,preset=cifar" % tars, "--eval-data", data, "-o", bundle, "-q"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        answer = subprocess.run([program, "eval", bundle, "--mode", "simulate", "--data", data, "--json", "-q"],
                                check=True, capture_output=True, text=True)
        row = [target, "simulate %d" % json.loads(answer.stdout)["correct"]]
        for engine in engines or ["onnxruntime"]:
            stem = os.path.join(directory, target + "-" + engine)
            subprocess.run([program, "export", bundle, "--format", FORMATS[engine], "-o", stem, "-q"], check=True,
                           stdout=subprocess.DEVNULL)
            logits, integers, nodes = run_engine(engine, stem + ".onnx", directory)
            correct = int((logits.reshape(len(labels), -1).argmax(1) == labels).sum())
            row.append("%s %d (%d of %d nodes in integers)" % (engine, correct, integers, nodes))
        print(", ".join(row), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
