"""Accuracy of one network in every setting: float, simulated, exact, as integer program, and in real engines.

    engines/bin/python bench/peers/deploy_table.py build/release/mqbench SHARED [--network mobilenet] [--bits 8 4]
        [--targets snpe ...] [--engines onnxruntime openvino] [--every 10]

`engines` is the environment of adapters/install, with Pillow besides; SHARED holds models/, cifar10jpeg/ and
imagenet200/. Prints a Markdown table of correct images: all of CIFAR-10's test.tar, or every so many of them, on
ResNet-20, or the 200 photographs on MobileNet. 8 bit is calibrated with minmax, 4 bit with mse, on 256 images.
An engine gets the format that it reads; behind its count stands how many of its nodes ran in integers.
"""
import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile

import numpy
from PIL import Image

from engine_bits import photographs

HERE = os.path.dirname(os.path.abspath(__file__))
ADAPTERS = os.path.join(HERE, "..", "..", "adapters")
TARGETS = ["academic", "tensorrt", "acl", "tvm", "snpe", "fbgemm"]
FORMATS = {"openvino": "openvino", "tflite": "tflite", "tflite_ref": "tflite"}
MODES = ["simulate", "exact", "integer"]
OBSERVERS = {8: "minmax", 4: "mse"}


def cifar(shared, every):
    mean, std = [numpy.array(v, numpy.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    images, labels = [], []
    with tarfile.open(os.path.join(shared, "cifar10jpeg", "test.tar")) as tar:
        names = sorted(name for name in tar.getnames() if name.endswith((".jpg", ".png")))
        classes = sorted({name.split("/")[-2] for name in names})
        for name in names[::every]:
            pixels = numpy.asarray(Image.open(io.BytesIO(tar.extractfile(name).read())).convert("RGB"), numpy.float32)
            images.append(((pixels / numpy.float32(255) - mean) / std).transpose(2, 0, 1))
            labels.append(classes.index(name.split("/")[-2]))
    return numpy.stack(images), numpy.array(labels)


def photographs_with_labels(shared, every):
    with open(os.path.join(shared, "imagenet200", "labels.txt")) as file:
        labels = [int(line.split()[1]) for line in file if line.strip()]
    return photographs(shared)[::every], numpy.array(labels)[::every]


NETWORKS = {
    "resnet20": ("resnet20_cifar10.onnx", cifar, "tar:%s/cifar10jpeg/train-0.tar,preset=cifar", 50),
    "mobilenet": ("mobilenet_v1_0.5_160.onnx", photographs_with_labels,
                  "folder:%s/imagenet200,list=labels.txt,resize=182,crop=160,mean=0.5/0.5/0.5,std=0.5/0.5/0.5", 10),
}


def run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode > 1:
        raise RuntimeError((done.stderr.strip() or "status %d" % done.returncode).splitlines()[-1])
    return json.loads(done.stdout) if done.stdout.startswith("{") else {}


def in_engine(options, engine, bundle, directory, labels, batch):
    stem = os.path.join(directory, "for-" + engine)
    form = FORMATS.get(engine, "onnx_qdq")
    files = run(options.program, "export", bundle, "--format", form, "-o", stem, "-q", "--json")["files"]
    model = next(f for f in files if f.endswith((".onnx", ".tflite")))
    report = os.path.join(directory, "report.json")
    run(os.path.join(ADAPTERS, engine), "--model", model, "--input", "input=%s/x.npy" % directory, "--output",
        directory, "--report", report, "--batch", str(batch), "--threads", "2")
    with open(report) as file:
        answer = json.load(file)
    logits = numpy.load(os.path.join(directory, answer["outputs"][0]["file"])).reshape(len(labels), -1)
    integers = sum(node["is_integer"] for node in answer["nodes"])
    return "%d (%d/%d)" % ((logits.argmax(1) == labels).sum(), integers, len(answer["nodes"]))


def row(options, model, target, bits, data, directory, labels, batch):
    bundle = os.path.join(directory, "%s-%d" % (target, bits))
    train = NETWORKS[options.network][2] % options.shared
    quantized = run(options.program, "quantize", model, "--target", target, "--data", train, "--eval-data", data, "-o",
                    bundle, "--calib", str(min(256, options.calib)), "--w-bits", str(bits), "--a-bits", str(bits),
                    "--w-observer", OBSERVERS[bits], "--a-observer", OBSERVERS[bits], "--json", "-q")
    cells = [target, str(bits), "%d" % round(quantized["float_top1"] * quantized["images"])]
    for mode in MODES:
        cells.append("%d" % run(options.program, "eval", bundle, "--mode", mode, "--data", data, "--json", "-q")["correct"])
    for engine in options.engines:
        try:
            cells.append(in_engine(options, engine, bundle, directory, labels, batch))
        except (RuntimeError, StopIteration) as error:
            print("%s, %d bit, %s: %s" % (target, bits, engine, error), file=sys.stderr)
            cells.append("-")
    print("| %s |" % " | ".join(cells), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("shared")
    parser.add_argument("--network", choices=NETWORKS, default="resnet20")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 4])
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--engines", nargs="*", default=["onnxruntime", "openvino"])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--calib", type=int, default=256)
    options = parser.parse_args()
    name, read, _, batch = NETWORKS[options.network]
    directory = tempfile.mkdtemp()
    images, labels = read(options.shared, options.every)
    numpy.save(os.path.join(directory, "x.npy"), images)
    numpy.save(os.path.join(directory, "y.npy"), labels)
    data = "npy:%s/x.npy,labels=%s/y.npy" % (directory, directory)
    head = ["setting", "bits", "float"] + MODES + options.engines
    print("| %s |\n|%s" % (" | ".join(head), "---|" * len(head)), flush=True)
    for bits in options.bits:
        for target in options.targets:
            row(options, os.path.join(options.shared, "models", name), target, bits, data, directory, labels, batch)


if __name__ == "__main__":
    main()
