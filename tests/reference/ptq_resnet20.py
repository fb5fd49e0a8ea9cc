#!/usr/bin/env python3
"""Independent recomputation of post-training quantization of ResNet-20 in the paper's six settings.

Plain PyTorch and the formulas of the quantization literature; shares no code with mqbench. Needs Debian's
python3-torch, python3-onnx, python3-pil and the shared data (see docs/results.md):

    ptq_resnet20.py SHARED_DATA [--bits 8 4] [--observers minmax mse] [--calib 256]

Calibrates on the first images of train-0.tar and prints, for each setting, the number of test images
classified correctly.
"""
import argparse
import io
import json
import tarfile
import time

import numpy as np
import onnx
import onnx.numpy_helper
import torch
import torch.nn.functional as F
from PIL import Image

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()

# weights, activations: (symmetric, narrow, signed, per channel, power of two)
SETTINGS = {
    "academic": dict(graph=1, fold=False, w=(True, False, True, False, False), a=(True, False, "adaptive", False, False)),
    "tensorrt": dict(graph=2, fold=True, w=(True, True, True, True, False), a=(True, True, True, False, False)),
    "acl": dict(graph=1, fold=True, w=(True, False, True, True, False), a=(False, False, False, False, False)),
    "tvm": dict(graph=3, fold=True, w=(True, False, True, False, True), a=(True, False, True, False, True)),
    "snpe": dict(graph=3, fold=True, w=(False, False, False, False, False), a=(False, False, False, False, False)),
    "fbgemm": dict(graph=3, fold=True, w=(False, False, False, True, False), a=(False, False, False, False, False)),
}


def load_images(path, limit=None):
    pixels, labels = [], []
    with tarfile.open(path) as archive:
        for member in archive:
            if not member.isfile():
                continue
            image = Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")
            pixels.append(np.asarray(image))
            labels.append(CLASSES.index(member.name.split("/")[-2]))
            if limit and len(labels) == limit:
                break
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    return ((x - MEAN) / STD).contiguous(), torch.tensor(labels)


def load_weights(path):
    return {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in onnx.load(path).graph.initializer}


def bounds(bits, signed, narrow):
    if not signed:
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)) + (1 if narrow else 0), 2 ** (bits - 1) - 1


def qparams(lo, hi, scheme, bits):
    """Scale and zero point of ranges lo, hi (tensors of one shape)."""
    symmetric, narrow, signed, _, pot = scheme
    if signed == "adaptive":
        signed = bool((lo < 0).any())
    n, p = bounds(bits, signed, narrow)
    if symmetric:
        top = torch.maximum(lo.abs(), hi.abs())
        s = hi / (p - n) if not signed else top / ((p - n) / 2)
        z = torch.zeros_like(s)
    else:
        lo, hi = torch.clamp(lo, max=0), torch.clamp(hi, min=0)
        s = (hi - lo) / (p - n)
        s = torch.where(s > 0, s, torch.ones_like(s))
        z = torch.clamp(n - torch.round(lo / s), n, p)
    s = torch.where(s > 0, s, torch.ones_like(s))
    if pot:
        s = 2 ** torch.round(torch.log2(s))
    return s, z, n, p


def fake_quantize(x, q):
    s, z, n, p = q
    return s * (torch.clamp(torch.round(x / s) + z, n, p) - z)


def search_mse(x, lo, hi, scheme, bits, steps):
    """Both ends times 1 - 0.01 i; least mean squared error, first wins. x: rows of the channels."""
    best_error, best_lo, best_hi = torch.full_like(lo, float("inf")), lo.clone(), hi.clone()
    for i in range(steps):
        f = 1 - 0.01 * i
        s, z, n, p = qparams(lo * f, hi * f, scheme, bits)
        error = (fake_quantize(x, (s[:, None], z[:, None], n, p)) - x).double().pow(2).mean(1).float()
        better = error < best_error
        best_error = torch.where(better, error, best_error)
        best_lo, best_hi = torch.where(better, lo * f, best_lo), torch.where(better, hi * f, best_hi)
    return best_lo, best_hi


def weight_qparams(w, scheme, bits, observer, per_channel):
    rows = w.reshape(w.shape[0], -1) if per_channel else w.reshape(1, -1)
    lo, hi = rows.min(1)[0], rows.max(1)[0]
    if observer == "mse":
        lo, hi = search_mse(rows, lo, hi, scheme, bits, 80 if per_channel else 95)
    s, z, n, p = qparams(lo, hi, scheme, bits)
    shape = (-1,) + (1,) * (w.dim() - 1)
    return s.view(shape), z.view(shape), n, p


class Network:
    """ResNet-20 for 32 x 32 images with option A shortcuts; `point(name, x)` is called at every possible point."""

    def __init__(self, weights, setting, bits, w_observer):
        self.setting = setting
        self.bits = bits
        self.w_observer = w_observer
        self.weights = weights
        self.points = {}  # name -> qparams; empty while calibrating
        self.observe = None
        self.prepared = {}

    def point_bits(self, name):
        """The academic setting keeps 8 bits at the inputs and weights of the first and last layer."""
        is_end = self.setting["graph"] == 1 and not self.setting["fold"] and name in ("input", "pool", "conv1", "linear")
        return 8 if is_end else self.bits

    def point(self, name, x):
        if self.observe is not None:
            self.observe(name, x)
            return x
        return fake_quantize(x, self.points[name]) if name in self.points else x

    def layer(self, name, x, bn, stride):
        w, b = self.weights[name + ".weight"], None
        gamma, beta = self.weights[bn + ".weight"], self.weights[bn + ".bias"]
        mean, var = self.weights[bn + ".running_mean"], self.weights[bn + ".running_var"]
        if name not in self.prepared:
            if self.setting["fold"]:
                gain = gamma.double() / (var.double() + 1e-5).sqrt()
                w = (w.double() * gain.view(-1, 1, 1, 1)).float()
                b = (beta.double() - mean.double() * gain).float()
            self.prepared[name] = (self.quantized(w, name), b)
        w, b = self.prepared[name]
        y = F.conv2d(x, w, b, stride, 1)
        return y if self.setting["fold"] else F.batch_norm(y, mean, var, gamma, beta, False, 0, 1e-5)

    def quantized(self, w, name):
        if self.observe is not None:
            return w
        scheme = self.setting["w"]
        return fake_quantize(w, weight_qparams(w, scheme, self.point_bits(name), self.w_observer, scheme[3]))

    def forward(self, x):
        graph = self.setting["graph"]
        x = self.point("input", x)
        x = F.relu(self.layer("conv1", x, "bn1", 1))
        if graph > 1:
            x = self.point("relu1", x)
        for stage in (1, 2, 3):
            for block in (0, 1, 2):
                x = self.block(x, f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1)
        x = x.mean((2, 3))
        if graph == 1 or self.setting.get("name") in ("tensorrt", "tvm", "snpe"):
            x = self.point("pool", x)
        if "linear" not in self.prepared:
            w = self.weights["linear.weight"]
            scheme = self.setting["w"]
            per_channel = scheme[3] and self.setting.get("name") != "acl"
            if self.observe is None:
                w = fake_quantize(w, weight_qparams(w, scheme, self.point_bits("linear"), self.w_observer, per_channel))
            self.prepared["linear"] = w
        x = F.linear(x, self.prepared["linear"], self.weights["linear.bias"])
        return self.point("logits", x) if graph == 3 else x

    def block(self, x, name, stride):
        graph = self.setting["graph"]
        inner = self.point(name + ".in", x) if graph == 1 else x
        y = F.relu(self.layer(name + ".conv1", inner, name + ".bn1", stride))
        y = self.point(name + ".mid", y)
        y = self.layer(name + ".conv2", y, name + ".bn2", 1)
        if graph == 3:
            y = self.point(name + ".main", y)
        if stride == 2:
            pad = y.shape[1] // 4
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, pad, pad))
        y = F.relu(y + x)
        return self.point(name + ".out", y) if graph > 1 else y


def calibrate(network, images, observer):
    seen = {}
    network.observe = lambda name, x: seen.setdefault(name, []).append(x.reshape(-1))
    for batch in images.split(32):
        network.forward(batch)
    network.observe, network.prepared = None, {}
    for name, batches in seen.items():
        scheme, bits = network.setting["a"], network.point_bits(name)
        if scheme[2] == "adaptive":  # the sign is decided once, over all data
            scheme = scheme[:2] + (any(bool((x < 0).any()) for x in batches),) + scheme[3:]
        ranges = []
        for x in batches:  # ranges of the batches are joined: least low, largest high
            x = x.view(1, -1)
            lo, hi = x.min(1)[0], x.max(1)[0]
            ranges.append(search_mse(x, lo, hi, scheme, bits, 95) if observer == "mse" else (lo, hi))
        lo, hi = torch.stack([r[0] for r in ranges]).min(0)[0], torch.stack([r[1] for r in ranges]).max(0)[0]
        network.points[name] = qparams(lo, hi, scheme, bits)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 4])
    parser.add_argument("--observers", nargs="+", default=["minmax", "mse"])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS))
    parser.add_argument("--calib", type=int, default=256)
    args = parser.parse_args()
    weights = load_weights(args.data + "/models/resnet20_cifar10.onnx")
    calibration, _ = load_images(args.data + "/cifar10jpeg/train-0.tar", args.calib)
    images, labels = load_images(args.data + "/cifar10jpeg/test.tar")
    torch.set_grad_enabled(False)
    for bits in args.bits:
        for observer in args.observers:
            for name in args.settings:
                begin = time.time()
                network = Network(weights, dict(SETTINGS[name], name=name), bits, observer)
                calibrate(network, calibration, observer)
                correct = sum(int((network.forward(x).argmax(1) == y).sum())
                              for x, y in zip(images.split(500), labels.split(500)))
                print(json.dumps(dict(target=name, bits=bits, observer=observer, correct=correct,
                                      seconds=round(time.time() - begin, 1))), flush=True)


if __name__ == "__main__":
    main()
