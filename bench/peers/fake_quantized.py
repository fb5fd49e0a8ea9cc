"""A Q/DQ model as fake quantization in PyTorch, the operations of which MQBench's simulation consists; how fast it is.

    python bench/peers/fake_quantized.py MODEL.onnx BATCH THREADS SECONDS [modules] [last]

Prints images per second (median). Needs torch, numpy and onnx. A pair QuantizeLinear, DequantizeLinear becomes
torch.fake_quantize_per_tensor_affine; a convolution's or linear layer's weight is a float parameter that
torch.fake_quantize_per_channel_affine (per tensor where the model has one scale) quantizes in every forward pass, as
MQBench does. Nodes are called one after the other, without torch.fx; evaluation mode, no gradients.

    modules  BN as torch.nn.intrinsic.qat.ConvBn2d has it, which is what MQBench makes of a convolution and its BN, and
             evaluates: the weight times gamma / sigma before it is quantized, the convolution's result divided by that
             again, then BN. Else BN is folded.
    last     images and weights lie channels last, which PyTorch's convolutions prefer and MQBench does not do.
"""
import statistics
import sys
import time

import numpy
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional


def pads_of(attributes):
    pads = attributes.get("pads", [0, 0, 0, 0])
    if pads[:2] != pads[2:]:
        raise NotImplementedError("pads %s" % pads)
    return pads[:2]


def conv(attributes, x, w, b=None):
    return functional.conv2d(x, w, b, attributes.get("strides", 1), pads_of(attributes),
                             attributes.get("dilations", 1), attributes.get("group", 1))


def max_pool(attributes, x):
    return functional.max_pool2d(x, attributes["kernel_shape"], attributes.get("strides", 1), pads_of(attributes))


class FoldedInEveryPass:
    """A convolution with a BN that changes nothing but adds the bias."""

    def __init__(self, fake_quantize, floats, bias):
        self.fake_quantize, n = fake_quantize, len(floats)
        self.gamma, self.mean, self.variance = torch.ones(n), torch.zeros(n), torch.ones(n)
        self.bias = torch.zeros(n) if bias is None else bias
        self.floats = floats

    def __call__(self, attributes, x):
        factor = self.gamma / torch.sqrt(self.variance + 1e-5)
        y = conv(attributes, x, self.fake_quantize(self.floats * factor.reshape(-1, 1, 1, 1)))
        y = y / factor.reshape(1, -1, 1, 1)
        return functional.batch_norm(y, self.mean, self.variance, self.gamma, self.bias, False, 0, 1e-5)


OPERATORS = {
    "Conv": conv,
    "Gemm": lambda a, x, w, b=None: functional.linear(x, w if a.get("transB", 0) else w.t(), b),
    "Relu": lambda a, x: functional.relu(x),
    "Clip": lambda a, x, lo, hi: torch.clamp(x, lo, hi),
    "Add": lambda a, x, y: x + y,
    "MaxPool": max_pool,
    "GlobalAveragePool": lambda a, x: functional.adaptive_avg_pool2d(x, 1),
    "Flatten": lambda a, x: torch.flatten(x, a.get("axis", 1)),
}


class Network:
    def __init__(self, path, channels_last=False, has_modules=False):
        graph = onnx.load(path).graph
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.constants = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
        self.input = next(v.name for v in graph.input if v.name not in self.constants)
        self.output = graph.output[0].name
        self.has_modules = has_modules
        self.n_points, self.weights = 0, {}  # floats and the function that quantizes them
        self.layers = {w for node in graph.node if node.op_type in ("Conv", "Gemm") for w in node.input[1:2]}
        self.steps = [step for node in graph.node for step in [self.step_of(node)] if step]
        self.last_reader = {name: i for i, (_, names, _) in enumerate(self.steps) for name in names}

    def step_of(self, node):
        """(function, names it reads, name it makes), or None where nothing is left to be done in a pass."""
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "QuantizeLinear":
            self.n_points += 1
            return self.fake_quantize(node), node.input[:1], node.output[0]
        if node.op_type == "DequantizeLinear":
            if node.input[0] not in self.constants:
                return (lambda x: x), node.input[:1], node.output[0]
            self.dequantize(node, attributes.get("axis", 0))
            return None
        if node.op_type in ("Conv", "Gemm"):
            return self.layer(node, attributes)
        operator = OPERATORS[node.op_type]
        bounds = [float(self.constants[name]) for name in node.input[1:]] if node.op_type == "Clip" else []
        names = node.input[:1] if bounds else node.input
        return (lambda *x: operator(attributes, *x, *bounds)), list(names), node.output[0]

    def layer(self, node, attributes):
        floats, quantize = self.weights[node.input[1]]
        bias = self.constants[node.input[2]] if len(node.input) > 2 else None
        if node.op_type == "Conv" and self.has_modules:
            module = FoldedInEveryPass(quantize, floats, bias)
            return (lambda x: module(attributes, x)), node.input[:1], node.output[0]
        operator = OPERATORS[node.op_type]
        return (lambda x: operator(attributes, x, quantize(floats), bias)), node.input[:1], node.output[0]

    def fake_quantize(self, node):
        scale, zero = (self.constants[name] for name in node.input[1:3])
        lo, hi = (-128, 127) if zero.dtype == torch.int8 else (0, 255)
        scale, zero = float(scale), int(zero)
        return lambda x: torch.fake_quantize_per_tensor_affine(x, scale, zero, lo, hi)

    def dequantize(self, node, axis):
        """A weight keeps its floats and is quantized in every pass; a bias is the floats it stands for."""
        codes, scale, zero = (self.constants[name] for name in node.input)
        shape = [-1 if i == axis else 1 for i in range(codes.dim())] if scale.numel() > 1 else [1] * codes.dim()
        floats = (codes.float() - zero.float().reshape(shape)) * scale.reshape(shape)
        name = node.output[0]
        if name not in self.layers:
            self.constants[name] = floats
            return
        floats = floats.contiguous(memory_format=self.layout) if floats.dim() == 4 else floats
        if scale.numel() == 1:
            number, zero = float(scale), int(zero)
            quantize = lambda w: torch.fake_quantize_per_tensor_affine(w, number, zero, -128, 127)
        else:
            zero = zero.int()
            quantize = lambda w: torch.fake_quantize_per_channel_affine(w, scale, zero, axis, -128, 127)
        self.weights[name] = floats, quantize

    @torch.no_grad()
    def run(self, images):
        values = {self.input: images.contiguous(memory_format=self.layout)}
        for i, (function, names, made) in enumerate(self.steps):
            values[made] = function(*[values[name] for name in names])
            for name in set(names):  # as torch.fx's generated code: memory is free again after the last reader
                if self.last_reader[name] == i:
                    del values[name]
        return values[self.output]


def main(path, batch, threads, seconds, *words):
    torch.set_num_threads(int(threads))
    network = Network(path, "last" in words, "modules" in words)
    size = 32 if "s32" in path or "cifar" in path else 224
    images = torch.from_numpy(numpy.random.default_rng(0).standard_normal((int(batch), 3, size, size), numpy.float32))
    times, start = [], time.perf_counter()
    for _ in range(2):
        network.run(images)
    while len(times) < 3 or time.perf_counter() - start < float(seconds):
        begin = time.perf_counter()
        network.run(images)
        times.append(time.perf_counter() - begin)
    print("torch %s, %d points, %d weights: %.2f images/s"
          % (torch.__version__, network.n_points, len(network.weights), int(batch) / statistics.median(times)))


if __name__ == "__main__":
    main(*sys.argv[1:])
