#!/usr/bin/env python3
"""Milliseconds of a training step in PyTorch on random images: the peer of bench/step_bench.c.

Usage: qat_step.py NETWORK [BATCH [STEPS [OPTION...]]]
  NETWORK  resnet20_s32, resnet18 or mobilenet_v2: the architectures of the same names in mqbench's zoo
  OPTION   fp32    no quantizers (otherwise LSQ, 8 bit, on every convolution's and linear layer's input and weight)
           bf16    forward and backward under bfloat16 autocast
           eager   without torch.compile
           serve   answer every line on standard input with a measurement of STEPS steps: the compilation is
                   paid once, and between measurements the process sleeps

Channels last, SGD with Nesterov momentum, BN in training mode. The quantizers are LSQ (Esser et al., arXiv
1902.08153): one learned scale per tensor, -128..127, gradient of the scale times 1/sqrt(n * 127), rounding passed
straight through, written so that the compiler fuses each of them into one pass. Nothing but torch is needed.
The line printed has the form of step_bench's: medians of wall and of processor time, the peak of resident memory.
"""
import math
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

BITS = 8
LOW, HIGH = -(2 ** (BITS - 1)), 2 ** (BITS - 1) - 1


def fake_quantize(x, scale):
    """LSQ; detach() is the straight-through estimate of the rounding and of the scale's gradient factor."""
    factor = 1.0 / math.sqrt(x.numel() * HIGH)
    s = (scale - scale * factor).detach() + scale * factor
    v = torch.clamp(x / s, LOW, HIGH)
    return (v + (torch.round(v) - v).detach()) * s


class QuantizedConv2d(nn.Conv2d):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.input_scale = nn.Parameter(torch.tensor(2.0 / HIGH))
        self.weight_scale = nn.Parameter(2 * self.weight.detach().abs().mean() / math.sqrt(HIGH))

    def forward(self, x):
        return self._conv_forward(
            fake_quantize(x, self.input_scale), fake_quantize(self.weight, self.weight_scale), self.bias
        )


class QuantizedLinear(nn.Linear):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.input_scale = nn.Parameter(torch.tensor(2.0 / HIGH))
        self.weight_scale = nn.Parameter(2 * self.weight.detach().abs().mean() / math.sqrt(HIGH))

    def forward(self, x):
        return F.linear(fake_quantize(x, self.input_scale), fake_quantize(self.weight, self.weight_scale), self.bias)


class Layers:
    """The two classes of layers that a network is built of."""

    def __init__(self, is_quantized):
        self.conv = QuantizedConv2d if is_quantized else nn.Conv2d
        self.linear = QuantizedLinear if is_quantized else nn.Linear

    def conv_bn(self, inputs, outputs, kernel, stride=1, groups=1):
        conv = self.conv(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    def __init__(self, layers, inputs, outputs, stride):
        super().__init__()
        self.first = layers.conv_bn(inputs, outputs, 3, stride)
        self.second = layers.conv_bn(outputs, outputs, 3)
        is_same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if is_same else layers.conv_bn(inputs, outputs, 1, stride)

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


def resnet(layers, stem, channels, n_blocks, classes):
    """He et al., arXiv 1512.03385: basic blocks, every stage half the map and twice the channels."""
    parts = list(stem)
    for stage, n in enumerate(n_blocks):
        outputs = channels << stage
        inputs = outputs // 2 if stage else channels
        for i in range(n):
            parts.append(BasicBlock(layers, inputs if i == 0 else outputs, outputs, 2 if stage and i == 0 else 1))
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), layers.linear(outputs, classes))


def resnet20(layers):
    return resnet(layers, [layers.conv_bn(3, 16, 3), nn.ReLU()], 16, [3, 3, 3], 10)


def resnet18(layers):
    stem = [layers.conv_bn(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return resnet(layers, stem, 64, [2, 2, 2, 2], 1000)


class InvertedResidual(nn.Module):
    def __init__(self, layers, inputs, outputs, stride, expansion):
        super().__init__()
        hidden = inputs * expansion
        parts = [layers.conv_bn(inputs, hidden, 1), nn.ReLU6()] if expansion != 1 else []
        parts += [layers.conv_bn(hidden, hidden, 3, stride, hidden), nn.ReLU6(), layers.conv_bn(hidden, outputs, 1)]
        self.branch = nn.Sequential(*parts)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.branch(x) if self.is_residual else self.branch(x)


def mobilenet_v2(layers):
    """Sandler et al., arXiv 1801.04381, without dropout (mqbench's zoo has none)."""
    parts = [layers.conv_bn(3, 32, 3, 2), nn.ReLU6()]
    inputs = 32
    for expansion, outputs, n, stride in [
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ]:  # fmt: skip
        for i in range(n):
            parts.append(InvertedResidual(layers, inputs, outputs, stride if i == 0 else 1, expansion))
            inputs = outputs
    parts += [layers.conv_bn(320, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, layers.linear(1280, 1000))


# Builder, image side, classes, parameters without the quantizers' (those of mqbench's zoo).
NETWORKS = {
    "resnet20_s32": (resnet20, 32, 10, None),
    "resnet18": (resnet18, 224, 1000, 11689512),
    "mobilenet_v2": (mobilenet_v2, 224, 1000, 3504872),
}


def make_step(name, batch, options):
    build, side, classes, n_expected = NETWORKS[name]
    torch.manual_seed(1)
    model = build(Layers("fp32" not in options)).to(memory_format=torch.channels_last).train()
    n_parameters = sum(p.numel() for k, p in model.named_parameters() if not k.endswith("_scale"))
    assert n_expected in (None, n_parameters), f"{name}: {n_parameters} parameters, expected {n_expected}"
    x = torch.randn(batch, 3, side, side).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=1e-4)
    is_bf16 = "bf16" in options

    def loss_of(x, labels):
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            logits = model(x)
        return F.cross_entropy(logits.float(), labels)

    compiled = loss_of if "eager" in options else torch.compile(loss_of)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = compiled(x, labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def median(values):
    return sorted(values)[len(values) // 2]


def measure(step, n_steps):
    wall, processor = [], []
    for _ in range(n_steps):
        start, used = time.perf_counter(), time.process_time()
        loss = step()
        wall.append(1e3 * (time.perf_counter() - start))
        processor.append(1e3 * (time.process_time() - used))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(
        f"loss {loss:.4f}, {median(wall):.1f} ms (best {min(wall):.1f}), "
        f"processor {median(processor):.1f} ms (best {min(processor):.1f}), {memory:.0f} MB "
        f"(torch {torch.__version__}, {torch.get_num_threads()} threads)",
        flush=True,
    )


def main(argv):
    if len(argv) < 2 or argv[1] not in NETWORKS:
        sys.exit(__doc__)
    batch = int(argv[2]) if len(argv) > 2 else 128
    n_steps = int(argv[3]) if len(argv) > 3 else 5
    options = argv[4:]
    step = make_step(argv[1], batch, options)
    for _ in range(2):
        step()
    if "serve" not in options:
        measure(step, n_steps)
        return
    print("ready", flush=True)
    for _ in sys.stdin:
        step()  # brings the caches back
        measure(step, n_steps)


if __name__ == "__main__":
    main(sys.argv)
